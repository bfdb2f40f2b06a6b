/* SPDX-License-Identifier: ISC */
/*
 * Raises and clears the alert "program" at confd, over the socket of the
 * command line: the supervisor has no channel of its own.
 * Runs in: postern-run.  Trusts: nothing of the answer but that it came.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/link.h"
#include "control/run_alert.h"

#define ANSWER_LIMIT_MS 5000

struct program_alert {
	struct run_alert *alerts;
	bool is_raised;
	bool is_told_raised; /* what confd knows */
	bool is_asking;
	char end[128];
};

struct run_alert {
	struct link *link;
	struct program_alert programs[ROLE_COUNT];
};

static void tell_all(struct run_alert *alerts);

static void
on_answer(void *arg, const struct channel_frame *frame)
{
	struct program_alert *program = arg;

	program->is_asking = false;
	if (frame == NULL)
		return;
	program->is_told_raised = !program->is_told_raised;
	tell_all(program->alerts);
}

/* Names and ends are our own words: nothing in them needs escaping. */
static void
tell(struct run_alert *alerts, struct channel *channel, enum role role)
{
	struct program_alert *program = &alerts->programs[role];
	struct ipc_mgmt_request request = {.actor = SLICE("postern-run")};
	char json[512];

	if (program->is_asking || program->is_raised == program->is_told_raised)
		return;
	(void)snprintf(json, sizeof(json),
	    "{\"alert\":\"program\","
	    "\"subject\":\"postern-%s\",\"text\":\"postern-%s keeps ending: "
	    "the last time it %s\"}",
	    role_name(role), role_name(role), program->end);
	request.verb =
	    slice_of(program->is_raised ? "alert.raise" : "alert.clear");
	request.arguments = slice_of(json);
	program->is_asking =
	    channel_request(channel, MSG_MGMT_REQUEST, &request, NULL,
		MSG_MGMT_REPLY, ANSWER_LIMIT_MS, on_answer, program) != 0;
}

static void
tell_all(struct run_alert *alerts)
{
	struct channel *channel = link_channel(alerts->link);

	for (int role = 0; channel != NULL && role < ROLE_COUNT; role++)
		tell(alerts, channel, (enum role)role);
}

static void
on_up(struct channel *channel)
{
	tell_all(channel_owner(channel));
}

struct run_alert *
run_alert_new(struct loop *loop, const struct instance *instance)
{
	static const struct channel_handler no_handlers[] = {
	    {ROLE_NONE, MSG_COUNT, NULL}};
	struct run_alert *alerts = xcalloc(1, sizeof(*alerts));
	const struct channel_config config = {.loop = loop,
	    .self = ROLE_ADMIN,
	    .peer = ROLE_CONFD,
	    .handlers = no_handlers,
	    .owner = alerts,
	    .up = on_up};
	char path[INSTANCE_PATH_MAX];

	for (int role = 0; role < ROLE_COUNT; role++)
		alerts->programs[role].alerts = alerts;
	instance_admin_socket(instance, false, path);
	alerts->link = link_new(&config, path);
	return alerts;
}

void
run_alert_stop(struct run_alert *alerts)
{
	if (alerts == NULL)
		return;
	/* Answers that are due come, as NULL, at the end of the turn. */
	link_free(alerts->link);
	alerts->link = NULL;
}

void
run_alert_free(struct run_alert *alerts)
{
	run_alert_stop(alerts);
	free(alerts);
}

void
run_alert_raise(struct run_alert *alerts, enum role role, const char *end)
{
	struct program_alert *program = &alerts->programs[role];

	(void)snprintf(program->end, sizeof(program->end), "%s", end);
	program->is_raised = true;
	tell_all(alerts);
}

void
run_alert_clear(struct run_alert *alerts, enum role role)
{
	alerts->programs[role].is_raised = false;
	tell_all(alerts);
}
