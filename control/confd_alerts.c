/* SPDX-License-Identifier: ISC */
/*
 * Alerts: kept while they last, shown by status, mailed once when raised and
 * once when cleared (DESIGN §4).
 * Runs in: postern-confd.  Trusts: a program only for alerts of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alerts.h"
#include "common/printable.h"
#include "control/confd.h"

#define ALERTS_MAX 1000
/* A mail that could not be queued is tried again after this. */
#define MAIL_RETRY_MS 30000
#define MAIL_LIMIT_MS 10000
/*
 * A program that came back raises again what still holds; what it did not
 * raise within this time is over.
 */
#define CONFIRM_MS (10u * 60 * 1000)

struct raised {
	unsigned number;
	char subject[257];
	char raiser[17];
	char text[513];
	int64_t since;
	uint64_t confirm_by_ms; /* 0: confirmed */
	struct raised *next;
};

/* A mail that is still to be queued. */
struct mail {
	char *subject;
	char *text;
	struct mail *next;
};

struct confd_alerts {
	struct raised *list;
	size_t count;
	struct mail *mails;
	bool is_mailing; /* the first of them is with queued */
	struct event *timer;
};

/* ---- mail ---- */

static void mail_next(struct confd *confd);

static void
drop_mail(struct confd_alerts *alerts)
{
	struct mail *mail = alerts->mails;

	alerts->mails = mail->next;
	free(mail->subject);
	free(mail->text);
	free(mail);
}

static void
on_queued(void *arg, const struct channel_frame *frame)
{
	struct confd *confd = arg;
	struct confd_alerts *alerts = confd->alerts;

	alerts->is_mailing = false;
	if (frame == NULL || frame->message->mgmt_reply.code != MGMT_DONE) {
		loop_arm(alerts->timer, MAIL_RETRY_MS);
		return;
	}
	drop_mail(alerts);
	mail_next(confd);
}

static const char *
recipient(const struct confd *confd)
{
	const struct settings *settings = daemon_settings(confd->daemon);

	return settings->alert_to[0] != '\0' ? settings->alert_to
					     : settings->system_postmaster;
}

static void
mail_next(struct confd *confd)
{
	struct confd_alerts *alerts = confd->alerts;
	const struct confd_peer *queued = confd_find_peer(confd, ROLE_QUEUED);
	struct ipc_mgmt_request request = {
	    .verb = SLICE("queue.notify"), .actor = SLICE("postern-confd")};
	json_t *json;
	char *text;

	if (alerts->is_mailing || alerts->mails == NULL || queued == NULL ||
	    daemon_is_managing(confd->daemon))
		return;
	if (recipient(confd)[0] == '\0') {
		while (alerts->mails != NULL)
			drop_mail(alerts);
		return;
	}
	json = json_pack("{s:s, s:s, s:s}", "to", recipient(confd), "subject",
	    alerts->mails->subject, "text", alerts->mails->text);
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	request.arguments = slice_of(text);
	alerts->is_mailing =
	    text != NULL &&
	    channel_request(queued->channel, MSG_MGMT_REQUEST, &request, NULL,
		MSG_MGMT_REPLY, MAIL_LIMIT_MS, on_queued, confd) != 0;
	free(text);
}

static void __attribute__((format(printf, 3, 4))) add_mail(
    struct confd *confd, const struct raised *alert, const char *format, ...)
{
	struct mail *mail = xcalloc(1, sizeof(*mail));
	struct mail **at = &confd->alerts->mails;
	va_list ap;

	if (asprintf(&mail->subject, "[postern] %s: %s%s%s",
		daemon_settings(confd->daemon)->smtp_hostname,
		alert_row(alert->number)->name,
		alert->subject[0] != '\0' ? " " : "", alert->subject) == -1)
		fatal("out of memory");
	va_start(ap, format);
	if (vasprintf(&mail->text, format, ap) == -1)
		fatal("out of memory");
	va_end(ap);
	while (*at != NULL)
		at = &(*at)->next;
	*at = mail;
	mail_next(confd);
}

/* ---- the list ---- */

static struct raised **
find_alert(struct confd *confd, unsigned number, struct slice subject)
{
	struct raised **at = &confd->alerts->list;

	while (*at != NULL &&
	       ((*at)->number != number ||
		   !slice_equals(subject, slice_of((*at)->subject))))
		at = &(*at)->next;
	return at;
}

static struct raised *
add_alert(struct confd *confd, const struct config_alert *from)
{
	struct raised *alert = xcalloc(1, sizeof(*alert));
	struct raised **at = &confd->alerts->list;

	alert->number = from->alert;
	alert->since = from->since;
	(void)printable(from->subject, alert->subject, sizeof(alert->subject));
	(void)printable(from->raiser, alert->raiser, sizeof(alert->raiser));
	(void)printable(from->text, alert->text, sizeof(alert->text));
	while (*at != NULL)
		at = &(*at)->next;
	*at = alert;
	confd->alerts->count++;
	return alert;
}

static void
log_alert(struct confd *confd, const struct raised *alert, bool is_raised)
{
	const struct event_alert event = {
	    .alert = slice_of(alert_row(alert->number)->name),
	    .subject = slice_of(alert->subject),
	    .is_raised = is_raised,
	    .text = slice_of(alert->text)};

	log_event(daemon_log(confd->daemon), (struct log_context){0, 0},
	    EV_ALERT, &event);
}

