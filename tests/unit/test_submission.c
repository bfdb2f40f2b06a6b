/* SPDX-License-Identifier: ISC */
/*
 * Who may put what into the queue: queued's own check, whatever smtpd says.
 */
#include <stdlib.h>
#include <string.h>

#include "common/token.h"
#include "relay/submission.h"
#include "tests/unit/tap.h"

static const unsigned char key[TOKEN_KEY_SIZE] = {1, 2, 3};
static const unsigned char wrong_key[TOKEN_KEY_SIZE] = {4};

/* One envelope, as a row says it. */
struct row {
	const char *label;
	enum { STRANGER, TRUSTED, LOGIN, FORGED, OLD, OTHER_SESSION } who;
	const char *client;
	const char *from;
	const char *header;
	const char *to[4];
	unsigned code; /* 0: taken */
};

#define OWN "From: a@ours.test\r\n\r\n"
#define AWAY "From: a@away.test\r\n\r\n"

static const struct row rows[] = {
    {"a stranger writes to us", STRANGER, "192.0.2.1", "a@away.test", AWAY,
	{"b@ours.test"}, 0},
    {"a stranger writes to others", STRANGER, "192.0.2.1", "a@away.test", AWAY,
	{"b@else.test"}, 550},
    {"a stranger hides others behind us", STRANGER, "192.0.2.1", "a@away.test",
	AWAY, {"b@ours.test", "b@else.test"}, 550},
    {"a stranger in our name", STRANGER, "192.0.2.1", "boss@ours.test", AWAY,
	{"b@ours.test"}, 550},
    {"a stranger with our From", STRANGER, "192.0.2.1", "a@away.test", OWN,
	{"b@ours.test"}, 550},
    {"a bounce to us", STRANGER, "192.0.2.1", "", AWAY, {"b@ours.test"}, 0},
    {"a literal is not us", STRANGER, "192.0.2.1", "a@away.test", AWAY,
	{"b@[192.0.2.7]"}, 550},
    {"a trusted client relays", TRUSTED, "198.51.100.9", "x@ours.test", OWN,
	{"b@else.test"}, 0},
    {"one that smtpd only says is trusted", TRUSTED, "192.0.2.1", "a@away.test",
	AWAY, {"b@else.test"}, 550},
    {"a client that is no address", TRUSTED, "", "a@away.test", AWAY,
	{"b@else.test"}, 550},
    {"a login in its own name", LOGIN, "192.0.2.1", "alice@ours.test",
	"From: Alice <alice@ours.test>\r\n\r\n", {"b@else.test"}, 0},
    {"a login with a tag", LOGIN, "192.0.2.1", "alice+x@ours.test",
	"From: Alice <ALICE+y@ours.test>\r\n\r\n", {"b@else.test"}, 0},
    {"a login as somebody else", LOGIN, "192.0.2.1", "boss@ours.test",
	"From: Alice <alice@ours.test>\r\n\r\n", {"b@else.test"}, 550},
    {"a login with another From", LOGIN, "192.0.2.1", "alice@ours.test", OWN,
	{"b@else.test"}, 550},
    {"a login with two Froms", LOGIN, "192.0.2.1", "alice@ours.test",
	"From: alice@ours.test\r\nFrom: boss@ours.test\r\n\r\n",
	{"b@else.test"}, 550},
    {"a login with itself as Sender", LOGIN, "192.0.2.1", "alice@ours.test",
	"Sender: A <alice+x@ours.test>\r\nFrom: alice@ours.test\r\n"
	"Resent-From: alice@ours.test\r\nSender:\r\n\r\n",
	{"b@else.test"}, 0},
    {"a login with another as Sender", LOGIN, "192.0.2.1", "alice@ours.test",
	"From: alice@ours.test\r\nSender: boss@ours.test\r\n\r\n",
	{"b@else.test"}, 550},
    {"a login with another as second Sender", LOGIN, "192.0.2.1",
	"alice@ours.test",
	"From: alice@ours.test\r\nSender: alice@ours.test\r\n"
	"Sender : boss@ours.test\r\n\r\n",
	{"b@else.test"}, 550},
    {"a login with a Sender that cannot be read", LOGIN, "192.0.2.1",
	"alice@ours.test",
	"From: alice@ours.test\r\nSender: <boss@(x)ours.test>\r\n\r\n",
	{"b@else.test"}, 550},
    {"a login that resends as another", LOGIN, "192.0.2.1", "alice@ours.test",
	"Resent-From: alice@ours.test, boss@ours.test\r\n"
	"From: alice@ours.test\r\n\r\n",
	{"b@else.test"}, 550},
    {"a login that resends by another", LOGIN, "192.0.2.1", "alice@ours.test",
	"Resent-Sender: boss@ours.test\r\nFrom: alice@ours.test\r\n\r\n",
	{"b@else.test"}, 550},
    {"a trusted client with another Sender", TRUSTED, "198.51.100.9",
	"x@ours.test", "Sender: boss@ours.test\r\n" OWN, {"b@else.test"}, 0},
    {"a login without From", LOGIN, "192.0.2.1", "alice@ours.test",
	"Subject: x\r\n\r\n", {"b@else.test"}, 550},
    {"a login with the null sender", LOGIN, "192.0.2.1", "",
	"From: alice@ours.test\r\n\r\n", {"b@else.test"}, 0},
    {"a forged token", FORGED, "192.0.2.1", "alice@ours.test",
	"From: alice@ours.test\r\n\r\n", {"b@else.test"}, 550},
    {"an expired token", OLD, "192.0.2.1", "alice@ours.test",
	"From: alice@ours.test\r\n\r\n", {"b@else.test"}, 550},
    {"a token of another session", OTHER_SESSION, "192.0.2.1",
	"alice@ours.test", "From: alice@ours.test\r\n\r\n", {"b@else.test"},
	550},
    {"no recipient", STRANGER, "192.0.2.1", "a@away.test", AWAY, {NULL}, 452},
    {"a recipient that is none", STRANGER, "192.0.2.1", "a@away.test", AWAY,
	{"b@ours.test", "nonsense"}, 501},
    {"a sender that is none", STRANGER, "192.0.2.1", "a b c", AWAY,
	{"b@ours.test"}, 501},
};

