/* SPDX-License-Identifier: ISC */
/*
 * A worker process: one task at a time, by the function of its op.  Before the
 * first task it takes all rights away but to read its class's key files.
 * Runs in: postern-signerd, worker roles.  Trusts: the broker for who asks and
 * which keys are meant; nothing of a message.
 */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/log.h"
#include "signer/dkim.h"
#include "signer/keyring.h"
#include "signer/pgp_worker.h"
#include "signer/pools.h"
#include "signer/short_turns.h"
#include "signer/smime_cert.h"
#include "signer/smime_memo.h"
#include "signer/work.h"
#include "signer/worker.h"

#define FOLDER_SIZE 513
/* A twentieth of a processor that others want as well, all of an idle one. */
#define GPG_NICE 13
/* Answers of short tasks leave together, but none waits for longer. */
#define HELD_MS 1
/* Memory of a message is not mapped anew for each, nor given back at once. */
#define MMAP_THRESHOLD (1024 * 1024)
#define TRIM_THRESHOLD (8 * 1024 * 1024)

struct signer_worker {
	struct loop *loop;
	struct channel *broker;
	enum pool_class class;
	struct worker_context context;
	char folder[FOLDER_SIZE];
	char token_module[FOLDER_SIZE]; /* PKCS #11; "": none */
	char token_folder[FOLDER_SIZE];
	char scratch[FOLDER_SIZE]; /* "": its class runs no gpg */
	int scratch_lock;
	bool is_ready;          /* has its secret and is confined */
	uint64_t held_since_ms; /* the first answer that was not sent yet */
};

static work_fn *const functions[WORK_OP_COUNT] = {
    [WORK_PROTECT] = work_protect,
    [WORK_PGP_PROTECT] = work_pgp_protect,
    [WORK_OPEN] = work_open,
    [WORK_PGP_OPEN] = work_pgp_open,
    [WORK_KEY] = work_key,
};

/* ---- the secret ---- */

static bool runs_gpg(enum pool_class class)
{
	return class == POOL_PGP_SIGN || class == POOL_PGP_OPEN ||
	       class == POOL_KEY;
}

/*
 * Beside the folder of all classes' keys.  GnuPG's homes are made in a folder
 * of this process, to which it is confined: one that hostile mail took over
 * finds nothing there of one that signs, nor of another's mail.  The folder is
 * removed by a later worker.
 */
