/* SPDX-License-Identifier: ISC */
/*
 * From the queue to relayd and back: deliveries are planned by next hop,
 * started as destinations have room, and what came of them is committed.
 * Runs in: postern-queued.  Trusts: relayd for what the next server said, and
 * for no recipient that it was not given (T126).
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alerts.h"
#include "common/events.h"
#include "relay/queue_refill.h"
#include "relay/queue_result.h"
#include "relay/queue_sign.h"
#include "relay/queue_spool.h"
#include "relay/queue_store.h"
#include "relay/queued.h"
#include "relay/route.h"

/* ---- planning ---- */

void
queue_delivery_key(
    const struct queued *queued, const char *domain, char *key_r, size_t size)
{
	struct route_match match;

	/*
	 * What goes by MX is a destination of its own, and so is what cannot
	 * be routed: relayd says why when it is tried.
	 */
	if (route_find_domain(queued->routes, domain, &match, NULL) == -1 ||
	    match.target->kind == ROUTE_MX)
		(void)snprintf(key_r, size, "%s", domain);
	else
		(void)snprintf(key_r, size, "%s",
		    route_target_format(
			match.target, (char[ROUTE_TARGET_TEXT_MAX]){0}));
}

static void
plan_domain(struct queued *queued, struct queue_message *message,
    const char *domain, const uint32_t *numbers, size_t count)
{
	size_t most = queued_settings(queued)->relay_recipients;
	char key[QUEUE_KEY_MAX];

	/* Without room it waits on disk; see queue_refill.c. */
	if (!queue_refill_has_memory(queued)) {
		queue_refill_missed(queued->refill);
		return;
	}
	queue_delivery_key(queued, domain, key, sizeof(key));
	if (dispatch_room(queued->dispatch, key) == 0)
		return;
	while (count > 0) {
		size_t n = count < most ? count : most;

		(void)dispatch_add(
		    queued->dispatch, message, domain, key, numbers, n);
		numbers += n;
		count -= n;
	}
}

static bool
is_due(struct queued *queued, const struct queue_message *message,
    const struct queue_recipient *recipient, int64_t now_ms)
{
	return recipient->state == RCPT_WAITING &&
	       recipient->next_ms <= now_ms &&
	       !queue_message_waits(message, recipient) &&
	       !dispatch_knows(
		   queued->dispatch, message->id, recipient->number);
}

void
queue_delivery_plan(
    struct queued *queued, struct queue_message *message, int64_t now_ms)
{
	size_t count = message->recipient_count;
	uint32_t *numbers;
	bool *is_planned;

	/* Those that wait, and then all others. */
	if ((message->flags & MSG_FLAG_WAIT_SIGN) != 0)
		queue_sign_plan(queued->sign, message);
	if (count == 1) { /* nearly all mail */
		if (is_due(queued, message, &message->recipients[0], now_ms))
			plan_domain(queued, message,
			    message->recipients[0].domain,
			    &message->recipients[0].number, 1);
		queue_delivery_pump(queued);
		return;
	}
	numbers = xcalloc(count, sizeof(*numbers));
	is_planned = xcalloc(count, sizeof(*is_planned));
	for (size_t i = 0; i < count; i++)
		is_planned[i] =
		    !is_due(queued, message, &message->recipients[i], now_ms);
	for (size_t i = 0; i < count; i++) {
		size_t n = 0;

		if (is_planned[i])
			continue;
		for (size_t j = i; j < count; j++)
			if (!is_planned[j] &&
			    message->recipients[j].output ==
				message->recipients[i].output &&
			    strcmp(message->recipients[j].domain,
				message->recipients[i].domain) == 0) {
				numbers[n++] = message->recipients[j].number;
				is_planned[j] = true;
			}
		plan_domain(
		    queued, message, message->recipients[i].domain, numbers, n);
	}
	free(numbers);
	free(is_planned);
	queue_delivery_pump(queued);
}

int64_t
queue_delivery_first_ms(const struct queued *queued, const char *domain)
{
	int64_t now_ms = queued_now_ms(queued);
	char key[QUEUE_KEY_MAX];
	int64_t blocked_ms;

	queue_delivery_key(queued, domain, key, sizeof(key));
	blocked_ms = dispatch_blocked_until(queued->dispatch, key, now_ms);
	return blocked_ms != 0 ? blocked_ms : now_ms;
}

void
queue_delivery_set_first(
    const struct queued *queued, struct queue_message *message)
{
	for (size_t i = 0; i < message->recipient_count; i++)
		message->recipients[i].next_ms = queue_delivery_first_ms(
		    queued, message->recipients[i].domain);
}

