/* SPDX-License-Identifier: ISC */
/*
 * Routes: patterns, what follows a target, passwords, and the order in which
 * they match.
 * Runs in: postern-confd.  Trusts: nothing of what it is given.
 */
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/base64.h"
#include "common/settings.h"
#include "common/words.h"
#include "control/config_rules.h"

/* "*", "*.example.org", "example.org" or "user@example.org" */
static int
parse_pattern(struct slice key, struct buf *key_r, struct err *err)
{
	struct domain_pattern pattern;
	struct address address;
	char domain_text[DOMAIN_PATTERN_TEXT_MAX];
	char address_text[ADDRESS_TEXT_MAX];

	if (slice_find(key, '@', 0) < key.n) {
		if (address_parse(key, ADDRESS_MAY_BE_UTF8, &address, err) ==
		    -1)
			return -1;
		return buf_add_text(
		    key_r, address_format_folded(&address, address_text));
	}
	if (domain_pattern_parse(key, &pattern, err) == -1)
		return -1;
	return buf_add_text(
	    key_r, domain_pattern_format(&pattern, domain_text));
}

/* The words are those of the setting for all routes. */
static bool
is_tls_level(struct slice word)
{
	struct slice words = slice_of(setting_row(SET_relay_tls)->words);
	struct slice level;

	while (setting_list_next(&words, &level))
		if (slice_equals(word, level))
			return true;
	return false;
}

/* One "name value" pair after the target. */
static int
route_option(struct config_route *route, struct slice name, struct slice value,
    struct err *err)
{
	if (slice_equals(name, SLICE("tls"))) {
		if (!is_tls_level(value))
			return config_refuse(err, "tls", value,
			    setting_row(SET_relay_tls)->words);
		return slice_copy(value, route->tls, sizeof(route->tls));
	}
	if (slice_equals(name, SLICE("user"))) {
		if (value.n == 0 || !ipc_is_text(value) ||
		    slice_copy(value, route->user, sizeof(route->user)) == -1)
			return config_refuse(err, "user", value,
			    "1 to 256 octets "
			    "without control characters");
		return 0;
	}
	if (slice_equals(name, SLICE("password"))) {
		if (base64_decode(value, route->password,
			sizeof(route->password), &route->password_n) == -1)
			return err_set(err,
			    "password: not base64, or more "
			    "than %zu octets",
			    sizeof(route->password));
		if (route->password_n == 0 ||
		    memchr(route->password, '\0', route->password_n) != NULL)
			return err_set(err, "password: empty, or with a NUL");
		route->has_password = true;
		return 0;
	}
	return config_refuse(err, "route", name,
	    "tls LEVEL, user USER or password "
	    "BASE64");
}

static int
read_route(struct slice value, struct config_route *route, struct err *err)
{
	struct buf name;
	struct buf word;
	struct buf target;
	enum words_read kind;
	int rc = -1;

	*route = (struct config_route){.target = ""};
	buf_init(&name, 64);
	buf_init(&word, 2048);
	buf_init(&target, 512);
	if (words_next(&value, &word) != WORDS_WORD) {
		(void)config_refuse(err, "route", value,
		    "a target: mx, "
		    "smtp://HOST:PORT, smtps://HOST:PORT, lmtp://HOST:PORT or "
		    "lmtp:/PATH");
		goto out;
	}
	if (config_target_parse(buf_slice(&word), &target, err) == -1)
		goto out;
	(void)slice_copy(
	    buf_slice(&target), route->target, sizeof(route->target));
	while ((kind = words_next(&value, &name)) == WORDS_WORD) {
		if (words_next(&value, &word) != WORDS_WORD) {
			(void)config_refuse(
			    err, buf_text(&name), value, "a value");
			goto out;
		}
		if (route_option(
			route, buf_slice(&name), buf_slice(&word), err) == -1)
			goto out;
	}
	if (kind == WORDS_BAD) {
		(void)config_refuse(err, "route", value,
		    "words, in quotes where "
		    "they hold spaces");
		goto out;
	}
	rc = 0;
out:
	if (word.p != NULL)
		explicit_bzero(word.p, word.capacity);
	buf_clear(&name);
	buf_clear(&word);
	buf_clear(&target);
	return rc;
}