static int
find_scratch(struct signer_worker *worker, struct err *err)
{
	char path[FOLDER_SIZE + 16];
	char real[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/../../scratch", worker->folder);
	if ((mkdir(path, 0700) == -1 && errno != EEXIST) ||
	    realpath(path, real) == NULL)
		return err_set(err, "no folder for GnuPG: %s", strerror(errno));
	worker->scratch_lock = pgp_home_scratch(
	    real, worker->scratch, sizeof(worker->scratch), err);
	worker->context.scratch_dir = worker->scratch;
	return worker->scratch_lock == -1 ? -1 : 0;
}

/*
 * A PKCS #11 module takes part in the work: it is loaded before, and may use
 * its own folder.  A module that talks to a daemon finds its socket closed.
 * The folder of the class has anchors and lists that no worker may write.
 */
static int
confine_with_token(struct signer_worker *worker, struct err *err)
{
	struct confinement confinement = {
	    .rights = CONFINE_FILES_READ | CONFINE_MEMORY_FILES,
	    .read_dirs = {worker->folder}};

	if (keyring_prepare_pkcs11(worker->token_module, err) == -1)
		/* Keys that are in files work all the same. */
		log_notice("%s", err->text);
	else if (worker->token_folder[0] != '\0') {
		confinement.rights |= CONFINE_FILES_WRITE;
		return confine(&confinement, worker->token_folder, err);
	}
	return confine(&confinement, worker->folder, err);
}

/*
 * gpg is started for each task and would take a processor from DKIM, which
 * takes a hundredth of the time, at each of its starts.  Our own start is over:
 * on a machine that has much to do it would not be done in time.
 */
static void
step_back(void)
{
	const struct sched_param none = {0};

	(void)sched_setscheduler(0, SCHED_BATCH, &none);
	(void)setpriority(PRIO_PROCESS, 0, GPG_NICE);
}

static int
confine_class(struct signer_worker *worker, struct err *err)
{
	struct confinement confinement = {
	    .rights = CONFINE_FILES_READ | CONFINE_MEMORY_FILES};

	if (worker->token_module[0] != '\0')
		return confine_with_token(worker, err);
	if (!runs_gpg(worker->class))
		return confine(&confinement, worker->folder, err);
	if (find_scratch(worker, err) == -1)
		return -1;
	/* While more may be read: GPGME asks gpgconf where gpg is. */
	if (pgp_start(err) == -1)
		return -1;
	step_back();
	confinement.rights |= CONFINE_FILES_WRITE | CONFINE_RUN;
	confinement.read_dirs[0] = worker->folder;
	return confine(&confinement, worker->scratch, err);
}

static int
on_secret(struct channel *channel, const struct channel_frame *frame)
{
	struct signer_worker *worker = channel_owner(channel);
	const struct ipc_worker_secret *secret = &frame->message->worker_secret;
	const struct ipc_worker_ready ready = {.pid = (uint32_t)getpid()};
	struct wrap_key key;
	struct err err;

	if (worker->is_ready || secret->wrapping_key.n != sizeof(key.octets) ||
	    slice_copy(
		secret->folder, worker->folder, sizeof(worker->folder)) == -1 ||
	    slice_copy(secret->pkcs11_module, worker->token_module,
		sizeof(worker->token_module)) == -1 ||
	    slice_copy(secret->pkcs11_folder, worker->token_folder,
		sizeof(worker->token_folder)) == -1)
		return -1;
	memcpy(key.octets, secret->wrapping_key.p, sizeof(key.octets));
	worker->context.keyring = keyring_new(worker->folder, &key);
	explicit_bzero(&key, sizeof(key));
	if (confine_class(worker, &err) == -1)
		fatal("%s", err.text);
	worker->is_ready = true;
	return channel_send(channel, MSG_WORKER_READY, &ready, NULL);
}

/* ---- tasks ---- */

/* The fields that WORKED and WORKED_FILE share. */
static void
fill_worked(struct ipc_worked *message, uint64_t task_id,
    const struct work_answer *answer)
{
	struct rusage usage;

	*message = (struct ipc_worked){.task_id = task_id,
	    .outcome = (uint16_t)answer->outcome,
	    .applied = (uint16_t)answer->applied,
	    .method = slice_of(answer->method),
	    .enhanced = slice_of(answer->enhanced),
	    .reason = slice_of(answer->reason),
	    .facts = ipc_list_of(&answer->facts),
	    .harvested = ipc_list_of(&answer->harvested)};
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		message->memory_kb = (uint32_t)usage.ru_maxrss;
}

static int
send_in_file(struct channel *channel, const struct ipc_worked *worked,
    const struct content *output)
{
	struct ipc_worked_file message = {.task_id = worked->task_id,
	    .memory_kb = worked->memory_kb,
	    .outcome = worked->outcome,
	    .applied = worked->applied,
	    .method = worked->method,
	    .enhanced = worked->enhanced,
	    .reason = worked->reason,
	    .facts = worked->facts,
	    .harvested = worked->harvested,
	    .size_octets = output->size};

	return channel_send(channel, MSG_WORKED_FILE, &message, &output->fd);
}

static int
send_answer(
    struct channel *channel, uint64_t task_id, struct work_answer *answer)
{
	struct content output = content_of((struct slice){NULL, 0});
	struct ipc_worked message;
	int rc;

	if ((answer->outcome == SIGNED_DONE ||
		answer->outcome == SIGNED_HOLD) &&
	    content_writer_finish(&answer->output, &output) == -1)
		work_refuse(answer, SIGNED_TEMPORARY, "4.3.0", "%s",
		    answer->output.err.text);
	fill_worked(&message, task_id, answer);
	if (output.fd != -1) {
		rc = send_in_file(channel, &message, &output);
	} else {
		message.content = output.memory;
		message.is_prefix = answer->is_prefix;
		rc = channel_send(channel, MSG_WORKED, &message, NULL);
	}
	if (rc == -1)
		log_notice("an answer to the broker breaks its row");
	return rc;
}

/*
 * The broker gets an answer now, since the task that waits behind may take
 * long.  Those of short tasks leave together, as it is woken once for all of
 * them: at the end of the turn at the latest, and before a task that is not
 * short.
 */
static void
flush_answers(struct signer_worker *worker, bool is_short)
{
	uint64_t now_ms = clock_monotonic_ms();

	if (channel_output_pending(worker->broker) == 0)
		worker->held_since_ms = now_ms;
	if (!is_short || now_ms - worker->held_since_ms >= HELD_MS)
		channel_flush(worker->broker);
}

static int
run_task(struct channel *channel, uint64_t task_id, const struct work *work,
    int output_fd, bool is_short)
{
	struct signer_worker *worker = channel_owner(channel);
	struct work_answer answer;
	int rc;

	if (!worker->is_ready || work->op >= WORK_OP_COUNT ||
	    pool_class_of(work->op) != worker->class)
		return -1;
	flush_answers(worker, is_short);
	work_answer_init(&answer, output_fd, work->output_limit);
	if (functions[work->op] != NULL)
		functions[work->op](&worker->context, work, &answer);
	else
		work_refuse(&answer, SIGNED_TEMPORARY, "4.3.0",
		    "this build has no such task");
	rc = send_answer(channel, task_id, &answer);
	flush_answers(worker, is_short);
	/* A gpg that was killed may leave a home in which no other works. */
	if (answer.outcome == SIGNED_TEMPORARY)
		pgp_worker_spoiled(&worker->context);
	work_answer_clear(&answer);
	return rc;
}

#define WORK_OF(message)                                                    \
	{                                                                   \
		.op = (enum work_op)(message)->op,                          \
		.options = (message)->options, .sender = (message)->sender, \
		.recipient = (message)->recipient,                          \
		.authserv_id = (message)->authserv_id,                      \
		.now_s = (message)->now_s,                                  \
		.output_limit = (message)->output_limit,                    \
		.removals = (message)->removals, .facts = (message)->facts, \
		.keys = (message)->keys                                     \
	}

static int
on_work(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_work *message = &frame->message->work;
	struct work work = WORK_OF(message);

	work.content = content_of(message->content);
	return run_task(
	    channel, message->task_id, &work, -1, message->is_short);
}

static int
on_work_file(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_work_file *message = &frame->message->work_file;
	struct work work = WORK_OF(message);
	struct err err;

	if (content_of_file(frame->fds[0], &work.content, &err) == -1) {
		log_notice("%s", err.text);
		return -1;
	}
	return run_task(channel, message->task_id, &work, frame->fds[1], false);
}

static const struct channel_handler handlers[] = {
    {ROLE_SIGNERD, MSG_WORKER_SECRET, on_secret},
    {ROLE_SIGNERD, MSG_WORK, on_work},
    {ROLE_SIGNERD, MSG_WORK_FILE, on_work_file}, {ROLE_NONE, MSG_HELLO, NULL}};

/* ---- the process ---- */

static void
on_broker_gone(struct channel *channel, const char *reason)
{
	struct signer_worker *worker = channel_owner(channel);

	(void)reason;
	loop_stop(worker->loop);
}

static int
serve(enum pool_class class, int channel_fd)
{
	struct signer_worker worker = {
	    .class = class, .loop = loop_new(), .scratch_lock = -1};
	struct channel_config config = {.loop = worker.loop,
	    .self = ROLE_WORKER,
	    .peer = ROLE_SIGNERD,
	    .handlers = handlers,
	    .owner = &worker,
	    .closed = on_broker_gone};

	/* The broker says when to stop. */
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	if (class == POOL_SIGN)
		short_turns();
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
	(void)mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
	tzset(); /* reads its file now or never */
	worker.broker = channel_new(&config, channel_fd);
	loop_run(worker.loop);
	pgp_worker_free(worker.context.pgp);
	smime_certs_free(worker.context.certs);
	smime_memo_free(worker.context.memo);
	dkim_free(worker.context.dkim);
	keyring_free(worker.context.keyring);
	close_if_open(&worker.scratch_lock);
	loop_free(worker.loop);
	return 0;
}

static int
serve_sign(int fd)
{
	return serve(POOL_SIGN, fd);
}

static int
serve_open(int fd)
{
	return serve(POOL_OPEN, fd);
}

static int
serve_pgp_sign(int fd)
{
	return serve(POOL_PGP_SIGN, fd);
}

static int
serve_pgp_open(int fd)
{
	return serve(POOL_PGP_OPEN, fd);
}

static int
serve_key(int fd)
{
	return serve(POOL_KEY, fd);
}

const struct worker_program signer_worker_programs[] = {
    [POOL_SIGN] = {"sign", serve_sign},
    [POOL_OPEN] = {"open", serve_open},
    [POOL_PGP_SIGN] = {"pgp-sign", serve_pgp_sign},
    [POOL_PGP_OPEN] = {"pgp-open", serve_pgp_open},
    [POOL_KEY] = {"key", serve_key},
    [POOL_CLASS_COUNT] = {NULL, NULL},
};
