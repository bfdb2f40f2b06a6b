/* SPDX-License-Identifier: ISC */
/*
 * Route targets, and which rule an address meets first.
 */
#include <string.h>

#include "relay/route.h"
#include "tests/unit/tap.h"

static void
test_targets(void)
{
	static const struct {
		const char *text;
		const char *canonical; /* NULL: refused */
	} rows[] = {
	    {"mx", "mx"},
	    {"MX", "mx"},
	    {"smtp://Relay.Example.test", "smtp://relay.example.test:25"},
	    {"smtp://relay.example.test:587", "smtp://relay.example.test:587"},
	    {"smtp://relay.example.test:587/", "smtp://relay.example.test:587"},
	    {"smtp://192.0.2.1:2525", "smtp://192.0.2.1:2525"},
	    {"smtp://[2001:db8::1]:2525", "smtp://[2001:db8::1]:2525"},
	    {"smtp://[2001:db8::1]", "smtp://[2001:db8::1]:25"},
	    {"smtps://relay.example.test", "smtps://relay.example.test:465"},
	    {"lmtp://127.0.0.1:24", "lmtp://127.0.0.1:24"},
	    {"lmtp:/run/dovecot/lmtp", "lmtp:/run/dovecot/lmtp"},
	    {"inner.example.test:26", "smtp://inner.example.test:26"},
	    {"10.0.0.5", "smtp://10.0.0.5:25"},
	    {"", NULL},
	    {"smtp://", NULL},
	    {"smtp://host:0", NULL},
	    {"smtp://host:65536", NULL},
	    {"smtp://host:", NULL},
	    {"smtp://2001:db8::1", NULL},
	    {"smtp://[host]", NULL},
	    {"http://host", NULL},
	    {"smtp://ho st", NULL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_target target;
		struct err err = {""};
		char text[ROUTE_TARGET_TEXT_MAX];
		int rc =
		    route_target_parse(slice_of(rows[i].text), &target, &err);

		if (rows[i].canonical == NULL) {
			is_int(rc, -1, "\"%s\": %s", rows[i].text, err.text);
			continue;
		}
		is_str(rc == 0 ? route_target_format(&target, text) : err.text,
		    rows[i].canonical, "\"%s\" is read", rows[i].text);
	}
}

static struct domain_entry domains[] = {
    {.name = {"inner.test"}, .to = "smtp://10.0.0.5:25"},
    {.name = {"ours.test"}, .to = ""},
};

static struct route_entry routes[] = {
    {"boss@partner.test", "smtp://a.test", "verified", "", ""},
    {"partner.test", "smtp://b.test", "", "user", "secret"},
    {"*.partner.test", "smtp://c.test", "encrypted", "", ""},
    {"x@inner.test", "smtp://d.test", "", "", ""},
    {"broken.test", "gopher://e", "", "", ""},
    {"deep.sub.late.test", "smtp://g.test", "", "", ""},
    {".late.test", "smtp://f.test", "", "", ""},
    {"sub.late.test", "smtp://never.test", "", "", ""},
    {"xn--mller-kva.test", "smtp://idn.test", "", "", ""},
};

static const struct snapshot snapshot = {.domains = domains,
    .domain_count = sizeof(domains) / sizeof(domains[0]),
    .routes = routes,
    .route_count = sizeof(routes) / sizeof(routes[0])};

static void
test_matches(void)
{
	static const struct {
		const char *address;
		const char *target; /* NULL: refused */
		const char *rule;
	} rows[] = {
	    {"a@inner.test", "smtp://10.0.0.5:25", "inner.test"},
	    {"A@INNER.test", "smtp://10.0.0.5:25", "inner.test"},
	    {"x@inner.test", "smtp://10.0.0.5:25", "inner.test"},
	    {"a@ours.test", "mx", ""},
	    {"boss@partner.test", "smtp://a.test:25", "boss@partner.test"},
	    {"Boss@partner.test", "smtp://a.test:25", "boss@partner.test"},
	    {"clerk@partner.test", "smtp://b.test:25", "partner.test"},
	    {"a@x.partner.test", "smtp://c.test:25", "*.partner.test"},
	    {"a@x.y.partner.test", "smtp://c.test:25", "*.partner.test"},
	    {"a@apartner.test", "mx", ""},
	    {"a@late.test", "mx", ""},
	    {"a@sub.late.test", "smtp://f.test:25", ".late.test"},
	    {"a@deep.sub.late.test", "smtp://g.test:25", "deep.sub.late.test"},
	    {"a@m\xc3\xbcller.test", "smtp://idn.test:25",
		"xn--mller-kva.test"},
	    {"a@[192.0.2.1]", "mx", ""},
	    {"a@elsewhere.test", "mx", ""},
	    {"a@broken.test", NULL, ""},
	    {"nobody", NULL, ""},
	};
	struct route_table *table = route_table_new(&snapshot);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_match match;
		struct err err = {""};
		char text[ROUTE_TARGET_TEXT_MAX];
		int rc =
		    route_find(table, slice_of(rows[i].address), &match, &err);

		if (rows[i].target == NULL) {
			is_int(rc, -1, "%s: %s", rows[i].address, err.text);
			continue;
		}
		is_str(rc == 0 ? route_target_format(match.target, text)
			       : err.text,
		    rows[i].target, "%s goes there", rows[i].address);
		is_str(rc == 0 ? match.rule : "", rows[i].rule,
		    "%s by that rule", rows[i].address);
	}
	route_table_free(table);
}

static void
test_any(void)
{
	struct route_entry any[] = {
	    {"partner.test", "smtp://b.test", "", "", ""},
	    {"*", "smtp://smart.test:587", "encrypted", "me", "secret"},
	};
	struct snapshot with_any = {.domains = domains,
	    .domain_count = 2,
	    .routes = any,
	    .route_count = 2};
	struct route_table *table = route_table_new(&with_any);
	struct route_match match;
	char key[ROUTE_KEY_MAX];

	is_int(route_find(table, SLICE("a@x.test"), &match, NULL), 0,
	    "a smart host takes the rest");
	is_str(match.target->host, "smart.test", "by name");
	is_str(match.user, "me", "with a login");
	is_str(match.tls, "encrypted", "and a level");
	is_str(route_key(&match, "x.test", key),
	    "smtp://smart.test:587 encrypted me",
	    "all domains share its connections");
	is_int(route_find(table, SLICE("a@[192.0.2.1]"), &match, NULL), 0,
	    "literals go to it, too");
	is_str(match.target->host, "smart.test", "and nowhere else");
	is_int(route_find(table, SLICE("a@inner.test"), &match, NULL), 0,
	    "our own domain does not");
	is_str(match.target->host, "10.0.0.5", "it goes inside");
	is_int(route_find_domain(table, "partner.test", &match, NULL), 0,
	    "a whole domain is found");
	is_str(match.target->host, "b.test", "the same way");
	route_table_free(table);
	table = route_table_new(&snapshot);
	(void)route_find(table, SLICE("a@x.test"), &match, NULL);
	is_str(route_key(&match, "x.test", key), "mx:x.test  ",
	    "each domain has its own MX");
	route_table_free(table);
}

int
main(void)
{
	test_targets();
	test_matches();
	test_any();
	return tap_done();
}
