/* SPDX-License-Identifier: ISC */
/*
 * TLS contexts, certificates and channel bindings with OpenSSL.
 * Runs in: postern-smtpd, postern-relayd.  Trusts: nothing that a peer or a
 * file says; OpenSSL does all parsing of it.
 */
#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/printable.h"
#include "common/tls.h"

/* RFC 9325: forward secrecy; CBC stays behind for old TLS 1.2 servers. */
#define CIPHERS_TLS12 \
	"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:" \
	"ECDHE+AES:DHE+AES:!aNULL:!eNULL:!MD5:!PSK:!SRP"
#define GROUPS "X25519:P-256:P-384"

/* A chain that is deeper is no certificate of a mail server (T052). */
#define CHAIN_DEPTH_MAX 10
#define CHAIN_LENGTH_MAX 20

#define TICKET_KEY_SIZE 80
#define TICKET_NAME_SIZE 16
#define SELF_SIGNED_DAYS 825
#define DAY_S 86400

struct ticket_key {
	unsigned char name[TICKET_NAME_SIZE];
	unsigned char hmac[32];
	unsigned char aes[32];
};

struct ticket_keys {
	struct ticket_key keys[2]; /* the current one, the one before */
	size_t count;
};

/* OpenSSL's word for the first thing that went wrong. */
static const char *
openssl_error(void)
{
	unsigned long code = ERR_peek_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	return reason != NULL ? reason : "OpenSSL does not say why";
}

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
		fatal("OpenSSL: %s", openssl_error());
}

static int
ticket_setup(const struct ticket_key *key, unsigned char *iv,
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int is_encrypting)
{
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY,
	        (void *)(uintptr_t)key->hmac, sizeof(key->hmac)),
	    OSSL_PARAM_construct_utf8_string(
	        OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)"SHA256", 0),
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
		return err_set(err, "ticket keys have %zu octets, not 80 or "
		    "160", ticket_keys.n);
	/* A session of another name is never resumed (T039). */
	if (EVP_Digest(name, strlen(name), id, &n, EVP_sha256(), NULL) != 1 ||
	    SSL_CTX_set_session_id_context(context, id, sizeof(id)) != 1)
		return err_set(err, "session context: %s", openssl_error());
	if ((keys = OPENSSL_zalloc(sizeof(*keys))) == NULL)
		return err_set(err, "out of memory");
	keys->count = ticket_keys.n / TICKET_KEY_SIZE;
	memcpy(keys->keys, ticket_keys.p, ticket_keys.n);
	if (SSL_CTX_set_ex_data(context, ticket_index, keys) != 1) {
		OPENSSL_clear_free(keys, sizeof(*keys));
		return err_set(err, "ticket keys: %s", openssl_error());
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

	if (OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS |
	            OPENSSL_INIT_LOAD_CONFIG, NULL) != 1 ||
	    RAND_bytes(random, sizeof(random)) != 1)
		fatal("OpenSSL does not start: %s", openssl_error());
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
		err_set(err, "TLS context: %s", openssl_error());
		SSL_CTX_free(context);
		return NULL;
	}
	SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION |
	        SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
	        SSL_OP_PRIORITIZE_CHACHA);
	(void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS |
	        SSL_MODE_ENABLE_PARTIAL_WRITE |
	        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* One system call for a record instead of two. */
	SSL_CTX_set_read_ahead(context, 1);
	(void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify_depth(context, CHAIN_DEPTH_MAX);
	return context;
}

/* Never asks anybody: a key with a password is refused. */
static int
no_password(char *out, int size, int is_writing, void *arg)
{
	(void)out;
	(void)size;
	(void)is_writing;
	(void)arg;
	return -1;
}

static BIO *
text_bio(struct slice pem)
{
	BIO *bio;

	if (pem.n > INT32_MAX)
		return NULL;
	bio = BIO_new_mem_buf(pem.n == 0 ? "" : pem.p, (int)pem.n);
	if (bio == NULL)
		fatal("out of memory");
	return bio;
}

/* The certificates of a PEM text, at least one; NULL with a sentence. */
static STACK_OF(X509) *
read_chain(struct slice pem, struct err *err)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	BIO *bio = text_bio(pem);
	X509 *certificate = NULL;

	ERR_clear_error();
	if (chain == NULL || bio == NULL)
		goto bad;
	while ((certificate = PEM_read_bio_X509(
	            bio, NULL, no_password, NULL)) != NULL) {
		if (sk_X509_num(chain) >= CHAIN_LENGTH_MAX ||
		    sk_X509_push(chain, certificate) == 0) {
			X509_free(certificate);
			err_set(err, "the chain has more than %d certificates",
			    CHAIN_LENGTH_MAX);
			goto bad_told;
		}
	}
	/* The end of the text is an error to OpenSSL, and the only good one. */
	if (sk_X509_num(chain) > 0 &&
	    ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) {
		ERR_clear_error();
		BIO_free(bio);
		return chain;
	}
bad:
	if (chain != NULL && sk_X509_num(chain) == 0)
		err_set(err, "no certificate in PEM form: %s",
		    openssl_error());
	else
		err_set(err, "certificate %d cannot be read: %s",
		    chain == NULL ? 1 : sk_X509_num(chain) + 1,
		    openssl_error());
bad_told:
	sk_X509_pop_free(chain, X509_free);
	BIO_free(bio);
	return NULL;
}

