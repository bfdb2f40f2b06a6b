/* SPDX-License-Identifier: ISC */
/*
 * The words of events, and how they are filled in.
 * Runs in: postern, postern.cgi.  Trusts: nothing of the event's values.
 */
#include <string.h>

#include "common/event_text.h"
#include "common/printable.h"

/* A value on a line; a longer one is cut with an ellipsis. */
#define VALUE_MAX 1200

static const struct {
	const char *event;
	const char *text;
} templates[] = {
	{"accepted",
	    "accepted from <{from}>, {size} octets, {recipient_count} "
	    "{recipient_count|recipient|recipients}[, client {client}]"
	    "[, account {account}][, by {listener}]"
	    "[, Message-ID {header_message_id}]"},
	{"recipient", "recipient <{to}>[, was <{original}>]"},
	{"delivered",
	    "delivered to <{to}>[, by {host}][ [{address}]][, TLS {tls}]"
	    "[: {reply}][, attempt {attempt}]"},
	{"deferred",
	    "deferred for <{to}>[, by {host}][ [{address}]][, TLS {tls}]"
	    "[: {reply}][, attempt {attempt}][, next at {next_attempt}]"},
	{"failed",
	    "failed for <{to}>[, by {host}][ [{address}]][, TLS {tls}]"
	    "[: {reply}][, attempt {attempt}]"},
	{"notified",
	    "told <{to}>: {kind}[, by message {dsn_message_id}]"},
	{"handled", "{action} by {actor}"},
	{"protected",
	    "protected for {recipient_count} "
	    "{recipient_count|recipient|recipients}[, <{to}>]"
	    "[: {applied}][, {method}]"},
	{"opened",
	    "opened for {recipient_count} "
	    "{recipient_count|recipient|recipients}[, <{to}>]"
	    "[: {applied}][, {method}]{is_held|, held for an administrator|}"},
	{"waiting",
	    "waits for the signer[: {reason}][, attempt {attempt}]"
	    "[, next at {next_attempt}]"},
	{"finished", "finished[, after {queued_ms} ms]"},
	{"connect.refused",
	    "connection refused from {client}: {reason}[, {times} times]"},
	{"session",
	    "session of {client}[ ({ptr_name})][, HELO {helo}]"
	    "[, account {account}][, TLS {tls}][, by {listener}], "
	    "{accepted} accepted, {refused} refused[, ended by {end}]"
	    "[, {ms} ms]"},
	{"command.refused",
	    "command refused from {client}: {command}: {code} {text}"},
	{"mail.refused",
	    "sender <{from}> refused from {client}[, account {account}]: "
	    "{code} [{enhanced} ]{text}[, reference {reference}]"},
	{"rcpt.refused",
	    "recipient <{to}> of <{from}> refused from {client}"
	    "[, account {account}]: {code} [{enhanced} ]{text}"
	    "[, reference {reference}]"},
	{"data.refused",
	    "message of <{from}> refused from {client}[, account {account}]"
	    "[, header From {header_from}]: {code} [{enhanced} ]{text}"
	    "[, reference {reference}][, Message-ID {header_message_id}]"},
	{"tls.failed", "TLS with {client} failed: {text}"},
	{"login",
	    "{account} logged in from {client}[, {mechanism}]"
	    "[, app password {app_password}]"},
	{"login.failed",
	    "login refused[ of {account}] from {client}: {reason}"
	    "[, {mechanism}][, {times} times]"},
	{"login.throttled",
	    "logins not looked at[ of {account}] from {client}"
	    "[, {times} times]"},
	{"program.started", "{program} {version} started"},
	{"program.stopped", "{program} stopped"},
	{"program.notice", "{program}: {text}"},
	{"settings.applied", "{program} works with revision {revision}"},
	{"change",
	    "{actor}: {verb}[ {what}][, revision {revision}]"},
	{"log.lost",
	    "{count} {count|event|events}[ of {writer}] lost[: {reason}]"},
	{"alert",
	    "alert {alert}[ ({subject})] {is_raised|raised|cleared}"
	    "[: {text}]"},
	{"log.writer", "a process of {writer} began to write"},
	{"log.cut",
	    "the log's end in segment {segment} was not whole after record "
	    "{after_number}: {reason}[, {octets} octets]"},
	{"log.expired",
	    "the log up to segment {segment} ({day}) was deleted, as "
	    "log.retention_days says"},
};

