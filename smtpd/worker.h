/* SPDX-License-Identifier: ISC */
/*
 * One worker process: what all of its sessions share.
 */
#ifndef SMTPD_WORKER_H
#define SMTPD_WORKER_H

#include <openssl/ssl.h>

#include "common/channel.h"
#include "common/ids.h"
#include "common/log.h"
#include "common/settings.h"
#include "common/vocabulary.h"
#include "smtpd/access.h"

struct session;

struct worker {
	struct loop *loop;
	struct log *log;
	struct channel *acceptor;
	struct channel *links[ROLE_COUNT]; /* NULL: not up */
	struct snapshot *snapshot;
	struct access_list *access;
	SSL_CTX *tls[LISTENER_KIND_COUNT]; /* NULL: no certificate */
	char mechanisms[512 + 1];          /* of authd; "": no logins */
	struct id_maker message_ids;
	bool has_message_ids; /* queued gave us a slot */
	struct netaddr shown; /* the trusted client that queued saw last */
	/* All links were up once, or have been waited for long enough. */
	bool is_ready;
	struct event *links_wait;
	uint32_t next_stream;
	struct session *sessions;
	size_t session_count;
	/* Octets of messages being received (smtp.worker_memory). */
	uint64_t message_memory;
	bool is_draining;
	struct event *last_call; /* what still runs then is cut off */
	struct event *trim; /* armed while a handshake left memory behind */
};

/*
 * Serves the acceptor at the other end of that socket, until the loop is
 * stopped: when the acceptor is gone, or all is done after WORKER_DRAIN.
 */
struct worker *worker_new(struct loop *loop, int channel_fd);

/* Its channels have ended, or their loop does not run any more. */
void worker_free(struct worker *worker);

const struct settings *worker_settings(const struct worker *worker);

/*
 * Takes octets off the budget; false when it has no more.  A share of it
 * (smtp.reserved_share) is only for known clients: those who are logged in or
 * in a trusted network.
 */
bool worker_charge(struct worker *worker, size_t octets, bool is_known);
void worker_refund(struct worker *worker, size_t octets);

/*
 * A TLS handshake takes three times the memory that the session will need,
 * and leaves holes, as do its end and a large message.  They are given back a
 * little later.
 */
void worker_trim_soon(struct worker *worker);

/* A session ended: the acceptor has its slot back. */
void worker_session_ended(struct worker *worker, struct session *session);

#endif
