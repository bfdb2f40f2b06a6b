/* SPDX-License-Identifier: ISC */
/*
 * Looks for octets and lines that some relay would change on the way.
 */
#ifndef SIGNER_CANON_SCAN_H
#define SIGNER_CANON_SCAN_H

#include "signer/content.h"

/* RFC 5322 §2.1.1, without CR LF. */
#define CANON_LINE_MAX 998

struct canon_facts {
	uint64_t size;
	uint64_t high_count; /* octets over 127 */
	bool has_nul;
	bool has_long;     /* a line over CANON_LINE_MAX */
	bool has_bare;     /* a CR or LF without the other */
	bool has_trailing; /* a blank at a line's end */
	bool has_from;     /* a line that begins with "From " */
};

/* Of octets [start, end); -1 when they cannot be read. */
int canon_scan(const struct content *content, uint64_t start, uint64_t end,
    struct canon_facts *facts_r, struct err *err);

/* No relay may carry it outside of base64. */
bool canon_facts_are_7bit(const struct canon_facts *facts);

/* And none has a reason to change it. */
bool canon_facts_are_clean(const struct canon_facts *facts);

#endif
