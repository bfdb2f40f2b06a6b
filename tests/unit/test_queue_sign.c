/* SPDX-License-Identifier: ISC */
/*
 * Messages on their way through the signer: each row of the table of states in
 * relay/queue_sign.h, and that nothing leaves unprotected on any of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/queue_refill.h"
#include "relay/queue_result.h"
#include "relay/queue_sign.h"
#include "relay/queue_spool.h"
#include "relay/spool_stream.h"
#include "tests/unit/signer_scenes.h"
#include "tests/unit/tap.h"

/* ---- in time ---- */

static void
test_nothing_applies(void)
{
	struct signer_world world;

	scene_start(&world, "@other.test * sign required");
	scene_submit_one(&world, MAIL);
	scene_wait_answer(&world);
	is_int(world.code, 250, "mail that no rule names is taken");
	is_int(world.jobs, 0, "without a question to the signer");
	is_int(scene_rows(&world, "protection"), 0, "and without a row");
	ok(scene_next_delivery(&world) != NULL, "it leaves");
	signer_world_clear(&world);
}

static void
test_in_time(void)
{
	struct signer_world world;

	scene_start(
	    &world, "* * encrypt required trigger subject [secure] encrypt");
	scene_submit_one(&world, MAIL);
	is_int(world.jobs, 1, "the signer is asked");
	is_int(world.answers, 0, "before the client has his answer");
	is_int(scene_rows(&world, "msg"), 0, "nothing is committed yet");
	is_str(world.header_from, "a@ours.test", "it is told From");
	is_str(world.removals, "subject [secure];", "and what to take out");
	is_int(world.encrypt, ENCRYPT_REQUIRED, "and the demand");
	is_str(world.content, MAIL, "it has the content");
	signer_world_output(&world, 1, SEALED);
	signer_world_result(&world, 0, SIGNED_DONE, "", scene_sealed, 1);
	scene_wait_answer(&world);
	is_int(world.code, 250, "then it is taken");
	is_int(scene_waits(&world), 0, "it does not wait");
	is_int(scene_rows(&world, "output"), 2, "both forms are kept");
	is_int(signer_world_count(&world, "SELECT applied FROM demand"),
	    APPLIED_ENCRYPTED, "and what was done");
	scene_is_leaving(&world, SEALED, "in time");
	ok(world_deliver_one(&world.world), "it is delivered");
	world_settle(&world.world);
	is_int(scene_rows(&world, "msg") + scene_rows(&world, "output") +
		   scene_rows(&world, "protection") +
		   scene_rows(&world, "demand"),
	    0, "and leaves no row behind");
	signer_world_clear(&world);
}

static void
test_outputs(void)
{
	struct signer_world world;
	const struct signer_says says[] = {
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 1, "2.0.0", ""},
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 2, "2.0.0", ""}};
	static const char *const same[] = {"away.test", "away.test"};

	scene_start(&world, MUST_ENCRYPT);
	(void)signer_world_submit(&world, true, same, 2, MAIL);
	SIGNER_WAIT(&world, world.jobs == 1);
	signer_world_output(&world, 1, SEALED);
	signer_world_output(&world, 2, SEALED "second\r\n");
	signer_world_result(&world, 0, SIGNED_DONE, "", says, 2);
	scene_wait_answer(&world);
	is_int(dispatch_waiting(world.world.queued.dispatch), 2,
	    "two recipients of a domain with outputs of their own do not "
	    "share a transaction");
	signer_world_clear(&world);
}

