/* SPDX-License-Identifier: ISC */
/*
 * TLS contexts, connections and channel bindings with OpenSSL.
 * Runs in: postern-smtpd, postern-relayd.  Trusts: nothing that a peer or a
 * file says; OpenSSL does all parsing of it.
 */
#include <arpa/inet.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/tls.h"
#include "common/tls_pem.h"

/* RFC 9325: forward secrecy; CBC stays behind for old TLS 1.2 servers. */
#define CIPHERS_TLS12                                          \
	"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:" \
	"ECDHE+AES:DHE+AES:!aNULL:!eNULL:!MD5:!PSK:!SRP"
#define GROUPS "X25519:P-256:P-384"

/* A chain that is deeper is no certificate of a mail server (T052). */
#define CHAIN_DEPTH_MAX 10

#define TICKET_KEY_SIZE 80
#define TICKET_NAME_SIZE 16

struct ticket_key {
	unsigned char name[TICKET_NAME_SIZE];
	unsigned char hmac[32];
	unsigned char aes[32];
};

struct ticket_keys {
	struct ticket_key keys[2]; /* the current one, the one before */
	size_t count;
};

/* ---- session tickets ---- */

static void
free_ticket_keys(void *parent, void *p, CRYPTO_EX_DATA *data, int index,
    long argl, void *argp)
{
	(void)parent;
	(void)data;
	(void)index;
	(void)argl;
	(void)argp;
	if (p != NULL)
		OPENSSL_clear_free(p, sizeof(struct ticket_keys));
}

/*
 * The place of the keys in a context.  OpenSSL numbers such places once for a
 * process, so this number is the one thing that is kept outside a context.
 */
static CRYPTO_ONCE ticket_index_once = CRYPTO_ONCE_STATIC_INIT;
static int ticket_index = -1;

static void
make_ticket_index(void)
{
	ticket_index =
	    SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_ticket_keys);
	if (ticket_index == -1)
		fatal("OpenSSL: %s", tls_pem_error());
}

static int
ticket_setup(const struct ticket_key *key, unsigned char *iv,
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int is_encrypting)
{
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_octet_string(
		OSSL_MAC_PARAM_KEY, (void *)key->hmac, sizeof(key->hmac)),
	    OSSL_PARAM_construct_utf8_string(
		OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
	    OSSL_PARAM_construct_end()};

	return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv,
		   is_encrypting) == 1 &&
	       EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* Returns as SSL_CTX_set_tlsext_ticket_key_evp_cb(3) wants it. */
static int
on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv,
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int is_encrypting)
{
	const struct ticket_keys *keys =
	    SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ticket_index);

	if (keys == NULL)
		return 0;
	if (is_encrypting) {
		if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1)
			return -1;
		memcpy(name, keys->keys[0].name, TICKET_NAME_SIZE);
		return ticket_setup(&keys->keys[0], iv, cipher, mac, 1) ? 1
									: -1;
	}
	for (size_t i = 0; i < keys->count; i++) {
		if (memcmp(name, keys->keys[i].name, TICKET_NAME_SIZE) != 0)
			continue;
		if (!ticket_setup(&keys->keys[i], iv, cipher, mac, 0))
			return -1;
		return i == 0 ? 1 : 2; /* 2: good, and give a new one */
	}
	return 0;
}

static int
set_tickets(SSL_CTX *context, const char *name, struct slice ticket_keys,
    struct err *err)
{
	struct ticket_keys *keys;
	unsigned char id[32];
	unsigned n;

	if (ticket_keys.n == 0) {
		SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
		(void)SSL_CTX_set_num_tickets(context, 0);
		return 0;
	}
	if (ticket_keys.n != TICKET_KEY_SIZE &&
	    ticket_keys.n != (size_t)2 * TICKET_KEY_SIZE)
		return err_set(err,
		    "ticket keys have %zu octets, not 80 or "
		    "160",
		    ticket_keys.n);
	/* A session of another name is never resumed (T039). */
	if (EVP_Digest(name, strlen(name), id, &n, EVP_sha256(), NULL) != 1 ||
	    SSL_CTX_set_session_id_context(context, id, sizeof(id)) != 1)
		return err_set(err, "session context: %s", tls_pem_error());
	if ((keys = OPENSSL_zalloc(sizeof(*keys))) == NULL)
		return err_set(err, "out of memory");
	keys->count = ticket_keys.n / TICKET_KEY_SIZE;
	memcpy(keys->keys, ticket_keys.p, ticket_keys.n);
	if (SSL_CTX_set_ex_data(context, ticket_index, keys) != 1) {
		OPENSSL_clear_free(keys, sizeof(*keys));
		return err_set(err, "ticket keys: %s", tls_pem_error());
	}
	(void)SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
	/* One is enough, and needs no second round of small packets. */
	(void)SSL_CTX_set_num_tickets(context, 1);
	return 0;
}

/* ---- contexts ---- */

void
tls_prepare(void)
{
	unsigned char random[16];

	if (OPENSSL_init_ssl(
		OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CONFIG,
		NULL) != 1 ||
	    RAND_bytes(random, sizeof(random)) != 1)
		fatal("OpenSSL does not start: %s", tls_pem_error());
	(void)CRYPTO_THREAD_run_once(&ticket_index_once, make_ticket_index);
}

