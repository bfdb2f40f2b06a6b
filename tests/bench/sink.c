/* SPDX-License-Identifier: ISC */
/*
 * The sink of the benchmark and of the loss tests: takes every mail, records
 * it, and says at the end what came, what came twice and what came torn.
 * Runs in: tests/bench/sink.  Trusts: its options.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "common/err.h"
#include "tests/bench/lib_count.h"
#include "tests/bench/lib_server.h"

#define EVENTS_MAX 256
#define BACKLOG 4096
#define SCRATCH_BYTES (256u << 10)
#define FLUSH_INTERVAL_US 100000
#define TRIES_MAX 1000
#define DELAY_MAX_MS 3600000

static const char usage_text[] =
    "usage: sink [option ...] ADDRESS:PORT      (port 0: a free one)\n"
    "prints \"listening PORT\", and a summary as JSON at SIGTERM\n"
    "  --record FILE          one line a mail: id, ok|bad|foreign, count of\n"
    "                         recipients, time, bytes, number, recipients,\n"
    "                         arguments of MAIL\n"
    "  --save DIR             NUMBER.eml byte for byte, NUMBER.env\n"
    "  --lmtp                 LHLO, an answer for each recipient\n"
    "  --cert FILE --key FILE offer STARTTLS\n"
    "  --tls                  TLS from the first byte\n"
    "  --delay-dot MS         before the answer to the dot\n"
    "  --tempfail PERCENT     of the mails get 451 first, by their id\n"
    "  --tempfail-tries N     so often (1); 0: always\n"
    "  --reject-rcpt PATTERN  550 for such addresses (* and ?)\n"
    "  --hang[=STAGE]         answer no more at greeting (default), mail,\n"
    "                         dot\n";

enum option_id {
	OPT_RECORD = 256,
	OPT_SAVE,
	OPT_LMTP,
	OPT_CERT,
	OPT_KEY,
	OPT_TLS,
	OPT_DELAY_DOT,
	OPT_TEMPFAIL,
	OPT_TEMPFAIL_TRIES,
	OPT_REJECT_RCPT,
	OPT_HANG,
	OPT_HELP
};

static const struct option long_options[] = {
    {"record", required_argument, NULL, OPT_RECORD},
    {"save", required_argument, NULL, OPT_SAVE},
    {"lmtp", no_argument, NULL, OPT_LMTP},
    {"cert", required_argument, NULL, OPT_CERT},
    {"key", required_argument, NULL, OPT_KEY},
    {"tls", no_argument, NULL, OPT_TLS},
    {"delay-dot", required_argument, NULL, OPT_DELAY_DOT},
    {"tempfail", required_argument, NULL, OPT_TEMPFAIL},
    {"tempfail-tries", required_argument, NULL, OPT_TEMPFAIL_TRIES},
    {"reject-rcpt", required_argument, NULL, OPT_REJECT_RCPT},
    {"hang", optional_argument, NULL, OPT_HANG},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

TAILQ_HEAD(session_list, server_session);

struct sink {
	struct server server;
	struct sockaddr_in address;
	const char *record_path;
	const char *cert_path;
	const char *key_path;
	struct session_list spare; /* memory without a connection */
	struct session_list open;
	int listen_fd;
	int epoll_fd;
	int signal_fd;
	uint64_t flushed_us;
	bool is_stopping;
	char scratch[SCRATCH_BYTES];
};

static enum server_hang
hang_stage(const char *name)
{
	static const char *const names[SERVER_HANG_COUNT] = {
	    [SERVER_HANG_NEVER] = "never",
	    [SERVER_HANG_GREETING] = "greeting",
	    [SERVER_HANG_MAIL] = "mail",
	    [SERVER_HANG_DOT] = "dot",
	};

	if (name == NULL)
		return SERVER_HANG_GREETING;
	for (int i = 0; i < SERVER_HANG_COUNT; i++) {
		if (strcmp(name, names[i]) == 0)
			return (enum server_hang)i;
	}
	fatal("--hang=%s: greeting, mail or dot is wanted", name);
}

