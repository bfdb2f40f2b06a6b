/* SPDX-License-Identifier: ISC */
/*
 * Makes the benchmark's mails and judges them when they come out again.
 * Runs in: tests/bench/load, tests/bench/sink.  Trusts: its options; nothing
 * of a received message.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "tests/bench/lib_mail.h"

/* Different texts in memory: enough to be no single cached page. */
#define POOL_COUNT_MAX 64
#define POOL_BYTES_MAX (16u << 20)

#define LINE_TEXT_MAX 76 /* what mail programs wrap at */
#define DOTTED_LINES 32  /* one line in so many starts with a dot */

#define SUM_LANES 4
#define SUM_DIGITS 16 /* hexadecimal */
#define SUM_FACTOR UINT64_C(0x9e3779b97f4a7c15)

#define ID_HEADER "X-Load-Id: "
#define BODY_MARK "Load-Body: "
#define END_MARK "Load-End: "

/* What an id is made of; a record of ids has tabs and commas of its own. */
static const char id_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				 "abcdefghijklmnopqrstuvwxyz0123456789_-";

static uint64_t
sum_step(uint64_t lane, uint64_t word)
{
	lane = (lane ^ word) * SUM_FACTOR;
	return lane ^ (lane >> 32);
}

uint64_t
mail_sum(const char *p, size_t n)
{
	uint64_t lanes[SUM_LANES] = {1, 2, 3, 4};
	uint64_t words[SUM_LANES];
	uint64_t sum = n;
	size_t at = 0;

	for (; n - at >= sizeof(words); at += sizeof(words)) {
		memcpy(words, p + at, sizeof(words));
		for (size_t i = 0; i < SUM_LANES; i++)
			lanes[i] = sum_step(lanes[i], words[i]);
	}
	memset(words, 0, sizeof(words));
	if (n > at)
		memcpy(words, p + at, n - at);
	for (size_t i = 0; i < SUM_LANES; i++)
		sum = sum_step(sum, sum_step(lanes[i], words[i]));
	return sum;
}

/* xorshift64*: the same texts on every machine. */
static uint64_t
next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* One line of n bytes with its CR LF; no space at its end, no dot stuffing. */
static void
random_line(uint64_t *state, size_t n, struct buf *out)
{
	char line[LINE_TEXT_MAX + 2];
	size_t text = n - 2;

	for (size_t i = 0; i < text; i++) {
		uint64_t r = next_random(state) >> 32;

		line[i] = (char)('!' + r % ('~' - '!' + 1));
		if (i > 0 && i + 1 < text && r % 7 == 0)
			line[i] = ' ';
	}
	/* A line that starts with "-" might be taken for a MIME boundary. */
	if (text > 0 && (line[0] == '-' || line[0] == '.'))
		line[0] = '+';
	if (text > 0 && next_random(state) % DOTTED_LINES == 0)
		line[0] = '.';
	line[text] = '\r';
	line[text + 1] = '\n';
	(void)buf_add(out, line, n);
}

static void
body_init(struct mail_body *body, uint64_t seed, size_t text_bytes)
{
	uint64_t state = (seed + 1) * SUM_FACTOR;
	struct buf text;
	struct buf wire;

	buf_init(&text, SIZE_MAX / 2);
	buf_init(&wire, SIZE_MAX / 2);
	while (text.n < text_bytes) {
		size_t left = text_bytes - text.n;
		size_t n = 2 + next_random(&state) % (LINE_TEXT_MAX + 1);
		size_t start = text.n;

		/* What is left must be a whole line: 2 to max bytes. */
		if (left <= LINE_TEXT_MAX + 2)
			n = left;
		else if (left - n < 2)
			n = left - 2;
		random_line(&state, n, &text);
		if (text.p[start] == '.')
			(void)buf_add_char(&wire, '.');
		(void)buf_add(&wire, text.p + start, n);
	}
	*body = (struct mail_body){.wire = wire.p,
	    .wire_bytes = wire.n,
	    .text_bytes = text.n,
	    .sum = mail_sum(text.p, text.n)};
	buf_clear(&text);
}

void
mail_pool_init(struct mail_pool *pool, const char *run, size_t body_bytes)
{
	if (body_bytes < 2)
		body_bytes = 2; /* one empty line */
	*pool = (struct mail_pool){.bodies = NULL};
	(void)snprintf(pool->run, sizeof(pool->run), "%s", run);
	pool->count = POOL_BYTES_MAX / body_bytes;
	if (pool->count > POOL_COUNT_MAX)
		pool->count = POOL_COUNT_MAX;
	if (pool->count == 0)
		pool->count = 1;
	pool->bodies = xcalloc(pool->count, sizeof(*pool->bodies));
	for (size_t i = 0; i < pool->count; i++)
		body_init(&pool->bodies[i], i, body_bytes);
}

void
mail_pool_clear(struct mail_pool *pool)
{
	for (size_t i = 0; i < pool->count; i++)
		free(pool->bodies[i].wire);
	free(pool->bodies);
	*pool = (struct mail_pool){.count = 0};
}

void
mail_id(const struct mail_pool *pool, uint64_t number, char id_r[MAIL_ID_MAX])
{
	(void)snprintf(id_r, MAIL_ID_MAX, "%s-%" PRIu64, pool->run, number);
}

/* Binds the text to its id: another mail's text has another sum. */
static uint64_t
bound_sum(uint64_t text_sum, const char *id)
{
	return sum_step(text_sum, mail_sum(id, strlen(id)));
}

