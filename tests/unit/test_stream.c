/* SPDX-License-Identifier: ISC */
/*
 * Streams over socket pairs: plain and TLS, ends, deadlines, closing within
 * callbacks, slow readers, memory.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/stream.h"
#include "tests/unit/tap.h"
#include "tests/unit/tls_own.h"

/* A test that waits longer has failed. */
#define PATIENCE_MS 60000
#define BIG ((size_t)3 * 1024 * 1024)
#define BLOCK 65536
/* Feasibility: 15 KB of OpenSSL's and ours for an idle connection. */
#define IDLE_MAX 15360
#define IDLE_COUNT 100u

struct end {
	struct stream *stream;
	struct buf got;
	size_t got_total;
	unsigned inputs;
	unsigned secured;
	unsigned drained;
	unsigned connected;
	unsigned ended;
	enum stream_end how;
	char error[256];
	/* What to do in callbacks: */
	bool pauses;
	bool closes_in_input;
	bool closes_when_secured;
	bool starts_tls;   /* on input: a server after STARTTLS */
	bool keeps_input;  /* consumes nothing */
	bool counts_input; /* consumes without keeping */
	size_t left_to_write;
	const char *answer;
	int tls_result;
};

/* The one state of this test. */
static struct {
	struct loop *loop;
	struct event *patience;
	SSL_CTX *server;
	SSL_CTX *client;
} bench;

static const char block[BLOCK];

static SSL *
server_ssl(void)
{
	SSL *ssl = SSL_new(bench.server);

	SSL_set_accept_state(ssl);
	return ssl;
}

static SSL *
client_ssl(void)
{
	return tls_client_connect(bench.client, "gw.example.test", NULL, 0,
	    TLS_CHECK_NONE, NULL, 0, NULL, NULL);
}

static void
on_input(void *arg)
{
	struct end *e = arg;
	struct slice in = stream_input(e->stream);

	e->inputs++;
	e->got_total += in.n;
	if (e->starts_tls && stream_ssl(e->stream) == NULL) {
		/* One command is read, and what stands behind it is not. */
		size_t line = slice_find(in, '\n', 0) + 1;

		stream_consume(e->stream, line);
		stream_write(e->stream, "220 go\r\n", 8);
		e->tls_result = stream_start_tls(e->stream, server_ssl());
	} else if (!e->keeps_input) {
		if (!e->counts_input)
			(void)buf_add_slice(&e->got, in);
		stream_consume(e->stream, in.n);
		if (e->answer != NULL)
			stream_write(e->stream, e->answer, strlen(e->answer));
	}
	if (e->pauses)
		stream_pause(e->stream);
	if (e->closes_in_input)
		stream_close(e->stream);
}

static void
on_secured(void *arg)
{
	struct end *e = arg;

	e->secured++;
	if (e->closes_when_secured)
		stream_close(e->stream);
}

static void
on_drained(void *arg)
{
	struct end *e = arg;
	size_t n = e->left_to_write < BLOCK ? e->left_to_write : BLOCK;

	e->drained++;
	e->left_to_write -= n;
	stream_write(e->stream, block, n);
}

static void
on_connected(void *arg)
{
	struct end *e = arg;

	e->connected++;
}

static void
on_ended(void *arg, enum stream_end how)
{
	struct end *e = arg;

	e->ended++;
	e->how = how;
	(void)slice_copy(
	    slice_of(stream_error(e->stream)), e->error, sizeof(e->error));
	stream_close(e->stream);
}

static const struct stream_events events = {.input = on_input,
    .secured = on_secured,
    .drained = on_drained,
    .connected = on_connected,
    .ended = on_ended};

static void
on_patience(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	fail("waited in vain");
	exit(tap_done());
}

/* What waits for the end of the turn; waiting itself is done by turn(). */
static void
run_tasks(void)
{
	loop_stop(bench.loop);
	loop_run(bench.loop);
}

static void
turn(int flags)
{
	run_tasks();
	if (event_base_loop(loop_base(bench.loop), EVLOOP_ONCE | flags) == -1)
		fatal("no loop");
	run_tasks();
}

static void
run_until(const struct end *e, bool (*is_done)(const struct end *e))
{
	loop_arm(bench.patience, PATIENCE_MS);
	while (!is_done(e))
		turn(0);
}

