/* SPDX-License-Identifier: ISC */
/*
 * Where mail for an address goes: the domains of ours with a server behind,
 * then the routes, first match in their order, else its MX.  Pure: a value
 * made from a snapshot; no sockets, clock or DNS.  Used by postern-relayd to
 * deliver and by postern-queued to group by next hop.
 */
#ifndef RELAY_ROUTE_H
#define RELAY_ROUTE_H

#include "common/address.h"
#include "common/settings.h"

enum route_kind {
	ROUTE_MX,        /* "mx": what DNS says */
	ROUTE_SMTP,      /* "smtp://HOST[:PORT]" */
	ROUTE_SMTPS,     /* "smtps://HOST[:PORT]": TLS from the start */
	ROUTE_LMTP,      /* "lmtp://HOST[:PORT]" */
	ROUTE_LMTP_UNIX, /* "lmtp:/PATH" */
	ROUTE_KIND_COUNT
};

/* The longest path of a Unix socket, with its NUL. */
#define ROUTE_PATH_MAX 108

struct route_target {
	enum route_kind kind;
	char host[256];         /* a name, or the literal's text; "" for MX */
	struct netaddr literal; /* family NONE: host is a name */
	uint16_t port;          /* 0 for MX and Unix sockets */
	char path[ROUTE_PATH_MAX];
};

/*
 * "HOST" and "HOST:PORT" are taken as smtp.  IPv6 addresses stand in
 * brackets.  -1 with a sentence on anything else.
 */
int route_target_parse(
    struct slice text, struct route_target *target_r, struct err *err);

/* "mx", "smtp://[2001:db8::1]:25", ... */
#define ROUTE_TARGET_TEXT_MAX 288
const char *route_target_format(
    const struct route_target *target, char out[ROUTE_TARGET_TEXT_MAX]);

enum route_source {
	ROUTE_OF_DOMAIN, /* a domain of ours with "to" */
	ROUTE_OF_TABLE,  /* a route */
	ROUTE_DEFAULT    /* neither: its MX */
};

/* What was found; texts belong to the table. */
struct route_match {
	enum route_source source;
	const char *rule; /* the domain, the pattern, or "" */
	const struct route_target *target;
	const char *tls;      /* a level, or "": relay.tls */
	const char *user;     /* or "" */
	const char *password; /* or "" */
};

struct route_table;

/*
 * Copies what it needs.  A target that cannot be read is kept as one: its
 * mail waits (route_find() returns -1), and does not take another way.
 */
struct route_table *route_table_new(const struct snapshot *snapshot);
void route_table_free(struct route_table *table);

/*
 * address: "local@domain" or "local@[literal]", as in an envelope.  -1 when it
 * is no address or its rule's target cannot be read.
 */
int route_find(const struct route_table *table, struct slice address,
    struct route_match *match_r, struct err *err);

/*
 * The same for any address of the domain; for rules that name whole domains
 * alone.
 */
int route_find_domain(const struct route_table *table, const char *domain,
    struct route_match *match_r, struct err *err);

/*
 * What two mails have in common that may share a connection: the target, and
 * for MX the domain; with level and user.
 */
#define ROUTE_KEY_MAX 1024
const char *route_key(const struct route_match *match, const char *domain,
    char out[ROUTE_KEY_MAX]);

#endif
