/* SPDX-License-Identifier: ISC */
/*
 * Messages on their way through the signer (postern-signerd), before they are
 * accepted where that is quick, else from the queue.
 *
 * What is demanded is settled once, before the 250, and kept with the message
 * (queue_protection.h).  On disk each of its recipients is in one of these
 * states (demand.waits; the flag MSG_FLAG_WAIT_SIGN says whether any of them
 * waits); each arrow is one transaction, with all recipients it is for:
 *
 *   (nothing) -> waits      accepted: the signer is away, busy, late, said
 *                           "temporary", or cannot be asked for all at once
 *   (nothing) -> met        accepted: all it demands was applied in time
 *   waits     -> waits      the next attempt was noted, and when it is due
 *   waits     -> met        outputs, who gets which, what was applied
 *   waits     -> ready      the same, where all recipients get it or none
 *                           (encrypt required-all) and others wait
 *   ready     -> met        with the last of the others
 *   waits,    -> (no row)   he cannot be served, or the time is over: with his
 *   ready                   notification; or an administrator deleted it
 *   met       -> held       the signer said so; by an administrator released
 *   waits,    -> the same,  by an administrator, also while the signer has the
 *   ready        held       message: rcpt.state, with the number of the
 *                           attempt that he ended; released, he waits again
 *
 * Only who is "met" may have his mail, and then as any other, while the rest
 * goes on to wait.  A recipient whom an administrator held, or who is gone,
 * by the time that an attempt is to be committed voids all of it, but for its
 * number: what he did stands, and the message waits as it did.
 *
 * Large outputs are files, synced before the transaction that names them;
 * without a row they go at the next start.  Nothing is given to relayd for a
 * recipient who waits, or whose demand is not met (queue_delivery.c looks once
 * more).
 *
 * In memory, an attempt is a job: so many recipients of one message as the
 * signer can be asked for at once (queue_sign_share.h), the next ones when it
 * is settled.  At the signer there is one attempt of a message at a time;
 * answers of another number are of nobody.
 *
 *   state      event                      what follows              state
 *   (none)     a client's message         sent; the client waits    EARLY
 *              the same, no signer, too   committed as waiting      (none)
 *              many at it, or more than
 *              one share of recipients
 *   EARLY      result: all is met         large outputs are written STORING
 *              result: some are refused,  committed as waiting, the COMMITTING
 *              wait, or have less than    result is kept
 *              demanded
 *              result: refused for all    the client is told 5xx    (none)
 *              result: temporary for all  committed as waiting      COMMITTING
 *              3 s passed                 committed as waiting, the COMMITTING
 *                                         attempt goes on
 *              channel lost               committed as waiting      COMMITTING
 *   COMMITTING result                     kept                      COMMITTING
 *              committed; result is here  large outputs are written STORING
 *              committed; attempt is out                            OUT
 *              committed; else            next time noted           SETTLING
 *              not committed (no space)                             (none)
 *              committed, and before its  the signer is told to     (none)
 *              turn an administrator has  forget it
 *              it
 *   STORING    written; a client waits    committed as protected    (none)
 *              written; it was waiting    transaction               SETTLING
 *              cannot be written          as "temporary"
 *   (none)     a waiting message is due   claimed                   QUEUED
 *              the same, no signer        next time noted           SETTLING
 *   QUEUED     there is room at the       sent (content read from   OUT
 *              signer                     disk before)
 *              channel lost               next time noted           SETTLING
 *   OUT        result: something is       large outputs are written STORING
 *              known of somebody
 *              the same, all or none, and all who wait fail         SETTLING
 *              the time is over
 *              result: temporary for all; next time noted, for all  SETTLING
 *              deadline passed; channel   that were due
 *              lost
 *   SETTLING   committed                  delivered, or waits; who (none)
 *                                         is due and was not
 *                                         asked for is the next
 *                                         share
 *              it is held or gone: that   what was stored goes      (none)
 *              stands, nothing is done
 *   any        this process ends          each recipient as on disk
 *
 * An administrator holds, deletes or bounces it (relay/queue_admin_act.c):
 *
 *   QUEUED     at once                    it leaves the line        (none)
 *   OUT        at once                    the signer is told to     (none)
 *                                         forget it; what it says
 *                                         then is of nobody, its
 *                                         files are closed
 *   STORING    at once                    the attempt is nobody's   STORING
 *              written, or not            what was written goes     (none)
 *   SETTLING   when it is committed, and nothing leaves before he had his
 *              way; he finds what the attempt made of it
 *
 * What he holds is held on disk by one transaction with the number of the
 * attempt that it ended: an answer that is under way has a number that no
 * later attempt has.  A retry, and a release of others, leave the signer what
 * it has, but wait for SETTLING, too.
 *
 * A message over which the signer ended is tried again alone of its kind, and
 * not at once when the signer is back: if it was the cause, it keeps others
 * for no longer than the signer takes to start.
 *
 * Only SIGNED_DONE with everything that was demanded lets a recipient have the
 * message; each other way out of this table leaves him waiting.
 */
