/* SPDX-License-Identifier: ISC */
/*
 * GPGME's data objects over contents.
 * Runs in: postern-signerd's workers.  Trusts: nothing that is read.
 */
#include <errno.h>
#include <string.h>

#include "signer/pgp_data.h"
#include "signer/pgp_home.h"

static ssize_t
read_source(void *handle, void *p, size_t n)
{
	struct pgp_source *source = handle;
	ssize_t got;

	if (n > source->end - source->at)
		n = (size_t)(source->end - source->at);
	if (n == 0)
		return 0;
	got = content_read(source->content, source->at, p, n);
	if (got > 0)
		source->at += (uint64_t)got;
	if (got == -1)
		errno = EIO;
	return got;
}

/* GPGME asks for the start before it reads, and for nothing else. */
static off_t
seek_source(void *handle, off_t offset, int whence)
{
	struct pgp_source *source = handle;

	if (whence == SEEK_CUR)
		offset += (off_t)(source->at - source->start);
	else if (whence == SEEK_END)
		offset += (off_t)(source->end - source->start);
	if (offset < 0 || (uint64_t)offset > source->end - source->start) {
		errno = EINVAL;
		return -1;
	}
	source->at = source->start + (uint64_t)offset;
	return offset;
}

int
pgp_source_open_range(struct pgp_source *source, const struct content *content,
    uint64_t start, uint64_t end, struct err *err)
{
	gpgme_error_t error;

	*source = (struct pgp_source){
	    .callbacks = {.read = read_source, .seek = seek_source},
	    .content = content,
	    .start = start,
	    .end = end,
	    .at = start};
	error =
	    gpgme_data_new_from_cbs(&source->data, &source->callbacks, source);
	return error == 0 ? 0 : pgp_err(err, "no input for gpg", error);
}

int
pgp_source_open(
    struct pgp_source *source, const struct content *content, struct err *err)
{
	return pgp_source_open_range(source, content, 0, content->size, err);
}

void
pgp_source_close(struct pgp_source *source)
{
	gpgme_data_release(source->data);
	source->data = NULL;
}

static int
write_with_crs(struct content_writer *writer, struct slice s)
{
	while (s.n > 0) {
		size_t line = slice_find(s, '\n', 0);

		if (content_write(writer, s.p, line) == -1)
			return -1;
		if (line == s.n)
			return 0;
		if (content_write(writer, "\r\n", 2) == -1)
			return -1;
		s.p += line + 1;
		s.n -= line + 1;
	}
	return 0;
}

static ssize_t
write_drain(void *handle, const void *p, size_t n)
{
	struct pgp_drain *drain = handle;
	struct slice s = {p, n};
	int rc = drain->ends_lines ? write_with_crs(drain->writer, s)
				   : content_write_slice(drain->writer, s);

	if (rc == -1) {
		errno = EFBIG;
		return -1;
	}
	return (ssize_t)n;
}

int
pgp_drain_open(struct pgp_drain *drain, struct content_writer *writer,
    bool ends_lines, struct err *err)
{
	gpgme_error_t error;

	*drain = (struct pgp_drain){.callbacks = {.write = write_drain},
	    .writer = writer,
	    .ends_lines = ends_lines};
	error = gpgme_data_new_from_cbs(&drain->data, &drain->callbacks, drain);
	return error == 0 ? 0 : pgp_err(err, "no output for gpg", error);
}

void
pgp_drain_close(struct pgp_drain *drain)
{
	gpgme_data_release(drain->data);
	drain->data = NULL;
}
