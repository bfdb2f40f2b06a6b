/* SPDX-License-Identifier: ISC */
/*
 * Filters of the log.
 * Runs in: postern-loghub.  Trusts: nothing of the arguments, which an
 * administrator typed.
 */
#include <string.h>

#include "common/netaddr.h"
#include "loghub/event_json.h"
#include "loghub/log_filter.h"

_Static_assert(EVENT_TYPE_COUNT <= 64, "a filter's types are 64 bits");

#define TYPE_BIT(type) ((uint64_t)1 << (type))

/* Words for several event types at once. */
static const struct {
	const char *name;
	uint64_t types;
} statuses[] = {
	{"accepted", TYPE_BIT(EV_ACCEPTED)},
	{"queued", TYPE_BIT(EV_ACCEPTED) | TYPE_BIT(EV_RECIPIENT)},
	{"delivered", TYPE_BIT(EV_DELIVERED)},
	{"deferred", TYPE_BIT(EV_DEFERRED)},
	{"waiting", TYPE_BIT(EV_WAITING)},
	{"protected", TYPE_BIT(EV_PROTECTED) | TYPE_BIT(EV_OPENED)},
	{"failed", TYPE_BIT(EV_FAILED)},
	{"bounced", TYPE_BIT(EV_FAILED) | TYPE_BIT(EV_NOTIFIED)},
	{"refused",
	    TYPE_BIT(EV_CONNECT_REFUSED) | TYPE_BIT(EV_COMMAND_REFUSED) |
	        TYPE_BIT(EV_MAIL_REFUSED) | TYPE_BIT(EV_RCPT_REFUSED) |
	        TYPE_BIT(EV_DATA_REFUSED) | TYPE_BIT(EV_LOGIN_FAILED) |
	        TYPE_BIT(EV_LOGIN_THROTTLED)},
};

struct reading {
	struct log_filter *filter;
	uint64_t now_us;
	struct err *err;
	unsigned seen; /* a bit for each row of words */
	bool has_level;
};

static int
read_heir(struct reading *r, enum heir heir, struct slice value)
{
	if (heir == HEIR_FROM && slice_equals(value, SLICE("<>")))
		value.n = 0;
	if (slice_copy(value, r->filter->values[heir], FILTER_TEXT_MAX) == -1)
		return err_set(r->err, "the filter's value is too long");
	r->filter->has[heir] = true;
	return 0;
}

/*
 * A part of an address would find nothing, as if nothing had been there.  All
 * addresses have an @ but the null sender and RFC 5321's bare postmaster.
 */
static int
read_address(struct reading *r, enum heir heir, struct slice value)
{
	if (value.n > 0 && slice_find(value, '@', 0) == value.n &&
	    !slice_equals(value, SLICE("<>")) &&
	    !slice_equals_nocase(value, SLICE("postmaster")))
		return err_set(r->err,
		    "%.*s: an address is USER@DOMAIN, @DOMAIN, or @.DOMAIN "
		    "with all below it; text=%.*s looks for a part",
		    SLICE_ARG(value), SLICE_ARG(value));
	return read_heir(r, heir, value);
}

static int
read_from(struct reading *r, struct slice value)
{
	return read_address(r, HEIR_FROM, value);
}

static int
read_to(struct reading *r, struct slice value)
{
	return read_address(r, HEIR_TO, value);
}

/* As events have it: RFC 5952. */
static int
read_client(struct reading *r, struct slice value)
{
	struct netaddr address;
	char text[NETADDR_TEXT_MAX];

	if (netaddr_parse(value, &address) == -1)
		return err_set(r->err,
		    "client=%.*s: one IP address; text=192.0.2. looks for a "
		    "part",
		    SLICE_ARG(value));
	return read_heir(
	    r, HEIR_CLIENT, slice_of(netaddr_format(&address, text)));
}

static int
read_account(struct reading *r, struct slice value)
{
	return read_heir(r, HEIR_ACCOUNT, value);
}

static int
read_status(struct reading *r, struct slice value)
{
	for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
		if (slice_equals(value, slice_of(statuses[i].name))) {
			r->filter->types |= statuses[i].types;
			return 0;
		}
	return err_set(r->err,
	    "status=%.*s: there are accepted, queued, waiting, protected, "
	    "delivered, deferred, failed, bounced and refused",
	    SLICE_ARG(value));
}

static int
read_event(struct reading *r, struct slice value)
{
	enum event_type type = event_by_name(value);

	if (type == EVENT_TYPE_COUNT)
		return err_set(r->err,
		    "event=%.*s: no such event; \"postern events\" lists "
		    "them",
		    SLICE_ARG(value));
	r->filter->types |= TYPE_BIT(type);
	if (!r->has_level)
		r->filter->level = EVENT_DEBUG;
	return 0;
}

