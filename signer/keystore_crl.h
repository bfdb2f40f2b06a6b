/* SPDX-License-Identifier: ISC */
/*
 * Lists of revoked certificates: which there are, where they come from, and
 * the built-in CA's own.  What they name lies in files that workers search
 * (signer/trust.h); each change here writes them first.
 */
#ifndef SIGNER_KEYSTORE_CRL_H
#define SIGNER_KEYSTORE_CRL_H

#include "signer/keystore_change.h"

#define KEYSTORE_CRLS_MAX 200
#define KEYSTORE_SOURCES_MAX 200
/* Of these, that certificates named and no administrator asked for. */
#define KEYSTORE_SOURCES_FOUND_MAX 100

/* The built-in CA's own. */
#define KEY_CRL_BUILT_IN "built-in"

struct key_crl {
	unsigned char issuer_id[TRUST_ISSUER_SIZE];
	char scope[TRUST_SCOPE_SIZE]; /* "": all of the CA's certificates */
	char issuer[KEY_NAME_MAX + 1];
	char url[TRUST_URL_MAX + 1]; /* "": by hand */
	char number[131];
	int64_t entries;
	int64_t this_update_s;
	int64_t next_update_s;
};

/* The array is the store's, good until the next change. */
int keystore_crls(struct keystore *keystore, const struct key_crl **crls_r,
    size_t *count_r, struct err *err);

/*
 * list: what it names, already checked by trust_list_check(); scopes are those
 * it is good for.  Certificates in the store that it names become KEY_REVOKED;
 * their number is in *count_r.  CHANGE_EXISTS: a newer one is there.
 */
enum keystore_change keystore_put_crl(struct keystore *keystore,
    const struct key_crl *crl, const char (*scopes)[TRUST_SCOPE_SIZE],
    size_t scope_count, struct slice list, size_t *count_r, struct err *err);

/* Does a list of its CA, by the CA's key, name the certificate? */
bool keystore_is_revoked(struct keystore *keystore, const struct key *key);

/* Forgets lists whose file is gone; after start.  How many. */
int keystore_check_crls(
    struct keystore *keystore, size_t *count_r, struct err *err);

/* ---- where they are fetched ---- */

struct crl_source {
	char url[TRUST_URL_MAX + 1];
	bool is_wanted; /* by an administrator */
	int64_t seen_s; /* in a certificate */
	int64_t due_s;
	unsigned failures; /* in a row */
	char reason[256];  /* of the last one */
};

int keystore_sources(struct keystore *keystore,
    const struct crl_source **sources_r, size_t *count_r, struct err *err);
struct crl_place {
	const char *url;
	struct slice others;  /* URLs where the list is, too, a line each */
	struct slice issuers; /* empty: no certificate named it */
};

/* REFUSED: there are too many. */
enum keystore_change keystore_put_source(struct keystore *keystore,
    const struct crl_place *place, bool is_wanted, int64_t seen_s,
    struct err *err);
/* The other URL of that number; -1: there is none, or it cannot be read. */
int keystore_source_other(struct keystore *keystore, const char *url,
    size_t number, char other_r[TRUST_URL_MAX + 1]);
enum keystore_change keystore_tell_source(struct keystore *keystore,
    const char *url, int64_t due_s, unsigned failures, const char *reason,
    struct err *err);
/* With the lists that came from there. */
enum keystore_change keystore_remove_source(
    struct keystore *keystore, const char *url, struct err *err);
/* Those that no certificate named since then. */
enum keystore_change keystore_trim_sources(
    struct keystore *keystore, int64_t seen_s, struct err *err);
typedef void keystore_issuers_fn(void *arg, struct slice issuers);
int keystore_source_issuers(struct keystore *keystore,
    keystore_issuers_fn *each, void *arg, struct err *err);

/* ---- the built-in CA's own, as it is published ---- */

struct ca_crl {
	int64_t this_update_s; /* 0: there is none */
	int64_t next_update_s;
	struct buf der;
};

/* der must be initialized. */
int keystore_ca_crl(struct keystore *keystore, int64_t ca_id,
    struct ca_crl *crl_r, struct err *err);
enum keystore_change keystore_put_ca_crl(struct keystore *keystore,
    int64_t ca_id, int64_t this_update_s, int64_t next_update_s,
    struct slice der, struct err *err);

#endif
