/* SPDX-License-Identifier: ISC */
/*
 * keys.db: who may sign, whom to encrypt to, what a key that came with a mail
 * may replace, anchors, CRLs, DKIM selectors, and that it is all there after
 * it was opened again.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "signer/keystore_crl.h"
#include "signer/keystore_sql.h"
#include "tests/unit/tap.h"

#define NOW_S 1700000000
#define DAY_S 86400

struct fixture {
	char folder[64];
	struct keystore *keystore;
};

static void
open_store(struct fixture *f)
{
	struct err err;

	if (keystore_open(f->folder, &f->keystore, &err) == -1)
		bug("%s", err.text);
}

static void
set_up(struct fixture *f)
{
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/keystore-XXXXXX");
	if (mkdtemp(f->folder) == NULL)
		bug("no folder");
	open_store(f);
}

static void
remove_trust(const struct fixture *f)
{
	static const char *const folders[] = {
	    "keys/open/.trust", "keys/open", "keys"};
	char path[TRUST_FOLDER_SIZE];
	const struct dirent *entry;
	DIR *folder;

	(void)trust_folder(f->folder, path, NULL);
	folder = opendir(path);
	while (folder != NULL && (entry = readdir(folder)) != NULL)
		if (entry->d_name[0] != '.')
			trust_remove(path, entry->d_name);
	if (folder != NULL)
		(void)closedir(folder);
	for (size_t i = 0; i < 3; i++) {
		(void)snprintf(
		    path, sizeof(path), "%s/%s", f->folder, folders[i]);
		(void)rmdir(path);
	}
}

static void
tear_down(struct fixture *f)
{
	char path[128];

	keystore_close(f->keystore);
	(void)snprintf(path, sizeof(path), "%s/keys.db", f->folder);
	(void)unlink(path);
	remove_trust(f);
	(void)rmdir(f->folder);
}

static struct key
key_named(enum key_kind kind, const char *fingerprint, const char *ref)
{
	struct key key = {.kind = kind,
	    .status = KEY_ACTIVE,
	    .bits = 2048,
	    .uses = KEY_SIGNS | KEY_ENCRYPTS,
	    .not_before_s = NOW_S - DAY_S,
	    .not_after_s = NOW_S + 100 * DAY_S,
	    .public = slice_of(fingerprint)};

	(void)snprintf(
	    key.fingerprint, sizeof(key.fingerprint), "%s", fingerprint);
	(void)snprintf(key.algorithm, sizeof(key.algorithm), "rsa-2048");
	(void)snprintf(key.issuer, sizeof(key.issuer), "CN=CA");
	(void)snprintf(key.serial, sizeof(key.serial), "%s", fingerprint);
	(void)snprintf(key.secret_ref, sizeof(key.secret_ref), "%s", ref);
	(void)snprintf(key.source, sizeof(key.source), "manual");
	return key;
}

static int64_t
add(struct fixture *f, const struct key *key, const char *subject,
    unsigned trust)
{
	const char *subjects[] = {subject};
	const struct key_owner owner = {.subjects = subjects,
	    .count = 1,
	    .source = "manual",
	    .trust = trust,
	    .is_pinned = trust == TRUST_MANUAL};
	int64_t id = -1;
	struct err err;

	if (keystore_add(f->keystore, key, &owner, NOW_S, &id, &err) !=
	    CHANGE_DONE)
		bug("%s", err.text);
	return id;
}

/* The fingerprint of the key for that address, or the reason for none. */
static const char *
recipient(struct fixture *f, enum key_kind kind, const char *address,
    unsigned min_trust, int64_t now_s)
{
	struct key_binding binding;
	const enum keystore_result result = keystore_recipient(
	    f->keystore, kind, slice_of(address), min_trust, now_s, &binding);

	return result == KEYSTORE_FOUND ? binding.key->fingerprint
					: keystore_result_text(result);
}

static const char *
signer(struct fixture *f, const char *address, int64_t now_s)
{
	const struct key *key;
	const enum keystore_result result = keystore_signer(
	    f->keystore, KEY_SMIME, slice_of(address), now_s, &key);

	return result == KEYSTORE_FOUND ? key->fingerprint
					: keystore_result_text(result);
}

