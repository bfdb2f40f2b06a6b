/* SPDX-License-Identifier: ISC */
/*
 * Who asks checkd, and what each of them waits for.
 * Runs in: postern-checkd.  Trusts: peers not to be more than its door lets
 * in; each has a bounded number of jobs.
 */
#include <stdlib.h>

#include "smtpd/checkd.h"

/*
 * One peer's share of what may be in progress: relayd and some workers of
 * smtpd fit under the resolver's own limit.
 */
#define JOBS_PER_PEER 1024

struct checkd_peer {
	struct channel *channel;
	struct checkd_job *first;
	size_t count;
};

struct checkd *
checkd_of(const struct channel *channel)
{
	return daemon_state(channel_daemon(channel));
}

static struct checkd_peer *
peer_of(struct channel *channel)
{
	struct checkd_peer *peer = channel_context(channel);

	if (peer == NULL) {
		peer = xcalloc(1, sizeof(*peer));
		peer->channel = channel;
		channel_set_context(channel, peer);
	}
	return peer;
}

bool
checkd_job_start(struct checkd_job *job, struct channel *channel,
    uint64_t request_id, void (*drop)(struct checkd_job *job))
{
	struct checkd_peer *peer = peer_of(channel);

	if (peer->count >= JOBS_PER_PEER)
		return false;
	job->peer = peer;
	job->request_id = request_id;
	job->drop = drop;
	job->next = peer->first;
	job->link = &peer->first;
	if (peer->first != NULL)
		peer->first->link = &job->next;
	peer->first = job;
	peer->count++;
	return true;
}

void
checkd_job_leave(struct checkd_job *job)
{
	*job->link = job->next;
	if (job->next != NULL)
		job->next->link = job->link;
	job->peer->count--;
}

void
checkd_job_end(
    struct checkd_job *job, enum ipc_type type, const void *message)
{
	/* A peer that reads nothing loses the answer: its deadline passes. */
	(void)channel_answer(
	    job->peer->channel, job->request_id, type, message);
	checkd_job_leave(job);
}

void
checkd_peer_gone(struct channel *channel)
{
	struct checkd_peer *peer = channel_context(channel);

	if (peer == NULL)
		return;
	while (peer->first != NULL)
		peer->first->drop(peer->first);
	channel_set_context(channel, NULL);
	free(peer);
}