static EVP_PKEY *
read_key(struct slice pem, struct err *err)
{
	BIO *bio = text_bio(pem);
	EVP_PKEY *key = NULL;

	ERR_clear_error();
	if (bio != NULL)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	if (key == NULL)
		err_set(err, "no private key in PEM form, without a password: "
		    "%s", openssl_error());
	BIO_free(bio);
	ERR_clear_error();
	return key;
}

SSL_CTX *
tls_server_new(struct slice chain_pem, struct slice key_pem, const char *name,
    struct slice ticket_keys, struct err *err)
{
	SSL_CTX *context = NULL;
	STACK_OF(X509) *chain = read_chain(chain_pem, err);
	EVP_PKEY *key = NULL;
	int rc = -1;

	if (chain == NULL || (key = read_key(key_pem, err)) == NULL ||
	    (context = new_context(TLS_server_method(), err)) == NULL)
		goto out;
	if (SSL_CTX_use_certificate(context, sk_X509_value(chain, 0)) != 1 ||
	    SSL_CTX_use_PrivateKey(context, key) != 1 ||
	    SSL_CTX_check_private_key(context) != 1) {
		err_set(err, "certificate and key: %s", openssl_error());
		goto out;
	}
	for (int i = 1; i < sk_X509_num(chain); i++) {
		if (SSL_CTX_add1_chain_cert(
		        context, sk_X509_value(chain, i)) != 1) {
			err_set(err, "certificate %d of the chain: %s", i + 1,
			    openssl_error());
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

/* ---- a certificate of our own ---- */

static int64_t
time_of(const ASN1_TIME *time)
{
	struct tm tm;

	if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1)
		return 0;
	return (int64_t)timegm(&tm);
}

static void
name_text(const X509_NAME *name, char *out, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long n;

	if (bio == NULL)
		fatal("out of memory");
	(void)X509_NAME_print_ex(bio, name, 0,
	    XN_FLAG_ONELINE & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
	n = BIO_get_mem_data(bio, &text);
	(void)printable((struct slice){text, n > 0 ? (size_t)n : 0}, out, size);
	BIO_free(bio);
}

/* What does not fit is left out: names are for a person's eye. */
static void
names_text(const X509 *certificate, char *out, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(
	    certificate, NID_subject_alt_name, NULL, NULL);
	size_t n = 0;

	out[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		struct slice text;
		char shown[256];
		int added;

		if (name->type != GEN_DNS)
			continue;
		text = (struct slice){
		    (const char *)ASN1_STRING_get0_data(name->d.dNSName),
		    (size_t)ASN1_STRING_length(name->d.dNSName)};
		added = snprintf(out + n, size - n, "%s%s", n > 0 ? " " : "",
		    printable(text, shown, sizeof(shown)));
		if (added < 0 || (size_t)added >= size - n) {
			out[n] = '\0';
			break;
		}
		n += (size_t)added;
	}
	GENERAL_NAMES_free(names);
}

static void
fingerprint_text(const X509 *certificate, char *out, size_t size)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	out[0] = '\0';
	if (X509_digest(certificate, EVP_sha256(), digest, &n) != 1)
		return;
	for (unsigned i = 0; i < n && (size_t)i * 3 + 3 <= size; i++)
		(void)snprintf(out + (size_t)i * 3, 4, "%02X%s", digest[i],
		    i + 1 < n ? ":" : "");
}

static int
check_dates(const X509 *certificate, int index, int64_t now, struct err *err)
{
	if (now < time_of(X509_get0_notBefore(certificate)))
		return err_set(
		    err, "certificate %d is not valid yet", index + 1);
	if (now > time_of(X509_get0_notAfter(certificate)))
		return err_set(err, "certificate %d has expired", index + 1);
	return 0;
}

static int
check_chain(STACK_OF(X509) *chain, int64_t now, struct err *err)
{
	for (int i = 0; i < sk_X509_num(chain); i++) {
		if (check_dates(sk_X509_value(chain, i), i, now, err) == -1)
			return -1;
		if (i > 0 && X509_check_issued(sk_X509_value(chain, i),
		                 sk_X509_value(chain, i - 1)) != X509_V_OK)
			return err_set(err, "certificate %d of the chain did "
			    "not issue the one before it", i + 1);
	}
	return 0;
}

int
tls_identity_check(struct slice chain_pem, struct slice key_pem,
    const char *hostname, int64_t now, struct tls_identity *identity_r,
    struct err *err)
{
	STACK_OF(X509) *chain = read_chain(chain_pem, err);
	EVP_PKEY *key = NULL;
	struct tls_identity identity = {0};
	X509 *leaf;
	int rc = -1;

	if (chain == NULL || (key = read_key(key_pem, err)) == NULL)
		goto out;
	leaf = sk_X509_value(chain, 0);
	if (X509_check_private_key(leaf, key) != 1) {
		err_set(err, "the key is not that of the first certificate");
		goto out;
	}
	if (check_chain(chain, now, err) == -1)
		goto out;
	identity.not_before = time_of(X509_get0_notBefore(leaf));
	identity.not_after = time_of(X509_get0_notAfter(leaf));
	name_text(X509_get_subject_name(leaf), identity.subject,
	    sizeof(identity.subject));
	name_text(X509_get_issuer_name(leaf), identity.issuer,
	    sizeof(identity.issuer));
	names_text(leaf, identity.names, sizeof(identity.names));
	fingerprint_text(
	    leaf, identity.fingerprint, sizeof(identity.fingerprint));
	identity.is_self_signed = X509_self_signed(leaf, 1) == 1;
	identity.covers_hostname = X509_check_host(leaf, hostname,
	    strlen(hostname), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
	    NULL) == 1;
	*identity_r = identity;
	rc = 0;
out:
	sk_X509_pop_free(chain, X509_free);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return rc;
}

static int
add_extension(X509 *certificate, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	int ok;

	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	if (extension == NULL)
		return 0;
	ok = X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
	return ok;
}

/* Not by the configuration syntax, in which a name could mean more. */
static int
add_host_name(X509 *certificate, const char *hostname)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();
	int ok = 0;

	if (names == NULL || name == NULL || text == NULL ||
	    ASN1_STRING_set(text, hostname, -1) != 1)
		goto out;
	GENERAL_NAME_set0_value(name, GEN_DNS, text);
	text = NULL;
	if (sk_GENERAL_NAME_push(names, name) == 0)
		goto out;
	name = NULL;
	ok = X509_add1_ext_i2d(
	    certificate, NID_subject_alt_name, names, 0, 0) == 1;
out:
	GENERAL_NAMES_free(names);
	GENERAL_NAME_free(name);
	ASN1_IA5STRING_free(text);
	return ok;
}

static int
fill_self_signed(
    X509 *x, EVP_PKEY *key, const char *hostname, int64_t now)
{
	/* A common name has 64 characters; names that count are in the SAN. */
	const char *common = strlen(hostname) <= 64 ? hostname : "postern";
	X509_NAME *name = X509_get_subject_name(x);
	BIGNUM *serial = BN_new();
	int ok = serial != NULL &&
	    BN_rand(serial, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
	    BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x)) != NULL &&
	    X509_set_version(x, 2) == 1 &&
	    ASN1_TIME_set(X509_getm_notBefore(x), (time_t)now) != NULL &&
	    ASN1_TIME_set(X509_getm_notAfter(x),
	        (time_t)now + (time_t)SELF_SIGNED_DAYS * DAY_S) != NULL &&
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
	        (const unsigned char *)common, -1, -1, 0) == 1 &&
	    X509_set_issuer_name(x, name) == 1 &&
	    X509_set_pubkey(x, key) == 1 && add_host_name(x, hostname) &&
	    add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(x, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(x, NID_ext_key_usage, "serverAuth") &&
	    X509_sign(x, key, EVP_sha256()) != 0;

	BN_free(serial);
	return ok ? 0 : -1;
}

