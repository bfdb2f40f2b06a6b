/* SPDX-License-Identifier: ISC */
/*
 * Finds what a key may mean, and tells it.
 * Runs in: postern-loghub, the query threads.  Trusts: nothing of arguments,
 * index and segments.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/loop.h"
#include "common/netaddr.h"
#include "loghub/event_json.h"
#include "loghub/log_query.h"
#include "loghub/trace.h"

/* Records of a day that a key may lead to before some are left out. */
#define DAY_MATCHES_MAX 20000

#define KEY_MAX 998

/* Of one answer with several traces. */
#define TRACE_OCTETS_MAX (2u << 20)

struct match {
	uint64_t number; /* of the record that the key led to */
	uint64_t message;
	uint64_t session; /* of an event without a message */
};

struct search {
	struct log_view *view;
	char text[KEY_MAX + 1];
	struct slice key;
	uint64_t since_us;
	uint64_t until_us;
	uint64_t below; /* newest first: only smaller numbers */
	const struct log_run *run; /* in work */
	size_t limit;
	struct number_list numbers; /* records of it */
	struct number_list shown;   /* messages of the pages before */
	struct match matches[TRACE_LIMIT_MAX + 1];
	size_t count;
};

/* ---- does an event have the key? ---- */

static bool
field_is(const struct log_event_view *event, const char *name,
    struct slice key)
{
	struct slice text;

	return event_text_field(
	           event->head.type, &event->fields, name, &text) &&
	    text.n > 0 && slice_equals_nocase(text, key);
}

static bool
has_header_id(const struct log_event_view *event, struct slice key)
{
	struct slice text;

	return event_text_field(event->head.type, &event->fields,
	           "header_message_id", &text) &&
	    text.n > 0 && slice_equals_nocase(term_header_id(text), key);
}

static bool
has_remote_id(const struct log_event_view *event, struct slice key)
{
	struct slice ids[REMOTE_IDS_MAX];
	size_t count = 0;

	if (event->head.type == EV_DELIVERED)
		count = remote_ids(event->fields.delivered.reply, ids);
	for (size_t i = 0; i < count; i++)
		if (slice_equals_nocase(ids[i], key))
			return true;
	return false;
}

static bool
has_from(const struct log_event_view *event, struct slice key)
{
	return field_is(event, "from", key) ||
	    field_is(event, "header_from", key);
}

static bool
has_to(const struct log_event_view *event, struct slice key)
{
	return field_is(event, "to", key) || field_is(event, "original", key);
}

static bool
has_reference(const struct log_event_view *event, struct slice key)
{
	return field_is(event, "reference", key);
}

static const struct {
	enum term_kind kind;
	bool has_at; /* only keys with an @ */
	bool (*has)(const struct log_event_view *event, struct slice key);
} meanings[] = {
	{TERM_HEADER_ID, false, has_header_id},
	{TERM_FROM, true, has_from},
	{TERM_TO, true, has_to},
	{TERM_REMOTE_ID, false, has_remote_id},
	{TERM_REFERENCE, false, has_reference},
};

/* ---- one day ---- */

static bool
is_known(const struct search *s, uint64_t message, uint64_t session)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct match *match = &s->matches[i];

		if (message != 0 ? match->message == message
		                 : match->message == 0 && session != 0 &&
		            match->session == session)
			return true;
	}
	return false;
}

static bool
event_has_key(const struct search *s, const struct log_event_view *event)
{
	for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++)
		if (meanings[i].has(event, s->key))
			return true;
	return false;
}

static void
look_at(struct search *s, struct log_day *day, uint64_t number)
{
	struct log_event_view event;
	struct record record;
	int rc = log_day_fetch(day, number, &record, NULL);

	if (rc == -1)
		log_view_failed(s->view);
	if (rc != 1 || log_event_view(&record, &event) == -1 ||
	    event.head.time_us < s->since_us ||
	    event.head.time_us > s->until_us || !event_has_key(s, &event) ||
	    number_list_has(&s->shown, event.head.message_id) ||
	    is_known(s, event.head.message_id, event.head.session_id))
		return;
	s->matches[s->count++] = (struct match){
	    .number = number,
	    .message = event.head.message_id,
	    .session = event.head.session_id,
	};
}

