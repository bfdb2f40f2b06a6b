/* SPDX-License-Identifier: ISC */
/*
 * A program's settings: from confd, or, when that is silent, from the copy
 * that the program keeps of its last ones.
 * Runs in: every program but confd.  Trusts: confd's snapshots after they were
 * checked against the settings table; the copy no more than those.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/daemon_state.h"

/* For the journal, which has it also while the hub is away, and for the log. */
__attribute__((format(printf, 2, 3))) static void
notice(struct daemon *daemon, const char *format, ...)
{
	char text[ERR_TEXT_MAX + 16];
	struct event_program_notice event = {
	    .program = slice_of(role_name(daemon->program->role))};
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	event.text = slice_of(text);
	log_notice("%s", text);
	log_event(
	    daemon->log, (struct log_context){0, 0}, EV_PROGRAM_NOTICE, &event);
}

static void
note_applied(struct daemon *daemon)
{
	struct event_settings_applied event = {
	    .program = slice_of(role_name(daemon->program->role)),
	    .revision = daemon->snapshot->revision};

	log_event(daemon->log, (struct log_context){0, 0}, EV_SETTINGS_APPLIED,
	    &event);
}

int
daemon_set_snapshot(
    struct daemon *daemon, struct snapshot *snapshot, struct err *err)
{
	struct snapshot *old = daemon->snapshot;
	int rc = 0;

	daemon->snapshot = snapshot;
	/* The program may still compare with the old one while it changes. */
	if (daemon->is_started && daemon->program->settings_changed != NULL &&
	    (rc = daemon->program->settings_changed(daemon, err)) == -1)
		notice(daemon, "settings: %s", err->text);
	else if (daemon->is_started)
		note_applied(daemon);
	snapshot_free(old);
	return rc;
}

/*
 * The program's own copy of its last snapshot, for a start without confd:
 * the hash of the message table (another build starts afresh), then the
 * frame's payload.  Replaced by a rename, so it is whole or the old one; it
 * need not be durable.
 */
static void
save_snapshot(struct daemon *daemon, const struct ipc_conf_snapshot *message)
{
	const struct ipc_shape *shape = &ipc_row(MSG_CONF_SNAPSHOT)->shape;
	uint64_t hash = ipc_table_hash();
	char path[DAEMON_PATH_SIZE + 40];
	size_t size;
	char *copy;
	int fd;

	if (ipc_shape_size(shape, message, &size, NULL) == -1)
		return;
	copy = xmalloc(sizeof(hash) + size);
	memcpy(copy, &hash, sizeof(hash));
	ipc_shape_write(shape, message, copy + sizeof(hash));
	size += sizeof(hash);
	(void)snprintf(path, sizeof(path), "%s.new", daemon->snapshot_path);
	fd = open(
	    path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd != -1) {
		bool is_whole = write(fd, copy, size) == (ssize_t)size;

		(void)close(fd);
		if (is_whole)
			(void)rename(path, daemon->snapshot_path);
	}
	explicit_bzero(copy, size);
	free(copy);
}

static int
apply_snapshot(struct daemon *daemon, const struct ipc_conf_snapshot *message,
    struct err *err)
{
	struct snapshot *snapshot;

	if (snapshot_read(message, &snapshot, err) == -1)
		return -1;
	if (daemon_set_snapshot(daemon, snapshot, err) == -1)
		return -1;
	if (!daemon->is_started) {
		daemon_finish_start(daemon);
		note_applied(daemon);
	}
	return 0;
}

int
daemon_on_snapshot(struct channel *channel, const struct channel_frame *frame)
{
	struct daemon *daemon = channel_owner(channel);
	const struct ipc_conf_snapshot *message =
	    &frame->message->conf_snapshot;
	struct ipc_conf_applied applied = {.revision = message->revision};
	struct err err;

	if (apply_snapshot(daemon, message, &err) == -1)
		applied.error = slice_of(err.text);
	else
		save_snapshot(daemon, message);
	return channel_answer(
	    channel, frame->request_id, MSG_CONF_APPLIED, &applied);
}

/* A regular file of at most a frame's size, or NULL. */
static char *
read_saved(const char *path, size_t *size_r)
{
	struct stat info;
	char *content = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd == -1)
		return NULL;
	if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
	    info.st_size > (off_t)sizeof(uint64_t) &&
	    (size_t)info.st_size <=
		sizeof(uint64_t) + ipc_max_size(MSG_CONF_SNAPSHOT)) {
		*size_r = (size_t)info.st_size;
		content = xmalloc(*size_r);
		if (read(fd, content, *size_r) != (ssize_t)*size_r) {
			free(content);
			content = NULL;
		}
	}
	(void)close(fd);
	return content;
}

void
daemon_start_from_saved(struct daemon *daemon)
{
	union ipc_message message;
	uint64_t hash = 0;
	size_t size = 0;
	char *content = read_saved(daemon->snapshot_path, &size);
	struct err err;

	if (content == NULL)
		return; /* nothing saved: confd is waited for */
	memcpy(&hash, content, sizeof(hash));
	if (hash == ipc_table_hash() &&
	    ipc_shape_read(&ipc_row(MSG_CONF_SNAPSHOT)->shape,
		(struct slice){content + sizeof(hash), size - sizeof(hash)},
		&message, &err) == 0 &&
	    apply_snapshot(daemon, &message.conf_snapshot, &err) == 0)
		notice(daemon,
		    "confd is silent; working with its revision %llu",
		    (unsigned long long)daemon->snapshot->revision);
	explicit_bzero(content, size);
	free(content);
}