static void
test_fields_before(void)
{
	struct signer_world world;
	struct queued *queued = &world.world.queued;

	scene_start(&world, "* * dkim required");
	scene_submit_one(&world, MAIL);
	signer_world_output_before(&world, 1, FIELD, sizeof(MAIL) - 1);
	signer_world_result(&world, 0, SIGNED_DONE, "", scene_stamped, 1);
	scene_wait_answer(&world);
	is_int(world.code, 250, "fields that come before the mail");
	is_int(scene_waits(&world), 0, "are all that the signer has to send");
	scene_is_leaving(&world, FIELD MAIL, "put together");
	is_int(signer_world_count(
		   &world, "SELECT length(content) FROM output WHERE number=1"),
	    sizeof(FIELD MAIL) - 1, "and kept as a whole");

	signer_world_disconnect(&world);
	world.answers = 0;
	scene_submit_one(&world, MAIL);
	scene_wait_answer(&world);
	world.jobs = 0;
	signer_world_connect(&world, "");
	SIGNER_WAIT(&world, scene_has_tried(&world, 1));
	queue_message_drop_content(
	    dispatch_message(queued->dispatch, world.message_id));
	signer_world_output_before(&world, 1, FIELD, sizeof(MAIL) - 1);
	signer_world_result(&world, 0, SIGNED_DONE, "", scene_stamped, 1);
	SIGNER_WAIT(&world, world.forgotten == 1);
	world_settle(&world.world);
	is_int(scene_waits(&world), 1,
	    "when the mail left memory meanwhile it goes on to wait");
	scene_make_due_and_wait(&world);
	signer_world_output_before(&world, 1, FIELD, sizeof(MAIL) - 1);
	signer_world_result(&world, 0, SIGNED_DONE, "", scene_stamped, 1);
	SIGNER_WAIT(&world, scene_waits(&world) == 0);
	is_int(signer_world_count(&world,
		   "SELECT count(*) FROM output WHERE number=1 AND"
		   " instr(content, 'DKIM-Signature: v=1') = 1 AND"
		   " instr(content, 'Hello') > 0"),
	    2, "and is read from disk for the next attempt");
	ok(world.signer != NULL, "nobody lost a channel for that");
	signer_world_clear(&world);
}

static void
test_large_outputs(void)
{
	struct signer_world world;
	char *large = xmalloc(IPC_INLINE_MAX + 100);
	const struct signer_says says[] = {
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 1, "2.0.0", ""},
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 2, "2.0.0", ""}};
	uint64_t id;
	int fd;

	memset(large, 'x', IPC_INLINE_MAX + 99);
	memcpy(large, SEALED, sizeof(SEALED) - 1);
	large[IPC_INLINE_MAX + 99] = '\0';
	scene_start(&world, MUST_ENCRYPT);
	id = signer_world_submit(&world, true, scene_two, 2, MAIL);
	SIGNER_WAIT(&world, world.jobs == 1);
	signer_world_output(&world, 1, large);
	signer_world_output_file(&world, 2, 3000000);
	signer_world_result(&world, 0, SIGNED_DONE, "", says, 2);
	scene_wait_answer(&world);
	is_int(world.code, 250, "large outputs are taken");
	is_int(signer_world_count(
		   &world, "SELECT sum(size) FROM output WHERE is_file=1"),
	    IPC_INLINE_MAX + 99 + 3000000, "as files");
	fd = queue_spool_open(world.world.queued.spool, id, 1);
	ok(fd != -1, "the first is in the spool");
	(void)close(fd);
	fd = queue_spool_open(world.world.queued.spool, id, 2);
	is_int(lseek(fd, 0, SEEK_END), 3000000, "the second is a whole copy");
	(void)close(fd);
	scene_restart(&world);
	fd = queue_spool_open(world.world.queued.spool, id, 2);
	ok(fd != -1, "files that rows name outlive a restart");
	(void)close(fd);
	scene_make_due(&world);
	while (world_deliver_one(&world.world))
		world_settle(&world.world);
	is_int(scene_rows(&world, "msg"), 0, "both are delivered");
	pool_finish(world.world.queued.spool->pool);
	fd = queue_spool_open(world.world.queued.spool, id, 1);
	is_int(fd, -1, "and their files go");
	free(large);
	signer_world_clear(&world);
}

