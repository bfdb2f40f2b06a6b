/* SPDX-License-Identifier: ISC */
/*
 * Mail addresses of the envelope (RFC 5321 section 4.1.2, RFC 6531 section
 * 3.3) in one canonical form.
 */
#ifndef COMMON_ADDRESS_H
#define COMMON_ADDRESS_H

#include "common/buf.h"
#include "common/domain.h"
#include "common/err.h"
#include "common/netaddr.h"

/* RFC 5321 sections 4.5.3.1.1 and 4.5.3.1.3, in octets. */
#define ADDRESS_LOCAL_MAX 64
#define ADDRESS_PATH_MAX 256 /* with "<" and ">", without a source route */

/* A path's text without the brackets, and a NUL: room to spare. */
#define ADDRESS_TEXT_MAX (ADDRESS_LOCAL_MAX + 1 + sizeof(struct domain))

/* What the caller is ready to take; or-ed together. */
enum address_flags {
	ADDRESS_MAY_BE_UTF8 = 1,       /* SMTPUTF8 was asked for */
	ADDRESS_MAY_BE_NULL = 2,       /* "<>", a reverse-path */
	ADDRESS_MAY_BE_POSTMASTER = 4, /* "<postmaster>", a forward-path */
};

/*
 * Either null, or a local part with a domain or an address literal; only a
 * bare postmaster has neither.  The local part is opaque: "%", "!", "/", "|"
 * and quotes in it mean nothing to us, and it must never become a file name,
 * an argument, or SQL text.
 */
struct address {
	char local[ADDRESS_LOCAL_MAX + 1];     /* without quotes and escapes */
	char raw_local[ADDRESS_LOCAL_MAX + 1]; /* spelled as it came */
	struct domain domain;                  /* "" without one */
	struct netaddr literal;
	bool is_null;
	bool is_literal; /* the literal counts, not the domain */
	bool is_utf8;    /* the local part needs SMTPUTF8 further on */
	bool is_bare_postmaster;
	bool had_source_route; /* it was dropped; callers refuse such a path */
};

/*
 * "local@domain", all of s.  UTF-8 (without controls, bidi and zero-width
 * characters) only with ADDRESS_MAY_BE_UTF8, in the domain too.  Quotes that
 * are not needed are dropped: "\"a\"@b.example" is a@b.example.  -1 with a
 * sentence; *address_r is then untouched.
 */
int address_parse(
    struct slice s, unsigned flags, struct address *address_r, struct err *err);

/* The same in "<" and ">", all of s, with source routes and "<>". */
int address_parse_path(
    struct slice s, unsigned flags, struct address *address_r, struct err *err);

/*
 * The canonical text, without "<" and ">": the local part quoted only where it
 * must be, its case kept; "" for the null path.  Returns out.  What this
 * writes, address_parse() reads back to an equal address.
 */
const char *address_format(
    const struct address *address, char out[ADDRESS_TEXT_MAX]);

/*
 * The same with ASCII letters of the local part in lower case: the key under
 * which our own users and recipients are stored.  RFC 5321 section 2.4 makes
 * local parts the business of the host that owns them; we own these, and
 * compare them without regard to ASCII case.
 */
const char *address_format_folded(
    const struct address *address, char out[ADDRESS_TEXT_MAX]);

/* Domains by A-label; local parts octet by octet. */
bool address_equals(const struct address *a, const struct address *b);

/* Local parts without regard to ASCII case: for addresses of our own users. */
bool address_equals_folded(const struct address *a, const struct address *b);

#endif
