/* SPDX-License-Identifier: ISC */
/*
 * CHECK_MAIL: asks what smtpd/client_check.c finds due, and answers once.
 * Runs in: postern-checkd.  Trusts: nothing in the request; its names are a
 * stranger's.
 */
#include <stdlib.h>
#include <string.h>

#include "smtpd/checkd.h"
#include "smtpd/client_check.h"

/*
 * The client's name is noted, it decides nothing: a reverse zone without an
 * answer does not hold up mail for longer.
 */
#define PTR_WAIT_MS 3000

struct mail_check;

/* One of its questions, so that the answer finds its place. */
struct mail_question {
	struct mail_check *mail;
	struct resolver_question *question; /* NULL: not asked, or answered */
};

struct mail_check {
	struct checkd_job job;
	struct checkd *checkd;
	struct client_check check;
	struct mail_question questions[CLIENT_CHECK_QUESTIONS_MAX];
	size_t asked;
	struct event *timer;
	uint64_t deadline_ms;
};

static void
free_mail(struct mail_check *mail)
{
	for (size_t i = 0; i < mail->asked; i++)
		if (mail->questions[i].question != NULL)
			resolver_forget(mail->questions[i].question);
	if (mail->timer != NULL)
		event_free(mail->timer);
	free(mail);
}

static void
drop_mail(struct checkd_job *job)
{
	checkd_job_leave(job);
	free_mail((struct mail_check *)job);
}

static struct ipc_checked_mail
verdict_of(const struct client_check *check)
{
	return (struct ipc_checked_mail){.sender = (uint16_t)check->sender,
	    .ptr_status = (uint16_t)check->ptr_status,
	    .ptr_name = check->ptr_status == PTR_CONFIRMED
	        ? slice_of(check->ptr_name.text)
	        : SLICE("")};
}

static void
finish(struct mail_check *mail)
{
	struct ipc_checked_mail verdict = verdict_of(&mail->check);

	checkd_job_end(&mail->job, MSG_CHECKED_MAIL, &verdict);
	free_mail(mail);
}

static void on_answer(void *arg, const struct dns_message *message);

/* Asks what is due; one that cannot be asked is a failure of DNS. */
static void
ask_due(struct mail_check *mail)
{
	struct client_check *check = &mail->check;

	while (mail->asked < check->count) {
		size_t index = mail->asked++;
		struct mail_question *at = &mail->questions[index];

		at->mail = mail;
		at->question = resolver_ask(mail->checkd->resolver,
		    &check->questions[index].name, check->questions[index].type,
		    on_answer, at);
		if (at->question == NULL)
			client_check_answer(
			    check, index, &mail->checkd->not_asked);
	}
	if (client_check_is_done(check))
		finish(mail);
}

static void
on_answer(void *arg, const struct dns_message *message)
{
	struct mail_question *at = arg;
	struct mail_check *mail = at->mail;

	at->question = NULL;
	client_check_answer(
	    &mail->check, (size_t)(at - mail->questions), message);
	ask_due(mail);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct mail_check *mail = arg;
	uint64_t now_ms = clock_monotonic_ms();

	(void)fd;
	(void)what;
	if (!mail->check.is_sender_known && now_ms < mail->deadline_ms) {
		loop_arm(mail->timer, mail->deadline_ms - now_ms);
		return;
	}
	client_check_give_up(&mail->check);
	finish(mail);
}

static void
start_timer(struct mail_check *mail)
{
	struct daemon *daemon = mail->checkd->daemon;
	uint64_t most_ms = daemon_settings(daemon)->dns_timeout * 1000;

	mail->timer = event_new(
	    loop_base(daemon_loop(daemon)), -1, 0, on_timer, mail);
	if (mail->timer == NULL)
		fatal("out of memory for a timer");
	mail->deadline_ms = clock_monotonic_ms() + most_ms;
	loop_arm(mail->timer, most_ms < PTR_WAIT_MS ? most_ms : PTR_WAIT_MS);
}

int
checkd_on_check_mail(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_check_mail *message = &frame->message->check_mail;
	struct mail_check *mail;
	struct netaddr client;
	struct domain sender;
	bool has_sender = message->sender_domain.n > 0;
	bool is_domain;

	if (netaddr_parse(message->client, &client) == -1)
		return -1;
	is_domain = has_sender &&
	    domain_parse_dns(message->sender_domain, &sender, NULL) == 0;
	mail = xcalloc(1, sizeof(*mail));
	mail->checkd = checkd_of(channel);
	mail->checkd->mail_checks++;
	client_check_begin(&mail->check, &client, is_domain ? &sender : NULL);
	if (has_sender && !is_domain)
		mail->check.sender = SENDER_NO_DOMAIN;
	if (!checkd_job_start(
	        &mail->job, channel, frame->request_id, drop_mail)) {
		struct ipc_checked_mail verdict = {
		    .sender = SENDER_TEMPORARY, .ptr_status = PTR_UNKNOWN};

		free(mail);
		return channel_answer(
		    channel, frame->request_id, MSG_CHECKED_MAIL, &verdict);
	}
	start_timer(mail);
	ask_due(mail);
	return 0;
}
