/* SPDX-License-Identifier: ISC */
/*
 * Makes DKIM-Signature fields.
 * Runs in: postern-signerd's `sign` workers.  Trusts: the keys it is given;
 * nothing of the message.
 */
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"
#include "common/header.h"
#include "signer/dkim.h"
#include "signer/dkim_canon.h"

#define DIGEST_SIZE 32
/* base64 of a SHA-256. */
#define BODY_HASH_SIZE 44
/* Signed fields of one name; a message with more is no mail. */
#define INSTANCES_MAX 16
#define NAMES_MAX 4096
/* One signature field; that of an RSA key of 8192 bits fits. */
#define FIELD_MAX 8192
#define PIECE_OCTETS 65536
/* RFC 8301 §3.2. */
#define RSA_BITS_MIN 1024
/* Columns of a line of names or of a signature. */
#define LINE_COLUMNS 72

struct dkim {
	EVP_MD *sha256;
	EVP_MD_CTX *body;
	EVP_MD_CTX *header;
	EVP_MD_CTX *own;
	EVP_MD_CTX *sign;
};

struct signature {
	struct dkim_signer signer;
	bool is_ed25519;
	size_t octets;    /* of the signature itself */
	struct buf value; /* of the field, up to and with "b=" */
};

struct dkim_task {
	struct dkim *dkim;
	int64_t now_s;
	struct buf names;
	struct buf canonical; /* of the signed fields */
	struct buf text;
	size_t count;
	struct signature list[DKIM_SIGNERS_MAX];
};

/* ---- which fields ---- */

/* How often a field's name stands in h=. */
enum naming {
	NAMED_ALWAYS,  /* once more than it occurs: none can be added */
	NAMED_TWICE,   /* what may yet change; also safe from additions */
	NAMED_IF_THERE /* lists and threads: a gateway may add its own */
};

/*
 * RFC 6376 §5.4.1, and what mail programs show.  The List-Unsubscribe fields:
 * RFC 8058 §4.
 */
static const struct {
	enum header_name name;
	enum naming naming;
} signed_fields[] = {
    {HDR_FROM, NAMED_ALWAYS},
    {HDR_TO, NAMED_ALWAYS},
    {HDR_CC, NAMED_ALWAYS},
    {HDR_SUBJECT, NAMED_ALWAYS},
    {HDR_DATE, NAMED_ALWAYS},
    {HDR_MESSAGE_ID, NAMED_ALWAYS},
    {HDR_REPLY_TO, NAMED_ALWAYS},
    {HDR_MIME_VERSION, NAMED_TWICE},
    {HDR_CONTENT_TYPE, NAMED_TWICE},
    {HDR_CONTENT_TRANSFER_ENCODING, NAMED_TWICE},
    {HDR_SENDER, NAMED_IF_THERE},
    {HDR_IN_REPLY_TO, NAMED_IF_THERE},
    {HDR_REFERENCES, NAMED_IF_THERE},
    {HDR_LIST_ID, NAMED_IF_THERE},
    {HDR_LIST_UNSUBSCRIBE, NAMED_IF_THERE},
    {HDR_LIST_UNSUBSCRIBE_POST, NAMED_IF_THERE},
};
#define SIGNED_FIELDS (sizeof(signed_fields) / sizeof(signed_fields[0]))

static size_t
times_named(
    const struct header *header, enum header_name name, enum naming naming)
{
	size_t there = header_count(header, name);

	if (there > INSTANCES_MAX)
		there = INSTANCES_MAX;
	switch (naming) {
	case NAMED_ALWAYS:
		return there + 1;
	case NAMED_TWICE:
		return 2;
	case NAMED_IF_THERE:
		return there;
	}
	return 0;
}

static void
list_names(const struct header *header, struct buf *names)
{
	for (size_t i = 0; i < SIGNED_FIELDS; i++) {
		enum header_name name = signed_fields[i].name;
		size_t times =
		    times_named(header, name, signed_fields[i].naming);

		for (; times > 0; times--) {
			if (names->n > 0)
				(void)buf_add_char(names, ':');
			(void)buf_add_text(names, header_name_text(name));
		}
	}
}

