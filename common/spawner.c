/* SPDX-License-Identifier: ISC */
/*
 * Both sides of the spawner: the little process that forks and execs workers,
 * and the program's end of the channel to it.
 * Runs in: programs with workers.  Trusts: the parent program, which it ends
 * with.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/spawner.h"

/* A worker finds its channel at this descriptor. */
#define WORKER_FD 3

/* ---- the spawner's own process ---- */

struct nest {
	const char *binary;
	struct loop *loop;
	struct channel *parent;
	pid_t *workers; /* that were not waited for yet */
	size_t worker_count;
};

/* What a worker may know of our environment. */
static const char *const kept_variables[] = {"PATH", "TZ", "POSTERN_UID_BASE",
    "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", NULL};

static void
clean_environment(char *environment_r[8], char room[8][512])
{
	size_t n = 0;

	for (size_t i = 0; kept_variables[i] != NULL; i++) {
		const char *value = getenv(kept_variables[i]);

		if (value == NULL)
			continue;
		(void)snprintf(room[n], sizeof(room[n]), "%s=%s",
		    kept_variables[i], value);
		environment_r[n] = room[n];
		n++;
	}
	environment_r[n] = NULL;
}

static _Noreturn void
become_worker(const char *binary, char *name, int fd)
{
	char *arguments[] = {program_invocation_name,
	    (char *)(uintptr_t) "--worker", name, NULL};
	char room[8][512];
	char *environment[8];
	sigset_t none;

	if (fd != WORKER_FD && dup2(fd, WORKER_FD) == -1)
		fatal("dup2: %s", strerror(errno));
	(void)fcntl(WORKER_FD, F_SETFD, 0);
	(void)close_range(WORKER_FD + 1, ~0u, 0);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* What it starts can be ended with it. */
	(void)setpgid(0, 0);
	clean_environment(environment, room);
	(void)execve(binary, arguments, environment);
	fatal("exec %s: %s", binary, strerror(errno));
}

static void
remember(struct nest *nest, pid_t pid)
{
	nest->workers = xrealloc(
	    nest->workers, (nest->worker_count + 1) * sizeof(*nest->workers));
	nest->workers[nest->worker_count++] = pid;
}

static pid_t *
find_worker(struct nest *nest, pid_t pid)
{
	for (size_t i = 0; i < nest->worker_count; i++)
		if (nest->workers[i] == pid)
			return &nest->workers[i];
	return NULL;
}

static int
on_spawn(struct channel *channel, const struct channel_frame *frame)
{
	struct nest *nest = channel_owner(channel);
	struct ipc_spawned answer = {0};
	char name[33];
	pid_t pid;

	if (slice_copy(frame->message->spawn.worker, name, sizeof(name)) == -1)
		return -1;
	pid = fork();
	if (pid == 0)
		become_worker(nest->binary, name, frame->fds[0]);
	if (pid > 0)
		remember(nest, pid);
	answer.pid = pid == -1 ? 0 : (uint32_t)pid;
	return channel_answer(channel, frame->request_id, MSG_SPAWNED, &answer);
}

/*
 * A pid that was not waited for is nobody else's.  A worker that has not come
 * to be the leader of its group yet has started nothing.
 */
static int
on_kill(struct channel *channel, const struct channel_frame *frame)
{
	struct nest *nest = channel_owner(channel);
	pid_t pid = (pid_t)frame->message->worker_kill.pid;

	if (find_worker(nest, pid) != NULL) {
		(void)kill(-pid, SIGKILL);
		(void)kill(pid, SIGKILL);
	}
	return 0;
}

static void
on_child(evutil_socket_t signal_number, short what, void *arg)
{
	struct nest *nest = arg;
	int status;
	pid_t pid;

	(void)signal_number;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct ipc_worker_exited exited = {
		    .pid = (uint32_t)pid, .wait_status = (uint32_t)status};
		pid_t *worker = find_worker(nest, pid);

		if (worker == NULL)
			continue;
		*worker = nest->workers[--nest->worker_count];
		(void)channel_send(
		    nest->parent, MSG_WORKER_EXITED, &exited, NULL);
	}
}

static void
on_parent_gone(struct channel *channel, const char *reason)
{
	(void)channel;
	(void)reason;
	_exit(0);
}

