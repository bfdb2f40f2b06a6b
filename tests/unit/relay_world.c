/* SPDX-License-Identifier: ISC */
/*
 * Mail servers that misbehave each in its way, and a zone that leads to them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/smtp_data.h"
#include "common/stream.h"
#include "common/utf8.h"
#include "relay/dns_client.h"
#include "tests/unit/relay_world.h"
#include "tests/unit/tls_own.h"

struct session {
	struct world *world;
	struct fake_server *server;
	struct stream *stream;
	struct smtp_data data;
	bool is_in_data;
	bool is_lmtp;
	bool is_utf8;        /* the mail came with SMTPUTF8 */
	bool is_leaving;     /* it said 421, and says no more */
	unsigned mails;      /* begun */
	unsigned recipients; /* taken by RCPT */
};

/* ---- the servers ---- */

static bool
ends_with(struct slice line, const char *end)
{
	const size_t n = strlen(end);

	return line.n >= n && memcmp(line.p + line.n - n, end, n) == 0;
}

static void
say(struct session *s, const char *text)
{
	stream_write(s->stream, text, strlen(text));
}

static void
keep_content(void *context, const char *p, size_t n)
{
	struct world *world = context;

	(void)buf_add(&world->content, p, n);
}

static void
hello(struct session *s)
{
	bool offers = s->server->last == 4 ||
		      (s->server->last == 5 && stream_ssl(s->stream) == NULL);

	say(s, "250-fake\r\n250-PIPELINING\r\n250-8BITMIME\r\n");
	if (s->server->last == 1)
		say(s, "250-SMTPUTF8\r\n");
	say(s, offers                 ? "250 STARTTLS\r\n"
	       : s->server->last == 9 ? "250 HELP\r\n"
				      : "250 DSN\r\n");
}

static void
starttls(struct session *s)
{
	SSL *ssl;

	if (s->server->last == 4) {
		say(s, "454 4.7.0 not today\r\n");
		return;
	}
	ssl = SSL_new(s->world->tls);
	SSL_set_accept_state(ssl);
	say(s, "220 go\r\n");
	(void)stream_start_tls(s->stream, ssl);
}

static void
leave(struct session *s, const char *words)
{
	say(s, words);
	s->is_leaving = true;
}

static void
take_line(struct session *s, struct slice line)
{
	unsigned last = s->server->last;

	if (s->is_leaving)
		return;
	if (slice_starts_nocase(line, "MAIL"))
		s->is_utf8 = ends_with(line, " SMTPUTF8\r");
	if (slice_starts_nocase(line, "MAIL") && ++s->mails > 1 && last == 9) {
		leave(s, "421 4.3.2 no more over this connection\r\n");
	} else if (slice_starts_nocase(line, "EHLO") ||
		   slice_starts_nocase(line, "LHLO")) {
		s->is_lmtp = line.p[0] == 'L';
		hello(s);
	} else if (slice_starts_nocase(line, "STARTTLS")) {
		starttls(s);
	} else if (slice_starts_nocase(line, "RCPT") &&
		   (last == 3 || (last == 9 && slice_starts_nocase(
						   line, "RCPT TO:<later@")))) {
		say(s, "450 4.2.0 later\r\n");
	} else if (slice_starts_nocase(line, "RCPT") && last == 6) {
		say(s, "550 5.1.1 nobody\r\n");
	} else if (slice_starts_nocase(line, "DATA") &&
		   (last == 3 || last == 6)) {
		say(s, "554 no recipients\r\n");
	} else if (slice_starts_nocase(line, "DATA")) {
		say(s, "354 go\r\n");
		s->is_in_data = true;
		buf_reset(&s->world->content);
		smtp_data_init(&s->data);
	} else if (slice_starts_nocase(line, "RCPT") && !s->is_utf8 &&
		   !utf8_is_ascii(line)) {
		say(s, "553 5.6.7 without SMTPUTF8?\r\n");
	} else if (!slice_starts_nocase(line, "QUIT")) {
		s->recipients += slice_starts_nocase(line, "RCPT");
		say(s, "250 2.0.0 ok\r\n");
	}
}

static void
server_input(void *arg)
{
	struct session *s = arg;

	for (;;) {
		struct slice in = stream_input(s->stream);
		size_t used;

		if (in.n == 0)
			return;
		if (s->is_in_data) {
			bool is_over =
			    smtp_data_feed(&s->data, in, keep_content, s->world,
				&used) == PARSE_OK;

			stream_consume(s->stream, used);
			if (!is_over)
				return;
			s->is_in_data = false;
			s->server->mails++;
			if (s->server->last == 7)
				continue;
			if (s->server->last == 8) {
				leave(s, "421 4.7.28 too much of you\r\n");
				continue;
			}
			for (unsigned i = s->is_lmtp ? s->recipients : 1; i > 0;
			     i--)
				say(s, "250 2.0.0 taken\r\n");
			s->recipients = 0;
			continue;
		}
		used = slice_find(in, '\n', 0);
		if (used == in.n)
			return;
		stream_consume(s->stream, used + 1);
		take_line(s, (struct slice){in.p, used});
	}
}

