/* SPDX-License-Identifier: ISC */
/*
 * The peers of postern-relayd, and one of it that runs.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/link.h"
#include "common/settings.h"
#include "common/vocabulary.h"
#include "tests/unit/relayd_host.h"
#include "tests/unit/tap.h"

#define PATIENCE_MS 60000

struct relayd_host relayd_host;

/* ---- confd, queued, authd, checkd ---- */

static int
on_dns(struct channel *channel, const struct channel_frame *frame)
{
	if (relayd_host.is_checkd_leaving || relayd_host.is_checkd_lost) {
		relayd_host.is_checkd_leaving = relayd_host.is_checkd_up =
		    false;
		channel_close(channel);
		return 0;
	}
	world_answer(&relayd_host.world, channel, frame);
	return 0;
}

static void
add_setting(struct ipc_list_writer *list, unsigned index, uint64_t number,
    const char *text)
{
	struct ipc_record_setting record = {
	    .index = (uint16_t)index, .number = number, .text = slice_of(text)};
	struct err err;

	if (ipc_setting_add(list, &record, &err) == -1)
		fatal("%s", err.text);
}

static void
add_route(struct ipc_list_writer *list, const char *pattern, const char *target,
    const char *tls)
{
	struct ipc_record_route record = {.pattern = slice_of(pattern),
	    .target = slice_of(target),
	    .tls = slice_of(tls)};

	(void)ipc_route_add(list, &record, NULL);
}

static void
on_applied(void *arg, const struct channel_frame *frame)
{
	const struct ipc_conf_applied *m;

	(void)arg;
	if (frame == NULL)
		return;
	m = &frame->message->conf_applied;
	if (m->error.n > 0)
		diag("relayd: %.*s", SLICE_ARG(m->error));
	relayd_host.applied = (unsigned)m->revision;
}

void
relayd_host_configure(uint64_t revision, bool may_be_local)
{
	struct ipc_conf_snapshot snapshot = {.revision = revision};
	struct ipc_list_writer settings;
	struct ipc_list_writer domains;
	struct ipc_list_writer routes;
	struct ipc_record_domain domain = {.name = SLICE("inner.test")};
	char target[64];
	char port[8];

	ipc_list_writer_init(&settings, 65536);
	ipc_list_writer_init(&domains, 65536);
	ipc_list_writer_init(&routes, 65536);
	(void)snprintf(port, sizeof(port), "%u", relayd_host.world.port);
	add_setting(&settings, SET_smtp_hostname, 0, "gw.example.test");
	add_setting(&settings, SET_relay_mx_port, relayd_host.world.port, port);
	if (relayd_host.max_jobs != 0)
		add_setting(
		    &settings, SET_relay_max_jobs, relayd_host.max_jobs, "1");
	if (relayd_host.is_narrow) {
		add_setting(&settings, SET_relay_connections, 1, "1");
		add_setting(&settings, SET_relay_idle, 300, "300");
	}
	if (may_be_local)
		add_setting(&settings, SET_relay_allow_loopback, 1, "on");
	(void)snprintf(target, sizeof(target), "smtp://127.0.0.1:%u",
	    relayd_host.world.port);
	domain.to = slice_of(target);
	(void)ipc_domain_add(&domains, &domain, NULL);
	add_route(&routes, "routed.test", target, "none");
	(void)snprintf(target, sizeof(target), "smtp://127.0.0.6:%u",
	    relayd_host.world.port);
	add_route(&routes, "nobody@split.test", target, "");
	add_route(&routes, "unknown.test", target, "");
	(void)snprintf(target, sizeof(target), "lmtp://127.0.0.1:%u",
	    relayd_host.world.port);
	add_route(&routes, "split.test", target, "");
	(void)snprintf(target, sizeof(target), "smtp://127.0.0.2:%u",
	    relayd_host.world.port);
	add_route(&routes, "dead.test", target, "");
	add_route(&routes, "gone@address.test", target, "");
	(void)snprintf(target, sizeof(target), "smtp://127.0.0.7:%u",
	    relayd_host.world.port);
	add_route(&routes, "silent.test", target, "");
	snapshot.settings = ipc_list_of(&settings);
	snapshot.domains = ipc_list_of(&domains);
	snapshot.routes = ipc_list_of(&routes);
	if (channel_request(relayd_host.confd, MSG_CONF_SNAPSHOT, &snapshot,
		NULL, MSG_CONF_APPLIED, 20000, on_applied, NULL) == 0)
		fatal("the snapshot breaks its row");
	ipc_list_writer_clear(&settings);
	ipc_list_writer_clear(&domains);
	ipc_list_writer_clear(&routes);
}