static int
read_level(struct reading *r, struct slice value)
{
	for (int i = EVENT_DEBUG; i <= EVENT_WARNING; i++)
		if (slice_equals(value,
		        slice_of(event_level_name((enum event_level)i)))) {
			r->filter->level = (enum event_level)i;
			r->has_level = true;
			return 0;
		}
	return err_set(r->err,
	    "level=%.*s: there are debug, info, notice and warning",
	    SLICE_ARG(value));
}

static int
read_text(struct reading *r, struct slice value)
{
	struct log_filter *filter = r->filter;

	if (value.n == 0)
		return 0;
	if (slice_copy(value, filter->texts + filter->texts_n,
	        FILTER_TEXT_MAX - filter->texts_n) == -1)
		return err_set(r->err, "the text to look for is too long");
	filter->texts_n += value.n + 1;
	return 0;
}

static int
read_id(struct reading *r, struct slice value)
{
	if (id_parse(value, &r->filter->message_id) == 0)
		return 0;
	return err_set(r->err, "id=%.*s: a message id has 13 characters",
	    SLICE_ARG(value));
}

static int
read_session(struct reading *r, struct slice value)
{
	if (id_parse(value, &r->filter->session_id) == 0)
		return 0;
	return err_set(r->err, "session=%.*s: a session id has 13 characters",
	    SLICE_ARG(value));
}

static int
read_time(struct reading *r, struct slice value, uint64_t *time_us_r)
{
	if (time_parse(value, r->now_us, time_us_r) == 0)
		return 0;
	return err_set(r->err,
	    "%.*s: a time is 2026-01-31, 2026-01-31T12:30, -2h, or seconds "
	    "since 1970",
	    SLICE_ARG(value));
}

static int
read_since(struct reading *r, struct slice value)
{
	return read_time(r, value, &r->filter->since_us);
}

static int
read_until(struct reading *r, struct slice value)
{
	return read_time(r, value, &r->filter->until_us);
}

static const struct {
	const char *name;
	int (*read)(struct reading *r, struct slice value);
	bool may_repeat;
} words[] = {
	{"from", read_from, false},
	{"to", read_to, false},
	{"client", read_client, false},
	{"account", read_account, false},
	{"status", read_status, true},
	{"event", read_event, true},
	{"level", read_level, false},
	{"text", read_text, true},
	{"id", read_id, false},
	{"session", read_session, false},
	{"since", read_since, false},
	{"until", read_until, false},
};

/* The later one alone would count, and more be shown than was asked for. */
static int
read_value(struct reading *r, size_t word, struct slice value)
{
	if (!words[word].may_repeat && (r->seen & 1u << word) != 0)
		return err_set(
		    r->err, "%s is in the filter twice", words[word].name);
	r->seen |= 1u << word;
	return words[word].read(r, value);
}

/* "name=value" or "name:value"; the first of both parts them. */
static int
read_word(struct reading *r, struct slice word)
{
	size_t equals = slice_find(word, '=', 0);
	size_t colon = slice_find(word, ':', 0);
	size_t end = equals < colon ? equals : colon;
	const struct slice name = {word.p, end};
	struct slice value = {NULL, 0};

	if (end == word.n)
		return read_text(r, word);
	value = (struct slice){word.p + end + 1, word.n - end - 1};
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (slice_equals(name, slice_of(words[i].name)))
			return read_value(r, i, value);
	return err_set(r->err,
	    "%.*s: no such filter; there are from, to, client, account, "
	    "status, event, level, text, id, session, since and until",
	    SLICE_ARG(name));
}

/* Words of a text, parted by blanks; "..." holds one with blanks together. */
static int
read_words(struct reading *r, struct slice text)
{
	while ((text = slice_trim(text)).n > 0) {
		char word[FILTER_TEXT_MAX];
		size_t n = 0;
		size_t i = 0;
		bool is_quoted = false;

		for (; i < text.n && (is_quoted || text.p[i] != ' '); i++) {
			if (text.p[i] == '"')
				is_quoted = !is_quoted;
			else if (n < sizeof(word))
				word[n++] = text.p[i];
		}
		if (n == sizeof(word))
			return err_set(r->err, "a filter is too long");
		if (read_word(r, (struct slice){word, n}) == -1)
			return -1;
		text = (struct slice){text.p + i, text.n - i};
	}
	return 0;
}

static struct slice
json_slice(const json_t *json)
{
	return (struct slice){
	    json_string_value(json), json_string_length(json)};
}

static int
read_member(struct reading *r, size_t word, const json_t *value)
{
	char number[32];

	if (json_is_null(value))
		return 0;
	if (json_is_string(value))
		return read_value(r, word, json_slice(value));
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return err_set(r->err, "%s: a text or a number is needed",
		    words[word].name);
	(void)snprintf(number, sizeof(number), "%lld",
	    (long long)json_integer_value(value));
	return read_value(r, word, slice_of(number));
}

