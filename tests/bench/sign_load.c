/* SPDX-License-Identifier: ISC */
/*
 * Plays queued for postern-signerd: gives it messages of 10 KB, so many at a
 * time, and measures.
 *
 *	sign_load SOCKET STREAM...
 *	STREAM: NAME,COUNT,DEPTH,SIGN,ENCRYPT,METHOD,DKIM,FROM,TO
 *
 * The numbers are those of enums protect_sign, protect_encrypt,
 * protect_method and protect_dkim.  COUNT answers of the first stream are
 * measured, once some of each were there; others go on as long.  Then it gives
 * no more, and waits for those of the first.  Prints for each stream its rate
 * and delays, and at last its own CPU per job, and how many were answered in
 * all.
 * Runs in: benchmarks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/vocabulary.h"

#define STREAMS_MAX 4
#define JOBS_MAX 1000000
#define BODY_OCTETS 10240
/* Answers before the measurement: processes start, keys are read. */
#define WARM_UP 200
#define WARM_UP_OTHERS 4

struct stream {
	char name[32];
	unsigned count;
	unsigned depth;
	uint16_t sign;
	uint16_t encrypt;
	uint16_t method;
	uint16_t dkim;
	char from[128];
	char to[128];
	unsigned sent;
	unsigned answered;
	unsigned failed;
	unsigned warm;     /* answers before those that are measured */
	unsigned measured; /* behind these */
	double *delays_ms;
	double *sent_at;
	uint64_t octets_out;
};

struct load {
	struct loop *loop;
	struct channel *signerd;
	struct event *acceptable;
	struct stream streams[STREAMS_MAX];
	unsigned stream_count;
	struct buf mail;
	char *output; /* the last one */
	bool is_measuring;
	bool is_over;
	double elapsed_s; /* when it began, until it is over */
	double cpu_s;     /* likewise */
};

