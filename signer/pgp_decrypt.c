/* SPDX-License-Identifier: ISC */
/*
 * Decryption with GnuPG.
 * Runs in: postern-signerd's pgp-open workers.  Trusts: the task for its keys;
 * nothing of the message.
 */
#include <stdio.h>
#include <string.h>

#include "signer/pgp_armor.h"
#include "signer/pgp_data.h"
#include "signer/pgp_decrypt.h"
#include "signer/pgp_verdict.h"

/*
 * The message: session keys of the reader's own at the end of what was the
 * place of all of them, so that the data, which may be long, stays put.
 */
struct sealed {
	struct buf binary;
	struct pgp_sealed facts;
	struct buf head; /* all session keys, as they came */
};

struct attempt {
	struct worker_context *context;
	const struct work *work;
	struct sealed *sealed;
	struct content_writer *out;
	struct verdict *verdict;
	struct err *reason;
};

static int
read_sealed(struct slice armored, struct sealed *sealed, struct err *err)
{
	enum pgp_armor_kind kind;
	struct slice head;

	if (pgp_armor_read(armored, &kind, &sealed->binary, NULL, err) == -1)
		return -1;
	if (kind != PGP_ARMOR_MESSAGE)
		return err_set(err, "it is armored as something else");
	if (pgp_sealed_check(buf_slice(&sealed->binary), &sealed->facts, err) ==
	    -1)
		return -1;
	head = (struct slice){sealed->binary.p, sealed->facts.first_data};
	return buf_add_slice(&sealed->head, head);
}

/* Puts the chosen session keys before the data; false: there are none. */
static bool
choose_session_keys(struct sealed *sealed, const struct pgp_private *private,
    bool with_anonymous, struct content *content_r)
{
	struct buf chosen;
	size_t start;
	size_t count;

	buf_init(&chosen, sealed->head.n);
	count = pgp_sealed_filter(buf_slice(&sealed->head), private->key_ids,
	    with_anonymous ? 0 : private->key_id_count, with_anonymous,
	    &chosen);
	start = sealed->facts.first_data - chosen.n;
	if (chosen.n > 0)
		memcpy(sealed->binary.p + start, chosen.p, chosen.n);
	buf_clear(&chosen);
	*content_r = content_of(
	    (struct slice){sealed->binary.p + start, sealed->binary.n - start});
	return count > 0;
}

/* ---- what gpg did ---- */

/*
 * Success of the call is not enough: the data must have been protected
 * against changes, and gpg is not to have ignored that it was not.
 */
static bool
is_sound(gpgme_decrypt_result_t result)
{
	return result != NULL && result->unsupported_algorithm == NULL &&
	       !result->wrong_key_usage && !result->legacy_cipher_nomdc;
}

