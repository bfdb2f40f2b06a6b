/* SPDX-License-Identifier: ISC */
/*
 * The line of logins: order, turns, limits, time.
 */
#include <string.h>

#include "common/err.h"
#include "smtpd/login_line.h"
#include "tests/unit/tap.h"

#define MANY (LOGIN_LINE_MAX + 10)

struct person {
	struct login_waiter waiter;
	struct login_line *line;
	unsigned turns;
	bool stays;
	bool was_over;
};

static struct person people[MANY];
static char order[64];

static void
on_turn(void *arg, bool is_over)
{
	struct person *person = arg;
	size_t n = strlen(order);

	person->turns++;
	person->was_over = is_over;
	if (n + 1 < sizeof(order))
		order[n] = (char)('a' + (person - people) % 26);
	if (!person->stays || is_over)
		login_line_leave(person->line, &person->waiter);
}

static int
join(struct login_line *line, unsigned who, uint64_t key, struct netaddr client)
{
	struct throttle_try try = {.keys = {key, 0}};
	struct person *person = &people[who];

	memset(person, 0, sizeof(*person));
	person->line = line;
	person->waiter.turn = on_turn;
	person->waiter.arg = person;
	return login_line_join(line, &person->waiter, &try, &client);
}

static struct netaddr
client_of(unsigned network)
{
	return (struct netaddr){.family = NETADDR_IPV4,
	    .bytes = {10, (uint8_t)(network >> 8), (uint8_t)network, 1}};
}

static void
turn(struct loop *loop)
{
	(void)event_base_loop(loop_base(loop), EVLOOP_ONCE);
}

static void
test_order(struct loop *loop)
{
	struct login_line *line = login_line_new(loop, 600000);
	struct throttle_try seven = {.keys = {7, 0}};
	struct throttle_try both = {.keys = {9, 7}};

	memset(order, 0, sizeof(order));
	for (unsigned i = 0; i < 6; i++)
		(void)join(line, i, i % 2 == 0 ? 7 : 9, client_of(1));
	people[2].stays = true;
	login_line_settled(line, &seven);
	login_line_settled(line, &seven);
	is_str(order, "", "no turn within what settles a try");
	turn(loop);
	is_str(order, "ace", "those who wait for it have one, in order");
	is_u64(login_line_count(line), 4, "and leave, or stay");
	people[2].stays = false;
	login_line_settled(line, &both);
	turn(loop);
	is_str(order, "acebcdf", "both of what a try counts on are meant");
	is_u64(login_line_count(line), 0, "nobody is left");
	login_line_settled(line, &both);
	login_line_free(line);
}

static void
test_leave(struct loop *loop)
{
	struct login_line *line = login_line_new(loop, 600000);
	struct throttle_try seven = {.keys = {7, 0}};
	static const unsigned leavers[] = {1, 0, 3, 1};

	memset(order, 0, sizeof(order));
	for (unsigned i = 0; i < 5; i++)
		(void)join(line, i, 7, client_of(1));
	for (size_t i = 0; i < 4; i++)
		login_line_leave(line, &people[leavers[i]].waiter);
	is_u64(login_line_count(line), 2, "each leaves once");
	login_line_settled(line, &seven);
	turn(loop);
	is_str(order, "ce", "the others have their turn");
	login_line_free(line);
}

static void
test_limits(struct loop *loop)
{
	struct login_line *line = login_line_new(loop, 600000);
	unsigned joined = 0;

	for (unsigned i = 0; i < LOGIN_LINE_NETWORK_MAX + 9; i++)
		if (join(line, joined, 7, client_of(1)) == 0)
			joined++;
	is_u64(joined, LOGIN_LINE_NETWORK_MAX, "so many of one network");
	is_int(join(line, joined, 7, client_of(2)), 0, "others have room");
	joined++;
	for (unsigned i = 0; i < MANY; i++)
		if (join(line, joined, 7, client_of(3 + i)) == 0)
			joined++;
	is_u64(joined, LOGIN_LINE_MAX, "so many in all");
	for (unsigned i = 0; i < joined; i++)
		login_line_leave(line, &people[i].waiter);
	login_line_free(line);
}

static void
test_time(struct loop *loop)
{
	struct login_line *line = login_line_new(loop, 20);
	uint64_t begun_ms = clock_monotonic_ms();

	(void)join(line, 0, 7, client_of(1));
	(void)join(line, 1, 8, client_of(1));
	people[0].stays = true;
	while (login_line_count(line) > 0)
		turn(loop);
	ok(people[0].was_over && people[1].was_over, "the time is over");
	ok(people[0].turns == 1 && people[1].turns == 1, "for each once");
	ok(clock_monotonic_ms() - begun_ms >= 20, "and not before");
	login_line_free(line);
}

int
main(void)
{
	struct loop *loop = loop_new();

	test_order(loop);
	test_leave(loop);
	test_limits(loop);
	test_time(loop);
	loop_free(loop);
	return tap_done();
}
