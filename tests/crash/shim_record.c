/* SPDX-License-Identifier: ISC */
/*
 * Preloaded into postern-queued: records, in the order in which they happen,
 * what it does to the files below one folder, which syncs begin and end, and
 * what it says to and hears from its peers.  crashlib/power.py makes states of
 * it.
 * Runs in: postern-queued, in a crash test.  Trusts: the test.
 *
 * A record is its head and then length octets: a path, or data.  A change and
 * its record are one step under a lock; a sync is two records, so that only
 * what was written before it began counts as synced by it.  What is said is
 * recorded before it is sent: what it acknowledges has to be durable by then.
 * Since a kill from outside may come between a change and its record, it kills
 * itself after so many records, or stands still for one: see the control block.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/crash/lib_shim.h"

enum record_kind {
	RECORD_START = 1,
	RECORD_OPEN,   /* path; aux: 1 when it was made now */
	RECORD_WRITE,  /* data at offset */
	RECORD_CUT,    /* to offset octets */
	RECORD_UNLINK, /* path */
	RECORD_MKDIR,  /* path */
	RECORD_RENAME, /* path NUL path */
	RECORD_SYNC_BEGIN,
	RECORD_SYNC_END,
	RECORD_SAID,
	RECORD_HEARD
};

struct record {
	uint32_t kind;
	int32_t fd;
	uint64_t inode;
	uint64_t offset;
	uint64_t aux;
	uint64_t length;
};

#define FDS_MAX 4096
#define PATH_SIZE 1024

/* A descriptor of a file or folder that is recorded. */
struct known {
	bool is_used;
	uint64_t inode;
	char path[PATH_SIZE]; /* below the folder; "" is the folder itself */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct known known[FDS_MAX];
static char folder[PATH_SIZE];
static size_t folder_n;
static int log_fd = -1;

/* The test's control block. */
static struct {
	_Atomic int64_t lives;      /* records until it dies; 0: it does not */
	_Atomic int64_t is_frozen;  /* set by the test: no further step */
	_Atomic int64_t is_in_step; /* a change may have no record yet */
} * control;

/* A change and its record.  Frozen, it waits here for its end. */
static void
step_begin(void)
{
	(void)pthread_mutex_lock(&lock);
	if (control == NULL)
		return;
	atomic_store(&control->is_in_step, 1);
	if (atomic_load(&control->is_frozen) == 0)
		return;
	atomic_store(&control->is_in_step, 0);
	/* For good, by a call that its confinement allows. */
	(void)pthread_mutex_lock(&lock);
}

static void
step_end(void)
{
	if (control != NULL)
		atomic_store(&control->is_in_step, 0);
	(void)pthread_mutex_unlock(&lock);
}

static void
put(const void *p, size_t n)
{
	static ssize_t (*real)(int, const void *, size_t);
	const char *at = p;

	SHIM_REAL(real, "write");
	while (n > 0) {
		ssize_t done = real(log_fd, at, n);

		if (done <= 0)
			abort();
		at += done;
		n -= (size_t)done;
	}
}

static void
record(const struct record *head, const void *data)
{
	int saved_errno = errno;