static void
test_look_ups(struct fixture *f)
{
	struct key key = key_named(KEY_SMIME, "AA", "k-aa");

	is_str(signer(f, "alice@a.example", NOW_S), "no key is known",
	    "an empty store has no key");
	(void)add(f, &key, "Alice@a.example", TRUST_MANUAL);
	is_str(signer(f, "aLICE@A.example", NOW_S), "AA",
	    "addresses are compared without regard to case");
	is_str(signer(f, "bob@a.example", NOW_S), "no key is known",
	    "a key of one address is not its neighbour's");
	key = key_named(KEY_SMIME, "DD", "k-dd");
	(void)add(f, &key, "@a.example", TRUST_MANUAL);
	is_str(signer(f, "bob@a.example", NOW_S), "DD",
	    "a domain's key serves those who have none");
	is_str(signer(f, "alice@a.example", NOW_S), "AA",
	    "one's own key goes before the domain's");
	is_str(signer(f, "bob@sub.a.example", NOW_S), "no key is known",
	    "a subdomain is another domain");
	key = key_named(KEY_SMIME, "AB", "k-ab");
	key.not_after_s = NOW_S + 200 * DAY_S;
	(void)add(f, &key, "alice@a.example", TRUST_MANUAL);
	is_str(signer(f, "alice@a.example", NOW_S), "AB",
	    "of two the one that is valid longer");
	is_str(signer(f, "alice@a.example", NOW_S + 300 * DAY_S),
	    "the key is not valid at this time", "an expired key is told of");
	is_str(signer(f, "#1", NOW_S), "no key is known",
	    "what looks like a question of our own is an address");
}

static void
test_recipients(struct fixture *f)
{
	struct key key = key_named(KEY_SMIME, "C1", "");
	struct key_list list;
	int64_t id = add(f, &key, "carl@c.example", TRUST_CHAIN);
	struct err err;

	is_str(recipient(f, KEY_SMIME, "carl@c.example", TRUST_VKS, NOW_S),
	    "C1", "a trusted key is used");
	is_str(recipient(f, KEY_SMIME, "carl@c.example", TRUST_WKD, NOW_S),
	    "the key is not trusted enough", "below the least trust it is not");
	is_str(recipient(f, KEY_PGP, "carl@c.example", 0, NOW_S),
	    "no key is known", "nor for another method");
	is_str(signer(f, "carl@c.example", NOW_S), "no key is known",
	    "nobody signs with a correspondent's key");
	(void)keystore_set_status(f->keystore, id, KEY_REVOKED, &err);
	is_str(recipient(f, KEY_SMIME, "carl@c.example", 0, NOW_S),
	    "the key was revoked", "nor to a revoked one");
	ok(keystore_candidates(f->keystore, KEY_SMIME,
	       slice_of("carl@c.example"), &list, &err) == 0 &&
		list.count == 1,
	    "a revoked key is still a candidate, to say so");
	ok(keystore_decryptors(f->keystore, KEY_SMIME,
	       slice_of("alice@a.example"), &list, &err) == 0 &&
		list.count == 3,
	    "all keys of ours, and the domain's, may open mail");
	is_int(keystore_remove(f->keystore, id, &err), CHANGE_DONE,
	    "a correspondent's key is forgotten");
	is_int(keystore_remove(f->keystore, 1, &err), CHANGE_NONE,
	    "one of ours is not");
}

static enum keystore_harvested
harvest(struct fixture *f, const char *address, const char *fingerprint,
    enum key_kind kind, unsigned trust, int64_t now_s)
{
	struct key facts = key_named(kind, fingerprint, "");
	const struct ipc_record_harvest record = {
	    .kind = slice_of(key_kind_name(kind)),
	    .address = slice_of(address),
	    .source = SLICE("mail"),
	    .trust = (uint16_t)trust,
	    .public = slice_of(fingerprint)};
	enum keystore_harvested harvested;
	struct err err;

	facts.not_after_s = now_s + 50 * DAY_S;
	if (keystore_harvest(
		f->keystore, &record, &facts, now_s, &harvested, &err) == -1)
		bug("%s", err.text);
	return harvested;
}

static bool
knows(
    struct fixture *f, const char *address, const char *public, unsigned trust)
{
	const struct ipc_record_harvest record = {.kind = SLICE("pgp"),
	    .address = slice_of(address),
	    .trust = (uint16_t)trust,
	    .public = slice_of(public)};

	return keystore_knows(f->keystore, &record);
}

static int64_t
id_of(struct fixture *f, enum key_kind kind, const char *fingerprint)
{
	const struct key *key;

	return keystore_by_fingerprint(f->keystore, kind, slice_of(fingerprint),
		   &key) == KEYSTORE_FOUND
		   ? key->id
		   : -1;
}

