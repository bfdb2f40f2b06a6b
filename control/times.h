/* SPDX-License-Identifier: ISC */
/*
 * Points in time as text, in UTC: what people type and what is stored.  Pure.
 */
#ifndef CONTROL_TIMES_H
#define CONTROL_TIMES_H

#include <stdint.h>

#include "common/buf.h"

#define TIMES_TEXT_MAX 32

/* "2030-01-01T00:00:00Z" or "2030-01-01"; seconds since 1970; -1 else,
 * and for times before. */
int times_parse(struct slice text, int64_t *time_r);

/* The same, or a time from now: "2h", "7d" (ahead: 1) or ago (ahead: -1). */
int times_parse_from(
    struct slice text, int64_t now, int ahead, int64_t *time_r);

/* Returns text_r: "2030-01-01T00:00:00Z". */
const char *times_format(int64_t time, char text_r[TIMES_TEXT_MAX]);

#endif
