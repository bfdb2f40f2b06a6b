/* SPDX-License-Identifier: ISC */
/*
 * Does a stranger's certificate lead to an anchor?  Asked here of those that
 * come with mail: the worker that read the mail may have been taken over by
 * it, and says whatever it is told to.
 * Runs in: postern-signerd's `key` worker, which ends after one task.
 * Trusts: the broker for the anchors; nothing of the certificates.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "signer/key_work.h"

/* 112 bits: RSA from 2048, no SHA-1 in a chain (SSL_CTX_set_security_level). */
#define AUTH_LEVEL 2
/* As many as one CMS may bring along. */
#define OTHERS_MAX 32

static void
push(STACK_OF(X509) * list, X509 *certificate)
{
	if (sk_X509_push(list, certificate) <= 0)
		fatal("out of memory");
}

/* Those of its issuers that came along; a damaged one ends them. */
static STACK_OF(X509) * read_others(struct slice der)
{
	const unsigned char *at = (const unsigned char *)der.p;
	const unsigned char *end = at + der.n;
	STACK_OF(X509) *others = sk_X509_new_null();

	if (others == NULL)
		fatal("out of memory");
	while (der.n > 0 && at < end && sk_X509_num(others) < OTHERS_MAX) {
		X509 *certificate = d2i_X509(NULL, &at, (long)(end - at));

		if (certificate == NULL)
			break;
		push(others, certificate);
	}
	ERR_clear_error();
	return others;
}

static int
add_anchors(X509_STORE *store, STACK_OF(X509) * blocked,
    const struct key_work *task, struct err *err)
{
	struct ipc_list keys = task->work->keys;
	struct ipc_record_work_key key;

	while (ipc_work_key_next(&keys, &key)) {
		X509 *certificate;

		if (key.use != WORK_KEY_ANCHOR && key.use != WORK_KEY_BLOCKED)
			continue;
		certificate = x509_from_der(key.public, err);
		if (certificate == NULL)
			return -1;
		if (key.use == WORK_KEY_BLOCKED) {
			push(blocked, certificate);
			continue;
		}
		(void)X509_STORE_add_cert(store, certificate);
		X509_free(certificate);
	}
	return 0;
}

static bool
names_any(STACK_OF(X509) * chain, STACK_OF(X509) * blocked)
{
	for (int i = 0; i < sk_X509_num(chain); i++)
		for (int k = 0; k < sk_X509_num(blocked); k++)
			if (X509_cmp(sk_X509_value(chain, i),
				sk_X509_value(blocked, k)) == 0)
				return true;
	return false;
}

/* As smime_judge.c asks it of a signer. */
static bool
leads_to(X509_STORE *store, X509 *certificate, STACK_OF(X509) * others,
    STACK_OF(X509) * blocked, int64_t now_s)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *param;
	bool is_good;

	if (ctx == NULL ||
	    X509_STORE_CTX_init(ctx, store, certificate, others) != 1)
		fatal("out of memory");
	param = X509_STORE_CTX_get0_param(ctx);
	(void)X509_STORE_CTX_set_default(ctx, "smime_sign");
	X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
	X509_VERIFY_PARAM_set_depth(param, X509_CHAIN_MAX);
	X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
	(void)X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	is_good = X509_verify_cert(ctx) == 1 &&
		  !names_any(X509_STORE_CTX_get0_chain(ctx), blocked);
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return is_good;
}

int
key_work_check_chain(struct key_work *task, X509 *certificate)
{
	STACK_OF(X509) *others = read_others(key_part(&task->parts, "chain"));
	STACK_OF(X509) *blocked = sk_X509_new_null();
	X509_STORE *store = X509_STORE_new();
	int rc;

	if (store == NULL || blocked == NULL)
		fatal("out of memory");
	rc = add_anchors(store, blocked, task, &task->err);
	if (rc == 0 &&
	    !leads_to(store, certificate, others, blocked, task->work->now_s))
		rc = err_set(
		    &task->err, "its certificate leads to no trusted CA");
	X509_STORE_free(store);
	sk_X509_pop_free(others, X509_free);
	sk_X509_pop_free(blocked, X509_free);
	return rc;
}
