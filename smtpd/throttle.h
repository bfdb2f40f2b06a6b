/* SPDX-License-Identifier: ISC */
/*
 * How many failed logins are looked at.  A try counts when it begins, so that
 * many at once are no way around; a success takes it back.
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

/* tries: how many in any minute. */
struct throttle *throttle_new(
    const unsigned char key[THROTTLE_KEY_SIZE], uint64_t tries);
void throttle_free(struct throttle *throttle);
void throttle_set_tries(struct throttle *throttle, uint64_t tries);

/* What a try was counted on. */
struct throttle_try {
	uint64_t keys[2]; /* 0: none */
	uint64_t time_ms;
};

/*
 * May this try be looked at?  account: the canonical name, "" while none was
 * named.  false: it is not counted, and the password must not be looked at.
 */
bool throttle_begin(struct throttle *throttle, struct slice account,
    const struct netaddr *client, bool is_known_network, uint64_t now_ms,
    struct throttle_try *try_r);

/* The password was right: this try, and earlier ones of that owner, are off. */
void throttle_succeeded(
    struct throttle *throttle, const struct throttle_try *try);

/* It was not looked at after all (no room, no store). */
void throttle_take_back(
    struct throttle *throttle, const struct throttle_try *try);

/* How long the refusal is to be held back: longer with each failure. */
uint32_t throttle_delay_ms(
    struct throttle *throttle, const struct throttle_try *try, uint64_t now_ms);

/* For a try that was not looked at. */
#define THROTTLE_REFUSED_DELAY_MS 5000

#endif
