/* SPDX-License-Identifier: ISC */
/*
 * What the files of queue_sign share:
 *
 *   queue_sign         jobs, their turns and deadlines
 *   queue_sign_send    to the signer
 *   queue_sign_answer  from the signer: outputs and results
 *   queue_sign_settle  what follows from a result
 *   queue_sign_store   large outputs become files of the spool
 *   queue_sign_ready   which domains have DKIM keys, kept in a file
 */
#ifndef RELAY_QUEUE_SIGN_PARTS_H
#define RELAY_QUEUE_SIGN_PARTS_H

#include "relay/queue_sign.h"

#define SIGN_BUCKETS 1024

/* While an attempt is in a queue of the signer's; then the next is made. */
#define SIGN_LATE_DEADLINE_MS (5u * 60 * 1000)

enum sign_state {
	SIGN_EARLY,
	SIGN_COMMITTING,
	SIGN_QUEUED,
	SIGN_OUT,
	SIGN_STORING,
	SIGN_SETTLING,
	SIGN_STATE_COUNT
};

/* What the signer made, as it came; a large one is copied into the spool. */
struct sign_output {
	uint16_t number;
	bool is_8bit;
	char *content; /* NULL: fd */
	int fd;
	uint64_t size;
	char *start; /* of fd's */
	size_t start_n;
};

/* What the signer said for one recipient. */
struct sign_answer {
	uint32_t number;
	uint16_t output;
	uint16_t outcome; /* enum sign_outcome */
	uint16_t applied;
	char enhanced[17];
	char *method;
	char *reason;
};

struct sign_job {
	struct queue_sign *sign;
	struct queue_message *message; /* a reference */
	enum sign_state state;
	struct sign_job *next; /* of its bucket */
	struct sign_job *next_queued;
	struct delivery *claim; /* once it is committed */

	/* While a client waits. */
	queue_sign_done_fn *done; /* NULL: nobody does */
	void *arg;

	/* The attempt. */
	uint32_t attempt;
	bool is_out;          /* the signer has it */
	bool is_reading;      /* content for it is read from disk */
	uint64_t deadline_ms; /* monotonic */
	size_t octets;        /* of it that count as under way */

	/* Its answer so far. */
	struct sign_output *outputs;
	size_t output_count;
	size_t memory; /* of them */
	bool has_result;
	enum sign_outcome outcome;
	char enhanced[17];
	char *reason;
	char *original_start; /* of a file, when it goes out as it came */
	size_t original_start_n;
	struct sign_answer *answers; /* as the message's recipients */
	size_t answer_count;

	/* While large outputs are written. */
	struct pool_task task;
	void (*stored)(struct sign_job *job);
	int failure; /* an errno */
};

struct queue_sign {
	struct queued *queued;
	struct channel *signer; /* NULL: it is not there */
	struct policy *policy;
	struct sign_domains domains;
	struct sign_job *buckets[SIGN_BUCKETS];
	size_t jobs;
	size_t out;        /* attempts at the signer */
	size_t out_octets; /* of their contents in frames */
	bool has_suspect;  /* one of them is of a suspect message */
	struct sign_job *queued_first;
	struct sign_job **queued_last;
	size_t queued_count;
	struct event *timer; /* while clients wait */
	size_t early;
	struct loop_task pump;
	int64_t overdue_ms; /* something waited too long then; 0: never */
	bool is_ending;
	uint64_t protected_total;
	uint64_t opened_total;
	uint64_t waited_total;
};

/* ---- queue_sign.c ---- */

struct sign_job *sign_job_find(
    const struct queue_sign *sign, uint64_t message_id);
struct sign_job *sign_job_new(
    struct queue_sign *sign, struct queue_message *message);
void sign_job_free(struct sign_job *job);

/* The attempt is no longer at the signer. */
void sign_job_end_attempt(struct sign_job *job);

/* What the signer said and made goes. */
void sign_job_drop_answer(struct sign_job *job);

/* Starts what may start, at the end of the turn. */
void queue_sign_pump(struct queue_sign *sign);

/* Messages on disk that wait for the signer are due now. */
void queue_sign_pull_in(struct queue_sign *sign);

/* ---- queue_sign_send.c ---- */

/*
 * Sends the attempt, at once or when its content was read; -1 and why: it
 * cannot be sent.
 */
int sign_send(struct sign_job *job, struct err *err);
/* Nobody waits for its attempt any more. */
void sign_send_forget(const struct sign_job *job);

/* ---- queue_sign_settle.c ---- */

/* A result came; or it is there and its message was committed now. */
void sign_settle(struct sign_job *job);

/* There is no result of this attempt, or none that counts. */
void sign_settle_temporary(
    struct sign_job *job, const char *enhanced, const char *reason);

/* The client does not wait any longer; the attempt goes on. */
void sign_settle_late(struct sign_job *job);

/* ---- queue_sign_store.c ---- */

/*
 * Writes what is too large for queue.db, then calls done; job->failure says
 * whether it could be.  Nothing is left of outputs after a failure.
 */
void sign_store(struct sign_job *job, void (*done)(struct sign_job *job));

/* ---- queue_sign_ready.c ---- */

/* Reads the file of the last list, if there is one. */
void sign_ready_load(struct queue_sign *sign);
void sign_ready_save(const struct queue_sign *sign);

#endif
