/* SPDX-License-Identifier: ISC */
/*
 * One connection of the sink: the server's side of SMTP or LMTP.
 */
#ifndef TESTS_BENCH_LIB_SERVER_H
#define TESTS_BENCH_LIB_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/queue.h>

#include <openssl/ssl.h>

#include "common/buf.h"
#include "tests/bench/lib_count.h"
#include "tests/bench/lib_wire.h"

/* Where a sink that hangs stops to answer. */
enum server_hang {
	SERVER_HANG_NEVER,
	SERVER_HANG_GREETING,
	SERVER_HANG_MAIL,
	SERVER_HANG_DOT,
	SERVER_HANG_COUNT
};

struct server_counts {
	uint64_t received; /* mails answered with 250 */
	uint64_t distinct; /* ids of ours among them */
	uint64_t doubles;  /* id and recipient came before */
	uint64_t bad;      /* checksum */
	uint64_t foreign;  /* no id of ours: reports, other senders */
	uint64_t tempfailed;
	uint64_t rejected_recipients;
	uint64_t connections;
	uint64_t bytes;
};

/* What all connections share. */
struct server {
	bool is_lmtp;
	uint32_t delay_dot_ms;
	uint32_t tempfail_percent;
	uint32_t tempfail_tries; /* 0: every try of such a mail */
	const char *reject_rcpt; /* fnmatch pattern, or NULL */
	enum server_hang hang;
	const char *save_dir; /* or NULL */
	FILE *record;         /* or NULL */
	SSL_CTX *tls_context; /* NULL: no TLS */
	bool is_tls_implicit;

	struct server_counts counts;
	struct id_set ids;        /* seen */
	struct id_set deliveries; /* id and recipient */
	struct id_set tries;      /* of mails that were put off */
};

enum server_state {
	SERVER_COMMAND,
	SERVER_DATA,
	SERVER_DELAYED, /* the reply to the dot is held back */
	SERVER_HANGING, /* reads, answers nothing */
	SERVER_QUITTING,
	SERVER_STATE_COUNT
};

/* Where in CR LF "." CR LF the input stands. */
enum server_dot { DOT_TEXT, DOT_CR, DOT_LINE, DOT_DOT, DOT_DOT_CR, DOT_END };

struct server_session {
	struct server *server;
	struct wire wire;
	enum server_state state;
	enum server_dot dot;
	bool is_tls_starting; /* after the reply to STARTTLS */
	bool has_sender;
	struct buf line; /* the start of a command */
	struct buf kept; /* input behind a delayed dot */
	struct buf message;
	struct buf sender;     /* arguments of MAIL */
	struct buf recipients; /* arguments of RCPT, each with its NUL */
	uint32_t recipient_count;
	uint64_t resume_us; /* of the delayed reply */
	TAILQ_ENTRY(server_session) link;
};

void server_clear(struct server *server);

/* For a session's memory, used for one connection after another. */
void session_init(struct server_session *s, struct server *server);
void session_clear(struct server_session *s);

/* Greets on a fresh socket.  -1: close it. */
int session_open(struct server_session *s, int fd);

/*
 * Something happened on the socket; scratch is room for input.  -1: close it.
 */
int session_event(struct server_session *s, uint32_t events, char *scratch,
    size_t scratch_bytes);

/* The delay of the dot is over.  -1: close it. */
int session_resume(
    struct server_session *s, char *scratch, size_t scratch_bytes);

#endif
