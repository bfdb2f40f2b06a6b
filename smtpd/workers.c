/* SPDX-License-Identifier: ISC */
/*
 * Keeps the worker processes at work.
 * Runs in: postern-smtpd, the acceptor.  Trusts: nothing that a worker says,
 * since it is the process that strangers talk to.
 */
#include <stdlib.h>

#include "common/alerts.h"
#include "config.h"
#include "smtpd/smtpd.h"
#include "smtpd/worker_links.h"

/*
 * A worker that dies is started again after this, doubled each time.  Not for
 * long: what kills it may be something that a stranger sends.
 */
#define RESTART_FIRST_MS 100
#define RESTART_MAX_MS 1000
/* One that lived so long had a reason of its own to die. */
#define STABLE_MS 60000
/* Deaths in a row that an administrator should hear of. */
#define DEATHS_ALERT 3
/* A peer that was not there is tried again. */
#define LINK_RETRY_MS 200
/* What a draining worker has for what runs: postern-run gives us 10 s. */
#define DRAIN_S 8
#define ALERT_SUBJECT "smtp worker"
/* Octets of all records of one kind in a snapshot. */
#define SNAPSHOT_LIST_MAX (32u * 1024 * 1024)

struct worker {
	struct workers *workers;
	unsigned slot;
	struct channel *channel; /* NULL: not running */
	bool is_up;
	bool is_draining;
	bool is_wanted;
	uint32_t sessions;
	unsigned deaths; /* in a row */
	uint64_t started_ms;
	uint64_t backoff_ms;
	struct worker_links links;
	struct event *restart;
	struct event *link_retry;
};

struct workers {
	struct smtpd *smtpd;
	struct worker list[WORKERS_MAX];
	unsigned ready;
	bool is_draining;
};

/* ---- links ---- */

static void
give_links(struct worker *worker)
{
	const char *run_dir = daemon_run_dir(worker->workers->smtpd->daemon);

	if (!worker_links_give(&worker->links, run_dir, worker->channel))
		loop_arm(worker->link_retry, LINK_RETRY_MS);
}

static void
on_link_retry(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;

	(void)fd;
	(void)what;
	if (worker->is_up)
		give_links(worker);
}

int
workers_link_wanted(
    struct workers *workers, struct channel *channel, enum role role)
{
	struct worker *worker = channel_context(channel);

	(void)workers;
	if (worker_links_want(&worker->links, role) == -1)
		return -1;
	/* Not at once: a peer that refuses is not hammered. */
	if (!event_pending(worker->link_retry, EV_TIMEOUT, NULL))
		loop_arm(worker->link_retry, LINK_RETRY_MS / 4);
	return 0;
}

/* ---- settings and certificate ---- */

static void
add_settings(const struct settings *settings, struct ipc_list_writer *writer)
{
	struct settings defaults;
	struct buf text;
	struct buf default_text;

	settings_init(&defaults);
	buf_init(&text, SETTING_TEXT_MAX);
	buf_init(&default_text, SETTING_TEXT_MAX);
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		const struct setting_row *row = setting_row(i);
		struct ipc_record_setting record = {.index = (uint16_t)i};

		settings_format(settings, i, &text);
		settings_format(&defaults, i, &default_text);
		if ((row->readers & READS(SMTPD)) == 0 ||
		    slice_equals(buf_slice(&text), buf_slice(&default_text)))
			continue;
		if (!setting_kind_is_number(row->kind))
			record.text = buf_slice(&text);
		else if (setting_number(
			     row->kind, buf_slice(&text), &record.number) == -1)
			bug("%s does not read back", row->name);
		(void)ipc_setting_add(writer, &record, NULL);
	}
	buf_clear(&text);
	buf_clear(&default_text);
	settings_clear(&defaults);
}

/* Entries for clients stay here: workers get only those for senders. */
static void
add_access(const struct snapshot *snapshot, struct ipc_list_writer *writer)
{
	for (size_t i = 0; i < snapshot->access_count; i++) {
		const struct access_entry *entry = &snapshot->access[i];
		struct ipc_record_access record = {.is_allow = entry->is_allow,
		    .pattern = slice_of(entry->pattern),
		    .until = entry->until};

		if (!entry->is_client)
			(void)ipc_access_add(writer, &record, NULL);
	}
}

