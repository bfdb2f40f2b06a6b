/* SPDX-License-Identifier: ISC */
/*
 * What became of recipients, committed: rows go or move on, life events are
 * written, and the sender is notified where RFC 3461 and RFC 5321 ask for it,
 * all in one transaction.
 */
#ifndef RELAY_QUEUE_RESULT_H
#define RELAY_QUEUE_RESULT_H

#include "relay/queued.h"

/*
 * Takes the result of a delivery that is out; the delivery is forgotten when
 * it is committed.  -1 when it names a recipient that the delivery does not
 * have, or one twice, or not all of them: nothing happened then.
 */
int queue_result_commit(struct queued *queued, struct delivery *delivery,
    const struct ipc_relay_result *result);

/* A delivery that is out comes back untried; it is due again at next_ms. */
void queue_result_postpone(
    struct queued *queued, struct delivery *delivery, int64_t next_ms);

/*
 * A job without changes yet, with room for so many: each puts a recipient off,
 * of any message.  Its caller submits it, and hears no more of it.
 */
struct queue_job *queue_result_postpone_job(
    struct queued *queued, size_t changes);

/* Whom the signer could not serve, and why. */
struct sign_miss {
	uint32_t number;
	bool is_final; /* he fails; else he waits until next_ms */
	const char *enhanced;
	const char *reason;
};

typedef void queue_result_note_fn(
    struct queue_job *job, struct queue_message *message, void *arg);

/*
 * The signer had the message, or could not have it: what it made is written,
 * who failed goes, with his notification, and who goes on to wait is put off
 * (his sender is told of a long delay; when his time is over he fails), all in
 * one transaction.  Takes the claim and the attempt.  note, if not NULL, adds
 * life events.
 *
 * done is called when it is committed, before the attempt is freed, or, with
 * is_done false, when one of these recipients was found held or gone: nothing
 * happened then.
 */
struct sign_result {
	struct queue_attempt *attempt;
	const struct sign_miss *misses;
	size_t miss_count;
	int64_t now_ms; /* says whose time is over */
	int64_t next_ms;
	queue_result_note_fn *note;
	void (*done)(void *arg, bool is_done);
	void *arg;
};
void queue_result_signed(struct queued *queued, struct queue_message *message,
    struct delivery *claim, const struct sign_result *result);

/*
 * Deliveries that wait for destinations which are down leave memory until
 * those are tried again; to be called now and then.
 */
void queue_result_park(struct queued *queued);

/*
 * An administrator gives the message up for all its recipients: each fails
 * with this reply, or (is_silent) goes without a notification.  The message
 * must not be in delivery.  done is called when it is committed.
 */
void queue_result_give_up(struct queued *queued, struct queue_message *message,
    const char *reply, bool is_silent, const char *actor,
    void (*done)(void *arg, bool is_done), void *arg);

#endif
