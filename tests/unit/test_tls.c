/* SPDX-License-Identifier: ISC */
/*
 * Certificates, contexts, tickets, channel bindings, and what a client makes
 * of a server's certificate: names, authorities, DANE.
 */
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <time.h>

#include "common/tls.h"
#include "tests/unit/tap.h"

#define TEXT_MAX 65536
#define DAY_S 86400

/* A certificate that this test made, with its key. */
struct pair {
	EVP_PKEY *key;
	X509 *certificate;
};

static bool
add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	bool is_added;

	X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	is_added = extension != NULL && X509_add_ext(x, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return is_added;
}

/* issuer NULL: an authority. */
static struct pair
make_pair(
    const char *name, const struct pair *issuer, int64_t from, int64_t until)
{
	struct pair p = {EVP_EC_gen("P-256"), X509_new()};
	X509 *x = p.certificate;
	X509 *parent = issuer != NULL ? issuer->certificate : x;
	X509_NAME *subject = X509_get_subject_name(x);
	char text[300];

	(void)snprintf(text, sizeof(text), "DNS:%s", name);
	if (X509_set_version(x, 2) != 1 ||
	    ASN1_INTEGER_set(X509_get_serialNumber(x), (long)strlen(name)) !=
		1 ||
	    ASN1_TIME_set(X509_getm_notBefore(x), from) == NULL ||
	    ASN1_TIME_set(X509_getm_notAfter(x), until) == NULL ||
	    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
		(const unsigned char *)name, -1, -1, 0) != 1 ||
	    X509_set_pubkey(x, p.key) != 1 ||
	    X509_set_issuer_name(x, X509_get_subject_name(parent)) != 1 ||
	    (issuer == NULL && !add_extension(x, parent, NID_basic_constraints,
				   "critical,CA:TRUE")) ||
	    (issuer != NULL &&
		!add_extension(x, parent, NID_subject_alt_name, text)) ||
	    X509_sign(x, issuer != NULL ? issuer->key : p.key, EVP_sha256()) ==
		0)
		fatal("no certificate for %s", name);
	return p;
}

static void
pair_free(struct pair *p)
{
	EVP_PKEY_free(p->key);
	X509_free(p->certificate);
}

static void
add_pem(struct buf *out, X509 *certificate, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long n;

	if (certificate != NULL)
		(void)PEM_write_bio_X509(bio, certificate);
	else
		(void)PEM_write_bio_PrivateKey(
		    bio, key, NULL, NULL, 0, NULL, NULL);
	n = BIO_get_mem_data(bio, &text);
	(void)buf_add(out, text, (size_t)n);
	BIO_free(bio);
}

/* An authority, a server's certificate of it, and more that go wrong. */
static struct {
	int64_t now;
	struct pair ca;
	struct pair other_ca;
	struct pair good;
	struct pair expired;
	char ca_file[64];
} made;

static void
make_all(void)
{
	struct buf pem;
	int fd;

	made.now = (int64_t)time(NULL);
	made.ca = make_pair(
	    "Test Authority", NULL, made.now - DAY_S, made.now + 100 * DAY_S);
	made.other_ca = make_pair("Another Authority", NULL, made.now - DAY_S,
	    made.now + 100 * DAY_S);
	made.good = make_pair("mx.example.test", &made.ca, made.now - DAY_S,
	    made.now + 90 * DAY_S);
	made.expired = make_pair("mx.example.test", &made.ca,
	    made.now - 9 * DAY_S, made.now - DAY_S);
	buf_init(&pem, TEXT_MAX);
	add_pem(&pem, made.ca.certificate, NULL);
	(void)snprintf(
	    made.ca_file, sizeof(made.ca_file), "/tmp/test_tls.XXXXXX");
	if ((fd = mkstemp(made.ca_file)) == -1 ||
	    write(fd, pem.p, pem.n) != (ssize_t)pem.n)
		fatal("no temporary file");
	(void)close(fd);
	buf_clear(&pem);
}

static void
free_all(void)
{
	(void)unlink(made.ca_file);
	pair_free(&made.ca);
	pair_free(&made.other_ca);
	pair_free(&made.good);
	pair_free(&made.expired);
}

static SSL_CTX *
server_of(const struct pair *leaf, const struct pair *ca, const char *name,
    struct slice tickets)
{
	struct buf chain;
	struct buf key;
	struct err err = {""};
	SSL_CTX *context;