/* ---- the digest of the header ---- */

/* Fields of that name are taken from the last one up (RFC 6376 §5.4.2). */
static const struct header_field *
nth_from_last(const struct header *header, enum header_name name, size_t nth)
{
	size_t count = header_count(header, name);
	const struct header_field *field = header_first(header, name);

	if (nth >= count)
		return NULL;
	for (size_t i = count - 1 - nth; i > 0; i--)
		field = header_next(header, field);
	return field;
}

/* -1: a name that is not in the table of fields. */
static int
canon_fields(const struct header *header, struct slice names, struct buf *out)
{
	size_t seen[HDR_COUNT] = {0};

	while (names.n > 0) {
		size_t end = slice_find(names, ':', 0);
		struct slice text = slice_trim((struct slice){names.p, end});
		enum header_name name = header_name_of(text);
		const struct header_field *field;

		names.p += end < names.n ? end + 1 : end;
		names.n -= end < names.n ? end + 1 : end;
		if (name == HDR_OTHER)
			return -1;
		field = nth_from_last(header, name, seen[name]++);
		if (field != NULL)
			dkim_canon_field(header_field_name(header, field),
			    header_field_value(header, field), out);
	}
	return out->overflowed ? -1 : 0;
}

/* fields: the digest of the signed fields; what is added ends it. */
static int
add_own_field(struct dkim *dkim, struct slice value,
    unsigned char digest_r[static DIGEST_SIZE])
{
	struct buf own;
	bool is_good;

	buf_init(&own, FIELD_MAX);
	dkim_canon_field(SLICE("DKIM-Signature"), value, &own);
	/* Without its CR LF: RFC 6376 §3.7. */
	is_good = !own.overflowed && own.n > 2 &&
		  EVP_MD_CTX_copy_ex(dkim->own, dkim->header) == 1 &&
		  EVP_DigestUpdate(dkim->own, own.p, own.n - 2) == 1 &&
		  EVP_DigestFinal_ex(dkim->own, digest_r, NULL) == 1;
	buf_clear(&own);
	return is_good ? 0 : -1;
}

static int
digest_fields(struct dkim *dkim, const struct header *header,
    struct slice names, struct buf *canonical)
{
	buf_reset(canonical);
	if (canon_fields(header, names, canonical) == -1 ||
	    EVP_DigestInit_ex2(dkim->header, dkim->sha256, NULL) != 1 ||
	    EVP_DigestUpdate(dkim->header, canonical->p, canonical->n) != 1)
		return -1;
	return 0;
}

int
dkim_header_digest(struct dkim *dkim, const struct header *header,
    struct slice names, struct slice signature_value,
    unsigned char digest_r[static DIGEST_SIZE])
{
	struct buf canonical;
	int rc;

	buf_init(&canonical, 2 * HEADER_SIZE_MAX);
	rc = digest_fields(dkim, header, names, &canonical);
	if (rc == 0)
		rc = add_own_field(dkim, signature_value, digest_r);
	buf_clear(&canonical);
	return rc;
}

/* ---- the text of a signature ---- */

/* Folds before a name or a piece of base64 that would pass the column. */
static void
add_folded(struct buf *out, size_t *column, struct slice word)
{
	if (*column + word.n > LINE_COLUMNS) {
		(void)buf_add_text(out, "\r\n\t");
		*column = 8;
	}
	(void)buf_add_slice(out, word);
	*column += word.n;
}

static void
add_names(struct buf *out, struct slice names)
{
	size_t column = 8;

	while (names.n > 0) {
		size_t end = slice_find(names, ':', 0);

		if (end < names.n)
			end++;
		add_folded(out, &column, (struct slice){names.p, end});
		names.p += end;
		names.n -= end;
	}
}