/* How it answers; false: not one of these options. */
static bool
set_server_option(struct server *server, int id)
{
	switch (id) {
	case OPT_LMTP:
		server->is_lmtp = true;
		return true;
	case OPT_TLS:
		server->is_tls_implicit = true;
		return true;
	case OPT_DELAY_DOT:
		server->delay_dot_ms = (uint32_t)count_option(
		    "delay-dot", optarg, 0, DELAY_MAX_MS);
		return true;
	case OPT_TEMPFAIL:
		server->tempfail_percent =
		    (uint32_t)count_option("tempfail", optarg, 0, 100);
		return true;
	case OPT_TEMPFAIL_TRIES:
		server->tempfail_tries = (uint32_t)count_option(
		    "tempfail-tries", optarg, 0, TRIES_MAX);
		return true;
	case OPT_REJECT_RCPT:
		server->reject_rcpt = optarg;
		return true;
	case OPT_HANG:
		server->hang = hang_stage(optarg);
		return true;
	case OPT_SAVE:
		server->save_dir = optarg;
		return true;
	default:
		return false;
	}
}

static void
set_option(struct sink *sink, int id)
{
	if (set_server_option(&sink->server, id))
		return;
	switch (id) {
	case OPT_RECORD:
		sink->record_path = optarg;
		break;
	case OPT_CERT:
		sink->cert_path = optarg;
		break;
	case OPT_KEY:
		sink->key_path = optarg;
		break;
	case OPT_HELP:
		(void)fputs(usage_text, stdout);
		exit(0);
	default:
		exit(2);
	}
}

static void
read_options(struct sink *sink, int argc, char **argv)
{
	int id;

	sink->server.tempfail_tries = 1;
	while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		set_option(sink, id);
	if (optind + 1 != argc) {
		(void)fputs(usage_text, stderr);
		exit(2);
	}
	sink->address = count_address("the address", argv[optind]);
	if ((sink->cert_path == NULL) != (sink->key_path == NULL) ||
	    (sink->server.is_tls_implicit && sink->cert_path == NULL))
		fatal("TLS needs both --cert and --key");
}

