/* SPDX-License-Identifier: ISC */
/*
 * Files of anchors and of revoked certificates: their form, and the search in
 * them.
 * Runs in: postern-signerd's broker, which writes them, its `key` worker,
 * which makes lists, and its `open` workers, which read them.  Trusts: in the
 * broker nothing of a list; in a worker the broker's files.
 *
 * A list: "postcrl1", the times i64, the number of digests u64, the issuer's
 * 32 octets, the digests.  Numbers are little endian.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "signer/trust.h"

#define MAGIC "postcrl1"
#define MAGIC_SIZE 8
#define PATH_SIZE (TRUST_FOLDER_SIZE + TRUST_NAME_SIZE)
/* Anchors and blocked ones. */
#define KEYS_MAX 512

static void
sha256(const void *octets, size_t n, unsigned char out[32])
{
	if (EVP_Digest(octets, n, out, NULL, EVP_sha256(), NULL) != 1)
		fatal("SHA-256 failed");
}

static void
put_hex(const unsigned char *octets, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*out++ = digits[octets[i] >> 4];
		*out++ = digits[octets[i] & 15];
	}
	*out = '\0';
}

/* ---- the folder ---- */

int
trust_folder(const char *dir, char folder_r[TRUST_FOLDER_SIZE], struct err *err)
{
	static const char *const parts[] = {
	    "keys", "keys/open", "keys/open/.trust"};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if ((size_t)snprintf(folder_r, TRUST_FOLDER_SIZE, "%s/%s", dir,
			parts[i]) >= TRUST_FOLDER_SIZE)
			return err_set(err, "%s is too long a name", dir);
		if (mkdir(folder_r, 0700) == -1 && errno != EEXIST)
			return err_set(
			    err, "mkdir %s: %s", folder_r, strerror(errno));
	}
	return 0;
}

void
trust_remove(const char *folder, const char *name)
{
	char path[PATH_SIZE];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	(void)unlink(path);
}

/* ---- anchors ---- */

#define STRUCTURE struct trust_anchors
static const struct ipc_field fields[] = {
    IPC_FIELD_ROW(BYTES, id, 32) IPC_FIELD_ROW(BOOL, requires_revocation, 0)
	IPC_LIST_ROW(work_key, keys, KEYS_MAX)};
#undef STRUCTURE

static const struct ipc_shape shape = {.name = "anchors",
    .fields = fields,
    .field_count = sizeof(fields) / sizeof(fields[0]),
    .struct_size = sizeof(struct trust_anchors)};

int
trust_anchors_write(const struct trust_anchors *anchors, struct buf *out,
    char id_r[TRUST_ID_SIZE], struct err *err)
{
	struct trust_anchors all = *anchors;
	unsigned char id[32] = {0};
	size_t size;
	char *room;

	all.id = (struct slice){(char *)id, sizeof(id)};
	if (ipc_shape_size(&shape, &all, &size, err) == -1)
		return -1;
	room = buf_reserve(out, size);
	if (room == NULL)
		return err_set(err, "the anchors are too large");
	ipc_shape_write(&shape, &all, room);
	sha256(room, size, id);
	ipc_shape_write(&shape, &all, room);
	buf_extend(out, size);
	put_hex(id, sizeof(id), id_r);
	return 0;
}

int
trust_anchors_read(
    struct slice in, struct trust_anchors *anchors_r, struct err *err)
{
	return ipc_shape_read(&shape, in, anchors_r, err);
}

/* ---- lists ---- */

void
trust_serial_digest(
    struct slice serial, unsigned char digest_r[TRUST_DIGEST_SIZE])
{
	unsigned char digest[32];

	sha256(serial.p, serial.n, digest);
	memcpy(digest_r, digest, TRUST_DIGEST_SIZE);
}

void
trust_list_name(const unsigned char issuer[TRUST_ISSUER_SIZE],
    struct slice scope, char name_r[TRUST_NAME_SIZE])
{
	unsigned char digest[32];
	struct buf text;

	buf_init(&text, TRUST_ISSUER_SIZE + TRUST_SCOPE_SIZE);
	(void)buf_add(&text, issuer, TRUST_ISSUER_SIZE);
	(void)buf_add_slice(&text, scope);
	sha256(text.p, text.n, digest);
	buf_clear(&text);
	memcpy(name_r, "list-", 5);
	put_hex(digest, 16, name_r + 5);
}

static int
compare(const void *a, const void *b)
{
	return memcmp(a, b, TRUST_DIGEST_SIZE);
}

