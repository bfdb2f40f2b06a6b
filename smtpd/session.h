/* SPDX-License-Identifier: ISC */
/*
 * One SMTP session of a worker.  session.c holds its life and the commands'
 * table, session_mail.c the commands of a transaction, session_auth.c AUTH,
 * intake.c what follows DATA.
 */
#ifndef SMTPD_SESSION_H
#define SMTPD_SESSION_H

#include <event2/event_struct.h>

#include "common/events.h"
#include "common/smtp_command.h"
#include "common/stream.h"
#include "common/token.h"
#include "smtpd/transaction.h"
#include "smtpd/worker.h"

enum session_state {
	SESSION_GREETING, /* the banner has not left, or TLS comes first */
	SESSION_HELLO,    /* EHLO or HELO is due */
	SESSION_READY,    /* no transaction */
	SESSION_MAIL,     /* a sender, no recipient */
	SESSION_RCPT,
	SESSION_AUTH, /* lines are answers to challenges */
	SESSION_DATA, /* what comes is a message */
	SESSION_STATE_COUNT
};

/* What authd said of who logged in. */
struct login {
	char account[256 + 1];
	struct buf octets;  /* of the token */
	struct token token; /* points into octets */
	uint64_t fresh_ms;  /* when it was made or renewed, by our clock */
};

/* Idle sessions are many: this struct stays below 1 KiB. */
struct session {
	struct session *next;
	struct session *previous;
	struct worker *worker;
	struct stream *stream;
	uint64_t id;
	uint64_t started_ms;
	struct netaddr client;
	uint16_t client_port;
	uint8_t listener; /* enum listener_kind */
	uint8_t state;    /* enum session_state */
	uint8_t helo_kind;
	bool is_trusted;
	bool is_shown;      /* queued has seen where it comes from */
	bool is_stressed;   /* slots are short: wait less */
	bool is_esmtp;      /* EHLO, not HELO */
	bool is_greeted;    /* the banner has left */
	bool is_held;       /* has not begun: the worker is not ready */
	bool is_waiting;    /* for a program's answer: input rests */
	bool is_discarding; /* the rest of a line that was too long */
	bool said_auth;     /* what it says next may be a password */
	bool is_ended;
	char *local_address; /* of the listener, with its port */
	char *helo;          /* "" before EHLO; never NULL */
	char *ptr_name;      /* confirmed; NULL: none, or not asked */
	char *tls;           /* version and cipher; NULL: plain */
	struct login *login;
	struct exchange *exchange;           /* AUTH under way */
	struct rcpt_question *rcpt_question; /* authd is asked */
	struct transaction *transaction;

	/* The question that is open, to be forgotten when the session ends. */
	struct channel *asked;
	uint64_t asked_id;

	/* The command at hand; empty when its refusal has another event. */
	struct slice line;

	/* One deadline; the timer is armed rarely, and looks at it. */
	struct event timer;
	uint64_t deadline_ms;
	uint64_t timer_ms;
	void (*delayed)(struct session *session); /* instead of a timeout */

	struct loop_task release;
	uint32_t errors;
	uint32_t idle_commands;
	uint32_t references;
	uint32_t logged_refusals;
	uint32_t accepted;
	uint32_t refused;
	uint32_t transactions;
	uint32_t discarded; /* octets of the line that was too long */
};

/* Takes the connection over; begins it when the worker is ready. */
void session_start(
    struct worker *worker, const struct ipc_client *client, int fd);

/* The worker is ready: for one that was held. */
void session_begin(struct session *session);

/* The worker drains: ends it unless a message or an answer is on its way. */
void session_drain(struct session *session);

/* Ends it whatever is under way, with 421 and that reason. */
void session_cut(
    struct session *session, const char *enhanced, const char *reason);

/* Ends it without a word. */
void session_abandon(struct session *session, const char *reason);

/* ---- for the other files of the session ---- */

const struct settings *session_settings(const struct session *session);

/* One reply; 4xx and 5xx count as errors. */
void session_reply(struct session *session, unsigned code, const char *enhanced,
    const char *format, ...) __attribute__((format(printf, 4, 5)));
void session_reply_status(
    struct session *session, const struct smtp_status *status);

/* The same as a 221, 421 or 5xx that is the last word. */
void session_end(struct session *session, unsigned code, const char *enhanced,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Enters a state; the wait for what is due there begins anew. */
void session_enter(struct session *session, enum session_state state);

/* Ends the transaction, if there is one. */
void session_reset(struct session *session);

/* The transaction is over: the next one, or an end that was due. */
void session_next(struct session *session);

/*
 * Asks a program; the input rests until session_answered().  -1 when that
 * program is not there.
 */
int session_ask(struct session *session, enum role role, enum ipc_type type,
    const void *message, enum ipc_type answer_type, uint32_t deadline_ms,
    channel_answer_fn *answer);
void session_answered(struct session *session);

void session_set_deadline(struct session *session, uint64_t ms_from_now);
uint64_t session_command_wait_ms(const struct session *session);

/* The handshake; then the session begins anew. */
void session_start_tls(struct session *session);

/* One step; false when there is nothing to do with what is there. */
bool session_take_input(struct session *session);

/*
 * Adds " [ref XXXXXXXX]" to the refusal's text: what the client is told is
 * what the log finds.
 */
#define SESSION_REFERENCE_SIZE 9
void session_add_reference(struct session *session, struct smtp_status *status,
    char reference_r[SESSION_REFERENCE_SIZE]);

struct slice session_client_text(
    const struct session *session, char text[NETADDR_TEXT_MAX]);
struct slice session_account(const struct session *session);
void session_log(
    struct session *session, enum event_type type, const void *fields);

/* ---- commands ---- */

typedef void session_command_fn(struct session *session, struct slice argument);

session_command_fn session_mail_command;
session_command_fn session_rcpt_command;
session_command_fn session_data_command;
session_command_fn session_auth_command;

/* A line of SESSION_AUTH; the session is gone: abort. */
void session_auth_line(struct session *session, struct slice line);
void session_auth_abort(struct session *session);
void session_login_free(struct login *login);

/* What AUTH offers now, or "" when it may not be offered. */
const char *session_mechanisms(const struct session *session);

/*
 * Asks whether the login still holds, if that is not known of late; then
 * session_mail_renewed() goes on with MAIL, or session_mail_refuse() ends it.
 */
void session_auth_renew(struct session *session);
void session_mail_renewed(struct session *session);

/* Refuses the sender at hand: event, reply, end of the transaction. */
void session_mail_refuse(struct session *session, struct smtp_status *status);

#endif
