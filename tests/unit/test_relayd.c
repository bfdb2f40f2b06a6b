/* SPDX-License-Identifier: ISC */
/*
 * postern-relayd as it runs: deliveries, callouts, route tests, its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/settings.h"
#include "common/vocabulary.h"
#include "tests/unit/relayd_host.h"
#include "tests/unit/tap.h"

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
	const struct relayd_result *r = &relayd_host.result;

	relayd_host_deliver(e->domain);
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
	is_slice(buf_slice(&relayd_host.world.content), RELAYD_HOST_CONTENT,
	    "the content is what it was");
	is_u64(relayd_host.world.servers[4].mails, 1,
	    "nothing went where TLSA did not fit");
}

static void
test_reuse(void)
{
	unsigned before;

	relayd_host_deliver("one.test");
	before = relayd_host.world.servers[0].connections;
	relayd_host_deliver("one.test");
	relayd_host_deliver("one.test");
	is_u64(relayd_host.world.servers[0].connections, before,
	    "a connection is used again");
	is_u64(relayd_host.result.results[0].outcome, OUTCOME_DELIVERED,
	    "and delivers");
}

/* What a server says to the second mail is about the connection. */
static void
test_one_a_connection(void)
{
	unsigned before = relayd_host.world.servers[8].connections;

	relayd_host_deliver("single.test");
	is_u64(relayd_host.result.results[0].outcome, OUTCOME_DELIVERED,
	    "the first");
	relayd_host_deliver("single.test");
	is_u64(relayd_host.result.results[0].outcome, OUTCOME_DELIVERED,
	    "the next is delivered, too: %s",
	    relayd_host.result.results[0].reply);
	is_u64(relayd_host.world.servers[8].connections, before + 2,
	    "over another connection");
}

/* One went to a server with DSN, another had gone to one without. */
static void
test_dsn_passed(void)
{
	const char *const addresses[] = {"a@no-dsn.test", "later@no-dsn.test"};
	struct ipc_list_writer recipients;
	struct ipc_relay_job job =
	    relayd_host_job("no-dsn.test", &recipients, addresses, 2);

	(void)channel_send(relayd_host.queued, MSG_RELAY_JOB, &job, NULL);
	ipc_list_writer_clear(&recipients);
	relayd_host_wait();
	is_u64(relayd_host.result.results[0].outcome, OUTCOME_DELIVERED,
	    "one is delivered by a server without DSN");
	is_u64(relayd_host.result.results[1].outcome, OUTCOME_DELIVERED,
	    "one by the next, which has it");
	ok(!relayd_host.result.is_dsn_passed,
	    "who answers for the first is not they");
	is_str(relayd_host.result.host, "mx1.test", "the last server is named");
	is_str(relayd_host.result.results[0].host, "mx9.test",
	    "with the one who took the mail before");
	is_str(relayd_host.result.results[1].host, "", "no other for the rest");
	relayd_host_deliver("one.test");
	ok(relayd_host.result.is_dsn_passed,
	    "a server with DSN does for its own");
}

/* What is wrong here is no word about a destination. */
static void
test_own_faults(void)
{
	struct rlimit before;
	struct rlimit none;

	relayd_host.is_checkd_leaving = true;
	relayd_host_deliver("unasked.test");
	is_u64(relayd_host.result.results[0].outcome, OUTCOME_DELIVERED,
	    "checkd left, and was waited for: %s",
	    relayd_host.result.results[0].reply);
	if (prlimit(relayd_host.pid, RLIMIT_NOFILE, NULL, &before) == -1)
		fatal("prlimit: %s", strerror(errno));
	none = (struct rlimit){0, before.rlim_max};
	(void)prlimit(relayd_host.pid, RLIMIT_NOFILE, &none, NULL);
	relayd_host_deliver("silent.test");
	(void)prlimit(relayd_host.pid, RLIMIT_NOFILE, &before, NULL);
	is_u64(relayd_host.result.results[0].outcome, OUTCOME_DEFERRED,
	    "no descriptor was left: %s", relayd_host.result.results[0].reply);
	ok(!relayd_host.result.is_host_down, "which does not, either");
}

/* Some addresses of a domain have a server of their own. */
static void
test_address_route(void)
{
	relayd_host_deliver_to("address.test", "gone@address.test");
	is_u64(relayd_host.result.results[0].outcome, OUTCOME_DEFERRED,
	    "the server of one address is down");
	ok(!relayd_host.result.is_host_down, "the domain's is not");
	relayd_host_deliver_to("dead.test", "gone@dead.test");
	ok(relayd_host.result.is_host_down, "a domain's own is");
}

