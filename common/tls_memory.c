/* SPDX-License-Identifier: ISC */
/*
 * A region of slots for the buffers of handshakes and records, in front of
 * malloc; what does not fit, or comes when all are taken, is malloc's.
 * Runs in: postern-smtpd, in the workers.  Trusts: nothing from outside comes
 * here; OpenSSL's sizes.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <openssl/crypto.h>

#include "common/tls_memory.h"

/*
 * A slot takes a record of 16 KB with what belongs to it, and the handshake's
 * own buffer, which OpenSSL makes a third larger than that.  Whole pages.
 */
#define SLOT_SIZE (24 * 1024)
/*
 * What lives in slots: records and the handshake's buffer, and the two halves
 * of its output buffer.  Between the two is the connection itself, which
 * stays, and is the heap's like all that is smaller.
 */
#define SLOT_LEAST (8 * 1024)
#define OUTPUT_HALF 4096
/*
 * Five for each handshake that waits for its client's next word; 192 MB of
 * addresses, not of memory.
 */
#define SLOT_COUNT 8192

struct tls_memory {
	char *slots;               /* NULL: all is malloc's */
	size_t used_count;         /* those behind were never taken */
	uint16_t free[SLOT_COUNT]; /* a stack: the warmest is taken next */
	size_t free_count;
	bool is_touched[SLOT_COUNT]; /* since its pages were given back */
};

/* OpenSSL's hooks carry no context. */
static struct tls_memory memory;

static bool
is_slot(const void *p)
{
	uintptr_t first = (uintptr_t)memory.slots;

	return memory.slots != NULL && (uintptr_t)p >= first &&
	       (uintptr_t)p - first < (size_t)SLOT_SIZE * SLOT_COUNT;
}

/* A slot's number, or -1. */
static int
take_slot(void)
{
	if (memory.free_count > 0)
		return memory.free[--memory.free_count];
	if (memory.slots == NULL || memory.used_count == SLOT_COUNT)
		return -1;
	return (int)memory.used_count++;
}

static void *
take(size_t n, const char *file, int line)
{
	int slot = -1;

	(void)file;
	(void)line;
	if (n == 0)
		return NULL;
	if ((n >= SLOT_LEAST && n <= SLOT_SIZE) || n == OUTPUT_HALF)
		slot = take_slot();
	if (slot == -1)
		return malloc(n);
	memory.is_touched[slot] = true;
	return memory.slots + (size_t)slot * SLOT_SIZE;
}

static void
give_back(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	if (!is_slot(p))
		free(p);
	else
		memory.free[memory.free_count++] =
		    (uint16_t)((size_t)((char *)p - memory.slots) / SLOT_SIZE);
}

static void *
resize(void *p, size_t n, const char *file, int line)
{
	void *other;

	if (p == NULL)
		return take(n, file, line);
	if (n == 0) {
		give_back(p, file, line);
		return NULL;
	}
	if (!is_slot(p))
		return realloc(p, n);
	if (n <= SLOT_SIZE)
		return p;
	if ((other = malloc(n)) == NULL)
		return NULL;
	memcpy(other, p, SLOT_SIZE);
	give_back(p, file, line);
	return other;
}

void
tls_memory_prepare(void)
{
	const size_t size = (size_t)SLOT_SIZE * SLOT_COUNT;
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *slots;

	if (memory.slots != NULL ||
	    CRYPTO_set_mem_functions(take, resize, give_back) != 1)
		return;
	/* cppcheck-suppress invalidFunctionArg ; MAP_ANONYMOUS wants -1 */
	slots = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (slots == MAP_FAILED)
		return;
	/* A huge page would not be given back slot by slot. */
	(void)madvise(slots, size, MADV_NOHUGEPAGE);
	memory.slots = slots;
}

void
tls_memory_trim(void)
{
	for (size_t i = 0; i < memory.free_count; i++) {
		uint16_t slot = memory.free[i];

		if (memory.is_touched[slot] &&
		    madvise(memory.slots + (size_t)slot * SLOT_SIZE, SLOT_SIZE,
			MADV_DONTNEED) == 0)
			memory.is_touched[slot] = false;
	}
}
