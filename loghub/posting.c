/* SPDX-License-Identifier: ISC */
/*
 * Postings in memory and in chunks.
 * Runs in: postern-loghub.  Trusts: nothing of what a chunk holds.
 */
#include <string.h>

#include "common/ipc.h"
#include "loghub/posting.h"

void
posting_write(const struct posting *posting, char out[POSTING_SIZE])
{
	ipc_put_number(out, posting->term, 8);
	ipc_put_number(out + 8, posting->number, 8);
	ipc_put_number(out + 16, posting->message, 8);
}

void
posting_read(const char *in, struct posting *posting_r)
{
	posting_r->term = ipc_get_number(in, 8);
	posting_r->number = ipc_get_number(in + 8, 8);
	posting_r->message = ipc_get_number(in + 16, 8);
}

int
posting_compare(const void *a, const void *b)
{
	const struct posting *x = a;
	const struct posting *y = b;

	if (x->term != y->term)
		return x->term < y->term ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

size_t
posting_chunk_count(struct slice chunk)
{
	return chunk.n / POSTING_SIZE;
}

size_t
posting_chunk_find(struct slice chunk, uint64_t term)
{
	size_t low = 0;
	size_t high = posting_chunk_count(chunk);

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ipc_get_number(chunk.p + middle * POSTING_SIZE, 8) < term)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
