/* SPDX-License-Identifier: ISC */
/*
 * The rows of the settings table, values in force, and the small parsers that
 * programs need for lists.  What a person wrote is read in setting_parse.c.
 * Runs in: every program.  Trusts: that confd sent canonical values; a list's
 * words are parsed again by who uses them.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/settings.h"

/* The kind's columns of a row: kind, least, most, words. */
#define ROW_BOOL SETTING_BOOL, 0, 1, NULL
#define ROW_NUMBER(least, most) SETTING_NUMBER, least, most, NULL
#define ROW_OCTETS(least, most) SETTING_OCTETS, least, most, NULL
#define ROW_SECONDS(least, most) SETTING_SECONDS, least, most, NULL
#define ROW_TEXT SETTING_TEXT, 0, 0, NULL
#define ROW_HOSTNAME SETTING_HOSTNAME, 0, 0, NULL
#define ROW_ADDRESS SETTING_ADDRESS, 0, 0, NULL
#define ROW_LISTEN SETTING_LISTEN, 0, 0, NULL
#define ROW_SERVERS SETTING_SERVERS, 0, 0, NULL
#define ROW_NETWORKS SETTING_NETWORKS, 0, 0, NULL
#define ROW_DURATIONS SETTING_DURATIONS, 0, 0, NULL
#define ROW_CHOICE(words) SETTING_CHOICE, 0, 0, words

#define ROW(member, name, kind, def, readers, label, help) \
	[SET_##member] = {name, ROW_##kind, def, readers,  \
	    offsetof(struct settings, member), label, help},
static const struct setting_row rows[SETTING_COUNT] = {SETTINGS(ROW)};
#undef ROW

struct unit {
	char letter;
	uint64_t size;
};

/* Largest first, so that formatting takes the first that divides. */
static const struct unit octet_units[] = {{'T', UINT64_C(1) << 40},
    {'G', UINT64_C(1) << 30}, {'M', UINT64_C(1) << 20},
    {'K', UINT64_C(1) << 10}, {'\0', 0}};
