/* SPDX-License-Identifier: ISC */
/*
 * A peer that speaks for signerd to the queue of queued_world, and mail that a
 * client gives in.
 */
#ifndef TESTS_UNIT_SIGNER_WORLD_H
#define TESTS_UNIT_SIGNER_WORLD_H

#include "tests/unit/queued_world.h"

struct signer_world {
	struct world world;
	struct channel *signer; /* NULL: it is not there */
	char reason[ERR_TEXT_MAX];

	/* The last job. */
	unsigned jobs;
	unsigned forgotten;
	uint64_t message_id;
	uint32_t attempt;
	uint16_t direction;
	uint16_t dkim;
	unsigned recipients;
	uint32_t numbers[2000]; /* of the recipients */
	uint16_t sign;          /* of the first recipient */
	uint16_t encrypt;
	uint64_t size;
	bool was_file;
	char header_from[IPC_ADDRESS_MAX + 1];
	char removals[512]; /* "subject [x];" */
	char content[4096]; /* its start */

	/* The client's answer. */
	unsigned answers;
	uint16_t code;
	char enhanced[17];
	char text[512];
};

/* rules as of world_set_rules(); the signer comes with these domains. */
void signer_world_init(
    struct signer_world *world, const char *rules, const char *domains);
void signer_world_clear(struct signer_world *world);

/* domains: separated by blanks. */
void signer_world_connect(struct signer_world *world, const char *domains);
void signer_world_disconnect(struct signer_world *world);

/*
 * Gives a message in, from 127.0.0.1 when is_trusted, for "r0@DOMAIN" ... with
 * a domain each; returns its id.
 */
uint64_t signer_world_submit(struct signer_world *world, bool is_trusted,
    const char *const *domains, size_t count, const char *content);

/* What the signer says of the last job. */
void signer_world_output(
    struct signer_world *world, uint16_t number, const char *content);
/* Behind it follows the message as it was sent. */
void signer_world_output_before(struct signer_world *world, uint16_t number,
    const char *content, uint64_t follows);
void signer_world_output_file(
    struct signer_world *world, uint16_t number, size_t size);
struct signer_says {
	uint16_t outcome;
	uint16_t applied;
	uint16_t output;
	const char *enhanced;
	const char *reason;
};
/* One for each recipient; attempt 0: the one of the last job. */
void signer_world_result(struct signer_world *world, uint32_t attempt,
    uint16_t outcome, const char *reason, const struct signer_says *says,
    size_t count);
/* An output of its own for each recipient of the last job, all encrypted. */
void signer_world_serve(struct signer_world *world, const char *content);

/* The number that a query of queue.db gives; -1: no row. */
int64_t signer_world_count(struct signer_world *world, const char *query);

#define SIGNER_WAIT(w, condition) WORLD_WAIT(&(w)->world, condition)

#endif
