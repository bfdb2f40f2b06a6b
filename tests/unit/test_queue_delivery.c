/* SPDX-License-Identifier: ISC */
/*
 * From the queue to relayd: what happens when relayd goes, or a job cannot be
 * handed over.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "relay/queue_refill.h"
#include "relay/queue_store.h"
#include "relay/spool_stream.h"
#include "tests/unit/queued_world.h"
#include "tests/unit/tap.h"

/* A loop that does not end is ended by this. */
#define TEST_LIMIT_S 120

static const char *const away[] = {"away.test"};

static unsigned jobs;
static struct channel *relayd; /* its end; NULL: closed */

static int
on_job(struct channel *channel, const struct channel_frame *frame)
{
	(void)channel;
	(void)frame;
	jobs++;
	return 0;
}

static void
on_queued_closed(struct channel *channel, const char *reason)
{
	struct queued *queued = queued_of(channel);

	(void)reason;
	if (queued->relay == channel)
		queue_delivery_relay_gone(queued);
}

static void
on_relayd_closed(struct channel *channel, const char *reason)
{
	(void)channel;
	(void)reason;
	relayd = NULL;
}

static void
close_relayd(struct world *world)
{
	if (relayd != NULL)
		channel_close(relayd);
	relayd = NULL;
	WORLD_WAIT(world, world->queued.relay == NULL);
	world_settle(world);
}

static const struct channel_handler relayd_takes[] = {
    {ROLE_QUEUED, MSG_RELAY_JOB, on_job}, {ROLE_QUEUED, MSG_RELAY_FILE, on_job},
    {ROLE_NONE, MSG_HELLO, NULL}};

static const struct channel_handler queued_takes[] = {
    {ROLE_RELAYD, MSG_RELAY_READY, queue_delivery_ready},
    {ROLE_NONE, MSG_HELLO, NULL}};

/* A channel that is up, and relayd ready for many jobs. */
static void
connect_relayd(struct world *world)
{
	struct channel_config theirs = {.loop = world->queued.loop,
	    .self = ROLE_RELAYD,
	    .peer = ROLE_QUEUED,
	    .handlers = relayd_takes,
	    .closed = on_relayd_closed};
	struct channel_config ours = {.loop = world->queued.loop,
	    .self = ROLE_QUEUED,
	    .peer = ROLE_RELAYD,
	    .handlers = queued_takes,
	    .owner = world->queued.daemon,
	    .closed = on_queued_closed};
	struct ipc_relay_ready ready = {.jobs = 100};
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
		fatal("socketpair");
	relayd = channel_new(&theirs, fds[0]);
	(void)channel_new(&ours, fds[1]);
	WORLD_WAIT(world, channel_is_up(relayd));
	(void)channel_send(relayd, MSG_RELAY_READY, &ready, NULL);
	WORLD_WAIT(world, world->queued.relay != NULL);
}

static void
load(struct world *world, uint64_t id)
{
	world_insert(world, id, 1, away, 1);
	world_settle(world);
	queue_refill_tick(world->queued.refill);
}

/* The pump runs at the end of the turn in which the channel closed. */
static void
test_relay_goes(struct world *world)
{
	struct queued *queued = &world->queued;

	queued->is_held = true;
	connect_relayd(world);
	queued->is_held = false;
	load(world, 1000);
	WORLD_WAIT(world, pool_waiting(queued->reader_pool) == 0);
	world_settle(world);
	WORLD_WAIT(world, jobs == 1);
	is_int(jobs, 1, "a job goes out");
	dispatch_return_all(queued->dispatch);
	queue_delivery_pump(queued);
	channel_close(queued->relay);
	channel_pair_turn(queued->loop);
	is_int(dispatch_active(queued->dispatch), 0,
	    "to a channel that is closing nothing goes");
	is_int(dispatch_waiting(queued->dispatch), 1, "it waits");
	queue_delivery_relay_gone(queued);
	close_relayd(world);
	connect_relayd(world);
	WORLD_WAIT(world, jobs == 2);
	is_int(jobs, 2, "it goes out again with the next one");
	close_relayd(world);
	is_int(dispatch_waiting(queued->dispatch), 1, "and waits again");
	(void)dispatch_remove(queued->dispatch, 1000);
}

