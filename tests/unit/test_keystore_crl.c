/* SPDX-License-Identifier: ISC */
/*
 * keys.db: lists of revoked certificates, what they end, and where they come
 * from.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "signer/keystore_sql.h"
#include "tests/unit/keystore_host.h"
#include "tests/unit/tap.h"

/* A list of that CA which names these serials. */
static struct slice
make_list_of(unsigned char issuer, const char *serials, int64_t this_update_s,
    struct buf *out)
{
	struct trust_list list = {.this_update_s = this_update_s,
	    .next_update_s = NOW_S + 10 * DAY_S};
	unsigned char digests[8 * TRUST_DIGEST_SIZE];
	struct err err;

	memset(list.issuer, issuer, sizeof(list.issuer));
	while (*serials != '\0') {
		const size_t n = strcspn(serials, " ");

		trust_serial_digest((struct slice){serials, n},
		    digests + list.count++ * TRUST_DIGEST_SIZE);
		serials += n + (serials[n] == ' ');
	}
	buf_reset(out);
	if (trust_list_write(&list, digests, out, &err) == -1 ||
	    trust_list_check(buf_slice(out), &list, &err) == -1)
		bug("%s", err.text);
	return buf_slice(out);
}

static struct slice
make_list(const char *serials, int64_t this_update_s, struct buf *out)
{
	return make_list_of(7, serials, this_update_s, out);
}

static enum trust_said
ask(struct keystore_host *f, const char *serial, int64_t now_s)
{
	unsigned char issuer[TRUST_ISSUER_SIZE];
	unsigned char digest[TRUST_DIGEST_SIZE];
	const char *folder;
	const char *id;

	(void)keystore_trust(f->keystore, false, &folder, &id, NULL);
	memset(issuer, 7, sizeof(issuer));
	trust_serial_digest(slice_of(serial), digest);
	return trust_list_ask(folder, issuer, slice_of(""), digest, now_s);
}

static void
test_lists(struct keystore_host *f)
{
	static const char scopes[][TRUST_SCOPE_SIZE] = {
	    "", "http://ca.example/1"};
	struct key_crl crl = {.issuer = "CN=CA",
	    .this_update_s = NOW_S,
	    .next_update_s = NOW_S + 10 * DAY_S};
	const struct key_crl *crls;
	struct key key = keystore_host_key(KEY_SMIME, "A0B", "");
	struct buf list;
	size_t count;
	struct err err;

	memset(crl.issuer_id, 7, sizeof(crl.issuer_id));
	key.has_issuer_id = true;
	memcpy(key.issuer_id, crl.issuer_id, sizeof(key.issuer_id));
	buf_init(&list, TRUST_LIST_MAX);
	is_int(ask(f, "A0B", NOW_S), TRUST_NO_LIST, "no list yet");
	(void)keystore_host_add(f, &key, "ida@i.example", TRUST_CHAIN);
	is_int(keystore_put_crl(f->keystore, &crl, scopes, 1,
		   make_list("A0B0C 1A0B 77", NOW_S, &list), &count, &err),
	    CHANGE_DONE, "a list");
	is_u64(count, 0, "whose serials are compared whole");
	is_int(ask(f, "A0B", NOW_S), TRUST_NOT_NAMED, "workers see that");
	is_int(ask(f, "A0B", NOW_S + 11 * DAY_S), TRUST_OUTDATED,
	    "and when it is out of date");
	is_int(ask(f, "77", NOW_S + 11 * DAY_S), TRUST_NAMED,
	    "what it names is revoked even then");
	crl.this_update_s++;
	is_int(keystore_put_crl(f->keystore, &crl, scopes, 2,
		   make_list("A0B A0B", NOW_S, &list), &count, &err),
	    CHANGE_DONE, "a newer one");
	is_u64(count, 1, "revokes what it names");
	is_int(ask(f, "A0B", NOW_S), TRUST_NAMED, "for workers, too");
	is_int(ask(f, "77", NOW_S), TRUST_NOT_NAMED, "the old one is gone");
	crl.this_update_s -= 2;
	is_int(keystore_put_crl(f->keystore, &crl, scopes, 1,
		   make_list("", NOW_S, &list), &count, &err),
	    CHANGE_EXISTS, "an older one is refused");
	is_int(ask(f, "A0B", NOW_S), TRUST_NAMED, "and leaves all as it was");
	ok(keystore_crls(f->keystore, &crls, &count, &err) == 0 && count == 2,
	    "one list for each scope");
	(void)keystore_check_crls(f->keystore, &count, &err);
	is_u64(count, 0, "none is missing");
	crl.this_update_s += 10;
	(void)snprintf(crl.url, sizeof(crl.url), "http://gone.example/");
	(void)keystore_put_crl(f->keystore, &crl, scopes, 2,
	    make_list("", NOW_S, &list), &count, &err);
	is_int(keystore_remove_source(f->keystore, crl.url, &err), CHANGE_DONE,
	    "those of a place that is forgotten can be removed");
	ok(keystore_crls(f->keystore, &crls, &count, &err) == 0 && count == 0,
	    "and are gone");
	is_int(ask(f, "A0B", NOW_S), TRUST_NO_LIST, "for workers, too");
	buf_clear(&list);
}

