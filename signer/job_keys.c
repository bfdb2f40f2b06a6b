/* SPDX-License-Identifier: ISC */
/*
 * Looks up what a job needs, has it planned, and writes the lists of keys that
 * its tasks are given.
 * Runs in: postern-signerd's broker.  Trusts: the key store.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/domain.h"
#include "common/header.h"
#include "common/mailbox_list.h"
#include "signer/delivery.h"
#include "signer/job_parts.h"
#include "signer/lookup.h"
#include "signer/shape_sealed.h"
#include "signer/smime.h"

static const enum key_kind kind_of[PLAN_METHOD_COUNT] = {
    [PLAN_SMIME] = KEY_SMIME, [PLAN_PGP] = KEY_PGP};

/* A larger incoming message is not opened: CMS is read as a whole. */
#define IN_SIZE_MAX ((uint64_t)50 << 20)

static enum sign_outcome
store_failed(char enhanced_r[16], char reason_r[512], const char *what)
{
	(void)snprintf(enhanced_r, 16, "4.3.0");
	(void)snprintf(reason_r, 512, "%s", what);
	return SIGNED_TEMPORARY;
}

/* ---- who is visible ---- */

static void
mark_visible(struct job *job, struct slice value)
{
	struct mailbox_list list;
	struct mailbox mailbox;
	struct buf unfolded;

	buf_init(&unfolded, HEADER_SIZE_MAX);
	if (header_unfold(value, &unfolded) == 0) {
		mailbox_list_init(&list, buf_slice(&unfolded), 0);
		while (mailbox_list_next(&list, &mailbox) == 1)
			for (size_t i = 0; i < job->recipient_count; i++)
				if (slice_equals_nocase(mailbox.address,
					slice_of(job->recipients[i].address)))
					job->recipients[i].demand.is_visible =
					    true;
	}
	buf_clear(&unfolded);
}

/* Who does not stand in To or Cc stays unknown to those who do. */
static void
find_visible(struct job *job)
{
	static const enum header_name names[] = {HDR_TO, HDR_CC};
	struct content content = job_content(job);
	struct header header;
	char *owned = NULL;
	struct slice start;

	header_init(&header, 0);
	if (content.fd == -1) {
		start = content.memory;
	} else {
		ssize_t n;

		owned = xmalloc(HEADER_SIZE_MAX);
		n = content_read(&content, 0, owned, HEADER_SIZE_MAX);
		start = (struct slice){owned, n > 0 ? (size_t)n : 0};
	}
	if (header_read(&header, start) == PARSE_OK)
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			const struct header_field *field =
			    header_first(&header, names[i]);

			for (; field != NULL;
			     field = header_next(&header, field))
				mark_visible(
				    job, header_field_value(&header, field));
		}
	header_clear(&header);
	free(owned);
}

/* ---- outgoing: look-ups ---- */

static bool
demands_method(const struct job *job, bool *encrypts_r)
{
	bool signs = false;

	*encrypts_r = false;
	for (size_t i = 0; i < job->recipient_count; i++) {
		const struct plan_recipient *demand =
		    &job->recipients[i].demand;

		signs |= demand->sign != SIGN_NEVER;
		*encrypts_r |= demand->encrypt != ENCRYPT_NEVER;
	}
	return signs || *encrypts_r;
}

static void
look_up_recipient(const struct job *job, struct job_recipient *recipient)
{
	struct signerd *signerd = job_signerd(job);
	const struct slice address = slice_of(recipient->address);
	struct plan_recipient *demand = &recipient->demand;
	bool is_found = false;

	demand->is_asked = false;
	for (size_t i = 0; i < PLAN_METHOD_COUNT; i++) {
		struct key_binding binding = {0};

		demand->keys[i] = (struct plan_key){KEYSTORE_NONE, NULL};
		if (demand->encrypt == ENCRYPT_NEVER)
			continue;
		demand->keys[i].result =
		    keystore_recipient(signerd->keystore, kind_of[i], address,
			recipient->min_trust, job->now_s, &binding);
		demand->keys[i].key = binding.key;
		if (demand->keys[i].result != KEYSTORE_FOUND)
			continue;
		is_found = true;
		lookup_refresh(
		    signerd->lookup, address, binding.source, job->now_s);
	}
	if (demand->encrypt != ENCRYPT_NEVER && !is_found &&
	    demand->method != METHOD_SMIME)
		demand->is_asked =
		    lookup_is_awaited(signerd->lookup, address, job->now_s);
}

static void
look_up_sender(const struct job *job, struct plan_input *input)
{
	struct keystore *keystore = job_signerd(job)->keystore;
	struct slice from = slice_of(job->header_from);

	for (size_t i = 0; i < PLAN_METHOD_COUNT; i++) {
		struct key_binding self = {0};

		input->signers[i].result = keystore_signer(keystore, kind_of[i],
		    from, job->now_s, &input->signers[i].key);
		input->selves[i].result = keystore_recipient(
		    keystore, kind_of[i], from, 0, job->now_s, &self);
		input->selves[i].key = self.key;
	}
}

