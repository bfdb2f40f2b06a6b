/* SPDX-License-Identifier: ISC */
/*
 * How many failed logins are looked at.  A try counts when it begins, so that
 * many at once are no way around; a success takes it back.  Where those that
 * have no outcome yet leave no room, the next one may wait for it: they may be
 * an office whose people all log in at nine, and then all of them get in.
 *
 * A try from a network that the account is known from counts against account
 * and network alone: whoever guesses elsewhere, be it from a thousand
 * addresses, does not lock the owner out.  Every other try counts against the
 * client's address (IPv6: its /64) and against the account as seen from all
 * unknown networks together.
 *
 * Takes time as an argument and keeps only keyed hashes, in a fixed table.
 */
#ifndef SMTPD_THROTTLE_H
#define SMTPD_THROTTLE_H

#include "common/netaddr.h"

#define THROTTLE_KEY_SIZE 32

struct throttle;

enum throttle_verdict {
	THROTTLE_GO,     /* counted; its outcome is to be told */
	THROTTLE_WAIT,   /* not counted; others may make room */
	THROTTLE_REFUSE, /* not counted; not for as long as a minute */
	THROTTLE_VERDICT_COUNT
};

/* tries: how many in any minute. */
struct throttle *throttle_new(
    const unsigned char key[THROTTLE_KEY_SIZE], uint64_t tries);
void throttle_free(struct throttle *throttle);
void throttle_set_tries(struct throttle *throttle, uint64_t tries);

/* What a try counts on. */
struct throttle_try {
	uint64_t keys[2]; /* 0: none */
	uint64_t time_ms;
};

/*
 * May this try be looked at?  account: the canonical name, "" while none was
 * named.  Unless the verdict is THROTTLE_GO the password must not be.
 */
enum throttle_verdict throttle_begin(struct throttle *throttle,
    struct slice account, const struct netaddr *client, bool is_known_network,
    uint64_t now_ms, struct throttle_try *try_r);

/* The same again for one that had to wait. */
enum throttle_verdict throttle_begin_again(
    struct throttle *throttle, struct throttle_try *try, uint64_t now_ms);

/* The password was right: this try, and earlier ones of that owner, are off. */
void throttle_succeeded(
    struct throttle *throttle, const struct throttle_try *try);

/* It was wrong, or given up: it counts for a minute from its begin. */
void throttle_failed(struct throttle *throttle, const struct throttle_try *try);

/* It was not looked at after all (no room, no store). */
void throttle_take_back(
    struct throttle *throttle, const struct throttle_try *try);

/* How long the refusal of one that failed is held back: longer each time. */
uint32_t throttle_delay_ms(
    struct throttle *throttle, const struct throttle_try *try, uint64_t now_ms);

/* For a try that was not looked at. */
#define THROTTLE_REFUSED_DELAY_MS 5000

#endif
