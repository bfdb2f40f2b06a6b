/* SPDX-License-Identifier: ISC */
/*
 * Reads certificates and keys in PEM form.
 * Runs in: postern-smtpd, postern-relayd.  Trusts: nothing in the texts.
 */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "common/tls_pem.h"

/* More than this is no chain of a mail server (T052). */
#define CHAIN_LENGTH_MAX 20

const char *
tls_pem_error(void)
{
	unsigned long code = ERR_peek_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	return reason != NULL ? reason : "OpenSSL does not say why";
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

STACK_OF(X509) * tls_pem_chain(struct slice pem, struct err *err)
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
		err_set(err, "no certificate in PEM form: %s", tls_pem_error());
	else
		err_set(err, "certificate %d cannot be read: %s",
		    chain == NULL ? 1 : sk_X509_num(chain) + 1,
		    tls_pem_error());
bad_told:
	sk_X509_pop_free(chain, X509_free);
	BIO_free(bio);
	return NULL;
}

EVP_PKEY *
tls_pem_key(struct slice pem, struct err *err)
{
	BIO *bio = text_bio(pem);
	EVP_PKEY *key = NULL;

	ERR_clear_error();
	if (bio != NULL)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	if (key == NULL)
		err_set(err,
		    "no private key in PEM form, without a password: "
		    "%s",
		    tls_pem_error());
	BIO_free(bio);
	ERR_clear_error();
	return key;
}
