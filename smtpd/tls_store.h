/* SPDX-License-Identifier: ISC */
/*
 * The server's certificate and key: tls/cert.pem and tls/key.pem in smtpd's
 * state directory, and the keys of session tickets, which are only in memory.
 */
#ifndef SMTPD_TLS_STORE_H
#define SMTPD_TLS_STORE_H

#include "common/daemon.h"
#include "common/tls.h"

struct tls_store;

/*
 * Reads the pair, or makes a self-signed one when there is none.  changed is
 * called whenever the workers need what tls_store_message() says anew.
 */
struct tls_store *tls_store_new(struct daemon *daemon,
    void (*changed)(void *arg), void *arg, struct err *err);
void tls_store_free(struct tls_store *store);

/* The host name may be another one: a certificate of our own is made anew. */
void tls_store_settings_changed(struct tls_store *store);

/*
 * Takes a new pair from two descriptors (chain, key), which must be regular
 * files.  -1 and a sentence when they do not fit together, are out of date or
 * cannot be stored; the old pair then stays.
 */
int tls_store_install(
    struct tls_store *store, int chain_fd, int key_fd, struct err *err);

/* What the workers need; points into the store. */
void tls_store_message(
    const struct tls_store *store, struct ipc_worker_tls *message_r);

/* Facts "tls.subject", ... of the certificate in force. */
#define TLS_STORE_FACTS 9
struct tls_store_fact {
	const char *name;
	char value[1024];
};
size_t tls_store_facts(const struct tls_store *store,
    struct tls_store_fact facts_r[TLS_STORE_FACTS]);

#endif
