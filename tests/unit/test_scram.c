/* SPDX-License-Identifier: ISC */
/*
 * SCRAM-SHA-256 against the real Cyrus SASL: proofs, channel bindings, decoys,
 * and the library's ways that must not become ours.
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/auth_fixture.h"

static void
test_scram(struct auth_fixture *f)
{
	struct scram_client c = {.user = "alice@example.org",
	    .password = ALICE_PASSWORD,
	    .gs2 = "n,,"};
	struct auth_seen seen;

	auth_scram(f, "SCRAM-SHA-256", NULL, &auth_all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_OK, "SCRAM: the right password");
	is_str(seen.account, "alice@example.org", "gives the account");
	ok(strstr(c.server_first, ",i=10000") != NULL, "10,000 iterations");
	c.is_late = true;
	c.user = "Alice@example.org";
	auth_scram(f, "SCRAM-SHA-256", NULL, &auth_no_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_OK,
	    "the first message may come late, the name in another case");
	c.password = "wrong";
	auth_scram(f, "SCRAM-SHA-256", NULL, &auth_all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_FAILED, "a wrong password is refused");
	c.password = "Ju\xcc\x88rgena";
	c = (struct scram_client){
	    .user = "carol", .password = "J\xc3\xbcrgena", .gs2 = "n,,"};
	auth_scram(f, "SCRAM-SHA-256", NULL, &auth_all_bindings, &c, &seen);
	is_int(seen.verdict, AUTH_OK,
	    "the verifier was made of what SASLprep leaves");
}

/* A name that nobody has goes the whole way, with the same salt each time. */
static void
test_decoy(struct auth_fixture *f)
{
	struct scram_client c = {
	    .user = "nobody", .password = "x", .gs2 = "n,,"};
	char salt[2][128];
	char count[16];
	char nonce[2][256];
	struct auth_seen seen;

	for (int i = 0; i < 2; i++) {
		auth_scram(
		    f, "SCRAM-SHA-256", NULL, &auth_all_bindings, &c, &seen);
		is_int(seen.verdict, AUTH_FAILED,
		    "an unknown user fails at the proof");
		auth_attribute(c.server_first, 's', salt[i], sizeof(salt[i]));
		auth_attribute(c.server_first, 'r', nonce[i], sizeof(nonce[i]));
	}
	is_str(salt[0], salt[1], "his salt is the same each time");
	is_u64(strlen(salt[0]), 24, "and has the usual size");
	auth_attribute(c.server_first, 'i', count, sizeof(count));
	is_str(count, "10000", "and the count is that of all");
	ok(strcmp(nonce[0], nonce[1]) != 0, "each nonce is new");
	c.user = "dave";
	auth_scram(f, "SCRAM-SHA-256", NULL, &auth_all_bindings, &c, &seen);
	auth_attribute(c.server_first, 's', salt[0], sizeof(salt[0]));
	auth_add_user(f, "dave", "dave's secret");
	auth_scram(f, "SCRAM-SHA-256", NULL, &auth_all_bindings, &c, &seen);
	auth_attribute(c.server_first, 's', salt[1], sizeof(salt[1]));
	is_str(salt[0], salt[1], "nor does it change when he is added");
	c.user = "dave+phone";
	auth_scram(f, "SCRAM-SHA-256", NULL, &auth_all_bindings, &c, &seen);
	auth_attribute(c.server_first, 's', salt[1], sizeof(salt[1]));
	is_str(salt[0], salt[1], "nor with a label that he has not");
	is_int(seen.verdict, AUTH_FAILED, "which lets nobody in");
}

