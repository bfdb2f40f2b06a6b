/* SPDX-License-Identifier: ISC */
/*
 * checkd's one state, and its peers with what they wait for, shared by its
 * files: checkd.c (program), checkd_peer.c (peers and jobs), checkd_query.c
 * (DNS_QUERY), checkd_mail.c (CHECK_MAIL).
 */
#ifndef SMTPD_CHECKD_H
#define SMTPD_CHECKD_H

#include "common/daemon.h"
#include "smtpd/dns_health.h"
#include "smtpd/resolver.h"

struct checkd {
	struct daemon *daemon;
	struct resolver *resolver;
	bool is_configured; /* the resolver works with some settings */
	struct dns_health health;
	struct dns_message not_asked; /* the answer when it is too busy */
	uint64_t mail_checks;
};

/* ---- checkd_peer.c ---- */

/* A peer's request that is being worked on; embedded in its kind. */
struct checkd_job {
	struct checkd_peer *peer;
	uint64_t request_id;
	/* The peer has gone: frees the job. */
	void (*drop)(struct checkd_job *job);
	struct checkd_job *next;
	struct checkd_job **link;
};

struct checkd *checkd_of(const struct channel *channel);

/* False when the peer has enough jobs already: answer DNS_TEMPORARY then. */
bool checkd_job_start(struct checkd_job *job, struct channel *channel,
    uint64_t request_id, void (*drop)(struct checkd_job *job));

/* Answers it and takes it off its peer; it is then to be freed. */
void checkd_job_end(
    struct checkd_job *job, enum ipc_type type, const void *message);

/* Takes it off its peer, without an answer. */
void checkd_job_leave(struct checkd_job *job);

/* Drops the jobs of a peer that has gone, and the peer. */
void checkd_peer_gone(struct channel *channel);

/* ---- checkd_query.c, checkd_mail.c ---- */

int checkd_on_dns_query(
    struct channel *channel, const struct channel_frame *frame);
int checkd_on_check_mail(
    struct channel *channel, const struct channel_frame *frame);

#endif
