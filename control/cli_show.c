/* SPDX-License-Identifier: ISC */
/*
 * The verbs that show how things are: status, health, metrics, events, the
 * certificate, a route's test.
 * Runs in: postern.  Trusts: nothing of an answer's texts.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/events.h"
#include "common/printable.h"
#include "control/cli.h"
#include "control/times.h"

/* ---- status ---- */

/* Off a terminal each line says first that it is an alert, no program. */
static void
show_alerts(json_t *alerts)
{
	static const struct cli_table table = {
	    "alerts", "since:SINCE:t,alert:ALERT,subject:SUBJECT,text:WHAT"};
	static const struct cli_table plain = {"alerts",
	    "kind:KIND,alert:ALERT,subject:SUBJECT,since:SINCE:t,text:WHAT"};
	json_t *alert;
	size_t i;

	if (json_array_size(alerts) == 0)
		return;
	json_array_foreach(alerts, i, alert)
		(void)json_object_set_new(alert, "kind", json_string("alert"));
	if (cli_is_terminal())
		(void)putchar('\n');
	cli_show_rows(cli_is_terminal() ? &table : &plain, alerts, true);
}

static void
show_details(const json_t *programs)
{
	const json_t *program;
	size_t i;

	json_array_foreach(programs, i, program) {
		static const char *const parts[] = {"facts", "counters"};
		const char *name =
		    json_string_value(json_object_get(program, "program"));

		for (size_t part = 0; part < 2; part++) {
			json_t *members = json_object_get(program, parts[part]);
			const char *key;
			json_t *value;

			json_object_foreach(members, key, value) {
				struct buf text;

				buf_init(&text, 8192);
				cli_value_text(value, '\0', &text);
				(void)printf("%s.%s\t%s\n",
				    name != NULL ? name : "?", key,
				    buf_text(&text));
				buf_clear(&text);
			}
		}
	}
}

int
cli_run_status(struct cli *cli)
{
	static const struct cli_table table = {"programs",
	    "program:PROGRAM,state:STATE,revision:REVISION,purpose:DOES"};
	json_t *reply;
	const char *hostname;
	bool is_running;
	const int code =
	    cli_ask(cli, cli->verb->request, cli->arguments, &reply);

	if (code != CLI_DONE)
		return code;
	is_running = json_is_true(json_object_get(reply, "is_running"));
	hostname = json_string_value(json_object_get(reply, "hostname"));
	if (cli->is_json || cli->is_jsonl) {
		cli_show_json(reply);
	} else {
		if (cli_is_terminal())
			(void)printf("%s%s%s: %s, revision %lld\n\n",
			    cli_bold(), hostname != NULL ? hostname : "?",
			    cli_plain(), is_running ? "running" : "stopped",
			    (long long)json_integer_value(
				json_object_get(reply, "revision")));
		cli_show_rows(&table, json_object_get(reply, "programs"), true);
		show_alerts(json_object_get(reply, "alerts"));
		if (json_is_true(json_object_get(cli->arguments, "detailed")))
			show_details(json_object_get(reply, "programs"));
	}
	json_decref(reply);
	if (!is_running) {
		cli_say("the gateway is stopped; postern-run%s%s starts it",
		    cli->root != NULL ? " --root " : "",
		    cli->root != NULL ? cli->root : "");
		return CLI_AWAY;
	}
	return CLI_DONE;
}

/* ---- health ---- */

int
cli_run_health(struct cli *cli)
{
	json_t *reply;
	const json_t *checks;
	const json_t *check;
	size_t i;
	int code;

	if ((code = cli_connect(cli)) != CLI_DONE)
		return code;
	code =
	    client_ask(cli->client, cli->verb->request, cli->arguments, &reply);
	checks = json_object_get(reply, "checks");
	if (cli->is_json || cli->is_jsonl) {
		cli_show(cli, reply);
	} else if (!json_is_array(checks)) {
		code = cli_say_error(cli, code, reply);
	} else {
		json_array_foreach(checks, i, check) {
			const bool is_ok =
			    json_is_true(json_object_get(check, "ok"));
			struct buf text;

			buf_init(&text, 8192);
			cli_value_text(
			    json_object_get(check, "text"), '\0', &text);
			(void)printf("%s%-4s%s  %s\n",
			    is_ok ? cli_green() : cli_red(),
			    is_ok ? "ok" : "BAD", cli_plain(), buf_text(&text));
			buf_clear(&text);
		}
	}
	json_decref(reply);
	return code;
}

/* ---- metrics ---- */

/* Names of metrics hold letters, digits and _ only. */
static void
metric_name(const char *program, const char *counter, char *out, size_t size)
{
	(void)snprintf(out, size, "postern_%s_%s", program, counter);
	for (char *c = out; *c != '\0'; c++)
		if (!isalnum((unsigned char)*c))
			*c = '_';
}

