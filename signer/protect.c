/* SPDX-License-Identifier: ISC */
/*
 * What leaves: S/MIME first, DKIM last, since nothing may touch the octets
 * after it.
 *
 * DKIM's field stands before the message but hashes all of it.  Its length is
 * known before, so its place is left free, the message is written behind it
 * and hashed from there, and then the place is filled.
 *
 * Runs in: postern-signerd's `sign` workers.  Trusts: the task for its keys;
 * nothing of the message.
 */
#include <string.h>

#include "signer/dkim.h"
#include "signer/keyring.h"
#include "signer/sink.h"
#include "signer/smime.h"
#include "signer/work.h"

/* What the task asks for beside DKIM. */
static bool
has_smime(const struct work *work)
{
	struct ipc_list keys = work->keys;
	struct ipc_record_work_key key;

	while (ipc_work_key_next(&keys, &key))
		if (key.use == WORK_KEY_SIGN || key.use == WORK_KEY_ENCRYPT)
			return true;
	return work->removals.count > 0;
}

/*
 * Its keys stay good until the task is answered: the keyring may drop one
 * when it opens the next, so each is held.
 */
struct signers {
	size_t count;
	struct dkim_signer list[DKIM_SIGNERS_MAX];
};

static void
release_signers(struct signers *signers)
{
	for (size_t i = 0; i < signers->count; i++)
		EVP_PKEY_free(signers->list[i].key);
	signers->count = 0;
}

static int
find_signers(struct worker_context *context, const struct work *work,
    struct signers *signers_r, struct err *err)
{
	struct ipc_list keys = work->keys;
	struct ipc_record_work_key key;

	signers_r->count = 0;
	while (ipc_work_key_next(&keys, &key) &&
	       signers_r->count < DKIM_SIGNERS_MAX) {
		struct dkim_signer *signer = &signers_r->list[signers_r->count];

		if (key.use != WORK_KEY_DKIM)
			continue;
		signer->domain = key.domain;
		signer->selector = key.selector;
		signer->key = keyring_key(context->keyring, key.ref, err);
		if (signer->key == NULL) {
			release_signers(signers_r);
			return -1;
		}
		(void)EVP_PKEY_up_ref(signer->key);
		signers_r->count++;
	}
	return 0;
}

static int
leave_place(struct content_writer *out, size_t size)
{
	static const char zeros[4096];

	while (size > 0) {
		size_t piece = size < sizeof(zeros) ? size : sizeof(zeros);

		if (content_write(out, zeros, piece) == -1)
			return -1;
		size -= piece;
	}
	return 0;
}

/* ---- the message goes out changed ---- */

static void
protect_changed(struct worker_context *context, const struct work *work,
    struct dkim_task *dkim, struct work_answer *answer)
{
	size_t place = dkim != NULL ? dkim_task_size(dkim) : 0;
	struct content written;
	struct err err;

	if (leave_place(&answer->output, place) == -1) {
		work_refuse(answer, SIGNED_TEMPORARY, "4.3.0", "%s",
		    answer->output.err.text);
		return;
	}
	if (smime_protect(context, work, &answer->output, answer) !=
	    SMIME_WRITTEN)
		return;
	if (dkim != NULL) {
		if (content_writer_finish(&answer->output, &written) == -1 ||
		    dkim_task_sign(dkim, &written, place, &err) == -1 ||
		    dkim_task_text(dkim).n != place ||
		    content_writer_put(
			&answer->output, 0, dkim_task_text(dkim)) == -1) {
			work_refuse(answer, SIGNED_TEMPORARY, "4.7.5",
			    "the message could not be signed with DKIM");
			return;
		}
		answer->applied |= APPLIED_DKIM;
	}
	answer->outcome = SIGNED_DONE;
}

/* ---- the message goes out as it came, with DKIM ---- */

/* A small one need not travel back: the broker still has it. */
static int
copy_message(const struct content *content, struct work_answer *answer)
{
	struct sink sink = sink_of_writer(&answer->output);

	if (content->fd == -1) {
		answer->is_prefix = true;
		return 0;
	}
	return sink_range(
	    &sink, content, 0, content->size, &answer->output.err);
}

static void
protect_unchanged(
    const struct work *work, struct dkim_task *dkim, struct work_answer *answer)
{
	struct err err = {""};

	if (dkim != NULL) {
		if (dkim_task_sign(dkim, &work->content, 0, &err) == -1) {
			work_refuse(
			    answer, SIGNED_TEMPORARY, "4.7.5", "%s", err.text);
			return;
		}
		if (content_write_slice(
			&answer->output, dkim_task_text(dkim)) == -1) {
			work_refuse(answer, SIGNED_TEMPORARY, "4.3.0", "%s",
			    answer->output.err.text);
			return;
		}
		answer->applied |= APPLIED_DKIM;
	}
	if (copy_message(&work->content, answer) == -1) {
		work_refuse(answer, SIGNED_TEMPORARY, "4.3.0", "%s",
		    answer->output.err.text);
		return;
	}
	answer->outcome = SIGNED_DONE;
}

/* ---- the task ---- */

static void
note_signers(const struct signers *signers, struct work_answer *answer)
{
	if ((answer->applied & APPLIED_DKIM) == 0)
		return;
	for (size_t i = 0; i < signers->count; i++)
		work_note(answer, "dkim %.*s/%.*s",
		    SLICE_ARG(signers->list[i].domain),
		    SLICE_ARG(signers->list[i].selector));
}

/*
 * Without a DKIM signature that could not be made a message still leaves,
 * unless policy says otherwise: the broker compares what was applied.
 */
void
work_protect(struct worker_context *context, const struct work *work,
    struct work_answer *answer)
{
	struct dkim_task *task = NULL;
	struct signers signers;
	struct err err = {""};

	if (context->dkim == NULL)
		context->dkim = dkim_new();
	if (find_signers(context, work, &signers, &err) == 0 &&
	    signers.count > 0 &&
	    (task = dkim_task_new(context->dkim, signers.list, signers.count,
		 work->now_s, &err)) != NULL &&
	    dkim_task_fields(task, &work->content, &err) == -1) {
		dkim_task_free(task);
		task = NULL;
	}
	if (err.text[0] != '\0')
		work_note(answer, "no dkim: %s", err.text);
	if (has_smime(work))
		protect_changed(context, work, task, answer);
	else
		protect_unchanged(work, task, answer);
	note_signers(&signers, answer);
	dkim_task_free(task);
	release_signers(&signers);
}
