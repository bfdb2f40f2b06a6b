/* SPDX-License-Identifier: ISC */
/*
 * Mails on their way out, by destination: connections are opened as needed,
 * used for one mail after another, kept a little while when idle.  A mail that
 * one server puts off, or that reaches none, tries the next one of its plan.
 */
#ifndef RELAY_POOL_H
#define RELAY_POOL_H

#include <sys/queue.h>

#include "relay/client.h"
#include "relay/plan.h"
#include "relay/route.h"

struct pool;

struct pool_settings {
	const char *own_name;
	SSL_CTX *tls;                 /* not taken over */
	enum tls_level default_level; /* relay.tls */
	bool may_be_local;
	uint16_t mx_port;
	unsigned connections; /* to one destination */
	uint64_t idle_ms;
	uint64_t connect_ms;
	uint64_t command_ms;
	uint64_t dot_ms;
};

/* Who gave a result, for the trace and for notifications. */
struct pool_server {
	char host[256];
	char address[NETADDR_TEXT_MAX];
	char tls[256];
};

/* One mail for one destination.  Embedded in its owner. */
struct pool_job {
	struct client_mail mail; /* its deadline_ms too is set by the owner */
	/* All recipients are settled.  The job is its owner's again. */
	void (*done)(struct pool_job *job);
	void *owner;

	/* Results: the server that decided last, or was tried last. */
	struct pool_server server;
	bool is_host_down; /* no server of the destination can be reached */

	/* Private: */
	TAILQ_ENTRY(pool_job) link;
	struct pool_destination *destination;
	struct pool_connection *connection;
	struct plan *plan;
	uint32_t tried;            /* a set of the plan's candidates */
	uint64_t patient_until_ms; /* when checkd is away */
	bool may_be_up; /* a server answered, or what failed was ours */
	unsigned code;  /* why the latest attempt did not succeed */
	char enhanced[SMTP_ENHANCED_MAX];
	char text[SMTP_REPLY_SUMMARY_MAX];
	/* Who decided on some recipients before; freed by the owner. */
	struct pool_server *earlier;
	size_t earlier_count;
};

/* own: this host's addresses, not taken over. */
struct pool *pool_new(struct loop *loop, struct link *checkd,
    const struct netaddr *own, size_t own_count);
void pool_free(struct pool *pool);

/* The program stops: nobody waits for checkd any more. */
void pool_stop_waiting(struct pool *pool);

/*
 * New settings, also new routes: what is connected by the old ones is let go
 * when its mail is done.  Texts are copied.
 */
void pool_configure(struct pool *pool, const struct pool_settings *settings);

/* What plan_make() needs, as of the latest settings. */
const struct plan_maker *pool_plan_maker(const struct pool *pool);

/*
 * Takes a job; done() is called once, from the loop.  match must be of the
 * routes in force; its texts are copied.
 */
void pool_submit(struct pool *pool, struct pool_job *job,
    const struct route_match *match, const char *domain);

/* Who decided on the recipient with that index. */
const struct pool_server *pool_decider(const struct pool_job *job, size_t at);

/* The owner goes away: the mail is broken off, done() is not called. */
void pool_cancel(struct pool *pool, struct pool_job *job);

struct pool_numbers {
	size_t destinations;
	size_t connections;
	size_t idle;
	size_t waiting; /* jobs without a connection */
};

struct pool_numbers pool_count(const struct pool *pool);

#endif
