/* SPDX-License-Identifier: ISC */
/*
 * The parts of the supervisor: folders and users, sockets, the start of one
 * program, and what is wrong with an instance.
 */
#ifndef CONTROL_RUN_H
#define CONTROL_RUN_H

#include <stdio.h>

#include "control/instance.h"

/* What the supervisor asks of a program's process. */
struct run_identity {
	bool is_changed; /* started by root: a user of its own */
	uid_t uid;
	gid_t gid;
	bool may_bind; /* CAP_NET_BIND_SERVICE, nothing else */
};

/*
 * As root: the _postern-* users if all of them exist; else numbers, exported
 * as POSTERN_UID_BASE.  Before role_uid() is used.
 */
void run_choose_users(void);

struct run_identity run_identity_of(enum role role);

/*
 * Makes what is missing of the folders, 0700 for each store, and checks owner
 * and mode of what is there.
 */
int run_make_folders(const struct instance *instance, struct err *err);

/* ---- sockets ---- */

struct run_socket {
	char name[ROLE_SOCKET_NAME_MAX]; /* in LISTEN_FDNAMES */
	enum role server;
	enum role peer;
	char path[108]; /* as long as sun_path */
	int fd;
};

struct run_sockets {
	struct run_socket *list;
	size_t count;
};

/*
 * The sockets of those servers that are wanted (by role), from the tables;
 * owned by the peer, 0600, so he alone connects.  Nobody then waits at the
 * socket of a program that will not come.
 */
int run_sockets_open(struct run_sockets *sockets,
    const struct instance *instance, const bool *is_wanted, bool is_managing,
    struct err *err);
void run_sockets_close(struct run_sockets *sockets); /* removes the files */

/* Datagrams of sd_notify(3), with the sender's process id by the kernel. */
int run_notify_open(
    const struct instance *instance, char path_r[108], struct err *err);

/* One of them; pid_r is 0 when it is not known.  -1: there is none. */
ssize_t run_notify_receive(int fd, char *text, size_t size, pid_t *pid_r);

/* ---- before all else ---- */

/* Descriptors 0 to 2 are there, and no others. */
void run_standard_fds(void);

/* One supervisor for one instance; a command's own waits for its turn. */
int run_lock(const struct instance *instance, int *fd_r, struct err *err);

/* ---- one program ---- */

struct run_start {
	const struct instance *instance;
	enum role role;
	bool is_managing;
	const struct run_sockets *sockets;
	const char *notify_path;
};

/* Forks and runs the program in a process group of its own; its pid, or -1. */
pid_t run_start(const struct run_start *start, struct err *err);

/* Is its binary here? */
bool run_is_installed(const struct instance *instance, enum role role);

/* ---- --check ---- */

/* Prints what is wrong, a line each; the number of problems. */
unsigned run_check(const struct instance *instance, FILE *out);

#endif
