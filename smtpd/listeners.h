/* SPDX-License-Identifier: ISC */
/*
 * The listening sockets that bindd gives, and accepting on them.
 */
#ifndef SMTPD_LISTENERS_H
#define SMTPD_LISTENERS_H

#include "common/loop.h"
#include "common/netaddr.h"
#include "common/vocabulary.h"

struct listeners;

/* A connection; fd is taken over, non-blocking and close-on-exec. */
typedef void listeners_accept_fn(void *arg, int fd, enum listener_kind kind,
    const struct netaddr *client, uint16_t port, const char *local_address);

struct listeners *listeners_new(
    struct loop *loop, listeners_accept_fn *accept, void *arg);
void listeners_free(struct listeners *listeners);

/*
 * A socket of the next set; fd is taken over.  -1 when it is no listening
 * socket of the internet.
 */
int listeners_add(struct listeners *listeners, enum listener_kind kind,
    struct slice address, int fd);

/* The set is complete: sockets that it did not name are closed. */
void listeners_commit(struct listeners *listeners);

/* Connections wait in the kernel while not enabled. */
void listeners_enable(struct listeners *listeners, bool is_enabled);

size_t listeners_count(const struct listeners *listeners);

/* Shows each socket; it stays the set's. */
typedef void listeners_each_fn(void *arg, enum listener_kind kind, int fd);
void listeners_each(
    const struct listeners *listeners, listeners_each_fn *each, void *arg);

#endif
