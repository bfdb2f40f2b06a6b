/* SPDX-License-Identifier: ISC */
/*
 * A program's end of its spawner: workers that are ended, at once or when they
 * do not end by themselves.
 */
#include "tests/unit/channel_pair.h"
#include "tests/unit/nest.h"
#include "tests/unit/tap.h"

/* Of a worker that hangs; more than a turn of the loop. */
#define GRACE_MS 20
/* One that ends is not waited for so long. */
#define LONG_MS 3600000

struct fixture {
	struct loop *loop;
	struct nest nest;
	struct spawner *spawner;
};

static void
set_up(struct fixture *f, enum nest_mood mood)
{
	int fd;

	f->loop = loop_new();
	fd = nest_open(&f->nest, f->loop);
	f->nest.mood = mood;
	f->spawner = spawner_new(f->loop, ROLE_SIGNERD, fd);
}

static void
tear_down(struct fixture *f)
{
	spawner_free(f->spawner);
	nest_close(&f->nest);
	loop_free(f->loop);
}

static struct channel *
spawn(struct fixture *f)
{
	const struct channel_config config = {
	    .loop = f->loop, .self = ROLE_SIGNERD};
	const unsigned before = f->nest.count;
	struct channel *channel = spawner_spawn(f->spawner, "sign", &config);

	WAIT_UNTIL(f->loop, f->nest.count > before);
	is_str(f->nest.workers[before].name, "sign", "a worker is started");
	return channel;
}

static void
test_kill(void)
{
	struct fixture f;
	struct channel *channel;

	set_up(&f, NEST_HANGS);
	channel = spawn(&f);
	spawner_kill(f.spawner, channel);
	channel_close(channel);
	WAIT_UNTIL(f.loop, f.nest.kills == 1);
	ok(f.nest.workers[0].is_killed, "one that hangs is killed");
	spawner_kill(f.spawner, channel);
	channel = spawn(&f);
	is_u64(f.nest.kills, 1, "once, and nobody in its place");
	channel_close(channel);
	tear_down(&f);
}

static void
test_retire(void)
{
	struct fixture f;
	struct channel *channel;

	set_up(&f, NEST_HANGS);
	channel = spawn(&f);
	spawner_retire(f.spawner, channel, GRACE_MS);
	channel_close(channel);
	is_u64(f.nest.kills, 0, "one that retires has some time");
	WAIT_UNTIL(f.loop, f.nest.kills == 1);
	ok(f.nest.workers[0].is_killed, "one that hangs then is killed");
	tear_down(&f);
}

static void
test_retire_in_time(void)
{
	struct fixture f;
	struct channel *channel;

	set_up(&f, NEST_WORKS);
	channel = spawn(&f);
	spawner_retire(f.spawner, channel, LONG_MS);
	channel_close(channel);
	WAIT_UNTIL(f.loop, f.nest.workers[0].channel == NULL);
	nest_end(&f.nest.workers[0]);
	channel = spawn(&f);
	is_u64(f.nest.kills, 0, "one that ends by itself is not killed");
	channel_close(channel);
	/* Its timer went with it: nothing of it is left to a leak check. */
	channel = spawn(&f);
	spawner_retire(f.spawner, channel, LONG_MS);
	channel_close(channel);
	tear_down(&f);
}

int
main(void)
{
	test_kill();
	test_retire();
	test_retire_in_time();
	return tap_done();
}
