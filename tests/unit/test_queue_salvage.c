/* SPDX-License-Identifier: ISC */
/*
 * A queue.db of each version of the schema, whole and damaged, is rescued into
 * one of today; what its migrations do is done to what was rescued.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "relay/queue_salvage.h"
#include "relay/queue_store.h"
#include "tests/unit/tap.h"

#define MESSAGES 400
#define PAGE_SIZE_OCTETS 8192
#define PROBLEMS 7

static char root[64];
static char state[256];

/* ---- folders ---- */

static void
make_folders(void)
{
	const char *tmp = getenv("TMPDIR");
	char path[300];

	(void)snprintf(root, sizeof(root), "%.40s/salvage-XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(root) == NULL)
		fatal("mkdtemp");
	(void)snprintf(state, sizeof(state), "%s%s/lib/postern/queued", root,
	    LOCALSTATEDIR);
	for (size_t i = strlen(root) + 1; i <= strlen(state); i++)
		if (state[i] == '/' || state[i] == '\0') {
			(void)snprintf(
			    path, sizeof(path), "%.*s", (int)i, state);
			if (mkdir(path, 0700) == -1)
				fatal("mkdir %s", path);
		}
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *place)
{
	(void)st;
	(void)kind;
	(void)place;
	return remove(path);
}

static void
remove_folders(void)
{
	if (nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS) == -1)
		fatal("%s cannot be removed", root);
}

static bool
has_folder(const char *start)
{
	DIR *dir = opendir(state);
	const struct dirent *entry;
	bool is_there = false;

	if (dir == NULL)
		fatal("%s", state);
	while ((entry = readdir(dir)) != NULL)
		is_there |= strncmp(entry->d_name, start, strlen(start)) == 0;
	(void)closedir(dir);
	return is_there;
}

/* ---- an old store ---- */

static void
run_sql(sqlite3 *db, const char *text)
{
	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		fatal("%s: %s", text, sqlite3_errmsg(db));
}

/* Of three messages the second waits for the signer, and the third did. */
static void
insert_message(sqlite3 *db, size_t version, int id)
{
	const int flags = version < 2 ? 0 : id % 3 == 2 ? 48 : id % 3 ? 0 : 16;
	char text[1024];

	(void)snprintf(text, sizeof(text),
	    "INSERT INTO msg VALUES(%d,1,1000,'a@b.test','','','',0,%d,2000,"
	    "'',2);"
	    "INSERT INTO output VALUES(%d,0,0,2000,0,zeroblob(2000));"
	    "INSERT INTO rcpt VALUES(%d,0,0,'r@c.test','c.test','',0,'',0,3,"
	    "5000,4000,451,'4.4.1','later','host')",
	    id, flags, id, id);
	run_sql(db, text);
	if (flags == 0)
		return;
	(void)snprintf(text, sizeof(text),
	    "INSERT INTO protection VALUES(%d,0,0,%d,2,'a@b.test','');"
	    "INSERT INTO demand VALUES(%d,0,2,0,0,0,0,0%s)",
	    id, flags > 16, id,
	    version < 4   ? ""
	    : flags == 48 ? ",1"
			  : ",0");
	run_sql(db, text);
}

static void
make_store(size_t version)
{
	struct sql *store;
	sqlite3 *db;
	struct err err;

	if (queue_store_open_version(state, version, false, &store, &err) == -1)
		fatal("%s", err.text);
	db = sql_handle(store);
	run_sql(db, "BEGIN");
	for (int id = 1; id <= MESSAGES; id++)
		insert_message(db, version, id);
	run_sql(db, "INSERT INTO outbox VALUES(7, x'0000000000')");
	if (version >= 3)
		run_sql(db, "UPDATE clock SET seen_ms=77");
	run_sql(db, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)");
	sql_close(store);
}

/* A page in the midst, among contents. */
static void
damage_store(void)
{
	static const char zeros[PAGE_SIZE_OCTETS];
	char path[300];
	struct stat st;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/queue.db", state);
	fd = open(path, O_RDWR);
	if (fd == -1 || fstat(fd, &st) == -1 ||
	    pwrite(fd, zeros, sizeof(zeros),
		st.st_size / PAGE_SIZE_OCTETS / 2 * PAGE_SIZE_OCTETS) !=
		PAGE_SIZE_OCTETS)
		fatal("%s", path);
	(void)close(fd);
}

/* ---- the rescue ---- */

