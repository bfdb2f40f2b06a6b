/* SPDX-License-Identifier: ISC */
/*
 * The queue's part of the management API: verbs queue.* with JSON arguments,
 * forwarded by confd.
 */
#ifndef RELAY_QUEUE_ADMIN_H
#define RELAY_QUEUE_ADMIN_H

#include "relay/queued.h"

/* MGMT_REQUEST from confd. */
int queue_admin_request(
    struct channel *channel, const struct channel_frame *frame);

#endif
