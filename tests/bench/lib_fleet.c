/* SPDX-License-Identifier: ISC */
/*
 * Runs the connections of a load: opens them, hands out mails at their time,
 * tries again after failures when asked to, records each mail's fate.
 * Runs in: tests/bench/load.  Trusts: its plan.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/err.h"
#include "tests/bench/lib_fleet.h"

#define US_PER_S 1000000
#define EVENTS_MAX 256

/* After a failed connection: 10 ms, doubled up to 320 ms. */
#define RETRY_FIRST_US 10000u
#define RETRY_DOUBLINGS 5

/* How often deadlines are looked at and the record is written out. */
#define CHECK_INTERVAL_US 100000

/* How long the end waits for the servers' good-byes. */
#define GOODBYE_US 500000

static void
move_to(struct fleet *f, struct client *c, struct client_list *list)
{
	if (c->list != NULL)
		TAILQ_REMOVE(c->list, c, link);
	f->ready_count -= c->list == &f->ready;
	c->list = list;
	TAILQ_INSERT_HEAD(list, c, link);
	f->ready_count += list == &f->ready;
}

static uint64_t
due_us(const struct fleet *f, uint64_t number)
{
	return f->start_us + (uint64_t)((double)number * US_PER_S / f->rate);
}

static bool
has_more(const struct fleet *f)
{
	return !f->is_stopping && !f->is_holding &&
	       f->next_number < f->messages;
}

static bool
is_due(const struct fleet *f, uint64_t now_us)
{
	return has_more(f) &&
	       (f->rate <= 0 || due_us(f, f->next_number) <= now_us);
}

static void
take_job(struct fleet *f, struct client *c, uint64_t now_us)
{
	memset(&c->job, 0, sizeof(c->job));
	c->job.number = f->next_number;
	c->job.start_us = f->rate > 0 ? due_us(f, f->next_number) : now_us;
	c->has_job = true;
	f->next_number++;
	f->open_jobs++;
}

static enum client_next
on_next(struct client *c)
{
	struct fleet *f = c->owner;
	uint64_t now_us;

	c->failures = 0;
	if (f->is_holding && !f->is_stopping) {
		move_to(f, c, &f->ready);
		return CLIENT_NEXT_WAIT;
	}
	if (c->sent >= f->per_connection || !has_more(f))
		return CLIENT_NEXT_QUIT;
	now_us = count_now_us();
	if (!is_due(f, now_us)) {
		move_to(f, c, &f->ready);
		return CLIENT_NEXT_WAIT;
	}
	take_job(f, c, now_us);
	return CLIENT_NEXT_JOB;
}

static void
record_recipients(const struct fleet *f, const struct client *c)
{
	char address[PLAN_ADDRESS_MAX];
	const char *separator = "";

	for (uint32_t k = 0; k < f->plan->recipients; k++) {
		if (!c->job.is_accepted[k])
			continue;
		plan_recipient(f->plan, c->job.number, k, c->account, address);
		(void)fprintf(f->record, "%s%s", separator, address);
		separator = ",";
	}
	if (*separator == '\0')
		(void)fputs("-", f->record);
	(void)fputc('\n', f->record);
}

static void
record_result(const struct fleet *f, const struct client *c,
    const struct client_result *result, const char *outcome)
{
	const struct client_job *job = &c->job;
	uint64_t start_us = job->start_us + f->epoch_offset_us;
	uint64_t end_us = result->end_us + f->epoch_offset_us;
	char id[MAIL_ID_MAX];
	char queue_id[PLAN_QUEUE_ID_MAX];
	char dot[24] = "-";

	mail_id(&f->plan->pool, job->number, id);
	plan_queue_id(result->reply, queue_id);
	if (job->dot_us != 0)
		(void)snprintf(
		    dot, sizeof(dot), "%" PRIu64, result->end_us - job->dot_us);
	(void)fprintf(f->record,
	    "%s\t%s\t%03d\t%s\t%" PRIu64 ".%06" PRIu64 "\t%" PRIu64
	    ".%06" PRIu64 "\t%s\t%" PRIu64 "\t%s\t",
	    id, outcome, result->code, client_stage_names[result->stage],
	    start_us / US_PER_S, start_us % US_PER_S, end_us / US_PER_S,
	    end_us % US_PER_S, dot, result->end_us - job->start_us, queue_id);
	record_recipients(f, c);
}

static void
on_done(struct client *c, const struct client_result *result)
{
	struct fleet *f = c->owner;
	const char *outcome = "failed";

	if (result->stage == STAGE_DOT && result->code == 250) {
		outcome = "accepted";
		f->counts.accepted++;
		f->counts.recipients_accepted += c->job.rcpt_accepted;
		latencies_add(&f->dot, result->end_us - c->job.dot_us);
		latencies_add(&f->whole, result->end_us - c->job.start_us);
	} else if (result->code >= 400) {
		outcome = "refused";
		f->counts.refused++;
	} else {
		f->counts.failed++;
	}
	f->open_jobs--;
	f->end_us = result->end_us;
	if (f->record != NULL)
		record_result(f, c, result, outcome);
}

