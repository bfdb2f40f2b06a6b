/* SPDX-License-Identifier: ISC */
/*
 * Management verbs of the signer: the table is in manage.c, their functions
 * in the files of what they are about.
 *
 * Arguments and answers are JSON as in DESIGN §5: a result, or {"error":
 * sentence, "hint": next command}.
 */
#ifndef SIGNER_MANAGE_H
#define SIGNER_MANAGE_H

#include <jansson.h>

#include "common/channel.h"

struct signerd;

/* Exit codes of the command line (DESIGN §5); LATER is none of them. */
enum manage_code {
	MANAGE_DONE = 0,
	MANAGE_FAILED = 1,
	MANAGE_USAGE = 2,
	MANAGE_NOTHING = 3,
	MANAGE_CONFLICT = 6,
	MANAGE_LATER = 100 /* manage_answer() follows */
};

struct manage_request {
	struct signerd *signerd;
	struct channel *channel; /* NULL: confd went away meanwhile */
	uint64_t request_id;
	json_t *arguments;
	json_t *reply; /* what the verb leaves; NULL: {} */
	struct manage_request *next;
	struct manage_request **previous;
};

/* Runs in the loop; what takes time answers MANAGE_LATER. */
typedef enum manage_code manage_verb_fn(struct manage_request *request);

int manage_on_request(
    struct channel *channel, const struct channel_frame *frame);

/* Nobody waits for answers on that channel any more. */
void manage_drop_channel(
    struct signerd *signerd, const struct channel *channel);

/* JSON's memory is wiped when freed: passwords of key files pass here. */
void manage_init(void);

/* Sets the reply to an error; hint: a command, or NULL.  Returns code. */
enum manage_code manage_fail(struct manage_request *request,
    enum manage_code code, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Sends and frees; after MANAGE_LATER. */
void manage_answer(struct manage_request *request, enum manage_code code);

/* A text argument, or NULL; a flag; "limit" and "cursor" of lists. */
const char *manage_text(
    const struct manage_request *request, const char *name);
bool manage_flag(const struct manage_request *request, const char *name);
size_t manage_limit(const struct manage_request *request);

#endif
