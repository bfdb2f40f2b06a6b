/* SPDX-License-Identifier: ISC */
/*
 * What the files of a salvage share: queue_salvage.c goes the way, from the
 * damaged file to the new one, queue_salvage_rows.c reads what is damaged.
 */
#ifndef RELAY_QUEUE_SALVAGE_PARTS_H
#define RELAY_QUEUE_SALVAGE_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/sql.h"
#include "relay/spool_file.h"

#define SALVAGE_PATH_SIZE 600

struct salvage {
	char dir[SALVAGE_PATH_SIZE];
	char folder[SALVAGE_PATH_SIZE]; /* of what is damaged: SPOOL_SALVAGE */
	char kept[SALVAGE_PATH_SIZE];   /* its name in the end */
	struct sql *damaged;
	size_t version;   /* of its schema */
	struct sql *rows; /* what can be read of it, in sound tables */
	struct sql *new;
	struct spool_folders folders;
	uint64_t *ids;
	size_t id_count;
	size_t id_room;
	uint64_t rescued;
	uint64_t lost;
	uint64_t lost_files;
};

/* ---- queue_salvage_rows.c ---- */

/* Sets version, if the tables of what is damaged are as that one has them. */
int salvage_find_version(struct salvage *salvage, struct err *err);

/* Sets ids: all of which something is left. */
void salvage_find_ids(struct salvage *salvage);

/*
 * Sets rows: what can be read of those ids, life events and the clock, as the
 * schema of today has them.
 */
int salvage_fetch_rows(struct salvage *salvage, struct err *err);

#endif
