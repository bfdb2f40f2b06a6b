/* SPDX-License-Identifier: ISC */
/*
 * Checks and canonical texts of configuration items.
 * Runs in: postern-confd.  Trusts: nothing of what it is given: it comes from
 * a person, a file, or a database that may be damaged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/domain.h"
#include "common/printable.h"
#include "common/settings.h"
#include "common/words.h"
#include "control/config_rules.h"
#include "control/times.h"

#define GIVEN_MAX 160

static const char *const mode_names[DOMAIN_MODE_COUNT] = {
    [DOMAIN_ANY] = "any",
    [DOMAIN_LIST] = "list",
    [DOMAIN_CALLOUT] = "callout",
};

int
config_refuse(
    struct err *err, const char *what, struct slice given, const char *allowed)
{
	char text[GIVEN_MAX];

	return err_set(err, "%s: not \"%s\", but %s", what,
	    printable(given, text, sizeof(text)), allowed);
}

/* ---- settings ---- */

static int
parse_setting(struct slice key, struct slice value, struct buf *key_r,
    struct buf *value_r, struct err *err)
{
	unsigned index;
	uint64_t number;
	char text[GIVEN_MAX];

	if (setting_find(key, &index) == -1)
		return err_set(err,
		    "there is no setting \"%s\"; \"postern "
		    "config list --all\" names them",
		    printable(key, text, sizeof(text)));
	(void)buf_add_text(key_r, setting_row(index)->name);
	return setting_parse(index, value, value_r, &number, err);
}

bool
config_is_default(enum config_kind kind, const char *key, const char *value)
{
	unsigned index;
	uint64_t number;
	struct buf canonical;
	bool is_equal;

	if (kind != CONFIG_SETTING || setting_find(slice_of(key), &index) == -1)
		return false;
	buf_init(&canonical, CONFIG_VALUE_MAX);
	is_equal =
	    setting_parse(index, slice_of(setting_row(index)->default_text),
		&canonical, &number, NULL) == 0 &&
	    strcmp(buf_text(&canonical), value) == 0;
	buf_clear(&canonical);
	return is_equal;
}

/* ---- targets ---- */

/* HOST[:PORT], where HOST is a name, an IPv4 address or [IPv6]. */
static int
parse_host_port(struct slice text, unsigned default_port, struct buf *out)
{
	struct netaddr address;
	struct domain name;
	uint64_t port = default_port;
	struct slice host = text;
	char shown[NETADDR_TEXT_MAX];
	size_t colon = text.n;

	for (size_t i = text.n; i > 0 && colon == text.n; i--)
		if (text.p[i - 1] == ':')
			colon = i - 1;
	if (text.n > 0 && text.p[text.n - 1] == ']')
		colon = text.n;
	if (colon < text.n) {
		host.n = colon;
		if (slice_to_u64(
			(struct slice){text.p + colon + 1, text.n - colon - 1},
			&port) == -1)
			return -1;
	}
	if (port < 1 || port > 65535)
		return -1;
	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
		if (netaddr_parse((struct slice){host.p + 1, host.n - 2},
			&address) == -1 ||
		    address.family != NETADDR_IPV6)
			return -1;
		return buf_addf(out, "[%s]:%u", netaddr_format(&address, shown),
		    (unsigned)port);
	}
	if (netaddr_parse(host, &address) == 0)
		return address.family != NETADDR_IPV4
			   ? -1
			   : buf_addf(out, "%s:%u",
				 netaddr_format(&address, shown),
				 (unsigned)port);
	if (domain_parse(host, &name, NULL) == -1)
		return -1;
	return buf_addf(out, "%s:%u", name.text, (unsigned)port);
}

int
config_target_parse(struct slice text, struct buf *canonical_r, struct err *err)
{
	static const struct {
		const char *scheme;
		unsigned port;
	} schemes[] = {{"smtp://", 25}, {"smtps://", 465}, {"lmtp://", 24}};
	struct slice rest = text;

	if (slice_equals_nocase(text, SLICE("mx")))
		return buf_add_text(canonical_r, "mx");
	if (slice_starts_nocase(text, "lmtp:/") &&
	    !slice_starts_nocase(text, "lmtp://") && text.n < 6 + 100 &&
	    ipc_is_text(text)) {
		(void)buf_add_text(canonical_r, "lmtp:");
		return buf_add_slice(
		    canonical_r, (struct slice){text.p + 5, text.n - 5});
	}
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		const size_t n = strlen(schemes[i].scheme);

		if (!slice_starts_nocase(text, schemes[i].scheme))
			continue;
		(void)buf_add_text(canonical_r, schemes[i].scheme);
		rest.p += n;
		rest.n -= n;
		if (rest.n > 0 && rest.p[rest.n - 1] == '/')
			rest.n--;
		if (parse_host_port(rest, schemes[i].port, canonical_r) == 0)
			return 0;
		break;
	}
	buf_reset(canonical_r);
	return config_refuse(err, "where to", text,
	    "mx, smtp://HOST:PORT, "
	    "smtps://HOST:PORT, lmtp://HOST:PORT or lmtp:/PATH");
}

