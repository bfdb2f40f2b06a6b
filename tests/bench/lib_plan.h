/* SPDX-License-Identifier: ISC */
/*
 * What all connections of a load run share: addresses, logins, TLS, bodies.
 */
#ifndef TESTS_BENCH_LIB_PLAN_H
#define TESTS_BENCH_LIB_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "tests/bench/lib_mail.h"

#define PLAN_RECIPIENTS_MAX 1000
#define PLAN_ADDRESS_MAX 320 /* RFC 5321: 64 + 1 + 255 */
#define PLAN_QUEUE_ID_MAX 64
#define PLAN_LOGIN_MAX 600 /* NUL user NUL password */

enum plan_tls { PLAN_PLAIN, PLAN_STARTTLS, PLAN_TLS, PLAN_TLS_COUNT };

struct account {
	char *user;
	char *password;
};

/* Constant during a run, but for the TLS session. */
struct plan {
	struct mail_pool pool;
	const char *helo;
	const char *from; /* template: %d number, %u user */
	const char **to;  /* templates, taken in turn */
	size_t to_count;
	uint32_t recipients; /* of each mail */
	uint64_t spread;     /* %d runs from 0 to spread - 1 */
	enum plan_tls tls;
	SSL_CTX *tls_context;
	bool is_resuming;
	SSL_SESSION *session; /* the latest, to resume; owned */
	bool is_pipelining;   /* where the server offers it */
	struct account *accounts;
	size_t account_count;
};

void plan_clear(struct plan *plan);

/* One "user password" a line; ends the program when it cannot be read. */
void plan_read_accounts(struct plan *plan, const char *path);

void plan_sender(const struct plan *plan, uint64_t number,
    const struct account *account, char address_r[PLAN_ADDRESS_MAX]);

/* The k-th recipient of a mail. */
void plan_recipient(const struct plan *plan, uint64_t number, uint32_t k,
    const struct account *account, char address_r[PLAN_ADDRESS_MAX]);

/* The queue id that the text of a 250 names, or "-". */
void plan_queue_id(const char *reply, char queue_id_r[PLAN_QUEUE_ID_MAX]);

#endif
