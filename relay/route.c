/* SPDX-License-Identifier: ISC */
/*
 * Route targets, and the table that finds one for an address in a few steps
 * however many routes there are.
 * Runs in: postern-relayd, postern-queued.  Trusts: the snapshot's shape; the
 * texts in it are parsed here and may be wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "relay/route.h"

#define PORT_SMTP 25
#define PORT_SMTPS 465
#define PORT_LMTP 24

/* ---- targets ---- */

static const struct {
	const char *prefix;
	enum route_kind kind;
	uint16_t port;
} schemes[] = {
    {"smtp://", ROUTE_SMTP, PORT_SMTP},
    {"smtps://", ROUTE_SMTPS, PORT_SMTPS},
    {"lmtp://", ROUTE_LMTP, PORT_LMTP},
    {"", ROUTE_SMTP, PORT_SMTP},
};

/* "HOST" and its port apart; the port stays where none is named. */
static int
split_port(struct slice text, struct slice *host_r, uint16_t *port)
{
	size_t colon = text.n;
	uint64_t number;

	*host_r = text;
	for (size_t i = text.n; i > 0; i--) {
		if (text.p[i - 1] == ']')
			break;
		if (text.p[i - 1] == ':') {
			colon = i - 1;
			break;
		}
	}
	if (colon == text.n)
		return 0;
	host_r->n = colon;
	if (slice_to_u64((struct slice){text.p + colon + 1, text.n - colon - 1},
		&number) == -1 ||
	    number < 1 || number > 65535)
		return -1;
	*port = (uint16_t)number;
	return 0;
}

static int
parse_host(struct slice host, struct route_target *target, struct err *err)
{
	struct domain name;
	bool is_bracketed =
	    host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
	struct slice inner =
	    is_bracketed ? (struct slice){host.p + 1, host.n - 2} : host;

	if (netaddr_parse(inner, &target->literal) == 0 &&
	    (is_bracketed || target->literal.family == NETADDR_IPV4)) {
		char text[NETADDR_TEXT_MAX];

		(void)snprintf(target->host, sizeof(target->host), "%s",
		    netaddr_format(&target->literal, text));
		return 0;
	}
	target->literal = (struct netaddr){.family = NETADDR_NONE};
	if (is_bracketed || domain_parse(host, &name, err) == -1)
		return err_set(err,
		    "%.*s is neither a host's name nor its "
		    "address",
		    SLICE_ARG(host));
	memcpy(target->host, name.text, sizeof(target->host));
	return 0;
}

static int
parse_path(struct slice path, struct route_target *target_r, struct err *err)
{
	struct route_target target = {.kind = ROUTE_LMTP_UNIX};

	if (slice_copy(path, target.path, sizeof(target.path)) == -1)
		return err_set(
		    err, "%.*s: too long for a socket", SLICE_ARG(path));
	*target_r = target;
	return 0;
}

int
route_target_parse(
    struct slice text, struct route_target *target_r, struct err *err)
{
	size_t count = sizeof(schemes) / sizeof(schemes[0]);
	struct route_target target = {.kind = ROUTE_MX};
	struct slice host;
	size_t i = 0;

	if (slice_equals_nocase(text, SLICE("mx"))) {
		*target_r = target;
		return 0;
	}
	if (slice_starts_nocase(text, "lmtp:/") &&
	    !slice_starts_nocase(text, "lmtp://"))
		return parse_path(
		    (struct slice){text.p + 5, text.n - 5}, target_r, err);
	while (i < count - 1 && !slice_starts_nocase(text, schemes[i].prefix))
		i++;
	text.p += strlen(schemes[i].prefix);
	text.n -= strlen(schemes[i].prefix);
	if (text.n > 0 && text.p[text.n - 1] == '/')
		text.n--;
	target.kind = schemes[i].kind;
	target.port = schemes[i].port;
	if (split_port(text, &host, &target.port) == -1)
		return err_set(
		    err, "%.*s: the port must be 1 to 65535", SLICE_ARG(text));
	if (parse_host(host, &target, err) == -1)
		return -1;
	*target_r = target;
	return 0;
}

