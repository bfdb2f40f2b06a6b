/* SPDX-License-Identifier: ISC */
/*
 * The writer's end of the central log: encodes events, keeps them in a
 * bounded queue, sends them in datagrams at the end of the turn.
 * Runs in: every program.  Trusts: the caller's numbers; no text.
 */
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "common/printable.h"

/* Events that wait for the hub; at 300 octets each some 3,000. */
#define QUEUE_MAX (1024u * 1024)
/* Memory kept when the queue is empty again. */
#define QUEUE_KEEP (64u * 1024)
/* The socket is full: the hub needs a few ms for what the kernel holds. */
#define RESEND_MS 5
/* Nobody is there: between attempts to connect. */
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000
/* What a program that ends gives the hub to take its last events. */
#define LAST_WAIT_MS 200

/* Each event with its length, as it stands in a datagram. */
#define LENGTH_SIZE 4
#define BODY_MAX (EVENT_DATAGRAM_MAX - EVENT_DATAGRAM_HEAD)

struct log {
	struct loop *loop;
	struct event *timer;
	struct loop_task flush;
	char *path; /* NULL: the socket is given */
	int fd;
	uint64_t boot_id;
	uint64_t sequence; /* of the first event that waits */
	struct buf queue;
	size_t sent;   /* octets at its front that have left */
	uint64_t lost; /* in all */
	uint64_t lost_untold;
	uint64_t backoff_ms;
};

/* ---- encoding ---- */

/* The texts of one event, made printable: the longest row has half of it. */
#define SCRATCH_SIZE 8192

struct scratch {
	char text[SCRATCH_SIZE];
	size_t used;
};

/* What nearly all text is, and so left where it stands. */
static bool
is_plain_ascii(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] > 0x7e)
			return false;
	return true;
}

static struct slice
clean_text(struct slice s, uint32_t limit, struct scratch *scratch)
{
	char *out = scratch->text + scratch->used;

	if (s.n <= limit && is_plain_ascii(s))
		return s;
	if (limit >= sizeof(scratch->text) - scratch->used)
		bug("an event's texts are longer than %d octets", SCRATCH_SIZE);
	s = slice_of(printable(s, out, limit + 1));
	scratch->used += s.n + 1;
	return s;
}

static void
clean_fields(
    const struct ipc_shape *shape, char *fields, struct scratch *scratch)
{
	for (uint32_t i = 0; i < shape->field_count; i++) {
		const struct ipc_field *field = &shape->fields[i];
		struct slice s;

		if (field->kind != IPC_TEXT && field->kind != IPC_BYTES)
			continue;
		memcpy(&s, fields + field->offset, sizeof(s));
		if (field->kind == IPC_TEXT)
			s = clean_text(s, field->limit, scratch);
		else if (s.n > field->limit)
			s.n = field->limit;
		memcpy(fields + field->offset, &s, sizeof(s));
	}
}

int
log_encode(struct buf *out, struct log_context context, uint64_t time_us,
    enum event_type type, const void *fields)
{
	const struct ipc_shape *shape = &event_row(type)->shape;
	union event_fields clean;
	struct scratch scratch;
	struct err err;
	size_t size;
	char *p;

	scratch.used = 0;
	memcpy(&clean, fields, shape->struct_size);
	clean_fields(shape, (char *)&clean, &scratch);
	if (ipc_shape_size(shape, &clean, &size, &err) == -1)
		bug("event %s: %s", shape->name, err.text);
	if ((p = buf_reserve(out, EVENT_HEAD_SIZE + size)) == NULL)
		return -1;
	ipc_put_number(p, (uint64_t)type, 2);
	ipc_put_number(p + 2, time_us, 8);
	ipc_put_number(p + 10, context.session_id, 8);
	ipc_put_number(p + 18, context.message_id, 8);
	ipc_shape_write(shape, &clean, p + EVENT_HEAD_SIZE);
	buf_extend(out, EVENT_HEAD_SIZE + size);
	return 0;
}

/* ---- sending ---- */

/* How much of the queue's front the next datagram takes, whole events. */
static size_t
next_body(const struct log *log, uint16_t *count_r)
{
	const char *p = log->queue.p + log->sent;
	size_t left = log->queue.n - log->sent;
	size_t n = 0;
	uint16_t count = 0;

	while (n < left && count < UINT16_MAX) {
		size_t next =
		    LENGTH_SIZE + (size_t)ipc_get_number(p + n, LENGTH_SIZE);

		if (n + next > BODY_MAX)
			break;
		n += next;
		count++;
	}
	*count_r = count;
	return n;
}

static void
drop_socket(struct log *log)
{
	close_if_open(&log->fd);
	log->backoff_ms =
	    log->backoff_ms == 0 ? BACKOFF_MIN_MS : log->backoff_ms * 2;
	if (log->backoff_ms > BACKOFF_MAX_MS)
		log->backoff_ms = BACKOFF_MAX_MS;
}

static int
connect_socket(struct log *log)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	if (log->path == NULL || slice_copy(slice_of(log->path), sun.sun_path,
				     sizeof(sun.sun_path)) == -1)
		return -1;
	log->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (log->fd == -1)
		return -1;
	return connect(log->fd, (const struct sockaddr *)&sun, sizeof(sun));
}

