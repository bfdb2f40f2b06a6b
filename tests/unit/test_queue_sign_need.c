/* SPDX-License-Identifier: ISC */
/*
 * Which mail has to go through the signer, and whether an output looks like
 * what is said of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/queue_sign_check.h"
#include "relay/queue_sign_need.h"
#include "tests/unit/tap.h"

#define CT "Content-Type: "

/* ---- need ---- */

static struct queue_message *
make_message(unsigned flags, const char *sender)
{
	struct queue_message *message = queue_message_new(1, 2);

	message->flags = (uint16_t)flags;
	message->sender = xstrdup(sender);
	message->recipients[0].number = 0;
	message->recipients[0].address = xstrdup("b@x.test");
	message->recipients[1].number = 7;
	message->recipients[1].address = xstrdup("c@y.test");
	return message;
}

struct rules {
	struct policy *policy;
	struct sign_domains domains;
	struct sign_rules rules;
};

static void
rules_init(struct rules *rules, const char *rule, const char *domain)
{
	struct ipc_list_writer facts;
	const struct ipc_record_fact fact = {
	    .name = SLICE("domain"), .value = slice_of(domain)};
	struct err err;

	*rules = (struct rules){.policy = policy_new()};
	if (rule != NULL && policy_add(rules->policy, SLICE("@ours.test"),
				SLICE("*"), slice_of(rule), &err) == -1)
		fatal("%s", err.text);
	policy_sort(rules->policy);
	if (domain != NULL) {
		ipc_list_writer_init(&facts, 1024);
		(void)ipc_fact_add(&facts, &fact, NULL);
		sign_domains_set(&rules->domains, ipc_list_of(&facts));
		ipc_list_writer_clear(&facts);
	}
	rules->rules = (struct sign_rules){.policy = rules->policy,
	    .domains = &rules->domains,
	    .header_limit = 65536,
	    .verifies = true};
}

static void
rules_clear(struct rules *rules)
{
	policy_free(rules->policy);
	sign_domains_clear(&rules->domains);
}

static struct queue_protection *
need(const struct rules *rules, unsigned flags, const char *sender,
    const char *start)
{
	struct queue_message *message = make_message(flags, sender);
	struct queue_protection *protection =
	    queue_sign_need(&rules->rules, message, slice_of(start));

	queue_message_unref(message);
	return protection;
}

static const struct {
	const char *label;
	const char *start;
	bool is_needed;
} incoming[] = {
    {"plain text", CT "text/plain\r\n\r\nx\r\n", false},
    {"no type at all", "Subject: x\r\n\r\nx\r\n", false},
    {"no header at all", "x\r\n", false},
    {"multipart/mixed", CT "multipart/mixed; boundary=b\r\n\r\n--b\r\n", false},
    {"multipart/signed", CT "multipart/signed; boundary=b\r\n\r\n--b\r\n",
	true},
    {"the same, folded and in capitals",
	"CONTENT-TYPE:\r\n Multipart/SIGNED;\r\n boundary=b\r\n\r\n--b\r\n",
	true},
    {"multipart/encrypted", CT "multipart/encrypted\r\n\r\nx\r\n", true},
    {"pkcs7-mime", CT "application/pkcs7-mime\r\n\r\nx\r\n", true},
    {"x-pkcs7-mime", CT "application/x-pkcs7-mime\r\n\r\nx\r\n", true},
    {"octet-stream", CT "application/octet-stream\r\n\r\nx\r\n", false},
    {"octet-stream named so in Content-Type",
	CT "application/octet-stream; name=\"smime.P7M\"\r\n\r\nx\r\n", true},
    {"octet-stream named so in Content-Disposition",
	CT "application/octet-stream\r\nContent-Disposition: attachment; "
	   "filename=smime.p7m\r\n\r\nx\r\n",
	true},
    {"as Exchange leaves it behind",
	CT "multipart/mixed; boundary=b\r\n\r\n--b\r\n" CT
	   "text/plain\r\n\r\n\r\n--b\r\n" CT
	   "application/pgp-encrypted\r\n\r\n",
	true},
    {"a whole body of armor",
	"Subject: x\r\n\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n", true},
    {"a signed text",
	"Subject: x\r\n\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n", true},
    {"armor below text",
	"Subject: x\r\n\r\nx\r\n-----BEGIN PGP MESSAGE-----\r\n", false},
    {"a type named in the subject", "Subject: multipart/signed\r\n\r\nx\r\n",
	false},
    {"the second of two types",
	CT "text/plain\r\n" CT "multipart/signed\r\n\r\nx\r\n", true},
};

