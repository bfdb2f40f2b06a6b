/* SPDX-License-Identifier: ISC */
/*
 * What the log costs: mails of six events each (session, accepted, recipient,
 * delivered, finished, login) through the log's own code, on one core, in
 * microseconds of CPU per mail.
 *
 *	log_cost FOLDER [MAILS]
 * Runs in: benchmarks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/loop.h"
#include "loghub/log_index.h"
#include "loghub/segment.h"

#define DEFAULT_MAILS 100000
#define MAILS_MAX 100000000

/* Events that come in one turn of the loop, and in one transaction. */
#define TURN_EVENTS 60
#define BATCH_RECORDS 1000

static double
cpu_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct mail {
	uint64_t id;
	uint64_t session;
	uint64_t time_us;
	char from[64];
	char to[64];
	char client[32];
	char header_id[64];
	char reply[96];
};

/* Spread like real addresses: no two rows of an index are neighbours. */
static void
make_mail(struct mail *mail, struct id_maker *maker, unsigned i)
{
	uint64_t spread = (uint64_t)i * 0x9e3779b97f4a7c15u;

	mail->time_us = clock_wall_us();
	mail->id = id_next(maker, mail->time_us / 1000);
	mail->session = mail->id + ((uint64_t)200 << ID_COUNTER_BITS);
	(void)snprintf(mail->from, sizeof(mail->from),
	    "user%u@example%u.test", (unsigned)(spread >> 40) % 10000,
	    (unsigned)(spread >> 20) % 50);
	(void)snprintf(mail->to, sizeof(mail->to), "name%u@place%u.test",
	    (unsigned)(spread >> 32) % 100000,
	    (unsigned)(spread >> 10) % 5000);
	(void)snprintf(mail->client, sizeof(mail->client), "192.0.%u.%u",
	    (unsigned)(spread >> 50) % 256, (unsigned)(spread >> 44) % 256);
	(void)snprintf(mail->header_id, sizeof(mail->header_id),
	    "<%016llx.%u@example.test>", (unsigned long long)spread, i);
	(void)snprintf(mail->reply, sizeof(mail->reply),
	    "250 2.0.0 Ok: queued as 4%llX",
	    (unsigned long long)spread & 0xfffffffff);
}

struct work {
	struct segment_writer writer;
	struct buf event;
	unsigned in_turn;
};

static void
store(struct work *work, const struct mail *mail, enum event_type type,
    const void *fields, uint32_t life_number)
{
	struct log_context context = {mail->session, mail->id};
	union event_fields again;
	struct event_head head;
	struct err err;

	buf_reset(&work->event);
	if (type == EV_SESSION || type == EV_LOGIN)
		context.message_id = 0;
	if (log_encode(&work->event, context, mail->time_us, type, fields) ==
	        -1 ||
	    event_read(buf_slice(&work->event), &head, &again, &err) == -1 ||
	    segment_append(&work->writer, ROLE_QUEUED, mail->time_us,
	        life_number, buf_slice(&work->event), &err) == -1)
		fatal("store an event");
	if (++work->in_turn >= TURN_EVENTS) {
		if (segment_flush(&work->writer, &err) == -1)
			fatal("%s", err.text);
		work->in_turn = 0;
	}
}

static void
store_mail(struct work *work, const struct mail *mail)
{
	const struct event_login login = {
	    .account = slice_of(mail->from),
	    .client = slice_of(mail->client),
	    .mechanism = SLICE("SCRAM-SHA-256"),
	};
	const struct event_accepted accepted = {
	    .from = slice_of(mail->from),
	    .recipient_count = 1,
	    .size = 10240,
	    .client = slice_of(mail->client),
	    .account = slice_of(mail->from),
	    .header_message_id = slice_of(mail->header_id),
	};
	const struct event_recipient recipient = {.to = slice_of(mail->to)};
	const struct event_delivered delivered = {
	    .to = slice_of(mail->to),
	    .host = SLICE("mx.place.test"),
	    .address = SLICE("192.0.2.25"),
	    .tls = SLICE("TLSv1.3 verified by DANE"),
	    .code = 250,
	    .enhanced = SLICE("2.0.0"),
	    .reply = slice_of(mail->reply),
	    .attempt = 1,
	};
	const struct event_finished finished = {.queued_ms = 300};
	const struct event_session session = {
	    .client = slice_of(mail->client),
	    .helo = SLICE("client.example.test"),
	    .account = slice_of(mail->from),
	    .tls = SLICE("TLSv1.3 TLS_AES_256_GCM_SHA384"),
	    .accepted = 1,
	    .end = SLICE("QUIT"),
	};

	store(work, mail, EV_LOGIN, &login, 0);
	store(work, mail, EV_ACCEPTED, &accepted, 1);
	store(work, mail, EV_RECIPIENT, &recipient, 2);
	store(work, mail, EV_SESSION, &session, 0);
	store(work, mail, EV_DELIVERED, &delivered, 3);
	store(work, mail, EV_FINISHED, &finished, 4);
}