static void
note_unbound(void *arg, const struct key *key)
{
	int64_t *id = arg;

	*id = key->id;
}

/* CAs may have the same name; their keys tell them apart. */
static void
test_twins(struct keystore_host *f)
{
	static const char scopes[][TRUST_SCOPE_SIZE] = {""};
	struct key_crl ours = {.issuer = "CN=CA",
	    .this_update_s = NOW_S,
	    .next_update_s = NOW_S + 10 * DAY_S};
	struct key_crl twin = ours;
	struct key key = keystore_host_key(KEY_SMIME, "C1", "");
	struct buf list;
	int64_t unbound = 0;
	int64_t id;
	size_t count;
	struct err err;

	memset(ours.issuer_id, 8, sizeof(ours.issuer_id));
	memset(twin.issuer_id, 9, sizeof(twin.issuer_id));
	buf_init(&list, TRUST_LIST_MAX);
	key.has_issuer_id = true;
	memcpy(key.issuer_id, ours.issuer_id, sizeof(key.issuer_id));
	(void)keystore_host_add(f, &key, "tom@t.example", TRUST_CHAIN);
	key = keystore_host_key(KEY_SMIME, "C2", "");
	id = keystore_host_add(f, &key, "tea@t.example", TRUST_CHAIN);
	is_int(keystore_put_crl(f->keystore, &twin, scopes, 1,
		   make_list("C1 C2", NOW_S, &list), &count, &err),
	    CHANGE_DONE, "a list of another CA with the same name");
	is_u64(count, 0, "revokes none of this one");
	is_str(keystore_host_recipient(f, KEY_SMIME, "tom@t.example", 0, NOW_S),
	    "C1", "whose keys stay in use");
	is_int(keystore_put_crl(f->keystore, &ours, scopes, 1,
		   make_list("C1 C2", NOW_S, &list), &count, &err),
	    CHANGE_DONE, "a list of this CA");
	is_u64(count, 1, "revokes those that it is known to have signed");
	is_str(keystore_host_recipient(f, KEY_SMIME, "tom@t.example", 0, NOW_S),
	    "the key was revoked", "so they are not used");
	for (int i = 0; i < 100 && unbound != id; i++)
		(void)keystore_unbound(
		    f->keystore, 1, note_unbound, &unbound, &err);
	ok(unbound == id, "who signed the other one is asked");
	(void)keystore_note_issuer(f->keystore, id, ours.issuer_id, &err);
	(void)keystore_note_issuer(f->keystore, id, twin.issuer_id, &err);
	(void)keystore_put_crl(f->keystore, &twin, scopes, 1,
	    make_list("C1 C2", NOW_S, &list), &count, &err);
	is_u64(count, 0, "and once that is known,");
	(void)keystore_put_crl(f->keystore, &ours, scopes, 1,
	    make_list("C1 C2", NOW_S, &list), &count, &err);
	is_u64(count, 1, "its list revokes it, too");
	buf_clear(&list);
}

static void
harvest_of(const char *address, const struct key *key,
    struct ipc_record_harvest *record_r)
{
	*record_r = (struct ipc_record_harvest){.kind = SLICE("smime"),
	    .address = slice_of(address),
	    .source = SLICE("smime"),
	    .trust = TRUST_CHAIN,
	    .public = key->public};
}

