/* SPDX-License-Identifier: ISC */
/*
 * Messages at the signer, each recipient by himself: many of them, some that
 * wait or fail, all or none; and an administrator who comes in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/queue_sign.h"
#include "relay/queue_sign_share.h"
#include "relay/queue_spool.h"
#include "relay/spool_stream.h"
#include "tests/unit/signer_scenes.h"
#include "tests/unit/tap.h"

/* Too large for queue.db: a file of the spool. */
#define LARGE_OCTETS 3000000

/* ---- an administrator in between ---- */

/* A mail of large outputs at the signer, that had to wait for it. */
static void
start_waiting(struct signer_world *world)
{
	scene_start(world, MUST_ENCRYPT);
	signer_world_disconnect(world);
	scene_submit_one(world, MAIL);
	scene_wait_answer(world);
	signer_world_connect(world, "");
	SIGNER_WAIT(world, scene_has_tried(world, 1));
	signer_world_output_file(world, 1, LARGE_OCTETS);
}

static bool
has_output_file(struct signer_world *world)
{
	int fd;

	pool_finish(world->world.queued.spool->pool);
	fd = queue_spool_open(world->world.queued.spool, world->message_id, 1);
	if (fd != -1)
		(void)close(fd);
	return fd != -1;
}

static void
change_output_file(struct signer_world *world)
{
	int fd =
	    queue_spool_open(world->world.queued.spool, world->message_id, 1);
	char path[64];
	int writable;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	writable = open(path, O_WRONLY | O_CLOEXEC);
	if (writable == -1 || pwrite(writable, "!", 1, LARGE_OCTETS - 1) != 1)
		fatal("%s: %s", path, strerror(errno));
	(void)close(writable);
	(void)close(fd);
}

static void
settle_file(struct signer_world *world)
{
	signer_world_result(world, 0, SIGNED_DONE, "", scene_sealed, 1);
	SIGNER_WAIT(world,
	    dispatch_message(world->world.queued.dispatch, world->message_id) ==
		    NULL ||
		dispatch_waiting(world->world.queued.dispatch) == 1);
	world_settle(&world->world);
}

static void
test_held_meanwhile(void)
{
	struct signer_world world;

	start_waiting(&world);
	world_sql(&world.world, "UPDATE rcpt SET state=1");
	settle_file(&world);
	is_int(signer_world_count(
		   &world, "SELECT count(*) FROM rcpt WHERE state=1"),
	    1, "what was held while the signer had it stays held");
	is_int(scene_waits(&world), 1, "and waits");
	is_int(scene_rows(&world, "output"), 1, "without an output");
	ok(!has_output_file(&world), "or its file");
	scene_is_leaving(&world, NULL, "held");
	world_sql(&world.world, "UPDATE rcpt SET state=0");
	scene_make_due_and_wait(&world);
	signer_world_output_file(&world, 1, LARGE_OCTETS);
	settle_file(&world);
	is_int(scene_waits(&world), 0,
	    "released, it is given to the signer again");
	ok(has_output_file(&world), "and has its output");
	signer_world_clear(&world);
}

static void
test_deleted_meanwhile(void)
{
	struct signer_world world;

	start_waiting(&world);
	world_sql(&world.world,
	    "DELETE FROM rcpt; DELETE FROM output; DELETE FROM demand;"
	    " DELETE FROM protection; DELETE FROM msg");
	settle_file(&world);
	is_int(scene_rows(&world, "output") + scene_rows(&world, "msg") +
		   scene_rows(&world, "rcpt") + scene_rows(&world, "demand"),
	    0, "what was deleted while the signer had it leaves no row");
	ok(!has_output_file(&world), "and no file");
	scene_is_leaving(&world, NULL, "deleted");
	signer_world_clear(&world);
}

/* An administrator was faster than the word that it is committed. */
static void
test_gone_before_its_turn(void)
{
	struct signer_world world;
	struct queued *queued = &world.world.queued;
	struct queue_message *message;
	struct delivery *claim;
	uint64_t id;

	scene_start(&world, MUST_ENCRYPT);
	id = signer_world_submit(&world, true, scene_one, 1, MAIL);
	SIGNER_WAIT(&world, world.jobs == 1);
	message = queue_message_new(id, 0);
	claim = dispatch_claim(queued->dispatch, message);
	scene_wait_answer(&world); /* after 3 s */
	is_int(scene_waits(&world), 1, "late, and in an administrator's hands");
	signer_world_output(&world, 1, SEALED);
	signer_world_result(&world, 0, SIGNED_DONE, "", scene_sealed, 1);
	world_settle(&world.world);
	is_int(
	    scene_waits(&world), 1, "the signer's word changes nothing then");
	dispatch_forget(queued->dispatch, claim);
	message->protection = queue_protection_new(0);
	queue_sign_gone(queued->sign, message);
	world_sql(&world.world,
	    "DELETE FROM rcpt; DELETE FROM output; DELETE FROM demand;"
	    " DELETE FROM protection; DELETE FROM msg");
	scene_make_due(&world);
	is_int(scene_rows(&world, "output"), 0, "deleted, it leaves no row");
	queue_message_unref(message);
	signer_world_clear(&world);
}

