/* SPDX-License-Identifier: ISC */
/*
 * Rescue of a damaged queue.db, also one that an older version has left.
 * Runs in: postern-queued --salvage, as the owner of the state directory,
 * confined like the program itself.  Trusts: nothing of the damaged file; a
 * message counts as rescued when all of its rows make sense and its content
 * is as long as they say.
 *
 * queue.db and its log move into a folder.  Damage hides what a scan would
 * find behind it, so keys are looked for in each table and index, from both
 * ends, and every row is fetched by its key, into a sound file beside it
 * (rows/queue.db).  Each message is then read from there as queued itself
 * reads it, and committed into a new queue.db.  Files of the spool that no row
 * names any more get the name <id>.lost, which queued leaves alone.
 *
 * Half a new queue.db would have queued remove the files of all other mail.
 * So on disk a rescue is in one of these states, and each step is a rename:
 *
 *   SPOOL_SALVAGE is not there       nothing began, or all is done
 *   it is, without a queue.db in it  the log and the file are moved into it,
 *                                    the file last
 *   it is, with a queue.db in it     that one is the damaged file, what is
 *                                    beside the spool is half a new one
 *
 * At the end SPOOL_SALVAGE becomes damaged-<time>.  While it is there queued
 * refuses to start; a rescue that finds it goes on from its state.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "common/ids.h"
#include "relay/queue_salvage.h"
#include "relay/queue_salvage_parts.h"
#include "relay/queue_store.h"

/* The exit code of a check that found problems (DESIGN §5). */
#define EXIT_PROBLEMS 7
#define CONTENT_MAX (IPC_INLINE_MAX + IPC_TRACE_MAX)
#define OUTBOX_ROW_MAX (16u * 1024 * 1024)

/* ---- one message ---- */

/* *content_r is NULL for a file, which only has to be there. */
static int
read_output(struct salvage *salvage, uint64_t id, uint16_t output, bool is_file,
    uint64_t size, char **content_r, struct err *err)
{
	struct buf content;
	struct stat st;
	int rc = 0;

	if (is_file) {
		int fd = spool_file_open(&salvage->folders, id, output);

		if (fd == -1 || fstat(fd, &st) == -1 || st.st_size < 0 ||
		    (uint64_t)st.st_size != size)
			rc = err_set(err, "its spool file is gone or cut");
		close_if_open(&fd);
		return rc;
	}
	buf_init(&content, CONTENT_MAX);
	rc = queue_store_content(
	    salvage->rows, id, output, SIZE_MAX, &content, err);
	if (rc == 0 && content.n != size)
		rc = err_set(err, "its content has another length");
	if (rc == 0) {
		*content_r = xmalloc(content.n);
		if (content.n > 0)
			memcpy(*content_r, content.p, content.n);
	}
	buf_clear(&content);
	return rc;
}

static int
read_outputs(
    struct salvage *salvage, struct queue_message *message, struct err *err)
{
	struct queue_protection *protection = message->protection;

	if (read_output(salvage, message->id, 0, message->is_file,
		message->size, &message->content, err) == -1)
		return -1;
	for (size_t i = 0; protection != NULL && i < protection->output_count;
	     i++) {
		struct queue_output *output = &protection->outputs[i];

		if (read_output(salvage, message->id, output->number,
			output->is_file, output->size, &output->content,
			err) == -1)
			return -1;
	}
	return 0;
}

static int
write_message(
    struct sql *store, const struct queue_message *message, struct err *err)
{
	if (sql_begin(store, err) == -1)
		return -1;
	if (queue_store_insert(store, message, err) == -1)
		goto failed;
	for (size_t i = 0; i < message->recipient_count; i++)
		if (queue_store_defer(
			store, message->id, &message->recipients[i], err) == -1)
			goto failed;
	return sql_commit(store, err);
failed:
	sql_rollback(store);
	return -1;
}

static void
rescue(struct salvage *salvage, uint64_t id)
{
	struct queue_message *message = NULL;
	char text[ID_TEXT_SIZE];
	struct err err;
	int rc = queue_store_read(salvage->rows, id, &message, &err);

	if (rc == 0)
		(void)err_set(&err, "its row is gone");
	if (rc == 1 && read_outputs(salvage, message, &err) == 0) {
		/* A new file that cannot be written is no place to go on. */
		if (write_message(salvage->new, message, &err) == -1)
			fatal("%s", err.text);
		salvage->rescued++;
	} else {
		id_format(id, text);
		(void)printf("lost %s: %s\n", text, err.text);
		salvage->lost++;
	}
	queue_message_unref(message);
}

