/* SPDX-License-Identifier: ISC */
/*
 * Messages that queued gave us, and what becomes of them.
 *
 * A job is one attempt of one message.  Nothing of it survives this process,
 * and nothing has to: queued keeps the message and what was demanded, and
 * gives it again when no answer comes.  So each way out of this table that is
 * not "answered" leaves the message waiting in the queue, never sent.
 *
 *   state      what is known          event                      next
 *   (none)     -                      SIGN_JOB, SIGN_FILE        planned
 *   planned    what is to be done,    for every recipient it     answered
 *              who fails, who waits   cannot be met, or not yet
 *                                     nothing is to be done      answered
 *                                     else: steps are submitted  working
 *   working    steps at workers, or   a step is DONE and was     working
 *              in their queues        not the last of its output
 *                                     a step is DONE, the last   working
 *                                     one of its output:
 *                                     SIGN_OUTPUT is sent; or one
 *                                     of the same octets was
 *                                     (incoming): that is his, too
 *                                     a step is TEMPORARY, or    working
 *                                     PERMANENT: its recipients
 *                                     wait, or fail; all fail
 *                                     when one that does demands
 *                                     "all or none"
 *                                     a worker died or was late, (as before)
 *                                     a queue is full, too much
 *                                     is held of an incoming one:
 *                                     that is TEMPORARY
 *                                     no step is left            answered
 *   any        -                      SIGN_FORGET; an attempt    (none)
 *                                     with a higher number; the
 *                                     channel to queued ends
 *   answered   the SIGN_RESULT is     -                          (none)
 *              sent, the last frame
 *
 * Where an output is the message as it came behind new fields (DKIM alone),
 * the fields travel, and the word that the message follows: queued has it.
 *
 * Outputs count for queued only with a result DONE of the same attempt that
 * names them; those of a job that fails later are thrown away there.
 *
 * Answers of workers that nobody waits for any more are dropped by pools.c.
 */
#ifndef SIGNER_JOB_H
#define SIGNER_JOB_H

#include "common/channel.h"
#include "common/daemon.h"

struct signerd;
struct jobs;

struct jobs *jobs_new(struct signerd *signerd);

int jobs_on_job(struct channel *channel, const struct channel_frame *frame);
int jobs_on_file(struct channel *channel, const struct channel_frame *frame);
int jobs_on_forget(struct channel *channel, const struct channel_frame *frame);

/* The channel to queued ended: nobody waits. */
void jobs_drop_all(struct jobs *jobs);

size_t jobs_count(const struct jobs *jobs);
void jobs_status(const struct jobs *jobs, struct status_writer *status);

#endif
