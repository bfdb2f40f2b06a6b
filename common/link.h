/* SPDX-License-Identifier: ISC */
/*
 * How channels come to be: a link connects to a server's socket and connects
 * again when that ends; a door takes the connections of one peer role.
 */
#ifndef COMMON_LINK_H
#define COMMON_LINK_H

#include "common/channel.h"

struct link;

/*
 * Connects to the socket file (copied) now and, after an end, again with
 * back-off from 50 ms to 2 s.  config.up is called each time both HELLOs are
 * there; config.closed each time an established channel ended.
 */
struct link *link_new(
    const struct channel_config *config, const char *socket_path);
void link_free(struct link *link);

/* The channel, or NULL while the peer is not there (answer 4xx then). */
struct channel *link_channel(const struct link *link);

/* Connects a blocking attempt's worth: a descriptor for a worker, or -1. */
int link_connect_fd(const char *socket_path, struct err *err);

struct door;

/*
 * Accepts on a listening Unix stream socket (taken over).  A connection of a
 * user other than the peer role's (SO_PEERCRED), root excepted, is closed
 * before a byte is read.  ROLE_ADMIN: the socket's mode decides instead.  At
 * most max_channels at once.  The door outlives its channels.
 */
struct door *door_new(
    const struct channel_config *config, int listen_fd, size_t max_channels);
void door_free(struct door *door);

#endif
