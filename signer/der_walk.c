/* SPDX-License-Identifier: ISC */
/*
 * First the shape of all values, then the fields of a CMS one by one.
 * Runs in: postern-signerd's `open` workers.  Trusts: nothing in the octets.
 */
#include <stdio.h>
#include <string.h>

#include "signer/der_walk.h"
#include "signer/smime_cert.h"

#define TAG_INTEGER 0x02
#define TAG_OCTETS 0x04
#define TAG_OID 0x06
#define TAG_SEQUENCE 0x30
#define TAG_SET 0x31
#define TAG_CONSTRUCTED 0x20
#define TAG_CONTEXT(n) (0xa0 | (n))
#define TAG_CONTEXT_PRIMITIVE(n) (0x80 | (n))
/* Tag numbers from 31 on take more octets; CMS has none. */
#define TAG_LONG 0x1f

#define GCM_NONCE_OCTETS 12
#define AES_BLOCK_OCTETS 16
#define DES_BLOCK_OCTETS 8
/* Lists in a signature; there is hardly ever one. */
#define CRLS_MAX 16

/* A value: what is in it, and what follows it. */
struct value {
	unsigned char tag;
	struct slice body;
};

struct head {
	unsigned char tag;
	bool is_indefinite;
	size_t head_n;
	size_t body_n; /* when not indefinite */
};

/* ---- the shape ---- */

/* The head at the front; -1 when it is damaged or passes the end. */
static int
read_head(struct slice in, struct head *h)
{
	const unsigned char *p = (const unsigned char *)in.p;
	size_t octets;

	if (in.n < 2 || (p[0] & TAG_LONG) == TAG_LONG)
		return -1;
	*h = (struct head){.tag = p[0], .head_n = 2};
	if (p[1] < 0x80) {
		h->body_n = p[1];
		return h->body_n <= in.n - 2 ? 0 : -1;
	}
	octets = p[1] & 0x7f;
	if (octets == 0) {
		h->is_indefinite = true;
		return (p[0] & TAG_CONSTRUCTED) != 0 ? 0 : -1;
	}
	if (octets > 4 || in.n < 2 + octets)
		return -1;
	for (size_t i = 0; i < octets; i++)
		h->body_n = h->body_n << 8 | p[2 + i];
	h->head_n += octets;
	return h->body_n <= in.n - h->head_n ? 0 : -1;
}

/* A value that is not closed yet. */
struct open_value {
	size_t end; /* of itself, or of what it is in */
	bool is_indefinite;
};

struct shape_walk {
	struct slice der;
	size_t at;
	size_t depth;
	size_t count;
	struct open_value open[DER_DEPTH_MAX];
};

/* Closes what ends here. */
static void
close_ended(struct shape_walk *w)
{
	while (w->depth > 0 && !w->open[w->depth - 1].is_indefinite &&
	       w->open[w->depth - 1].end == w->at)
		w->depth--;
}

static int
walk_value(struct shape_walk *w, struct err *err)
{
	const struct open_value *in =
	    w->depth == 0 ? NULL : &w->open[w->depth - 1];
	size_t end = in == NULL ? w->der.n : in->end;
	struct slice rest = {w->der.p + w->at, end - w->at};
	struct head h;

	if (in != NULL && in->is_indefinite && rest.n >= 2 &&
	    memcmp(rest.p, "\0\0", 2) == 0) {
		w->at += 2;
		w->depth--;
		return 0;
	}
	if (++w->count > DER_VALUES_MAX)
		return err_set(err, "a CMS with too many values");
	if (read_head(rest, &h) == -1 || h.tag == 0)
		return err_set(err, "a CMS with a damaged value");
	w->at += h.head_n;
	if ((h.tag & TAG_CONSTRUCTED) == 0) {
		w->at += h.body_n;
		return 0;
	}
	if (w->depth == DER_DEPTH_MAX)
		return err_set(err, "a CMS that is nested too deeply");
	w->open[w->depth++] = (struct open_value){
	    h.is_indefinite ? end : w->at + h.body_n, h.is_indefinite};
	return 0;
}

