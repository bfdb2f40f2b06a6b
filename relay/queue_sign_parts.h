/* SPDX-License-Identifier: ISC */
/*
 * What the files of queue_sign share:
 *
 *   queue_sign         turns of jobs and deadlines
 *   queue_sign_job     the jobs there are
 *   queue_sign_plan    messages that wait become jobs
 *   queue_sign_send    to the signer
 *   queue_sign_answer  from the signer: outputs and results
 *   queue_sign_judge   what a result is worth
 *   queue_sign_settle  what follows from it
 *   queue_sign_store   large outputs become files of the spool
 *   queue_sign_share   how many recipients at once
 *   queue_sign_admin   an administrator has the message in his hands
 *   queue_sign_ready   which domains have DKIM keys, kept in a file
 */
#ifndef RELAY_QUEUE_SIGN_PARTS_H
#define RELAY_QUEUE_SIGN_PARTS_H

#include "relay/queue_sign.h"
#include "relay/queue_sign_share.h"

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

/* What a result comes to for those who were asked for. */
enum sign_verdict {
	SIGN_VERDICT_TEMPORARY, /* nothing is known of anybody */
	SIGN_VERDICT_MET,       /* for everybody, or it is to be held */
	SIGN_VERDICT_MIXED,     /* some are refused, or have to wait */
	SIGN_VERDICT_REFUSED    /* all are */
};

/* What the signer made, as it came; a large one is copied into the spool. */
struct sign_output {
	uint16_t number; /* as the signer counts them, from 1 in each attempt */
	uint16_t stored; /* as the message's are numbered; 0: nobody gets it */
	bool is_there;   /* an earlier attempt stored the same */
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
	uint16_t named;   /* the output that it speaks of, if any */
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
	/* Once it is committed: its recipients that wait and are due. */
	struct delivery *claim;
	struct sign_share share; /* those that are asked for */

	/* While a client waits. */
	queue_sign_done_fn *done; /* NULL: nobody does */
	void *arg;

	/* The attempt. */
	uint32_t attempt;
	bool is_out;          /* the signer has it */
	bool is_reading;      /* content for it is read from disk */
	uint64_t deadline_ms; /* monotonic */
	size_t octets;        /* of it that count as under way */
	size_t wide_octets;   /* the same for each output, if there are many */

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
	struct sign_answer *answers; /* as the share's recipients */
	size_t answer_count;
	bool is_judged;
	enum sign_verdict verdict; /* when it is */
	bool is_refused;    /* all of the message are, for one of them is */
	bool is_alarming;   /* something was missing */
	int64_t settled_ms; /* when it was known what follows */
	struct queue_attempt *change; /* while it is committed; not owned */
	struct queue_sign_watch *watches;

	/* While large outputs are written. */
	struct pool_task task;
	void (*stored)(struct sign_job *job);
	int failure;       /* an errno */
	bool is_withdrawn; /* nobody wants them any more */
};

struct queue_sign {
	struct queued *queued;
	struct channel *signer; /* NULL: it is not there */
	struct policy *policy;
	struct sign_domains domains;
	struct sign_job *buckets[SIGN_BUCKETS];
	size_t jobs;
	size_t out;          /* attempts at the signer */
	size_t out_octets;   /* of their contents in frames */
	size_t wide_outputs; /* of those with more than one */
	size_t wide_octets;
	bool has_suspect; /* one of them is of a suspect message */
	struct sign_job *queued_first;
	struct sign_job **queued_last;
	size_t queued_count;
	size_t queued_wide;  /* of them, with more than one output */
	struct event *timer; /* while clients wait */
	size_t early;
	struct loop_task pump;
	int64_t overdue_ms; /* something waited too long then; 0: never */
	bool is_ending;
	uint64_t protected_total;
	uint64_t opened_total;
	uint64_t waited_total;
};

/* ---- queue_sign_job.c ---- */

struct sign_job *sign_job_find(
    const struct queue_sign *sign, uint64_t message_id);
struct sign_job *sign_job_new(
    struct queue_sign *sign, struct queue_message *message);
void sign_job_free(struct sign_job *job);

/* The attempt is no longer at the signer. */
void sign_job_end_attempt(struct sign_job *job);

/* What the signer said and made goes. */
void sign_job_drop_answer(struct sign_job *job);

/* Is it the one with that id, or another one, which was refused for it? */
bool sign_job_is_of(
    const struct sign_job *job, const struct queue_message *message);

/* ---- queue_sign.c ---- */

bool sign_turn_has_signer(const struct queue_sign *sign);

/* True: all of these recipients are in it. */
bool sign_turn_take_share(
    struct sign_job *job, const uint32_t *numbers, size_t count);

/* To the end of the line; it is SIGN_QUEUED. */
void sign_turn_push(struct sign_job *job);
/* One in the state SIGN_QUEUED is not in the line any more. */
void sign_turn_drop(struct sign_job *job);

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

/* ---- queue_sign_judge.c ---- */

/*
 * Compares the result with what was demanded: answers that fall short are as
 * if the signer had said "temporary".  *enhanced_r and *why_r are set with
 * SIGN_VERDICT_TEMPORARY.
 */
enum sign_verdict sign_judge(
    struct sign_job *job, const char **enhanced_r, const char **why_r);
bool sign_is_served(const struct sign_answer *answer);

/*
 * Where all are refused: the answer that is everybody's, or the first of those
 * who cannot be served.
 */
const struct sign_answer *sign_refusal_of(const struct sign_job *job);

/* Nobody has to be told any more that something was missing. */
void sign_judge_is_well(const struct sign_job *job);

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
/* Removes again what was written. */
void sign_store_undo(const struct sign_job *job);

/* ---- queue_sign_ready.c ---- */

/* Reads the file of the last list, if there is one. */
void sign_ready_load(struct queue_sign *sign);
void sign_ready_save(const struct queue_sign *sign);

#endif
