/* SPDX-License-Identifier: ISC */
/*
 * Is DNS as a whole failing, or just somebody's domain?
 */
#ifndef SMTPD_DNS_HEALTH_H
#define SMTPD_DNS_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Questions about one broken domain alone prove nothing, so this many
 * different names must have failed, and none answered, within this time.
 */
#define DNS_HEALTH_NAMES 5
#define DNS_HEALTH_WINDOW_MS 30000

/* Zero before its first use. */
struct dns_health {
	struct {
		uint64_t name_hash;
		uint64_t time_ms; /* of its last failure */
	} failures[DNS_HEALTH_NAMES];
	size_t count;
	bool is_failing;
};

/* Notes the end of a question; true when is_failing has changed. */
bool dns_health_note(struct dns_health *health, const char *name,
    bool was_answered, uint64_t now_ms);

#endif
