/* SPDX-License-Identifier: ISC */
/*
 * Contents of messages as the signer's workers read and write them: small
 * ones in memory, large ones by descriptor, so that signing streams.
 */
#ifndef SIGNER_CONTENT_H
#define SIGNER_CONTENT_H

#include <sys/types.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/ipc_messages.h"
#include "common/mime.h"

/* A message to read; whoever made it keeps what it points to. */
struct content {
	struct slice memory; /* when fd is -1 */
	int fd;              /* a file that nobody changes any more */
	uint64_t size;
};

struct content content_of(struct slice memory);

/* Of a regular file, all of it. */
int content_of_file(int fd, struct content *content_r, struct err *err);

/*
 * Up to n octets from that offset: fewer only at the end, 0 behind it, -1
 * when the file cannot be read or became shorter.
 */
ssize_t content_read(
    const struct content *content, uint64_t offset, void *p, size_t n);

/*
 * All of it in memory: *owned_r is what the caller frees, or NULL.  -1 when
 * it is larger than limit or cannot be read.
 */
int content_load(const struct content *content, size_t limit,
    struct slice *all_r, char **owned_r, struct err *err);

/* Gives the parser all of it, and the end.  -1: it cannot be read. */
int content_feed(
    const struct content *content, struct mime *mime, struct err *err);

/*
 * What is written: in memory up to IPC_OUTPUT_MAX, then in the file that was
 * given, or, without one, in a memory file of its own.
 */
struct content_writer {
	struct buf buffer;
	int given_fd; /* an empty file, or -1; stays the caller's */
	int fd;       /* where it goes now; -1: still in memory */
	bool owns_fd;
	uint64_t size;
	uint64_t limit;
	bool failed; /* a write failed or the limit was passed */
	bool is_over_limit;
	struct err err;
};

void content_writer_init(
    struct content_writer *writer, int given_fd, uint64_t limit);
void content_writer_clear(struct content_writer *writer);

/* Starts over: what was written is gone. */
int content_writer_reset(struct content_writer *writer);

/* -1 when this or an earlier write failed: writer->err says why. */
int content_write(struct content_writer *writer, const void *p, size_t n);
int content_write_slice(struct content_writer *writer, struct slice s);
int content_write_text(struct content_writer *writer, const char *text);

/* Writes over octets that were written before, after finish too. */
int content_writer_put(
    struct content_writer *writer, uint64_t offset, struct slice octets);

/* Ends it: what was written, to be read; -1 when a write failed. */
int content_writer_finish(
    struct content_writer *writer, struct content *content_r);

#endif
