/* SPDX-License-Identifier: ISC */
/*
 * What an administrator does to a message that is on its way through the
 * signer, in each of the states of relay/queue_sign.h: he has his way at once,
 * nothing leaves that he holds, and what comes of the signer then is of
 * nobody.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/sql.h"
#include "relay/queue_admin.h"
#include "relay/queue_refill.h"
#include "relay/queue_sign_parts.h"
#include "relay/queue_spool.h"
#include "relay/queue_store.h"
#include "relay/spool_stream.h"
#include "tests/unit/signer_scenes.h"
#include "tests/unit/tap.h"

#define LARGE_OCTETS 300000
#define SPOOL_THREADS_MAX 16

static const char *const three[] = {"away.test", "far.test", "third.test"};

/* ---- confd ---- */

static struct channel *queued_end;
static struct channel *confd_end;
static unsigned replies;
static int reply_code;

struct channel *
daemon_confd(const struct daemon *daemon)
{
	(void)daemon;
	return queued_end;
}

static const struct channel_handler confd_takes[] = {
    {ROLE_NONE, MSG_HELLO, NULL}};
static const struct channel_handler queued_takes[] = {
    {ROLE_CONFD, MSG_MGMT_REQUEST, queue_admin_request},
    {ROLE_NONE, MSG_HELLO, NULL}};

static void
on_end_closed(struct channel *channel, const char *reason)
{
	(void)channel;
	(void)reason;
}

static void
connect_confd(struct signer_world *world)
{
	const struct channel_config confd = {.loop = world->world.queued.loop,
	    .self = ROLE_CONFD,
	    .peer = ROLE_QUEUED,
	    .handlers = confd_takes,
	    .owner = world,
	    .closed = on_end_closed};
	struct channel_config queued =
	    world_queued_config(&world->world, ROLE_CONFD);
	int fds[2];

	queued.handlers = queued_takes;
	queued.up = NULL;
	queued.closed = on_end_closed;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
		fatal("socketpair");
	confd_end = channel_new(&confd, fds[0]);
	queued_end = channel_new(&queued, fds[1]);
	SIGNER_WAIT(
	    world, channel_is_up(confd_end) && channel_is_up(queued_end));
}

static void
on_reply(void *arg, const struct channel_frame *frame)
{
	(void)arg;
	replies++;
	reply_code = frame != NULL ? frame->message->mgmt_reply.code : -1;
}

static void
ask(const char *verb)
{
	const struct ipc_mgmt_request m = {.verb = slice_of(verb),
	    .actor = SLICE("root"),
	    .arguments = SLICE("{\"match\": {}}")};

	replies = 0;
	if (channel_request(confd_end, MSG_MGMT_REQUEST, &m, NULL,
		MSG_MGMT_REPLY, 60000, on_reply, NULL) == 0)
		fatal("a request that cannot be sent");
}

/* The exit code. */
static int
act(struct signer_world *world, const char *verb)
{
	ask(verb);
	SIGNER_WAIT(world, replies > 0);
	world_settle(&world->world);
	return reply_code;
}

/* ---- scenes ---- */

static void
begin(struct signer_world *world)
{
	scene_start(world, MUST_ENCRYPT);
	connect_confd(world);
}

static void
end(struct signer_world *world)
{
	channel_close(confd_end);
	world_settle(&world->world);
	signer_world_clear(world);
}

/* A message for so many of three is at the signer. */
static void
bring_out(struct signer_world *world, size_t count)
{
	const unsigned jobs = world->jobs;

	signer_world_disconnect(world);
	world->answers = 0;
	(void)signer_world_submit(world, true, three, count, MAIL);
	scene_wait_answer(world);
	signer_world_connect(world, "");
	SIGNER_WAIT(world, scene_has_tried(world, jobs + 1));
	world_settle(&world->world);
}

static const struct sign_job *
job_of(const struct signer_world *world)
{
	return sign_job_find(world->world.queued.sign, world->message_id);
}

static void
look_for_due(struct signer_world *world)
{
	queue_refill_missed(world->world.queued.refill);
	queue_refill_tick(world->world.queued.refill);
	world_settle(&world->world);
}

static int64_t
held(struct signer_world *world)
{
	return signer_world_count(
	    world, "SELECT count(*) FROM rcpt WHERE state=1");
}

