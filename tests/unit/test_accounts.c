/* SPDX-License-Identifier: ISC */
/*
 * accounts.db: users, identities, app passwords, what a login is compared
 * with, keys of tokens.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "smtpd/accounts.h"
#include "smtpd/accounts_sql.h"
#include "tests/unit/tap.h"

#define NOW_S 1700000000

struct fixture {
	char folder[64];
	char path[128];
	struct accounts *accounts;
};

static void
open_store(struct fixture *f)
{
	struct err err;

	if (accounts_open(f->folder, &f->accounts, &err) == -1)
		bug("%s", err.text);
}

static void
set_up(struct fixture *f)
{
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/accounts-XXXXXX");
	if (mkdtemp(f->folder) == NULL)
		bug("no folder");
	(void)snprintf(f->path, sizeof(f->path), "%s/accounts.db", f->folder);
	open_store(f);
}

static void
tear_down(struct fixture *f)
{
	accounts_close(f->accounts);
	(void)unlink(f->path);
	(void)rmdir(f->folder);
}

static struct netaddr
address(const char *text)
{
	struct netaddr a;

	if (netaddr_parse(slice_of(text), &a) == -1)
		bug("%s", text);
	return a;
}

static struct scram_verifier
verifier_of(struct fixture *f, const char *name, const char *password)
{
	struct scram_verifier verifier;
	unsigned char salt[SCRAM_SALT_SIZE];

	scram_salt(accounts_secret(f->accounts), slice_of(name), salt);
	if (scram_verifier_make(slice_of(password), salt, &verifier, NULL) ==
	    -1)
		bug("%s", password);
	return verifier;
}

static struct account
find(struct fixture *f, const char *name)
{
	struct account account = {.id = 0};

	(void)accounts_find(f->accounts, name, &account, NULL);
	return account;
}

static void
note_name(void *arg, const struct account *account)
{
	(void)snprintf(
	    (char *)arg + strlen(arg), 256 - strlen(arg), "%s ", account->name);
}

static void
note_text(void *arg, struct slice text)
{
	(void)snprintf((char *)arg + strlen(arg), 1024 - strlen(arg), "%.*s ",
	    SLICE_ARG(text));
}

static void
test_users(struct fixture *f)
{
	struct scram_verifier verifier =
	    verifier_of(f, "alice@example.org", "secret");
	char names[256] = "";
	uint64_t revision;
	int64_t id;
	struct account account;
	struct err err;

	is_int(accounts_add(f->accounts, "alice@example.org", &verifier, NOW_S,
		   &id, &err),
	    ACCOUNTS_OK, "a user is added");
	is_int(accounts_add(f->accounts, "alice@example.org", &verifier, NOW_S,
		   &id, &err),
	    ACCOUNTS_EXISTS, "once");
	is_str(err.text, "there is a user alice@example.org already",
	    "and that is said");
	(void)accounts_add(f->accounts, "bob", NULL, NOW_S, &id, &err);
	(void)accounts_add(f->accounts, "carol", NULL, NOW_S, &id, &err);
	is_int(accounts_find(f->accounts, "dave", &account, &err),
	    ACCOUNTS_NONE, "another is not there");
	account = find(f, "alice@example.org");
	is_int(account.created_s, NOW_S, "when he was made is kept");
	is_int(account.last_login_s, 0, "he never logged in");
	is_str(find(f, "bob").verifier, "", "bob has no password");
	(void)accounts_list(f->accounts, "", 2, note_name, names, &err);
	is_str(names, "alice@example.org bob ", "a list has its limit");
	names[0] = '\0';
	(void)accounts_list(f->accounts, "bob", 2, note_name, names, &err);
	is_str(names, "carol ", "and goes on where it ended");
	revision = account.revision;
	(void)accounts_set_disabled(
	    f->accounts, "alice@example.org", true, &err);
	account = find(f, "alice@example.org");
	ok(account.is_disabled && account.revision > revision,
	    "disabling is a new revision");
	revision = account.revision;
	(void)accounts_set_disabled(
	    f->accounts, "alice@example.org", false, &err);
	ok(find(f, "alice@example.org").revision > revision,
	    "and so is enabling");
	is_int(accounts_set_password(f->accounts, "dave", &verifier, 1, &err),
	    ACCOUNTS_NONE, "nobody gets no password");
}

/* A name that is used again is another account to old tokens. */
static void
test_again(struct fixture *f)
{
	struct account old = find(f, "bob");
	struct account out;
	int64_t id;

	is_int(accounts_still_valid(
		   f->accounts, "bob", old.revision, 0, NOW_S, &out, NULL),
	    1, "bob's login is good");
	(void)accounts_remove(f->accounts, "bob", NULL);
	is_int(accounts_still_valid(
		   f->accounts, "bob", old.revision, 0, NOW_S, &out, NULL),
	    0, "until he is removed");
	(void)accounts_add(f->accounts, "bob", NULL, NOW_S, &id, NULL);
	is_int(accounts_still_valid(
		   f->accounts, "bob", old.revision, 0, NOW_S, &out, NULL),
	    0, "and another bob's it is not");
	ok(id != old.id, "who has a number of his own");
}

