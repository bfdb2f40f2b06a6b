/* SPDX-License-Identifier: ISC */
/*
 * Starts one program: its sockets from descriptor 3 on, its own user, nothing
 * else of ours.
 * Runs in: postern-run, and for a moment in its child.  Trusts: the tables.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/buf.h"
#include "control/run.h"

/* LISTEN_FDS counts from here (sd_listen_fds(3)). */
#define FIRST_FD 3
/* Enough for smtp.max_connections at its largest, in one worker. */
#define DESCRIPTORS_WANTED 131072

bool
run_is_installed(const struct instance *instance, enum role role)
{
	char path[INSTANCE_PATH_MAX];

	instance_program(instance, role, path);
	return access(path, X_OK) == 0;
}

static void
raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		return;
	if (limit.rlim_max < DESCRIPTORS_WANTED && geteuid() == 0)
		limit.rlim_max = DESCRIPTORS_WANTED;
	limit.rlim_cur = limit.rlim_max < DESCRIPTORS_WANTED
			     ? limit.rlim_max
			     : DESCRIPTORS_WANTED;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- in the child: fatal() ends it ---- */

/* Capabilities that a later exec could still gain. */
static void
drop_bounding_set(const struct run_identity *identity)
{
	for (unsigned long cap = 0; cap <= CAP_LAST_CAP; cap++) {
		if (identity->may_bind && cap == CAP_NET_BIND_SERVICE)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == -1 &&
		    errno != EINVAL)
			fatal("drop capability %lu: %s", cap, strerror(errno));
	}
}

static void
keep_bind_capability(void)
{
	struct __user_cap_header_struct header = {
	    .version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}, {0}};

	data[0].permitted = 1u << CAP_NET_BIND_SERVICE;
	data[0].effective = data[0].permitted;
	data[0].inheritable = data[0].permitted;
	if (syscall(SYS_capset, &header, data) == -1 ||
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0,
		0) == -1)
		fatal("keep CAP_NET_BIND_SERVICE: %s", strerror(errno));
}

/* The order matters: groups while still root, the user last; then proof. */
static void
become(const struct run_identity *identity)
{
	uid_t uid[3];
	gid_t gid[3];

	if (!identity->is_changed)
		return;
	drop_bounding_set(identity);
	if (identity->may_bind && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == -1)
		fatal("PR_SET_KEEPCAPS: %s", strerror(errno));
	if (setgroups(0, NULL) == -1 ||
	    setresgid(identity->gid, identity->gid, identity->gid) == -1 ||
	    setresuid(identity->uid, identity->uid, identity->uid) == -1)
		fatal("become user %u: %s", (unsigned)identity->uid,
		    strerror(errno));
	if (getresuid(&uid[0], &uid[1], &uid[2]) == -1 ||
	    getresgid(&gid[0], &gid[1], &gid[2]) == -1)
		fatal("who am I: %s", strerror(errno));
	for (int i = 0; i < 3; i++)
		if (uid[i] != identity->uid || gid[i] != identity->gid)
			bug("still user %u, group %u", (unsigned)uid[i],
			    (unsigned)gid[i]);
	if (setuid(0) == 0)
		bug("root came back");
	if (identity->may_bind)
		keep_bind_capability();
}

/* Puts the program's sockets at 3, 4, ..., closes all else. */
static unsigned
place_sockets(const struct run_start *start, struct buf *names)
{
	const struct run_sockets *sockets = start->sockets;
	unsigned count = 0;
	unsigned placed = 0;
	int *fds = xcalloc(sockets->count + 1, sizeof(*fds));

	for (size_t i = 0; i < sockets->count; i++) {
		if (sockets->list[i].server != start->role)
			continue;
		/* First out of the way of the numbers to come. */
		fds[count] = fcntl(sockets->list[i].fd, F_DUPFD_CLOEXEC,
		    FIRST_FD + (int)sockets->count);
		if (fds[count] == -1)
			fatal("dup: %s", strerror(errno));
		(void)buf_addf(names, "%s%s", count == 0 ? "" : ":",
		    sockets->list[i].name);
		count++;
	}
	for (placed = 0; placed < count; placed++)
		if (dup2(fds[placed], FIRST_FD + (int)placed) == -1)
			fatal("dup2: %s", strerror(errno));
	free(fds);
	if (syscall(SYS_close_range, FIRST_FD + count, ~0u, 0) == -1)
		fatal("close_range: %s", strerror(errno));
	return count;
}

static void
set_environment(
    const struct run_start *start, unsigned count, const char *names)
{
	char number[24];

	(void)snprintf(number, sizeof(number), "%d", (int)getpid());
	(void)setenv("LISTEN_PID", number, 1);
	(void)snprintf(number, sizeof(number), "%u", count);
	(void)setenv("LISTEN_FDS", number, 1);
	(void)setenv("LISTEN_FDNAMES", names, 1);
	(void)setenv("NOTIFY_SOCKET", start->notify_path, 1);
}

/*
 * The loop's handlers write into a pipe that the child still shares: they go
 * before a signal is let through.
 */
static void
sane_signals(void)
{
	static const int numbers[] = {
	    SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE};
	sigset_t none;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		(void)signal(numbers[i], SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The binary's folder may be closed to its user; the open file is not. */
static void
exec_program(const struct run_start *start, char *path, int binary_fd)
{
	char *argv[5] = {path, NULL, NULL, NULL, NULL};
	int argc = 1;

	if (start->instance->root != NULL) {
		argv[argc++] = "--root";
		argv[argc++] = start->instance->root;
	}
	if (start->is_managing)
		argv[argc++] = "--manage";
	(void)execv(path, argv);
	if (errno == EACCES && binary_fd != -1)
		(void)fexecve(binary_fd, argv, environ);
	fatal("exec %s: %s", path, strerror(errno));
}

_Noreturn static void
run_child(const struct run_start *start, pid_t parent)
{
	struct buf names;
	struct run_identity identity;
	char path[INSTANCE_PATH_MAX];
	unsigned count;
	int binary_fd;

	buf_init(&names, 4096);
	(void)setpgid(0, 0);
	sane_signals();
	/* Reads the user database, before descriptors are put in order. */
	identity = run_identity_of(start->role);
	count = place_sockets(start, &names);
	set_environment(start, count, buf_text(&names));
	/* What is said goes where our own words go; "ready" is ours alone. */
	if (dup2(STDERR_FILENO, STDOUT_FILENO) == -1)
		fatal("dup2: %s", strerror(errno));
	raise_limits();
	instance_program(start->instance, start->role, path);
	binary_fd = open(path, O_PATH | O_CLOEXEC);
	become(&identity);
	/* After the change of users, which clears it. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) == -1 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		fatal("prctl: %s", strerror(errno));
	if (getppid() != parent)
		fatal("the supervisor is gone");
	exec_program(start, path, binary_fd);
	_exit(1);
}

pid_t
run_start(const struct run_start *start, struct err *err)
{
	const pid_t parent = getpid();
	sigset_t all;
	sigset_t before;
	pid_t pid;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		run_child(start, parent);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid == -1)
		return err_set(err, "fork: %s", strerror(errno));
	(void)setpgid(pid, pid);
	return pid;
}
