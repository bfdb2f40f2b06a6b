/* SPDX-License-Identifier: ISC */
/*
 * What is to be done with a message: for each recipient which method and which
 * keys, and which recipients get the same output.  Pure: keys were looked up
 * before, and time, files and workers do not occur.
 *
 * Outgoing, in the words of policy:
 *
 *   demand              no usable key             the key store failed
 *   sign required       fails, 5.7.5              waits
 *   sign if-possible    goes unsigned             waits
 *   encrypt required    fails, 5.7.3 (5.7.6 when  waits
 *                       the key's kind is the
 *                       reason); waits while
 *                       somebody is asked for it
 *   required-all        likewise, and so does     waits
 *                       everybody else, whoever
 *                       waits
 *   encrypt if-possible goes unencrypted          waits
 *   dkim required       waits, 4.7.5              waits
 *   dkim if-possible    goes without              waits
 *
 * An invitation to a calendar is not signed where that is "if-possible", nor
 * encrypted; where one of them is required it fails, unless the policy lets
 * invitations out as they are.  What its sender signed or encrypted himself
 * is not done again and counts.  A message that is too large for it fails
 * (5.3.4) where it must be signed or encrypted, and else goes without; DKIM
 * knows no such limit.
 *
 * Who waits does so by himself; the others have theirs.
 *
 * Outputs: all that is neither signed nor encrypted is one; so is all that is
 * signed alike.  S/MIME is encrypted for each recipient by himself.  OpenPGP
 * is encrypted for all visible recipients together (To, Cc: they know of each
 * other) and for each other one alone.
 */
#ifndef SIGNER_PLAN_H
#define SIGNER_PLAN_H

#include "common/vocabulary.h"
#include "signer/keystore.h"

enum plan_method {
	PLAN_SMIME,
	PLAN_PGP,
	PLAN_METHOD_COUNT,
	PLAN_NONE = PLAN_METHOD_COUNT
};

/* A look-up: key is NULL unless FOUND. */
struct plan_key {
	enum keystore_result result;
	const struct key *key;
};

struct plan_recipient {
	enum protect_sign sign;
	enum protect_encrypt encrypt;
	enum protect_method method;
	unsigned options; /* a set of enum protect_option */
	bool is_visible;  /* stands in To or Cc */
	bool is_asked;    /* for his key, somewhere: no answer yet */
	struct plan_key keys[PLAN_METHOD_COUNT]; /* to encrypt to */
};

struct plan_input {
	enum protect_dkim dkim;
	bool has_dkim_keys;
	bool has_removals; /* something is to be taken out */
	bool is_calendar;
	bool is_too_large; /* to be signed or encrypted */
	bool is_signed;    /* by its sender */
	bool is_encrypted;
	struct plan_key signers[PLAN_METHOD_COUNT];
	struct plan_key selves[PLAN_METHOD_COUNT]; /* the sender's own */
	const struct plan_recipient *recipients;
	size_t recipient_count;
};

/* What one recipient gets. */
struct plan_part {
	enum sign_outcome outcome; /* DONE: see output */
	size_t output;             /* its index; PLAN_AS_IT_CAME */
	unsigned already; /* a set of enum protect_applied: the sender's work */
	const char *enhanced;
	char reason[160];
};
#define PLAN_AS_IT_CAME SIZE_MAX

struct plan_output {
	enum plan_method method;
	bool signs;
	bool encrypts;
	bool has_dkim;
	unsigned options; /* those that matter for the output */
	size_t first;     /* one of its recipients */
	size_t recipient_count;
};

struct plan {
	/* Not DONE: of the whole message. */
	enum sign_outcome outcome;
	const char *enhanced;
	char reason[160];
	struct plan_part *parts; /* by recipient */
	struct plan_output *outputs;
	size_t output_count;
};

void plan_outgoing(const struct plan_input *input, struct plan *plan_r);
void plan_clear(struct plan *plan);

/* The other method, second in that order; or none. */
void plan_methods(enum protect_method order,
    enum plan_method methods_r[static PLAN_METHOD_COUNT], size_t *count_r);

#endif
