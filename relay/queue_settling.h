/* SPDX-License-Identifier: ISC */
/*
 * One result on its way to the commit, as the files that make results see it.
 * Each of its recipients is settled once; then it is committed.
 */
#ifndef RELAY_QUEUE_SETTLING_H
#define RELAY_QUEUE_SETTLING_H

#include "relay/queue_dsn.h"
#include "relay/queued.h"

/* One result on its way to the commit. */
struct settling {
	struct queued *queued;
	struct queue_message *message; /* a reference */
	struct delivery *delivery;     /* or a claim; to forget afterwards */
	struct queue_job *job;
	struct dsn_case *cases[DSN_ACTION_COUNT];
	size_t case_counts[DSN_ACTION_COUNT];
	size_t case_room; /* of each */
	int64_t now_ms;
	int64_t next_ms;       /* of what is put off; 0: by the schedule */
	bool waits_for_signer; /* what is put off was not tried by relayd */
	bool has_told_waiting; /* its event is noted */
	size_t expanding;      /* notifications whose aliases are asked for */
	void (*done)(void *arg, bool is_done); /* of an administrator */
	void *arg;
	/* Reading the original beside the loop. */
	struct pool_task task;
	struct buf original;
	int file_fd;
	struct event *retry; /* no space: once more in a while */
};

/* Takes the delivery, or claim; room for so many notified recipients. */
struct settling *settling_new(struct queued *queued,
    struct queue_message *message, struct delivery *delivery,
    size_t case_count);

/* Its job, with room for so many changes. */
struct queue_job *settling_job(struct settling *settling, size_t changes);

/* All are settled.  Frees it, when that is committed. */
void settling_commit(struct settling *settling);

/* ---- queue_settling_recipient.c ---- */

void settling_delivered(struct settling *settling,
    struct queue_recipient *recipient, const struct ipc_relay_result *result,
    const struct ipc_record_result *record);
void settling_failed(struct settling *settling,
    struct queue_recipient *recipient, const struct ipc_relay_result *result,
    const struct ipc_record_result *record);
/* Until its next attempt; he fails when his time is over. */
void settling_deferred(struct settling *settling,
    struct queue_recipient *recipient, const struct ipc_relay_result *result,
    const struct ipc_record_result *record);

/* The last that was said of him. */
void settling_note_reply(struct queue_recipient *recipient,
    const struct ipc_relay_result *result,
    const struct ipc_record_result *record);
void settling_replace(char **text, struct slice value);

/* A change of his row, and nothing more. */
void settling_change(struct queue_job *job, enum queue_change_kind kind,
    const struct queue_recipient *recipient);

#endif