/* ---- many recipients ---- */

#define MANY 250

/* Delivers all that may leave now; how many deliveries it was. */
static unsigned
deliver_all(struct signer_world *world)
{
	unsigned count = 0;

	for (; world_deliver_one(&world->world); count++)
		world_settle(&world->world);
	return count;
}

static void
submit_many(struct signer_world *world, size_t count)
{
	const char *domains[MANY];

	for (size_t i = 0; i < count; i++)
		domains[i] = "away.test";
	(void)signer_world_submit(world, true, domains, count, MAIL);
}

/* The signer serves all that it is asked for now; then it is asked again. */
static void
serve_next(struct signer_world *world)
{
	const unsigned jobs = world->jobs;

	signer_world_serve(world, SEALED);
	SIGNER_WAIT(world, world->jobs > jobs);
	world_settle(&world->world);
}

static void
serve_last(struct signer_world *world)
{
	signer_world_serve(world, SEALED);
	SIGNER_WAIT(world, scene_waits(world) == 0);
	world_settle(&world->world);
}

static void
test_many(void)
{
	struct signer_world world;

	scene_start(&world, MUST_ENCRYPT);
	submit_many(&world, MANY);
	scene_wait_answer(&world);
	is_int(world.code, 250, "mail to many is taken at once");
	SIGNER_WAIT(&world, world.jobs == 1);
	is_int(world.recipients, SIGN_SHARE_OUTPUTS, "a share is asked for");
	scene_is_leaving(&world, NULL, "many");
	serve_next(&world);
	is_int(world.recipients, SIGN_SHARE_OUTPUTS, "then the next one");
	is_int(world.numbers[0], SIGN_SHARE_OUTPUTS, "of the others");
	is_int(dispatch_waiting(world.world.queued.dispatch),
	    SIGN_SHARE_OUTPUTS, "who has his may have it");
	is_int(signer_world_count(
		   &world, "SELECT count(*) FROM demand WHERE waits=1"),
	    MANY - SIGN_SHARE_OUTPUTS, "who has not waits");
	is_int(scene_waits(&world), 1, "and so does the message");
	is_int(deliver_all(&world), SIGN_SHARE_OUTPUTS, "some are delivered");
	scene_restart(&world);
	scene_make_due(&world);
	scene_is_leaving(&world, NULL, "after a restart");
	world.jobs = 0;
	signer_world_connect(&world, "");
	SIGNER_WAIT(&world, scene_has_tried(&world, 1));
	is_int(world.numbers[0], SIGN_SHARE_OUTPUTS,
	    "after a restart it goes on where it was");
	serve_next(&world);
	is_int(world.recipients, MANY - 2 * SIGN_SHARE_OUTPUTS,
	    "the last are fewer");
	serve_last(&world);
	is_int(scene_rows(&world, "output"), 1 + MANY, "each has his own");
	is_int(signer_world_count(&world,
		   "SELECT count(DISTINCT output) FROM rcpt WHERE output > 0"),
	    MANY - SIGN_SHARE_OUTPUTS, "and nobody another one's");
	is_int(deliver_all(&world), MANY - SIGN_SHARE_OUTPUTS,
	    "each of the others has it once");
	is_int(scene_rows(&world, "msg") + scene_rows(&world, "output") +
		   scene_rows(&world, "demand"),
	    0, "and no row is left");
	signer_world_clear(&world);
}

/* They share one output: no reason for more than one question. */
static void
test_many_alike(void)
{
	struct signer_world world;
	struct signer_says says[MANY];

	scene_start(&world, "* * dkim required");
	submit_many(&world, MANY);
	SIGNER_WAIT(&world, world.jobs == 1);
	is_int(world.answers, 0, "mail to many that is signed for all alike");
	is_int(world.recipients, MANY, "is asked for at once");
	for (size_t i = 0; i < MANY; i++)
		says[i] = scene_stamped[0];
	signer_world_output_before(&world, 1, FIELD, world.size);
	signer_world_result(&world, 0, SIGNED_DONE, "", says, MANY);
	scene_wait_answer(&world);
	is_int(scene_waits(&world), 0, "and does not wait");
	is_int(scene_rows(&world, "output"), 2, "with one output for all");
	signer_world_clear(&world);
}