/* Up to "b=": what is signed.  The names are the same for all. */
static void
write_value(struct dkim_task *task, struct signature *signature,
    const char body_hash[static BODY_HASH_SIZE])
{
	struct buf *out = &signature->value;

	buf_reset(out);
	(void)buf_addf(out,
	    " v=1; a=%s; c=relaxed/relaxed; t=%lld;\r\n\td=%.*s; s=%.*s;"
	    "\r\n\th=",
	    signature->is_ed25519 ? "ed25519-sha256" : "rsa-sha256",
	    (long long)task->now_s, SLICE_ARG(signature->signer.domain),
	    SLICE_ARG(signature->signer.selector));
	add_names(out, buf_slice(&task->names));
	(void)buf_addf(
	    out, ";\r\n\tbh=%.*s;\r\n\tb=", BODY_HASH_SIZE, body_hash);
}

static void
add_base64(struct buf *out, const unsigned char *octets, size_t n)
{
	char text[FIELD_MAX];
	struct slice rest = {text, BASE64_ENCODED_SIZE(n)};
	size_t columns = LINE_COLUMNS - 10; /* the tab and "b=" */

	if (base64_encode(octets, n, text, sizeof(text)) == -1)
		bug("a signature of %zu octets", n);
	while (rest.n > 0) {
		size_t take = rest.n < columns ? rest.n : columns;

		(void)buf_add(out, rest.p, take);
		rest.p += take;
		rest.n -= take;
		columns = LINE_COLUMNS - 8;
		if (rest.n > 0)
			(void)buf_add_text(out, "\r\n\t");
	}
}

static void
write_field(struct dkim_task *task, const struct signature *signature,
    const unsigned char *octets)
{
	(void)buf_add_text(&task->text, "DKIM-Signature:");
	(void)buf_add_slice(&task->text, buf_slice(&signature->value));
	add_base64(&task->text, octets, signature->octets);
	(void)buf_add_text(&task->text, "\r\n");
}

/* ---- signing ---- */

/*
 * RFC 8463 §3: Ed25519 signs the SHA-256 as if it were the message.  octets_r
 * has room for signature->octets.
 */
static int
sign_digest(struct dkim *dkim, const struct signature *signature,
    const unsigned char digest[static DIGEST_SIZE], unsigned char *octets_r)
{
	EVP_PKEY *key = signature->signer.key;
	EVP_PKEY_CTX *context;
	size_t n = signature->octets;
	bool is_good;

	if (signature->is_ed25519)
		return EVP_MD_CTX_reset(dkim->sign) == 1 &&
			       EVP_DigestSignInit_ex(dkim->sign, NULL, NULL,
				   NULL, NULL, key, NULL) == 1 &&
			       EVP_DigestSign(dkim->sign, octets_r, &n, digest,
				   DIGEST_SIZE) == 1 &&
			       n == signature->octets
			   ? 0
			   : -1;
	if ((context = EVP_PKEY_CTX_new(key, NULL)) == NULL)
		return -1;
	is_good =
	    EVP_PKEY_sign_init(context) == 1 &&
	    EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1 &&
	    EVP_PKEY_CTX_set_signature_md(context, dkim->sha256) == 1 &&
	    EVP_PKEY_sign(context, octets_r, &n, digest, DIGEST_SIZE) == 1 &&
	    n == signature->octets;
	EVP_PKEY_CTX_free(context);
	return is_good ? 0 : -1;
}

/* The header of what begins at that offset; body_r: where the body does. */
static int
read_header(const struct content *content, uint64_t offset,
    struct header *header, struct err *err)
{
	char piece[4096];
	uint64_t at = offset;
	int rc = PARSE_MORE;

	if (offset > content->size)
		return err_set(err, "there is no message");
	if (content->fd == -1) {
		rc = header_read(
		    header, (struct slice){content->memory.p + offset,
				content->memory.n - (size_t)offset});
	} else {
		while (rc == PARSE_MORE) {
			ssize_t n =
			    content_read(content, at, piece, sizeof(piece));

			if (n == -1)
				return err_set(err, "cannot read the message");
			if (n == 0) {
				rc = header_finish(header);
				break;
			}
			rc = header_feed(
			    header, (struct slice){piece, (size_t)n});
			at += (uint64_t)n;
		}
	}
	if (rc != PARSE_OK)
		return err_set(err, "%s", header_failure_text(header->failure));
	return 0;
}

