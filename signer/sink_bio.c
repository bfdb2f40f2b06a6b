/* SPDX-License-Identifier: ISC */
/*
 * Between sinks and OpenSSL's BIOs.
 * Runs in: postern-signerd's workers.  Trusts: nothing; passes octets on.
 */
#include <limits.h>

#include "signer/sink_bio.h"

static int
bio_write(BIO *bio, const char *p, int n)
{
	struct sink_bio *sb = BIO_get_data(bio);

	if (n <= 0 || sink_write(&sb->out, p, (size_t)n, &sb->err) == -1)
		return -1;
	return n;
}

static long
bio_ctrl(BIO *bio, int command, long number, void *p)
{
	(void)bio;
	(void)number;
	(void)p;
	return command == BIO_CTRL_FLUSH;
}

void
sink_bio_init(struct sink_bio *sb, struct sink out)
{
	*sb = (struct sink_bio){.out = out};
	/* No index of its own: there are 128 for the life of a process. */
	sb->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "sink");
	if (sb->method == NULL || !BIO_meth_set_write(sb->method, bio_write) ||
	    !BIO_meth_set_ctrl(sb->method, bio_ctrl) ||
	    (sb->bio = BIO_new(sb->method)) == NULL)
		fatal("out of memory");
	BIO_set_data(sb->bio, sb);
	BIO_set_init(sb->bio, 1);
}

void
sink_bio_clear(struct sink_bio *sb)
{
	BIO_free(sb->bio);
	BIO_meth_free(sb->method);
	sb->bio = NULL;
	sb->method = NULL;
}

static int
write_bio(void *arg, const void *p, size_t n, struct err *err)
{
	const char *in = p;

	while (n > 0) {
		int piece = n < INT_MAX ? (int)n : INT_MAX;
		int done = BIO_write(arg, in, piece);

		if (done <= 0)
			return err_set(err, "OpenSSL could not go on");
		in += done;
		n -= (size_t)done;
	}
	return 0;
}

struct sink
sink_of_bio(BIO *bio)
{
	return (struct sink){write_bio, bio};
}
