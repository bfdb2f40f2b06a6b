/* SPDX-License-Identifier: ISC */
/*
 * The load generator of the benchmark and of the loss tests: sends mails with
 * unique ids, records each one's fate, prints a summary as JSON.
 * Runs in: tests/bench/load.  Trusts: its options.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "tests/bench/lib_fleet.h"

#define BODY_DEFAULT 10240 /* the benchmark's 10 KB */
#define BODY_MAX (256u << 20)
#define CONNECTIONS_MAX 60000 /* what one address has ports for */
#define SPREAD_DEFAULT 1000
#define TIMEOUT_DEFAULT_S 60
#define US_PER_S 1000000

static const char usage_text[] =
    "usage: load [option ...] ADDRESS:PORT\n"
    "  --messages N         how many (1000); 0: until --duration is over\n"
    "  --connections N      at once (50)\n"
    "  --per-connection N   mails on each connection (1)\n"
    "  --body BYTES         size of the text (10240)\n"
    "  --from TEMPLATE      sender; %d number, %u user of the login\n"
    "  --to TEMPLATE        recipient; given again: taken in turn\n"
    "  --recipients N       of each mail (1)\n"
    "  --spread N           %d runs from 0 to N-1 (1000)\n"
    "  --rate N             mails a second, evenly; default: no limit\n"
    "  --starttls | --tls   encrypt; certificates are not checked\n"
    "  --resume             resume TLS sessions\n"
    "  --accounts FILE      AUTH PLAIN; \"user password\" a line, in turn\n"
    "  --no-pipelining      one command at a time\n"
    "  --helo NAME          (load.invalid)\n"
    "  --sources N          connect from N addresses 127.1.0.1...\n"
    "  --timeout S          for each reply (60)\n"
    "  --duration S         begin no mail after S seconds\n"
    "  --keep-going         a connection that fails before MAIL is tried\n"
    "                       again, after 10 to 320 ms\n"
    "  --hold               send nothing: connect, log in, print\n"
    "                       \"holding N\", stay until SIGTERM\n"
    "  --run NAME           first half of the ids\n"
    "  --record FILE        one line a mail: id, outcome, code, stage,\n"
    "                       start, end, dot in us, whole in us, queue id,\n"
    "                       accepted recipients\n";

enum option_id {
	OPT_MESSAGES = 256,
	OPT_CONNECTIONS,
	OPT_PER_CONNECTION,
	OPT_BODY,
	OPT_FROM,
	OPT_TO,
	OPT_RECIPIENTS,
	OPT_SPREAD,
	OPT_RATE,
	OPT_STARTTLS,
	OPT_TLS,
	OPT_RESUME,
	OPT_ACCOUNTS,
	OPT_NO_PIPELINING,
	OPT_HELO,
	OPT_SOURCES,
	OPT_TIMEOUT,
	OPT_DURATION,
	OPT_KEEP_GOING,
	OPT_HOLD,
	OPT_RUN,
	OPT_RECORD,
	OPT_HELP
};

static const struct option long_options[] = {
    {"messages", required_argument, NULL, OPT_MESSAGES},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"per-connection", required_argument, NULL, OPT_PER_CONNECTION},
    {"body", required_argument, NULL, OPT_BODY},
    {"from", required_argument, NULL, OPT_FROM},
    {"to", required_argument, NULL, OPT_TO},
    {"recipients", required_argument, NULL, OPT_RECIPIENTS},
    {"spread", required_argument, NULL, OPT_SPREAD},
    {"rate", required_argument, NULL, OPT_RATE},
    {"starttls", no_argument, NULL, OPT_STARTTLS},
    {"tls", no_argument, NULL, OPT_TLS},
    {"resume", no_argument, NULL, OPT_RESUME},
    {"accounts", required_argument, NULL, OPT_ACCOUNTS},
    {"no-pipelining", no_argument, NULL, OPT_NO_PIPELINING},
    {"helo", required_argument, NULL, OPT_HELO},
    {"sources", required_argument, NULL, OPT_SOURCES},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"duration", required_argument, NULL, OPT_DURATION},
    {"keep-going", no_argument, NULL, OPT_KEEP_GOING},
    {"hold", no_argument, NULL, OPT_HOLD},
    {"run", required_argument, NULL, OPT_RUN},
    {"record", required_argument, NULL, OPT_RECORD},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

