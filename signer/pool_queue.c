/* SPDX-License-Identifier: ISC */
/*
 * Queues of tasks.
 * Runs in: postern-signerd, the broker.  Trusts: pools.c.
 */
#include "signer/pool_queue.h"

/* What waits in a class. */
#define QUEUE_TASKS_MAX 2000
#define QUEUE_OCTETS_MAX (64u * 1024 * 1024)
/* Above this a task is a large one. */
#define LARGE_OCTETS (8u * 1024 * 1024)

void
pool_queue_init(struct pool_queue *queue)
{
	*queue = (struct pool_queue){.octets = 0};
	queue->small.last = &queue->small.first;
	queue->large.last = &queue->large.first;
}

bool
task_is_large(const struct task *task)
{
	return task->message.size_octets > LARGE_OCTETS;
}

bool
task_is_short(const struct task *task)
{
	return task->is_short && task->tries == 0;
}

static struct task_list *
list_of(struct pool_queue *queue, const struct task *task)
{
	return task_is_large(task) ? &queue->large : &queue->small;
}

static size_t
memory_of(const struct task *task)
{
	return task->fd == -1 ? task->message.content.n : 0;
}

size_t
pool_queue_count(const struct pool_queue *queue)
{
	return queue->small.count + queue->large.count;
}

bool
pool_queue_has_room(const struct pool_queue *queue, const struct task *task)
{
	return pool_queue_count(queue) < QUEUE_TASKS_MAX &&
	       queue->octets + memory_of(task) <= QUEUE_OCTETS_MAX;
}

static void
count(struct pool_queue *queue, struct task_list *list, struct task *task)
{
	list->count++;
	queue->octets += memory_of(task);
	task->is_queued = true;
}

void
pool_queue_add(struct pool_queue *queue, struct task *task)
{
	struct task_list *list = list_of(queue, task);

	task->next = NULL;
	*list->last = task;
	list->last = &task->next;
	count(queue, list, task);
}

void
pool_queue_add_first(struct pool_queue *queue, struct task *task)
{
	struct task_list *list = list_of(queue, task);

	task->next = list->first;
	list->first = task;
	if (list->last == &list->first)
		list->last = &task->next;
	count(queue, list, task);
}

void
pool_queue_take_out(struct pool_queue *queue, struct task *task)
{
	struct task_list *list = list_of(queue, task);
	struct task **at = &list->first;

	while (*at != task)
		at = &(*at)->next;
	*at = task->next;
	if (task->next == NULL)
		list->last = at;
	list->count--;
	queue->octets -= memory_of(task);
	task->is_queued = false;
}

struct task *
pool_queue_next(const struct pool_queue *queue, bool may_be_large)
{
	struct task *small = queue->small.first;
	struct task *large = may_be_large ? queue->large.first : NULL;

	if (small == NULL || large == NULL)
		return small != NULL ? small : large;
	return large->queued_ms < small->queued_ms ? large : small;
}
