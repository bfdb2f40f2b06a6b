/* SPDX-License-Identifier: ISC */
/*
 * The writers' sequence numbers and budgets, and the set of life events that
 * the log has already.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "loghub/life_seen.h"
#include "loghub/writers.h"
#include "tests/unit/tap.h"

static void
test_writers(void)
{
	struct writers *w = xcalloc(1, sizeof(*w));
	struct writer_news news;

	writers_note(w, ROLE_SMTPD, 77, 1, 5, &news);
	ok(news.is_new && news.lost == 0, "a new boot id is news");
	writers_note(w, ROLE_SMTPD, 77, 6, 2, &news);
	ok(!news.is_new && news.lost == 0 && news.repeated == 0,
	    "the next number loses nothing");
	writers_note(w, ROLE_SMTPD, 77, 11, 1, &news);
	is_u64(news.lost, 3, "three numbers left out are three events lost");
	writers_note(w, ROLE_SMTPD, 77, 10, 4, &news);
	is_u64(news.repeated, 2, "two of four were here before");
	writers_note(w, ROLE_AUTHD, 77, 1, 1, &news);
	ok(news.is_new, "a boot id counts with its role");
	writers_note(w, ROLE_SMTPD, 5, UINT64_MAX, 9, &news);
	writers_note(w, ROLE_SMTPD, 5, 1, 9, &news);
	is_u64(news.lost, 0, "numbers that run over lose nothing");
	for (unsigned i = 0; i < 1000; i++)
		writers_note(w, ROLE_SMTPD, 1000 + i, 1, 1, &news);
	writers_note(w, ROLE_AUTHD, 77, 2, 1, &news);
	ok(!news.is_new,
	    "a role that invents boot ids does not push out another's");
	free(w);
}

static void
test_budget(void)
{
	struct writers *w = xcalloc(1, sizeof(*w));
	uint64_t allowed = 0;

	/* 100,000 events a second, in datagrams of 100, for 30 seconds. */
	for (uint64_t ms = 1; ms <= 30000; ms++)
		if (writers_may(w, ROLE_SMTPD, ms, 100, 20000))
			allowed += 100;
	ok(allowed <= WRITER_EVENTS_BURST + 30 * WRITER_EVENTS_PER_S,
	    "a flood gets its budget: %llu of 3,000,000 events",
	    (unsigned long long)allowed);
	ok(allowed >= 100000, "and no less");
	ok(writers_may(w, ROLE_AUTHD, 30000, 100, 20000),
	    "another role's budget is its own");
	free(w);
}

static void
test_writers_file(void)
{
	struct writers *w = xcalloc(1, sizeof(*w));
	struct writer_news news;
	char path[] = "/tmp/test_log_writers.XXXXXX";
	int fd = mkstemp(path);

	if (fd == -1)
		fatal("mkstemp: %s", strerror(errno));
	writers_note(w, ROLE_SMTPD, 77, 1, 5, &news);
	writers_save(w, fd);
	memset(w, 0, sizeof(*w));
	writers_load(w, fd);
	writers_note(w, ROLE_SMTPD, 77, 9, 1, &news);
	ok(!news.is_new && news.lost == 3,
	    "a gap over a crash of the hub is seen");
	(void)!write(fd, "garbage that is no file of writers", 30);
	writers_load(w, fd);
	pass("a damaged file of writers is survived");
	(void)close(fd);
	(void)unlink(path);
	free(w);
}

static void
test_life_seen(void)
{
	struct life_seen *seen = life_seen_new();
	unsigned again = 0;
	unsigned kept = 0;

	ok(life_seen_add(seen, 5, 1), "a life event is new once");
	ok(!life_seen_add(seen, 5, 1), "and then known");
	ok(life_seen_add(seen, 5, 2), "another number is another event");
	for (uint64_t i = 0; i < 100000; i++) {
		again += !life_seen_add(seen, 1000 + i / 4, 1 + i % 4);
		again += life_seen_add(seen, 1000 + i / 4, 1 + i % 4);
	}
	is_u64(again, 0, "100,000 events: each new once, then known");
	for (uint64_t i = 100000 - LIFE_SEEN_MAX; i < 100000; i++)
		kept += !life_seen_add(seen, 1000 + i / 4, 1 + i % 4);
	is_u64(kept, LIFE_SEEN_MAX, "the last ones are all kept");
	life_seen_free(seen);
}

int
main(void)
{
	test_writers();
	test_budget();
	test_writers_file();
	test_life_seen();
	return tap_done();
}
