/* SPDX-License-Identifier: ISC */
/*
 * The classes of workers: who gets what, and what becomes of it when a worker
 * does not start, hangs, or dies.  Time is an argument of pools_tick(); the
 * workers are those of nest.h.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "signer/pools.h"
#include "signer/signerd.h"
#include "tests/unit/channel_pair.h"
#include "tests/unit/nest.h"
#include "tests/unit/tap.h"

/* What pool_worker.c and pools.c promise. */
#define START_MS 15000
#define DEADLINE_MS 30000
#define LARGE_MIB 20
#define LARGE_DEADLINE_MS (DEADLINE_MS + LARGE_MIB * 1000)
#define IDLE_MS (10u * 60 * 1000)
/* Short ones that a worker has at a time. */
#define SHORT_ONES 8
/* The test's own steps, on a busy machine. */
#define SLACK_MS 5000

struct daemon {
	struct loop *loop;
	struct spawner *spawner;
	struct snapshot snapshot;
	struct pools *pools;
	unsigned alerts;
	unsigned ups;
};

struct fixture {
	struct daemon daemon;
	struct signerd signerd;
	struct nest nest;
};

/* Pools live as long as their process, and so do these. */
static struct fixture fixtures[16];
static unsigned fixture_count;
/* Workers of the class sign, as pools_status() says. */
static int64_t seen_ready;

/* ---- what daemon.c and signerd.c are to pools ---- */

struct loop *
daemon_loop(struct daemon *daemon)
{
	return daemon->loop;
}

struct spawner *
daemon_spawner(struct daemon *daemon)
{
	return daemon->spawner;
}

const struct settings *
daemon_settings(const struct daemon *daemon)
{
	return &daemon->snapshot.settings;
}

void
daemon_alert_raise(struct daemon *daemon, int alert, const char *subject,
    const char *format, ...)
{
	(void)alert;
	(void)subject;
	(void)format;
	daemon->alerts++;
}

void
daemon_alert_clear(struct daemon *daemon, int alert, const char *subject)
{
	(void)alert;
	(void)subject;
	daemon->alerts = 0;
}

void
status_counter(struct status_writer *status, const char *name, int64_t value)
{
	(void)status;
	if (strcmp(name, "sign_workers") == 0)
		seen_ready = value;
}

static void
on_up(struct channel *channel)
{
	struct daemon *daemon = channel_owner(channel);

	daemon->ups++;
	pools_worker_up(daemon->pools, channel);
}

static void
on_closed(struct channel *channel, const char *reason)
{
	struct daemon *daemon = channel_owner(channel);

	(void)reason;
	pools_worker_closed(daemon->pools, channel);
}

static const struct channel_handler broker_takes[] = {
    {ROLE_WORKER, MSG_WORKER_READY, pools_on_ready},
    {ROLE_WORKER, MSG_WORKED, pools_on_worked},
    {ROLE_WORKER, MSG_WORKED_FILE, pools_on_worked_file},
    {ROLE_NONE, MSG_HELLO, NULL}};

struct channel_config
daemon_channel_config(struct daemon *daemon, enum role peer)
{
	return (struct channel_config){.loop = daemon->loop,
	    .self = ROLE_SIGNERD,
	    .peer = peer,
	    .handlers = broker_takes,
	    .owner = daemon,
	    .up = on_up,
	    .closed = on_closed};
}

void
signerd_key_folder(const struct signerd *signerd, enum pool_class class,
    char *path_r, size_t size)
{
	(void)signerd;
	(void)snprintf(path_r, size, "/keys/%s", pool_class_name(class));
}

int
signerd_class_key(const struct signerd *signerd, enum pool_class class,
    struct wrap_key *key_r, struct err *err)
{
	(void)signerd;
	(void)err;
	memset(key_r, (int)class + 1, sizeof(*key_r));
	return 0;
}

int
signerd_scratch_file(const struct signerd *signerd, struct err *err)
{
	(void)signerd;
	(void)err;
	return memfd_create("scratch", MFD_CLOEXEC);
}

/* ---- the world ---- */