/* ---- starting ---- */

/* What goes out: the message as it came, or what the signer made of it. */
struct content {
	unsigned output;
	bool is_file;
	bool is_8bit;
	uint64_t size;
	const char *p; /* NULL: not in memory */
};

/* All recipients of a delivery get the same. */
static struct content
content_of(const struct delivery *delivery)
{
	const struct queue_message *message = delivery->message;
	const struct queue_recipient *recipient =
	    queue_message_recipient(delivery->message, delivery->numbers[0]);
	const struct queue_output *output;

	if (recipient == NULL)
		bug("a delivery for no recipient");
	output = queue_message_output(message, recipient);
	if (output != NULL)
		return (struct content){output->number, output->is_file,
		    output->is_8bit, output->size, output->content};
	return (struct content){0, message->is_file,
	    (message->flags & MSG_FLAG_8BIT) != 0, message->size,
	    message->content};
}

static int
list_recipients(const struct delivery *delivery, struct ipc_list_writer *writer,
    uint32_t *attempt_r)
{
	*attempt_r = 0;
	for (size_t i = 0; i < delivery->number_count; i++) {
		const struct queue_recipient *recipient =
		    queue_message_recipient(
			delivery->message, delivery->numbers[i]);
		struct ipc_record_recipient record;

		if (recipient == NULL)
			bug("a delivery for no recipient");
		record = (struct ipc_record_recipient){.id = recipient->number,
		    .address = slice_of(recipient->address),
		    .notify = recipient->notify,
		    .orcpt = slice_of(recipient->orcpt)};
		if (recipient->attempts > *attempt_r)
			*attempt_r = recipient->attempts;
		if (ipc_recipient_add(writer, &record, NULL) == -1)
			return -1;
	}
	++*attempt_r;
	return 0;
}

/*
 * What was decrypted goes back to nobody, least of all to who sent it: he may
 * have it from somebody else, and not be able to read it.
 */
static unsigned
ret_of(const struct queue_message *message, const struct content *body)
{
	const bool is_opened = body->output != 0 &&
			       message->protection != NULL &&
			       message->protection->direction == DIRECTION_IN;

	return is_opened ? (unsigned)DSN_RET_HDRS : message->ret;
}

/* The fields that both forms of a job share. */
#define FILL_JOB(job, delivery, body, attempt_number, list)          \
	do {                                                         \
		const struct queue_message *m = (delivery)->message; \
		(job)->job_id = (delivery)->job_id;                  \
		(job)->message_id = m->id;                           \
		(job)->attempt = (attempt_number);                   \
		(job)->domain = slice_of((delivery)->domain);        \
		(job)->reverse_path = slice_of(m->sender);           \
		(job)->envid = slice_of(m->envid);                   \
		(job)->ret = (uint16_t)ret_of(m, body);              \
		(job)->is_8bit = (body)->is_8bit;                    \
		(job)->is_utf8 = (m->flags & MSG_FLAG_UTF8) != 0;    \
		(job)->size_octets = (body)->size;                   \
		(job)->recipients = (list);                          \
	} while (0)

static int
send_inline(struct queued *queued, const struct delivery *delivery,
    const struct content *content, uint32_t attempt, struct ipc_list recipients)
{
	struct ipc_relay_job job;

	FILL_JOB(&job, delivery, content, attempt, recipients);
	job.content = (struct slice){content->p, content->size};
	return channel_send(queued->relay, MSG_RELAY_JOB, &job, NULL);
}

/*
 * relayd takes a file of another size for a breach, and ends the channel with
 * all that is on its way: one damaged file would stop all mail.
 */
static int
open_content(struct queued *queued, const struct delivery *delivery,
    const struct content *content)
{
	struct stat st;
	int fd = queue_spool_open(
	    queued->spool, delivery->message->id, content->output);

	if (fd != -1 && (fstat(fd, &st) == -1 || st.st_size < 0 ||
			    (uint64_t)st.st_size != content->size))
		close_if_open(&fd);
	return fd;
}

static int
send_file(struct queued *queued, const struct delivery *delivery,
    const struct content *content, uint32_t attempt, struct ipc_list recipients)
{
	struct ipc_relay_file job;
	int fd = open_content(queued, delivery, content);
	int rc;

	if (fd == -1)
		return -1;
	FILL_JOB(&job, delivery, content, attempt, recipients);
	rc = channel_send(queued->relay, MSG_RELAY_FILE, &job, &fd);
	(void)close(fd);
	return rc;
}

