/* SPDX-License-Identifier: ISC */
/*
 * Who writes to the log by datagrams: each process of a role has a boot id
 * and numbers its events, so that what was lost on the way is known; and each
 * role has a budget, so that one that floods takes nothing from others.
 */
#ifndef LOGHUB_WRITERS_H
#define LOGHUB_WRITERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/roles.h"

/* smtpd's acceptor, its workers (64 at most) and those that ended lately. */
#define WRITERS_MAX 160

/*
 * A role may write that much a second, and so much at once after a quiet
 * time.  3,000 mails a second make some 6,000 events of smtpd; a minute's
 * ring of a writer that waited for us comes at once.
 */
#define WRITER_EVENTS_PER_S 20000u
#define WRITER_EVENTS_BURST 60000u
#define WRITER_OCTETS_PER_S (8u << 20)
#define WRITER_OCTETS_BURST (32u << 20)

struct writer_boot {
	enum role role; /* ROLE_NONE: a free place */
	uint64_t boot_id;
	uint64_t next; /* the number that its next event should have */
	uint64_t used; /* when it was heard last, in datagrams */
};

struct writer_budget {
	uint64_t events; /* thousandths, so that a millisecond counts */
	uint64_t octets;
	uint64_t at_ms; /* 0: full */
};

struct writers {
	struct writer_boot boots[WRITERS_MAX];
	struct writer_budget budgets[ROLE_COUNT];
	uint64_t clock;
};

struct writer_news {
	bool is_new;       /* this boot id was not known */
	uint64_t lost;     /* events missing before this datagram */
	uint16_t repeated; /* its first events were here before */
};

/* A datagram of count events, the first of them numbered sequence. */
void writers_note(struct writers *writers, enum role role, uint64_t boot_id,
    uint64_t sequence, uint16_t count, struct writer_news *news_r);

/* May the role write that much now?  Then it is taken off its budget. */
bool writers_may(struct writers *writers, enum role role, uint64_t now_ms,
    uint32_t events, uint32_t octets);

/*
 * The boots are kept in a file, written after each batch and not synced: it
 * outlives this process, not the host, and neither do the writers.
 */
void writers_save(const struct writers *writers, int fd);
void writers_load(struct writers *writers, int fd);

#endif
