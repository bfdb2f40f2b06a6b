/* SPDX-License-Identifier: ISC */
/*
 * Numbers and budgets of the writers.
 * Runs in: postern-loghub.  Trusts: nobody; a writer can at most make its own
 * events look lost.
 */
#include <string.h>
#include <unistd.h>

#include "common/ipc.h"
#include "loghub/writers.h"

#define BOOT_SIZE 24

/* The writer's place; the one heard least of late makes room for a new one. */
static struct writer_boot *
find_boot(struct writers *writers, enum role role, uint64_t boot_id)
{
	struct writer_boot *oldest = NULL;

	for (size_t i = 0; i < WRITERS_MAX; i++) {
		struct writer_boot *boot = &writers->boots[i];

		if (boot->role == role && boot->boot_id == boot_id)
			return boot;
		if (oldest == NULL || boot->used < oldest->used)
			oldest = boot;
	}
	/* A role that invents boot ids throws out its own first. */
	for (size_t i = 0, own = 0; i < WRITERS_MAX; i++) {
		if (writers->boots[i].role == role &&
		    ++own > WRITERS_MAX / 2)
			oldest = &writers->boots[i];
	}
	*oldest = (struct writer_boot){.boot_id = boot_id};
	return oldest;
}

void
writers_note(struct writers *writers, enum role role, uint64_t boot_id,
    uint64_t sequence, uint16_t count, struct writer_news *news_r)
{
	struct writer_boot *boot = find_boot(writers, role, boot_id);
	struct writer_news news = {.is_new = boot->role == ROLE_NONE};
	uint64_t end = sequence + count;

	boot->used = ++writers->clock;
	if (news.is_new) {
		boot->role = role;
	} else if (sequence > boot->next) {
		news.lost = sequence - boot->next;
	} else if (sequence < boot->next) {
		uint64_t repeated = boot->next - sequence;

		news.repeated = repeated > count ? count : (uint16_t)repeated;
	}
	/* Numbers that ran over their end are no numbers. */
	if (end < sequence)
		end = sequence;
	if (news.is_new || end > boot->next)
		boot->next = end;
	*news_r = news;
}

static uint64_t
refill(uint64_t have, uint64_t per_s, uint64_t burst, uint64_t passed_ms)
{
	uint64_t most = burst * 1000;

	if (passed_ms > most / per_s)
		return most;
	have += per_s * passed_ms;
	return have > most ? most : have;
}

bool
writers_may(struct writers *writers, enum role role, uint64_t now_ms,
    uint32_t events, uint32_t octets)
{
	struct writer_budget *budget = &writers->budgets[role];
	uint64_t passed_ms = budget->at_ms == 0 ? UINT64_MAX
	    : now_ms > budget->at_ms            ? now_ms - budget->at_ms
	                                        : 0;

	budget->at_ms = now_ms;
	budget->events = refill(budget->events, WRITER_EVENTS_PER_S,
	    WRITER_EVENTS_BURST, passed_ms);
	budget->octets = refill(budget->octets, WRITER_OCTETS_PER_S,
	    WRITER_OCTETS_BURST, passed_ms);
	if (budget->events < (uint64_t)events * 1000 ||
	    budget->octets < (uint64_t)octets * 1000)
		return false;
	budget->events -= (uint64_t)events * 1000;
	budget->octets -= (uint64_t)octets * 1000;
	return true;
}

void
writers_save(const struct writers *writers, int fd)
{
	char octets[WRITERS_MAX * BOOT_SIZE];
	size_t n = 0;

	for (size_t i = 0; i < WRITERS_MAX; i++) {
		const struct writer_boot *boot = &writers->boots[i];

		if (boot->role == ROLE_NONE)
			continue;
		ipc_put_number(octets + n, (uint64_t)boot->role, 8);
		ipc_put_number(octets + n + 8, boot->boot_id, 8);
		ipc_put_number(octets + n + 16, boot->next, 8);
		n += BOOT_SIZE;
	}
	/* Without it only a gap over a crash would go unseen. */
	(void)!pwrite(fd, octets, n, 0);
}

void
writers_load(struct writers *writers, int fd)
{
	char octets[WRITERS_MAX * BOOT_SIZE];
	ssize_t n = pread(fd, octets, sizeof(octets), 0);
	size_t count = n <= 0 ? 0 : (size_t)n / BOOT_SIZE;

	for (size_t i = 0; i < count; i++) {
		const char *p = octets + i * BOOT_SIZE;
		uint64_t role = ipc_get_number(p, 8);

		if (role == ROLE_NONE || role >= ROLE_COUNT)
			continue;
		writers->boots[i] = (struct writer_boot){
		    .role = (enum role)role,
		    .boot_id = ipc_get_number(p + 8, 8),
		    .next = ipc_get_number(p + 16, 8),
		};
	}
}
