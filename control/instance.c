/* SPDX-License-Identifier: ISC */
/*
 * Folders, programs and users of an instance.
 * Runs in: postern-run, postern, postern-confd.  Trusts: its caller's --root.
 */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/instance.h"

#define ADMIN_GROUP "postern-admin"

static char *
joined(const char *head, const char *tail)
{
	char *path = NULL;

	if (asprintf(&path, "%s%s", head, tail) == -1)
		fatal("out of memory");
	return path;
}

/* An absolute path that need not exist yet. */
static int
absolute_root(const char *root, char **path_r, struct err *err)
{
	char *here = NULL;
	size_t n;

	if (root[0] == '\0')
		return err_set(err, "--root needs a folder");
	if (root[0] == '/') {
		*path_r = xstrdup(root);
	} else {
		if ((here = getcwd(NULL, 0)) == NULL)
			return err_set(err, "getcwd: %s", strerror(errno));
		if (asprintf(path_r, "%s/%s", here, root) == -1)
			fatal("out of memory");
		free(here);
	}
	n = strlen(*path_r);
	while (n > 1 && (*path_r)[n - 1] == '/')
		(*path_r)[--n] = '\0';
	if (n == 1) {
		free(*path_r);
		*path_r = NULL;
	}
	return 0;
}

static void
find_programs(struct instance *instance)
{
	char self[INSTANCE_PATH_MAX] = "";
	char *confd;
	char *slash;
	const ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash != NULL) {
		*slash = '\0';
		confd = joined(self, "/postern-confd");
		if (access(confd, X_OK) == 0) {
			instance->program_dir = xstrdup(self);
			instance->supervisor = joined(self, "/postern-run");
		}
		free(confd);
	}
	if (instance->program_dir != NULL)
		return;
	instance->program_dir = xstrdup(LIBEXECDIR);
	instance->supervisor = xstrdup(SBINDIR "/postern-run");
}

int
instance_init(struct instance *instance, const char *root, struct err *err)
{
	*instance = (struct instance){0};
	if (root != NULL && absolute_root(root, &instance->root, err) == -1)
		return -1;
	root = instance->root != NULL ? instance->root : "";
	instance->run_dir = joined(root, RUNSTATEDIR "/postern");
	instance->state_dir = joined(root, LOCALSTATEDIR "/lib/postern");
	instance->etc_dir = joined(root, SYSCONFDIR "/postern");
	find_programs(instance);
	return 0;
}

void
instance_clear(struct instance *instance)
{
	free(instance->root);
	free(instance->run_dir);
	free(instance->state_dir);
	free(instance->etc_dir);
	free(instance->program_dir);
	free(instance->supervisor);
	*instance = (struct instance){0};
}

static void
put_path(char path_r[INSTANCE_PATH_MAX], const char *folder, const char *prefix,
    const char *name)
{
	const int n = snprintf(
	    path_r, INSTANCE_PATH_MAX, "%s/%s%s", folder, prefix, name);

	if (n < 0 || n >= INSTANCE_PATH_MAX)
		fatal("the path %.200s... is too long", folder);
}

void
instance_store(const struct instance *instance, enum role role,
    char path_r[INSTANCE_PATH_MAX])
{
	put_path(path_r, instance->state_dir, "", role_name(role));
}

void
instance_program(const struct instance *instance, enum role role,
    char path_r[INSTANCE_PATH_MAX])
{
	put_path(path_r, instance->program_dir, "postern-", role_name(role));
}

void
instance_admin_socket(const struct instance *instance, bool is_managing,
    char path_r[INSTANCE_PATH_MAX])
{
	char name[ROLE_SOCKET_NAME_MAX];

	role_socket_name(ROLE_CONFD, ROLE_ADMIN, name);
	put_path(path_r, instance->run_dir, is_managing ? "manage." : "", name);
	if (strlen(path_r) + sizeof(".sock") > INSTANCE_PATH_MAX)
		fatal("the path %.200s... is too long", instance->run_dir);
	memcpy(path_r + strlen(path_r), ".sock", sizeof(".sock"));
}

bool
instance_is_made(const struct instance *instance)
{
	char store[INSTANCE_PATH_MAX];
	char path[INSTANCE_PATH_MAX];

	instance_store(instance, ROLE_CONFD, store);
	put_path(path, store, "", "config.db");
	return access(path, F_OK) == 0 || errno == EACCES;
}

gid_t
instance_group(enum role role)
{
	char user[64];
	const struct passwd *entry;

	if (getenv("POSTERN_UID_BASE") != NULL)
		return (gid_t)role_uid(role);
	(void)snprintf(user, sizeof(user), "_postern-%s", role_name(role));
	entry = getpwnam(user);
	return entry != NULL ? entry->pw_gid : getgid();
}

gid_t
instance_admin_group(void)
{
	const struct group *entry = getgrnam(ADMIN_GROUP);

	return entry != NULL ? entry->gr_gid : (gid_t)-1;
}
