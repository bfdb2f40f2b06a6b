/* SPDX-License-Identifier: ISC */
/*
 * Files of the spool.
 * Runs in: postern-queued.  Trusts: its state directory to be its own; what
 * is found in the spool is looked at before it is used or removed (T112,
 * T113).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/ids.h"
#include "common/log.h"
#include "relay/spool_file.h"

/* More odd files than this are only counted. */
#define ODD_TOLD_MAX 20

/* "00" to "3f": the counter of an id, and its time where that stands still. */
static unsigned
folder_of(uint64_t id)
{
	return (unsigned)((id ^ id >> 20) % SPOOL_FOLDERS);
}

static int
folder_fd(const struct spool_folders *folders, uint64_t id)
{
	return folders->fds[folder_of(id)];
}

/* ---- folders ---- */

/* Opens a folder that is ours alone, or makes it. */
static int
open_folder(int at_fd, const char *path, struct err *err)
{
	struct stat st;
	int fd;

	if (mkdirat(at_fd, path, 0700) == -1 && errno != EEXIST)
		return err_set(
		    err, "cannot make %s: %s", path, strerror(errno));
	fd = openat(
	    at_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1)
		return err_set(
		    err, "cannot open %s: %s", path, strerror(errno));
	if (fstat(fd, &st) == -1 || st.st_uid != geteuid() ||
	    (st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
		(void)close(fd);
		return err_set(err,
		    "%s does not belong to this program's user alone; "
		    "see who changed it, then chown and chmod 700",
		    path);
	}
	return fd;
}

/*
 * Names must survive a power cut before mail rests on them.  Whoever made them
 * may have been killed before its sync: so at each start, new or not.
 */
static int
sync_folder(int fd, const char *what, struct err *err)
{
	if (fsync(fd) == -1)
		return err_set(err, "fsync of %s: %s", what, strerror(errno));
	return 0;
}

static int
sync_path(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (fd == -1)
		return err_set(err, "open %s: %s", path, strerror(errno));
	rc = sync_folder(fd, path, err);
	(void)close(fd);
	return rc;
}

int
spool_folders_open(
    struct spool_folders *folders, const char *state_dir, struct err *err)
{
	char path[600];
	int spool_fd = -1;
	int rc = -1;

	for (unsigned i = 0; i < SPOOL_FOLDERS; i++)
		folders->fds[i] = -1;
	(void)snprintf(path, sizeof(path), "%s/spool", state_dir);
	/* The names of queue.db and its log first: see spool_has_store(). */
	if (sync_path(state_dir, err) == -1)
		goto out;
	spool_fd = open_folder(AT_FDCWD, path, err);
	if (spool_fd == -1 || sync_path(state_dir, err) == -1)
		goto out;
	for (unsigned i = 0; i < SPOOL_FOLDERS; i++) {
		char name[8];

		(void)snprintf(name, sizeof(name), "%02x", i);
		folders->fds[i] = open_folder(spool_fd, name, err);
		if (folders->fds[i] == -1) {
			(void)err_wrap(err, "%s", path);
			goto out;
		}
	}
	if (sync_folder(spool_fd, path, err) == -1)
		goto out;
	rc = 0;
out:
	close_if_open(&spool_fd);
	if (rc == -1)
		spool_folders_close(folders);
	return rc;
}

void
spool_folders_close(struct spool_folders *folders)
{
	for (unsigned i = 0; i < SPOOL_FOLDERS; i++)
		close_if_open(&folders->fds[i]);
}

/* ---- files ---- */

/* Of the id, a dash and an output's number. */
#define NAME_SIZE (ID_TEXT_SIZE + 12)

static void
format_name(uint64_t id, unsigned output, char name_r[NAME_SIZE])
{
	char text[ID_TEXT_SIZE];

	id_format(id, text);
	if (output == 0)
		(void)snprintf(name_r, NAME_SIZE, "%s", text);
	else
		(void)snprintf(name_r, NAME_SIZE, "%s-%u", text, output);
}

/* -1: not a name as we make them. */
static int
parse_name(const char *name, uint64_t *id_r, unsigned *output_r)
{
	const struct slice text = slice_of(name);
	const size_t dash = slice_find(text, '-', 0);
	char proper[NAME_SIZE];
	uint64_t output = 0;

	if (id_parse((struct slice){text.p, dash}, id_r) == -1)
		return -1;
	if (dash < text.n &&
	    (slice_to_u64((struct slice){text.p + dash + 1, text.n - dash - 1},
		 &output) == -1 ||
		output == 0 || output > UINT16_MAX))
		return -1;
	*output_r = (unsigned)output;
	format_name(*id_r, *output_r, proper);
	return strcmp(name, proper) == 0 ? 0 : -1;
}

int
spool_file_create(
    const struct spool_folders *folders, uint64_t id, unsigned output)
{
	char name[NAME_SIZE];

	format_name(id, output, name);
	return openat(folder_fd(folders, id), name,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

int
spool_file_write(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done == -1 && errno == EINTR)
			continue;
		if (done == -1)
			return -1;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

void
spool_file_sync(
    const struct spool_folders *folders, uint64_t id, unsigned output, int fd)
{
	char name[NAME_SIZE];

	/* What the page cache holds after a failure is not known (DESIGN §3).
	 */
	format_name(id, output, name);
	if (fdatasync(fd) == -1)
		fatal("fdatasync of spool file %s: %s", name, strerror(errno));
	if (fsync(folder_fd(folders, id)) == -1)
		fatal("fsync of the folder of spool file %s: %s", name,
		    strerror(errno));
}

/* As we make them: a plain file, ours alone, with one name. */
static bool
is_as_made(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_uid == geteuid() &&
	       (st->st_mode & (S_IRWXG | S_IRWXO)) == 0 && st->st_nlink == 1;
}

int
spool_file_open(
    const struct spool_folders *folders, uint64_t id, unsigned output)
{
	char name[NAME_SIZE];
	struct stat st;
	int fd;

	/* O_NONBLOCK: a FIFO in its place must not stop us. */
	format_name(id, output, name);
	fd = openat(folder_fd(folders, id), name,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd != -1 && (fstat(fd, &st) == -1 || !is_as_made(&st)))
		close_if_open(&fd);
	return fd;
}

int
spool_file_remove(
    const struct spool_folders *folders, uint64_t id, unsigned output)
{
	char name[NAME_SIZE];

	format_name(id, output, name);
	if (unlinkat(folder_fd(folders, id), name, 0) == -1 && errno != ENOENT)
		return -1;
	return 0;
}

int
spool_file_set_aside(
    const struct spool_folders *folders, uint64_t id, unsigned output)
{
	const int fd = folder_fd(folders, id);
	char name[NAME_SIZE];
	char aside[NAME_SIZE + sizeof(".lost")];

	format_name(id, output, name);
	(void)snprintf(aside, sizeof(aside), "%s.lost", name);
	return renameat(fd, name, fd, aside);
}

int
spool_has_store(const char *state_dir, struct err *err)
{
	char path[600];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/" SPOOL_SALVAGE, state_dir);
	if (lstat(path, &st) == 0)
		return err_set(err,
		    "%s/queue.db may not be whole: a salvage was not finished; "
		    "run \"postern-queued --salvage\" again, or restore a "
		    "backup and remove %s",
		    state_dir, path);
	(void)snprintf(path, sizeof(path), "%s/spool", state_dir);
	if (lstat(path, &st) == -1)
		return 0; /* a first start */
	(void)snprintf(path, sizeof(path), "%s/queue.db", state_dir);
	if (stat(path, &st) == -1 && errno == ENOENT)
		return err_set(err,
		    "%s is gone, but %s/spool is there; restore both from a "
		    "backup, or begin anew with \"postern-queued --salvage\"",
		    path, state_dir);
	if (st.st_size == 0)
		return err_set(err,
		    "%s is empty, but was not; restore it and %s/spool from a "
		    "backup, or begin anew with \"postern-queued --salvage\"",
		    path, state_dir);
	return 0;
}

/* ---- the scan at start ---- */

static void
tell_odd(
    struct spool_scan *scan, unsigned folder, const char *name, const char *why)
{
	if (++scan->odd <= ODD_TOLD_MAX)
		log_notice(
		    "spool/%02x/%s is left alone: %s", folder, name, why);
}

static void
look_at(const struct spool_folders *folders, unsigned folder, const char *name,
    bool (*is_known)(void *arg, uint64_t id, unsigned output), void *arg,
    struct spool_scan *scan)
{
	struct stat st;
	unsigned output;
	uint64_t id;

	if (parse_name(name, &id, &output) == -1) {
		tell_odd(scan, folder, name, "its name is no message id");
	} else if (folder_of(id) != folder) {
		tell_odd(scan, folder, name, "it is not in its place");
	} else if (fstatat(folders->fds[folder], name, &st,
		       AT_SYMLINK_NOFOLLOW) == -1 ||
		   !is_as_made(&st)) {
		tell_odd(scan, folder, name,
		    "it is not a file of this program's user alone");
	} else if (is_known(arg, id, output)) {
		scan->kept++;
	} else if (spool_file_remove(folders, id, output) == -1) {
		tell_odd(scan, folder, name, strerror(errno));
	} else {
		scan->removed++;
	}
}

static int
scan_folder(const struct spool_folders *folders, unsigned folder,
    bool (*is_known)(void *arg, uint64_t id, unsigned output), void *arg,
    struct spool_scan *scan, struct err *err)
{
	/* A position of its own, and closed by closedir(). */
	int fd = openat(
	    folders->fds[folder], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int rc = 0;

	if (dir == NULL) {
		rc = err_set(
		    err, "read spool/%02x: %s", folder, strerror(errno));
		close_if_open(&fd);
		return rc;
	}
	while (errno = 0, (entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0)
			look_at(folders, folder, entry->d_name, is_known, arg,
			    scan);
	if (errno != 0)
		rc = err_set(
		    err, "read spool/%02x: %s", folder, strerror(errno));
	(void)closedir(dir);
	return rc;
}

int
spool_folders_scan(const struct spool_folders *folders,
    bool (*is_known)(void *arg, uint64_t id, unsigned output), void *arg,
    struct spool_scan *scan_r, struct err *err)
{
	*scan_r = (struct spool_scan){0};
	for (unsigned i = 0; i < SPOOL_FOLDERS; i++)
		if (scan_folder(folders, i, is_known, arg, scan_r, err) == -1)
			return -1;
	if (scan_r->odd > ODD_TOLD_MAX)
		log_notice("spool: %llu files left alone in all",
		    (unsigned long long)scan_r->odd);
	return 0;
}