/* It gives up rights for good: in a process of its own. */
static int
salvage(void)
{
	static const struct confinement confinement = {
	    .rights = CONFINE_FILES_READ | CONFINE_FILES_WRITE};
	int status;
	pid_t pid;

	(void)fflush(stdout);
	if ((pid = fork()) == -1)
		fatal("fork");
	if (pid == 0) {
		int fd = open("/dev/null", O_WRONLY);

		if (fd == -1 || dup2(fd, STDOUT_FILENO) == -1 ||
		    dup2(fd, STDERR_FILENO) == -1)
			_exit(99);
		_exit(queue_salvage(root, &confinement));
	}
	if (waitpid(pid, &status, 0) != pid)
		fatal("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int
number(sqlite3 *db, const char *query)
{
	sqlite3_stmt *stmt = NULL;
	int value = -1;

	if (sqlite3_prepare_v2(db, query, -1, &stmt, NULL) == SQLITE_OK &&
	    sqlite3_step(stmt) == SQLITE_ROW)
		value = sqlite3_column_int(stmt, 0);
	(void)sqlite3_finalize(stmt);
	return value;
}

static void
look_at_message(
    struct sql *store, size_t version, uint64_t id, enum demand_waits waits)
{
	struct queue_message *message;
	struct err err = {""};

	is_int(queue_store_read(store, id, &message, &err), 1,
	    "version %zu: message %d can be read: %s", version, (int)id,
	    err.text);
	if (message == NULL)
		return;
	is_int(message->recipients[0].attempts, 3,
	    "version %zu: with its attempts", version);
	if (version < 2)
		ok(message->protection == NULL,
		    "version %zu: nothing was demanded then", version);
	else
		is_int(message->protection->demands[0].waits, waits,
		    "version %zu: whether it waits for the signer", version);
	queue_message_unref(message);
}

static void
test_whole(size_t version)
{
	struct sql *store;
	sqlite3 *db;
	struct err err;

	make_folders();
	make_store(version);
	is_int(salvage(), 0, "version %zu: all is rescued", version);
	ok(has_folder("damaged-"), "version %zu: and the file kept", version);
	if (queue_store_open(state, false, &store, &err) == -1)
		fatal("%s", err.text);
	db = sql_handle(store);
	is_int(number(db, "SELECT count(*) FROM msg"), MESSAGES,
	    "version %zu: each message", version);
	is_int(number(db, "SELECT count(*) FROM output"), MESSAGES,
	    "version %zu: with its content", version);
	is_int(number(db, "SELECT count(*) FROM outbox"), 1,
	    "version %zu: life events", version);
	is_int(number(db, "SELECT seen_ms FROM clock"), version < 3 ? 0 : 77,
	    "version %zu: the clock", version);
	look_at_message(store, version, 2, DEMAND_WAITS);
	look_at_message(store, version, 3, DEMAND_MET);
	sql_close(store);
	remove_folders();
}

static void
test_damaged(size_t version)
{
	struct sql *store;
	struct err err;
	int left;

	make_folders();
	make_store(version);
	damage_store();
	is_int(salvage(), PROBLEMS, "version %zu, damaged: not all is rescued",
	    version);
	if (queue_store_open(state, false, &store, &err) == -1)
		fatal("%s", err.text);
	left = number(sql_handle(store), "SELECT count(*) FROM msg");
	ok(left > MESSAGES / 2 && left < MESSAGES,
	    "version %zu, damaged: but most, %d of %d", version, left,
	    MESSAGES);
	is_int(number(sql_handle(store),
		   "SELECT count(*) FROM msg WHERE (flags & 16) != 0 AND NOT"
		   " EXISTS (SELECT 1 FROM demand WHERE demand.msg=msg.id)"),
	    0, "version %zu, damaged: none without what it demands", version);
	sql_close(store);
	remove_folders();
}

/* What nobody can know is left as it was. */
static void
test_odd(const char *label, size_t version, const char *change)
{
	struct sql *store;
	struct err err;
	char path[300];

	make_folders();
	make_store(version);
	if (queue_store_open_version(state, version, false, &store, &err) == -1)
		fatal("%s", err.text);
	run_sql(sql_handle(store), change);
	sql_close(store);
	is_int(salvage(), 1, "%s: it is not salvaged", label);
	(void)snprintf(path, sizeof(path), "%s/queue.db", state);
	is_int(access(path, F_OK), 0, "%s: and where it was", label);
	ok(!has_folder("salvage-unfinished") && !has_folder("damaged-"),
	    "%s: nothing else is there", label);
	remove_folders();
}

int
main(void)
{
	for (size_t version = 1; version <= QUEUE_SCHEMA_VERSION; version++) {
		test_whole(version);
		test_damaged(version);
	}
	test_odd("a version that is not that of its tables", 2,
	    "PRAGMA user_version=3");
	test_odd("a table that is another", QUEUE_SCHEMA_VERSION,
	    "ALTER TABLE msg ADD COLUMN more INTEGER");
	test_odd("a newer version", 1, "PRAGMA user_version=9999");
	return tap_done();
}
