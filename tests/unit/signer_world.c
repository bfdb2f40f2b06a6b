/* SPDX-License-Identifier: ISC */
/*
 * signerd, as the queue sees it, and its clients.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/sql.h"
#include "relay/queue_sign.h"
#include "tests/unit/signer_world.h"

/* ---- the signer ---- */

static void
take_fields(struct signer_world *world, const struct ipc_sign_job *m)
{
	struct ipc_list list = m->recipients;
	struct ipc_list facts = m->removals;
	struct ipc_record_demand demand;
	struct ipc_record_fact fact;
	size_t n = 0;

	world->jobs++;
	world->message_id = m->message_id;
	world->attempt = m->attempt;
	world->direction = m->direction;
	world->dkim = m->dkim;
	world->size = m->size_octets;
	world->recipients = 0;
	(void)slice_copy(
	    m->header_from, world->header_from, sizeof(world->header_from));
	while (ipc_demand_next(&list, &demand)) {
		if (world->recipients == 0) {
			world->sign = demand.sign;
			world->encrypt = demand.encrypt;
		}
		world->numbers[world->recipients++] = demand.number;
	}
	world->removals[0] = '\0';
	while (ipc_fact_next(&facts, &fact))
		n += (size_t)snprintf(world->removals + n,
		    sizeof(world->removals) - n, "%.*s %.*s;",
		    SLICE_ARG(fact.name), SLICE_ARG(fact.value));
}

static int
on_job(struct channel *channel, const struct channel_frame *frame)
{
	struct signer_world *world = channel_owner(channel);
	const struct ipc_sign_job *m = &frame->message->sign_job;

	take_fields(world, m);
	world->was_file = false;
	(void)snprintf(world->content, sizeof(world->content), "%.*s",
	    SLICE_ARG(m->content));
	return 0;
}

static int
on_file(struct channel *channel, const struct channel_frame *frame)
{
	struct signer_world *world = channel_owner(channel);
	const struct ipc_sign_file *m = &frame->message->sign_file;
	const struct ipc_sign_job same = {.message_id = m->message_id,
	    .attempt = m->attempt,
	    .direction = m->direction,
	    .dkim = m->dkim,
	    .header_from = m->header_from,
	    .size_octets = m->size_octets,
	    .removals = m->removals,
	    .recipients = m->recipients};
	ssize_t n;

	take_fields(world, &same);
	world->was_file = true;
	n = pread(frame->fds[0], world->content, sizeof(world->content) - 1, 0);
	world->content[n > 0 ? n : 0] = '\0';
	return 0;
}

static int
on_forget(struct channel *channel, const struct channel_frame *frame)
{
	struct signer_world *world = channel_owner(channel);

	(void)frame;
	world->forgotten++;
	return 0;
}

static void
on_closed(struct channel *channel, const char *reason)
{
	struct signer_world *world = channel_owner(channel);

	world->signer = NULL;
	(void)snprintf(world->reason, sizeof(world->reason), "%s", reason);
}

static const struct channel_handler signerd_takes[] = {
    {ROLE_QUEUED, MSG_SIGN_JOB, on_job}, {ROLE_QUEUED, MSG_SIGN_FILE, on_file},
    {ROLE_QUEUED, MSG_SIGN_FORGET, on_forget}, {ROLE_NONE, MSG_HELLO, NULL}};

static void
say_ready(struct signer_world *world, const char *domains)
{
	struct ipc_list_writer list;
	struct ipc_sign_ready ready;
	struct slice rest = slice_trim(slice_of(domains));

	ipc_list_writer_init(&list, 65536);
	while (rest.n > 0) {
		const size_t end = slice_find(rest, ' ', 0);
		const struct ipc_record_fact fact = {
		    .name = SLICE("domain"), .value = {rest.p, end}};

		(void)ipc_fact_add(&list, &fact, NULL);
		rest = slice_trim((struct slice){rest.p + end, rest.n - end});
	}
	ready.dkim_domains = ipc_list_of(&list);
	(void)channel_send(world->signer, MSG_SIGN_READY, &ready, NULL);
	ipc_list_writer_clear(&list);
}

void
signer_world_connect(struct signer_world *world, const char *domains)
{
	struct channel_config signerd = {.loop = world->world.queued.loop,
	    .self = ROLE_SIGNERD,
	    .peer = ROLE_QUEUED,
	    .handlers = signerd_takes,
	    .owner = world,
	    .closed = on_closed};
	struct channel_config queued =
	    world_queued_config(&world->world, ROLE_SIGNERD);
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
		fatal("socketpair");
	world->signer = channel_new(&signerd, fds[0]);
	(void)channel_new(&queued, fds[1]);
	SIGNER_WAIT(world, channel_is_up(world->signer));
	say_ready(world, domains);
	world_settle(&world->world);
}

void
signer_world_disconnect(struct signer_world *world)
{
	if (world->signer == NULL)
		return;
	channel_close(world->signer);
	world->signer = NULL;
	world_settle(&world->world);
}

void
signer_world_output(
    struct signer_world *world, uint16_t number, const char *content)
{
	const struct ipc_sign_output m = {.message_id = world->message_id,
	    .attempt = world->attempt,
	    .number = number,
	    .content = slice_of(content)};

	(void)channel_send(world->signer, MSG_SIGN_OUTPUT, &m, NULL);
}

void
signer_world_output_before(struct signer_world *world, uint16_t number,
    const char *content, uint64_t follows)
{
	const struct ipc_sign_output m = {.message_id = world->message_id,
	    .attempt = world->attempt,
	    .number = number,
	    .follows_octets = follows,
	    .content = slice_of(content)};

	(void)channel_send(world->signer, MSG_SIGN_OUTPUT, &m, NULL);
}

