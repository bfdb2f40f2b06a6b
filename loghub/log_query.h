/* SPDX-License-Identifier: ISC */
/*
 * "postern log": events that have the filters, newest first or, following,
 * those that came after a given one.
 */
#ifndef LOGHUB_LOG_QUERY_H
#define LOGHUB_LOG_QUERY_H

#include "loghub/log_filter.h"
#include "loghub/log_view.h"

#define LOG_QUERY_LIMIT 100
#define LOG_QUERY_LIMIT_MAX 1000

/* Of one answer's text; IPC_JSON_MAX is the frame's limit. */
#define LOG_QUERY_OCTETS_MAX (2u << 20)

/*
 * Arguments: filters, "limit", "cursor" (from "next" of the answer before),
 * or "after": the number of an event, or -1 for "only what comes now"; the
 * events after it come oldest first, and "position" is the next "after".
 * Result: {"events": [...], "next", "position", "partial", "behind"};
 * position is the first "after" of one who follows.  Returns an exit
 * code of the management API: 0, or 2 with err set.
 */
int log_query(struct log_view *view, const json_t *arguments,
    json_t **result_r, struct err *err);

/*
 * The same in the order of the log, for an export: oldest first, from "after"
 * (0: the beginning).
 */
int log_export(struct log_view *view, const json_t *arguments,
    json_t **result_r, struct err *err);

/* A number, or its text, that a cursor holds.  -1: it is none. */
int cursor_read(const json_t *value, uint64_t *number_r);

#endif