static void
test_incoming(void)
{
	struct rules rules;

	rules_init(&rules, "encrypt required", "");
	for (size_t i = 0; i < sizeof(incoming) / sizeof(incoming[0]); i++) {
		struct queue_protection *got =
		    need(&rules, 0, "a@away.test", incoming[i].start);

		is_int(got != NULL, incoming[i].is_needed, "%s",
		    incoming[i].label);
		if (got != NULL)
			ok(got->direction == DIRECTION_IN &&
				got->demand_count == 2 &&
				got->demands[1].number == 7 &&
				got->demands[0].encrypt == ENCRYPT_NEVER &&
				got->dkim == DKIM_NEVER,
			    "%s: nothing is demanded", incoming[i].label);
		queue_protection_free(got);
	}
	rules.rules.verifies = false;
	ok(need(&rules, 0, "a@away.test", CT "multipart/signed\r\n\r\nx\r\n") ==
		NULL,
	    "with crypto.verify off nothing is opened");
	rules_clear(&rules);
}

static void
test_tags(void)
{
	static const char all[] = "subject [decrypted]\nsubject [signed]\n"
				  "subject [invalid signature]\n";
	static const char *const hidden[] = {
	    "Subject: =?koi8-r?Q?=5Bsigned=5D?= x\r\n\r\nx\r\n",
	    "Subject: [si\xc2\xadgned] x\r\n\r\nx\r\n"};
	struct rules rules;
	struct queue_protection *got;

	rules_init(&rules, NULL, "");
	ok(need(&rules, 0, "a@away.test", "Subject: [signed] x\r\n\r\nx\r\n") ==
		NULL,
	    "without our own tags, those of others mean nothing");
	rules.rules.has_tags = true;
	got = need(&rules, 0, "a@away.test",
	    "Subject: =?utf-8?Q?=5BSigned=5D?= x [decrypted]\r\n\r\nx\r\n");
	ok(got != NULL, "with them, forged ones are found");
	if (got != NULL)
		is_str(got->removals, all, "to be taken out");
	queue_protection_free(got);
	got = need(&rules, 0, "a@away.test",
	    "Subject: [sig[decrypted]ned] x\r\n\r\nx\r\n");
	ok(got != NULL, "one within another, too");
	if (got != NULL)
		is_str(got->removals, all, "and what is left of both");
	queue_protection_free(got);
	got = need(&rules, 0, "a@away.test",
	    "Subject: ...\r\n" CT "multipart/encrypted\r\n\r\nx\r\n");
	ok(got != NULL, "a Subject may be encrypted");
	if (got != NULL)
		is_str(got->removals, all, "with tags in it");
	queue_protection_free(got);
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		got = need(&rules, 0, "a@away.test", hidden[i]);
		ok(got != NULL && strcmp(got->removals, all) == 0,
		    "however it is written: %s", hidden[i]);
		queue_protection_free(got);
	}
	ok(need(&rules, 0, "a@away.test", "Subject: signed\r\n\r\nx\r\n") ==
		NULL,
	    "a word like it is none");
	rules_clear(&rules);
}

static const struct {
	const char *label;
	const char *rule;
	const char *domain; /* with keys; NULL: nobody knows */
	const char *from;
	bool is_needed;
	int dkim;
	int sign;
	const char *header_from;
} trusted[] = {
    {"no rule, no keys", NULL, "", "a@ours.test", false, 0, 0, ""},
    {"keys of another domain", NULL, "other.test", "a@ours.test", false, 0, 0,
	""},
    {"keys of this domain", NULL, "ours.test", "A@Ours.TEST", true,
	DKIM_IF_POSSIBLE, SIGN_NEVER, "A@ours.test"},
    {"keys nobody knows of", NULL, NULL, "a@ours.test", true, DKIM_IF_POSSIBLE,
	SIGN_NEVER, "a@ours.test"},
    {"a rule that demands", "sign required", "", "a@ours.test", true,
	DKIM_NEVER, SIGN_REQUIRED, "a@ours.test"},
    {"a rule that allows", "sign if-possible", "", "a@ours.test", true,
	DKIM_NEVER, SIGN_IF_POSSIBLE, "a@ours.test"},
    {"a rule for others", "sign required", "", "a@other.test", false, 0, 0, ""},
    {"DKIM is demanded without keys", "dkim required", "", "a@ours.test", true,
	DKIM_REQUIRED, SIGN_NEVER, "a@ours.test"},
    {"DKIM is not wanted", "dkim never", "ours.test", "a@ours.test", false, 0,
	0, ""},
    {"a trigger that demands nothing is to be taken out",
	"encrypt never trigger subject [x] encrypt", "", "a@ours.test", true,
	DKIM_NEVER, SIGN_NEVER, "a@ours.test"},
    {"two addresses in From: MAIL FROM counts", "sign required", "",
	"a@other.test, b@other.test", true, DKIM_NEVER, SIGN_REQUIRED, ""},
};

