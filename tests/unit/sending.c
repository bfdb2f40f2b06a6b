/* SPDX-License-Identifier: ISC */
/*
 * What tests of large mail send as smtpd does.
 */
#include "tests/unit/sending.h"

static void
on_answer(void *arg, const struct channel_frame *frame)
{
	struct world_peer *peer = &((struct world *)arg)->peer;
	const struct ipc_queue_answer *answer;

	if (frame == NULL) {
		peer->empty_answers++;
		return;
	}
	answer = &frame->message->queue_answer;
	peer->answers++;
	peer->code = answer->code;
	peer->stream = answer->stream;
	(void)slice_copy(answer->text, peer->text, sizeof(peer->text));
}

struct sending
sending_open_from(struct world *world, const char *client, uint32_t number,
    uint64_t id, const char *to)
{
	struct ipc_queue_open open = {.message_id = id,
	    .session_id = 1,
	    .client = slice_of(client),
	    .reverse_path = SLICE("a@away.test"),
	    .stream = number};
	struct ipc_record_recipient recipient = {.address = slice_of(to)};
	struct ipc_list_writer list;

	ipc_list_writer_init(&list, 4096);
	(void)ipc_recipient_add(&list, &recipient, NULL);
	open.recipients = ipc_list_of(&list);
	(void)channel_request(world->peer.channel, MSG_QUEUE_OPEN, &open, NULL,
	    MSG_QUEUE_ANSWER, 600000, on_answer, world);
	ipc_list_writer_clear(&list);
	return (struct sending){world, id, number};
}

struct sending
sending_open_as(
    struct world *world, uint32_t number, uint64_t id, const char *to)
{
	return sending_open_from(world, "192.0.2.1", number, id, to);
}

struct sending
sending_open(struct world *world, uint32_t number)
{
	return sending_open_as(
	    world, number, world_next_id(world), "b@ours.test");
}

void
sending_chunk(const struct sending *sending, const char *p, size_t n)
{
	struct ipc_queue_chunk chunk = {
	    .stream = sending->number, .content = {p, n}};

	(void)channel_send(
	    sending->world->peer.channel, MSG_QUEUE_CHUNK, &chunk, NULL);
}

void
sending_end(const struct sending *sending)
{
	struct ipc_queue_end end = {.stream = sending->number};

	(void)channel_request(sending->world->peer.channel, MSG_QUEUE_END, &end,
	    NULL, MSG_QUEUE_ANSWER, 60000, on_answer, sending->world);
}

void
sending_abort(const struct sending *sending)
{
	struct ipc_queue_abort abort = {.stream = sending->number};

	(void)channel_send(
	    sending->world->peer.channel, MSG_QUEUE_ABORT, &abort, NULL);
}

void
sending_all(const struct sending *sending, const char *p, size_t n)
{
	struct world_peer *peer = &sending->world->peer;
	unsigned answers = peer->answers;

	while (n > 0) {
		size_t piece = n < IPC_CHUNK_MAX ? n : IPC_CHUNK_MAX;

		WORLD_WAIT(sending->world, peer->credit >= piece ||
					       peer->answers > answers ||
					       peer->channel == NULL);
		if (peer->credit < piece || peer->answers > answers)
			return;
		peer->credit -= piece;
		sending_chunk(sending, p, piece);
		p += piece;
		n -= piece;
	}
}
