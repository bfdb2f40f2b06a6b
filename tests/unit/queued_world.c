/* SPDX-License-Identifier: ISC */
/*
 * What tests of queued's parts share.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/vocabulary.h"
#include "relay/queue_outbox.h"
#include "relay/queue_refill.h"
#include "relay/queue_result.h"
#include "relay/queue_sign.h"
#include "relay/queue_spool.h"
#include "relay/queue_store.h"
#include "relay/route.h"
#include "tests/unit/queued_world.h"

/* ---- what daemon.c is to queued ---- */

struct daemon {
	struct world *world;
};

static struct daemon the_daemon;

void *
daemon_state(struct daemon *daemon)
{
	return &daemon->world->queued;
}

struct daemon *
channel_daemon(const struct channel *channel)
{
	return channel_owner(channel);
}

const struct snapshot *
daemon_snapshot(const struct daemon *daemon)
{
	return daemon->world->snapshot;
}

const struct settings *
daemon_settings(const struct daemon *daemon)
{
	return &daemon->world->snapshot->settings;
}

bool
daemon_is_stopping(const struct daemon *daemon)
{
	return daemon->world->is_stopping;
}

const char *
daemon_state_dir(const struct daemon *daemon)
{
	return daemon->world->dir;
}

void
daemon_alert_raise(struct daemon *daemon, int alert, const char *subject,
    const char *format, ...)
{
	struct world *world = daemon->world;

	(void)alert;
	(void)format;
	world->alerts++;
	(void)snprintf(
	    world->alert_subject, sizeof(world->alert_subject), "%s", subject);
}

void
daemon_alert_clear(struct daemon *daemon, int alert, const char *subject)
{
	(void)daemon;
	(void)alert;
	(void)subject;
}

void
status_fact(
    struct status_writer *status, const char *name, const char *format, ...)
{
	(void)status;
	(void)name;
	(void)format;
}

void
status_counter(struct status_writer *status, const char *name, int64_t value)
{
	(void)status;
	(void)name;
	(void)value;
}

int64_t
queued_now_ms(const struct queued *queued)
{
	return queue_clock_now(&queued->clock, (int64_t)clock_monotonic_ms());
}

/* ---- life ---- */

static void
add_rules(struct ipc_list_writer *policies, const char *text)
{
	struct slice rest = slice_of(text);
	struct err err;

	while (rest.n > 0) {
		const size_t end = slice_find(rest, '\n', 0);
		const struct slice line = {rest.p, end};
		const size_t one = slice_find(line, ' ', 0);
		const size_t two = slice_find(line, ' ', one + 1);
		const struct ipc_record_policy policy = {
		    .sender = {line.p, one},
		    .recipient = {line.p + one + 1, two - one - 1},
		    .rules = {line.p + two + 1, line.n - two - 1}};

		if (ipc_policy_add(policies, &policy, &err) == -1)
			fatal("%s", err.text);
		rest.p += end + (end < rest.n);
		rest.n -= end + (end < rest.n);
	}
}

/* This host is a trusted network. */
static struct snapshot *
make_snapshot(const char *rules)
{
	struct ipc_conf_snapshot message = {0};
	struct ipc_list_writer settings;
	struct ipc_list_writer domains;
	struct ipc_list_writer policies;
	const struct ipc_record_setting networks = {
	    .index = SET_smtp_trusted_networks, .text = SLICE("127.0.0.1")};
	const struct ipc_record_domain domain = {
	    .name = SLICE("ours.test"), .to = SLICE("")};
	struct snapshot *snapshot;
	struct err err;

	ipc_list_writer_init(&settings, 1024);
	ipc_list_writer_init(&domains, 1024);
	ipc_list_writer_init(&policies, 65536);
	if (ipc_setting_add(&settings, &networks, &err) == -1 ||
	    ipc_domain_add(&domains, &domain, &err) == -1)
		fatal("%s", err.text);
	add_rules(&policies, rules);
	message.settings = ipc_list_of(&settings);
	message.domains = ipc_list_of(&domains);
	message.policies = ipc_list_of(&policies);
	if (snapshot_read(&message, &snapshot, &err) == -1)
		fatal("%s", err.text);
	ipc_list_writer_clear(&settings);
	ipc_list_writer_clear(&domains);
	ipc_list_writer_clear(&policies);
	return snapshot;
}

