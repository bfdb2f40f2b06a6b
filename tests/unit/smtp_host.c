/* SPDX-License-Identifier: ISC */
/*
 * The peers of a worker, as a test wants them.
 * Runs in: tests.  Trusts: the worker under test.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/tls.h"
#include "common/token.h"
#include "smtpd/worker.h"
#include "tests/unit/smtp_host.h"

/* Turns of the loop without any activity until all is quiet. */
#define QUIET_TURNS 8
#define LIST_MAX 65536

static const enum role peer_roles[] = {ROLE_QUEUED, ROLE_AUTHD, ROLE_CHECKD};

struct smtp_host {
	struct loop *loop;
	struct worker *worker;
	struct channel *acceptor; /* the acceptor's end */
	struct channel *peers[ROLE_COUNT];
	struct event *turn;
	unsigned quiet_turns;
	struct smtp_host_mail mail;
	struct ipc_list_writer settings;
	uint64_t next_session;
	unsigned closed;
	unsigned queue_code;
	uint32_t credit;
	uint64_t stream_credit;
	bool has_lost_logins;
	bool is_gone; /* the worker ended */
};

static struct smtp_host *
host_of(struct channel *channel)
{
	struct smtp_host *host = channel_owner(channel);

	host->quiet_turns = 0;
	return host;
}

/* ---- queued ---- */

static int
answer_queue(struct channel *channel, uint64_t request_id, uint32_t stream)
{
	struct smtp_host *host = host_of(channel);
	struct ipc_queue_answer answer = {.stream = stream,
	    .code = (uint16_t)host->queue_code,
	    .enhanced = host->queue_code == 250  ? SLICE("2.0.0")
			: host->queue_code < 500 ? SLICE("4.3.1")
						 : SLICE("5.7.1"),
	    .text = SLICE("said the queue")};

	return channel_answer(channel, request_id, MSG_QUEUE_ANSWER, &answer);
}

static void
note_recipients(struct smtp_host *host, struct ipc_list list)
{
	struct ipc_record_recipient recipient;
	size_t n = 0;

	host->mail.to[0] = '\0';
	while (ipc_recipient_next(&list, &recipient) &&
	       n + recipient.address.n + 2 < sizeof(host->mail.to))
		n += (size_t)snprintf(host->mail.to + n,
		    sizeof(host->mail.to) - n, "%.*s ",
		    SLICE_ARG(recipient.address));
}

#define NOTE_ENVELOPE(host, m)                                                 \
	do {                                                                   \
		(void)slice_copy((m)->reverse_path, (host)->mail.from,         \
		    sizeof((host)->mail.from));                                \
		(void)slice_copy((m)->header_message_id,                       \
		    (host)->mail.message_id, sizeof((host)->mail.message_id)); \
		(host)->mail.has_token = (m)->token.n > 0;                     \
		(host)->mail.is_8bit = (m)->is_8bit;                           \
		(host)->mail.is_utf8 = (m)->is_utf8;                           \
		note_recipients((host), (m)->recipients);                      \
		buf_reset(&(host)->mail.content);                              \
	} while (0)

static int
on_queue_client(struct channel *channel, const struct channel_frame *frame)
{
	(void)frame;
	host_of(channel)->mail.shown++;
	return 0;
}

static int
on_submit(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_queue_submit *m = &frame->message->queue_submit;
	struct smtp_host *host = host_of(channel);

	NOTE_ENVELOPE(host, m);
	(void)buf_add_slice(&host->mail.content, m->content);
	host->mail.count++;
	return answer_queue(channel, frame->request_id, 0);
}

static int
on_open(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_queue_open *m = &frame->message->queue_open;
	struct smtp_host *host = host_of(channel);
	struct ipc_queue_credit credit = {
	    .stream = m->stream, .octets = host->credit};

	NOTE_ENVELOPE(host, m);
	host->stream_credit = host->credit;
	if (host->queue_code != 250)
		return answer_queue(channel, frame->request_id, m->stream);
	return channel_send(channel, MSG_QUEUE_CREDIT, &credit, NULL);
}

static int
on_chunk(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_queue_chunk *m = &frame->message->queue_chunk;
	struct smtp_host *host = host_of(channel);
	struct ipc_queue_credit credit = {
	    .stream = m->stream, .octets = (uint32_t)m->content.n};

	if (m->content.n > host->stream_credit)
		bug("a chunk without credit");
	(void)buf_add_slice(&host->mail.content, m->content);
	return channel_send(channel, MSG_QUEUE_CREDIT, &credit, NULL);
}

