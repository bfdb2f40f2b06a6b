/* SPDX-License-Identifier: ISC */
/*
 * smtpd's end of a stream: large mail, sent by the peer of a queued_world.
 */
#ifndef TESTS_UNIT_SENDING_H
#define TESTS_UNIT_SENDING_H

#include "tests/unit/queued_world.h"

#define HEADER "From: Anna <a@away.test>\r\nSubject: large\r\n\r\n"
#define FORGED "From: Anna <boss@ours.test>\r\nSubject: large\r\n\r\n"

/* What a sending end remembers of one stream. */
struct sending {
	struct world *world;
	uint64_t id;
	uint32_t number;
};

/* From that client, with that id and recipient. */
struct sending sending_open_from(struct world *world, const char *client,
    uint32_t number, uint64_t id, const char *to);
struct sending sending_open_as(
    struct world *world, uint32_t number, uint64_t id, const char *to);
struct sending sending_open(struct world *world, uint32_t number);

void sending_chunk(const struct sending *sending, const char *p, size_t n);
void sending_end(const struct sending *sending);
void sending_abort(const struct sending *sending);

/* Sends all of it, as the credit comes; stops when the stream is answered. */
void sending_all(const struct sending *sending, const char *p, size_t n);

#endif