/* A key leads to several events of a message; the newest stands for it. */
static void
note_posting(void *arg, const struct posting *posting)
{
	struct search *s = arg;

	if (posting->number >= s->below) {
		if (posting->message != 0)
			number_list_add(&s->shown, posting->message);
	} else if (posting->number >= s->run->from &&
	    posting->number <= s->run->to) {
		number_list_add(&s->numbers, posting->number);
	}
}

static void
search_run(struct search *s, const struct log_run *run)
{
	struct log_day *day = log_view_day(s->view, run->day);
	bool has_at = slice_find(s->key, '@', 0) < s->key.n;

	if (day == NULL)
		return;
	s->run = run;
	number_list_clear(&s->numbers);
	for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++)
		if ((has_at || !meanings[i].has_at) &&
		    log_index_find(day->index,
		        term_hash(meanings[i].kind, s->key), note_posting, s,
		        NULL) == -1)
			log_view_failed(s->view);
	if (s->numbers.is_cut)
		s->view->is_cut = true;
	number_list_sort(&s->numbers);
	number_list_sort(&s->shown);
	for (size_t i = s->numbers.count; i > 0 && s->count <= s->limit &&
	     !log_view_is_late(s->view);
	     i--)
		look_at(s, day, s->numbers.values[i - 1]);
}

/* ---- the answer ---- */

static json_t *
tell_match(struct search *s, const struct match *match)
{
	struct log_event_view event;
	struct record record;

	if (match->message != 0)
		return trace_message(s->view, match->message);
	if (match->session != 0)
		return trace_session(s->view, match->session);
	for (size_t i = s->view->day_count; i > 0; i--) {
		struct log_day *day =
		    log_view_day(s->view, s->view->days[i - 1]);

		if (day != NULL &&
		    log_day_fetch(day, match->number, &record, NULL) == 1 &&
		    log_event_view(&record, &event) == 0)
			return trace_event(s->view, &event);
	}
	return NULL;
}

static void
tell_matches(struct search *s, json_t *traces, json_t *result)
{
	size_t told = 0;
	size_t octets = 0;

	while (told < s->count && told < s->limit && !s->view->is_late &&
	    octets < TRACE_OCTETS_MAX) {
		json_t *trace = tell_match(s, &s->matches[told++]);

		if (trace == NULL)
			continue;
		octets += json_dumpb(trace, NULL, 0, 0);
		(void)json_array_append_new(traces, trace);
	}
	if (told < s->count && told > 0) {
		char text[24];

		(void)snprintf(text, sizeof(text), "%llu",
		    (unsigned long long)s->matches[told - 1].number);
		(void)json_object_set_new(result, "next", json_string(text));
	}
}

/* A message's or a session's own id leads straight to it. */
static void
tell_id(struct search *s, json_t *traces)
{
	json_t *trace;
	uint64_t id;

	if (id_parse(s->key, &id) == -1)
		return;
	if ((trace = trace_message(s->view, id)) != NULL ||
	    (trace = trace_session(s->view, id)) != NULL)
		(void)json_array_append_new(traces, trace);
}

static int
read_time(const json_t *arguments, const char *name, uint64_t *time_us,
    struct err *err)
{
	const json_t *value = json_object_get(arguments, name);
	char number[32];
	struct slice text = {NULL, 0};

	if (value == NULL || json_is_null(value))
		return 0;
	if (json_is_integer(value)) {
		(void)snprintf(number, sizeof(number), "%lld",
		    (long long)json_integer_value(value));
		text = slice_of(number);
	} else if (json_is_string(value)) {
		text = slice_of(json_string_value(value));
	}
	if (time_parse(text, clock_wall_us(), time_us) == -1)
		return err_set(err,
		    "%s: a time is 2026-01-31, 2026-01-31T12:30, -2h, or "
		    "seconds since 1970",
		    name);
	return 0;
}

