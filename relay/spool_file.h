/* SPDX-License-Identifier: ISC */
/*
 * The files of the spool: spool/<xx>/<message id>, and <message id>-<output>
 * for what the signer made of it, in 64 folders that are made once.  Nothing
 * here knows the loop; all may be called from any thread.
 */
#ifndef RELAY_SPOOL_FILE_H
#define RELAY_SPOOL_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

#define SPOOL_FOLDERS 64

struct spool_folders {
	int fds[SPOOL_FOLDERS];
};

/* Opens spool/ and its folders below the state directory, or makes them. */
int spool_folders_open(
    struct spool_folders *folders, const char *state_dir, struct err *err);
void spool_folders_close(struct spool_folders *folders);

/* output is 0 for the message as it came. */

/* A new file for writing; -1 and errno (EEXIST: the id is taken). */
int spool_file_create(
    const struct spool_folders *folders, uint64_t id, unsigned output);

/* Writes all of it; -1 and errno. */
int spool_file_write(int fd, const char *p, size_t n);

/* The file and its name are durable; a failure ends the process. */
void spool_file_sync(
    const struct spool_folders *folders, uint64_t id, unsigned output, int fd);

/*
 * For reading; -1 when it is not there, or is not a file of our own with one
 * name.
 */
int spool_file_open(
    const struct spool_folders *folders, uint64_t id, unsigned output);

/* 0, also when there is none; -1 and errno. */
int spool_file_remove(
    const struct spool_folders *folders, uint64_t id, unsigned output);

/* It gets a name that a scan leaves alone; -1 and errno. */
int spool_file_set_aside(
    const struct spool_folders *folders, uint64_t id, unsigned output);

/* It is there while "postern-queued --salvage" is at work, or was ended. */
#define SPOOL_SALVAGE "salvage-unfinished"

/*
 * Where there is a spool there was a queue.db.  -1: it is gone, or not all of
 * it was salvaged, and what to do; to be asked before a store is opened or
 * made, or the spool would be emptied.
 */
int spool_has_store(const char *state_dir, struct err *err);

struct spool_scan {
	uint64_t kept;
	uint64_t removed; /* nobody knew them */
	uint64_t odd;     /* ignored: not made by us, or not as we make them */
};

/* Removes the files that is_known() does not know; tells of odd ones. */
int spool_folders_scan(const struct spool_folders *folders,
    bool (*is_known)(void *arg, uint64_t id, unsigned output), void *arg,
    struct spool_scan *scan_r, struct err *err);

#endif