static void
test_harvest(struct fixture *f)
{
	const char *who = "dora@d.example";
	struct key_list list;
	struct err err;

	ok(!knows(f, who, "P1", 30), "a new key is new");
	is_int(harvest(f, who, "P1", KEY_PGP, 30, NOW_S), HARVEST_ADDED,
	    "the first key of an address is taken");
	ok(knows(f, who, "P1", 30), "then it is known");
	ok(!knows(f, who, "P1", 70), "with more trust it would be new");
	ok(keystore_candidates(
	       f->keystore, KEY_PGP, slice_of(who), &list, &err) == 0 &&
		list.count == 0,
	    "a key that came with a mail vouches for no other mail");
	is_int(harvest(f, who, "P1", KEY_PGP, 70, NOW_S), HARVEST_REFRESHED,
	    "the same key from a better source gains trust");
	ok(keystore_candidates(
	       f->keystore, KEY_PGP, slice_of(who), &list, &err) == 0 &&
		list.count == 1,
	    "with that it does");
	is_int(harvest(f, who, "P2", KEY_PGP, 70, NOW_S), HARVEST_PENDING,
	    "another key waits, whatever its trust");
	is_str(recipient(f, KEY_PGP, who, 0, NOW_S), "P1",
	    "meanwhile the known one is used");
	is_int(harvest(f, who, "P2", KEY_PGP, 90, NOW_S), HARVEST_REFRESHED,
	    "a second copy of it may be newer");
	is_str(
	    recipient(f, KEY_PGP, who, 0, NOW_S), "P1", "and changes nothing");
	is_int(keystore_resolve(
		   f->keystore, id_of(f, KEY_PGP, "P2"), true, NOW_S, &err),
	    CHANGE_DONE, "approved");
	is_str(recipient(f, KEY_PGP, who, TRUST_MANUAL, NOW_S), "P2",
	    "the approved key counts");
	is_int(harvest(f, who, "P1", KEY_PGP, 70, NOW_S), HARVEST_IGNORED,
	    "the one before it does not come back");
	is_int(harvest(f, who, "P3", KEY_PGP, 70, NOW_S + 99 * DAY_S),
	    HARVEST_PENDING, "an approved one is not replaced when it ended");
	is_int(keystore_resolve(
		   f->keystore, id_of(f, KEY_PGP, "P3"), false, NOW_S, &err),
	    CHANGE_DONE, "rejected");
	is_int(harvest(f, who, "P3", KEY_PGP, 70, NOW_S), HARVEST_IGNORED,
	    "a rejected key does not come back");
	is_int(keystore_resolve(
		   f->keystore, id_of(f, KEY_PGP, "P3"), true, NOW_S, &err),
	    CHANGE_NONE, "nor waits any more");
}

static void
test_squatters(struct fixture *f)
{
	const char *who = "ina@i.example";
	const char *other = "jon@i.example";
	struct err err;

	is_int(harvest(f, who, "S1", KEY_PGP, 30, NOW_S), HARVEST_ADDED,
	    "somebody brings a key for an address");
	is_int(harvest(f, who, "S2", KEY_PGP, 30, NOW_S), HARVEST_PENDING,
	    "and another one");
	is_int(harvest(f, who, "W1", KEY_PGP, TRUST_VKS, NOW_S),
	    HARVEST_PENDING, "a key server's word does not replace it");
	is_int(keystore_resolve(
		   f->keystore, id_of(f, KEY_PGP, "W1"), false, NOW_S, &err),
	    CHANGE_DONE, "that one is rejected");
	is_int(harvest(f, who, "W2", KEY_PGP, TRUST_WKD, NOW_S),
	    HARVEST_REPLACED, "its domain's word does");
	is_str(recipient(f, KEY_PGP, who, 0, NOW_S), "W2",
	    "then that one is used, also with the least trust");
	(void)harvest(f, who, "S1", KEY_PGP, 30, NOW_S + DAY_S);
	is_str(recipient(f, KEY_PGP, who, 0, NOW_S), "W2",
	    "a newer copy of the one before it changes nothing");
	is_int(harvest(f, who, "W3", KEY_PGP, TRUST_WKD, NOW_S),
	    HARVEST_PENDING, "a third one does not come in like that");
	is_str(recipient(f, KEY_PGP, who, 0, NOW_S), "W2", "nor is used");

	(void)harvest(f, other, "T1", KEY_PGP, 30, NOW_S);
	is_int(harvest(f, other, "T2", KEY_PGP, 30, NOW_S), HARVEST_PENDING,
	    "the owner's own mail comes second");
	ok(!knows(f, other, "T2", TRUST_WKD),
	    "while it waits its domain's word is new");
	is_int(harvest(f, other, "T2", KEY_PGP, TRUST_WKD, NOW_S),
	    HARVEST_REPLACED, "and puts it into its place");
	is_str(recipient(f, KEY_PGP, other, TRUST_WKD, NOW_S), "T2",
	    "where it is used");

	(void)harvest(f, "kim@i.example", "U1", KEY_SMIME, 30, NOW_S);
	is_int(harvest(f, "kim@i.example", "U2", KEY_SMIME, TRUST_CHAIN, NOW_S),
	    HARVEST_REPLACED, "a CA's word goes before a certificate without");
	(void)harvest(f, "lea@i.example", "V1", KEY_PGP, TRUST_VKS, NOW_S);
	is_int(harvest(f, "lea@i.example", "V2", KEY_PGP, TRUST_WKD, NOW_S),
	    HARVEST_PENDING, "a key that was checked is not replaced");
}

