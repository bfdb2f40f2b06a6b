/* SPDX-License-Identifier: ISC */
/*
 * What the parts of the daemon skeleton share; nobody else's business.
 */
#ifndef COMMON_DAEMON_STATE_H
#define COMMON_DAEMON_STATE_H

#include "common/daemon.h"

#define DAEMON_LISTEN_FDS_MAX 64
#define DAEMON_PATH_SIZE 512

struct given_fd {
	char name[ROLE_SOCKET_NAME_MAX];
	int fd; /* -1: taken */
};

struct raised_alert {
	int alert;
	char subject[257];
	char text[513];
	struct raised_alert *next;
};

struct daemon {
	const struct program *program;
	void *state;
	struct loop *loop;
	struct log *log;
	struct spawner *spawner;
	struct link *confd;
	struct channel_handler *handlers; /* the program's and ours */
	struct snapshot *snapshot;
	struct raised_alert *alerts;
	struct given_fd given[DAEMON_LISTEN_FDS_MAX];
	size_t given_count;
	struct event *terminate;
	struct event *interrupt;
	struct event *reload;
	struct event *timer; /* for confd's silence, then for the stop */
	char run_dir[DAEMON_PATH_SIZE];
	char state_dir[DAEMON_PATH_SIZE];
	char snapshot_path[DAEMON_PATH_SIZE + 32];
	bool is_managing;
	bool is_started;
	bool is_stopping;
};

/* ---- daemon.c ---- */

/* Settings are there for the first time: the program starts. */
void daemon_finish_start(struct daemon *daemon);

/* ---- daemon_settings.c ---- */

/* CONF_SNAPSHOT from confd. */
int daemon_on_snapshot(
    struct channel *channel, const struct channel_frame *frame);

/* Confd is silent: the program's own copy of its last settings, if any. */
void daemon_start_from_saved(struct daemon *daemon);

/* ---- daemon_status.c ---- */

/* STATUS_ASK from confd. */
int daemon_on_status_ask(
    struct channel *channel, const struct channel_frame *frame);

/* Confd is there (again): what is raised is said. */
void daemon_send_alerts(struct daemon *daemon);

#endif
