/* SPDX-License-Identifier: ISC */
/*
 * The tables of programs and channels, and the names that follow from them.
 * Runs in: every program.  Trusts: POSTERN_UID_BASE from its supervisor.
 */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/roles.h"

struct role_row {
	const char *name;
	const char *purpose;
	bool is_daemon;
};

#define ROLE_ROW(suffix, name, is_daemon, what) \
	[ROLE_##suffix] = {name, what, is_daemon},
static const struct role_row role_rows[ROLE_COUNT] = {ROLES(ROLE_ROW)};
#undef ROLE_ROW

#define CHANNEL_ROW(server, peer) {ROLE_##server, ROLE_##peer},
const struct channel_row channel_rows[] = {CHANNELS(CHANNEL_ROW)};
#undef CHANNEL_ROW
const size_t channel_row_count = sizeof(channel_rows) / sizeof(channel_rows[0]);

/* Kept, because a confined program cannot read the user database again. */
static struct {
	uid_t uid;
	bool is_known;
} known_uids[ROLE_COUNT];

static const struct role_row *
row_of(enum role role)
{
	if ((unsigned)role >= ROLE_COUNT)
		bug("role %d", (int)role);
	return &role_rows[role];
}

const char *
role_name(enum role role)
{
	return row_of(role)->name;
}

const char *
role_purpose(enum role role)
{
	return row_of(role)->purpose;
}

bool
role_is_daemon(enum role role)
{
	return row_of(role)->is_daemon;
}

enum role
role_by_name(const char *name)
{
	for (int i = 0; i < ROLE_COUNT; i++)
		if (strcmp(role_rows[i].name, name) == 0)
			return (enum role)i;
	return ROLE_NONE;
}

void
role_socket_name(
    enum role server, enum role peer, char name_r[ROLE_SOCKET_NAME_MAX])
{
	(void)snprintf(name_r, ROLE_SOCKET_NAME_MAX, "%s-from-%s",
	    role_name(server), role_name(peer));
}

void
role_event_socket_name(enum role writer, char name_r[ROLE_SOCKET_NAME_MAX])
{
	(void)snprintf(
	    name_r, ROLE_SOCKET_NAME_MAX, "events-from-%s", role_name(writer));
}

static uid_t
look_up_uid(enum role role)
{
	char user[64];
	const struct passwd *entry;
	const char *base = getenv("POSTERN_UID_BASE");

	if (base != NULL)
		return (uid_t)strtoul(base, NULL, 10) + (uid_t)role;
	(void)snprintf(user, sizeof(user), "_postern-%s", role_name(role));
	entry = getpwnam(user);
	return entry != NULL ? entry->pw_uid : getuid();
}

uid_t
role_uid(enum role role)
{
	(void)row_of(role); /* checks it */
	if (!known_uids[role].is_known) {
		known_uids[role].uid = look_up_uid(role);
		known_uids[role].is_known = true;
	}
	return known_uids[role].uid;
}