static const struct client_hooks hooks = {.next = on_next, .done = on_done};

static void
job_failed(struct client *c)
{
	bool is_before_mail = c->stage < STAGE_READY;
	struct client_result result = {.stage = c->stage, .reply = ""};

	if (is_before_mail)
		result.code = c->job.bad_code;
	result.end_us = count_now_us();
	c->has_job = false;
	on_done(c, &result);
}

/* The connection is over, in whatever state. */
static void
connection_over(struct fleet *f, struct client *c)
{
	bool is_before_mail = c->stage < STAGE_READY;
	uint32_t doublings = c->failures;

	if (c->wire.ssl != NULL && SSL_session_reused(c->wire.ssl))
		f->counts.resumed_sessions++;
	wire_close(&c->wire);
	f->counts.failed_connections += is_before_mail;
	if (c->has_job && is_before_mail && f->is_keeping_going &&
	    c->job.bad_code < 500 && !f->is_stopping) {
		if (doublings > RETRY_DOUBLINGS)
			doublings = RETRY_DOUBLINGS;
		c->retry_us = count_now_us() + (RETRY_FIRST_US << doublings);
		c->failures++;
		c->job.bad_code = 0;
		move_to(f, c, &f->waiting);
		return;
	}
	if (c->has_job)
		job_failed(c);
	c->stage = STAGE_CLOSED;
	move_to(f, c, &f->idle);
}

/* Loopback is wide: each run of sources takes the next 127.0.x.y. */
static void
bind_source(struct fleet *f, int fd)
{
	struct sockaddr_in source = {.sin_family = AF_INET};
	uint32_t host = 1 + (uint32_t)(f->next_source++ % f->sources);
	int on = 1;

	source.sin_addr.s_addr = htonl(UINT32_C(0x7f010000) + host);
	(void)setsockopt(
	    fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&source, sizeof(source)) == -1)
		fatal("bind to a source address: %s", strerror(errno));
}

static int
open_socket(struct fleet *f)
{
	int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1)
		fatal("socket: %s", strerror(errno));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (f->sources > 0)
		bind_source(f, fd);
	return fd;
}

static void
connect_client(struct fleet *f, struct client *c)
{
	struct epoll_event ev = {
	    .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};

	c->account = NULL;
	if (f->plan->account_count > 0)
		c->account =
		    &f->plan
			 ->accounts[f->next_account++ % f->plan->account_count];
	wire_init(&c->wire, open_socket(f));
	client_start(c);
	c->deadline_us = count_now_us() + f->timeout_us;
	f->counts.connections++;
	move_to(f, c, &f->busy);
	if (connect(c->wire.fd, (const struct sockaddr *)&f->target,
		sizeof(f->target)) == -1 &&
	    errno != EINPROGRESS) {
		connection_over(f, c);
		return;
	}
	if (epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, c->wire.fd, &ev) == -1)
		fatal("epoll_ctl: %s", strerror(errno));
}

/* Hands the mails that are due to connections that have none. */
static void
dispatch(struct fleet *f, uint64_t now_us)
{
	struct client *c;

	while (is_due(f, now_us)) {
		if ((c = TAILQ_FIRST(&f->ready)) != NULL) {
			move_to(f, c, &f->busy);
			c->deadline_us = now_us + f->timeout_us;
			take_job(f, c, now_us);
			if (client_send(c) == -1)
				connection_over(f, c);
		} else if ((c = TAILQ_FIRST(&f->idle)) != NULL) {
			take_job(f, c, now_us);
			connect_client(f, c);
		} else {
			return;
		}
	}
}

static void
retry_waiting(struct fleet *f, uint64_t now_us)
{
	struct client *next;

	for (struct client *c = TAILQ_FIRST(&f->waiting); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (f->is_stopping) {
			job_failed(c);
			move_to(f, c, &f->idle);
		} else if (c->retry_us <= now_us) {
			connect_client(f, c);
		}
	}
}

/* Ends what waited too long, and writes out the record. */
static void
check_clients(struct fleet *f, uint64_t now_us)
{
	struct client *next;

	if (now_us - f->checked_us < CHECK_INTERVAL_US)
		return;
	f->checked_us = now_us;
	if (f->duration_us > 0 && now_us - f->start_us >= f->duration_us)
		f->is_stopping = true;
	for (struct client *c = TAILQ_FIRST(&f->busy); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->deadline_us <= now_us)
			connection_over(f, c);
	}
	if (f->record != NULL)
		(void)fflush(f->record);
}