/* ---- what belongs to no message ---- */

/* Life events that the log does not have yet, as far as they can be read. */
static void
hand_on_outbox(struct salvage *salvage)
{
	struct ipc_list_writer events;
	int64_t seq = 0;
	struct err err;

	ipc_list_writer_init(&events, OUTBOX_ROW_MAX);
	while (queue_store_outbox_next(salvage->rows, seq, &seq,
		   &events.encoded, &events.count, NULL) == 1)
		if (queue_store_outbox_add(salvage->new, seq, &events, &err) ==
		    -1)
			fatal("%s", err.text);
	ipc_list_writer_clear(&events);
}

static void
hand_on_clock(struct salvage *salvage)
{
	int64_t seen_ms;

	if (queue_store_seen(salvage->rows, &seen_ms, NULL) == 0)
		(void)queue_store_see(salvage->new, seen_ms, NULL);
}

/* An answer to the scan that removes what is not known. */
static bool
keep_file(void *arg, uint64_t id, unsigned output)
{
	struct salvage *salvage = arg;

	if (queue_store_knows_file(salvage->new, id, output))
		return true;
	if (spool_file_set_aside(&salvage->folders, id, output) == 0)
		salvage->lost_files++;
	return true;
}

/* ---- the way ---- */

/* Files belong to whoever owns the directory. */
static int
become_owner(const char *dir, struct err *err)
{
	struct stat st;

	if (stat(dir, &st) == -1)
		return err_set(err, "%s: %s", dir, strerror(errno));
	if (geteuid() != 0 || st.st_uid == 0)
		return 0;
	if (setgroups(0, NULL) == -1 ||
	    setresgid(st.st_gid, st.st_gid, st.st_gid) == -1 ||
	    setresuid(st.st_uid, st.st_uid, st.st_uid) == -1)
		return err_set(
		    err, "become the owner of %s: %s", dir, strerror(errno));
	return 0;
}

/* In the order in which they move: queue.db last. */
static const char *const suffixes[] = {"-wal", "-shm", ""};
#define SUFFIXES (sizeof(suffixes) / sizeof(suffixes[0]))

static int
move(const char *from, const char *to, const char *suffix, struct err *err)
{
	char old[SALVAGE_PATH_SIZE + 32];
	char new[SALVAGE_PATH_SIZE + 32];

	(void)snprintf(old, sizeof(old), "%s/queue.db%s", from, suffix);
	(void)snprintf(new, sizeof(new), "%s/queue.db%s", to, suffix);
	if (rename(old, new) == -1 && errno != ENOENT)
		return err_set(err, "rename %s: %s", old, strerror(errno));
	return 0;
}

/* Nobody knows what else it may be by now: a backup that was put there. */
static int
set_new_aside(const struct salvage *salvage, struct err *err)
{
	char aside[SALVAGE_PATH_SIZE + 32];

	(void)snprintf(aside, sizeof(aside), "%.580s/half-%lld",
	    salvage->folder, (long long)time(NULL));
	if (mkdir(aside, 0700) == -1 && errno != EEXIST)
		return err_set(err, "%s: %s", aside, strerror(errno));
	for (size_t i = 0; i < SUFFIXES; i++)
		if (move(salvage->dir, aside, suffixes[i], err) == -1)
			return -1;
	return 0;
}

/* What a rescue made that was ended is made anew. */
static int
remove_rows(const struct salvage *salvage, struct err *err)
{
	char path[SALVAGE_PATH_SIZE + 32];

	(void)printf("a salvage was not finished; it is begun anew\n");
	for (size_t i = 0; i < SUFFIXES; i++) {
		(void)snprintf(path, sizeof(path), "%.580s/rows/queue.db%s",
		    salvage->folder, suffixes[i]);
		if (unlink(path) == -1 && errno != ENOENT)
			return err_set(err, "%s: %s", path, strerror(errno));
	}
	(void)snprintf(path, sizeof(path), "%.580s/rows", salvage->folder);
	if (rmdir(path) == -1 && errno != ENOENT)
		return err_set(err, "%s: %s", path, strerror(errno));
	return 0;
}

