/* SPDX-License-Identifier: ISC */
/*
 * Clocks, latencies, sets of ids, and the options' numbers.
 * Runs in: tests/bench/load, tests/bench/sink.  Trusts: the kernel's clocks.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "common/buf.h"
#include "common/err.h"
#include "tests/bench/lib_count.h"

#define US_PER_S UINT64_C(1000000)
#define ID_SET_FIRST 1024 /* slots; a power of two */

static uint64_t
clock_us(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) == -1)
		fatal("clock_gettime failed");
	return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t
count_now_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

uint64_t
count_epoch_us(void)
{
	return clock_us(CLOCK_REALTIME);
}

double
count_cpu_s(void)
{
	return (double)clock_us(CLOCK_PROCESS_CPUTIME_ID) / (double)US_PER_S;
}

void
latencies_add(struct latencies *l, uint64_t us)
{
	if (l->n == l->capacity) {
		l->capacity = l->capacity == 0 ? 1024 : l->capacity * 2;
		l->us = xrealloc(l->us, l->capacity * sizeof(*l->us));
	}
	l->us[l->n++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

void
latencies_clear(struct latencies *l)
{
	free(l->us);
	*l = (struct latencies){.us = NULL};
}

static int
compare_us(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a;
	uint32_t right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

void
latencies_sort(struct latencies *l)
{
	if (l->n > 0)
		qsort(l->us, l->n, sizeof(*l->us), compare_us);
}

double
latencies_ms(const struct latencies *l, double share)
{
	if (l->n == 0)
		return 0;
	return l->us[(size_t)((double)(l->n - 1) * share)] / 1000.0;
}

static bool
id_set_put(struct id_set *set, uint64_t hash)
{
	size_t at = hash & (set->capacity - 1);

	while (set->slots[at] != 0) {
		if (set->slots[at] == hash)
			return false;
		at = (at + 1) & (set->capacity - 1);
	}
	set->slots[at] = hash;
	set->n++;
	return true;
}

static void
id_set_grow(struct id_set *set)
{
	struct id_set old = *set;

	set->capacity = old.capacity == 0 ? ID_SET_FIRST : old.capacity * 2;
	set->slots = xcalloc(set->capacity, sizeof(*set->slots));
	set->n = 0;
	for (size_t i = 0; i < old.capacity; i++) {
		if (old.slots[i] != 0)
			(void)id_set_put(set, old.slots[i]);
	}
	free(old.slots);
}

bool
id_set_add(struct id_set *set, uint64_t hash)
{
	if (set->n >= set->capacity / 2)
		id_set_grow(set);
	return id_set_put(set, hash == 0 ? 1 : hash);
}

void
id_set_clear(struct id_set *set)
{
	free(set->slots);
	*set = (struct id_set){.slots = NULL};
}

uint64_t
count_option(const char *name, const char *text, uint64_t min, uint64_t max)
{
	uint64_t value;

	if (slice_to_u64(slice_of(text), &value) == -1 || value < min ||
	    value > max)
		fatal("--%s %s: a number from %" PRIu64 " to %" PRIu64
		      " is wanted",
		    name, text, min, max);
	return value;
}

void
count_raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

struct sockaddr_in
count_address(const char *name, const char *text)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	const char *colon = strrchr(text, ':');
	char host[INET_ADDRSTRLEN];

	if (colon == NULL ||
	    slice_copy((struct slice){text, (size_t)(colon - text)}, host,
		sizeof(host)) == -1 ||
	    inet_pton(AF_INET, host, &sin.sin_addr) != 1)
		fatal("%s %s: ADDRESS:PORT is wanted, like 127.0.0.1:2525",
		    name, text);
	sin.sin_port =
	    htons((uint16_t)count_option(name, colon + 1, 0, UINT16_MAX));
	return sin;
}