void
alerts_raise(struct confd *confd, unsigned number, struct slice raiser,
    struct slice subject, struct slice text)
{
	struct raised *alert = *find_alert(confd, number, subject);
	const struct config_alert row = {.alert = number,
	    .since = (int64_t)(clock_wall_us() / 1000000),
	    .raiser = raiser,
	    .subject = subject,
	    .text = text};
	struct err err;

	if (alert != NULL) {
		alert->confirm_by_ms = 0;
		return;
	}
	if (alert_row(number) == NULL || confd->alerts->count >= ALERTS_MAX)
		return;
	alert = add_alert(confd, &row);
	if (config_store_put_alert(confd->store, &row, &err) == -1)
		log_notice("alert not stored: %s", err.text);
	log_alert(confd, alert, true);
	add_mail(confd, alert,
	    "%s\n\n%s\n\n\"postern status\" shows what "
	    "else there is; another mail comes when this is over.\n",
	    alert->text, alert_row(number)->advice);
}

static void
end_alert(struct confd *confd, struct raised **at)
{
	struct raised *alert = *at;
	struct err err;

	*at = alert->next;
	confd->alerts->count--;
	if (config_store_drop_alert(
		confd->store, alert->number, alert->subject, &err) == -1)
		log_notice("alert not removed: %s", err.text);
	log_alert(confd, alert, false);
	add_mail(confd, alert, "This is over:\n\n%s\n", alert->text);
	free(alert);
}

void
alerts_clear(struct confd *confd, unsigned number, struct slice subject)
{
	struct raised **at = find_alert(confd, number, subject);

	if (*at != NULL)
		end_alert(confd, at);
}

void
alerts_peer_up(struct confd *confd, enum role role)
{
	struct raised *alert = confd->alerts->list;

	for (; alert != NULL; alert = alert->next)
		if (strcmp(alert->raiser, role_name(role)) == 0)
			alert->confirm_by_ms =
			    clock_monotonic_ms() + CONFIRM_MS;
	if (role == ROLE_QUEUED)
		mail_next(confd);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct confd *confd = arg;
	struct raised **at = &confd->alerts->list;
	const uint64_t now_ms = clock_monotonic_ms();

	(void)fd;
	(void)what;
	while (*at != NULL) {
		if ((*at)->confirm_by_ms != 0 && (*at)->confirm_by_ms < now_ms)
			end_alert(confd, at);
		else
			at = &(*at)->next;
	}
	mail_next(confd);
	loop_arm(confd->alerts->timer, MAIL_RETRY_MS);
}

static void
load_one(void *arg, const struct config_alert *row)
{
	if (alert_row(row->alert) != NULL)
		(void)add_alert(arg, row);
}

int
alerts_load(struct confd *confd, struct err *err)
{
	confd->alerts = xcalloc(1, sizeof(*confd->alerts));
	confd->alerts->timer = event_new(
	    loop_base(daemon_loop(confd->daemon)), -1, 0, on_timer, confd);
	if (confd->alerts->timer == NULL)
		fatal("out of memory for a timer");
	loop_arm(confd->alerts->timer, MAIL_RETRY_MS);
	return config_store_alerts(confd->store, load_one, confd, err);
}

json_t *
alerts_json(const struct confd *confd)
{
	json_t *list = json_array();
	const struct raised *alert = confd->alerts->list;

	for (; alert != NULL; alert = alert->next)
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:s, s:i, s:s, s:s, s:I, s:s}", "alert",
			alert_row(alert->number)->name, "subject",
			alert->subject, "severity",
			alert_row(alert->number)->severity, "text", alert->text,
			"advice", alert_row(alert->number)->advice, "since",
			(json_int_t)alert->since, "raiser", alert->raiser));
	return list;
}

/* ---- the supervisor's, which has no channel of its own ---- */

static int
named_alert(const struct mgmt_ask *ask, unsigned *number_r)
{
	const char *name = mgmt_text(ask, "alert");

	for (unsigned i = 0; name != NULL && i < ALERT_COUNT; i++)
		if (strcmp(alert_row(i)->name, name) == 0) {
			*number_r = i;
			return 0;
		}
	return -1;
}

void
mgmt_alert_raise(struct mgmt_ask *ask)
{
	unsigned number;

	if (named_alert(ask, &number) == -1) {
		mgmt_fail(ask, MGMT_USAGE, NULL, "there is no such alert");
		return;
	}
	alerts_raise(ask->confd, number, SLICE("run"),
	    slice_of(mgmt_text(ask, "subject")),
	    slice_of(mgmt_text(ask, "text")));
	mgmt_reply(ask, MGMT_DONE, json_object());
}

void
mgmt_alert_clear(struct mgmt_ask *ask)
{
	unsigned number;

	if (named_alert(ask, &number) == -1) {
		mgmt_fail(ask, MGMT_USAGE, NULL, "there is no such alert");
		return;
	}
	alerts_clear(ask->confd, number, slice_of(mgmt_text(ask, "subject")));
	mgmt_reply(ask, MGMT_DONE, json_object());
}