static int
on_end(struct channel *channel, const struct channel_frame *frame)
{
	struct smtp_host *host = host_of(channel);

	host->mail.count++;
	host->mail.is_8bit = frame->message->queue_end.is_8bit;
	return answer_queue(
	    channel, frame->request_id, frame->message->queue_end.stream);
}

static int
on_abort(struct channel *channel, const struct channel_frame *frame)
{
	(void)frame;
	host_of(channel)->mail.aborts++;
	return 0;
}

/* ---- authd and checkd ---- */

static int
answer_login(struct channel *channel, uint64_t request_id, uint64_t session_id,
    struct slice user)
{
	static const unsigned char key[TOKEN_KEY_SIZE] = {1};
	struct ipc_auth_result result = {
	    .session_id = session_id, .verdict = AUTH_OK, .account = user};
	struct token token = {.session_id = session_id,
	    .account = user,
	    .issued_s = (uint64_t)time(NULL),
	    .expires_s = (uint64_t)time(NULL) + 60};
	struct buf identities;
	struct buf octets;
	char own[256];
	int rc;

	token_identities_init(&identities);
	buf_init(&octets, IPC_TOKEN_MAX);
	(void)snprintf(own, sizeof(own), "%.*s@any.example", SLICE_ARG(user));
	if (token_identity_add(&identities, slice_of(own), NULL) == -1)
		result.verdict = AUTH_FAILED;
	token.identities = buf_slice(&identities);
	if (result.verdict == AUTH_OK &&
	    token_make(key, &token, &octets, NULL) == -1)
		bug("no token");
	result.token = buf_slice(&octets);
	rc = channel_answer(channel, request_id, MSG_AUTH_RESULT, &result);
	buf_clear(&identities);
	buf_clear(&octets);
	return rc;
}

/* "\0user\0password" */
static int
judge_plain(struct channel *channel, uint64_t request_id, uint64_t session_id,
    struct slice response)
{
	struct ipc_auth_result result = {
	    .session_id = session_id, .verdict = AUTH_FAILED};
	size_t start = slice_find(response, '\0', 0) + 1;
	size_t end = slice_find(response, '\0', start);

	if (end < response.n &&
	    slice_equals(
		(struct slice){response.p + end + 1, response.n - end - 1},
		SLICE("right")))
		return answer_login(channel, request_id, session_id,
		    (struct slice){response.p + start, end - start});
	return channel_answer(channel, request_id, MSG_AUTH_RESULT, &result);
}

static int
on_auth_start(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_auth_start *m = &frame->message->auth_start;
	struct ipc_auth_result challenge = {
	    .session_id = m->session_id, .verdict = AUTH_CHALLENGE};

	(void)host_of(channel);
	if (!m->has_initial)
		return channel_answer(
		    channel, frame->request_id, MSG_AUTH_RESULT, &challenge);
	return judge_plain(
	    channel, frame->request_id, m->session_id, m->initial);
}

static int
on_auth_step(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_auth_step *m = &frame->message->auth_step;

	(void)host_of(channel);
	return judge_plain(
	    channel, frame->request_id, m->session_id, m->response);
}

static int
on_auth_abort(struct channel *channel, const struct channel_frame *frame)
{
	(void)host_of(channel);
	(void)frame;
	return 0;
}

static int
on_renew(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_auth_renew *m = &frame->message->auth_renew;
	struct ipc_auth_result result = {
	    .session_id = m->session_id, .verdict = AUTH_FAILED};
	struct token token;

	if (host_of(channel)->has_lost_logins ||
	    token_read(m->token, &token, NULL) == -1)
		return channel_answer(
		    channel, frame->request_id, MSG_AUTH_RESULT, &result);
	return answer_login(
	    channel, frame->request_id, m->session_id, token.account);
}

static int
on_rcpt_check(struct channel *channel, const struct channel_frame *frame)
{
	struct slice address = frame->message->rcpt_check.address;
	struct ipc_rcpt_checked answer = {.verdict = RCPT_EXISTS};

	(void)host_of(channel);
	if (slice_starts_nocase(address, "unknown"))
		answer.verdict = RCPT_UNKNOWN;
	else if (slice_starts_nocase(address, "later"))
		answer.verdict = RCPT_TEMPORARY;
	return channel_answer(
	    channel, frame->request_id, MSG_RCPT_CHECKED, &answer);
}

