/* SPDX-License-Identifier: ISC */
/*
 * The links that the acceptor makes for a worker: each program once, whatever
 * the worker asks for.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/err.h"
#include "smtpd/worker_links.h"
#include "tests/unit/tap.h"

#define LINKS_MAX 16
/* Of the loop: in so many all frames have come over, both ends are here. */
#define TURNS 20

struct host {
	char run_dir[32];
	struct loop *loop;
	struct event *turn;
	unsigned turns;
	struct channel *acceptor; /* its end of the worker's channel */
	struct channel *worker;
	struct worker_links links;
	int doors[ROLE_COUNT];
	int served[LINKS_MAX]; /* connections to queued */
	size_t served_count;
	int held[LINKS_MAX]; /* what the worker was given, of whatever role */
	enum role roles[LINKS_MAX];
	size_t held_count;
};

static int
on_link(struct channel *channel, const struct channel_frame *frame)
{
	struct host *host = channel_owner(channel);

	if (host->held_count == LINKS_MAX)
		fatal("more links than the test has room for");
	host->roles[host->held_count] =
	    (enum role)frame->message->worker_link.role;
	host->held[host->held_count++] = frame->fds[0];
	frame->fds[0] = -1;
	return 0;
}

static const struct channel_handler handlers[] = {
    {ROLE_SMTPD, MSG_WORKER_LINK, on_link}, {ROLE_NONE, MSG_HELLO, NULL}};

static void
address_of(
    const struct host *host, enum role server, struct sockaddr_un *address_r)
{
	char name[ROLE_SOCKET_NAME_MAX];

	if (server == ROLE_LOGHUB)
		role_event_socket_name(ROLE_SMTPD, name);
	else
		role_socket_name(server, ROLE_SMTPD, name);
	*address_r = (struct sockaddr_un){.sun_family = AF_UNIX};
	(void)snprintf(address_r->sun_path, sizeof(address_r->sun_path),
	    "%s/%s.sock", host->run_dir, name);
}

static void
open_door(struct host *host, enum role server)
{
	int type = server == ROLE_LOGHUB ? SOCK_DGRAM : SOCK_STREAM;
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	address_of(host, server, &address);
	if (fd == -1 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) == -1)
		fatal("%s: %s", address.sun_path, strerror(errno));
	if (type == SOCK_STREAM && listen(fd, LINKS_MAX) == -1)
		fatal("listen: %s", strerror(errno));
	host->doors[server] = fd;
}

static void
close_door(struct host *host, enum role server)
{
	struct sockaddr_un address;

	address_of(host, server, &address);
	(void)unlink(address.sun_path);
	close_if_open(&host->doors[server]);
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct host *host = arg;

	(void)fd;
	(void)what;
	if (++host->turns == TURNS)
		loop_stop(host->loop);
	else
		loop_arm(host->turn, 0);
}