	put(head, sizeof(*head));
	if (head->length > 0)
		put(data, (size_t)head->length);
	if (control != NULL && atomic_load(&control->lives) > 0 &&
	    atomic_fetch_sub(&control->lives, 1) == 1)
		(void)raise(SIGKILL);
	errno = saved_errno;
}

/* The folder and the file are named in the environment. */
static void __attribute__((constructor)) begin(void)
{
	const struct record head = {.kind = RECORD_START, .fd = -1};
	const char *path = getenv("POSTERN_RECORD");
	const char *name = getenv("POSTERN_RECORD_FOLDER");

	if (path == NULL || name == NULL ||
	    strcmp(shim_program(), "postern-queued") != 0)
		return;
	(void)snprintf(folder, sizeof(folder), "%s", name);
	folder_n = strlen(folder);
	log_fd = openat(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC);
	control = shim_map(sizeof(*control));
	/* The one before may have died in a step. */
	if (control != NULL)
		atomic_store(&control->is_in_step, 0);
	if (log_fd != -1)
		record(&head, NULL);
}

/* Nor does a thread of its own take a step that its exit would cut short. */
static void __attribute__((destructor)) end(void)
{
	step_begin();
}

static struct known *
find(int fd)
{
	return log_fd != -1 && fd >= 0 && fd < FDS_MAX && known[fd].is_used
		   ? &known[fd]
		   : NULL;
}

/* Shared memory and locks are no part of what survives. */
static bool
is_passing(const char *name)
{
	size_t n = strlen(name);

	return (n >= 4 && strcmp(name + n - 4, "-shm") == 0) ||
	       strstr(name, ".lock") != NULL ||
	       strstr(name, "settings.snapshot") != NULL;
}

/* The name below the folder; false: not there, or of no interest. */
static bool
resolve(int at_fd, const char *path, char name_r[PATH_SIZE])
{
	const struct known *base;
	int n;

	if (log_fd == -1)
		return false;
	if (path[0] == '/') {
		if (strncmp(path, folder, folder_n) != 0 ||
		    (path[folder_n] != '/' && path[folder_n] != '\0'))
			return false;
		path += folder_n;
		while (*path == '/')
			path++;
		n = snprintf(name_r, PATH_SIZE, "%s", path);
	} else if ((base = find(at_fd)) != NULL) {
		n = snprintf(name_r, PATH_SIZE, "%s%s%s", base->path,
		    base->path[0] != '\0' ? "/" : "", path);
	} else {
		return false;
	}
	return n >= 0 && n < PATH_SIZE && !is_passing(name_r);
}

/* ---- names ---- */

static int
real_openat(int at_fd, const char *path, int flags, mode_t mode)
{
	static int (*real)(int, const char *, int, ...);

	SHIM_REAL(real, "openat64");
	return real(at_fd, path, flags, mode);
}

static void
note_open(int fd, const char *name, bool is_new, bool is_cut)
{
	struct record head = {.kind = RECORD_OPEN,
	    .fd = fd,
	    .aux = is_new,
	    .length = strlen(name)};
	struct stat st;

	if (fd >= FDS_MAX || fstat(fd, &st) == -1)
		return;
	known[fd].is_used = true;
	known[fd].inode = st.st_ino;
	(void)snprintf(known[fd].path, PATH_SIZE, "%s", name);
	head.inode = st.st_ino;
	record(&head, name);
	if (is_cut && !is_new) {
		head.kind = RECORD_CUT;
		head.length = 0;
		record(&head, NULL);
	}
}

static int
open_at(int at_fd, const char *path, int flags, mode_t mode)
{
	char name[PATH_SIZE];
	struct stat st;
	bool was_there;
	int fd;

	if (!resolve(at_fd, path, name))
		return real_openat(at_fd, path, flags, mode);
	step_begin();
	was_there = fstatat(at_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
	fd = real_openat(at_fd, path, flags, mode);
	if (fd != -1)
		note_open(fd, name, !was_there, (flags & O_TRUNC) != 0);
	step_end();
	return fd;
}

#define MODE_OF(flags, mode)                                \
	do {                                                \
		va_list ap;                                 \
		va_start(ap, flags);                        \
		if (((flags) & (O_CREAT | O_TMPFILE)) != 0) \
			(mode) = va_arg(ap, mode_t);        \
		va_end(ap);                                 \
	} while (0)

int
open(const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return open_at(AT_FDCWD, path, flags, mode);
}

int
open64(const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return open_at(AT_FDCWD, path, flags, mode);
}

int
openat(int at_fd, const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return open_at(at_fd, path, flags, mode);
}

int
openat64(int at_fd, const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return open_at(at_fd, path, flags, mode);
}

int
close(int fd)
{
	static int (*real)(int);
	struct known *file = find(fd);
	int rc;

	SHIM_REAL(real, "close");
	if (file == NULL)
		return real(fd);
	step_begin();
	file->is_used = false;
	rc = real(fd);
	step_end();
	return rc;
}

/* It closes by a call of libc's own. */
int
closedir(DIR *dir)
{
	static int (*real)(DIR *);
	struct known *file = find(dirfd(dir));

	SHIM_REAL(real, "closedir");
	if (file != NULL)
		file->is_used = false;
	return real(dir);
}

static void
note_name(uint32_t kind, const char *name)
{
	const struct record head = {
	    .kind = kind, .fd = -1, .length = strlen(name)};

	record(&head, name);
}

int
unlinkat(int at_fd, const char *path, int flags)
{
	static int (*real)(int, const char *, int);
	char name[PATH_SIZE];
	int rc;

	SHIM_REAL(real, "unlinkat");
	if (!resolve(at_fd, path, name))
		return real(at_fd, path, flags);
	step_begin();
	rc = real(at_fd, path, flags);
	if (rc == 0)
		note_name(RECORD_UNLINK, name);
	step_end();
	return rc;
}

int
unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int
mkdirat(int at_fd, const char *path, mode_t mode)
{
	static int (*real)(int, const char *, mode_t);
	char name[PATH_SIZE];
	int rc;

	SHIM_REAL(real, "mkdirat");
	if (!resolve(at_fd, path, name))
		return real(at_fd, path, mode);
	step_begin();
	rc = real(at_fd, path, mode);
	if (rc == 0)
		note_name(RECORD_MKDIR, name);
	step_end();
	return rc;
}

int
mkdir(const char *path, mode_t mode)
{
	return mkdirat(AT_FDCWD, path, mode);
}

int
rename(const char *from, const char *to)
{
	static int (*real)(const char *, const char *);
	char names[2 * PATH_SIZE];
	char to_name[PATH_SIZE];
	struct record head = {.kind = RECORD_RENAME, .fd = -1};
	size_t n;
	int rc;

	SHIM_REAL(real, "rename");
	if (!resolve(AT_FDCWD, from, names) || !resolve(AT_FDCWD, to, to_name))
		return real(from, to);
	n = strlen(names) + 1;
	memcpy(names + n, to_name, strlen(to_name));
	head.length = n + strlen(to_name);
	step_begin();
	rc = real(from, to);
	if (rc == 0)
		record(&head, names);
	step_end();
	return rc;
}

/* ---- content ---- */

static ssize_t
write_at(
    int fd, const struct known *file, const void *p, size_t n, int64_t offset)
{
	static ssize_t (*real)(int, const void *, size_t, off_t);
	static ssize_t (*real_write)(int, const void *, size_t);
	struct record head = {
	    .kind = RECORD_WRITE, .fd = fd, .inode = file->inode};
	ssize_t done;

	SHIM_REAL(real, "pwrite64");
	SHIM_REAL(real_write, "write");
	step_begin();
	head.offset = (uint64_t)(offset >= 0 ? offset : lseek(fd, 0, SEEK_CUR));
	done = offset >= 0 ? real(fd, p, n, offset) : real_write(fd, p, n);
	if (done > 0) {
		head.length = (uint64_t)done;
		record(&head, p);
	}
	step_end();
	return done;
}

ssize_t
write(int fd, const void *p, size_t n)
{
	static ssize_t (*real)(int, const void *, size_t);
	const struct known *file = find(fd);

	SHIM_REAL(real, "write");
	return file == NULL ? real(fd, p, n) : write_at(fd, file, p, n, -1);
}

ssize_t
pwrite64(int fd, const void *p, size_t n, off_t offset)
{
	static ssize_t (*real)(int, const void *, size_t, off_t);
	const struct known *file = find(fd);

	SHIM_REAL(real, "pwrite64");
	return file == NULL ? real(fd, p, n, offset)
			    : write_at(fd, file, p, n, offset);
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
	const struct known *file = find(fd);
	struct record head = {
	    .kind = RECORD_CUT, .fd = fd, .offset = (uint64_t)length};
	int rc;

	SHIM_REAL(real, "ftruncate64");
	if (file == NULL)
		return real(fd, length);
	head.inode = file->inode;
	step_begin();
	rc = real(fd, length);
	if (rc == 0)
		record(&head, NULL);
	step_end();
	return rc;
}

int
ftruncate(int fd, off_t length)
{
	return ftruncate64(fd, length);
}

static void
note_sync(uint32_t kind, int fd, const struct known *file)
{
	struct record head = {.kind = kind,
	    .fd = fd,
	    .inode = file->inode,
	    .length = strlen(file->path)};

	step_begin();
	record(&head, file->path);
	step_end();
}

static int
sync_with(int (*real)(int), int fd)
{
	const struct known *file = find(fd);
	int rc;

	if (file == NULL)
		return real(fd);
	note_sync(RECORD_SYNC_BEGIN, fd, file);
	rc = real(fd);
	if (rc == 0)
		note_sync(RECORD_SYNC_END, fd, file);
	return rc;
}

int
fsync(int fd)
{
	static int (*real)(int);

	SHIM_REAL(real, "fsync");
	return sync_with(real, fd);
}

int
fdatasync(int fd)
{
	static int (*real)(int);

	SHIM_REAL(real, "fdatasync");
	return sync_with(real, fd);
}

/* ---- what is said and heard ---- */

/* The first n octets of its pieces; SIZE_MAX: all. */
static void
note_message(uint32_t kind, int fd, const struct msghdr *message, size_t n)
{
	struct record head = {.kind = kind, .fd = fd};
	size_t all = 0;

	for (size_t i = 0; i < message->msg_iovlen; i++)
		all += message->msg_iov[i].iov_len;
	head.length = all = n < all ? n : all;
	step_begin();
	put(&head, sizeof(head));
	for (size_t i = 0; i < message->msg_iovlen && all > 0; i++) {
		size_t part = message->msg_iov[i].iov_len;

		part = part < all ? part : all;
		put(message->msg_iov[i].iov_base, part);
		all -= part;
	}
	step_end();
}

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
	static ssize_t (*real)(int, const struct msghdr *, int);

	SHIM_REAL(real, "sendmsg");
	if (log_fd != -1)
		note_message(RECORD_SAID, fd, message, SIZE_MAX);
	return real(fd, message, flags);
}

ssize_t
recvmsg(int fd, struct msghdr *message, int flags)
{
	static ssize_t (*real)(int, struct msghdr *, int);
	ssize_t n;

	SHIM_REAL(real, "recvmsg");
	n = real(fd, message, flags);
	if (log_fd != -1 && n > 0)
		note_message(RECORD_HEARD, fd, message, (size_t)n);
	return n;
}