/* Of a reply that was pasted here, "... [ref 0abcdef1]", the reference. */
static struct slice
key_of(struct slice text)
{
	static const char mark[] = "[ref ";
	const size_t n = sizeof(mark) - 1;

	for (size_t i = 0; i + n < text.n; i++)
		if (memcmp(text.p + i, mark, n) == 0) {
			text = (struct slice){text.p + i + n, text.n - i - n};
			text.n = slice_find(text, ']', 0);
			break;
		}
	return term_header_id(text);
}

static int
search_read(struct search *s, const json_t *arguments, struct err *err)
{
	const json_t *key = json_object_get(arguments, "key");
	const json_t *limit = json_object_get(arguments, "limit");
	const json_t *cursor = json_object_get(arguments, "cursor");
	uint64_t count = TRACE_LIMIT;

	if (key == NULL)
		key = json_object_get(arguments, "query");
	if (!json_is_string(key) ||
	    slice_copy(key_of((struct slice){json_string_value(key),
	                   json_string_length(key)}),
	        s->text, sizeof(s->text)) == -1 ||
	    s->text[0] == '\0')
		return err_set(err,
		    "say what to look for: a message id, a Message-ID, an "
		    "address, a queue id of the next server, the reference "
		    "of a refusal, or a session id");
	s->key = slice_of(s->text);
	if (limit != NULL && cursor_read(limit, &count) == -1)
		return err_set(err, "limit: a number is needed");
	s->limit = count == 0 || count > TRACE_LIMIT_MAX ? TRACE_LIMIT_MAX
	                                                 : (size_t)count;
	if (cursor != NULL && !json_is_null(cursor) &&
	    cursor_read(cursor, &s->below) == -1)
		return err_set(err, "cursor: no cursor of an answer");
	if (read_time(arguments, "since", &s->since_us, err) == -1)
		return -1;
	return read_time(arguments, "until", &s->until_us, err);
}

/* Nothing was found: of what, and where else it may stand. */
static void
tell_nothing(const struct search *s, json_t *result)
{
	struct netaddr address;
	char hint[KEY_MAX + 32];
	bool is_word = s->key.n > 0;

	for (size_t i = 0; i < s->key.n; i++)
		is_word = is_word && s->key.p[i] > ' ' &&
		    s->key.p[i] < '\x7f' &&
		    strchr("\"'\\$`<>=&|;*?()[]{}~#!", s->key.p[i]) == NULL;
	if (netaddr_parse(s->key, &address) == 0)
		(void)snprintf(
		    hint, sizeof(hint), "postern log client=%s", s->text);
	else
		(void)snprintf(hint, sizeof(hint), "postern log text=%s",
		    is_word ? s->text : "... looks into all texts");
	(void)json_object_set_new(result, "error",
	    json_string(s->view->is_late || s->view->is_damaged
	            ? "not in that part of the log that could be read in time"
	            : "the log knows nothing of that"));
	(void)json_object_set_new(result, "hint",
	    json_string(s->view->is_late
	            ? "ask for less time, with --since and --until"
	            : hint));
}

int
trace_query(struct log_view *view, const json_t *arguments,
    json_t **result_r, struct err *err)
{
	struct search *s = xcalloc(1, sizeof(*s));
	json_t *result;
	json_t *traces;
	int code;

	s->view = view;
	s->until_us = UINT64_MAX;
	s->below = UINT64_MAX;
	number_list_init(&s->numbers, DAY_MATCHES_MAX);
	number_list_init(&s->shown, DAY_MATCHES_MAX);
	if (search_read(s, arguments, err) == -1) {
		free(s);
		return 2;
	}
	result = json_object();
	traces = json_array();
	tell_id(s, traces);
	for (size_t i = view->run_count;
	     i > 0 && json_array_size(traces) == 0 && s->count <= s->limit &&
	     !log_view_is_late(view);
	     i--)
		if (view->runs[i - 1].day >= day_of_us(s->since_us) - 1)
			search_run(s, &view->runs[i - 1]);
	tell_matches(s, traces, result);
	code = json_array_size(traces) > 0 ? 0 : 3;
	number_list_clear(&s->numbers);
	number_list_clear(&s->shown);
	(void)json_object_set_new(result, "traces", traces);
	if (code == 3)
		tell_nothing(s, result);
	log_view_tell(view, result);
	free(s);
	*result_r = result;
	return code;
}
