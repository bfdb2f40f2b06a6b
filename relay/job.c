/* SPDX-License-Identifier: ISC */
/*
 * Jobs of postern-queued.
 * Runs in: postern-relayd.  Trusts: queued's frames as far as the message
 * table checks them; addresses and parameters are parsed again here, since
 * they become lines of SMTP.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/printable.h"
#include "common/xtext.h"
#include "relay/job.h"

/* Results of one job, all together: 2,000 with their texts. */
#define RESULTS_MAX 4194304

/* The recipients that take one route. */
struct part {
	struct pool_job pool_job;
	struct client_recipient *recipients;
	uint64_t *ids;
	struct job *job;
	bool is_submitted; /* it is the pool's now */
	bool is_of_domain; /* it goes where the domain's mail goes */
};

struct job {
	LIST_ENTRY(job) link;
	struct job_context *context;
	uint64_t job_id;
	uint64_t message_id;
	uint64_t start_ms;
	char *reverse_path;
	char *envid;
	char *domain;
	char *content;
	int fd;
	struct part *parts;
	size_t part_count;
	size_t left; /* parts in the pool */
};

/* A recipient of the frame with the way it goes. */
struct routed {
	uint64_t id;
	char address[ADDRESS_TEXT_MAX];
	char *orcpt;
	uint16_t notify;
	bool is_utf8;
	bool is_refused; /* with the reason below */
	enum outcome outcome;
	const char *enhanced;
	char text[ERR_TEXT_MAX];
	struct route_match match;
	size_t part;
};

static void
refuse(struct routed *r, enum outcome outcome, const char *enhanced,
    const char *text)
{
	r->is_refused = true;
	r->outcome = outcome;
	r->enhanced = enhanced;
	(void)snprintf(r->text, sizeof(r->text), "%s", text);
}

/* What is in ORCPT goes into a line as it is: type ";" xtext. */
static bool
is_orcpt(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < 33 || s.p[i] > 126)
			return false;
	}
	return slice_find(s, ';', 0) < s.n;
}

static void
read_recipient(const struct route_table *routes,
    const struct ipc_record_recipient *record, struct routed *r)
{
	struct address address;
	struct err err;

	*r = (struct routed){.id = record->id, .notify = record->notify};
	r->orcpt =
	    is_orcpt(record->orcpt) ? slice_dup(record->orcpt) : xstrdup("");
	if (address_parse(record->address,
		ADDRESS_MAY_BE_UTF8 | ADDRESS_MAY_BE_POSTMASTER, &address,
		&err) == -1) {
		refuse(r, OUTCOME_FAILED, "5.1.3", err.text);
		return;
	}
	(void)address_format(&address, r->address);
	r->is_utf8 = address.is_utf8;
	if (route_find(routes, slice_of(r->address), &r->match, &err) == -1)
		refuse(r, OUTCOME_DEFERRED, "4.3.5", err.text);
}

/* ---- parts ---- */

static void part_done(struct pool_job *pool_job);

static void
add_recipient(struct part *part, struct routed *r)
{
	struct client_mail *mail = &part->pool_job.mail;
	struct client_recipient *to = &part->recipients[mail->recipient_count];

	part->ids[mail->recipient_count++] = r->id;
	*to = (struct client_recipient){.address = xstrdup(r->address),
	    .orcpt = r->orcpt,
	    .notify = r->notify,
	    .is_utf8 = r->is_utf8};
	r->orcpt = NULL;
	if (r->is_refused)
		client_settle(to, r->outcome, 0, r->enhanced, r->text);
}

/*
 * Numbers the routes in the order of their first recipient; those that are
 * refused ride with the first.  Returns how many there are.
 */
static size_t
number_parts(struct routed *all, size_t count)
{
	size_t parts = 0;

	for (size_t i = 0; i < count; i++) {
		size_t k = 0;

		all[i].part = 0;
		if (all[i].is_refused)
			continue;
		while (k < i && (all[k].is_refused ||
				    all[k].match.target != all[i].match.target))
			k++;
		all[i].part = k < i ? all[k].part : parts++;
	}
	return parts > 0 ? parts : 1;
}

