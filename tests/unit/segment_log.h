/* SPDX-License-Identifier: ISC */
/*
 * What the tests of the log on disk share: segments that are opened, filled
 * with notices, synced, named by their day, and removed.
 */
#ifndef TESTS_UNIT_SEGMENT_LOG_H
#define TESTS_UNIT_SEGMENT_LOG_H

#include <sys/resource.h>

#include "common/log.h"
#include "loghub/segment.h"

/* 2026-01-31 12:00 UTC. */
#define NOON_US ((uint64_t)1769860800 * 1000000)
#define DAY_US ((uint64_t)86400 * 1000000)

/* Opens the log in that folder, which is made when absent. */
struct segment_recovery segment_log_open(
    struct segment_writer *writer, const char *path);

/* As segment_append(), of an event that is encoded first. */
int segment_log_append(struct segment_writer *writer, enum role role,
    uint64_t time_us, struct log_context context, enum event_type type,
    const void *fields, uint32_t life_number, struct err *err);

/* The same: a notice of postern-confd. */
int segment_log_notice(
    struct segment_writer *writer, uint64_t time_us, const char *text);

/* Writes and syncs; there is something to sync. */
void segment_log_sync(struct segment_writer *writer);

/* The file of a segment; day 0 is that of NOON_US. */
#define SEGMENT_LOG_PATH_SIZE 128
void segment_log_path(const char *folder, uint32_t number, int32_t day,
    char path_r[SEGMENT_LOG_PATH_SIZE]);

/*
 * From now on the disk takes no file larger than that.  Returns what
 * setrlimit(RLIMIT_FSIZE) wants to end this.
 */
struct rlimit segment_log_fill_disk(rlim_t octets);

/* The log and its folder, in which nothing else is to be left. */
void segment_log_remove(const char *path);

#endif