/* One datagram; -1 with errno. */
static int
send_datagram(struct log *log)
{
	uint16_t count;
	size_t n = next_body(log, &count);
	char head[EVENT_DATAGRAM_HEAD];
	struct iovec parts[2] = {
	    {head, sizeof(head)}, {log->queue.p + log->sent, n}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	event_datagram_write_head(log->boot_id, log->sequence, count, head);
	if (sendmsg(log->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == -1)
		return -1;
	log->sent += n;
	log->sequence += count;
	return 0;
}

static void
drop_sent(struct log *log)
{
	if (log->sent == log->queue.n) {
		if (log->queue.capacity > QUEUE_KEEP)
			buf_clear(&log->queue);
		buf_reset(&log->queue);
		log->sent = 0;
	} else if (log->sent >= QUEUE_MAX / 4) {
		buf_consume(&log->queue, log->sent);
		log->sent = 0;
	}
}

/* 0: all is sent; else after how many ms to try again. */
static uint64_t
send_queue(struct log *log)
{
	while (log->sent < log->queue.n) {
		if (log->fd == -1 && connect_socket(log) == -1) {
			drop_socket(log);
			return log->backoff_ms;
		}
		if (send_datagram(log) == 0) {
			log->backoff_ms = 0;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == ENOBUFS)
			return RESEND_MS;
		if (log->path == NULL)
			return BACKOFF_MAX_MS; /* until another is given */
		drop_socket(log);
		return log->backoff_ms;
	}
	return 0;
}

/* ---- the queue ---- */

static int
enqueue(struct log *log, struct log_context context, enum event_type type,
    const void *fields)
{
	size_t before = log->queue.n;
	char length[LENGTH_SIZE] = {0};

	if (buf_add(&log->queue, length, sizeof(length)) == -1 ||
	    log_encode(&log->queue, context, clock_wall_us(), type, fields) ==
		-1) {
		log->queue.n = before;
		return -1;
	}
	ipc_put_number(log->queue.p + before,
	    log->queue.n - before - LENGTH_SIZE, LENGTH_SIZE);
	return 0;
}

/* Says how many were given up, at the place where they are missing. */
static void
tell_lost(struct log *log)
{
	struct event_log_lost lost = {
	    .program = slice_of(program_invocation_short_name),
	    .count = log->lost_untold,
	    .reason = SLICE("the writer's queue was full")};

	if (log->lost_untold > 0 &&
	    enqueue(log, (struct log_context){0}, EV_LOG_LOST, &lost) == 0)
		log->lost_untold = 0;
}

static void
flush_log(void *arg)
{
	struct log *log = arg;
	uint64_t wait_ms = send_queue(log);

	drop_sent(log);
	if (log->lost_untold > 0 && log->queue.n < QUEUE_MAX / 2) {
		tell_lost(log);
		wait_ms = wait_ms != 0 ? wait_ms : RESEND_MS;
	}
	if (wait_ms != 0)
		loop_arm(log->timer, wait_ms);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	flush_log(arg);
}

void
log_event(struct log *log, struct log_context context, enum event_type type,
    const void *fields)
{
	/* Once some are lost, all are until it can be told: order holds. */
	if (log->lost_untold > 0 || enqueue(log, context, type, fields) == -1) {
		log->lost++;
		log->lost_untold++;
	}
	/* While a timer runs the hub is away or full: no use trying now. */
	if (!event_pending(log->timer, EV_TIMEOUT, NULL))
		loop_at_turn_end(log->loop, &log->flush);
}

uint64_t
log_lost(const struct log *log)
{
	return log->lost;
}

/* ---- life ---- */

struct log *
log_new(struct loop *loop, int fd, const char *path)
{
	struct log *log = xcalloc(1, sizeof(*log));

	log->loop = loop;
	log->fd = fd;
	log->path = path != NULL ? xstrdup(path) : NULL;
	log->sequence = 1;
	log->flush = (struct loop_task){.run = flush_log, .arg = log};
	buf_init(&log->queue, QUEUE_MAX);
	if (getrandom(&log->boot_id, sizeof(log->boot_id), 0) !=
	    (ssize_t)sizeof(log->boot_id))
		fatal("no random numbers: %s", strerror(errno));
	log->timer = event_new(loop_base(loop), -1, 0, on_timer, log);
	if (log->timer == NULL)
		fatal("out of memory for the log");
	return log;
}

void
log_take_socket(struct log *log, int fd)
{
	close_if_open(&log->fd);
	log->fd = fd;
	log->backoff_ms = 0;
	(void)event_del(log->timer);
	loop_at_turn_end(log->loop, &log->flush);
}

/* The last events are often the ones that tell why a program ends. */
static void
send_last(struct log *log)
{
	uint64_t deadline_ms = clock_monotonic_ms() + LAST_WAIT_MS;

	while (send_queue(log) == RESEND_MS &&
	       clock_monotonic_ms() < deadline_ms) {
		struct pollfd full = {.fd = log->fd, .events = POLLOUT};

		(void)poll(&full, 1, RESEND_MS);
	}
}

void
log_free(struct log *log)
{
	if (log == NULL)
		return;
	drop_sent(log);
	tell_lost(log);
	send_last(log);
	loop_task_cancel(log->loop, &log->flush);
	event_free(log->timer);
	close_if_open(&log->fd);
	buf_clear(&log->queue);
	free(log->path);
	free(log);
}

void
log_notice(const char *format, ...)
{
	char line[1024];
	char clean[1200];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	(void)fprintf(stderr, "%s: %s\n", program_invocation_short_name,
	    printable(slice_of(line), clean, sizeof(clean)));
}
