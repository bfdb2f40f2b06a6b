/* SPDX-License-Identifier: ISC */
/*
 * A delivery as postern-queued asks for it: from its frame to mails for the
 * pool, one for each route that its recipients take, and back to one result.
 */
#ifndef RELAY_JOB_H
#define RELAY_JOB_H

#include "common/channel.h"
#include "relay/pool.h"

struct job;
LIST_HEAD(job_set, job);

/* What all jobs hang on. */
struct job_context {
	struct pool *pool;
	const struct route_table *routes;
	uint64_t deadline_ms; /* relay.deadline */
	/* The job is done, and off the set; job_free() it. */
	void (*done)(void *arg, struct job *job);
	void *arg;
	struct job_set jobs; /* those under way */
	size_t count;
};

/*
 * Takes a job.  fd: -1, or a descriptor of the content (taken over); content
 * counts without one.  -1: the frame breaks its rules, and nothing was begun.
 */
int job_start(struct job_context *context, const struct ipc_relay_job *m,
    int fd, struct err *err);

/* Sends the result of a job that is done. */
int job_answer(const struct job *job, struct channel *queued);

/* Breaks it off when it is not done. */
void job_free(struct job *job);

#endif
