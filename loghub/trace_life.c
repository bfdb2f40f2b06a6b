/* SPDX-License-Identifier: ISC */
/*
 * Puts together the life of one message or session from its events.
 * Runs in: postern-loghub, the query threads.  Trusts: nothing on disk.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loghub/event_json.h"
#include "loghub/trace.h"

/* Events of one life that are told; more would be no reading matter. */
#define LIFE_EVENTS_MAX 5000

/* Events of its session that are told with a message. */
#define SESSION_EVENTS_MAX 200

/* A queue lifetime of 30 days, and a bounce's. */
#define LIFE_DAYS_MAX 40

/* A session ends within a day of its begin, and is logged then. */
#define SESSION_DAYS 2

struct life {
	struct log_view *view;
	uint64_t id;
	uint64_t session;
	json_t *trace;
	json_t *recipients; /* address -> object */
	json_t *events;
	json_t *dsns;
	json_t *numbers_seen; /* life numbers that were told */
	bool is_finished;
	bool is_waiting; /* for the signer */
};

static void
set_text(json_t *object, const char *name, struct slice text)
{
	(void)json_object_set_new(object, name, json_text(text));
}

static void
set_time(json_t *object, const char *name, uint64_t time_us)
{
	char text[TIME_TEXT_SIZE];

	time_text(time_us, text);
	(void)json_object_set_new(object, name, json_string(text));
}

/* ---- what events say about the message ---- */

static void
note_accepted(struct life *life, const struct log_event_view *event)
{
	const struct event_accepted *e = &event->fields.accepted;

	life->session = event->head.session_id;
	set_time(life->trace, "ts", event->head.time_us);
	set_text(life->trace, "from", e->from);
	set_text(life->trace, "client", e->client);
	set_text(life->trace, "account", e->account);
	set_text(life->trace, "header_message_id", e->header_message_id);
	(void)json_object_set_new(
	    life->trace, "size", json_integer((json_int_t)e->size));
	if (life->session != 0)
		(void)json_object_set_new(
		    life->trace, "session", json_id(life->session));
}

/* The recipient's object; addresses are few, so names are looked up. */
static json_t *
recipient_of(struct life *life, struct slice address)
{
	char key[512];
	json_t *recipient;

	if (slice_copy(address, key, sizeof(key)) == -1)
		return NULL;
	if ((recipient = json_object_get(life->recipients, key)) != NULL)
		return recipient;
	recipient = json_object();
	set_text(recipient, "to", address);
	(void)json_object_set_new(
	    recipient, "status", json_string("queued"));
	if (json_object_set_new(life->recipients, key, recipient) == -1)
		return NULL;
	return recipient;
}

static void
note_recipient(struct life *life, const struct log_event_view *event)
{
	const struct event_recipient *e = &event->fields.recipient;
	json_t *recipient = recipient_of(life, e->to);

	if (recipient != NULL && e->original.n > 0)
		set_text(recipient, "original", e->original);
}

struct outcome_fields {
	struct slice to;
	struct slice host;
	struct slice address;
	struct slice tls;
	uint16_t code;
	struct slice enhanced;
	struct slice reply;
	uint32_t attempt;
};

static void
note_outcome(struct life *life, const struct log_event_view *event,
    const char *status, const struct outcome_fields *e)
{
	json_t *recipient = recipient_of(life, e->to);

	if (recipient == NULL)
		return;
	(void)json_object_set_new(recipient, "status", json_string(status));
	set_time(recipient, "ts", event->head.time_us);
	set_text(recipient, "host", e->host);
	set_text(recipient, "address", e->address);
	set_text(recipient, "tls", e->tls);
	(void)json_object_set_new(recipient, "code", json_integer(e->code));
	set_text(recipient, "enhanced", e->enhanced);
	set_text(recipient, "reply", e->reply);
	(void)json_object_set_new(
	    recipient, "attempts", json_integer(e->attempt));
}

