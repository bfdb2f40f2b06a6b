/* SPDX-License-Identifier: ISC */
/*
 * The links of one worker to other programs.  It may not connect; the acceptor
 * does that for it and keeps the means to end each link, so that a worker
 * never has more than one to each program, whatever it asks for.
 */
#ifndef SMTPD_WORKER_LINKS_H
#define SMTPD_WORKER_LINKS_H

#include "common/channel.h"

/* The programs that a worker is linked to. */
#define WORKER_LINKS 4

struct worker_links {
	bool is_wanted[WORKER_LINKS];
	int fds[WORKER_LINKS]; /* of streams; -1: none */
};

/* None are there or wanted. */
void worker_links_init(struct worker_links *links);

/* Wants all of them, as a worker that begins. */
void worker_links_want_all(struct worker_links *links);

/* The one to that role ends and is wanted again; -1: there is no such link. */
int worker_links_want(struct worker_links *links, enum role role);

/*
 * Connects what is wanted in that run directory and gives it to the worker.
 * False when a program is not there, which is to be tried again.
 */
bool worker_links_give(
    struct worker_links *links, const char *run_dir, struct channel *worker);

/* The worker has ended: so do its links, and none is wanted. */
void worker_links_end(struct worker_links *links);

#endif