	buf_init(&chain, TEXT_MAX);
	buf_init(&key, TEXT_MAX);
	add_pem(&chain, leaf->certificate, NULL);
	if (ca != NULL)
		add_pem(&chain, ca->certificate, NULL);
	add_pem(&key, NULL, leaf->key);
	context = tls_server_new(
	    buf_slice(&chain), buf_slice(&key), name, tickets, &err);
	if (context == NULL)
		fatal("%s", err.text);
	buf_clear(&chain);
	buf_clear(&key);
	return context;
}

/* ---- handshakes in memory ---- */

/* Both sides until nothing moves; true when both are done. */
static bool
shake(SSL *server, SSL *client)
{
	BIO *a;
	BIO *b;
	char dropped[16];

	if (BIO_new_bio_pair(&a, 0, &b, 0) != 1)
		fatal("no pair");
	SSL_set_bio(server, a, a);
	SSL_set_bio(client, b, b);
	for (int i = 0; i < 20; i++) {
		(void)SSL_do_handshake(client);
		(void)SSL_do_handshake(server);
	}
	/* The ticket of TLS 1.3 comes behind the handshake. */
	(void)SSL_read(client, dropped, sizeof(dropped));
	return SSL_is_init_finished(server) && SSL_is_init_finished(client);
}

static SSL *
accepting(SSL_CTX *context)
{
	SSL *ssl = SSL_new(context);

	SSL_set_accept_state(ssl);
	return ssl;
}

static SSL_CTX *
client_new(const char *ca_file)
{
	struct err err = {""};
	SSL_CTX *context = tls_client_new(ca_file, &err);

	if (context == NULL)
		fatal("%s", err.text);
	return context;
}

static void
test_bindings(int version)
{
	struct slice none = {NULL, 0};
	SSL_CTX *server_context = server_of(&made.good, NULL, "a", none);
	SSL_CTX *client_context = client_new(NULL);
	SSL *server = accepting(server_context);
	SSL *client = tls_client_connect(client_context, "mx.example.test",
	    NULL, 0, TLS_CHECK_NONE, NULL, 0, NULL, NULL);
	struct tls_bindings s;
	struct tls_bindings c;
	char text[80];

	(void)SSL_set_max_proto_version(client, version);
	ok(shake(server, client), "a handshake");
	tls_describe(server, text, sizeof(text));
	tls_bindings_get(server, &s);
	tls_bindings_get(client, &c);
	is_mem(s.exporter, s.exporter_n, c.exporter, c.exporter_n,
	    "%s: tls-exporter is the same at both ends", text);
	is_u64(s.exporter_n, 32, "%s: and has 32 octets", text);
	is_mem(s.unique, s.unique_n, c.unique, c.unique_n, "%s: tls-unique too",
	    text);
	is_u64(s.unique_n, version == TLS1_3_VERSION ? 0 : 12,
	    "%s: which exists up to TLS 1.2", text);
	is_mem(s.end_point, s.end_point_n, c.end_point, c.end_point_n,
	    "%s: tls-server-end-point too", text);
	is_u64(s.end_point_n, 32, "%s: a SHA-256 here", text);
	SSL_free(server);
	SSL_free(client);
	SSL_CTX_free(server_context);
	SSL_CTX_free(client_context);
}

static void
test_old_versions(void)
{
	SSL_CTX *server_context =
	    server_of(&made.good, NULL, "a", (struct slice){NULL, 0});
	SSL_CTX *client_context = SSL_CTX_new(TLS_client_method());
	SSL *server = accepting(server_context);
	SSL *client = SSL_new(client_context);

	SSL_set_connect_state(client);
	SSL_set_security_level(client, 0);
	(void)SSL_set_min_proto_version(client, TLS1_VERSION);
	(void)SSL_set_max_proto_version(client, TLS1_1_VERSION);
	ok(!shake(server, client), "TLS 1.1 is refused");
	SSL_free(server);
	SSL_free(client);
	SSL_CTX_free(server_context);
	SSL_CTX_free(client_context);
}

/* ---- tickets ---- */

/* The session after a handshake with that server, resumed or not. */
static SSL_SESSION *
visit(SSL_CTX *server_context, SSL_CTX *client_context, int version,
    SSL_SESSION *session, bool *was_resumed_r)
{
	SSL *server = accepting(server_context);
	SSL *client = tls_client_connect(client_context, "mx.example.test",
	    NULL, 0, TLS_CHECK_NONE, NULL, 0, NULL, NULL);
	SSL_SESSION *next;

	(void)SSL_set_max_proto_version(client, version);
	if (session != NULL)
		(void)SSL_set_session(client, session);
	if (!shake(server, client))
		fail("a handshake with a ticket");
	*was_resumed_r = SSL_session_reused(server) == 1;
	next = SSL_get1_session(client);
	(void)SSL_shutdown(client);
	SSL_free(server);
	SSL_free(client);
	return next;
}