static void
note_cipher(gpgme_decrypt_result_t result, struct verdict *verdict)
{
	verdict->is_encrypted = true;
	verdict->has_integrity = true;
	if (result->symkey_algo == NULL)
		return;
	(void)snprintf(verdict->cipher, sizeof(verdict->cipher), "%s",
	    result->symkey_algo);
	for (char *c = verdict->cipher; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
}

/* Signatures within are checked in the same run. */
static int
take_candidates(const struct attempt *a, struct pgp_home *home, struct err *err)
{
	struct ipc_list keys = a->work->keys;
	struct ipc_record_work_key key;

	while (ipc_work_key_next(&keys, &key))
		if (key.use == WORK_KEY_CANDIDATE &&
		    pgp_worker_public(a->context, home, &key, err) == -1)
			return -1;
	return 0;
}

static gpgme_error_t
run_gpg(gpgme_ctx_t context, const struct content *content,
    struct content_writer *out, struct err *err)
{
	struct pgp_source source = {.data = NULL};
	struct pgp_drain drain = {.data = NULL};
	gpgme_error_t error = gpgme_error(GPG_ERR_GENERAL);

	if (pgp_source_open(&source, content, err) == 0 &&
	    pgp_drain_open(&drain, out, false, err) == 0)
		error =
		    gpgme_op_decrypt_verify(context, source.data, drain.data);
	pgp_source_close(&source);
	pgp_drain_close(&drain);
	return error;
}

static enum pgp_decrypted
open_with(const struct attempt *a, struct pgp_home *home,
    const struct pgp_private *private, const struct content *content)
{
	gpgme_decrypt_result_t result;
	gpgme_error_t error;
	gpgme_ctx_t context;

	if (take_candidates(a, home, a->reason) == -1 ||
	    pgp_home_context(home, &context, a->reason) == -1 ||
	    content_writer_reset(a->out) == -1)
		return PGP_DECRYPT_TEMPORARY;
	pgp_home_unlock(home, private->words);
	error = run_gpg(context, content, a->out, a->reason);
	result = gpgme_op_decrypt_result(context);
	if (a->out->failed) {
		(void)err_set(a->reason, "%s", a->out->err.text);
		return PGP_DECRYPT_REFUSED;
	}
	if (error != 0 || !is_sound(result)) {
		(void)pgp_err(a->reason, "gpg does not decrypt it", error);
		return pgp_home_context(home, &context, NULL) == -1
			   ? PGP_DECRYPT_TEMPORARY
			   : PGP_DECRYPT_REFUSED;
	}
	note_cipher(result, a->verdict);
	if (gpgme_op_verify_result(context) != NULL &&
	    gpgme_op_verify_result(context)->signatures != NULL)
		pgp_verdict_judge(gpgme_op_verify_result(context), a->work,
		    false, a->verdict);
	return PGP_DECRYPT_DONE;
}

/* ---- which key ---- */

/* A home that a gpg died in is not looked into again. */
static bool
is_worth_retrying(const struct attempt *a, enum pgp_decrypted result)
{
	return result != PGP_DECRYPT_DONE && !a->out->failed;
}

static enum pgp_decrypted
open_named(struct attempt *a, const struct ipc_record_work_key *key)
{
	const struct pgp_private *private;
	struct pgp_home *home;
	struct content content;
	enum pgp_decrypted result;

	if (pgp_worker_begin(a->context, &home, a->reason) == -1 ||
	    pgp_worker_private(a->context, key, &private, a->reason) == -1)
		return PGP_DECRYPT_TEMPORARY;
	if (!choose_session_keys(a->sealed, private, false, &content))
		return PGP_DECRYPT_UNTRIED;
	result = open_with(a, home, private, &content);
	if (is_worth_retrying(a, result))
		pgp_worker_spoiled(a->context);
	return result;
}

static enum pgp_decrypted
open_anonymous(struct attempt *a, const struct ipc_record_work_key *key)
{
	struct pgp_private private = {.key = NULL};
	struct pgp_home *home;
	struct content content;
	enum pgp_decrypted result;

	if (pgp_worker_begin(a->context, &home, a->reason) == -1 ||
	    pgp_worker_private_alone(
		a->context, key, &home, &private, a->reason) == -1)
		return PGP_DECRYPT_TEMPORARY;
	result = choose_session_keys(a->sealed, &private, true, &content)
		     ? open_with(a, home, &private, &content)
		     : PGP_DECRYPT_UNTRIED;
	pgp_private_clear(&private);
	pgp_home_free(home);
	return result;
}

static bool
is_closed(enum pgp_decrypted result)
{
	return result == PGP_DECRYPT_UNTRIED || result == PGP_DECRYPT_REFUSED;
}

/* Of two attempts: one that was none takes nothing back. */
static enum pgp_decrypted
sum_up(enum pgp_decrypted before, enum pgp_decrypted after)
{
	return after == PGP_DECRYPT_UNTRIED ? before : after;
}

/*
 * Refused may also mean that somebody killed gpg: GPGME does not tell these
 * apart.  So a refusal counts when it came twice.
 */
static enum pgp_decrypted
try_key(struct attempt *a, const struct ipc_record_work_key *key)
{
	enum pgp_decrypted result = open_named(a, key);

	if (is_worth_retrying(a, result) && a->reason->text[0] != '\0')
		result = open_named(a, key);
	if (is_closed(result) && a->sealed->facts.anonymous > 0 &&
	    !a->out->failed)
		result = sum_up(result, open_anonymous(a, key));
	return result;
}

static enum pgp_decrypted
try_keys(struct attempt *a)
{
	struct ipc_list keys = a->work->keys;
	struct ipc_record_work_key key;
	enum pgp_decrypted result = PGP_DECRYPT_UNTRIED;

	while (is_closed(result) && !a->out->failed &&
	       ipc_work_key_next(&keys, &key))
		if (key.use == WORK_KEY_DECRYPT)
			result = sum_up(result, try_key(a, &key));
	if (is_closed(result) && a->reason->text[0] == '\0')
		(void)err_set(
		    a->reason, "it is for none of the recipient's keys");
	return result;
}

enum pgp_decrypted
pgp_decrypt(struct worker_context *context, const struct work *work,
    struct slice armored, struct content_writer *out, struct verdict *verdict,
    struct err *reason)
{
	struct sealed sealed = {.facts = {0}};
	struct attempt attempt = {.context = context,
	    .work = work,
	    .sealed = &sealed,
	    .out = out,
	    .verdict = verdict,
	    .reason = reason};
	enum pgp_decrypted result = PGP_DECRYPT_UNTRIED;

	reason->text[0] = '\0';
	buf_init(&sealed.binary, PGP_OPEN_MAX);
	buf_init(&sealed.head, PGP_OPEN_MAX);
	if (read_sealed(armored, &sealed, reason) == 0)
		result = try_keys(&attempt);
	buf_clear(&sealed.binary);
	buf_clear(&sealed.head);
	return result;
}
