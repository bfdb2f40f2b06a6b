/* SPDX-License-Identifier: ISC */
/*
 * What the files of jobs share:
 *
 *	job.c        frames of queued, the life of a job, its result
 *	job_keys.c   look-ups, and the keys that tasks are given
 *	job_track.c  the steps of one output
 *	job_twin.c   outputs that are the same
 */
#ifndef SIGNER_JOB_PARTS_H
#define SIGNER_JOB_PARTS_H

#include "signer/job.h"
#include "signer/plan.h"
#include "signer/pools.h"
#include "signer/shape.h"
#include "signer/signerd.h"

/* Layers of an incoming message that are opened, one in another. */
#define LAYERS_MAX 4

struct job_recipient {
	uint32_t number;
	char *address;
	uint16_t min_trust;
	struct plan_recipient demand; /* keys: when planned */
	/* Of the result: */
	size_t track; /* TRACK_NONE: as it came, or none */
	enum sign_outcome outcome;
	unsigned already;
	char enhanced[16];
	char reason[512];
};
#define TRACK_NONE SIZE_MAX

/* One output on its way. */
struct track {
	struct job *job;
	struct task task;
	bool is_running;
	unsigned steps; /* that were done */
	/* Keys by method, encoded once; DKIM's for the last step. */
	struct ipc_list_writer keys[PLAN_METHOD_COUNT];
	struct ipc_list_writer dkim_keys;
	enum plan_method method;
	bool has_dkim;
	unsigned options;
	size_t recipient;             /* one of those that get it */
	enum shape_kind shape;        /* of the root that is left (incoming) */
	bool is_undecryptable;        /* a step said so */
	bool is_forged;               /* a signature does not fit */
	bool uses_secret;             /* its outcome depends on a private key */
	const char *closed;           /* FACT_CLOSED; NULL: it is opened */
	struct ipc_list_writer facts; /* from step to step */
	/* What the last step made; before the first it is the job's. */
	struct buf memory;
	int fd;
	uint64_t size;
	bool has_content;
	struct buf whole; /* an output put together from its parts */
	uint64_t follows; /* of the job's content, behind the last output */
	/* SHA-256 and size of the output without what follows. */
	unsigned char print[32];
	uint64_t print_octets;
	bool has_print;
	enum sign_outcome outcome; /* of the output */
	uint64_t sent_octets;      /* that queued holds for this one */
	uint16_t number; /* of its output, from 1, once queued has that */
	unsigned applied;
	char method_text[512];
};

struct job {
	struct jobs *jobs;
	struct job *next; /* of its bucket */
	uint64_t message_id;
	uint32_t attempt;
	enum sign_direction direction;
	enum protect_dkim dkim;
	int64_t now_s;
	char header_from[ADDRESS_TEXT_MAX];
	char *content; /* when fd is -1 */
	int fd;
	uint64_t size;
	struct buf removals; /* records as they came */
	uint32_t removal_count;
	struct shape shape;
	struct job_recipient *recipients;
	size_t recipient_count;
	struct track *tracks;
	size_t track_count;
	uint16_t outputs_sent;
	size_t running;
};

struct signerd *job_signerd(const struct job *job);
struct content job_content(const struct job *job);
struct ipc_list job_removals(const struct job *job);

/* job_keys.c */

/*
 * Plans: recipients' outcomes and the tracks.  Not SIGNED_DONE: for all of
 * them, with the sentence in the first recipient.
 */
enum sign_outcome job_plan(
    struct job *job, char enhanced_r[16], char reason_r[512]);

/* job_track.c */
void track_init(struct track *track, struct job *job);
void track_clear(struct track *track);
/* Nobody needs what the last step made any more. */
void track_drop_content(struct track *track);

/* Goes on; -1: the step could not be submitted. */
int track_start(struct track *track, struct err *err);

/* job.c, called by tracks */

/* The output is there: it was sent, or one like it. */
void job_track_done(struct track *track, enum sign_outcome outcome);
/*
 * For the track's recipients; PERMANENT where one demands "all or none": for
 * all.
 */
void job_track_failed(struct track *track, enum sign_outcome outcome,
    struct slice enhanced, struct slice reason);

#endif