static void
test_bindings(struct auth_fixture *f)
{
	static const struct {
		const char *label;
		const char *mechanism;
		const char *gs2;
		struct slice value;
		enum auth_verdict verdict;
	} rows[] = {
	    {"tls-exporter", "SCRAM-SHA-256-PLUS", "p=tls-exporter,,",
		{EXPORTER, 32}, AUTH_OK},
	    {"tls-unique", "SCRAM-SHA-256-PLUS", "p=tls-unique,,", {UNIQUE, 12},
		AUTH_OK},
	    {"tls-server-end-point", "SCRAM-SHA-256-PLUS",
		"p=tls-server-end-point,,", {END_POINT, 32}, AUTH_OK},
	    {"another session's value", "SCRAM-SHA-256-PLUS",
		"p=tls-exporter,,", {"X123456789abcdef0123456789abcdef", 32},
		AUTH_FAILED},
	    {"one binding's value as another's", "SCRAM-SHA-256-PLUS",
		"p=tls-unique,,", {EXPORTER, 32}, AUTH_FAILED},
	    {"no value", "SCRAM-SHA-256-PLUS", "p=tls-exporter,,", {"", 0},
		AUTH_FAILED},
	    {"none with -PLUS", "SCRAM-SHA-256-PLUS", "n,,", {"", 0},
		AUTH_FAILED},
	    {"a downgrade", "SCRAM-SHA-256", "y,,", {"", 0}, AUTH_FAILED},
	};
	struct auth_seen seen;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (int late = 0; late < 2; late++) {
			struct scram_client c = {.user = "alice@example.org",
			    .password = ALICE_PASSWORD,
			    .gs2 = rows[i].gs2,
			    .binding = rows[i].value.p,
			    .binding_n = rows[i].value.n,
			    .is_late = late == 1};

			auth_forgive(f);
			auth_scram(f, rows[i].mechanism, NULL,
			    &auth_all_bindings, &c, &seen);
			if (rows[i].verdict == AUTH_OK)
				is_int(seen.verdict, AUTH_OK,
				    "binding %s: taken%s", rows[i].label,
				    late ? ", late" : "");
			else
				ok(seen.verdict == AUTH_FAILED ||
					seen.verdict == AUTH_BAD,
				    "binding %s: refused%s", rows[i].label,
				    late ? ", late" : "");
			ok((seen.account[0] != '\0') ==
				(rows[i].verdict == AUTH_OK),
			    "and nobody else is in");
		}
}

static void
test_binding_without_value(struct auth_fixture *f)
{
	static const struct sasl_bindings only_exporter = {
	    .tls_exporter = {EXPORTER, 32}};
	struct scram_client c = {.user = "alice@example.org",
	    .password = ALICE_PASSWORD,
	    .gs2 = "p=tls-unique,,"};
	struct auth_seen seen;

	auth_scram(f, "SCRAM-SHA-256-PLUS", NULL, &only_exporter, &c, &seen);
	ok(seen.verdict == AUTH_FAILED || seen.verdict == AUTH_BAD,
	    "a binding that this connection has not is refused");
	c.gs2 = "p=tls-nonsense,,";
	auth_scram(
	    f, "SCRAM-SHA-256-PLUS", NULL, &auth_all_bindings, &c, &seen);
	ok(seen.verdict == AUTH_FAILED || seen.verdict == AUTH_BAD,
	    "and so is one that does not exist");
}

/* A downgrade is refused before the library sees it. */
static void
test_extra_step(struct auth_fixture *f)
{
	struct scram_client c = {.user = "alice@example.org",
	    .password = ALICE_PASSWORD,
	    .gs2 = "y,,"};
	struct auth_seen seen;
	struct auth_session *session =
	    auth_begin(f, "SCRAM-SHA-256", NULL, &auth_all_bindings, &seen);
	struct slice empty = {"", 0};

	auth_scram_prove(f, session, &c, &seen);
	if (seen.verdict == AUTH_CHALLENGE)
		auth_step(f, session, &seen, "", 0);
	is_int(seen.verdict, AUTH_FAILED, "a downgrade is refused");
	is_int(auth_session_step(session, &empty), -1,
	    "and one more step is not taken");
	is_str(seen.account, "", "so nobody is in");
	auth_session_free(session);
}