/* What was damaged on disk must not stop the rest. */
static void
test_no_frame(struct world *world)
{
	struct queued *queued = &world->queued;
	unsigned before;

	world_sql(world, "DELETE FROM rcpt; DELETE FROM output;"
			 "DELETE FROM msg");
	load(world, 2000);
	WORLD_WAIT(world, dispatch_waiting(queued->dispatch) == 1);
	dispatch_message(queued->dispatch, 2000)->sender[0] = '\x01';
	load(world, 2001);
	WORLD_WAIT(world, dispatch_waiting(queued->dispatch) == 2);
	before = jobs;
	connect_relayd(world);
	WORLD_WAIT(world, jobs == before + 1);
	is_int(jobs, before + 1, "the next one goes out");
	is_int(world->alerts, 1, "of the other one an alert tells");
	is_int(dispatch_active(queued->dispatch), 1, "it is not out");
	is_int(dispatch_waiting(queued->dispatch), 0, "and does not wait");
	close_relayd(world);
}

/* A disk that lost the end of a file: relayd would break off over it. */
static void
test_short_file(struct world *world)
{
	struct queued *queued = &world->queued;
	unsigned before = jobs;
	unsigned alerts = world->alerts;
	int fd;

	world_sql(world, "DELETE FROM rcpt; DELETE FROM output;"
			 "DELETE FROM msg");
	(void)dispatch_remove(queued->dispatch, 2001);
	fd = spool_file_create(&queued->spool->folders, 2500, 0);
	(void)spool_file_write(fd, "Subject: x\r\n", 12);
	(void)close(fd);
	world_insert(world, 2500, 1, away, 1);
	world_settle(world);
	world_sql(world, "UPDATE output SET is_file=1, content=NULL,"
			 " size=70000; UPDATE msg SET size=70000");
	queue_refill_tick(queued->refill);
	WORLD_WAIT(world, dispatch_waiting(queued->dispatch) == 1);
	load(world, 2501);
	WORLD_WAIT(world, dispatch_waiting(queued->dispatch) == 2);
	connect_relayd(world);
	WORLD_WAIT(world, jobs == before + 1);
	is_int(dispatch_active(queued->dispatch), 1,
	    "a file that is too short does not go out, the next mail does");
	is_int(world->alerts, (int)alerts + 1, "an alert tells of it");
	is_int(dispatch_waiting(queued->dispatch), 0, "and it does not wait");
	close_relayd(world);
	(void)dispatch_remove(queued->dispatch, 2501);
}

/* relayd has the job, and says nothing of it. */
static void
test_no_answer(struct world *world)
{
	struct queued *queued = &world->queued;
	const int64_t hours_ms = 2 * 3600 * (int64_t)1000;
	unsigned before = jobs;
	struct queue_message *message;
	struct err err;

	world_sql(world, "DELETE FROM rcpt; DELETE FROM output;"
			 "DELETE FROM msg");
	(void)dispatch_remove(queued->dispatch, 2001);
	load(world, 3000);
	connect_relayd(world);
	WORLD_WAIT(world, jobs == before + 1);
	queue_delivery_give_up(queued);
	is_int(dispatch_active(queued->dispatch), 1, "a job has its time");
	queued->clock.offset_ms += hours_ms;
	queue_delivery_give_up(queued);
	is_int(dispatch_active(queued->dispatch), 0, "and no more");
	WORLD_WAIT(world, !dispatch_knows(queued->dispatch, 3000, 0));
	is_int(queue_store_read(queued->reader, 3000, &message, &err), 1,
	    "the mail is still there");
	is_int(message->recipients[0].attempts, 1, "that was an attempt");
	is_str(message->recipients[0].last_reply, "The relay gave no answer",
	    "which is told");
	queue_message_unref(message);
	queued->clock.offset_ms -= hours_ms;
	close_relayd(world);
}

int
main(void)
{
	struct world world;

	(void)alarm(TEST_LIMIT_S);
	world_init(&world);
	test_relay_goes(&world);
	test_no_frame(&world);
	test_short_file(&world);
	test_no_answer(&world);
	world_clear(&world);
	return tap_done();
}
