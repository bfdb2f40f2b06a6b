/* SPDX-License-Identifier: ISC */
/*
 * Whole exchanges with Cyrus SASL behind our door: the first octet chooses the
 * mechanism, the rest are the client's messages, ended by octet 0xff.  Nobody
 * knows a password here, so nobody gets in; and whoever was refused stays so.
 */
#include <stdio.h>
#include <string.h>

#include "smtpd/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const mechanisms[] = {
    "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "PLAIN", "LOGIN"};

static int
give_verifier(void *arg, struct slice user, char text_r[SCRAM_TEXT_MAX])
{
	static const unsigned char secret[SCRAM_KEY_SIZE] = {1};
	struct scram_verifier verifier;

	(void)arg;
	scram_verifier_decoy(secret, user, &verifier);
	(void)scram_verifier_format(&verifier, text_r);
	return 0;
}

static bool
refuse_password(void *arg, struct slice user, struct slice password)
{
	(void)arg;
	if (user.p == NULL || password.p == NULL)
		bug("a check without a name or password");
	return false;
}

static void
start_once(void)
{
	static bool is_started;
	struct err err;

	if (!is_started && sasl_glue_init(&err) == -1)
		bug("%s", err.text);
	is_started = true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct sasl_hooks hooks = {
	    .verifier = give_verifier, .password = refuse_password};
	static const struct sasl_bindings bindings = {
	    .tls_exporter = {"exporter", 8}, .tls_unique = {"unique", 6}};
	struct slice rest = {(const char *)data, size};
	struct sasl_exchange *exchange;
	bool is_refused = false;

	start_once();
	if (size == 0)
		return 0;
	exchange =
	    sasl_exchange_new(mechanisms[data[0] % 4], &bindings, &hooks, NULL);
	if (exchange == NULL)
		bug("no exchange");
	rest.p++;
	rest.n--;
	while (rest.n > 0) {
		size_t end = slice_find(rest, '\xff', 0);
		struct slice message = {rest.p, end};
		struct slice output;
		enum sasl_verdict verdict =
		    sasl_exchange_step(exchange, &message, &output);

		if (verdict == SASL_VERDICT_OK)
			bug("somebody got in");
		if (is_refused && verdict == SASL_VERDICT_CHALLENGE)
			bug("an exchange that was refused goes on");
		is_refused |= verdict != SASL_VERDICT_CHALLENGE;
		end += end < rest.n ? 1 : 0;
		rest.p += end;
		rest.n -= end;
	}
	sasl_exchange_free(exchange);
	return 0;
}
