/* SPDX-License-Identifier: ISC */
/*
 * Who is in a trusted network, is so by his connection, not by what smtpd says.
 */
#include "tests/unit/queued_world.h"
#include "tests/unit/tap.h"

#define CONTENT "From: Anna <a@ours.test>\r\n\r\nx\r\n"

struct shown_row {
	const char *what;
	const char
	    *from; /* where connections came from; NULL: none was shown */
	const char *last;
	uint16_t code;
};

static const struct shown_row shown_rows[] = {
    {"a client of which only smtpd says that it is trusted", NULL, NULL, 451},
    {"one that comes from elsewhere", "127.0.0.2", NULL, 451},
    {"one that was shown before another", "127.0.0.1", "127.0.0.2", 451},
    {"a client whose connection queued has seen", "127.0.0.1", NULL, 250},
};

static void
on_answer(void *arg, const struct channel_frame *frame)
{
	struct world_peer *peer = arg;

	if (frame == NULL)
		return;
	peer->answers++;
	peer->code = frame->message->queue_answer.code;
}

/* What both kinds of message begin with. */
#define ENVELOPE(world, list)                                \
	.message_id = world_next_id(world), .session_id = 1, \
	.client = SLICE("127.0.0.1"), .is_trusted = true,    \
	.reverse_path = SLICE("a@ours.test"), .recipients = ipc_list_of(list)

static void
ask(struct world *world, enum ipc_type type, const void *message)
{
	if (channel_request(world->peer.channel, type, message, NULL,
		MSG_QUEUE_ANSWER, 600000, on_answer, &world->peer) == 0)
		fatal("a message that cannot be sent");
}

static void
relay_small(struct world *world, const struct ipc_list_writer *list)
{
	struct ipc_queue_submit submit = {
	    ENVELOPE(world, list), .content = SLICE(CONTENT)};

	ask(world, MSG_QUEUE_SUBMIT, &submit);
	WORLD_WAIT(world, world->peer.answers == 1);
}

static void
relay_large(struct world *world, const struct ipc_list_writer *list)
{
	struct ipc_queue_open open = {ENVELOPE(world, list), .stream = 1};
	struct ipc_queue_chunk chunk = {.stream = 1, .content = SLICE(CONTENT)};
	struct ipc_queue_end end = {.stream = 1};

	ask(world, MSG_QUEUE_OPEN, &open);
	WORLD_WAIT(world, world->peer.answers == 2 || world->peer.credit > 0);
	if (world->peer.answers == 2)
		return;
	(void)channel_send(world->peer.channel, MSG_QUEUE_CHUNK, &chunk, NULL);
	ask(world, MSG_QUEUE_END, &end);
	WORLD_WAIT(world, world->peer.answers == 2);
}

static void
test_row(struct world *world, const struct shown_row *row)
{
	struct ipc_record_recipient recipient = {
	    .address = SLICE("b@away.test")};
	struct ipc_list_writer list;

	ipc_list_writer_init(&list, 4096);
	(void)ipc_recipient_add(&list, &recipient, NULL);
	world_connect(world);
	if (row->from != NULL)
		world_show_client(world, row->from);
	if (row->last != NULL)
		world_show_client(world, row->last);
	relay_small(world, &list);
	is_int(world->peer.code, row->code, "%s", row->what);
	relay_large(world, &list);
	is_int(world->peer.code, row->code, "%s: a large message", row->what);
	world_disconnect(world);
	ipc_list_writer_clear(&list);
}

int
main(void)
{
	struct world world;

	world_init(&world);
	for (size_t i = 0; i < sizeof(shown_rows) / sizeof(shown_rows[0]); i++)
		test_row(&world, &shown_rows[i]);
	world_clear(&world);
	return tap_done();
}
