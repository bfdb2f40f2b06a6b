/* SPDX-License-Identifier: ISC */
/*
 * Decrypts by CMS, after der_walk() let it pass.
 * Runs in: postern-signerd's `open` workers.  Trusts: the task for its keys;
 * nothing in the message.
 */
#include <limits.h>
#include <string.h>

#include <openssl/cms.h>
#include <openssl/err.h>

#include "common/header.h"
#include "signer/keyring.h"
#include "signer/line_sink.h"
#include "signer/sink_bio.h"
#include "signer/smime_cert.h"
#include "signer/smime_decrypt.h"

/*
 * Garbage from a cipher without a tag hardly ever begins with a Content-Type;
 * an attacker's splice has his own octets before it.
 */
#define TYPE_WITHIN 4096

static bool
is_for_ktri(CMS_RecipientInfo *ri, X509 *cert)
{
	return CMS_RecipientInfo_ktri_cert_cmp(ri, cert) == 0;
}

static bool
is_for_kari(CMS_RecipientInfo *ri, X509 *cert)
{
	STACK_OF(CMS_RecipientEncryptedKey) *keys =
	    CMS_RecipientInfo_kari_get0_reks(ri);

	for (int i = 0; i < sk_CMS_RecipientEncryptedKey_num(keys); i++)
		if (CMS_RecipientEncryptedKey_cert_cmp(
			sk_CMS_RecipientEncryptedKey_value(keys, i), cert) == 0)
			return true;
	return false;
}

/* Whom it is for stands open in it: saying so tells nobody anything. */
static bool
is_for(CMS_ContentInfo *cms, X509 *cert)
{
	STACK_OF(CMS_RecipientInfo) *infos = CMS_get0_RecipientInfos(cms);

	for (int i = 0; i < sk_CMS_RecipientInfo_num(infos); i++) {
		CMS_RecipientInfo *ri = sk_CMS_RecipientInfo_value(infos, i);
		int type = CMS_RecipientInfo_type(ri);

		if (type == CMS_RECIPINFO_TRANS && is_for_ktri(ri, cert))
			return true;
		if (type == CMS_RECIPINFO_AGREE && is_for_kari(ri, cert))
			return true;
	}
	return false;
}

static CMS_ContentInfo *
parse(struct slice der)
{
	const unsigned char *p = (const unsigned char *)der.p;

	return der.n > LONG_MAX ? NULL
				: d2i_CMS_ContentInfo(NULL, &p, (long)der.n);
}

/*
 * A CMS is changed by decrypting it, so each key gets its own.  The
 * certificate is given to OpenSSL, which then answers a wrong padding of the
 * key transport with a random key (RFC 3218).
 */
static bool
decrypt_with(
    struct slice der, EVP_PKEY *key, X509 *cert, struct content_writer *out)
{
	CMS_ContentInfo *cms = parse(der);
	struct sink_bio bio;
	bool is_done;

	sink_bio_init(&bio, sink_of_writer(out));
	is_done = cms != NULL &&
		  CMS_decrypt(cms, key, cert, NULL, bio.bio, CMS_BINARY) == 1;
	sink_bio_clear(&bio);
	CMS_ContentInfo_free(cms);
	ERR_clear_error();
	return is_done;
}

/* ---- is it a mail? ---- */

static int
read_header(const struct content *plain, struct header *h)
{
	char piece[TYPE_WITHIN];
	uint64_t at = 0;
	int rc = PARSE_MORE;

	while (rc == PARSE_MORE && at < plain->size) {
		ssize_t n = content_read(plain, at, piece, sizeof(piece));

		if (n <= 0)
			return -1;
		rc = header_feed(h, (struct slice){piece, (size_t)n});
		at += (uint64_t)n;
	}
	if (rc == PARSE_MORE)
		rc = header_finish(h);
	return rc == PARSE_OK ? 0 : -1;
}

static bool
is_entity(const struct content *plain, const struct der_facts *facts)
{
	const struct header_field *type;
	struct header h;
	bool is_good = false;

	header_init(&h, 0);
	if (read_header(plain, &h) == 0 && h.end != HEADER_END_NOT_A_FIELD) {
		type = header_first(&h, HDR_CONTENT_TYPE);
		/* What nobody could change may be as plain as it likes. */
		is_good = facts->has_integrity ||
			  (type != NULL && type->end <= TYPE_WITHIN);
	}
	header_clear(&h);
	return is_good;
}