static void
test_refused(void)
{
	struct signer_world world;
	const struct signer_says says[] = {
	    {SIGNED_PERMANENT, 0, 0, "5.7.3", "No key for r0"}};

	scene_start(&world, MUST_ENCRYPT);
	scene_submit_one(&world, MAIL);
	signer_world_result(&world, 0, SIGNED_DONE, "", says, 1);
	scene_wait_answer(&world);
	is_int(world.code, 550, "when nobody can be served it is refused");
	is_str(world.enhanced, "5.7.3", "with the signer's code");
	is_str(world.text, "No key for r0", "and words");
	is_int(scene_rows(&world, "msg"), 0, "and nothing is kept");
	world.answers = 0;
	scene_submit_one(&world, MAIL);
	signer_world_result(&world, 0, SIGNED_PERMANENT, "Never", NULL, 0);
	scene_wait_answer(&world);
	is_int(world.code, 550, "so it is when the signer refuses it whole");
	signer_world_clear(&world);
}

static void
test_partly_refused(void)
{
	struct signer_world world;
	const struct signer_says says[] = {
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 1, "2.0.0", ""},
	    {SIGNED_PERMANENT, 0, 0, "5.7.3", "No key for r1"}};

	scene_start(&world, MUST_ENCRYPT);
	(void)signer_world_submit(&world, true, scene_two, 2, MAIL);
	SIGNER_WAIT(&world, world.jobs == 1);
	signer_world_output(&world, 1, SEALED);
	signer_world_result(&world, 0, SIGNED_DONE, "", says, 2);
	scene_wait_answer(&world);
	is_int(world.code, 250, "some can be served: it is taken");
	is_int(signer_world_count(&world,
		   "SELECT count(*) FROM rcpt JOIN msg ON msg.id=rcpt.msg"
		   " WHERE (flags & 4) = 0"),
	    1, "the other one is gone");
	is_int(signer_world_count(
		   &world, "SELECT count(*) FROM msg WHERE flags & 4"),
	    1, "and the sender is told");
	is_int(signer_world_count(&world,
		   "SELECT instr(content, 'No key for r1') > 0 FROM output"
		   " JOIN msg ON msg.id=output.msg WHERE flags & 4"),
	    1, "why");
	is_int(signer_world_count(&world,
		   "SELECT instr(content, '[secure] x') + instr(content,"
		   " 'Hello') FROM output JOIN msg ON msg.id=output.msg"
		   " WHERE flags & 4"),
	    0, "without the subject or text that were to be encrypted");
	signer_world_clear(&world);
}

/* ---- late, lost, wrong ---- */

static void
test_late(void)
{
	struct signer_world world;

	scene_start(&world, MUST_ENCRYPT);
	scene_submit_one(&world, MAIL);
	scene_wait_answer(&world); /* after 3 s */
	is_int(world.code, 250, "a late signer does not keep the client");
	is_int(scene_waits(&world), 1, "the message waits");
	scene_is_leaving(&world, NULL, "late");
	scene_make_due(&world);
	is_int(world.jobs, 1, "its attempt goes on, there is no other");
	signer_world_output(&world, 1, SEALED);
	signer_world_result(&world, 0, SIGNED_DONE, "", scene_sealed, 1);
	SIGNER_WAIT(&world, dispatch_waiting(world.world.queued.dispatch) == 1);
	is_int(
	    scene_waits(&world), 0, "when its answer comes it does not wait");
	scene_is_leaving(&world, SEALED, "late");
	signer_world_clear(&world);
}

static void
test_temporary(void)
{
	struct signer_world world;

	scene_start(&world, MUST_ENCRYPT);
	scene_submit_one(&world, MAIL);
	signer_world_result(&world, 0, SIGNED_TEMPORARY, "Busy", NULL, 0);
	scene_wait_answer(&world);
	is_int(world.code, 250, "\"temporary\" is no reason to refuse");
	is_int(scene_waits(&world), 1, "the message waits");
	scene_is_leaving(&world, NULL, "temporary");
	is_int(signer_world_count(&world,
		   "SELECT count(*) FROM rcpt WHERE last_code=451 AND"
		   " last_enhanced='4.7.5'"),
	    1, "the reason stands with the recipient");
	scene_make_due_and_wait(&world);
	is_int(world.attempt, 2, "the next attempt has the next number");
	signer_world_output(&world, 1, SEALED);
	signer_world_result(&world, 1, SIGNED_DONE, "", scene_sealed, 1);
	world_settle(&world.world);
	is_int(
	    scene_waits(&world), 1, "an answer of the one before is of nobody");
	signer_world_result(&world, 0, SIGNED_TEMPORARY, "Still", NULL, 0);
	world_settle(&world.world);
	is_int(signer_world_count(&world, "SELECT attempts FROM protection"), 2,
	    "attempts are counted on disk");
	ok(world.signer != NULL, "nobody lost a channel for that");
	signer_world_clear(&world);
}

