/* SPDX-License-Identifier: ISC */
/*
 * Which addresses of our domains exist, and what aliases make of them.
 *
 * An address exists when its domain takes any, when it is listed, is an
 * account's name or an alias, or is postmaster@ or abuse@.  user+tag@ exists
 * where user@ does.  An alias of a whole domain ("@domain") counts after all
 * of these.
 */
#ifndef SMTPD_DIRECTORY_H
#define SMTPD_DIRECTORY_H

#include "common/settings.h"
#include "common/vocabulary.h"
#include "smtpd/directory_store.h"

/* An alias that leads to an alias, and so on; more is a mistake. */
#define DIRECTORY_DEPTH_MAX 10

enum directory_answer {
	DIRECTORY_EXISTS,
	DIRECTORY_UNKNOWN,
	DIRECTORY_ASK,    /* the inner server is to be asked */
	DIRECTORY_FAILED, /* the store, or not a domain of ours (any more) */
	DIRECTORY_ANSWER_COUNT
};

enum directory_answer directory_check(struct accounts *accounts,
    const struct snapshot *snapshot, const struct address *address);

/*
 * Calls each with every address that mail for this one goes to, itself where
 * no alias says else; each address once.  -1: the store failed, or aliases
 * lead in a circle, too deep or to nobody; what was given is then not enough.
 */
int directory_expand(struct accounts *accounts, const struct snapshot *snapshot,
    const struct address *address, accounts_text_fn *each, void *arg,
    struct err *err);

#endif
