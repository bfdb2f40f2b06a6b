/* SPDX-License-Identifier: ISC */
/*
 * The state of postern-relayd, for its two files.
 */
#ifndef RELAY_RELAYD_H
#define RELAY_RELAYD_H

#include "common/daemon.h"
#include "relay/job.h"

/* Addresses of this host that are remembered, to know it when we meet it. */
#define RELAYD_OWN_MAX 64

struct relay_question;
LIST_HEAD(relay_questions, relay_question);

struct relayd {
	struct daemon *daemon;
	struct link *queued;
	struct link *checkd;
	struct link *authd;
	struct pool *pool;
	struct route_table *routes;
	SSL_CTX *tls;
	struct job_context jobs;
	struct netaddr own[RELAYD_OWN_MAX];
	size_t own_count;
	struct relay_questions questions;
	uint64_t jobs_taken;
	uint64_t jobs_done;
};

/* Answers to others than queued: relay_questions.c. */
int relay_on_callout(
    struct channel *channel, const struct channel_frame *frame);
int relay_on_route_test(
    struct channel *channel, const struct channel_frame *frame);

/* Who asked over this channel gets no answer any more. */
void relay_forget_askers(struct relayd *relayd, const struct channel *channel);

#endif
