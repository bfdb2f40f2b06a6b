/* SPDX-License-Identifier: ISC */
/*
 * Configuration items: canonical texts, refusals, and their order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/config_rules.h"
#include "tests/unit/tap.h"

struct good_row {
	const char *label;
	enum config_kind kind;
	const char *key;
	const char *value;
	const char *want_key;
	const char *want_value;
};

static const struct good_row good_rows[] = {
    {"a setting keeps its unit", CONFIG_SETTING, "smtp.max_message_size",
	" 20M ", "smtp.max_message_size", "20M"},
    {"a list has single spaces", CONFIG_SETTING, "smtp.listen",
	"127.0.0.1:25,  [::1]:25", "smtp.listen", "127.0.0.1:25 [::1]:25"},
    {"a domain is lower case", CONFIG_DOMAIN, "Example.ORG.", "any",
	"example.org", "any"},
    {"a domain may be written in its own letters", CONFIG_DOMAIN,
	"b\xc3\xbc"
	"cher.example",
	"LIST", "xn--bcher-kva.example", "list"},
    {"a target gets its port", CONFIG_DOMAIN, "example.org",
	"callout to smtp://Mail.Example.org", "example.org",
	"callout to smtp://mail.example.org:25"},
    {"an IPv6 target", CONFIG_DOMAIN, "example.org",
	"any to smtp://[2001:DB8:0::1]:2525", "example.org",
	"any to smtp://[2001:db8::1]:2525"},
    {"LMTP has a port of its own", CONFIG_ROUTE, "example.org",
	"lmtp://10.0.0.5", "example.org", "lmtp://10.0.0.5:24"},
    {"TLS from the start too", CONFIG_ROUTE, "example.org",
	"smtps://relay.example", "example.org", "smtps://relay.example:465"},
    {"a socket's path stays as it is", CONFIG_ROUTE, "example.org",
	"lmtp:/run/Dovecot/lmtp", "example.org", "lmtp:/run/Dovecot/lmtp"},
    {"everything by MX", CONFIG_ROUTE, "*", "MX tls dane", "*", "mx tls dane"},
    {"both forms of below are one", CONFIG_ROUTE, ".example.org", "mx",
	"*.example.org", "mx"},
    {"an address as a pattern", CONFIG_ROUTE, "Anna@Example.org", "mx",
	"anna@example.org", "mx"},
    {"a route with all it may have, in one order", CONFIG_ROUTE, "*",
	"smtp://r.example:587 password c2VjcmV0 user \"a b\" tls verified", "*",
	"smtp://r.example:587 tls verified user \"a b\" password c2VjcmV0"},
    {"a rule of protection, in one order", CONFIG_POLICY,
	"Anna@Example.org  @.Example.net",
	"encrypt required SIGN if-possible trigger subject \"a b\" sign",
	"anna@example.org @*.example.net",
	"sign if-possible encrypt required trigger subject \"a b\" sign"},
    {"a rule for everybody", CONFIG_POLICY, "* *", "dkim never", "* *",
	"dkim never"},
    {"a single address is a client", CONFIG_ACCESS, "client 192.0.2.1", "block",
	"client 192.0.2.1", "block"},
    {"a network with an end", CONFIG_ACCESS, "client 2001:db8::/32",
	"allow until 2030-01-31", "client 2001:db8::/32",
	"allow until 2030-01-31T00:00:00Z"},
    {"a sender's domain", CONFIG_ACCESS, "sender Example.org", "block",
	"sender @example.org", "block"},
    {"all below a domain", CONFIG_ACCESS, "sender .Example.org", "block",
	"sender *.example.org", "block"},
    {"a sender", CONFIG_ACCESS, "sender Bad@Example.org", "block",
	"sender bad@example.org", "block"},
};

struct bad_row {
	const char *label;
	enum config_kind kind;
	const char *key;
	const char *value;
	const char *want; /* a part of the sentence */
};

static const struct bad_row bad_rows[] = {
    {"no such setting", CONFIG_SETTING, "smtp.colour", "red",
	"there is no setting \"smtp.colour\""},
    {"a number out of its range", CONFIG_SETTING, "smtp.workers", "65",
	"smtp.workers wants"},
    {"control characters", CONFIG_SETTING, "smtp.hostname", "a\nb",
	"control characters"},
    {"not UTF-8", CONFIG_SETTING, "smtp.hostname", "\xff", "UTF-8"},
    {"no domain", CONFIG_DOMAIN, "ex ample", "any", "ex"},
    {"no mode", CONFIG_DOMAIN, "example.org", "some", "any, list or callout"},
    {"an unknown way", CONFIG_DOMAIN, "example.org", "any to http://x",
	"where to: not \"http://x\""},
    {"more than it takes", CONFIG_DOMAIN, "example.org", "any to mx and more",
	"nothing more"},
    {"port 0", CONFIG_ROUTE, "*", "smtp://x.example:0", "where to"},
    {"a port too far", CONFIG_ROUTE, "*", "smtp://x.example:65536", "where to"},
    {"IPv6 without brackets", CONFIG_ROUTE, "*", "smtp://2001:db8::1",
	"where to"},
    {"a level that is none", CONFIG_ROUTE, "*", "mx tls maybe",
	"tls: not \"maybe\""},
    {"a user for no host", CONFIG_ROUTE, "*",
	"mx user a password YQ==", "not with mx"},
    {"a password that is not base64", CONFIG_ROUTE, "*",
	"smtp://x.example user a password ???", "base64"},
    {"an open quote", CONFIG_ROUTE, "*", "smtp://x.example user \"a",
	"a value"},
    {"a network with host bits", CONFIG_ACCESS, "client 10.1.0.0/8", "block",
	""},
    {"neither client nor sender", CONFIG_ACCESS, "host x", "block",
	"client or sender"},
    {"a day that is none", CONFIG_ACCESS, "client 10.0.0.1",
	"block until 2030-02-31", "until: not \"2030-02-31\""},
    {"neither block nor allow", CONFIG_ACCESS, "client 10.0.0.1", "drop",
	"block or allow"},
};

