/* SPDX-License-Identifier: ISC */
/*
 * postern-relayd: delivers to other servers.
 *
 * Sockets it expects: none; it connects to queued (jobs), checkd (DNS), authd
 * (callouts) and confd, and out to the internet.
 * Keeps: nothing; passwords of routes in memory.
 * Trusts: its peers as far as the message table checks them; nothing that
 * comes from the internet.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/relayd.h"

/*
 * Above all that relay.max_jobs may be.  The setting in force is no measure of
 * what queued does: it may just have become smaller than what is on its way.
 */
#define JOBS_MAX 6000

static struct relayd *
state_of(const struct channel *channel)
{
	return daemon_state(channel_daemon(channel));
}

/* ---- queued ---- */

static void
say_ready(struct relayd *r, bool is_stopping)
{
	const struct settings *settings = daemon_settings(r->daemon);
	struct ipc_relay_ready ready = {
	    .jobs = is_stopping ? 0 : (uint32_t)settings->relay_max_jobs};
	struct channel *queued = link_channel(r->queued);

	if (queued != NULL && !daemon_is_managing(r->daemon))
		(void)channel_send(queued, MSG_RELAY_READY, &ready, NULL);
}

static void
on_job_done(void *arg, struct job *job)
{
	struct relayd *r = arg;
	struct channel *queued = link_channel(r->queued);

	r->jobs_done++;
	if (queued != NULL && job_answer(job, queued) == -1)
		log_notice("a result could not be sent to queued");
	job_free(job);
	if (daemon_is_stopping(r->daemon) && r->jobs.count == 0)
		daemon_stopped(r->daemon);
}

static int
take_job(struct channel *channel, const struct ipc_relay_job *message, int fd)
{
	struct relayd *r = state_of(channel);
	struct err err;

	if (r->jobs.count >= JOBS_MAX) {
		close_if_open(&fd);
		log_notice("queued sends more jobs than were asked for");
		return -1;
	}
	if (job_start(&r->jobs, message, fd, &err) == -1) {
		log_notice("queued: %s", err.text);
		return -1;
	}
	r->jobs_taken++;
	return 0;
}

static int
on_relay_job(struct channel *channel, const struct channel_frame *frame)
{
	return take_job(channel, &frame->message->relay_job, -1);
}

static int
on_relay_file(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_relay_file *m = &frame->message->relay_file;
	struct ipc_relay_job job = {.job_id = m->job_id,
	    .message_id = m->message_id,
	    .attempt = m->attempt,
	    .domain = m->domain,
	    .reverse_path = m->reverse_path,
	    .envid = m->envid,
	    .ret = m->ret,
	    .is_8bit = m->is_8bit,
	    .is_utf8 = m->is_utf8,
	    .size_octets = m->size_octets,
	    .recipients = m->recipients};
	int fd = frame->fds[0];

	frame->fds[0] = -1;
	return take_job(channel, &job, fd);
}

/* ---- peers ---- */

static void
peer_up(struct daemon *daemon, struct channel *channel)
{
	if (channel_peer(channel) == ROLE_QUEUED)
		say_ready(daemon_state(daemon), daemon_is_stopping(daemon));
}

/*
 * Without queued nobody can take a result, and it will send all of it again:
 * what is not delivered yet must not be, or it would arrive twice.
 */
static void
peer_closed(struct daemon *daemon, struct channel *channel)
{
	struct relayd *r = daemon_state(daemon);
	struct job *job;

	relay_forget_askers(r, channel);
	if (channel_peer(channel) != ROLE_QUEUED)
		return;
	while ((job = LIST_FIRST(&r->jobs.jobs)) != NULL)
		job_free(job);
	if (daemon_is_stopping(daemon))
		daemon_stopped(daemon);
}

/* ---- settings ---- */

static void
learn_own_addresses(struct relayd *r)
{
	struct ifaddrs *list = NULL;

	r->own_count = 0;
	if (getifaddrs(&list) == -1)
		return;
	for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
		struct netaddr address;

		if (i->ifa_addr == NULL || r->own_count == RELAYD_OWN_MAX ||
		    netaddr_from_sockaddr(i->ifa_addr,
			sizeof(struct sockaddr_in6), &address, NULL) == -1)
			continue;
		r->own[r->own_count++] = address;
	}
	freeifaddrs(list);
}

/* Authorities are read anew with every change: the file may be another. */
static void
set_tls(struct relayd *r, const char *ca_file)
{
	struct err err;
	SSL_CTX *tls = tls_client_new(ca_file, &err);

	if (tls == NULL) {
		log_notice("TLS: %s", err.text);
		return;
	}
	/* Else nobody would know why no certificate can be verified. */
	if (ca_file[0] != '\0' && access(ca_file, R_OK) == -1)
		log_notice("relay.ca_file %s cannot be read: %s", ca_file,
		    strerror(errno));
	SSL_CTX_free(r->tls);
	r->tls = tls;
}