const char *
event_text_template(const char *event)
{
	for (size_t i = 0; i < sizeof(templates) / sizeof(*templates); i++)
		if (strcmp(templates[i].event, event) == 0)
			return templates[i].text;
	return NULL;
}

static void
add_value(const json_t *value, struct buf *out)
{
	char text[VALUE_MAX];

	if (json_is_string(value))
		(void)buf_add_text(out,
		    printable((struct slice){json_string_value(value),
		                  json_string_length(value)},
		        text, sizeof(text)));
	else if (json_is_integer(value))
		(void)buf_addf(
		    out, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		(void)buf_addf(out, "%.3f", json_real_value(value));
	else if (json_is_boolean(value))
		(void)buf_add_text(out, json_is_true(value) ? "yes" : "no");
}

static bool
is_empty(const json_t *value)
{
	return value == NULL || json_is_null(value) ||
	    json_is_false(value) ||
	    (json_is_string(value) && json_string_length(value) == 0) ||
	    (json_is_integer(value) && json_integer_value(value) == 0);
}

/* The field of "{name}" or "{name|one|many}" without its braces. */
static const json_t *
field_of(const json_t *event, struct slice inner)
{
	char name[64];
	size_t bar = slice_find(inner, '|', 0);

	if (slice_copy((struct slice){inner.p, bar}, name, sizeof(name)) == -1)
		return NULL;
	return json_object_get(event, name);
}

static void
add_field(const json_t *event, struct slice inner, struct buf *out)
{
	const json_t *value = field_of(event, inner);
	size_t first = slice_find(inner, '|', 0);
	size_t second = slice_find(inner, '|', first + 1);

	if (first == inner.n)
		add_value(value, out);
	else if (json_is_true(value) || json_integer_value(value) == 1)
		(void)buf_add(out, inner.p + first + 1, second - first - 1);
	else
		(void)buf_add(out, inner.p + second + 1, inner.n - second - 1);
}

/* Where the [ that begins at `at` ends: brackets may stand in brackets. */
static size_t
part_end(struct slice text, size_t at)
{
	unsigned depth = 0;

	for (; at < text.n; at++) {
		if (text.p[at] == '[')
			depth++;
		else if (text.p[at] == ']' && --depth == 0)
			break;
	}
	return at;
}

static bool
has_empty(const json_t *event, struct slice part)
{
	size_t at = 0;

	while ((at = slice_find(part, '{', at)) < part.n) {
		size_t end = slice_find(part, '}', at);

		if (is_empty(field_of(event,
		        (struct slice){part.p + at + 1, end - at - 1})))
			return true;
		at = end;
	}
	return false;
}

/*
 * Fills in a template.  Brackets within a part are part of the text, as in
 * "[ [{address}]]".
 */
static void
fill(const json_t *event, struct slice text, bool is_part, struct buf *out)
{
	for (size_t at = 0; at < text.n; at++) {
		size_t end;

		if (text.p[at] == '{') {
			end = slice_find(text, '}', at);
			add_field(event,
			    (struct slice){text.p + at + 1, end - at - 1},
			    out);
			at = end;
		} else if (text.p[at] == '[' && !is_part) {
			struct slice part;

			end = part_end(text, at);
			part = (struct slice){
			    text.p + at + 1, end - at - 1};
			if (!has_empty(event, part))
				fill(event, part, true, out);
			at = end;
		} else {
			(void)buf_add_char(out, text.p[at]);
		}
	}
}

/* Fields that every event has stand before the line, or nowhere. */
static bool
is_common(const char *name)
{
	static const char *const names[] = {
	    "ts", "time_us", "event", "program", "id", "session", "number"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static void
add_all(json_t *event, struct buf *out)
{
	const char *name;
	json_t *value;

	add_value(json_object_get(event, "event"), out);
	json_object_foreach(event, name, value)
	{
		char text[64];

		if (is_common(name) || is_empty(value))
			continue;
		(void)buf_addf(out, " %s=",
		    printable(slice_of(name), text, sizeof(text)));
		add_value(value, out);
	}
}

void
event_text_line(const json_t *event, struct buf *out)
{
	const char *name =
	    json_string_value(json_object_get(event, "event"));
	const char *text = name == NULL ? NULL : event_text_template(name);
	json_t *copy;

	if (text != NULL) {
		fill(event, slice_of(text), false, out);
		return;
	}
	copy = json_copy((json_t *)(uintptr_t)event);
	add_all(copy, out);
	json_decref(copy);
}
