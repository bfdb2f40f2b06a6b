/* SPDX-License-Identifier: ISC */
/*
 * A worker process: gets connections from the acceptor and talks SMTP on
 * them.  It may not connect anywhere and opens no files; its links to other
 * programs come from the acceptor.
 * Runs in: postern-smtpd, worker role.  Trusts: the acceptor.
 */
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/tls.h"
#include "common/tls_memory.h"
#include "smtpd/intake.h"
#include "smtpd/session.h"
#include "smtpd/workers.h"

/* Tickets of one kind of listener are not good at another (T039). */
static const char *const policy_names[LISTENER_KIND_COUNT] = {
    [LISTENER_SMTP] = "smtp",
    [LISTENER_SUBMISSION] = "submission",
    [LISTENER_SUBMISSIONS] = "submissions",
};

/*
 * How long after that free pages are given back to the system: it costs a
 * walk over the heap, so busy workers do it only that often.
 */
#define TRIM_MS 5000

/*
 * A worker that was just started greets nobody before its links are up, or its
 * first clients would be told 451 and no more.  Programs that are started or
 * restarted are there within a second; where one is really away, clients are
 * to hear of it.
 */
#define LINKS_WAIT_MS 10000

/*
 * Buffers of messages come and go: they are not to be mapped anew each time,
 * nor is the heap to shrink and grow with each.
 */
#define MMAP_THRESHOLD (4 * 1024 * 1024)
#define TRIM_THRESHOLD (16 * 1024 * 1024)

const struct settings *
worker_settings(const struct worker *worker)
{
	return &worker->snapshot->settings;
}

/*
 * What queued has not read yet counts, too: it may be slow.  Strangers cannot
 * take all of it with messages that they begin and send slowly.
 */
bool
worker_charge(struct worker *worker, size_t octets, bool is_known)
{
	const struct settings *settings = worker_settings(worker);
	const struct channel *queued = worker->links[ROLE_QUEUED];
	uint64_t pending = queued != NULL ? channel_output_pending(queued) : 0;
	uint64_t room = settings->smtp_worker_memory;

	if (!is_known)
		room -= room * settings->smtp_reserved_share / 100;
	if (worker->message_memory + pending + octets > room)
		return false;
	worker->message_memory += octets;
	return true;
}

void
worker_refund(struct worker *worker, size_t octets)
{
	if (octets > worker->message_memory)
		bug("more memory given back than taken");
	worker->message_memory -= octets;
}

static struct worker *
worker_of(const struct channel *channel)
{
	return channel_owner(channel);
}

/* ---- memory ---- */

static void
on_trim(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	tls_memory_trim();
	(void)malloc_trim(0);
}

void
worker_trim_soon(struct worker *worker)
{
	if (!event_pending(worker->trim, EV_TIMEOUT, NULL))
		loop_arm(worker->trim, TRIM_MS);
}

/* ---- sessions ---- */

static void
end_if_drained(struct worker *worker)
{
	if (worker->is_draining && worker->session_count == 0)
		loop_stop(worker->loop);
}

void
worker_session_ended(struct worker *worker, struct session *session)
{
	struct ipc_client_closed message = {.session_id = session->id,
	    .was_authenticated = session->login != NULL,
	    .accepted = session->accepted,
	    .refused = session->refused};

	if (session->next != NULL)
		session->next->previous = session->previous;
	if (session->previous != NULL)
		session->previous->next = session->next;
	else
		worker->sessions = session->next;
	worker->session_count--;
	if (session->tls != NULL)
		worker_trim_soon(worker);
	(void)channel_send(worker->acceptor, MSG_CLIENT_CLOSED, &message, NULL);
	end_if_drained(worker);
}

static int
on_client(struct channel *channel, const struct channel_frame *frame)
{
	struct worker *worker = worker_of(channel);
	const struct ipc_client *client = &frame->message->client;
	int fd = frame->fds[0];

	if (client->listener_kind >= LISTENER_KIND_COUNT ||
	    worker->snapshot == NULL)
		return -1;
	frame->fds[0] = -1;
	session_start(worker, client, fd);
	return 0;
}

/* ---- what the acceptor tells ---- */

static int
on_start(struct channel *channel, const struct channel_frame *frame)
{
	(void)channel;
	(void)frame;
	return 0;
}

static int
on_settings(struct channel *channel, const struct channel_frame *frame)
{
	struct worker *worker = worker_of(channel);
	struct snapshot *snapshot;
	struct err err;

	if (snapshot_read(&frame->message->conf_snapshot, &snapshot, &err) ==
	    -1) {
		log_notice("worker: %s", err.text);
		return -1;
	}
	snapshot_free(worker->snapshot);
	worker->snapshot = snapshot;
	access_list_free(worker->access);
	worker->access = access_list_new(snapshot);
	return 0;
}

