/* SPDX-License-Identifier: ISC */
/*
 * What client.c (the session) and client_mail.c (a mail within it) share.
 */
#ifndef RELAY_CLIENT_PARTS_H
#define RELAY_CLIENT_PARTS_H

#include "common/smtp_data.h"
#include "relay/client.h"

/* What is waited for; most states wait for the reply to one command. */
enum client_state {
	CLIENT_CONNECTING,
	CLIENT_GREETING,
	CLIENT_EHLO,
	CLIENT_HELO,
	CLIENT_STARTTLS,
	CLIENT_HANDSHAKE,
	CLIENT_AUTH,
	CLIENT_IDLE,
	CLIENT_MAIL,
	CLIENT_RCPT,
	CLIENT_DATA,
	CLIENT_CONTENT, /* it is being sent; no reply is due */
	CLIENT_DOT,
	CLIENT_RSET,
	CLIENT_OVER,
	CLIENT_STATE_COUNT
};

struct client {
	struct client_config config;
	char *own_name;
	char *host;
	char *user;
	char *password;
	struct stream *stream;
	struct loop_task burial; /* frees the memory when nobody looks at it */
	enum client_state state;
	struct smtp_reply reply; /* coming in */
	struct smtp_ehlo ehlo;
	bool is_reached;
	bool is_secured;
	bool was_open;       /* ready() was called */
	unsigned challenges; /* of this login */
	char tls_words[160]; /* of the connection, once it is secured */

	struct client_mail *mail;
	size_t at;            /* the recipient whose reply is due */
	size_t accepted;      /* recipients that the server took */
	bool is_mail_refused; /* what follows is known */
	bool is_pipelined;    /* all commands are sent already */
	struct smtp_stuffer stuffer;
	uint64_t content_at;   /* octets of the content already taken */
	uint64_t dot_until_ms; /* answers to the dot are waited for */
};

/* Enters a state and sets its deadline. */
void client_enter(struct client *c, enum client_state state);

/* Ends the session: settles what is left of the mail, tells the owner. */
void client_end_with(struct client *c, unsigned code, const char *enhanced,
    const char *format, ...) __attribute__((format(printf, 4, 5)));
void client_end_by_reply(struct client *c, const struct smtp_reply *reply);

/* The mail's commands and replies. */
void client_mail_begin(struct client *c);
void client_mail_reply(struct client *c, const struct smtp_reply *reply);
void client_rcpt_reply(struct client *c, const struct smtp_reply *reply);
void client_data_reply(struct client *c, const struct smtp_reply *reply);
void client_early_reply(struct client *c, const struct smtp_reply *reply);
void client_dot_reply(struct client *c, const struct smtp_reply *reply);
void client_rset_reply(struct client *c, const struct smtp_reply *reply);

/* More of a large content; called when the output has drained. */
void client_send_content(struct client *c);

#endif