/* Of three one can be served, one waits and one fails. */
static void
test_each_by_himself(void)
{
	struct signer_world world;
	const struct signer_says says[] = {
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 1, "2.0.0", ""},
	    {SIGNED_TEMPORARY, 0, 0, "4.7.3", "Looked for"},
	    {SIGNED_PERMANENT, 0, 0, "5.7.3", "No key for r2"},
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 2, "2.0.0", ""}};

	scene_start(&world, MUST_ENCRYPT);
	submit_many(&world, 4);
	SIGNER_WAIT(&world, world.jobs == 1);
	signer_world_output(&world, 1, SEALED);
	signer_world_output(&world, 2, SEALED);
	signer_world_result(&world, 0, SIGNED_DONE, "", says, 4);
	scene_wait_answer(&world);
	is_int(world.code, 250, "what some can have is taken");
	SIGNER_WAIT(&world, dispatch_waiting(world.world.queued.dispatch) == 3);
	is_int(scene_waits(&world), 1, "one waits");
	is_int(signer_world_count(&world,
		   "SELECT count(*) FROM rcpt JOIN demand USING(msg, number)"
		   " WHERE number=1 AND waits=1 AND"
		   " last_enhanced='4.7.3' AND last_reply='Looked for'"),
	    1, "the one without, for his reason");
	is_int(signer_world_count(
		   &world, "SELECT count(*) FROM msg WHERE flags & 4"),
	    1, "of the one who fails his sender is told");
	ok(world_deliver_one(&world.world), "another has it");
	world_settle(&world.world);
	scene_make_due_and_wait(&world);
	is_int(world.recipients, 1, "the signer is asked again");
	is_int(world.numbers[0], 1, "for him alone");
	serve_last(&world);
	is_int(signer_world_count(
		   &world, "SELECT output FROM rcpt WHERE number=1"),
	    3, "what he gets is another output than theirs");
	is_int(deliver_all(&world), 3,
	    "nobody has it twice: two of it and the notification");
	is_int(scene_rows(&world, "msg"), 0, "all are served");
	signer_world_clear(&world);
}

/* One after the other gets a large output; the second's is as large. */
static void
test_one_by_one(bool is_same)
{
	const char *what = is_same ? "the same octets" : "others";
	struct signer_world world;
	const struct signer_says first[] = {
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 1, "2.0.0", ""},
	    {SIGNED_TEMPORARY, 0, 0, "4.7.3", "Looked for"}};

	scene_start(&world, MUST_ENCRYPT);
	submit_many(&world, 2);
	SIGNER_WAIT(&world, world.jobs == 1);
	signer_world_output_file(&world, 1, LARGE_OCTETS);
	signer_world_result(&world, 0, SIGNED_DONE, "", first, 2);
	scene_wait_answer(&world);
	SIGNER_WAIT(&world, dispatch_waiting(world.world.queued.dispatch) == 1);
	scene_make_due_and_wait(&world);
	if (!is_same) /* in the file that is there, instead */
		change_output_file(&world);
	signer_world_output_file(&world, 1, LARGE_OCTETS);
	signer_world_result(&world, 0, SIGNED_DONE, "", scene_sealed, 1);
	SIGNER_WAIT(&world, scene_waits(&world) == 0);
	world_settle(&world.world);
	is_int(scene_rows(&world, "output"), is_same ? 2 : 3, "%s: stored %s",
	    what, is_same ? "once" : "again");
	is_int(signer_world_count(
		   &world, "SELECT count(DISTINCT output) FROM rcpt"),
	    is_same ? 1 : 2, "%s: for whom it is", what);
	is_int(deliver_all(&world), 2, "%s: each has it once", what);
	is_int(scene_rows(&world, "msg") + scene_rows(&world, "output"), 0,
	    "%s: and no row is left", what);
	ok(!has_output_file(&world), "%s: nor a file", what);
	signer_world_clear(&world);
}

/* The one whose output falls short is the only one who waits for it. */
static void
test_short_for_one(void)
{
	struct signer_world world;
	const struct signer_says says[] = {
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 1, "2.0.0", ""},
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 2, "2.0.0", ""}};

	scene_start(&world, MUST_ENCRYPT);
	submit_many(&world, 2);
	SIGNER_WAIT(&world, world.jobs == 1);
	signer_world_output(&world, 1, MAIL);
	signer_world_output(&world, 2, SEALED);
	signer_world_result(&world, 0, SIGNED_DONE, "", says, 2);
	scene_wait_answer(&world);
	SIGNER_WAIT(&world, dispatch_waiting(world.world.queued.dispatch) == 1);
	ok(world.world.alerts > 0, "a plain output alarms");
	is_int(scene_rows(&world, "output"), 2, "and is not kept");
	scene_is_leaving(&world, SEALED, "the other one");
	is_int(scene_waits(&world), 1, "who was to get the plain one waits");
	signer_world_clear(&world);
}

