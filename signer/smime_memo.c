/* SPDX-License-Identifier: ISC */
/*
 * Keeps the last signed entity, under a digest of all that it was made from.
 * Runs in: postern-signerd's `sign` workers.  Trusts: the task.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "signer/smime.h"
#include "signer/smime_memo.h"

/* Of a content that travels inline: quoted-printable, then base64. */
#define ROOM_MAX ((size_t)5 * IPC_INLINE_MAX)
#define NAME_OCTETS 32

struct smime_memo {
	EVP_MD_CTX *digest;
	unsigned char name[NAME_OCTETS];
	bool is_kept; /* room is the entity of that name */
	struct buf room;
};

struct smime_memo *
smime_memo_new(void)
{
	struct smime_memo *memo = xcalloc(1, sizeof(*memo));

	memo->digest = EVP_MD_CTX_new();
	if (memo->digest == NULL)
		fatal("out of memory");
	buf_init(&memo->room, ROOM_MAX);
	return memo;
}

void
smime_memo_free(struct smime_memo *memo)
{
	if (memo == NULL)
		return;
	EVP_MD_CTX_free(memo->digest);
	buf_clear(&memo->room);
	free(memo);
}

/* With its length first, so that two never read like two others. */
static void
add(EVP_MD_CTX *digest, const void *p, size_t n)
{
	if (EVP_DigestUpdate(digest, &n, sizeof(n)) != 1 ||
	    EVP_DigestUpdate(digest, p, n) != 1)
		fatal("cannot make a digest");
}

static void
add_keys(EVP_MD_CTX *digest, struct ipc_list keys)
{
	struct ipc_record_work_key key;

	while (ipc_work_key_next(&keys, &key)) {
		if (key.use != WORK_KEY_SIGN && key.use != WORK_KEY_PREFERRED)
			continue;
		add(digest, &key.use, sizeof(key.use));
		add(digest, key.ref.p, key.ref.n);
		add(digest, key.public.p, key.public.n);
		add(digest, key.chain.p, key.chain.n);
	}
}

static void
name_of(EVP_MD_CTX *digest, const struct work *work,
    unsigned char name_r[NAME_OCTETS])
{
	if (EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
		fatal("cannot make a digest");
	add(digest, work->content.memory.p, work->content.memory.n);
	add(digest, work->removals.p, work->removals.n);
	add(digest, &work->options, sizeof(work->options));
	add(digest, &work->now_s, sizeof(work->now_s));
	add_keys(digest, work->keys);
	if (EVP_DigestFinal_ex(digest, name_r, NULL) != 1)
		fatal("cannot make a digest");
}

enum smime_memo_state
smime_memo_find(struct smime_memo *memo, const struct work *work)
{
	unsigned char name[NAME_OCTETS];

	if (work_fact(work, FACT_SHARED).n == 0 || work->content.fd != -1) {
		smime_memo_forget(memo);
		return SMIME_MEMO_NONE;
	}
	name_of(memo->digest, work, name);
	if (memo->is_kept && memcmp(name, memo->name, sizeof(name)) == 0)
		return SMIME_MEMO_FULL;
	smime_memo_forget(memo);
	memcpy(memo->name, name, sizeof(name));
	return SMIME_MEMO_EMPTY;
}

struct buf *
smime_memo_room(struct smime_memo *memo)
{
	return &memo->room;
}

void
smime_memo_keep(struct smime_memo *memo)
{
	memo->is_kept = true;
}

void
smime_memo_forget(struct smime_memo *memo)
{
	if (memo->room.n > 0)
		OPENSSL_cleanse(memo->room.p, memo->room.n);
	buf_reset(&memo->room);
	memo->is_kept = false;
}