static SSL_CTX *
new_context(const SSL_METHOD *method, struct err *err)
{
	SSL_CTX *context = SSL_CTX_new(method);

	(void)CRYPTO_THREAD_run_once(&ticket_index_once, make_ticket_index);
	if (context == NULL ||
	    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(context, CIPHERS_TLS12) != 1 ||
	    SSL_CTX_set1_groups_list(context, GROUPS) != 1) {
		err_set(err, "TLS context: %s", tls_pem_error());
		SSL_CTX_free(context);
		return NULL;
	}
	SSL_CTX_set_options(context,
	    SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
		SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	(void)SSL_CTX_set_mode(
	    context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
			 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* One system call for a record instead of two. */
	SSL_CTX_set_read_ahead(context, 1);
	(void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify_depth(context, CHAIN_DEPTH_MAX);
	return context;
}

SSL_CTX *
tls_server_new(struct slice chain_pem, struct slice key_pem, const char *name,
    struct slice ticket_keys, struct err *err)
{
	SSL_CTX *context = NULL;
	STACK_OF(X509) *chain = tls_pem_chain(chain_pem, err);
	EVP_PKEY *key = NULL;
	int rc = -1;

	if (chain == NULL || (key = tls_pem_key(key_pem, err)) == NULL ||
	    (context = new_context(TLS_server_method(), err)) == NULL)
		goto out;
	if (SSL_CTX_use_certificate(context, sk_X509_value(chain, 0)) != 1 ||
	    SSL_CTX_use_PrivateKey(context, key) != 1 ||
	    SSL_CTX_check_private_key(context) != 1) {
		err_set(err, "certificate and key: %s", tls_pem_error());
		goto out;
	}
	for (int i = 1; i < sk_X509_num(chain); i++) {
		if (SSL_CTX_add1_chain_cert(context, sk_X509_value(chain, i)) !=
		    1) {
			err_set(err, "certificate %d of the chain: %s", i + 1,
			    tls_pem_error());
			goto out;
		}
	}
	(void)SSL_CTX_set_dh_auto(context, 1);
	rc = set_tickets(context, name, ticket_keys, err);
out:
	sk_X509_pop_free(chain, X509_free);
	EVP_PKEY_free(key);
	if (rc == 0)
		return context;
	SSL_CTX_free(context);
	return NULL;
}

/* ---- what a connection is ---- */

static size_t
end_point_binding(const X509 *certificate, char *out, size_t size)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	const EVP_MD *md;
	unsigned n = 0;
	int nid;

	if (certificate == NULL ||
	    X509_get_signature_info(
		(X509 *)certificate, &nid, NULL, NULL, NULL) != 1 ||
	    nid == NID_undef)
		return 0;
	/* RFC 5929 §4.1. */
	if (nid == NID_md5 || nid == NID_sha1)
		nid = NID_sha256;
	if ((md = EVP_get_digestbynid(nid)) == NULL ||
	    X509_digest(certificate, md, digest, &n) != 1 || n > size)
		return 0;
	memcpy(out, digest, n);
	return n;
}

void
tls_bindings_get(SSL *ssl, struct tls_bindings *b)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	bool is_server = SSL_is_server(ssl);
	bool is_tls13 = SSL_version(ssl) >= TLS1_3_VERSION;
	X509 *peer = NULL;

	*b = (struct tls_bindings){0};
	ERR_clear_error();
	/* Without the extended master secret both can be forged (RFC 7627). */
	if (is_tls13 || SSL_get_extms_support(ssl) == 1) {
		if (SSL_export_keying_material(ssl,
			(unsigned char *)b->exporter, sizeof(b->exporter),
			label, sizeof(label) - 1, (const unsigned char *)"", 0,
			1) == 1)
			b->exporter_n = sizeof(b->exporter);
		/* The first Finished message: the client's unless resumed. */
		if (!is_tls13)
			b->unique_n = is_server != (bool)SSL_session_reused(ssl)
					  ? SSL_get_peer_finished(ssl,
						b->unique, sizeof(b->unique))
					  : SSL_get_finished(ssl, b->unique,
						sizeof(b->unique));
	}
	if (!is_server)
		peer = SSL_get1_peer_certificate(ssl);
	b->end_point_n =
	    end_point_binding(is_server ? SSL_get_certificate(ssl) : peer,
		b->end_point, sizeof(b->end_point));
	X509_free(peer);
	ERR_clear_error();
}

void
tls_describe(SSL *ssl, char *text_r, size_t size)
{
	(void)snprintf(text_r, size, "%s %s", SSL_get_version(ssl),
	    SSL_get_cipher_name(ssl));
}

/* ---- client ---- */

/* What a connection's pointer for its owner points to. */
static const enum tls_check checks[] = {
    [TLS_CHECK_NONE] = TLS_CHECK_NONE,
    [TLS_CHECK_NAME] = TLS_CHECK_NAME,
    [TLS_CHECK_DANE] = TLS_CHECK_DANE,
};

SSL_CTX *
tls_client_new(const char *ca_file, struct err *err)
{
	SSL_CTX *context = new_context(TLS_client_method(), err);

	if (context == NULL)
		return NULL;
	/* RFC 7672 §3.1.1: DANE-EE says nothing about names. */
	if (SSL_CTX_dane_enable(context) <= 0) {
		err_set(err, "DANE: %s", tls_pem_error());
		SSL_CTX_free(context);
		return NULL;
	}
	(void)SSL_CTX_dane_set_flags(context, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	if (ca_file != NULL && ca_file[0] != '\0')
		(void)SSL_CTX_load_verify_locations(context, ca_file, NULL);
	ERR_clear_error();
	return context;
}

static bool
is_address(const char *host)
{
	unsigned char address[16];

	return inet_pton(AF_INET, host, address) == 1 ||
	       inet_pton(AF_INET6, host, address) == 1;
}

/* RFC 7672 §3.1: only DANE-TA(2) and DANE-EE(3) count for SMTP. */
static int
add_records(SSL *ssl, const char *host, const struct tlsa *records,
    size_t count, size_t *usable_r)
{
	*usable_r = 0;
	if (SSL_dane_enable(ssl, host) <= 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		int added;

		if (records[i].usage != 2 && records[i].usage != 3)
			continue;
		added = SSL_dane_tlsa_add(ssl, records[i].usage,
		    records[i].selector, records[i].matching, records[i].data,
		    records[i].n);
		/* Malformed ones are unusable too, as RFC 7671 §4.1 has it. */
		if (added > 0)
			++*usable_r;
	}
	ERR_clear_error();
	return 0;
}

static int
set_names(SSL *ssl, const char *host, const char *const *names, size_t count)
{
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (SSL_set1_host(ssl, host) != 1)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (SSL_add1_host(ssl, names[i]) != 1)
			return -1;
	}
	return 0;
}

SSL *
tls_client_connect(SSL_CTX *context, const char *host, const char *const *names,
    size_t name_count, enum tls_check check, const struct tlsa *records,
    size_t record_count, size_t *usable_r, struct err *err)
{
	SSL *ssl = SSL_new(context);
	size_t usable = 0;

	if (ssl == NULL)
		goto bad;
	SSL_set_connect_state(ssl);
	/* The result is looked at by tls_client_verified(), with its reason. */
	SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
	if (!is_address(host) && SSL_set_tlsext_host_name(ssl, host) != 1)
		goto bad;
	if (check == TLS_CHECK_DANE) {
		if (add_records(ssl, host, records, record_count, &usable) ==
		    -1)
			goto bad;
		if (usable == 0)
			check = TLS_CHECK_NONE;
	}
	if (check != TLS_CHECK_NONE &&
	    set_names(ssl, host, names, name_count) == -1)
		goto bad;
	/* Encryption with a weak key is more than none; a check is not. */
	SSL_set_security_level(ssl, check == TLS_CHECK_NONE ? 0 : 2);
	SSL_set_app_data(ssl, (void *)&checks[check]);
	if (usable_r != NULL)
		*usable_r = usable;
	return ssl;
bad:
	err_set(err, "TLS to %s: %s", host, tls_pem_error());
	SSL_free(ssl);
	ERR_clear_error();
	return NULL;
}

static bool
verified_by_dane(SSL *ssl, char *why_r, size_t size)
{
	uint8_t usage, selector, matching;
	const unsigned char *data;
	size_t n;
	int depth = SSL_get0_dane_authority(ssl, NULL, NULL);

	if (depth < 0 || SSL_get0_dane_tlsa(ssl, &usage, &selector, &matching,
			     &data, &n) < 0) {
		(void)snprintf(why_r, size, "no TLSA record matches");
		return false;
	}
	(void)snprintf(why_r, size, "verified by TLSA %d %d %d", usage,
	    selector, matching);
	return true;
}

bool
tls_client_verified(SSL *ssl, char *why_r, size_t size)
{
	const enum tls_check *asked = SSL_get_app_data(ssl);
	enum tls_check check = asked != NULL ? *asked : TLS_CHECK_NAME;
	long result = SSL_get_verify_result(ssl);
	X509 *certificate;

	if (check == TLS_CHECK_NONE) {
		(void)snprintf(why_r, size, "certificate not checked");
		return true;
	}
	certificate = SSL_get1_peer_certificate(ssl);
	X509_free(certificate);
	if (certificate == NULL) {
		(void)snprintf(why_r, size, "no certificate");
		return false;
	}
	if (result != X509_V_OK) {
		(void)snprintf(
		    why_r, size, "%s", X509_verify_cert_error_string(result));
		return false;
	}
	if (check == TLS_CHECK_DANE)
		return verified_by_dane(ssl, why_r, size);
	if (SSL_get0_peername(ssl) == NULL) {
		(void)snprintf(why_r, size,
		    "the certificate is for another "
		    "name");
		return false;
	}
	(void)snprintf(why_r, size, "verified for %s", SSL_get0_peername(ssl));
	return true;
}
