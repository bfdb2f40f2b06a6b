/* SPDX-License-Identifier: ISC */
/*
 * Reads a setting's value as a person wrote it: checks it by its kind and
 * gives its one canonical text.
 * Runs in: postern-confd.  Trusts: nothing about the text.
 */
#include <string.h>

#include "common/printable.h"
#include "common/settings.h"

/* As much of a wrong value as a message repeats. */
#define GIVEN_MAX 100

/* One word of a list; -1 with why it is none (or an empty text). */
typedef int word_fn(struct slice word, struct buf *canonical, struct err *err);

static void
add_endpoint(const struct listen_address *listen, struct buf *canonical)
{
	char text[NETADDR_TEXT_MAX];

	if (listen->is_wildcard)
		(void)buf_add_text(canonical, "*");
	else if (listen->address.family == NETADDR_IPV6)
		(void)buf_addf(
		    canonical, "[%s]", netaddr_format(&listen->address, text));
	else
		(void)buf_add_text(
		    canonical, netaddr_format(&listen->address, text));
	(void)buf_addf(canonical, ":%u", listen->port);
}

static int
parse_listen(struct slice word, struct buf *canonical, struct err *err)
{
	struct listen_address listen;

	(void)err;
	if (setting_listen_address(word, 0, &listen) == -1)
		return -1;
	add_endpoint(&listen, canonical);
	return 0;
}

#define DNS_PORT 53

static int
parse_server(struct slice word, struct buf *canonical, struct err *err)
{
	struct listen_address server;

	(void)err;
	if (setting_listen_address(word, DNS_PORT, &server) == -1)
		return -1;
	add_endpoint(&server, canonical);
	return 0;
}

static int
parse_network(struct slice word, struct buf *canonical, struct err *err)
{
	struct netprefix prefix;
	char text[NETADDR_TEXT_MAX];

	if (netprefix_parse(word, &prefix, err) == -1)
		return -1;
	(void)buf_add_text(canonical, netprefix_format(&prefix, text));
	return 0;
}

/* A duration that is not longer than a queue's longest lifetime. */
#define DURATION_MAX_S (30 * 86400)

static int
parse_duration(struct slice word, struct buf *canonical, struct err *err)
{
	uint64_t seconds;

	if (setting_seconds(word, &seconds) == -1)
		return -1;
	if (seconds < 1 || seconds > DURATION_MAX_S)
		return err_set(err, "each must be from 1s to 30d");
	setting_format_number(SETTING_SECONDS, seconds, canonical);
	return 0;
}

static bool
list_has(struct slice list, struct slice wanted)
{
	struct slice word;

	while (setting_list_next(&list, &word))
		if (slice_equals(word, wanted))
			return true;
	return false;
}

/*
 * Puts the canonical words into canonical_r with single spaces.  A word that
 * stands there already is refused: it is a slip, and for listeners it could
 * not be opened twice.  Port 0 may be named as often as one likes.
 */
static int
parse_list(
    struct slice list, word_fn *parse, struct buf *canonical_r, struct err *err)
{
	struct slice word;
	struct buf one;
	int rc = -1;

	buf_init(&one, GIVEN_MAX);
	while (setting_list_next(&list, &word)) {
		struct slice text;
		char given[GIVEN_MAX];

		buf_reset(&one);
		err->text[0] = '\0';
		(void)printable(word, given, sizeof(given));
		if (parse(word, &one, err) == -1) {
			if (err->text[0] == '\0')
				(void)err_set(
				    err, "\"%s\" is no such thing", given);
			else
				(void)err_wrap(err, "\"%s\"", given);
			goto out;
		}
		text = buf_slice(&one);
		if (parse != parse_duration &&
		    !(text.n > 2 &&
			memcmp(text.p + text.n - 2, ":0", 2) == 0) &&
		    list_has(buf_slice(canonical_r), text)) {
			(void)err_set(err, "\"%s\" stands there twice", given);
			goto out;
		}
		if (canonical_r->n > 0)
			(void)buf_add_char(canonical_r, ' ');
		(void)buf_add_slice(canonical_r, text);
	}
	rc = 0;
out:
	buf_clear(&one);
	return rc;
}

static int
check_durations(struct slice list, struct err *err)
{
	struct slice word;
	uint64_t before = 0;
	uint64_t seconds;

	if (list.n == 0)
		return err_set(err, "at least one is needed");
	while (setting_list_next(&list, &word)) {
		if (setting_seconds(word, &seconds) == -1)
			bug("a duration that was canonical");
		if (seconds < before)
			return err_set(err,
			    "\"%.*s\" is shorter than the one "
			    "before",
			    SLICE_ARG(word));
		before = seconds;
	}
	return 0;
}

