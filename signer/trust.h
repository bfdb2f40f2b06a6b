/* SPDX-License-Identifier: ISC */
/*
 * Whom to believe, as workers that verify read it: files that the broker
 * writes into a folder of the class `open`, so that a task carries neither
 * anchors nor lists of revoked certificates.
 *
 *	anchors       the CAs that are believed, those that are blocked
 *	list-DIGITS   what one CA revoked: sorted digests of serial numbers
 *
 * Each is replaced as a whole (signer/durable_file.h), so whoever opens one has
 *all of it, and the newest.  A list is searched where it lies and never in
 *memory: 16 octets a certificate on disk, some twenty reads a question.
 *
 * A list belongs to a CA's name and key together, so that no other CA of the
 * same name speaks for it, and to a scope: all of its certificates, or those
 * that name the URL of the list, or those of people or of CAs alone (RFC 5280
 * §5.2.5).
 */
#ifndef SIGNER_TRUST_H
#define SIGNER_TRUST_H

#include "common/ipc.h"

#define TRUST_ANCHORS "anchors"
/* "list-", 32 digits, and a NUL. */
#define TRUST_NAME_SIZE 38
#define TRUST_FOLDER_SIZE 480
#define TRUST_ISSUER_SIZE 32
#define TRUST_DIGEST_SIZE 16
#define TRUST_URL_MAX 512
/* Places of one certificate's lists that are looked at. */
#define TRUST_POINTS_MAX 4
/* URLs beside the first, a line each, and a NUL. */
#define TRUST_OTHERS_SIZE ((TRUST_POINTS_MAX - 1) * (TRUST_URL_MAX + 1) + 1)
/* "user " or "ca ", a URL, and a NUL. */
#define TRUST_SCOPE_SIZE (TRUST_URL_MAX + 8)
/* A CA's clock may be ahead of ours by that much. */
#define TRUST_AHEAD_MAX_S 86400
/* Certificates of one list: those of 16 MB, each entry as short as it can be.
 */
#define TRUST_ENTRIES_MAX 700000
#define TRUST_LIST_HEAD 64
#define TRUST_LIST_MAX             \
	((size_t)TRUST_LIST_HEAD + \
	    (size_t)TRUST_ENTRIES_MAX * TRUST_DIGEST_SIZE)
/* Anchors and blocked certificates, all of them. */
#define TRUST_ANCHORS_MAX ((size_t)8 * 1024 * 1024)

/* ---- the folder ---- */

/* Below a store's directory; made when it is not there. */
int trust_folder(
    const char *dir, char folder_r[TRUST_FOLDER_SIZE], struct err *err);
void trust_remove(const char *folder, const char *name);

/* ---- anchors ---- */

struct trust_anchors {
	struct slice id; /* another one: something in the file changed */
	/* A signature counts only when its revocation is known. */
	bool requires_revocation;
	struct ipc_list keys; /* work_key: WORK_KEY_ANCHOR, WORK_KEY_BLOCKED */
};

/* Hexadecimal, and a NUL. */
#define TRUST_ID_SIZE 65

/* Encodes; the id is made from what is in it. */
int trust_anchors_write(const struct trust_anchors *anchors, struct buf *out,
    char id_r[TRUST_ID_SIZE], struct err *err);
int trust_anchors_read(
    struct slice in, struct trust_anchors *anchors_r, struct err *err);

/* ---- lists of revoked certificates ---- */

struct trust_list {
	unsigned char issuer[TRUST_ISSUER_SIZE]; /* of name and key */
	int64_t this_update_s;
	int64_t next_update_s;
	uint64_t count;
};

/* Of a serial number in hexadecimal capitals without leading zeros. */
void trust_serial_digest(
    struct slice serial, unsigned char digest_r[TRUST_DIGEST_SIZE]);

/* Sorts the digests; those that are there twice are written once. */
int trust_list_write(const struct trust_list *list, unsigned char *digests,
    struct buf *out, struct err *err);
/* Is it one, whole and sorted? */
int trust_list_check(
    struct slice in, struct trust_list *list_r, struct err *err);
/* Of one that was checked. */
bool trust_list_names(
    struct slice list, const unsigned char digest[TRUST_DIGEST_SIZE]);

void trust_list_name(const unsigned char issuer[TRUST_ISSUER_SIZE],
    struct slice scope, char name_r[TRUST_NAME_SIZE]);

enum trust_said {
	TRUST_NO_LIST,  /* none is known, or it cannot be read */
	TRUST_OUTDATED, /* it is not named, but the list's time is over */
	TRUST_NOT_NAMED,
	TRUST_NAMED /* revoked */
};

enum trust_said trust_list_ask(const char *folder,
    const unsigned char issuer[TRUST_ISSUER_SIZE], struct slice scope,
    const unsigned char digest[TRUST_DIGEST_SIZE], int64_t now_s);

#endif
