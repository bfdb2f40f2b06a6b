/* SPDX-License-Identifier: ISC */
/*
 * postern-run: starts the programs with their sockets and users, restarts what
 * ends, stops all in order.  It speaks the protocol of a service manager
 * (LISTEN_FDS, NOTIFY_SOCKET), so the programs know one way to be started.
 * Trusts: its caller.  It parses nothing of what programs or clients send but
 * "READY=1".
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/loop.h"
#include "control/run.h"
#include "control/run_alert.h"

/* The first restart is immediate, the next waits this, then twice that... */
#define RESTART_MIN_MS 100
#define RESTART_MAX_MS 5000
/*
 * But one that had become ready waits no longer than this: what ended it may
 * be something that a stranger sends, and every pause would help him.
 */
#define RESTART_READY_MAX_MS 200
/* A program that lived so long is taken for healthy again. */
#define HEALTHY_MS 10000
/* So many ends in a row are a crash loop. */
#define LOOP_FAILURES 5
/* All programs answer within this time, or it is said which do not. */
#define READY_LIMIT_MS 30000
/* Exit codes of postern(1) that are used here as well. */
#define EXIT_AWAY 5
#define EXIT_CONFLICT 6
#define EXIT_PROBLEMS 7

/*
 * The order of the stop: who brings mail in first, who keeps it last.  A stage
 * may last until the given second after SIGTERM; then its programs are killed,
 * which loses nothing that was acknowledged.
 */
#define STAGE_COUNT 6
static const unsigned stage_until_s[STAGE_COUNT] = {10, 18, 22, 24, 26, 28};
static const unsigned char stage_of[ROLE_COUNT] = {
    [ROLE_BINDD] = 0,
    [ROLE_SMTPD] = 0,
    [ROLE_RELAYD] = 1,
    [ROLE_QUEUED] = 2,
    [ROLE_AUTHD] = 3,
    [ROLE_CHECKD] = 3,
    [ROLE_SIGNERD] = 3,
    [ROLE_LOGHUB] = 4,
    [ROLE_CONFD] = 5,
};

struct child {
	struct run *run;
	enum role role;
	bool is_wanted;
	pid_t pid; /* 0: not running */
	bool is_ready;
	bool was_ready;
	unsigned failures;   /* ends in a row, each before it was healthy */
	unsigned stillborn;  /* the latest of them, each before it was ready */
	struct event *timer; /* restart, or health */
};

struct run {
	struct instance instance;
	struct loop *loop;
	struct run_sockets sockets;
	struct run_alert *alerts;
	struct child children[ROLE_COUNT];
	char notify_path[108];
	int notify_fd;
	int lock_fd;
	struct event *signals[4];
	struct event *notified;
	struct event *input;
	struct event *ready_limit;
	struct event *stage_limit;
	uint64_t stop_began_ms;
	unsigned stage;
	bool is_managing;
	bool is_stopping;
	bool said_ready;
	int exit_code;
};

static void stop_stage(struct run *run);

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)fputs("postern-run: ", stderr);
	(void)vfprintf(stderr, format, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
}

/* ---- start and readiness ---- */

static void
start_child(struct child *child)
{
	struct run *run = child->run;
	const struct run_start start = {.instance = &run->instance,
	    .role = child->role,
	    .is_managing = run->is_managing,
	    .sockets = &run->sockets,
	    .notify_path = run->notify_path};
	struct err err;
	const pid_t pid = run_start(&start, &err);

	child->is_ready = false;
	if (pid == -1) {
		say("postern-%s: %s", role_name(child->role), err.text);
		loop_arm(child->timer, RESTART_MAX_MS);
		return;
	}
	child->pid = pid;
	loop_arm(child->timer, HEALTHY_MS);
}

static void
tell_readiness(struct run *run)
{
	for (int i = 0; i < ROLE_COUNT; i++)
		if (run->children[i].is_wanted && !run->children[i].was_ready)
			return;
	if (run->said_ready)
		return;
	run->said_ready = true;
	(void)event_del(run->ready_limit);
	(void)puts("ready");
	(void)fflush(stdout);
}

static void
on_ready_limit(evutil_socket_t fd, short what, void *arg)
{
	struct run *run = arg;

	(void)fd;
	(void)what;
	for (int i = 0; i < ROLE_COUNT; i++)
		if (run->children[i].is_wanted && !run->children[i].was_ready)
			say("postern-%s is not ready after %d s",
			    role_name((enum role)i), READY_LIMIT_MS / 1000);
}

static struct child *
child_by_pid(struct run *run, pid_t pid)
{
	for (int i = 0; i < ROLE_COUNT; i++)
		if (pid > 0 && run->children[i].pid == pid)
			return &run->children[i];
	return NULL;
}

