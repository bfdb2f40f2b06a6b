/* SPDX-License-Identifier: ISC */
/*
 * The acceptor: takes connections from the sockets that bindd gives, refuses
 * floods and blocked clients before anything is paid for them, and hands the
 * rest to the worker processes, which talk SMTP.
 * Runs in: postern-smtpd.  Trusts: bindd for its sockets, confd for settings;
 * nothing that a client or a worker says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "smtpd/smtpd.h"

#define MINUTE_MS 60000
/* Session ids are the acceptor's; workers get their own slots from queued. */
#define SESSION_ID_SLOT 255

/* ---- clients ---- */

static void
tell_refusal(
    void *arg, const struct netaddr *client, const char *reason, uint32_t times)
{
	struct smtpd *smtpd = arg;
	char address[NETADDR_TEXT_MAX];
	struct event_connect_refused event = {
	    .client = slice_of(netaddr_format(client, address)),
	    .reason = slice_of(reason),
	    .times = times};

	log_event(daemon_log(smtpd->daemon), (struct log_context){0, 0},
	    EV_CONNECT_REFUSED, &event);
}

/*
 * One line, best effort: the kernel takes it at once or it is not said.  Who
 * expects TLS first would not understand it.
 */
static void
refuse(struct smtpd *smtpd, int fd, enum listener_kind kind,
    const struct netaddr *client, const char *code, const char *reason)
{
	char text[512];
	int n;

	n = snprintf(text, sizeof(text), "%s %s %s\r\n", code,
	    daemon_settings(smtpd->daemon)->smtp_hostname,
	    code[0] == '5' ? "does not talk to your address"
			   : "has too many connections, try later");
	if (kind != LISTENER_SUBMISSIONS && n > 0 && (size_t)n < sizeof(text))
		(void)send(fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)close(fd);
	smtpd->refused++;
	refusals_note(smtpd->refusals, client, reason);
}

#define BLOCKED "554 5.7.1"
#define BUSY "421 4.7.0"

static int
hand_over(struct smtpd *smtpd, int fd, enum listener_kind kind,
    const struct netaddr *client, uint16_t port, const char *local_address,
    bool is_trusted)
{
	char address[NETADDR_TEXT_MAX];
	struct ipc_client message = {
	    .session_id = id_next(&smtpd->session_ids, clock_wall_us() / 1000),
	    .listener_kind = (uint16_t)kind,
	    .address = slice_of(netaddr_format(client, address)),
	    .port = port,
	    .local_address = slice_of(local_address),
	    .is_trusted = is_trusted,
	    .is_stressed = flood_is_stressed(smtpd->flood, &smtpd->limits)};
	int slot = workers_give(smtpd->workers, &message, fd);

	if (slot == -1)
		return -1;
	clients_add(smtpd->clients, message.session_id, (unsigned)slot, client);
	return 0;
}

static void
on_client(void *arg, int fd, enum listener_kind kind,
    const struct netaddr *client, uint16_t port, const char *local_address)
{
	struct smtpd *smtpd = arg;
	enum access_mark mark =
	    access_client(smtpd->access, client, (int64_t)time(NULL));
	bool is_trusted = netprefix_list_contains(
	    smtpd->trusted, smtpd->trusted_count, client);
	enum flood_verdict verdict;

	if (mark == ACCESS_BLOCKED) {
		refuse(smtpd, fd, kind, client, BLOCKED, "block entry");
		return;
	}
	verdict = flood_open(smtpd->flood, &smtpd->limits, client,
	    is_trusted || mark == ACCESS_ALLOWED, clock_monotonic_ms());
	if (verdict != FLOOD_OK) {
		refuse(
		    smtpd, fd, kind, client, BUSY, flood_verdict_text(verdict));
		return;
	}
	if (hand_over(smtpd, fd, kind, client, port, local_address,
		is_trusted) == -1) {
		flood_close(smtpd->flood, client);
		refuse(smtpd, fd, kind, client, BUSY, "no worker");
		return;
	}
	smtpd->accepted++;
	(void)close(fd);
}

static int
on_client_closed(struct channel *channel, const struct channel_frame *frame)
{
	struct smtpd *smtpd = daemon_state(channel_daemon(channel));
	const struct ipc_client_closed *message =
	    &frame->message->client_closed;
	unsigned slot = workers_slot_of(channel);
	struct netaddr address;

	if (clients_remove(
		smtpd->clients, message->session_id, slot, &address) == -1)
		return -1;
	flood_close(smtpd->flood, &address);
	workers_took_back(smtpd->workers, slot);
	/*
	 * A worker that lies here can only open the reserved share to networks
	 * that really were connected to it.
	 */
	if (message->was_authenticated)
		flood_login(smtpd->flood, &address, clock_monotonic_ms());
	return 0;
}

/* ---- peers ---- */

/* Without workers, connections wait in the kernel. */
static void
accept_when_ready(struct smtpd *smtpd)
{
	listeners_enable(smtpd->listeners, workers_ready(smtpd->workers) > 0);
}