static struct snapshot *
make_snapshot(void)
{
	struct ipc_conf_snapshot message = {0};
	struct ipc_list_writer domains;
	struct ipc_record_domain plain = {.name = SLICE("ours.test")};
	struct ipc_record_domain aliased = {
	    .name = SLICE("we.test"), .has_aliases = true};
	struct snapshot *snapshot;
	struct err err;

	ipc_list_writer_init(&domains, 1024);
	(void)ipc_domain_add(&domains, &plain, NULL);
	(void)ipc_domain_add(&domains, &aliased, NULL);
	message.domains = ipc_list_of(&domains);
	if (snapshot_read(&message, &snapshot, &err) == -1)
		bug("%s", err.text);
	ipc_list_writer_clear(&domains);
	free(snapshot->settings.smtp_trusted_networks);
	snapshot->settings.smtp_trusted_networks = xstrdup("198.51.100.0/24");
	return snapshot;
}

static void
make_token(const struct row *row, struct buf *out)
{
	struct buf identities;
	struct token token = {.session_id = row->who == OTHER_SESSION ? 78 : 77,
	    .login_s = 1000,
	    .issued_s = 1000,
	    .expires_s = row->who == OLD ? 1999 : 3000,
	    .account = SLICE("alice")};
	struct err err;

	token_identities_init(&identities);
	(void)token_identity_add(&identities, SLICE("alice@ours.test"), &err);
	token.identities = buf_slice(&identities);
	if (token_make(
		row->who == FORGED ? wrong_key : key, &token, out, &err) == -1)
		bug("%s", err.text);
	buf_clear(&identities);
}

static int
check_with_envid(const struct snapshot *snapshot, const struct row *row,
    const char *envid, struct queue_message **message_r,
    struct smtp_status *refusal_r)
{
	struct submission_rules rules = {.snapshot = snapshot,
	    .token_key = {(const char *)key, sizeof(key)},
	    .now_s = 2000};
	struct submission submission = {.message_id = 5,
	    .session_id = 77,
	    .client = slice_of(row->client),
	    .is_trusted = row->who == TRUSTED,
	    .reverse_path = slice_of(row->from),
	    .envid = slice_of(envid)};
	struct ipc_list_writer list;
	struct buf token;
	int rc;

	buf_init(&token, IPC_TOKEN_MAX);
	if (row->who >= LOGIN)
		make_token(row, &token);
	submission.token = buf_slice(&token);
	ipc_list_writer_init(&list, 100000);
	for (size_t i = 0; i < 4 && row->to[i] != NULL; i++) {
		struct ipc_record_recipient recipient = {
		    .address = slice_of(row->to[i])};

		(void)ipc_recipient_add(&list, &recipient, NULL);
	}
	submission.recipients = ipc_list_of(&list);
	rc = submission_check(
	    &rules, &submission, slice_of(row->header), message_r, refusal_r);
	ipc_list_writer_clear(&list);
	buf_clear(&token);
	return rc;
}

