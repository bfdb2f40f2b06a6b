/* SPDX-License-Identifier: ISC */
/*
 * From a certificate to the lists that speak of it.
 * Runs in: postern-signerd's `open` and `key` workers.  Trusts: nothing in a
 * certificate; OpenSSL has read it.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "signer/trust_x509.h"

void
trust_issuer_id(X509 *ca, unsigned char id_r[TRUST_ISSUER_SIZE])
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	unsigned char *name = NULL;
	unsigned char *key = NULL;
	const int name_n = i2d_X509_NAME(X509_get_subject_name(ca), &name);
	const int key_n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(ca), &key);

	if (digest == NULL || name_n < 0 || key_n < 0 ||
	    EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1 ||
	    EVP_DigestUpdate(digest, name, (size_t)name_n) != 1 ||
	    EVP_DigestUpdate(digest, key, (size_t)key_n) != 1 ||
	    EVP_DigestFinal_ex(digest, id_r, NULL) != 1)
		fatal("SHA-256 failed");
	OPENSSL_free(name);
	OPENSSL_free(key);
	EVP_MD_CTX_free(digest);
}

void
trust_serial_text(const ASN1_INTEGER *serial, char text_r[TRUST_SERIAL_SIZE])
{
	static const char digits[] = "0123456789ABCDEF";
	const unsigned char *octets = ASN1_STRING_get0_data(serial);
	const int n = ASN1_STRING_length(serial);
	char *out = text_r;

	if (2 * n + 3 > TRUST_SERIAL_SIZE) {
		text_r[0] = '\0';
		return;
	}
	if (ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER)
		*out++ = '-';
	for (int i = 0; i < 2 * n; i++) {
		const unsigned value =
		    i % 2 == 0 ? octets[i / 2] >> 4 : octets[i / 2] & 15;

		/* No zero before the first digit that counts. */
		if (value != 0 || (out > text_r && out[-1] != '-'))
			*out++ = digits[value];
	}
	if (out == text_r)
		*out++ = '0';
	*out = '\0';
}

/* ---- distribution points ---- */

bool
trust_is_web_url(struct slice url)
{
	if (url.n == 0 || url.n > TRUST_URL_MAX)
		return false;
	for (size_t i = 0; i < url.n; i++)
		if ((unsigned char)url.p[i] <= ' ' ||
		    (unsigned char)url.p[i] > '~')
			return false;
	return slice_starts_nocase(url, "http://") ||
	       slice_starts_nocase(url, "https://");
}

struct slice
trust_name_url(const GENERAL_NAME *name)
{
	const struct slice none = {NULL, 0};
	const ASN1_STRING *uri;
	struct slice url;

	if (name->type != GEN_URI)
		return none;
	uri = name->d.uniformResourceIdentifier;
	url = (struct slice){(const char *)ASN1_STRING_get0_data(uri),
	    (size_t)ASN1_STRING_length(uri)};
	return trust_is_web_url(url) ? url : none;
}

static void
add_names(const GENERAL_NAMES *names, struct trust_points *points)
{
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const struct slice url =
		    trust_name_url(sk_GENERAL_NAME_value(names, i));

		if (url.n > 0 && points->count < TRUST_POINTS_MAX &&
		    slice_copy(url, points->urls[points->count],
			sizeof(points->urls[0])) == 0)
			points->count++;
	}
}

void
trust_points_of(X509 *certificate, struct trust_points *points_r)
{
	CRL_DIST_POINTS *all = X509_get_ext_d2i(
	    certificate, NID_crl_distribution_points, NULL, NULL);

	points_r->count = 0;
	for (int i = 0; i < sk_DIST_POINT_num(all); i++) {
		const DIST_POINT *point = sk_DIST_POINT_value(all, i);

		/* Of some reasons, or by another CA: such lists we refuse. */
		if (point->reasons == NULL && point->CRLissuer == NULL &&
		    point->distpoint != NULL && point->distpoint->type == 0)
			add_names(point->distpoint->name.fullname, points_r);
	}
	CRL_DIST_POINTS_free(all);
}

/* ---- scopes ---- */

int
trust_scope_text(
    bool is_user, bool is_ca, struct slice url, char scope_r[TRUST_SCOPE_SIZE])
{
	const char *who = is_user ? "user " : is_ca ? "ca " : "";

	if (url.n > TRUST_URL_MAX)
		return -1;
	(void)snprintf(scope_r, TRUST_SCOPE_SIZE, "%s%.*s", who, (int)url.n,
	    url.n > 0 ? url.p : "");
	return 0;
}

size_t
trust_scopes_of(
    X509 *certificate, char scopes_r[TRUST_SCOPES_MAX][TRUST_SCOPE_SIZE])
{
	const bool is_ca = X509_check_ca(certificate) != 0;
	struct trust_points points;
	size_t count = 0;

	trust_points_of(certificate, &points);
	for (size_t i = 0; i <= points.count; i++) {
		const struct slice url =
		    slice_of(i == 0 ? "" : points.urls[i - 1]);

		(void)trust_scope_text(false, false, url, scopes_r[count++]);
		(void)trust_scope_text(!is_ca, is_ca, url, scopes_r[count++]);
	}
	return count;
}

enum trust_said
trust_ask(const char *folder, X509 *certificate, X509 *ca, int64_t now_s)
{
	char scopes[TRUST_SCOPES_MAX][TRUST_SCOPE_SIZE];
	const size_t count = trust_scopes_of(certificate, scopes);
	enum trust_said best = TRUST_NO_LIST;
	unsigned char issuer[TRUST_ISSUER_SIZE];
	unsigned char digest[TRUST_DIGEST_SIZE];
	char serial[TRUST_SERIAL_SIZE];

	trust_issuer_id(ca, issuer);
	trust_serial_text(X509_get0_serialNumber(certificate), serial);
	if (serial[0] == '\0')
		return TRUST_NO_LIST;
	trust_serial_digest(slice_of(serial), digest);
	for (size_t i = 0; i < count && best != TRUST_NAMED; i++) {
		const enum trust_said said = trust_list_ask(
		    folder, issuer, slice_of(scopes[i]), digest, now_s);

		if (said > best)
			best = said;
	}
	return best;
}