static void
server_secured(void *arg)
{
	(void)arg;
}

static void
server_ended(void *arg, enum stream_end how)
{
	struct session *s = arg;

	(void)how;
	stream_close(s->stream);
	free(s);
}

static const struct stream_events server_events = {
    .input = server_input, .secured = server_secured, .ended = server_ended};

static void
on_connection(int fd, short what, void *arg)
{
	struct fake_server *server = arg;
	struct world *world = server->world;
	struct session *s = xcalloc(1, sizeof(*s));
	int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	if (client == -1)
		fatal("accept: %s", strerror(errno));
	server->connections++;
	s->world = world;
	s->server = server;
	s->stream = stream_new(world->loop, client, &server_events, s, 65536);
	say(s, "220 fake\r\n");
}

static int
listen_at(unsigned last, uint16_t port)
{
	struct sockaddr_in sa = {
	    .sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(0x7f000000 + last);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == -1 ||
	    listen(fd, 64) == -1)
		fatal("127.0.0.%u: %s", last, strerror(errno));
	return fd;
}

static void
open_servers(struct world *world)
{
	struct sockaddr_in sa;
	socklen_t n = sizeof(sa);

	for (unsigned i = 0; i < WORLD_SERVERS; i++) {
		struct fake_server *server = &world->servers[i];

		server->world = world;
		server->last = i + 1;
		if (server->last == 2)
			continue;
		server->fd = listen_at(server->last, world->port);
		if (i == 0) {
			(void)getsockname(
			    server->fd, (struct sockaddr *)&sa, &n);
			world->port = ntohs(sa.sin_port);
		}
		server->listening = event_new(loop_base(world->loop),
		    server->fd, EV_READ | EV_PERSIST, on_connection, server);
		(void)event_add(server->listening, NULL);
	}
}

static void
make_tls(struct world *world)
{
	unsigned char *der = NULL;
	unsigned n;
	int size;

	world->tls = tls_own_server("dane.test");
	size = i2d_X509_PUBKEY(
	    X509_get_X509_PUBKEY(SSL_CTX_get0_certificate(world->tls)), &der);
	(void)EVP_Digest(
	    der, (size_t)size, world->key_hash, &n, EVP_sha256(), NULL);
	OPENSSL_free(der);
}

/* ---- checkd ---- */

static const struct {
	const char *name;
	enum dns_type type;
	enum dns_status status;
	bool is_secure;
	unsigned preference;
	const char *value; /* a name, the last octet of 127.0.0.x, or TLSA */
} zone[] = {
    {"one.test", DNS_TYPE_MX, DNS_OK, false, 10, "mx1.test"},
    {"down.test", DNS_TYPE_MX, DNS_OK, false, 10, "mx2.test"},
    {"backup.test", DNS_TYPE_MX, DNS_OK, false, 10, "mx2.test"},
    {"backup.test", DNS_TYPE_MX, DNS_OK, false, 20, "mx1.test"},
    {"later.test", DNS_TYPE_MX, DNS_OK, false, 10, "mx3.test"},
    {"later.test", DNS_TYPE_MX, DNS_OK, false, 20, "mx1.test"},
    {"grey.test", DNS_TYPE_MX, DNS_OK, false, 10, "mx3.test"},
    {"leaves.test", DNS_TYPE_MX, DNS_OK, false, 10, "mx8.test"},
    {"leaves-then.test", DNS_TYPE_MX, DNS_OK, false, 10, "mx8.test"},
    {"leaves-then.test", DNS_TYPE_MX, DNS_OK, false, 20, "mx1.test"},
    {"unasked.test", DNS_TYPE_MX, DNS_OK, false, 10, "mx1.test"},
    {"single.test", DNS_TYPE_MX, DNS_OK, false, 10, "mx9.test"},
    {"no-dsn.test", DNS_TYPE_MX, DNS_OK, false, 10, "mx9.test"},
    {"no-dsn.test", DNS_TYPE_MX, DNS_OK, false, 20, "mx1.test"},
    {"null.test", DNS_TYPE_MX, DNS_OK, false, 0, "."},
    {"loop.test", DNS_TYPE_MX, DNS_OK, false, 0, "gw.example.test"},
    {"servfail.test", DNS_TYPE_MX, DNS_TEMPORARY, false, 0, ""},
    {"bogus.test", DNS_TYPE_MX, DNS_BOGUS, false, 0, ""},
    {"address.test", DNS_TYPE_A, DNS_OK, false, 0, "1"},
    {"address.test", DNS_TYPE_MX, DNS_NODATA, false, 0, ""},
    {"broken-tls.test", DNS_TYPE_MX, DNS_OK, false, 10, "mx4.test"},
    {"dane.test", DNS_TYPE_MX, DNS_OK, true, 10, "mx5.test"},
    {"danebad.test", DNS_TYPE_MX, DNS_OK, true, 10, "mx5bad.test"},
    {"danebogus.test", DNS_TYPE_MX, DNS_OK, true, 10, "mx5bogus.test"},
    {"mx1.test", DNS_TYPE_A, DNS_OK, false, 0, "1"},
    {"mx2.test", DNS_TYPE_A, DNS_OK, false, 0, "2"},
    {"mx3.test", DNS_TYPE_A, DNS_OK, false, 0, "3"},
    {"mx4.test", DNS_TYPE_A, DNS_OK, false, 0, "4"},
    {"mx5.test", DNS_TYPE_A, DNS_OK, true, 0, "5"},
    {"mx8.test", DNS_TYPE_A, DNS_OK, false, 0, "8"},
    {"mx9.test", DNS_TYPE_A, DNS_OK, false, 0, "9"},
    {"mx5bad.test", DNS_TYPE_A, DNS_OK, true, 0, "5"},
    {"mx5bogus.test", DNS_TYPE_A, DNS_OK, true, 0, "5"},
    {"mx5.test", DNS_TYPE_TLSA, DNS_OK, true, 0, "good"},
    {"mx5bad.test", DNS_TYPE_TLSA, DNS_OK, true, 0, "bad"},
    {"mx5bogus.test", DNS_TYPE_TLSA, DNS_BOGUS, false, 0, ""},
};

