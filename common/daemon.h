/* SPDX-License-Identifier: ISC */
/*
 * How a program starts, takes its sockets, gets its settings, confines
 * itself, reloads and stops: once, for all programs (GUIDE §1).
 *
 * Sockets come by LISTEN_FDS and LISTEN_FDNAMES, from systemd or from
 * postern-run.  Readiness and stopping are told by NOTIFY_SOCKET.  SIGTERM
 * drains and ends, a second one ends at once.
 *
 * Each program keeps a copy of its last settings in its own state directory
 * (settings.snapshot) and works with it when confd is silent for 2 s.
 */
#ifndef COMMON_DAEMON_H
#define COMMON_DAEMON_H

#include "common/channel.h"
#include "common/confine.h"
#include "common/link.h"
#include "common/log.h"
#include "common/settings.h"
#include "common/spawner.h"

struct daemon;
struct status_writer;

/* What a program is made of; functions may be NULL where not needed. */
struct program {
	enum role role;
	/* All frames that it takes, from every peer; ends with handle NULL. */
	const struct channel_handler *handlers;
	/* The workers that its spawner may start; ends with name NULL. */
	const struct worker_program *workers;

	/*
	 * Before confinement: loads what libraries need (plug-ins, CA files).
	 * No settings are known yet.
	 */
	int (*prepare)(struct daemon *daemon, struct err *err);
	/*
	 * Settings are known, confinement is on, nobody was served yet: opens
	 * stores.  Failure ends the process.
	 */
	int (*start)(struct daemon *daemon, struct err *err);
	/* Called after start and after each later snapshot. */
	int (*settings_changed)(struct daemon *daemon, struct err *err);
	/* A peer's channel is up, taken or made (daemon_link). */
	void (*peer_up)(struct daemon *daemon, struct channel *channel);
	/*
	 * Such a channel, or the one to confd, ended; what hangs on its
	 * context is to be freed.
	 */
	void (*peer_closed)(struct daemon *daemon, struct channel *channel);
	/* Adds facts and counters for "postern status". */
	void (*status)(struct daemon *daemon, struct status_writer *status);
	/*
	 * Finish what runs, take no more; call daemon_stopped() when done (at
	 * the latest after 30 s the process ends).  NULL: nothing to finish.
	 */
	void (*stop)(struct daemon *daemon);

	size_t state_size; /* of the program's one state struct */
	const struct confinement *confinement;
};

/* main() of every program is this call. */
int daemon_main(int argc, char **argv, const struct program *program);

/* The program's one state struct, zeroed at start. */
void *daemon_state(struct daemon *daemon);
struct daemon *channel_daemon(const struct channel *channel);

struct loop *daemon_loop(struct daemon *daemon);
struct log *daemon_log(struct daemon *daemon);
struct spawner *daemon_spawner(struct daemon *daemon);

/* The snapshot in force; never NULL after start. */
const struct snapshot *daemon_snapshot(const struct daemon *daemon);
const struct settings *daemon_settings(const struct daemon *daemon);

/*
 * For confd, which has no confd: puts a snapshot (taken over) in force and
 * calls settings_changed when the program was started.  To be called in start.
 * -1 when settings_changed failed; the snapshot is in force all the same.
 */
int daemon_set_snapshot(
    struct daemon *daemon, struct snapshot *snapshot, struct err *err);

/* The facts and counters of this program, as STATUS_ASK is answered. */
void daemon_write_status(
    struct daemon *daemon, struct status_writer *status);

/* --manage: serve management requests on the stores, move no mail. */
bool daemon_is_managing(const struct daemon *daemon);
bool daemon_is_stopping(const struct daemon *daemon);

/* Where this program keeps its store; it exists and is its own. */
const char *daemon_state_dir(const struct daemon *daemon);
/* The run directory, with the sockets. */
const char *daemon_run_dir(const struct daemon *daemon);

/* Path of a server's socket for this program's role, into path_r. */
void daemon_socket_path(const struct daemon *daemon, enum role server,
    char *path_r, size_t size);

/*
 * What a channel of this program is made with, for workers' channels:
 * handlers, owner and hooks are set.
 */
struct channel_config daemon_channel_config(
    struct daemon *daemon, enum role peer);

/* A link to that server with this program's handlers; call in start. */
struct link *daemon_link(struct daemon *daemon, enum role server);

/* The channel to confd, or NULL while it is away. */
struct channel *daemon_confd(const struct daemon *daemon);

/* The descriptor given under that name, taken over; -1 when there is none. */
int daemon_take_fd(struct daemon *daemon, const char *name);

void daemon_stopped(struct daemon *daemon);

/* Raised and cleared once for each (alert, subject); see alerts.h. */
void daemon_alert_raise(struct daemon *daemon, int alert, const char *subject,
    const char *format, ...) __attribute__((format(printf, 4, 5)));
void daemon_alert_clear(
    struct daemon *daemon, int alert, const char *subject);

struct status_writer {
	struct ipc_list_writer facts;
	struct ipc_list_writer counters;
};

void status_fact(struct status_writer *status, const char *name,
    const char *format, ...) __attribute__((format(printf, 3, 4)));
void status_counter(
    struct status_writer *status, const char *name, int64_t value);

#endif