static int
on_check_mail(struct channel *channel, const struct channel_frame *frame)
{
	struct slice domain = frame->message->check_mail.sender_domain;
	struct ipc_checked_mail answer = {.sender = SENDER_OK,
	    .ptr_name = SLICE("client.example"),
	    .ptr_status = PTR_CONFIRMED};

	(void)host_of(channel);
	if (slice_starts_nocase(domain, "nx"))
		answer.sender = SENDER_NO_DOMAIN;
	else if (slice_starts_nocase(domain, "nullmx"))
		answer.sender = SENDER_NULL_MX;
	else if (slice_starts_nocase(domain, "slow"))
		answer.sender = SENDER_TEMPORARY;
	return channel_answer(
	    channel, frame->request_id, MSG_CHECKED_MAIL, &answer);
}

/* ---- the acceptor ---- */

static int
on_client_closed(struct channel *channel, const struct channel_frame *frame)
{
	(void)frame;
	host_of(channel)->closed++;
	return 0;
}

static int
on_link_wanted(struct channel *channel, const struct channel_frame *frame)
{
	(void)host_of(channel);
	(void)frame;
	return 0;
}

static const struct channel_handler handlers[] = {
    {ROLE_WORKER, MSG_CLIENT_CLOSED, on_client_closed},
    {ROLE_WORKER, MSG_WORKER_LINK_WANTED, on_link_wanted},
    {ROLE_SMTPD, MSG_QUEUE_CLIENT, on_queue_client},
    {ROLE_SMTPD, MSG_QUEUE_SUBMIT, on_submit},
    {ROLE_SMTPD, MSG_QUEUE_OPEN, on_open},
    {ROLE_SMTPD, MSG_QUEUE_CHUNK, on_chunk},
    {ROLE_SMTPD, MSG_QUEUE_END, on_end},
    {ROLE_SMTPD, MSG_QUEUE_ABORT, on_abort},
    {ROLE_SMTPD, MSG_AUTH_START, on_auth_start},
    {ROLE_SMTPD, MSG_AUTH_STEP, on_auth_step},
    {ROLE_SMTPD, MSG_AUTH_ABORT, on_auth_abort},
    {ROLE_SMTPD, MSG_AUTH_RENEW, on_renew},
    {ROLE_SMTPD, MSG_RCPT_CHECK, on_rcpt_check},
    {ROLE_SMTPD, MSG_CHECK_MAIL, on_check_mail}, {ROLE_NONE, MSG_HELLO, NULL}};

static void
on_peer_gone(struct channel *channel, const char *reason)
{
	struct smtp_host *host = host_of(channel);

	(void)reason;
	for (int role = 0; role < ROLE_COUNT; role++)
		if (host->peers[role] == channel)
			host->peers[role] = NULL;
	if (host->acceptor == channel) {
		host->acceptor = NULL;
		host->is_gone = true;
	}
}

static struct channel *
open_channel(
    struct smtp_host *host, enum role self, enum role peer, int *other_r)
{
	struct channel_config config = {.loop = host->loop,
	    .self = self,
	    .peer = peer,
	    .handlers = handlers,
	    .owner = host,
	    .closed = on_peer_gone};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
		fatal("socketpair: %s", strerror(errno));
	*other_r = pair[1];
	return channel_new(&config, pair[0]);
}

void
smtp_host_link(struct smtp_host *host, enum role role, bool is_up)
{
	struct ipc_worker_link message = {.role = (uint16_t)role};
	struct ipc_queue_slot slot = {.slot = 7};
	struct ipc_auth_mechanisms mechanisms = {.mechanisms = SLICE("PLAIN")};
	int fd;

	if (!is_up) {
		channel_close(host->peers[role]);
		host->peers[role] = NULL;
		smtp_host_run(host);
		return;
	}
	host->peers[role] = open_channel(host, role, ROLE_SMTPD, &fd);
	if (role == ROLE_QUEUED)
		(void)channel_send(
		    host->peers[role], MSG_QUEUE_SLOT, &slot, NULL);
	if (role == ROLE_AUTHD)
		(void)channel_send(
		    host->peers[role], MSG_AUTH_MECHANISMS, &mechanisms, NULL);
	(void)channel_send(host->acceptor, MSG_WORKER_LINK, &message, &fd);
	(void)close(fd);
	smtp_host_run(host);
}