static void
add_domains(const struct snapshot *snapshot, struct ipc_list_writer *writer)
{
	for (size_t i = 0; i < snapshot->domain_count; i++) {
		const struct domain_entry *entry = &snapshot->domains[i];
		struct ipc_record_domain record = {
		    .name = slice_of(entry->name.text),
		    .mode = (uint16_t)entry->mode,
		    .has_aliases = entry->has_aliases};

		(void)ipc_domain_add(writer, &record, NULL);
	}
}

static void
send_settings(struct worker *worker)
{
	const struct snapshot *snapshot =
	    daemon_snapshot(worker->workers->smtpd->daemon);
	struct ipc_conf_snapshot message = {.revision = snapshot->revision};
	struct ipc_list_writer settings;
	struct ipc_list_writer domains;
	struct ipc_list_writer access_entries;

	ipc_list_writer_init(&settings, SNAPSHOT_LIST_MAX);
	ipc_list_writer_init(&domains, SNAPSHOT_LIST_MAX);
	ipc_list_writer_init(&access_entries, SNAPSHOT_LIST_MAX);
	add_settings(&snapshot->settings, &settings);
	add_domains(snapshot, &domains);
	add_access(snapshot, &access_entries);
	message.settings = ipc_list_of(&settings);
	message.domains = ipc_list_of(&domains);
	message.access = ipc_list_of(&access_entries);
	if (channel_send(worker->channel, MSG_CONF_SNAPSHOT, &message, NULL) ==
	    -1)
		log_notice("a worker did not get the settings");
	ipc_list_writer_clear(&settings);
	ipc_list_writer_clear(&domains);
	ipc_list_writer_clear(&access_entries);
}

static void
send_tls(struct worker *worker)
{
	struct ipc_worker_tls message;

	tls_store_message(worker->workers->smtpd->tls, &message);
	(void)channel_send(worker->channel, MSG_WORKER_TLS, &message, NULL);
}

void
workers_send_settings(struct workers *workers)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (workers->list[i].is_up)
			send_settings(&workers->list[i]);
}

void
workers_send_tls(struct workers *workers)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (workers->list[i].is_up)
			send_tls(&workers->list[i]);
}

/* ---- life ---- */

static void
drain(struct worker *worker)
{
	struct ipc_worker_drain message = {.deadline_s = DRAIN_S};

	if (worker->channel == NULL || worker->is_draining)
		return;
	worker->is_draining = true;
	if (worker->is_up) {
		worker->workers->ready--;
		(void)channel_send(
		    worker->channel, MSG_WORKER_DRAIN, &message, NULL);
	}
}

static void
start(struct worker *worker)
{
	struct daemon *daemon = worker->workers->smtpd->daemon;
	struct channel_config config =
	    daemon_channel_config(daemon, ROLE_WORKER);

	worker->started_ms = clock_monotonic_ms();
	worker->channel =
	    spawner_spawn(daemon_spawner(daemon), "smtp", &config);
	if (worker->channel == NULL) {
		loop_arm(worker->restart, worker->backoff_ms);
		return;
	}
	channel_set_context(worker->channel, worker);
}

static void
on_restart(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;

	(void)fd;
	(void)what;
	if (worker->is_wanted && worker->channel == NULL)
		start(worker);
}

struct workers *
workers_new(struct smtpd *smtpd)
{
	struct workers *workers = xcalloc(1, sizeof(*workers));
	struct event_base *base = loop_base(daemon_loop(smtpd->daemon));

	workers->smtpd = smtpd;
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct worker *worker = &workers->list[i];

		worker->workers = workers;
		worker->slot = i;
		worker->backoff_ms = RESTART_FIRST_MS;
		worker_links_init(&worker->links);
		worker->restart = event_new(base, -1, 0, on_restart, worker);
		worker->link_retry =
		    event_new(base, -1, 0, on_link_retry, worker);
		if (worker->restart == NULL || worker->link_retry == NULL)
			fatal("out of memory for workers");
	}
	return workers;
}