static struct fixture *
set_up(unsigned processors)
{
	struct fixture *f = &fixtures[fixture_count++];
	int fd;

	f->daemon.loop = loop_new();
	settings_init(&f->daemon.snapshot.settings);
	fd = nest_open(&f->nest, f->daemon.loop);
	f->daemon.spawner = spawner_new(f->daemon.loop, ROLE_SIGNERD, fd);
	f->signerd.daemon = &f->daemon;
	f->daemon.pools = pools_new(&f->signerd, processors);
	f->signerd.pools = f->daemon.pools;
	return f;
}

static void
tear_down(struct fixture *f)
{
	spawner_free(f->daemon.spawner);
	nest_close(&f->nest);
	loop_free(f->daemon.loop);
	settings_clear(&f->daemon.snapshot.settings);
}

#define WAIT(f, condition) WAIT_UNTIL((f)->daemon.loop, condition)

/* Time passes for the pools alone. */
static void
after(struct fixture *f, uint64_t ms)
{
	pools_tick(f->daemon.pools, clock_monotonic_ms() + ms);
	channel_pair_turn(f->daemon.loop);
}

struct job {
	struct task task;
	unsigned answers;
	enum sign_outcome outcome;
	char reason[128];
};

static void
on_done(struct task *task, struct task_result *result)
{
	struct job *job = task->owner;

	job->answers++;
	job->outcome = result->outcome;
	(void)slice_copy(result->reason, job->reason, sizeof(job->reason));
}

static void
submit(struct fixture *f, struct job *job, enum work_op op)
{
	struct err err;

	job->answers = 0;
	job->task.class = pool_class_of(op);
	job->task.message.op = (uint16_t)op;
	job->task.done = on_done;
	job->task.owner = job;
	if (pools_submit(f->daemon.pools, &job->task, &err) == -1)
		bug("%s", err.text);
}

static void
submit_small(struct fixture *f, struct job *job)
{
	*job = (struct job){.task = {.fd = -1}};
	job->task.message.content = SLICE("mail");
	job->task.message.size_octets = 4;
	submit(f, job, WORK_PROTECT);
}

static void
submit_short(struct fixture *f, struct job *job)
{
	*job = (struct job){.task = {.fd = -1, .is_short = true}};
	job->task.message.content = SLICE("mail");
	job->task.message.size_octets = 4;
	submit(f, job, WORK_PROTECT);
}

static void
submit_large(struct fixture *f, struct job *job)
{
	*job = (struct job){.task = {.fd = memfd_create("mail", MFD_CLOEXEC)}};
	job->task.message.size_octets = (uint64_t)LARGE_MIB << 20;
	submit(f, job, WORK_PROTECT);
}

static unsigned
tasks_of(const struct fixture *f, unsigned worker)
{
	return worker < f->nest.count ? f->nest.workers[worker].task_count : 0;
}

/* ---- starts ---- */

static void
test_works(void)
{
	struct fixture *f = set_up(1);
	struct job job;

	submit_small(f, &job);
	WAIT(f, tasks_of(f, 0) == 1);
	is_str(f->nest.workers[0].name, "sign", "a worker of its class");
	ok(f->nest.workers[0].has_secret, "has its secret first");
	after(f, DEADLINE_MS - SLACK_MS);
	is_u64(f->nest.kills, 0, "and has 30 s for it");
	nest_answer(&f->nest.workers[0]);
	WAIT(f, job.answers == 1);
	is_int(job.outcome, SIGNED_DONE, "its answer is passed on");
	tear_down(f);
}

static void
test_does_not_start(enum nest_mood mood, const char *what)
{
	struct fixture *f = set_up(1);
	struct job jobs[2];

	f->nest.mood = mood;
	submit_small(f, &jobs[0]);
	WAIT(f, f->nest.count == 1 && f->daemon.ups == (mood != NEST_HANGS));
	after(f, START_MS - SLACK_MS);
	is_u64(f->nest.kills, 0, "%s: it has its time", what);
	is_u64(tasks_of(f, 0), 0, "%s: nothing is given to it", what);
	after(f, START_MS + 1);
	WAIT(f, f->nest.kills == 1);
	ok(f->nest.workers[0].is_killed, "%s: then it is killed", what);
	WAIT(f, f->nest.count == 2);
	ok(true, "%s: and another one is started", what);
	is_u64(jobs[0].answers, 0, "%s: for which the task waits", what);
	after(f, START_MS + 1);
	WAIT(f, f->nest.count == 3);
	after(f, START_MS + 1);
	WAIT(f, jobs[0].answers == 1);
	is_int(jobs[0].outcome, SIGNED_TEMPORARY,
	    "%s: the third time, what waits is given back", what);
	is_u64(f->daemon.alerts, 1, "%s: and told of", what);
	f->nest.mood = NEST_WORKS;
	submit_small(f, &jobs[1]);
	WAIT(f, tasks_of(f, 3) == 1);
	nest_answer(&f->nest.workers[3]);
	WAIT(f, jobs[1].answers == 1);
	is_int(jobs[1].outcome, SIGNED_DONE, "%s: until one starts", what);
	is_u64(f->daemon.alerts, 0, "%s: which is told, too", what);
	tear_down(f);
}