static void
test_trusted(void)
{
	for (size_t i = 0; i < sizeof(trusted) / sizeof(trusted[0]); i++) {
		struct queue_protection *got;
		struct rules rules;
		char start[256];

		rules_init(&rules, trusted[i].rule, trusted[i].domain);
		(void)snprintf(start, sizeof(start),
		    "From: %s\r\nSubject: [x] y\r\n\r\nx\r\n", trusted[i].from);
		got = need(&rules, MSG_FLAG_TRUSTED, "a@ours.test", start);
		is_int(
		    got != NULL, trusted[i].is_needed, "%s", trusted[i].label);
		if (got != NULL) {
			is_int(got->direction, DIRECTION_OUT, "%s: it goes out",
			    trusted[i].label);
			is_int(got->dkim, trusted[i].dkim, "%s: DKIM",
			    trusted[i].label);
			is_int(got->demands[1].sign, trusted[i].sign,
			    "%s: the signature", trusted[i].label);
			is_str(got->header_from, trusted[i].header_from,
			    "%s: From", trusted[i].label);
		}
		queue_protection_free(got);
		rules_clear(&rules);
	}
}

/* An odd From is no way around a rule for its domain. */
static void
test_automatic(void)
{
	static const char *const starts[] = {
	    "From: a@ours.test, b@x.test\r\n\r\nx\r\n",
	    "From: us: a@ours.test;\r\n\r\nx\r\n",
	    "From : a@ours.test\r\n\r\nx\r\n",
	    "From: a@ours.test\r\nX: y\r\n \r\n\r\nx\r\n"};
	struct rules rules;

	rules_init(&rules, "encrypt required", "");
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		struct queue_protection *got =
		    need(&rules, MSG_FLAG_TRUSTED, "", starts[i]);

		ok(got != NULL && got->demands[0].encrypt == ENCRYPT_REQUIRED &&
			got->header_from[0] == '\0',
		    "without MAIL FROM: %s", starts[i]);
		queue_protection_free(got);
	}
	rules_clear(&rules);
}

static void
test_bounces(void)
{
	static const char start[] =
	    "From: Mail Delivery System <mailer-daemon@ours.test>\r\n\r\nx\r\n";
	struct queue_protection *got;
	struct rules rules;

	rules_init(&rules, "sign required encrypt required", "");
	ok(need(&rules, MSG_FLAG_TRUSTED | MSG_FLAG_BOUNCE, "", start) == NULL,
	    "no rule holds for our own notifications");
	rules_clear(&rules);
	rules_init(&rules, "sign required encrypt required", "ours.test");
	got = need(&rules, MSG_FLAG_TRUSTED | MSG_FLAG_BOUNCE, "", start);
	ok(got != NULL && got->dkim == DKIM_IF_POSSIBLE &&
		got->demands[0].sign == SIGN_NEVER &&
		got->demands[0].encrypt == ENCRYPT_NEVER,
	    "but they get a DKIM signature");
	queue_protection_free(got);
	rules_clear(&rules);
}

/* ---- check ---- */

#define SEALED CT "application/pkcs7-mime; smime-type=enveloped-data\r\n\r\nx"
#define OPAQUE CT "application/pkcs7-mime; smime-type=signed-data\r\n\r\nx"
#define CLEAR CT "multipart/signed; boundary=b\r\n\r\nx"
#define PGP CT "multipart/encrypted; boundary=b\r\n\r\nx"
#define PLAIN CT "text/plain\r\n\r\nx"
#define INLINE "Subject: x\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n"

