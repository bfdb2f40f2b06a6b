/* SPDX-License-Identifier: ISC */
/*
 * "postern trace": what happened to a mail, found by its id, its Message-ID,
 * an address, the next server's queue id, the reference of a refusal, or a
 * session's id.
 */
#ifndef LOGHUB_TRACE_H
#define LOGHUB_TRACE_H

#include "loghub/log_view.h"

#define TRACE_LIMIT 20
#define TRACE_LIMIT_MAX 200

/*
 * Arguments: "key" (or "query"), "since", "until", "limit", "cursor".
 * Result: {"traces": [...], "next", "partial", "behind"}, newest first.
 * Returns an exit code: 0, 2 (err is set), or 3 when nothing matched.
 */
int trace_query(struct log_view *view, const json_t *arguments,
    json_t **result_r, struct err *err);

/* ---- one life; trace_life.c ---- */

/*
 * {"id", "session", "ts", "from", "client", "account", "header_message_id",
 * "size", "status", "finished", "recipients": [...], "events": [...],
 * "dsns": [...], "dsn_of": {...}}, with what its session did besides; NULL
 * when the log has no event of it.
 */
json_t *trace_message(struct log_view *view, uint64_t id);

/* {"session", "events": [...], "messages": [ids]}; NULL when unknown. */
json_t *trace_session(struct log_view *view, uint64_t session);

/* An event that belongs to no message: {"session", "events": [it]}. */
json_t *trace_event(
    struct log_view *view, const struct log_event_view *event);

#endif
