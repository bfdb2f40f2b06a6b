/* SPDX-License-Identifier: ISC */
/*
 * Makes a context of libunbound from the settings.
 */
#ifndef SMTPD_RESOLVER_CONTEXT_H
#define SMTPD_RESOLVER_CONTEXT_H

#include <event2/event.h>

#include "common/settings.h"

struct ub_ctx;

/*
 * Finalized, so that all settings were looked at: NULL, and a sentence, when
 * libunbound refuses one.  Delete with ub_ctx_delete().
 */
struct ub_ctx *resolver_context_new(struct event_base *base,
    const struct settings *settings, struct err *err);

/*
 * Text that is equal for settings that make equal contexts; the caller frees
 * it.
 */
char *resolver_context_signature(const struct settings *settings);

#endif