static int
on_listener(struct channel *channel, const struct channel_frame *frame)
{
	struct smtpd *smtpd = daemon_state(channel_daemon(channel));
	const struct ipc_listener *message = &frame->message->listener;
	int fd = frame->fds[0];

	if (message->kind >= LISTENER_KIND_COUNT)
		return -1;
	frame->fds[0] = -1;
	return listeners_add(smtpd->listeners,
	    (enum listener_kind)message->kind, message->address, fd);
}

static int
on_listeners_end(struct channel *channel, const struct channel_frame *frame)
{
	struct smtpd *smtpd = daemon_state(channel_daemon(channel));

	(void)frame;
	listeners_commit(smtpd->listeners);
	return 0;
}

static void
show_listener(void *arg, enum listener_kind kind, int fd)
{
	struct ipc_listener_kept message = {.kind = (uint16_t)kind};

	(void)channel_send(arg, MSG_LISTENER_KEPT, &message, &fd);
}

/* A bindd that was started again takes its sockets back from here. */
static void
show_listeners(struct smtpd *smtpd, struct channel *bindd)
{
	struct ipc_listeners_kept message = {
	    .count = (uint32_t)listeners_count(smtpd->listeners)};

	listeners_each(smtpd->listeners, show_listener, bindd);
	(void)channel_send(bindd, MSG_LISTENERS_KEPT, &message, NULL);
}

static int
on_link_wanted(struct channel *channel, const struct channel_frame *frame)
{
	struct smtpd *smtpd = daemon_state(channel_daemon(channel));

	return workers_link_wanted(smtpd->workers, channel,
	    (enum role)frame->message->worker_link_wanted.role);
}

static int
on_tls_install(struct channel *channel, const struct channel_frame *frame)
{
	struct smtpd *smtpd = daemon_state(channel_daemon(channel));
	struct ipc_tls_installed answer = {.error = SLICE("")};
	struct tls_store_fact facts[TLS_STORE_FACTS];
	struct ipc_list_writer list;
	struct err err;
	int rc;

	ipc_list_writer_init(&list, TLS_STORE_FACTS * sizeof(facts[0]));
	if (tls_store_install(smtpd->tls, frame->fds[0], frame->fds[1], &err) ==
	    -1) {
		answer.error = slice_of(err.text);
	} else {
		size_t count = tls_store_facts(smtpd->tls, facts);

		for (size_t i = 0; i < count; i++) {
			struct ipc_record_fact fact = {
			    .name = slice_of(facts[i].name),
			    .value = slice_of(facts[i].value)};

			(void)ipc_fact_add(&list, &fact, NULL);
		}
	}
	answer.facts = ipc_list_of(&list);
	rc = channel_answer(
	    channel, frame->request_id, MSG_TLS_INSTALLED, &answer);
	ipc_list_writer_clear(&list);
	return rc;
}

static void
smtpd_peer_up(struct daemon *daemon, struct channel *channel)
{
	struct smtpd *smtpd = daemon_state(daemon);

	if (channel_peer(channel) == ROLE_BINDD)
		show_listeners(smtpd, channel);
	if (channel_peer(channel) != ROLE_WORKER)
		return;
	workers_up(smtpd->workers, channel);
	accept_when_ready(smtpd);
}

static void
smtpd_peer_closed(struct daemon *daemon, struct channel *channel)
{
	struct smtpd *smtpd = daemon_state(daemon);

	/* Without bindd the sockets are kept, and shown to it later. */
	if (channel_peer(channel) != ROLE_WORKER)
		return;
	workers_closed(smtpd->workers, channel);
	accept_when_ready(smtpd);
	if (daemon_is_stopping(daemon) && workers_are_gone(smtpd->workers))
		daemon_stopped(daemon);
}

/* ---- settings ---- */

static void
set_trusted(struct smtpd *smtpd, const char *networks)
{
	struct slice list = slice_of(networks);
	struct slice word;

	smtpd->trusted_count = 0;
	while (setting_list_next(&list, &word)) {
		struct netprefix prefix;

		if (netprefix_parse(word, &prefix, NULL) == -1)
			continue;
		smtpd->trusted = xrealloc(smtpd->trusted,
		    (smtpd->trusted_count + 1) * sizeof(prefix));
		smtpd->trusted[smtpd->trusted_count++] = prefix;
	}
}

static int
smtpd_settings_changed(struct daemon *daemon, struct err *err)
{
	struct smtpd *smtpd = daemon_state(daemon);
	const struct settings *settings = daemon_settings(daemon);
	unsigned count = (unsigned)settings->smtp_workers;

	(void)err;
	smtpd->limits = (struct flood_limits){
	    .max_connections = (uint32_t)settings->smtp_max_connections,
	    .client_connections = (uint32_t)settings->smtp_client_connections,
	    .network_connections = (uint32_t)settings->smtp_network_connections,
	    .client_rate = (uint32_t)settings->smtp_client_rate,
	    .network_rate = (uint32_t)settings->smtp_network_rate,
	    .reserved_share = (uint32_t)settings->smtp_reserved_share};
	set_trusted(smtpd, settings->smtp_trusted_networks);
	access_list_free(smtpd->access);
	smtpd->access = access_list_new(daemon_snapshot(daemon));
	tls_store_settings_changed(smtpd->tls);
	if (daemon_is_managing(daemon) || daemon_is_stopping(daemon))
		return 0;
	workers_send_settings(smtpd->workers);
	if (count == 0)
		count = smtpd->processors;
	workers_set_count(
	    smtpd->workers, count < WORKERS_MAX ? count : WORKERS_MAX);
	accept_when_ready(smtpd);
	return 0;
}

