/* SPDX-License-Identifier: ISC */
/*
 * Keeps a worker's anchors between its tasks.
 * Runs in: postern-signerd's `open` workers.  Trusts: the broker's files.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/vocabulary.h"
#include "signer/content.h"
#include "signer/smime_trust.h"

void
smime_trust_free(struct smime_trust *trust)
{
	if (trust == NULL)
		return;
	X509_STORE_free(trust->anchors);
	free(trust->blocked);
	free(trust);
}

static int
add_key(struct smime_trust *trust, const struct ipc_record_work_key *key,
    struct err *err)
{
	const unsigned char *p = (const unsigned char *)key->public.p;
	X509 *cert = d2i_X509(NULL, &p, (long)key->public.n);
	int rc = 0;

	if (cert == NULL)
		rc = err_set(err, "an anchor is damaged");
	else if (key->use == WORK_KEY_ANCHOR)
		(void)X509_STORE_add_cert(trust->anchors, cert);
	else if (X509_digest(cert, EVP_sha256(),
		     trust->blocked[trust->blocked_count], NULL) == 1)
		trust->blocked_count++;
	X509_free(cert);
	ERR_clear_error();
	return rc;
}

static int
fill(struct smime_trust *trust, struct slice octets, struct err *err)
{
	struct ipc_record_work_key key;
	struct trust_anchors all;

	if (trust_anchors_read(octets, &all, err) == -1)
		return -1;
	trust->requires_revocation = all.requires_revocation;
	trust->blocked = xcalloc(all.keys.count + 1, sizeof(*trust->blocked));
	while (ipc_work_key_next(&all.keys, &key))
		if (add_key(trust, &key, err) == -1)
			return -1;
	return 0;
}

static int
load(struct smime_trust *trust, struct err *err)
{
	char path[TRUST_FOLDER_SIZE + TRUST_NAME_SIZE];
	struct content file;
	struct slice octets;
	char *owned = NULL;
	int rc = -1;
	int fd;

	(void)snprintf(
	    path, sizeof(path), "%s/%s", trust->folder, TRUST_ANCHORS);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		(void)err_set(
		    err, "the anchors cannot be read: %s", strerror(errno));
	else if (content_of_file(fd, &file, err) == 0 &&
		 content_load(&file, TRUST_ANCHORS_MAX, &octets, &owned, err) ==
		     0)
		rc = fill(trust, octets, err);
	free(owned);
	close_if_open(&fd);
	return rc;
}

const struct smime_trust *
smime_trust_read(struct smime_certs *certs, struct slice folder,
    struct slice id, struct err *err)
{
	struct smime_trust **kept = smime_certs_trust(certs);
	struct smime_trust *trust = *kept;

	if (trust != NULL && slice_equals(slice_of(trust->id), id) &&
	    slice_equals(slice_of(trust->folder), folder))
		return trust;
	trust = xcalloc(1, sizeof(*trust));
	trust->anchors = X509_STORE_new();
	if (trust->anchors == NULL)
		fatal("out of memory");
	/*
	 * The file may be newer than the task; then it is read again at the
	 * next one, which has its id.
	 */
	if (slice_copy(folder, trust->folder, sizeof(trust->folder)) == -1 ||
	    slice_copy(id, trust->id, sizeof(trust->id)) == -1 ||
	    (folder.n > 0 && load(trust, err) == -1)) {
		smime_trust_free(trust);
		return NULL;
	}
	smime_trust_free(*kept);
	*kept = trust;
	return trust;
}

bool
smime_trust_blocks(const struct smime_trust *trust, X509 *certificate)
{
	unsigned char digest[32];

	if (trust->blocked_count == 0 ||
	    X509_digest(certificate, EVP_sha256(), digest, NULL) != 1)
		return false;
	for (size_t i = 0; i < trust->blocked_count; i++)
		if (memcmp(trust->blocked[i], digest, sizeof(digest)) == 0)
			return true;
	return false;
}
