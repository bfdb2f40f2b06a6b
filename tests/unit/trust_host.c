/* SPDX-License-Identifier: ISC */
/*
 * Writes what workers are to believe.
 * Runs in: tests.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/vocabulary.h"
#include "signer/crl_read.h"
#include "signer/durable_file.h"
#include "tests/unit/trust_host.h"

static void
remove_files(const struct trust_host *host)
{
	DIR *folder = opendir(host->folder);
	const struct dirent *entry;

	while (folder != NULL && (entry = readdir(folder)) != NULL)
		if (entry->d_name[0] != '.')
			trust_remove(host->folder, entry->d_name);
	if (folder != NULL)
		(void)closedir(folder);
}

void
trust_host_init(struct trust_host *host)
{
	memset(host, 0, sizeof(*host));
	(void)snprintf(
	    host->folder, sizeof(host->folder), "/tmp/postern-trust-XXXXXX");
	if (mkdtemp(host->folder) == NULL)
		bug("no folder");
	host->anchors = sk_X509_new_null();
	ipc_list_writer_init(&host->keys, TRUST_ANCHORS_MAX);
}

void
trust_host_clear(struct trust_host *host)
{
	remove_files(host);
	(void)rmdir(host->folder);
	sk_X509_pop_free(host->anchors, X509_free);
	ipc_list_writer_clear(&host->keys);
}

static void
add(struct trust_host *host, enum work_key_use use, struct slice certificate)
{
	const struct ipc_record_work_key record = {
	    .use = (uint16_t)use, .public = certificate};
	struct err err;

	if (ipc_work_key_add(&host->keys, &record, &err) == -1)
		bug("%s", err.text);
}

void
trust_host_anchor(struct trust_host *host, struct slice certificate)
{
	const unsigned char *p = (const unsigned char *)certificate.p;
	X509 *x509 = d2i_X509(NULL, &p, (long)certificate.n);

	if (x509 == NULL || sk_X509_push(host->anchors, x509) <= 0)
		bug("no anchor");
	add(host, WORK_KEY_ANCHOR, certificate);
}

void
trust_host_block(struct trust_host *host, struct slice certificate)
{
	add(host, WORK_KEY_BLOCKED, certificate);
}

int
trust_host_list(
    struct trust_host *host, struct slice file, int64_t now_s, struct err *err)
{
	struct crl_facts facts;
	struct buf list;
	int rc;

	buf_init(&list, TRUST_LIST_MAX);
	rc = crl_read(file, now_s, host->anchors, NULL, &facts, &list, err);
	for (size_t i = 0; rc == 0 && i < facts.scope_count; i++) {
		char name[TRUST_NAME_SIZE];

		trust_list_name(
		    facts.list.issuer, slice_of(facts.scopes[i]), name);
		rc = durable_file_write(
		    host->folder, name, buf_slice(&list), err);
	}
	buf_clear(&list);
	return rc;
}

struct ipc_record_work_key
trust_host_publish(struct trust_host *host)
{
	const struct trust_anchors anchors = {
	    .requires_revocation = host->requires_revocation,
	    .keys = ipc_list_of(&host->keys)};
	char id[TRUST_ID_SIZE];
	struct buf octets;
	struct err err;

	buf_init(&octets, TRUST_ANCHORS_MAX);
	if (trust_anchors_write(&anchors, &octets, id, &err) == -1 ||
	    (strcmp(id, host->id) != 0 &&
		durable_file_write(host->folder, TRUST_ANCHORS,
		    buf_slice(&octets), &err) == -1))
		bug("%s", err.text);
	memcpy(host->id, id, sizeof(id));
	buf_clear(&octets);
	return (struct ipc_record_work_key){.use = WORK_KEY_TRUST,
	    .ref = slice_of(host->folder),
	    .fingerprint = slice_of(host->id)};
}

void
trust_host_forget(struct trust_host *host)
{
	remove_files(host);
	sk_X509_pop_free(host->anchors, X509_free);
	host->anchors = sk_X509_new_null();
	ipc_list_writer_clear(&host->keys);
	ipc_list_writer_init(&host->keys, TRUST_ANCHORS_MAX);
	host->id[0] = '\0';
	host->requires_revocation = false;
}