/* ---- one value ---- */

static int
parse_number(const struct setting_row *row, struct slice text,
    struct buf *canonical_r, uint64_t *number_r)
{
	uint64_t number;

	if (setting_number(row->kind, text, &number) == -1 ||
	    number < row->least || number > row->most)
		return -1;
	*number_r = number;
	setting_format_number(row->kind, number, canonical_r);
	return 0;
}

static int
parse_choice(
    const struct setting_row *row, struct slice text, struct buf *canonical_r)
{
	struct slice words = slice_of(row->words);
	struct slice word;

	while (setting_list_next(&words, &word))
		if (slice_equals_nocase(word, text))
			return buf_add_slice(canonical_r, word);
	return -1;
}

static int
parse_mail_address(struct slice text, struct buf *canonical_r, struct err *err)
{
	struct address address;
	char formatted[ADDRESS_TEXT_MAX];

	if (text.n == 0)
		return 0;
	if (address_parse(text, 0, &address, err) == -1)
		return -1;
	return buf_add_text(canonical_r, address_format(&address, formatted));
}

/* A host name's or a path's worth, and no more than the list's limit. */
#define PLAIN_TEXT_MAX 1024

static int
parse_text(struct slice text, struct buf *canonical_r, struct err *err)
{
	if (text.n > PLAIN_TEXT_MAX)
		return err_set(
		    err, "it has more than %d octets", PLAIN_TEXT_MAX);
	return ipc_is_text(text) ? buf_add_slice(canonical_r, text) : -1;
}

/* -1 with the reason, or without one where setting_allowed() says it all. */
static int
parse_kind(const struct setting_row *row, struct slice text,
    struct buf *canonical_r, uint64_t *number_r, struct err *err)
{
	struct domain domain;

	switch (row->kind) {
	case SETTING_BOOL:
	case SETTING_NUMBER:
	case SETTING_OCTETS:
	case SETTING_SECONDS:
		return parse_number(row, text, canonical_r, number_r);
	case SETTING_TEXT:
		return parse_text(text, canonical_r, err);
	case SETTING_HOSTNAME:
		if (domain_parse(text, &domain, err) == -1)
			return -1;
		return buf_add_text(canonical_r, domain.text);
	case SETTING_ADDRESS:
		return parse_mail_address(text, canonical_r, err);
	case SETTING_LISTEN:
		return parse_list(text, parse_listen, canonical_r, err);
	case SETTING_SERVERS:
		return parse_list(text, parse_server, canonical_r, err);
	case SETTING_NETWORKS:
		return parse_list(text, parse_network, canonical_r, err);
	case SETTING_DURATIONS:
		if (parse_list(text, parse_duration, canonical_r, err) == -1)
			return -1;
		return check_durations(buf_slice(canonical_r), err);
	case SETTING_CHOICE:
		return parse_choice(row, text, canonical_r);
	case SETTING_KIND_COUNT:
		break;
	}
	bug("setting %s is of kind %d", row->name, (int)row->kind);
}

int
setting_parse(unsigned index, struct slice text, struct buf *canonical_r,
    uint64_t *number_r, struct err *err)
{
	const struct setting_row *row = setting_row(index);
	struct err why = {.text = ""};
	struct buf canonical;
	struct buf allowed;
	char given[GIVEN_MAX];
	int rc = -1;

	buf_init(&canonical, SETTING_TEXT_MAX);
	buf_init(&allowed, ERR_TEXT_MAX);
	buf_reset(canonical_r);
	*number_r = 0;
	text = slice_trim(text);
	if (parse_kind(row, text, &canonical, number_r, &why) == -1) {
		setting_allowed(index, &allowed);
		(void)err_set(err, "%s wants %s, not \"%s\"%s%s", row->name,
		    buf_text(&allowed), printable(text, given, sizeof(given)),
		    why.text[0] != '\0' ? ": " : "", why.text);
		goto out;
	}
	if (canonical.overflowed ||
	    buf_add_slice(canonical_r, buf_slice(&canonical)) == -1) {
		buf_reset(canonical_r);
		(void)err_set(err, "%s takes no more than %d octets", row->name,
		    SETTING_TEXT_MAX);
		goto out;
	}
	rc = 0;
out:
	buf_clear(&allowed);
	buf_clear(&canonical);
	return rc;
}
