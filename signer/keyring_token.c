/* SPDX-License-Identifier: ISC */
/*
 * Keys in tokens.  OpenSSL 3.0 reaches them by an engine: its interface is
 * marked as old there, and providers that do the same are not in Debian 12.
 * Runs in: postern-signerd's workers.  Trusts: the engine and the module that
 * the administrator named; both are loaded into the worker.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/engine.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "signer/keyring.h"
#include "signer/keyring_token.h"

static const char engine_name[] = "pkcs11";

void
token_pin_name(struct slice uri, char name_r[TOKEN_PIN_NAME_SIZE])
{
	unsigned char digest[EVP_MAX_MD_SIZE];

	if (EVP_Digest(uri.p, uri.n, digest, NULL, EVP_sha256(), NULL) != 1)
		fatal("SHA-256 failed");
	memcpy(name_r, "pin-", 4);
	for (size_t i = 0; i < 16; i++)
		(void)snprintf(name_r + 4 + 2 * i, 3, "%02x", digest[i]);
}

int
keyring_prepare_pkcs11(const char *module, struct err *err)
{
	ENGINE *engine;
	int rc = -1;

	if (module[0] == '\0')
		return 0;
	ENGINE_load_dynamic();
	engine = ENGINE_by_id(engine_name);
	if (engine == NULL)
		return err_set(err,
		    "OpenSSL has no engine \"%s\"; Debian's package is "
		    "libengine-pkcs11-openssl",
		    engine_name);
	if (ENGINE_ctrl_cmd_string(engine, "MODULE_PATH", module, 0) != 1 ||
	    ENGINE_init(engine) != 1) {
		(void)err_set(err, "the PKCS #11 module %s does not load: %s",
		    module, ERR_reason_error_string(ERR_peek_last_error()));
	} else {
		/* Stays initialised for the life of the process. */
		(void)ENGINE_add(engine);
		/*
		 * The engine loads the module when it is first asked for a
		 * key: now, while the module may be read.
		 */
		EVP_PKEY_free(ENGINE_load_public_key(
		    engine, "pkcs11:object=none", NULL, NULL));
		rc = 0;
	}
	ERR_clear_error();
	ENGINE_free(engine);
	return rc;
}

EVP_PKEY *
token_key(const char *uri, const char *pin, struct err *err)
{
	ENGINE *engine = ENGINE_by_id(engine_name);
	EVP_PKEY *key = NULL;

	if (engine != NULL &&
	    ENGINE_ctrl_cmd_string(engine, "PIN", pin, 0) == 1)
		key = ENGINE_load_private_key(engine, uri, NULL, NULL);
	if (key == NULL)
		(void)err_set(err,
		    "the token does not give its key: see "
		    "crypto.pkcs11_module, the token and its PIN");
	ENGINE_free(engine);
	ERR_clear_error();
	return key;
}
