/* SPDX-License-Identifier: ISC */
/*
 * What is measured: time, CPU, latencies, and ids already seen.
 */
#ifndef TESTS_BENCH_LIB_COUNT_H
#define TESTS_BENCH_LIB_COUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

uint64_t count_now_us(void);   /* monotonic */
uint64_t count_epoch_us(void); /* since 1970, for comparing records */
double count_cpu_s(void);      /* user and system, of this process */

struct latencies {
	uint32_t *us;
	size_t n;
	size_t capacity;
};

void latencies_add(struct latencies *l, uint64_t us);
void latencies_clear(struct latencies *l);

/* Sorts; then the value that share (0 to 1) of all do not exceed, in ms. */
void latencies_sort(struct latencies *l);
double latencies_ms(const struct latencies *l, double share);

/* A set of 64-bit hashes; two texts among a million meet once in 10^7 runs. */
struct id_set {
	uint64_t *slots; /* 0: free */
	size_t capacity;
	size_t n;
};

/* True when the value was not in it yet. */
bool id_set_add(struct id_set *set, uint64_t hash);
void id_set_clear(struct id_set *set);

/* Options: a whole number from min to max, or the end with a sentence. */
uint64_t count_option(
    const char *name, const char *text, uint64_t min, uint64_t max);

/* As many descriptors as the system lets us have. */
void count_raise_descriptors(void);

/* "127.0.0.1:PORT"; ends the program on anything else. */
struct sockaddr_in count_address(const char *name, const char *text);

#endif