/* Sessions that have TLS keep the context they began with. */
static int
on_tls(struct channel *channel, const struct channel_frame *frame)
{
	struct worker *worker = worker_of(channel);
	const struct ipc_worker_tls *message = &frame->message->worker_tls;

	for (int kind = 0; kind < LISTENER_KIND_COUNT; kind++) {
		SSL_CTX *context = NULL;
		struct err err;

		if (message->chain.n > 0 &&
		    (context = tls_server_new(message->chain, message->key,
			 policy_names[kind], message->ticket_keys, &err)) ==
			NULL)
			log_notice("worker: no TLS: %s", err.text);
		SSL_CTX_free(worker->tls[kind]);
		worker->tls[kind] = context;
	}
	return 0;
}

static void
on_last_call(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;

	(void)fd;
	(void)what;
	while (worker->sessions != NULL)
		session_cut(worker->sessions, "4.3.2", "Going down now");
	end_if_drained(worker);
}

static int
on_drain(struct channel *channel, const struct channel_frame *frame)
{
	struct worker *worker = worker_of(channel);
	struct session *next;

	worker->is_draining = true;
	loop_arm(worker->last_call,
	    (uint64_t)frame->message->worker_drain.deadline_s * 1000);
	for (struct session *at = worker->sessions; at != NULL; at = next) {
		next = at->next;
		session_drain(at);
	}
	end_if_drained(worker);
	return 0;
}

/* ---- ready ---- */

static bool
has_links(const struct worker *worker)
{
	return worker->links[ROLE_QUEUED] != NULL && worker->has_message_ids &&
	       worker->links[ROLE_AUTHD] != NULL &&
	       worker->mechanisms[0] != '\0' &&
	       worker->links[ROLE_CHECKD] != NULL;
}

static void
begin_sessions(struct worker *worker)
{
	struct session *next;

	worker->is_ready = true;
	(void)event_del(worker->links_wait);
	for (struct session *at = worker->sessions; at != NULL; at = next) {
		next = at->next;
		session_begin(at);
	}
}

static void
on_links_wait(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	begin_sessions(arg);
}

static void
look_whether_ready(struct worker *worker)
{
	if (!worker->is_ready && has_links(worker))
		begin_sessions(worker);
}

/* ---- links ---- */

static void
on_link_up(struct channel *channel)
{
	struct worker *worker = worker_of(channel);

	worker->links[channel_peer(channel)] = channel;
	look_whether_ready(worker);
}

static void
want_link(struct worker *worker, enum role role)
{
	struct ipc_worker_link_wanted message = {.role = (uint16_t)role};

	(void)channel_send(
	    worker->acceptor, MSG_WORKER_LINK_WANTED, &message, NULL);
}

static void
on_link_closed(struct channel *channel, const char *reason)
{
	struct worker *worker = worker_of(channel);
	enum role role = channel_peer(channel);

	(void)reason;
	if (worker->links[role] == channel)
		worker->links[role] = NULL;
	if (role == ROLE_QUEUED) {
		worker->has_message_ids = false;
		worker->shown = (struct netaddr){.family = NETADDR_NONE};
	}
	if (role == ROLE_AUTHD)
		worker->mechanisms[0] = '\0';
	if (!worker->is_draining)
		want_link(worker, role);
}

static int on_link(struct channel *channel, const struct channel_frame *frame);

static int
on_mechanisms(struct channel *channel, const struct channel_frame *frame)
{
	struct worker *worker = worker_of(channel);

	if (slice_copy(frame->message->auth_mechanisms.mechanisms,
		worker->mechanisms, sizeof(worker->mechanisms)) == -1)
		return -1;
	look_whether_ready(worker);
	return 0;
}

static int
on_slot(struct channel *channel, const struct channel_frame *frame)
{
	struct worker *worker = worker_of(channel);
	uint64_t last = worker->message_ids.last;

	if (frame->message->queue_slot.slot >= ID_SLOTS)
		return -1;
	id_maker_init(&worker->message_ids, frame->message->queue_slot.slot);
	/* Ids go on rising, also where the slot is the old one. */
	worker->message_ids.last = last;
	worker->has_message_ids = true;
	look_whether_ready(worker);
	return 0;
}

static int
on_credit(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_queue_credit *credit = &frame->message->queue_credit;

	return intake_credit(
	    worker_of(channel), credit->stream, credit->octets);
}