/* Its folder has the damaged file then, if there was one. */
static int
take_damaged(struct salvage *salvage, struct err *err)
{
	char path[SALVAGE_PATH_SIZE + 32];

	(void)snprintf(salvage->folder, sizeof(salvage->folder),
	    "%.560s/" SPOOL_SALVAGE, salvage->dir);
	if (mkdir(salvage->folder, 0700) == -1) {
		if (errno != EEXIST)
			return err_set(
			    err, "%s: %s", salvage->folder, strerror(errno));
		if (remove_rows(salvage, err) == -1)
			return -1;
	}
	(void)snprintf(path, sizeof(path), "%s/queue.db", salvage->folder);
	if (access(path, F_OK) == 0)
		return set_new_aside(salvage, err);
	for (size_t i = 0; i < SUFFIXES; i++)
		if (move(salvage->dir, salvage->folder, suffixes[i], err) == -1)
			return -1;
	return 0;
}

/* What cannot be opened at all goes back: a backup may be at hand. */
static int
open_damaged(struct salvage *salvage, struct err *err)
{
	char path[SALVAGE_PATH_SIZE + 32];

	if (take_damaged(salvage, err) == -1)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/queue.db", salvage->folder);
	if (access(path, F_OK) == -1) {
		(void)printf("there is no queue.db\n");
		return 0;
	}
	if (queue_store_open_version(salvage->folder, QUEUE_SCHEMA_VERSION,
		true, &salvage->damaged, err) == 0 &&
	    salvage_find_version(salvage, err) == 0)
		return 0;
	sql_close(salvage->damaged);
	for (size_t i = SUFFIXES; i-- > 0;)
		(void)move(salvage->folder, salvage->dir, suffixes[i], NULL);
	(void)rmdir(salvage->folder);
	return -1;
}

/* The end: from now on queued takes what is new. */
static int
keep_damaged(struct salvage *salvage, struct err *err)
{
	time_t now = time(NULL);
	int rc;

	sql_close(salvage->damaged);
	sql_close(salvage->rows);
	sql_close(salvage->new);
	/* There may be one of the same second. */
	do {
		(void)snprintf(salvage->kept, sizeof(salvage->kept),
		    "%.560s/damaged-%lld", salvage->dir, (long long)now++);
		rc = rename(salvage->folder, salvage->kept);
	} while (rc == -1 && (errno == EEXIST || errno == ENOTEMPTY));
	return rc == -1 ? err_set(err, "rename %s: %s", salvage->folder,
			      strerror(errno))
			: 0;
}

static int
rescue_all(struct salvage *salvage, struct err *err)
{
	struct spool_scan scan;

	if (salvage->damaged != NULL) {
		salvage_find_ids(salvage);
		if (salvage_fetch_rows(salvage, err) == -1)
			return -1;
	}
	if (queue_store_open(salvage->dir, false, &salvage->new, err) == -1 ||
	    spool_folders_open(&salvage->folders, salvage->dir, err) == -1)
		return -1;
	if (salvage->damaged != NULL) {
		for (size_t i = 0; i < salvage->id_count; i++)
			rescue(salvage, salvage->ids[i]);
		hand_on_outbox(salvage);
		hand_on_clock(salvage);
	}
	return spool_folders_scan(
	    &salvage->folders, keep_file, salvage, &scan, err);
}

static int
run(struct salvage *salvage, const struct confinement *confinement,
    struct err *err)
{
	if (become_owner(salvage->dir, err) == -1 ||
	    sql_lock_directory(salvage->dir, err) == -1 ||
	    open_damaged(salvage, err) == -1 ||
	    confine(confinement, salvage->dir, err) == -1 ||
	    rescue_all(salvage, err) == -1)
		return -1;
	return keep_damaged(salvage, err);
}

int
queue_salvage(const char *root, const struct confinement *confinement)
{
	struct salvage salvage = {0};
	struct err err;

	(void)umask(077);
	(void)snprintf(salvage.dir, sizeof(salvage.dir),
	    "%.400s%s/lib/postern/queued", root, LOCALSTATEDIR);
	/* No other folder is open to us. */
	if (setenv("SQLITE_TMPDIR", salvage.dir, 1) == -1)
		fatal("out of memory for the environment");
	if (run(&salvage, confinement, &err) == -1) {
		(void)fprintf(stderr, "postern-queued: %s\n", err.text);
		return 1;
	}
	(void)printf("%llu messages are rescued, %llu are lost, %llu files of "
		     "spool/ belong to none of them and are named .lost now\n"
		     "what was damaged is in %s\n",
	    (unsigned long long)salvage.rescued,
	    (unsigned long long)salvage.lost,
	    (unsigned long long)salvage.lost_files, salvage.kept);
	spool_folders_close(&salvage.folders);
	free(salvage.ids);
	return salvage.lost + salvage.lost_files > 0 ? EXIT_PROBLEMS : 0;
}
