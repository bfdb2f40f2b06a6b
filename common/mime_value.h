/* SPDX-License-Identifier: ISC */
/*
 * The values of Content-Type, Content-Disposition and their kin: a token or
 * two, then parameters (RFC 2045 §5.1, RFC 2231).  Pure, iterative, tolerant:
 * a damaged parameter is left out, the rest is kept.
 */
#ifndef COMMON_MIME_VALUE_H
#define COMMON_MIME_VALUE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

/* Real values have up to a dozen; pieces of a long file name included. */
#define MIME_PARAMS_MAX 64

/* The section of a parameter that is not cut in pieces (RFC 2231 §3). */
#define MIME_NO_SECTION 255

struct mime_param {
	struct slice name;     /* without its "*0*" */
	struct slice value;    /* without its outer quotes, else raw */
	unsigned char section; /* of "name*3", or MIME_NO_SECTION */
	bool is_extended;      /* charset, language, %XX (RFC 2231 §4) */
};

struct mime_value {
	struct slice type;    /* "multipart", or the only token */
	struct slice subtype; /* empty when there is no slash */
	struct mime_param params[MIME_PARAMS_MAX];
	size_t param_count;
	bool is_damaged; /* parameters were left out, or too many */
};

/*
 * Reads a raw, still folded value.  -1 when it does not start with a token;
 * *value_r is then not set.  The slices point into raw.
 */
int mime_value_parse(struct slice raw, struct mime_value *value_r);

/*
 * Appends the value of a parameter, quotes, pieces and %XX undone, in whatever
 * charset it has.  -1 when there is none or out is full.  Of two with the same
 * name the first counts, and the plain form before those of RFC 2231.
 */
int mime_value_param(
    const struct mime_value *value, const char *name, struct buf *out);

/* How many parameters have this name; those of one in pieces are one. */
size_t mime_value_param_count(const struct mime_value *value, const char *name);

#endif