static double
seconds(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
make_mail(struct buf *mail)
{
	(void)buf_add_text(mail,
	    "From: Anna Example <anna@example.test>\r\n"
	    "To: Bob Example <bob@example.org>\r\n"
	    "Subject: A mail of ten kilobytes\r\n"
	    "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
	    "Message-ID: <0123456789abcdef@example.test>\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\n"
	    "\r\n");
	while (mail->n < BODY_OCTETS)
		(void)buf_add_text(mail,
		    "The quick brown fox jumps over the lazy dog, and then it "
		    "rests.\r\n");
}

/* ---- jobs ---- */

/* The message id says which stream and which of its jobs it is. */
static uint64_t
id_of(unsigned stream, unsigned job)
{
	return (uint64_t)(stream + 1) << 32 | job;
}

static void
send_job(struct load *load, unsigned index)
{
	struct stream *stream = &load->streams[index];
	struct ipc_record_demand demand = {.address = slice_of(stream->to),
	    .sign = stream->sign,
	    .encrypt = stream->encrypt,
	    .method = stream->method};
	struct ipc_list_writer list;
	struct ipc_sign_job message = {.message_id = id_of(index, stream->sent),
	    .attempt = 1,
	    .direction = DIRECTION_OUT,
	    .dkim = stream->dkim,
	    .reverse_path = slice_of(stream->from),
	    .header_from = slice_of(stream->from),
	    .size_octets = load->mail.n,
	    .content = buf_slice(&load->mail)};

	ipc_list_writer_init(&list, 4096);
	(void)ipc_demand_add(&list, &demand, NULL);
	message.recipients = ipc_list_of(&list);
	stream->sent_at[stream->sent++] = seconds(CLOCK_MONOTONIC);
	if (channel_send(load->signerd, MSG_SIGN_JOB, &message, NULL) == -1)
		fatal("a job could not be sent");
	ipc_list_writer_clear(&list);
}

static void
fill(struct load *load, unsigned index)
{
	struct stream *stream = &load->streams[index];

	while (!load->is_over && stream->sent < JOBS_MAX &&
	       stream->sent - stream->answered < stream->depth)
		send_job(load, index);
}

static void
begin_if_warm(struct load *load)
{
	for (unsigned i = 0; i < load->stream_count; i++) {
		struct stream *stream = &load->streams[i];

		if (stream->answered < (i == 0 ? WARM_UP : WARM_UP_OTHERS))
			return;
	}
	for (unsigned i = 0; i < load->stream_count; i++)
		load->streams[i].warm = load->streams[i].answered;
	load->is_measuring = true;
	load->elapsed_s = seconds(CLOCK_MONOTONIC);
	load->cpu_s = seconds(CLOCK_PROCESS_CPUTIME_ID);
}

static void
end_if_enough(struct load *load)
{
	const struct stream *first = &load->streams[0];

	if (!load->is_over && first->answered - first->warm >= first->count) {
		load->is_over = true;
		load->elapsed_s = seconds(CLOCK_MONOTONIC) - load->elapsed_s;
		load->cpu_s = seconds(CLOCK_PROCESS_CPUTIME_ID) - load->cpu_s;
		for (unsigned i = 0; i < load->stream_count; i++)
			load->streams[i].measured =
			    load->streams[i].answered - load->streams[i].warm;
	}
	if (load->is_over && first->answered == first->sent)
		loop_stop(load->loop);
}

static int
on_output(struct channel *channel, const struct channel_frame *frame)
{
	struct load *load = channel_owner(channel);
	const struct ipc_sign_output *output = &frame->message->sign_output;
	const size_t before = output->content.n;
	unsigned index = (unsigned)(output->message_id >> 32) - 1;

	if (index >= load->stream_count ||
	    (output->follows_octets != 0 &&
		output->follows_octets != load->mail.n))
		return -1;
	/* As queued does it: see relay/queue_sign_answer.c. */
	free(load->output);
	load->output = xmalloc(before + (size_t)output->follows_octets);
	memcpy(load->output, output->content.p, before);
	if (output->follows_octets > 0)
		memcpy(load->output + before, load->mail.p, load->mail.n);
	load->streams[index].octets_out += before + output->follows_octets;
	return 0;
}

static int
on_result(struct channel *channel, const struct channel_frame *frame)
{
	struct load *load = channel_owner(channel);
	const struct ipc_sign_result *result = &frame->message->sign_result;
	unsigned index = (unsigned)(result->message_id >> 32) - 1;
	unsigned job = (unsigned)result->message_id;
	struct stream *stream = &load->streams[index];

	if (index >= load->stream_count || job >= stream->sent)
		return -1;
	stream->delays_ms[stream->answered++] =
	    (seconds(CLOCK_MONOTONIC) - stream->sent_at[job]) * 1000;
	if (result->outcome != SIGNED_DONE && stream->failed++ == 0)
		(void)fprintf(stderr, "%s: %.*s %.*s\n", stream->name,
		    SLICE_ARG(result->enhanced), SLICE_ARG(result->reason));
	if (!load->is_measuring)
		begin_if_warm(load);
	fill(load, index);
	if (load->is_measuring)
		end_if_enough(load);
	return 0;
}

static int
on_ready(struct channel *channel, const struct channel_frame *frame)
{
	(void)channel;
	(void)frame;
	return 0;
}

static const struct channel_handler handlers[] = {
    {ROLE_SIGNERD, MSG_SIGN_READY, on_ready},
    {ROLE_SIGNERD, MSG_SIGN_OUTPUT, on_output},
    {ROLE_SIGNERD, MSG_SIGN_RESULT, on_result}, {ROLE_NONE, MSG_HELLO, NULL}};

static void
on_up(struct channel *channel)
{
	struct load *load = channel_owner(channel);

	for (unsigned i = 0; i < load->stream_count; i++)
		fill(load, i);
}

static void
on_closed(struct channel *channel, const char *reason)
{
	(void)channel;
	fatal("signerd: %s", reason);
}

static void
on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct load *load = arg;
	struct channel_config config = {.loop = load->loop,
	    .self = ROLE_QUEUED,
	    .peer = ROLE_SIGNERD,
	    .handlers = handlers,
	    .owner = load,
	    .up = on_up,
	    .closed = on_closed};
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	(void)what;
	if (client == -1)
		return;
	if (load->signerd != NULL) {
		(void)close(client);
		return;
	}
	load->signerd = channel_new(&config, client);
}