static void
print_counters(const char *program, json_t *counters)
{
	const char *key;
	json_t *value;
	char name[128];

	json_object_foreach(counters, key, value) {
		const size_t n = strlen(key);

		metric_name(program, key, name, sizeof(name));
		(void)printf("# TYPE %s %s\n%s %lld\n", name,
		    n > 6 && strcmp(key + n - 6, "_total") == 0 ? "counter"
								: "gauge",
		    name, (long long)json_integer_value(value));
	}
}

int
cli_run_metrics(struct cli *cli)
{
	json_t *reply;
	const json_t *programs;
	const json_t *program;
	size_t i;
	const int code =
	    cli_ask(cli, cli->verb->request, cli->arguments, &reply);

	if (code != CLI_DONE)
		return code;
	programs = json_object_get(reply, "programs");
	(void)puts("# TYPE postern_up gauge");
	json_array_foreach(programs, i, program) {
		const char *state =
		    json_string_value(json_object_get(program, "state"));

		(void)printf("postern_up{program=\"%s\"} %d\n",
		    json_string_value(json_object_get(program, "program")),
		    state != NULL && strcmp(state, "running") == 0);
	}
	(void)printf("# TYPE postern_alerts gauge\npostern_alerts %zu\n",
	    json_array_size(json_object_get(reply, "alerts")));
	json_array_foreach(programs, i, program)
		print_counters(
		    json_string_value(json_object_get(program, "program")),
		    json_object_get(program, "counters"));
	json_decref(reply);
	return CLI_DONE;
}

/* ---- events ---- */

int
cli_run_events(struct cli *cli)
{
	static const char *const levels[] = {
	    [EVENT_DEBUG] = "debug",
	    [EVENT_INFO] = "info",
	    [EVENT_NOTICE] = "notice",
	    [EVENT_WARNING] = "warning",
	};
	json_t *list = json_array();
	json_t *reply;

	for (int type = 0; type < EVENT_TYPE_COUNT; type++) {
		const struct event_row *row = event_row((enum event_type)type);
		json_t *fields = json_array();

		for (uint32_t i = 0; i < row->shape.field_count; i++)
			(void)json_array_append_new(
			    fields, json_string(row->shape.fields[i].name));
		(void)json_array_append_new(
		    list, json_pack("{s:s, s:s, s:s, s:o}", "event",
			      row->shape.name, "level", levels[row->level],
			      "meaning", row->meaning, "fields", fields));
	}
	reply = json_pack("{s:o}", "events", list);
	cli_show(cli, reply);
	json_decref(reply);
	return CLI_DONE;
}

/* ---- the certificate ---- */

static void
show_certificate(const struct cli *cli, json_t *facts)
{
	const char *key;
	json_t *value;
	char text[TIMES_TEXT_MAX];
	char shown[1024];

	if (cli->is_json || cli->is_jsonl) {
		cli_show_json(facts);
		return;
	}
	json_object_foreach(facts, key, value) {
		const char *fact = json_string_value(value);
		uint64_t number;

		if (fact == NULL)
			continue;
		if (strncmp(key, "not_", 4) == 0 &&
		    slice_to_u64(slice_of(fact), &number) == 0)
			fact = times_format((int64_t)number, text);
		(void)printf("%s: %s\n", key,
		    printable(slice_of(fact), shown, sizeof(shown)));
	}
}

/* smtpd's facts "tls.*", without the prefix. */
static json_t *
certificate_facts(const json_t *status)
{
	const json_t *programs = json_object_get(status, "programs");
	json_t *found = json_object();
	const json_t *program;
	size_t i;

	json_array_foreach(programs, i, program) {
		json_t *facts = json_object_get(program, "facts");
		const char *key;
		json_t *value;

		if (strcmp(
			json_string_value(json_object_get(program, "program")),
			"smtpd") != 0)
			continue;
		json_object_foreach(facts, key, value)
			if (strncmp(key, "tls.", 4) == 0)
				(void)json_object_set(found, key + 4, value);
	}
	return found;
}

int
cli_run_tls_show(struct cli *cli)
{
	json_t *reply;
	json_t *facts;
	int code = cli_ask(cli, cli->verb->request, cli->arguments, &reply);

	if (code != CLI_DONE)
		return code;
	facts = certificate_facts(reply);
	if (json_object_size(facts) == 0)
		code = cli_fail(cli, CLI_NOTHING, "postern status",
		    "postern-smtpd tells of no certificate");
	else
		show_certificate(cli, facts);
	json_decref(facts);
	json_decref(reply);
	return code;
}

/* ---- a route's test: what was found out counts also when it fails ---- */

int
cli_run_route_test(struct cli *cli)
{
	json_t *reply;
	int code;

	if ((code = cli_connect(cli)) != CLI_DONE)
		return code;
	code =
	    client_ask(cli->client, cli->verb->request, cli->arguments, &reply);
	if (json_is_array(json_object_get(reply, "steps")) || cli->is_json)
		cli_show(cli, reply);
	if (code != CLI_DONE)
		code = cli_say_error(cli, code, reply);
	json_decref(reply);
	return code;
}