static void
test_double_answer(void)
{
	struct signer_world world;

	scene_start(&world, MUST_ENCRYPT);
	scene_submit_one(&world, MAIL);
	signer_world_output(&world, 1, SEALED);
	signer_world_result(&world, 0, SIGNED_DONE, "", scene_sealed, 1);
	signer_world_output(&world, 2, SEALED);
	signer_world_result(&world, 0, SIGNED_PERMANENT, "No", NULL, 0);
	scene_wait_answer(&world);
	is_int(world.code, 250, "the first answer counts");
	is_int(scene_rows(&world, "output"), 2, "with its outputs");
	ok(world.signer != NULL, "a second one is forgotten");
	signer_world_clear(&world);
}

static void
test_channel_lost(void)
{
	struct signer_world world;

	scene_start(&world, MUST_ENCRYPT);
	scene_submit_one(&world, MAIL);
	signer_world_output(&world, 1, SEALED);
	signer_world_disconnect(&world);
	scene_wait_answer(&world);
	is_int(world.code, 250, "a signer that dies costs no mail");
	is_int(scene_waits(&world), 1, "it waits");
	scene_is_leaving(&world, NULL, "lost");
	scene_make_due(&world);
	is_int(scene_waits(&world), 1, "and goes on to wait");
	world.answers = 0;
	scene_submit_one(&world, MAIL);
	scene_wait_answer(&world);
	is_int(world.code, 250, "mail is taken without a signer");
	is_int(scene_waits(&world), 2, "it waits as well");
	world.jobs = 0;
	signer_world_connect(&world, "");
	SIGNER_WAIT(&world, scene_has_tried(&world, 2));
	is_int(world.jobs, 2, "both are tried when the signer comes back");
	signer_world_disconnect(&world);
	is_int(scene_waits(&world), 2, "and wait when it dies again");
	scene_is_leaving(&world, NULL, "lost again");
	signer_world_clear(&world);
}

/* One of two messages ends the signer each time. */
static void
test_poison(void)
{
	struct signer_world world;
	const struct signer_says says = {
	    SIGNED_DONE, APPLIED_ENCRYPTED, 1, "2.0.0", ""};
	uint64_t poison;

	scene_start(&world, MUST_ENCRYPT);
	poison = signer_world_submit(&world, true, scene_one, 1, MAIL);
	(void)signer_world_submit(&world, true, scene_one, 1, MAIL);
	SIGNER_WAIT(&world, world.jobs == 2);
	signer_world_disconnect(&world);
	SIGNER_WAIT(&world, world.answers == 2);
	world_settle(&world.world);
	world.jobs = 0;
	signer_world_connect(&world, "");
	(void)scene_has_tried(&world, 1);
	world_settle(&world.world);
	is_int(world.jobs, 0,
	    "messages over which the signer ended are not tried at once");
	scene_make_due_and_wait(&world);
	is_int(world.jobs, 1, "and then one at a time");
	while (world.message_id == poison) {
		signer_world_disconnect(&world);
		world.jobs = 0;
		signer_world_connect(&world, "");
		world_sql(&world.world,
		    "UPDATE rcpt SET next_ms=1 WHERE msg=(SELECT max(id) FROM"
		    " msg)");
		queue_refill_missed(world.world.queued.refill);
		SIGNER_WAIT(&world, scene_has_tried(&world, 1));
	}
	signer_world_output(&world, 1, SEALED);
	signer_world_result(&world, 0, SIGNED_DONE, "", &says, 1);
	SIGNER_WAIT(&world, dispatch_waiting(world.world.queued.dispatch) == 1);
	is_int(scene_waits(&world), 1, "so the other one goes on");
	signer_world_clear(&world);
}

