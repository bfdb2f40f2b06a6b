/* SPDX-License-Identifier: ISC */
/*
 * postern-fetchd's one state.
 */
#ifndef SIGNER_FETCHD_H
#define SIGNER_FETCHD_H

#include "common/daemon.h"
#include "signer/fetch_web.h"

struct fetch_job;

struct fetchd {
	struct daemon *daemon;
	struct link *checkd;
	struct web *web;
	struct fetch_job *jobs;
	size_t job_count;
	uint64_t asked;
	uint64_t found;
	uint64_t failed;
};

int fetch_on_fetch(struct channel *channel, const struct channel_frame *frame);

/* Nobody waits on that channel any more. */
void fetch_drop_channel(struct fetchd *fetchd, const struct channel *channel);

#endif
