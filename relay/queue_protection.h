/* SPDX-License-Identifier: ISC */
/*
 * What policy demands for a message, and what the signer did for it: kept with
 * the message from before its 250 until it has left.  Most mail has none.
 */
#ifndef RELAY_QUEUE_PROTECTION_H
#define RELAY_QUEUE_PROTECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/ipc.h"
#include "common/vocabulary.h"

/* Of one recipient. */
struct queue_demand {
	uint32_t number;
	uint8_t sign;    /* enum protect_sign */
	uint8_t encrypt; /* enum protect_encrypt */
	uint8_t method;  /* enum protect_method */
	uint8_t min_trust;
	uint16_t options; /* a set of enum protect_option */
	uint16_t applied; /* a set of enum protect_applied, QUEUE_WAIVED */
	uint8_t waits;    /* enum demand_waits */
};

/*
 * Noted in queue_demand.applied beside enum protect_applied: an invitation to
 * a calendar, which the policy lets out as it is.
 */
#define QUEUE_WAIVED 0x100u

/* What the signer made of the message, for some of its recipients. */
struct queue_output {
	uint16_t number; /* from 1; 0 is the message as it came */
	bool is_file;
	bool is_8bit;
	uint64_t size;
	char *content; /* NULL: not in memory */
};

struct queue_protection {
	uint8_t direction; /* enum sign_direction */
	uint8_t dkim;      /* enum protect_dkim */
	uint32_t attempts; /* so far, of this message */
	/* The signer ended while it had the message: it may do so again. */
	bool is_suspect;
	uint32_t asked_next; /* where the next share begins; not kept */
	char *header_from;   /* "": none that can be read */
	char *removals;      /* lines "subject WORDS" or "header NAME" */
	struct queue_demand *demands;
	size_t demand_count;
	struct queue_output *outputs; /* by number */
	size_t output_count;
};

struct queue_protection *queue_protection_new(size_t demand_count);
void queue_protection_free(struct queue_protection *protection);

/* NULL when there is none. */
struct queue_demand *queue_protection_demand(
    const struct queue_protection *protection, uint32_t number);
struct queue_output *queue_protection_output(
    const struct queue_protection *protection, uint16_t number);

/* Takes the contents of more outputs over. */
void queue_protection_add_outputs(struct queue_protection *protection,
    struct queue_output *outputs, size_t count);
void queue_outputs_free(struct queue_output *outputs, size_t count);

/* The highest number of an output; 0: there is none. */
uint16_t queue_protection_last_output(
    const struct queue_protection *protection);

/* All recipients wait for the signer. */
void queue_protection_wait(struct queue_protection *protection);

/* Do all recipients get it, or none (encrypt required-all)? */
bool queue_protection_is_all_or_none(const struct queue_protection *protection);

/* Octets of outputs that are in memory. */
size_t queue_protection_memory(const struct queue_protection *protection);

/*
 * Is all that is demanded for the recipient applied?  What may be done, but
 * need not, is no matter.
 */
bool queue_demand_is_met(const struct queue_protection *protection,
    const struct queue_demand *demand, unsigned applied);

/* Is anything demanded that must be there before it leaves? */
bool queue_demand_is_strict(const struct queue_protection *protection,
    const struct queue_demand *demand);

/* May the original's text not be shown to its sender in a notification? */
bool queue_protection_hides(const struct queue_protection *protection);

/* Facts for SIGN_JOB, from lines; and back. */
void queue_removals_list(const char *removals, struct ipc_list_writer *facts_r);
char *queue_removals_text(struct ipc_list facts);

/* "signed encrypted dkim", for people. */
void queue_applied_text(unsigned applied, struct buf *text_r);

#endif