static void
prepare_tls(struct sink *sink)
{
	SSL_CTX *context;

	if (sink->cert_path == NULL)
		return;
	if ((context = SSL_CTX_new(TLS_server_method())) == NULL ||
	    SSL_CTX_use_certificate_chain_file(context, sink->cert_path) != 1 ||
	    SSL_CTX_use_PrivateKey_file(
		context, sink->key_path, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(context) != 1)
		fatal("cannot use %s with %s", sink->cert_path, sink->key_path);
	(void)SSL_CTX_set_mode(context,
	    SSL_MODE_ENABLE_PARTIAL_WRITE |
		SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	sink->server.tls_context = context;
}

static void
watch(const struct sink *sink, int fd, uint32_t events, void *what)
{
	struct epoll_event ev = {.events = events, .data.ptr = what};

	if (epoll_ctl(sink->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == -1)
		fatal("epoll_ctl: %s", strerror(errno));
}

static void
sink_listen(struct sink *sink)
{
	struct sockaddr_in bound = {.sin_port = 0};
	socklen_t bound_bytes = sizeof(bound);
	int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == -1 ||
	    bind(fd, (struct sockaddr *)&sink->address,
		sizeof(sink->address)) == -1 ||
	    listen(fd, BACKLOG) == -1 ||
	    getsockname(fd, (struct sockaddr *)&bound, &bound_bytes) == -1)
		fatal("listen on port %u: %s", ntohs(sink->address.sin_port),
		    strerror(errno));
	sink->listen_fd = fd;
	watch(sink, fd, EPOLLIN, &sink->listen_fd);
	(void)printf("listening %u\n", ntohs(bound.sin_port));
	(void)fflush(stdout);
}

static void
sink_init(struct sink *sink)
{
	sigset_t signals;

	TAILQ_INIT(&sink->spare);
	TAILQ_INIT(&sink->open);
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	if ((sink->epoll_fd = epoll_create1(EPOLL_CLOEXEC)) == -1 ||
	    (sink->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC)) == -1)
		fatal("cannot make an event loop: %s", strerror(errno));
	watch(sink, sink->signal_fd, EPOLLIN, &sink->signal_fd);
	if (sink->record_path != NULL &&
	    (sink->server.record = fopen(sink->record_path, "we")) == NULL)
		fatal("open %s: %s", sink->record_path, strerror(errno));
}

static void
close_session(struct sink *sink, struct server_session *s)
{
	TAILQ_REMOVE(&sink->open, s, link);
	wire_close(&s->wire);
	TAILQ_INSERT_HEAD(&sink->spare, s, link);
}

static struct server_session *
take_session(struct sink *sink)
{
	struct server_session *s = TAILQ_FIRST(&sink->spare);

	if (s == NULL) {
		s = xmalloc(sizeof(*s));
		session_init(s, &sink->server);
	} else {
		TAILQ_REMOVE(&sink->spare, s, link);
	}
	TAILQ_INSERT_HEAD(&sink->open, s, link);
	return s;
}

static void
accept_all(struct sink *sink)
{
	int fd;

	while ((fd = accept4(sink->listen_fd, NULL, NULL,
		    SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1) {
		struct server_session *s = take_session(sink);

		if (session_open(s, fd) == -1) {
			close_session(sink, s);
			continue;
		}
		watch(sink, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, s);
	}
	if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
		fatal("accept: %s", strerror(errno));
}

/* Sends the answers that were held back long enough. */
static void
resume_delayed(struct sink *sink)
{
	uint64_t now_us = count_now_us();
	struct server_session *next;

	for (struct server_session *s = TAILQ_FIRST(&sink->open); s != NULL;
	     s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->state == SERVER_DELAYED && s->resume_us <= now_us &&
		    session_resume(s, sink->scratch, SCRATCH_BYTES) == -1)
			close_session(sink, s);
	}
}

/* Who follows the record sees it soon, without a write for each mail. */
static void
flush_record(struct sink *sink)
{
	uint64_t now_us = count_now_us();

	if (sink->server.record == NULL ||
	    now_us - sink->flushed_us < FLUSH_INTERVAL_US)
		return;
	sink->flushed_us = now_us;
	if (fflush(sink->server.record) != 0)
		fatal("write %s: %s", sink->record_path, strerror(errno));
}

static void
on_event(struct sink *sink, const struct epoll_event *ev)
{
	struct server_session *s = ev->data.ptr;

	if (ev->data.ptr == &sink->listen_fd)
		accept_all(sink);
	else if (ev->data.ptr == &sink->signal_fd)
		sink->is_stopping = true;
	else if (session_event(s, ev->events, sink->scratch, SCRATCH_BYTES) ==
		 -1)
		close_session(sink, s);
}

static void
sink_run(struct sink *sink)
{
	struct epoll_event events[EVENTS_MAX];
	int timeout_ms =
	    sink->server.delay_dot_ms > 0 ? 1 : FLUSH_INTERVAL_US / 1000;

	while (!sink->is_stopping) {
		int n =
		    epoll_wait(sink->epoll_fd, events, EVENTS_MAX, timeout_ms);

		if (n == -1 && errno != EINTR)
			fatal("epoll_wait: %s", strerror(errno));
		for (int i = 0; i < n; i++)
			on_event(sink, &events[i]);
		if (sink->server.delay_dot_ms > 0)
			resume_delayed(sink);
		flush_record(sink);
	}
}

static void
print_summary(const struct sink *sink, double cpu_s)
{
	const struct server_counts *c = &sink->server.counts;

	(void)printf("{\"received\": %" PRIu64 ", \"distinct\": %" PRIu64
		     ", \"doubles\": %" PRIu64 ", \"bad\": %" PRIu64
		     ", \"foreign\": %" PRIu64 ", \"tempfailed\": %" PRIu64
		     ", \"rejected_recipients\": %" PRIu64
		     ", \"connections\": %" PRIu64 ", \"bytes\": %" PRIu64
		     ", \"cpu_s\": %.3f, \"cpu_s_per_1000\": %.4f}\n",
	    c->received, c->distinct, c->doubles, c->bad, c->foreign,
	    c->tempfailed, c->rejected_recipients, c->connections, c->bytes,
	    cpu_s, c->received > 0 ? cpu_s * 1000 / (double)c->received : 0);
}

static void
free_sessions(struct session_list *list)
{
	struct server_session *s;

	while ((s = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, s, link);
		session_clear(s);
		free(s);
	}
}

int
main(int argc, char **argv)
{
	struct sink *sink = xcalloc(1, sizeof(*sink));

	read_options(sink, argc, argv);
	count_raise_descriptors();
	prepare_tls(sink);
	sink_init(sink);
	sink_listen(sink);
	sink_run(sink);
	if (sink->server.record != NULL && fclose(sink->server.record) != 0)
		fatal("write %s: %s", sink->record_path, strerror(errno));
	print_summary(sink, count_cpu_s());
	free_sessions(&sink->open);
	free_sessions(&sink->spare);
	server_clear(&sink->server);
	free(sink);
	return 0;
}
