/* SPDX-License-Identifier: ISC */
/*
 * The writer's end of the log against a hub that is slow, full, away or back.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/unit/tap.h"

/* Waiting for something that should happen ends here. */
#define PATIENCE_MS 60000

struct hub {
	struct loop *loop;
	struct log *log;
	char folder[64];
	char path[96];
	int fd;
	uint64_t boot_id;
	uint64_t next;   /* the number that the next event should have */
	unsigned events; /* without those that tell a loss */
	unsigned datagrams;
	uint64_t told_lost;
	bool has_gap;
	bool is_broken;
};

static void
on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	loop_stop(arg);
}

static void
turn(struct hub *hub)
{
	struct timeval wait = {.tv_usec = 500};

	(void)event_base_once(loop_base(hub->loop), -1, EV_TIMEOUT,
	    on_pause_over, hub->loop, &wait);
	loop_run(hub->loop);
}

static void
hub_open(struct hub *hub)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	(void)unlink(hub->path);
	(void)slice_copy(
	    slice_of(hub->path), sun.sun_path, sizeof(sun.sun_path));
	hub->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (hub->fd == -1 ||
	    bind(hub->fd, (const struct sockaddr *)&sun, sizeof(sun)) == -1)
		fatal("the hub's socket");
}

static void
hub_init(struct hub *hub)
{
	*hub = (struct hub){.loop = loop_new(), .fd = -1, .next = 1};
	(void)snprintf(hub->folder, sizeof(hub->folder), "%s/log.XXXXXX",
	    getenv("TMPDIR") != NULL && strlen(getenv("TMPDIR")) < 40
		? getenv("TMPDIR")
		: "/tmp");
	if (mkdtemp(hub->folder) == NULL)
		fatal("no folder for the test");
	(void)snprintf(hub->path, sizeof(hub->path), "%s/hub", hub->folder);
	hub->log = log_new(hub->loop, -1, hub->path);
}

static void
hub_clear(struct hub *hub)
{
	log_free(hub->log);
	close_if_open(&hub->fd);
	(void)unlink(hub->path);
	(void)rmdir(hub->folder);
	loop_free(hub->loop);
}

static void
take_event(struct hub *hub, struct slice octets, uint64_t number)
{
	union event_fields fields;
	struct event_head head;

	if (event_read(octets, &head, &fields, NULL) == -1) {
		hub->is_broken = true;
		return;
	}
	if (number != hub->next)
		hub->has_gap = true;
	hub->next = number + 1;
	if (head.type == EV_LOG_LOST)
		hub->told_lost += fields.log_lost.count;
	else
		hub->events++;
}

/* Takes at most that many datagrams. */
static void
hub_read(struct hub *hub, unsigned most)
{
	static char octets[EVENT_DATAGRAM_MAX + 1];

	for (; most > 0; most--) {
		ssize_t n = recv(hub->fd, octets, sizeof(octets), 0);
		struct event_datagram datagram;
		struct slice event;
		uint64_t number;

		if (n < 0)
			return;
		hub->datagrams++;
		if (event_datagram_read((struct slice){octets, (size_t)n},
			&datagram, NULL) == -1) {
			hub->is_broken = true;
			return;
		}
		hub->boot_id = datagram.boot_id;
		for (number = datagram.sequence;
		     event_datagram_next(&datagram, &event); number++)
			take_event(hub, event, number);
	}
}

static void
write_events(struct hub *hub, unsigned count, const char *text)
{
	struct event_program_notice notice = {
	    .program = SLICE("test"), .text = slice_of(text)};

	for (unsigned i = 0; i < count; i++)
		log_event(hub->log, (struct log_context){1, 2},
		    EV_PROGRAM_NOTICE, &notice);
}

#define READ_UNTIL(hub, condition)                                      \
	do {                                                            \
		uint64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;   \
		while (!(condition) && clock_monotonic_ms() < end_ms) { \
			turn(hub);                                      \
			hub_read(hub, 1000);                            \
		}                                                       \
	} while (0)

static void
test_turn(void)
{
	struct hub hub;

	hub_init(&hub);
	hub_open(&hub);
	write_events(&hub, 50, "one turn");
	hub_read(&hub, 10);
	is_int(hub.datagrams, 0, "nothing leaves before the turn's end");
	READ_UNTIL(&hub, hub.events == 50);
	is_int(hub.events, 50, "all events arrive");
	is_int(hub.datagrams, 1, "in one datagram");
	ok(hub.boot_id != 0, "with a boot id");
	write_events(&hub, 1, "another turn");
	READ_UNTIL(&hub, hub.events == 51);
	ok(!hub.has_gap, "numbers go on");
	hub_clear(&hub);
}