#ifndef RELAY_QUEUE_SIGN_H
#define RELAY_QUEUE_SIGN_H

#include "relay/queue_sign_need.h"
#include "relay/queued.h"

struct queue_sign;

struct queue_sign *queue_sign_new(struct queued *queued, struct err *err);
void queue_sign_free(struct queue_sign *sign);

/*
 * The snapshot changed.  -1: a rule of it cannot be read; the rules before it
 * go on to hold.
 */
int queue_sign_configure(struct queue_sign *sign, struct err *err);

/* Once a second. */
void queue_sign_tick(struct queue_sign *sign);

/* Frames of signerd, and that a channel of it ended. */
int queue_sign_on_ready(
    struct channel *channel, const struct channel_frame *frame);
int queue_sign_on_output(
    struct channel *channel, const struct channel_frame *frame);
int queue_sign_on_output_file(
    struct channel *channel, const struct channel_frame *frame);
int queue_sign_on_result(
    struct channel *channel, const struct channel_frame *frame);
void queue_sign_channel_closed(
    struct queue_sign *sign, const struct channel *channel);

/* By which need is settled now. */
struct sign_rules queue_sign_rules(const struct queue_sign *sign);

/*
 * Before a message is committed, with its recipients as they will be: settles
 * what it demands, and asks the signer.  True: done follows, and not within
 * this call; else it is to be committed at once.  refusal NULL: to be
 * committed as it is now.
 */
typedef void queue_sign_done_fn(void *arg, struct queue_message *message,
    const struct smtp_status *refusal);
bool queue_sign_before_commit(struct queue_sign *sign,
    struct queue_message *message, queue_sign_done_fn *done, void *arg);

/* A message of our own, before it is committed: may have to wait. */
void queue_sign_own(struct queue_sign *sign, struct queue_message *message);

/* The message was not committed: nobody waits for it. */
void queue_sign_not_committed(
    struct queue_sign *sign, const struct queue_message *message);

/* ---- an administrator has a message in his hands ---- */

/*
 * The message whose outcome is being committed now, or NULL.  A watch of it is
 * called once, when that is over, before anything of it is planned.
 */
struct queue_sign_watch {
	void (*run)(struct queue_sign_watch *watch);
	struct queue_sign_watch *next;
};
struct queue_message *queue_sign_settling(
    const struct queue_sign *sign, uint64_t message_id);
void queue_sign_watch(const struct queue_sign *sign, uint64_t message_id,
    struct queue_sign_watch *watch);

/* Is one of dispatch's claims on the message for its way to the signer? */
bool queue_sign_has_claim(const struct queue_sign *sign, uint64_t message_id);

/*
 * Its attempt, if there is one, is over and its claim gone: whatever comes of
 * it is thrown away.  Not while it is being committed.  Returns the number of
 * the last attempt, for the row in protection; 0: none.
 */
uint32_t queue_sign_withdraw(
    struct queue_sign *sign, const struct queue_message *message);

/* The message left the queue: nobody waits for it. */
void queue_sign_gone(
    struct queue_sign *sign, const struct queue_message *message);

/* A message that waits for the signer is in memory, and may be due. */
void queue_sign_plan(struct queue_sign *sign, struct queue_message *message);

/* Life events of what was done before the commit, in the job that inserts. */
void queue_sign_note(struct queue_sign *sign, struct queue_job *job,
    struct queue_message *message);

void queue_sign_status(
    const struct queue_sign *sign, struct status_writer *out);

#endif