/* It is released, asked for anew under another number, and leaves. */
static void
goes_on(struct signer_world *world, uint32_t before, const char *label)
{
	const unsigned jobs = world->jobs;

	is_int(act(world, "queue.release"), 0, "%s: it is released", label);
	SIGNER_WAIT(world, scene_has_tried(world, jobs + 1));
	ok(world->attempt > before, "%s: and asked for under a new number",
	    label);
	scene_is_leaving(world, NULL, label);
	signer_world_serve(world, SEALED);
	SIGNER_WAIT(world, dispatch_waiting(world->world.queued.dispatch) == 1);
	scene_is_leaving(world, SEALED, label);
	is_int(scene_waits(world), 0, "%s: nobody waits any more", label);
}

/* Each life event has a number of its own, or the log would drop one. */
static void
numbers_are_unique(struct signer_world *world, const char *label)
{
	uint32_t seen[64] = {0};
	struct ipc_list_writer events;
	unsigned doubles = 0;
	int64_t seq = 0;

	ipc_list_writer_init(&events, 1 << 20);
	while (queue_store_outbox_next(world->world.queued.reader, seq, &seq,
		   &events.encoded, &events.count, NULL) == 1) {
		struct ipc_list list = ipc_list_of(&events);
		struct ipc_record_life life;

		while (ipc_life_next(&list, &life))
			if (life.number < 64 &&
			    life.message_id == world->message_id)
				doubles += seen[life.number]++ > 0;
	}
	ipc_list_writer_clear(&events);
	is_int(doubles, 0, "%s: no two events have one number", label);
}

/* ---- held ---- */

static void
test_queued(void)
{
	struct signer_world world;

	begin(&world);
	world.world.queued.is_held = true;
	world.message_id =
	    signer_world_submit(&world, true, scene_one, 1, MAIL);
	scene_wait_answer(&world);
	is_int(job_of(&world)->state, SIGN_QUEUED, "in the line: it is there");
	is_int(act(&world, "queue.hold"), 0, "in the line: it is held");
	world.world.queued.is_held = false;
	queue_sign_pump(world.world.queued.sign);
	look_for_due(&world);
	is_int(world.jobs, 0, "in the line: the signer is not asked");
	is_int(held(&world), 1, "in the line: it stays held");
	goes_on(&world, 0, "in the line");
	numbers_are_unique(&world, "in the line");
	end(&world);
}

static void
test_out(void)
{
	struct signer_world world;
	uint32_t before;

	begin(&world);
	bring_out(&world, 1);
	before = world.attempt;
	signer_world_output(&world, 1, SEALED);
	is_int(act(&world, "queue.hold"), 0, "at the signer: it is held");
	is_int(held(&world), 1, "at the signer: at once");
	is_int(world.forgotten, 1, "at the signer: which is told to forget it");
	signer_world_result(&world, 0, SIGNED_DONE, "", scene_sealed, 1);
	look_for_due(&world);
	is_int(scene_rows(&world, "output"), 1,
	    "at the signer: its answer is of nobody");
	scene_is_leaving(&world, NULL, "at the signer");
	is_int(act(&world, "queue.release"), 0, "at the signer: released");
	SIGNER_WAIT(&world, scene_has_tried(&world, 2));
	signer_world_result(&world, before, SIGNED_DONE, "", scene_sealed, 1);
	world_settle(&world.world);
	ok(world.signer != NULL && scene_waits(&world) == 1,
	    "at the signer: a late answer is of nobody after a release, too");
	is_int(act(&world, "queue.hold"), 0, "at the signer: held again");
	goes_on(&world, before + 1, "at the signer");
	numbers_are_unique(&world, "at the signer");
	end(&world);
}

/* Nothing has a lasting effect but what is on disk. */
static void
test_ends(void)
{
	struct signer_world world;

	begin(&world);
	bring_out(&world, 1);
	is_int(act(&world, "queue.hold"), 0, "programs end: it is held");
	signer_world_disconnect(&world);
	signer_world_connect(&world, "");
	look_for_due(&world);
	is_int(world.jobs, 1, "the signer ends: what is held is not asked for");
	is_int(held(&world), 1, "the signer ends: it stays held");
	channel_close(confd_end);
	world_settle(&world.world);
	scene_restart(&world);
	connect_confd(&world);
	world_connect(&world.world);
	signer_world_connect(&world, "");
	look_for_due(&world);
	is_int(world.jobs, 1, "the queue ends: it is not asked for either");
	goes_on(&world, 1, "the queue ends");
	end(&world);
}

