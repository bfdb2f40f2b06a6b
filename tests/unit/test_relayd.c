/* SPDX-License-Identifier: ISC */
/*
 * postern-relayd as it runs: this test plays confd, queued, checkd and authd
 * over the channels, and relay_world.c the rest of the world.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/link.h"
#include "common/settings.h"
#include "common/vocabulary.h"
#include "tests/unit/relay_world.h"
#include "tests/unit/tap.h"

#define PATIENCE_MS 60000
#define CONTENT "Subject: x\r\n\r\n.hello\r\n"

/* The latest result, with its texts kept. */
struct result {
	uint64_t job_id;
	char host[256];
	char address[64];
	char tls[256];
	bool is_host_down;
	bool is_dsn_passed;
	unsigned count;
	struct {
		uint64_t id;
		unsigned outcome, code;
		char enhanced[16];
		char reply[1025];
	} results[4];
};

/* The one state of this test. */
static struct {
	char root[64];
	pid_t pid;
	struct loop *loop;
	struct event *patience;
	struct world world;
	struct channel *confd;
	struct channel *queued;
	struct channel *authd;
	bool is_narrow; /* one connection each, kept for minutes */
	bool is_checkd_up;
	bool is_checkd_leaving; /* at its next question */
	unsigned ready_jobs;
	unsigned applied;
	bool was_queued_closed;
	struct result result;
	unsigned verdict;
	char callout_reply[1025];
	char facts[4096];
	uint64_t next_job;
} t;

/* ---- confd, queued, authd, checkd ---- */

static int
on_dns(struct channel *channel, const struct channel_frame *frame)
{
	if (t.is_checkd_leaving) {
		t.is_checkd_leaving = t.is_checkd_up = false;
		channel_close(channel);
		return 0;
	}
	world_answer(&t.world, channel, frame);
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
	t.applied = (unsigned)m->revision;
}

static void
send_settings(uint64_t revision, bool may_be_local)
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
	(void)snprintf(port, sizeof(port), "%u", t.world.port);
	add_setting(&settings, SET_smtp_hostname, 0, "gw.example.test");
	add_setting(&settings, SET_relay_mx_port, t.world.port, port);
	if (t.is_narrow) {
		add_setting(&settings, SET_relay_connections, 1, "1");
		add_setting(&settings, SET_relay_idle, 300, "300");
	}
	if (may_be_local)
		add_setting(&settings, SET_relay_allow_loopback, 1, "on");
	(void)snprintf(
	    target, sizeof(target), "smtp://127.0.0.1:%u", t.world.port);
	domain.to = slice_of(target);
	(void)ipc_domain_add(&domains, &domain, NULL);
	add_route(&routes, "routed.test", target, "none");
	(void)snprintf(
	    target, sizeof(target), "smtp://127.0.0.6:%u", t.world.port);
	add_route(&routes, "nobody@split.test", target, "");
	add_route(&routes, "unknown.test", target, "");
	(void)snprintf(
	    target, sizeof(target), "lmtp://127.0.0.1:%u", t.world.port);
	add_route(&routes, "split.test", target, "");
	(void)snprintf(
	    target, sizeof(target), "smtp://127.0.0.2:%u", t.world.port);
	add_route(&routes, "dead.test", target, "");
	add_route(&routes, "gone@address.test", target, "");
	(void)snprintf(
	    target, sizeof(target), "smtp://127.0.0.7:%u", t.world.port);
	add_route(&routes, "silent.test", target, "");
	snapshot.settings = ipc_list_of(&settings);
	snapshot.domains = ipc_list_of(&domains);
	snapshot.routes = ipc_list_of(&routes);
	if (channel_request(t.confd, MSG_CONF_SNAPSHOT, &snapshot, NULL,
		MSG_CONF_APPLIED, 20000, on_applied, NULL) == 0)
		fatal("the snapshot breaks its row");
	ipc_list_writer_clear(&settings);
	ipc_list_writer_clear(&domains);
	ipc_list_writer_clear(&routes);
}

static int
on_ready(struct channel *channel, const struct channel_frame *frame)
{
	t.queued = channel;
	t.ready_jobs = frame->message->relay_ready.jobs;
	return 0;
}