static const struct {
	const char *label;
	const char *rules;
	uint16_t applied;
	const char *output; /* NULL: none */
} short_answers[] = {
    {"no encryption applied", MUST_ENCRYPT, APPLIED_SIGNED, SIGNED},
    {"nothing applied", MUST_ENCRYPT, 0, NULL},
    {"no signature applied", "* * sign required", APPLIED_DKIM, SIGNED},
    {"no DKIM applied", "* * dkim required", APPLIED_SIGNED, SIGNED},
    {"an output that is not encrypted", MUST_ENCRYPT, APPLIED_ENCRYPTED, MAIL},
    {"an output that is signed only", MUST_ENCRYPT, APPLIED_ENCRYPTED, SIGNED},
    {"the mail as it came, called encrypted", MUST_ENCRYPT, APPLIED_ENCRYPTED,
	NULL},
    {"an output that is not signed", "* * sign required", APPLIED_SIGNED, MAIL},
    {"an output without DKIM-Signature", "* * dkim required", APPLIED_DKIM,
	MAIL},
};

static void
test_less_than_demanded(void)
{
	for (size_t i = 0; i < sizeof(short_answers) / sizeof(short_answers[0]);
	     i++) {
		struct signer_world world;
		const struct signer_says says = {SIGNED_DONE,
		    short_answers[i].applied,
		    short_answers[i].output != NULL ? 1 : 0, "2.0.0", ""};

		scene_start(&world, short_answers[i].rules);
		scene_submit_one(&world, MAIL);
		if (short_answers[i].output != NULL)
			signer_world_output(&world, 1, short_answers[i].output);
		signer_world_result(&world, 0, SIGNED_DONE, "", &says, 1);
		scene_wait_answer(&world);
		is_int(world.code, 250, "%s: the mail is taken",
		    short_answers[i].label);
		is_int(scene_waits(&world), 1, "%s: and waits",
		    short_answers[i].label);
		ok(world.world.alerts > 0, "%s: somebody is told",
		    short_answers[i].label);
		scene_is_leaving(&world, NULL, short_answers[i].label);
		signer_world_clear(&world);
	}
}

static void
breach_missing(struct signer_world *world)
{
	signer_world_result(world, 0, SIGNED_DONE, "", scene_sealed, 1);
}

static void
breach_unused(struct signer_world *world)
{
	const struct signer_says says = {SIGNED_DONE, 0, 0, "2.0.0", ""};

	signer_world_output(world, 1, SEALED);
	signer_world_result(world, 0, SIGNED_DONE, "", &says, 1);
}

static void
breach_number(struct signer_world *world)
{
	signer_world_output(world, 2, SEALED);
}

static void
breach_follows(struct signer_world *world)
{
	signer_world_output_before(world, 1, SEALED, world->size - 1);
}

static void
breach_empty(struct signer_world *world)
{
	signer_world_output(world, 1, "");
}

static void
breach_many(struct signer_world *world)
{
	signer_world_output(world, 1, SEALED);
	signer_world_output(world, 2, SEALED);
}

static void
breach_count(struct signer_world *world)
{
	const struct signer_says says[] = {
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 1, "2.0.0", ""},
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 1, "2.0.0", ""}};

	signer_world_output(world, 1, SEALED);
	signer_world_result(world, 0, SIGNED_DONE, "", says, 2);
}

static void
breach_outcome(struct signer_world *world)
{
	signer_world_result(world, 0, SIGN_OUTCOME_COUNT, "", NULL, 0);
}

static void
breach_applied(struct signer_world *world)
{
	const struct signer_says says = {
	    SIGNED_DONE, QUEUE_WAIVED, 0, "2.0.0", ""};

	signer_world_result(world, 0, SIGNED_DONE, "", &says, 1);
}

static void
breach_hold(struct signer_world *world)
{
	const struct signer_says says = {SIGNED_HOLD, 0, 0, "2.0.0", ""};

	signer_world_result(world, 0, SIGNED_DONE, "", &says, 1);
}

