/* SPDX-License-Identifier: ISC */
/*
 * Terms of the index.
 * Runs in: postern-loghub.  Trusts: events keep their rows; no text in them.
 */
#include <string.h>

#include "loghub/log_terms.h"

/* FNV-1a: spreads well enough; a collision costs a look at one event. */
#define FNV_START 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u

static uint64_t
mix(uint64_t hash)
{
	hash ^= hash >> 32;
	hash *= 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 29;
}

uint64_t
term_hash(enum term_kind kind, struct slice value)
{
	uint64_t hash = (FNV_START ^ (uint64_t)kind) * FNV_PRIME;

	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];

		if (c >= 'A' && c <= 'Z')
			c = (unsigned char)(c - 'A' + 'a');
		hash = (hash ^ c) * FNV_PRIME;
	}
	return mix(hash);
}

uint64_t
term_hash_id(enum term_kind kind, uint64_t id)
{
	return mix((FNV_START ^ (uint64_t)kind) * FNV_PRIME + id * FNV_PRIME);
}

struct slice
term_header_id(struct slice text)
{
	text = slice_trim(text);
	if (text.n >= 2 && text.p[0] == '<' && text.p[text.n - 1] == '>') {
		text.p++;
		text.n -= 2;
	}
	return text;
}

/* ---- addresses ---- */

/* What follows the last @; empty where there is none. */
static struct slice
domain_of(struct slice address)
{
	size_t at = address.n;

	while (at > 0 && address.p[at - 1] != '@')
		at--;
	if (at == 0)
		return (struct slice){NULL, 0};
	return (struct slice){address.p + at, address.n - at};
}

static bool
is_tree(struct slice filter)
{
	return filter.n > 2 && filter.p[0] == '@' && filter.p[1] == '.';
}

static bool
is_domain(struct slice filter)
{
	return filter.n > 1 && filter.p[0] == '@';
}

static struct slice
after(struct slice s, size_t n)
{
	return (struct slice){s.p + n, s.n - n};
}

uint64_t
term_of_address_filter(enum term_kind kind, struct slice filter)
{
	enum term_kind domain_kind =
	    kind == TERM_FROM ? TERM_FROM_DOMAIN : TERM_TO_DOMAIN;

	if (is_tree(filter))
		return term_hash(domain_kind, after(filter, 2));
	if (is_domain(filter))
		return term_hash(domain_kind, after(filter, 1));
	return term_hash(kind, filter);
}

bool
address_matches(struct slice filter, struct slice address)
{
	struct slice domain;
	size_t above;

	if (!is_domain(filter))
		return slice_equals_nocase(filter, address);
	domain = domain_of(address);
	if (!is_tree(filter))
		return slice_equals_nocase(after(filter, 1), domain);
	filter = after(filter, 2);
	if (domain.n < filter.n)
		return false;
	above = domain.n - filter.n;
	return slice_equals_nocase(filter, after(domain, above)) &&
	    (above == 0 || domain.p[above - 1] == '.');
}

static void
add_address(
    enum term_kind kind, struct slice address, term_fn *add, void *arg)
{
	enum term_kind domain_kind =
	    kind == TERM_FROM ? TERM_FROM_DOMAIN : TERM_TO_DOMAIN;
	struct slice domain = domain_of(address);

	add(arg, term_hash(kind, address));
	/* A top-level domain alone would lead to half of the log. */
	while (domain.n > 0) {
		size_t dot = slice_find(domain, '.', 0);

		if (dot == domain.n)
			return;
		add(arg, term_hash(domain_kind, domain));
		domain = after(domain, dot + 1);
	}
}

/* ---- the terms of an event ---- */

static const struct {
	const char *name;
	enum term_kind kind;
} term_fields[] = {
	{"client", TERM_CLIENT},
	{"account", TERM_ACCOUNT},
	{"header_message_id", TERM_HEADER_ID},
	{"reference", TERM_REFERENCE},
	{"from", TERM_FROM},
	{"header_from", TERM_FROM},
	{"to", TERM_TO},
	{"original", TERM_TO},
};

static struct slice
text_at(const union event_fields *fields, const struct ipc_field *field)
{
	struct slice text;

	memcpy(&text, (const char *)fields + field->offset, sizeof(text));
	return text;
}

bool
event_text_field(enum event_type type, const union event_fields *fields,
    const char *name, struct slice *text_r)
{
	const struct ipc_shape *shape = &event_row(type)->shape;

	for (uint32_t i = 0; i < shape->field_count; i++)
		if (shape->fields[i].kind == IPC_TEXT &&
		    strcmp(shape->fields[i].name, name) == 0) {
			*text_r = text_at(fields, &shape->fields[i]);
			return true;
		}
	*text_r = (struct slice){NULL, 0};
	return false;
}

static void
add_field(const char *name, struct slice text, term_fn *add, void *arg)
{
	for (size_t i = 0; i < sizeof(term_fields) / sizeof(*term_fields);
	     i++) {
		enum term_kind kind = term_fields[i].kind;

		if (strcmp(term_fields[i].name, name) != 0)
			continue;
		if (kind == TERM_TO || kind == TERM_FROM) {
			/* An empty one is said only of the null sender. */
			if (text.n > 0 || strcmp(name, "from") == 0)
				add_address(kind, text, add, arg);
		} else if (text.n > 0) {
			if (kind == TERM_HEADER_ID)
				text = term_header_id(text);
			add(arg, term_hash(kind, text));
		}
		return;
	}
}

bool
term_is_frequent(enum event_type type)
{
	return type == EV_ACCEPTED || type == EV_RECIPIENT ||
	    type == EV_DELIVERED || type == EV_FINISHED ||
	    type == EV_SESSION || type == EV_LOGIN;
}

void
terms_of_event(enum event_type type, const union event_fields *fields,
    term_fn *add, void *arg)
{
	const struct ipc_shape *shape = &event_row(type)->shape;
	struct slice ids[REMOTE_IDS_MAX];
	size_t count = 0;

	if (!term_is_frequent(type))
		add(arg, term_hash(TERM_EVENT, slice_of(shape->name)));
	if (type == EV_DELIVERED)
		count = remote_ids(fields->delivered.reply, ids);
	for (size_t i = 0; i < count; i++)
		add(arg, term_hash(TERM_REMOTE_ID, ids[i]));
	for (uint32_t i = 0; i < shape->field_count; i++)
		if (shape->fields[i].kind == IPC_TEXT)
			add_field(shape->fields[i].name,
			    text_at(fields, &shape->fields[i]), add, arg);
}