static const struct unit second_units[] = {
    {'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}, {'\0', 0}};

const struct setting_row *
setting_row(unsigned index)
{
	if (index >= SETTING_COUNT)
		bug("setting %u", index);
	return &rows[index];
}

int
setting_find(struct slice name, unsigned *index_r)
{
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		if (slice_equals(name, slice_of(rows[i].name))) {
			*index_r = i;
			return 0;
		}
	}
	return -1;
}

bool
setting_kind_is_number(enum setting_kind kind)
{
	return kind == SETTING_BOOL || kind == SETTING_NUMBER ||
	       kind == SETTING_OCTETS || kind == SETTING_SECONDS;
}

/* ---- numbers ---- */

/* Digits and at most one letter of units; without one, single things. */
static int
parse_units(struct slice text, const struct unit *units, uint64_t *value_r)
{
	uint64_t factor = 1;
	uint64_t count;

	if (text.n == 0)
		return -1;
	for (const struct unit *unit = units; unit->letter != '\0'; unit++) {
		if ((text.p[text.n - 1] | 0x20) == (unit->letter | 0x20)) {
			factor = unit->size;
			text.n--;
			break;
		}
	}
	if (slice_to_u64(text, &count) == -1 || count > UINT64_MAX / factor)
		return -1;
	*value_r = count * factor;
	return 0;
}

static void
format_units(uint64_t value, const struct unit *units, struct buf *text_r)
{
	while (
	    units->letter != '\0' && (value == 0 || value % units->size != 0))
		units++;
	if (units->letter == '\0')
		(void)buf_addf(text_r, "%" PRIu64, value);
	else
		(void)buf_addf(text_r, "%" PRIu64 "%c", value / units->size,
		    units->letter);
}

int
setting_seconds(struct slice text, uint64_t *seconds_r)
{
	return parse_units(text, second_units, seconds_r);
}

int
setting_number(enum setting_kind kind, struct slice text, uint64_t *number_r)
{
	switch (kind) {
	case SETTING_BOOL:
		*number_r = slice_equals_nocase(text, SLICE("on")) ? 1 : 0;
		return *number_r == 1 || slice_equals_nocase(text, SLICE("off"))
			   ? 0
			   : -1;
	case SETTING_NUMBER:
		return slice_to_u64(text, number_r);
	case SETTING_OCTETS:
		return parse_units(text, octet_units, number_r);
	case SETTING_SECONDS:
		return parse_units(text, second_units, number_r);
	default:
		bug("a setting of kind %d is no number", (int)kind);
	}
}

void
setting_format_number(
    enum setting_kind kind, uint64_t number, struct buf *text_r)
{
	static const struct unit plain = {'\0', 0};

	if (kind == SETTING_BOOL)
		(void)buf_add_text(text_r, number != 0 ? "on" : "off");
	else
		format_units(number,
		    kind == SETTING_OCTETS    ? octet_units
		    : kind == SETTING_SECONDS ? second_units
					      : &plain,
		    text_r);
}

static void
add_words(struct slice words, struct buf *text_r)
{
	const char *separator = " ";
	struct slice word;

	while (setting_list_next(&words, &word)) {
		(void)buf_add_text(text_r, separator);
		(void)buf_add_slice(text_r, word);
		separator = ", ";
	}
}

void
setting_allowed(unsigned index, struct buf *text_r)
{
	static const char *const wants[SETTING_KIND_COUNT] = {
	    [SETTING_BOOL] = "\"on\" or \"off\"",
	    [SETTING_NUMBER] = "a number",
	    [SETTING_OCTETS] = "a size such as 64K, 50M or 1G",
	    [SETTING_SECONDS] = "a time such as 30s, 5m, 4h or 2d",
	    [SETTING_TEXT] = "text without control characters",
	    [SETTING_HOSTNAME] = "a host name such as mail.example.org",
	    [SETTING_ADDRESS] = "a mail address, or nothing",
	    [SETTING_LISTEN] = "addresses with ports such as *:25 or "
			       "192.0.2.1:25 or [2001:db8::1]:25, or nothing",
	    [SETTING_SERVERS] = "addresses such as 192.0.2.1 or "
				"[2001:db8::1]:53, or nothing",
	    [SETTING_NETWORKS] = "networks such as 10.0.0.0/8, 192.0.2.1 or "
				 "2001:db8::/32, or nothing",
	    [SETTING_DURATIONS] = "times such as \"5m 10m 1h\", none shorter "
				  "than the one before",
	    [SETTING_CHOICE] = "one of",
	};
	const struct setting_row *row = setting_row(index);

	(void)buf_add_text(text_r, wants[row->kind]);
	if (row->words != NULL) {
		add_words(slice_of(row->words), text_r);
	} else if (row->kind != SETTING_BOOL &&
		   setting_kind_is_number(row->kind)) {
		(void)buf_add_text(text_r, " from ");
		setting_format_number(row->kind, row->least, text_r);
		(void)buf_add_text(text_r, " to ");
		setting_format_number(row->kind, row->most, text_r);
	}
}

/* ---- values in force ---- */

static void *
member_of(struct settings *settings, const struct setting_row *row)
{
	return (char *)settings + row->offset;
}

void
settings_put(struct settings *settings, unsigned index, uint64_t number,
    struct slice text)
{
	const struct setting_row *row = setting_row(index);
	void *member = member_of(settings, row);

	if (row->kind == SETTING_BOOL) {
		*(bool *)member = number != 0;
	} else if (setting_kind_is_number(row->kind)) {
		*(uint64_t *)member = number;
	} else {
		char *copy = slice_dup(text);

		free(*(char **)member);
		*(char **)member = copy;
	}
}

void
settings_init(struct settings *settings)
{
	memset(settings, 0, sizeof(*settings));
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		struct slice text = slice_of(rows[i].default_text);
		uint64_t number = 0;

		if (setting_kind_is_number(rows[i].kind) &&
		    setting_number(rows[i].kind, text, &number) == -1)
			bug("the default of %s", rows[i].name);
		settings_put(settings, i, number, text);
	}
}