static void
on_tls_changed(void *arg)
{
	struct smtpd *smtpd = arg;

	workers_send_tls(smtpd->workers);
}

/* ---- the program ---- */

static int
smtpd_prepare(struct daemon *daemon, struct err *err)
{
	struct smtpd *smtpd = daemon_state(daemon);
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	(void)err;
	tls_prepare();
	tzset();
	smtpd->processors = processors > 0 ? (unsigned)processors : 1;
	return 0;
}

static void
on_minute(evutil_socket_t fd, short what, void *arg)
{
	struct smtpd *smtpd = arg;

	(void)fd;
	(void)what;
	refusals_flush(smtpd->refusals);
	loop_arm(smtpd->minute, MINUTE_MS);
}

static int
smtpd_start(struct daemon *daemon, struct err *err)
{
	struct smtpd *smtpd = daemon_state(daemon);
	struct loop *loop = daemon_loop(daemon);

	smtpd->daemon = daemon;
	id_maker_init(&smtpd->session_ids, SESSION_ID_SLOT);
	smtpd->listeners = listeners_new(loop, on_client, smtpd);
	smtpd->workers = workers_new(smtpd);
	smtpd->clients = clients_new();
	smtpd->flood = flood_new();
	smtpd->refusals = refusals_new(tell_refusal, smtpd);
	smtpd->tls = tls_store_new(daemon, on_tls_changed, smtpd, err);
	if (smtpd->tls == NULL)
		return -1;
	smtpd->minute = event_new(loop_base(loop), -1, 0, on_minute, smtpd);
	if (smtpd->minute == NULL)
		return err_set(err, "out of memory for a timer");
	loop_arm(smtpd->minute, MINUTE_MS);
	if (!daemon_is_managing(daemon))
		smtpd->bindd = daemon_link(daemon, ROLE_BINDD);
	return 0;
}

static void
smtpd_stop(struct daemon *daemon)
{
	struct smtpd *smtpd = daemon_state(daemon);

	listeners_enable(smtpd->listeners, false);
	link_free(smtpd->bindd);
	smtpd->bindd = NULL;
	refusals_flush(smtpd->refusals);
	workers_drain(smtpd->workers);
	if (workers_are_gone(smtpd->workers))
		daemon_stopped(daemon);
}

static void
smtpd_status(struct daemon *daemon, struct status_writer *status)
{
	struct smtpd *smtpd = daemon_state(daemon);
	struct tls_store_fact facts[TLS_STORE_FACTS];
	size_t count = tls_store_facts(smtpd->tls, facts);

	for (size_t i = 0; i < count; i++)
		status_fact(status, facts[i].name, "%s", facts[i].value);
	status_counter(
	    status, "listeners", (int64_t)listeners_count(smtpd->listeners));
	status_counter(
	    status, "workers", (int64_t)workers_ready(smtpd->workers));
	status_counter(status, "connections", flood_connections(smtpd->flood));
	status_counter(status, "accepted", (int64_t)smtpd->accepted);
	status_counter(status, "refused", (int64_t)smtpd->refused);
}

static const struct channel_handler smtpd_handlers[] = {
    {ROLE_BINDD, MSG_LISTENER, on_listener},
    {ROLE_BINDD, MSG_LISTENERS_END, on_listeners_end},
    {ROLE_WORKER, MSG_CLIENT_CLOSED, on_client_closed},
    {ROLE_WORKER, MSG_WORKER_LINK_WANTED, on_link_wanted},
    {ROLE_CONFD, MSG_TLS_INSTALL, on_tls_install},
    {ROLE_NONE, MSG_HELLO, NULL}};

static const struct worker_program smtpd_workers[] = {
    {"smtp", smtp_worker}, {NULL, NULL}};

static const struct confinement smtpd_confinement = {
    .rights = CONFINE_CONNECT_UNIX | CONFINE_FILES_WRITE,
};

static const struct program smtpd_program = {
    .role = ROLE_SMTPD,
    .handlers = smtpd_handlers,
    .workers = smtpd_workers,
    .prepare = smtpd_prepare,
    .start = smtpd_start,
    .settings_changed = smtpd_settings_changed,
    .peer_up = smtpd_peer_up,
    .peer_closed = smtpd_peer_closed,
    .status = smtpd_status,
    .stop = smtpd_stop,
    .state_size = sizeof(struct smtpd),
    .confinement = &smtpd_confinement,
};

int
main(int argc, char **argv)
{
	return daemon_main(argc, argv, &smtpd_program);
}
