/* SPDX-License-Identifier: ISC */
/*
 * Calls of the `key` worker.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: nothing of what
 * the worker says but its form: it has just read a stranger's file, so its
 * answer is as hostile as that file could make it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "signer/key_call.h"
#include "signer/wrap.h"

/* What the worker may say (a list of revoked ones), and what it is given. */
#define ANSWER_MAX (TRUST_LIST_MAX + (size_t)6 * 1024 * 1024)
#define CONTENT_MAX ((size_t)8 * 1024 * 1024)
#define KEYS_MAX ((size_t)4 * 1024 * 1024)
#define FACTS_MAX ((size_t)64 * 1024)
/*
 * The primes of RSA-4096 can take a small machine a minute.  Who waits for it
 * does so for longer (control/client.c).
 */
#define MAKE_EXTRA_MS 60000

static const enum pool_class sealed_for[] = {
    POOL_SIGN, POOL_OPEN, POOL_PGP_SIGN, POOL_PGP_OPEN, POOL_KEY};

/* ---- making ---- */

struct key_call *
key_call_new(
    struct signerd *signerd, struct manage_request *request, enum key_op op)
{
	struct key_call *call = xcalloc(1, sizeof(*call));
	unsigned char random[16];

	call->signerd = signerd;
	call->request = request;
	call->op = op;
	call->now_s = (int64_t)time(NULL);
	call->task.fd = -1;
	ipc_list_writer_init(&call->facts, FACTS_MAX);
	ipc_list_writer_init(&call->parts, CONTENT_MAX);
	ipc_list_writer_init(&call->keys, KEYS_MAX);
	buf_init(&call->content, CONTENT_MAX);
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		fatal("getrandom: %s", strerror(errno));
	memcpy(call->ref, "k-", 2);
	key_hex(random, sizeof(random), call->ref + 2);
	key_call_fact(call, "op", key_op_name(op));
	key_call_fact(call, "ref", call->ref);
	return call;
}

void
key_call_free(struct key_call *call)
{
	/* Pass phrases were among them. */
	wrap_wipe(&call->parts.encoded);
	wrap_wipe(&call->content);
	ipc_list_writer_clear(&call->facts);
	ipc_list_writer_clear(&call->keys);
	close_if_open(&call->task.fd);
	free(call->context);
	free(call);
}

void
key_call_fact(struct key_call *call, const char *name, const char *value)
{
	const struct ipc_record_fact fact = {
	    .name = slice_of(name), .value = slice_of(value)};

	/* What breaks the row is missing, and the worker says so. */
	if (value != NULL)
		(void)ipc_fact_add(&call->facts, &fact, NULL);
}

void
key_call_part(struct key_call *call, const char *name, struct slice data)
{
	(void)key_part_add(&call->parts, name, data, NULL);
}

void
key_call_key(
    struct key_call *call, enum work_key_use use, const struct key *key)
{
	const struct ipc_record_work_key record = keystore_work_key(key, use);

	(void)ipc_work_key_add(&call->keys, &record, NULL);
}

void
key_call_seal(struct key_call *call, enum pool_class class)
{
	struct wrap_key key;
	struct wrap_key public;
	char name[64];
	char text[2 * WRAP_KEY_SIZE + 1];
	struct err err;

	if (signerd_class_key(call->signerd, class, &key, &err) == -1 ||
	    wrap_public(&key, &public, &err) == -1)
		fatal("%s", err.text);
	explicit_bzero(&key, sizeof(key));
	key_hex(public.octets, WRAP_KEY_SIZE, text);
	(void)snprintf(name, sizeof(name), "seal.%s", pool_class_name(class));
	key_call_fact(call, name, text);
}

/* ---- reading the answer ---- */

static int64_t
number_of(struct slice value)
{
	uint64_t number;

	return slice_to_u64(value, &number) == 0 && number < INT64_MAX / 2
		   ? (int64_t)number
		   : 0;
}

static unsigned
uses_of(struct slice words)
{
	static const struct {
		const char *word;
		enum key_use use;
	} rows[] = {{"sign", KEY_SIGNS}, {"encrypt", KEY_ENCRYPTS},
	    {"certify", KEY_CERTIFIES}};
	unsigned uses = 0;

	for (size_t i = 0; i < 3; i++)
		if (words.n > 0 && memmem(words.p, words.n, rows[i].word,
				       strlen(rows[i].word)) != NULL)
			uses |= (unsigned)rows[i].use;
	return uses;
}

/* Addresses in our one spelling; another one is nobody's. */
static void
take_address(struct key_answer *answer, struct slice text)
{
	struct address address;

	if (answer->address_count < KEY_CALL_ADDRESSES_MAX &&
	    address_parse(text, ADDRESS_MAY_BE_UTF8, &address, NULL) == 0 &&
	    !address.is_literal)
		(void)address_format_folded(
		    &address, answer->addresses[answer->address_count++]);
}

