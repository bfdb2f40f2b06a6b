/* SPDX-License-Identifier: ISC */
/*
 * From smtpd into the queue: check, expand aliases, commit, answer.  A 250
 * leaves only after the commit is durable.
 * Runs in: postern-queued.  Trusts: nothing of smtpd (see submission.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/events.h"
#include "relay/queue_alias.h"
#include "relay/queue_outbox.h"
#include "relay/queue_refill.h"
#include "relay/queue_sign.h"
#include "relay/queue_spool.h"
#include "relay/queued.h"
#include "relay/submission.h"

/* Contents that wait for their delivery keep this part of queue.memory. */
#define CONTENT_PART 4

/* A message on its way to the commit. */
struct intake {
	struct queued *queued;
	struct smtp_peer *peer; /* holds a reference, or NULL */
	uint64_t request_id;
	uint32_t stream;
};

/* ---- peers ---- */

struct smtp_peer *
smtp_peer_ref(struct smtp_peer *peer)
{
	if (peer != NULL)
		peer->references++;
	return peer;
}

void
smtp_peer_unref(struct smtp_peer *peer)
{
	if (peer != NULL && --peer->references == 0)
		free(peer);
}

/* Round robin, so that a slot is not used anew at once. */
static int
take_slot(struct queued *queued, uint32_t *slot_r)
{
	for (uint32_t i = 0; i < QUEUED_PEER_SLOTS; i++) {
		uint32_t slot = (queued->next_slot + i) % QUEUED_PEER_SLOTS;

		if (queued->slot_is_taken[slot])
			continue;
		queued->slot_is_taken[slot] = true;
		queued->next_slot = slot + 1;
		*slot_r = slot;
		return 0;
	}
	return -1;
}

void
queue_intake_peer_up(struct queued *queued, struct channel *channel)
{
	struct smtp_peer *peer = xcalloc(1, sizeof(*peer));
	struct ipc_queue_slot message = {0};

	peer->channel = channel;
	peer->references = 1;
	if (take_slot(queued, &peer->slot) == -1) {
		free(peer);
		channel_close_with(channel, "too many peers");
		return;
	}
	channel_set_context(channel, peer);
	message.slot = (uint16_t)peer->slot;
	(void)channel_send(channel, MSG_QUEUE_SLOT, &message, NULL);
}

void
queue_intake_peer_closed(struct queued *queued, struct channel *channel)
{
	struct smtp_peer *peer = channel_context(channel);

	if (peer == NULL)
		return;
	queue_spool_peer_closed(queued->spool, peer);
	queued->slot_is_taken[peer->slot] = false;
	peer->channel = NULL;
	channel_set_context(channel, NULL);
	smtp_peer_unref(peer);
}

void
queue_intake_answer(struct smtp_peer *peer, uint64_t request_id,
    uint32_t stream, unsigned code, const char *enhanced, const char *text)
{
	struct ipc_queue_answer answer = {.stream = stream,
	    .code = (uint16_t)code,
	    .enhanced = slice_of(enhanced),
	    .text = slice_of(text)};

	if (peer == NULL || peer->channel == NULL)
		return;
	(void)channel_answer(
	    peer->channel, request_id, MSG_QUEUE_ANSWER, &answer);
}

/* ---- commit ---- */

static void
free_intake(struct intake *intake)
{
	smtp_peer_unref(intake->peer);
	free(intake);
}

void
queue_intake_note(struct queue_job *job, struct queue_message *message)
{
	uint64_t now_us = clock_wall_us();
	struct event_accepted accepted = {.from = slice_of(message->sender),
	    .recipient_count = (uint32_t)message->recipient_count,
	    .size = message->size,
	    .client = slice_of(message->client),
	    .account = slice_of(message->account),
	    .header_message_id = slice_of(message->header_message_id),
	    .listener = message->listener_kind};

	queue_job_event(job, message, now_us, EV_ACCEPTED, &accepted);
	for (size_t i = 0; i < message->recipient_count; i++) {
		struct event_recipient recipient = {
		    .to = slice_of(message->recipients[i].address),
		    .original = slice_of(message->recipients[i].original)};

		queue_job_event(job, message, now_us, EV_RECIPIENT, &recipient);
	}
}

