/* SPDX-License-Identifier: ISC */
/*
 * A worker process of the signer.  Its class is the name it is started under;
 * one function each, since that name is all that a worker is started with.
 */
#ifndef SIGNER_WORKER_H
#define SIGNER_WORKER_H

#include "common/spawner.h"

/* Of every class, by enum pool_class; ends with name NULL. */
extern const struct worker_program signer_worker_programs[];

#endif