#define ALL_OR_NONE "* * encrypt required-all"

static const struct signer_says one_waits[] = {
    {SIGNED_DONE, APPLIED_ENCRYPTED, 1, "2.0.0", ""},
    {SIGNED_TEMPORARY, 0, 0, "4.7.3", "Looked for"},
    {SIGNED_DONE, APPLIED_ENCRYPTED, 2, "2.0.0", ""}};

static void
start_all_or_none(struct signer_world *world)
{
	scene_start(world, ALL_OR_NONE);
	submit_many(world, 3);
	SIGNER_WAIT(world, world->jobs == 1);
	signer_world_output(world, 1, SEALED);
	signer_world_output(world, 2, SEALED);
	signer_world_result(world, 0, SIGNED_DONE, "", one_waits, 3);
	scene_wait_answer(world);
	is_int(world->code, 250, "all or none: while one waits it is taken");
	is_int(signer_world_count(
		   world, "SELECT count(*) FROM demand WHERE waits=2"),
	    2, "two are ready");
	is_int(scene_rows(world, "output"), 3, "their outputs are kept");
	scene_is_leaving(world, NULL, "all or none");
	scene_make_due_and_wait(world);
	is_int(world->recipients, 1, "the third is asked for");
	scene_is_leaving(world, NULL, "all or none, due");
}

static void
test_all_or_none(void)
{
	struct signer_world world;
	const struct signer_says refused = {
	    SIGNED_PERMANENT, 0, 0, "5.7.3", "No key for r1"};

	start_all_or_none(&world);
	serve_last(&world);
	is_int(deliver_all(&world), 3, "when he has his, all do");
	is_int(scene_rows(&world, "msg"), 0, "and nothing is left");
	signer_world_clear(&world);

	start_all_or_none(&world);
	signer_world_result(&world, 0, SIGNED_DONE, "", &refused, 1);
	SIGNER_WAIT(&world, scene_waits(&world) == 0);
	world_settle(&world.world);
	is_int(signer_world_count(
		   &world, "SELECT count(*) FROM msg WHERE flags & 4 = 0"),
	    0, "when he cannot have it, nobody has");
	is_int(scene_rows(&world, "demand"), 0, "no row of it is left");
	is_int(deliver_all(&world), 1, "but the notification");
	signer_world_clear(&world);
}

/* One is looked for until the time is over. */
static void
test_all_or_none_over(void)
{
	struct signer_world world;

	start_all_or_none(&world);
	world.world.queued.schedule.lifetime_ms = 0;
	signer_world_result(&world, 0, SIGNED_DONE, "", one_waits + 1, 1);
	SIGNER_WAIT(&world, scene_waits(&world) == 0);
	world_settle(&world.world);
	is_int(signer_world_count(
		   &world, "SELECT count(*) FROM msg WHERE flags & 4 = 0"),
	    0, "when his time is over, nobody has it");
	is_int(scene_rows(&world, "demand"), 0, "and nobody is left behind");
	is_int(deliver_all(&world), 1, "but the notification");
	signer_world_clear(&world);
}

/* More than a share, and all or none of them. */
static void
test_many_all_or_none(void)
{
	struct signer_world world;

	scene_start(&world, ALL_OR_NONE);
	submit_many(&world, MANY);
	scene_wait_answer(&world);
	SIGNER_WAIT(&world, world.jobs == 1);
	serve_next(&world);
	serve_next(&world);
	scene_is_leaving(&world, NULL, "before the last share");
	is_int(world.recipients, MANY - 2 * SIGN_SHARE_OUTPUTS,
	    "the last share is asked for");
	serve_last(&world);
	is_int(deliver_all(&world), MANY, "then all leave");
	is_int(scene_rows(&world, "msg"), 0, "and nothing is left");
	signer_world_clear(&world);
}

int
main(void)
{
	test_held_meanwhile();
	test_deleted_meanwhile();
	test_gone_before_its_turn();
	test_many();
	test_many_alike();
	test_each_by_himself();
	test_one_by_one(true);
	test_one_by_one(false);
	test_short_for_one();
	test_all_or_none();
	test_all_or_none_over();
	test_many_all_or_none();
	return tap_done();
}