static void
on_notified(evutil_socket_t fd, short what, void *arg)
{
	struct run *run = arg;
	char text[512];
	pid_t pid;
	ssize_t n;

	(void)what;
	while (
	    (n = run_notify_receive(fd, text, sizeof(text) - 1, &pid)) >= 0) {
		struct child *child = child_by_pid(run, pid);

		text[n] = '\0';
		if (child == NULL || strstr(text, "READY=1") == NULL)
			continue;
		child->is_ready = true;
		child->was_ready = true;
		tell_readiness(run);
	}
}

/* ---- ends ---- */

static void
describe_end(int status, char *text_r, size_t size)
{
	if (WIFSIGNALED(status))
		(void)snprintf(text_r, size, "was killed by signal %d (%s)",
		    WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		(void)snprintf(text_r, size, "ended with exit code %d",
		    WEXITSTATUS(status));
}

static void
plan_restart(struct child *child, bool was_ready, const char *end)
{
	const uint64_t most_ms =
	    was_ready ? RESTART_READY_MAX_MS : RESTART_MAX_MS;
	uint64_t wait_ms = 0;
	unsigned ends;

	child->failures++;
	child->stillborn = was_ready ? 0 : child->stillborn + 1;
	/* One bad start after many good ones is no reason for a long pause. */
	ends = was_ready ? child->failures : child->stillborn;
	for (unsigned i = 1; i < ends; i++)
		if (wait_ms < most_ms)
			wait_ms = wait_ms == 0 ? RESTART_MIN_MS : wait_ms * 2;
	if (wait_ms > most_ms)
		wait_ms = most_ms;
	say("postern-%s %s; it starts again%s", role_name(child->role), end,
	    wait_ms == 0 ? "" : " in a moment");
	if (child->failures == LOOP_FAILURES) {
		say("postern-%s has ended %u times in a row; see its own "
		    "words above",
		    role_name(child->role), child->failures);
		run_alert_raise(child->run->alerts, child->role, end);
	}
	if (wait_ms == 0)
		start_child(child);
	else
		loop_arm(child->timer, wait_ms);
}

static void
child_ended(struct child *child, int status)
{
	struct run *run = child->run;
	const bool was_ready = child->is_ready;
	char end[128];

	describe_end(status, end, sizeof(end));
	child->pid = 0;
	child->is_ready = false;
	(void)event_del(child->timer);
	if (run->is_stopping) {
		const bool is_asked =
		    WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM;

		if (status != 0 && !is_asked)
			say("postern-%s %s", role_name(child->role), end);
		stop_stage(run);
	} else if (run->is_managing) {
		/* Its own words stand on standard error; the command fails. */
		if (status != 0)
			say("postern-%s %s", role_name(child->role), end);
		run->exit_code = 1;
		run->is_stopping = true;
		run->stop_began_ms = clock_monotonic_ms();
		stop_stage(run);
	} else {
		plan_restart(child, was_ready, end);
	}
}

static void
on_child_timer(evutil_socket_t fd, short what, void *arg)
{
	struct child *child = arg;

	(void)fd;
	(void)what;
	if (child->run->is_stopping)
		return;
	if (child->pid == 0) {
		start_child(child);
		return;
	}
	if (child->failures >= LOOP_FAILURES)
		run_alert_clear(child->run->alerts, child->role);
	child->failures = 0;
}

/* Orphans of ended programs come to us as well: subreaper. */
static void
on_sigchld(evutil_socket_t number, short what, void *arg)
{
	struct run *run = arg;
	int status;
	pid_t pid;

	(void)number;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *child = child_by_pid(run, pid);

		if (child != NULL)
			child_ended(child, status);
	}
}

/* ---- stop ---- */

static bool
signal_stage(struct run *run, unsigned stage, int number)
{
	bool is_any = false;

	for (int i = 0; i < ROLE_COUNT; i++) {
		struct child *child = &run->children[i];

		if (child->pid == 0 || stage_of[i] != stage)
			continue;
		is_any = true;
		if (number == SIGKILL)
			(void)kill(-child->pid, SIGKILL);
		if (number != 0)
			(void)kill(child->pid, number);
	}
	return is_any;
}

/* Goes on to the next stage that has somebody to stop; then to the end. */
static void
stop_stage(struct run *run)
{
	uint64_t passed_ms;
	uint64_t until_ms;

	while (run->stage < STAGE_COUNT && !signal_stage(run, run->stage, 0)) {
		run->stage++;
		if (run->stage < STAGE_COUNT)
			(void)signal_stage(run, run->stage, SIGTERM);
	}
	if (run->stage == STAGE_COUNT) {
		loop_stop(run->loop);
		return;
	}
	passed_ms = clock_monotonic_ms() - run->stop_began_ms;
	until_ms = (uint64_t)stage_until_s[run->stage] * 1000;
	loop_arm(
	    run->stage_limit, until_ms > passed_ms ? until_ms - passed_ms : 1);
}

