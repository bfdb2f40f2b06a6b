/* SPDX-License-Identifier: ISC */
/*
 * The acceptor's one state, shared by its files: smtpd.c (program, clients),
 * listeners.c (sockets), workers.c (processes), tls_store.c (certificate).
 */
#ifndef SMTPD_SMTPD_H
#define SMTPD_SMTPD_H

#include "common/daemon.h"
#include "common/ids.h"
#include "smtpd/access.h"
#include "smtpd/clients.h"
#include "smtpd/flood.h"
#include "smtpd/listeners.h"
#include "smtpd/refusals.h"
#include "smtpd/tls_store.h"
#include "smtpd/workers.h"

struct smtpd {
	struct daemon *daemon;
	struct link *bindd;
	struct listeners *listeners;
	struct workers *workers;
	struct clients *clients;
	struct tls_store *tls;
	struct flood *flood;
	struct flood_limits limits;
	struct refusals *refusals;
	struct access_list *access;
	struct netprefix *trusted;
	size_t trusted_count;
	struct event *minute;
	struct id_maker session_ids;
	unsigned processors; /* asked for before confinement */
	uint64_t accepted;
	uint64_t refused;
};

#endif