static int
give_verifier(void *arg, struct slice user, char text_r[SCRAM_TEXT_MAX])
{
	struct auth_fixture *f = arg;

	(void)user;
	(void)snprintf(text_r, SCRAM_TEXT_MAX, "%s", f->alice.verifier);
	return 0;
}

/*
 * The library answers a right proof with a challenge and looks at the binding
 * only at the empty message after it.  It refuses a wrong one there, and would
 * say yes to one more step: so there is none.
 */
static void
test_extra_step_below(struct auth_fixture *f)
{
	static const struct sasl_hooks hooks = {.verifier = give_verifier};
	struct scram_client c = {.user = "alice@example.org",
	    .password = ALICE_PASSWORD,
	    .gs2 = "p=tls-exporter,,",
	    .binding = UNIQUE,
	    .binding_n = 12,
	    .first = "p=tls-exporter,,n=alice@example.org,r=clientnonce"};
	struct sasl_exchange *exchange = sasl_exchange_new(
	    "SCRAM-SHA-256-PLUS", &auth_all_bindings, &hooks, f);
	struct slice message = slice_of(c.first);
	struct slice output;
	enum sasl_verdict verdict;

	is_int(sasl_exchange_step(exchange, &message, &output),
	    SASL_VERDICT_CHALLENGE, "the library sends its first message");
	(void)slice_copy(output, c.server_first, sizeof(c.server_first));
	auth_write_final(&c);
	message = slice_of(c.final);
	verdict = sasl_exchange_step(exchange, &message, &output);
	message = (struct slice){"", 0};
	for (int i = 0; verdict == SASL_VERDICT_CHALLENGE && i < 3; i++)
		verdict = sasl_exchange_step(exchange, &message, &output);
	is_int(verdict, SASL_VERDICT_REFUSED, "then refuses the binding");
	for (int i = 0; i < 3; i++)
		is_int(sasl_exchange_step(exchange, &message, &output),
		    SASL_VERDICT_REFUSED, "for good, after %d more steps",
		    i + 1);
	ok(sasl_exchange_user(exchange).n == 0, "and has no user");
	sasl_exchange_free(exchange);
}

static void
test_scram_garbage(struct auth_fixture *f)
{
	static const char *const firsts[] = {"", "n", "n,,",
	    "n,,n=", "n,,n=alice@example.org", "x,,n=alice@example.org,r=abc",
	    "n,a=bob,n=alice@example.org,r=abc", "p=,,n=a,r=b", "p=tls-unique",
	    "n,,m=x,n=alice@example.org,r=abc"};
	struct auth_seen seen;
	struct auth_session *session;

	for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
		session = auth_begin(
		    f, "SCRAM-SHA-256", NULL, &auth_all_bindings, &seen);
		auth_step(f, session, &seen, firsts[i], strlen(firsts[i]));
		for (int n = 0; n < 4 && seen.verdict == AUTH_CHALLENGE; n++)
			auth_step(f, session, &seen, "c=biws,r=abc,p=AAAA", 19);
		ok(seen.verdict == AUTH_FAILED || seen.verdict == AUTH_BAD,
		    "SCRAM with \"%s\" is refused", firsts[i]);
		auth_session_free(session);
	}
}

int
main(void)
{
	struct auth_fixture f;
	struct err err;

	if (sasl_glue_init(&err) == -1)
		bug("%s", err.text);
	auth_set_up(&f);
	auth_forgive(&f);
	test_scram(&f);
	auth_forgive(&f);
	test_decoy(&f);
	auth_forgive(&f);
	test_bindings(&f);
	auth_forgive(&f);
	test_binding_without_value(&f);
	auth_forgive(&f);
	test_extra_step(&f);
	auth_forgive(&f);
	test_extra_step_below(&f);
	auth_forgive(&f);
	test_scram_garbage(&f);
	auth_tear_down(&f);
	return tap_done();
}