void
signer_world_output_file(
    struct signer_world *world, uint16_t number, size_t size)
{
	static const char head[] = "Content-Type: application/pkcs7-mime; "
				   "smime-type=enveloped-data\r\n\r\n";
	const struct ipc_sign_output_file m = {.message_id = world->message_id,
	    .attempt = world->attempt,
	    .number = number,
	    .size_octets = size};
	int fd = memfd_create("output", MFD_CLOEXEC);

	if (fd == -1 || ftruncate(fd, (off_t)size) == -1 ||
	    pwrite(fd, head, sizeof(head) - 1, 0) == -1)
		fatal("memfd");
	(void)channel_send(world->signer, MSG_SIGN_OUTPUT_FILE, &m, &fd);
	(void)close(fd);
}

void
signer_world_result(struct signer_world *world, uint32_t attempt,
    uint16_t outcome, const char *reason, const struct signer_says *says,
    size_t count)
{
	struct ipc_sign_result m = {.message_id = world->message_id,
	    .attempt = attempt != 0 ? attempt : world->attempt,
	    .outcome = outcome,
	    .enhanced = SLICE("5.7.3"),
	    .reason = slice_of(reason)};
	struct ipc_list_writer list;

	ipc_list_writer_init(&list, 1 << 20);
	for (size_t i = 0; i < count; i++) {
		const struct ipc_record_protection record = {
		    .number =
			i < world->recipients ? world->numbers[i] : (uint32_t)i,
		    .output = says[i].output,
		    .outcome = says[i].outcome,
		    .applied = says[i].applied,
		    .method = SLICE("smime by test"),
		    .enhanced = slice_of(says[i].enhanced),
		    .reason = slice_of(says[i].reason)};

		(void)ipc_protection_add(&list, &record, NULL);
	}
	m.recipients = ipc_list_of(&list);
	(void)channel_send(world->signer, MSG_SIGN_RESULT, &m, NULL);
	ipc_list_writer_clear(&list);
}

void
signer_world_serve(struct signer_world *world, const char *content)
{
	struct signer_says *says = xcalloc(world->recipients, sizeof(*says));

	for (unsigned i = 0; i < world->recipients; i++) {
		signer_world_output(world, (uint16_t)(i + 1), content);
		says[i] = (struct signer_says){SIGNED_DONE, APPLIED_ENCRYPTED,
		    (uint16_t)(i + 1), "2.0.0", ""};
	}
	signer_world_result(world, 0, SIGNED_DONE, "", says, world->recipients);
	free(says);
}

/* ---- clients ---- */

static void
on_answer(void *arg, const struct channel_frame *frame)
{
	struct signer_world *world = arg;
	const struct ipc_queue_answer *answer;

	if (frame == NULL)
		return;
	answer = &frame->message->queue_answer;
	world->answers++;
	world->code = answer->code;
	(void)slice_copy(
	    answer->enhanced, world->enhanced, sizeof(world->enhanced));
	(void)slice_copy(answer->text, world->text, sizeof(world->text));
}

uint64_t
signer_world_submit(struct signer_world *world, bool is_trusted,
    const char *const *domains, size_t count, const char *content)
{
	struct ipc_queue_submit m = {.message_id = world_next_id(&world->world),
	    .session_id = 1,
	    .client = is_trusted ? SLICE("127.0.0.1") : SLICE("192.0.2.1"),
	    .is_trusted = is_trusted,
	    .reverse_path =
		is_trusted ? SLICE("a@ours.test") : SLICE("a@away.test"),
	    .content = slice_of(content)};
	struct ipc_list_writer list;

	ipc_list_writer_init(&list, 1 << 20);
	for (size_t i = 0; i < count; i++) {
		struct ipc_record_recipient recipient = {0};
		char address[300];

		(void)snprintf(
		    address, sizeof(address), "r%zu@%.250s", i, domains[i]);
		recipient.address = slice_of(address);
		(void)ipc_recipient_add(&list, &recipient, NULL);
	}
	m.recipients = ipc_list_of(&list);
	if (is_trusted)
		world_show_client(&world->world, "127.0.0.1");
	if (channel_request(world->world.peer.channel, MSG_QUEUE_SUBMIT, &m,
		NULL, MSG_QUEUE_ANSWER, 60000, on_answer, world) == 0)
		fatal("a message that cannot be sent");
	ipc_list_writer_clear(&list);
	return m.message_id;
}

/* ---- the store ---- */

int64_t
signer_world_count(struct signer_world *world, const char *query)
{
	char path[128];
	sqlite3_stmt *stmt;
	sqlite3 *db;
	int64_t value = -1;

	(void)snprintf(path, sizeof(path), "%s/queue.db", world->world.dir);
	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_busy_timeout(db, PATIENCE_MS) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, query, -1, &stmt, NULL) != SQLITE_OK)
		fatal("%s: %s", query, sqlite3_errmsg(db));
	if (sqlite3_step(stmt) == SQLITE_ROW)
		value = sqlite3_column_int64(stmt, 0);
	(void)sqlite3_finalize(stmt);
	(void)sqlite3_close(db);
	return value;
}

/* ---- life ---- */

void
signer_world_init(
    struct signer_world *world, const char *rules, const char *domains)
{
	*world = (struct signer_world){0};
	world_init(&world->world);
	world_set_rules(&world->world, rules);
	world_connect(&world->world);
	if (domains != NULL)
		signer_world_connect(world, domains);
}

void
signer_world_clear(struct signer_world *world)
{
	signer_world_disconnect(world);
	world_clear(&world->world);
}