static int
on_queue_refusal(struct channel *channel, const struct channel_frame *frame)
{
	return intake_refused(
	    worker_of(channel), &frame->message->queue_answer);
}

static const struct channel_handler worker_handlers[] = {
    {ROLE_SMTPD, MSG_WORKER_START, on_start},
    {ROLE_SMTPD, MSG_CONF_SNAPSHOT, on_settings},
    {ROLE_SMTPD, MSG_WORKER_TLS, on_tls},
    {ROLE_SMTPD, MSG_WORKER_LINK, on_link},
    {ROLE_SMTPD, MSG_WORKER_DRAIN, on_drain},
    {ROLE_SMTPD, MSG_CLIENT, on_client}, {ROLE_QUEUED, MSG_QUEUE_SLOT, on_slot},
    {ROLE_QUEUED, MSG_QUEUE_CREDIT, on_credit},
    {ROLE_QUEUED, MSG_QUEUE_ANSWER, on_queue_refusal},
    {ROLE_AUTHD, MSG_AUTH_MECHANISMS, on_mechanisms},
    {ROLE_NONE, MSG_HELLO, NULL}};

static int
on_link(struct channel *channel, const struct channel_frame *frame)
{
	struct worker *worker = worker_of(channel);
	enum role role = (enum role)frame->message->worker_link.role;
	struct channel_config config = {.loop = worker->loop,
	    .self = ROLE_SMTPD,
	    .peer = role,
	    .handlers = worker_handlers,
	    .owner = worker,
	    .up = on_link_up,
	    .closed = on_link_closed};
	int fd = frame->fds[0];

	if (role != ROLE_QUEUED && role != ROLE_AUTHD && role != ROLE_CHECKD &&
	    role != ROLE_LOGHUB)
		return -1;
	frame->fds[0] = -1;
	if (role == ROLE_LOGHUB)
		log_take_socket(worker->log, fd);
	else
		(void)channel_new(&config, fd);
	return 0;
}

/* ---- the process ---- */

/* Without its acceptor a worker gets no connections and holds none back. */
static void
on_acceptor_gone(struct channel *channel, const char *reason)
{
	struct worker *worker = worker_of(channel);

	(void)reason;
	while (worker->sessions != NULL)
		session_abandon(worker->sessions, "the acceptor ended");
	loop_stop(worker->loop);
}

struct worker *
worker_new(struct loop *loop, int channel_fd)
{
	struct worker *worker = xcalloc(1, sizeof(*worker));
	struct channel_config config = {.loop = loop,
	    .self = ROLE_WORKER,
	    .peer = ROLE_SMTPD,
	    .handlers = worker_handlers,
	    .owner = worker,
	    .closed = on_acceptor_gone};

	worker->loop = loop;
	worker->log = log_new(loop, -1, NULL);
	worker->trim = event_new(loop_base(loop), -1, 0, on_trim, worker);
	worker->last_call =
	    event_new(loop_base(loop), -1, 0, on_last_call, worker);
	worker->links_wait =
	    event_new(loop_base(loop), -1, 0, on_links_wait, worker);
	if (worker->trim == NULL || worker->last_call == NULL ||
	    worker->links_wait == NULL)
		fatal("out of memory for a timer");
	loop_arm(worker->links_wait, LINKS_WAIT_MS);
	worker->acceptor = channel_new(&config, channel_fd);
	return worker;
}

void
worker_free(struct worker *worker)
{
	log_free(worker->log);
	event_free(worker->trim);
	event_free(worker->last_call);
	event_free(worker->links_wait);
	for (int kind = 0; kind < LISTENER_KIND_COUNT; kind++)
		SSL_CTX_free(worker->tls[kind]);
	snapshot_free(worker->snapshot);
	access_list_free(worker->access);
	free(worker);
}

/*
 * The process's one state.  Sessions that outlive their last call, links and
 * the loop end with the process, not before: nothing is torn down under them.
 */
static struct worker *the_worker;

int
smtp_worker(int channel_fd)
{
	static const struct confinement nothing = {.rights = 0};
	struct loop *loop;
	struct err err;

	/* The acceptor says when to stop. */
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
	(void)mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
	tls_memory_prepare();
	tls_prepare();
	tzset(); /* reads its file now or never */
	loop = loop_new();
	if (confine(&nothing, NULL, &err) == -1)
		fatal("%s", err.text);
	the_worker = worker_new(loop, channel_fd);
	loop_run(loop);
	log_free(the_worker->log); /* sends what is left */
	return 0;
}
