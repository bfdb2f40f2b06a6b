/* SPDX-License-Identifier: ISC */
/*
 * "postern status" and "postern health": asks every program how it is, and
 * says what an administrator should look at.
 * Runs in: postern-confd.  Trusts: programs' facts as text to show, no more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "control/confd.h"
#include "control/config_rules.h"
#include "control/times.h"

#define STATUS_LIMIT_MS 2000
/* Certificates are renewed a month before their end by most clients. */
#define CERTIFICATE_WARN_S (14 * 86400)
/* What bindd calls its facts, before the kind. */
#define LISTENER_FACT "listener "

/* ---- collecting ---- */

static json_t *
text_json(struct slice text)
{
	json_t *json = json_stringn(text.n > 0 ? text.p : "", text.n);

	return json != NULL ? json : json_string("?");
}

static void
take_facts(json_t *program, struct ipc_list facts, struct ipc_list counters)
{
	json_t *fact_json = json_object();
	json_t *counter_json = json_object();
	struct ipc_record_fact fact;
	struct ipc_record_counter counter;
	char name[65];

	while (ipc_fact_next(&facts, &fact))
		if (slice_copy(fact.name, name, sizeof(name)) == 0)
			(void)json_object_set_new(
			    fact_json, name, text_json(fact.value));
	while (ipc_counter_next(&counters, &counter))
		if (slice_copy(counter.name, name, sizeof(name)) == 0)
			(void)json_object_set_new(
			    counter_json, name, json_integer(counter.value));
	(void)json_object_set_new(program, "facts", fact_json);
	(void)json_object_set_new(program, "counters", counter_json);
}

struct status_part {
	struct mgmt_ask *ask;
	json_t *program; /* owned by ask->reply */
	void (*done)(struct mgmt_ask *ask);
};

static void
part_done(struct mgmt_ask *ask, void (*done)(struct mgmt_ask *ask))
{
	if (--ask->waiting == 0)
		done(ask);
}

static void
on_status(void *arg, const struct channel_frame *frame)
{
	struct status_part *part = arg;
	const struct ipc_status *status;

	if (frame == NULL) {
		(void)json_object_set_new(
		    part->program, "state", json_string("silent"));
	} else {
		status = &frame->message->status;
		(void)json_object_set_new(part->program, "state",
		    json_string(status->is_ready ? "running" : "starting"));
		take_facts(part->program, status->facts, status->counters);
		/* Its own word: an answer to a snapshot may have been late. */
		(void)json_object_set(part->program, "revision",
		    json_object_get(json_object_get(part->program, "counters"),
			"revision"));
	}
	part_done(part->ask, part->done);
	free(part);
}

static void
ask_program(struct mgmt_ask *ask, enum role role, json_t *program,
    void (*done)(struct mgmt_ask *ask))
{
	const struct confd_peer *peer = confd_find_peer(ask->confd, role);
	struct status_part *part = xcalloc(1, sizeof(*part));

	*part =
	    (struct status_part){.ask = ask, .program = program, .done = done};
	if (peer != NULL &&
	    channel_request(peer->channel, MSG_STATUS_ASK, NULL, NULL,
		MSG_STATUS, STATUS_LIMIT_MS, on_status, part) != 0) {
		ask->waiting++;
		(void)json_object_set_new(program, "revision",
		    json_integer((json_int_t)peer->revision));
		return;
	}
	(void)json_object_set_new(program, "state",
	    json_string(
		daemon_is_managing(ask->confd->daemon) ? "stopped" : "away"));
	free(part);
}

static void
own_status(struct confd *confd, json_t *program)
{
	struct status_writer status;

	ipc_list_writer_init(&status.facts, 65536);
	ipc_list_writer_init(&status.counters, 65536);
	daemon_write_status(confd->daemon, &status);
	take_facts(
	    program, ipc_list_of(&status.facts), ipc_list_of(&status.counters));
	ipc_list_writer_clear(&status.facts);
	ipc_list_writer_clear(&status.counters);
	(void)json_object_set_new(program, "state", json_string("running"));
	(void)json_object_set_new(program, "revision",
	    json_integer((json_int_t)config_store_revision(confd->store)));
}

