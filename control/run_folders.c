/* SPDX-License-Identifier: ISC */
/*
 * The users that programs run as, and the folders of an instance.
 * Runs in: postern-run.  Trusts: nothing below a folder that it does not own;
 * so it follows no symbolic link and changes no owner of what exists.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/run.h"

/*
 * Debian's policy (9.2.2) keeps 30000 to 59999 free; two instances as root may
 * be kept apart by exporting another base.
 */
#define UID_BASE "59300"

static bool
has_system_users(void)
{
	char user[64];

	for (int role = 0; role < ROLE_COUNT; role++) {
		if (!role_is_daemon((enum role)role))
			continue;
		(void)snprintf(user, sizeof(user), "_postern-%s",
		    role_name((enum role)role));
		if (getpwnam(user) == NULL)
			return false;
	}
	return true;
}

void
run_choose_users(void)
{
	if (geteuid() != 0) {
		(void)unsetenv("POSTERN_UID_BASE");
		return;
	}
	if (!has_system_users())
		(void)setenv("POSTERN_UID_BASE", UID_BASE, 0);
}

struct run_identity
run_identity_of(enum role role)
{
	return (struct run_identity){
	    .is_changed = geteuid() == 0,
	    .uid = role_uid(role),
	    .gid = instance_group(role),
	    .may_bind = role == ROLE_BINDD,
	};
}

/* Makes one folder; what is there must be a folder. */
static int
make_folder(
    const char *path, mode_t mode, struct stat *status_r, struct err *err)
{
	if (mkdir(path, mode) == 0) {
		/* The umask is 077 by now. */
		if (chmod(path, mode) == -1)
			return err_set(
			    err, "chmod %s: %s", path, strerror(errno));
	} else if (errno != EEXIST) {
		return err_set(err, "mkdir %s: %s", path, strerror(errno));
	}
	if (lstat(path, status_r) == -1)
		return err_set(err, "stat %s: %s", path, strerror(errno));
	if (!S_ISDIR(status_r->st_mode))
		return err_set(err, "%s is not a folder", path);
	return 0;
}

/* Every folder on the way, so that the last one can be made. */
static int
make_parents(const char *path, struct err *err)
{
	char *copy = xstrdup(path);
	char *at = copy;
	struct stat status;
	bool is_last;
	int rc = 0;

	do {
		at = strchrnul(at + 1, '/');
		is_last = *at == '\0';
		*at = '\0';
		if (mkdir(copy, 0755) == 0)
			(void)chmod(copy, 0755);
		else if (errno != EEXIST)
			rc =
			    err_set(err, "mkdir %s: %s", copy, strerror(errno));
		if (!is_last)
			*at = '/';
	} while (rc == 0 && !is_last);
	if (rc == 0 && (stat(copy, &status) == -1 || !S_ISDIR(status.st_mode)))
		rc = err_set(err, "%s is not a folder", copy);
	free(copy);
	return rc;
}

/*
 * Programs with users of their own must be able to walk to their folders.
 * The instance's own root gets the right (mktemp -d makes it 0700); what lies
 * above it is not ours to change.
 */
static int
let_programs_pass(const struct instance *instance, struct err *err)
{
	char *copy;
	struct stat status;
	int rc = 0;

	if (geteuid() != 0 || instance->root == NULL)
		return 0;
	if (stat(instance->root, &status) == -1)
		return err_set(
		    err, "stat %s: %s", instance->root, strerror(errno));
	if ((status.st_mode & S_IXOTH) == 0 &&
	    chmod(instance->root, (status.st_mode & 07777) | 0011) == -1)
		return err_set(
		    err, "chmod %s: %s", instance->root, strerror(errno));
	copy = xstrdup(instance->root);
	for (char *slash = strrchr(copy, '/'); slash != copy && rc == 0;
	     slash = strrchr(copy, '/')) {
		*slash = '\0';
		if (stat(copy, &status) == -1 ||
		    (status.st_mode & S_IXOTH) == 0)
			rc = err_set(err,
			    "%s cannot be passed by the programs' own users; "
			    "\"chmod o+x %s\" allows it, or use another "
			    "--root",
			    copy, copy);
	}
	free(copy);
	return rc;
}

static int
make_store(const struct instance *instance, enum role role, struct err *err)
{
	char path[INSTANCE_PATH_MAX];
	struct stat status;
	const mode_t mode = 0700;
	const uid_t uid = geteuid() == 0 ? role_uid(role) : geteuid();

	instance_store(instance, role, path);
	if (make_folder(path, mode, &status, err) == -1)
		return -1;
	/* A new one, or one whose making was cut short. */
	if (geteuid() == 0 && status.st_uid == 0) {
		if (lchown(path, uid, instance_group(role)) == -1)
			return err_set(
			    err, "chown %s: %s", path, strerror(errno));
		return 0;
	}
	if (status.st_uid != uid)
		return err_set(err,
		    "%s belongs to user %u, but postern-%s runs as user %u; "
		    "start the gateway as the user that made it, or "
		    "\"chown -R %u %s\"",
		    path, (unsigned)status.st_uid, role_name(role),
		    (unsigned)uid, (unsigned)uid, path);
	if ((status.st_mode & 07777 & ~mode) != 0)
		return err_set(err, "%s is open to others; \"chmod %o %s\"",
		    path, (unsigned)mode, path);
	return 0;
}

int
run_make_folders(const struct instance *instance, struct err *err)
{
	if (make_parents(instance->run_dir, err) == -1 ||
	    make_parents(instance->state_dir, err) == -1 ||
	    make_parents(instance->etc_dir, err) == -1 ||
	    let_programs_pass(instance, err) == -1)
		return -1;
	for (int role = 0; role < ROLE_COUNT; role++)
		if (role_is_daemon((enum role)role) &&
		    make_store(instance, (enum role)role, err) == -1)
			return -1;
	return 0;
}