static _Noreturn void
nest_main(enum role role, const char *binary, int fd)
{
	const struct channel_handler handlers[] = {{role, MSG_SPAWN, on_spawn},
	    {role, MSG_WORKER_KILL, on_kill}, {ROLE_NONE, MSG_HELLO, NULL}};
	/* Its filter is inherited: the signer's workers run gpg. */
	const unsigned run = role == ROLE_SIGNERD ? CONFINE_RUN : 0;
	const struct confinement confinement = {.rights = CONFINE_SPAWN | run};
	struct nest nest = {.binary = binary, .loop = loop_new()};
	struct channel_config config = {.loop = nest.loop,
	    .self = ROLE_SPAWNER,
	    .peer = role,
	    .handlers = handlers,
	    .owner = &nest,
	    .closed = on_parent_gone};
	struct event *child;
	struct err err;

	(void)signal(SIGTERM, SIG_IGN); /* ends with the program */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)prctl(PR_SET_NAME, "postern-spawner");
	if (confine(&confinement, NULL, &err) == -1)
		fatal("spawner: %s", err.text);
	nest.parent = channel_new(&config, fd);
	child = evsignal_new(loop_base(nest.loop), SIGCHLD, on_child, &nest);
	if (child == NULL || event_add(child, NULL) == -1)
		fatal("no signal events");
	loop_run(nest.loop);
	_exit(0);
}

int
spawner_start(enum role role, const char *binary, struct err *err)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
		return err_set(err, "socketpair: %s", strerror(errno));
	if ((pid = fork()) == -1) {
		(void)close(pair[0]);
		(void)close(pair[1]);
		return err_set(err, "fork: %s", strerror(errno));
	}
	if (pid == 0) {
		/* Nothing of the program's descriptors stays with it. */
		if (dup2(pair[1], WORKER_FD) == -1)
			fatal("dup2: %s", strerror(errno));
		(void)close_range(WORKER_FD + 1, ~0u, 0);
		(void)fcntl(WORKER_FD, F_SETFD, FD_CLOEXEC);
		nest_main(role, binary, WORKER_FD);
	}
	(void)close(pair[1]);
	return pair[0];
}

/* ---- the program's end ---- */

/* A worker, from the request for it to its exit. */
struct spawned {
	struct spawner *spawner;
	struct spawned *next;          /* an older one */
	const struct channel *channel; /* NULL: retired or killed */
	pid_t pid;                     /* 0: not known yet */
	bool is_unwanted;              /* killed before it had a pid */
	struct event *overdue;         /* of spawner_retire(); or NULL */
};

struct spawner {
	struct loop *loop;
	struct channel *channel;
	struct spawned *workers; /* the newest first */
};

static void
drop_timer(struct spawned *spawned)
{
	if (spawned->overdue != NULL)
		event_free(spawned->overdue);
	spawned->overdue = NULL;
}

static void
forget_worker(struct spawner *spawner, const struct spawned *spawned, pid_t pid)
{
	struct spawned **at = &spawner->workers;

	while (*at != NULL && *at != spawned && (pid == 0 || (*at)->pid != pid))
		at = &(*at)->next;
	if (*at != NULL) {
		struct spawned *gone = *at;

		*at = gone->next;
		drop_timer(gone);
		free(gone);
	}
}

static void
send_kill(struct spawner *spawner, pid_t pid)
{
	struct ipc_worker_kill message = {.pid = (uint32_t)pid};

	(void)channel_send(spawner->channel, MSG_WORKER_KILL, &message, NULL);
}

