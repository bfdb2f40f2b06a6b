/* SPDX-License-Identifier: ISC */
/*
 * A line of tasks for each network that has some, served in turn.
 * Runs in: postern-authd, in its loop; the tasks in the pool's threads.
 * Trusts: smtpd's word for who the client is, as far as turns go.
 */
#include <stdlib.h>

#include "common/err.h"
#include "smtpd/hash_queue.h"

/* Of one network; it is there while a task of it waits. */
struct line {
	struct line *next;
	struct netprefix network;
	struct hash_task *first;
	struct hash_task **last;
	size_t count;
};

struct hash_queue {
	struct pool *pool;
	size_t running_max;
	size_t waiting_max;
	size_t running;
	size_t waiting;
	struct line *first; /* whose turn it is */
	struct line **last;
};

struct hash_queue *
hash_queue_new(struct pool *pool, size_t running_max, size_t waiting_max)
{
	struct hash_queue *queue = xcalloc(1, sizeof(*queue));

	queue->pool = pool;
	queue->running_max = running_max;
	queue->waiting_max = waiting_max;
	queue->last = &queue->first;
	return queue;
}

void
hash_queue_free(struct hash_queue *queue)
{
	if (queue != NULL && queue->waiting + queue->running > 0)
		bug("a queue of passwords ends with some in it");
	free(queue);
}

/* ---- lines ---- */

/* Where the line of that network hangs, or the end. */
static struct line **
find_line(struct hash_queue *queue, const struct netprefix *network)
{
	struct line **at = &queue->first;

	while (*at != NULL && !netprefix_equals(&(*at)->network, network))
		at = &(*at)->next;
	return at;
}

static struct line **
find_longest(struct hash_queue *queue)
{
	struct line **longest = &queue->first;

	for (struct line **at = &queue->first; *at != NULL; at = &(*at)->next)
		if ((*at)->count > (*longest)->count)
			longest = at;
	return longest;
}

static void
append_line(struct hash_queue *queue, struct line *line)
{
	line->next = NULL;
	*queue->last = line;
	queue->last = &line->next;
}

static struct line *
unlink_line(struct hash_queue *queue, struct line **at)
{
	struct line *line = *at;

	*at = line->next;
	if (*at == NULL)
		queue->last = at;
	return line;
}

/* Takes the task at that place off its line, and a line that is empty away. */
static struct hash_task *
take(struct hash_queue *queue, struct line **line_at, struct hash_task **at)
{
	struct line *line = *line_at;
	struct hash_task *task = *at;

	if (task == NULL)
		bug("a line of passwords without any");
	*at = task->next;
	if (*at == NULL)
		line->last = at;
	task->is_waiting = false;
	line->count--;
	queue->waiting--;
	if (line->count == 0)
		free(unlink_line(queue, line_at));
	return task;
}

static void
append_task(struct hash_queue *queue, struct hash_task *task)
{
	struct line *line = *find_line(queue, &task->network);

	if (line == NULL) {
		line = xcalloc(1, sizeof(*line));
		line->network = task->network;
		line->last = &line->first;
		append_line(queue, line);
	}
	task->next = NULL;
	task->is_waiting = true;
	*line->last = task;
	line->last = &task->next;
	line->count++;
	queue->waiting++;
}

/* ---- running ---- */

static void done_task(struct pool_task *task);

static void
run_some(struct hash_queue *queue)
{
	while (queue->running < queue->running_max && queue->first != NULL) {
		struct line *line = queue->first;
		bool has_more = line->count > 1;
		struct hash_task *task =
		    take(queue, &queue->first, &line->first);

		/* One each, and to the end: its turn is over. */
		if (has_more)
			append_line(queue, unlink_line(queue, &queue->first));
		task->task.done = done_task;
		queue->running++;
		pool_submit(queue->pool, &task->task);
	}
}

static void
done_task(struct pool_task *pool_task)
{
	struct hash_task *task = (struct hash_task *)pool_task;
	struct hash_queue *queue = task->queue;

	queue->running--;
	/* The thread has its next one before what may take a while. */
	run_some(queue);
	task->done(task, true);
}

/* Is there room now?  The last of the longest line goes for a shorter one's. */
static bool
make_room(struct hash_queue *queue, const struct netprefix *network)
{
	struct line *own = *find_line(queue, network);
	struct line **longest = find_longest(queue);
	struct hash_task **at;
	struct hash_task *task;

	if (queue->waiting < queue->waiting_max)
		return true;
	if (*longest == NULL ||
	    (*longest)->count <= (own == NULL ? 0 : own->count) + 1)
		return false;
	for (at = &(*longest)->first; (*at)->next != NULL; at = &(*at)->next)
		continue;
	task = take(queue, longest, at);
	task->done(task, false);
	return true;
}

int
hash_queue_add(struct hash_queue *queue, struct hash_task *task,
    const struct netaddr *client)
{
	bool is_next = queue->running < queue->running_max;

	task->queue = queue;
	task->network = netaddr_network(client);
	if (!is_next && !make_room(queue, &task->network))
		return -1;
	append_task(queue, task);
	run_some(queue);
	return 0;
}

bool
hash_queue_cancel(struct hash_task *task)
{
	struct hash_queue *queue = task->queue;
	struct line **line_at;
	struct hash_task **at;

	if (!task->is_waiting)
		return false;
	line_at = find_line(queue, &task->network);
	if (*line_at == NULL)
		bug("a password waits in no line");
	for (at = &(*line_at)->first; *at != NULL && *at != task;
	     at = &(*at)->next)
		continue;
	(void)take(queue, line_at, at);
	return true;
}

size_t
hash_queue_count(const struct hash_queue *queue)
{
	return queue->waiting + queue->running;
}