/* delivered, deferred and failed have these fields alike. */
#define NOTE_OUTCOME(name) \
	static void note_##name( \
	    struct life *life, const struct log_event_view *event) \
	{ \
		const struct event_##name *e = &event->fields.name; \
		const struct outcome_fields fields = {e->to, e->host, \
		    e->address, e->tls, e->code, e->enhanced, e->reply, \
		    e->attempt}; \
		note_outcome(life, event, #name, &fields); \
	}
NOTE_OUTCOME(delivered)
NOTE_OUTCOME(deferred)
NOTE_OUTCOME(failed)

/* Its own notification, or, of a notification, what it is about. */
static void
note_notified(struct life *life, const struct log_event_view *event)
{
	const struct event_notified *e = &event->fields.notified;
	bool is_about_other = event->head.message_id != life->id;
	json_t *link = json_object();

	if (is_about_other || e->dsn_message_id != 0)
		(void)json_object_set_new(link, "id",
		    json_id(is_about_other ? event->head.message_id
		                           : e->dsn_message_id));
	set_text(link, "kind", e->kind);
	set_text(link, "to", e->to);
	if (is_about_other)
		(void)json_object_set_new(life->trace, "dsn_of", link);
	else
		(void)json_array_append_new(life->dsns, link);
}

/* What the signer did, for one recipient or several. */
static void
note_signer(struct life *life, const char *kind, uint32_t recipient_count,
    struct slice to, struct slice applied, struct slice method)
{
	json_t *list = json_object_get(life->trace, "protection");
	json_t *one = json_object();

	if (list == NULL) {
		list = json_array();
		(void)json_object_set_new(life->trace, "protection", list);
	}
	(void)json_object_set_new(one, "kind", json_string(kind));
	(void)json_object_set_new(
	    one, "recipients", json_integer(recipient_count));
	set_text(one, "to", to);
	set_text(one, "applied", applied);
	set_text(one, "method", method);
	(void)json_array_append_new(list, one);
}

static void
note_protected(struct life *life, const struct log_event_view *event)
{
	const struct event_protected *e = &event->fields.protected;

	note_signer(life, "protected", e->recipient_count, e->to, e->applied,
	    e->method);
	life->is_waiting = false;
}

static void
note_opened(struct life *life, const struct log_event_view *event)
{
	const struct event_opened *e = &event->fields.opened;

	note_signer(life, "opened", e->recipient_count, e->to, e->applied,
	    e->method);
	life->is_waiting = false;
}

static void
note_waiting(struct life *life, const struct log_event_view *event)
{
	life->is_waiting = true;
	set_text(
	    life->trace, "waits_for_signer", event->fields.waiting.reason);
}

static void
note_finished(struct life *life, const struct log_event_view *event)
{
	life->is_finished = true;
	set_time(life->trace, "finished", event->head.time_us);
}

static void (*const notes[EVENT_TYPE_COUNT])(
    struct life *life, const struct log_event_view *event) = {
	[EV_ACCEPTED] = note_accepted,
	[EV_RECIPIENT] = note_recipient,
	[EV_DELIVERED] = note_delivered,
	[EV_DEFERRED] = note_deferred,
	[EV_FAILED] = note_failed,
	[EV_NOTIFIED] = note_notified,
	[EV_FINISHED] = note_finished,
	[EV_PROTECTED] = note_protected,
	[EV_OPENED] = note_opened,
	[EV_WAITING] = note_waiting,
};

/* A life event that queued sent twice is told once. */
static bool
is_repeated(struct life *life, const struct log_event_view *event)
{
	char key[24];

	if (event->life_number == 0 || event->head.message_id != life->id)
		return false;
	(void)snprintf(key, sizeof(key), "%u", event->life_number);
	if (json_object_get(life->numbers_seen, key) != NULL)
		return true;
	(void)json_object_set_new(life->numbers_seen, key, json_true());
	return false;
}

static void
note_event(struct life *life, const struct log_event_view *event)
{
	bool is_own = event->head.message_id == life->id ||
	    event->head.type == EV_NOTIFIED;

	if (!is_own || is_repeated(life, event))
		return;
	if (notes[event->head.type] != NULL)
		notes[event->head.type](life, event);
	if (json_array_size(life->events) < LIFE_EVENTS_MAX)
		(void)json_array_append_new(life->events, event_json(event));
}

/* ---- reading events of a term ---- */

typedef void event_fn(void *arg, const struct log_event_view *event);

static void
each_event(struct log_view *view, int32_t number, uint64_t term, size_t limit,
    event_fn *each, void *arg)
{
	struct log_day *day = log_view_day(view, number);
	struct number_list numbers;
	struct record record;

	if (day == NULL)
		return;
	number_list_init(&numbers, limit);
	if (log_index_numbers(day->index, term, &numbers, NULL) == -1)
		log_view_failed(view);
	number_list_sort(&numbers);
	for (size_t i = 0; i < numbers.count && !log_view_is_late(view); i++) {
		struct log_event_view event;
		int rc = log_day_fetch(
		    day, numbers.values[i], &record, NULL);

		if (rc == -1)
			log_view_failed(view);
		if (rc == 1 && log_event_view(&record, &event) == 0)
			each(arg, &event);
	}
	number_list_clear(&numbers);
}

static void
life_event(void *arg, const struct log_event_view *event)
{
	note_event(arg, event);
}

/* What the client did besides, in the session that brought the message. */
static void
session_event(void *arg, const struct log_event_view *event)
{
	struct life *life = arg;

	if (event->head.session_id == life->session &&
	    event->head.message_id == 0)
		(void)json_array_append_new(life->events, event_json(event));
}

/* Where the clock went back and forth, any day may have it. */
static size_t
first_day(const struct log_view *view, int32_t day)
{
	size_t i = 0;

	if (view->is_mixed)
		return 0;
	while (i < view->day_count && view->days[i] < day)
		i++;
	return i;
}

/* So many days at the most, but where days say nothing. */
static size_t
end_day(const struct log_view *view, size_t first, size_t most)
{
	return view->is_mixed || view->day_count - first < most
	    ? view->day_count
	    : first + most;
}

static int32_t
day_of_id(uint64_t id)
{
	return day_of_us(id_time_ms(id) * 1000);
}

/* ---- the whole ---- */

static const char *
status_of(const struct life *life)
{
	size_t failed = 0;
	size_t delivered = 0;
	size_t deferred = 0;
	size_t count = json_object_size(life->recipients);
	const char *key;
	json_t *recipient;

	json_object_foreach(life->recipients, key, recipient)
	{
		const char *status = json_string_value(
		    json_object_get(recipient, "status"));

		failed += strcmp(status, "failed") == 0;
		delivered += strcmp(status, "delivered") == 0;
		deferred += strcmp(status, "deferred") == 0;
	}
	if (!life->is_finished && failed + delivered < count)
		return life->is_waiting ? "waiting"
		       : deferred > 0   ? "deferred"
		                        : "queued";
	if (failed > 0)
		return delivered > 0 ? "partly failed" : "failed";
	if (delivered < count)
		return "removed";
	return "delivered";
}

static int
compare_events(const void *a, const void *b)
{
	json_t *const *x = a;
	json_t *const *y = b;
	int order = strcmp(json_string_value(json_object_get(*x, "ts")),
	    json_string_value(json_object_get(*y, "ts")));
	json_int_t n = json_integer_value(json_object_get(*x, "number"));
	json_int_t m = json_integer_value(json_object_get(*y, "number"));

	return order != 0 ? order : (n > m) - (n < m);
}

/* By time: programs have their own ways to the hub. */
static json_t *
sorted(json_t *events)
{
	size_t count = json_array_size(events);
	json_t **list = xcalloc(count, sizeof(*list));
	json_t *result = json_array();

	for (size_t i = 0; i < count; i++)
		list[i] = json_array_get(events, i);
	if (count > 0)
		qsort(list, count, sizeof(*list), compare_events);
	for (size_t i = 0; i < count; i++)
		(void)json_array_append(result, list[i]);
	free(list);
	json_decref(events);
	return result;
}

static void
read_life(struct life *life)
{
	struct log_view *view = life->view;
	size_t first = first_day(view, day_of_id(life->id) - 1);
	size_t end = end_day(view, first, LIFE_DAYS_MAX);

	for (size_t i = first; i < end &&
	     (view->is_mixed || !life->is_finished) && !log_view_is_late(view);
	     i++)
		each_event(view, view->days[i],
		    term_hash_id(TERM_MESSAGE, life->id), LIFE_EVENTS_MAX,
		    life_event, life);
	if (life->session == 0)
		return;
	first = first_day(view, day_of_id(life->session));
	end = end_day(view, first, SESSION_DAYS);
	for (size_t i = first; i < end; i++)
		each_event(view, view->days[i],
		    term_hash_id(TERM_SESSION, life->session),
		    SESSION_EVENTS_MAX, session_event, life);
}

json_t *
trace_message(struct log_view *view, uint64_t id)
{
	struct life life = {.view = view,
	    .id = id,
	    .trace = json_object(),
	    .recipients = json_object(),
	    .events = json_array(),
	    .dsns = json_array(),
	    .numbers_seen = json_object()};
	json_t *recipients = json_array();
	json_t *recipient;
	const char *key;
	bool is_known;

	(void)json_object_set_new(life.trace, "id", json_id(id));
	read_life(&life);
	json_object_foreach(life.recipients, key, recipient)
	{
		(void)json_array_append(recipients, recipient);
	}
	(void)json_object_set_new(
	    life.trace, "status", json_string(status_of(&life)));
	(void)json_object_set_new(life.trace, "recipients", recipients);
	if (json_array_size(life.dsns) > 0)
		(void)json_object_set(life.trace, "dsns", life.dsns);
	is_known = json_object_size(life.numbers_seen) > 0 ||
	    json_array_size(life.events) > 0 ||
	    json_object_get(life.trace, "dsn_of") != NULL;
	(void)json_object_set_new(life.trace, "events", sorted(life.events));
	json_decref(life.recipients);
	json_decref(life.dsns);
	json_decref(life.numbers_seen);
	if (is_known)
		return life.trace;
	json_decref(life.trace);
	return NULL;
}

/* ---- sessions ---- */

struct session {
	uint64_t id;
	json_t *events;
	json_t *messages;
};

static void
note_session_event(void *arg, const struct log_event_view *event)
{
	struct session *session = arg;

	if (event->head.session_id != session->id)
		return;
	(void)json_array_append_new(session->events, event_json(event));
	if (event->head.type == EV_ACCEPTED)
		(void)json_array_append_new(
		    session->messages, json_id(event->head.message_id));
}

json_t *
trace_session(struct log_view *view, uint64_t id)
{
	struct session session = {
	    .id = id, .events = json_array(), .messages = json_array()};
	size_t first = first_day(view, day_of_id(id) - 1);
	size_t end = end_day(view, first, SESSION_DAYS + 1);
	json_t *trace;

	for (size_t i = first; i < end; i++)
		each_event(view, view->days[i],
		    term_hash_id(TERM_SESSION, id), LIFE_EVENTS_MAX,
		    note_session_event, &session);
	if (json_array_size(session.events) == 0) {
		json_decref(session.events);
		json_decref(session.messages);
		return NULL;
	}
	trace = json_object();
	(void)json_object_set_new(trace, "session", json_id(id));
	(void)json_object_set_new(trace, "messages", session.messages);
	(void)json_object_set_new(trace, "events", sorted(session.events));
	return trace;
}

json_t *
trace_event(struct log_view *view, const struct log_event_view *event)
{
	json_t *trace = event->head.session_id != 0
	    ? trace_session(view, event->head.session_id)
	    : NULL;

	if (trace != NULL)
		return trace;
	return json_pack("{s:[o]}", "events", event_json(event));
}