const char *
route_target_format(
    const struct route_target *target, char out[ROUTE_TARGET_TEXT_MAX])
{
	static const char *const prefixes[ROUTE_KIND_COUNT] = {
	    [ROUTE_SMTP] = "smtp://",
	    [ROUTE_SMTPS] = "smtps://",
	    [ROUTE_LMTP] = "lmtp://",
	};
	bool is_ipv6 = target->literal.family == NETADDR_IPV6;

	if (target->kind == ROUTE_MX)
		(void)snprintf(out, ROUTE_TARGET_TEXT_MAX, "mx");
	else if (target->kind == ROUTE_LMTP_UNIX)
		(void)snprintf(
		    out, ROUTE_TARGET_TEXT_MAX, "lmtp:%s", target->path);
	else
		(void)snprintf(out, ROUTE_TARGET_TEXT_MAX, "%s%s%s%s:%u",
		    prefixes[target->kind], is_ipv6 ? "[" : "", target->host,
		    is_ipv6 ? "]" : "", target->port);
	return out;
}

/* ---- the table ---- */

/* What a pattern names; below it, the address or domain that it hangs on. */
enum rule_kind { RULE_ANY, RULE_BELOW, RULE_DOMAIN, RULE_ADDRESS };

struct rule {
	enum rule_kind kind;
	char *name;   /* canonical */
	size_t place; /* in match order; domains of ours come first */
	enum route_source source;
	char *text; /* as configured */
	char *target_text;
	struct route_target target;
	bool is_readable;
	char *tls;
	char *user;
	char *password;
	struct rule *next; /* in its bucket */
};

struct route_table {
	struct rule *rules;
	size_t count;
	struct rule **buckets;
	size_t bucket_count; /* a power of two */
	struct route_target mx;
};

/* FNV-1a. */
static size_t
hash(enum rule_kind kind, const char *name)
{
	uint64_t h = 14695981039346656037u ^ (uint64_t)kind;

	for (; *name != '\0'; name++)
		h = (h ^ (unsigned char)*name) * 1099511628211u;
	return (size_t)(h ^ h >> 32);
}

static void
set_target(struct rule *rule, const char *target)
{
	rule->target_text = xstrdup(target);
	rule->is_readable =
	    route_target_parse(slice_of(target), &rule->target, NULL) == 0;
}

static void
set_pattern(struct rule *rule, const char *text)
{
	static const enum rule_kind kinds[DOMAIN_PATTERN_KIND_COUNT] = {
	    [DOMAIN_PATTERN_ANY] = RULE_ANY,
	    [DOMAIN_PATTERN_BELOW] = RULE_BELOW,
	    [DOMAIN_PATTERN_EXACT] = RULE_DOMAIN,
	};
	struct domain_pattern pattern;
	struct address address;
	char folded[ADDRESS_TEXT_MAX];

	rule->text = xstrdup(text);
	if (strchr(text, '@') == NULL &&
	    domain_pattern_parse(slice_of(text), &pattern, NULL) == 0) {
		rule->kind = kinds[pattern.kind];
		rule->name = xstrdup(pattern.domain.text);
	} else if (address_parse(slice_of(text), ADDRESS_MAY_BE_UTF8, &address,
		       NULL) == 0) {
		rule->kind = RULE_ADDRESS;
		rule->name = xstrdup(address_format_folded(&address, folded));
	} else {
		/* Nobody can match it; confd refuses such a pattern. */
		rule->kind = RULE_ADDRESS;
		rule->name = xstrdup("");
	}
}

/* Of equal ones the first stays in front, since it is the one that counts. */
static void
insert(struct route_table *table, struct rule *rule)
{
	struct rule **at = &table->buckets[hash(rule->kind, rule->name) &
					   (table->bucket_count - 1)];

	while (*at != NULL)
		at = &(*at)->next;
	*at = rule;
}