void
settings_clear(struct settings *settings)
{
	for (unsigned i = 0; i < SETTING_COUNT; i++)
		if (!setting_kind_is_number(rows[i].kind))
			free(*(char **)member_of(settings, &rows[i]));
	memset(settings, 0, sizeof(*settings));
}

void
settings_format(
    const struct settings *settings, unsigned index, struct buf *text_r)
{
	const struct setting_row *row = setting_row(index);
	const void *member = (const char *)settings + row->offset;

	buf_reset(text_r);
	if (row->kind == SETTING_BOOL)
		setting_format_number(
		    row->kind, *(const bool *)member ? 1 : 0, text_r);
	else if (setting_kind_is_number(row->kind))
		setting_format_number(
		    row->kind, *(const uint64_t *)member, text_r);
	else
		(void)buf_add_text(text_r, *(char *const *)member);
}

/* ---- lists ---- */

static bool
is_separator(char c)
{
	return c == ' ' || c == ',' || c == '\t' || c == '\n' || c == '\r';
}

bool
setting_list_next(struct slice *list, struct slice *word_r)
{
	size_t n = 0;

	while (list->n > 0 && is_separator(list->p[0])) {
		list->p++;
		list->n--;
	}
	while (n < list->n && !is_separator(list->p[n]))
		n++;
	if (n == 0)
		return false;
	*word_r = (struct slice){list->p, n};
	list->p += n;
	list->n -= n;
	return true;
}

/*
 * Splits "address:port" where the port is.  An IPv6 address has colons of its
 * own: it stands in brackets when a port follows.
 */
static int
split_port(struct slice text, struct slice *host_r, struct slice *port_r)
{
	size_t colon = slice_find(text, ':', 0);

	*port_r = (struct slice){NULL, 0};
	if (text.n > 0 && text.p[0] == '[') {
		size_t end = slice_find(text, ']', 0);

		*host_r = (struct slice){text.p + 1, end - 1};
		if (end == text.n)
			return -1;
		if (end + 1 == text.n)
			return 0;
		if (text.p[end + 1] != ':' || end + 2 == text.n)
			return -1;
		*port_r = (struct slice){text.p + end + 2, text.n - end - 2};
		return memchr(host_r->p, ':', host_r->n) != NULL ? 0 : -1;
	}
	*host_r = text;
	if (colon == text.n || slice_find(text, ':', colon + 1) < text.n)
		return 0; /* no colon, or a bare IPv6 address */
	host_r->n = colon;
	*port_r = (struct slice){text.p + colon + 1, text.n - colon - 1};
	return port_r->n > 0 ? 0 : -1;
}

int
setting_listen_address(
    struct slice text, uint16_t default_port, struct listen_address *out)
{
	struct listen_address listen = {.port = default_port};
	struct slice host;
	struct slice port;
	uint64_t number;

	if (split_port(text, &host, &port) == -1)
		return -1;
	if (default_port == 0 && port.n == 0) {
		if (slice_to_u64(host, &number) == -1)
			return -1;
		port = host;
		host = SLICE("*");
	}
	if (port.n > 0) {
		if (slice_to_u64(port, &number) == -1 || number > 65535 ||
		    (default_port != 0 && number == 0))
			return -1;
		listen.port = (uint16_t)number;
	}
	listen.is_wildcard =
	    default_port == 0 && slice_equals(host, SLICE("*"));
	if (!listen.is_wildcard && netaddr_parse(host, &listen.address) == -1)
		return -1;
	*out = listen;
	return 0;
}

bool
setting_networks_match(const char *networks, const struct netaddr *address)
{
	struct slice list = slice_of(networks);
	struct netprefix prefix;
	struct slice word;

	while (setting_list_next(&list, &word))
		if (netprefix_parse(word, &prefix, NULL) == 0 &&
		    netprefix_contains(&prefix, address))
			return true;
	return false;
}