static void
list_identities(
    struct fixture *f, const char *name, int64_t app_id, char out[1024])
{
	struct account account = find(f, name);
	struct slice rest;
	struct slice identity;
	struct buf list;

	token_identities_init(&list);
	if (accounts_login_identities(
		f->accounts, &account, app_id, &list, NULL) == -1)
		bug("no identities of %s", name);
	rest = buf_slice(&list);
	out[0] = '\0';
	while (token_identity_next(&rest, &identity))
		note_text(out, identity);
	buf_clear(&list);
}

static void
test_identities(struct fixture *f)
{
	struct account alice = find(f, "alice@example.org");
	char text[1024];
	char long_one[128];
	enum accounts_result result = ACCOUNTS_OK;
	int added = 0;
	struct err err;

	list_identities(f, "alice@example.org", 0, text);
	is_str(
	    text, "alice@example.org ", "a name with a domain is an identity");
	list_identities(f, "bob", 0, text);
	is_str(text, "", "one without is none");
	is_int(accounts_identity_add(
		   f->accounts, &alice, "info@example.org", &err),
	    ACCOUNTS_OK, "more are added");
	is_int(accounts_identity_add(
		   f->accounts, &alice, "info@example.org", &err),
	    ACCOUNTS_EXISTS, "once");
	(void)accounts_identity_add(f->accounts, &alice, "@example.net", &err);
	list_identities(f, "alice@example.org", 0, text);
	is_str(text, "alice@example.org @example.net info@example.org ",
	    "a domain too");
	is_int(accounts_identity_remove(
		   f->accounts, alice.id, "info@example.org", &err),
	    ACCOUNTS_OK, "and taken away");
	is_int(accounts_identity_remove(
		   f->accounts, alice.id, "info@example.org", &err),
	    ACCOUNTS_NONE, "once");
	alice = find(f, "carol");
	while (result == ACCOUNTS_OK && added < 1000) {
		(void)snprintf(long_one, sizeof(long_one),
		    "a-rather-long-address-%d@example.org", added);
		result =
		    accounts_identity_add(f->accounts, &alice, long_one, &err);
		added++;
	}
	is_int(result, ACCOUNTS_REFUSED, "as many as a token holds: %d", added);
	list_identities(f, "carol", 0, text);
	ok(text[0] != '\0', "which it does");
}

static int64_t
add_app(struct fixture *f, const char *label, const char *const *senders,
    size_t sender_count, enum accounts_result wanted)
{
	struct account alice = find(f, "alice@example.org");
	struct scram_verifier verifier =
	    verifier_of(f, "alice@example.org", label);
	struct app_password_new app = {.label = label,
	    .verifier = &verifier,
	    .senders = senders,
	    .sender_count = sender_count};
	int64_t id = 0;
	struct err err;

	is_int(accounts_app_add(f->accounts, &alice, &app, NOW_S, &id, &err),
	    wanted, "app password %s: %s", label,
	    wanted == ACCOUNTS_OK ? "added" : "refused");
	return id;
}