void
mail_start(struct mail_cursor *cursor, const struct mail_pool *pool,
    uint64_t number, const char *from, const char *to, struct buf *out)
{
	const struct mail_body *body = &pool->bodies[number % pool->count];

	*cursor = (struct mail_cursor){.body = body};
	mail_id(pool, number, cursor->id);
	(void)buf_addf(out,
	    "From: <%s>\r\nTo: <%s>\r\n"
	    "Subject: Load %s\r\n"
	    "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
	    "Message-ID: <%s@load.invalid>\r\n" ID_HEADER "%s\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=us-ascii\r\n\r\n" BODY_MARK
	    "%s %zu %016" PRIx64 "\r\n",
	    from, to, cursor->id, cursor->id, cursor->id, cursor->id,
	    body->text_bytes, bound_sum(body->sum, cursor->id));
}

void
mail_more(struct mail_cursor *cursor, size_t room, struct buf *out)
{
	const struct mail_body *body = cursor->body;
	size_t n = body->wire_bytes - cursor->body_done;

	if (n > room)
		n = room;
	(void)buf_add(out, body->wire + cursor->body_done, n);
	cursor->body_done += n;
	if (cursor->body_done < body->wire_bytes)
		return;
	(void)buf_addf(out, END_MARK "%s\r\n.\r\n", cursor->id);
	cursor->is_complete = true;
}

static struct slice
slice_from(struct slice s, size_t at)
{
	return (struct slice){s.p + at, s.n - at};
}

/* Cuts what stands before the first CR LF off *rest. */
static int
take_line(struct slice *rest, struct slice *line_r)
{
	size_t at = slice_find(*rest, '\n', 0);

	if (at == rest->n || at == 0 || rest->p[at - 1] != '\r')
		return -1;
	*line_r = (struct slice){rest->p, at - 1};
	*rest = slice_from(*rest, at + 1);
	return 0;
}

/* The id of the header, and where the body begins. */
static int
find_header_id(
    struct slice message, char id_r[MAIL_ID_MAX], struct slice *body_r)
{
	struct slice line;
	bool is_found = false;

	while (take_line(&message, &line) == 0 && line.n > 0) {
		if (is_found || !slice_starts_nocase(line, ID_HEADER))
			continue;
		line = slice_trim(slice_from(line, strlen(ID_HEADER)));
		is_found = line.n > 0 &&
			   slice_copy(line, id_r, MAIL_ID_MAX) == 0 &&
			   strspn(id_r, id_letters) == line.n;
	}
	*body_r = message;
	if (!is_found)
		id_r[0] = '\0';
	return is_found ? 0 : -1;
}

/* "<bytes> <sum in hex>" */
static int
parse_numbers(struct slice text, uint64_t *bytes_r, uint64_t *sum_r)
{
	size_t space = slice_find(text, ' ', 0);
	char hex[SUM_DIGITS + 1];
	char *end;

	if (slice_to_u64((struct slice){text.p, space}, bytes_r) == -1 ||
	    text.n != space + 1 + SUM_DIGITS ||
	    slice_copy(slice_from(text, space + 1), hex, sizeof(hex)) == -1)
		return -1;
	*sum_r = strtoull(hex, &end, 16);
	return *end == '\0' ? 0 : -1;
}

/* The bytes after the marker line that names this id. */
static int
find_block(struct slice body, const char *id, uint64_t *bytes_r,
    uint64_t *sum_r, struct slice *block_r)
{
	char mark[sizeof(BODY_MARK) + MAIL_ID_MAX + 1];
	struct slice line;
	const char *at = NULL;

	(void)snprintf(mark, sizeof(mark), BODY_MARK "%s ", id);
	if (body.n > 0)
		at = memmem(body.p, body.n, mark, strlen(mark));
	if (at == NULL || (at > body.p && at[-1] != '\n'))
		return -1;
	body = slice_from(body, (size_t)(at - body.p) + strlen(mark));
	if (take_line(&body, &line) == -1)
		return -1;
	*block_r = body;
	return parse_numbers(line, bytes_r, sum_r);
}

/* After the end mark only a MIME boundary may follow. */
static bool
is_end(struct slice rest, const char *id)
{
	struct slice line;

	if (take_line(&rest, &line) == -1 ||
	    !slice_starts_nocase(line, END_MARK) ||
	    !slice_equals(slice_from(line, strlen(END_MARK)), slice_of(id)))
		return false;
	if (rest.n >= 2 && rest.p[0] == '\r' && rest.p[1] == '\n')
		rest = slice_from(rest, 2);
	return rest.n == 0 || slice_starts_nocase(rest, "--");
}

void
mail_check(struct slice message, struct mail_seen *seen_r)
{
	struct slice body;
	struct slice block;
	uint64_t bytes;
	uint64_t sum;

	*seen_r = (struct mail_seen){.verdict = MAIL_FOREIGN};
	if (find_header_id(message, seen_r->id, &body) == -1)
		return;
	seen_r->verdict = MAIL_TORN;
	if (find_block(body, seen_r->id, &bytes, &sum, &block) == -1 ||
	    bytes > block.n)
		return;
	if (bound_sum(mail_sum(block.p, bytes), seen_r->id) != sum ||
	    !is_end(slice_from(block, bytes), seen_r->id))
		return;
	seen_r->verdict = MAIL_WHOLE;
}