static const struct {
	const char *label;
	void (*run)(struct signer_world *world);
} breaches[] = {{"an output that was not sent", breach_missing},
    {"an output that nobody gets", breach_unused},
    {"outputs out of order", breach_number},
    {"a part of the mail behind an output", breach_follows},
    {"an output of nothing", breach_empty},
    {"more outputs than recipients", breach_many},
    {"more recipients than the message has", breach_count},
    {"an outcome that is none", breach_outcome},
    {"something applied that is none", breach_applied},
    {"holding mail that goes out", breach_hold}};

static void
test_breaches(void)
{
	for (size_t i = 0; i < sizeof(breaches) / sizeof(breaches[0]); i++) {
		struct signer_world world;

		scene_start(&world, MUST_ENCRYPT);
		scene_submit_one(&world, MAIL);
		breaches[i].run(&world);
		SIGNER_WAIT(&world, world.signer == NULL);
		ok(world.signer == NULL, "%s ends the channel",
		    breaches[i].label);
		scene_wait_answer(&world);
		is_int(scene_waits(&world), 1, "%s: the mail waits",
		    breaches[i].label);
		scene_is_leaving(&world, NULL, breaches[i].label);
		signer_world_clear(&world);
	}
}

/* ---- later ---- */

static void
test_restart(void)
{
	struct signer_world world;
	const struct signer_says says[] = {
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 1, "2.0.0", ""},
	    {SIGNED_PERMANENT, 0, 0, "5.7.3", "No key for r1"}};

	scene_start(&world, MUST_ENCRYPT);
	signer_world_disconnect(&world);
	(void)signer_world_submit(&world, true, scene_two, 2, MAIL);
	scene_wait_answer(&world);
	is_int(scene_waits(&world), 1, "accepted without a signer");
	scene_restart(&world);
	world_set_rules(&world.world, "");
	scene_make_due(&world);
	scene_is_leaving(&world, NULL, "after a restart, with the rule gone");
	signer_world_connect(&world, "");
	SIGNER_WAIT(&world, scene_has_tried(&world, 1));
	is_int(world.encrypt, ENCRYPT_REQUIRED,
	    "what was demanded when it was accepted still is");
	is_str(world.content, MAIL, "the content comes from disk");
	signer_world_output(&world, 1, SEALED);
	signer_world_result(&world, 0, SIGNED_DONE, "", says, 2);
	SIGNER_WAIT(&world, dispatch_waiting(world.world.queued.dispatch) == 2);
	is_int(scene_waits(&world), 0,
	    "it goes on, with the failure of the other");
	is_int(signer_world_count(
		   &world, "SELECT count(*) FROM msg WHERE flags & 4"),
	    1, "whose sender is told");
	signer_world_clear(&world);
}

static void
test_store_is_the_judge(void)
{
	struct signer_world world;

	scene_start(&world, MUST_ENCRYPT);
	scene_submit_one(&world, MAIL);
	signer_world_output(&world, 1, SEALED);
	signer_world_result(&world, 0, SIGNED_DONE, "", scene_sealed, 1);
	scene_wait_answer(&world);
	world_sql(&world.world, "UPDATE demand SET applied=1");
	scene_restart(&world);
	scene_make_due(&world);
	is_int(dispatch_waiting(world.world.queued.dispatch), 1,
	    "a row that was altered");
	world.world.alerts = 0;
	world.world.queued.relay_jobs = 10;
	ok(!queue_delivery_may_leave(scene_next_delivery(&world)),
	    "does not let the message leave");
	signer_world_clear(&world);
}

static void
test_expiry(void)
{
	struct signer_world world;

	scene_start(&world, MUST_ENCRYPT);
	signer_world_disconnect(&world);
	scene_submit_one(&world, MAIL);
	scene_wait_answer(&world);
	world_sql(&world.world, "UPDATE msg SET created_ms=1");
	scene_restart(&world);
	scene_make_due(&world);
	is_int(signer_world_count(
		   &world, "SELECT count(*) FROM msg WHERE flags & 4 = 0"),
	    0, "what waits for too long is given up");
	is_int(signer_world_count(
		   &world, "SELECT count(*) FROM msg WHERE flags & 4"),
	    1, "and its sender is told");
	is_int(signer_world_count(&world,
		   "SELECT instr(content, '[secure] x') + instr(content,"
		   " 'Hello') FROM output JOIN msg ON msg.id=output.msg"
		   " WHERE flags & 4"),
	    0, "without what was to be encrypted");
	is_int(scene_rows(&world, "protection") + scene_rows(&world, "demand"),
	    0, "no row of it is left");
	signer_world_clear(&world);
}