/* ask->reply holds it all when done is called. */
static void
collect(struct mgmt_ask *ask, void (*done)(struct mgmt_ask *ask))
{
	struct confd *confd = ask->confd;
	json_t *programs = json_array();

	ask->reply = json_pack("{s:s, s:I, s:b, s:o, s:o}", "hostname",
	    daemon_settings(confd->daemon)->smtp_hostname, "revision",
	    (json_int_t)config_store_revision(confd->store), "is_running",
	    !daemon_is_managing(confd->daemon), "programs", programs, "alerts",
	    alerts_json(confd));
	ask->waiting = 1;
	for (int role = 0; role < ROLE_COUNT; role++) {
		json_t *program;

		if (!role_is_daemon((enum role)role))
			continue;
		program = json_pack("{s:s, s:s}", "program",
		    role_name((enum role)role), "purpose",
		    role_purpose((enum role)role));
		(void)json_array_append_new(programs, program);
		if (role == ROLE_CONFD)
			own_status(confd, program);
		else
			ask_program(ask, (enum role)role, program, done);
	}
	part_done(ask, done);
}

static const json_t *
program_named(const json_t *status, const char *name)
{
	const json_t *programs = json_object_get(status, "programs");
	const json_t *program;
	size_t i;

	json_array_foreach(programs, i, program)
		if (strcmp(
			json_string_value(json_object_get(program, "program")),
			name) == 0)
			return program;
	return NULL;
}

/* bindd's facts "listener KIND": addresses with spaces between. */
static json_t *
listeners_json(const json_t *status)
{
	json_t *facts =
	    json_object_get(program_named(status, "bindd"), "facts");
	json_t *list = json_array();
	const char *key;
	json_t *value;

	json_object_foreach(facts, key, value) {
		struct slice addresses = slice_of(json_string_value(value));
		struct slice address;

		if (strncmp(key, LISTENER_FACT, strlen(LISTENER_FACT)) != 0)
			continue;
		while (setting_list_next(&addresses, &address))
			(void)json_array_append_new(
			    list, json_pack("{s:s, s:s%}", "kind",
				      key + strlen(LISTENER_FACT), "address",
				      address.p, address.n));
	}
	return list;
}

static void
answer_status(struct mgmt_ask *ask)
{
	json_t *result = ask->reply;

	ask->reply = NULL;
	(void)json_object_set_new(result, "listeners", listeners_json(result));
	mgmt_reply(ask, MGMT_DONE, result);
}

void
mgmt_status(struct mgmt_ask *ask)
{
	collect(ask, answer_status);
}

/* ---- health ---- */

struct health {
	json_t *checks;
	bool is_bad;
};

static void __attribute__((format(printf, 4, 5)))
add_check(struct health *health, const char *name, bool is_ok,
    const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	health->is_bad |= !is_ok;
	(void)json_array_append_new(
	    health->checks, json_pack("{s:s, s:b, s:s}", "check", name, "ok",
				is_ok, "text", text));
}

static void
check_programs(struct health *health, const json_t *status)
{
	const json_t *programs = json_object_get(status, "programs");
	const json_int_t revision =
	    json_integer_value(json_object_get(status, "revision"));
	const json_t *program;
	size_t i;

	json_array_foreach(programs, i, program) {
		const char *name =
		    json_string_value(json_object_get(program, "program"));
		const char *state =
		    json_string_value(json_object_get(program, "state"));
		const json_int_t has =
		    json_integer_value(json_object_get(program, "revision"));

		if (strcmp(state, "running") != 0)
			add_check(health, name, false, "postern-%s is %s", name,
			    state);
		else if (has != revision)
			add_check(health, name, false,
			    "postern-%s works with "
			    "revision %lld, not %lld",
			    name, (long long)has, (long long)revision);
		else
			add_check(health, name, true, "postern-%s runs", name);
	}
}

