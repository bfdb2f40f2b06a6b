/* SPDX-License-Identifier: ISC */
/*
 * Lists of revoked certificates: which are read, for which certificates they
 * speak, and how they are searched.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/x509v3.h>

#include "signer/crl_read.h"
#include "signer/durable_file.h"
#include "signer/key_x509.h"
#include "tests/unit/smime_world.h"
#include "tests/unit/tap.h"
#include "tests/unit/trust_host.h"

#define DAY_S 86400
#define MANY 250000

static struct slice
der_of(const struct world_id *id)
{
	return (struct slice){(const char *)id->der, id->der_n};
}

/* ---- serial numbers ---- */

static void
test_serials(void)
{
	static const struct {
		const char *label;
		unsigned char octets[4];
		int n;
		const char *text;
	} rows[] = {
	    {"a small one", {0x05}, 1, "5"},
	    {"two digits", {0x1f}, 1, "1F"},
	    {"zeros within", {0x0a, 0x00, 0x0b}, 3, "A000B"},
	    {"zeros before", {0x00, 0x00, 0x7f}, 3, "7F"},
	    {"nothing but zeros", {0x00}, 1, "0"},
	    {"one that no CA may give", {0x0a}, 1, "-A"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ASN1_INTEGER *serial = ASN1_INTEGER_new();
		char text[TRUST_SERIAL_SIZE];
		char stored[129];

		(void)ASN1_STRING_set(serial, rows[i].octets, rows[i].n);
		if (rows[i].text[0] == '-')
			serial->type = V_ASN1_NEG_INTEGER;
		trust_serial_text(serial, text);
		is_str(text, rows[i].text, "%s", rows[i].label);
		is_int(x509_serial_text(serial, stored, sizeof(stored), NULL),
		    0, "%s: read", rows[i].label);
		is_str(stored, text, "%s: as it is stored", rows[i].label);
		ASN1_INTEGER_free(serial);
	}
}

/* ---- lists in memory and in files ---- */

static void
test_form(void)
{
	unsigned char digests[3 * TRUST_DIGEST_SIZE];
	struct trust_list list = {.next_update_s = 100, .count = 3};
	unsigned char other[TRUST_DIGEST_SIZE] = {3};
	struct buf octets;
	struct err err;

	memset(digests, 0, sizeof(digests));
	digests[0] = 9;
	digests[TRUST_DIGEST_SIZE] = 2;
	digests[2 * TRUST_DIGEST_SIZE] = 9;
	buf_init(&octets, TRUST_LIST_MAX);
	ok(trust_list_write(&list, digests, &octets, &err) == 0,
	    "a list of three, two of them the same");
	ok(trust_list_check(buf_slice(&octets), &list, &err) == 0,
	    "is one when it is read");
	is_u64(list.count, 2, "of two");
	ok(trust_list_names(buf_slice(&octets), digests), "it names one");
	ok(!trust_list_names(buf_slice(&octets), other), "and not another");
	octets.p[TRUST_LIST_HEAD] = 20;
	ok(trust_list_check(buf_slice(&octets), &list, &err) == -1,
	    "one that is not sorted is refused: %s", err.text);
	octets.n--;
	ok(trust_list_check(buf_slice(&octets), &list, &err) == -1,
	    "one that is cut is refused: %s", err.text);
	ok(trust_list_check(SLICE("postcrl1"), &list, &err) == -1,
	    "so is one without a head");
	buf_clear(&octets);
}

/* ---- reading ---- */

/* With extensions by openssl's names; signed again. */
static struct slice
extended(struct world_id *ca, struct slice der, int nid, const char *value,
    struct buf *out)
{
	const unsigned char *p = (const unsigned char *)der.p;
	X509_CRL *crl = d2i_X509_CRL(NULL, &p, (long)der.n);
	X509_EXTENSION *extension =
	    X509V3_EXT_nconf_nid(NULL, NULL, nid, value);
	unsigned char *octets = NULL;
	int n;

	if (crl == NULL || extension == NULL ||
	    X509_CRL_set_version(crl, 1) != 1 ||
	    X509_CRL_add_ext(crl, extension, -1) != 1 ||
	    X509_CRL_sign(crl, ca->key, EVP_sha256()) == 0)
		bug("no list with %s", value);
	n = i2d_X509_CRL(crl, &octets);
	buf_reset(out);
	(void)buf_add(out, octets, n > 0 ? (size_t)n : 0);
	OPENSSL_free(octets);
	X509_EXTENSION_free(extension);
	X509_CRL_free(crl);
	return buf_slice(out);
}

static void
is_refused(struct trust_host *host, struct slice file, const char *part,
    const char *label)
{
	struct err err;

	err.text[0] = '\0';
	ok(trust_host_list(host, file, WORLD_NOW_S, &err) == -1 &&
		strstr(err.text, part) != NULL,
	    "%s is refused: %s", label, err.text);
}

static void
test_refusals(struct world_id *ca, struct world_id *user)
{
	struct world_id *const nobody[] = {NULL};
	const struct world_wish wish = {
	    .kind = WORLD_P256, .is_ca = true, .name = "CA"};
	struct world_id *twin = world_id_new("twin", &wish, NULL);
	struct trust_host host;
	struct buf der;
	struct buf more;
	struct slice good;

	trust_host_init(&host);
	trust_host_anchor(&host, der_of(ca));
	buf_init(&der, 1 << 20);
	buf_init(&more, 1 << 20);
	is_refused(&host, SLICE(""), "empty", "nothing");
	is_refused(&host, der_of(ca), "damaged", "a certificate");
	is_refused(&host, world_crl(twin, nobody, WORLD_NOW_S + DAY_S, &der),
	    "not signed by the CA that it names", "one by a CA's namesake");
	is_refused(&host, world_crl(user, nobody, WORLD_NOW_S + DAY_S, &der),
	    "nobody whose certificate is known", "one by a user");
	is_refused(&host, world_crl(ca, nobody, WORLD_NOW_S, &der), "expired",
	    "one that ended");
	good = world_crl(ca, nobody, WORLD_NOW_S + DAY_S, &der);
	good.n--;
	is_refused(&host, good, "damaged", "one that is cut");
	good.n++;
	is_refused(&host,
	    extended(ca, good, NID_delta_crl, "critical,DER:020101", &more),
	    "changes of another one", "one of changes alone");
	is_refused(&host,
	    extended(ca, good, NID_netscape_comment, "critical,hello", &more),
	    "critical extension", "one with an extension that is not known");
	trust_host_clear(&host);
	buf_clear(&more);
	buf_clear(&der);
	world_id_free(twin);
}

/* ---- scopes ---- */

static enum trust_said
ask(const struct trust_host *host, const struct world_id *who,
    const struct world_id *ca)
{
	return trust_ask(host->folder, who->cert, ca->cert, WORLD_NOW_S);
}

static void
test_scopes(struct world_id *ca, struct world_id *user)
{
	struct world_id *const revoked[] = {user, NULL};
	struct trust_host host;
	struct buf der;
	struct buf more;
	struct err err;

	trust_host_init(&host);
	trust_host_anchor(&host, der_of(ca));
	buf_init(&der, 1 << 20);
	buf_init(&more, 1 << 20);
	(void)world_crl(ca, revoked, WORLD_NOW_S + DAY_S, &der);
	/* IssuingDistributionPoint: onlyContainsCACerts. */
	ok(trust_host_list(&host,
	       extended(ca, buf_slice(&der), NID_issuing_distribution_point,
		   "critical,DER:30038201ff", &more),
	       WORLD_NOW_S, &err) == 0,
	    "a list of CAs alone is read");
	is_int(ask(&host, user, ca), TRUST_NO_LIST, "it says nothing of users");
	/* onlyContainsUserCerts. */
	ok(trust_host_list(&host,
	       extended(ca, buf_slice(&der), NID_issuing_distribution_point,
		   "critical,DER:30038101ff", &more),
	       WORLD_NOW_S, &err) == 0,
	    "a list of users alone is read");
	is_int(ask(&host, user, ca), TRUST_NAMED, "it names a user");
	trust_host_forget(&host);
	trust_host_anchor(&host, der_of(ca));
	/* distributionPoint: fullName: URI "http://x/1", which nobody names. */
	ok(trust_host_list(&host,
	       extended(ca, buf_slice(&der), NID_issuing_distribution_point,
		   "critical,DER:3010a00ea00c860a687474703a2f2f782f31", &more),
	       WORLD_NOW_S, &err) == 0,
	    "a list of a part is read");
	is_int(ask(&host, user, ca), TRUST_NO_LIST,
	    "it says nothing of those that do not name it");
	trust_host_clear(&host);
	buf_clear(&more);
	buf_clear(&der);
}

/* ---- two CAs of one name ---- */

static void
test_namesakes(struct world_id *ca, struct world_id *user)
{
	struct world_id *const revoked[] = {user, NULL};
	const struct world_wish wish = {
	    .kind = WORLD_P256, .is_ca = true, .name = "CA"};
	struct world_id *twin = world_id_new("twin", &wish, NULL);
	struct trust_host host;
	struct buf der;
	struct err err;

	trust_host_init(&host);
	trust_host_anchor(&host, der_of(ca));
	trust_host_anchor(&host, der_of(twin));
	buf_init(&der, 1 << 20);
	ok(trust_host_list(&host,
	       world_crl(twin, revoked, WORLD_NOW_S + DAY_S, &der), WORLD_NOW_S,
	       &err) == 0,
	    "a list by another CA of that name, believed, too");
	is_int(ask(&host, user, ca), TRUST_NO_LIST,
	    "it says nothing of what the first one issued");
	trust_host_clear(&host);
	buf_clear(&der);
	world_id_free(twin);
}

/* ---- many ---- */

static void
test_many(void)
{
	unsigned char *digests = xmalloc((size_t)MANY * TRUST_DIGEST_SIZE);
	struct trust_list list = {
	    .next_update_s = WORLD_NOW_S + DAY_S, .count = MANY};
	struct trust_host host;
	char name[TRUST_NAME_SIZE];
	char serial[24];
	unsigned char digest[TRUST_DIGEST_SIZE];
	struct buf octets;
	struct err err;
	size_t missed = 0;

	for (int i = 0; i < MANY; i++) {
		(void)snprintf(serial, sizeof(serial), "%X", i);
		trust_serial_digest(
		    slice_of(serial), digests + (size_t)i * TRUST_DIGEST_SIZE);
	}
	buf_init(&octets, TRUST_LIST_MAX);
	trust_host_init(&host);
	trust_list_name(list.issuer, slice_of(""), name);
	ok(trust_list_write(&list, digests, &octets, &err) == 0 &&
		durable_file_write(
		    host.folder, name, buf_slice(&octets), &err) == 0,
	    "a list of %d", MANY);
	is_u64(octets.n, TRUST_LIST_HEAD + (uint64_t)MANY * TRUST_DIGEST_SIZE,
	    "takes 16 octets each");
	for (int i = 0; i < MANY; i += 97) {
		(void)snprintf(serial, sizeof(serial), "%X", i);
		trust_serial_digest(slice_of(serial), digest);
		missed += trust_list_ask(host.folder, list.issuer, slice_of(""),
			      digest, WORLD_NOW_S) != TRUST_NAMED;
	}
	is_u64(missed, 0, "each of them is found");
	trust_serial_digest(SLICE("FFFFFFFF"), digest);
	is_int(trust_list_ask(
		   host.folder, list.issuer, slice_of(""), digest, WORLD_NOW_S),
	    TRUST_NOT_NAMED, "and no other one");
	trust_host_clear(&host);
	buf_clear(&octets);
	free(digests);
}

int
main(void)
{
	const struct world_wish ca_wish = {
	    .kind = WORLD_P256, .is_ca = true, .name = "CA"};
	const struct world_wish user_wish = {
	    .kind = WORLD_P256, .address = "alice@example.org"};
	struct world_id *ca = world_id_new("ca", &ca_wish, NULL);
	struct world_id *user = world_id_new("alice", &user_wish, ca);

	test_serials();
	test_form();
	test_refusals(ca, user);
	test_scopes(ca, user);
	test_namesakes(ca, user);
	test_many();
	world_id_free(user);
	world_id_free(ca);
	return tap_done();
}