static void
fill_part(struct job *job, struct part *part, struct routed *all, size_t count,
    const struct ipc_relay_job *m)
{
	size_t number = (size_t)(part - job->parts);
	size_t mine = 0;

	for (size_t i = 0; i < count; i++)
		mine += all[i].part == number;
	part->job = job;
	part->recipients = xcalloc(mine + 1, sizeof(*part->recipients));
	part->ids = xcalloc(mine + 1, sizeof(*part->ids));
	part->pool_job.owner = part;
	part->pool_job.done = part_done;
	part->pool_job.mail =
	    (struct client_mail){.reverse_path = job->reverse_path,
		.envid = job->envid,
		.ret = (enum dsn_ret)m->ret,
		.is_8bit = m->is_8bit,
		.is_utf8 = m->is_utf8,
		.size = m->size_octets,
		.content = {job->content, m->content.n},
		.fd = job->fd,
		.deadline_ms = job->start_ms + job->context->deadline_ms,
		.recipients = part->recipients};
	for (size_t i = 0; i < count; i++) {
		if (all[i].part == number)
			add_recipient(part, &all[i]);
	}
}

static void
end_job(struct job *job)
{
	LIST_REMOVE(job, link);
	job->context->count--;
	job->context->done(job->context->arg, job);
}

static void
part_done(struct pool_job *pool_job)
{
	struct part *part = pool_job->owner;

	part->is_submitted = false;
	if (--part->job->left == 0)
		end_job(part->job);
}

/* Or does a route for one address lead elsewhere? */
static bool
goes_with_domain(const struct job *job, const struct route_match *match)
{
	struct route_match general;

	return route_find_domain(
		   job->context->routes, job->domain, &general, NULL) == 0 &&
	       general.target == match->target;
}

/* A job whose recipients are all refused is done without the pool. */
static void
submit(struct job *job, const struct routed *all, size_t count)
{
	struct pool *pool = job->context->pool;

	for (size_t i = 0; i < count; i++) {
		struct part *part = &job->parts[all[i].part];

		if (all[i].is_refused || part->is_submitted)
			continue;
		part->is_submitted = true;
		part->is_of_domain = goes_with_domain(job, &all[i].match);
		job->left++;
		pool_submit(pool, &part->pool_job, &all[i].match, job->domain);
	}
	if (job->left == 0)
		end_job(job);
}

/* ---- jobs ---- */

static int
check_frame(const struct ipc_relay_job *m, int fd, struct err *err)
{
	struct address address;
	struct stat st;

	if (m->recipients.count == 0 || m->ret >= DSN_RET_COUNT)
		return err_set(err, "a job without recipients, or a bad RET");
	if (m->reverse_path.n > 0 &&
	    address_parse(
		m->reverse_path, ADDRESS_MAY_BE_UTF8, &address, err) == -1)
		return err_wrap(err, "reverse-path of a job");
	if (m->envid.n > 0 && !xtext_is_valid(m->envid))
		return err_set(err, "the ENVID of a job is not xtext");
	if (fd == -1)
		return m->content.n == m->size_octets
			   ? 0
			   : err_set(
				 err, "the content of a job has another size");
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) || st.st_size < 0 ||
	    (uint64_t)st.st_size < m->size_octets)
		return err_set(err, "the descriptor of a job is no file of "
				    "its size");
	return 0;
}

static char *
canonical_path(struct slice path)
{
	struct address address;
	char text[ADDRESS_TEXT_MAX];

	if (path.n == 0 ||
	    address_parse(path, ADDRESS_MAY_BE_UTF8, &address, NULL) == -1)
		return xstrdup("");
	return xstrdup(address_format(&address, text));
}

int
job_start(struct job_context *context, const struct ipc_relay_job *m, int fd,
    struct err *err)
{
	struct ipc_list list = m->recipients;
	struct ipc_record_recipient record;
	struct routed *all;
	struct job *job;
	size_t count = 0;

