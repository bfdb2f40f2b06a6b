/* SPDX-License-Identifier: ISC */
/*
 * The programs, once: names, users, sockets and the supervisor's list follow
 * from this table and from the channels below it (DESIGN §1, §4).
 */
#ifndef COMMON_ROLES_H
#define COMMON_ROLES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * ROLE(enum suffix, name, is a daemon of its own, what it does)
 * Program postern-<name>, user _postern-<name>, store
 * /var/lib/postern/<name>/.  Logs keep a role's number: new ones go to the
 * end.
 */
#define ROLES(ROLE) \
	ROLE(NONE, "none", false, "nobody") \
	ROLE(BINDD, "bindd", true, "holds the listening sockets") \
	ROLE(SMTPD, "smtpd", true, "accepts mail by SMTP") \
	ROLE(AUTHD, "authd", true, "logins, identities, recipients") \
	ROLE(CHECKD, "checkd", true, "DNS and checks of incoming mail") \
	ROLE(QUEUED, "queued", true, "the durable queue") \
	ROLE(RELAYD, "relayd", true, "delivers to other servers") \
	ROLE(LOGHUB, "loghub", true, "the central log") \
	ROLE(CONFD, "confd", true, "configuration and management") \
	ROLE(ADMIN, "admin", false, "the command line and the web pages") \
	ROLE(WORKER, "worker", false, "a worker of the program itself") \
	ROLE(SPAWNER, "spawner", false, "starts a program's workers") \
	ROLE(SIGNERD, "signerd", true, "signs, encrypts, opens, verifies") \
	ROLE(FETCHD, "fetchd", true, "looks up keys and revocations")

#define ROLE_ENUM(suffix, name, is_daemon, what) ROLE_##suffix,
enum role { ROLES(ROLE_ENUM) ROLE_COUNT };
#undef ROLE_ENUM

/*
 * CHANNEL(server, peer): the stream socket <server>-from-<peer>.sock.  Its
 * name says who speaks; mode and SO_PEERCRED enforce it.
 */
#define CHANNELS(CHANNEL) \
	CHANNEL(CONFD, BINDD) \
	CHANNEL(CONFD, SMTPD) \
	CHANNEL(CONFD, AUTHD) \
	CHANNEL(CONFD, CHECKD) \
	CHANNEL(CONFD, QUEUED) \
	CHANNEL(CONFD, RELAYD) \
	CHANNEL(CONFD, LOGHUB) \
	CHANNEL(CONFD, SIGNERD) \
	CHANNEL(CONFD, FETCHD) \
	CHANNEL(CONFD, ADMIN) \
	CHANNEL(BINDD, SMTPD) \
	CHANNEL(AUTHD, SMTPD) \
	CHANNEL(AUTHD, QUEUED) \
	CHANNEL(AUTHD, RELAYD) \
	CHANNEL(CHECKD, SMTPD) \
	CHANNEL(CHECKD, RELAYD) \
	CHANNEL(CHECKD, FETCHD) \
	CHANNEL(QUEUED, SMTPD) \
	CHANNEL(QUEUED, RELAYD) \
	CHANNEL(QUEUED, SIGNERD) \
	CHANNEL(FETCHD, SIGNERD) \
	CHANNEL(LOGHUB, QUEUED)

struct channel_row {
	enum role server;
	enum role peer;
};

extern const struct channel_row channel_rows[];
extern const size_t channel_row_count;

const char *role_name(enum role role);
const char *role_purpose(enum role role);
bool role_is_daemon(enum role role);

/* The role of that name, or ROLE_NONE. */
enum role role_by_name(const char *name);

/* Long enough for every name that the two functions below write. */
#define ROLE_SOCKET_NAME_MAX 64

/* "<server>-from-<peer>": the name in LISTEN_FDNAMES; file name + ".sock". */
void role_socket_name(
    enum role server, enum role peer, char name_r[ROLE_SOCKET_NAME_MAX]);

/* "events-from-<writer>": the datagram socket of one writer of the log. */
void role_event_socket_name(
    enum role writer, char name_r[ROLE_SOCKET_NAME_MAX]);

/*
 * The user that a program runs as: the system's _postern-<name>; where that
 * does not exist, POSTERN_UID_BASE + role as postern-run exports it; else the
 * caller's own.  Looked up at the first call for each role, which must be
 * before confinement (it may read the user database).
 */
uid_t role_uid(enum role role);

#endif