/* ---- domains ---- */

const char *
config_domain_mode_name(enum domain_mode mode)
{
	return mode_names[mode];
}

int
config_domain_mode_parse(struct slice word, enum domain_mode *mode_r)
{
	for (int i = 0; i < DOMAIN_MODE_COUNT; i++)
		if (slice_equals_nocase(word, slice_of(mode_names[i]))) {
			*mode_r = (enum domain_mode)i;
			return 0;
		}
	return -1;
}

/* "any" or "any to TARGET" */
static int
parse_domain(struct slice key, struct slice value, struct buf *key_r,
    struct buf *value_r, struct err *err)
{
	struct domain name;
	struct buf word;
	struct buf target;
	enum domain_mode mode;
	int rc = -1;

	buf_init(&word, 512);
	buf_init(&target, 512);
	if (domain_parse(key, &name, err) == -1)
		goto out;
	(void)buf_add_text(key_r, name.text);
	if (words_next(&value, &word) != WORDS_WORD ||
	    config_domain_mode_parse(buf_slice(&word), &mode) == -1) {
		(void)config_refuse(err, "recipients", buf_slice(&word),
		    "any, list or callout");
		goto out;
	}
	(void)buf_add_text(value_r, mode_names[mode]);
	if (words_next(&value, &word) == WORDS_END) {
		rc = 0;
		goto out;
	}
	if (!slice_equals_nocase(buf_slice(&word), SLICE("to")) ||
	    words_next(&value, &word) != WORDS_WORD) {
		(void)config_refuse(
		    err, "domain", buf_slice(&word), "to TARGET");
		goto out;
	}
	if (config_target_parse(buf_slice(&word), &target, err) == -1)
		goto out;
	(void)buf_addf(value_r, " to %s", buf_text(&target));
	if (slice_trim(value).n > 0) {
		(void)config_refuse(err, "domain", value, "nothing more");
		goto out;
	}
	rc = 0;
out:
	buf_clear(&word);
	buf_clear(&target);
	return rc;
}

int
config_domain_read(const char *value, struct config_domain *domain_r)
{
	const size_t mode_n = strcspn(value, " ");
	const char *to = strstr(value, " to ");

	*domain_r = (struct config_domain){.to = ""};
	if (config_domain_mode_parse(
		(struct slice){value, mode_n}, &domain_r->mode) == -1)
		return -1;
	return to == NULL ? 0
			  : slice_copy(slice_of(to + 4), domain_r->to,
				sizeof(domain_r->to));
}

/* ---- block and allow ---- */

/*
 * A client is a network; a sender an address, a domain with or without @, or
 * all below a domain.
 */
static int
parse_access_pattern(
    struct slice word, struct slice pattern, struct buf *key_r, struct err *err)
{
	struct netprefix prefix;
	struct address address;
	struct domain_pattern domain;
	bool is_single;
	char prefix_text[NETADDR_TEXT_MAX];
	char address_text[ADDRESS_TEXT_MAX];
	char domain_text[DOMAIN_PATTERN_TEXT_MAX];

	if (slice_equals(word, SLICE("client"))) {
		if (netprefix_parse(pattern, &prefix, err) == -1)
			return -1;
		is_single = prefix.bits ==
			    (prefix.address.family == NETADDR_IPV4 ? 32 : 128);
		return buf_addf(key_r, "client %s",
		    is_single ? netaddr_format(&prefix.address, prefix_text)
			      : netprefix_format(&prefix, prefix_text));
	}
	if (!slice_equals(word, SLICE("sender")))
		return config_refuse(err, "entry", word, "client or sender");
	if (pattern.n > 0 && pattern.p[0] == '@')
		pattern = (struct slice){pattern.p + 1, pattern.n - 1};
	else if (slice_find(pattern, '@', 0) < pattern.n) {
		if (address_parse(
			pattern, ADDRESS_MAY_BE_UTF8, &address, err) == -1)
			return -1;
		return buf_addf(key_r, "sender %s",
		    address_format_folded(&address, address_text));
	}
	if (domain_pattern_parse(pattern, &domain, err) == -1)
		return -1;
	if (domain.kind == DOMAIN_PATTERN_ANY)
		return config_refuse(
		    err, "sender", pattern, "an address or a domain");
	return buf_addf(key_r, "sender %s%s",
	    domain.kind == DOMAIN_PATTERN_EXACT ? "@" : "",
	    domain_pattern_format(&domain, domain_text));
}