static int
send_job(struct queued *queued, const struct delivery *delivery)
{
	const struct content content = content_of(delivery);
	struct ipc_list_writer writer;
	uint32_t attempt;
	int rc = -1;

	ipc_list_writer_init(&writer, IPC_RECIPIENTS_MAX * 1024);
	if (list_recipients(delivery, &writer, &attempt) == 0) {
		struct ipc_list list = ipc_list_of(&writer);

		rc = content.is_file
			 ? send_file(queued, delivery, &content, attempt, list)
			 : send_inline(
			       queued, delivery, &content, attempt, list);
	}
	ipc_list_writer_clear(&writer);
	return rc;
}

/* Closed, but peer_closed() was not called yet: nothing can be sent. */
static bool
has_relay(const struct queued *queued)
{
	return queued->relay != NULL && channel_is_up(queued->relay);
}

bool
queue_delivery_may_leave(const struct delivery *delivery)
{
	const struct queue_message *message = delivery->message;

	if (message->protection == NULL)
		return (message->flags & MSG_FLAG_DEMAND) == 0;
	for (size_t i = 0; i < delivery->number_count; i++) {
		const struct queue_demand *demand = queue_protection_demand(
		    message->protection, delivery->numbers[i]);

		if (demand == NULL || demand->waits != DEMAND_MET ||
		    !queue_demand_is_met(
			message->protection, demand, demand->applied))
			return false;
	}
	return true;
}

/*
 * Content that cannot be had is no reason to stop the rest (T095): the
 * message is tried again later, and an alert says so.
 */
static void
set_aside(struct queued *queued, struct delivery *delivery, const char *why)
{
	char id[ID_TEXT_SIZE];

	id_format(delivery->message->id, id);
	daemon_alert_raise(queued->daemon, ALERT_STORE, id,
	    "Message %s cannot be read from the queue: %s", id, why);
	queue_result_postpone(queued, delivery,
	    queued_now_ms(queued) + queued->schedule.longest_ms);
}

static void
set_unprotected_aside(struct queued *queued, struct delivery *delivery)
{
	char id[ID_TEXT_SIZE];

	id_format(delivery->message->id, id);
	daemon_alert_raise(queued->daemon, ALERT_PROTECTION, id,
	    "Message %s does not have the protection that policy demanded for "
	    "it; it waits in the queue.",
	    id);
	queue_result_postpone(queued, delivery,
	    queued_now_ms(queued) + queued->schedule.longest_ms);
}

static void
hand_over(struct queued *queued, struct delivery *delivery)
{
	if (!has_relay(queued))
		dispatch_return(queued->dispatch, delivery);
	else if (send_job(queued, delivery) == -1)
		set_aside(queued, delivery,
		    content_of(delivery).is_file
			? "its spool file cannot be opened, or has another "
			  "size"
			: "it does not fit into a frame");
}

/* Content that is only on disk is read first. */
struct content_read {
	struct pool_task task;
	struct queued *queued;
	uint64_t job_id;
	struct queue_message *message;
	uint16_t output;
	struct buf content;
	int rc;
	struct err err;
};

static void
run_content_read(struct pool_task *task)
{
	struct content_read *read = (struct content_read *)task;

	read->rc = queue_store_content(read->queued->reader, read->message->id,
	    read->output, SIZE_MAX, &read->content, &read->err);
}

/* A delivery may have brought it meanwhile. */
static void
keep_content(struct queued *queued, struct content_read *read)
{
	struct queue_message *message = read->message;
	struct queue_output *output =
	    read->output == 0
		? NULL
		: queue_protection_output(message->protection, read->output);
	char **content = output != NULL ? &output->content : &message->content;
	uint64_t *size = output != NULL ? &output->size : &message->size;

	if (*content != NULL)
		return;
	*size = read->content.n;
	*content = xmalloc(read->content.n);
	memcpy(*content, read->content.p, read->content.n);
	queue_message_charge(message, &queued->memory_used);
}

static void
done_content_read(struct pool_task *task)
{
	struct content_read *read = (struct content_read *)task;
	struct queued *queued = read->queued;
	struct delivery *delivery =
	    dispatch_find(queued->dispatch, read->job_id);

	if (delivery != NULL && read->rc == -1) {
		set_aside(queued, delivery, read->err.text);
	} else if (delivery != NULL) {
		keep_content(queued, read);
		hand_over(queued, delivery);
	}
	queue_message_unref(read->message);
	buf_clear(&read->content);
	free(read);
}

