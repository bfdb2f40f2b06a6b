/* SPDX-License-Identifier: ISC */
/*
 * Outputs of one incoming message that are the same octet for octet.
 *
 * Each set of keys among its recipients has an output made for it, and hardly
 * ever do they differ: what nobody can open looks alike for all, and what
 * several can holds the same.  Stored once for each, a stranger's mail to a
 * hundred people would take the disk of a hundred.
 */
#ifndef SIGNER_JOB_TWIN_H
#define SIGNER_JOB_TWIN_H

#include "signer/job_parts.h"

/*
 * What is held at once of an incoming message, outputs and what is on its way
 * to be one: twice what queued asks for at once (queue_sign_share.h).
 */
#define HELD_OCTETS_MAX ((uint64_t)512 << 20)

/* Of the last step's result; -1: it cannot be read. */
int track_print(struct track *track, const struct task_result *result);

/*
 * One whose output was sent, and is the same in octets, in what was done and
 * in what is said of it; or NULL.
 */
const struct track *track_twin(const struct track *track);

/*
 * May so much be held for it, beside what is held for others?  When they have
 * nothing, always: so each attempt serves somebody.
 */
bool track_has_room(const struct track *track, uint64_t octets);

#endif