/* ---- outgoing: lists of keys ---- */

static int
add_key(struct ipc_list_writer *list, const struct key *key,
    enum work_key_use use, const char *address)
{
	struct ipc_record_work_key record = keystore_work_key(key, use);

	record.address = slice_of(address);
	return ipc_work_key_add(list, &record, NULL);
}

static bool
is_rsa(const struct key *key)
{
	return strncmp(key->algorithm, "rsa", 3) == 0;
}

/*
 * One CMS never has both RSA and EC recipients: programs that know one of them
 * alone could read neither.
 */
static bool
can_add_self(enum plan_method method, const struct plan_key *self,
    const struct key *recipient)
{
	return self->key != NULL && recipient != NULL &&
	       self->key != recipient &&
	       (method == PLAN_PGP || is_rsa(self->key) == is_rsa(recipient));
}

static int
add_dkim_keys(
    struct track *track, const struct dkim_selector *selectors, size_t count)
{
	/* With S/MIME it is the same task. */
	struct ipc_list_writer *list = track->method == PLAN_SMIME
					   ? &track->keys[PLAN_SMIME]
					   : &track->dkim_keys;

	for (size_t i = 0; i < count; i++) {
		struct ipc_record_work_key record =
		    keystore_work_key(selectors[i].key, WORK_KEY_DKIM);

		record.domain = slice_of(selectors[i].domain);
		record.selector = slice_of(selectors[i].selector);
		if (ipc_work_key_add(list, &record, NULL) == -1)
			return -1;
	}
	return 0;
}

/*
 * Who answers S/MIME encrypts with the certificate that signed, unless it is
 * told of another one.
 */
static bool
has_other_reader(const struct plan_input *input, enum plan_method method)
{
	const struct key *self = input->selves[method].key;

	return method == PLAN_SMIME && self != NULL &&
	       self->secret_ref[0] != '\0' &&
	       self != input->signers[method].key;
}

static int
fill_track(struct track *track, const struct plan_input *input,
    const struct plan *plan, size_t index)
{
	struct job *job = track->job;
	const struct plan_output *output = &plan->outputs[index];
	enum plan_method method = output->method;
	const struct key *last = NULL;
	int rc = 0;

	track->method = method;
	track->has_dkim = output->has_dkim;
	track->options = output->options;
	track->recipient = output->first;
	if (output->signs)
		rc |= add_key(&track->keys[method], input->signers[method].key,
		    WORK_KEY_SIGN, job->header_from);
	if (output->signs && has_other_reader(input, method))
		rc |= add_key(&track->keys[method], input->selves[method].key,
		    WORK_KEY_PREFERRED, job->header_from);
	for (size_t i = 0; output->encrypts && i < job->recipient_count; i++) {
		/* Who is refused has no output; 0 would be the first one. */
		if (plan->parts[i].outcome != SIGNED_DONE ||
		    plan->parts[i].output != index)
			continue;
		last = input->recipients[i].keys[method].key;
		rc |= add_key(&track->keys[method], last, WORK_KEY_ENCRYPT,
		    job->recipients[i].address);
	}
	if (output->encrypts && (output->options & PROTECT_TO_SELF) != 0 &&
	    can_add_self(method, &input->selves[method], last))
		rc |= add_key(&track->keys[method], input->selves[method].key,
		    WORK_KEY_ENCRYPT, job->header_from);
	return rc;
}

static void
take_parts(struct job *job, const struct plan *plan)
{
	for (size_t i = 0; i < job->recipient_count; i++) {
		struct job_recipient *recipient = &job->recipients[i];
		const struct plan_part *part = &plan->parts[i];

		recipient->outcome = part->outcome;
		recipient->already = part->already;
		recipient->track =
		    part->outcome == SIGNED_DONE ? part->output : TRACK_NONE;
		(void)snprintf(recipient->enhanced, sizeof(recipient->enhanced),
		    "%s", part->enhanced);
		(void)snprintf(recipient->reason, sizeof(recipient->reason),
		    "%s", part->reason);
	}
}

static void
note_uses(const struct job *job, const struct plan_input *input)
{
	for (size_t i = 0; i < PLAN_METHOD_COUNT; i++)
		if (input->signers[i].key != NULL)
			keystore_note_use(job_signerd(job)->keystore,
			    input->signers[i].key->id, job->now_s);
}