/* All values of all levels; exactly one on top. */
static int
walk_shape(struct slice der, struct err *err)
{
	struct shape_walk w = {.der = der};

	do {
		if (walk_value(&w, err) == -1)
			return -1;
		close_ended(&w);
		if (w.depth > 0 && w.at >= w.open[w.depth - 1].end)
			return err_set(err, "a CMS that is cut off");
	} while (w.depth > 0);
	if (w.at != der.n)
		return err_set(err, "something follows a CMS");
	return 0;
}

/* ---- the fields ---- */

/* Octets of an indefinite value's body; its end was seen by walk_shape(). */
static size_t
indefinite_size(struct slice in)
{
	size_t depth = 1;
	size_t at = 0;
	struct head h;

	while (at + 2 <= in.n) {
		if (memcmp(in.p + at, "\0\0", 2) == 0) {
			if (--depth == 0)
				return at;
			at += 2;
			continue;
		}
		if (read_head((struct slice){in.p + at, in.n - at}, &h) == -1)
			break;
		at += h.head_n + h.body_n;
		depth += h.is_indefinite;
	}
	return in.n;
}

/* Takes the first value off; false at the end. */
static bool
next_value(struct slice *in, struct value *v)
{
	struct head h;
	size_t n;

	if (read_head(*in, &h) == -1)
		return false;
	v->tag = h.tag;
	v->body = (struct slice){in->p + h.head_n, in->n - h.head_n};
	if (!h.is_indefinite) {
		v->body.n = h.body_n;
		n = h.head_n + h.body_n;
	} else {
		v->body.n = indefinite_size(v->body);
		n = h.head_n + v->body.n + 2;
		if (n > in->n)
			n = in->n;
	}
	in->p += n;
	in->n -= n;
	return true;
}

static bool
expect(struct slice *in, unsigned char tag, struct value *v)
{
	return next_value(in, v) && v->tag == tag;
}

static bool
peek(struct slice in, unsigned char tag)
{
	return in.n > 0 && (unsigned char)*in.p == tag;
}

/* A field that may be missing. */
static bool
skip_optional(struct slice *in, unsigned char tag)
{
	struct value v;

	return !peek(*in, tag) || next_value(in, &v);
}

struct oid {
	const char *der;
	size_t n;
	const char *name;
};

#define OID(der, name)                         \
	{                                      \
		(der), sizeof(der) - 1, (name) \
	}
#define OID_END               \
	{                     \
		NULL, 0, NULL \
	}

static const struct oid content_types[] = {
    [DER_CMS_SIGNED] = OID("\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", "signed"),
    [DER_CMS_ENVELOPED] =
	OID("\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", "enveloped"),
    [DER_CMS_AUTH_ENVELOPED] =
	OID("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17", "authEnveloped"),
    [DER_CMS_OTHER] = OID_END,
};

static const struct oid data_types[] = {
    OID("\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01", "data"), OID_END};

static const struct oid digests[] = {
    OID("\x60\x86\x48\x01\x65\x03\x04\x02\x01", "sha256"),
    OID("\x60\x86\x48\x01\x65\x03\x04\x02\x02", "sha384"),
    OID("\x60\x86\x48\x01\x65\x03\x04\x02\x03", "sha512"),
    OID("\x2b\x0e\x03\x02\x1a", "sha1"),
    OID("\x2a\x86\x48\x86\xf7\x0d\x02\x05", "md5"), OID_END};

enum cipher {
	CIPHER_AES_128_CBC,
	CIPHER_AES_192_CBC,
	CIPHER_AES_256_CBC,
	CIPHER_3DES,
	CIPHER_AES_128_GCM, /* from here on with a tag */
	CIPHER_AES_192_GCM,
	CIPHER_AES_256_GCM,
	CIPHER_COUNT
};

static const struct oid ciphers[] = {
    [CIPHER_AES_128_CBC] =
	OID("\x60\x86\x48\x01\x65\x03\x04\x01\x02", "aes-128-cbc"),
    [CIPHER_AES_192_CBC] =
	OID("\x60\x86\x48\x01\x65\x03\x04\x01\x16", "aes-192-cbc"),
    [CIPHER_AES_256_CBC] =
	OID("\x60\x86\x48\x01\x65\x03\x04\x01\x2a", "aes-256-cbc"),
    [CIPHER_3DES] = OID("\x2a\x86\x48\x86\xf7\x0d\x03\x07", "3des-cbc"),
    [CIPHER_AES_128_GCM] =
	OID("\x60\x86\x48\x01\x65\x03\x04\x01\x06", "aes-128-gcm"),
    [CIPHER_AES_192_GCM] =
	OID("\x60\x86\x48\x01\x65\x03\x04\x01\x1a", "aes-192-gcm"),
    [CIPHER_AES_256_GCM] =
	OID("\x60\x86\x48\x01\x65\x03\x04\x01\x2e", "aes-256-gcm"),
    [CIPHER_COUNT] = OID_END};