/* An alias leads there; the mail itself came without SMTPUTF8. */
static void
test_utf8_recipient(void)
{
	relayd_host_deliver_to("inner.test", "j\303\274rgen@inner.test");
	is_u64(relayd_host.result.results[0].outcome, OUTCOME_DELIVERED,
	    "a recipient outside ASCII: %s",
	    relayd_host.result.results[0].reply);
	relayd_host_deliver_to("silent.test", "j\303\274rgen@silent.test");
	is_str(relayd_host.result.results[0].enhanced, "5.6.7",
	    "where the server has no SMTPUTF8: %s",
	    relayd_host.result.results[0].reply);
}

static void
test_split(void)
{
	const char *const addresses[] = {
	    "a@split.test", "nobody@split.test", "b@split.test", "no address"};
	struct ipc_list_writer recipients;
	struct ipc_relay_job job =
	    relayd_host_job("split.test", &recipients, addresses, 4);
	unsigned outcomes[5] = {9, 9, 9, 9, 9};

	(void)channel_send(relayd_host.queued, MSG_RELAY_JOB, &job, NULL);
	ipc_list_writer_clear(&recipients);
	relayd_host_wait();
	for (unsigned i = 0; i < relayd_host.result.count; i++)
		outcomes[relayd_host.result.results[i].id] =
		    relayd_host.result.results[i].outcome;
	is_u64(relayd_host.result.count, 4, "two routes, one result");
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
	    relayd_host_job("one.test", &recipients, addresses, 1);
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
	(void)snprintf(path, sizeof(path), "%s/spooled", relayd_host.root);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (write(fd, all.p, all.n) != (ssize_t)all.n)
		fatal("no file");
	m.size_octets = all.n;
	(void)channel_send(relayd_host.queued, MSG_RELAY_FILE, &m, &fd);
	relayd_host_wait();
	is_u64(relayd_host.result.results[0].outcome, OUTCOME_DELIVERED,
	    "a file is delivered");
	ok(slice_equals(buf_slice(&relayd_host.world.content), buf_slice(&all)),
	    "as it is");
	(void)close(fd);
	buf_clear(&all);
	ipc_list_writer_clear(&recipients);
}

static void
on_called(void *arg, const struct channel_frame *frame)
{
	(void)arg;
	relayd_host.verdict =
	    frame == NULL ? 99 : frame->message->called_out.verdict;
	if (frame != NULL)
		(void)slice_copy(frame->message->called_out.reply,
		    relayd_host.callout_reply,
		    sizeof(relayd_host.callout_reply));
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

		relayd_host.verdict = 77;
		(void)channel_request(relayd_host.authd, MSG_CALLOUT, &m, NULL,
		    MSG_CALLED_OUT, 20000, on_called, NULL);
		relayd_host_begin_waiting();
		while (relayd_host.verdict == 77)
			relayd_host_turn();
		is_u64(relayd_host.verdict, rows[i].verdict,
		    "callout of %s: %s", rows[i].address,
		    relayd_host.callout_reply);
	}
}

static void
on_tested(void *arg, const struct channel_frame *frame)
{
	struct ipc_record_fact fact;
	struct ipc_list list;
	size_t n = 0;

	(void)arg;
	relayd_host.facts[0] = '\0';
	if (frame == NULL)
		return;
	list = frame->message->route_tested.facts;
	while (ipc_fact_next(&list, &fact))
		n += (size_t)snprintf(relayd_host.facts + n,
		    sizeof(relayd_host.facts) - n, "%.*s=%.*s\n",
		    SLICE_ARG(fact.name), SLICE_ARG(fact.value));
	(void)snprintf(relayd_host.facts + n, sizeof(relayd_host.facts) - n,
	    "error=%.*s", SLICE_ARG(frame->message->route_tested.error));
}

static void
test_route(const char *address, const char *facts)
{
	struct ipc_route_test m = {.address = slice_of(address)};

	relayd_host.facts[0] = 'x';
	(void)channel_request(relayd_host.confd, MSG_ROUTE_TEST, &m, NULL,
	    MSG_ROUTE_TESTED, 20000, on_tested, NULL);
	relayd_host_begin_waiting();
	while (relayd_host.facts[0] == 'x')
		relayd_host_turn();
	is_str(relayd_host.facts, facts, "route test of %s", address);
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
	relayd_host.is_narrow = true;
	relayd_host_configure(2, true);
	relayd_host_begin_waiting();
	while (relayd_host.applied != 2)
		relayd_host_turn();
	expect(&(struct expected){"later.test", OUTCOME_DELIVERED, "",
	    "mx1.test", "taken", "", false});
	relayd_host.is_narrow = false;
}