static void
run_a_bit(unsigned turns)
{
	for (unsigned i = 0; i < turns; i++)
		turn(EVLOOP_NONBLOCK);
}

static void
begin_loop(void)
{
	bench.loop = loop_new();
	bench.patience =
	    event_new(loop_base(bench.loop), -1, 0, on_patience, NULL);
}

static void
open_end(struct end *e, int fd)
{
	*e = (struct end){.tls_result = 7};
	buf_init(&e->got, 2 * BIG);
	e->stream = stream_new(bench.loop, fd, &events, e, BLOCK);
}

/* The other end is a bare descriptor. */
static void
begin_alone(struct end *a, int fds[2])
{
	begin_loop();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		fds) == -1)
		fatal("no socketpair");
	open_end(a, fds[0]);
}

static void
begin(struct end *a, struct end *b, int fds[2])
{
	begin_alone(a, fds);
	open_end(b, fds[1]);
}

/* Ends that were told or closed in a callback are closed already. */
static void
finish(struct end *a, struct end *b)
{
	if (a->ended == 0 && !a->closes_in_input && !a->closes_when_secured)
		stream_close(a->stream);
	if (b != NULL && b->ended == 0 && !b->closes_in_input &&
	    !b->closes_when_secured)
		stream_close(b->stream);
	event_free(bench.patience);
	loop_free(bench.loop);
	buf_clear(&a->got);
	if (b != NULL)
		buf_clear(&b->got);
}

static bool
has_ended(const struct end *e)
{
	return e->ended > 0;
}

static bool
has_input(const struct end *e)
{
	return e->inputs > 0;
}

static bool
has_five(const struct end *e)
{
	return e->got.n >= 5 || e->ended > 0;
}

static bool
has_all(const struct end *e)
{
	return e->got_total >= BIG || e->ended > 0;
}

static bool
is_connected(const struct end *e)
{
	return e->connected > 0 || e->ended > 0;
}

static bool
is_secured(const struct end *e)
{
	return e->secured > 0 || e->ended > 0;
}

static void
test_plain(void)
{
	struct end a;
	struct end b;
	int fds[2];

	begin(&a, &b, fds);
	b.answer = "12345";
	stream_write(a.stream, "he", 2);
	stream_write(a.stream, "llo", 3);
	is_u64(stream_output_pending(a.stream), 5, "output waits");
	run_until(&a, has_five);
	is_slice(buf_slice(&b.got), "hello", "what was written arrives");
	is_u64(b.inputs, 1, "and in one piece");
	is_slice(buf_slice(&a.got), "12345", "the answer too");
	is_u64(a.drained, 1, "drained is told once");
	is_str(stream_error(a.stream), "", "there is no error");
	ok(stream_ssl(a.stream) == NULL, "and no TLS");
	finish(&a, &b);
}

static void
test_half_close(void)
{
	struct end e;
	char got[64] = "";
	int fds[2];

	begin_alone(&e, fds);
	e.pauses = true;
	if (write(fds[1], "QUIT\r\n", 6) != 6 || shutdown(fds[1], SHUT_WR) != 0)
		fatal("no write");
	run_until(&e, has_input);
	run_a_bit(3);
	is_u64(e.ended, 0, "the end waits while the stream is paused");
	stream_write(e.stream, "221\r\n", 5);
	e.pauses = false;
	stream_resume(e.stream);
	run_until(&e, has_ended);
	is_int(e.how, STREAM_CLOSED, "and is an orderly one then");
	is_int(read(fds[1], got, sizeof(got)), 5,
	    "who half-closed still gets his answer");
	(void)close(fds[1]);
	finish(&e, NULL);
}

static void
test_input_before_end(void)
{
	struct end e;
	int fds[2];

	begin_alone(&e, fds);
	if (write(fds[1], "bye", 3) != 3)
		fatal("no write");
	(void)close(fds[1]);
	run_until(&e, has_ended);
	is_slice(buf_slice(&e.got), "bye", "input comes before the end");
	is_u64(e.ended, 1, "the end is told once");
	finish(&e, NULL);
}