static void
test_app_senders(struct fixture *f)
{
	static const char *const own[] = {"x@example.net", "alice@example.org"};
	static const char *const foreign[] = {"bob@example.org"};
	static const char *const tagged[] = {"alice+scan@example.org"};
	struct account alice = find(f, "alice@example.org");
	struct account out;
	char text[1024];
	int64_t id = add_app(f, "printer", own, 2, ACCOUNTS_OK);
	int64_t other = add_app(f, "tagged", tagged, 1, ACCOUNTS_OK);

	(void)add_app(f, "printer", NULL, 0, ACCOUNTS_EXISTS);
	(void)add_app(f, "foreign", foreign, 1, ACCOUNTS_REFUSED);
	list_identities(f, "alice@example.org", id, text);
	is_str(text, "alice@example.org x@example.net ",
	    "it may send as its senders alone");
	list_identities(f, "alice@example.org", other, text);
	is_str(
	    text, "alice+scan@example.org ", "an own address with a tag too");
	(void)accounts_identity_remove(
	    f->accounts, alice.id, "@example.net", NULL);
	list_identities(f, "alice@example.org", id, text);
	is_str(text, "alice@example.org ",
	    "and not as what is the user's no more");
	is_int(accounts_still_valid(f->accounts, "alice@example.org",
		   alice.revision, id, NOW_S, &out, NULL),
	    1, "a login by it is good");
	is_int(accounts_app_remove(f->accounts, alice.id, id, NULL),
	    ACCOUNTS_OK, "until it is removed");
	is_int(accounts_still_valid(f->accounts, "alice@example.org",
		   alice.revision, id, NOW_S, &out, NULL),
	    0, "then not");
	is_int(accounts_still_valid(f->accounts, "alice@example.org",
		   alice.revision, other, NOW_S, &out, NULL),
	    1, "others stay");
	is_int(accounts_app_remove(f->accounts, find(f, "bob").id, other, NULL),
	    ACCOUNTS_NONE, "another user's is not removed");
}

static void
test_login(struct fixture *f)
{
	struct account_name name = {.name = "alice@example.org", .label = ""};
	struct netaddr client = address("192.0.2.1");
	struct login *login = xcalloc(1, sizeof(*login));
	struct err err;

	is_int(accounts_login(f->accounts, &name, &client, NOW_S, login, &err),
	    0, "what a login is compared with");
	ok(login->is_known, "alice is known");
	is_u64(login->count, 2, "her password and the app's");
	(void)snprintf(name.label, sizeof(name.label), "tagged");
	(void)accounts_login(f->accounts, &name, &client, NOW_S, login, &err);
	is_u64(login->count, 1, "with a label that alone");
	is_str(login->credentials[0].label, "tagged", "by its name");
	(void)snprintf(name.label, sizeof(name.label), "none");
	(void)accounts_login(f->accounts, &name, &client, NOW_S, login, &err);
	is_u64(login->count, 1, "a label that is not there has a decoy");
	ok(login->credentials[0].refusal != NULL, "which does not count");
	(void)snprintf(name.name, sizeof(name.name), "nobody");
	(void)accounts_login(f->accounts, &name, &client, NOW_S, login, &err);
	ok(!login->is_known && login->count == 1,
	    "and so has a user that is not there");
	free(login);
}

/* What somebody wrote into the file is not let in. */
static void
test_downgrade(struct fixture *f)
{
	struct account_name name = {.name = "dora", .label = ""};
	struct netaddr client = address("192.0.2.1");
	struct login *login = xcalloc(1, sizeof(*login));
	int64_t id;

	(void)accounts_add(f->accounts, "dora", NULL, NOW_S, &id, NULL);
	(void)sqlite3_exec(sql_handle(accounts_sql(f->accounts)),
	    "UPDATE users SET verifier = 'secret' WHERE name = 'dora'", NULL,
	    NULL, NULL);
	(void)accounts_login(f->accounts, &name, &client, NOW_S, login, NULL);
	is_u64(login->count, 1, "a verifier of another scheme is not one");
	ok(login->credentials[0].refusal != NULL, "a decoy takes its place");
	free(login);
}