/* ---- tasks ---- */

static void
test_late(void)
{
	struct fixture *f = set_up(1);
	struct job jobs[2];

	submit_small(f, &jobs[0]);
	submit_small(f, &jobs[1]);
	WAIT(f, tasks_of(f, 0) == 2);
	after(f, DEADLINE_MS + 1);
	WAIT(f, f->nest.kills == 1);
	is_int(jobs[0].outcome, SIGNED_TEMPORARY, "a late one is given back");
	is_str(jobs[0].reason, "a worker did not finish in time", "for that");
	is_u64(jobs[1].answers, 0, "the one behind it is not");
	WAIT(f, tasks_of(f, 1) == 1);
	nest_answer(&f->nest.workers[1]);
	WAIT(f, jobs[1].answers == 1);
	is_int(jobs[1].outcome, SIGNED_DONE, "another worker does it");
	is_u64(jobs[0].answers, 1, "each is answered once");
	tear_down(f);
}

/* Who makes a key may look for primes. */
static void
test_extra(void)
{
	struct fixture *f = set_up(1);
	struct job job = {.task = {.fd = -1, .extra_ms = 60000}};

	submit(f, &job, WORK_PROTECT);
	WAIT(f, tasks_of(f, 0) == 1);
	after(f, DEADLINE_MS + 60000 - SLACK_MS);
	is_u64(f->nest.kills, 0, "a task may have more time than others");
	after(f, DEADLINE_MS + 60001);
	WAIT(f, job.answers == 1);
	is_int(job.outcome, SIGNED_TEMPORARY, "which ends, too");
	tear_down(f);
}

/* The clock of the one behind begins when it is its turn. */
static void
test_turns(void)
{
	struct fixture *f = set_up(1);
	struct job jobs[2];

	submit_large(f, &jobs[0]);
	WAIT(f, tasks_of(f, 0) == 1);
	submit_small(f, &jobs[1]);
	WAIT(f, tasks_of(f, 0) == 2);
	after(f, LARGE_DEADLINE_MS - SLACK_MS);
	is_u64(f->nest.kills, 0, "a large one has a second more for each MB");
	nest_answer(&f->nest.workers[0]);
	WAIT(f, jobs[0].answers == 1);
	after(f, DEADLINE_MS - SLACK_MS);
	is_u64(f->nest.kills, 0, "the next has a time of its own");
	after(f, DEADLINE_MS + 1);
	WAIT(f, jobs[1].answers == 1);
	is_int(jobs[1].outcome, SIGNED_TEMPORARY, "which ends");
	close_if_open(&jobs[0].task.fd);
	tear_down(f);
}

static int64_t
ready(const struct fixture *f)
{
	pools_status(f->daemon.pools, NULL);
	return seen_ready;
}

static void
answer_all(struct fixture *f)
{
	for (unsigned i = 0; i < f->nest.count; i++)
		while (f->nest.workers[i].channel != NULL &&
		       f->nest.workers[i].task_count > 0)
			nest_answer(&f->nest.workers[i]);
}

/* Two workers that are idle. */
static struct fixture *
set_up_two(void)
{
	struct fixture *f = set_up(2);
	struct job jobs[2];

	submit_small(f, &jobs[0]);
	submit_small(f, &jobs[1]);
	WAIT(f, ready(f) == 2 && tasks_of(f, 0) + tasks_of(f, 1) == 2);
	answer_all(f);
	WAIT(f, jobs[0].answers + jobs[1].answers == 2);
	return f;
}