/* ---- written, or being committed ---- */

struct gate {
	struct pool_task task;
	int fd;
};

static void
run_gate(struct pool_task *task)
{
	char c;

	if (read(((struct gate *)task)->fd, &c, 1) == -1)
		fatal("a gate that does not open");
}

static void
done_gate(struct pool_task *task)
{
	free(task);
}

/* The threads of the spool wait until the descriptor is closed. */
static int
stop_spool(struct signer_world *world)
{
	int fds[2];

	if (pipe(fds) == -1)
		fatal("pipe");
	for (int i = 0; i < SPOOL_THREADS_MAX; i++) {
		struct gate *gate = xcalloc(1, sizeof(*gate));

		gate->task.run = run_gate;
		gate->task.done = done_gate;
		gate->fd = fds[0];
		pool_submit(world->world.queued.spool->pool, &gate->task);
	}
	return fds[1];
}

static bool
has_file(const struct signer_world *world, unsigned output)
{
	int fd = queue_spool_open(
	    world->world.queued.spool, world->message_id, output);

	if (fd != -1)
		(void)close(fd);
	return fd != -1;
}

static void
bring_to_storing(struct signer_world *world)
{
	bring_out(world, 1);
	signer_world_output_file(world, 1, LARGE_OCTETS);
	signer_world_result(world, 0, SIGNED_DONE, "", scene_sealed, 1);
	SIGNER_WAIT(world, job_of(world)->state == SIGN_STORING);
}

static void
finish_spool(struct signer_world *world, int gate)
{
	(void)close(gate);
	SIGNER_WAIT(world, pool_waiting(world->world.queued.spool->pool) == 0);
}

static void
test_storing(void)
{
	struct signer_world world;
	int gate;

	begin(&world);
	gate = stop_spool(&world);
	bring_to_storing(&world);
	is_int(act(&world, "queue.hold"), 0, "being written: it is held");
	is_int(held(&world), 1, "being written: at once");
	is_int(act(&world, "queue.release"), 0, "being written: and released");
	look_for_due(&world);
	is_int(world.jobs, 1, "being written: its place is not free yet");
	is_int(act(&world, "queue.hold"), 0, "being written: held again");
	finish_spool(&world, gate);
	ok(job_of(&world) == NULL && !has_file(&world, 1),
	    "being written: then it is thrown away");
	is_int(scene_rows(&world, "output"), 1, "being written: no row has it");
	goes_on(&world, 1, "being written");
	end(&world);
}

/* Others cannot write while this one is open; what they began is over. */
static sqlite3 *
lock_store(const struct signer_world *world)
{
	char path[128];
	sqlite3 *db;

	(void)snprintf(path, sizeof(path), "%s/queue.db", world->world.dir);
	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_busy_timeout(db, PATIENCE_MS) != SQLITE_OK ||
	    sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		fatal("%s", path);
	return db;
}

static void
unlock_store(sqlite3 *db)
{
	(void)sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	(void)sqlite3_close(db);
}

/* The answer is being committed when he comes. */
static void
ask_while_settling(struct signer_world *world, const char *verb)
{
	sqlite3 *lock;

	bring_out(world, 1);
	lock = lock_store(world);
	signer_world_serve(world, SEALED);
	SIGNER_WAIT(world, job_of(world)->state == SIGN_SETTLING);
	ask(verb);
	SIGNER_WAIT(world, job_of(world)->watches != NULL);
	is_int(replies, 0, "being committed: %s has to wait", verb);
	unlock_store(lock);
	SIGNER_WAIT(world, replies > 0);
	is_int(reply_code, 0, "being committed: %s is done", verb);
	world_settle(&world->world);
}