static void
test_notes(struct fixture *f)
{
	struct account alice = find(f, "alice@example.org");
	struct netaddr home = address("192.0.2.1");
	struct netaddr neighbour = address("192.0.2.200");
	struct netaddr away = address("203.0.113.1");

	is_int(accounts_is_known_network(
		   f->accounts, alice.id, &home, NOW_S, NULL),
	    0, "a network is unknown");
	(void)accounts_note_login(f->accounts, alice.id, 0, &home, NOW_S, NULL);
	is_int(accounts_is_known_network(
		   f->accounts, alice.id, &neighbour, NOW_S, NULL),
	    1, "until somebody logs in from it");
	is_int(accounts_flush(f->accounts, NULL), 0, "it is written");
	is_int(accounts_is_known_network(
		   f->accounts, alice.id, &neighbour, NOW_S, NULL),
	    1, "and stays known");
	is_int(accounts_is_known_network(
		   f->accounts, alice.id, &away, NOW_S, NULL),
	    0, "another does not become so");
	is_int(accounts_is_known_network(
		   f->accounts, find(f, "bob").id, &home, NOW_S, NULL),
	    0, "nor for another user");
	is_int(find(f, "alice@example.org").last_login_s, NOW_S,
	    "the last login is kept");
	is_int(accounts_is_known_network(
		   f->accounts, alice.id, &home, NOW_S + 91 * 86400, NULL),
	    0, "after 90 days it is forgotten");
	(void)accounts_note_login(f->accounts, 999999, 0, &home, NOW_S, NULL);
	is_int(accounts_flush(f->accounts, NULL), 0,
	    "a user who was removed meanwhile is no failure");
	for (int i = 0; i < 1000; i++)
		(void)accounts_note_login(
		    f->accounts, 1000000 + i, 0, &home, NOW_S, NULL);
	(void)accounts_note_login(f->accounts, alice.id, 0, &away, NOW_S, NULL);
	is_int(accounts_flush(f->accounts, NULL), 0, "many are written");
	is_int(accounts_is_known_network(
		   f->accounts, alice.id, &away, NOW_S, NULL),
	    1, "and no login among them is passed over");
}

static void
test_keys(struct fixture *f)
{
	struct token_keys first;
	struct token_keys keys;
	unsigned char secret[SCRAM_KEY_SIZE];

	memcpy(secret, accounts_secret(f->accounts), sizeof(secret));
	(void)accounts_token_keys(f->accounts, NOW_S, &first, NULL);
	ok(!first.has_previous, "the first key has none before it");
	keys = first;
	is_int(accounts_rotate_keys(f->accounts, NOW_S + 5, &keys, NULL), 0,
	    "a new key is made");
	ok(memcmp(keys.previous, first.current, TOKEN_KEY_SIZE) == 0,
	    "the old one is the previous");
	ok(memcmp(keys.current, first.current, TOKEN_KEY_SIZE) != 0,
	    "the new one is new");
	accounts_close(f->accounts);
	open_store(f);
	(void)accounts_token_keys(f->accounts, NOW_S + 9, &first, NULL);
	ok(memcmp(&keys, &first, sizeof(keys)) == 0, "both survive a restart");
	ok(memcmp(secret, accounts_secret(f->accounts), sizeof(secret)) == 0,
	    "and so does the secret of decoys");
}

static void
test_batch(struct fixture *f)
{
	int64_t id;
	struct account account;

	(void)accounts_batch_begin(f->accounts, NULL);
	is_int(accounts_add(f->accounts, "erin", NULL, NOW_S, &id, NULL),
	    ACCOUNTS_OK, "many in one transaction");
	is_int(accounts_add(
		   f->accounts, "alice@example.org", NULL, NOW_S, &id, NULL),
	    ACCOUNTS_EXISTS, "one of them is there");
	is_int(accounts_add(f->accounts, "frank", NULL, NOW_S, &id, NULL),
	    ACCOUNTS_OK, "which does not hinder the others");
	(void)accounts_batch_end(f->accounts, false, NULL);
	is_int(accounts_find(f->accounts, "erin", &account, NULL),
	    ACCOUNTS_NONE, "a trial leaves nothing");
}

int
main(void)
{
	struct fixture f;

	set_up(&f);
	test_users(&f);
	test_again(&f);
	test_identities(&f);
	test_app_senders(&f);
	test_login(&f);
	test_downgrade(&f);
	test_notes(&f);
	test_keys(&f);
	test_batch(&f);
	tear_down(&f);
	return tap_done();
}
