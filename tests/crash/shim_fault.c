/* SPDX-License-Identifier: ISC */
/*
 * Preloaded into one program: its Nth call of a kind fails, once or from then
 * on.  Which program, which kind and which N, the test writes into the
 * control block at any time; it reads there whether it happened.
 * Runs in: the program that the control block names.  Trusts: the test.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/crash/lib_shim.h"

enum fault_kind {
	FAULT_NONE,
	FAULT_WRITE, /* to a file: write, pwrite, ftruncate */
	FAULT_SYNC,
	FAULT_DESCRIPTOR, /* anything that makes one */
	FAULT_MEMORY
};

/* As crashlib/faults.py packs it. */
struct control {
	char program[64];
	_Atomic uint32_t kind;
	uint32_t error;         /* errno of the failed call */
	_Atomic int64_t left;   /* calls until it fails: 1 is the next */
	uint32_t is_lasting;    /* every later call fails as well */
	_Atomic uint32_t fired; /* calls that failed */
	_Atomic uint64_t seen;  /* calls of the kind */
};

static struct control *control;

/* A spawner is a copy of its program that was not meant. */
static void
leave(void)
{
	control = NULL;
}

static void __attribute__((constructor)) begin(void)
{
	struct control *block = shim_map(sizeof(*block));

	if (block == NULL || strcmp(block->program, shim_program()) != 0)
		return;
	(void)pthread_atfork(NULL, NULL, leave);
	control = block;
}

/* Does this call of that kind fail?  Then errno is set. */
static bool
fails(enum fault_kind kind)
{
	int64_t left;

	if (control == NULL ||
	    atomic_load_explicit(&control->kind, memory_order_relaxed) != kind)
		return false;
	atomic_fetch_add(&control->seen, 1);
	left = atomic_fetch_sub(&control->left, 1);
	if (left > 1 || (left < 1 && control->is_lasting == 0))
		return false;
	atomic_fetch_add(&control->fired, 1);
	errno = (int)control->error;
	return true;
}

/* ---- memory ---- */

/* glibc's own; dlsym() itself allocates. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *
malloc(size_t size)
{
	return fails(FAULT_MEMORY) ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	return fails(FAULT_MEMORY) ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *p, size_t size)
{
	return fails(FAULT_MEMORY) ? NULL : __libc_realloc(p, size);
}

void *
memalign(size_t alignment, size_t size)
{
	return fails(FAULT_MEMORY) ? NULL : __libc_memalign(alignment, size);
}

void *
aligned_alloc(size_t alignment, size_t size)
{
	return fails(FAULT_MEMORY) ? NULL : __libc_memalign(alignment, size);
}

int
posix_memalign(void **p_r, size_t alignment, size_t size)
{
	void *p;

	if (fails(FAULT_MEMORY) ||
	    (p = __libc_memalign(alignment, size)) == NULL)
		return ENOMEM;
	*p_r = p;
	return 0;
}

/* ---- files ---- */

static bool
is_file(int fd)
{
	struct stat st;
	int saved_errno = errno;
	bool is = control != NULL && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);

	errno = saved_errno;
	return is;
}

ssize_t
write(int fd, const void *p, size_t n)
{
	static ssize_t (*real)(int, const void *, size_t);

	SHIM_REAL(real, "write");
	return is_file(fd) && fails(FAULT_WRITE) ? -1 : real(fd, p, n);
}

ssize_t
pwrite64(int fd, const void *p, size_t n, off_t offset)
{
	static ssize_t (*real)(int, const void *, size_t, off_t);

	SHIM_REAL(real, "pwrite64");
	return fails(FAULT_WRITE) ? -1 : real(fd, p, n, offset);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t offset)
{
	return pwrite64(fd, p, n, offset);
}

int
ftruncate64(int fd, off_t length)
{
	static int (*real)(int, off_t);

	SHIM_REAL(real, "ftruncate64");
	return fails(FAULT_WRITE) ? -1 : real(fd, length);
}

int
ftruncate(int fd, off_t length)
{
	return ftruncate64(fd, length);
}

int
fsync(int fd)
{
	static int (*real)(int);

	SHIM_REAL(real, "fsync");
	return fails(FAULT_SYNC) ? -1 : real(fd);
}

int
fdatasync(int fd)
{
	static int (*real)(int);

	SHIM_REAL(real, "fdatasync");
	return fails(FAULT_SYNC) ? -1 : real(fd);
}

/* ---- descriptors ---- */

static int
open_at(int at_fd, const char *path, int flags, va_list ap)
{
	static int (*real)(int, const char *, int, ...);
	mode_t mode = 0;

	SHIM_REAL(real, "openat64");
	if ((flags & (O_CREAT | O_TMPFILE)) != 0)
		mode = va_arg(ap, mode_t);
	return fails(FAULT_DESCRIPTOR) ? -1 : real(at_fd, path, flags, mode);
}

#define OPEN(name, parameters, at_fd)                 \
	int name parameters                           \
	{                                             \
		va_list ap;                           \
		int fd;                               \
		va_start(ap, flags);                  \
		fd = open_at(at_fd, path, flags, ap); \
		va_end(ap);                           \
		return fd;                            \
	}

/* clang-format off */
OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int at_fd, const char *path, int flags, ...), at_fd)
OPEN(openat64, (int at_fd, const char *path, int flags, ...), at_fd)
/* clang-format on */

int
socket(int family, int type, int protocol)
{
	static int (*real)(int, int, int);

	SHIM_REAL(real, "socket");
	return fails(FAULT_DESCRIPTOR) ? -1 : real(family, type, protocol);
}

int
socketpair(int family, int type, int protocol, int fds_r[2])
{
	static int (*real)(int, int, int, int *);

	SHIM_REAL(real, "socketpair");
	return fails(FAULT_DESCRIPTOR) ? -1
				       : real(family, type, protocol, fds_r);
}

int
accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	static int (*real)(int, struct sockaddr *, socklen_t *, int);

	SHIM_REAL(real, "accept4");
	return fails(FAULT_DESCRIPTOR) ? -1 : real(fd, address, size, flags);
}

/* Commands take an int, a pointer or nothing: one word in each case. */
int
fcntl64(int fd, int command, ...)
{
	static int (*real)(int, int, ...);
	va_list ap;
	void *word;

	va_start(ap, command);
	word = va_arg(ap, void *);
	va_end(ap);
	SHIM_REAL(real, "fcntl64");
	if ((command == F_DUPFD || command == F_DUPFD_CLOEXEC) &&
	    fails(FAULT_DESCRIPTOR))
		return -1;
	return real(fd, command, word);
}

int
fcntl(int fd, int command, ...)
{
	va_list ap;
	void *word;

	va_start(ap, command);
	word = va_arg(ap, void *);
	va_end(ap);
	return fcntl64(fd, command, word);
}