static void
test_deadline(void)
{
	struct end e;
	int fds[2];
	uint64_t start = clock_monotonic_ms();

	begin_alone(&e, fds);
	stream_deadline(e.stream, 10);
	stream_deadline(e.stream, 60);
	run_until(&e, has_ended);
	is_int(e.how, STREAM_TIMEOUT, "the deadline passes");
	ok(clock_monotonic_ms() - start >= 60, "the later one of two");
	(void)close(fds[1]);
	finish(&e, NULL);

	start = clock_monotonic_ms();
	begin_alone(&e, fds);
	stream_deadline(e.stream, 600000);
	stream_deadline(e.stream, 20);
	run_until(&e, has_ended);
	ok(clock_monotonic_ms() - start < PATIENCE_MS,
	    "an earlier one replaces it");
	(void)close(fds[1]);
	finish(&e, NULL);

	begin_alone(&e, fds);
	stream_deadline(e.stream, 5);
	stream_deadline(e.stream, 0);
	if (write(fds[1], "x", 1) != 1)
		fatal("no write");
	run_until(&e, has_input);
	stream_deadline(e.stream, 20);
	stream_pause(e.stream);
	run_until(&e, has_ended);
	is_int(e.how, STREAM_TIMEOUT, "it counts while paused, too");
	(void)close(fds[1]);
	finish(&e, NULL);
}

static void
test_close_in_callbacks(void)
{
	struct end a;
	struct end b;
	int fds[2];

	begin(&a, &b, fds);
	a.closes_in_input = true;
	stream_write(b.stream, "12345", 5);
	run_until(&b, has_ended);
	is_u64(a.inputs, 1, "a stream may be closed in input()");
	is_u64(a.ended, 0, "and tells nothing more");
	finish(&a, &b);

	begin(&a, &b, fds);
	a.closes_when_secured = true;
	(void)stream_start_tls(a.stream, client_ssl());
	(void)stream_start_tls(b.stream, server_ssl());
	run_until(&b, has_ended);
	is_u64(a.secured, 1, "and in secured()");
	finish(&a, &b);
}

/* A reader who pauses makes the writer wait without losing anything. */
static void
test_big_output(bool is_tls)
{
	const char *way = is_tls ? "TLS" : "plain";
	struct end a;
	struct end b;
	int fds[2];

	begin(&a, &b, fds);
	if (is_tls) {
		(void)stream_start_tls(a.stream, client_ssl());
		(void)stream_start_tls(b.stream, server_ssl());
		run_until(&a, is_secured);
	}
	b.counts_input = true;
	b.pauses = true;
	a.left_to_write = BIG - BLOCK;
	stream_write(a.stream, block, BLOCK);
	run_until(&b, has_input);
	run_a_bit(20);
	ok(b.got_total < BIG, "%s: a paused reader gets no more", way);
	is_u64(b.inputs, 1, "%s: and is not called", way);
	b.pauses = false;
	stream_resume(b.stream);
	run_until(&b, has_all);
	is_u64(b.got_total, BIG, "%s: then all of it", way);
	ok(a.drained >= BIG / BLOCK, "%s: written as it drained", way);
	finish(&a, &b);
}

static void
write_blocks(struct end *e, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		stream_write(e->stream, block, BLOCK);
}

static void
test_unread_answers(void)
{
	struct end e;
	int fds[2];
	size_t sent = 0;
	static const char lines[4096] = "NOOP\r\n";

	begin_alone(&e, fds);
	e.counts_input = true;
	e.answer = lines; /* six octets for each piece, whatever its size */
	write_blocks(&e, 8);
	for (int i = 0; i < 1000; i++) {
		ssize_t n = write(fds[1], lines, sizeof(lines));

		sent += n > 0 ? (size_t)n : 0;
		run_a_bit(1);
	}
	ok(e.got_total == 0 || sent < 1000 * sizeof(lines),
	    "who takes no answers is not read from for ever");
	(void)close(fds[1]);
	finish(&e, NULL);
}

static void
test_input_limit(void)
{
	struct end e;
	int fds[2];

	begin_alone(&e, fds);
	stream_set_input_limit(e.stream, 10);
	e.keeps_input = true;
	if (write(fds[1], "0123456789abcdef", 16) != 16)
		fatal("no write");
	run_until(&e, has_input);
	run_a_bit(5);
	is_slice(stream_input(e.stream), "0123456789", "the limit holds");
	stream_consume(e.stream, 4);
	is_slice(stream_input(e.stream), "456789", "the rest stays");
	e.inputs = 0;
	run_until(&e, has_input);
	is_slice(stream_input(e.stream), "456789abcd", "room is filled again");
	OK_DIES(stream_consume(e.stream, 11), "consuming too much is a bug");
	(void)close(fds[1]);
	finish(&e, NULL);
}