void
workers_set_count(struct workers *workers, unsigned count)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct worker *worker = &workers->list[i];

		worker->is_wanted = i < count && !workers->is_draining;
		if (!worker->is_wanted)
			drain(worker);
		else if (worker->channel == NULL &&
			 !event_pending(worker->restart, EV_TIMEOUT, NULL))
			start(worker);
	}
}

void
workers_up(struct workers *workers, struct channel *channel)
{
	struct worker *worker = channel_context(channel);
	struct ipc_worker_start message = {.slot = (uint16_t)worker->slot};

	worker->is_up = true;
	worker->is_draining = false;
	(void)channel_send(channel, MSG_WORKER_START, &message, NULL);
	send_settings(worker);
	send_tls(worker);
	worker_links_want_all(&worker->links);
	give_links(worker);
	workers->ready++;
	if (!worker->is_wanted)
		drain(worker);
}

static void
note_death(struct worker *worker)
{
	struct daemon *daemon = worker->workers->smtpd->daemon;

	if (clock_monotonic_ms() - worker->started_ms >= STABLE_MS) {
		worker->deaths = 0;
		worker->backoff_ms = RESTART_FIRST_MS;
	}
	if (++worker->deaths == DEATHS_ALERT)
		daemon_alert_raise(daemon, ALERT_PROGRAM, ALERT_SUBJECT,
		    "A worker that talks SMTP ended %u times in a row.",
		    worker->deaths);
	loop_arm(worker->restart, worker->backoff_ms);
	worker->backoff_ms *= 2;
	if (worker->backoff_ms > RESTART_MAX_MS)
		worker->backoff_ms = RESTART_MAX_MS;
}

void
workers_closed(struct workers *workers, struct channel *channel)
{
	struct worker *worker = channel_context(channel);
	struct smtpd *smtpd = workers->smtpd;
	struct netaddr address;

	if (worker->is_up && !worker->is_draining)
		workers->ready--;
	while (clients_take(smtpd->clients, worker->slot, &address))
		flood_close(smtpd->flood, &address);
	worker->channel = NULL;
	worker->is_up = false;
	worker->sessions = 0;
	worker_links_end(&worker->links);
	(void)event_del(worker->link_retry);
	if (worker->is_draining) {
		worker->is_draining = false;
		if (worker->is_wanted)
			start(worker);
	} else if (worker->is_wanted) {
		note_death(worker);
	}
}

/* ---- connections ---- */

int
workers_give(struct workers *workers, const struct ipc_client *client, int fd)
{
	struct worker *best = NULL;

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct worker *worker = &workers->list[i];

		if (worker->is_up && !worker->is_draining &&
		    (best == NULL || worker->sessions < best->sessions))
			best = worker;
	}
	if (best == NULL ||
	    channel_send(best->channel, MSG_CLIENT, client, &fd) == -1)
		return -1;
	best->sessions++;
	return (int)best->slot;
}

void
workers_took_back(struct workers *workers, unsigned slot)
{
	struct worker *worker = &workers->list[slot];

	if (worker->sessions > 0)
		worker->sessions--;
	/* It serves: whatever ended the ones before is over. */
	if (worker->deaths > 0 &&
	    clock_monotonic_ms() - worker->started_ms >= STABLE_MS) {
		worker->deaths = 0;
		worker->backoff_ms = RESTART_FIRST_MS;
		daemon_alert_clear(
		    workers->smtpd->daemon, ALERT_PROGRAM, ALERT_SUBJECT);
	}
}

unsigned
workers_slot_of(const struct channel *channel)
{
	const struct worker *worker = channel_context(channel);

	return worker->slot;
}

void
workers_drain(struct workers *workers)
{
	workers->is_draining = true;
	workers_set_count(workers, 0);
}

bool
workers_are_gone(const struct workers *workers)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (workers->list[i].channel != NULL)
			return false;
	return true;
}

unsigned
workers_ready(const struct workers *workers)
{
	return workers->ready;
}
