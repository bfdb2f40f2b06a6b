/* SPDX-License-Identifier: ISC */
/*
 * By what an event can be found: the words, ids and addresses in it, as 64
 * bits each.  A term only leads to an event; whether it matches is decided on
 * the event itself.
 */
#ifndef LOGHUB_LOG_TERMS_H
#define LOGHUB_LOG_TERMS_H

#include "common/events.h"

enum term_kind {
	TERM_MESSAGE, /* a number: the message id */
	TERM_SESSION,
	TERM_CLIENT,
	TERM_ACCOUNT,
	TERM_HEADER_ID, /* Message-ID, without < > */
	TERM_REMOTE_ID, /* the next server's queue id, from its reply */
	TERM_REFERENCE, /* of a refusal */
	TERM_EVENT,     /* the event's name; not of frequent ones */
	TERM_FROM,
	TERM_FROM_DOMAIN, /* the domain and each domain above it */
	TERM_TO,
	TERM_TO_DOMAIN,
	TERM_KIND_COUNT
};

/* Kind and value in 64 bits, ASCII case aside. */
uint64_t term_hash(enum term_kind kind, struct slice value);
uint64_t term_hash_id(enum term_kind kind, uint64_t id);

/* Blanks and one pair of < > around it are taken off. */
struct slice term_header_id(struct slice text);

/*
 * An address filter is "user@domain", "@domain", "@.domain" (that one and all
 * below it), or "" for the null sender.  kind is TERM_FROM or TERM_TO.
 */
uint64_t term_of_address_filter(enum term_kind kind, struct slice filter);
bool address_matches(struct slice filter, struct slice address);

/*
 * Each mail or connection has one of these: they have no TERM_EVENT, and are
 * found soon by reading.
 */
bool term_is_frequent(enum event_type type);

typedef void term_fn(void *arg, uint64_t term);

/* All terms of an event but those of its two ids. */
void terms_of_event(enum event_type type, const union event_fields *fields,
    term_fn *add, void *arg);

/* The TEXT field of that name; false and empty when the row has none. */
bool event_text_field(enum event_type type, const union event_fields *fields,
    const char *name, struct slice *text_r);

#define REMOTE_IDS_MAX 3

/*
 * Queue ids in the reply that took a message ("queued as X", "id=X"), as
 * Postfix, Exim, Sendmail, Exchange, OpenSMTPD and we ourselves say it.
 */
size_t remote_ids(struct slice reply, struct slice ids_r[REMOTE_IDS_MAX]);

#endif