static int
check(const struct snapshot *snapshot, const struct row *row,
    struct queue_message **message_r, struct smtp_status *refusal_r)
{
	return check_with_envid(snapshot, row, "", message_r, refusal_r);
}

/* relayd would break off all mail over a job with such a one. */
static void
test_envid(const struct snapshot *snapshot)
{
	struct queue_message *message = NULL;
	struct smtp_status refusal = {0};

	is_int(
	    check_with_envid(snapshot, &rows[0], "QQ+2B1", &message, &refusal),
	    0, "an envelope id is taken");
	is_str(message->envid, "QQ+2B1", "as it is");
	queue_message_unref(message);
	is_int(check_with_envid(
		   snapshot, &rows[0], "a> SIZE=1", &message, &refusal),
	    -1, "one that is not xtext is not");
	is_int(refusal.code, 501, "and that is said");
	queue_message_unref(message);
}

static void
test_rows(const struct snapshot *snapshot)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct smtp_status refusal = {0};
		struct queue_message *message = NULL;
		int rc = check(snapshot, &rows[i], &message, &refusal);

		is_int(rc == 0 ? 0 : refusal.code, rows[i].code, "%s%s%s",
		    rows[i].label, rc == 0 ? "" : ": ",
		    rc == 0 ? "" : refusal.text);
		ok((rc == 0) == (message != NULL),
		    "a message comes of it, or none");
		queue_message_unref(message);
	}
}

static void
test_message(const struct snapshot *snapshot)
{
	static const struct row row = {"", LOGIN, "192.0.2.1",
	    "Alice@OURS.test", "From: alice@ours.test\r\n\r\n",
	    {"b@ELSE.test", "b@else.test", "c@else.test", "b@else.test"}, 0};
	struct queue_message *message = NULL;
	struct smtp_status refusal;

	is_int(check(snapshot, &row, &message, &refusal), 0, "it is taken");
	is_u64(message->id, 5, "a message has its id");
	is_str(message->account, "alice", "the account of the token");
	is_int(message->flags, MSG_FLAG_TRUSTED, "and is trusted");
	is_u64(message->recipient_count, 2, "each address is there once");
	is_str(message->recipients[0].domain, "else.test", "with its domain");
	is_str(message->recipients[1].address, "c@else.test", "in order");
	is_int(message->recipients[1].number, 1, "and numbered anew");
	queue_message_unref(message);
}

static void
test_no_key(const struct snapshot *snapshot)
{
	struct submission_rules rules = {.snapshot = snapshot, .now_s = 1};
	struct ipc_record_recipient recipient = {
	    .address = SLICE("b@else.test")};
	struct submission submission = {
	    .token = SLICE("x"), .reverse_path = SLICE("alice@ours.test")};
	struct ipc_list_writer list;
	struct queue_message *message;
	struct smtp_status refusal;

	ipc_list_writer_init(&list, 4096);
	(void)ipc_recipient_add(&list, &recipient, NULL);
	submission.recipients = ipc_list_of(&list);
	is_int(submission_check(
		   &rules, &submission, SLICE(""), &message, &refusal),
	    -1, "without authd's key no login is taken");
	is_int(refusal.code, 451, "for the moment");
	submission.token.n = 0;
	submission.ret = UINT16_MAX;
	is_int(submission_check(
		   &rules, &submission, SLICE(""), &message, &refusal),
	    -1, "an impossible RET is refused");
	is_int(refusal.code, 501, "for good");
	ipc_list_writer_clear(&list);
}

static void
test_aliases(const struct snapshot *snapshot)
{
	static const struct {
		const char *address;
		const char *domain;
		bool needs;
	} cases[] = {{"b@ours.test", "ours.test", false},
	    {"Postmaster@ours.test", "ours.test", true},
	    {"ABUSE@ours.test", "ours.test", true},
	    {"postmaster2@ours.test", "ours.test", false},
	    {"b@we.test", "we.test", true},
	    {"postmaster@else.test", "else.test", false}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct queue_message *message = queue_message_new(1, 1);

		message->recipients[0].address = xstrdup(cases[i].address);
		message->recipients[0].domain = xstrdup(cases[i].domain);
		ok(submission_needs_aliases(snapshot, message) ==
			cases[i].needs,
		    "%s %s the directory", cases[i].address,
		    cases[i].needs ? "needs" : "does not need");
		queue_message_unref(message);
	}
}

int
main(void)
{
	struct snapshot *snapshot = make_snapshot();

	test_rows(snapshot);
	test_envid(snapshot);
	test_message(snapshot);
	test_no_key(snapshot);
	test_aliases(snapshot);
	snapshot_free(snapshot);
	return tap_done();
}