static const struct oid transports[] = {
    OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", "rsa"),
    OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07", "rsa-oaep"), OID_END};

/* RFC 5753 §7.1.4: standard and cofactor ECDH, by the digest of the KDF. */
static const struct oid agreements[] = {
    OID("\x2b\x81\x05\x10\x86\x48\x3f\x00\x02", "std-sha1"),
    OID("\x2b\x81\x05\x10\x86\x48\x3f\x00\x03", "cofactor-sha1"),
    OID("\x2b\x81\x04\x01\x0b\x00", "std-sha224"),
    OID("\x2b\x81\x04\x01\x0b\x01", "std-sha256"),
    OID("\x2b\x81\x04\x01\x0b\x02", "std-sha384"),
    OID("\x2b\x81\x04\x01\x0b\x03", "std-sha512"),
    OID("\x2b\x81\x04\x01\x0e\x00", "cofactor-sha224"),
    OID("\x2b\x81\x04\x01\x0e\x01", "cofactor-sha256"),
    OID("\x2b\x81\x04\x01\x0e\x02", "cofactor-sha384"),
    OID("\x2b\x81\x04\x01\x0e\x03", "cofactor-sha512"), OID_END};

static const struct oid wraps[] = {
    OID("\x60\x86\x48\x01\x65\x03\x04\x01\x05", "aes-128-wrap"),
    OID("\x60\x86\x48\x01\x65\x03\x04\x01\x19", "aes-192-wrap"),
    OID("\x60\x86\x48\x01\x65\x03\x04\x01\x2d", "aes-256-wrap"),
    OID("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x03\x06", "3des-wrap"), OID_END};

/* Its number in the table, which is that of the end when it is not there. */
static size_t
find_oid(const struct oid *table, struct slice der)
{
	size_t i = 0;

	while (table[i].der != NULL &&
	       !slice_equals((struct slice){table[i].der, table[i].n}, der))
		i++;
	return i;
}

static bool
is_oid(const struct oid *table, struct slice der)
{
	return table[find_oid(table, der)].der != NULL;
}

/* SEQUENCE { OID, parameters }: the OID, and *in_r is at the parameters. */
static bool
read_algorithm(struct slice *in, struct slice *oid_r, struct slice *params_r)
{
	struct value v, oid;

	if (!expect(in, TAG_SEQUENCE, &v) || !expect(&v.body, TAG_OID, &oid))
		return false;
	*oid_r = oid.body;
	*params_r = v.body;
	return true;
}

/* ---- signed data ---- */

static int
read_signer(struct slice in, struct der_facts *f, struct err *err)
{
	struct value v;
	struct slice oid, params;
	const struct oid *digest;

	if (!expect(&in, TAG_INTEGER, &v) || !next_value(&in, &v) ||
	    (v.tag != TAG_SEQUENCE && v.tag != TAG_CONTEXT_PRIMITIVE(0)) ||
	    !read_algorithm(&in, &oid, &params))
		return err_set(err, "a signature with a damaged signer");
	digest = &digests[find_oid(digests, oid)];
	if (digest->der == NULL)
		return err_set(err, "a signature with an unusual digest");
	if (f->signers == 1)
		(void)snprintf(
		    f->digest, sizeof(f->digest), "%s", digest->name);
	if (strncmp(digest->name, "sha1", 4) == 0 ||
	    strcmp(digest->name, "md5") == 0)
		f->has_weak_digest = true;
	if (!peek(in, TAG_CONTEXT(0)))
		f->has_attributes = false;
	if (!skip_optional(&in, TAG_CONTEXT(0)) ||
	    !read_algorithm(&in, &oid, &params) || !next_value(&in, &v) ||
	    (v.tag & ~TAG_CONSTRUCTED) != TAG_OCTETS)
		return err_set(err, "a signature with a damaged signer");
	return 0;
}

static int
read_signers(struct slice in, struct der_facts *f, struct err *err)
{
	struct value v;

	f->has_attributes = true;
	while (next_value(&in, &v)) {
		if (++f->signers > DER_SIGNERS_MAX)
			return err_set(err,
			    "a signature with more than %d "
			    "signers",
			    DER_SIGNERS_MAX);
		if (v.tag != TAG_SEQUENCE)
			return err_set(
			    err, "a signature with a damaged signer");
		if (read_signer(v.body, f, err) == -1)
			return -1;
	}
	return 0;
}

static int
read_set(struct slice *in, struct value *set_r, struct err *err)
{
	if (!next_value(in, set_r))
		return err_set(err, "a damaged set of certificates");
	if (set_r->body.n > DER_SET_MAX)
		return err_set(err, "certificates that are too large");
	return 0;
}

/* Certificates or lists: no other formats, and not too many. */
static int
read_members(struct slice *in, unsigned char tag, int max, struct err *err)
{
	struct value set, v;

	if (!peek(*in, tag))
		return 0;
	if (read_set(in, &set, err) == -1)
		return -1;
	for (int i = 0; next_value(&set.body, &v); i++)
		if (v.tag != TAG_SEQUENCE || i == max)
			return err_set(err, "too many certificates, or of "
					    "another format");
	return 0;
}

static int
read_signed(struct slice in, struct der_facts *f, struct err *err)
{
	struct value v, type;

	if (!expect(&in, TAG_INTEGER, &v) || !expect(&in, TAG_SET, &v) ||
	    !expect(&in, TAG_SEQUENCE, &v) || !expect(&v.body, TAG_OID, &type))
		return err_set(err, "damaged signed data");
	if (!is_oid(data_types, type.body))
		return err_set(err, "signed data that is not a mail");
	f->has_content = peek(v.body, TAG_CONTEXT(0));
	if (read_members(&in, TAG_CONTEXT(0), SMIME_CERTS_MAX, err) == -1 ||
	    read_members(&in, TAG_CONTEXT(1), CRLS_MAX, err) == -1)
		return -1;
	if (!expect(&in, TAG_SET, &v) || in.n != 0)
		return err_set(err, "damaged signed data");
	return read_signers(v.body, f, err);
}

/* ---- encrypted data ---- */

static int
read_transport(struct slice in, struct err *err)
{
	struct value v;
	struct slice oid, params;

	if (!expect(&in, TAG_INTEGER, &v) || !next_value(&in, &v) ||
	    !read_algorithm(&in, &oid, &params))
		return err_set(err, "a damaged recipient");
	if (!is_oid(transports, oid))
		return err_set(err, "a recipient with an unusual key");
	return 0;
}

static int
read_agreement(struct slice in, struct err *err)
{
	struct value v;
	struct slice oid, wrap, params;

	if (!expect(&in, TAG_INTEGER, &v) || !next_value(&in, &v) ||
	    !skip_optional(&in, TAG_CONTEXT(1)) ||
	    !read_algorithm(&in, &oid, &params))
		return err_set(err, "a damaged recipient");
	if (!is_oid(agreements, oid) || !read_algorithm(&params, &wrap, &oid) ||
	    !is_oid(wraps, wrap))
		return err_set(err, "a recipient with an unusual key");
	return 0;
}

static int
read_recipients(struct slice in, struct der_facts *f, struct err *err)
{
	struct value v;

	while (next_value(&in, &v)) {
		int rc = -1;

		if (++f->recipients > DER_RECIPIENTS_MAX)
			return err_set(err, "too many recipients in a CMS");
		if (v.tag == TAG_SEQUENCE)
			rc = read_transport(v.body, err);
		else if (v.tag == TAG_CONTEXT(1))
			rc = read_agreement(v.body, err);
		else
			err_set(err, "a recipient with a password or key of "
				     "an unusual kind");
		if (rc == -1)
			return -1;
	}
	if (f->recipients == 0)
		return err_set(err, "a CMS for nobody");
	return 0;
}

/* RFC 5084 §3.2; *tag_n_r is the length of the tag. */
static int
read_gcm(struct slice params, size_t *tag_n_r, struct err *err)
{
	struct value v, nonce, tag;

	*tag_n_r = DER_GCM_TAG_MIN; /* the default */
	if (!expect(&params, TAG_SEQUENCE, &v) ||
	    !expect(&v.body, TAG_OCTETS, &nonce) ||
	    nonce.body.n != GCM_NONCE_OCTETS)
		return err_set(err, "a cipher with unusual parameters");
	if (v.body.n > 0) {
		if (!expect(&v.body, TAG_INTEGER, &tag) || tag.body.n != 1)
			return err_set(err, "a cipher with unusual parameters");
		*tag_n_r = (unsigned char)*tag.body.p;
	}
	if (*tag_n_r < DER_GCM_TAG_MIN || *tag_n_r > AES_BLOCK_OCTETS)
		return err_set(
		    err, "a tag of %zu octets proves nothing", *tag_n_r);
	return 0;
}

static int
read_cipher(
    struct slice *in, struct der_facts *f, size_t *tag_n_r, struct err *err)
{
	struct value v, type;
	struct slice oid, params;
	size_t cipher;

	if (!expect(in, TAG_SEQUENCE, &v) || !expect(&v.body, TAG_OID, &type) ||
	    !read_algorithm(&v.body, &oid, &params))
		return err_set(err, "damaged encrypted content");
	if (!is_oid(data_types, type.body))
		return err_set(err, "encrypted content that is not a mail");
	cipher = find_oid(ciphers, oid);
	if (cipher == CIPHER_COUNT)
		return err_set(err, "an unusual cipher");
	(void)snprintf(
	    f->cipher, sizeof(f->cipher), "%s", ciphers[cipher].name);
	f->has_integrity = cipher >= CIPHER_AES_128_GCM;
	f->is_old_cipher = cipher == CIPHER_3DES;
	if (f->has_integrity != (f->kind == DER_CMS_AUTH_ENVELOPED))
		return err_set(err, "a cipher that does not fit its CMS");
	if (f->has_integrity)
		return read_gcm(params, tag_n_r, err);
	if (!expect(&params, TAG_OCTETS, &v) ||
	    v.body.n !=
		(f->is_old_cipher ? DES_BLOCK_OCTETS : AES_BLOCK_OCTETS))
		return err_set(err, "a cipher with unusual parameters");
	return 0;
}

static int
read_encrypted(struct slice in, struct der_facts *f, struct err *err)
{
	struct value v;
	size_t tag_n = 0;

	if (!expect(&in, TAG_INTEGER, &v))
		return err_set(err, "damaged encrypted data");
	/* Certificates and lists of whoever encrypted it. */
	if (peek(in, TAG_CONTEXT(0)) && read_set(&in, &v, err) == -1)
		return -1;
	if (!expect(&in, TAG_SET, &v))
		return err_set(err, "damaged encrypted data");
	if (read_recipients(v.body, f, err) == -1 ||
	    read_cipher(&in, f, &tag_n, err) == -1)
		return -1;
	if (!skip_optional(&in, TAG_CONTEXT(1)))
		return err_set(err, "damaged encrypted data");
	if (f->kind != DER_CMS_AUTH_ENVELOPED)
		return 0;
	if (!expect(&in, TAG_OCTETS, &v) || v.body.n != tag_n)
		return err_set(err, "a tag of another length than announced");
	return 0;
}

int
der_walk(struct slice der, struct der_facts *facts_r, struct err *err)
{
	struct der_facts f = {.kind = DER_CMS_OTHER};
	struct value info, type, content, body;

	if (der.n == 0)
		return err_set(err, "an empty CMS");
	if (walk_shape(der, err) == -1)
		return -1;
	if (!expect(&der, TAG_SEQUENCE, &info) ||
	    !expect(&info.body, TAG_OID, &type))
		return err_set(err, "not a CMS");
	f.kind = (enum der_cms)find_oid(content_types, type.body);
	if (f.kind == DER_CMS_OTHER) {
		*facts_r = f;
		return 0;
	}
	if (!expect(&info.body, TAG_CONTEXT(0), &content) || info.body.n != 0 ||
	    !expect(&content.body, TAG_SEQUENCE, &body) || content.body.n != 0)
		return err_set(err, "a CMS without its content");
	if (f.kind == DER_CMS_SIGNED ? read_signed(body.body, &f, err) == -1
				     : read_encrypted(body.body, &f, err) == -1)
		return -1;
	*facts_r = f;
	return 0;
}