/* One segment into its day's index. */
static void
index_segment(const char *folder, int dir_fd, const struct segment_name *name)
{
	struct log_index *index = NULL;
	struct segment_reader reader;
	struct record record;
	struct err err;
	struct log_progress at = {.segment = name->number};
	unsigned in_batch = 0;

	segment_reader_init(&reader, dir_fd);
	if (log_index_open(folder, name->day, false, &index, &err) == -1 ||
	    segment_reader_seek(&reader, name, 0, &err) == -1 ||
	    log_index_begin(index, &err) == -1)
		fatal("%s", err.text);
	while (segment_reader_next(&reader, UINT64_MAX, &record, &err) ==
	    PARSE_OK) {
		if (log_index_add(index, &record, name->number,
		        at.offset, &err) == -1)
			fatal("%s", err.text);
		at.number = record.number;
		at.offset = reader.offset;
		if (++in_batch < BATCH_RECORDS)
			continue;
		in_batch = 0;
		if (log_index_commit(index, &at, &err) == -1 ||
		    log_index_begin(index, &err) == -1)
			fatal("%s", err.text);
	}
	if (log_index_commit(index, &at, &err) == -1)
		fatal("%s", err.text);
	segment_reader_clear(&reader);
	log_index_close(index);
}

static uint64_t
file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void
measure(unsigned mails, const char *folder)
{
	struct work work = {.in_turn = 0};
	struct segment_recovery recovery;
	struct segment_list list;
	struct id_maker maker;
	struct mail mail;
	struct err err;
	char path[LOG_INDEX_PATH_SIZE];
	double begin;
	double stored;
	double indexed;

	id_maker_init(&maker, 1);
	buf_init(&work.event, 16384);
	(void)snprintf(path, sizeof(path), "%s/segments", folder);
	if (segment_writer_open(
	        &work.writer, path, NULL, NULL, &recovery, &err) == -1)
		fatal("%s", err.text);
	begin = cpu_s();
	for (unsigned i = 0; i < mails; i++) {
		make_mail(&mail, &maker, i);
		store_mail(&work, &mail);
	}
	if (segment_flush(&work.writer, &err) == -1)
		fatal("%s", err.text);
	stored = cpu_s();
	if (segment_list_read(work.writer.dir_fd, &list, &err) == -1)
		fatal("%s", err.text);
	for (size_t i = 0; i < list.count; i++)
		index_segment(folder, work.writer.dir_fd, &list.names[i]);
	indexed = cpu_s();
	log_index_path(folder, list.names[0].day, path);
	(void)printf("%u mails: stored %.1f us, indexed %.1f us of CPU each; "
		     "index %.0f octets each\n",
	    mails, (stored - begin) * 1e6 / mails,
	    (indexed - stored) * 1e6 / mails,
	    (double)file_size(path) / mails);
	segment_list_clear(&list);
	segment_writer_clear(&work.writer);
	buf_clear(&work.event);
}

int
main(int argc, char **argv)
{
	uint64_t mails = DEFAULT_MAILS;

	if (argc < 2 || argc > 3 ||
	    (argc == 3 &&
	        slice_to_u64(slice_of(argv[2]), &mails) == -1) ||
	    mails == 0 || mails > MAILS_MAX) {
		(void)fprintf(
		    stderr, "usage: log_cost EMPTY-FOLDER [MAILS]\n");
		return 2;
	}
	measure((unsigned)mails, argv[1]);
	return 0;
}