static void
on_stage_limit(evutil_socket_t fd, short what, void *arg)
{
	struct run *run = arg;

	(void)fd;
	(void)what;
	say("not everything was finished in time");
	(void)signal_stage(run, run->stage, SIGKILL);
}

static void
begin_stop(struct run *run)
{
	if (run->is_stopping) {
		/* Asked twice: at once. */
		for (unsigned stage = 0; stage < STAGE_COUNT; stage++)
			(void)signal_stage(run, stage, SIGKILL);
		return;
	}
	run->is_stopping = true;
	run->stop_began_ms = clock_monotonic_ms();
	for (int i = 0; i < ROLE_COUNT; i++)
		if (run->children[i].is_wanted)
			(void)event_del(run->children[i].timer);
	run_alert_stop(run->alerts);
	(void)signal_stage(run, 0, SIGTERM);
	stop_stage(run);
}

static void
on_terminate(evutil_socket_t number, short what, void *arg)
{
	(void)number;
	(void)what;
	begin_stop(arg);
}

static void
on_hangup(evutil_socket_t number, short what, void *arg)
{
	struct run *run = arg;

	(void)number;
	(void)what;
	for (unsigned stage = 0; stage < STAGE_COUNT; stage++)
		(void)signal_stage(run, stage, SIGHUP);
}

/* --manage lives as long as the command that started it. */
static void
on_input(evutil_socket_t fd, short what, void *arg)
{
	struct run *run = arg;
	char text[256];

	(void)what;
	if (read(fd, text, sizeof(text)) > 0)
		return;
	(void)event_del(run->input);
	begin_stop(run);
}

/* ---- set-up ---- */

static struct event *
watch(struct run *run, int fd, short what, event_callback_fn handle)
{
	struct event *event = event_new(
	    loop_base(run->loop), fd, (short)(what | EV_PERSIST), handle, run);

	if (event == NULL || event_add(event, NULL) == -1)
		fatal("out of memory for events");
	return event;
}

static void
set_up_events(struct run *run)
{
	struct event_base *base = loop_base(run->loop);

	run->signals[0] = watch(run, SIGCHLD, EV_SIGNAL, on_sigchld);
	run->signals[1] = watch(run, SIGTERM, EV_SIGNAL, on_terminate);
	run->signals[2] = watch(run, SIGINT, EV_SIGNAL, on_terminate);
	run->signals[3] = watch(run, SIGHUP, EV_SIGNAL, on_hangup);
	run->notified = watch(run, run->notify_fd, EV_READ, on_notified);
	if (run->is_managing)
		run->input = watch(run, STDIN_FILENO, EV_READ, on_input);
	run->ready_limit = event_new(base, -1, 0, on_ready_limit, run);
	run->stage_limit = event_new(base, -1, 0, on_stage_limit, run);
	if (run->ready_limit == NULL || run->stage_limit == NULL)
		fatal("out of memory for events");
	loop_arm(run->ready_limit, READY_LIMIT_MS);
}

static void
set_up_children(struct run *run)
{
	for (int i = 0; i < ROLE_COUNT; i++) {
		struct child *child = &run->children[i];

		child->run = run;
		child->role = (enum role)i;
		if (!child->is_wanted)
			continue;
		child->timer = event_new(
		    loop_base(run->loop), -1, 0, on_child_timer, child);
		if (child->timer == NULL)
			fatal("out of memory for events");
	}
	/* From the last of the table, confd, to the first. */
	for (int i = ROLE_COUNT; i-- > 0;)
		if (run->children[i].is_wanted)
			start_child(&run->children[i]);
}

static void
free_event(struct event *event)
{
	if (event != NULL)
		event_free(event);
}

static void
tear_down(struct run *run)
{
	for (size_t i = 0; i < sizeof(run->signals) / sizeof(run->signals[0]);
	     i++)
		free_event(run->signals[i]);
	for (int i = 0; i < ROLE_COUNT; i++)
		free_event(run->children[i].timer);
	free_event(run->notified);
	free_event(run->input);
	free_event(run->ready_limit);
	free_event(run->stage_limit);
	run_alert_stop(run->alerts);
	loop_free(run->loop);
	run_alert_free(run->alerts);
	run_sockets_close(&run->sockets);
	close_if_open(&run->notify_fd);
	(void)unlink(run->notify_path);
}