static void
test_preference(struct fixture *f)
{
	struct key key = key_named(KEY_PGP, "Q1", "");

	(void)add(f, &key, "max@i.example", TRUST_WKD);
	key = key_named(KEY_PGP, "Q2", "");
	key.not_after_s = NOW_S + 200 * DAY_S;
	(void)add(f, &key, "max@i.example", TRUST_HARVESTED);
	is_str(recipient(f, KEY_PGP, "max@i.example", 0, NOW_S), "Q1",
	    "more trust goes before a longer life");
}

static void
test_harvest_certificates(struct fixture *f)
{
	const char *who = "emil@e.example";
	size_t waiting = 0;

	is_int(harvest(f, "alice@a.example", "X1", KEY_SMIME, 60, NOW_S),
	    HARVEST_IGNORED, "nobody brings a key for our own address");
	(void)harvest(f, who, "E1", KEY_SMIME, TRUST_CHAIN, NOW_S);
	is_int(harvest(f, who, "E2", KEY_SMIME, TRUST_CHAIN, NOW_S),
	    HARVEST_PENDING, "a second certificate waits");
	(void)harvest(
	    f, "fritz@e.example", "F1", KEY_SMIME, TRUST_CHAIN, NOW_S);
	is_int(harvest(f, "fritz@e.example", "F2", KEY_SMIME, 30,
		   NOW_S + 60 * DAY_S),
	    HARVEST_PENDING, "with less trust, also when the first ended");
	(void)harvest(f, "gus@e.example", "G1", KEY_SMIME, TRUST_CHAIN, NOW_S);
	is_int(harvest(f, "gus@e.example", "G2", KEY_SMIME, TRUST_CHAIN,
		   NOW_S + 60 * DAY_S),
	    HARVEST_ADDED, "a renewed one of equal trust is taken then");
	for (int i = 0; i < 20; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "H%d", i);
		waiting += harvest(f, "hal@e.example", name, KEY_SMIME, 30,
			       NOW_S) == HARVEST_PENDING;
	}
	is_u64(waiting, 8, "only so many of one address wait");
}

static void
test_dkim(struct fixture *f)
{
	struct dkim_selector selectors[KEYSTORE_SELECTORS_MAX];
	struct key rsa = key_named(KEY_DKIM, "K1", "k-1");
	struct key ed = key_named(KEY_DKIM, "K2", "k-2");
	size_t count;
	int64_t id;
	struct err err;

	(void)snprintf(ed.algorithm, sizeof(ed.algorithm), "ed25519");
	is_int(keystore_add_dkim(f->keystore, &ed, "a.example", "s-ed", NOW_S,
		   NOW_S, &id, &err),
	    CHANGE_DONE, "an Ed25519 key");
	is_int(keystore_add_dkim(
		   f->keystore, &rsa, "a.example", "s", 0, NOW_S, &id, &err),
	    CHANGE_DONE, "and an RSA key, published only");
	(void)keystore_dkim(
	    f->keystore, slice_of("A.example"), NOW_S, selectors, &count, &err);
	is_u64(count, 1, "one signs");
	(void)keystore_span_dkim(f->keystore, id, NOW_S + 10, 0, &err);
	(void)keystore_dkim(f->keystore, slice_of("a.example"), NOW_S + 10,
	    selectors, &count, &err);
	is_u64(count, 2, "then both");
	is_str(selectors[0].selector, "s", "RSA first");
	(void)keystore_dkim(f->keystore, slice_of("a.example"), NOW_S - DAY_S,
	    selectors, &count, &err);
	is_u64(count, 2, "and when the clock is behind");
	rsa = key_named(KEY_DKIM, "K3", "k-3");
	is_int(keystore_add_dkim(
		   f->keystore, &rsa, "a.example", "s", 0, NOW_S, &id, &err),
	    CHANGE_EXISTS, "a selector is there once");
	(void)keystore_span_dkim(
	    f->keystore, id_of(f, KEY_DKIM, "K2"), NOW_S, NOW_S + 5, &err);
	(void)keystore_dkim(f->keystore, slice_of("a.example"), NOW_S + 10,
	    selectors, &count, &err);
	is_u64(count, 1, "one whose time ended signs no more");
}