static int
take_scope(struct key_answer *answer, struct slice text)
{
	if (answer->scope_count == KEY_CALL_SCOPES_MAX)
		return -1;
	return slice_copy(text, answer->scopes[answer->scope_count++],
	    sizeof(answer->scopes[0]));
}

static int
take_fact(struct key_answer *answer, const struct ipc_record_fact *fact)
{
	struct key *key = &answer->key;
	const struct {
		const char *name;
		char *out;
		size_t size;
	} texts[] = {
	    {"fingerprint", key->fingerprint, sizeof(key->fingerprint)},
	    {"algorithm", key->algorithm, sizeof(key->algorithm)},
	    {"subject", key->subject, sizeof(key->subject)},
	    {"issuer", key->issuer, sizeof(key->issuer)},
	    {"serial", key->serial, sizeof(key->serial)},
	    {"public_digest", answer->public_digest,
		sizeof(answer->public_digest)},
	    {"number", answer->number, sizeof(answer->number)},
	};
	const struct {
		const char *name;
		int64_t *out;
	} numbers[] = {
	    {"not_before", &key->not_before_s},
	    {"not_after", &key->not_after_s},
	    {"this_update", &answer->this_update_s},
	    {"next_update", &answer->next_update_s},
	    {"entries", &answer->entries},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (slice_equals(fact->name, slice_of(texts[i].name)))
			return slice_copy(
			    fact->value, texts[i].out, texts[i].size);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (slice_equals(fact->name, slice_of(numbers[i].name)))
			*numbers[i].out = number_of(fact->value);
	if (slice_equals(fact->name, SLICE("kind")))
		key->kind = key_kind_by_name(fact->value);
	else if (slice_equals(fact->name, SLICE("bits")))
		key->bits = (unsigned)number_of(fact->value);
	else if (slice_equals(fact->name, SLICE("uses")))
		key->uses = uses_of(fact->value);
	else if (slice_equals(fact->name, SLICE("status")))
		key->status = slice_equals(fact->value, SLICE("revoked"))
				  ? KEY_REVOKED
				  : KEY_ACTIVE;
	else if (slice_equals(fact->name, SLICE("address")))
		take_address(answer, fact->value);
	else if (slice_equals(fact->name, SLICE("issuer_id")))
		key->has_issuer_id = key_unhex(fact->value, key->issuer_id,
					 sizeof(key->issuer_id)) == 0;
	else if (slice_equals(fact->name, SLICE("scope")))
		return take_scope(answer, fact->value);
	return 0;
}

static int
read_answer(struct ipc_list facts, struct slice content,
    struct key_answer *answer_r, struct err *err)
{
	struct ipc_record_fact fact;
	struct key *key = &answer_r->key;

	memset(answer_r, 0, sizeof(*answer_r));
	while (ipc_fact_next(&facts, &fact))
		if (take_fact(answer_r, &fact) == -1)
			return err_set(err, "the key worker's answer is odd");
	if (key_parts_read(content, &answer_r->parts, err) == -1)
		return -1;
	if (key->kind >= KEY_KIND_COUNT)
		return err_set(err, "the key worker's answer is odd");
	key->public = key_part(&answer_r->parts, "public");
	key->chain = key_part(&answer_r->parts, "chain");
	if (key->public.n > IPC_KEY_MAX || key->chain.n > IPC_KEY_MAX)
		return err_set(err, "the key is too large");
	return 0;
}

/* ---- running ---- */

static void
tell_failure(struct key_call *call, const char *reason, bool is_temporary)
{
	if (call->failed != NULL) {
		call->failed(call, reason, is_temporary);
	} else if (call->request != NULL) {
		manage_answer(call->request,
		    manage_fail(call->request,
			is_temporary ? MANAGE_FAILED : MANAGE_USAGE, NULL, "%s",
			reason));
		call->request = NULL;
	}
}

static int
read_file(int fd, uint64_t size, struct buf *out)
{
	char *room = size > ANSWER_MAX ? NULL : buf_reserve(out, size + 1);
	size_t done = 0;

	while (room != NULL && done < size) {
		const ssize_t n =
		    pread(fd, room + done, size - done, (off_t)done);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		done += (size_t)n;
	}
	if (room == NULL)
		return -1;
	buf_extend(out, size);
	return 0;
}

static void
run_done(struct key_call *call, const struct task_result *result)
{
	struct key_answer *answer = xcalloc(1, sizeof(*answer));
	struct slice content = result->content;
	struct buf file;
	struct err err;
	enum manage_code code;

	buf_init(&file, ANSWER_MAX + 1);
	if (result->fd != -1 &&
	    read_file(result->fd, result->size_octets, &file) == -1) {
		tell_failure(call, "the key worker's answer is odd", true);
	} else {
		if (result->fd != -1)
			content = buf_slice(&file);
		if (read_answer(result->facts, content, answer, &err) == -1) {
			tell_failure(call, err.text, true);
		} else {
			code = call->done(call, answer);
			if (call->request != NULL && code != MANAGE_LATER)
				manage_answer(call->request, code);
		}
	}
	wrap_wipe(&file);
	free(answer);
}

static void
on_done(struct task *task, struct task_result *result)
{
	struct key_call *call = task->owner;
	char reason[600];

	if (result->outcome == SIGNED_DONE) {
		run_done(call, result);
	} else {
		(void)snprintf(
		    reason, sizeof(reason), "%.*s", SLICE_ARG(result->reason));
		tell_failure(call,
		    reason[0] != '\0'
			? reason
			: "the key worker ended; the file may be a bomb",
		    result->outcome != SIGNED_PERMANENT);
	}
	key_call_free(call);
}

static int
write_content(struct key_call *call, struct slice content, struct err *err)
{
	size_t done = 0;

	call->task.message.size_octets = content.n;
	call->task.fd = signerd_scratch_file(call->signerd, err);
	while (call->task.fd != -1 && done < content.n) {
		const ssize_t n =
		    write(call->task.fd, content.p + done, content.n - done);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return err_set(err, "%s", strerror(errno));
		done += (size_t)n;
	}
	return call->task.fd == -1 ? -1 : 0;
}

/* A large content goes by a file, and is then no longer kept in memory. */
static int
put_content(struct key_call *call, struct err *err)
{
	struct slice content = call->file;
	int rc;

	if (content.n == 0) {
		if (key_parts_write(&call->parts, &call->content, err) == -1)
			return -1;
		content = buf_slice(&call->content);
	} else if (content.n <= IPC_OUTPUT_MAX) {
		(void)buf_add_slice(&call->content, content);
		content = buf_slice(&call->content);
	}
	if (content.n <= IPC_OUTPUT_MAX) {
		call->task.message.content = content;
		return 0;
	}
	rc = write_content(call, content, err);
	wrap_wipe(&call->parts.encoded);
	wrap_wipe(&call->content);
	return rc;
}

static bool
makes_key(enum key_op op)
{
	switch (op) {
	case KEY_OP_GENERATE_DKIM:
	case KEY_OP_GENERATE_PGP:
	case KEY_OP_REQUEST:
	case KEY_OP_CA:
	case KEY_OP_ISSUE:
	case KEY_OP_HAND_OUT:
		return true;
	default:
		return false;
	}
}

enum manage_code
key_call_run(struct key_call *call, key_call_fn *done)
{
	struct task *task = &call->task;
	struct manage_request *request = call->request;
	enum manage_code code = MANAGE_LATER;
	struct err err;

	call->done = done;
	task->class = POOL_KEY;
	task->extra_ms = makes_key(call->op) ? MAKE_EXTRA_MS : 0;
	task->owner = call;
	task->done = on_done;
	task->message.op = WORK_KEY;
	task->message.now_s = call->now_s;
	task->message.output_limit = ANSWER_MAX;
	task->message.facts = ipc_list_of(&call->facts);
	task->message.keys = ipc_list_of(&call->keys);
	if (put_content(call, &err) == -1 ||
	    pools_submit(call->signerd->pools, task, &err) == -1) {
		if (request != NULL)
			code = manage_fail(
			    request, MANAGE_FAILED, NULL, "%s", err.text);
		if (call->failed != NULL)
			call->failed(call, err.text, true);
		key_call_free(call);
	}
	return code;
}

/* ---- private parts ---- */

int
key_call_store(
    struct key_call *call, const struct key_answer *answer, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < 5; i++) {
		char name[64];
		struct slice sealed;

		(void)snprintf(name, sizeof(name), "secret.%s",
		    pool_class_name(sealed_for[i]));
		sealed = key_part(&answer->parts, name);
		if (sealed.n == 0)
			continue;
		if (sealed.n > WRAP_SECRET_MAX + WRAP_OVERHEAD)
			rc = err_set(err, "the private key is too large");
		else
			rc = key_file_write(call->signerd, sealed_for[i],
			    call->ref, sealed, err);
	}
	if (rc == -1)
		key_call_unstore(call);
	return rc;
}

void
key_call_unstore(struct key_call *call)
{
	for (size_t i = 0; i < 5; i++)
		key_file_remove(call->signerd, sealed_for[i], call->ref);
}