static void
send_settings(struct smtp_host *host)
{
	struct ipc_list_writer domains;
	struct ipc_record_domain any = {
	    .name = SLICE("any.example"), .mode = DOMAIN_ANY};
	struct ipc_record_domain list = {
	    .name = SLICE("list.example"), .mode = DOMAIN_LIST};
	struct ipc_conf_snapshot message = {.revision = 1};

	ipc_list_writer_init(&domains, LIST_MAX);
	(void)ipc_domain_add(&domains, &any, NULL);
	(void)ipc_domain_add(&domains, &list, NULL);
	message.domains = ipc_list_of(&domains);
	message.settings = ipc_list_of(&host->settings);
	if (channel_send(host->acceptor, MSG_CONF_SNAPSHOT, &message, NULL) ==
	    -1)
		bug("the snapshot breaks its row");
	ipc_list_writer_clear(&domains);
	smtp_host_run(host);
}

void
smtp_host_set(struct smtp_host *host, enum setting_index index, uint64_t number,
    const char *text)
{
	struct ipc_record_setting record = {
	    .index = (uint16_t)index, .number = number, .text = slice_of(text)};

	if (ipc_setting_add(&host->settings, &record, NULL) == -1)
		bug("the setting breaks its row");
	send_settings(host);
}

static void
send_tls(struct smtp_host *host)
{
	static const char ticket_key[80] = {1};
	struct ipc_worker_tls message;
	struct buf chain;
	struct buf key;
	struct err err;

	buf_init(&chain, LIST_MAX);
	buf_init(&key, LIST_MAX);
	if (tls_self_signed(
		"gw.example", (int64_t)time(NULL), &chain, &key, &err) == -1)
		fatal("%s", err.text);
	message = (struct ipc_worker_tls){.chain = buf_slice(&chain),
	    .key = buf_slice(&key),
	    .ticket_keys = {ticket_key, sizeof(ticket_key)}};
	(void)channel_send(host->acceptor, MSG_WORKER_TLS, &message, NULL);
	buf_clear(&chain);
	buf_clear(&key);
}

/* ---- the loop ---- */

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct smtp_host *host = arg;

	(void)fd;
	(void)what;
	if (++host->quiet_turns >= QUIET_TURNS)
		loop_stop(host->loop);
	else
		loop_arm(host->turn, 0);
}

void
smtp_host_run(struct smtp_host *host)
{
	if (host->is_gone)
		return;
	host->quiet_turns = 0;
	loop_arm(host->turn, 0);
	loop_run(host->loop);
	(void)event_del(host->turn);
}

void
smtp_host_drain(struct smtp_host *host)
{
	struct ipc_worker_drain message = {.deadline_s = 1};

	(void)channel_send(host->acceptor, MSG_WORKER_DRAIN, &message, NULL);
	smtp_host_run(host);
}

struct smtp_host *
smtp_host_new_alone(void)
{
	struct smtp_host *host = xcalloc(1, sizeof(*host));
	int fd;

	(void)signal(SIGPIPE, SIG_IGN); /* as stream.h asks for */
	host->loop = loop_new();
	host->queue_code = 250;
	host->credit = 262144;
	host->next_session = 1;
	buf_init(&host->mail.content, 64u << 20);
	ipc_list_writer_init(&host->settings, LIST_MAX);
	host->turn = event_new(loop_base(host->loop), -1, 0, on_turn, host);
	host->acceptor = open_channel(host, ROLE_SMTPD, ROLE_WORKER, &fd);
	host->worker = worker_new(host->loop, fd);
	smtp_host_set(host, SET_smtp_hostname, 0, "gw.example");
	send_tls(host);
	return host;
}

struct smtp_host *
smtp_host_new(void)
{
	struct smtp_host *host = smtp_host_new_alone();

	for (size_t i = 0; i < sizeof(peer_roles) / sizeof(peer_roles[0]); i++)
		smtp_host_link(host, peer_roles[i], true);
	return host;
}