static void
test_large(void)
{
	struct fixture *f = set_up_two();
	struct job large[3];
	struct job small;
	unsigned at;

	submit_large(f, &large[0]);
	WAIT(f, tasks_of(f, 0) + tasks_of(f, 1) == 1);
	at = tasks_of(f, 0) > 0 ? 0 : 1;
	submit_large(f, &large[1]);
	submit_large(f, &large[2]);
	submit_small(f, &small);
	WAIT(f, tasks_of(f, 1 - at) == 1);
	ok(large[1].task.worker == NULL && small.task.worker != NULL,
	    "a small task passes a second large one by");
	nest_answer(&f->nest.workers[1 - at]);
	WAIT(f, small.answers == 1);
	is_u64(tasks_of(f, 1 - at), 0, "which waits, though a worker is idle");
	after(f, LARGE_DEADLINE_MS + 1);
	WAIT(f, large[0].answers == 1 && f->nest.kills == 1);
	ok(f->nest.workers[at].is_killed, "the first one is late");
	is_int(large[0].outcome, SIGNED_TEMPORARY, "it is given back");
	WAIT(f, tasks_of(f, 1 - at) == 1);
	ok(large[1].task.worker != NULL && large[2].task.worker == NULL,
	    "and its place is the next one's");
	nest_answer(&f->nest.workers[1 - at]);
	WAIT(f, large[1].answers == 1);
	is_int(large[1].outcome, SIGNED_DONE, "who is served");
	WAIT(f, large[2].answers == 1 || (answer_all(f), false));
	is_int(large[2].outcome, SIGNED_DONE, "as is the last one");
	for (size_t i = 0; i < 3; i++)
		close_if_open(&large[i].task.fd);
	tear_down(f);
}

static void
test_dies(void)
{
	struct fixture *f = set_up(1);
	struct job jobs[3];

	submit_small(f, &jobs[0]);
	submit_small(f, &jobs[1]);
	submit_small(f, &jobs[2]);
	WAIT(f, tasks_of(f, 0) == 2);
	nest_end(&f->nest.workers[0]);
	WAIT(f, jobs[0].answers == 1);
	is_int(jobs[0].outcome, SIGNED_TEMPORARY, "it died over this one");
	WAIT(f, tasks_of(f, 1) == 2);
	nest_end(&f->nest.workers[1]);
	WAIT(f, jobs[1].answers == 1);
	is_int(jobs[1].outcome, SIGNED_TEMPORARY, "the next over that one");
	WAIT(f, tasks_of(f, 2) == 1);
	pools_cancel(f->daemon.pools, &jobs[2].task);
	nest_answer(&f->nest.workers[2]);
	submit_small(f, &jobs[0]);
	WAIT(f, tasks_of(f, 2) == 1);
	nest_answer(&f->nest.workers[2]);
	WAIT(f, jobs[0].answers == 1);
	is_u64(jobs[2].answers, 0, "what nobody waits for is not answered");
	is_int(jobs[0].outcome, SIGNED_DONE, "nor mistaken for the next");
	tear_down(f);
}

static void
test_short(void)
{
	struct fixture *f = set_up(1);
	struct job jobs[SHORT_ONES + 1];
	struct job longer;

	for (unsigned i = 0; i < SHORT_ONES + 1; i++)
		submit_short(f, &jobs[i]);
	WAIT(f, tasks_of(f, 0) == SHORT_ONES);
	is_u64(f->nest.workers[0].short_count, SHORT_ONES,
	    "a worker has several short ones, and knows it");
	ok(jobs[SHORT_ONES].task.worker == NULL, "but no more");
	submit_small(f, &longer);
	nest_answer(&f->nest.workers[0]);
	WAIT(f, jobs[0].answers == 1);
	ok(jobs[SHORT_ONES].task.worker != NULL, "until one is answered");
	WAIT(f, tasks_of(f, 0) == SHORT_ONES);
	while (tasks_of(f, 0) > 2)
		nest_answer(&f->nest.workers[0]);
	WAIT(f, jobs[SHORT_ONES - 2].answers == 1);
	ok(longer.task.worker == NULL, "none that may take long is behind two");
	nest_answer(&f->nest.workers[0]);
	WAIT(f, tasks_of(f, 0) == 2);
	ok(longer.task.worker != NULL, "but behind one");
	submit_short(f, &jobs[0]);
	channel_pair_turn(f->daemon.loop);
	ok(jobs[0].task.worker == NULL, "and none is behind that one");
	WAIT(f, jobs[0].answers == 1 || (answer_all(f), false));
	is_int(jobs[0].outcome, SIGNED_DONE, "all are served");
	tear_down(f);
}