static void
check_good(const struct good_row *row)
{
	struct buf key;
	struct buf value;
	struct buf again_key;
	struct buf again_value;
	struct err err = {""};

	buf_init(&key, CONFIG_KEY_MAX);
	buf_init(&value, CONFIG_VALUE_MAX);
	buf_init(&again_key, CONFIG_KEY_MAX);
	buf_init(&again_value, CONFIG_VALUE_MAX);
	if (!ok(config_item_parse(row->kind, slice_of(row->key),
		    slice_of(row->value), &key, &value, &err) == 0,
		"%s", row->label))
		diag("%s", err.text);
	is_str(buf_text(&key), row->want_key, "%s: its key", row->label);
	is_str(buf_text(&value), row->want_value, "%s: its value", row->label);
	ok(config_item_parse(row->kind, buf_slice(&key), buf_slice(&value),
	       &again_key, &again_value, &err) == 0 &&
		slice_equals(buf_slice(&key), buf_slice(&again_key)) &&
		slice_equals(buf_slice(&value), buf_slice(&again_value)),
	    "%s: what is canonical stays so", row->label);
	buf_clear(&key);
	buf_clear(&value);
	buf_clear(&again_key);
	buf_clear(&again_value);
}

static void
check_bad(const struct bad_row *row)
{
	struct buf key;
	struct buf value;
	struct err err = {""};

	buf_init(&key, CONFIG_KEY_MAX);
	buf_init(&value, CONFIG_VALUE_MAX);
	ok(config_item_parse(row->kind, slice_of(row->key),
	       slice_of(row->value), &key, &value, &err) == -1,
	    "%s is refused", row->label);
	if (!ok(strstr(err.text, row->want) != NULL, "%s: and it says why",
		row->label))
		diag("%s", err.text);
	buf_clear(&key);
	buf_clear(&value);
}

static void
check_order(void)
{
	static const char *const patterns[] = {"anna@example.org",
	    "zoe@example.org", "mail.example.org", "*.example.org", "*.org",
	    "*"};
	const size_t n = sizeof(patterns) / sizeof(patterns[0]);
	const struct config_item **routes;
	struct config_items items = {0};
	size_t count;

	for (size_t i = 0; i < n; i++)
		config_items_put(&items, CONFIG_ROUTE, patterns[i], "mx");
	config_items_put(&items, CONFIG_DOMAIN, "example.org", "any");
	routes = config_routes_in_order(&items, &count);
	if (is_u64(count, n, "all routes, and nothing else"))
		for (size_t i = 0; i < n; i++)
			is_str(routes[i]->key, patterns[i],
			    "the nearer pattern first: %s", patterns[i]);
	free(routes);
	config_items_clear(&items);
}

static void
check_relations(void)
{
	struct config_items items = {0};
	struct err err;
	struct buf text;

	config_items_put(
	    &items, CONFIG_ROUTE, "*", "smtp://x.example:25 user a");
	ok(config_items_check(&items, &err) == -1,
	    "a user without a password is refused");
	config_items_put(&items, CONFIG_ROUTE, "*",
	    "smtp://x.example:25 user a password YQ==");
	ok(config_items_check(&items, &err) == 0, "both together are not");
	buf_init(&text, 1024);
	config_route_masked(config_items_get(&items, CONFIG_ROUTE, "*"), &text);
	is_str(buf_text(&text), "smtp://x.example:25 user a",
	    "people do not see the password");
	buf_clear(&text);
	config_items_clear(&items);
	ok(config_is_default(CONFIG_SETTING, "smtp.max_message_size", "50M"),
	    "a default is known as one");
	ok(!config_is_default(CONFIG_SETTING, "smtp.max_message_size", "51M"),
	    "another value is none");
}

static void
check_limits(void)
{
	struct config_items items = {0};
	struct err err;
	char name[64];

	for (int i = 0; i < 20001; i++) {
		(void)snprintf(name, sizeof(name), "d%05d.example.org", i);
		config_items_put(&items, CONFIG_DOMAIN, name, "any");
		if (i == 19999)
			ok(config_items_check(&items, &err) == 0,
			    "as many domains as a snapshot holds");
	}
	ok(config_items_check(&items, &err) == -1 &&
		strstr(err.text, "more than the 20000") != NULL,
	    "one more is refused");
	config_items_clear(&items);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(good_rows) / sizeof(good_rows[0]); i++)
		check_good(&good_rows[i]);
	for (size_t i = 0; i < sizeof(bad_rows) / sizeof(bad_rows[0]); i++)
		check_bad(&bad_rows[i]);
	check_order();
	check_relations();
	check_limits();
	return tap_done();
}