	if (check_frame(m, fd, err) == -1) {
		close_if_open(&fd);
		return -1;
	}
	job = xcalloc(1, sizeof(*job));
	*job = (struct job){.context = context,
	    .job_id = m->job_id,
	    .message_id = m->message_id,
	    .start_ms = clock_monotonic_ms(),
	    .reverse_path = canonical_path(m->reverse_path),
	    .envid = slice_dup(m->envid),
	    .domain = slice_dup(m->domain),
	    .content = fd == -1 ? slice_dup(m->content) : NULL,
	    .fd = fd};
	all = xcalloc(list.count, sizeof(*all));
	while (ipc_recipient_next(&list, &record))
		read_recipient(context->routes, &record, &all[count++]);
	job->part_count = number_parts(all, count);
	job->parts = xcalloc(job->part_count, sizeof(*job->parts));
	for (size_t i = 0; i < job->part_count; i++)
		fill_part(job, &job->parts[i], all, count, m);
	LIST_INSERT_HEAD(&context->jobs, job, link);
	context->count++;
	submit(job, all, count);
	free(all);
	return 0;
}

void
job_free(struct job *job)
{
	if (job->left > 0) {
		LIST_REMOVE(job, link);
		job->context->count--;
	}
	for (size_t i = 0; i < job->part_count; i++) {
		struct part *part = &job->parts[i];

		if (part->is_submitted)
			pool_cancel(job->context->pool, &part->pool_job);
		for (size_t k = 0; k < part->pool_job.mail.recipient_count;
		     k++) {
			free((char *)part->recipients[k].address);
			free((char *)part->recipients[k].orcpt);
			free(part->recipients[k].reply);
		}
		free(part->pool_job.earlier);
		free(part->recipients);
		free(part->ids);
	}
	free(job->parts);
	free(job->reverse_path);
	free(job->envid);
	free(job->domain);
	free(job->content);
	close_if_open(&job->fd);
	free(job);
}

/* ---- the result ---- */

/* Most have the server of the whole result, and name none. */
static void
name_server(struct ipc_record_result *record, const struct pool_server *server,
    const struct pool_server *usual)
{
	if (server == usual)
		return;
	record->host = slice_of(server->host);
	record->address = slice_of(server->address);
	record->tls = slice_of(server->tls);
}

static int
add_results(struct ipc_list_writer *results, const struct part *part,
    const struct pool_server *usual)
{
	for (size_t i = 0; i < part->pool_job.mail.recipient_count; i++) {
		const struct client_recipient *r = &part->recipients[i];
		char text[IPC_REPLY_MAX];
		struct ipc_record_result record = {.id = part->ids[i],
		    .outcome = (uint16_t)r->outcome,
		    .code = r->code,
		    .enhanced = slice_of(r->enhanced),
		    .reply = slice_of(
			printable(slice_of(r->reply), text, sizeof(text)))};
		struct err err;

		name_server(&record, pool_decider(&part->pool_job, i), usual);
		if (ipc_result_add(results, &record, &err) == -1)
			return -1;
	}
	return 0;
}

/* The server to name: where parts differ, that of a part with trouble. */
static const struct part *
speaking_part(const struct job *job)
{
	for (size_t i = 0; i < job->part_count; i++) {
		const struct client_mail *mail = &job->parts[i].pool_job.mail;

		for (size_t k = 0; k < mail->recipient_count; k++) {
			if (mail->recipients[k].outcome != OUTCOME_DELIVERED)
				return &job->parts[i];
		}
	}
	return &job->parts[0];
}

int
job_answer(const struct job *job, struct channel *queued)
{
	const struct part *part = speaking_part(job);
	const struct pool_job *from = &part->pool_job;
	struct ipc_relay_result result = {.job_id = job->job_id,
	    .message_id = job->message_id,
	    .host = slice_of(from->server.host),
	    .address = slice_of(from->server.address),
	    .tls = slice_of(from->server.tls),
	    .duration_ms = (uint32_t)(clock_monotonic_ms() - job->start_ms),
	    /* To queued, destinations are those of domains. */
	    .is_host_down = from->is_host_down && part->is_of_domain,
	    .is_dsn_passed = true};
	struct ipc_list_writer results;
	int rc = 0;

	ipc_list_writer_init(&results, RESULTS_MAX);
	for (size_t i = 0; rc == 0 && i < job->part_count; i++) {
		rc = add_results(&results, &job->parts[i], &from->server);
		/* Where not all do, we tell of success ourselves. */
		result.is_dsn_passed =
		    result.is_dsn_passed &&
		    !job->parts[i].pool_job.mail.was_dsn_lost;
	}
	result.results = ipc_list_of(&results);
	if (rc == 0)
		rc = channel_send(queued, MSG_RELAY_RESULT, &result, NULL);
	ipc_list_writer_clear(&results);
	return rc;
}