static int
take_bio(BIO *bio, struct buf *out)
{
	char *text;
	long n = BIO_get_mem_data(bio, &text);

	return n <= 0 ? -1 : buf_add(out, text, (size_t)n);
}

int
tls_self_signed(const char *hostname, int64_t now, struct buf *chain_r,
    struct buf *key_r, struct err *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	BIO *bio = BIO_new(BIO_s_mem());
	BIO *key_bio = BIO_new(BIO_s_secmem());
	int rc = -1;

	if (key == NULL || certificate == NULL || bio == NULL ||
	    key_bio == NULL ||
	    fill_self_signed(certificate, key, hostname, now) == -1 ||
	    PEM_write_bio_X509(bio, certificate) != 1 ||
	    PEM_write_bio_PrivateKey(
	        key_bio, key, NULL, NULL, 0, NULL, NULL) != 1 ||
	    take_bio(bio, chain_r) == -1 || take_bio(key_bio, key_r) == -1)
		err_set(err, "cannot make a certificate for %s: %s", hostname,
		    openssl_error());
	else
		rc = 0;
	EVP_PKEY_free(key);
	X509_free(certificate);
	BIO_free(bio);
	BIO_free(key_bio);
	ERR_clear_error();
	return rc;
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
	    X509_get_signature_info((X509 *)(uintptr_t)certificate, &nid, NULL,
	        NULL, NULL) != 1 || nid == NID_undef)
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
			    ? SSL_get_peer_finished(
			          ssl, b->unique, sizeof(b->unique))
			    : SSL_get_finished(
			          ssl, b->unique, sizeof(b->unique));
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