static int
on_result(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_relay_result *m = &frame->message->relay_result;
	struct ipc_list list = m->results;
	struct ipc_record_result record;
	struct result *r = &t.result;

	(void)channel;
	*r = (struct result){.job_id = m->job_id,
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
	t.confd = channel;
	send_settings(1, true);
}

static void
checkd_up(struct channel *channel)
{
	(void)channel;
	t.is_checkd_up = true;
}

static void
authd_up(struct channel *channel)
{
	t.authd = channel;
}

static void
queued_closed(struct channel *channel, const char *reason)
{
	(void)channel;
	(void)reason;
	t.queued = NULL;
	t.was_queued_closed = true;
}

static void
open_door(enum role self, void (*up)(struct channel *channel),
    void (*closed)(struct channel *channel, const char *reason))
{
	struct channel_config config = {.loop = t.loop,
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
	    "%.40s/run/postern/%.40s.sock", t.root, name);
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

	(void)snprintf(path, sizeof(path), "%s%s", t.root, below);
	if (mkdir(path, 0755) == -1)
		fatal("%s: %s", path, strerror(errno));
}

static void
start_relayd(void)
{
	if ((t.pid = fork()) == 0) {
		/* It serves nobody, so no sockets are given to it. */
		(void)setenv("LISTEN_FDS", "0", 1);
		(void)setenv("LISTEN_FDNAMES", "", 1);
		(void)execl("./postern-relayd", "postern-relayd", "--root",
		    t.root, (char *)NULL);
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
	(void)kill(t.pid, SIGKILL);
	exit(tap_done());
}

/* One turn of the loop, with its tasks. */
static void
turn(void)
{
	loop_stop(t.loop);
	loop_run(t.loop);
	(void)event_base_loop(loop_base(t.loop), EVLOOP_ONCE);
	loop_stop(t.loop);
	loop_run(t.loop);
}

static void
begin_waiting(void)
{
	loop_arm(t.patience, PATIENCE_MS);
}

/* ---- jobs ---- */

static struct ipc_relay_job
job_for(const char *domain, struct ipc_list_writer *recipients,
    const char *const *addresses, size_t count)
{
	struct ipc_relay_job job = {.job_id = ++t.next_job,
	    .message_id = 77,
	    .domain = slice_of(domain),
	    .reverse_path = SLICE("from@example.org"),
	    .size_octets = sizeof(CONTENT) - 1,
	    .content = SLICE(CONTENT)};

	ipc_list_writer_init(recipients, 65536);
	for (size_t i = 0; i < count; i++) {
		struct ipc_record_recipient record = {
		    .id = i + 1, .address = slice_of(addresses[i])};

		(void)ipc_recipient_add(recipients, &record, NULL);
	}
	job.recipients = ipc_list_of(recipients);
	return job;
}

static void
wait_for_result(void)
{
	begin_waiting();
	while (t.result.job_id != t.next_job && t.queued != NULL)
		turn();
}

static void
deliver(const char *domain)
{
	char address[300];
	const char *const addresses[] = {address};
	struct ipc_list_writer recipients;
	struct ipc_relay_job job;

	(void)snprintf(address, sizeof(address), "to@%s", domain);
	job = job_for(domain, &recipients, addresses, 1);
	if (channel_send(t.queued, MSG_RELAY_JOB, &job, NULL) == -1)
		fatal("the job breaks its row");
	ipc_list_writer_clear(&recipients);
	wait_for_result();
}

struct expected {
	const char *domain;
	enum outcome outcome;
	const char *enhanced; /* "": any */
	const char *host;
	const char *words; /* in the reply */
	const char *tls;   /* in the TLS words */
	bool is_host_down;
};

static void
expect(const struct expected *e)
{
	const struct result *r = &t.result;

	deliver(e->domain);
	is_u64(r->results[0].outcome, e->outcome, "%s: outcome (%s)", e->domain,
	    r->results[0].reply);
	if (e->enhanced[0] != '\0')
		is_str(r->results[0].enhanced, e->enhanced, "%s: enhanced code",
		    e->domain);
	is_str(r->host, e->host, "%s: host", e->domain);
	ok(strstr(r->results[0].reply, e->words) != NULL, "%s: says \"%s\"",
	    e->domain, r->results[0].reply);
	ok(strstr(r->tls, e->tls) != NULL, "%s: TLS \"%s\"", e->domain, r->tls);
	ok(r->is_host_down == e->is_host_down, "%s: down or not", e->domain);
}

static void
test_deliveries(void)
{
	static const struct expected rows[] = {
	    {"one.test", OUTCOME_DELIVERED, "2.0.0", "mx1.test", "taken",
		"dane (no DNSSEC): plain text", false},
	    {"address.test", OUTCOME_DELIVERED, "", "address.test", "", "",
		false},
	    {"routed.test", OUTCOME_DELIVERED, "", "127.0.0.1", "",
		"none (not wanted): plain", false},
	    {"inner.test", OUTCOME_DELIVERED, "", "127.0.0.1", "", "", false},
	    {"[127.0.0.1]", OUTCOME_DELIVERED, "", "[127.0.0.1]", "", "",
		false},
	    {"backup.test", OUTCOME_DELIVERED, "", "mx1.test", "taken", "",
		false},
	    {"later.test", OUTCOME_DELIVERED, "", "mx1.test", "taken", "",
		false},
	    {"grey.test", OUTCOME_DEFERRED, "4.2.0", "mx3.test", "450", "",
		false},
	    {"leaves.test", OUTCOME_DEFERRED, "4.7.28", "mx8.test",
		"421 4.7.28 too much of you", "", false},
	    {"leaves-then.test", OUTCOME_DELIVERED, "", "mx1.test", "taken", "",
		false},
	    {"down.test", OUTCOME_DEFERRED, "4.4.1", "mx2.test", "refused",
		"no session", true},
	    {"dead.test", OUTCOME_DEFERRED, "4.4.1", "127.0.0.2", "refused", "",
		true},
	    {"null.test", OUTCOME_FAILED, "5.1.10", "", "null MX", "", false},
	    {"nowhere.test", OUTCOME_FAILED, "5.1.2", "", "does not exist", "",
		false},
	    {"loop.test", OUTCOME_FAILED, "5.4.6", "", "loops", "", false},
	    {"servfail.test", OUTCOME_DEFERRED, "4.4.3", "", "no answer", "",
		true},
	    {"bogus.test", OUTCOME_DEFERRED, "4.4.3", "", "DNSSEC", "", true},
	    {"unknown.test", OUTCOME_FAILED, "5.1.1", "127.0.0.6", "nobody", "",
		false},
	    {"broken-tls.test", OUTCOME_DELIVERED, "", "mx4.test", "",
		"STARTTLS does not work there): plain text", false},
	    {"dane.test", OUTCOME_DELIVERED, "", "mx5.test", "",
		"verified by TLSA 3 1 1, TLSv1.3", false},
	    {"danebad.test", OUTCOME_DEFERRED, "4.7.5", "mx5bad.test",
		"certificate", "no session", false},
	    {"danebogus.test", OUTCOME_DEFERRED, "4.4.3", "",
		"TLSA records fail DNSSEC", "", true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(&rows[i]);
	is_slice(
	    buf_slice(&t.world.content), CONTENT, "the content is what it was");
	is_u64(
	    t.world.servers[4].mails, 1, "nothing went where TLSA did not fit");
}

static void
test_reuse(void)
{
	unsigned before;

	deliver("one.test");
	before = t.world.servers[0].connections;
	deliver("one.test");
	deliver("one.test");
	is_u64(t.world.servers[0].connections, before,
	    "a connection is used again");
	is_u64(t.result.results[0].outcome, OUTCOME_DELIVERED, "and delivers");
}

/* What a server says to the second mail is about the connection. */
static void
test_one_a_connection(void)
{
	unsigned before = t.world.servers[8].connections;

	deliver("single.test");
	is_u64(t.result.results[0].outcome, OUTCOME_DELIVERED, "the first");
	deliver("single.test");
	is_u64(t.result.results[0].outcome, OUTCOME_DELIVERED,
	    "the next is delivered, too: %s", t.result.results[0].reply);
	is_u64(t.world.servers[8].connections, before + 2,
	    "over another connection");
}

/* One went to a server with DSN, another had gone to one without. */
static void
test_dsn_passed(void)
{
	const char *const addresses[] = {"a@no-dsn.test", "later@no-dsn.test"};
	struct ipc_list_writer recipients;
	struct ipc_relay_job job =
	    job_for("no-dsn.test", &recipients, addresses, 2);

	(void)channel_send(t.queued, MSG_RELAY_JOB, &job, NULL);
	ipc_list_writer_clear(&recipients);
	wait_for_result();
	is_u64(t.result.results[0].outcome, OUTCOME_DELIVERED,
	    "one is delivered by a server without DSN");
	is_u64(t.result.results[1].outcome, OUTCOME_DELIVERED,
	    "one by the next, which has it");
	ok(!t.result.is_dsn_passed, "who answers for the first is not they");
	deliver("one.test");
	ok(t.result.is_dsn_passed, "a server with DSN does for its own");
}

static void
deliver_to(const char *domain, const char *address)
{
	const char *const addresses[] = {address};
	struct ipc_list_writer recipients;
	struct ipc_relay_job job = job_for(domain, &recipients, addresses, 1);

	(void)channel_send(t.queued, MSG_RELAY_JOB, &job, NULL);
	ipc_list_writer_clear(&recipients);
	wait_for_result();
}

/* What is wrong here is no word about a destination. */
static void
test_own_faults(void)
{
	struct rlimit before;
	struct rlimit none;

	t.is_checkd_leaving = true;
	deliver("unasked.test");
	is_u64(t.result.results[0].outcome, OUTCOME_DEFERRED, "checkd left: %s",
	    t.result.results[0].reply);
	ok(!t.result.is_host_down, "which does not block a destination");
	begin_waiting();
	while (!t.is_checkd_up)
		turn();
	if (prlimit(t.pid, RLIMIT_NOFILE, NULL, &before) == -1)
		fatal("prlimit: %s", strerror(errno));
	none = (struct rlimit){0, before.rlim_max};
	(void)prlimit(t.pid, RLIMIT_NOFILE, &none, NULL);
	deliver("silent.test");
	(void)prlimit(t.pid, RLIMIT_NOFILE, &before, NULL);
	is_u64(t.result.results[0].outcome, OUTCOME_DEFERRED,
	    "no descriptor was left: %s", t.result.results[0].reply);
	ok(!t.result.is_host_down, "which does not, either");
}

/* Some addresses of a domain have a server of their own. */
static void
test_address_route(void)
{
	deliver_to("address.test", "gone@address.test");
	is_u64(t.result.results[0].outcome, OUTCOME_DEFERRED,
	    "the server of one address is down");
	ok(!t.result.is_host_down, "the domain's is not");
	deliver_to("dead.test", "gone@dead.test");
	ok(t.result.is_host_down, "a domain's own is");
}

/* An alias leads there; the mail itself came without SMTPUTF8. */
static void
test_utf8_recipient(void)
{
	deliver_to("inner.test", "j\303\274rgen@inner.test");
	is_u64(t.result.results[0].outcome, OUTCOME_DELIVERED,
	    "a recipient outside ASCII: %s", t.result.results[0].reply);
	deliver_to("silent.test", "j\303\274rgen@silent.test");
	is_str(t.result.results[0].enhanced, "5.6.7",
	    "where the server has no SMTPUTF8: %s", t.result.results[0].reply);
}

static void
test_split(void)
{
	const char *const addresses[] = {
	    "a@split.test", "nobody@split.test", "b@split.test", "no address"};
	struct ipc_list_writer recipients;
	struct ipc_relay_job job =
	    job_for("split.test", &recipients, addresses, 4);
	unsigned outcomes[5] = {9, 9, 9, 9, 9};

	(void)channel_send(t.queued, MSG_RELAY_JOB, &job, NULL);
	ipc_list_writer_clear(&recipients);
	wait_for_result();
	for (unsigned i = 0; i < t.result.count; i++)
		outcomes[t.result.results[i].id] = t.result.results[i].outcome;
	is_u64(t.result.count, 4, "two routes, one result");
	is_u64(outcomes[1], OUTCOME_DELIVERED, "one by LMTP");
	is_u64(outcomes[2], OUTCOME_FAILED, "one to where nobody is");
	is_u64(outcomes[3], OUTCOME_DELIVERED, "another by LMTP");
	is_u64(outcomes[4], OUTCOME_FAILED, "and what is no address fails");
}

static void
test_file(void)
{
	const char *const addresses[] = {"to@one.test"};
	struct ipc_list_writer recipients;
	struct ipc_relay_job job =
	    job_for("one.test", &recipients, addresses, 1);
	struct ipc_relay_file m = {.job_id = job.job_id,
	    .domain = job.domain,
	    .reverse_path = job.reverse_path,
	    .recipients = job.recipients};
	struct buf all;
	char path[128];
	int fd;

	buf_init(&all, 1048576);
	for (unsigned i = 0; i < 20000; i++)
		(void)buf_addf(&all, ".line %u\r\n", i);
	(void)snprintf(path, sizeof(path), "%s/spooled", t.root);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (write(fd, all.p, all.n) != (ssize_t)all.n)
		fatal("no file");
	m.size_octets = all.n;
	(void)channel_send(t.queued, MSG_RELAY_FILE, &m, &fd);
	wait_for_result();
	is_u64(t.result.results[0].outcome, OUTCOME_DELIVERED,
	    "a file is delivered");
	ok(slice_equals(buf_slice(&t.world.content), buf_slice(&all)),
	    "as it is");
	(void)close(fd);
	buf_clear(&all);
	ipc_list_writer_clear(&recipients);
}

static void
on_called(void *arg, const struct channel_frame *frame)
{
	(void)arg;
	t.verdict = frame == NULL ? 99 : frame->message->called_out.verdict;
	if (frame != NULL)
		(void)slice_copy(frame->message->called_out.reply,
		    t.callout_reply, sizeof(t.callout_reply));
}

static void
test_callouts(void)
{
	static const struct {
		const char *address;
		enum rcpt_verdict verdict;
	} rows[] = {
	    {"a@inner.test", RCPT_EXISTS},
	    {"j\303\274rgen@inner.test", RCPT_EXISTS},
	    {"a@unknown.test", RCPT_UNKNOWN},
	    {"a@dead.test", RCPT_TEMPORARY},
	    {"a@one.test", RCPT_TEMPORARY},
	    {"none", RCPT_TEMPORARY},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ipc_callout m = {.address = slice_of(rows[i].address)};

		t.verdict = 77;
		(void)channel_request(t.authd, MSG_CALLOUT, &m, NULL,
		    MSG_CALLED_OUT, 20000, on_called, NULL);
		begin_waiting();
		while (t.verdict == 77)
			turn();
		is_u64(t.verdict, rows[i].verdict, "callout of %s: %s",
		    rows[i].address, t.callout_reply);
	}
}

static void
on_tested(void *arg, const struct channel_frame *frame)
{
	struct ipc_record_fact fact;
	struct ipc_list list;
	size_t n = 0;

	(void)arg;
	t.facts[0] = '\0';
	if (frame == NULL)
		return;
	list = frame->message->route_tested.facts;
	while (ipc_fact_next(&list, &fact))
		n += (size_t)snprintf(t.facts + n, sizeof(t.facts) - n,
		    "%.*s=%.*s\n", SLICE_ARG(fact.name), SLICE_ARG(fact.value));
	(void)snprintf(t.facts + n, sizeof(t.facts) - n, "error=%.*s",
	    SLICE_ARG(frame->message->route_tested.error));
}

static void
test_route(const char *address, const char *facts)
{
	struct ipc_route_test m = {.address = slice_of(address)};

	t.facts[0] = 'x';
	(void)channel_request(t.confd, MSG_ROUTE_TEST, &m, NULL,
	    MSG_ROUTE_TESTED, 20000, on_tested, NULL);
	begin_waiting();
	while (t.facts[0] == 'x')
		turn();
	is_str(t.facts, facts, "route test of %s", address);
}

static void
test_route_tests(void)
{
	test_route("a@backup.test",
	    "address=a@backup.test\nrule=default\ntarget=mx\n"
	    "mx=10 mx2.test 127.0.0.2\ntls=mx2.test: dane (no DNSSEC)\n"
	    "mx=20 mx1.test 127.0.0.1\ntls=mx1.test: dane (no DNSSEC)\n"
	    "error=");
	test_route("a@null.test",
	    "address=a@null.test\nrule=default\ntarget=mx\n"
	    "refused=5.1.10 null.test accepts no mail (null MX)\nerror=");
	test_route("nobody", "error=address has no domain");
}

/* The only connection is idle, and leads to who has put the mail off. */
static void
test_narrow(void)
{
	t.is_narrow = true;
	send_settings(2, true);
	begin_waiting();
	while (t.applied != 2)
		turn();
	expect(&(struct expected){"later.test", OUTCOME_DELIVERED, "",
	    "mx1.test", "taken", "", false});
	t.is_narrow = false;
}

static void
test_loopback(void)
{
	send_settings(3, false);
	begin_waiting();
	while (t.applied != 3)
		turn();
	expect(&(struct expected){
	    "one.test", OUTCOME_FAILED, "5.4.6", "", "loops", "", false});
	expect(&(struct expected){
	    "routed.test", OUTCOME_DELIVERED, "", "127.0.0.1", "", "", false});
}

/* One mail is on its way when the channel ends: it is broken off. */
static void
test_breach(void)
{
	const char *const addresses[] = {"to@silent.test"};
	struct ipc_list_writer recipients;
	struct ipc_relay_job job =
	    job_for("silent.test", &recipients, addresses, 1);

	(void)channel_send(t.queued, MSG_RELAY_JOB, &job, NULL);
	begin_waiting();
	while (t.world.servers[6].mails == 0)
		turn();
	job.reverse_path = SLICE("a> SIZE=1");
	t.was_queued_closed = false;
	(void)channel_send(t.queued, MSG_RELAY_JOB, &job, NULL);
	ipc_list_writer_clear(&recipients);
	begin_waiting();
	while (!t.was_queued_closed)
		turn();
	pass("a sender that would break the line ends the channel");
	while (t.queued == NULL)
		turn();
	pass("and relayd comes again");
}

static void
on_child(int number, short what, void *arg)
{
	(void)number;
	(void)what;
	(void)arg;
}

static void
test_stop(void)
{
	struct event *child =
	    evsignal_new(loop_base(t.loop), SIGCHLD, on_child, NULL);
	int status = -1;

	(void)event_add(child, NULL); /* wakes the loop */
	(void)kill(t.pid, SIGTERM);
	begin_waiting();
	while (waitpid(t.pid, &status, WNOHANG) == 0)
		turn();
	event_free(child);
	is_int(status, 0, "it ends in order");
}

static void
clear_root(void)
{
	char command[128];
	pid_t pid;

	(void)snprintf(command, sizeof(command), "%s", t.root);
	if ((pid = fork()) == 0) {
		(void)execlp("rm", "rm", "-rf", command, (char *)NULL);
		_exit(127);
	}
	(void)waitpid(pid, NULL, 0);
}

int
main(void)
{
	if (access("./postern-relayd", X_OK) == -1) {
		skip(1, "postern-relayd is not built here");
		return tap_done();
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)snprintf(t.root, sizeof(t.root), "/tmp/test_relayd.XXXXXX");
	if (mkdtemp(t.root) == NULL)
		fatal("no folder");
	(void)chmod(t.root, 0755);
	make_dir("/run");
	make_dir("/run/postern");
	make_dir("/var");
	make_dir("/var/lib");
	make_dir("/var/lib/postern");
	make_dir("/var/lib/postern/relayd");
	tls_prepare();
	t.loop = loop_new();
	t.patience = event_new(loop_base(t.loop), -1, 0, on_patience, NULL);
	world_open(&t.world, t.loop);
	open_door(ROLE_CONFD, confd_up, NULL);
	open_door(ROLE_QUEUED, NULL, queued_closed);
	open_door(ROLE_CHECKD, checkd_up, NULL);
	open_door(ROLE_AUTHD, authd_up, NULL);
	start_relayd();
	begin_waiting();
	while (t.queued == NULL || t.authd == NULL)
		turn();
	is_u64(t.ready_jobs, 200, "relayd is ready for its jobs");
	test_deliveries();
	test_reuse();
	test_one_a_connection();
	test_dsn_passed();
	test_own_faults();
	test_address_route();
	test_utf8_recipient();
	test_split();
	test_file();
	test_callouts();
	test_route_tests();
	test_narrow();
	test_loopback();
	test_breach();
	test_stop();
	clear_root();
	world_close(&t.world);
	return tap_done();
}
