/* SPDX-License-Identifier: ISC */
/*
 * The thread that alone writes queue.db: group commit.  Whatever waits goes
 * into one transaction; then all of it is reported, so a 250 rests on a
 * commit with synchronous=FULL (DESIGN §3).
 */
#ifndef RELAY_QUEUE_WRITER_H
#define RELAY_QUEUE_WRITER_H

#include "common/ipc.h"
#include "common/pool.h"
#include "relay/queue_message.h"

enum queue_job_kind {
	QUEUE_JOB_ACCEPT,   /* insert message */
	QUEUE_JOB_RESULT,   /* changes of message's recipients, and a DSN */
	QUEUE_JOB_POSTPONE, /* changes' next_ms of any messages' recipients */
	QUEUE_JOB_STATE,    /* message's in state_before: state, next_ms */
	QUEUE_JOB_PULL_IN,  /* some due after next_ms are due at now_ms */
	QUEUE_JOB_SIGN_PULL_IN, /* what waits for the signer is due at now_ms */
	QUEUE_JOB_OUTBOX,       /* rows up to outbox_seq are in the log */
	QUEUE_JOB_CLOCK,        /* it is now_ms */
	QUEUE_JOB_KIND_COUNT
};

enum queue_job_status {
	QUEUE_JOB_DONE,
	QUEUE_JOB_DOUBLE, /* the message id exists: 451 */
	QUEUE_JOB_FULL    /* no space; nothing was done */
};

enum queue_change_kind {
	QUEUE_CHANGE_DELETE,
	QUEUE_CHANGE_DEFER,
	QUEUE_CHANGE_POSTPONE
};

struct queue_change {
	uint64_t message_id; /* of POSTPONE; else the job's message */
	enum queue_change_kind kind;
	uint32_t number;
	int64_t next_ms;                         /* of POSTPONE */
	const struct queue_recipient *recipient; /* of DEFER */
};

/* An outbox row that was committed, on its way to the log. */
struct outbox_row {
	int64_t seq;
	struct ipc_list_writer events;
	struct outbox_row *next;
};

struct queue_job {
	struct pool_task task; /* task.done is the caller's */
	enum queue_job_kind kind;
	enum queue_job_status status;
	struct queue_message *message; /* holds a reference, or NULL */
	struct queue_message **dsns;   /* accepted with a RESULT; references */
	size_t dsn_count;
	struct queue_change *changes;
	size_t change_count;
	struct queue_attempt *attempt; /* RESULT: of the signer, or NULL */
	bool has_demand;               /* message has a row in protection */
	enum rcpt_state state_before;
	enum rcpt_state state;
	uint32_t
	    attempt_number; /* STATE: of one at the signer it ended, or 0 */
	int64_t next_ms;
	uint32_t events; /* message's, for its row; set by queue_job_event */
	int64_t outbox_seq;
	int64_t now_ms;
	struct ipc_list_writer life; /* life events of this step */
	bool is_finished; /* out: no recipient is left (to pull in) */
	bool is_void; /* out: one at the signer is not as he was: not done */
	struct outbox_row *rows; /* out: of the whole batch, at one job */
	void *arg;
};

struct queue_job *queue_job_new(enum queue_job_kind kind,
    struct queue_message *message, void (*done)(struct pool_task *task));
void queue_job_free(struct queue_job *job);
struct queue_job *queue_job_of(struct pool_task *task);

/* A notification to be accepted with the result; takes the reference. */
void queue_job_add_dsn(struct queue_job *job, struct queue_message *dsn);

/*
 * The number of a message's last event, which the writer's thread notes: it
 * alone knows in time that no recipient is left.
 */
#define QUEUE_EVENT_LAST UINT32_MAX

/* Notes a life event of the message in the job. */
void queue_job_event(struct queue_job *job, struct queue_message *message,
    uint64_t time_us, int event_type, const void *fields);

void outbox_row_free(struct outbox_row *row);

struct queue_writer;

/* Opens queue.db in the directory; a failure of it is told in err. */
int queue_writer_new(struct loop *loop, const char *state_dir,
    struct queue_writer **writer_r, struct err *err);
void queue_writer_submit(struct queue_writer *writer, struct queue_job *job);
/* Waits until all jobs are committed and reported. */
void queue_writer_finish(struct queue_writer *writer);

/*
 * To be called before the first job: how far the clock is from where the queue
 * saw it last, if that is too far to be believed; what is known of the past
 * has moved along.  0: it goes on.
 */
int queue_writer_meet_clock(struct queue_writer *writer, int64_t now_ms,
    int64_t *gap_ms_r, struct err *err);

/* The last outbox row found at the start; 0: none. */
int64_t queue_writer_first_outbox(const struct queue_writer *writer);

/* Commits and transactions so far, for status. */
struct queue_writer_counts {
	uint64_t commits;
	uint64_t jobs;
};
struct queue_writer_counts queue_writer_counts(
    const struct queue_writer *writer);

/* Finishes all jobs, then closes. */
void queue_writer_free(struct queue_writer *writer);

#endif