static void
host_init(struct host *host)
{
	struct channel_config config = {
	    .self = ROLE_SMTPD, .peer = ROLE_WORKER, .handlers = handlers};
	int pair[2];

	memset(host, 0, sizeof(*host));
	(void)snprintf(
	    host->run_dir, sizeof(host->run_dir), "/tmp/worker-links-XXXXXX");
	if (mkdtemp(host->run_dir) == NULL ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
		fatal("cannot begin: %s", strerror(errno));
	for (int role = 0; role < ROLE_COUNT; role++)
		host->doors[role] = -1;
	config.loop = host->loop = loop_new();
	config.owner = host;
	host->turn = event_new(loop_base(host->loop), -1, 0, on_turn, host);
	host->acceptor = channel_new(&config, pair[0]);
	config.self = ROLE_WORKER;
	config.peer = ROLE_SMTPD;
	host->worker = channel_new(&config, pair[1]);
	worker_links_init(&host->links);
}

static void
host_clear(struct host *host)
{
	for (size_t i = 0; i < host->held_count; i++)
		close_if_open(&host->held[i]);
	for (size_t i = 0; i < host->served_count; i++)
		close_if_open(&host->served[i]);
	for (int role = 0; role < ROLE_COUNT; role++)
		if (host->doors[role] != -1)
			close_door(host, (enum role)role);
	channel_close(host->acceptor);
	channel_close(host->worker);
	event_free(host->turn);
	loop_free(host->loop);
	(void)rmdir(host->run_dir);
}

/* What is wanted is given; queued takes its connections. */
static bool
give(struct host *host)
{
	bool is_complete =
	    worker_links_give(&host->links, host->run_dir, host->acceptor);
	int fd;

	host->turns = 0;
	loop_arm(host->turn, 0);
	loop_run(host->loop);
	while (host->doors[ROLE_QUEUED] != -1 &&
	       host->served_count < LINKS_MAX &&
	       (fd = accept4(host->doors[ROLE_QUEUED], NULL, NULL,
		    SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1)
		host->served[host->served_count++] = fd;
	return is_complete;
}

/* Connections of queued that have not ended. */
static size_t
count_open(const struct host *host)
{
	size_t count = 0;
	char octet;

	for (size_t i = 0; i < host->served_count; i++)
		if (recv(host->served[i], &octet, 1, MSG_PEEK) == -1 &&
		    errno == EAGAIN)
			count++;
	return count;
}

static bool
has_links(const struct host *host, const char *roles)
{
	char text[256] = "";

	for (size_t i = 0; i < host->held_count; i++) {
		size_t n = strlen(text);

		(void)snprintf(text + n, sizeof(text) - n, "%s%s",
		    n > 0 ? " " : "", role_name(host->roles[i]));
	}
	return is_str(text, roles, "the worker has links to: %s", roles);
}

static void
test_begin(struct host *host)
{
	open_door(host, ROLE_LOGHUB);
	open_door(host, ROLE_AUTHD);
	open_door(host, ROLE_CHECKD);
	worker_links_want_all(&host->links);
	ok(!give(host), "a program is not there");
	(void)has_links(host, "loghub authd checkd");
	open_door(host, ROLE_QUEUED);
	ok(give(host), "it is tried again");
	(void)has_links(host, "loghub authd checkd queued");
	ok(give(host), "nothing more is wanted");
	(void)has_links(host, "loghub authd checkd queued");
	is_u64(count_open(host), 1, "queued has one link");
}

/* The worker still holds what it says it has lost. */
static void
test_greed(struct host *host)
{
	for (int i = 0; i < 5; i++) {
		is_int(worker_links_want(&host->links, ROLE_QUEUED), 0,
		    "a worker asks for another link");
		ok(give(host), "and has it");
	}
	is_u64(host->served_count, 6, "they were new ones");
	is_u64(count_open(host), 1, "but one is all that it has");
	is_int(worker_links_want(&host->links, ROLE_CONFD), -1,
	    "nobody else is linked");
	is_int(worker_links_want(&host->links, ROLE_COUNT), -1,
	    "least of all who does not exist");
}

/* What a worker has sent is read, though the acceptor ends the link. */
static void
test_end(struct host *host)
{
	int link = host->held[host->held_count - 1];
	int served = host->served[host->served_count - 1];
	char text[8] = "";

	ok(send(link, "last", 4, MSG_NOSIGNAL) == 4,
	    "a worker sends, and dies");
	worker_links_end(&host->links);
	ok(recv(served, text, sizeof(text) - 1, 0) == 4 &&
		strcmp(text, "last") == 0,
	    "queued reads what it said");
	is_u64(count_open(host), 0, "its links are over");
	ok(give(host) && host->served_count == 6, "and none is made for it");
	worker_links_want_all(&host->links);
	ok(give(host), "its successor begins");
	is_u64(count_open(host), 1, "with a link to queued");
	worker_links_end(&host->links);
}

int
main(void)
{
	struct host host;

	host_init(&host);
	test_begin(&host);
	test_greed(&host);
	test_end(&host);
	host_clear(&host);
	return tap_done();
}