static int
on_worker_exited(struct channel *channel, const struct channel_frame *frame)
{
	int status = (int)frame->message->worker_exited.wait_status;

	forget_worker(channel_owner(channel), NULL,
	    (pid_t)frame->message->worker_exited.pid);
	/* The worker's channel told the program already; say how it ended. */
	if (WIFSIGNALED(status))
		log_notice("worker %u was ended by signal %d",
		    frame->message->worker_exited.pid, WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		log_notice("worker %u exited with code %d",
		    frame->message->worker_exited.pid, WEXITSTATUS(status));
	return 0;
}

/* Without its spawner a program cannot replace a worker: start afresh. */
static void
on_spawner_gone(struct channel *channel, const char *reason)
{
	(void)channel;
	fatal("the spawner is gone: %s", reason);
}

static const struct channel_handler spawner_handlers[] = {
    {ROLE_SPAWNER, MSG_WORKER_EXITED, on_worker_exited},
    {ROLE_NONE, MSG_HELLO, NULL}};

struct spawner *
spawner_new(struct loop *loop, enum role role, int fd)
{
	struct spawner *spawner = xcalloc(1, sizeof(*spawner));
	struct channel_config config = {.loop = loop,
	    .self = role,
	    .peer = ROLE_SPAWNER,
	    .handlers = spawner_handlers,
	    .owner = spawner,
	    .closed = on_spawner_gone};

	spawner->loop = loop;
	spawner->channel = channel_new(&config, fd);
	return spawner;
}

void
spawner_free(struct spawner *spawner)
{
	if (spawner == NULL)
		return;
	channel_close(spawner->channel);
	while (spawner->workers != NULL) {
		struct spawned *worker = spawner->workers;

		spawner->workers = worker->next;
		worker->spawner = NULL;
		drop_timer(worker);
		if (worker->pid != 0)
			free(worker);
	}
	free(spawner);
}

/* A failed fork shows as the worker's channel closing at once. */
static void
on_spawned(void *arg, const struct channel_frame *frame)
{
	struct spawned *spawned = arg;

	if (spawned->spawner == NULL) {
		free(spawned); /* it waited for this answer alone */
		return;
	}
	if (frame == NULL || frame->message->spawned.pid == 0) {
		if (frame != NULL)
			log_notice("a worker could not be forked");
		forget_worker(spawned->spawner, spawned, 0);
		return;
	}
	spawned->pid = (pid_t)frame->message->spawned.pid;
	if (spawned->is_unwanted)
		send_kill(spawned->spawner, spawned->pid);
}

static struct spawned *
find_spawned(struct spawner *spawner, const struct channel *channel)
{
	struct spawned *at = spawner->workers;

	while (at != NULL && at->channel != channel)
		at = at->next;
	return at;
}

static void
end_now(struct spawned *spawned)
{
	spawned->channel = NULL;
	spawned->is_unwanted = true;
	if (spawned->pid != 0)
		send_kill(spawned->spawner, spawned->pid);
}

void
spawner_kill(struct spawner *spawner, const struct channel *channel)
{
	struct spawned *spawned = find_spawned(spawner, channel);

	if (spawned != NULL)
		end_now(spawned);
}

static void
on_overdue(evutil_socket_t fd, short what, void *arg)
{
	struct spawned *spawned = arg;

	(void)fd;
	(void)what;
	log_notice("worker %d did not end by itself", (int)spawned->pid);
	end_now(spawned);
}

void
spawner_retire(
    struct spawner *spawner, const struct channel *channel, uint32_t within_ms)
{
	struct spawned *spawned = find_spawned(spawner, channel);

	if (spawned == NULL)
		return;
	spawned->channel = NULL;
	spawned->overdue =
	    event_new(loop_base(spawner->loop), -1, 0, on_overdue, spawned);
	if (spawned->overdue == NULL)
		fatal("out of memory for a timer");
	loop_arm(spawned->overdue, within_ms);
}

/* A fork and an exec; the machine may be busy. */
#define SPAWN_DEADLINE_MS 10000

struct channel *
spawner_spawn(struct spawner *spawner, const char *worker,
    const struct channel_config *config)
{
	struct ipc_spawn spawn = {.worker = slice_of(worker)};
	struct channel_config own = *config;
	struct channel *channel = NULL;
	struct spawned *spawned;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
		return NULL;
	own.loop = spawner->loop;
	own.peer = ROLE_WORKER;
	spawned = xcalloc(1, sizeof(*spawned));
	spawned->spawner = spawner;
	if (channel_request(spawner->channel, MSG_SPAWN, &spawn, &pair[1],
		MSG_SPAWNED, SPAWN_DEADLINE_MS, on_spawned, spawned) != 0) {
		channel = channel_new(&own, pair[0]);
		spawned->channel = channel;
		spawned->next = spawner->workers;
		spawner->workers = spawned;
	} else {
		free(spawned);
		(void)close(pair[0]);
	}
	(void)close(pair[1]);
	return channel;
}
