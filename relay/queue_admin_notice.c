/* SPDX-License-Identifier: ISC */
/*
 * A message from the gateway itself, queued like any other.
 * Runs in: postern-queued, the loop.  Trusts: confd that it may be sent;
 * nothing of the JSON.
 */
#include <string.h>

#include "common/mime_word.h"
#include "common/rfc5322_date.h"
#include "common/utf8.h"
#include "relay/dsn_text.h"
#include "relay/queue_admin_parts.h"
#include "relay/queue_alias.h"
#include "relay/queue_dsn.h"
#include "relay/queue_outbox.h"
#include "relay/queue_sign.h"
#include "relay/submission.h"

#define NOTICE_TEXT_MAX 65536

static void
on_notice_committed(struct pool_task *task)
{
	struct queue_job *job = queue_job_of(task);
	struct queue_request *request = job->arg;
	char id[ID_TEXT_SIZE];

	queue_outbox_send(request->queued->outbox, job);
	id_format(job->message->id, id);
	if (job->status == QUEUE_JOB_DONE) {
		request->reply = json_pack("{s:s}", "id", id);
		queue_intake_committed(request->queued, job->message);
	} else {
		queue_admin_refuse(
		    request, EXIT_CODE_FAILED, "no space for the message");
	}
	queue_job_free(job);
	queue_admin_answer(request);
}

/* Text of ours with line ends as SMTP wants them. */
static void
add_lines(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++)
		if (*text == '\n')
			(void)buf_add_text(out, "\r\n");
		else if (*text != '\r')
			(void)buf_add_char(out, *text);
	(void)buf_add_text(out, "\r\n");
}

static void
write_header(struct queue_request *request, const char *to, const char *subject,
    const char *encoding, struct buf *out)
{
	const char *host = queued_settings(request->queued)->smtp_hostname;
	char date[RFC5322_DATE_SIZE];
	char id[ID_TEXT_SIZE];
	struct buf word;

	id_format(id_next(&request->queued->ids, clock_wall_us() / 1000), id);
	buf_init(&word, 4096);
	(void)mime_word_encode(slice_of(subject), sizeof("Subject:"), &word);
	(void)rfc5322_date((time_t)(clock_wall_us() / 1000000), date);
	(void)buf_addf(out,
	    "From: Postern <postmaster@%s>\r\nTo: <%s>\r\nSubject: %s\r\n"
	    "Date: %s\r\nMessage-ID: <%s.notice@%s>\r\n"
	    "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: %s\r\n\r\n",
	    host, to, buf_text(&word), date, id, host, encoding);
	buf_clear(&word);
}

/*
 * In seven bits: a server without 8BITMIME would not take it, and nobody would
 * be told.
 */
static int
write_notice(struct queue_request *request, const char *to, const char *subject,
    const char *text, struct buf *out)
{
	struct dsn_shape shape;
	struct buf lines;

	buf_init(&lines, NOTICE_TEXT_MAX);
	add_lines(&lines, text);
	shape = dsn_shape_of(buf_slice(&lines));
	if (shape.is_8bit || shape.is_long) {
		write_header(request, to, subject, "quoted-printable", out);
		dsn_add_quoted_printable(out, buf_slice(&lines));
	} else {
		write_header(request, to, subject, "7bit", out);
		(void)buf_add_slice(out, buf_slice(&lines));
	}
	out->overflowed = out->overflowed || lines.overflowed;
	buf_clear(&lines);
	return out->overflowed ? -1 : 0;
}

/* An alias that nobody can expand now goes out as it is. */
static void
commit_notice(void *arg, struct queue_message *message, bool is_known)
{
	struct queue_request *request = arg;
	struct queue_job *job =
	    queue_job_new(QUEUE_JOB_ACCEPT, message, on_notice_committed);

	(void)is_known;
	queue_delivery_set_first(request->queued, message);
	queue_sign_own(request->queued->sign, message);
	job->arg = request;
	queue_intake_note(job, message);
	queue_sign_note(request->queued->sign, job, message);
	queue_message_unref(message);
	queue_writer_submit(request->queued->writer, job);
}

void
queue_admin_act_notify(struct queue_request *request)
{
	const char *to = NULL;
	const char *subject = NULL;
	const char *text = NULL;
	struct queue_message *message;
	struct buf content;

	buf_init(&content, NOTICE_TEXT_MAX);
	if (json_unpack(request->arguments, "{s:s, s:s, s:s}", "to", &to,
		"subject", &subject, "text", &text) == -1 ||
	    !ipc_is_text(slice_of(to)) || !ipc_is_text(slice_of(subject)) ||
	    write_notice(request, to, subject, text, &content) == -1 ||
	    (message = queue_own_message(request->queued, to,
		 buf_slice(&content), !utf8_is_ascii(slice_of(to)))) == NULL) {
		buf_clear(&content);
		queue_admin_refuse(request, EXIT_CODE_USAGE,
		    "to, subject and text are wanted, to as a mail address");
		queue_admin_answer(request);
		return;
	}
	buf_clear(&content);
	if (submission_needs_aliases(
		daemon_snapshot(request->queued->daemon), message))
		queue_alias_expand(
		    request->queued, message, commit_notice, request);
	else
		commit_notice(request, message, true);
}
