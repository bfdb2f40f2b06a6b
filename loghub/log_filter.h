/* SPDX-License-Identifier: ISC */
/*
 * What "postern log" is asked for: filters as typed values, and whether an
 * event has them.
 */
#ifndef LOGHUB_LOG_FILTER_H
#define LOGHUB_LOG_FILTER_H

#include <jansson.h>

#include "loghub/log_day.h"

/*
 * Filters that an event without such a field takes from its message: the
 * delivery of a mail is found by its sender.
 */
enum heir {
	HEIR_FROM,
	HEIR_TO,
	HEIR_CLIENT,
	HEIR_ACCOUNT,
	HEIR_COUNT
};

#define FILTER_TEXT_MAX 512

struct log_filter {
	bool has[HEIR_COUNT];
	char values[HEIR_COUNT][FILTER_TEXT_MAX];
	uint64_t types; /* a bit for each event type; 0: all */
	char texts[FILTER_TEXT_MAX]; /* each ends in NUL; all must be there */
	size_t texts_n;
	uint64_t message_id; /* 0: any */
	uint64_t session_id;
	uint64_t since_us;
	uint64_t until_us; /* UINT64_MAX: no end */
	enum event_level level; /* at least; INFO where no event is named */
};

/*
 * From the arguments of a request: members of these names, and "filter", a
 * text or list of words "name=value" or "name:value"; any other word is a text
 * to look for.  All of them must fit, but for events and statuses, of which one
 * is enough; no other name may be there twice.  -1: err says what is wrong.
 */
int log_filter_read(struct log_filter *filter, const json_t *arguments,
    uint64_t now_us, struct err *err);

/* The term that leads to events with that value. */
uint64_t log_filter_term(const struct log_filter *filter, enum heir heir);

/*
 * sets: for each heir the messages (sorted) that have the value; NULL where
 * the filter is not asked for.
 */
bool log_filter_matches(const struct log_filter *filter,
    const struct number_list *sets, const struct log_event_view *view);

#endif
