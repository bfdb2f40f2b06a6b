/* SPDX-License-Identifier: ISC */
/*
 * Takes away what a program does not need: Landlock for paths, seccomp for
 * system calls.
 * Runs in: every program, after its libraries are loaded.  Trusts: the
 * program's own list of rights.
 */
#include "config.h"
#include "common/confine.h"

#ifdef WITHOUT_CONFINEMENT

/* Sanitizers need system calls of their own; they run without. */
int
confine(const struct confinement *confinement, const char *state_dir,
    struct err *err)
{
	(void)confinement;
	(void)state_dir;
	(void)err;
	return 0;
}

#else

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- Landlock ---- */

#define LANDLOCK_READ \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define LANDLOCK_WRITE                                                       \
	(LANDLOCK_READ | LANDLOCK_ACCESS_FS_WRITE_FILE |                     \
	    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | \
	    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |      \
	    LANDLOCK_ACCESS_FS_MAKE_SOCK)
#define LANDLOCK_HANDLED                                                  \
	(LANDLOCK_WRITE | LANDLOCK_ACCESS_FS_EXECUTE |                    \
	    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_FIFO | \
	    LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)

/* A path that does not exist cannot be used either: no failure. */
static void
landlock_allow(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = access};
	int fd = open(path, O_PATH | O_CLOEXEC);

	if (fd == -1)
		return;
	rule.parent_fd = fd;
	(void)syscall(SYS_landlock_add_rule, ruleset,
	    LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	(void)close(fd);
}

static void
restrict_paths(const struct confinement *confinement, const char *state_dir)
{
	struct landlock_ruleset_attr attr = {
	    .handled_access_fs = LANDLOCK_HANDLED};
	int ruleset;

	ruleset =
	    (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset == -1)
		return; /* an older kernel: seccomp and file modes remain */
	for (size_t i = 0; i < 6 && confinement->read_dirs[i] != NULL; i++)
		landlock_allow(
		    ruleset, confinement->read_dirs[i], LANDLOCK_READ);
	if ((confinement->rights & CONFINE_FILES_WRITE) != 0 &&
	    state_dir != NULL)
		landlock_allow(ruleset, state_dir, LANDLOCK_WRITE);
	else if (state_dir != NULL)
		landlock_allow(ruleset, state_dir, LANDLOCK_READ);
	(void)syscall(SYS_landlock_restrict_self, ruleset, 0);
	(void)close(ruleset);
}

/* ---- seccomp ---- */

/*
 * Names, so that libseccomp finds the numbers of each architecture; a name
 * that one does not have is passed over.
 */
static const char *const calls_base[] = {"accept", "accept4", "brk",
    "clock_getres", "clock_gettime", "clock_nanosleep", "close", "close_range",
    "dup", "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl",
    "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd2", "exit",
    "exit_group", "fcntl", "fcntl64", "fstat", "fstat64", "futex", "getegid",
    "geteuid", "getgid", "getpeername", "getpid", "getppid", "getrandom",
    "getrusage", "getsockname", "getsockopt", "gettid", "gettimeofday",
    "getuid", "lseek", "madvise", "membarrier", "mmap", "mmap2", "mprotect",
    "mremap", "munmap", "nanosleep", "pipe2", "poll", "ppoll", "pread64",
    "prlimit64", "read", "readv", "recvfrom", "recvmmsg", "recvmsg",
    "restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "sched_getaffinity", "sched_yield", "select", "sendmmsg", "sendmsg",
    "sendto", "set_robust_list", "setsockopt", "shutdown", "sigaltstack",
    "socketpair", "sysinfo", "tgkill", "time", "uname", "write", "writev",
    NULL};

static const char *const calls_files_read[] = {"access", "faccessat",
    "faccessat2", "fstatfs", "fstatfs64", "getdents64", "lstat", "newfstatat",
    "open", "openat", "readlink", "readlinkat", "stat", "statfs", "statx",
    NULL};

static const char *const calls_files_write[] = {"chmod", "fallocate", "fchmod",
    "fchmodat", "fdatasync", "flock", "fsync", "ftruncate", "link", "linkat",
    "mkdir", "mkdirat", "pwrite64", "pwritev", "rename", "renameat",
    "renameat2", "rmdir", "sync_file_range", "unlink", "unlinkat", "utimensat",
    NULL};

