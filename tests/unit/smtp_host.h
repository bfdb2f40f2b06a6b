/* SPDX-License-Identifier: ISC */
/*
 * A worker of smtpd with everything around it in one process: acceptor,
 * queued, authd and checkd that a test can make say anything, and clients on
 * socket pairs.  Nothing waits for time: a step runs until all is quiet.
 *
 * Domains: any.example takes every recipient, list.example those that do not
 * begin with "unknown" (550) or "later" (451).  Sender domains that begin
 * with "nx", "nullmx" and "slow" are what they say.  Login: any user of
 * any.example with the password "right".
 */
#ifndef TESTS_UNIT_SMTP_HOST_H
#define TESTS_UNIT_SMTP_HOST_H

#include <openssl/ssl.h>

#include "common/ipc.h"
#include "common/settings.h"
#include "common/vocabulary.h"

struct smtp_host;

/* What the last message was when it came to queued. */
struct smtp_host_mail {
	unsigned count; /* of all so far */
	unsigned aborts;
	char from[IPC_ADDRESS_MAX + 1];
	char to[2048]; /* recipients, with a space behind each */
	char message_id[1000];
	bool has_token;
	unsigned shown; /* connections of trusted clients */
	bool is_8bit;
	bool is_utf8;
	struct buf content;
};

struct smtp_client {
	struct smtp_host *host;
	int fd;
	SSL *ssl;
	char reply[65536]; /* what came since the last smtp_say() */
	bool is_closed;
};

struct smtp_host *smtp_host_new(void);
/* Its peers are not there yet. */
struct smtp_host *smtp_host_new_alone(void);
void smtp_host_free(struct smtp_host *host);

/* Changes a setting; number or text, as its kind is. */
void smtp_host_set(struct smtp_host *host, enum setting_index index,
    uint64_t number, const char *text);

/* Takes a peer away, or gives it back. */
void smtp_host_link(struct smtp_host *host, enum role role, bool is_up);

/* The code of queued's next answers (250), and a stream's first credit. */
void smtp_host_queue(struct smtp_host *host, unsigned code, uint32_t credit);

/* The next renewals of logins fail. */
void smtp_host_disable_logins(struct smtp_host *host);

const struct smtp_host_mail *smtp_host_mail(const struct smtp_host *host);

/* Sessions that the worker reported as closed. */
unsigned smtp_host_closed(const struct smtp_host *host);

void smtp_host_run(struct smtp_host *host);
void smtp_host_drain(struct smtp_host *host);

/* Octets of messages that the worker holds. */
uint64_t smtp_host_memory(const struct smtp_host *host);

/* A connection from 192.0.2.1; reply has the banner. */
void smtp_client_open(struct smtp_host *host, struct smtp_client *client,
    enum listener_kind kind, bool is_trusted);
void smtp_client_close(struct smtp_client *client);

/* Sends, runs, and returns what came back. */
const char *smtp_say(struct smtp_client *client, const char *text);
const char *smtp_say_octets(
    struct smtp_client *client, const void *p, size_t n);

/* The handshake, as a client. */
bool smtp_client_tls(struct smtp_client *client);

#endif