static int
digest_body(struct dkim *dkim, const struct content *content, uint64_t offset,
    unsigned char digest_r[static DIGEST_SIZE], struct err *err)
{
	struct dkim_body body;
	ssize_t n = 0;

	if (EVP_DigestInit_ex2(dkim->body, dkim->sha256, NULL) != 1)
		return err_set(err, "SHA-256 failed");
	dkim_body_init(&body, dkim->body);
	if (content->fd == -1) {
		dkim_body_feed(&body, (struct slice){content->memory.p + offset,
					  content->memory.n - (size_t)offset});
	} else {
		char *piece = xmalloc(PIECE_OCTETS);

		while ((n = content_read(
			    content, offset, piece, PIECE_OCTETS)) > 0) {
			dkim_body_feed(&body, (struct slice){piece, (size_t)n});
			offset += (uint64_t)n;
		}
		free(piece);
	}
	if (n == -1)
		return err_set(err, "cannot read the message");
	if (dkim_body_finish(&body) == -1 ||
	    EVP_DigestFinal_ex(dkim->body, digest_r, NULL) != 1)
		return err_set(err, "SHA-256 failed");
	return 0;
}

static int
sign_one(struct dkim_task *task, struct signature *signature,
    const char body_hash[static BODY_HASH_SIZE], struct err *err)
{
	unsigned char digest[DIGEST_SIZE];
	unsigned char *octets = xmalloc(signature->octets);
	int rc = 0;

	write_value(task, signature, body_hash);
	if (add_own_field(task->dkim, buf_slice(&signature->value), digest) ==
		-1 ||
	    sign_digest(task->dkim, signature, digest, octets) == -1)
		rc = err_set(err, "the key for %.*s could not sign",
		    SLICE_ARG(signature->signer.domain));
	else
		write_field(task, signature, octets);
	free(octets);
	return rc;
}

int
dkim_task_sign(struct dkim_task *task, const struct content *content,
    uint64_t offset, struct err *err)
{
	struct dkim *dkim = task->dkim;
	unsigned char digest[DIGEST_SIZE];
	char body_hash[BODY_HASH_SIZE + 1];
	struct header header;
	int rc;

	header_init(&header, 0);
	rc = read_header(content, offset, &header, err);
	if (rc == 0)
		rc = digest_body(
		    dkim, content, offset + header.body_offset, digest, err);
	if (rc == 0 && digest_fields(dkim, &header, buf_slice(&task->names),
			   &task->canonical) == -1)
		rc = err_set(err, "the header could not be hashed");
	if (rc == 0)
		(void)base64_encode(
		    digest, sizeof(digest), body_hash, sizeof(body_hash));
	buf_reset(&task->text);
	for (size_t i = 0; rc == 0 && i < task->count; i++)
		rc = sign_one(task, &task->list[i], body_hash, err);
	header_clear(&header);
	if (rc == 0 && task->text.overflowed)
		rc = err_set(err, "too many signatures");
	return rc;
}

/* ---- tasks ---- */

/*
 * What readers take for different headers must not be vouched for: another
 * program would see other fields than those that are signed.
 */
static const char *
find_oddity(const struct header *header)
{
	if (header->end == HEADER_END_NOT_A_FIELD)
		return "a line of its header is no field";
	if ((header->quirks &
		(HEADER_QUIRK_MBOX_LINE | HEADER_QUIRK_LEADING_FOLD |
		    HEADER_QUIRK_BLANK_FOLD | HEADER_QUIRK_BARE_LINE_END |
		    HEADER_QUIRK_NUL)) != 0)
		return "its header has lines that programs read differently";
	if (header_count(header, HDR_FROM) != 1)
		return "it has not one From";
	return NULL;
}

int
dkim_task_fields(
    struct dkim_task *task, const struct content *message, struct err *err)
{
	const char *oddity;
	struct header header;
	int rc;

	header_init(&header, 0);
	buf_reset(&task->names);
	rc = read_header(message, 0, &header, err);
	if (rc == 0 && (oddity = find_oddity(&header)) != NULL)
		rc = err_set(err, "%s", oddity);
	if (rc == 0)
		list_names(&header, &task->names);
	header_clear(&header);
	return rc;
}

