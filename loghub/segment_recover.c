/* SPDX-License-Identifier: ISC */
/*
 * Opens the log at start: finds its end, and tells a tail that a crash left
 * torn (cut off, said) from records that were synced and are gone or changed
 * (left as they are, for verify to name).
 * Runs in: postern-loghub, before it takes events.  Trusts: nothing on disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loghub/segment.h"
#include "loghub/segment_head.h"

struct walk {
	struct segment_writer *writer;
	void (*visit)(void *arg, const struct record *record);
	void *arg;
};

static int
open_files(struct segment_writer *writer, const char *path, struct err *err)
{
	if (mkdir(path, 0700) == -1 && errno != EEXIST)
		return err_set(err, "create %s: %s", path, strerror(errno));
	writer->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (writer->dir_fd == -1)
		return err_set(err, "open %s: %s", path, strerror(errno));
	writer->head_fd = openat(writer->dir_fd, SEGMENT_HEAD_FILE,
	    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (writer->head_fd == -1)
		return err_set(err, "open %s/%s: %s", path, SEGMENT_HEAD_FILE,
		    strerror(errno));
	return 0;
}

/* The opening says which hash the segment goes on from. */
static bool
fits(struct walk *walk, const struct record *record, uint64_t number)
{
	struct chain *chain = &walk->writer->chain;
	struct record_opening opening;

	if (number == 0) {
		if (record_opening_read(record, &opening) == -1)
			return false;
		chain_set(chain, opening.previous);
	} else if (record->number != number + 1) {
		return false;
	}
	return chain_fits(chain, record);
}

/* Walks one segment; written then ends behind its last good record. */
static int
walk_segment(struct walk *walk, const struct segment_name *name,
    struct err *err)
{
	struct segment_position *at = &walk->writer->written;
	struct segment_reader reader;
	struct record record;

	segment_reader_init(&reader, walk->writer->dir_fd);
	if (segment_reader_seek(&reader, name, 0, err) == -1)
		return -1;
	*at = (struct segment_position){.name = *name};
	while (segment_reader_next(&reader, UINT64_MAX, &record, err) ==
	       PARSE_OK) {
		if (!fits(walk, &record, at->number))
			break;
		at->offset = reader.offset;
		at->number = record.number;
		memcpy(at->hash, record.hash, RECORD_HASH_SIZE);
		chain_set(&walk->writer->chain, record.hash);
		if (walk->visit != NULL)
			walk->visit(walk->arg, &record);
	}
	segment_reader_clear(&reader);
	return 0;
}

/* What is unsynced may be cut; what was synced is evidence. */
static enum segment_end
judge(const struct walk *walk, const struct segment_position *head,
    uint64_t size)
{
	const struct segment_position *at = &walk->writer->written;

	/* What an earlier segment lost is found when that one is walked. */
	if (head->name.number >= at->name.number && head->number > at->number)
		return size > at->offset ? SEGMENT_END_ALTERED
		                         : SEGMENT_END_MISSING;
	/* A segment of no octets was begun, and no more. */
	if (size == at->offset && size > 0)
		return SEGMENT_END_WHOLE;
	return SEGMENT_END_TORN;
}

static int
cut(struct segment_writer *writer, struct err *err)
{
	char file[SEGMENT_FILE_NAME_SIZE];
	int fd;
	int rc = 0;

	segment_file_name(&writer->written.name, file);
	if (writer->written.offset == 0) {
		/* Nothing of it was whole; its number is free again. */
		if (unlinkat(writer->dir_fd, file, 0) == -1)
			return err_set(
			    err, "remove %s: %s", file, strerror(errno));
		writer->written.name.number--;
		return 0;
	}
	fd = openat(writer->dir_fd, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd == -1 || ftruncate(fd, (off_t)writer->written.offset) == -1 ||
	    fsync(fd) == -1)
		rc = err_set(err, "cut %s: %s", file, strerror(errno));
	close_if_open(&fd);
	return rc;
}

