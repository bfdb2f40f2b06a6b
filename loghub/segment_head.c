/* SPDX-License-Identifier: ISC */
/*
 * The file "head".
 * Runs in: postern-loghub.  Trusts: nothing of what the file holds.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "loghub/segment_head.h"

/* "<segment> <day> <offset> <number> <hash in hex>\n", always as long. */
#define HEAD_SIZE 129

static const char hex[] = "0123456789abcdef";

void
segment_head_write(int fd, const struct segment_position *at)
{
	char text[HEAD_SIZE + 1];
	char hash[2 * RECORD_HASH_SIZE + 1];

	for (size_t i = 0; i < RECORD_HASH_SIZE; i++) {
		hash[2 * i] = hex[at->hash[i] >> 4];
		hash[2 * i + 1] = hex[at->hash[i] & 15];
	}
	hash[2 * RECORD_HASH_SIZE] = '\0';
	(void)snprintf(text, sizeof(text), "%010u %010u %020llu %020llu %s\n",
	    at->name.number, (unsigned)at->name.day,
	    (unsigned long long)at->offset, (unsigned long long)at->number,
	    hash);
	/* Only a help at the next start: a failure loses nothing. */
	(void)!pwrite(fd, text, HEAD_SIZE, 0);
}

static int
hex_value(char c)
{
	const char *at = c == '\0' ? NULL : strchr(hex, c);

	return at == NULL ? -1 : (int)(at - hex);
}

static int
read_hash(struct slice text, unsigned char hash_r[RECORD_HASH_SIZE])
{
	if (text.n < (size_t)2 * RECORD_HASH_SIZE)
		return -1;
	for (size_t i = 0; i < RECORD_HASH_SIZE; i++) {
		int high = hex_value(text.p[2 * i]);
		int low = hex_value(text.p[2 * i + 1]);

		if (high == -1 || low == -1)
			return -1;
		hash_r[i] = (unsigned char)(high << 4 | low);
	}
	return 0;
}

void
segment_head_read(int fd, struct segment_position *at_r)
{
	/* Where its four numbers stand, and the hash after them. */
	static const struct {
		size_t at;
		size_t n;
	} places[4] = {{0, 10}, {11, 10}, {22, 20}, {43, 20}};
	const size_t hash_at = 64;
	char text[HEAD_SIZE];
	uint64_t values[4];
	struct segment_position at = {0};

	*at_r = at;
	if (pread(fd, text, sizeof(text), 0) != (ssize_t)sizeof(text))
		return;
	for (size_t i = 0; i < 4; i++)
		if (slice_to_u64((struct slice){text + places[i].at,
		                     places[i].n},
		        &values[i]) == -1)
			return;
	if (values[0] > UINT32_MAX || values[1] > INT32_MAX ||
	    read_hash((struct slice){text + hash_at, HEAD_SIZE - hash_at},
	        at.hash) == -1)
		return;
	at.name.number = (uint32_t)values[0];
	at.name.day = (int32_t)values[1];
	at.offset = values[2];
	at.number = values[3];
	*at_r = at;
}
