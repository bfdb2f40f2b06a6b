/* SPDX-License-Identifier: ISC */
/*
 * Outputs of the signer that are too large for queue.db become files of the
 * spool.  A descriptor's content is copied: the signer still holds it.  One
 * that is there for a share before is not written again.
 * Runs in: postern-queued, in the spool's threads.  Trusts: nothing of the
 * descriptor: what it has more or less than was said is a failure.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/utf8.h"
#include "relay/queue_sign_parts.h"
#include "relay/queue_spool.h"
#include "relay/spool_stream.h"

#define COPY_SIZE 65536

/* Is it one that somebody gets, and too large? */
static bool
is_large(const struct sign_output *output)
{
	return output->stored != 0 && !output->is_there &&
	       (output->content == NULL || output->size > IPC_INLINE_MAX);
}

static int
copy(struct sign_output *output, int fd)
{
	char room[COPY_SIZE];
	uint64_t done = 0;

	while (done < output->size) {
		const uint64_t left = output->size - done;
		const ssize_t n = pread(output->fd, room,
		    left < sizeof(room) ? (size_t)left : sizeof(room),
		    (off_t)done);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO; /* it became shorter */
		if (n <= 0)
			return -1;
		if (!output->is_8bit)
			output->is_8bit =
			    !utf8_is_ascii((struct slice){room, (size_t)n});
		if (spool_file_write(fd, room, (size_t)n) == -1)
			return -1;
		done += (uint64_t)n;
	}
	return 0;
}

/* ---- one that is there ---- */

static bool
reads(int fd, char *p, size_t n, uint64_t at)
{
	return pread(fd, p, n, (off_t)at) == (ssize_t)n;
}

static bool
is_same(const struct sign_output *output, int fd)
{
	char there[COPY_SIZE];
	char room[COPY_SIZE];
	uint64_t at = 0;

	while (at < output->size) {
		const uint64_t left = output->size - at;
		const size_t n =
		    left < sizeof(room) ? (size_t)left : sizeof(room);
		const char *ours = room;

		if (output->content != NULL)
			ours = output->content + at;
		else if (!reads(output->fd, room, n, at))
			return false;
		if (!reads(fd, there, n, at) || memcmp(ours, there, n) != 0)
			return false;
		at += n;
	}
	return true;
}

/*
 * The files of a message stay as long as it does, so its number may be given
 * to others.
 */
static void
look_for_same(const struct spool_folders *folders,
    const struct queue_message *message, struct sign_output *output)
{
	const struct queue_protection *protection = message->protection;

	for (size_t i = 0; i < protection->output_count; i++) {
		const struct queue_output *other = &protection->outputs[i];
		int fd;

		if (!other->is_file || other->size != output->size ||
		    (fd = spool_file_open(
			 folders, message->id, other->number)) == -1)
			continue;
		output->is_there = is_same(output, fd);
		(void)close(fd);
		if (output->is_there) {
			output->stored = other->number;
			return;
		}
	}
}

/* -1 and errno. */
static int
write_output(const struct spool_folders *folders, uint64_t id,
    struct sign_output *output)
{
	int fd = spool_file_create(folders, id, output->stored);
	int rc;

	if (fd == -1)
		return -1;
	if (output->content != NULL)
		rc = spool_file_write(fd, output->content, output->size);
	else
		rc = copy(output, fd);
	if (rc == 0)
		spool_file_sync(folders, id, output->stored, fd);
	(void)close(fd);
	return rc;
}

static struct sign_job *
job_of(struct pool_task *task)
{
	return (
	    struct sign_job *)((char *)task - offsetof(struct sign_job, task));
}

static void
run_store(struct pool_task *task)
{
	struct sign_job *job = job_of(task);
	const struct spool_folders *folders =
	    &job->sign->queued->spool->folders;
	const uint64_t id = job->message->id;
	size_t i;

	for (i = 0; i < job->output_count; i++)
		if (is_large(&job->outputs[i]))
			look_for_same(folders, job->message, &job->outputs[i]);
	for (i = 0; i < job->output_count; i++)
		if (is_large(&job->outputs[i]) &&
		    write_output(folders, id, &job->outputs[i]) == -1)
			break;
	if (i == job->output_count)
		return;
	job->failure = errno;
	/* The next attempt's files have the same names. */
	for (size_t j = 0; j <= i; j++)
		if (is_large(&job->outputs[j]))
			(void)spool_file_remove(
			    folders, id, job->outputs[j].stored);
}

static void
done_store(struct pool_task *task)
{
	struct sign_job *job = job_of(task);

	job->stored(job);
}

void
sign_store_undo(const struct sign_job *job)
{
	for (size_t i = 0; i < job->output_count; i++)
		if (is_large(&job->outputs[i]))
			queue_spool_remove(job->sign->queued->spool,
			    job->message->id, job->outputs[i].stored);
}

void
sign_store(struct sign_job *job, void (*done)(struct sign_job *job))
{
	bool has_large = false;

	job->failure = 0;
	for (size_t i = 0; i < job->output_count; i++)
		has_large |= is_large(&job->outputs[i]);
	if (!has_large) {
		done(job);
		return;
	}
	job->state = SIGN_STORING;
	job->stored = done;
	job->task.run = run_store;
	job->task.done = done_store;
	pool_submit(job->sign->queued->spool->pool, &job->task);
}