/* key "client 192.0.2.0/24", value "block" or "block until TIME" */
static int
parse_access(struct slice key, struct slice value, struct buf *key_r,
    struct buf *value_r, struct err *err)
{
	const size_t space = slice_find(key, ' ', 0);
	const size_t verb_n = slice_find(value, ' ', 0);
	const struct slice verb = {value.p, verb_n};
	struct slice rest = {value.p + verb_n, value.n - verb_n};
	char text[TIMES_TEXT_MAX];
	int64_t until;

	if (parse_access_pattern((struct slice){key.p, space},
		slice_trim((struct slice){key.p + space, key.n - space}), key_r,
		err) == -1)
		return -1;
	if (!slice_equals(verb, SLICE("block")) &&
	    !slice_equals(verb, SLICE("allow")))
		return config_refuse(err, "entry", verb, "block or allow");
	(void)buf_add_slice(value_r, verb);
	rest = slice_trim(rest);
	if (rest.n == 0)
		return 0;
	if (!slice_starts_nocase(rest, "until "))
		return config_refuse(err, "entry", rest, "until TIME");
	rest = slice_trim((struct slice){rest.p + 6, rest.n - 6});
	/* 0 would mean for good. */
	if (times_parse(rest, &until) == -1 || until == 0)
		return config_refuse(
		    err, "until", rest, "a time such as 2030-01-31T12:00:00Z");
	return buf_addf(value_r, " until %s", times_format(until, text));
}

int
config_access_read(
    const char *key, const char *value, struct config_access *access_r)
{
	const char *until = strstr(value, " until ");
	const char *space = strchr(key, ' ');

	*access_r =
	    (struct config_access){.is_allow = strncmp(value, "allow", 5) == 0,
		.is_client = strncmp(key, "client ", 7) == 0,
		.pattern = space != NULL ? space + 1 : ""};
	if (space == NULL)
		return -1;
	return until == NULL
		   ? 0
		   : times_parse(slice_of(until + 7), &access_r->until);
}

/* ---- all kinds ---- */

typedef int parse_fn(struct slice key, struct slice value, struct buf *key_r,
    struct buf *value_r, struct err *err);

static parse_fn *const parsers[CONFIG_KIND_COUNT] = {
    [CONFIG_SETTING] = parse_setting,
    [CONFIG_DOMAIN] = parse_domain,
    [CONFIG_ROUTE] = config_route_parse,
    [CONFIG_ACCESS] = parse_access,
    [CONFIG_POLICY] = config_policy_parse,
};

int
config_item_parse(enum config_kind kind, struct slice key, struct slice value,
    struct buf *key_r, struct buf *value_r, struct err *err)
{
	buf_reset(key_r);
	buf_reset(value_r);
	if (!ipc_is_text(key) || !ipc_is_text(value))
		return err_set(err, "not UTF-8, or with control characters");
	if (parsers[kind](
		slice_trim(key), slice_trim(value), key_r, value_r, err) == -1)
		return -1;
	if (key_r->overflowed || value_r->overflowed)
		return err_set(err, "%s: too long", config_kind_name(kind));
	return 0;
}

/* As many as a snapshot takes (ipc_messages.h, CONF_SNAPSHOT). */
static int
check_counts(const struct config_items *items, struct err *err)
{
	static const size_t limits[CONFIG_KIND_COUNT] = {
	    [CONFIG_SETTING] = 512,
	    [CONFIG_DOMAIN] = 20000,
	    [CONFIG_ROUTE] = 20000,
	    [CONFIG_ACCESS] = 100000,
	    [CONFIG_POLICY] = 20000,
	};
	size_t counts[CONFIG_KIND_COUNT] = {0};

	for (size_t i = 0; i < items->count; i++)
		counts[items->list[i].kind]++;
	for (int kind = 0; kind < CONFIG_KIND_COUNT; kind++)
		if (counts[kind] > limits[kind])
			return err_set(err,
			    "%zu items of the kind %s are more than the %zu "
			    "that a configuration may have",
			    counts[kind],
			    config_kind_name((enum config_kind)kind),
			    limits[kind]);
	return 0;
}

int
config_items_check(const struct config_items *items, struct err *err)
{
	struct settings settings;
	struct buf canonical;
	uint64_t number;
	unsigned index;
	int rc = 0;

	if (check_counts(items, err) == -1)
		return -1;
	settings_init(&settings);
	buf_init(&canonical, CONFIG_VALUE_MAX);
	for (size_t i = 0; rc == 0 && i < items->count; i++) {
		const struct config_item *item = &items->list[i];

		if (item->kind != CONFIG_SETTING ||
		    setting_find(slice_of(item->key), &index) == -1)
			continue;
		rc = setting_parse(
		    index, slice_of(item->value), &canonical, &number, err);
		if (rc == 0)
			settings_put(
			    &settings, index, number, buf_slice(&canonical));
	}
	if (rc == 0)
		rc = settings_check(&settings, err);
	settings_clear(&settings);
	buf_clear(&canonical);
	return rc == 0 ? config_routes_check(items, err) : -1;
}