SSL_CTX *
tls_client_new(const char *ca_file, struct err *err)
{
	SSL_CTX *context = new_context(TLS_client_method(), err);

	if (context == NULL)
		return NULL;
	/* RFC 7672 §3.1.1: DANE-EE says nothing about names. */
	if (SSL_CTX_dane_enable(context) <= 0) {
		err_set(err, "DANE: %s", openssl_error());
		SSL_CTX_free(context);
		return NULL;
	}
	(void)SSL_CTX_dane_set_flags(
	    context, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
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
tls_client_connect(SSL_CTX *context, const char *host,
    const char *const *names, size_t name_count, enum tls_check check,
    const struct tlsa *records, size_t record_count, size_t *usable_r,
    struct err *err)
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
		if (add_records(
		        ssl, host, records, record_count, &usable) == -1)
			goto bad;
		if (usable == 0)
			check = TLS_CHECK_NONE;
	}
	if (check != TLS_CHECK_NONE &&
	    set_names(ssl, host, names, name_count) == -1)
		goto bad;
	/* Encryption with a weak key is more than none; a check is not. */
	SSL_set_security_level(ssl, check == TLS_CHECK_NONE ? 0 : 2);
	SSL_set_app_data(ssl, (void *)(uintptr_t)check);
	if (usable_r != NULL)
		*usable_r = usable;
	return ssl;
bad:
	err_set(err, "TLS to %s: %s", host, openssl_error());
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
	enum tls_check check =
	    (enum tls_check)(uintptr_t)SSL_get_app_data(ssl);
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
		(void)snprintf(why_r, size, "%s",
		    X509_verify_cert_error_string(result));
		return false;
	}
	if (check == TLS_CHECK_DANE)
		return verified_by_dane(ssl, why_r, size);
	if (SSL_get0_peername(ssl) == NULL) {
		(void)snprintf(why_r, size, "the certificate is for another "
		    "name");
		return false;
	}
	(void)snprintf(why_r, size, "verified for %s", SSL_get0_peername(ssl));
	return true;
}
