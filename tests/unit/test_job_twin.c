/* SPDX-License-Identifier: ISC */
/*
 * Outputs of one incoming message that are the same, and how much is held of
 * them.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "signer/job_twin.h"
#include "tests/unit/tap.h"

#define TRACKS 3

static struct track tracks[TRACKS];
static struct job job;

static void
set_up(enum sign_direction direction)
{
	memset(tracks, 0, sizeof(tracks));
	job = (struct job){
	    .direction = direction, .tracks = tracks, .track_count = TRACKS};
	for (size_t i = 0; i < TRACKS; i++) {
		tracks[i].job = &job;
		tracks[i].fd = -1;
		tracks[i].applied = APPLIED_VERIFIED;
		tracks[i].outcome = SIGNED_DONE;
	}
}

static int
print_of(struct track *track, const char *text)
{
	const struct task_result result = {
	    .fd = -1, .content = slice_of(text), .size_octets = strlen(text)};

	return track_print(track, &result);
}

static int
print_of_file(struct track *track, const char *text)
{
	struct task_result result = {.fd = memfd_create("output", MFD_CLOEXEC),
	    .size_octets = strlen(text)};
	int rc = -1;

	if (result.fd != -1 &&
	    write(result.fd, text, strlen(text)) == (ssize_t)strlen(text))
		rc = track_print(track, &result);
	close_if_open(&result.fd);
	return rc;
}

/* The first was sent; the second is the same so far. */
static void
set_up_twins(void)
{
	set_up(DIRECTION_IN);
	(void)print_of(&tracks[0], "A: b\r\n\r\nhello\r\n");
	(void)print_of(&tracks[1], "A: b\r\n\r\nhello\r\n");
	tracks[0].number = 1;
}

static void
test_same(void)
{
	set_up_twins();
	ok(track_twin(&tracks[1]) == &tracks[0], "the same octets");
	ok(track_twin(&tracks[0]) == NULL, "nobody is his own twin");
	tracks[0].number = 0;
	ok(track_twin(&tracks[1]) == NULL, "one that was never sent");
	set_up_twins();
	ok(print_of_file(&tracks[2], "A: b\r\n\r\nhello\r\n") == 0 &&
		track_twin(&tracks[2]) == &tracks[0],
	    "a file of the same octets");
}

static void
test_other(void)
{
	set_up_twins();
	(void)print_of(&tracks[1], "A: b\r\n\r\nhellO\r\n");
	ok(track_twin(&tracks[1]) == NULL, "another octet");
	(void)print_of(&tracks[1], "A: b\r\n\r\nhello\r\n.");
	ok(track_twin(&tracks[1]) == NULL, "another size");
	set_up_twins();
	tracks[1].follows = 7;
	ok(track_twin(&tracks[1]) == NULL, "the message follows on one");
	set_up_twins();
	tracks[1].applied |= APPLIED_DECRYPTED;
	ok(track_twin(&tracks[1]) == NULL, "one was decrypted");
	set_up_twins();
	tracks[1].outcome = SIGNED_HOLD;
	ok(track_twin(&tracks[1]) == NULL, "one is held");
	set_up_twins();
	(void)snprintf(
	    tracks[1].method_text, sizeof(tracks[1].method_text), "smime fail");
	ok(track_twin(&tracks[1]) == NULL, "something else is said of one");
}

static void
test_unreadable(void)
{
	int ends[2];

	set_up_twins();
	ok(pipe(ends) == 0, "a pipe");
	ok(track_print(&tracks[1],
	       &(struct task_result){.fd = ends[0], .size_octets = 3}) == -1,
	    "no regular file");
	ok(track_twin(&tracks[1]) == NULL, "and then no twin");
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void
test_room(void)
{
	set_up(DIRECTION_IN);
	ok(track_has_room(&tracks[0], 4 * HELD_OCTETS_MAX),
	    "the first may have what it needs");
	tracks[1].sent_octets = HELD_OCTETS_MAX - 10;
	ok(track_has_room(&tracks[0], 10), "what just fits");
	ok(!track_has_room(&tracks[0], 11), "one octet more");
	tracks[2].size = 10;
	ok(track_has_room(&tracks[0], 10), "what was let go is not held");
	tracks[2].has_content = true;
	ok(!track_has_room(&tracks[0], 1), "what is on its way is");
	tracks[2].size = 4 * HELD_OCTETS_MAX;
	ok(!track_has_room(&tracks[0], 0), "nothing beside too much");
	ok(!track_has_room(&tracks[0], UINT64_MAX), "no sum wraps");
	job.direction = DIRECTION_OUT;
	ok(track_has_room(&tracks[0], 1), "what goes out is asked for");
}

int
main(void)
{
	test_same();
	test_other();
	test_unreadable();
	test_room();
	return tap_done();
}
