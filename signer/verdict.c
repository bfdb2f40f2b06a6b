/* SPDX-License-Identifier: ISC */
/*
 * Writes verdicts.
 * Runs in: postern-signerd's workers.  Trusts: the verdict's numbers; its
 * texts come from certificates and keys of strangers.
 */
#include <string.h>

#include "common/printable.h"
#include "signer/verdict.h"

/* Folded before a line passes this (RFC 5322 §2.1.1). */
#define LINE_LENGTH_MAX 76
/* One element; longer ones stand on a line of their own and are cut. */
#define ELEMENT_MAX 700

static const struct {
	const char *name;
	const char *result;
} verdicts[VERDICT_KIND_COUNT] = {
#define X(id, name, result) [VERDICT_##id] = {name, result},
    VERDICTS(X)
#undef X
};

static const char *const method_texts[VERDICT_METHOD_COUNT] = {
    [VERDICT_SMIME] = "smime",
    /* RFC 7281 §2 registers smime alone; this name is what others use. */
    [VERDICT_PGP] = "openpgp",
};

static const char *const revocation_texts[REVOCATION_COUNT] = {
    [REVOCATION_UNKNOWN] = "unknown",
    [REVOCATION_GOOD] = "ok",
    [REVOCATION_REVOKED] = "revoked",
};

/* From the best to the worst; of several signatures the worst counts. */
static const unsigned char badness[VERDICT_KIND_COUNT] = {
    [VERDICT_NONE] = 0,
    [VERDICT_PASS] = 1,
    [VERDICT_PARTIAL] = 2,
    [VERDICT_MISMATCH] = 3,
    [VERDICT_WEAK] = 4,
    [VERDICT_UNTRUSTED] = 5,
    [VERDICT_EXPIRED] = 6,
    [VERDICT_REVOKED] = 7,
    [VERDICT_MODIFIED] = 8,
    [VERDICT_UNDECRYPTABLE] = 9,
    [VERDICT_FAIL] = 10,
};

const char *
verdict_text(enum verdict_kind kind)
{
	return verdicts[kind].name;
}

enum verdict_kind
verdict_worse(enum verdict_kind a, enum verdict_kind b)
{
	return badness[a] >= badness[b] ? a : b;
}

/* ---- elements of a field ---- */

struct line {
	struct buf *out;
	size_t column;
};

static void
add_element(struct line *line, struct slice element)
{
	if (line->column + 1 + element.n > LINE_LENGTH_MAX) {
		(void)buf_add_text(line->out, "\r\n\t");
		line->column = 8;
	} else {
		(void)buf_add_char(line->out, ' ');
		line->column++;
	}
	(void)buf_add_slice(line->out, element);
	line->column += element.n;
}

static void
add_text(struct line *line, const char *text)
{
	add_element(line, slice_of(text));
}

/* name="value", what is not printable ASCII made so. */
static void
add_quoted(
    struct line *line, const char *name, const char *value, const char *end)
{
	char text[ELEMENT_MAX];
	struct buf b;

	if (value[0] == '\0')
		return;
	buf_init(&b, 3 * sizeof(text));
	(void)buf_addf(&b, "%s=\"", name);
	(void)printable_ascii(slice_of(value), text, sizeof(text));
	for (const char *c = text; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\')
			(void)buf_add_char(&b, '\\');
		(void)buf_add_char(&b, *c);
	}
	(void)buf_addf(&b, "\"%s", end);
	add_element(line, buf_slice(&b));
	buf_clear(&b);
}

static void
add_pair(struct line *line, const char *name, const char *value)
{
	struct buf b;

	buf_init(&b, ELEMENT_MAX);
	(void)buf_addf(&b, "%s=%s;", name, value);
	add_element(line, buf_slice(&b));
	buf_clear(&b);
}

static void
start_line(struct line *line, struct buf *out, const char *name)
{
	line->out = out;
	line->column = strlen(name);
	(void)buf_add_text(out, name);
}

/* The last element has no semicolon behind it. */
static void
end_line(struct line *line)
{
	if (line->out->n > 0 && line->out->p[line->out->n - 1] == ';')
		line->out->n--;
	(void)buf_add_text(line->out, "\r\n");
}

/* ---- Authentication-Results ---- */

static void
add_result(struct line *line, const struct verdict *v)
{
	char text[64];
	struct buf b;

	buf_init(&b, sizeof(text));
	(void)buf_addf(
	    &b, "%s=%s", method_texts[v->method], verdicts[v->kind].result);
	add_element(line, buf_slice(&b));
	buf_clear(&b);
	if (strcmp(verdicts[v->kind].name, verdicts[v->kind].result) == 0)
		return;
	buf_init(&b, sizeof(text));
	(void)buf_addf(&b, "(%s)", verdicts[v->kind].name);
	add_element(line, buf_slice(&b));
	buf_clear(&b);
}

static void
write_results(
    const struct verdict *v, struct slice authserv_id, struct buf *out)
{
	struct line line;
	struct buf id;

	start_line(&line, out, "Authentication-Results:");
	buf_init(&id, ELEMENT_MAX);
	(void)buf_addf(&id, "%.*s;", SLICE_ARG(authserv_id));
	add_element(&line, buf_slice(&id));
	buf_clear(&id);
	add_result(&line, v);
	add_quoted(&line, "reason", v->reason, "");
	if (v->method == VERDICT_SMIME) {
		add_quoted(&line, "body.smime-identifier", v->identifier, "");
		add_quoted(&line, "body.smime-serial", v->serial, "");
		add_quoted(&line, "body.smime-issuer", v->issuer, "");
	} else {
		add_quoted(
		    &line, "body.openpgp-fingerprint", v->fingerprint, "");
	}
	end_line(&line);
}

/* ---- X-Postern-Crypto ---- */

static void
write_crypto(const struct verdict *v, struct buf *out)
{
	char text[64];
	struct line line;
	struct buf b;

	start_line(&line, out, "X-Postern-Crypto:");
	add_text(&line, "v=1;");
	buf_init(&b, sizeof(text));
	if (v->is_encrypted) {
		(void)buf_addf(&b, "%s/%s", method_texts[v->method],
		    v->cipher[0] != '\0' ? v->cipher : "unknown");
		add_pair(&line, "enc", buf_text(&b));
		add_pair(&line, "integrity", v->has_integrity ? "yes" : "none");
	} else {
		add_pair(&line, "enc", "none");
	}
	buf_clear(&b);
	add_pair(&line, "sig", verdicts[v->kind].name);
	if (v->is_signed) {
		add_pair(&line, "method", method_texts[v->method]);
		if (v->digest[0] != '\0')
			add_pair(&line, "digest", v->digest);
		add_quoted(&line, "signer", v->signer, ";");
		add_pair(&line, "from", v->matches_from ? "match" : "mismatch");
		add_pair(&line, "rev", revocation_texts[v->revocation]);
		if (v->fingerprint[0] != '\0')
			add_pair(&line, "key", v->fingerprint);
	}
	add_quoted(&line, "reason", v->reason, ";");
	end_line(&line);
}

int
verdict_write(
    const struct verdict *verdict, struct slice authserv_id, struct buf *out)
{
	write_results(verdict, authserv_id, out);
	write_crypto(verdict, out);
	return out->overflowed ? -1 : 0;
}