static const struct {
	const char *label;
	int sign;
	int encrypt;
	int dkim;
	unsigned options;
	unsigned applied;
	const char *start;
	bool is_met;
} checks[] = {
    {"nothing demanded, nothing done", SIGN_NEVER, ENCRYPT_NEVER, DKIM_NEVER, 0,
	0, PLAIN, true},
    {"all if possible, nothing done", SIGN_IF_POSSIBLE, ENCRYPT_IF_POSSIBLE,
	DKIM_IF_POSSIBLE, 0, 0, PLAIN, true},
    {"encrypted as demanded", SIGN_NEVER, ENCRYPT_REQUIRED, DKIM_NEVER, 0,
	APPLIED_ENCRYPTED, SEALED, true},
    {"by OpenPGP", SIGN_NEVER, ENCRYPT_REQUIRED_ALL, DKIM_NEVER, 0,
	APPLIED_ENCRYPTED, PGP, true},
    {"by its sender, inline", SIGN_NEVER, ENCRYPT_REQUIRED, DKIM_NEVER, 0,
	APPLIED_ENCRYPTED, INLINE, true},
    {"not said to be encrypted", SIGN_NEVER, ENCRYPT_REQUIRED, DKIM_NEVER, 0,
	APPLIED_SIGNED | APPLIED_DKIM, SEALED, false},
    {"said to be, and signed only", SIGN_NEVER, ENCRYPT_REQUIRED, DKIM_NEVER, 0,
	APPLIED_ENCRYPTED, OPAQUE, false},
    {"said to be, and plain", SIGN_NEVER, ENCRYPT_REQUIRED, DKIM_NEVER, 0,
	APPLIED_ENCRYPTED, PLAIN, false},
    {"said to be, with two types", SIGN_NEVER, ENCRYPT_REQUIRED, DKIM_NEVER, 0,
	APPLIED_ENCRYPTED, CT "text/html\r\n" SEALED, false},
    {"nothing that can be read", SIGN_NEVER, ENCRYPT_REQUIRED, DKIM_NEVER, 0,
	APPLIED_ENCRYPTED, "", false},
    {"signed beside the text", SIGN_REQUIRED, ENCRYPT_NEVER, DKIM_NEVER, 0,
	APPLIED_SIGNED, CLEAR, true},
    {"signed around the text", SIGN_REQUIRED, ENCRYPT_NEVER, DKIM_NEVER, 0,
	APPLIED_SIGNED, OPAQUE, true},
    {"signed inside of what is encrypted", SIGN_REQUIRED, ENCRYPT_REQUIRED,
	DKIM_NEVER, 0, APPLIED_SIGNED | APPLIED_ENCRYPTED, SEALED, true},
    {"one of two", SIGN_REQUIRED, ENCRYPT_REQUIRED, DKIM_NEVER, 0,
	APPLIED_ENCRYPTED, SEALED, false},
    {"DKIM, with its field", SIGN_NEVER, ENCRYPT_NEVER, DKIM_REQUIRED, 0,
	APPLIED_DKIM, "DKIM-Signature: x\r\n" PLAIN, true},
    {"DKIM, without", SIGN_NEVER, ENCRYPT_NEVER, DKIM_REQUIRED, 0, APPLIED_DKIM,
	PLAIN, false},
    {"an invitation that may leave as it is", SIGN_REQUIRED, ENCRYPT_REQUIRED,
	DKIM_NEVER, PROTECT_CALENDAR_PLAIN, QUEUE_WAIVED, PLAIN, true},
    {"one that may not", SIGN_REQUIRED, ENCRYPT_REQUIRED, DKIM_NEVER, 0,
	QUEUE_WAIVED, PLAIN, false},
    {"DKIM is demanded of it as well", SIGN_NEVER, ENCRYPT_REQUIRED,
	DKIM_REQUIRED, PROTECT_CALENDAR_PLAIN, QUEUE_WAIVED, PLAIN, false},
};

static void
test_checks(void)
{
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		const struct queue_protection protection = {
		    .dkim = (uint8_t)checks[i].dkim};
		const struct queue_demand demand = {
		    .sign = (uint8_t)checks[i].sign,
		    .encrypt = (uint8_t)checks[i].encrypt,
		    .options = (uint16_t)checks[i].options};
		const char *missing = queue_sign_missing(&protection, &demand,
		    checks[i].applied, slice_of(checks[i].start));

		is_int(missing == NULL, checks[i].is_met, "%s: %s",
		    checks[i].label, missing != NULL ? missing : "met");
	}
	ok(queue_sign_is_calendar(SLICE(CT "text/Calendar; method=REPLY\r\n")),
	    "an invitation is known");
	ok(!queue_sign_is_calendar(SLICE(PLAIN)), "other mail is none");
}

/* ---- removals ---- */

static void
test_removals(void)
{
	struct ipc_list_writer facts;
	struct ipc_list list;
	char *text;

	queue_removals_list("subject [a b]\nheader X-A\n", &facts);
	is_int(facts.count, 2, "two lines are two facts");
	list = ipc_list_of(&facts);
	text = queue_removals_text(list);
	is_str(text, "subject [a b]\nheader X-A\n", "and back");
	free(text);
	ipc_list_writer_clear(&facts);
}

int
main(void)
{
	test_incoming();
	test_tags();
	test_trusted();
	test_automatic();
	test_bounces();
	test_checks();
	test_removals();
	return tap_done();
}
