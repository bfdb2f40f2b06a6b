/* SPDX-License-Identifier: ISC */
/*
 * The line of logins that wait for room in the throttle.
 * Runs in: postern-authd, in its loop.  Trusts: its caller for who a waiter
 * is; a network that fills its part keeps nobody else's clients out.
 */
#include <stdlib.h>

#include "common/err.h"
#include "smtpd/login_line.h"

struct login_line {
	struct login_waiter *first; /* waits for longest */
	struct login_waiter *last;
	size_t count;
	uint64_t wait_ms;
	/* Of what was settled since the last turn, as key_bits. */
	uint64_t settled_bits;
	struct event *timer;
};

/*
 * What a try counts on, as one or two of 64 bits: a bit that is another's too
 * costs a turn in vain, and no more.
 */
static uint64_t
key_bits(const struct throttle_try *try)
{
	uint64_t bits = 0;

	for (int i = 0; i < 2; i++)
		if (try->keys[i] != 0)
			bits |= UINT64_C(1) << (try->keys[i] & 63);
	return bits;
}

static void
arm(struct login_line *line)
{
	uint64_t now_ms = clock_monotonic_ms();

	if (line->first == NULL)
		(void)event_del(line->timer);
	else if (line->settled_bits != 0 || line->first->over_ms <= now_ms)
		loop_arm(line->timer, 0);
	else
		loop_arm(line->timer, line->first->over_ms - now_ms);
}

/*
 * One look at all of them.  A turn may take its own waiter off and add others
 * at the end, no more.
 */
static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct login_line *line = arg;
	uint64_t settled_bits = line->settled_bits;
	uint64_t now_ms = clock_monotonic_ms();
	struct login_waiter *next;

	(void)fd;
	(void)what;
	line->settled_bits = 0;
	for (struct login_waiter *at = line->first; at != NULL; at = next) {
		bool is_over = at->over_ms <= now_ms;

		next = at->next;
		if (is_over || (at->key_bits & settled_bits) != 0)
			at->turn(at->arg, is_over);
	}
	arm(line);
}

struct login_line *
login_line_new(struct loop *loop, uint64_t wait_ms)
{
	struct login_line *line = xcalloc(1, sizeof(*line));

	line->wait_ms = wait_ms;
	line->timer = event_new(loop_base(loop), -1, 0, on_timer, line);
	if (line->timer == NULL)
		fatal("out of memory for a timer");
	return line;
}

void
login_line_free(struct login_line *line)
{
	if (line == NULL)
		return;
	event_free(line->timer);
	free(line);
}

static size_t
count_network(const struct login_line *line, const struct netprefix *network)
{
	size_t count = 0;

	for (struct login_waiter *at = line->first; at != NULL; at = at->next)
		if (netprefix_equals(&at->network, network))
			count++;
	return count;
}

int
login_line_join(struct login_line *line, struct login_waiter *waiter,
    const struct throttle_try *try, const struct netaddr *client)
{
	waiter->network = netaddr_network(client);
	if (line->count >= LOGIN_LINE_MAX ||
	    count_network(line, &waiter->network) >= LOGIN_LINE_NETWORK_MAX)
		return -1;
	waiter->key_bits = key_bits(try);
	waiter->over_ms = clock_monotonic_ms() + line->wait_ms;
	waiter->is_waiting = true;
	waiter->next = NULL;
	waiter->previous = line->last;
	if (line->last != NULL)
		line->last->next = waiter;
	else
		line->first = waiter;
	line->last = waiter;
	line->count++;
	if (line->count == 1)
		arm(line);
	return 0;
}

void
login_line_leave(struct login_line *line, struct login_waiter *waiter)
{
	if (!waiter->is_waiting)
		return;
	if (waiter->next != NULL)
		waiter->next->previous = waiter->previous;
	else
		line->last = waiter->previous;
	if (waiter->previous != NULL)
		waiter->previous->next = waiter->next;
	else
		line->first = waiter->next;
	waiter->is_waiting = false;
	line->count--;
}

void
login_line_settled(struct login_line *line, const struct throttle_try *try)
{
	if (line->count == 0)
		return;
	line->settled_bits |= key_bits(try);
	arm(line);
}

size_t
login_line_count(const struct login_line *line)
{
	return line->count;
}
