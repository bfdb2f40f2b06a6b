/* SPDX-License-Identifier: ISC */
/*
 * A program's way to the central log: events are collected and sent as
 * datagrams at the end of the turn, kept in a bounded ring while the hub is
 * away, and counted when even that is full.  Mail never waits for the log.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/events.h"
#include "common/loop.h"

struct log;

/* What an event hangs on; 0 where there is none. */
struct log_context {
	uint64_t session_id;
	uint64_t message_id;
};

/*
 * fd: a socket connected to the writer's datagram socket of the hub (taken
 * over), or -1: then path (copied) is connected to when there is something to
 * send, and again when the hub's socket went away.  A worker that may not
 * connect gives no path, and a socket by log_take_socket() when it has one.
 * One thread uses a log: the one that runs the loop.
 */
struct log *log_new(struct loop *loop, int fd, const char *path);

/* Sends from now on by this socket. */
void log_take_socket(struct log *log, int fd);

/* Gives the hub a moment to take what waits, then frees. */
void log_free(struct log *log);

/*
 * Notes an event; fields is the struct of that event.  TEXT fields are made
 * printable and cut to their limit, so any text from outside may be passed.
 */
void log_event(struct log *log, struct log_context context,
    enum event_type type, const void *fields);

/* Events given up because the ring was full. */
uint64_t log_lost(const struct log *log);

/* A line for the service manager's journal, for what the hub cannot tell. */
void log_notice(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/*
 * Adds an event's octets as they travel and are kept: u16 type, u64 time in
 * microseconds, u64 session id, u64 message id, fields by the event's shape;
 * texts are cleaned as by log_event().  -1 only when out is full.
 */
int log_encode(struct buf *out, struct log_context context, uint64_t time_us,
    enum event_type type, const void *fields);

#endif