struct route_table *
route_table_new(const struct snapshot *snapshot)
{
	struct route_table *table = xcalloc(1, sizeof(*table));
	size_t most = snapshot->domain_count + snapshot->route_count;

	table->rules = xcalloc(most + 1, sizeof(*table->rules));
	table->bucket_count = 16;
	while (table->bucket_count < most * 2)
		table->bucket_count *= 2;
	table->buckets = xcalloc(table->bucket_count, sizeof(struct rule *));
	table->mx.kind = ROUTE_MX;
	for (size_t i = 0; i < snapshot->domain_count; i++) {
		const struct domain_entry *entry = &snapshot->domains[i];
		struct rule *rule = &table->rules[table->count];

		if (entry->to[0] == '\0')
			continue;
		rule->source = ROUTE_OF_DOMAIN;
		rule->place = table->count++;
		set_pattern(rule, entry->name.text);
		set_target(rule, entry->to);
		rule->tls = xstrdup("");
		rule->user = xstrdup("");
		rule->password = xstrdup("");
		insert(table, rule);
	}
	for (size_t i = 0; i < snapshot->route_count; i++) {
		const struct route_entry *entry = &snapshot->routes[i];
		struct rule *rule = &table->rules[table->count];

		rule->source = ROUTE_OF_TABLE;
		rule->place = table->count++;
		set_pattern(rule, entry->pattern);
		set_target(rule, entry->target);
		rule->tls = xstrdup(entry->tls);
		rule->user = xstrdup(entry->user);
		rule->password = xstrdup(entry->password);
		insert(table, rule);
	}
	return table;
}

void
route_table_free(struct route_table *table)
{
	if (table == NULL)
		return;
	for (size_t i = 0; i < table->count; i++) {
		struct rule *rule = &table->rules[i];

		free(rule->name);
		free(rule->text);
		free(rule->target_text);
		free(rule->tls);
		free(rule->user);
		explicit_bzero(rule->password, strlen(rule->password));
		free(rule->password);
	}
	free(table->rules);
	free(table->buckets);
	free(table);
}

/* ---- finding ---- */

/* The earlier of best and what is found under that name. */
static const struct rule *
earlier(const struct route_table *table, enum rule_kind kind, const char *name,
    const struct rule *best)
{
	const struct rule *rule =
	    table->buckets[hash(kind, name) & (table->bucket_count - 1)];

	for (; rule != NULL; rule = rule->next) {
		if (rule->kind == kind && strcmp(rule->name, name) == 0)
			return best == NULL || rule->place < best->place ? rule
									 : best;
	}
	return best;
}

static const struct rule *
find_for_domain(const struct route_table *table, const char *domain,
    const struct rule *best)
{
	best = earlier(table, RULE_ANY, "", best);
	if (domain[0] == '[' || domain[0] == '\0')
		return best;
	best = earlier(table, RULE_DOMAIN, domain, best);
	for (const char *dot = strchr(domain, '.'); dot != NULL;
	     dot = strchr(dot + 1, '.'))
		best = earlier(table, RULE_BELOW, dot + 1, best);
	return best;
}

static int
match_of(const struct route_table *table, const struct rule *rule,
    struct route_match *match_r, struct err *err)
{
	if (rule == NULL) {
		*match_r = (struct route_match){.source = ROUTE_DEFAULT,
		    .rule = "",
		    .target = &table->mx,
		    .tls = "",
		    .user = "",
		    .password = ""};
		return 0;
	}
	if (!rule->is_readable)
		return err_set(err,
		    "the route %s leads to \"%s\", which "
		    "cannot be read",
		    rule->text, rule->target_text);
	*match_r = (struct route_match){.source = rule->source,
	    .rule = rule->text,
	    .target = &rule->target,
	    .tls = rule->tls,
	    .user = rule->user,
	    .password = rule->password};
	return 0;
}

int
route_find_domain(const struct route_table *table, const char *domain,
    struct route_match *match_r, struct err *err)
{
	return match_of(
	    table, find_for_domain(table, domain, NULL), match_r, err);
}

int
route_find(const struct route_table *table, struct slice text,
    struct route_match *match_r, struct err *err)
{
	const struct rule *best = NULL;
	struct address address;
	char folded[ADDRESS_TEXT_MAX];

	if (address_parse(text, ADDRESS_MAY_BE_UTF8, &address, err) == -1)
		return -1;
	best = earlier(
	    table, RULE_ADDRESS, address_format_folded(&address, folded), best);
	best = find_for_domain(
	    table, address.is_literal ? "[" : address.domain.text, best);
	/* A domain of ours is a whole: no route takes one address out. */
	return match_of(table, best, match_r, err);
}

const char *
route_key(const struct route_match *match, const char *domain,
    char out[ROUTE_KEY_MAX])
{
	char target[ROUTE_TARGET_TEXT_MAX];

	(void)snprintf(out, ROUTE_KEY_MAX, "%s%s%s %s %s",
	    route_target_format(match->target, target),
	    match->target->kind == ROUTE_MX ? ":" : "",
	    match->target->kind == ROUTE_MX ? domain : "", match->tls,
	    match->user);
	return out;
}
