/* SPDX-License-Identifier: ISC */
/*
 * S/MIME of what leaves: signs, then encrypts.
 * Runs in: postern-signerd's `sign` workers.  Trusts: the task for its keys;
 * the message only as far as it is copied.
 */
#include <stdarg.h>
#include <string.h>

#include <openssl/cms.h>
#include <openssl/err.h>

#include "signer/entity.h"
#include "signer/keyring.h"
#include "signer/sink_bio.h"
#include "signer/smime.h"
#include "signer/smime_cert.h"
#include "signer/smime_memo.h"
#include "signer/smime_sign.h"

/* Everything a task names, opened. */
struct protector {
	const struct work *work;
	struct work_answer *answer;
	struct smime_memo *memo;
	struct entity *entity;
	struct entity_wishes wishes;
	bool has_signer;
	struct smime_signer signer;
	char fingerprint[SMIME_FINGERPRINT_SIZE];
	STACK_OF(X509) * readers;
	bool has_aead; /* all readers */
};

static int refuse(struct protector *p, enum sign_outcome outcome,
    const char *enhanced, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int
refuse(struct protector *p, enum sign_outcome outcome, const char *enhanced,
    const char *format, ...)
{
	struct err err;
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(err.text, sizeof(err.text), format, ap);
	va_end(ap);
	work_refuse(p->answer, outcome, enhanced, "%s", err.text);
	return -1;
}

static int
open_signer(struct protector *p, struct worker_context *context,
    const struct ipc_record_work_key *key)
{
	struct err err;

	p->has_signer = true;
	p->signer.now_s = p->work->now_s;
	p->signer.cert = smime_cert_read(context->certs, key->public, &err);
	if (p->signer.cert == NULL ||
	    smime_chain_read(
		context->certs, key->chain, p->signer.chain, &err) == -1)
		return refuse(p, SIGNED_TEMPORARY, "4.7.5",
		    "the sender's certificate: %s", err.text);
	if (smime_cert_is_current(p->signer.cert, p->work->now_s, &err) == -1)
		return refuse(p, SIGNED_PERMANENT, "5.7.5",
		    "no signing key: %s", err.text);
	p->signer.digest =
	    smime_key_digest(X509_get0_pubkey(p->signer.cert), &err);
	if (p->signer.digest == NULL)
		return refuse(p, SIGNED_PERMANENT, "5.7.6",
		    "no signing key: %s", err.text);
	p->signer.key = keyring_key(context->keyring, key->ref, &err);
	if (p->signer.key == NULL)
		return refuse(p, SIGNED_TEMPORARY, "4.7.5",
		    "the signing key: %s", err.text);
	(void)EVP_PKEY_up_ref(p->signer.key);
	smime_cert_fingerprint(p->signer.cert, p->fingerprint);
	return 0;
}

static int
add_reader(struct protector *p, struct worker_context *context,
    const struct ipc_record_work_key *key)
{
	const X509 *first = sk_X509_value(p->readers, 0);
	struct err err;
	X509 *cert = smime_cert_read(context->certs, key->public, &err);
	const char *kind;

	if (cert == NULL)
		return refuse(p, SIGNED_TEMPORARY, "4.7.5",
		    "the certificate of %.*s: %s", SLICE_ARG(key->address),
		    err.text);
	kind = smime_key_kind(X509_get0_pubkey(cert));
	if (kind == NULL ||
	    smime_cert_can_encrypt(cert, p->work->now_s, &err) == -1) {
		X509_free(cert);
		return refuse(p, SIGNED_PERMANENT,
		    kind == NULL ? "5.7.6" : "5.7.3",
		    "cannot encrypt to %.*s: %s", SLICE_ARG(key->address),
		    kind == NULL ? "S/MIME needs an RSA or EC key" : err.text);
	}
	if (first != NULL &&
	    strcmp(kind, smime_key_kind(X509_get0_pubkey(first))) != 0) {
		work_note(p->answer, "not also to %.*s (key of another kind)",
		    SLICE_ARG(key->address));
		X509_free(cert);
		return 0;
	}
	if (sk_X509_push(p->readers, cert) <= 0)
		fatal("out of memory");
	p->has_aead &= key->has_aead;
	return 0;
}

/* The one that signs is preferred anyway; one that cannot be used is not. */
static void
open_preferred(struct protector *p, struct worker_context *context,
    const struct ipc_record_work_key *key)
{
	X509 *cert = smime_cert_read(context->certs, key->public, NULL);

	if (cert == NULL || p->signer.preferred != NULL ||
	    smime_cert_can_encrypt(cert, p->work->now_s, NULL) == -1 ||
	    (p->signer.cert != NULL && X509_cmp(cert, p->signer.cert) == 0)) {
		X509_free(cert);
		return;
	}
	p->signer.preferred = cert;
}

static int
open_keys(struct protector *p, struct worker_context *context)
{
	struct ipc_list keys = p->work->keys;
	struct ipc_record_work_key key;

	while (ipc_work_key_next(&keys, &key)) {
		if (key.use == WORK_KEY_SIGN && p->has_signer)
			return refuse(p, SIGNED_TEMPORARY, "4.3.0",
			    "a task with two signing keys");
		if (key.use == WORK_KEY_SIGN &&
		    open_signer(p, context, &key) == -1)
			return -1;
		if (key.use == WORK_KEY_PREFERRED)
			open_preferred(p, context, &key);
		if (key.use == WORK_KEY_ENCRYPT &&
		    add_reader(p, context, &key) == -1)
			return -1;
	}
	return 0;
}

/* ---- what the sender's own program did already ---- */

static unsigned
demanded(const struct protector *p)
{
	return (p->has_signer ? (unsigned)APPLIED_SIGNED : 0) |
	       (sk_X509_num(p->readers) > 0 ? (unsigned)APPLIED_ENCRYPTED : 0);
}

enum course {
	COURSE_REFUSED,
	COURSE_LEAVE,
	COURSE_LEAVE_PLAIN, /* and nothing protects it */
	COURSE_PROTECT
};

static enum course
choose_course(struct protector *p)
{
	const struct shape *shape = entity_shape(p->entity);
	bool encrypts = sk_X509_num(p->readers) > 0;

	if (!p->has_signer && !encrypts)
		return COURSE_LEAVE;
	if (shape_is_encrypted(shape)) {
		work_note(p->answer, "encrypted by its sender");
		return COURSE_LEAVE;
	}
	if (shape_is_signed(shape)) {
		if (p->has_signer)
			work_note(p->answer, "signed by its sender");
		return encrypts ? COURSE_PROTECT : COURSE_LEAVE;
	}
	if (!shape->is_calendar)
		return COURSE_PROTECT;
	if (encrypts && (p->work->options & PROTECT_CALENDAR_PLAIN) == 0) {
		(void)refuse(p, SIGNED_PERMANENT, "5.7.3",
		    "an invitation cannot be encrypted: mail programs would "
		    "not recognize it");
		return COURSE_REFUSED;
	}
	work_note(p->answer, "an invitation, left as it is");
	return COURSE_LEAVE_PLAIN;
}

/* ---- writing ---- */

static int
sign(struct protector *p, const struct sink *sink, struct err *err)
{
	return smime_sign(&p->signer, p->entity, &p->wishes,
	    (p->work->options & PROTECT_OPAQUE) != 0, sink, err);
}

/* Signed for this recipient, or for one before him. */
static int
write_shared(struct protector *p, const struct sink *sink, struct err *err)
{
	const enum smime_memo_state state = smime_memo_find(p->memo, p->work);
	struct buf *room = smime_memo_room(p->memo);
	struct sink in = sink_of_buf(room);

	if (state == SMIME_MEMO_NONE)
		return sign(p, sink, err);
	if (state == SMIME_MEMO_EMPTY) {
		if (sign(p, &in, err) == -1) {
			bool is_too_large = room->overflowed;

			smime_memo_forget(p->memo);
			return is_too_large ? sign(p, sink, err) : -1;
		}
		smime_memo_keep(p->memo);
	}
	return sink_slice(sink, buf_slice(room), err);
}

/* The entity, signed or as it is, in the form in which it is encrypted. */
static int
write_inside(struct protector *p, const struct sink *sink, struct err *err)
{
	if (!p->has_signer || shape_is_signed(entity_shape(p->entity)))
		return entity_write(p->entity, &p->wishes, sink, err);
	return p->wishes.is_encrypted ? write_shared(p, sink, err)
				      : sign(p, sink, err);
}

static int
write_enveloped(struct protector *p, CMS_ContentInfo *cms,
    const struct sink *sink, struct err *err)
{
	struct base64_sink base64;
	struct sink_bio out;
	struct sink in;
	BIO *bio, *next;
	int rc = -1;

	base64_sink_init(&base64, *sink);
	sink_bio_init(&out, sink_of_base64(&base64));
	bio = BIO_new_CMS(out.bio, cms);
	if (bio == NULL) {
		err_set(err, "OpenSSL could not encrypt");
		goto out;
	}
	in = sink_of_bio(bio);
	rc = write_inside(p, &in, err);
	if (rc == 0 && BIO_flush(bio) != 1)
		rc = err_set(err, "OpenSSL could not encrypt");
	for (; bio != out.bio; bio = next) {
		next = BIO_pop(bio);
		BIO_free(bio);
	}
out:
	if (rc == -1 && out.err.text[0] != '\0')
		err_set(err, "%s", out.err.text);
	sink_bio_clear(&out);
	ERR_clear_error();
	return rc == 0 ? base64_sink_finish(&base64, err) : -1;
}

static int
encrypt(struct protector *p, const struct sink *sink, struct err *err)
{
	CMS_ContentInfo *cms = CMS_encrypt(p->readers, NULL,
	    p->has_aead ? EVP_aes_256_gcm() : EVP_aes_256_cbc(),
	    CMS_STREAM | CMS_BINARY);
	int rc = -1;

	if (cms == NULL)
		err_set(err, "OpenSSL could not encrypt");
	else if (sink_text(sink,
		     "Content-Type: application/pkcs7-mime; smime-type=",
		     err) == 0 &&
		 sink_text(sink,
		     p->has_aead ? "authEnveloped-data" : "enveloped-data",
		     err) == 0 &&
		 sink_text(sink,
		     ";\r\n\tname=\"smime.p7m\"\r\n"
		     "Content-Transfer-Encoding: base64\r\n"
		     "Content-Disposition: attachment; "
		     "filename=\"smime.p7m\"\r\n\r\n",
		     err) == 0)
		rc = write_enveloped(p, cms, sink, err);
	CMS_ContentInfo_free(cms);
	ERR_clear_error();
	return rc;
}

static int
write_protected(struct protector *p, const struct sink *sink, struct err *err)
{
	if (entity_write_outer(p->entity, &p->wishes, sink, err) == -1 ||
	    sink_text(sink, "MIME-Version: 1.0\r\n", err) == -1)
		return -1;
	if (p->wishes.is_encrypted)
		return encrypt(p, sink, err);
	return write_inside(p, sink, err);
}

static void
note_protection(struct protector *p)
{
	if (p->has_signer && !shape_is_signed(entity_shape(p->entity)))
		work_note(p->answer, "smime signed %.16s", p->fingerprint);
	for (int i = 0; i < sk_X509_num(p->readers); i++) {
		char fingerprint[SMIME_FINGERPRINT_SIZE];

		smime_cert_fingerprint(
		    sk_X509_value(p->readers, i), fingerprint);
		work_note(p->answer, "smime encrypted %s to %.16s",
		    p->has_aead ? "aes-256-gcm" : "aes-256-cbc", fingerprint);
	}
}

static int
protect(struct protector *p, struct content_writer *out)
{
	struct sink sink = sink_of_writer(out);
	enum course course = choose_course(p);
	struct err err = {""};

	if (course == COURSE_REFUSED)
		return -1;
	p->wishes = (struct entity_wishes){
	    .is_encrypted = sk_X509_num(p->readers) > 0,
	    .protects_headers = (p->work->options & PROTECT_HEADERS) != 0,
	    .obscures_subject = (p->work->options & PROTECT_SUBJECT) != 0,
	    .displays_subject = (p->work->options & PROTECT_LEGACY) != 0,
	};
	if (course != COURSE_PROTECT
		? entity_write_message(p->entity, &sink, &err) == -1
		: write_protected(p, &sink, &err) == -1) {
		if (out->failed && out->size >= out->limit)
			return refuse(
			    p, SIGNED_PERMANENT, "5.3.4", "%s", out->err.text);
		return refuse(p, SIGNED_TEMPORARY, "4.7.5", "%s", err.text);
	}
	if (course == COURSE_PROTECT)
		note_protection(p);
	/* What its sender protected fulfils the demand, too. */
	if (course != COURSE_LEAVE_PLAIN)
		p->answer->applied |= demanded(p);
	return 0;
}

enum smime_result
smime_protect(struct worker_context *context, const struct work *work,
    struct content_writer *out, struct work_answer *answer)
{
	struct protector p = {
	    .work = work,
	    .answer = answer,
	    .signer.chain = sk_X509_new_null(),
	    .readers = sk_X509_new_null(),
	    .has_aead = true,
	};
	enum smime_result result = SMIME_FAILED;
	struct err err;

	if (p.signer.chain == NULL || p.readers == NULL)
		fatal("out of memory");
	if (context->certs == NULL)
		context->certs = smime_certs_new();
	if (context->memo == NULL)
		context->memo = smime_memo_new();
	p.memo = context->memo;
	if (work_fact(work, FACT_SHARED).n == 0)
		smime_memo_forget(p.memo);
	if (entity_open(&work->content, work->removals, &p.entity, &err) == -1)
		(void)refuse(&p, SIGNED_PERMANENT, "5.6.0",
		    "the message cannot be read: %s", err.text);
	else if (open_keys(&p, context) == 0 && protect(&p, out) == 0)
		result = SMIME_WRITTEN;
	entity_close(p.entity);
	sk_X509_pop_free(p.signer.chain, X509_free);
	sk_X509_pop_free(p.readers, X509_free);
	X509_free(p.signer.cert);
	X509_free(p.signer.preferred);
	EVP_PKEY_free(p.signer.key);
	return result;
}
