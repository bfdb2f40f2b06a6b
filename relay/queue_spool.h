/* SPDX-License-Identifier: ISC */
/*
 * Bodies too large for one frame: they come in as streams with credit and
 * become files of the spool, synced before the transaction that names them.
 */
#ifndef RELAY_QUEUE_SPOOL_H
#define RELAY_QUEUE_SPOOL_H

#include "relay/queued.h"

/* Opens the spool below the state directory; removes files without a row. */
struct queue_spool *queue_spool_new(struct queued *queued, struct err *err);
void queue_spool_free(struct queue_spool *spool);

/* Frames of smtpd. */
int queue_spool_on_open(
    struct channel *channel, const struct channel_frame *frame);
int queue_spool_on_chunk(
    struct channel *channel, const struct channel_frame *frame);
int queue_spool_on_end(
    struct channel *channel, const struct channel_frame *frame);
int queue_spool_on_abort(
    struct channel *channel, const struct channel_frame *frame);

/* The peer is gone: its streams end and leave nothing. */
void queue_spool_peer_closed(struct queue_spool *spool, struct smtp_peer *peer);

/* A file of the message (output 0: as it came), open for reading; -1 when it
 * cannot be opened. */
int queue_spool_open(
    struct queue_spool *spool, uint64_t message_id, unsigned output);

/* A file that nothing rests on any more goes, beside the loop. */
void queue_spool_remove(
    struct queue_spool *spool, uint64_t message_id, unsigned output);

/* The message left the queue: all its files go. */
struct queue_message;
void queue_spool_remove_all(
    struct queue_spool *spool, const struct queue_message *message);

/* Streams under way, for status. */
size_t queue_spool_streams(const struct queue_spool *spool);

#endif
