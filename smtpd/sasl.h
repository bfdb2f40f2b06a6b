/* SPDX-License-Identifier: ISC */
/*
 * Cyrus SASL with our own store behind it: SCRAM-SHA-256, SCRAM-SHA-256-PLUS,
 * PLAIN and LOGIN, no configuration file and no other plug-in.
 *
 * An exchange ends at the first answer that is neither a challenge nor a
 * success, and cannot be stepped again: the library would let one in whose
 * channel binding it had just refused.
 */
#ifndef SMTPD_SASL_H
#define SMTPD_SASL_H

#include "common/buf.h"
#include "common/err.h"
#include "smtpd/scram_verifier.h"

/* As AUTH names them; LOGIN only where the settings allow it. */
#define SASL_GLUE_MECHANISMS "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN"
#define SASL_GLUE_MECHANISMS_LOGIN SASL_GLUE_MECHANISMS " LOGIN"

/* What RFC 4954 section 4 lets pass in one step. */
#define SASL_GLUE_STEP_MAX 12288

/* Loads the library and its plug-ins: before confinement, once. */
int sasl_glue_init(struct err *err);

/* Where an exchange asks; the answers decide it. */
struct sasl_hooks {
	/*
	 * SCRAM names a user: gives the verifier (a decoy for nobody), as
	 * scram_verifier_format() writes it.  -1: not now.
	 */
	int (*verifier)(
	    void *arg, struct slice user, char text_r[SCRAM_TEXT_MAX]);
	/* PLAIN or LOGIN: is that the user's password? */
	bool (*password)(void *arg, struct slice user, struct slice password);
};

/* Values of the TLS session; empty where there is none. */
struct sasl_bindings {
	struct slice tls_exporter;
	struct slice tls_unique;
	struct slice tls_server_end_point;
};

enum sasl_verdict {
	SASL_VERDICT_CHALLENGE, /* output is for the client */
	SASL_VERDICT_OK,
	SASL_VERDICT_REFUSED,
	SASL_VERDICT_MALFORMED, /* not what the mechanism asks for */
	SASL_VERDICT_COUNT
};

struct sasl_exchange;

/*
 * mechanism is one of the above.  The bindings are copied; hooks must stay.
 * NULL when the mechanism cannot be had (a -PLUS without bindings).
 */
struct sasl_exchange *sasl_exchange_new(const char *mechanism,
    const struct sasl_bindings *bindings, const struct sasl_hooks *hooks,
    void *arg);
void sasl_exchange_free(struct sasl_exchange *exchange);

/*
 * As if the client had said nothing yet: for a client's first message that
 * came at a bad time, and is to be stepped once more.  -1: it cannot be had.
 */
int sasl_exchange_restart(struct sasl_exchange *exchange);

/*
 * The client's next message; NULL at the beginning for no initial response,
 * which an empty one is not.  *output_r is good until the next call; it may
 * come with SASL_VERDICT_OK too.
 */
enum sasl_verdict sasl_exchange_step(struct sasl_exchange *exchange,
    const struct slice *input, struct slice *output_r);

/* After SASL_VERDICT_OK: who the library says it is. */
struct slice sasl_exchange_user(struct sasl_exchange *exchange);

#endif
