/* SPDX-License-Identifier: ISC */
/*
 * One record of a segment, and the hash chain that runs through all of them.
 *
 * A record is u32 size (of all of it), u8 kind, u8 role of the writer, u16 0,
 * u64 number, u64 time of receipt in microseconds, the payload, and 32 octets
 * of SHA-256 over the hash of the record before it and everything of this one
 * up to here.  Numbers little endian; record numbers rise by one, through all
 * segments.
 */
#ifndef LOGHUB_RECORD_H
#define LOGHUB_RECORD_H

#include <openssl/evp.h>

#include "common/events.h"
#include "common/parse.h"
#include "common/roles.h"

#define RECORD_HASH_SIZE 32
#define RECORD_HEAD_SIZE 24
#define RECORD_MIN_SIZE (RECORD_HEAD_SIZE + RECORD_HASH_SIZE)

/* An event fills a datagram at most; the rest is slack for heads. */
#define RECORD_MAX_SIZE 65536

enum record_kind {
	RECORD_OPENING, /* first of a segment: struct record_opening */
	RECORD_EVENT,   /* an event's octets */
	RECORD_LIFE,    /* u32 number within its message, then the event */
	RECORD_KIND_COUNT
};

/* Pieces of a record, pointing into what was read. */
struct record {
	enum record_kind kind;
	enum role role;
	uint64_t number;
	uint64_t received_us;
	struct slice payload;
	struct slice hashed; /* all but the hash */
	const unsigned char *hash;
	size_t size;
};

/*
 * The first record of in; PARSE_MORE when it is cut short.  Its form is
 * checked, its hash and its event are not.
 */
enum parse_result record_read(struct slice in, struct record *record_r);

/* Writes the part before the payload. */
void record_head_write(char out[RECORD_HEAD_SIZE], enum record_kind kind,
    enum role role, uint64_t number, uint64_t received_us,
    size_t payload_size);

/*
 * The event of a record: its octets and, for RECORD_LIFE, its number within
 * the message (else 0).  -1 when the record holds none.
 */
int record_event(const struct record *record, uint32_t *life_number_r,
    struct slice *event_r);

#define RECORD_LIFE_HEAD_SIZE 4

/* What a segment says of itself: magic, format, its number, the chain. */
struct record_opening {
	uint32_t segment;
	unsigned char previous[RECORD_HASH_SIZE];
};

#define RECORD_OPENING_SIZE (8 + 4 + RECORD_HASH_SIZE)

void record_opening_write(
    const struct record_opening *opening, char out[RECORD_OPENING_SIZE]);
int record_opening_read(
    const struct record *record, struct record_opening *opening_r);

/* The chain's moving end. */
struct chain {
	EVP_MD *sha256; /* fetched once: half the cost for small records */
	EVP_MD_CTX *context;
	unsigned char head[RECORD_HASH_SIZE];
};

/* Begins with a head of zeros; ends the process without SHA-256. */
void chain_init(struct chain *chain);
void chain_clear(struct chain *chain);

/* The hash of octets that follow the head; the head stays. */
void chain_hash(struct chain *chain, struct slice octets,
    unsigned char hash_r[RECORD_HASH_SIZE]);

/* The record's hash is that of its octets after the head. */
bool chain_fits(struct chain *chain, const struct record *record);

void chain_set(struct chain *chain, const unsigned char *hash);

#endif