void
world_set_rules(struct world *world, const char *rules)
{
	struct err err;

	snapshot_free(world->snapshot);
	world->snapshot = make_snapshot(rules);
	if (queue_sign_configure(world->queued.sign, &err) == -1)
		fatal("%s", err.text);
}

void
world_start(struct world *world)
{
	struct queued *queued = &world->queued;
	struct err err;

	*queued = (struct queued){
	    .daemon = &the_daemon, .loop = loop_new(), .has_space = true};
	the_daemon.world = world;
	queue_clock_init(&queued->clock, (int64_t)(clock_wall_us() / 1000),
	    (int64_t)clock_monotonic_ms());
	id_maker_init(&queued->ids, QUEUED_OWN_SLOT);
	schedule_init(&queued->schedule, &world->snapshot->settings);
	queued->routes = route_table_new(world->snapshot);
	queued->dispatch = dispatch_new();
	dispatch_set_limit(queued->dispatch, 50);
	queue_delivery_init(queued);
	if (queue_writer_new(queued->loop, world->dir, &queued->writer, &err) ==
		-1 ||
	    queue_store_open(world->dir, true, &queued->reader, &err) == -1)
		fatal("%s", err.text);
	queued->reader_pool = pool_new(queued->loop, 1, "queue-reader");
	queued->outbox = queue_outbox_new(queued);
	queued->refill = queue_refill_new(queued);
	if ((queued->sign = queue_sign_new(queued, &err)) == NULL ||
	    queue_sign_configure(queued->sign, &err) == -1)
		fatal("%s", err.text);
	if ((queued->spool = queue_spool_new(queued, &err)) == NULL)
		fatal("%s", err.text);
}

void
world_stop(struct world *world)
{
	struct queued *queued = &world->queued;

	world_disconnect(world);
	world_settle(world);
	queue_spool_free(queued->spool);
	queue_writer_free(queued->writer);
	pool_free(queued->reader_pool);
	queue_outbox_free(queued->outbox);
	queue_refill_free(queued->refill);
	queue_sign_free(queued->sign);
	dispatch_free(queued->dispatch);
	route_table_free(queued->routes);
	sql_close(queued->reader);
	loop_free(queued->loop);
}