static const char *const calls_threads[] = {
    "clone", "sched_setaffinity", "set_tid_address", NULL};

/* No way to these: they end the process. */
static const char *const calls_deadly[] = {"execve", "execveat", "ptrace",
    "process_vm_readv", "process_vm_writev", "mount", "umount2", "pivot_root",
    "bpf", "keyctl", "add_key", "request_key", "init_module", "finit_module",
    "kexec_load", "userfaultfd", "perf_event_open", "setns", "unshare",
    "reboot", "swapon", "swapoff", NULL};

static int
add_calls(scmp_filter_ctx filter, uint32_t action, const char *const *names)
{
	for (; *names != NULL; names++) {
		int call = seccomp_syscall_resolve_name(*names);

		if (call == __NR_SCMP_ERROR)
			continue;
		if (seccomp_rule_add(filter, action, call, 0) != 0)
			return -1;
	}
	return 0;
}

static int
add_family(scmp_filter_ctx filter, int family)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
	    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family));
}

static int
add_sockets(scmp_filter_ctx filter, unsigned rights)
{
	bool has_inet = (rights & (CONFINE_CONNECT_INET | CONFINE_BIND)) != 0;
	bool has_unix = (rights & CONFINE_CONNECT_UNIX) != 0;
	int rc = 0;

	if (has_unix)
		rc |= add_family(filter, AF_UNIX);
	if (has_inet) {
		rc |= add_family(filter, AF_INET);
		rc |= add_family(filter, AF_INET6);
		rc |= add_family(filter, AF_NETLINK); /* getifaddrs(3) */
		rc |=
		    seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(bind), 0);
	}
	if (has_unix || has_inet)
		rc |= seccomp_rule_add(
		    filter, SCMP_ACT_ALLOW, SCMP_SYS(connect), 0);
	if ((rights & CONFINE_BIND) != 0)
		rc |= seccomp_rule_add(
		    filter, SCMP_ACT_ALLOW, SCMP_SYS(listen), 0);
	/* libevent's and OpenSSL's only questions to a descriptor. */
	rc |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
	    SCMP_A1(SCMP_CMP_EQ, FIONBIO));
	rc |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
	    SCMP_A1(SCMP_CMP_EQ, FIONREAD));
	return rc;
}

static int
build_filter(scmp_filter_ctx filter, unsigned rights)
{
	int rc = add_calls(filter, SCMP_ACT_ALLOW, calls_base);

	rc |= add_calls(filter, SCMP_ACT_KILL_PROCESS, calls_deadly);
	rc |= add_sockets(filter, rights);
	if ((rights & (CONFINE_FILES_READ | CONFINE_FILES_WRITE)) != 0)
		rc |= add_calls(filter, SCMP_ACT_ALLOW, calls_files_read);
	if ((rights & CONFINE_FILES_WRITE) != 0)
		rc |= add_calls(filter, SCMP_ACT_ALLOW, calls_files_write);
	if ((rights & CONFINE_THREADS) != 0) {
		rc |= add_calls(filter, SCMP_ACT_ALLOW, calls_threads);
		/* Its flags cannot be seen: glibc falls back to clone(). */
		rc |= seccomp_rule_add(
		    filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	}
	return rc;
}

int
confine(const struct confinement *confinement, const char *state_dir,
    struct err *err)
{
	scmp_filter_ctx filter;
	int rc = -1;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return err_set(err, "no_new_privs: %s", strerror(errno));
	restrict_paths(confinement, state_dir);
	/* Unknown calls fail with EPERM, as libraries expect of old kernels. */
	if ((filter = seccomp_init(SCMP_ACT_ERRNO(EPERM))) == NULL)
		return err_set(err, "seccomp: no filter could be made");
	if (build_filter(filter, confinement->rights) != 0)
		(void)err_set(err, "seccomp: a rule was refused");
	else if ((rc = seccomp_load(filter)) != 0)
		rc = err_set(err, "seccomp: %s", strerror(-rc));
	seccomp_release(filter);
	return rc;
}

#endif
