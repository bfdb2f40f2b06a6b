/* SPDX-License-Identifier: ISC */
/*
 * The connections that workers have now, by session id: whose slot is free
 * again when a worker says so, or dies.
 */
#ifndef SMTPD_CLIENTS_H
#define SMTPD_CLIENTS_H

#include "common/netaddr.h"

struct clients;

struct clients *clients_new(void);
void clients_free(struct clients *clients);

void clients_add(struct clients *clients, uint64_t session_id, unsigned slot,
    const struct netaddr *address);

/* -1 when that worker has no such session; else *address_r is set. */
int clients_remove(struct clients *clients, uint64_t session_id, unsigned slot,
    struct netaddr *address_r);

/* Takes one session of a worker that is gone; false when none is left. */
bool clients_take(
    struct clients *clients, unsigned slot, struct netaddr *address_r);

#endif
