/* SPDX-License-Identifier: ISC */
/*
 * A message on its way in, for the files that take it: intake.c (from DATA to
 * the answer) and intake_stream.c (large ones).
 */
#ifndef SMTPD_INTAKE_PARTS_H
#define SMTPD_INTAKE_PARTS_H

#include "common/header.h"
#include "common/smtp_data.h"
#include "smtpd/intake.h"
#include "smtpd/session.h"

/* Input that is held while a message comes; two chunks. */
#define INTAKE_INPUT_MAX (2 * IPC_CHUNK_MAX)
/* Room before the content for our own lines, so that it need not move. */
#define INTAKE_HEADROOM 2048

struct intake {
	struct session *session;
	struct smtp_data data;
	/*
	 * INTAKE_HEADROOM octets, then the content.  Of an open stream: what
	 * is still to be sent begins at `from`.
	 */
	struct buf content;
	size_t from;
	size_t charged; /* of the worker's memory */
	uint64_t started_ms;
	struct smtp_status refusal; /* code 0: none yet */
	char header_from[IPC_ADDRESS_MAX];
	char *header_message_id; /* NULL: not read yet, or none */
	uint64_t message_id;     /* 0: not given yet */
	bool is_complete;        /* the end of the message came */

	/* Streams. */
	struct header *header;  /* collects it; NULL: not large, or done */
	struct channel *queued; /* NULL: no stream is open */
	uint64_t open_request;
	uint64_t credit;
	uint32_t stream;
	bool is_full; /* input rests until there is credit */
	uint64_t full_since_ms;
};

/* ---- intake.c ---- */

/* The first refusal counts; the content is dropped. */
void intake_refuse(struct intake *intake, const struct smtp_status *status);
void intake_refuse_with(struct intake *intake, unsigned code,
    const char *enhanced, const char *text);

/* Says the refusal: event, reply, end of the transaction and of intake. */
void intake_tell_refusal(struct session *session);

/*
 * Checks the header, and puts our lines before the content.  Returns where
 * the message begins in the buffer, or -1: refused.
 */
ssize_t intake_finish_header(struct intake *intake, struct header *header);

/* queued's answer to the whole message. */
channel_answer_fn intake_queue_answer;

/* Until when the next piece has to be there. */
void intake_set_deadline(struct intake *intake);

/*
 * Comes before each envelope: queued does not believe us that a client is in a
 * trusted network, it looks at the connection.
 */
void intake_show_client(struct session *session);

/* QUEUE_SUBMIT and QUEUE_OPEN have the same envelope. */
#define INTAKE_ENVELOPE(session, transaction, intake, client)                  \
	.message_id = (intake)->message_id, .session_id = (session)->id,       \
	.token = (session)->login != NULL                                      \
		     ? buf_slice(&(session)->login->octets)                    \
		     : (struct slice){NULL, 0},                                \
	.client = session_client_text((session), (client)),                    \
	.is_trusted = (session)->is_trusted,                                   \
	.reverse_path = slice_of((transaction)->from_text),                    \
	.envid = slice_of((transaction)->envid),                               \
	.ret = (uint16_t)(transaction)->ret,                                   \
	.is_8bit = (intake)->data.has_8bit, .is_utf8 = (transaction)->is_utf8, \
	.listener_kind = (session)->listener,                                  \
	.header_message_id = slice_of((intake)->header_message_id),            \
	.recipients = ipc_list_of(&(transaction)->recipients)

/* ---- intake_stream.c ---- */

/*
 * The content outgrew a frame, or ended so: opens the stream once the header
 * is whole.  fresh: octets of the content that were not seen here yet.
 */
void intake_stream_grow(struct intake *intake, size_t fresh);

/*
 * Sends what the credit allows; at the end of the message END too.  intake
 * may be gone afterwards.
 */
void intake_stream_pump(struct intake *intake);

/* The stream is over at queued too, if one is open. */
void intake_stream_abort(struct intake *intake);

#endif
