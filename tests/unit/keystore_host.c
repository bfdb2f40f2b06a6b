/* SPDX-License-Identifier: ISC */
/*
 * A store of keys in a folder of its own, keys to put into it, and what it
 * answers.
 * Runs in: tests.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/keystore_host.h"

void
keystore_host_open(struct keystore_host *f)
{
	struct err err;

	if (keystore_open(f->folder, &f->keystore, &err) == -1)
		bug("%s", err.text);
}

void
keystore_host_init(struct keystore_host *f)
{
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/keystore-XXXXXX");
	if (mkdtemp(f->folder) == NULL)
		bug("no folder");
	keystore_host_open(f);
}

static void
remove_trust(const struct keystore_host *f)
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

void
keystore_host_clear(struct keystore_host *f)
{
	char path[128];

	keystore_close(f->keystore);
	(void)snprintf(path, sizeof(path), "%s/keys.db", f->folder);
	(void)unlink(path);
	remove_trust(f);
	(void)rmdir(f->folder);
}

struct key
keystore_host_key(enum key_kind kind, const char *fingerprint, const char *ref)
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

int64_t
keystore_host_add(struct keystore_host *f, const struct key *key,
    const char *subject, unsigned trust)
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
const char *
keystore_host_recipient(struct keystore_host *f, enum key_kind kind,
    const char *address, unsigned min_trust, int64_t now_s)
{
	struct key_binding binding;
	const enum keystore_result result = keystore_recipient(
	    f->keystore, kind, slice_of(address), min_trust, now_s, &binding);

	return result == KEYSTORE_FOUND ? binding.key->fingerprint
					: keystore_result_text(result);
}

const char *
keystore_host_signer(
    struct keystore_host *f, const char *address, int64_t now_s)
{
	const struct key *key;
	const enum keystore_result result = keystore_signer(
	    f->keystore, KEY_SMIME, slice_of(address), now_s, &key);

	return result == KEYSTORE_FOUND ? key->fingerprint
					: keystore_result_text(result);
}
