/* SPDX-License-Identifier: ISC */
/*
 * The worker processes, by class, and the tasks that wait for them.
 *
 * Each class has its own bounded queue, so slow OpenPGP never stands before
 * DKIM.  A worker does one task at a time and has at most one more waiting in
 * its socket, so that it never idles while there is work.  Of short tasks (DKIM
 * alone) it has some more and answers them together, so that processes are
 * woken once for several.  One large task at a time runs in a class; the small
 * ones pass it by.
 *
 *	class     processes  tasks        may
 *	sign      processors PROTECT      read its keys
 *	open      processors OPEN         read its keys; reads hostile CMS
 *	pgp-sign  processors PGP_PROTECT  read its keys, run gpg
 *	pgp-open  processors PGP_OPEN     the same; reads hostile OpenPGP
 *	key       2          KEY          run gpg; ends after one task
 *
 * Workers start when there is work for them and end when they had none for
 * long, after many tasks, or when they grew.  One that dies, is late with its
 * start or with its task is killed and replaced with back-off; its task is
 * answered SIGNED_TEMPORARY, and the one that waited behind goes to another
 * worker.  Which one of several short tasks it was is not known: those go to
 * another worker, no longer as short ones, and then it is.  When none of a
 * class comes up, all that waits for it is answered SIGNED_TEMPORARY.
 */
#ifndef SIGNER_POOLS_H
#define SIGNER_POOLS_H

#include "common/channel.h"
#include "common/daemon.h"

struct signerd;

enum pool_class {
	POOL_SIGN,
	POOL_OPEN,
	POOL_PGP_SIGN,
	POOL_PGP_OPEN,
	POOL_KEY,
	POOL_CLASS_COUNT
};

/* "sign", "open", "pgp-sign", ...: worker_program, folder, keyring class. */
const char *pool_class_name(enum pool_class class);
/* The class that serves that op. */
enum pool_class pool_class_of(enum work_op op);

/* What a worker said; slices are good until done() returns. */
struct task_result {
	enum sign_outcome outcome;
	unsigned applied; /* a set of enum protect_applied */
	struct slice method;
	struct slice enhanced;
	struct slice reason;
	struct ipc_list facts;     /* of fact */
	struct ipc_list harvested; /* of harvest */
	struct slice content;      /* when fd is -1 */
	bool is_prefix; /* content goes before what the task was given */
	int fd;         /* taken by setting it to -1 */
	uint64_t size_octets;
};

struct task;
struct pools;

/* Called once, from the loop, unless the task was cancelled. */
typedef void task_done_fn(struct task *task, struct task_result *result);

/*
 * Embedded in its owner, who keeps it and all that its message points to until
 * done() was called or pools_cancel() returned.
 */
struct task {
	enum pool_class class;
	struct ipc_work message; /* task_id, is_short: pools set it */
	int fd;                  /* the content; -1: message.content */
	unsigned extra_ms;       /* beside the time that any task has */
	bool is_short;           /* DKIM alone: about a millisecond */
	task_done_fn *done;
	void *owner;
	/* Of the pools: */
	struct task *next;
	struct pool_worker *worker; /* that it was sent to */
	uint64_t queued_ms;
	unsigned tries;
	bool is_queued;
};

struct pools *pools_new(struct signerd *signerd, unsigned processors);

/*
 * -1: its queue is full, or there is no room for its output; then done() is
 * not called.  A content in a file gets an output file of its own.
 */
int pools_submit(struct pools *pools, struct task *task, struct err *err);
void pools_cancel(struct pools *pools, struct task *task);

/* From the daemon's hooks, for channels with ROLE_WORKER. */
void pools_worker_up(struct pools *pools, struct channel *channel);
void pools_worker_closed(struct pools *pools, struct channel *channel);
int pools_on_ready(struct channel *channel, const struct channel_frame *frame);
int pools_on_worked(struct channel *channel, const struct channel_frame *frame);
int pools_on_worked_file(
    struct channel *channel, const struct channel_frame *frame);

/*
 * Deadlines of starts and tasks, idle workers; a few times a second.  now_ms is
 * of clock_monotonic_ms().
 */
void pools_tick(struct pools *pools, uint64_t now_ms);

/* No new tasks; workers end when they are idle. */
void pools_stop(struct pools *pools);
bool pools_are_idle(const struct pools *pools);

void pools_status(const struct pools *pools, struct status_writer *status);

#endif