static int
on_ready(struct channel *channel, const struct channel_frame *frame)
{
	relayd_host.queued = channel;
	relayd_host.ready_jobs = frame->message->relay_ready.jobs;
	return 0;
}

static int
on_result(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_relay_result *m = &frame->message->relay_result;
	struct ipc_list list = m->results;
	struct ipc_record_result record;
	struct relayd_result *r = &relayd_host.result;

	(void)channel;
	*r = (struct relayd_result){.job_id = m->job_id,
	    .is_host_down = m->is_host_down,
	    .is_dsn_passed = m->is_dsn_passed};
	(void)slice_copy(m->host, r->host, sizeof(r->host));
	(void)slice_copy(m->address, r->address, sizeof(r->address));
	(void)slice_copy(m->tls, r->tls, sizeof(r->tls));
	while (r->count < 4 && ipc_result_next(&list, &record)) {
		r->results[r->count].id = record.id;
		r->results[r->count].outcome = record.outcome;
		r->results[r->count].code = record.code;
		(void)slice_copy(
		    record.enhanced, r->results[r->count].enhanced, 16);
		(void)slice_copy(
		    record.reply, r->results[r->count].reply, 1025);
		(void)slice_copy(record.host, r->results[r->count].host, 256);
		r->count++;
	}
	return 0;
}

static const struct channel_handler handlers[] = {
    {ROLE_RELAYD, MSG_DNS_QUERY, on_dns},
    {ROLE_RELAYD, MSG_RELAY_READY, on_ready},
    {ROLE_RELAYD, MSG_RELAY_RESULT, on_result},
    {ROLE_NONE, MSG_COUNT, NULL},
};

static void
confd_up(struct channel *channel)
{
	relayd_host.confd = channel;
	relayd_host_configure(1, true);
}

static void
checkd_up(struct channel *channel)
{
	(void)channel;
	relayd_host.is_checkd_up = true;
}

static void
authd_up(struct channel *channel)
{
	relayd_host.authd = channel;
}

static void
queued_closed(struct channel *channel, const char *reason)
{
	(void)channel;
	(void)reason;
	relayd_host.queued = NULL;
	relayd_host.was_queued_closed = true;
}

static void
open_door(enum role self, void (*up)(struct channel *channel),
    void (*closed)(struct channel *channel, const char *reason))
{
	struct channel_config config = {.loop = relayd_host.loop,
	    .self = self,
	    .peer = ROLE_RELAYD,
	    .handlers = handlers,
	    .up = up,
	    .closed = closed};
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	char name[ROLE_SOCKET_NAME_MAX];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	role_socket_name(self, ROLE_RELAYD, name);
	(void)snprintf(sa.sun_path, sizeof(sa.sun_path),
	    "%.40s/run/postern/%.40s.sock", relayd_host.root, name);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == -1 ||
	    listen(fd, 8) == -1)
		fatal("%s: %s", sa.sun_path, strerror(errno));
	(void)door_new(&config, fd, 8);
}

/* ---- running ---- */

static void
make_dir(const char *below)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s%s", relayd_host.root, below);
	if (mkdir(path, 0755) == -1)
		fatal("%s: %s", path, strerror(errno));
}

/* Two folders above this test's own program. */
static void
find_relayd(char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *end = path;

	if (n == -1)
		fatal("/proc/self/exe: %s", strerror(errno));
	path[n] = '\0';
	for (int i = 0; i < 3 && (end = strrchr(path, '/')) != NULL; i++)
		*end = '\0';
	n = (ssize_t)strlen(path);
	(void)snprintf(path + n, PATH_MAX - (size_t)n, "/%s", "postern-relayd");
}

static void
start_relayd(void)
{
	char path[PATH_MAX];

	find_relayd(path);
	if ((relayd_host.pid = fork()) == 0) {
		/* It ends with us, whatever ends us. */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* It serves nobody, so no sockets are given to it. */
		(void)setenv("LISTEN_FDS", "0", 1);
		(void)setenv("LISTEN_FDNAMES", "", 1);
		(void)execl(path, "postern-relayd", "--root", relayd_host.root,
		    (char *)NULL);
		_exit(127);
	}
}

