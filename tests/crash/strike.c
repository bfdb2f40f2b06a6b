/* SPDX-License-Identifier: ISC */
/*
 * strike PID [N]: counts the system calls of a process, all its threads
 * together, and kills it by SIGKILL just before the Nth.  Without N it counts
 * alone.
 * Runs in: crash tests, as root (the programs are not dumpable).  Trusts: the
 * test.
 *
 * It says "ready" when it holds the process; counting begins with "go" on its
 * standard input and ends with "stop" or its end.  Its last line is "killed N
 * NAME" or "counted N"; a process that went by itself is "gone N".
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/err.h"

#define TRACE_OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE)

struct strike {
	pid_t pid;
	unsigned long long limit; /* 0: count alone */
	unsigned long long count;
	bool is_counting;
	bool is_over;
};

static void
resume(pid_t thread, int signal_number)
{
	(void)ptrace(PTRACE_SYSCALL, thread, NULL, (long)signal_number);
}

/* Says how it went; the process, if it lives, goes on alone at our exit. */
static void
finish(struct strike *strike, const char *word, const char *name)
{
	(void)printf("%s %llu%s%s\n", word, strike->count,
	    name[0] != '\0' ? " " : "", name);
	(void)fflush(stdout);
	strike->is_over = true;
}

static void
on_call(struct strike *strike, pid_t thread)
{
	struct __ptrace_syscall_info info;
	char *name;

	if (!strike->is_counting ||
	    ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info) <= 0 ||
	    info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return;
	if (++strike->count != strike->limit)
		return;
	(void)kill(strike->pid, SIGKILL);
	name = seccomp_syscall_resolve_num_arch(info.arch, (int)info.entry.nr);
	finish(strike, "killed", name != NULL ? name : "?");
	free(name);
}

static void
on_stop(struct strike *strike, pid_t thread, int status)
{
	int number = WSTOPSIG(status);
	int event = status >> 16;

	if (number == (SIGTRAP | 0x80))
		on_call(strike, thread);
	/* Events, and the start of a new thread, are no signals of its own. */
	resume(thread, number == (SIGTRAP | 0x80) || event != 0 ? 0 : number);
}

static void
collect(struct strike *strike)
{
	int status;
	pid_t thread;

	while (!strike->is_over &&
	       (thread = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
		if (WIFSTOPPED(status))
			on_stop(strike, thread, status);
		else if (thread == strike->pid)
			finish(strike, "gone", "");
	}
}

static void
obey(struct strike *strike)
{
	char line[64];
	ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);

	if (n > 0 && memcmp(line, "go", 2) == 0)
		strike->is_counting = true;
	else
		finish(strike, "counted", "");
}

static void
hold_thread(pid_t thread)
{
	if (ptrace(PTRACE_SEIZE, thread, NULL, TRACE_OPTIONS) == -1)
		fatal("cannot trace %d: %s", (int)thread, strerror(errno));
	if (ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) == -1)
		fatal("cannot stop %d: %s", (int)thread, strerror(errno));
}

static void
hold_process(pid_t pid)
{
	char path[64];
	const struct dirent *entry;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	if ((dir = opendir(path)) == NULL)
		fatal("%s: %s", path, strerror(errno));
	while ((entry = readdir(dir)) != NULL)
		if (isdigit((unsigned char)entry->d_name[0]))
			hold_thread((pid_t)strtol(entry->d_name, NULL, 10));
	(void)closedir(dir);
}

int
main(int argc, char **argv)
{
	struct strike strike = {0};
	struct pollfd polls[2] = {
	    {.fd = STDIN_FILENO, .events = POLLIN}, {.events = POLLIN}};
	sigset_t child;

	if (argc < 2 || argc > 3)
		fatal("usage: strike PID [N]");
	strike.pid = (pid_t)strtol(argv[1], NULL, 10);
	if (argc == 3)
		strike.limit = strtoull(argv[2], NULL, 10);
	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &child, NULL);
	if ((polls[1].fd = signalfd(-1, &child, SFD_CLOEXEC)) == -1)
		fatal("signalfd: %s", strerror(errno));
	hold_process(strike.pid);
	(void)puts("ready");
	(void)fflush(stdout);
	while (!strike.is_over) {
		struct signalfd_siginfo info;

		collect(&strike);
		if (strike.is_over || poll(polls, 2, -1) == -1)
			continue;
		if ((polls[1].revents & POLLIN) != 0)
			(void)!read(polls[1].fd, &info, sizeof(info));
		else if ((polls[0].revents & (POLLIN | POLLHUP)) != 0)
			obey(&strike);
	}
	return 0;
}
