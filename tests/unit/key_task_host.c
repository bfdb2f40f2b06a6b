/* SPDX-License-Identifier: ISC */
/*
 * A task of the `key` worker, without the worker.
 * Runs in: tests.
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/key_task_host.h"

#define ROOM ((size_t)1024 * 1024)

void
key_task_host_init(struct key_task_host *host, enum key_op op)
{
	memset(host, 0, sizeof(*host));
	ipc_list_writer_init(&host->facts, ROOM);
	ipc_list_writer_init(&host->parts, ROOM);
	ipc_list_writer_init(&host->keys, ROOM);
	buf_init(&host->content, 2 * ROOM);
	work_answer_init(&host->answer, -1, 8 * ROOM);
	key_task_host_fact(host, "op", key_op_name(op));
	key_task_host_fact(host, "ref", "k-test");
}

void
key_task_host_clear(struct key_task_host *host)
{
	ipc_list_writer_clear(&host->facts);
	ipc_list_writer_clear(&host->parts);
	ipc_list_writer_clear(&host->keys);
	buf_clear(&host->content);
	work_answer_clear(&host->answer);
}

void
key_task_host_fact(
    struct key_task_host *host, const char *name, const char *value)
{
	const struct ipc_record_fact fact = {
	    .name = slice_of(name), .value = slice_of(value)};
	struct err err;

	if (ipc_fact_add(&host->facts, &fact, &err) == -1)
		bug("%s", err.text);
}

void
key_task_host_part(
    struct key_task_host *host, const char *name, struct slice data)
{
	(void)key_part_add(&host->parts, name, data, NULL);
}

void
key_task_host_key(
    struct key_task_host *host, enum work_key_use use, struct slice public)
{
	const struct ipc_record_work_key record = {
	    .use = (uint16_t)use, .public = public};

	(void)ipc_work_key_add(&host->keys, &record, NULL);
}

void
key_task_host_seal(
    struct key_task_host *host, const char *class_name, struct wrap_key *key_r)
{
	const struct wrap_key master = {.octets = {1}};
	struct wrap_key public;
	char name[64];
	char text[2 * WRAP_KEY_SIZE + 1];
	struct err err;

	if (wrap_class_key(&master, class_name, key_r, &err) == -1 ||
	    wrap_public(key_r, &public, &err) == -1)
		bug("%s", err.text);
	key_hex(public.octets, WRAP_KEY_SIZE, text);
	(void)snprintf(name, sizeof(name), "seal.%s", class_name);
	key_task_host_fact(host, name, text);
}

enum sign_outcome
key_task_host_run(struct key_task_host *host, int64_t now_s)
{
	struct worker_context context = {.scratch_dir = "/nonexistent"};
	struct work work = {.op = WORK_KEY,
	    .now_s = now_s,
	    .output_limit = 8 * ROOM,
	    .facts = ipc_list_of(&host->facts),
	    .keys = ipc_list_of(&host->keys)};
	struct err err;

	if (key_parts_write(&host->parts, &host->content, &err) == -1)
		bug("%s", err.text);
	work.content = content_of(
	    host->file.n > 0 ? host->file : buf_slice(&host->content));
	work_key(&context, &work, &host->answer);
	if (host->answer.outcome == SIGNED_DONE &&
	    (content_writer_finish(&host->answer.output, &host->output) == -1 ||
		(host->output.fd == -1 && key_parts_read(host->output.memory,
					      &host->results, &err) == -1)))
		bug("an answer that cannot be read");
	return host->answer.outcome;
}