void
world_init(struct world *world)
{
	const char *tmp = getenv("TMPDIR");

	*world = (struct world){0};
	(void)snprintf(world->dir, sizeof(world->dir), "%.40s/queued-XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(world->dir) == NULL)
		fatal("mkdtemp %s", world->dir);
	world->snapshot = make_snapshot("");
	world_start(world);
}

static void
remove_tree(int at_fd, const char *name)
{
	int fd = openat(at_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (dir == NULL) {
		(void)unlinkat(at_fd, name, 0);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0)
			remove_tree(fd, entry->d_name);
	(void)closedir(dir);
	(void)unlinkat(at_fd, name, AT_REMOVEDIR);
}

void
world_clear(struct world *world)
{
	world_stop(world);
	snapshot_free(world->snapshot);
	remove_tree(AT_FDCWD, world->dir);
}

void
world_settle(struct world *world)
{
	struct queued *queued = &world->queued;

	/* Done functions may start more: quiet is three turns without work. */
	for (int quiet = 0; quiet < 3; quiet++) {
		channel_pair_turn(queued->loop);
		queue_writer_finish(queued->writer);
		if (pool_waiting(queued->reader_pool) > 0)
			quiet = -1;
	}
}

/* ---- smtpd's end ---- */

static int
on_slot(struct channel *channel, const struct channel_frame *frame)
{
	struct world_peer *peer = channel_owner(channel);

	peer->slot = frame->message->queue_slot.slot;
	peer->has_slot = true;
	return 0;
}

static int
on_credit(struct channel *channel, const struct channel_frame *frame)
{
	struct world_peer *peer = channel_owner(channel);

	peer->credit += frame->message->queue_credit.octets;
	return 0;
}

static void
on_peer_closed(struct channel *channel, const char *reason)
{
	struct world_peer *peer = channel_owner(channel);

	peer->channel = NULL;
	(void)snprintf(peer->reason, sizeof(peer->reason), "%s", reason);
}

static const struct channel_handler smtpd_takes[] = {
    {ROLE_QUEUED, MSG_QUEUE_SLOT, on_slot},
    {ROLE_QUEUED, MSG_QUEUE_CREDIT, on_credit}, {ROLE_NONE, MSG_HELLO, NULL}};

static const struct channel_handler queued_takes[] = {
    {ROLE_SMTPD, MSG_QUEUE_CLIENT, queue_intake_client},
    {ROLE_SMTPD, MSG_QUEUE_SUBMIT, queue_intake_submit},
    {ROLE_SMTPD, MSG_QUEUE_OPEN, queue_spool_on_open},
    {ROLE_SMTPD, MSG_QUEUE_CHUNK, queue_spool_on_chunk},
    {ROLE_SMTPD, MSG_QUEUE_END, queue_spool_on_end},
    {ROLE_SMTPD, MSG_QUEUE_ABORT, queue_spool_on_abort},
    {ROLE_SIGNERD, MSG_SIGN_READY, queue_sign_on_ready},
    {ROLE_SIGNERD, MSG_SIGN_OUTPUT, queue_sign_on_output},
    {ROLE_SIGNERD, MSG_SIGN_OUTPUT_FILE, queue_sign_on_output_file},
    {ROLE_SIGNERD, MSG_SIGN_RESULT, queue_sign_on_result},
    {ROLE_NONE, MSG_HELLO, NULL}};

static void
on_queued_up(struct channel *channel)
{
	if (channel_peer(channel) == ROLE_SMTPD)
		queue_intake_peer_up(queued_of(channel), channel);
}

static void
on_queued_closed(struct channel *channel, const char *reason)
{
	(void)reason;
	if (channel_peer(channel) == ROLE_SMTPD)
		queue_intake_peer_closed(queued_of(channel), channel);
	else
		queue_sign_channel_closed(queued_of(channel)->sign, channel);
}

struct channel_config
world_queued_config(struct world *world, enum role peer)
{
	return (struct channel_config){.loop = world->queued.loop,
	    .self = ROLE_QUEUED,
	    .peer = peer,
	    .handlers = queued_takes,
	    .owner = &the_daemon,
	    .up = on_queued_up,
	    .closed = on_queued_closed};
}

void
world_connect(struct world *world)
{
	struct channel_config smtpd = {.loop = world->queued.loop,
	    .self = ROLE_SMTPD,
	    .peer = ROLE_QUEUED,
	    .handlers = smtpd_takes,
	    .owner = &world->peer,
	    .closed = on_peer_closed};
	struct channel_config queued = world_queued_config(world, ROLE_SMTPD);
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
		fatal("socketpair");
	world->peer = (struct world_peer){0};
	world->peer.channel = channel_new(&smtpd, fds[0]);
	(void)channel_new(&queued, fds[1]);
	WORLD_WAIT(world, world->peer.has_slot);
}

void
world_disconnect(struct world *world)
{
	if (world->peer.channel == NULL)
		return;
	channel_close(world->peer.channel);
	world->peer.channel = NULL;
	world_settle(world);
}

void
world_show_client(struct world *world, const char *from)
{
	struct sockaddr_in server = {.sin_family = AF_INET};
	struct sockaddr_in client = {.sin_family = AF_INET};
	socklen_t length = sizeof(server);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int there = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int here;

	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (inet_pton(AF_INET, from, &client.sin_addr) != 1 ||
	    bind(listener, (struct sockaddr *)&server, sizeof(server)) == -1 ||
	    listen(listener, 1) == -1 ||
	    getsockname(listener, (struct sockaddr *)&server, &length) == -1 ||
	    bind(there, (struct sockaddr *)&client, sizeof(client)) == -1 ||
	    connect(there, (struct sockaddr *)&server, sizeof(server)) == -1 ||
	    (here = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) == -1)
		fatal("no connection from %s", from);
	(void)channel_send(world->peer.channel, MSG_QUEUE_CLIENT, NULL, &here);
	world_settle(world);
	(void)close(here);
	(void)close(there);
	(void)close(listener);
}

uint64_t
world_next_id(struct world *world)
{
	world->ids.slot = world->peer.slot;
	return id_next(&world->ids, clock_wall_us() / 1000);
}

/* ---- the store ---- */

void
world_sql(struct world *world, const char *text)
{
	char path[128];
	sqlite3 *db;
	char *message = NULL;

	(void)snprintf(path, sizeof(path), "%s/queue.db", world->dir);
	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_busy_timeout(db, PATIENCE_MS) != SQLITE_OK ||
	    sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
		fatal("%s: %s", text, message);
	(void)sqlite3_close(db);
}

static void
free_inserted(struct pool_task *task)
{
	struct queue_job *job = queue_job_of(task);

	queue_outbox_send(job->arg, job);
	queue_job_free(job);
}

void
world_insert(struct world *world, uint64_t id, int64_t next_ms,
    const char *const *domains, size_t domain_count)
{
	struct queue_message *message = queue_message_new(id, domain_count);
	struct queue_job *job;
	char address[300];

	message->created_ms = queued_now_ms(&world->queued);
	message->sender = xstrdup("a@away.test");
	message->account = xstrdup("");
	message->client = xstrdup("");
	message->envid = xstrdup("");
	message->header_message_id = xstrdup("");
	message->content = xstrdup("Subject: x\r\n\r\nx\r\n");
	message->size = strlen(message->content);
	for (size_t i = 0; i < domain_count; i++) {
		struct queue_recipient *recipient = &message->recipients[i];

		(void)snprintf(
		    address, sizeof(address), "r%zu@%.250s", i, domains[i]);
		recipient->number = (uint32_t)i;
		recipient->next_ms = next_ms;
		recipient->address = xstrdup(address);
		recipient->domain = xstrdup(domains[i]);
		recipient->original = xstrdup("");
		recipient->orcpt = xstrdup("");
		recipient->last_enhanced = xstrdup("");
		recipient->last_reply = xstrdup("");
		recipient->last_host = xstrdup("");
	}
	job = queue_job_new(QUEUE_JOB_ACCEPT, message, free_inserted);
	job->arg = world->queued.outbox;
	queue_intake_note(job, message);
	queue_writer_submit(world->queued.writer, job);
	queue_message_unref(message);
}

/* ---- relayd ---- */

bool
world_deliver_one(struct world *world)
{
	struct queued *queued = &world->queued;
	struct delivery *delivery =
	    dispatch_next(queued->dispatch, queued_now_ms(queued));
	struct ipc_relay_result result = {0};
	struct ipc_list_writer writer;

	if (delivery == NULL)
		return false;
	ipc_list_writer_init(&writer, 1 << 20);
	for (size_t i = 0; i < delivery->number_count; i++) {
		struct ipc_record_result record = {.id = delivery->numbers[i],
		    .outcome = OUTCOME_DELIVERED,
		    .code = 250,
		    .enhanced = SLICE("2.0.0"),
		    .reply = SLICE("ok")};

		if (ipc_result_add(&writer, &record, NULL) == -1)
			fatal("results");
	}
	result.job_id = delivery->job_id;
	result.message_id = delivery->message->id;
	result.results = ipc_list_of(&writer);
	if (queue_result_commit(queued, delivery, &result) == -1)
		fatal("a result was refused");
	ipc_list_writer_clear(&writer);
	return true;
}