/* A certificate that comes when the list that names it is here already. */
static void
test_revoked_before(struct keystore_host *f)
{
	static const char scopes[][TRUST_SCOPE_SIZE] = {
	    "user http://ca.example/7"};
	static const char *const subjects[] = {"una@u.example"};
	const struct key_owner owner = {.subjects = subjects,
	    .count = 1,
	    .source = "manual",
	    .trust = TRUST_MANUAL};
	struct key_crl crl = {.issuer = "CN=CA",
	    .this_update_s = NOW_S,
	    .next_update_s = NOW_S + 10 * DAY_S};
	struct key key = keystore_host_key(KEY_SMIME, "D1", "");
	struct key old = keystore_host_key(KEY_SMIME, "D3", "");
	struct key waiting = keystore_host_key(KEY_SMIME, "D2", "");
	struct ipc_record_harvest record;
	enum keystore_harvested harvested;
	struct key_list list_of_keys;
	struct buf list;
	int64_t id;
	size_t count;
	struct err err;

	memset(crl.issuer_id, 10, sizeof(crl.issuer_id));
	(void)keystore_host_add(f, &old, "wanda@u.example", TRUST_CHAIN);
	harvest_of("wanda@u.example", &waiting, &record);
	(void)keystore_harvest(
	    f->keystore, &record, &waiting, NOW_S, &harvested, &err);
	is_int(harvested, HARVEST_PENDING, "another key waits for approval");
	buf_init(&list, TRUST_LIST_MAX);
	(void)keystore_put_crl(f->keystore, &crl, scopes, 1,
	    make_list_of(10, "D1 D2", NOW_S, &list), &count, &err);
	key.has_issuer_id = true;
	memset(key.issuer_id, 11, sizeof(key.issuer_id));
	ok(!keystore_is_revoked(f->keystore, &key),
	    "a list of another CA says nothing of a key");
	memset(key.issuer_id, 10, sizeof(key.issuer_id));
	ok(keystore_is_revoked(f->keystore, &key), "that of its own CA does");
	is_int(keystore_add(f->keystore, &key, &owner, NOW_S, &id, &err),
	    CHANGE_REFUSED, "it is not taken: %s", err.text);
	harvest_of("una@u.example", &key, &record);
	(void)keystore_harvest(
	    f->keystore, &record, &key, NOW_S, &harvested, &err);
	is_int(harvested, HARVEST_REVOKED, "nor when it comes with mail");
	is_str(keystore_host_recipient(f, KEY_SMIME, "una@u.example", 0, NOW_S),
	    "no key is known", "none is stored");
	(void)snprintf(key.secret_ref, sizeof(key.secret_ref), "k-d1");
	is_int(keystore_add(f->keystore, &key, &owner, NOW_S, &id, &err),
	    CHANGE_DONE, "one of ours is");
	is_str(keystore_host_signer(f, "una@u.example", NOW_S),
	    "the key was revoked", "and signs nothing");
	ok(keystore_decryptors(f->keystore, KEY_SMIME, SLICE("una@u.example"),
	       &list_of_keys, &err) == 0 &&
		list_of_keys.count == 1,
	    "but opens old mail");
	waiting.has_issuer_id = true;
	memcpy(waiting.issuer_id, crl.issuer_id, sizeof(waiting.issuer_id));
	harvest_of("wanda@u.example", &waiting, &record);
	(void)keystore_harvest(
	    f->keystore, &record, &waiting, NOW_S, &harvested, &err);
	is_int(harvested, HARVEST_REVOKED, "one that waits comes again");
	(void)keystore_pending(f->keystore, 100, note_unbound, &id, &err);
	is_int(keystore_resolve(f->keystore, id, true, NOW_S, &err),
	    CHANGE_REFUSED, "it cannot be approved: %s", err.text);
	is_str(
	    keystore_host_recipient(f, KEY_SMIME, "wanda@u.example", 0, NOW_S),
	    "D3", "what was there before stays in use");
	is_int(keystore_resolve(f->keystore, id, false, NOW_S, &err),
	    CHANGE_DONE, "it can be rejected");
	buf_clear(&list);
}