struct load {
	struct plan plan;
	struct fleet fleet;
	size_t body_bytes;
	char run[MAIL_RUN_MAX + 1];
	const char *record_path;
};

static void
set_run(struct load *load, const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz0123456789_";
	size_t n = strlen(name);

	if (n == 0 || n > MAIL_RUN_MAX || strspn(name, allowed) != n)
		fatal("--run %s: 1 to %d letters, digits and _ are wanted",
		    name, MAIL_RUN_MAX);
	memcpy(load->run, name, n + 1);
}

static void
load_defaults(struct load *load)
{
	char run[MAIL_RUN_MAX + 1];

	load->body_bytes = BODY_DEFAULT;
	load->plan.helo = "load.invalid";
	load->plan.from = "sender%d@load.invalid";
	load->plan.recipients = 1;
	load->plan.spread = SPREAD_DEFAULT;
	load->plan.is_pipelining = true;
	load->fleet.plan = &load->plan;
	load->fleet.messages = 1000;
	load->fleet.connections = 50;
	load->fleet.per_connection = 1;
	load->fleet.timeout_us = (uint64_t)TIMEOUT_DEFAULT_S * US_PER_S;
	(void)snprintf(run, sizeof(run), "r%" PRIx64 "_%x", count_epoch_us(),
	    (unsigned)getpid());
	set_run(load, run);
}

static void
add_to(struct plan *plan, const char *template)
{
	plan->to = xrealloc(plan->to, (plan->to_count + 1) * sizeof(char *));
	plan->to[plan->to_count++] = template;
}

/* Options that shape the mails and the way they are said. */
static bool
set_plan_option(struct load *load, int id, const char *name)
{
	struct plan *plan = &load->plan;

	switch (id) {
	case OPT_BODY:
		load->body_bytes = count_option(name, optarg, 2, BODY_MAX);
		return true;
	case OPT_FROM:
		plan->from = optarg;
		return true;
	case OPT_TO:
		add_to(plan, optarg);
		return true;
	case OPT_RECIPIENTS:
		plan->recipients = (uint32_t)count_option(
		    name, optarg, 1, PLAN_RECIPIENTS_MAX);
		return true;
	case OPT_SPREAD:
		plan->spread = count_option(name, optarg, 1, UINT32_MAX);
		return true;
	case OPT_STARTTLS:
		plan->tls = PLAN_STARTTLS;
		return true;
	case OPT_TLS:
		plan->tls = PLAN_TLS;
		return true;
	case OPT_RESUME:
		plan->is_resuming = true;
		return true;
	case OPT_ACCOUNTS:
		plan_read_accounts(plan, optarg);
		return true;
	case OPT_NO_PIPELINING:
		plan->is_pipelining = false;
		return true;
	case OPT_HELO:
		plan->helo = optarg;
		return true;
	default:
		return false;
	}
}

/* Options about how many, how fast, how long. */
static bool
set_fleet_option(struct load *load, int id, const char *name)
{
	struct fleet *f = &load->fleet;

	switch (id) {
	case OPT_MESSAGES:
		f->messages = count_option(name, optarg, 0, UINT32_MAX);
		return true;
	case OPT_CONNECTIONS:
		f->connections =
		    (uint32_t)count_option(name, optarg, 1, CONNECTIONS_MAX);
		return true;
	case OPT_PER_CONNECTION:
		f->per_connection =
		    (uint32_t)count_option(name, optarg, 1, UINT32_MAX);
		return true;
	case OPT_RATE:
		f->rate = (double)count_option(name, optarg, 1, US_PER_S);
		return true;
	case OPT_SOURCES:
		f->sources = (uint32_t)count_option(name, optarg, 1, 60000);
		return true;
	case OPT_TIMEOUT:
		f->timeout_us = US_PER_S * count_option(name, optarg, 1, 86400);
		return true;
	case OPT_DURATION:
		f->duration_us =
		    US_PER_S * count_option(name, optarg, 1, 86400);
		return true;
	case OPT_KEEP_GOING:
		f->is_keeping_going = true;
		return true;
	case OPT_HOLD:
		f->is_holding = true;
		return true;
	default:
		return false;
	}
}