/* ---- DKIM ---- */

static void
test_dkim_domains(void)
{
	struct signer_world world;

	signer_world_init(&world, "", NULL);
	scene_submit_one(&world, MAIL);
	scene_wait_answer(&world);
	is_int(scene_waits(&world), 1,
	    "as long as the signer was never there, any domain may have keys");
	signer_world_connect(&world, "other.test");
	world.answers = 0;
	world.jobs = 0;
	scene_submit_one(&world, MAIL);
	scene_wait_answer(&world);
	is_int(world.code, 250, "a domain without keys has no need of it");
	signer_world_disconnect(&world);
	scene_restart(&world);
	world_connect(&world.world);
	world.answers = 0;
	scene_submit_one(&world, MAIL);
	scene_wait_answer(&world);
	is_int(scene_waits(&world), 1, "which is known after a restart, too");
	signer_world_connect(&world, "ours.test");
	SIGNER_WAIT(&world, scene_has_tried(&world, 1));
	is_int(world.dkim, DKIM_IF_POSSIBLE, "a domain with keys is signed");
	signer_world_clear(&world);
}

/* ---- incoming ---- */

#define FOREIGN                                                         \
	"From: b@away.test\r\nContent-Type: application/pkcs7-mime\r\n" \
	"\r\nMIIB\r\n"

static void
test_incoming(void)
{
	static const char *const ours[] = {"ours.test"};
	const struct signer_says opened = {
	    SIGNED_DONE, APPLIED_DECRYPTED | APPLIED_VERIFIED, 1, "2.0.0", ""};
	const struct signer_says held = {
	    SIGNED_HOLD, APPLIED_VERIFIED, 1, "5.7.7", "bad signature"};
	struct signer_world world;

	scene_start(&world, "* * encrypt required");
	(void)signer_world_submit(&world, false, ours, 1,
	    "From: b@away.test\r\nContent-Type: text/plain\r\n\r\nx\r\n");
	scene_wait_answer(&world);
	is_int(world.jobs, 0, "plain mail of strangers needs no signer");
	world.answers = 0;
	(void)signer_world_submit(&world, false, ours, 1, FOREIGN);
	SIGNER_WAIT(&world, world.jobs == 1);
	is_int(world.direction, DIRECTION_IN, "encrypted mail does");
	is_int(world.encrypt, ENCRYPT_NEVER, "and nothing is demanded of it");
	signer_world_output(&world, 1, MAIL);
	signer_world_result(&world, 0, SIGNED_DONE, "", &opened, 1);
	scene_wait_answer(&world);
	is_int(world.code, 250, "it is taken, decrypted");
	world.answers = 0;
	(void)signer_world_submit(&world, false, ours, 1, FOREIGN);
	SIGNER_WAIT(&world, world.jobs == 2);
	signer_world_output(&world, 1, MAIL);
	signer_world_result(&world, 0, SIGNED_DONE, "", &held, 1);
	scene_wait_answer(&world);
	is_int(world.code, 250, "a bad one may be taken");
	is_int(signer_world_count(
		   &world, "SELECT count(*) FROM rcpt WHERE state=1"),
	    1, "and held");
	signer_world_clear(&world);
}

int
main(void)
{
	test_nothing_applies();
	test_in_time();
	test_outputs();
	test_fields_before();
	test_large_outputs();
	test_refused();
	test_partly_refused();
	test_late();
	test_temporary();
	test_double_answer();
	test_channel_lost();
	test_poison();
	test_less_than_demanded();
	test_breaches();
	test_restart();
	test_store_is_the_judge();
	test_expiry();
	test_dkim_domains();
	test_incoming();
	return tap_done();
}