int
config_route_read(const char *value, struct config_route *route_r)
{
	return read_route(slice_of(value), route_r, NULL);
}

void
config_route_clear(struct config_route *route)
{
	explicit_bzero(route->password, sizeof(route->password));
	route->password_n = 0;
	route->has_password = false;
}

static void
write_route(
    const struct config_route *route, bool with_password, struct buf *text)
{
	(void)buf_add_text(text, route->target);
	if (route->tls[0] != '\0')
		(void)buf_addf(text, " tls %s", route->tls);
	if (route->user[0] != '\0') {
		(void)buf_add_text(text, " user");
		words_add(text, route->user);
	}
	if (route->has_password && with_password) {
		char encoded[BASE64_ENCODED_SIZE(sizeof(route->password)) + 1];

		(void)base64_encode(route->password, route->password_n, encoded,
		    sizeof(encoded));
		(void)buf_addf(text, " password %s", encoded);
		explicit_bzero(encoded, sizeof(encoded));
	}
}

void
config_route_masked(const char *value, struct buf *text_r)
{
	struct config_route route;

	if (config_route_read(value, &route) == 0)
		write_route(&route, false, text_r);
	config_route_clear(&route);
}

int
config_route_parse(struct slice key, struct slice value, struct buf *key_r,
    struct buf *value_r, struct err *err)
{
	struct config_route route;
	int rc = -1;

	if (parse_pattern(key, key_r, err) == -1)
		return -1;
	if (read_route(value, &route, err) == 0) {
		if (strcmp(route.target, "mx") == 0 && route.user[0] != '\0')
			(void)err_set(err, "a user name goes with a named "
					   "host, not with mx");
		else
			rc = 0;
	}
	if (rc == 0)
		write_route(&route, true, value_r);
	config_route_clear(&route);
	return rc;
}

/* ---- their order ---- */

/* A route with the rank of its pattern, so that each is parsed once. */
struct ranked {
	const struct config_item *item;
	bool is_address;
	unsigned rank;
};

static int
compare_ranked(const void *a, const void *b)
{
	const struct ranked *one = a;
	const struct ranked *other = b;

	if (one->is_address != other->is_address)
		return one->is_address ? -1 : 1;
	if (one->rank != other->rank)
		return one->rank > other->rank ? -1 : 1;
	return strcmp(one->item->key, other->item->key);
}

static struct ranked
rank_of(const struct config_item *item)
{
	struct ranked ranked = {
	    .item = item, .is_address = strchr(item->key, '@') != NULL};
	struct domain_pattern pattern;

	if (!ranked.is_address &&
	    domain_pattern_parse(slice_of(item->key), &pattern, NULL) == 0)
		ranked.rank = domain_pattern_rank(&pattern);
	return ranked;
}

const struct config_item **
config_routes_in_order(const struct config_items *items, size_t *count_r)
{
	struct ranked *ranked = xcalloc(items->count + 1, sizeof(*ranked));
	const struct config_item **routes =
	    xcalloc(items->count + 1, sizeof(const struct config_item *));
	size_t count = 0;

	for (size_t i = 0; i < items->count; i++)
		if (items->list[i].kind == CONFIG_ROUTE)
			ranked[count++] = rank_of(&items->list[i]);
	qsort(ranked, count, sizeof(*ranked), compare_ranked);
	for (size_t i = 0; i < count; i++)
		routes[i] = ranked[i].item;
	free(ranked);
	*count_r = count;
	return routes;
}

int
config_routes_check(const struct config_items *items, struct err *err)
{
	struct config_route route;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < items->count; i++) {
		const struct config_item *item = &items->list[i];

		if (item->kind != CONFIG_ROUTE)
			continue;
		if (config_route_read(item->value, &route) == -1)
			rc = err_set(
			    err, "route %s: %s", item->key, "cannot be read");
		else if ((route.user[0] != '\0') != route.has_password)
			rc = err_set(err,
			    "route %s: a user and a password "
			    "come together; \"postern route add\" takes the "
			    "password with --password-stdin",
			    item->key);
		config_route_clear(&route);
	}
	return rc;
}