static void
fill_record(const struct world *world, struct ipc_record_rr *rr, size_t i,
    char data[40])
{
	*rr = (struct ipc_record_rr){.type = (uint16_t)zone[i].type,
	    .preference = (uint16_t)zone[i].preference,
	    .ttl_s = 300};
	if (zone[i].type == DNS_TYPE_MX) {
		rr->name = slice_of(zone[i].value);
	} else if (zone[i].type == DNS_TYPE_A) {
		memcpy(data, "\177\0\0", 3);
		data[3] = (char)(zone[i].value[0] - '0');
		rr->data = (struct slice){data, 4};
	} else {
		memcpy(data, "\3\1\1", 3);
		memcpy(data + 3, world->key_hash, 32);
		data[3] = (char)(data[3] ^ (zone[i].value[0] == 'b'));
		rr->data = (struct slice){data, 35};
	}
}

void
world_answer(const struct world *world, struct channel *channel,
    const struct channel_frame *frame)
{
	const struct ipc_dns_query *query = &frame->message->dns_query;
	struct ipc_dns_answer answer = {.status = DNS_NXDOMAIN};
	struct ipc_list_writer records;
	struct slice name = query->name;
	bool is_known = false;

	ipc_list_writer_init(&records, 65536);
	/* "_port._tcp." stands before the names of TLSA records. */
	if (query->type == DNS_TYPE_TLSA) {
		size_t at = slice_find(name, '.', slice_find(name, '.', 0) + 1);

		name = (struct slice){name.p + at + 1, name.n - at - 1};
	}
	for (size_t i = 0; i < sizeof(zone) / sizeof(zone[0]); i++) {
		struct ipc_record_rr rr;
		char data[40];

		if (!slice_equals(name, slice_of(zone[i].name)))
			continue;
		if (!is_known)
			answer.status = DNS_NODATA;
		if (zone[i].type != query->type)
			continue;
		is_known = true;
		answer.status = (uint16_t)zone[i].status;
		answer.is_secure = zone[i].is_secure;
		if (zone[i].status != DNS_OK)
			continue;
		fill_record(world, &rr, i, data);
		(void)ipc_rr_add(&records, &rr, NULL);
	}
	answer.records = ipc_list_of(&records);
	(void)channel_answer(
	    channel, frame->request_id, MSG_DNS_ANSWER, &answer);
	ipc_list_writer_clear(&records);
}

void
world_open(struct world *world, struct loop *loop)
{
	*world = (struct world){.loop = loop};
	buf_init(&world->content, 4194304);
	make_tls(world);
	open_servers(world);
}

void
world_close(struct world *world)
{
	for (unsigned i = 0; i < WORLD_SERVERS; i++) {
		if (world->servers[i].listening == NULL)
			continue;
		event_free(world->servers[i].listening);
		(void)close(world->servers[i].fd);
	}
	SSL_CTX_free(world->tls);
	buf_clear(&world->content);
}
