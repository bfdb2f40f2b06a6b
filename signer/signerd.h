/* SPDX-License-Identifier: ISC */
/*
 * postern-signerd's one state, and what its files ask of each other.
 *
 *	signerd.c   start, settings, status
 *	pools.c     worker processes, classes of them, their queues (pool_*.c)
 *	job.c       messages from queued, and their steps (states: job.h)
 *	plan.c      which keys, which recipients share an output (pure)
 *	manage.c    management verbs
 *	worker.c    the other side: a worker process
 */
#ifndef SIGNER_SIGNERD_H
#define SIGNER_SIGNERD_H

#include "common/daemon.h"
#include "signer/keystore.h"
#include "signer/master_key.h"
#include "signer/pools.h"
#include "signer/versions.h"

struct jobs;
struct lookup;

struct signerd {
	struct daemon *daemon;
	struct keystore *keystore;
	/* Never sent anywhere; classes' keys come from it (wrap.h). */
	struct master_key master;
	struct pools *pools;
	struct jobs *jobs;
	struct link *queued;
	struct lookup *lookup; /* NULL when managing */
	struct manage_request *requests; /* that wait for their answer */
	unsigned processors;
	struct software_version versions[SOFTWARE_COUNT];
	unsigned harvests; /* keys from mail that are being read */
	struct event *tick;
	uint64_t ticks;
	uint64_t ready_revision; /* of the keys that queued was told of */
};

/*
 * The folder of a class's key files, and what its workers open them with.
 * The folder exists after start.
 */
void signerd_key_folder(const struct signerd *signerd, enum pool_class class,
    char *path_r, size_t size);
int signerd_class_key(const struct signerd *signerd, enum pool_class class,
    struct wrap_key *key_r, struct err *err);

/*
 * An empty file without a name in the state directory, to read and write; -1
 * with a sentence.
 */
int signerd_scratch_file(const struct signerd *signerd, struct err *err);

/* Keys changed: queued hears of DKIM domains (SIGN_READY) if it must. */
void signerd_keys_changed(struct signerd *signerd);

#endif
