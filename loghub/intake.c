/* SPDX-License-Identifier: ISC */
/*
 * Takes events: datagrams of each writer's own socket, and life events of
 * queued, which are answered when they are durable.
 * Runs in: postern-loghub.  Trusts: the socket for who writes; nothing of
 * what is written.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loghub/hub.h"

/*
 * While the disk is full queued's channel is not read, and closed after so
 * long: queued gives a frame 30 s, and begins again on a new channel.
 */
#define HELD_MS 20000

/* Of one writer in one turn, so that another's turn comes. */
#define DATAGRAMS_PER_TURN 64

/* ---- datagrams ---- */

/* The life of a mail is told by queued alone, on its own channel. */
static bool
is_allowed(struct slice event)
{
	struct event_head head;
	union event_fields fields;

	return event_read(event, &head, &fields, NULL) == 0 &&
	    event_row(head.type)->class != EVENT_LIFE;
}

static void
note_writer(struct hub *hub, enum role role,
    const struct event_datagram *datagram, const struct writer_news *news)
{
	const struct event_log_writer writer = {
	    .program = slice_of(role_name(role)),
	    .boot_id = datagram->boot_id,
	    .first_number = datagram->sequence,
	};

	hub->has_new_numbers = true;
	if (news->lost > 0)
		store_lost(hub, role, LOSS_WAY, news->lost);
	if (news->is_new)
		store_own(hub, EV_LOG_WRITER, &writer);
}

static void
store_datagram(struct hub *hub, enum role role,
    struct event_datagram *datagram, uint16_t skip)
{
	struct slice event;

	for (uint16_t i = 0; event_datagram_next(datagram, &event); i++) {
		if (i < skip)
			continue;
		if (is_allowed(event))
			(void)store_event(hub, role, 0, event);
		else
			store_lost(hub, role, LOSS_REFUSED, 1);
	}
}

static void
take_datagram(struct hub *hub, enum role role, struct slice octets)
{
	struct event_datagram datagram;
	struct writer_news news;
	uint16_t count;

	if (event_datagram_read(octets, &datagram, NULL) == -1) {
		store_lost(hub, role, LOSS_REFUSED, 1);
		return;
	}
	count = datagram.count;
	/* An empty one costs as much as one with an event. */
	if (!writers_may(&hub->writers, role, clock_monotonic_ms(),
	        count == 0 ? 1u : count, (uint32_t)octets.n)) {
		store_lost(hub, role, LOSS_RATE, count);
		count = 0;
	}
	writers_note(&hub->writers, role, datagram.boot_id, datagram.sequence,
	    datagram.count, &news);
	if (count == 0) {
		if (news.lost > 0)
			store_lost(hub, role, LOSS_WAY, news.lost);
		return;
	}
	note_writer(hub, role, &datagram, &news);
	store_datagram(hub, role, &datagram, news.repeated);
}

/* How many were there, up to a turn's. */
static unsigned
read_source(struct event_source *source)
{
	char octets[EVENT_DATAGRAM_MAX + 1];
	unsigned count;

	for (count = 0; count < DATAGRAMS_PER_TURN; count++) {
		ssize_t n = recv(
		    source->fd, octets, sizeof(octets), MSG_DONTWAIT);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			break;
		take_datagram(source->hub, source->role,
		    (struct slice){octets, (size_t)n});
	}
	return count;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)read_source(arg);
}

void
intake_open(struct hub *hub)
{
	for (int i = 0; i < ROLE_COUNT; i++) {
		struct event_source *source = &hub->sources[i];
		char name[ROLE_SOCKET_NAME_MAX];

		*source = (struct event_source){
		    .hub = hub, .role = (enum role)i, .fd = -1};
		if (!role_is_daemon(source->role))
			continue;
		role_event_socket_name(source->role, name);
		if ((source->fd = daemon_take_fd(hub->daemon, name)) == -1) {
			log_notice("no socket named %s was given", name);
			continue;
		}
		source->event = event_new(loop_base(hub->loop), source->fd,
		    EV_READ | EV_PERSIST, on_readable, source);
		if (source->event == NULL ||
		    event_add(source->event, NULL) == -1)
			fatal("no events for the socket %s", name);
	}
}

