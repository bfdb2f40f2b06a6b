/* SPDX-License-Identifier: ISC */
/*
 * The acceptor's worker processes: started, restarted, told of settings and
 * certificate, given connections and their links to other programs.
 */
#ifndef SMTPD_WORKERS_H
#define SMTPD_WORKERS_H

#include "common/daemon.h"

/* As many as the setting smtp.workers allows. */
#define WORKERS_MAX 64

struct smtpd;
struct workers;

/* A worker process; main() of "postern-smtpd --worker smtp". */
int smtp_worker(int channel_fd);

struct workers *workers_new(struct smtpd *smtpd);

/* So many from now on; surplus ones finish what they have. */
void workers_set_count(struct workers *workers, unsigned count);

/* Sends the snapshot in force, or the certificate in force, to all. */
void workers_send_settings(struct workers *workers);
void workers_send_tls(struct workers *workers);

/*
 * Gives a connection to the least loaded worker; the caller keeps fd.
 * Returns the worker's slot, or -1 when there is none.
 */
int workers_give(
    struct workers *workers, const struct ipc_client *client, int fd);

/* A session of that worker ended. */
void workers_took_back(struct workers *workers, unsigned slot);

/* The worker at the other end of that channel. */
unsigned workers_slot_of(const struct channel *channel);

/* Hooks of the program. */
void workers_up(struct workers *workers, struct channel *channel);
void workers_closed(struct workers *workers, struct channel *channel);
int workers_link_wanted(
    struct workers *workers, struct channel *channel, enum role role);

/* Finish what runs and end; workers_are_gone() when that is done. */
void workers_drain(struct workers *workers);
bool workers_are_gone(const struct workers *workers);

/* Workers that take connections now. */
unsigned workers_ready(const struct workers *workers);

#endif
