/* SPDX-License-Identifier: ISC */
/*
 * Opens a queue's state directory as postern-queued does at its start, and
 * says which of load's mails are there, and whole.
 * Runs in: crash tests.  Trusts: nothing of what it finds.
 *
 * Each line of its standard input names a directory; for each it prints
 * "<queue id> <load's id> whole|torn|foreign" for each message, or "<queue id>
 * <queue id of the mail that it is about> bounce", and then "ok", or one line
 * that begins with "bad".  Each directory gets a process of its own, which may
 * die of what it finds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/ids.h"
#include "relay/queue_store.h"
#include "relay/spool_file.h"
#include "tests/bench/lib_mail.h"

#define CONTENT_MAX (64u << 20)

struct check {
	struct sql *writer;
	struct sql *reader;
	struct spool_folders folders;
};

static bool
is_known(void *arg, uint64_t id, unsigned output)
{
	return queue_store_knows_file(arg, id, output);
}

/* One row "ok" is what SQLite says of a file without damage. */
static int
check_pages(struct sql *store, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	const unsigned char *text;
	int rc = -1;

	if (sqlite3_prepare_v2(sql_handle(store), "PRAGMA integrity_check", -1,
		&stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		(void)err_set(err, "integrity_check: %s",
		    sqlite3_errmsg(sql_handle(store)));
	else if ((text = sqlite3_column_text(stmt, 0)) == NULL ||
		 strcmp((const char *)text, "ok") != 0)
		(void)err_set(err, "integrity_check: %s",
		    text != NULL ? (const char *)text : "");
	else
		rc = 0;
	(void)sqlite3_finalize(stmt);
	return rc;
}

static int
read_file(
    struct check *check, uint64_t id, struct buf *content_r, struct err *err)
{
	int fd = spool_file_open(&check->folders, id, 0);
	ssize_t n;
	int rc = 0;

	if (fd == -1)
		return err_set(err, "its spool file is not there");
	do {
		char *room = buf_reserve(content_r, 65536);

		n = room != NULL ? read(fd, room, 65536) : -1;
		if (n > 0)
			buf_extend(content_r, (size_t)n);
	} while (n > 0);
	if (n == -1)
		rc = err_set(err, "its spool file cannot be read");
	(void)close(fd);
	return rc;
}

/* "-" without one. */
static void
find_reference(struct slice notification, char text_r[ID_TEXT_SIZE])
{
	static const char field[] = "\r\nX-Postern-Reference: ";
	const size_t n = sizeof(field) - 1;
	const char *at = memmem(notification.p, notification.n, field, n);
	struct slice rest = {"-", 1};

	if (at != NULL)
		rest = (struct slice){
		    at + n, notification.n - (size_t)(at - notification.p) - n};
	if (rest.n >= ID_TEXT_SIZE)
		rest.n = ID_TEXT_SIZE - 1;
	(void)slice_copy(rest, text_r, ID_TEXT_SIZE);
}

static int
check_message(struct check *check, uint64_t id, struct err *err)
{
	static const char *const words[MAIL_VERDICT_COUNT] = {
	    [MAIL_FOREIGN] = "foreign",
	    [MAIL_WHOLE] = "whole",
	    [MAIL_TORN] = "torn"};
	struct queue_message *message;
	struct mail_seen seen;
	bool is_bounce;
	char reference[ID_TEXT_SIZE];
	char text[ID_TEXT_SIZE];
	struct buf content;
	int rc = -1;

	id_format(id, text);
	buf_init(&content, CONTENT_MAX);
	if (queue_store_read(check->reader, id, &message, err) != 1)
		goto out;
	rc = message->is_file ? read_file(check, id, &content, err)
			      : queue_store_content(check->reader, id, 0,
				    SIZE_MAX, &content, err);
	if (rc == 0 && content.n != message->size)
		rc = err_set(err, "%zu octets, not %llu", content.n,
		    (unsigned long long)message->size);
	is_bounce = (message->flags & MSG_FLAG_BOUNCE) != 0;
	queue_message_unref(message);
	if (rc == 0 && is_bounce) {
		find_reference(buf_slice(&content), reference);
		(void)printf("%s %s bounce\n", text, reference);
	} else if (rc == 0) {
		mail_check(buf_slice(&content), &seen);
		(void)printf("%s %s %s\n", text,
		    seen.id[0] != '\0' ? seen.id : "-", words[seen.verdict]);
	}
out:
	buf_clear(&content);
	return rc == 0 ? 0 : err_wrap(err, "message %s", text);
}

/* Those that are held, too, which are never due. */
static int
check_messages(struct check *check, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int step = SQLITE_ERROR;
	int rc = 0;

	if (sqlite3_prepare_v2(sql_handle(check->writer), "SELECT id FROM msg",
		-1, &stmt, NULL) == SQLITE_OK)
		while (rc == 0 && (step = sqlite3_step(stmt)) == SQLITE_ROW)
			rc = check_message(check,
			    (uint64_t)sqlite3_column_int64(stmt, 0), err);
	if (rc == 0 && step != SQLITE_DONE)
		rc = err_set(err, "messages: %s",
		    sqlite3_errmsg(sql_handle(check->writer)));
	(void)sqlite3_finalize(stmt);
	return rc;
}

static int
check_directory(const char *dir, struct err *err)
{
	struct check check = {0};
	struct spool_scan scan;

	if (spool_has_store(dir, err) == -1 ||
	    queue_store_open(dir, false, &check.writer, err) == -1 ||
	    queue_store_open(dir, true, &check.reader, err) == -1 ||
	    check_pages(check.writer, err) == -1 ||
	    spool_folders_open(&check.folders, dir, err) == -1 ||
	    spool_folders_scan(
		&check.folders, is_known, check.reader, &scan, err) == -1)
		return -1;
	return check_messages(&check, err);
}

static void
check_apart(const char *dir)
{
	struct err err;
	int status;
	pid_t pid;

	(void)fflush(stdout);
	if ((pid = fork()) == -1)
		fatal("fork: %s", strerror(errno));
	if (pid == 0) {
		if (check_directory(dir, &err) == 0)
			(void)puts("ok");
		else
			(void)printf("bad %s\n", err.text);
		(void)fflush(stdout);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) == -1 || status != 0)
		(void)printf("bad the check ended with status %x\n", status);
	(void)fflush(stdout);
}

int
main(void)
{
	char dir[4096];

	while (fgets(dir, sizeof(dir), stdin) != NULL) {
		dir[strcspn(dir, "\n")] = '\0';
		check_apart(dir);
	}
	return 0;
}