/* S/MIME is encrypted for each recipient; what is signed is the same. */
static void
share_signatures(struct job *job, const struct plan *plan)
{
	const struct ipc_record_fact fact = {
	    .name = SLICE(FACT_SHARED), .value = SLICE("on")};
	size_t count = 0;

	for (size_t i = 0; i < plan->output_count; i++)
		count += plan->outputs[i].method == PLAN_SMIME &&
			 plan->outputs[i].signs && plan->outputs[i].encrypts;
	for (size_t i = 0; count > 1 && i < plan->output_count; i++)
		if (plan->outputs[i].method == PLAN_SMIME)
			(void)ipc_fact_add(&job->tracks[i].facts, &fact, NULL);
}

static int
make_tracks(struct job *job, const struct plan_input *input,
    const struct plan *plan, const struct dkim_selector *selectors,
    size_t selector_count)
{
	int rc = 0;

	take_parts(job, plan);
	job->track_count = plan->output_count;
	job->tracks = xcalloc(plan->output_count + 1, sizeof(*job->tracks));
	for (size_t i = 0; i < plan->output_count; i++)
		track_init(&job->tracks[i], job);
	for (size_t i = 0; rc == 0 && i < plan->output_count; i++) {
		rc = fill_track(&job->tracks[i], input, plan, i);
		if (rc == 0 && job->tracks[i].has_dkim)
			rc = add_dkim_keys(
			    &job->tracks[i], selectors, selector_count);
	}
	share_signatures(job, plan);
	return rc;
}

static int
find_dkim_keys(const struct job *job,
    struct dkim_selector selectors_r[static KEYSTORE_SELECTORS_MAX],
    size_t *count_r)
{
	struct slice from = slice_of(job->header_from);
	size_t at = from.n;
	struct domain domain;
	struct err err;

	*count_r = 0;
	while (at > 0 && from.p[at - 1] != '@')
		at--;
	if (job->dkim == DKIM_NEVER || at == 0 ||
	    domain_parse(
		(struct slice){from.p + at, from.n - at}, &domain, NULL) == -1)
		return 0;
	if (keystore_dkim(job_signerd(job)->keystore, slice_of(domain.text),
		job->now_s, selectors_r, count_r, &err) == -1) {
		log_notice("DKIM keys: %s", err.text);
		return -1;
	}
	return 0;
}

static enum sign_outcome
plan_out(struct job *job, char enhanced_r[16], char reason_r[512])
{
	const struct settings *settings =
	    daemon_settings(job_signerd(job)->daemon);
	struct dkim_selector selectors[KEYSTORE_SELECTORS_MAX];
	struct plan_input input = {.dkim = job->dkim,
	    .has_removals = job->removal_count > 0,
	    .is_calendar = job->shape.is_calendar,
	    .is_too_large = job->size > settings->crypto_max_size,
	    .is_signed = shape_is_signed(&job->shape),
	    .is_encrypted = shape_is_encrypted(&job->shape),
	    .recipient_count = job->recipient_count};
	struct plan_recipient *demands;
	struct plan plan;
	size_t selector_count;
	bool encrypts;
	enum sign_outcome outcome;

	if (find_dkim_keys(job, selectors, &selector_count) == -1)
		return store_failed(
		    enhanced_r, reason_r, "the DKIM keys could not be read");
	input.has_dkim_keys = selector_count > 0;
	if (demands_method(job, &encrypts))
		look_up_sender(job, &input);
	/* Nobody is asked for a key that would not be used. */
	encrypts &= !input.is_too_large;
	if (encrypts)
		find_visible(job);
	demands = xcalloc(job->recipient_count + 1, sizeof(*demands));
	for (size_t i = 0; i < job->recipient_count; i++) {
		if (encrypts)
			look_up_recipient(job, &job->recipients[i]);
		demands[i] = job->recipients[i].demand;
	}
	input.recipients = demands;
	plan_outgoing(&input, &plan);
	outcome = plan.outcome;
	(void)snprintf(enhanced_r, 16, "%s", plan.enhanced);
	(void)snprintf(reason_r, 512, "%s", plan.reason);
	if (outcome == SIGNED_DONE &&
	    make_tracks(job, &input, &plan, selectors, selector_count) == -1)
		outcome = store_failed(
		    enhanced_r, reason_r, "too many keys for one task");
	if (outcome == SIGNED_DONE)
		note_uses(job, &input);
	plan_clear(&plan);
	free(demands);
	return outcome;
}

/* ---- incoming ---- */

static int
add_list(struct ipc_list_writer *list, const struct key_list *keys,
    enum work_key_use use, const char *address)
{
	int rc = 0;

	for (size_t i = 0; i < keys->count; i++)
		rc |= add_key(list, keys->keys[i], use, address);
	return rc;
}

