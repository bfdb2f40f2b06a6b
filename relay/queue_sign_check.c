/* SPDX-License-Identifier: ISC */
/*
 * Compares what was demanded with what there is.
 * Runs in: postern-queued.  Trusts: nothing of the signer's output.
 */
#include <string.h>

#include "common/header.h"
#include "common/mime_value.h"
#include "relay/queue_sign_check.h"

/* What the root of an output is, by its label. */
struct root {
	bool is_signed;
	bool is_encrypted;
	bool has_dkim;
};

static bool
is_type(const struct mime_value *value, const char *type, const char *subtype)
{
	return slice_equals_nocase(value->type, slice_of(type)) &&
	       slice_equals_nocase(value->subtype, slice_of(subtype));
}

/* Signed data in the same type as encrypted data says so by a parameter. */
static bool
is_opaque_signature(const struct mime_value *value)
{
	struct buf kind;
	bool is_signed;

	buf_init(&kind, 128);
	is_signed = mime_value_param(value, "smime-type", &kind) == 0 &&
		    slice_equals_nocase(buf_slice(&kind), SLICE("signed-data"));
	buf_clear(&kind);
	return is_signed;
}

static void
read_type(const struct header *header, struct root *root)
{
	const struct header_field *field =
	    header_first(header, HDR_CONTENT_TYPE);
	struct mime_value value;

	if (field == NULL || header_next(header, field) != NULL ||
	    mime_value_parse(header_field_value(header, field), &value) == -1)
		return;
	if (is_type(&value, "multipart", "signed")) {
		root->is_signed = true;
	} else if (is_type(&value, "multipart", "encrypted")) {
		root->is_encrypted = true;
	} else if (is_type(&value, "application", "pkcs7-mime") ||
		   is_type(&value, "application", "x-pkcs7-mime")) {
		root->is_signed = is_opaque_signature(&value);
		root->is_encrypted = !root->is_signed;
	}
}

static struct root
read_root(struct slice start)
{
	struct root root = {0};
	struct header header;

	header_init(&header, start.n + 1);
	if (header_read(&header, start) == PARSE_OK) {
		read_type(&header, &root);
		root.has_dkim = header_count(&header, HDR_DKIM_SIGNATURE) > 0;
		/* As a sender's own program may have made it. */
		if (slice_starts_nocase(
			(struct slice){start.p + header.body_offset,
			    start.n - header.body_offset},
			"-----BEGIN PGP MESSAGE-----"))
			root.is_encrypted = true;
	}
	header_clear(&header);
	return root;
}

const char *
queue_sign_missing(const struct queue_protection *protection,
    const struct queue_demand *demand, unsigned applied, struct slice start)
{
	struct root root;

	if (!queue_demand_is_met(protection, demand, applied))
		return "not all that is demanded was applied";
	if ((applied & QUEUE_WAIVED) != 0 ||
	    !queue_demand_is_strict(protection, demand))
		return NULL;
	root = read_root(start);
	if (demand->encrypt >= ENCRYPT_REQUIRED && !root.is_encrypted)
		return "the output does not look encrypted";
	/* A signature may be inside of what is encrypted. */
	if (demand->sign == SIGN_REQUIRED && !root.is_signed &&
	    !root.is_encrypted)
		return "the output does not look signed";
	if (protection->dkim == DKIM_REQUIRED && !root.has_dkim)
		return "the output has no DKIM-Signature";
	return NULL;
}

bool
queue_sign_is_calendar(struct slice start)
{
	static const char type[] = "text/calendar";

	for (size_t i = 0; i + sizeof(type) - 1 <= start.n; i++) {
		if (start.p[i] != 't' && start.p[i] != 'T')
			continue;
		if (slice_equals_nocase(
			(struct slice){start.p + i, sizeof(type) - 1},
			SLICE("text/calendar")))
			return true;
	}
	return false;
}