/* A list that names these serials; lines, each ends. */
static struct slice
make_list(const char *serials, int64_t this_update_s, struct buf *out)
{
	struct trust_list list = {.this_update_s = this_update_s,
	    .next_update_s = NOW_S + 10 * DAY_S};
	unsigned char digests[8 * TRUST_DIGEST_SIZE];
	struct err err;

	memset(list.issuer, 7, sizeof(list.issuer));
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

static enum trust_said
ask(struct fixture *f, const char *serial, int64_t now_s)
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
test_anchors(struct fixture *f)
{
	struct key_anchor anchor = {.fingerprint = "F00",
	    .subject = "CN=CA",
	    .certificate = SLICE("der")};
	const struct key_anchor *anchors;
	char first[TRUST_ID_SIZE];
	const char *folder;
	const char *id;
	size_t count;
	struct err err;

	ok(keystore_trust(f->keystore, false, &folder, &id, &err) == 0,
	    "whom to believe is written for workers");
	memcpy(first, id, sizeof(first));
	is_int(keystore_add_anchor(f->keystore, &anchor, &err), CHANGE_DONE,
	    "an anchor");
	is_int(keystore_add_anchor(f->keystore, &anchor, &err), CHANGE_EXISTS,
	    "once");
	ok(keystore_anchors(f->keystore, &anchors, &count, &err) == 0 &&
		count == 1 &&
		slice_equals(anchors[0].certificate, SLICE("der")),
	    "and it is there");
	ok(keystore_trust(f->keystore, false, &folder, &id, &err) == 0 &&
		strcmp(first, id) != 0,
	    "workers see that there is another one");
	memcpy(first, id, sizeof(first));
	ok(keystore_trust(f->keystore, true, &folder, &id, &err) == 0 &&
		strcmp(first, id) != 0,
	    "and when more is asked of a signature");
}

static void
test_lists(struct fixture *f)
{
	static const char scopes[][TRUST_SCOPE_SIZE] = {
	    "", "http://ca.example/1"};
	struct key_crl crl = {.issuer = "CN=CA",
	    .this_update_s = NOW_S,
	    .next_update_s = NOW_S + 10 * DAY_S};
	const struct key_crl *crls;
	struct key key = key_named(KEY_SMIME, "A0B", "");
	struct buf list;
	size_t count;
	struct err err;

	memset(crl.issuer_id, 7, sizeof(crl.issuer_id));
	key.has_issuer_id = true;
	memcpy(key.issuer_id, crl.issuer_id, sizeof(key.issuer_id));
	buf_init(&list, TRUST_LIST_MAX);
	is_int(ask(f, "A0B", NOW_S), TRUST_NO_LIST, "no list yet");
	(void)add(f, &key, "ida@i.example", TRUST_CHAIN);
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
test_twins(struct fixture *f)
{
	static const char scopes[][TRUST_SCOPE_SIZE] = {""};
	struct key_crl ours = {.issuer = "CN=CA",
	    .this_update_s = NOW_S,
	    .next_update_s = NOW_S + 10 * DAY_S};
	struct key_crl twin = ours;
	struct key key = key_named(KEY_SMIME, "C1", "");
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
	(void)add(f, &key, "tom@t.example", TRUST_CHAIN);
	key = key_named(KEY_SMIME, "C2", "");
	id = add(f, &key, "tea@t.example", TRUST_CHAIN);
	is_int(keystore_put_crl(f->keystore, &twin, scopes, 1,
		   make_list("C1 C2", NOW_S, &list), &count, &err),
	    CHANGE_DONE, "a list of another CA with the same name");
	is_u64(count, 0, "revokes none of this one");
	is_str(recipient(f, KEY_SMIME, "tom@t.example", 0, NOW_S), "C1",
	    "whose keys stay in use");
	is_int(keystore_put_crl(f->keystore, &ours, scopes, 1,
		   make_list("C1 C2", NOW_S, &list), &count, &err),
	    CHANGE_DONE, "a list of this CA");
	is_u64(count, 1, "revokes those that it is known to have signed");
	is_str(recipient(f, KEY_SMIME, "tom@t.example", 0, NOW_S),
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
test_sources(struct fixture *f)
{
	const struct crl_source *sources;
	char url[64];
	size_t count;
	struct err err;

	for (int i = 0; i < KEYSTORE_SOURCES_FOUND_MAX; i++) {
		(void)snprintf(url, sizeof(url), "http://ca.example/%03d", i);
		(void)keystore_put_source(
		    f->keystore, url, false, NOW_S, SLICE("cert"), &err);
	}
	is_int(keystore_put_source(f->keystore, "http://one.more/", false,
		   NOW_S, slice_of(""), &err),
	    CHANGE_REFUSED, "places that certificates name are limited");
	is_int(keystore_put_source(f->keystore, "http://one.more/", true, NOW_S,
		   slice_of(""), &err),
	    CHANGE_DONE, "not by what an administrator asks for");
	is_int(keystore_put_source(f->keystore, "http://ca.example/007", false,
		   NOW_S + 100, slice_of(""), &err),
	    CHANGE_DONE, "one that is known is seen again");
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
	struct fixture f;
	char path[128];
	sqlite3 *db = NULL;
	size_t count;
	struct err err;

	set_up(&f);
	keystore_close(f.keystore);
	(void)snprintf(path, sizeof(path), "%s/keys.db", f.folder);
	(void)unlink(path);
	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_exec(db, schema, NULL, NULL, NULL) != SQLITE_OK)
		bug("no store of before: %s", sqlite3_errmsg(db));
	(void)sqlite3_close(db);
	open_store(&f);
	ok(keystore_sources(f.keystore, &sources, &count, &err) == 0 &&
		count == 1 &&
		strcmp(sources[0].url, "http://a.example/x") == 0 &&
		sources[0].is_wanted && sources[0].due_s == 0,
	    "a list of a store of before is due to be fetched");
	ok(keystore_crls(f.keystore, &crls, &count, &err) == 0 && count == 0,
	    "and none is there until then");
	tear_down(&f);
}

static void
test_lookup_cache(struct fixture *f)
{
	struct err err;

	is_int(keystore_lookup(f->keystore, SLICE("x@y.example"), "wkd", NOW_S),
	    LOOKUP_UNKNOWN, "nobody asked");
	(void)keystore_set_lookup(f->keystore, SLICE("X@y.example"), "wkd",
	    LOOKUP_NONE, NOW_S + 10, &err);
	is_int(keystore_lookup(f->keystore, SLICE("x@y.example"), "wkd", NOW_S),
	    LOOKUP_NONE, "there is none");
	is_int(keystore_lookup(
		   f->keystore, SLICE("x@y.example"), "wkd", NOW_S + 10),
	    LOOKUP_UNKNOWN, "for a time");
}

static void
test_newer(struct fixture *f)
{
	struct sql *sql = keystore_sql(f->keystore);
	struct err err;

	(void)sqlite3_exec(
	    sql_handle(sql), "PRAGMA user_version = 99", NULL, NULL, NULL);
	keystore_close(f->keystore);
	f->keystore = NULL;
	is_int(keystore_open(f->folder, &f->keystore, &err), -1,
	    "a store of a newer version is refused: %s", err.text);
}

int
main(void)
{
	struct fixture f;

	set_up(&f);
	test_look_ups(&f);
	test_recipients(&f);
	test_harvest(&f);
	test_squatters(&f);
	test_preference(&f);
	test_harvest_certificates(&f);
	test_dkim(&f);
	test_anchors(&f);
	test_lists(&f);
	test_twins(&f);
	test_sources(&f);
	test_upgrade();
	test_lookup_cache(&f);
	keystore_close(f.keystore);
	open_store(&f);
	is_str(recipient(&f, KEY_PGP, "dora@d.example", 0, NOW_S), "P2",
	    "all of it is there after it was opened again");
	test_newer(&f);
	tear_down(&f);
	return tap_done();
}