static void
test_tickets(int version, const char *name)
{
	char keys[160];
	char older[160];
	SSL_CTX *client = client_new(NULL);
	SSL_CTX *a;
	SSL_CTX *a_again;
	SSL_CTX *rotated;
	SSL_CTX *gone;
	SSL_CTX *other_name;
	SSL_SESSION *session;
	bool was_resumed;

	(void)RAND_bytes((unsigned char *)keys, sizeof(keys));
	(void)RAND_bytes((unsigned char *)older, sizeof(older));
	memcpy(older + 80, keys, 80);
	a = server_of(&made.good, NULL, "smtp", (struct slice){keys, 80});
	a_again = server_of(&made.good, NULL, "smtp", (struct slice){keys, 80});
	rotated =
	    server_of(&made.good, NULL, "smtp", (struct slice){older, 160});
	gone = server_of(&made.good, NULL, "smtp", (struct slice){older, 80});
	other_name =
	    server_of(&made.good, NULL, "submission", (struct slice){keys, 80});
	session = visit(a, client, version, NULL, &was_resumed);
	ok(!was_resumed, "%s: the first visit is a full handshake", name);
	SSL_SESSION_free(
	    visit(a_again, client, version, session, &was_resumed));
	ok(was_resumed, "%s: a second worker takes the ticket", name);
	SSL_SESSION_free(
	    visit(rotated, client, version, session, &was_resumed));
	ok(was_resumed, "%s: also after the keys were rotated once", name);
	SSL_SESSION_free(visit(gone, client, version, session, &was_resumed));
	ok(!was_resumed, "%s: but not later", name);
	SSL_SESSION_free(
	    visit(other_name, client, version, session, &was_resumed));
	ok(!was_resumed, "%s: nor at a port of another policy", name);
	SSL_SESSION_free(session);
	SSL_CTX_free(a);
	SSL_CTX_free(a_again);
	SSL_CTX_free(rotated);
	SSL_CTX_free(gone);
	SSL_CTX_free(other_name);
	SSL_CTX_free(client);
}

/* ---- what the client makes of it ---- */

enum tlsa_of { OF_NONE, OF_LEAF, OF_CA, OF_WRONG };

struct check_case {
	const char *label;
	const char *host;
	enum tls_check check;
	const struct pair *leaf;
	bool has_ca; /* the client has the authority's file */
	uint8_t usage, selector, matching;
	enum tlsa_of of;
	size_t usable;
	bool is_verified;
	const char *why; /* a part of it */
};

static size_t
tlsa_data(const struct check_case *c, unsigned char out[64])
{
	const struct pair *of = c->of == OF_CA ? &made.ca : c->leaf;
	unsigned char *der = NULL;
	unsigned n = 0;
	int size =
	    c->selector == 1
		? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(of->certificate), &der)
		: i2d_X509(of->certificate, &der);

	(void)EVP_Digest(der, (size_t)size, out, &n,
	    c->matching == 2 ? EVP_sha512() : EVP_sha256(), NULL);
	OPENSSL_free(der);
	if (c->of == OF_WRONG)
		out[0] ^= 1;
	return n;
}

static void
run_check(const struct check_case *c)
{
	unsigned char data[64];
	struct tlsa record = {.usage = c->usage,
	    .selector = c->selector,
	    .matching = c->matching,
	    .data = data};
	SSL_CTX *client_context = client_new(c->has_ca ? made.ca_file : NULL);
	SSL_CTX *server_context =
	    server_of(c->leaf, &made.ca, "a", (struct slice){NULL, 0});
	SSL *server = accepting(server_context);
	size_t usable = 77;
	char why[256];
	SSL *client;
	bool is_verified;

	if (c->of != OF_NONE)
		record.n = tlsa_data(c, data);
	client = tls_client_connect(client_context, c->host, NULL, 0, c->check,
	    &record, c->of != OF_NONE, &usable, NULL);
	if (client == NULL || !shake(server, client)) {
		fail("%s: no handshake", c->label);
	} else {
		is_verified = tls_client_verified(client, why, sizeof(why));
		ok(is_verified == c->is_verified && strstr(why, c->why) != NULL,
		    "%s: %s", c->label, why);
		is_u64(usable, c->usable, "%s: records that count", c->label);
		is_str(SSL_get_servername(server, TLSEXT_NAMETYPE_host_name),
		    c->host, "%s: the server is told the name", c->label);
	}
	SSL_free(server);
	SSL_free(client);
	SSL_CTX_free(server_context);
	SSL_CTX_free(client_context);
}

