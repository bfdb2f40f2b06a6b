/* SPDX-License-Identifier: ISC */
/*
 * What libunbound is told: whom to ask, whom to believe, how much memory.
 * Runs in: postern-checkd.  Trusts: the settings.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unbound-event.h>
#include <unbound.h>
#include <unistd.h>

#include "smtpd/resolver_context.h"

/* The root's keys, kept up to date by the package dns-root-data. */
#define ROOT_KEY_FILE "/usr/share/dns/root.key"

#define DNS_PORT 53
/* One trust anchor or name of a setting. */
#define ELEMENT_MAX 4096

struct option {
	const char *name;
	const char *value;
};

static const struct option always[] = {
	/* A socket for each question on its way; others wait for one. */
	{"outgoing-range:", "256"},
	{"outgoing-num-tcp:", "32"},
	/* Forgeries come in floods: then the cache is not to be trusted. */
	{"unwanted-reply-threshold:", "1000000"},
	/*
	 * A server that was away is asked again soon: an outage of the only
	 * forwarder is not to last longer here than there.
	 */
	{"infra-host-ttl:", "30"},
	{"infra-keep-probing:", "yes"},
	/*
	 * Built-in answers of libunbound, which come before any server is
	 * asked.  "localhost" is no domain that mail comes from, and the names
	 * for tests and for inner use are what the named servers say.
	 */
	{"local-zone:", "localhost. transparent"},
	{"local-zone:", "test. transparent"},
	{"local-zone:", "invalid. transparent"},
	{"local-zone:", "home.arpa. transparent"},
	{"local-zone:", "127.in-addr.arpa. transparent"},
};

/*
 * With servers that an administrator named, these know the reverse zones of
 * private networks; the root servers are not bothered with them.
 */
static const struct option with_servers[] = {
	{"unblock-lan-zones:", "yes"},
	{"insecure-lan-zones:", "yes"},
};

static int
set(struct ub_ctx *ub, const char *name, const char *value, struct err *err)
{
	int rc = ub_ctx_set_option(ub, name, value);

	if (rc != UB_NOERROR)
		return err_set(err, "DNS library: %s %s: %s", name, value,
		    ub_strerror(rc));
	return 0;
}

static int
set_all(struct ub_ctx *ub, const struct option *options, size_t count,
    struct err *err)
{
	for (size_t i = 0; i < count; i++)
		if (set(ub, options[i].name, options[i].value, err) == -1)
			return -1;
	return 0;
}

static int
set_number(
    struct ub_ctx *ub, const char *name, uint64_t value, struct err *err)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return set(ub, name, text, err);
}

/*
 * Record sets are the bulk of a cache and are shared by answers; keys and
 * proofs of absence (negative) need less; a server's round-trip times about
 * half a kilobyte each.
 */
static int
set_cache(struct ub_ctx *ub, uint64_t octets, struct err *err)
{
	return set_number(ub, "rrset-cache-size:", octets / 2, err) == 0 &&
	        set_number(ub, "msg-cache-size:", octets / 4, err) == 0 &&
	        set_number(ub, "key-cache-size:", octets / 16, err) == 0 &&
	        set_number(ub, "neg-cache-size:", octets / 16, err) == 0 &&
	        set_number(ub, "infra-cache-numhosts:", octets / 4096, err) == 0
	    ? 0
	    : -1;
}

/* Each of dns.servers; none: libunbound knows the root servers. */
static int
set_servers(struct ub_ctx *ub, const char *servers, struct err *err)
{
	struct slice list = slice_of(servers);
	struct slice word;
	bool is_local = false;

	while (setting_list_next(&list, &word)) {
		struct listen_address server;
		char host[NETADDR_TEXT_MAX];
		char text[NETADDR_TEXT_MAX + 8];
		int rc;

		if (setting_listen_address(word, DNS_PORT, &server) == -1)
			return err_set(err,
			    "dns.servers: no address in \"%.*s\"",
			    SLICE_ARG(word));
		(void)snprintf(text, sizeof(text), "%s@%u",
		    netaddr_format(&server.address, host), server.port);
		if ((rc = ub_ctx_set_fwd(ub, text)) != UB_NOERROR)
			return err_set(err, "dns.servers: %s: %s", text,
			    ub_strerror(rc));
		is_local = is_local || netaddr_is_loopback(&server.address);
	}
	if (servers[0] != '\0' &&
	    set_all(ub, with_servers,
	        sizeof(with_servers) / sizeof(with_servers[0]), err) == -1)
		return -1;
	/* A zone whose name server is 127.0.0.1 makes us ask ourselves. */
	return set(
	    ub, "do-not-query-localhost:", is_local ? "no" : "yes", err);
}