void
queue_intake_committed(struct queued *queued, struct queue_message *message)
{
	queued->accepted++;
	queued->messages++;
	queued->octets += message->size;
	queue_message_charge(message, &queued->memory_used);
	/* With memory short, delivery reads the content back from disk. */
	if (message->content != NULL &&
	    queued->memory_used >
		queued_settings(queued)->queue_memory / CONTENT_PART)
		queue_message_drop_content(message);
	/* The refill may have been faster; one struct numbers the events. */
	if (dispatch_message(queued->dispatch, message->id) == NULL)
		queue_delivery_plan(queued, message, queued_now_ms(queued));
	else
		queue_refill_missed(queued->refill);
}

/* The message is not taken: what was stored of it goes. */
static void
let_go(struct queued *queued, const struct queue_message *message)
{
	queued->refused++;
	queue_spool_remove_all(queued->spool, message);
}

static void
answer_accepted(const struct intake *intake, uint64_t message_id)
{
	char id[ID_TEXT_SIZE];
	char text[64];

	id_format(message_id, id);
	(void)snprintf(text, sizeof(text), "Queued as %s", id);
	queue_intake_answer(intake->peer, intake->request_id, intake->stream,
	    250, "2.0.0", text);
}

static void
on_committed(struct pool_task *task)
{
	struct queue_job *job = queue_job_of(task);
	struct intake *intake = job->arg;
	struct queued *queued = intake->queued;

	queue_outbox_send(queued->outbox, job);
	if (job->status != QUEUE_JOB_DONE)
		queue_sign_not_committed(queued->sign, job->message);
	switch (job->status) {
	case QUEUE_JOB_DONE:
		answer_accepted(intake, job->message->id);
		queue_intake_committed(queued, job->message);
		break;
	case QUEUE_JOB_DOUBLE:
		let_go(queued, job->message);
		queue_intake_answer(intake->peer, intake->request_id,
		    intake->stream, 451, "4.3.0",
		    "That message id is taken; please try again");
		break;
	case QUEUE_JOB_FULL:
		let_go(queued, job->message);
		queue_intake_answer(intake->peer, intake->request_id,
		    intake->stream, 452, "4.3.1",
		    "Insufficient system storage");
		break;
	}
	free_intake(intake);
	queue_job_free(job);
}

static void
commit(struct intake *intake, struct queue_message *message)
{
	struct queued *queued = intake->queued;
	struct queue_job *job =
	    queue_job_new(QUEUE_JOB_ACCEPT, message, on_committed);

	message->created_ms = queued_now_ms(queued);
	queue_delivery_set_first(queued, message);
	job->arg = intake;
	job->now_ms = message->created_ms;
	queue_intake_note(job, message);
	queue_sign_note(queued->sign, job, message);
	queue_writer_submit(queued->writer, job);
}

/* The signer has answered, or its time is over. */
static void
on_signed(
    void *arg, struct queue_message *message, const struct smtp_status *refusal)
{
	struct intake *intake = arg;

	if (refusal == NULL) {
		commit(intake, message);
	} else {
		let_go(intake->queued, message);
		queue_intake_answer(intake->peer, intake->request_id,
		    intake->stream, refusal->code, refusal->enhanced,
		    refusal->text);
		free_intake(intake);
	}
}

/* Its recipients are known: what is demanded for them is, too. */
static void
sign_and_commit(struct intake *intake, struct queue_message *message)
{
	if (!queue_sign_before_commit(
		intake->queued->sign, message, on_signed, intake))
		commit(intake, message);
}

/* Aliases are expanded; NULL: nobody could say. */
static void
on_expanded(void *arg, struct queue_message *message, bool is_known)
{
	struct intake *intake = arg;

	if (is_known) {
		sign_and_commit(intake, message);
	} else {
		let_go(intake->queued, message);
		queue_intake_answer(intake->peer, intake->request_id,
		    intake->stream, 451, "4.3.0",
		    "Aliases cannot be looked up at the moment");
		free_intake(intake);
	}
	queue_message_unref(message);
}

void
queue_intake_take(struct queued *queued, struct queue_message *message,
    struct smtp_peer *peer, uint64_t request_id, uint32_t stream)
{
	struct intake *intake = xcalloc(1, sizeof(*intake));