void
intake_drain(struct hub *hub)
{
	for (int i = 0; i < ROLE_COUNT; i++)
		if (hub->sources[i].fd != -1)
			(void)read_source(&hub->sources[i]);
}

void
intake_close(struct hub *hub)
{
	for (int i = 0; i < ROLE_COUNT; i++) {
		if (hub->sources[i].event != NULL)
			event_free(hub->sources[i].event);
		close_if_open(&hub->sources[i].fd);
	}
}

/* ---- life events ---- */

/*
 * A row that breaks its form would be sent for ever: it is counted, said, and
 * acknowledged with the others.
 */
static int
store_life(struct hub *hub, const struct ipc_record_life *life)
{
	struct event_head head;
	union event_fields fields;

	if (life->number == 0 ||
	    event_read(life->event, &head, &fields, NULL) == -1 ||
	    event_row(head.type)->class != EVENT_LIFE ||
	    head.message_id != life->message_id) {
		store_lost(hub, ROLE_QUEUED, LOSS_REFUSED, 1);
		return 0;
	}
	if (!life_seen_add(hub->seen, life->message_id, life->number))
		return 0;
	hub->life_events++;
	return store_event(hub, ROLE_QUEUED, life->number, life->event);
}

static void
let_held_go(struct hub *hub)
{
	struct channel *held = hub->held;

	channel_close_with(held, "the log has no space");
	intake_peer_closed(hub, held);
}

/*
 * There is one queued: another channel of its than the one that is held is of
 * a new one, and the end of what is not read would never be seen.
 */
static void
hold(struct hub *hub, struct channel *channel)
{
	if (hub->held == channel)
		return;
	if (hub->held != NULL)
		let_held_go(hub);
	hub->held = channel;
	hub->held_ms = clock_monotonic_ms();
	channel_pause(channel);
}

void
intake_tick(struct hub *hub)
{
	if (hub->held == NULL ||
	    (hub->is_disk_full &&
	        clock_monotonic_ms() < hub->held_ms + HELD_MS))
		return;
	let_held_go(hub);
}

/*
 * queued takes an answer as said of all frames before it: one that cannot be
 * stored ends the channel, so that none after it is answered.
 */
int
intake_life_events(struct channel *channel, const struct channel_frame *frame)
{
	struct hub *hub = daemon_state(channel_daemon(channel));
	struct ipc_list events = frame->message->life_events.events;
	uint32_t count = events.count;
	struct ipc_record_life life;

	if (hub->is_disk_full || hub->wait_count == LIFE_WAITS_MAX ||
	    hub->held == channel) {
		hold(hub, channel);
		return 0;
	}
	hub->waits[hub->wait_count++] = (struct life_wait){
	    .channel = channel,
	    .request_id = frame->request_id,
	    .count = count,
	};
	while (ipc_life_next(&events, &life))
		if (store_life(hub, &life) == -1)
			return 0; /* the channel is closed already */
	hub->waits[hub->wait_count - 1].number = hub->writer.number;
	loop_at_turn_end(hub->loop, &hub->flush);
	return 0;
}

void
intake_synced(struct hub *hub)
{
	size_t kept = 0;

	for (size_t i = 0; i < hub->wait_count; i++) {
		struct life_wait *wait = &hub->waits[i];
		struct ipc_life_stored stored = {.count = wait->count};

		if (wait->channel == NULL)
			continue;
		if (wait->number > hub->synced)
			hub->waits[kept++] = *wait;
		else
			(void)channel_answer(wait->channel, wait->request_id,
			    MSG_LIFE_STORED, &stored);
	}
	hub->wait_count = kept;
}

void
intake_failed(struct hub *hub)
{
	struct channel *closed = NULL;

	for (size_t i = 0; i < hub->wait_count; i++) {
		struct channel *channel = hub->waits[i].channel;

		if (channel != NULL && channel != closed)
			channel_close_with(
			    channel, "the log could not be written");
		closed = channel != NULL ? channel : closed;
	}
	hub->wait_count = 0;
}

void
intake_peer_closed(struct hub *hub, const struct channel *channel)
{
	for (size_t i = 0; i < hub->wait_count; i++)
		if (hub->waits[i].channel == channel)
			hub->waits[i].channel = NULL;
	if (hub->held == channel)
		hub->held = NULL;
	/* Nobody waits any more: their places are free again. */
	intake_synced(hub);
}