int
log_filter_read(struct log_filter *filter, const json_t *arguments,
    uint64_t now_us, struct err *err)
{
	struct reading r = {.filter = filter, .now_us = now_us, .err = err};
	const json_t *list = json_object_get(arguments, "filter");

	memset(filter, 0, sizeof(*filter));
	filter->until_us = UINT64_MAX;
	filter->level = EVENT_INFO;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		const json_t *value =
		    json_object_get(arguments, words[i].name);

		if (value != NULL && read_member(&r, i, value) == -1)
			return -1;
	}
	if (json_is_string(list))
		return read_words(&r, json_slice(list));
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *word = json_array_get(list, i);

		if (json_is_string(word) &&
		    read_word(&r, json_slice(word)) == -1)
			return -1;
	}
	return 0;
}

/* ---- matching ---- */

uint64_t
log_filter_term(const struct log_filter *filter, enum heir heir)
{
	struct slice value = slice_of(filter->values[heir]);

	switch (heir) {
	case HEIR_FROM:
		return term_of_address_filter(TERM_FROM, value);
	case HEIR_TO:
		return term_of_address_filter(TERM_TO, value);
	case HEIR_CLIENT:
		return term_hash(TERM_CLIENT, value);
	case HEIR_ACCOUNT:
	case HEIR_COUNT:
		break;
	}
	return term_hash(TERM_ACCOUNT, value);
}

static bool
value_matches(enum heir heir, struct slice filter, struct slice value)
{
	if (heir == HEIR_FROM || heir == HEIR_TO)
		return address_matches(filter, value);
	return slice_equals_nocase(filter, value);
}

/* An event's own fields, in this order; the second is a further chance. */
static const char *const heir_fields[HEIR_COUNT][2] = {
	[HEIR_FROM] = {"from", "header_from"},
	[HEIR_TO] = {"to", "original"},
	[HEIR_CLIENT] = {"client", NULL},
	[HEIR_ACCOUNT] = {"account", NULL},
};

static bool
heir_matches(const struct log_filter *filter, enum heir heir,
    const struct number_list *set, const struct log_event_view *view)
{
	struct slice wanted = slice_of(filter->values[heir]);
	bool has_own = false;

	for (size_t i = 0; i < 2 && heir_fields[heir][i] != NULL; i++) {
		struct slice own;

		if (!event_text_field(view->head.type, &view->fields,
		        heir_fields[heir][i], &own))
			continue;
		has_own = true;
		if (value_matches(heir, wanted, own))
			return true;
	}
	return !has_own && view->head.message_id != 0 && set != NULL &&
	    number_list_has(set, view->head.message_id);
}

static bool
holds_text(struct slice text, struct slice wanted)
{
	for (size_t i = 0; wanted.n <= text.n && i <= text.n - wanted.n; i++)
		if (slice_equals_nocase(
		        (struct slice){text.p + i, wanted.n}, wanted))
			return true;
	return false;
}

/* In one of its texts, its name, or as one of its ids. */
static bool
event_holds_text(const struct log_event_view *view, struct slice wanted)
{
	const struct ipc_shape *shape = &event_row(view->head.type)->shape;
	uint64_t id;

	if (holds_text(slice_of(shape->name), wanted) ||
	    (id_parse(wanted, &id) == 0 && id != 0 &&
	        (id == view->head.message_id || id == view->head.session_id)))
		return true;
	for (uint32_t i = 0; i < shape->field_count; i++) {
		struct slice text;

		if (shape->fields[i].kind != IPC_TEXT)
			continue;
		memcpy(&text,
		    (const char *)&view->fields + shape->fields[i].offset,
		    sizeof(text));
		if (holds_text(text, wanted))
			return true;
	}
	return false;
}

static bool
event_holds_all(
    const struct log_event_view *view, const struct log_filter *filter)
{
	struct slice text;

	for (size_t i = 0; i < filter->texts_n; i += text.n + 1) {
		text = slice_of(filter->texts + i);
		if (!event_holds_text(view, text))
			return false;
	}
	return true;
}

bool
log_filter_matches(const struct log_filter *filter,
    const struct number_list *sets, const struct log_event_view *view)
{
	const struct event_head *head = &view->head;

	if ((filter->types != 0 &&
	        (filter->types & TYPE_BIT(head->type)) == 0) ||
	    head->time_us < filter->since_us ||
	    head->time_us > filter->until_us ||
	    event_row(head->type)->level < filter->level ||
	    (filter->message_id != 0 &&
	        head->message_id != filter->message_id) ||
	    (filter->session_id != 0 &&
	        head->session_id != filter->session_id))
		return false;
	for (int i = 0; i < HEIR_COUNT; i++)
		if (filter->has[i] &&
		    !heir_matches(filter, (enum heir)i,
		        sets != NULL ? &sets[i] : NULL, view))
			return false;
	return event_holds_all(view, filter);
}