static void
on_patience(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	fail("waited in vain");
	(void)kill(relayd_host.pid, SIGKILL);
	exit(tap_done());
}

/* One turn of the loop, with its tasks. */
void
relayd_host_turn(void)
{
	loop_stop(relayd_host.loop);
	loop_run(relayd_host.loop);
	(void)event_base_loop(loop_base(relayd_host.loop), EVLOOP_ONCE);
	loop_stop(relayd_host.loop);
	loop_run(relayd_host.loop);
}

void
relayd_host_begin_waiting(void)
{
	loop_arm(relayd_host.patience, PATIENCE_MS);
}

/* ---- jobs ---- */

struct ipc_relay_job
relayd_host_job(const char *domain, struct ipc_list_writer *recipients,
    const char *const *addresses, size_t count)
{
	struct ipc_relay_job job = {.job_id = ++relayd_host.next_job,
	    .message_id = 77,
	    .domain = slice_of(domain),
	    .reverse_path = SLICE("from@example.org"),
	    .size_octets = sizeof(RELAYD_HOST_CONTENT) - 1,
	    .content = SLICE(RELAYD_HOST_CONTENT)};

	ipc_list_writer_init(recipients, 65536);
	for (size_t i = 0; i < count; i++) {
		struct ipc_record_recipient record = {
		    .id = i + 1, .address = slice_of(addresses[i])};

		(void)ipc_recipient_add(recipients, &record, NULL);
	}
	job.recipients = ipc_list_of(recipients);
	return job;
}

void
relayd_host_wait(void)
{
	relayd_host_begin_waiting();
	while (relayd_host.result.job_id != relayd_host.next_job &&
	       relayd_host.queued != NULL)
		relayd_host_turn();
}

void
relayd_host_deliver(const char *domain)
{
	char address[300];
	const char *const addresses[] = {address};
	struct ipc_list_writer recipients;
	struct ipc_relay_job job;

	(void)snprintf(address, sizeof(address), "to@%s", domain);
	job = relayd_host_job(domain, &recipients, addresses, 1);
	if (channel_send(relayd_host.queued, MSG_RELAY_JOB, &job, NULL) == -1)
		fatal("the job breaks its row");
	ipc_list_writer_clear(&recipients);
	relayd_host_wait();
}

void
relayd_host_deliver_to(const char *domain, const char *address)
{
	const char *const addresses[] = {address};
	struct ipc_list_writer recipients;
	struct ipc_relay_job job =
	    relayd_host_job(domain, &recipients, addresses, 1);

	(void)channel_send(relayd_host.queued, MSG_RELAY_JOB, &job, NULL);
	ipc_list_writer_clear(&recipients);
	relayd_host_wait();
}

void
relayd_host_start(void)
{
	(void)snprintf(relayd_host.root, sizeof(relayd_host.root),
	    "/tmp/test_relayd.XXXXXX");
	if (mkdtemp(relayd_host.root) == NULL)
		fatal("no folder");
	(void)chmod(relayd_host.root, 0755);
	make_dir("/run");
	make_dir("/run/postern");
	make_dir("/var");
	make_dir("/var/lib");
	make_dir("/var/lib/postern");
	make_dir("/var/lib/postern/relayd");
	tls_prepare();
	relayd_host.loop = loop_new();
	relayd_host.patience =
	    event_new(loop_base(relayd_host.loop), -1, 0, on_patience, NULL);
	world_open(&relayd_host.world, relayd_host.loop);
	open_door(ROLE_CONFD, confd_up, NULL);
	open_door(ROLE_QUEUED, NULL, queued_closed);
	open_door(ROLE_CHECKD, checkd_up, NULL);
	open_door(ROLE_AUTHD, authd_up, NULL);
	start_relayd();
	relayd_host_begin_waiting();
	while (relayd_host.queued == NULL || relayd_host.authd == NULL)
		relayd_host_turn();
}

static void
clear_root(void)
{
	pid_t pid;

	if ((pid = fork()) == 0) {
		(void)execlp("rm", "rm", "-rf", relayd_host.root, (char *)NULL);
		_exit(127);
	}
	(void)waitpid(pid, NULL, 0);
}

void
relayd_host_end(void)
{
	clear_root();
	world_close(&relayd_host.world);
}
