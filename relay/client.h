/* SPDX-License-Identifier: ISC */
/*
 * One session with another server, by SMTP or LMTP: greeting, TLS, login, then
 * mails one after another.  It knows no DNS, routes or queue; who connects and
 * what comes next is its owner's business (pool.c).
 *
 * A mail's recipients each end with a result.  Each reply is matched to its
 * command in order; what cannot be matched ends the session, and nothing that
 * was not confirmed counts as delivered.
 */
#ifndef RELAY_CLIENT_H
#define RELAY_CLIENT_H

#include "common/smtp_reply.h"
#include "common/stream.h"
#include "common/vocabulary.h"
#include "relay/tls_policy.h"

struct client;

/* Long enough for a login name and for a password. */
#define CLIENT_SECRET_MAX 1024

/* Everything is copied, but for ssl, which is taken over. */
struct client_config {
	struct loop *loop;
	const struct client_events *events;
	void *arg;
	const char *own_name; /* for EHLO */
	const char *host;     /* for words */
	bool is_lmtp;
	bool is_own_name_a_loop; /* a greeting with own_name ends it */
	struct tls_decision tls;
	SSL *ssl;         /* in connect state; NULL: plain text only */
	const char *user; /* "": no login */
	const char *password;
	uint64_t connect_ms;
	uint64_t command_ms;
	uint64_t dot_ms;
};

/* How a session ended. */
struct client_end {
	bool is_reached;     /* a server greeted us, whatever it said then */
	bool is_tls_failure; /* STARTTLS or the handshake did not work */
	bool is_loop;        /* we met ourselves */
	unsigned code;       /* of the reply that ended it, or 0 */
	char enhanced[SMTP_ENHANCED_MAX];
	char text[SMTP_REPLY_SUMMARY_MAX];
};

struct client_recipient {
	const char *address; /* canonical; "" only for a bad one */
	const char *orcpt;   /* or "" */
	uint16_t notify;     /* a set of enum dsn_notify */
	bool is_utf8;

	bool is_sent;     /* its RCPT is part of this transaction... */
	bool is_accepted; /* ...and was taken */
	bool is_settled;  /* the result stands; it is not sent to again */
	enum outcome outcome;
	uint16_t code;
	char enhanced[SMTP_ENHANCED_MAX];
	char *reply;    /* its own; may be NULL */
	size_t decider; /* the owner's: which server said so */
};

/* A mail on its way; owned by whoever calls client_send(). */
struct client_mail {
	const char *reverse_path; /* canonical, "" for the null path */
	const char *envid;        /* xtext, or "" */
	enum dsn_ret ret;
	bool is_8bit;
	bool is_utf8;
	bool is_callout; /* no content: ask by RCPT, then RSET */
	uint64_t size;
	struct slice content; /* when fd is -1 */
	int fd;               /* read by pread() from its beginning */
	uint64_t deadline_ms; /* monotonic */
	struct client_recipient *recipients;
	size_t recipient_count;

	/* Results besides those of the recipients: */
	bool was_answered; /* the server said something about this mail */
	bool was_dot_sent; /* so it may have arrived */
	/* Some recipient's, of any server: ORCPT, NOTIFY... did not go along */
	bool was_dsn_lost;
};

struct client_events {
	/* The session is open; client_send() may be called. */
	void (*ready)(void *arg);
	/*
	 * The mail is done: recipients that are not settled were put off by
	 * the session's end, told next by ended().  is_reusable: another one
	 * may be sent, also from within this call.
	 */
	void (*done)(void *arg, bool is_reusable);
	/* The session is over; free the client. */
	void (*ended)(void *arg, const struct client_end *end);
};

/* Takes over the socket; its connect() may be under way. */
struct client *client_new(const struct client_config *config, int fd);

/* Ends without a word; no event follows.  Fine within events; NULL too. */
void client_free(struct client *client);

/* Says QUIT, without waiting for the answer, and frees. */
void client_quit(struct client *client);

/* Only when ready or done says so.  mail stays where it is until done(). */
void client_send(struct client *client, struct client_mail *mail);

/* The TLS level asked and reached, for the trace. */
const char *client_tls_words(
    const struct client *client, char *out, size_t size);

/* Settles a recipient unless it is; text is copied. */
void client_settle(struct client_recipient *recipient, enum outcome outcome,
    unsigned code, const char *enhanced, const char *text);

#endif
