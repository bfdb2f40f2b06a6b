/* SPDX-License-Identifier: ISC */
/*
 * Records of a segment and their chain.
 * Runs in: postern-loghub.  Trusts: nothing of what a segment holds.
 */
#include <string.h>

#include "loghub/record.h"

/* Says what the file is and which format its records have. */
#define OPENING_MAGIC "PstnLog1"
#define OPENING_MAGIC_SIZE 8

enum parse_result
record_read(struct slice in, struct record *record_r)
{
	uint32_t size;
	uint8_t kind;
	uint8_t role;

	if (in.n < sizeof(uint32_t))
		return PARSE_MORE;
	size = (uint32_t)ipc_get_number(in.p, 4);
	if (size < RECORD_MIN_SIZE || size > RECORD_MAX_SIZE)
		return PARSE_BAD;
	if (in.n < size)
		return PARSE_MORE;
	kind = (uint8_t)in.p[4];
	role = (uint8_t)in.p[5];
	if (kind >= RECORD_KIND_COUNT || role >= ROLE_COUNT ||
	    ipc_get_number(in.p + 6, 2) != 0)
		return PARSE_BAD;
	*record_r = (struct record){
	    .kind = kind,
	    .role = role,
	    .number = ipc_get_number(in.p + 8, 8),
	    .received_us = ipc_get_number(in.p + 16, 8),
	    .payload = {in.p + RECORD_HEAD_SIZE, size - RECORD_MIN_SIZE},
	    .hashed = {in.p, size - RECORD_HASH_SIZE},
	    .hash = (const unsigned char *)in.p + size - RECORD_HASH_SIZE,
	    .size = size,
	};
	return PARSE_OK;
}

void
record_head_write(char out[RECORD_HEAD_SIZE], enum record_kind kind,
    enum role role, uint64_t number, uint64_t received_us, size_t payload_size)
{
	if (payload_size > RECORD_MAX_SIZE - RECORD_MIN_SIZE)
		bug("a record of %zu octets", payload_size);
	ipc_put_number(out, payload_size + RECORD_MIN_SIZE, 4);
	out[4] = (char)kind;
	out[5] = (char)role;
	out[6] = 0;
	out[7] = 0;
	ipc_put_number(out + 8, number, 8);
	ipc_put_number(out + 16, received_us, 8);
}

int
record_event(const struct record *record, uint32_t *life_number_r,
    struct slice *event_r)
{
	struct slice event = record->payload;
	uint32_t life_number = 0;

	if (record->kind == RECORD_LIFE) {
		if (event.n < RECORD_LIFE_HEAD_SIZE)
			return -1;
		life_number = (uint32_t)ipc_get_number(event.p, 4);
		event.p += RECORD_LIFE_HEAD_SIZE;
		event.n -= RECORD_LIFE_HEAD_SIZE;
	} else if (record->kind != RECORD_EVENT) {
		return -1;
	}
	*life_number_r = life_number;
	*event_r = event;
	return 0;
}

void
record_opening_write(
    const struct record_opening *opening, char out[RECORD_OPENING_SIZE])
{
	memcpy(out, OPENING_MAGIC, OPENING_MAGIC_SIZE);
	ipc_put_number(out + OPENING_MAGIC_SIZE, opening->segment, 4);
	memcpy(out + OPENING_MAGIC_SIZE + 4, opening->previous,
	    RECORD_HASH_SIZE);
}

int
record_opening_read(
    const struct record *record, struct record_opening *opening_r)
{
	const char *p = record->payload.p;

	if (record->kind != RECORD_OPENING ||
	    record->payload.n != RECORD_OPENING_SIZE ||
	    memcmp(p, OPENING_MAGIC, OPENING_MAGIC_SIZE) != 0)
		return -1;
	opening_r->segment =
	    (uint32_t)ipc_get_number(p + OPENING_MAGIC_SIZE, 4);
	memcpy(opening_r->previous, p + OPENING_MAGIC_SIZE + 4,
	    RECORD_HASH_SIZE);
	return 0;
}

void
chain_init(struct chain *chain)
{
	*chain = (struct chain){
	    .sha256 = EVP_MD_fetch(NULL, "SHA256", NULL),
	    .context = EVP_MD_CTX_new(),
	};
	if (chain->sha256 == NULL || chain->context == NULL)
		fatal("OpenSSL has no SHA-256");
}

void
chain_clear(struct chain *chain)
{
	EVP_MD_CTX_free(chain->context);
	EVP_MD_free(chain->sha256);
	*chain = (struct chain){0};
}

void
chain_hash(struct chain *chain, struct slice octets,
    unsigned char hash_r[RECORD_HASH_SIZE])
{
	if (EVP_DigestInit_ex2(chain->context, chain->sha256, NULL) != 1 ||
	    EVP_DigestUpdate(chain->context, chain->head,
	        sizeof(chain->head)) != 1 ||
	    EVP_DigestUpdate(chain->context, octets.p, octets.n) != 1 ||
	    EVP_DigestFinal_ex(chain->context, hash_r, NULL) != 1)
		fatal("SHA-256 failed");
}

bool
chain_fits(struct chain *chain, const struct record *record)
{
	unsigned char hash[RECORD_HASH_SIZE];

	chain_hash(chain, record->hashed, hash);
	return memcmp(hash, record->hash, sizeof(hash)) == 0;
}

void
chain_set(struct chain *chain, const unsigned char *hash)
{
	memcpy(chain->head, hash, sizeof(chain->head));
}