static void
test_close_after_output(void)
{
	struct end a;
	struct end b;
	int fds[2];

	begin(&a, &b, fds);
	b.counts_input = true;
	write_blocks(&a, 4);
	stream_close_after_output(a.stream, 5000);
	a.ended = 1; /* it is not ours any more */
	/* What we do not read any more must not destroy what we said. */
	stream_write(b.stream, block, BLOCK);
	run_until(&b, has_ended);
	is_u64(b.got_total, 4 * (size_t)BLOCK, "last words arrive");
	is_int(b.how, STREAM_CLOSED, "in order");
	run_a_bit(3); /* the lingering one sees the end, too */
	finish(&a, &b);

	begin_alone(&a, fds);
	write_blocks(&a, 8);
	stream_close_after_output(a.stream, 30);
	a.ended = 1;
	loop_arm(bench.patience, PATIENCE_MS);
	for (char c; read(fds[1], &c, 0) != -1;) {
		int error = 0;
		socklen_t n = sizeof(error);

		run_a_bit(1);
		(void)getsockopt(fds[1], SOL_SOCKET, SO_ERROR, &error, &n);
		if (send(fds[1], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE)
			break;
	}
	pass("who does not read is left after the time to linger");
	(void)close(fds[1]);
	finish(&a, NULL);
}

static void
test_starttls(void)
{
	struct end a;
	struct end b;
	char text[128];
	int fds[2];

	begin(&a, &b, fds);
	b.starts_tls = true;
	stream_write(a.stream, "STARTTLS\r\n", 10);
	run_until(&a, has_five);
	is_slice(buf_slice(&a.got), "220 go\r\n",
	    "the answer to STARTTLS leaves in plain text");
	is_int(b.tls_result, 0, "TLS may start");
	buf_reset(&a.got);
	is_int(stream_start_tls(a.stream, client_ssl()), 0, "here too");
	stream_write(a.stream, "EHLO x\r\n", 8);
	b.starts_tls = false;
	run_until(&b, has_five);
	is_u64(a.secured + b.secured, 2, "both ends are secured");
	is_slice(buf_slice(&b.got), "EHLO x\r\n",
	    "what was written at once waited for the handshake");
	tls_describe(stream_ssl(b.stream), text, sizeof(text));
	ok(strncmp(text, "TLSv1.3 TLS_", 12) == 0, "it is %s", text);
	ok(stream_start_tls(a.stream, client_ssl()) == -1,
	    "TLS within TLS is refused");
	stream_close(a.stream);
	a.ended = 1;
	run_until(&b, has_ended);
	is_int(b.how, STREAM_CLOSED, "TLS says good-bye");
	finish(&a, &b);
}

static void
test_injection(void)
{
	struct end e;
	int fds[2];

	begin_alone(&e, fds);
	e.starts_tls = true;
	e.pauses = true;
	if (write(fds[1], "STARTTLS\r\nNOOP\r\n", 16) != 16)
		fatal("no write");
	run_until(&e, has_input);
	is_int(e.tls_result, -1, "a command behind STARTTLS is an injection");
	(void)close(fds[1]);
	finish(&e, NULL);

	begin_alone(&e, fds);
	e.starts_tls = true;
	if (write(fds[1], "STARTTLS\r\n", 10) != 10)
		fatal("no write");
	run_until(&e, has_input);
	e.inputs = 0;
	if (write(fds[1], "NOOP\r\n", 6) != 6)
		fatal("no write");
	run_until(&e, has_ended);
	is_u64(e.inputs, 0, "plain text during the handshake is no input");
	is_int(e.how, STREAM_TLS_ERROR, "but an error");
	ok(e.error[0] != '\0', "which has words: %s", e.error);
	(void)close(fds[1]);
	finish(&e, NULL);
}

static void
test_tls_ends(void)
{
	struct end a;
	struct end b;
	int fds[2];

	begin(&a, &b, fds);
	(void)stream_start_tls(a.stream, client_ssl());
	(void)stream_start_tls(b.stream, server_ssl());
	run_until(&a, is_secured);
	(void)shutdown(fds[0], SHUT_RDWR);
	run_until(&b, has_ended);
	is_int(b.how, STREAM_RESET, "an end without TLS's good-bye is a reset");
	finish(&a, &b);

	begin(&a, &b, fds);
	(void)stream_start_tls(a.stream, client_ssl());
	(void)stream_start_tls(b.stream, server_ssl());
	run_until(&a, is_secured);
	run_until(&b, is_secured);
	if (send(fds[0], "GET / HTTP/1.0\r\n\r\n", 18, 0) != 18)
		fatal("no write");
	run_until(&b, has_ended);
	is_int(b.how, STREAM_TLS_ERROR, "rubbish between records is an error");
	finish(&a, &b);

	begin_alone(&a, fds);
	(void)stream_start_tls(a.stream, client_ssl());
	stream_deadline(a.stream, 30);
	run_until(&a, has_ended);
	is_int(a.how, STREAM_TIMEOUT, "a silent handshake times out");
	(void)close(fds[1]);
	finish(&a, NULL);
}

static void
test_connect(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t n = sizeof(sa);
	struct end e = {0};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&sa, sizeof(sa)) == -1 ||
	    listen(listener, 1) == -1 ||
	    getsockname(listener, (struct sockaddr *)&sa, &n) == -1)
		fatal("no listener");
	for (int turn = 0; turn < 2; turn++) {
		int fd = socket(
		    AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		begin_loop();
		e = (struct end){0};
		(void)connect(fd, (struct sockaddr *)&sa, sizeof(sa));
		e.stream =
		    stream_new_connecting(bench.loop, fd, &events, &e, BLOCK);
		if (turn == 0) {
			run_until(&e, is_connected);
			is_u64(e.connected, 1, "connect() is told");
			(void)close(listener);
		} else {
			run_until(&e, has_ended);
			is_int(e.how, STREAM_RESET, "a refused one as well");
			is_str(e.error, "Connection refused", "with words");
		}
		finish(&e, NULL);
	}
}