static void
test_checks(void)
{
	static const char host[] = "mx.example.test";
	const struct check_case cases[] = {
	    {"nothing asked", "wrong.example.test", TLS_CHECK_NONE,
		&made.expired, false, 0, 0, 0, OF_NONE, 0, true, "not checked"},
	    {"name and authority", host, TLS_CHECK_NAME, &made.good, true, 0, 0,
		0, OF_NONE, 0, true, "verified for mx.example.test"},
	    {"another name", "mx.other.test", TLS_CHECK_NAME, &made.good, true,
		0, 0, 0, OF_NONE, 0, false, "ostname"},
	    {"an unknown authority", host, TLS_CHECK_NAME, &made.good, false, 0,
		0, 0, OF_NONE, 0, false, "self-signed"},
	    {"an old certificate", host, TLS_CHECK_NAME, &made.expired, true, 0,
		0, 0, OF_NONE, 0, false, "expired"},
	    {"the authority's own certificate", host, TLS_CHECK_NAME, &made.ca,
		true, 0, 0, 0, OF_NONE, 0, false, "ostname"},
	    {"TLSA 3 1 1", host, TLS_CHECK_DANE, &made.good, false, 3, 1, 1,
		OF_LEAF, 1, true, "TLSA 3 1 1"},
	    {"TLSA 3 1 1, any name and date", "mx.other.test", TLS_CHECK_DANE,
		&made.expired, false, 3, 1, 1, OF_LEAF, 1, true, "TLSA 3 1 1"},
	    {"TLSA 3 0 2", host, TLS_CHECK_DANE, &made.good, false, 3, 0, 2,
		OF_LEAF, 1, true, "TLSA 3 0 2"},
	    {"TLSA 3 1 1 of another key", host, TLS_CHECK_DANE, &made.good,
		true, 3, 1, 1, OF_WRONG, 1, false, ""},
	    {"TLSA 2 0 1", host, TLS_CHECK_DANE, &made.good, false, 2, 0, 1,
		OF_CA, 1, true, "TLSA 2 0 1"},
	    {"TLSA 2 1 1", host, TLS_CHECK_DANE, &made.good, false, 2, 1, 1,
		OF_CA, 1, true, "TLSA 2 1 1"},
	    {"TLSA 2 0 1, another name", "mx.other.test", TLS_CHECK_DANE,
		&made.good, false, 2, 0, 1, OF_CA, 1, false, "ostname"},
	    {"TLSA 2 0 1, expired", host, TLS_CHECK_DANE, &made.expired, false,
		2, 0, 1, OF_CA, 1, false, "expired"},
	    {"TLSA 2 0 1 of another authority", host, TLS_CHECK_DANE,
		&made.good, true, 2, 0, 1, OF_WRONG, 1, false, ""},
	    {"TLSA 1 1 1 does not count", host, TLS_CHECK_DANE, &made.good,
		false, 1, 1, 1, OF_LEAF, 0, true, "not checked"},
	    {"TLSA 3 1 9 does not count", host, TLS_CHECK_DANE, &made.good,
		false, 3, 1, 9, OF_LEAF, 0, true, "not checked"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		run_check(&cases[i]);
}

static void
test_more_names(void)
{
	const char *names[] = {"example.test", "mx.example.test"};
	SSL_CTX *client_context = client_new(made.ca_file);
	SSL_CTX *server_context =
	    server_of(&made.good, &made.ca, "a", (struct slice){NULL, 0});
	SSL *server = accepting(server_context);
	SSL *client = tls_client_connect(client_context, "example.org", names,
	    2, TLS_CHECK_NAME, NULL, 0, NULL, NULL);
	char why[256];

	ok(shake(server, client) &&
		tls_client_verified(client, why, sizeof(why)),
	    "one of several names is enough: %s", why);
	SSL_free(server);
	SSL_free(client);
	SSL_CTX_free(server_context);
	SSL_CTX_free(client_context);
}

/* ---- our own certificate ---- */

static void
test_self_signed(void)
{
	struct tls_identity identity;
	struct buf chain;
	struct buf key;
	struct err err = {""};
	char long_name[254] = "";

	buf_init(&chain, TEXT_MAX);
	buf_init(&key, TEXT_MAX);
	is_int(tls_self_signed("gw.example.test", made.now, &chain, &key, &err),
	    0, "a self-signed certificate is made %s", err.text);
	is_int(tls_identity_check(buf_slice(&chain), buf_slice(&key),
		   "gw.example.test", made.now, &identity, &err),
	    0, "and good %s", err.text);
	ok(identity.is_self_signed, "it is known for one");
	ok(identity.covers_hostname, "for its name");
	is_str(identity.names, "gw.example.test", "which it bears");
	is_str(identity.subject, "CN = gw.example.test", "as subject too");
	is_int(identity.not_after - identity.not_before, 825 * DAY_S,
	    "for 825 days");
	is_u64(strlen(identity.fingerprint), 95, "with a fingerprint");
	is_int(tls_identity_check(buf_slice(&chain), buf_slice(&key),
		   "other.example.test", made.now, &identity, &err),
	    0, "another name is no error");
	ok(!identity.covers_hostname, "but is told");
	is_int(tls_identity_check(buf_slice(&chain), buf_slice(&key),
		   "gw.example.test", made.now + 826 * DAY_S, &identity, &err),
	    -1, "later it is refused");
	is_str(err.text, "certificate 1 has expired", "as expired");
	buf_clear(&chain);
	buf_clear(&key);
	memset(long_name, 'a', 60);
	(void)snprintf(
	    long_name + 60, sizeof(long_name) - 60, ".example,DNS:evil.test");
	is_int(tls_self_signed(long_name, made.now, &chain, &key, &err), 0,
	    "a long odd name");
	(void)tls_identity_check(buf_slice(&chain), buf_slice(&key),
	    "evil.test", made.now, &identity, &err);
	ok(!identity.covers_hostname, "does not bring another one in");
	buf_clear(&chain);
	buf_clear(&key);
}

static void
test_identity(void)
{
	struct slice none = {NULL, 0};
	struct tls_identity identity;
	struct buf chain;
	struct buf wrong_chain;
	struct buf key;
	struct buf other_key;
	struct err err = {""};

	buf_init(&chain, TEXT_MAX);
	buf_init(&wrong_chain, TEXT_MAX);
	buf_init(&key, TEXT_MAX);
	buf_init(&other_key, TEXT_MAX);
	add_pem(&chain, made.good.certificate, NULL);
	add_pem(&wrong_chain, made.good.certificate, NULL);
	add_pem(&chain, made.ca.certificate, NULL);
	add_pem(&wrong_chain, made.other_ca.certificate, NULL);
	add_pem(&key, NULL, made.good.key);
	add_pem(&other_key, NULL, made.ca.key);
	is_int(tls_identity_check(buf_slice(&chain), buf_slice(&key),
		   "mx.example.test", made.now, &identity, &err),
	    0, "a chain and its key are good %s", err.text);
	is_str(identity.issuer, "CN = Test Authority", "the issuer is told");
	is_int(tls_identity_check(buf_slice(&chain), buf_slice(&other_key),
		   "mx.example.test", made.now, &identity, &err),
	    -1, "a key of another");
	is_str(err.text, "the key is not that of the first certificate",
	    "is named");
	is_int(tls_identity_check(buf_slice(&wrong_chain), buf_slice(&key),
		   "mx.example.test", made.now, &identity, &err),
	    -1, "a wrong issuer");
	is_str(err.text,
	    "certificate 2 of the chain did not issue the one before it",
	    "is named");
	is_int(tls_identity_check(
		   none, buf_slice(&key), "x", made.now, &identity, &err),
	    -1, "no certificate: %s", err.text);
	is_int(tls_identity_check(
		   buf_slice(&chain), none, "x", made.now, &identity, &err),
	    -1, "no key: %s", err.text);
	ok(tls_server_new(buf_slice(&chain), buf_slice(&other_key), "a", none,
	       &err) == NULL,
	    "no server with a key of another: %s", err.text);
	ok(tls_server_new(buf_slice(&chain), buf_slice(&key), "a",
	       (struct slice){"short", 5}, &err) == NULL,
	    "nor with half a ticket key: %s", err.text);
	/* Cut in the middle of the second certificate. */
	is_int(
	    tls_identity_check((struct slice){chain.p, chain.n - 200},
		buf_slice(&key), "mx.example.test", made.now, &identity, &err),
	    -1, "a chain that is cut: %s", err.text);
	buf_clear(&chain);
	buf_clear(&wrong_chain);
	buf_clear(&key);
	buf_clear(&other_key);
}

int
main(void)
{
	tls_prepare();
	make_all();
	test_bindings(TLS1_2_VERSION);
	test_bindings(TLS1_3_VERSION);
	test_old_versions();
	test_tickets(TLS1_2_VERSION, "TLS 1.2");
	test_tickets(TLS1_3_VERSION, "TLS 1.3");
	test_checks();
	test_more_names();
	test_self_signed();
	test_identity();
	free_all();
	return tap_done();
}
