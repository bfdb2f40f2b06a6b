/* SPDX-License-Identifier: ISC */
/*
 * What somebody who owns a program could do: preloaded into each program of a
 * test instance, it tries one forbidden thing at each signal, when the program
 * has long confined itself, and says on standard error what came of it.
 *
 * The signal's value is what to try (the high bits) and with which number: a
 * process, a port, or a line of the file POSTERN_PROBE, which holds paths.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define PATHS_MAX 64
#define NUMBER_BITS 22

static char text[65536];
static char *paths[PATHS_MAX];

static int
new_socket(int family, int type)
{
	/* A raw socket has a protocol; here it is ICMP. */
	return (int)syscall(SYS_socket, family, type, type == SOCK_RAW);
}

static struct sockaddr_in
local(unsigned number)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
	    .sin_port = htons((in_port_t)number),
	    .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

/* ---- what is tried: each returns as a system call does ---- */

static long
try_read(unsigned number)
{
	return syscall(SYS_openat, AT_FDCWD, paths[number], O_RDONLY);
}

static long
try_write(unsigned number)
{
	return syscall(
	    SYS_openat, AT_FDCWD, paths[number], O_WRONLY | O_CREAT, 0600);
}

static long
try_unlink(unsigned number)
{
	return syscall(SYS_unlinkat, AT_FDCWD, paths[number], 0);
}

static long
try_connect_unix(unsigned number)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = new_socket(AF_UNIX, SOCK_STREAM);

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", paths[number]);
	return fd == -1 ? -1
			: syscall(SYS_connect, fd, &sun, sizeof(sun));
}

static long
try_connect(unsigned number)
{
	struct sockaddr_in address = local(number);
	int fd = new_socket(AF_INET, SOCK_STREAM);

	return fd == -1 ? -1
			: syscall(SYS_connect, fd, &address, sizeof(address));
}

/* A socket that came from outside is turned into a connection out. */
static long
try_reconnect(unsigned number)
{
	struct sockaddr_in address = local(number);

	for (int fd = 3; fd < 4096; fd++) {
		int listens = 0;
		int family = 0;
		socklen_t size = sizeof(int);

		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens,
			&size) == -1 ||
		    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) ==
			-1 ||
		    listens == 0 || family != AF_INET)
			continue;
		(void)syscall(SYS_shutdown, fd, SHUT_RD);
		return syscall(SYS_connect, fd, &address, sizeof(address));
	}
	errno = ENOTSOCK;
	return -1;
}

static long
try_bind(unsigned number)
{
	struct sockaddr_in address = local(number);
	int fd = new_socket(AF_INET, SOCK_STREAM);

	return fd == -1 ? -1 : syscall(SYS_bind, fd, &address, sizeof(address));
}

static long
try_listen(unsigned number)
{
	int fd = new_socket(AF_INET, SOCK_STREAM);

	(void)number;
	return fd == -1 ? -1 : syscall(SYS_listen, fd, 1);
}

static long
try_socket(unsigned number)
{
	return new_socket((int)number, SOCK_STREAM);
}

static long
try_raw_socket(unsigned number)
{
	return new_socket((int)number, SOCK_RAW);
}

static long
try_kill(unsigned number)
{
	return syscall(SYS_kill, number, 0);
}

static long
try_tgkill(unsigned number)
{
	return syscall(SYS_tgkill, number, number, 0);
}

static long
try_own_signal(unsigned number)
{
	int pair[2];

	return syscall(SYS_pipe2, pair, 0) == -1
		   ? -1
		   : syscall(SYS_fcntl, pair[0], F_SETOWN, number);
}

static long
try_limits(unsigned number)
{
	const struct rlimit none = {0, 0};

	return syscall(SYS_prlimit64, number, RLIMIT_NOFILE, &none, NULL);
}

static long
try_pidfd(unsigned number)
{
	return syscall(SYS_pidfd_open, number, 0);
}

static long
try_fork(unsigned number)
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	(void)number;
	if (pid == 0)
		_exit(0);
	return pid;
}

static long
try_root(unsigned number)
{
	(void)number;
	return syscall(SYS_setresuid, 0, 0, 0);
}

static long
try_tipc(unsigned number)
{
	int pair[2];

	(void)number;
	return syscall(SYS_socketpair, AF_TIPC, SOCK_STREAM, 0, pair);
}

/* ---- deadly ones ---- */

static long
try_exec(unsigned number)
{
	char *words[] = {"/bin/true", NULL};

	(void)number;
	return syscall(SYS_execve, words[0], words, NULL);
}

static long
try_ptrace(unsigned number)
{
	return syscall(SYS_ptrace, PTRACE_ATTACH, number, 0, 0);
}

static long
try_memory(unsigned number)
{
	struct iovec vec = {text, 1};

	return syscall(SYS_process_vm_readv, number, &vec, 1, &vec, 1, 0);
}

static long (*const tries[])(unsigned) = {try_read, try_write, try_unlink,
    try_connect_unix, try_connect, try_reconnect, try_bind, try_listen,
    try_socket, try_raw_socket, try_kill, try_tgkill, try_own_signal,
    try_limits, try_pidfd, try_fork, try_root, try_tipc, try_exec, try_ptrace,
    try_memory};

static void
on_signal(int signal_number, siginfo_t *info, void *context)
{
	const unsigned value = (unsigned)info->si_value.sival_int;
	const unsigned kind = value >> NUMBER_BITS;
	const int before = errno;
	char line[96];
	long result;
	int n;

	(void)signal_number;
	(void)context;
	if (kind >= sizeof(tries) / sizeof(tries[0]))
		return;
	errno = 0;
	result = tries[kind](value & ((1u << NUMBER_BITS) - 1));
	n = snprintf(line, sizeof(line), "probe %d %u %s %d\n", getpid(), value,
	    result < 0 ? "refused" : "DONE", result < 0 ? errno : 0);
	if (n > 0)
		(void)!write(STDERR_FILENO, line, (size_t)n);
	errno = before;
}

/* ---- how it gets into each program ---- */

/* A worker's environment is clean: the spawner is to hand us on. */
int
execve(const char *path, char *const words[], char *const environment[])
{
	int (*next)(const char *, char *const[], char *const[]);
	char *more[32] = {NULL};
	char room[2][4096];
	size_t n = 0;

	*(void **)&next = dlsym(RTLD_NEXT, "execve");
	while (n < 29 && environment[n] != NULL) {
		more[n] = environment[n];
		n++;
	}
	if (words[1] == NULL || strcmp(words[1], "--worker") != 0)
		return next(path, words, environment);
	(void)snprintf(room[0], sizeof(room[0]), "LD_PRELOAD=%s",
	    getenv("LD_PRELOAD"));
	(void)snprintf(room[1], sizeof(room[1]), "POSTERN_PROBE=%s",
	    getenv("POSTERN_PROBE"));
	more[n++] = room[0];
	more[n] = room[1];
	return next(path, words, more);
}

static void __attribute__((constructor))
prepare(void)
{
	struct sigaction action = {
	    .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
	const char *path = getenv("POSTERN_PROBE");
	size_t count = 0;
	FILE *file;

	if (path == NULL || (file = fopen(path, "re")) == NULL)
		return;
	(void)!fread(text, 1, sizeof(text) - 1, file);
	(void)fclose(file);
	for (char *rest = text; rest != NULL && count < PATHS_MAX;)
		paths[count++] = strsep(&rest, "\n");
	(void)sigaction(SIGRTMAX - 1, &action, NULL);
}