size_t
dkim_task_size(const struct dkim_task *task)
{
	/* The same text with other octets for what is not known yet. */
	char body_hash[BODY_HASH_SIZE];
	struct dkim_task measured = *task;
	size_t size;

	memset(body_hash, 'A', sizeof(body_hash));
	buf_init(&measured.text, DKIM_SIGNERS_MAX * FIELD_MAX);
	for (size_t i = 0; i < task->count; i++) {
		struct signature signature = task->list[i];
		unsigned char *octets = xcalloc(1, signature.octets);

		buf_init(&signature.value, FIELD_MAX);
		write_value(&measured, &signature, body_hash);
		write_field(&measured, &signature, octets);
		buf_clear(&signature.value);
		free(octets);
	}
	size = measured.text.n;
	buf_clear(&measured.text);
	return size;
}

struct slice
dkim_task_text(const struct dkim_task *task)
{
	return buf_slice(&task->text);
}

static int
add_signature(
    struct dkim_task *task, const struct dkim_signer *signer, struct err *err)
{
	struct signature *signature = &task->list[task->count];
	int size = EVP_PKEY_get_size(signer->key);

	*signature = (struct signature){.signer = *signer};
	buf_init(&signature->value, FIELD_MAX);
	task->count++;
	if (EVP_PKEY_is_a(signer->key, "ED25519"))
		signature->is_ed25519 = true;
	else if (!EVP_PKEY_is_a(signer->key, "RSA") ||
		 EVP_PKEY_get_bits(signer->key) < RSA_BITS_MIN)
		return err_set(err,
		    "the key %.*s._domainkey.%.*s is of no "
		    "kind that DKIM knows",
		    SLICE_ARG(signer->selector), SLICE_ARG(signer->domain));
	if (size <= 0 || size > FIELD_MAX / 4)
		return err_set(err, "a key is too large");
	signature->octets = (size_t)size;
	return 0;
}

struct dkim_task *
dkim_task_new(struct dkim *dkim, const struct dkim_signer *signers,
    size_t count, int64_t now_s, struct err *err)
{
	struct dkim_task *task = xcalloc(1, sizeof(*task));
	int rc = 0;

	task->dkim = dkim;
	task->now_s = now_s;
	buf_init(&task->names, NAMES_MAX);
	buf_init(&task->canonical, 2 * HEADER_SIZE_MAX);
	buf_init(&task->text, DKIM_SIGNERS_MAX * FIELD_MAX);
	if (count > DKIM_SIGNERS_MAX)
		count = DKIM_SIGNERS_MAX;
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = add_signature(task, &signers[i], err);
	if (rc == -1) {
		dkim_task_free(task);
		return NULL;
	}
	return task;
}

void
dkim_task_free(struct dkim_task *task)
{
	if (task == NULL)
		return;
	for (size_t i = 0; i < task->count; i++)
		buf_clear(&task->list[i].value);
	buf_clear(&task->names);
	buf_clear(&task->canonical);
	buf_clear(&task->text);
	free(task);
}

struct dkim *
dkim_new(void)
{
	struct dkim *dkim = xcalloc(1, sizeof(*dkim));

	dkim->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	dkim->body = EVP_MD_CTX_new();
	dkim->header = EVP_MD_CTX_new();
	dkim->own = EVP_MD_CTX_new();
	dkim->sign = EVP_MD_CTX_new();
	if (dkim->sha256 == NULL || dkim->body == NULL ||
	    dkim->header == NULL || dkim->own == NULL || dkim->sign == NULL)
		fatal("OpenSSL gives no SHA-256");
	return dkim;
}

void
dkim_free(struct dkim *dkim)
{
	if (dkim == NULL)
		return;
	EVP_MD_free(dkim->sha256);
	EVP_MD_CTX_free(dkim->body);
	EVP_MD_CTX_free(dkim->header);
	EVP_MD_CTX_free(dkim->own);
	EVP_MD_CTX_free(dkim->sign);
	free(dkim);
}