static int
size_of(struct segment_writer *writer, const struct segment_name *name,
    uint64_t *size_r, struct err *err)
{
	char file[SEGMENT_FILE_NAME_SIZE];
	struct stat st;

	segment_file_name(name, file);
	if (fstatat(writer->dir_fd, file, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return err_set(err, "%s: %s", file, strerror(errno));
	*size_r = (uint64_t)st.st_size;
	return 0;
}

/* Shows what came before the last segment; find_end() walks that one. */
static void
look_back(struct walk *walk, const struct segment_list *list)
{
	struct err ignored;
	uint64_t octets = 0;
	uint64_t size;
	size_t first = list->count;

	while (first > 0 && octets < SEGMENT_VISIT_OCTETS) {
		first--;
		if (size_of(walk->writer, &list->names[first], &size,
		        &ignored) == 0)
			octets += size;
	}
	for (size_t i = first; i + 1 < list->count; i++)
		(void)walk_segment(walk, &list->names[i], &ignored);
}

/*
 * Walks the last segment, and the one before where nothing of the last is
 * whole: then that one's end is the log's end.
 */
static int
find_end(struct walk *walk, const struct segment_list *list,
    const struct segment_position *head, struct segment_recovery *recovery,
    struct err *err)
{
	struct segment_writer *writer = walk->writer;
	uint64_t size = 0;

	for (size_t i = list->count; i > 0; i--) {
		const struct segment_name *name = &list->names[i - 1];
		enum segment_end end;

		if (walk_segment(walk, name, err) == -1 ||
		    size_of(writer, name, &size, err) == -1)
			return -1;
		end = judge(walk, head, size);
		/* With an empty one nothing is lost that is to be told. */
		if (end != SEGMENT_END_WHOLE &&
		    (end != SEGMENT_END_TORN || size > 0)) {
			recovery->end = end;
			recovery->segment = name->number;
			recovery->octets += size - writer->written.offset;
		}
		recovery->after_number = writer->written.number;
		if (end == SEGMENT_END_TORN && cut(writer, err) == -1)
			return -1;
		if (writer->written.offset > 0 || end != SEGMENT_END_TORN)
			return 0;
	}
	return 0;
}

int
segment_writer_open(struct segment_writer *writer, const char *path,
    void (*visit)(void *arg, const struct record *record), void *arg,
    struct segment_recovery *recovery_r, struct err *err)
{
	struct segment_list list = {0};
	struct segment_position head = {0};
	struct segment_recovery recovery = {0};
	struct walk walk = {.writer = writer, .visit = visit, .arg = arg};
	int rc = -1;

	*writer = (struct segment_writer){
	    .dir_fd = -1, .head_fd = -1, .fd = -1};
	buf_init(&writer->batch, SEGMENT_BATCH_LIMIT);
	chain_init(&writer->chain);
	if (open_files(writer, path, err) == -1 ||
	    segment_list_read(writer->dir_fd, &list, err) == -1)
		goto out;
	segment_head_read(writer->head_fd, &head);
	if (list.count == 0 && head.number != 0)
		recovery.end = SEGMENT_END_MISSING;
	if (visit != NULL)
		look_back(&walk, &list);
	if (find_end(&walk, &list, &head, &recovery, err) == -1)
		goto out;
	/* The chain goes on from what was synced, so that the hole shows. */
	if (recovery.end == SEGMENT_END_MISSING ||
	    recovery.end == SEGMENT_END_ALTERED) {
		uint32_t last =
		    list.count > 0 ? list.names[list.count - 1].number : 0;

		writer->written = head;
		if (writer->written.name.number < last)
			writer->written.name.number = last;
	}
	writer->number = writer->written.number;
	chain_set(&writer->chain, writer->written.hash);
	*recovery_r = recovery;
	rc = 0;
out:
	segment_list_clear(&list);
	if (rc == -1)
		segment_writer_clear(writer);
	return rc;
}