static size_t
sort_once(unsigned char *digests, size_t count)
{
	size_t kept = 0;

	if (count > 0)
		qsort(digests, count, TRUST_DIGEST_SIZE, compare);
	for (size_t i = 0; i < count; i++) {
		unsigned char *at = digests + i * TRUST_DIGEST_SIZE;

		if (kept > 0 &&
		    compare(at, digests + (kept - 1) * TRUST_DIGEST_SIZE) == 0)
			continue;
		if (kept != i)
			memcpy(digests + kept * TRUST_DIGEST_SIZE, at,
			    TRUST_DIGEST_SIZE);
		kept++;
	}
	return kept;
}

int
trust_list_write(const struct trust_list *list, unsigned char *digests,
    struct buf *out, struct err *err)
{
	const size_t count = sort_once(digests, (size_t)list->count);
	char head[TRUST_LIST_HEAD];

	memcpy(head, MAGIC, MAGIC_SIZE);
	ipc_put_number(head + 8, (uint64_t)list->this_update_s, 8);
	ipc_put_number(head + 16, (uint64_t)list->next_update_s, 8);
	ipc_put_number(head + 24, count, 8);
	memcpy(head + 32, list->issuer, TRUST_ISSUER_SIZE);
	if (buf_add(out, head, sizeof(head)) == -1 ||
	    (count > 0 &&
		buf_add(out, digests, count * TRUST_DIGEST_SIZE) == -1))
		return err_set(err, "the list is too long");
	return 0;
}

static int
read_head(const char head[TRUST_LIST_HEAD], struct trust_list *list_r)
{
	if (memcmp(head, MAGIC, MAGIC_SIZE) != 0)
		return -1;
	list_r->this_update_s = (int64_t)ipc_get_number(head + 8, 8);
	list_r->next_update_s = (int64_t)ipc_get_number(head + 16, 8);
	list_r->count = ipc_get_number(head + 24, 8);
	memcpy(list_r->issuer, head + 32, TRUST_ISSUER_SIZE);
	return list_r->count <= TRUST_ENTRIES_MAX ? 0 : -1;
}

int
trust_list_check(struct slice in, struct trust_list *list_r, struct err *err)
{
	const char *digests = in.p + TRUST_LIST_HEAD;

	if (in.n < TRUST_LIST_HEAD || read_head(in.p, list_r) == -1 ||
	    in.n != TRUST_LIST_HEAD + list_r->count * TRUST_DIGEST_SIZE)
		return err_set(err, "the list of revoked ones is odd");
	for (size_t i = 1; i < list_r->count; i++)
		if (compare(digests + (i - 1) * TRUST_DIGEST_SIZE,
			digests + i * TRUST_DIGEST_SIZE) >= 0)
			return err_set(
			    err, "the list of revoked ones is not sorted");
	return 0;
}

bool
trust_list_names(
    struct slice list, const unsigned char digest[TRUST_DIGEST_SIZE])
{
	return list.n > TRUST_LIST_HEAD &&
	       bsearch(digest, list.p + TRUST_LIST_HEAD,
		   (list.n - TRUST_LIST_HEAD) / TRUST_DIGEST_SIZE,
		   TRUST_DIGEST_SIZE, compare) != NULL;
}

/* Where the digest would stand; 1 found, 0 not, -1 the file is too short. */
static int
search(int fd, uint64_t count, const unsigned char *digest)
{
	uint64_t low = 0;
	uint64_t high = count;

	while (low < high) {
		const uint64_t middle = low + (high - low) / 2;
		unsigned char at[TRUST_DIGEST_SIZE];
		int order;

		if (pread(fd, at, sizeof(at),
			(off_t)(TRUST_LIST_HEAD +
				middle * TRUST_DIGEST_SIZE)) !=
		    (ssize_t)sizeof(at))
			return -1;
		order = compare(digest, at);
		if (order == 0)
			return 1;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return 0;
}

enum trust_said
trust_list_ask(const char *folder,
    const unsigned char issuer[TRUST_ISSUER_SIZE], struct slice scope,
    const unsigned char digest[TRUST_DIGEST_SIZE], int64_t now_s)
{
	enum trust_said said = TRUST_NO_LIST;
	char head[TRUST_LIST_HEAD];
	char name[TRUST_NAME_SIZE];
	char path[PATH_SIZE];
	struct trust_list list;
	int found = -1;
	int fd;

	trust_list_name(issuer, scope, name);
	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd != -1 &&
	    pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
	    read_head(head, &list) == 0 &&
	    memcmp(list.issuer, issuer, TRUST_ISSUER_SIZE) == 0)
		found = search(fd, list.count, digest);
	if (found == 1)
		said = TRUST_NAMED;
	else if (found == 0)
		said = now_s < list.next_update_s ? TRUST_NOT_NAMED
						  : TRUST_OUTDATED;
	close_if_open(&fd);
	return said;
}