static void
test_settling(void)
{
	struct signer_world world;

	begin(&world);
	ask_while_settling(&world, "queue.hold");
	is_int(held(&world), 1, "being committed: it is held");
	is_int(scene_waits(&world), 0, "being committed: as it was made");
	look_for_due(&world);
	scene_is_leaving(&world, NULL, "being committed");
	is_int(act(&world, "queue.release"), 0, "being committed: released");
	look_for_due(&world);
	is_int(dispatch_waiting(world.world.queued.dispatch), 1,
	    "being committed: it leaves without another attempt");
	is_int(world.jobs, 1, "being committed: there was none");
	numbers_are_unique(&world, "being committed");
	end(&world);
	begin(&world);
	ask_while_settling(&world, "queue.delete");
	is_int(scene_rows(&world, "msg") + scene_rows(&world, "output") +
		   scene_rows(&world, "protection"),
	    0, "being committed: no row is left of what is deleted");
	numbers_are_unique(&world, "being committed and deleted");
	end(&world);
}

/* Its commit is done, and he was faster than what was to follow. */
static void
test_committing(void)
{
	struct signer_world world;
	struct queue_sign *sign;
	sqlite3 *lock;

	begin(&world);
	sign = world.world.queued.sign;
	scene_submit_one(&world, MAIL);
	lock = lock_store(&world);
	signer_world_result(&world, 0, SIGNED_TEMPORARY, "Busy", NULL, 0);
	SIGNER_WAIT(&world, job_of(&world)->state == SIGN_COMMITTING);
	is_int(queue_sign_withdraw(sign, job_of(&world)->message), 1,
	    "while it is accepted: the attempt has a number");
	unlock_store(lock);
	scene_wait_answer(&world);
	is_int(world.code, 250, "while it is accepted: it is taken");
	SIGNER_WAIT(&world, scene_has_tried(&world, 2));
	is_int(world.attempt, 2, "while it is accepted: and asked for anew");
	end(&world);
}

/* ---- gone ---- */

/* Outputs of the signer that are open here; SQLite keeps others open. */
static unsigned
open_outputs(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++) {
		char path[64];
		char target[64] = "";

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (readlink(path, target, sizeof(target) - 1) > 0)
			count += strncmp(target, "/memfd:output", 13) == 0;
	}
	return count;
}

static void
test_deleted(void)
{
	struct signer_world world;

	begin(&world);
	bring_out(&world, 2);
	signer_world_output_file(&world, 1, LARGE_OCTETS);
	SIGNER_WAIT(&world, job_of(&world)->output_count == 1);
	is_int(open_outputs(), 1, "deleted: half of an answer is there");
	is_int(act(&world, "queue.delete"), 0, "deleted: at the signer");
	is_int(scene_rows(&world, "msg") + scene_rows(&world, "rcpt") +
		   scene_rows(&world, "demand") + scene_rows(&world, "output"),
	    0, "deleted: nothing is left of it");
	is_int(world.forgotten, 1, "deleted: the signer is told to forget it");
	signer_world_output_file(&world, 2, LARGE_OCTETS);
	signer_world_result(&world, 0, SIGNED_PERMANENT, "No", NULL, 0);
	world_settle(&world.world);
	ok(world.signer != NULL, "deleted: a late answer is of nobody");
	is_int(scene_rows(&world, "msg"), 0, "deleted: nobody is told of it");
	is_int(open_outputs(), 0, "deleted: its files are closed");
	numbers_are_unique(&world, "deleted");
	end(&world);
}

static void
test_deleted_while_written(void)
{
	struct signer_world world;
	int gate;

	begin(&world);
	gate = stop_spool(&world);
	bring_to_storing(&world);
	is_int(act(&world, "queue.delete"), 0, "deleted while it is written");
	is_int(scene_rows(&world, "msg"), 0, "it is gone at once");
	finish_spool(&world, gate);
	ok(job_of(&world) == NULL && !has_file(&world, 1),
	    "and so is what was written, then");
	end(&world);
}

static void
test_bounced(void)
{
	struct signer_world world;

	begin(&world);
	bring_out(&world, 2);
	is_int(act(&world, "queue.bounce"), 0, "bounced: at the signer");
	is_int(signer_world_count(
		   &world, "SELECT count(*) FROM msg WHERE flags & 4"),
	    1, "bounced: its sender is told, once");
	is_int(scene_rows(&world, "msg"), 1, "bounced: and it is gone");
	is_int(signer_world_count(
		   &world, "SELECT sum(instr(content, 'Hello')) FROM output"),
	    0, "bounced: without what was to be encrypted");
	signer_world_serve(&world, SEALED);
	world_settle(&world.world);
	ok(world.signer != NULL, "bounced: a late answer is of nobody");
	end(&world);
}

/* ---- some of them ---- */