static void
test_full_socket(void)
{
	struct hub hub;
	char text[513];

	memset(text, 'x', 512);
	text[512] = '\0';
	hub_init(&hub);
	hub_open(&hub);
	for (int i = 0; i < 300; i++) {
		write_events(&hub, 1, text);
		turn(&hub);
	}
	ok(log_lost(hub.log) == 0, "what the kernel does not hold is kept");
	READ_UNTIL(&hub, hub.events == 300);
	is_int(hub.events, 300, "and arrives later");
	ok(!hub.has_gap && !hub.is_broken, "in order and whole");
	ok(hub.datagrams < 300, "many in one datagram");
	hub_clear(&hub);
}

static void
test_loss(void)
{
	struct hub hub;
	char text[513];
	uint64_t lost;

	memset(text, 'x', 512);
	text[512] = '\0';
	hub_init(&hub);
	write_events(&hub, 5000, text);
	for (int i = 0; i < 20; i++)
		turn(&hub);
	lost = log_lost(hub.log);
	ok(lost > 2500 && lost < 4000,
	    "%llu of 5000 are given up: 1 MiB holds "
	    "the rest",
	    (unsigned long long)lost);
	hub_open(&hub);
	READ_UNTIL(&hub, hub.told_lost > 0);
	is_u64(hub.told_lost, lost, "the hub is told how many");
	is_int(hub.events, 5000 - (int)lost, "and gets the rest");
	ok(!hub.has_gap && !hub.is_broken, "in order and whole");
	write_events(&hub, 10, text);
	READ_UNTIL(&hub, hub.events == 5010 - (unsigned)lost);
	is_int(hub.events, 5010 - (int)lost, "then it goes on");
	is_u64(log_lost(hub.log), lost, "and loses no more");
	hub_clear(&hub);
}

static void
test_hub_restarts(void)
{
	struct hub hub;

	hub_init(&hub);
	write_events(&hub, 3, "before the hub");
	turn(&hub);
	hub_open(&hub);
	READ_UNTIL(&hub, hub.events == 3);
	is_int(hub.events, 3, "what was written before the hub came arrives");
	close_if_open(&hub.fd);
	write_events(&hub, 3, "while it is away");
	turn(&hub);
	hub_open(&hub);
	READ_UNTIL(&hub, hub.events == 6);
	is_int(hub.events, 6, "so does what was written while it was away");
	ok(!hub.has_gap, "in order");
	hub_clear(&hub);
}

static void
test_given_socket(void)
{
	struct hub hub;
	int fds[2];

	hub_init(&hub);
	log_free(hub.log);
	hub.log = log_new(hub.loop, -1, NULL);
	write_events(&hub, 3, "no socket yet");
	turn(&hub);
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds) == -1)
		fatal("socketpair");
	hub.fd = fds[0];
	log_take_socket(hub.log, fds[1]);
	READ_UNTIL(&hub, hub.events == 3);
	is_int(hub.events, 3, "a socket given later takes what waited");
	(void)close(hub.fd);
	write_events(&hub, 1, "its other end is closed");
	turn(&hub);
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds) == -1)
		fatal("socketpair");
	hub.fd = fds[0];
	log_take_socket(hub.log, fds[1]);
	READ_UNTIL(&hub, hub.events == 4);
	is_int(hub.events, 4, "another one takes its place");
	hub_clear(&hub);
}

static void
test_last_words(void)
{
	struct hub hub;

	hub_init(&hub);
	hub_open(&hub);
	write_events(&hub, 2, "the end");
	log_free(hub.log);
	hub.log = NULL;
	hub_read(&hub, 10);
	is_int(hub.events, 2, "the last events leave when the log is freed");
	hub_clear(&hub);
}

static void
test_boot_ids(void)
{
	struct hub one;
	struct hub other;

	hub_init(&one);
	hub_init(&other);
	hub_open(&one);
	hub_open(&other);
	write_events(&one, 1, "");
	write_events(&other, 1, "");
	READ_UNTIL(&one, one.events == 1);
	READ_UNTIL(&other, other.events == 1);
	ok(one.boot_id != other.boot_id, "each start has a boot id of its own");
	hub_clear(&one);
	hub_clear(&other);
}

int
main(void)
{
	(void)signal(SIGPIPE, SIG_DFL);
	test_turn();
	test_full_socket();
	test_loss();
	test_hub_restarts();
	test_given_socket();
	test_last_words();
	test_boot_ids();
	return tap_done();
}