typedef int element_fn(
    struct ub_ctx *ub, const char *element, struct err *err);

/* Calls it for each element between ";" that is not empty. */
static int
for_each_element(struct ub_ctx *ub, const char *text, element_fn *handle,
    struct err *err)
{
	struct slice rest = slice_of(text);

	while (rest.n > 0) {
		char element[ELEMENT_MAX];
		size_t end = slice_find(rest, ';', 0);
		struct slice one = slice_trim((struct slice){rest.p, end});

		if (slice_copy(one, element, sizeof(element)) == -1)
			return err_set(err, "an element is too long");
		if (one.n > 0 && handle(ub, element, err) == -1)
			return -1;
		end += end < rest.n;
		rest.p += end;
		rest.n -= end;
	}
	return 0;
}

static int
add_anchor(struct ub_ctx *ub, const char *element, struct err *err)
{
	int rc = ub_ctx_add_ta(ub, element);

	return rc == UB_NOERROR
	    ? 0
	    : err_set(err, "dns.trust_anchors: %s", ub_strerror(rc));
}

static int
add_unsigned(struct ub_ctx *ub, const char *element, struct err *err)
{
	return set(ub, "domain-insecure:", element, err);
}

static int
set_dnssec(
    struct ub_ctx *ub, const struct settings *settings, struct err *err)
{
	int rc;

	if (!settings->dns_dnssec)
		return set(ub, "module-config:", "iterator", err);
	if (access(ROOT_KEY_FILE, R_OK) == 0 &&
	    (rc = ub_ctx_add_ta_file(ub, ROOT_KEY_FILE)) != UB_NOERROR)
		return err_set(
		    err, "%s: %s", ROOT_KEY_FILE, ub_strerror(rc));
	return for_each_element(
	           ub, settings->dns_trust_anchors, add_anchor, err) == 0 &&
	        for_each_element(ub, settings->dns_unsigned_domains,
	            add_unsigned, err) == 0
	    ? 0
	    : -1;
}

/*
 * Most of it is looked at by libunbound only when a context is finalized.
 * Taking away a local zone that nobody made does that, and nothing else.
 */
static int
finalize(struct ub_ctx *ub, struct err *err)
{
	int rc = ub_ctx_zone_remove(ub, "postern.invalid.");

	return rc == UB_NOERROR
	    ? 0
	    : err_set(err,
	          "the DNS library refuses the settings (%s): check "
	          "dns.trust_anchors and dns.unsigned_domains",
	          ub_strerror(rc));
}

struct ub_ctx *
resolver_context_new(struct event_base *base, const struct settings *settings,
    struct err *err)
{
	struct ub_ctx *ub = ub_ctx_create_event(base);

	if (ub == NULL) {
		(void)err_set(err, "the DNS library does not start");
		return NULL;
	}
	/* It writes to standard error on its own otherwise. */
	(void)ub_ctx_debugout(ub, NULL);
	if (set_all(ub, always, sizeof(always) / sizeof(always[0]), err) ==
	        -1 ||
	    set_cache(ub, settings->dns_cache, err) == -1 ||
	    set_servers(ub, settings->dns_servers, err) == -1 ||
	    set_dnssec(ub, settings, err) == -1 || finalize(ub, err) == -1) {
		ub_ctx_delete(ub);
		return NULL;
	}
	return ub;
}

char *
resolver_context_signature(const struct settings *settings)
{
	struct buf text;
	char *copy;

	/* Three texts of a setting's size each, and numbers. */
	buf_init(&text, 4 * SETTING_TEXT_MAX);
	(void)buf_addf(&text, "%llu %d ",
	    (unsigned long long)settings->dns_cache, settings->dns_dnssec);
	(void)buf_add_text(&text, settings->dns_servers);
	(void)buf_add_char(&text, '\n');
	(void)buf_add_text(&text, settings->dns_trust_anchors);
	(void)buf_add_char(&text, '\n');
	(void)buf_add_text(&text, settings->dns_unsigned_domains);
	copy = xstrdup(buf_text(&text));
	buf_clear(&text);
	return copy;
}
