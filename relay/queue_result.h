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

/* Whom the signer could not serve, and why. */
struct sign_failure {
	uint32_t number;
	const char *enhanced;
	const char *reason;
};

typedef void queue_result_note_fn(
    struct queue_job *job, struct queue_message *message, void *arg);

/*
 * The signer had the message, which is as it made it: that is written, and
 * who failed goes, with his notification, in one transaction.  Takes the
 * claim.  note adds life events; done is called when it is committed, or, with
 * is_done false, when the message was found held or gone: nothing happened.
 */
void queue_result_signed(struct queued *queued, struct queue_message *message,
    struct delivery *claim, const struct sign_failure *failures,
    size_t failure_count, queue_result_note_fn *note,
    void (*done)(void *arg, bool is_done), void *arg);

/*
 * The message waits for the signer until next_ms, for that reason: its sender
 * is told of the delay, and when its time is over it is given up.  done as
 * above.
 */
void queue_result_sign_wait(struct queued *queued,
    struct queue_message *message, struct delivery *claim, int64_t next_ms,
    const char *enhanced, const char *reason,
    void (*done)(void *arg, bool is_done), void *arg);

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