	intake->queued = queued;
	intake->peer = smtp_peer_ref(peer);
	intake->request_id = request_id;
	intake->stream = stream;
	queue_message_charge(message, &queued->memory_used);
	if (submission_needs_aliases(
		daemon_snapshot(queued->daemon), message)) {
		queue_alias_expand(queued, message, on_expanded, intake);
		return;
	}
	sign_and_commit(intake, message);
	queue_message_unref(message);
}

/* ---- QUEUE_CLIENT ---- */

/*
 * Who is in a trusted network may relay.  A worker of smtpd that a stranger
 * took over could say so of anybody; it cannot make a connection, though, and
 * of one the kernel knows where it comes from.
 */
int
queue_intake_client(struct channel *channel, const struct channel_frame *frame)
{
	struct smtp_peer *peer = channel_context(channel);
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	struct netaddr shown;

	if (peer == NULL)
		return -1;
	/* One that has ended meanwhile has no other end any more. */
	if (getpeername(frame->fds[0], (struct sockaddr *)&address, &length) ==
		0 &&
	    netaddr_from_sockaddr(
		(const struct sockaddr *)&address, length, &shown, NULL) == 0)
		peer->shown = shown;
	return 0;
}

int
queue_intake_check_client(const struct smtp_peer *peer, bool is_trusted,
    struct slice client, struct smtp_status *refusal_r)
{
	struct netaddr address;

	if (!is_trusted || (netaddr_parse(client, &address) == 0 &&
			       netaddr_equals(&peer->shown, &address)))
		return 0;
	return smtp_status_set(refusal_r, 451, "4.4.2",
	    "The connection from the trusted network is gone");
}

/* ---- QUEUE_SUBMIT ---- */

/* An id of this peer's slot, above its last: unique without a look-up. */
static bool
is_own_id(struct smtp_peer *peer, uint64_t id)
{
	if (id_slot(id) != peer->slot || id <= peer->last_id || id > INT64_MAX)
		return false;
	peer->last_id = id;
	return true;
}

struct submission_rules
queue_intake_rules(const struct queued *queued)
{
	return (struct submission_rules){
	    .snapshot = daemon_snapshot(queued->daemon),
	    .token_key = {(const char *)queued->token_key,
		queued->has_token_key ? sizeof(queued->token_key) : 0},
	    .previous_token_key = {(const char *)queued->previous_token_key,
		queued->has_previous_token_key
		    ? sizeof(queued->previous_token_key)
		    : 0},
	    .now_s = clock_wall_us() / 1000000};
}

/* May more be taken now?  Otherwise the refusal is set. */
int
queue_intake_has_room(
    const struct queued *queued, size_t octets, struct smtp_status *refusal_r)
{
	if (daemon_is_stopping(queued->daemon))
		return smtp_status_set(
		    refusal_r, 451, "4.3.2", "The queue is being restarted");
	if (!queued->has_space)
		return smtp_status_set(
		    refusal_r, 452, "4.3.1", "Insufficient system storage");
	if (queued->memory_used + octets >
	    queued_settings(queued)->queue_memory)
		return smtp_status_set(refusal_r, 452, "4.3.1",
		    "Too much mail at once; please try again");
	return 0;
}

int
queue_intake_check_id(struct smtp_peer *peer, uint64_t message_id)
{
	return peer != NULL && is_own_id(peer, message_id) ? 0 : -1;
}

int
queue_intake_submit(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_queue_submit *m = &frame->message->queue_submit;
	struct queued *queued = queued_of(channel);
	struct smtp_peer *peer = channel_context(channel);
	struct submission submission = SUBMISSION_OF(m);
	struct submission_rules rules = queue_intake_rules(queued);
	struct queue_message *message;
	struct smtp_status refusal;

	if (queue_intake_check_id(peer, m->message_id) == -1)
		return -1;
	if (queue_intake_has_room(queued, m->content.n, &refusal) == -1 ||
	    queue_intake_check_client(
		peer, m->is_trusted, m->client, &refusal) == -1 ||
	    submission_check(
		&rules, &submission, m->content, &message, &refusal) == -1) {
		queued->refused++;
		queue_intake_answer(peer, frame->request_id, 0, refusal.code,
		    refusal.enhanced, refusal.text);
		return 0;
	}
	message->size = m->content.n;
	message->content = xmalloc(m->content.n);
	memcpy(message->content, m->content.p, m->content.n);
	queue_intake_take(queued, message, peer, frame->request_id, 0);
	return 0;
}
