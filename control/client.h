/* SPDX-License-Identifier: ISC */
/*
 * The asking side of the management API: connects to the running gateway's
 * confd, or starts confd and the owners that a command needs, for as long as
 * the command runs (DESIGN §4).
 */
#ifndef CONTROL_CLIENT_H
#define CONTROL_CLIENT_H

#include <jansson.h>

#include "common/channel.h"
#include "control/instance.h"

struct client;

/*
 * owners: a set of 1 << role that the command needs beside confd.  Returns 0,
 * or the exit code that says what is wrong.
 */
int client_open(const struct instance *instance, unsigned owners,
    struct client **client_r, struct err *err);
void client_close(struct client *client);

/* The gateway was stopped: the programs run for this command alone. */
bool client_is_managing(const struct client *client);

/*
 * Asks and waits.  Returns the exit code of the answer; *reply_r (new) is
 * always an object, with "error" where something failed.
 */
int client_ask(struct client *client, const char *verb, const json_t *arguments,
    json_t **reply_r);

/* Hands the two files over; *reply_r as above, with smtpd's facts. */
int client_install_tls(
    struct client *client, int chain_fd, int key_fd, json_t **reply_r);

#endif
