/* SPDX-License-Identifier: ISC */
/*
 * The benchmark's mails prove themselves whole, and nothing else does.
 */
#include <string.h>

#include "common/buf.h"
#include "tests/bench/lib_mail.h"
#include "tests/unit/tap.h"

#define ROOM 50 /* of one piece: small, so that many are made */

/* The mail as a receiver keeps it: no stuffed dots, no final dot. */
static void
make_mail(const struct mail_pool *pool, uint64_t number, struct buf *out)
{
	struct mail_cursor cursor;
	struct buf wire;
	bool is_line_start = true;

	buf_init(&wire, SIZE_MAX / 2);
	buf_reset(out);
	mail_start(&cursor, pool, number, "a@a.test", "b@b.test", &wire);
	while (!cursor.is_complete)
		mail_more(&cursor, ROOM, &wire);
	for (size_t i = 0; i + 3 < wire.n; i++) {
		if (!is_line_start || wire.p[i] != '.')
			(void)buf_add_char(out, wire.p[i]);
		is_line_start = wire.p[i] == '\n';
	}
	buf_clear(&wire);
}

static enum mail_verdict
verdict_of(const struct buf *b)
{
	struct mail_seen seen;

	mail_check(buf_slice(b), &seen);
	return seen.verdict;
}

static void
check_sizes(void)
{
	static const size_t sizes[] = {2, 3, 76, 77, 78, 79, 80, 156, 10240};
	struct mail_pool pool;
	struct mail_seen seen;
	struct buf mail;

	buf_init(&mail, SIZE_MAX / 2);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		mail_pool_init(&pool, "run", sizes[i]);
		is_u64(pool.bodies[0].text_bytes, sizes[i],
		    "a body of %zu bytes has them", sizes[i]);
		make_mail(&pool, 7, &mail);
		mail_check(buf_slice(&mail), &seen);
		is_int(seen.verdict, MAIL_WHOLE, "and is whole");
		is_str(seen.id, "run-7", "and known by its id");
		mail_pool_clear(&pool);
	}
	buf_clear(&mail);
}

/* Every cut and every changed byte behind the id must show. */
static void
check_tears(void)
{
	struct mail_pool pool;
	struct buf mail;
	struct buf part;
	size_t body;
	size_t missed = 0;

	mail_pool_init(&pool, "run", 300);
	buf_init(&mail, SIZE_MAX / 2);
	make_mail(&pool, 1, &mail);
	body = (size_t)(strstr(buf_text(&mail), "Load-Body") - mail.p);
	for (size_t n = body; n < mail.n; n++) {
		part = mail;
		part.n = n;
		missed += verdict_of(&part) == MAIL_WHOLE;
	}
	is_u64(missed, 0, "no shorter mail is whole");
	for (size_t i = body; i < mail.n; i++) {
		mail.p[i] ^= 1;
		missed += verdict_of(&mail) == MAIL_WHOLE;
		mail.p[i] ^= 1;
	}
	is_u64(missed, 0, "no mail with one changed bit is whole");
	(void)buf_add_text(&mail, "more\r\n");
	is_int(verdict_of(&mail), MAIL_TORN, "text behind the end is a tear");
	buf_clear(&mail);
	mail_pool_clear(&pool);
}

/* The second half of one mail behind the first half of another. */
static void
check_mixture(void)
{
	struct mail_pool pool;
	struct buf first;
	struct buf second;

	mail_pool_init(&pool, "run", 300);
	buf_init(&first, SIZE_MAX / 2);
	buf_init(&second, SIZE_MAX / 2);
	make_mail(&pool, 11, &first);
	/* The same text, since the pool repeats, and as long an id. */
	make_mail(&pool, 11 + pool.count, &second);
	mail_pool_clear(&pool);
	is_int(verdict_of(&second), MAIL_WHOLE, "the second mail is whole");
	first.n -= 100;
	(void)buf_add(&first, second.p + second.n - 100, 100);
	is_int(verdict_of(&first), MAIL_TORN, "two halves are not a mail");
	buf_clear(&first);
	buf_clear(&second);
}

static void
check_wrapping(void)
{
	struct mail_pool pool;
	struct mail_seen seen;
	struct buf mail;
	struct buf outer;

	mail_pool_init(&pool, "run", 300);
	buf_init(&mail, SIZE_MAX / 2);
	buf_init(&outer, SIZE_MAX / 2);
	make_mail(&pool, 3, &mail);
	mail_pool_clear(&pool);
	(void)buf_add_text(&outer,
	    "Received: from x\r\n by y\r\nx-load-id: run-3\r\n\r\n"
	    "--b\r\nContent-Type: text/plain\r\n\r\n");
	(void)buf_add_text(&outer, strstr(buf_text(&mail), "Load-Body"));
	(void)buf_add_text(&outer, "\r\n--b\r\nsignature\r\n--b--\r\n");
	mail_check(buf_slice(&outer), &seen);
	is_int(seen.verdict, MAIL_WHOLE, "a signed mail is whole");
	is_str(seen.id, "run-3", "and known by its id");
	buf_reset(&outer);
	(void)buf_add_text(&outer, "Subject: hello\r\n\r\nx\r\n");
	mail_check(buf_slice(&outer), &seen);
	is_int(seen.verdict, MAIL_FOREIGN, "another's mail is foreign");
	buf_reset(&outer);
	is_int(verdict_of(&outer), MAIL_FOREIGN, "so is an empty one");
	buf_clear(&mail);
	buf_clear(&outer);
}

int
main(void)
{
	check_sizes();
	check_tears();
	check_mixture();
	check_wrapping();
	return tap_done();
}