/* ---- the end ---- */

static int
compare_delays(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
report(struct load *load)
{
	unsigned measured = 0;
	unsigned answered = 0;

	for (unsigned i = 0; i < load->stream_count; i++) {
		struct stream *stream = &load->streams[i];
		unsigned n = stream->measured;
		double *delays = stream->delays_ms + stream->warm;

		measured += n;
		answered += stream->answered;
		if (n == 0)
			continue;
		qsort(delays, n, sizeof(*delays), compare_delays);
		(void)printf("%s jobs=%u rate=%.0f p50_ms=%.3f p99_ms=%.3f "
			     "failed=%u\n",
		    stream->name, n, n / load->elapsed_s, delays[n / 2],
		    delays[(size_t)((double)n * 0.99)], stream->failed);
	}
	(void)printf("own cpu_us=%.2f jobs=%u answered=%u\n",
	    load->cpu_s * 1e6 / measured, measured, answered);
}

/* ---- the beginning ---- */

static struct slice
next_word(struct slice *rest)
{
	size_t end = slice_find(*rest, ',', 0);
	struct slice word = {rest->p, end};

	if (end < rest->n)
		end++;
	rest->p += end;
	rest->n -= end;
	return word;
}

static uint64_t
next_number(struct slice *rest, uint64_t most)
{
	uint64_t number;

	if (slice_to_u64(next_word(rest), &number) == -1 || number > most)
		fatal("a stream is NAME,COUNT,DEPTH,SIGN,ENCRYPT,METHOD,DKIM,"
		      "FROM,TO");
	return number;
}

static void
read_stream(struct stream *stream, const char *text)
{
	struct slice rest = slice_of(text);

	(void)slice_copy(next_word(&rest), stream->name, sizeof(stream->name));
	stream->count = (unsigned)next_number(&rest, JOBS_MAX);
	stream->depth = (unsigned)next_number(&rest, JOBS_MAX);
	stream->sign = (uint16_t)next_number(&rest, SIGN_COUNT - 1);
	stream->encrypt = (uint16_t)next_number(&rest, ENCRYPT_COUNT - 1);
	stream->method = (uint16_t)next_number(&rest, METHOD_COUNT - 1);
	stream->dkim = (uint16_t)next_number(&rest, DKIM_COUNT - 1);
	(void)slice_copy(next_word(&rest), stream->from, sizeof(stream->from));
	(void)slice_copy(next_word(&rest), stream->to, sizeof(stream->to));
	stream->delays_ms = xcalloc(JOBS_MAX, sizeof(double));
	stream->sent_at = xcalloc(JOBS_MAX, sizeof(double));
}

static int
listen_at(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd == -1 ||
	    slice_copy(slice_of(path), sun.sun_path, sizeof(sun.sun_path)) ==
		-1 ||
	    bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) == -1 ||
	    listen(fd, 4) == -1)
		fatal("cannot listen at %s", path);
	return fd;
}

int
main(int argc, char **argv)
{
	struct load load = {.loop = loop_new()};
	int fd;

	if (argc < 3 || argc - 2 > STREAMS_MAX) {
		(void)fprintf(stderr, "usage: sign_load SOCKET STREAM...\n");
		return 2;
	}
	for (int i = 2; i < argc; i++)
		read_stream(&load.streams[load.stream_count++], argv[i]);
	buf_init(&load.mail, 1 << 20);
	make_mail(&load.mail);
	fd = listen_at(argv[1]);
	load.acceptable = event_new(loop_base(load.loop), fd,
	    EV_READ | EV_PERSIST, on_acceptable, &load);
	if (load.acceptable == NULL || event_add(load.acceptable, NULL) == -1)
		fatal("out of memory for events");
	loop_run(load.loop);
	report(&load);
	return 0;
}
