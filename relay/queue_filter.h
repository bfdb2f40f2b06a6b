/* SPDX-License-Identifier: ISC */
/*
 * Which messages of the queue are meant: the filter words of the command line
 * and the web, as JSON {"from", "to", "domain", "account", "status",
 * "older_than_s"}.  Pure.
 */
#ifndef RELAY_QUEUE_FILTER_H
#define RELAY_QUEUE_FILTER_H

#include <jansson.h>

#include "common/err.h"
#include "relay/queue_message.h"

struct queue_filter {
	char *from;    /* NULL: any; a part of the sender, "<>" the null one */
	char *to;      /* a part of a recipient */
	char *domain;  /* a recipient's domain, exactly */
	char *account; /* exactly */
	char *status;  /* "waiting", "deferred" or "held" */
	int64_t older_than_s; /* 0: any */
};

/* match NULL or null: every message.  -1: a word that is none, or its value. */
int queue_filter_parse(
    const json_t *match, struct queue_filter *filter_r, struct err *err);
void queue_filter_clear(struct queue_filter *filter);

bool queue_filter_matches(const struct queue_filter *filter,
    const struct queue_message *message, int64_t now_ms);

/* "waiting", "deferred" (tried before), "held". */
const char *queue_recipient_status(const struct queue_recipient *recipient);

#endif