static void
set_timer(const struct fleet *f)
{
	struct itimerspec when = {{0, 0}, {0, 0}};
	uint64_t due;

	if (f->rate <= 0 || !has_more(f))
		return;
	due = due_us(f, f->next_number);
	when.it_value.tv_sec = (time_t)(due / US_PER_S);
	when.it_value.tv_nsec = (long)(due % US_PER_S * 1000);
	if (timerfd_settime(f->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == -1)
		fatal("timerfd_settime: %s", strerror(errno));
}

static void
on_event(struct fleet *f, const struct epoll_event *ev, uint64_t now_us)
{
	struct signalfd_siginfo info;
	uint64_t ticks;
	struct client *c;

	if (ev->data.ptr == &f->timer_fd) {
		(void)!read(f->timer_fd, &ticks, sizeof(ticks));
		return;
	}
	if (ev->data.ptr == &f->signal_fd) {
		(void)!read(f->signal_fd, &info, sizeof(info));
		f->is_stopping = true;
		return;
	}
	c = ev->data.ptr;
	if (c->wire.fd == -1)
		return; /* ended earlier in this turn */
	c->deadline_us = now_us + f->timeout_us;
	if (client_event(c, ev->events) == -1)
		connection_over(f, c);
}

static void
turn(struct fleet *f)
{
	struct epoll_event events[EVENTS_MAX];
	int timeout_ms = TAILQ_EMPTY(&f->waiting) ? CHECK_INTERVAL_US / 1000
						  : (int)RETRY_FIRST_US / 1000;
	uint64_t now_us;
	int n;

	set_timer(f);
	n = epoll_wait(f->epoll_fd, events, EVENTS_MAX, timeout_ms);
	if (n == -1 && errno != EINTR)
		fatal("epoll_wait: %s", strerror(errno));
	now_us = count_now_us();
	for (int i = 0; i < n; i++)
		on_event(f, &events[i], now_us);
	check_clients(f, now_us);
	retry_waiting(f, now_us);
	dispatch(f, now_us);
}

static void
watch(struct fleet *f, int *fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = fd};

	if (*fd == -1 || epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, *fd, &ev) == -1)
		fatal("watching a descriptor: %s", strerror(errno));
}

static void
fleet_init(struct fleet *f)
{
	sigset_t signals;

	TAILQ_INIT(&f->idle);
	TAILQ_INIT(&f->busy);
	TAILQ_INIT(&f->ready);
	TAILQ_INIT(&f->waiting);
	f->clients = xcalloc(f->connections, sizeof(*f->clients));
	for (uint32_t i = 0; i < f->connections; i++) {
		struct client *c = &f->clients[i];

		c->plan = f->plan;
		c->hooks = &hooks;
		c->owner = f;
		c->wire.fd = -1;
		move_to(f, c, &f->idle);
	}
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	if ((f->epoll_fd = epoll_create1(EPOLL_CLOEXEC)) == -1)
		fatal("epoll_create1: %s", strerror(errno));
	f->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	f->timer_fd =
	    timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	watch(f, &f->signal_fd);
	watch(f, &f->timer_fd);
}

/* Opens all connections, says so, and waits for the end. */
static void
hold(struct fleet *f)
{
	struct client *c;

	for (uint32_t i = 0; i < f->connections; i++) {
		if ((c = TAILQ_FIRST(&f->idle)) != NULL)
			connect_client(f, c);
		if (i % EVENTS_MAX == 0)
			turn(f);
	}
	while (!f->is_stopping && !TAILQ_EMPTY(&f->busy))
		turn(f);
	(void)printf("holding %u\n", f->ready_count);
	(void)fflush(stdout);
	while (!f->is_stopping)
		turn(f);
}

static void
say_goodbye(struct fleet *f)
{
	uint64_t end_us = count_now_us() + GOODBYE_US;
	struct client *c;

	f->is_stopping = true;
	while ((c = TAILQ_FIRST(&f->ready)) != NULL) {
		move_to(f, c, &f->busy);
		if (client_quit(c) == -1)
			connection_over(f, c);
	}
	while (!TAILQ_EMPTY(&f->busy) && count_now_us() < end_us)
		turn(f);
}

void
fleet_run(struct fleet *f)
{
	double cpu_s = count_cpu_s();

	fleet_init(f);
	f->start_us = count_now_us();
	f->end_us = f->start_us;
	f->epoch_offset_us = count_epoch_us() - f->start_us;
	if (f->is_holding)
		hold(f);
	dispatch(f, f->start_us);
	while (f->open_jobs > 0 || has_more(f))
		turn(f);
	say_goodbye(f);
	f->cpu_s = count_cpu_s() - cpu_s;
}

void
fleet_clear(struct fleet *f)
{
	for (uint32_t i = 0; i < f->connections; i++)
		wire_clear(&f->clients[i].wire);
	free(f->clients);
	close_if_open(&f->epoll_fd);
	close_if_open(&f->signal_fd);
	close_if_open(&f->timer_fd);
	latencies_clear(&f->dot);
	latencies_clear(&f->whole);
}