static void
read_options(struct load *load, int argc, char **argv)
{
	int index = 0;
	int id;

	while ((id = getopt_long(argc, argv, "", long_options, &index)) != -1) {
		if (id == '?')
			exit(2);
		if (id == OPT_HELP) {
			(void)fputs(usage_text, stdout);
			exit(0);
		}
		if (id == OPT_RUN)
			set_run(load, optarg);
		else if (id == OPT_RECORD)
			load->record_path = optarg;
		else if (!set_plan_option(load, id, long_options[index].name) &&
			 !set_fleet_option(load, id, long_options[index].name))
			bug("option %d is nobody's", id);
	}
	if (optind + 1 != argc) {
		(void)fputs(usage_text, stderr);
		exit(2);
	}
	load->fleet.target = count_address("the target", argv[optind]);
	if (load->fleet.messages == 0)
		load->fleet.messages = UINT64_MAX;
	if (load->plan.to_count == 0)
		add_to(&load->plan, "rcpt%d@sink.invalid");
}

/* Keeps the newest session that a server offered. */
static int
on_session(SSL *ssl, SSL_SESSION *session)
{
	struct plan *plan = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	SSL_SESSION_free(plan->session);
	plan->session = session;
	return 1;
}

static void
prepare_tls(struct plan *plan)
{
	SSL_CTX *context;

	if (plan->tls == PLAN_PLAIN)
		return;
	if ((context = SSL_CTX_new(TLS_client_method())) == NULL)
		fatal("cannot prepare TLS");
	SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
	(void)SSL_CTX_set_mode(context,
	    SSL_MODE_ENABLE_PARTIAL_WRITE |
		SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	if (plan->is_resuming) {
		(void)SSL_CTX_set_app_data(context, plan);
		(void)SSL_CTX_set_session_cache_mode(context,
		    SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(context, on_session);
	}
	plan->tls_context = context;
}

static void
print_latencies(const char *name, struct latencies *l)
{
	latencies_sort(l);
	(void)printf("\"%s_ms\": {\"p50\": %.3f, \"p99\": %.3f, "
		     "\"max\": %.3f}, ",
	    name, latencies_ms(l, 0.5), latencies_ms(l, 0.99),
	    latencies_ms(l, 1));
}

static void
print_summary(struct load *load)
{
	struct fleet *f = &load->fleet;
	double seconds = (double)(f->end_us - f->start_us) / US_PER_S;
	double accepted = (double)f->counts.accepted;

	(void)printf("{\"run\": \"%s\", \"accepted\": %" PRIu64
		     ", \"refused\": %" PRIu64 ", \"failed\": %" PRIu64
		     ", \"recipients\": %" PRIu64 ", \"seconds\": %.3f"
		     ", \"mails_per_s\": %.1f, ",
	    load->run, f->counts.accepted, f->counts.refused, f->counts.failed,
	    f->counts.recipients_accepted, seconds,
	    seconds > 0 ? accepted / seconds : 0);
	print_latencies("dot", &f->dot);
	print_latencies("whole", &f->whole);
	(void)printf("\"connections\": %" PRIu64
		     ", \"failed_connections\": %" PRIu64
		     ", \"resumed_sessions\": %" PRIu64
		     ", \"cpu_s\": %.3f, \"cpu_s_per_1000\": %.4f}\n",
	    f->counts.connections, f->counts.failed_connections,
	    f->counts.resumed_sessions, f->cpu_s,
	    accepted > 0 ? f->cpu_s * 1000 / accepted : 0);
}

int
main(int argc, char **argv)
{
	struct load load;

	memset(&load, 0, sizeof(load));
	load_defaults(&load);
	read_options(&load, argc, argv);
	count_raise_descriptors();
	mail_pool_init(&load.plan.pool, load.run, load.body_bytes);
	prepare_tls(&load.plan);
	if (load.record_path != NULL &&
	    (load.fleet.record = fopen(load.record_path, "we")) == NULL)
		fatal("open %s: %s", load.record_path, strerror(errno));
	fleet_run(&load.fleet);
	if (load.fleet.record != NULL && fclose(load.fleet.record) != 0)
		fatal("write %s: %s", load.record_path, strerror(errno));
	print_summary(&load);
	fleet_clear(&load.fleet);
	plan_clear(&load.plan);
	return 0;
}
