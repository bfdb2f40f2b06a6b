/* SPDX-License-Identifier: ISC */
/*
 * What a program says of itself: facts and counters when confd asks, alerts
 * when something is wrong.
 * Runs in: every program.  Trusts: texts from outside are made printable.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/daemon_state.h"
#include "common/printable.h"
#include "config.h"

/* ---- status ---- */

#define STATUS_SIZE_MAX 262144

void
status_fact(
    struct status_writer *status, const char *name, const char *format, ...)
{
	struct ipc_record_fact fact = {.name = slice_of(name)};
	char raw[2048];
	char text[1024];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(raw, sizeof(raw), format, ap);
	va_end(ap);
	(void)printable(slice_of(raw), text, sizeof(text));
	fact.value = slice_of(text);
	(void)ipc_fact_add(&status->facts, &fact, NULL);
}

void
status_counter(struct status_writer *status, const char *name, int64_t value)
{
	struct ipc_record_counter counter = {
	    .name = slice_of(name), .value = value};

	(void)ipc_counter_add(&status->counters, &counter, NULL);
}

void
daemon_write_status(struct daemon *daemon, struct status_writer *status)
{
	status_fact(status, "version", "%s", PACKAGE_VERSION);
	status_counter(status, "pid", getpid());
	status_counter(status, "log_lost", (int64_t)log_lost(daemon->log));
	if (daemon->snapshot != NULL)
		status_counter(
		    status, "revision", (int64_t)daemon->snapshot->revision);
	if (daemon->is_started && daemon->program->status != NULL)
		daemon->program->status(daemon, status);
}

int
daemon_on_status_ask(struct channel *channel, const struct channel_frame *frame)
{
	struct daemon *daemon = channel_owner(channel);
	struct status_writer status;
	struct ipc_status answer = {.is_ready = daemon->is_started};
	int rc;

	ipc_list_writer_init(&status.facts, STATUS_SIZE_MAX);
	ipc_list_writer_init(&status.counters, STATUS_SIZE_MAX);
	daemon_write_status(daemon, &status);
	answer.facts = ipc_list_of(&status.facts);
	answer.counters = ipc_list_of(&status.counters);
	rc = channel_answer(channel, frame->request_id, MSG_STATUS, &answer);
	ipc_list_writer_clear(&status.facts);
	ipc_list_writer_clear(&status.counters);
	return rc;
}

/* ---- alerts ---- */

static void
send_alert(struct daemon *daemon, const struct raised_alert *raised)
{
	struct channel *channel = link_channel(daemon->confd);
	struct ipc_alert_raise message = {.alert = (uint16_t)raised->alert,
	    .subject = slice_of(raised->subject),
	    .text = slice_of(raised->text)};

	if (channel != NULL)
		(void)channel_send(channel, MSG_ALERT_RAISE, &message, NULL);
}

static struct raised_alert **
find_alert(struct daemon *daemon, int alert, const char *subject)
{
	struct raised_alert **at = &daemon->alerts;

	while (*at != NULL &&
	       ((*at)->alert != alert || strcmp((*at)->subject, subject) != 0))
		at = &(*at)->next;
	return at;
}

void
daemon_alert_raise(struct daemon *daemon, int alert, const char *subject,
    const char *format, ...)
{
	struct raised_alert *raised;
	char raw[1024];
	char clean[257];
	va_list ap;

	(void)printable(slice_of(subject), clean, sizeof(clean));
	if (*find_alert(daemon, alert, clean) != NULL)
		return;
	raised = xcalloc(1, sizeof(*raised));
	raised->alert = alert;
	memcpy(raised->subject, clean, sizeof(clean));
	va_start(ap, format);
	(void)vsnprintf(raw, sizeof(raw), format, ap);
	va_end(ap);
	(void)printable(slice_of(raw), raised->text, sizeof(raised->text));
	raised->next = daemon->alerts;
	daemon->alerts = raised;
	send_alert(daemon, raised);
}

void
daemon_alert_clear(struct daemon *daemon, int alert, const char *subject)
{
	struct channel *channel = link_channel(daemon->confd);
	struct ipc_alert_clear message = {.alert = (uint16_t)alert};
	struct raised_alert **at;
	struct raised_alert *raised;
	char clean[257];

	(void)printable(slice_of(subject), clean, sizeof(clean));
	at = find_alert(daemon, alert, clean);
	if ((raised = *at) == NULL)
		return;
	*at = raised->next;
	free(raised);
	message.subject = slice_of(clean);
	if (channel != NULL)
		(void)channel_send(channel, MSG_ALERT_CLEAR, &message, NULL);
}

void
daemon_send_alerts(struct daemon *daemon)
{
	for (struct raised_alert *at = daemon->alerts; at != NULL;
	     at = at->next)
		send_alert(daemon, at);
}
