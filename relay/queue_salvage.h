/* SPDX-License-Identifier: ISC */
/*
 * What can be read of a damaged queue.db goes into a new one: by hand, while
 * the gateway is stopped (postern-queued --salvage).
 */
#ifndef RELAY_QUEUE_SALVAGE_H
#define RELAY_QUEUE_SALVAGE_H

#include "common/confine.h"

/*
 * root is "" or that of an instance.  Says what it does on standard output;
 * returns the exit code: 0 everything was rescued, 7 not everything, and it
 * is named, 1 it could not be done; begun anew it loses nothing.
 */
int queue_salvage(const char *root, const struct confinement *confinement);

#endif