static void
check_alerts(struct health *health, const json_t *status)
{
	const json_t *alerts = json_object_get(status, "alerts");
	const json_t *alert;
	size_t i;

	json_array_foreach(alerts, i, alert)
		add_check(health, "alert", false, "%s %s: %s",
		    json_string_value(json_object_get(alert, "alert")),
		    json_string_value(json_object_get(alert, "subject")),
		    json_string_value(json_object_get(alert, "text")));
	if (json_array_size(alerts) == 0)
		add_check(health, "alerts", true, "no alert is raised");
}

/* smtpd's facts about its certificate, when it has told them. */
static void
check_certificate(struct health *health, const json_t *status)
{
	const json_t *facts =
	    json_object_get(program_named(status, "smtpd"), "facts");
	const char *end =
	    json_string_value(json_object_get(facts, "tls.not_after"));
	const char *is_self_signed =
	    json_string_value(json_object_get(facts, "tls.is_self_signed"));
	const int64_t now = (int64_t)(clock_wall_us() / 1000000);
	int64_t until;

	if (end == NULL || times_parse(slice_of(end), &until) == -1)
		return;
	if (until < now + CERTIFICATE_WARN_S)
		add_check(health, "certificate", false,
		    "the TLS certificate "
		    "ends in %lld days; \"postern tls install CERT KEY\"",
		    (long long)((until - now) / 86400));
	else if (is_self_signed != NULL && strcmp(is_self_signed, "yes") == 0)
		add_check(health, "certificate", false,
		    "the TLS certificate "
		    "is signed by itself; \"postern tls install CERT KEY\" "
		    "brings one that clients trust");
	else
		add_check(health, "certificate", true,
		    "the TLS certificate is good for %lld days",
		    (long long)((until - now) / 86400));
}

/* What signerd's keys are wrapped with, and what that protects. */
static void
check_keys(struct health *health, const json_t *status)
{
	const json_t *facts =
	    json_object_get(program_named(status, "signerd"), "facts");
	const char *with =
	    json_string_value(json_object_get(facts, "master_key"));

	if (with != NULL)
		add_check(health, "keys", true,
		    "private keys are wrapped with %s", with);
}

static void
check_settings(struct health *health, const struct confd *confd)
{
	const struct settings *settings = daemon_settings(confd->daemon);
	struct err err;

	if (config_items_check(config_store_items(confd->store), &err) == -1)
		add_check(health, "settings", false, "%s", err.text);
	else
		add_check(health, "settings", true, "revision %llu is sound",
		    (unsigned long long)config_store_revision(confd->store));
	add_check(health, "postmaster", settings->system_postmaster[0] != '\0',
	    settings->system_postmaster[0] != '\0'
		? "postmaster@ and abuse@ go to %s"
		: "nobody gets mail to postmaster@ and abuse@%s; "
		  "\"postern config set system.postmaster=ADDRESS\"",
	    settings->system_postmaster);
}

static void
check_disk(struct health *health, const struct confd *confd)
{
	struct statvfs disk;
	unsigned long long percent;

	if (statvfs(daemon_state_dir(confd->daemon), &disk) == -1 ||
	    disk.f_blocks == 0)
		return;
	percent = (unsigned long long)disk.f_bavail * 100 / disk.f_blocks;
	add_check(health, "disk", percent >= 10,
	    "%llu %% of the disk with the stores are free", percent);
}

static void
answer_health(struct mgmt_ask *ask)
{
	struct health health = {.checks = json_array()};
	json_t *status = ask->reply;

	check_programs(&health, status);
	check_alerts(&health, status);
	check_certificate(&health, status);
	check_keys(&health, status);
	check_settings(&health, ask->confd);
	check_disk(&health, ask->confd);
	mgmt_reply(ask, health.is_bad ? MGMT_PROBLEMS : MGMT_DONE,
	    json_pack("{s:o}", "checks", health.checks));
}

void
mgmt_health(struct mgmt_ask *ask)
{
	collect(ask, answer_health);
}