static void
test_sources(struct keystore_host *f)
{
	const struct crl_source *sources;
	char url[TRUST_URL_MAX + 1];
	struct crl_place place = {.url = url};
	size_t count;
	struct err err;

	for (int i = 0; i < KEYSTORE_SOURCES_FOUND_MAX; i++) {
		(void)snprintf(url, sizeof(url), "http://ca.example/%03d", i);
		place.issuers = SLICE("cert");
		(void)keystore_put_source(
		    f->keystore, &place, false, NOW_S, &err);
	}
	place = (struct crl_place){.url = "http://one.more/"};
	is_int(keystore_put_source(f->keystore, &place, false, NOW_S, &err),
	    CHANGE_REFUSED, "places that certificates name are limited");
	is_int(keystore_put_source(f->keystore, &place, true, NOW_S, &err),
	    CHANGE_DONE, "not by what an administrator asks for");
	place = (struct crl_place){.url = "http://ca.example/007",
	    .others = SLICE("http://b.example/\nhttp://c.example/\n"),
	    .issuers = SLICE("cert")};
	is_int(
	    keystore_put_source(f->keystore, &place, false, NOW_S + 100, &err),
	    CHANGE_DONE, "one that is known is seen again");
	place = (struct crl_place){.url = "http://ca.example/007"};
	(void)keystore_put_source(f->keystore, &place, false, 0, &err);
	ok(keystore_source_other(f->keystore, place.url, 1, url) == 0 &&
		strcmp(url, "http://c.example/") == 0,
	    "and where else its list is is known");
	is_int(keystore_source_other(f->keystore, place.url, 2, url), -1,
	    "as long as there are such places");
	(void)keystore_tell_source(
	    f->keystore, "http://ca.example/007", NOW_S + 5, 3, "no", &err);
	(void)keystore_trim_sources(f->keystore, NOW_S + 50, &err);
	ok(keystore_sources(f->keystore, &sources, &count, &err) == 0 &&
		count == 2,
	    "those that nobody names any more go");
	ok(strcmp(sources[0].url, "http://ca.example/007") == 0 &&
		sources[0].failures == 3 && sources[0].due_s == NOW_S + 5 &&
		strcmp(sources[0].reason, "no") == 0,
	    "the others keep what came of them");
	is_int(keystore_remove_source(f->keystore, "http://one.more/", &err),
	    CHANGE_DONE, "one is removed");
	is_int(keystore_remove_source(f->keystore, "http://one.more/", &err),
	    CHANGE_NONE, "once");
}

/* A store of before lists were files: places stay, lists come again. */
static void
test_upgrade(void)
{
	static const char schema[] = KEYSTORE_SCHEMA_1
	    ";INSERT INTO crl VALUES ('CN=A', 'http://a.example/x', 1, 2, "
	    "x'30');"
	    "INSERT INTO crl VALUES ('CN=B', 'built-in', 1, 2, x'30');"
	    "INSERT INTO crl VALUES ('CN=C', '', 1, 2, x'30');"
	    "PRAGMA user_version = 1";
	const struct crl_source *sources;
	const struct key_crl *crls;
	struct keystore_host f;
	char path[128];
	sqlite3 *db = NULL;
	size_t count;
	struct err err;

	keystore_host_init(&f);
	keystore_close(f.keystore);
	(void)snprintf(path, sizeof(path), "%s/keys.db", f.folder);
	(void)unlink(path);
	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_exec(db, schema, NULL, NULL, NULL) != SQLITE_OK)
		bug("no store of before: %s", sqlite3_errmsg(db));
	(void)sqlite3_close(db);
	keystore_host_open(&f);
	ok(keystore_sources(f.keystore, &sources, &count, &err) == 0 &&
		count == 1 &&
		strcmp(sources[0].url, "http://a.example/x") == 0 &&
		sources[0].is_wanted && sources[0].due_s == 0,
	    "a list of a store of before is due to be fetched");
	ok(keystore_crls(f.keystore, &crls, &count, &err) == 0 && count == 0,
	    "and none is there until then");
	keystore_host_clear(&f);
}

int
main(void)
{
	struct keystore_host f;

	keystore_host_init(&f);
	test_lists(&f);
	test_twins(&f);
	test_revoked_before(&f);
	test_sources(&f);
	keystore_host_clear(&f);
	test_upgrade();
	return tap_done();
}