static void
test_loopback(void)
{
	relayd_host_configure(3, false);
	relayd_host_begin_waiting();
	while (relayd_host.applied != 3)
		relayd_host_turn();
	expect(&(struct expected){
	    "one.test", OUTCOME_FAILED, "5.4.6", "", "loops", "", false});
	expect(&(struct expected){
	    "routed.test", OUTCOME_DELIVERED, "", "127.0.0.1", "", "", false});
}

/* So many are on their way that a limit of one is far below. */
static void
test_fewer_jobs(void)
{
	const char *const addresses[] = {"to@silent.test"};
	const char *const none[] = {"no address"};
	struct ipc_list_writer recipients;
	struct ipc_relay_job job =
	    relayd_host_job("silent.test", &recipients, addresses, 1);

	for (unsigned i = 0; i < 1100; i++) {
		(void)channel_send(
		    relayd_host.queued, MSG_RELAY_JOB, &job, NULL);
		job.job_id = ++relayd_host.next_job;
	}
	ipc_list_writer_clear(&recipients);
	relayd_host.max_jobs = 1;
	relayd_host_configure(4, false);
	relayd_host_begin_waiting();
	while (relayd_host.ready_jobs != 1)
		relayd_host_turn();
	job = relayd_host_job("one.test", &recipients, none, 1);
	relayd_host.was_queued_closed = false;
	(void)channel_send(relayd_host.queued, MSG_RELAY_JOB, &job, NULL);
	ipc_list_writer_clear(&recipients);
	relayd_host_wait();
	is_u64(relayd_host.result.job_id, relayd_host.next_job,
	    "a job that was sent before a smaller limit was known is taken");
	ok(!relayd_host.was_queued_closed, "and breaks off no other");
}

/* One mail is on its way when the channel ends: it is broken off. */
static void
test_breach(void)
{
	const char *const addresses[] = {"to@silent.test"};
	struct ipc_list_writer recipients;
	struct ipc_relay_job job =
	    relayd_host_job("silent.test", &recipients, addresses, 1);

	(void)channel_send(relayd_host.queued, MSG_RELAY_JOB, &job, NULL);
	relayd_host_begin_waiting();
	while (relayd_host.world.servers[6].mails == 0)
		relayd_host_turn();
	job.reverse_path = SLICE("a> SIZE=1");
	relayd_host.was_queued_closed = false;
	(void)channel_send(relayd_host.queued, MSG_RELAY_JOB, &job, NULL);
	ipc_list_writer_clear(&recipients);
	relayd_host_begin_waiting();
	while (!relayd_host.was_queued_closed)
		relayd_host_turn();
	pass("a sender that would break the line ends the channel");
	while (relayd_host.queued == NULL)
		relayd_host_turn();
	pass("and relayd comes again");
}

static void
on_child(int number, short what, void *arg)
{
	(void)number;
	(void)what;
	(void)arg;
}

/* While a mail waits for checkd, which comes and goes. */
static void
test_stop(void)
{
	const char *const addresses[] = {"to@grey.test"};
	struct ipc_list_writer recipients;
	struct ipc_relay_job job =
	    relayd_host_job("grey.test", &recipients, addresses, 1);
	struct event *child =
	    evsignal_new(loop_base(relayd_host.loop), SIGCHLD, on_child, NULL);
	int status = -1;

	relayd_host.is_checkd_lost = true;
	(void)channel_send(relayd_host.queued, MSG_RELAY_JOB, &job, NULL);
	ipc_list_writer_clear(&recipients);
	relayd_host_begin_waiting();
	while (relayd_host.is_checkd_up)
		relayd_host_turn();

	(void)event_add(child, NULL); /* wakes the loop */
	(void)kill(relayd_host.pid, SIGTERM);
	relayd_host_begin_waiting();
	while (waitpid(relayd_host.pid, &status, WNOHANG) == 0)
		relayd_host_turn();
	event_free(child);
	is_int(status, 0, "it ends in order");
	relayd_host_wait();
	is_u64(relayd_host.result.job_id, relayd_host.next_job,
	    "a mail that waited for checkd is put off first");
	is_u64(relayd_host.result.results[0].outcome, OUTCOME_DEFERRED,
	    "for this: %s", relayd_host.result.results[0].reply);
	ok(!relayd_host.result.is_host_down,
	    "which does not block a destination");
}

int
main(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	relayd_host_start();
	is_u64(relayd_host.ready_jobs, 200, "relayd is ready for its jobs");
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
	test_fewer_jobs();
	test_breach();
	test_stop();
	relayd_host_end();
	return tap_done();
}
