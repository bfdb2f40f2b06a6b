/* SPDX-License-Identifier: ISC */
/*
 * URLs of keys and revocation lists.
 * Runs in: postern-fetchd.  Trusts: nothing in a URL.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "common/address.h"
#include "signer/fetch_url.h"
#include "signer/pgp_wkd.h"

/* 64:ff9b::/96 (RFC 6052): an IPv4 address behind a translator. */
static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};

/* Unreserved characters alone stay (RFC 3986 §2.3). */
static void
add_escaped(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		const unsigned char c = (unsigned char)*text;

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		    (c >= 'A' && c <= 'Z') || strchr("-._~", c) != NULL)
			(void)buf_add_char(out, *text);
		else
			(void)buf_addf(out, "%%%02X", c);
	}
}

static int
finish(struct buf *text, char url_r[FETCH_URL_MAX], struct err *err)
{
	int rc = text->overflowed
		     ? -1
		     : slice_copy(buf_slice(text), url_r, FETCH_URL_MAX);

	buf_clear(text);
	return rc == 0 ? 0 : err_set(err, "the URL is too long");
}

static int
parse_address(struct slice text, struct address *address_r, struct err *err)
{
	if (address_parse(text, ADDRESS_MAY_BE_UTF8, address_r, err) == -1)
		return -1;
	if (address_r->is_literal || address_r->domain.text[0] == '\0')
		return err_set(err, "the address has no domain");
	return 0;
}

int
fetch_url_wkd(enum fetch_wkd_method method, struct slice address, uint16_t port,
    char url_r[FETCH_URL_MAX], struct err *err)
{
	char hash[PGP_WKD_HASH_SIZE];
	struct address parsed;
	struct buf text;

	if (parse_address(address, &parsed, err) == -1)
		return -1;
	pgp_wkd_hash(slice_of(parsed.local), hash);
	buf_init(&text, FETCH_URL_MAX - 1);
	(void)buf_addf(&text, "https://%s%s",
	    method == FETCH_WKD_ADVANCED ? "openpgpkey." : "",
	    parsed.domain.text);
	if (port != 443)
		(void)buf_addf(&text, ":%u", port);
	(void)buf_add_text(&text, "/.well-known/openpgpkey/");
	if (method == FETCH_WKD_ADVANCED)
		(void)buf_addf(&text, "%s/", parsed.domain.text);
	(void)buf_addf(&text, "hu/%s?l=", hash);
	add_escaped(&text, parsed.local);
	return finish(&text, url_r, err);
}

int
fetch_url_vks(const char *base, struct slice address, char url_r[FETCH_URL_MAX],
    struct err *err)
{
	size_t n = strlen(base);
	char formatted[ADDRESS_TEXT_MAX];
	struct address parsed;
	struct buf text;

	if (parse_address(address, &parsed, err) == -1)
		return -1;
	while (n > 0 && base[n - 1] == '/')
		n--;
	buf_init(&text, FETCH_URL_MAX - 1);
	(void)buf_addf(&text, "%.*s/vks/v1/by-email/", (int)n, base);
	add_escaped(&text, address_format(&parsed, formatted));
	return finish(&text, url_r, err);
}

/* ---- taking a URL apart ---- */

/* curl's own parser: the one that decides in the end where it goes. */
static int
read_parts(CURLU *u, struct fetch_target *target_r, struct err *err)
{
	char *scheme = NULL;
	char *host = NULL;
	char *port = NULL;
	char *user = NULL;
	struct slice name;
	uint64_t number = 0;
	int rc = -1;

	if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) !=
		CURLUE_OK ||
	    slice_to_u64(slice_of(port), &number) == -1 || number == 0 ||
	    number > UINT16_MAX) {
		(void)err_set(err, "it is no URL of the web");
		goto out;
	}
	if (curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK) {
		(void)err_set(err, "a URL with a user is not followed");
		goto out;
	}
	target_r->is_https = strcmp(scheme, "https") == 0;
	if (!target_r->is_https && strcmp(scheme, "http") != 0) {
		(void)err_set(err, "it is not https");
		goto out;
	}
	target_r->port = (uint16_t)number;
	name = slice_of(host);
	if (name.n > 2 && name.p[0] == '[')
		name = (struct slice){name.p + 1, name.n - 2};
	if (slice_copy(name, target_r->host, sizeof(target_r->host)) == -1) {
		(void)err_set(err, "its host is too long");
		goto out;
	}
	if (netaddr_parse(name, &target_r->literal) == -1)
		target_r->literal.family = NETADDR_NONE;
	rc = 0;
out:
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(user);
	return rc;
}

int
fetch_url_parse(const char *url, struct fetch_target *target_r, struct err *err)
{
	CURLU *u = curl_url();
	int rc = -1;

	memset(target_r, 0, sizeof(*target_r));
	if (u == NULL)
		fatal("no memory for a URL");
	if (curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK)
		(void)err_set(err, "it is no URL");
	else
		rc = read_parts(u, target_r, err);
	curl_url_cleanup(u);
	return rc;
}

/* ---- addresses ---- */

bool
fetch_address_is_public(const struct netaddr *address)
{
	if (address->family == NETADDR_IPV6 &&
	    memcmp(address->bytes, nat64, sizeof(nat64)) == 0) {
		struct netaddr inner = {.family = NETADDR_IPV4};

		memcpy(inner.bytes, address->bytes + sizeof(nat64), 4);
		return fetch_address_is_public(&inner);
	}
	return address->family != NETADDR_NONE &&
	       !netaddr_is_loopback(address) && !netaddr_is_private(address) &&
	       !netaddr_is_link_local(address) &&
	       !netaddr_is_unspecified(address) &&
	       !netaddr_is_multicast(address);
}
