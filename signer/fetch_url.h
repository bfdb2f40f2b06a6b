/* SPDX-License-Identifier: ISC */
/*
 * Where keys and revocation lists lie in the web, and which addresses may be
 * asked for them.  Pure.
 */
#ifndef SIGNER_FETCH_URL_H
#define SIGNER_FETCH_URL_H

#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/netaddr.h"

/* A setting or an IPC_FETCH names none that is longer. */
#define FETCH_URL_MAX 2048

enum fetch_wkd_method {
	FETCH_WKD_ADVANCED, /* at openpgpkey.<domain> */
	FETCH_WKD_DIRECT    /* at the domain; if there is no such name */
};

/* -1: it is no address that a key could be looked up for. */
int fetch_url_wkd(enum fetch_wkd_method method, struct slice address,
    uint16_t port, char url_r[FETCH_URL_MAX], struct err *err);

/* base: "https://keys.example", with or without a slash. */
int fetch_url_vks(const char *base, struct slice address,
    char url_r[FETCH_URL_MAX], struct err *err);

/* What a URL says to whom. */
struct fetch_target {
	char host[256]; /* without brackets */
	uint16_t port;
	struct netaddr literal; /* family NETADDR_NONE: host is a name */
	bool is_https;
};

/* -1: not http or https, or with a user in it. */
int fetch_url_parse(
    const char *url, struct fetch_target *target_r, struct err *err);

/*
 * Certificates and web servers of strangers say where to look.  They may not
 * make us ask this host or what stands behind it.
 */
bool fetch_address_is_public(const struct netaddr *address);

#endif
