/* SPDX-License-Identifier: ISC */
/*
 * postern-loghub: the central log.  Sockets: a datagram socket
 * "events-from-<role>" of every program, and "loghub-from-queued" for the
 * life of mails.  Talks to confd alone, which asks what people want to know.
 * Threads beside the loop: one that syncs segments, one that fills the
 * indexes, two for questions, one for verify.
 * Runs in: postern-loghub.  Trusts: nobody; see the parts.
 */
#include <stdio.h>
#include <unistd.h>

#include "loghub/hub.h"

#define TICK_MS 1000

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct hub *hub = arg;

	(void)fd;
	(void)what;
	loop_arm(hub->timer, TICK_MS);
	retention_tick(hub);
	store_tick(hub);
}

static int
hub_start(struct daemon *daemon, struct err *err)
{
	struct hub *hub = daemon_state(daemon);

	hub->daemon = daemon;
	hub->loop = daemon_loop(daemon);
	hub->writers_fd = -1;
	if (store_open(hub, err) == -1)
		return -1;
	manage_open(hub);
	intake_open(hub);
	hub->timer = event_new(loop_base(hub->loop), -1, 0, on_tick, hub);
	if (hub->timer == NULL)
		fatal("out of memory for a timer");
	loop_arm(hub->timer, TICK_MS);
	return 0;
}

/* Retention may have become shorter: not to wait an hour for it. */
static int
hub_settings_changed(struct daemon *daemon, struct err *err)
{
	struct hub *hub = daemon_state(daemon);

	(void)err;
	hub->expire_checked_ms = 0;
	return 0;
}

static void
hub_peer_closed(struct daemon *daemon, struct channel *channel)
{
	struct hub *hub = daemon_state(daemon);

	intake_peer_closed(hub, channel);
	manage_peer_closed(hub, channel);
}

/* The writers' last words come before the hub's own. */
static void
hub_stop(struct daemon *daemon)
{
	struct hub *hub = daemon_state(daemon);

	event_free(hub->timer);
	intake_drain(hub);
	manage_close(hub);
	intake_close(hub);
	store_close(hub);
	daemon_stopped(daemon);
}

static uint64_t
lost_of(const struct hub *hub, enum loss loss)
{
	uint64_t sum = 0;

	for (int i = 0; i < ROLE_COUNT; i++)
		sum += hub->lost[i][loss];
	return sum;
}

static void
hub_status(struct daemon *daemon, struct status_writer *status)
{
	struct hub *hub = daemon_state(daemon);
	const struct segment_position *at = &hub->writer.written;
	struct indexer_status indexed;
	char hash[2 * RECORD_HASH_SIZE + 1];

	indexer_status(hub->indexer, &indexed);
	for (size_t i = 0; i < RECORD_HASH_SIZE; i++)
		(void)snprintf(hash + 2 * i, 3, "%02x", at->hash[i]);
	status_fact(status, "log",
	    hub->is_disk_full ? "stopped: no space" : "written");
	status_fact(status, "log_head", "%llu %s",
	    (unsigned long long)at->number, hash);
	if (indexed.error[0] != '\0')
		status_fact(status, "index_error", "%s", indexed.error);
	status_counter(status, "events", (int64_t)hub->events);
	status_counter(status, "life_events", (int64_t)hub->life_events);
	status_counter(status, "octets", (int64_t)hub->octets);
	status_counter(status, "segment", (int64_t)at->name.number);
	status_counter(status, "records", (int64_t)at->number);
	status_counter(status, "index_behind",
	    (int64_t)(indexed.written.number - indexed.indexed));
	status_counter(
	    status, "index_behind_ms", (int64_t)(indexed.behind_us / 1000));
	status_counter(
	    status, "indexes_rebuilt", (int64_t)indexed.rebuilt);
	status_counter(
	    status, "events_lost_way", (int64_t)lost_of(hub, LOSS_WAY));
	status_counter(
	    status, "events_lost_rate", (int64_t)lost_of(hub, LOSS_RATE));
	status_counter(status, "events_refused",
	    (int64_t)lost_of(hub, LOSS_REFUSED));
	status_counter(
	    status, "events_lost_disk", (int64_t)lost_of(hub, LOSS_DISK));
}

static const struct channel_handler handlers[] = {
	{ROLE_QUEUED, MSG_LIFE_EVENTS, intake_life_events},
	{ROLE_CONFD, MSG_MGMT_REQUEST, manage_request},
	{ROLE_NONE, MSG_COUNT, NULL},
};

static const struct confinement confinement = {
	.rights = CONFINE_FILES_READ | CONFINE_FILES_WRITE |
	    CONFINE_CONNECT_UNIX | CONFINE_THREADS,
};

int
main(int argc, char **argv)
{
	static const struct program program = {
		.role = ROLE_LOGHUB,
		.handlers = handlers,
		.start = hub_start,
		.settings_changed = hub_settings_changed,
		.peer_closed = hub_peer_closed,
		.status = hub_status,
		.stop = hub_stop,
		.state_size = sizeof(struct hub),
		.confinement = &confinement,
	};

	return daemon_main(argc, argv, &program);
}
