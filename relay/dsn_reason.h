/* SPDX-License-Identifier: ISC */
/*
 * What an enhanced status code (RFC 3463) means to the person who sent the
 * mail, and what that person can do.  Pure.
 */
#ifndef RELAY_DSN_REASON_H
#define RELAY_DSN_REASON_H

#include "common/buf.h"

/* In both, '%' stands for the domain of the recipient. */
struct dsn_reason {
	const char *code;   /* "x" in place of a number: any */
	const char *what;   /* one sentence: what happened */
	const char *advice; /* one or two: what to do */
};

/* Never NULL: the last rows match every code, well formed or not. */
const struct dsn_reason *dsn_reason(struct slice status);

#endif
