/* SPDX-License-Identifier: ISC */
/*
 * Who signed a certificate, and does it lead to an anchor?  The latter is asked
 * here of those that come with mail: the worker that read the mail may have
 * been taken over by it, and says whatever it is told to.
 * Runs in: postern-signerd's `key` worker, which ends after one task.
 * Trusts: the broker for the anchors; nothing of the certificates.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "signer/crl_read.h"
#include "signer/key_work.h"
#include "signer/trust_x509.h"

/* As many as one CMS may bring along. */
#define OTHERS_MAX 32
/* Certificates among which an issuer is looked for. */
#define KNOWN_MAX 2000

static void
push(STACK_OF(X509) * list, X509 *certificate)
{
	if (sk_X509_push(list, certificate) <= 0)
		fatal("out of memory");
}

void
key_work_push(STACK_OF(X509) * list, struct slice certificates, int most)
{
	const unsigned char *at = (const unsigned char *)certificates.p;
	size_t left = certificates.n; /* 0: at may be NULL */

	while (left > 0 && sk_X509_num(list) < most) {
		const unsigned char *next = at;
		X509 *certificate = d2i_X509(NULL, &next, (long)left);

		if (certificate == NULL)
			break;
		push(list, certificate);
		left -= (size_t)(next - at);
		at = next;
	}
	ERR_clear_error();
}

/* ---- who signed it ---- */

X509 *
key_work_issuer(X509 *certificate, STACK_OF(X509) * known)
{
	const X509_NAME *name = X509_get_issuer_name(certificate);
	X509 *issuer = NULL;

	for (int i = 0; issuer == NULL && i < sk_X509_num(known); i++) {
		X509 *ca = sk_X509_value(known, i);

		if (X509_NAME_cmp(name, X509_get_subject_name(ca)) == 0 &&
		    X509_verify(certificate, X509_get0_pubkey(ca)) == 1)
			issuer = ca;
	}
	ERR_clear_error();
	return issuer;
}

void
key_work_say_issuer(
    struct key_work *task, X509 *certificate, const struct x509_list *file)
{
	STACK_OF(X509) *known = sk_X509_new_null();
	struct ipc_list keys = task->work->keys;
	struct ipc_record_work_key key;
	X509 *issuer;

	if (known == NULL)
		fatal("out of memory");
	for (size_t i = 0; i < file->count; i++) {
		if (X509_up_ref(file->certificates[i]) != 1)
			fatal("out of memory");
		push(known, file->certificates[i]);
	}
	key_work_push(known, key_part(&task->parts, "chain"), KNOWN_MAX);
	while (ipc_work_key_next(&keys, &key)) {
		key_work_push(known, key.public, KNOWN_MAX);
		key_work_push(known, key.chain, KNOWN_MAX);
	}
	issuer = key_work_issuer(certificate, known);
	if (issuer != NULL)
		key_work_say_ca(task, issuer);
	sk_X509_pop_free(known, X509_free);
}

void
key_work_say_ca(struct key_work *task, X509 *ca)
{
	unsigned char id[TRUST_ISSUER_SIZE];
	char text[2 * TRUST_ISSUER_SIZE + 1];

	trust_issuer_id(ca, id);
	key_hex(id, sizeof(id), text);
	work_answer_fact(task->answer, "issuer_id", "%s", text);
}

/* ---- does it lead to an anchor ---- */

static int
add_anchors(STACK_OF(X509) * anchors, STACK_OF(X509) * blocked,
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
		push(key.use == WORK_KEY_ANCHOR ? anchors : blocked,
		    certificate);
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

int
key_work_check_chain(struct key_work *task, X509 *certificate)
{
	STACK_OF(X509) *anchors = sk_X509_new_null();
	STACK_OF(X509) *others = sk_X509_new_null();
	STACK_OF(X509) *blocked = sk_X509_new_null();
	STACK_OF(X509) *chain = NULL;
	int rc;

	if (anchors == NULL || others == NULL || blocked == NULL)
		fatal("out of memory");
	key_work_push(others, key_part(&task->parts, "chain"), OTHERS_MAX);
	rc = add_anchors(anchors, blocked, task, &task->err);
	/* As smime_judge.c asks it of a signer. */
	if (rc == 0)
		chain = crl_chain_of(certificate, "smime_sign",
		    task->work->now_s, anchors, others);
	if (rc == 0 && (chain == NULL || names_any(chain, blocked)))
		rc = err_set(
		    &task->err, "its certificate leads to no trusted CA");
	sk_X509_pop_free(chain, X509_free);
	sk_X509_pop_free(anchors, X509_free);
	sk_X509_pop_free(others, X509_free);
	sk_X509_pop_free(blocked, X509_free);
	return rc;
}