static int
settings_changed(struct daemon *daemon, struct err *err)
{
	struct relayd *r = daemon_state(daemon);
	const struct settings *s = daemon_settings(daemon);
	enum tls_level level;

	if (tls_level_parse(slice_of(s->relay_tls), &level) == -1)
		return err_set(err, "relay.tls: \"%s\"", s->relay_tls);
	route_table_free(r->routes);
	r->routes = route_table_new(daemon_snapshot(daemon));
	r->jobs.routes = r->routes;
	r->jobs.deadline_ms = s->relay_deadline * 1000;
	set_tls(r, s->relay_ca_file);
	pool_configure(
	    r->pool, &(struct pool_settings){.own_name = s->smtp_hostname,
			 .tls = r->tls,
			 .default_level = level,
			 .may_be_local = s->relay_allow_loopback,
			 .mx_port = (uint16_t)s->relay_mx_port,
			 .connections = (unsigned)s->relay_connections,
			 .idle_ms = s->relay_idle * 1000,
			 .connect_ms = s->relay_connect_timeout * 1000,
			 .command_ms = s->relay_command_timeout * 1000,
			 .dot_ms = s->relay_dot_timeout * 1000});
	say_ready(r, daemon_is_stopping(daemon));
	return 0;
}

/* ---- start, stop, status ---- */

static int
prepare(struct daemon *daemon, struct err *err)
{
	(void)daemon;
	(void)err;
	tls_prepare();
	return 0;
}

static int
start(struct daemon *daemon, struct err *err)
{
	struct relayd *r = daemon_state(daemon);

	(void)err;
	r->daemon = daemon;
	LIST_INIT(&r->questions);
	learn_own_addresses(r);
	r->queued = daemon_link(daemon, ROLE_QUEUED);
	r->checkd = daemon_link(daemon, ROLE_CHECKD);
	r->authd = daemon_link(daemon, ROLE_AUTHD);
	r->pool =
	    pool_new(daemon_loop(daemon), r->checkd, r->own, r->own_count);
	r->jobs.pool = r->pool;
	r->jobs.done = on_job_done;
	r->jobs.arg = r;
	LIST_INIT(&r->jobs.jobs);
	return 0;
}

static void
stop(struct daemon *daemon)
{
	struct relayd *r = daemon_state(daemon);

	say_ready(r, true);
	pool_stop_waiting(r->pool);
	if (r->jobs.count == 0)
		daemon_stopped(daemon);
}

static void
status(struct daemon *daemon, struct status_writer *writer)
{
	const struct relayd *r = daemon_state(daemon);
	struct pool_numbers n = pool_count(r->pool);

	status_counter(writer, "jobs taken", (int64_t)r->jobs_taken);
	status_counter(writer, "jobs done", (int64_t)r->jobs_done);
	status_counter(writer, "jobs under way", (int64_t)r->jobs.count);
	status_counter(writer, "jobs without a connection", (int64_t)n.waiting);
	status_counter(writer, "destinations", (int64_t)n.destinations);
	status_counter(writer, "connections", (int64_t)n.connections);
	status_counter(writer, "idle connections", (int64_t)n.idle);
}

static const struct channel_handler handlers[] = {
    {ROLE_QUEUED, MSG_RELAY_JOB, on_relay_job},
    {ROLE_QUEUED, MSG_RELAY_FILE, on_relay_file},
    {ROLE_AUTHD, MSG_CALLOUT, relay_on_callout},
    {ROLE_CONFD, MSG_ROUTE_TEST, relay_on_route_test},
    {ROLE_NONE, MSG_COUNT, NULL},
};

static const struct confinement confinement = {
    .rights = CONFINE_FILES_READ | CONFINE_CONNECT_UNIX | CONFINE_CONNECT_INET,
    /* Where authorities' certificates are kept. */
    .read_dirs = {"/etc/ssl", "/usr/share/ca-certificates",
	"/usr/local/share/ca-certificates", "/etc/postern"},
};

static const struct program program = {
    .role = ROLE_RELAYD,
    .handlers = handlers,
    .prepare = prepare,
    .start = start,
    .settings_changed = settings_changed,
    .peer_up = peer_up,
    .peer_closed = peer_closed,
    .status = status,
    .stop = stop,
    .state_size = sizeof(struct relayd),
    .confinement = &confinement,
};

int
main(int argc, char **argv)
{
	return daemon_main(argc, argv, &program);
}
