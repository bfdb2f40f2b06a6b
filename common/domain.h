/* SPDX-License-Identifier: ISC */
/*
 * Domain names in one canonical form, so that comparing is comparing text:
 * lower case, A-labels (RFC 5890), no final dot.
 */
#ifndef COMMON_DOMAIN_H
#define COMMON_DOMAIN_H

#include "common/buf.h"
#include "common/err.h"

/* RFC 1035: 255 octets on the wire are 253 characters of text. */
#define DOMAIN_LENGTH_MAX 253
#define DOMAIN_LABEL_MAX 63

struct domain {
	char text[256]; /* canonical; "" only where no domain is known */
};

/*
 * Takes U-labels (mapped by UTS 46, non-transitional) and A-labels (checked to
 * be what their U-label encodes to); letters, digits and hyphens else, one
 * final dot at most.  A name whose last label is a number is refused: it is an
 * IP address without brackets.  Address literals are not domains.
 * May allocate inside libidn2; frees all of it.  -1: *domain_r is untouched.
 */
int domain_parse(struct slice s, struct domain *domain_r, struct err *err);

/* The same for names in the DNS, which may hold "_" (_dmarc, _25._tcp). */
int domain_parse_dns(struct slice s, struct domain *domain_r, struct err *err);

bool domain_equals(const struct domain *a, const struct domain *b);
int domain_compare(const struct domain *a, const struct domain *b);

/* Strictly below: mail.example.org of example.org, not itself. */
bool domain_is_subdomain(const struct domain *d, const struct domain *of);

/* The name without its first label; -1 when there is only one. */
int domain_parent(const struct domain *d, struct domain *parent_r);

/* What a route or list entry names. */
enum domain_pattern_kind {
	DOMAIN_PATTERN_ANY,   /* "*" */
	DOMAIN_PATTERN_BELOW, /* ".example.org" or "*.example.org" */
	DOMAIN_PATTERN_EXACT, /* "example.org" */
	DOMAIN_PATTERN_KIND_COUNT
};

struct domain_pattern {
	enum domain_pattern_kind kind;
	struct domain domain; /* "" for DOMAIN_PATTERN_ANY */
};

/* "*." and a name. */
#define DOMAIN_PATTERN_TEXT_MAX (DOMAIN_LENGTH_MAX + 3)

int domain_pattern_parse(
    struct slice s, struct domain_pattern *pattern_r, struct err *err);

/* Returns out: "*", "*.example.org" or "example.org". */
const char *domain_pattern_format(
    const struct domain_pattern *pattern, char out[DOMAIN_PATTERN_TEXT_MAX]);

bool domain_pattern_matches(
    const struct domain_pattern *pattern, const struct domain *d);

/*
 * Of two patterns that match one domain, the higher rank is the nearer:
 * exact, then the longest suffix, then any.
 */
unsigned domain_pattern_rank(const struct domain_pattern *pattern);

#endif
