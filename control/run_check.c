/* SPDX-License-Identifier: ISC */
/*
 * postern-run --check: what would keep an instance from running.  The
 * configuration is checked by its owner, confd: the running one, or one that
 * is started for the question.
 * Runs in: postern-run.  Trusts: nothing.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/printable.h"
#include "control/client.h"
#include "control/run.h"

struct check {
	const struct instance *instance;
	FILE *out;
	unsigned count;
};

static void __attribute__((format(printf, 2, 3)))
problem(struct check *check, const char *format, ...)
{
	char raw[1024];
	char text[1024];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(raw, sizeof(raw), format, ap);
	va_end(ap);
	(void)fprintf(
	    check->out, "%s\n", printable(slice_of(raw), text, sizeof(text)));
	check->count++;
}

static void
check_programs(struct check *check)
{
	for (int role = 0; role < ROLE_COUNT; role++)
		if (role_is_daemon((enum role)role) &&
		    !run_is_installed(check->instance, (enum role)role))
			problem(check, "postern-%s is not in %s",
			    role_name((enum role)role),
			    check->instance->program_dir);
}

/* Sockets have the tightest limit of all paths. */
static void
check_paths(struct check *check)
{
	const size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path) -
			    ROLE_SOCKET_NAME_MAX / 2;

	if (strlen(check->instance->run_dir) > room)
		problem(check,
		    "%s is too long for sockets in it; at most "
		    "%zu octets",
		    check->instance->run_dir, room);
}

static void
check_store(struct check *check, enum role role)
{
	const uid_t uid = geteuid() == 0 ? role_uid(role) : geteuid();
	char path[INSTANCE_PATH_MAX];
	struct stat status;

	instance_store(check->instance, role, path);
	if (lstat(path, &status) == -1) {
		/* Made at the start. */
		if (errno != ENOENT)
			problem(check, "%s: %s", path, strerror(errno));
		return;
	}
	if (!S_ISDIR(status.st_mode))
		problem(check, "%s is not a folder", path);
	else if (status.st_uid != uid)
		problem(check,
		    "%s belongs to user %u; postern-%s runs as "
		    "user %u",
		    path, (unsigned)status.st_uid, role_name(role),
		    (unsigned)uid);
	else if ((status.st_mode & 077) != 0)
		problem(check, "%s is open to others; \"chmod 700 %s\"", path,
		    path);
}

static void
tell_problems(struct check *check, const json_t *reply)
{
	const json_t *problems = json_object_get(reply, "problems");
	const json_t *row;
	size_t i;

	json_array_foreach(problems, i, row) {
		const char *key =
		    json_string_value(json_object_get(row, "key"));
		const char *text =
		    json_string_value(json_object_get(row, "problem"));

		problem(check, "%s%s%s", key != NULL ? key : "",
		    key != NULL && key[0] != '\0' ? ": " : "",
		    text != NULL ? text : "");
	}
}

static void
check_configuration(struct check *check)
{
	struct client *client = NULL;
	json_t *arguments = json_object();
	json_t *reply = NULL;
	struct err err;

	if (client_open(check->instance, 0, &client, &err) != 0) {
		problem(check, "%s", err.text);
	} else if (client_ask(client, "config.check", arguments, &reply) != 0) {
		tell_problems(check, reply);
		if (json_object_get(reply, "error") != NULL)
			problem(check, "%s",
			    json_string_value(json_object_get(reply, "error")));
	}
	json_decref(reply);
	json_decref(arguments);
	client_close(client);
}

unsigned
run_check(const struct instance *instance, FILE *out)
{
	struct check check = {.instance = instance, .out = out};

	run_choose_users();
	check_programs(&check);
	check_paths(&check);
	for (int role = 0; role < ROLE_COUNT; role++)
		if (role_is_daemon((enum role)role))
			check_store(&check, (enum role)role);
	if (!instance_is_made(instance))
		problem(&check,
		    "there is no configuration in %s; "
		    "\"postern%s%s init --hostname NAME\" makes one",
		    instance->state_dir,
		    instance->root != NULL ? " --root " : "",
		    instance->root != NULL ? instance->root : "");
	else if (run_is_installed(instance, ROLE_CONFD) && check.count == 0)
		check_configuration(&check);
	return check.count;
}