/* Whether its first line ends in a bare LF: then all of its lines do. */
static bool
has_unix_lines(const struct content *plain)
{
	char piece[TYPE_WITHIN];
	ssize_t n = content_read(plain, 0, piece, sizeof(piece));
	const char *lf = n <= 0 ? NULL : memchr(piece, '\n', (size_t)n);

	return lf != NULL && (lf == piece || lf[-1] != '\r');
}

static int
convert_lines(struct content_writer *plain, struct err *err)
{
	struct content_writer converted;
	struct content before;
	struct line_sink lines;
	struct sink in = sink_of_lines(&lines);
	int rc = -1;

	content_writer_init(&converted, -1, plain->limit);
	line_sink_init(&lines, sink_of_writer(&converted));
	if (content_writer_finish(plain, &before) == 0 &&
	    sink_range(&in, &before, 0, before.size, err) == 0 &&
	    line_sink_finish(&lines, err) == 0)
		rc = 0;
	content_writer_clear(plain);
	*plain = converted;
	return rc;
}

static enum smime_decrypted
judge(struct content_writer *plain, const struct der_facts *facts,
    struct err *err)
{
	struct content content;

	if (content_writer_finish(plain, &content) == -1)
		return SMIME_DECRYPT_TEMPORARY;
	if (has_unix_lines(&content) &&
	    (convert_lines(plain, err) == -1 ||
		content_writer_finish(plain, &content) == -1))
		return SMIME_DECRYPT_TEMPORARY;
	return is_entity(&content, facts) ? SMIME_DECRYPT_DONE
					  : SMIME_DECRYPT_FAILED;
}

/* ---- the keys ---- */

static enum smime_decrypted
try_key(struct worker_context *context, const struct ipc_record_work_key *key,
    struct slice der, CMS_ContentInfo *cms, struct content_writer *plain,
    struct err *err)
{
	X509 *cert = smime_cert_read(context->certs, key->public, err);
	enum smime_decrypted result = SMIME_DECRYPT_NO_KEY;
	EVP_PKEY *private;

	if (cert == NULL)
		return SMIME_DECRYPT_TEMPORARY;
	if (is_for(cms, cert)) {
		private = keyring_key(context->keyring, key->ref, err);
		if (private == NULL)
			result = SMIME_DECRYPT_TEMPORARY;
		else if (decrypt_with(der, private, cert, plain))
			result = SMIME_DECRYPT_DONE;
		else
			result = SMIME_DECRYPT_FAILED;
	}
	X509_free(cert);
	return result;
}

static enum smime_decrypted
try_keys(struct worker_context *context, const struct work *work,
    struct slice der, CMS_ContentInfo *cms, struct content_writer *plain,
    struct err *err)
{
	enum smime_decrypted result = SMIME_DECRYPT_NO_KEY;
	struct ipc_list keys = work->keys;
	struct ipc_record_work_key key;

	while (result != SMIME_DECRYPT_DONE && ipc_work_key_next(&keys, &key)) {
		enum smime_decrypted one;

		if (key.use != WORK_KEY_DECRYPT)
			continue;
		if (content_writer_reset(plain) == -1)
			return SMIME_DECRYPT_TEMPORARY;
		one = try_key(context, &key, der, cms, plain, err);
		if (one == SMIME_DECRYPT_FAILED && plain->failed) {
			err_set(err, "%s", plain->err.text);
			one = SMIME_DECRYPT_TEMPORARY;
		}
		if (one != SMIME_DECRYPT_NO_KEY)
			result = one;
	}
	return result;
}

enum smime_decrypted
smime_decrypt(struct worker_context *context, const struct work *work,
    struct slice der, struct content_writer *plain_r, struct der_facts *facts_r,
    struct err *err)
{
	CMS_ContentInfo *cms;
	enum smime_decrypted result;

	if (der_walk(der, facts_r, err) == -1)
		return SMIME_DECRYPT_REFUSED;
	if (facts_r->kind != DER_CMS_ENVELOPED &&
	    facts_r->kind != DER_CMS_AUTH_ENVELOPED) {
		err_set(err, "not an encrypted CMS");
		return SMIME_DECRYPT_REFUSED;
	}
	cms = parse(der);
	if (cms == NULL) {
		ERR_clear_error();
		err_set(err, "OpenSSL cannot read the CMS");
		return SMIME_DECRYPT_REFUSED;
	}
	result = try_keys(context, work, der, cms, plain_r, err);
	CMS_ContentInfo_free(cms);
	ERR_clear_error();
	if (result == SMIME_DECRYPT_DONE)
		result = judge(plain_r, facts_r, err);
	if (result != SMIME_DECRYPT_DONE)
		(void)content_writer_reset(plain_r);
	return result;
}
