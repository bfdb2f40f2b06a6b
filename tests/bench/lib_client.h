/* SPDX-License-Identifier: ISC */
/*
 * One SMTP client connection as a state machine: it sends the jobs it is
 * given and reports each one's fate.  It opens no sockets and keeps no time.
 */
#ifndef TESTS_BENCH_LIB_CLIENT_H
#define TESTS_BENCH_LIB_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "tests/bench/lib_mail.h"
#include "tests/bench/lib_plan.h"
#include "tests/bench/lib_wire.h"

/* The reply that is awaited. */
enum client_stage {
	STAGE_CLOSED, /* no connection */
	STAGE_CONNECT,
	STAGE_GREETING,
	STAGE_HELLO,
	STAGE_STARTTLS,
	STAGE_HANDSHAKE,
	STAGE_AUTH,
	STAGE_READY, /* none: waits for a job */
	STAGE_RESET,
	STAGE_MAIL,
	STAGE_RCPT,
	STAGE_DATA,
	STAGE_DOT,
	STAGE_QUIT,
	STAGE_COUNT
};

extern const char *const client_stage_names[STAGE_COUNT];

struct client_job {
	uint64_t number;
	uint64_t start_us; /* when it was due */
	uint64_t dot_us;   /* when the dot went out; 0: it did not */
	struct mail_cursor cursor;
	uint32_t rcpt_next;     /* whose reply is awaited */
	uint32_t rcpt_accepted; /* count of the true ones in is_accepted */
	bool is_accepted[PLAN_RECIPIENTS_MAX];
	int bad_code; /* the first refusal; 0: none */
	enum client_stage bad_stage;
};

struct client_hooks;
TAILQ_HEAD(client_list, client);

struct client {
	struct plan *plan;
	const struct client_hooks *hooks;
	void *owner; /* the hooks' */
	struct wire wire;
	enum client_stage stage;
	const struct account *account; /* NULL: no login */
	bool has_job;
	struct client_job job;
	uint32_t sent; /* mails sent on this connection */
	bool has_hello_pipelining;
	bool is_tls_up;
	bool needs_reset;
	char in[4096];
	size_t in_n;
	/* The owner's own: */
	uint64_t deadline_us;
	uint64_t retry_us; /* when to connect again */
	uint32_t failures; /* connections that failed in a row */
	TAILQ_ENTRY(client) link;
	struct client_list *list; /* where it stands now */
};

/* The fate of a job: only a code of 250 at STAGE_DOT is an acceptance. */
struct client_result {
	enum client_stage stage;
	int code;          /* 0: the connection broke */
	const char *reply; /* text of the last line, may be "" */
	uint64_t end_us;
};

enum client_next {
	CLIENT_NEXT_JOB,  /* c->job is filled */
	CLIENT_NEXT_WAIT, /* stay connected: client_send() comes later */
	CLIENT_NEXT_QUIT,
	CLIENT_NEXT_COUNT
};

/* What the machine asks of its owner. */
struct client_hooks {
	enum client_next (*next)(struct client *c);
	void (*done)(struct client *c, const struct client_result *result);
};

/* The socket in c->wire is being connected. */
void client_start(struct client *c);

/* Starts c->job on an idle connection (STAGE_READY).  -1: it is broken. */
int client_send(struct client *c);

/* Says good-bye on an idle connection. */
int client_quit(struct client *c);

/*
 * Something happened on the socket.  -1: the connection is over; the owner
 * closes it, c->job is then unfinished if has_job is still set.
 */
int client_event(struct client *c, uint32_t events);

#endif