/* Which of the short ones was at hand nobody knows: it is found out. */
static void
test_short_dies(void)
{
	struct fixture *f = set_up(1);
	struct job jobs[3];

	for (unsigned i = 0; i < 3; i++)
		submit_short(f, &jobs[i]);
	WAIT(f, tasks_of(f, 0) == 3);
	nest_end(&f->nest.workers[0]);
	WAIT(f, tasks_of(f, 1) == 2);
	is_u64(jobs[0].answers + jobs[1].answers + jobs[2].answers, 0,
	    "of several short ones none is blamed for a death");
	is_u64(f->nest.workers[1].short_count, 0, "now they are not short");
	ok(jobs[2].task.worker == NULL, "and keep their order");
	nest_answer(&f->nest.workers[1]);
	WAIT(f, jobs[0].answers == 1 && tasks_of(f, 1) == 2);
	is_int(jobs[0].outcome, SIGNED_DONE, "the first one was not it");
	nest_end(&f->nest.workers[1]);
	WAIT(f, jobs[1].answers == 1);
	is_int(jobs[1].outcome, SIGNED_TEMPORARY, "but the second");
	WAIT(f, tasks_of(f, 2) == 1);
	nest_answer(&f->nest.workers[2]);
	WAIT(f, jobs[2].answers == 1);
	is_int(jobs[2].outcome, SIGNED_DONE, "and the third only behind it");
	tear_down(f);
}

static void
test_short_late(void)
{
	struct fixture *f = set_up(1);
	struct job jobs[2];

	submit_short(f, &jobs[0]);
	submit_short(f, &jobs[1]);
	WAIT(f, tasks_of(f, 0) == 2);
	after(f, DEADLINE_MS + 1);
	WAIT(f, f->nest.kills == 1);
	WAIT(f, tasks_of(f, 1) == 2);
	is_u64(jobs[0].answers + jobs[1].answers, 0,
	    "nor is one blamed for what takes too long");
	after(f, DEADLINE_MS + 1);
	WAIT(f, jobs[0].answers == 1);
	is_int(jobs[0].outcome, SIGNED_TEMPORARY, "until it is alone");
	WAIT(f, jobs[1].answers == 1 || (answer_all(f), false));
	is_int(jobs[1].outcome, SIGNED_DONE, "the other one is served");
	tear_down(f);
}

static void
test_breach(void)
{
	struct fixture *f = set_up(1);
	struct job job;

	submit_small(f, &job);
	WAIT(f, tasks_of(f, 0) == 1);
	f->nest.workers[0].tasks[0]++;
	nest_answer(&f->nest.workers[0]);
	WAIT(f, job.answers == 1);
	is_int(job.outcome, SIGNED_TEMPORARY,
	    "who answers another question is not believed");
	WAIT(f, f->nest.kills == 1);
	ok(f->nest.workers[0].is_killed, "and ended");
	tear_down(f);
}

static void
test_idle(void)
{
	struct fixture *f = set_up(1);
	struct job job;

	submit_small(f, &job);
	WAIT(f, tasks_of(f, 0) == 1);
	nest_answer(&f->nest.workers[0]);
	WAIT(f, job.answers == 1);
	after(f, IDLE_MS - SLACK_MS);
	ok(f->nest.workers[0].channel != NULL, "an idle worker stays a while");
	after(f, IDLE_MS + 1);
	WAIT(f, f->nest.workers[0].channel == NULL);
	is_u64(f->nest.kills, 0, "then it may end by itself");
	is_u64(f->daemon.alerts, 0, "which is no death");
	tear_down(f);
}

int
main(void)
{
	test_works();
	test_does_not_start(NEST_HANGS, "hangs before its HELLO");
	test_does_not_start(NEST_IS_UNREADY, "hangs with its secret");
	test_late();
	test_extra();
	test_turns();
	test_large();
	test_dies();
	test_short();
	test_short_dies();
	test_short_late();
	test_breach();
	test_idle();
	return tap_done();
}