/* Only keys of this envelope recipient: nobody else's mail is opened. */
static int
add_decryptors(struct track *track, const char *address)
{
	struct keystore *keystore = job_signerd(track->job)->keystore;
	int rc = 0;

	for (size_t i = 0; i < PLAN_METHOD_COUNT; i++) {
		struct key_list keys;

		if (keystore_decryptors(keystore, kind_of[i], slice_of(address),
			&keys, NULL) == -1)
			return -1;
		rc |= add_list(&track->keys[i], &keys, WORK_KEY_DECRYPT, "");
	}
	return rc;
}

/* Anchors and lists lie where workers read them; here stands where. */
static int
add_trust(struct track *track)
{
	struct signerd *signerd = job_signerd(track->job);
	struct ipc_record_work_key record = {.use = WORK_KEY_TRUST};
	const char *folder;
	const char *id;
	struct err err;

	if (keystore_trust(signerd->keystore,
		daemon_settings(signerd->daemon)->crypto_require_revocation,
		&folder, &id, &err) == -1) {
		log_notice("anchors: %s", err.text);
		return -1;
	}
	record.ref = slice_of(folder);
	record.fingerprint = slice_of(id);
	return ipc_work_key_add(&track->keys[PLAN_SMIME], &record, NULL);
}

static int
add_candidates(struct track *track)
{
	const struct job *job = track->job;
	struct key_list keys;

	if (keystore_candidates(job_signerd(job)->keystore, KEY_PGP,
		slice_of(job->header_from), &keys, NULL) == -1)
		return -1;
	return add_list(&track->keys[PLAN_PGP], &keys, WORK_KEY_CANDIDATE,
	    job->header_from);
}

static bool
has_same_keys(const struct track *a, const struct track *b)
{
	for (size_t i = 0; i < PLAN_METHOD_COUNT; i++)
		if (!slice_equals(buf_slice(&a->keys[i].encoded),
			buf_slice(&b->keys[i].encoded)))
			return false;
	return true;
}

/* Recipients who own the same keys get the same output. */
static int
group_by_keys(struct job *job)
{
	for (size_t i = 0; i < job->recipient_count; i++) {
		struct job_recipient *recipient = &job->recipients[i];
		struct track *track = &job->tracks[job->track_count];
		size_t at = 0;

		track_init(track, job);
		if (add_decryptors(track, recipient->address) == -1) {
			track_clear(track);
			return -1;
		}
		while (at < job->track_count &&
		       !has_same_keys(&job->tracks[at], track))
			at++;
		if (at == job->track_count) {
			track->recipient = i;
			track->shape = job->shape.kind;
			job->track_count++;
		} else {
			track_clear(track);
		}
		recipient->track = at;
		recipient->outcome = SIGNED_DONE;
	}
	return 0;
}

/*
 * It passes unopened, to all alike.  What it brought along that is forged goes
 * out of it all the same: its size is its sender's choice.
 */
static void
plan_closed(struct job *job)
{
	const bool has_removals = job->removal_count > 0;

	for (size_t i = 0; i < job->recipient_count; i++) {
		job->recipients[i].track = has_removals ? 0 : TRACK_NONE;
		job->recipients[i].outcome = SIGNED_DONE;
		(void)snprintf(job->recipients[i].reason,
		    sizeof(job->recipients[i].reason),
		    "too large to be opened");
	}
	if (!has_removals)
		return;
	track_init(&job->tracks[0], job);
	job->tracks[0].closed = CLOSED_LARGE;
	job->track_count = 1;
}

static enum sign_outcome
plan_in(struct job *job, char enhanced_r[16], char reason_r[512])
{
	const struct settings *settings =
	    daemon_settings(job_signerd(job)->daemon);
	int rc;

	job->tracks = xcalloc(job->recipient_count + 1, sizeof(*job->tracks));
	if (job->size > IN_SIZE_MAX || job->size > settings->crypto_max_size) {
		plan_closed(job);
		return SIGNED_DONE;
	}
	rc = group_by_keys(job);
	for (size_t i = 0; rc == 0 && i < job->track_count; i++)
		if (add_trust(&job->tracks[i]) == -1 ||
		    add_candidates(&job->tracks[i]) == -1)
			rc = -1;
	return rc == 0 ? SIGNED_DONE
		       : store_failed(enhanced_r, reason_r,
			     "the keys could not be read");
}

enum sign_outcome
job_plan(struct job *job, char enhanced_r[16], char reason_r[512])
{
	struct content content = job_content(job);
	struct err err;

	enhanced_r[0] = '\0';
	reason_r[0] = '\0';
	if (shape_read(&content, &job->shape, &err) == -1)
		return store_failed(enhanced_r, reason_r, err.text);
	/* What a stranger sent is looked into by workers alone. */
	if (job->direction == DIRECTION_OUT)
		shape_look_sealed(&content, &job->shape);
	return job->direction == DIRECTION_OUT
		   ? plan_out(job, enhanced_r, reason_r)
		   : plan_in(job, enhanced_r, reason_r);
}