static void
read_content(struct queued *queued, struct delivery *delivery, unsigned output)
{
	struct content_read *read = xcalloc(1, sizeof(*read));

	read->task.run = run_content_read;
	read->task.done = done_content_read;
	read->queued = queued;
	read->job_id = delivery->job_id;
	read->message = delivery->message;
	read->message->references++;
	read->output = (uint16_t)output;
	buf_init(&read->content, IPC_INLINE_MAX + IPC_TRACE_MAX);
	pool_submit(queued->reader_pool, &read->task);
}

static void
start_delivery(struct queued *queued, struct delivery *delivery)
{
	const struct content content = content_of(delivery);

	if (!queue_delivery_may_leave(delivery))
		set_unprotected_aside(queued, delivery);
	else if (!content.is_file && content.p == NULL)
		read_content(queued, delivery, content.output);
	else
		hand_over(queued, delivery);
}

/* Output that relayd has not read yet: more would only wait there. */
#define RELAY_OUTPUT_MAX (8u * 1024 * 1024)

static void
pump(void *arg)
{
	struct queued *queued = arg;
	int64_t now_ms = queued_now_ms(queued);

	while (has_relay(queued) && !queued->is_held &&
	       dispatch_active(queued->dispatch) < queued->relay_jobs &&
	       channel_output_pending(queued->relay) < RELAY_OUTPUT_MAX) {
		struct delivery *delivery =
		    dispatch_next(queued->dispatch, now_ms);

		if (delivery == NULL)
			return;
		start_delivery(queued, delivery);
	}
}

void
queue_delivery_pump(struct queued *queued)
{
	loop_at_turn_end(queued->loop, &queued->pump);
}

void
queue_delivery_init(struct queued *queued)
{
	queued->pump = (struct loop_task){.run = pump, .arg = queued};
}

/* ---- without an answer ---- */

/*
 * Beyond the times to which relayd itself keeps: the queue's clock follows
 * steps of the system's clock of up to an hour.
 */
#define OVERDUE_MS (3600 * (int64_t)1000)

/* As if relayd had said so; what it says later is of no job any more. */
static void
put_off(struct queued *queued, struct delivery *delivery)
{
	struct ipc_list_writer results;
	struct ipc_relay_result result = {
	    .job_id = delivery->job_id, .message_id = delivery->message->id};
	char id[ID_TEXT_SIZE];

	id_format(delivery->message->id, id);
	log_notice("relayd did not answer for message %s; it is put off", id);
	ipc_list_writer_init(&results, delivery->number_count * 256);
	for (size_t i = 0; i < delivery->number_count; i++) {
		const struct ipc_record_result record = {
		    .id = delivery->numbers[i],
		    .outcome = OUTCOME_DEFERRED,
		    .enhanced = SLICE("4.3.0"),
		    .reply = SLICE("The relay gave no answer")};
		struct err err;

		if (ipc_result_add(&results, &record, &err) == -1)
			bug("a result of our own: %s", err.text);
	}
	result.results = ipc_list_of(&results);
	if (queue_result_commit(queued, delivery, &result) == -1)
		bug("a result of our own does not fit its delivery");
	ipc_list_writer_clear(&results);
}

void
queue_delivery_give_up(struct queued *queued)
{
	const struct settings *settings = queued_settings(queued);
	/* An attempt may end with the wait for the answer to its dot. */
	const int64_t deadline_ms =
	    (int64_t)(settings->relay_deadline + settings->relay_dot_timeout) *
	    1000;
	const int64_t since_ms =
	    queued_now_ms(queued) - deadline_ms - OVERDUE_MS;
	struct delivery *delivery;

	while (
	    (delivery = dispatch_overdue(queued->dispatch, since_ms)) != NULL)
		put_off(queued, delivery);
}

/* ---- relayd ---- */

int
queue_delivery_ready(struct channel *channel, const struct channel_frame *frame)
{
	struct queued *queued = queued_of(channel);

	if (queued->relay != NULL && queued->relay != channel)
		return -1; /* there is one relayd */
	queued->relay = channel;
	queued->relay_jobs = frame->message->relay_ready.jobs;
	queue_delivery_pump(queued);
	return 0;
}

void
queue_delivery_relay_gone(struct queued *queued)
{
	queued->relay = NULL;
	dispatch_return_all(queued->dispatch);
}

int
queue_delivery_result(
    struct channel *channel, const struct channel_frame *frame)
{
	struct queued *queued = queued_of(channel);
	const struct ipc_relay_result *result = &frame->message->relay_result;
	struct delivery *delivery =
	    dispatch_find(queued->dispatch, result->job_id);

	if (delivery == NULL)
		return 0; /* of a job that went back meanwhile */
	if (delivery->message->id != result->message_id)
		return -1;
	return queue_result_commit(queued, delivery, result);
}