static int
supervise(struct run *run)
{
	bool is_wanted[ROLE_COUNT];
	struct err err;

	for (int i = 0; i < ROLE_COUNT; i++)
		is_wanted[i] = run->children[i].is_wanted;
	run_choose_users();
	if (run_make_folders(&run->instance, &err) == -1) {
		say("%s", err.text);
		return 1;
	}
	if (run_lock(&run->instance, &run->lock_fd, &err) == -1) {
		say("%s", err.text);
		return EXIT_CONFLICT;
	}
	if (run_sockets_open(&run->sockets, &run->instance, is_wanted,
		run->is_managing, &err) == -1 ||
	    (run->notify_fd = run_notify_open(
		 &run->instance, run->notify_path, &err)) == -1) {
		say("%s", err.text);
		tear_down(run);
		return 1;
	}
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1)
		fatal("PR_SET_CHILD_SUBREAPER: %s", strerror(errno));
	run->loop = loop_new();
	if (!run->is_managing)
		run->alerts = run_alert_new(run->loop, &run->instance);
	set_up_events(run);
	set_up_children(run);
	loop_run(run->loop);
	tear_down(run);
	return run->exit_code;
}

static void __attribute__((noreturn)) usage(int code)
{
	(void)fputs(
	    "usage: postern-run [--root DIR] [--check]\n"
	    "       postern-run [--root DIR] --manage PROGRAM,...\n"
	    "Runs every program of the gateway in the foreground and prints "
	    "\"ready\" when all\nanswer; see postern-run(8).\n",
	    code == 0 ? stdout : stderr);
	exit(code);
}

/* "confd,authd" */
static void
want_named(struct run *run, const char *names)
{
	struct slice rest = slice_of(names);

	while (rest.n > 0) {
		const size_t end = slice_find(rest, ',', 0);
		const size_t used = end < rest.n ? end + 1 : end;
		char name[32];
		enum role role = ROLE_NONE;

		if (slice_copy(
			(struct slice){rest.p, end}, name, sizeof(name)) == 0)
			role = role_by_name(name);
		if (role == ROLE_NONE || !role_is_daemon(role)) {
			say("no program is named \"%.*s\"",
			    (int)(end > 32 ? 32 : end), rest.p);
			exit(2);
		}
		run->children[role].is_wanted = true;
		rest = (struct slice){rest.p + used, rest.n - used};
	}
	run->children[ROLE_CONFD].is_wanted = true;
}

static void
need_named(const struct run *run)
{
	for (int i = 0; i < ROLE_COUNT; i++) {
		if (!run->children[i].is_wanted ||
		    run_is_installed(&run->instance, (enum role)i))
			continue;
		say("postern-%s is not in %s", role_name((enum role)i),
		    run->instance.program_dir);
		exit(EXIT_AWAY);
	}
}

static void
want_all(struct run *run)
{
	for (int i = 0; i < ROLE_COUNT; i++) {
		if (!role_is_daemon((enum role)i))
			continue;
		if (run_is_installed(&run->instance, (enum role)i))
			run->children[i].is_wanted = true;
		else
			say("postern-%s is not in %s: going on without it",
			    role_name((enum role)i), run->instance.program_dir);
	}
}

int
main(int argc, char **argv)
{
	struct run run = {.notify_fd = -1, .lock_fd = -1};
	const char *root = NULL;
	bool is_check = false;
	struct err err;
	int code;

	run_standard_fds();
	(void)umask(077);
	(void)signal(SIGPIPE, SIG_IGN);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--root") == 0 && i + 1 < argc) {
			root = argv[++i];
		} else if (strcmp(argv[i], "--manage") == 0 && i + 1 < argc) {
			run.is_managing = true;
			want_named(&run, argv[++i]);
		} else if (strcmp(argv[i], "--check") == 0) {
			is_check = true;
		} else if (strcmp(argv[i], "--version") == 0) {
			(void)puts("postern-run " PACKAGE_VERSION);
			return 0;
		} else {
			usage(strcmp(argv[i], "--help") == 0 ? 0 : 2);
		}
	}
	if (instance_init(&run.instance, root, &err) == -1)
		fatal("%s", err.text);
	if (is_check) {
		code =
		    run_check(&run.instance, stdout) == 0 ? 0 : EXIT_PROBLEMS;
	} else {
		if (!run.is_managing)
			want_all(&run);
		else
			need_named(&run);
		if (!run.children[ROLE_CONFD].is_wanted)
			fatal("nothing to run: no postern-confd in %s",
			    run.instance.program_dir);
		code = supervise(&run);
	}
	instance_clear(&run.instance);
	return code;
}
