/* SPDX-License-Identifier: ISC */
/* Where keys lie in the web, and whom we do not ask. */
#include <string.h>

#include "signer/fetch_url.h"
#include "signer/pgp_wkd.h"
#include "tests/unit/tap.h"

static void
test_wkd(void)
{
	char hash[PGP_WKD_HASH_SIZE];
	char url[FETCH_URL_MAX];
	struct err err;

	/* The example of draft-koch-openpgp-webkey-service §3.1. */
	pgp_wkd_hash(SLICE("Joe.Doe"), hash);
	is_str(hash, "iy9q119eutrkn8s1mk4r39qejnbu3n5q", "Joe.Doe's name");
	is_int(fetch_url_wkd(FETCH_WKD_ADVANCED, SLICE("Joe.Doe@Example.ORG"),
		   443, url, &err),
	    0, "the advanced way");
	is_str(url,
	    "https://openpgpkey.example.org/.well-known/openpgpkey/"
	    "example.org/hu/iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=Joe.Doe",
	    "is at openpgpkey");
	is_int(fetch_url_wkd(FETCH_WKD_DIRECT, SLICE("joe.doe@example.org"),
		   8443, url, &err),
	    0, "the direct way");
	is_str(url,
	    "https://example.org:8443/.well-known/openpgpkey/hu/"
	    "iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=joe.doe",
	    "is at the domain");
	is_int(fetch_url_wkd(FETCH_WKD_ADVANCED,
		   SLICE("\"a?b&c/../d\"@example.org"), 443, url, &err),
	    0, "an odd local part");
	ok(strstr(url, "?l=a%3Fb%26c%2F..%2Fd") != NULL, "is escaped");
	is_int(fetch_url_wkd(
		   FETCH_WKD_ADVANCED, SLICE("a@[127.0.0.1]"), 443, url, &err),
	    -1, "an address literal has no directory");
	is_int(fetch_url_vks(
		   "https://keys.example/", SLICE("a+b@c.example"), url, &err),
	    0, "a key server");
	is_str(url, "https://keys.example/vks/v1/by-email/a%2Bb%40c.example",
	    "is asked by the address");
}

struct target_row {
	const char *url;
	const char *host; /* NULL: refused */
	uint16_t port;
	bool is_literal;
};

static const struct target_row targets[] = {
    {"https://a.example/x", "a.example", 443, false},
    {"http://a.example:8080/x", "a.example", 8080, false},
    {"https://127.0.0.1/", "127.0.0.1", 443, true},
    {"https://[::1]:444/", "::1", 444, true},
    {"http://2130706433/", "127.0.0.1", 80, true},
    {"http://0x7f.1/", "127.0.0.1", 80, true},
    {"ftp://a.example/", NULL, 0, false},
    {"file:///etc/passwd", NULL, 0, false},
    {"https://user@a.example/", NULL, 0, false},
    {"a.example", NULL, 0, false},
    {"https://", NULL, 0, false},
};

static void
test_targets(void)
{
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		const struct target_row *row = &targets[i];
		struct fetch_target target;
		struct err err;
		int rc = fetch_url_parse(row->url, &target, &err);

		if (row->host == NULL) {
			is_int(rc, -1, "%s is refused", row->url);
			continue;
		}
		is_str(target.host, row->host, "%s leads there", row->url);
		is_int(target.port, row->port, "at that port");
		is_int(target.literal.family != NETADDR_NONE, row->is_literal,
		    "as a %s", row->is_literal ? "literal" : "name");
	}
}

static void
test_addresses(void)
{
	static const char *const closed[] = {"127.0.0.1", "10.1.2.3",
	    "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
	    "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1",
	    "fc00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"};
	static const char *const open[] = {
	    "8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808"};
	struct netaddr address;

	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
		ok(netaddr_parse(slice_of(closed[i]), &address) == 0 &&
			!fetch_address_is_public(&address),
		    "%s is not asked", closed[i]);
	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		ok(netaddr_parse(slice_of(open[i]), &address) == 0 &&
			fetch_address_is_public(&address),
		    "%s is", open[i]);
}

int
main(void)
{
	test_wkd();
	test_targets();
	test_addresses();
	return tap_done();
}