void
smtp_host_free(struct smtp_host *host)
{
	for (int role = 0; role < ROLE_COUNT; role++)
		if (host->peers[role] != NULL)
			channel_close(host->peers[role]);
	if (host->acceptor != NULL)
		channel_close(host->acceptor);
	smtp_host_run(host);
	worker_free(host->worker);
	event_free(host->turn);
	ipc_list_writer_clear(&host->settings);
	buf_clear(&host->mail.content);
	loop_free(host->loop);
	free(host);
}

void
smtp_host_queue(struct smtp_host *host, unsigned code, uint32_t credit)
{
	host->queue_code = code;
	host->credit = credit;
}

void
smtp_host_disable_logins(struct smtp_host *host)
{
	host->has_lost_logins = true;
}

const struct smtp_host_mail *
smtp_host_mail(const struct smtp_host *host)
{
	return &host->mail;
}

unsigned
smtp_host_closed(const struct smtp_host *host)
{
	return host->closed;
}

uint64_t
smtp_host_memory(const struct smtp_host *host)
{
	return host->worker->message_memory;
}

/* ---- clients ---- */

static ssize_t
read_some(struct smtp_client *client, char *p, size_t size)
{
	int n;

	if (client->ssl == NULL)
		return recv(client->fd, p, size, MSG_DONTWAIT);
	n = SSL_read(client->ssl, p, (int)size);
	if (n > 0)
		return n;
	if (SSL_get_error(client->ssl, n) == SSL_ERROR_WANT_READ) {
		errno = EAGAIN;
		return -1;
	}
	return 0;
}

static void
collect_reply(struct smtp_client *client, size_t *n)
{
	ssize_t got;

	while (*n + 1 < sizeof(client->reply) &&
	       (got = read_some(client, client->reply + *n,
		    sizeof(client->reply) - 1 - *n)) != -1) {
		if (got == 0) {
			client->is_closed = true;
			break;
		}
		*n += (size_t)got;
	}
	client->reply[*n] = '\0';
}

static size_t
write_some(struct smtp_client *client, const char *p, size_t n)
{
	ssize_t sent;

	if (client->ssl == NULL) {
		sent = send(client->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent == -1 && errno != EAGAIN)
			client->is_closed = true;
		return sent == -1 ? 0 : (size_t)sent;
	}
	sent = SSL_write(client->ssl, p, (int)n);
	return sent <= 0 ? 0 : (size_t)sent;
}

const char *
smtp_say_octets(struct smtp_client *client, const void *p, size_t n)
{
	const char *text = p;
	size_t got = 0;
	unsigned stuck = 0;

	client->reply[0] = '\0';
	while (n > 0 && !client->is_closed && stuck < 1000) {
		size_t sent = write_some(client, text, n);

		text += sent;
		n -= sent;
		stuck = sent == 0 ? stuck + 1 : 0;
		smtp_host_run(client->host);
		collect_reply(client, &got);
	}
	smtp_host_run(client->host);
	collect_reply(client, &got);
	return client->reply;
}

const char *
smtp_say(struct smtp_client *client, const char *text)
{
	return smtp_say_octets(client, text, strlen(text));
}

void
smtp_client_open(struct smtp_host *host, struct smtp_client *client,
    enum listener_kind kind, bool is_trusted)
{
	struct ipc_client message = {.session_id = host->next_session++,
	    .listener_kind = (uint16_t)kind,
	    .address = SLICE("192.0.2.1"),
	    .port = 40000,
	    .local_address = SLICE("192.0.2.25:25"),
	    .is_trusted = is_trusted};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		pair) == -1)
		fatal("socketpair: %s", strerror(errno));
	*client = (struct smtp_client){.host = host, .fd = pair[0]};
	(void)channel_send(host->acceptor, MSG_CLIENT, &message, &pair[1]);
	(void)close(pair[1]);
	(void)smtp_say(client, "");
}

bool
smtp_client_tls(struct smtp_client *client)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(context);
	int rc = 0;

	SSL_CTX_free(context);
	(void)SSL_set_fd(ssl, client->fd);
	for (int i = 0; i < 20 && (rc = SSL_connect(ssl)) != 1; i++)
		smtp_host_run(client->host);
	client->ssl = ssl;
	if (rc == 1)
		(void)smtp_say(client, "");
	return rc == 1;
}

void
smtp_client_close(struct smtp_client *client)
{
	SSL_free(client->ssl);
	client->ssl = NULL;
	close_if_open(&client->fd);
	smtp_host_run(client->host);
}
