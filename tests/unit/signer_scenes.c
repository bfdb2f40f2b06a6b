/* SPDX-License-Identifier: ISC */
/*
 * Messages at the signer, step by step.
 */
#include <stdio.h>
#include <string.h>

#include "relay/queue_refill.h"
#include "tests/unit/signer_scenes.h"
#include "tests/unit/tap.h"

const char *const scene_one[1] = {"away.test"};
const char *const scene_two[2] = {"away.test", "far.test"};

const struct signer_says scene_sealed[1] = {
    {SIGNED_DONE, APPLIED_ENCRYPTED, 1, "2.0.0", ""}};
const struct signer_says scene_stamped[1] = {
    {SIGNED_DONE, APPLIED_DKIM, 1, "2.0.0", ""}};

void
scene_start(struct signer_world *world, const char *rules)
{
	signer_world_init(world, rules, "");
}

void
scene_submit_one(struct signer_world *world, const char *content)
{
	const unsigned jobs = world->jobs;

	(void)signer_world_submit(world, true, scene_one, 1, content);
	SIGNER_WAIT(world, world->jobs > jobs || world->answers > 0);
}

void
scene_wait_answer(struct signer_world *world)
{
	SIGNER_WAIT(world, world->answers > 0);
	world_settle(&world->world);
}

int64_t
scene_rows(struct signer_world *world, const char *table)
{
	char query[128];

	(void)snprintf(query, sizeof(query), "SELECT count(*) FROM %s", table);
	return signer_world_count(world, query);
}

int64_t
scene_waits(struct signer_world *world)
{
	return signer_world_count(
	    world, "SELECT count(*) FROM msg WHERE (flags & 32) != 0");
}

/* The next delivery, as relayd would get it. */
struct delivery *
scene_next_delivery(struct signer_world *world)
{
	struct queued *queued = &world->world.queued;

	return dispatch_next(queued->dispatch, queued_now_ms(queued) + 1000);
}

void
scene_is_leaving(
    struct signer_world *world, const char *want, const char *label)
{
	struct delivery *delivery = scene_next_delivery(world);
	const struct queue_output *output;

	if (want == NULL) {
		ok(delivery == NULL, "%s: nothing leaves", label);
		return;
	}
	ok(delivery != NULL, "%s: it leaves", label);
	if (delivery == NULL)
		return;
	output = queue_message_output(delivery->message,
	    queue_message_recipient(delivery->message, delivery->numbers[0]));
	if (!ok(output != NULL && output->content != NULL,
		"%s: as the signer made it", label))
		return;
	is_mem(output->content, output->size, want, strlen(want),
	    "%s: octet by octet", label);
	dispatch_return(world->world.queued.dispatch, delivery);
}

/* All that waits is due now. */
void
scene_make_due(struct signer_world *world)
{
	world_sql(&world->world, "UPDATE rcpt SET next_ms=1");
	queue_refill_missed(world->world.queued.refill);
	queue_refill_tick(world->world.queued.refill);
	world_settle(&world->world);
}

void
scene_make_due_and_wait(struct signer_world *world)
{
	const unsigned jobs = world->jobs;

	scene_make_due(world);
	SIGNER_WAIT(world, world->jobs > jobs);
}

/* Looks for what is due, as the queue does each second. */
bool
scene_has_tried(struct signer_world *world, unsigned jobs)
{
	queue_refill_tick(world->world.queued.refill);
	return world->jobs >= jobs;
}

void
scene_restart(struct signer_world *world)
{
	signer_world_disconnect(world);
	world_stop(&world->world);
	world_start(&world->world);
}
