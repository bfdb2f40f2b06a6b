/* SPDX-License-Identifier: ISC */
/*
 * Runs a task of the `key` worker in this process: for its test and its fuzz
 * target.
 */
#ifndef TESTS_UNIT_KEY_TASK_HOST_H
#define TESTS_UNIT_KEY_TASK_HOST_H

#include "common/vocabulary.h"
#include "signer/key_task.h"
#include "signer/work.h"
#include "signer/wrap.h"

struct key_task_host {
	struct ipc_list_writer facts;
	struct ipc_list_writer parts;
	struct buf content;
	struct slice file; /* instead of parts */
	struct ipc_list_writer keys;
	struct work_answer answer;
	struct content output;
	struct key_parts results;
};

void key_task_host_init(struct key_task_host *host, enum key_op op);
void key_task_host_clear(struct key_task_host *host);
void key_task_host_fact(
    struct key_task_host *host, const char *name, const char *value);
void key_task_host_part(
    struct key_task_host *host, const char *name, struct slice data);

void key_task_host_key(
    struct key_task_host *host, enum work_key_use use, struct slice public);

/* Private parts may go to that class, whose wrapping key is made of a word. */
void key_task_host_seal(
    struct key_task_host *host, const char *class_name, struct wrap_key *key_r);

enum sign_outcome key_task_host_run(struct key_task_host *host, int64_t now_s);

#endif
