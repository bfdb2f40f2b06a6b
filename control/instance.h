/* SPDX-License-Identifier: ISC */
/*
 * Where an instance lives: its folders, its programs and their users.  Used by
 * the supervisor, the command line and confd.
 */
#ifndef CONTROL_INSTANCE_H
#define CONTROL_INSTANCE_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/roles.h"

/* All paths below fit; sockets have the tighter limit of sun_path. */
#define INSTANCE_PATH_MAX 4096

struct instance {
	char *root;      /* absolute, without a final slash; NULL: the system */
	char *run_dir;   /* sockets */
	char *state_dir; /* one folder below for each program's store */
	char *etc_dir;
	char *program_dir; /* postern-confd and the others */
	char *supervisor;  /* postern-run */
};

/*
 * root NULL: the system's folders.  Programs are those beside the program that
 * runs (a build folder), if postern-confd is there; else the installed ones.
 */
int instance_init(struct instance *instance, const char *root, struct err *err);
void instance_clear(struct instance *instance);

/* Paths into path_r of INSTANCE_PATH_MAX; they end the process when too long.
 */
void instance_store(const struct instance *instance, enum role role,
    char path_r[INSTANCE_PATH_MAX]);
void instance_program(const struct instance *instance, enum role role,
    char path_r[INSTANCE_PATH_MAX]);

/* The socket that the command line and the web pages speak to. */
void instance_admin_socket(const struct instance *instance, bool is_managing,
    char path_r[INSTANCE_PATH_MAX]);

/* A configuration was made here: config.db exists, or may (no right to see). */
bool instance_is_made(const struct instance *instance);

/* The group of a program's user: its own. */
gid_t instance_group(enum role role);

/* The group whose members may use the command line; -1: there is none. */
gid_t instance_admin_group(void);

#endif
