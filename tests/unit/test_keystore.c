/* SPDX-License-Identifier: ISC */
/*
 * keys.db: who may sign, whom to encrypt to, what a key that came with a mail
 * may replace, anchors, DKIM selectors, and that it is all there after
 * it was opened again.
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/keystore_host.h"
#include "tests/unit/tap.h"

static void
test_look_ups(struct keystore_host *f)
{
	struct key key = keystore_host_key(KEY_SMIME, "AA", "k-aa");

	is_str(keystore_host_signer(f, "alice@a.example", NOW_S),
	    "no key is known", "an empty store has no key");
	(void)keystore_host_add(f, &key, "Alice@a.example", TRUST_MANUAL);
	is_str(keystore_host_signer(f, "aLICE@A.example", NOW_S), "AA",
	    "addresses are compared without regard to case");
	is_str(keystore_host_signer(f, "bob@a.example", NOW_S),
	    "no key is known", "a key of one address is not its neighbour's");
	key = keystore_host_key(KEY_SMIME, "DD", "k-dd");
	(void)keystore_host_add(f, &key, "@a.example", TRUST_MANUAL);
	is_str(keystore_host_signer(f, "bob@a.example", NOW_S), "DD",
	    "a domain's key serves those who have none");
	is_str(keystore_host_signer(f, "alice@a.example", NOW_S), "AA",
	    "one's own key goes before the domain's");
	is_str(keystore_host_signer(f, "bob@sub.a.example", NOW_S),
	    "no key is known", "a subdomain is another domain");
	key = keystore_host_key(KEY_SMIME, "AB", "k-ab");
	key.not_after_s = NOW_S + 200 * DAY_S;
	(void)keystore_host_add(f, &key, "alice@a.example", TRUST_MANUAL);
	is_str(keystore_host_signer(f, "alice@a.example", NOW_S), "AB",
	    "of two the one that is valid longer");
	is_str(keystore_host_signer(f, "alice@a.example", NOW_S + 300 * DAY_S),
	    "the key is not valid at this time", "an expired key is told of");
	is_str(keystore_host_signer(f, "#1", NOW_S), "no key is known",
	    "what looks like a question of our own is an address");
}

static void
test_recipients(struct keystore_host *f)
{
	struct key key = keystore_host_key(KEY_SMIME, "C1", "");
	struct key_list list;
	int64_t id = keystore_host_add(f, &key, "carl@c.example", TRUST_CHAIN);
	struct err err;

	is_str(keystore_host_recipient(
		   f, KEY_SMIME, "carl@c.example", TRUST_VKS, NOW_S),
	    "C1", "a trusted key is used");
	is_str(keystore_host_recipient(
		   f, KEY_SMIME, "carl@c.example", TRUST_WKD, NOW_S),
	    "the key is not trusted enough", "below the least trust it is not");
	is_str(keystore_host_recipient(f, KEY_PGP, "carl@c.example", 0, NOW_S),
	    "no key is known", "nor for another method");
	is_str(keystore_host_signer(f, "carl@c.example", NOW_S),
	    "no key is known", "nobody signs with a correspondent's key");
	(void)keystore_set_status(f->keystore, id, KEY_REVOKED, &err);
	is_str(
	    keystore_host_recipient(f, KEY_SMIME, "carl@c.example", 0, NOW_S),
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
harvest(struct keystore_host *f, const char *address, const char *fingerprint,
    enum key_kind kind, unsigned trust, int64_t now_s)
{
	struct key facts = keystore_host_key(kind, fingerprint, "");
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
knows(struct keystore_host *f, const char *address, const char *public,
    unsigned trust)
{
	const struct ipc_record_harvest record = {.kind = SLICE("pgp"),
	    .address = slice_of(address),
	    .trust = (uint16_t)trust,
	    .public = slice_of(public)};

	return keystore_knows(f->keystore, &record);
}

static int64_t
id_of(struct keystore_host *f, enum key_kind kind, const char *fingerprint)
{
	const struct key *key;

	return keystore_by_fingerprint(f->keystore, kind, slice_of(fingerprint),
		   &key) == KEYSTORE_FOUND
		   ? key->id
		   : -1;
}

static void
test_harvest(struct keystore_host *f)
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
	is_str(keystore_host_recipient(f, KEY_PGP, who, 0, NOW_S), "P1",
	    "meanwhile the known one is used");
	is_int(harvest(f, who, "P2", KEY_PGP, 90, NOW_S), HARVEST_REFRESHED,
	    "a second copy of it may be newer");
	is_str(keystore_host_recipient(f, KEY_PGP, who, 0, NOW_S), "P1",
	    "and changes nothing");
	is_int(keystore_resolve(
		   f->keystore, id_of(f, KEY_PGP, "P2"), true, NOW_S, &err),
	    CHANGE_DONE, "approved");
	is_str(keystore_host_recipient(f, KEY_PGP, who, TRUST_MANUAL, NOW_S),
	    "P2", "the approved key counts");
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
test_squatters(struct keystore_host *f)
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
	is_str(keystore_host_recipient(f, KEY_PGP, who, 0, NOW_S), "W2",
	    "then that one is used, also with the least trust");
	(void)harvest(f, who, "S1", KEY_PGP, 30, NOW_S + DAY_S);
	is_str(keystore_host_recipient(f, KEY_PGP, who, 0, NOW_S), "W2",
	    "a newer copy of the one before it changes nothing");
	is_int(harvest(f, who, "W3", KEY_PGP, TRUST_WKD, NOW_S),
	    HARVEST_PENDING, "a third one does not come in like that");
	is_str(keystore_host_recipient(f, KEY_PGP, who, 0, NOW_S), "W2",
	    "nor is used");

	(void)harvest(f, other, "T1", KEY_PGP, 30, NOW_S);
	is_int(harvest(f, other, "T2", KEY_PGP, 30, NOW_S), HARVEST_PENDING,
	    "the owner's own mail comes second");
	ok(!knows(f, other, "T2", TRUST_WKD),
	    "while it waits its domain's word is new");
	is_int(harvest(f, other, "T2", KEY_PGP, TRUST_WKD, NOW_S),
	    HARVEST_REPLACED, "and puts it into its place");
	is_str(keystore_host_recipient(f, KEY_PGP, other, TRUST_WKD, NOW_S),
	    "T2", "where it is used");

	(void)harvest(f, "kim@i.example", "U1", KEY_SMIME, 30, NOW_S);
	is_int(harvest(f, "kim@i.example", "U2", KEY_SMIME, TRUST_CHAIN, NOW_S),
	    HARVEST_REPLACED, "a CA's word goes before a certificate without");
	(void)harvest(f, "lea@i.example", "V1", KEY_PGP, TRUST_VKS, NOW_S);
	is_int(harvest(f, "lea@i.example", "V2", KEY_PGP, TRUST_WKD, NOW_S),
	    HARVEST_PENDING, "a key that was checked is not replaced");
}

static void
test_preference(struct keystore_host *f)
{
	struct key key = keystore_host_key(KEY_PGP, "Q1", "");

	(void)keystore_host_add(f, &key, "max@i.example", TRUST_WKD);
	key = keystore_host_key(KEY_PGP, "Q2", "");
	key.not_after_s = NOW_S + 200 * DAY_S;
	(void)keystore_host_add(f, &key, "max@i.example", TRUST_HARVESTED);
	is_str(keystore_host_recipient(f, KEY_PGP, "max@i.example", 0, NOW_S),
	    "Q1", "more trust goes before a longer life");
}

static void
test_harvest_certificates(struct keystore_host *f)
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
test_dkim(struct keystore_host *f)
{
	struct dkim_selector selectors[KEYSTORE_SELECTORS_MAX];
	struct key rsa = keystore_host_key(KEY_DKIM, "K1", "k-1");
	struct key ed = keystore_host_key(KEY_DKIM, "K2", "k-2");
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
	rsa = keystore_host_key(KEY_DKIM, "K3", "k-3");
	is_int(keystore_add_dkim(
		   f->keystore, &rsa, "a.example", "s", 0, NOW_S, &id, &err),
	    CHANGE_EXISTS, "a selector is there once");
	(void)keystore_span_dkim(
	    f->keystore, id_of(f, KEY_DKIM, "K2"), NOW_S, NOW_S + 5, &err);
	(void)keystore_dkim(f->keystore, slice_of("a.example"), NOW_S + 10,
	    selectors, &count, &err);
	is_u64(count, 1, "one whose time ended signs no more");
}

static void
test_anchors(struct keystore_host *f)
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
test_lookup_cache(struct keystore_host *f)
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
test_newer(struct keystore_host *f)
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
	struct keystore_host f;

	keystore_host_init(&f);
	test_look_ups(&f);
	test_recipients(&f);
	test_harvest(&f);
	test_squatters(&f);
	test_preference(&f);
	test_harvest_certificates(&f);
	test_dkim(&f);
	test_anchors(&f);
	test_lookup_cache(&f);
	keystore_close(f.keystore);
	keystore_host_open(&f);
	is_str(keystore_host_recipient(&f, KEY_PGP, "dora@d.example", 0, NOW_S),
	    "P2", "all of it is there after it was opened again");
	test_newer(&f);
	keystore_host_clear(&f);
	return tap_done();
}
