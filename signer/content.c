/* SPDX-License-Identifier: ISC */
/*
 * Contents in memory and in files.
 * Runs in: postern-signerd's workers.  Trusts: that nobody changes the files.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "signer/content.h"

/* The file is written in pieces of this size. */
#define FLUSH_OCTETS ((size_t)IPC_OUTPUT_MAX)
#define READ_OCTETS 65536

struct content
content_of(struct slice memory)
{
	return (struct content){.memory = memory, .fd = -1, .size = memory.n};
}

int
content_of_file(int fd, struct content *content_r, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return err_set(
		    err, "cannot look at a content: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(err, "a content is not a regular file");
	*content_r = (struct content){.fd = fd, .size = (uint64_t)st.st_size};
	return 0;
}

ssize_t
content_read(const struct content *content, uint64_t offset, void *p, size_t n)
{
	char *out = p;
	size_t done = 0;

	if (offset >= content->size)
		return 0;
	if (n > content->size - offset)
		n = (size_t)(content->size - offset);
	if (content->fd == -1) {
		memcpy(out, content->memory.p + offset, n);
		return (ssize_t)n;
	}
	while (done < n) {
		ssize_t got = pread(
		    content->fd, out + done, n - done, (off_t)(offset + done));

		if (got == -1 && errno == EINTR)
			continue;
		if (got <= 0)
			return -1;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

int
content_load(const struct content *content, size_t limit, struct slice *all_r,
    char **owned_r, struct err *err)
{
	*owned_r = NULL;
	if (content->size > limit)
		return err_set(err, "%llu octets are more than %zu",
		    (unsigned long long)content->size, limit);
	if (content->fd == -1) {
		*all_r = content->memory;
		return 0;
	}
	*owned_r = xmalloc((size_t)content->size + 1);
	if (content_read(content, 0, *owned_r, (size_t)content->size) !=
	    (ssize_t)content->size) {
		free(*owned_r);
		*owned_r = NULL;
		return err_set(err, "cannot read a content");
	}
	*all_r = (struct slice){*owned_r, (size_t)content->size};
	return 0;
}

int
content_feed(const struct content *content, struct mime *mime, struct err *err)
{
	char piece[READ_OCTETS];

	if (content->fd == -1)
		mime_feed(mime, content->memory);
	for (uint64_t at = 0; content->fd != -1 && at < content->size;) {
		ssize_t n = content_read(content, at, piece, sizeof(piece));

		if (n <= 0)
			return err_set(err, "cannot read a content");
		mime_feed(mime, (struct slice){piece, (size_t)n});
		at += (uint64_t)n;
	}
	mime_finish(mime);
	return 0;
}

/* ---- writing ---- */

void
content_writer_init(struct content_writer *writer, int given_fd, uint64_t limit)
{
	memset(writer, 0, sizeof(*writer));
	buf_init(&writer->buffer, FLUSH_OCTETS);
	writer->given_fd = given_fd;
	writer->fd = -1;
	writer->limit = limit;
}

void
content_writer_clear(struct content_writer *writer)
{
	buf_clear(&writer->buffer);
	if (writer->owns_fd)
		close_if_open(&writer->fd);
	writer->fd = -1;
	writer->owns_fd = false;
}

static int
fail(struct content_writer *writer, const char *what)
{
	writer->failed = true;
	return err_set(&writer->err, "%s: %s", what, strerror(errno));
}

int
content_writer_reset(struct content_writer *writer)
{
	buf_reset(&writer->buffer);
	writer->size = 0;
	writer->failed = false;
	writer->is_over_limit = false;
	if (writer->fd != -1 && (ftruncate(writer->fd, 0) == -1 ||
				    lseek(writer->fd, 0, SEEK_SET) == -1))
		return fail(writer, "cannot empty an output");
	return 0;
}

static int
flush(struct content_writer *writer)
{
	struct slice rest = buf_slice(&writer->buffer);

	if (writer->fd == -1 && writer->given_fd != -1)
		writer->fd = writer->given_fd;
	if (writer->fd == -1) {
		writer->fd = memfd_create("output", MFD_CLOEXEC);
		if (writer->fd == -1)
			return fail(writer, "cannot make an output");
		writer->owns_fd = true;
	}
	while (rest.n > 0) {
		ssize_t done = write(writer->fd, rest.p, rest.n);

		if (done == -1 && errno == EINTR)
			continue;
		if (done == -1)
			return fail(writer, "cannot write an output");
		rest.p += done;
		rest.n -= (size_t)done;
	}
	buf_reset(&writer->buffer);
	return 0;
}

int
content_write(struct content_writer *writer, const void *p, size_t n)
{
	const char *in = p;

	if (writer->failed)
		return -1;
	if (n > writer->limit - writer->size) {
		writer->failed = true;
		writer->is_over_limit = true;
		return err_set(&writer->err,
		    "the output would be larger than %llu octets",
		    (unsigned long long)writer->limit);
	}
	writer->size += n;
	while (n > 0) {
		size_t room = FLUSH_OCTETS - writer->buffer.n;
		size_t piece = n < room ? n : room;

		if (piece == 0) {
			if (flush(writer) == -1)
				return -1;
			continue;
		}
		(void)buf_add(&writer->buffer, in, piece);
		in += piece;
		n -= piece;
	}
	return 0;
}

int
content_write_slice(struct content_writer *writer, struct slice s)
{
	return content_write(writer, s.p, s.n);
}

int
content_write_text(struct content_writer *writer, const char *text)
{
	return content_write(writer, text, strlen(text));
}

int
content_writer_put(
    struct content_writer *writer, uint64_t offset, struct slice octets)
{
	uint64_t in_file = writer->size - writer->buffer.n;

	if (writer->failed)
		return -1;
	if (offset + octets.n > writer->size)
		bug("octets beyond what was written");
	while (octets.n > 0) {
		ssize_t done;

		if (offset >= in_file) {
			memcpy(writer->buffer.p + (offset - in_file), octets.p,
			    octets.n);
			return 0;
		}
		done = pwrite(writer->fd, octets.p,
		    octets.n < in_file - offset ? octets.n
						: (size_t)(in_file - offset),
		    (off_t)offset);
		if (done == -1 && errno == EINTR)
			continue;
		if (done == -1)
			return fail(writer, "cannot write an output");
		octets.p += done;
		octets.n -= (size_t)done;
		offset += (uint64_t)done;
	}
	return 0;
}

int
content_writer_finish(struct content_writer *writer, struct content *content_r)
{
	if (writer->failed)
		return -1;
	if (writer->fd == -1) {
		*content_r = content_of(buf_slice(&writer->buffer));
		return 0;
	}
	if (flush(writer) == -1)
		return -1;
	*content_r = (struct content){.fd = writer->fd, .size = writer->size};
	return 0;
}