/*
 * Of three the first has what he is to get and waits for his destination, the
 * second is held, the third at the signer.
 */
static void
bring_apart(struct signer_world *world)
{
	const struct signer_says says[] = {
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 1, "2.0.0", ""},
	    {SIGNED_DONE, APPLIED_ENCRYPTED, 1, "2.0.0", ""},
	    {SIGNED_TEMPORARY, 0, 0, "4.7.5", "Later"}};

	bring_out(world, 3);
	signer_world_output(world, 1, SEALED);
	signer_world_result(world, 0, SIGNED_DONE, "", says, 3);
	SIGNER_WAIT(world, dispatch_waiting(world->world.queued.dispatch) == 2);
	world_sql(&world->world, "UPDATE rcpt SET state=1 WHERE number=1");
	world_sql(&world->world,
	    "UPDATE rcpt SET next_ms=1 WHERE number=2;"
	    "UPDATE rcpt SET next_ms=9000000000000 WHERE number<2");
	(void)dispatch_remove(world->world.queued.dispatch, world->message_id);
	queue_refill_missed(world->world.queued.refill);
	SIGNER_WAIT(world, scene_has_tried(world, 2));
	world_settle(&world->world);
}

static int64_t
due(struct signer_world *world, int number)
{
	char query[128];

	(void)snprintf(query, sizeof(query),
	    "SELECT next_ms<9000000000000 FROM rcpt WHERE number=%d", number);
	return signer_world_count(world, query);
}

static void
third_is_served(struct signer_world *world, const char *label)
{
	is_int(world->forgotten, 0, "%s: the signer keeps what it has", label);
	is_int(world->recipients, 1, "%s: the third recipient", label);
	signer_world_serve(world, SEALED);
	SIGNER_WAIT(world, scene_waits(world) == 0);
	is_int(scene_waits(world), 0, "%s: its answer counts", label);
	numbers_are_unique(world, label);
}

static void
test_retried_apart(void)
{
	struct signer_world world;

	begin(&world);
	bring_apart(&world);
	is_int(dispatch_waiting(world.world.queued.dispatch), 0,
	    "retry: nobody is due");
	is_int(act(&world, "queue.retry"), 0, "retry: while one is there");
	look_for_due(&world);
	is_int(due(&world, 0), 1, "retry: who waits for his server is tried");
	is_int(dispatch_waiting(world.world.queued.dispatch), 1,
	    "retry: he alone");
	is_int(held(&world), 1, "retry: who is held stays held");
	is_int(due(&world, 1), 0, "retry: as he was");
	third_is_served(&world, "retry");
	end(&world);
}

static void
test_released_apart(void)
{
	struct signer_world world;

	begin(&world);
	bring_apart(&world);
	is_int(act(&world, "queue.release"), 0, "release: while one is there");
	look_for_due(&world);
	is_int(held(&world), 0, "release: nobody is held");
	is_int(due(&world, 1), 1, "release: who was is tried");
	is_int(due(&world, 0), 0, "release: and nobody else");
	third_is_served(&world, "release");
	end(&world);
}

static void
test_held_apart(void)
{
	struct signer_world world;

	begin(&world);
	bring_apart(&world);
	is_int(act(&world, "queue.hold"), 0, "hold: while one is there");
	is_int(held(&world), 3, "hold: all are held");
	signer_world_serve(&world, SEALED);
	look_for_due(&world);
	scene_is_leaving(&world, NULL, "hold");
	is_int(signer_world_count(
		   &world, "SELECT waits FROM demand WHERE number=2"),
	    DEMAND_WAITS, "hold: the third still waits for the signer");
	is_int(act(&world, "queue.release"), 0, "hold: released");
	look_for_due(&world);
	is_int(dispatch_waiting(world.world.queued.dispatch), 2,
	    "hold: two go on to their servers");
	SIGNER_WAIT(&world, scene_has_tried(&world, 3));
	is_int(world.numbers[0], 2, "hold: the third to the signer");
	numbers_are_unique(&world, "hold");
	end(&world);
}

int
main(void)
{
	test_queued();
	test_out();
	test_ends();
	test_storing();
	test_settling();
	test_committing();
	test_deleted();
	test_deleted_while_written();
	test_bounced();
	test_retried_apart();
	test_released_apart();
	test_held_apart();
	return tap_done();
}
