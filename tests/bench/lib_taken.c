/* SPDX-License-Identifier: ISC */
/*
 * Judges each received mail, counts doubles, writes the record and the files.
 * Runs in: tests/bench/sink.  Trusts: the folder and files of its options.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "tests/bench/lib_mail.h"
#include "tests/bench/lib_taken.h"

#define PATH_BYTES_MAX 4096
#define US_PER_S 1000000

struct slice
taken_address(struct slice path)
{
	size_t start = slice_find(path, '<', 0);
	size_t end = slice_find(path, '>', start);

	if (end == path.n)
		return path;
	return (struct slice){path.p + start + 1, end - start - 1};
}

/* Two sums into one. */
static uint64_t
pair_sum(uint64_t a, uint64_t b)
{
	const uint64_t pair[2] = {a, b};

	return mail_sum((const char *)pair, sizeof(pair));
}

/* The same mail is put off the first times it comes, then taken. */
static bool
is_put_off(struct server *server, uint64_t id_sum)
{
	if (server->tempfail_percent == 0 ||
	    id_sum % 100 >= server->tempfail_percent)
		return false;
	if (server->tempfail_tries == 0)
		return true;
	for (uint32_t try = 0; try < server->tempfail_tries; try++) {
		if (id_set_add(&server->tries, pair_sum(id_sum, try)))
			return true;
	}
	return false;
}

/* The next recipient's arguments; false at the end. */
static bool
next_recipient(struct slice *rest, struct slice *recipient_r)
{
	size_t end = slice_find(*rest, '\0', 0);

	if (rest->n == 0)
		return false;
	*recipient_r = (struct slice){rest->p, end};
	rest->p += end + 1;
	rest->n -= end + 1;
	return true;
}

static void
count_mail(
    struct server_session *s, const struct mail_seen *seen, uint64_t id_sum)
{
	struct server_counts *counts = &s->server->counts;
	struct slice rest = buf_slice(&s->recipients);
	struct slice recipient;

	counts->received++;
	counts->bytes += s->message.n;
	if (seen->verdict == MAIL_FOREIGN) {
		counts->foreign++;
		return;
	}
	counts->bad += seen->verdict == MAIL_TORN;
	counts->distinct += id_set_add(&s->server->ids, id_sum);
	while (next_recipient(&rest, &recipient)) {
		struct slice address = taken_address(recipient);
		uint64_t sum = mail_sum(address.p, address.n);

		counts->doubles +=
		    !id_set_add(&s->server->deliveries, pair_sum(id_sum, sum));
	}
}

/* A client's text must not look like the record's own tabs and commas. */
static void
record_text(FILE *f, struct slice text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		(void)putc_unlocked(c < ' ' || c == ',' ? '?' : c, f);
	}
}

static void
record_mail(struct server_session *s, const struct mail_seen *seen)
{
	static const char *const verdicts[MAIL_VERDICT_COUNT] = {
	    [MAIL_FOREIGN] = "foreign",
	    [MAIL_WHOLE] = "ok",
	    [MAIL_TORN] = "bad",
	};
	FILE *f = s->server->record;
	uint64_t now_us = count_epoch_us();
	struct slice rest = buf_slice(&s->recipients);
	const char *separator = "";
	struct slice recipient;

	(void)fprintf(f,
	    "%s\t%s\t%" PRIu32 "\t%" PRIu64 ".%06" PRIu64 "\t%zu\t%" PRIu64
	    "\t",
	    seen->id[0] != '\0' ? seen->id : "-", verdicts[seen->verdict],
	    s->recipient_count, now_us / US_PER_S, now_us % US_PER_S,
	    s->message.n, s->server->counts.received);
	while (next_recipient(&rest, &recipient)) {
		(void)fputs(separator, f);
		record_text(f, taken_address(recipient));
		separator = ",";
	}
	(void)putc_unlocked('\t', f);
	record_text(f, buf_slice(&s->sender));
	(void)putc_unlocked('\n', f);
}

static void
write_file(const char *path, struct slice text)
{
	FILE *f = fopen(path, "we");

	if (f == NULL || fwrite(text.p, 1, text.n, f) != text.n ||
	    fclose(f) != 0)
		fatal("write %s: %s", path, strerror(errno));
}

/* NNNNNNNN.env first, so that who sees NNNNNNNN.eml finds both whole. */
static void
save_mail(struct server_session *s)
{
	const struct server *server = s->server;
	struct slice rest = buf_slice(&s->recipients);
	char part[PATH_BYTES_MAX];
	char whole[PATH_BYTES_MAX];
	struct slice recipient;
	struct buf envelope;

	buf_init(&envelope, SIZE_MAX / 2);
	(void)buf_addf(&envelope, "MAIL FROM:%s\n", buf_text(&s->sender));
	while (next_recipient(&rest, &recipient))
		(void)buf_addf(
		    &envelope, "RCPT TO:%.*s\n", SLICE_ARG(recipient));
	(void)snprintf(part, sizeof(part), "%s/%08" PRIu64 ".env",
	    server->save_dir, server->counts.received);
	write_file(part, buf_slice(&envelope));
	buf_clear(&envelope);
	(void)snprintf(part, sizeof(part), "%s/%08" PRIu64 ".part",
	    server->save_dir, server->counts.received);
	(void)snprintf(whole, sizeof(whole), "%s/%08" PRIu64 ".eml",
	    server->save_dir, server->counts.received);
	write_file(part, buf_slice(&s->message));
	if (rename(part, whole) == -1)
		fatal("rename to %s: %s", whole, strerror(errno));
}

bool
taken_mail(struct server_session *s)
{
	struct server *server = s->server;
	struct slice message = buf_slice(&s->message);
	struct mail_seen seen;
	uint64_t id_sum;

	mail_check(message, &seen);
	id_sum = seen.verdict == MAIL_FOREIGN
		     ? mail_sum(message.p, message.n)
		     : mail_sum(seen.id, strlen(seen.id));
	if (is_put_off(server, id_sum)) {
		server->counts.tempfailed++;
		return false;
	}
	count_mail(s, &seen, id_sum);
	if (server->record != NULL)
		record_mail(s, &seen);
	if (server->save_dir != NULL)
		save_mail(s);
	return true;
}
