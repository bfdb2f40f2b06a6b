/* SPDX-License-Identifier: ISC */
/*
 * What pool.c (destinations, and when a mail starts) and pool_connection.c
 * (connections, and what comes of a mail) share.
 */
#ifndef RELAY_POOL_PARTS_H
#define RELAY_POOL_PARTS_H

#include "relay/pool.h"

TAILQ_HEAD(job_list, pool_job);
TAILQ_HEAD(connection_list, pool_connection);

struct pool_connection {
	TAILQ_ENTRY(pool_connection) link;      /* of its destination */
	TAILQ_ENTRY(pool_connection) idle_link; /* of the pool, oldest first */
	struct pool_destination *destination;
	struct client *client;
	struct plan *plan;
	size_t candidate;
	struct tls_decision tls;
	struct pool_job *job; /* NULL: idle */
	bool is_sending;      /* the job's mail was handed to the client */
	bool is_idle;
	unsigned mails; /* sent over it, the current one included */
	uint64_t idle_since_ms;
};

struct pool_destination {
	LIST_ENTRY(pool_destination) link;
	TAILQ_ENTRY(pool_destination) dirty_link;
	struct pool *pool;
	char *key;
	struct route_target target;
	char *domain;
	enum tls_level level;
	char *user;
	char *password;
	struct plan *plan;
	struct plan_making *making;
	uint64_t failed_ms[PLAN_CANDIDATES_MAX]; /* of the plan in force */
	struct job_list waiting;
	struct connection_list connections;
	unsigned connection_count;
	unsigned job_count;
	bool is_dirty;
	bool is_retired; /* of earlier settings: ends with its jobs */
};

LIST_HEAD(destination_list, pool_destination);
TAILQ_HEAD(dirty_list, pool_destination);

#define BUCKETS 1024u

struct pool {
	struct loop *loop;
	struct plan_maker maker;
	struct pool_settings settings;
	char *own_name;
	struct destination_list buckets[BUCKETS];
	struct destination_list retired;
	struct dirty_list dirty;
	struct connection_list idle;
	struct loop_task task;
	struct event *sweep;
	struct pool_numbers numbers;
	bool is_stopping;
};

/* The destination is looked at again at the end of this turn. */
void pool_touch(struct pool_destination *d);

/* Is there a recipient without a result? */
bool pool_has_open_recipients(const struct pool_job *job);

/* The job waits again, before all others. */
void pool_put_in_front(struct pool_job *job);

/* Why the latest attempt did not succeed. */
void pool_set_reason(struct pool_job *job, unsigned code, const char *enhanced,
    const char *text);

/* What is not settled gets the latest reason.  The job must wait nowhere. */
void pool_complete(struct pool_job *job, enum outcome outcome);

/* Opens that candidate of its plan for the job, which waits nowhere. */
void pool_connection_open(struct pool_job *job, size_t candidate);

/* Sends the job, which waits nowhere, over an idle connection. */
void pool_connection_send(struct pool_connection *c, struct pool_job *job);

/* Ends it; politely: with QUIT. */
void pool_connection_free(struct pool_connection *c, bool is_polite);

#endif
