/* SPDX-License-Identifier: ISC */
/*
 * Threads beside an event loop.
 * Runs in: queued, authd, loghub.  Trusts: its owner's tasks.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/err.h"
#include "common/pool.h"

#define POOL_THREADS_MAX 16
/* Threads call SQLite and OpenSSL; the default of 8 MiB is not needed. */
#define POOL_STACK_SIZE (512u * 1024)

struct list {
	struct pool_task *first;
	struct pool_task **last;
};

struct pool {
	pthread_t threads[POOL_THREADS_MAX];
	unsigned thread_count;
	void (*batch)(void *arg, struct pool_task *list);
	void *batch_arg;
	unsigned batch_limit;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_cond_t finish; /* a task was finished */
	struct list waiting;
	struct list finished;
	bool is_ending;
	bool is_signalled; /* the loop was told of finished tasks */

	int event_fd;
	struct event *event;
	size_t in_flight; /* only the loop's thread uses it */
};

static void
list_clear(struct list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void
list_add(struct list *list, struct pool_task *task)
{
	task->next = NULL;
	*list->last = task;
	list->last = &task->next;
}

/* Takes up to limit tasks off the front. */
static struct pool_task *
list_take(struct list *list, unsigned limit)
{
	struct pool_task *first = list->first;
	struct pool_task *last = first;

	for (unsigned n = 1; n < limit && last->next != NULL; n++)
		last = last->next;
	list->first = last->next;
	if (list->first == NULL)
		list->last = &list->first;
	last->next = NULL;
	return first;
}

static void
tell_loop(struct pool *pool)
{
	const uint64_t one = 1;

	while (write(pool->event_fd, &one, sizeof(one)) == -1 && errno == EINTR)
		;
}

static void
run_list(struct pool *pool, struct pool_task *list)
{
	if (pool->batch != NULL)
		pool->batch(pool->batch_arg, list);
	else
		list->run(list);
}

static void *
thread_main(void *arg)
{
	struct pool *pool = arg;

	(void)pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct pool_task *list;
		bool tells;

		while (pool->waiting.first == NULL && !pool->is_ending)
			(void)pthread_cond_wait(&pool->wake, &pool->lock);
		if (pool->waiting.first == NULL)
			break;
		list = list_take(&pool->waiting, pool->batch_limit);
		(void)pthread_mutex_unlock(&pool->lock);
		run_list(pool, list);
		(void)pthread_mutex_lock(&pool->lock);
		while (list != NULL) {
			struct pool_task *next = list->next;

			list_add(&pool->finished, list);
			list = next;
		}
		tells = !pool->is_signalled;
		pool->is_signalled = true;
		(void)pthread_cond_signal(&pool->finish);
		if (tells)
			tell_loop(pool);
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static void
report_finished(struct pool *pool)
{
	struct pool_task *list;

	(void)pthread_mutex_lock(&pool->lock);
	list = pool->finished.first;
	list_clear(&pool->finished);
	pool->is_signalled = false;
	(void)pthread_mutex_unlock(&pool->lock);
	while (list != NULL) {
		struct pool_task *next = list->next;

		pool->in_flight--;
		list->done(list);
		list = next;
	}
}

static void
on_finished(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) == -1)
		return; /* somebody else's wake-up */
	report_finished(arg);
}

static void
start_threads(struct pool *pool, const char *name)
{
	pthread_attr_t attr;
	sigset_t all;
	sigset_t old;

	/* Signals are the loop's. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, POOL_STACK_SIZE);
	for (unsigned i = 0; i < pool->thread_count; i++) {
		int rc =
		    pthread_create(&pool->threads[i], &attr, thread_main, pool);

		if (rc != 0)
			fatal("thread %s: %s", name, strerror(rc));
		(void)pthread_setname_np(pool->threads[i], name);
	}
	(void)pthread_attr_destroy(&attr);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static struct pool *
pool_make(struct loop *loop)
{
	struct pool *pool = xcalloc(1, sizeof(*pool));

	list_clear(&pool->waiting);
	list_clear(&pool->finished);
	(void)pthread_mutex_init(&pool->lock, NULL);
	(void)pthread_cond_init(&pool->wake, NULL);
	(void)pthread_cond_init(&pool->finish, NULL);
	pool->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pool->event_fd == -1)
		fatal("eventfd: %s", strerror(errno));
	pool->event = event_new(loop_base(loop), pool->event_fd,
	    EV_READ | EV_PERSIST, on_finished, pool);
	if (pool->event == NULL)
		fatal("out of memory for a pool");
	(void)event_add(pool->event, NULL);
	return pool;
}

struct pool *
pool_new(struct loop *loop, unsigned threads, const char *name)
{
	struct pool *pool = pool_make(loop);

	if (threads == 0 || threads > POOL_THREADS_MAX)
		bug("a pool of %u threads", threads);
	pool->thread_count = threads;
	pool->batch_limit = 1;
	start_threads(pool, name);
	return pool;
}

struct pool *
pool_new_batching(struct loop *loop, const char *name,
    void (*batch)(void *arg, struct pool_task *list), void *arg, unsigned limit)
{
	struct pool *pool = pool_make(loop);

	pool->thread_count = 1;
	pool->batch = batch;
	pool->batch_arg = arg;
	pool->batch_limit = limit;
	start_threads(pool, name);
	return pool;
}

void
pool_submit(struct pool *pool, struct pool_task *task)
{
	pool->in_flight++;
	(void)pthread_mutex_lock(&pool->lock);
	list_add(&pool->waiting, task);
	(void)pthread_cond_signal(&pool->wake);
	(void)pthread_mutex_unlock(&pool->lock);
}

size_t
pool_waiting(const struct pool *pool)
{
	return pool->in_flight;
}

void
pool_finish(struct pool *pool)
{
	while (pool->in_flight > 0) {
		(void)pthread_mutex_lock(&pool->lock);
		while (pool->finished.first == NULL)
			(void)pthread_cond_wait(&pool->finish, &pool->lock);
		(void)pthread_mutex_unlock(&pool->lock);
		report_finished(pool);
	}
}

void
pool_free(struct pool *pool)
{
	if (pool == NULL)
		return;
	(void)pthread_mutex_lock(&pool->lock);
	pool->is_ending = true;
	(void)pthread_cond_broadcast(&pool->wake);
	(void)pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->thread_count; i++)
		(void)pthread_join(pool->threads[i], NULL);
	report_finished(pool);
	event_free(pool->event);
	(void)close(pool->event_fd);
	(void)pthread_mutex_destroy(&pool->lock);
	(void)pthread_cond_destroy(&pool->wake);
	(void)pthread_cond_destroy(&pool->finish);
	free(pool);
}