static size_t
memory_used(void)
{
	return mallinfo2().uordblks + mallinfo2().hblkhd;
}

static void
open_pair(struct end *server, struct end *client)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == -1)
		fatal("no socketpair");
	open_end(server, fds[0]);
	open_end(client, fds[1]);
	server->counts_input = client->counts_input = true;
	server->answer = "250 OK\r\n";
	(void)stream_start_tls(server->stream, server_ssl());
	(void)stream_start_tls(client->stream, client_ssl());
	stream_deadline(server->stream, 300000);
	stream_deadline(client->stream, 300000);
	stream_write(client->stream, "NOOP\r\n", 6);
	run_until(client, has_input);
}

static size_t
freed_by_closing(struct end *ends)
{
	size_t used = memory_used();

	for (unsigned i = 0; i < IDLE_COUNT; i++)
		stream_close(ends[i].stream);
	run_tasks();
	return (used - memory_used()) / IDLE_COUNT;
}

static void
test_idle_memory(void)
{
	static struct end servers[IDLE_COUNT];
	static struct end clients[IDLE_COUNT];
	size_t server;

	begin_loop();
	for (unsigned i = 0; i < IDLE_COUNT; i++)
		open_pair(&servers[i], &clients[i]);
	server = freed_by_closing(servers);
	ok(server <= IDLE_MAX, "an idle TLS stream takes %zu octets", server);
	diag("a client's takes %zu", freed_by_closing(clients));
	event_free(bench.patience);
	loop_free(bench.loop);
}

int
main(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	tls_prepare();
	bench.server = tls_own_server("gw.example.test");
	bench.client = tls_own_client();
	test_plain();
	test_half_close();
	test_input_before_end();
	test_deadline();
	test_close_in_callbacks();
	test_big_output(false);
	test_big_output(true);
	test_unread_answers();
	test_input_limit();
	test_close_after_output();
	test_starttls();
	test_injection();
	test_tls_ends();
	test_connect();
	test_idle_memory();
	SSL_CTX_free(bench.server);
	SSL_CTX_free(bench.client);
	return tap_done();
}
