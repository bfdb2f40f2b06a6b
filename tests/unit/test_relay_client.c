/* SPDX-License-Identifier: ISC */
/*
 * The SMTP client against servers that follow a script: relay_scenes.h.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/smtp_data.h"
#include "relay/client.h"
#include "tests/unit/relay_scenes.h"
#include "tests/unit/tap.h"
#include "tests/unit/tls_own.h"

#define PATIENCE_MS 60000
/* How long a server is waited for: one that says nothing, and any other. */
#define SILENCE_MS 300
#define ANSWER_MS 10000
/* How late an answer comes: more than no time at all. */
#define LATE_MS 50
#define BIG ((size_t)1024 * 1024)

struct bench {
	struct loop *loop;
	struct event *patience;
	const struct scene *scene;
	/* The server: */
	struct stream *server;
	unsigned step;
	bool is_in_content;
	struct smtp_data data;
	struct buf content;
	bool has_failed;
	struct event *late;      /* its answer to the dot */
	const char *late_answer; /* NULL: it answers at once */
	/* The client: */
	struct client *client;
	struct client_mail mail;
	struct client_recipient recipients[3];
	bool is_ready;
	bool is_done;
	bool was_reusable;
	bool is_over;
	struct client_end end;
};

static struct {
	SSL_CTX *server;
	SSL_CTX *client;
} contexts;

/* ---- the server ---- */

static void
serve(struct bench *b, const char *answer)
{
	if (answer == NULL) {
		stream_close(b->server);
		b->server = NULL;
	} else if (strcmp(answer, "tls") == 0) {
		SSL *ssl = SSL_new(contexts.server);

		SSL_set_accept_state(ssl);
		stream_write(b->server, "220 go\r\n", 8);
		(void)stream_start_tls(b->server, ssl);
	} else {
		stream_write(b->server, answer, strlen(answer));
	}
}

static void
take_content(void *context, const char *p, size_t n)
{
	struct bench *b = context;

	(void)buf_add(&b->content, p, n);
}

static void
on_late(int fd, short what, void *arg)
{
	struct bench *b = arg;

	(void)fd;
	(void)what;
	if (b->server != NULL)
		serve(b, b->late_answer);
}

static void
take_line(struct bench *b, struct slice line)
{
	const struct step *step = &b->scene->steps[b->step];

	if (slice_starts_nocase(line, "QUIT") ||
	    (step->expect == NULL && b->scene->is_deaf))
		return;
	if (step->expect == NULL || !slice_starts_nocase(line, step->expect)) {
		fail("%s: \"%.*s\" came, not \"%s\"", b->scene->label,
		    SLICE_ARG(line),
		    step->expect != NULL ? step->expect : "nothing");
		b->has_failed = true;
		serve(b, NULL);
		return;
	}
	b->step++;
	if (step->answer != NULL && strncmp(step->answer, "354", 3) == 0) {
		b->is_in_content = true;
		smtp_data_init(&b->data);
		if (b->scene->is_late)
			b->mail.deadline_ms = 1;
	}
	if (b->scene->is_late && line.n == 1 && line.p[0] == '.') {
		b->late_answer = step->answer;
		loop_arm(b->late, LATE_MS);
		return;
	}
	serve(b, step->answer);
}

static void
server_input(void *arg)
{
	struct bench *b = arg;

	while (b->server != NULL) {
		struct slice in = stream_input(b->server);
		size_t used;

		if (b->is_in_content) {
			if (smtp_data_feed(&b->data, in, take_content, b,
				&used) == PARSE_OK)
				b->is_in_content = false;
			stream_consume(b->server, used);
			if (b->is_in_content)
				return;
			take_line(b, SLICE("."));
			continue;
		}
		used = slice_find(in, '\n', 0);
		if (used == in.n)
			return;
		stream_consume(b->server, used + 1);
		take_line(b, (struct slice){in.p, used});
	}
}

static void
server_secured(void *arg)
{
	(void)arg;
}

static void
server_ended(void *arg, enum stream_end how)
{
	struct bench *b = arg;

	(void)how;
	stream_close(b->server);
	b->server = NULL;
}

static const struct stream_events server_events = {
    .input = server_input, .secured = server_secured, .ended = server_ended};

/* ---- the client's owner ---- */

static void
on_ready(void *arg)
{
	struct bench *b = arg;

	b->is_ready = true;
	if (b->scene->recipients > 0)
		client_send(b->client, &b->mail);
	else
		loop_stop(b->loop);
}

static void
on_done(void *arg, bool is_reusable)
{
	struct bench *b = arg;

	b->is_done = true;
	b->was_reusable = is_reusable;
	if (is_reusable)
		loop_stop(b->loop);
}

static void
on_ended(void *arg, const struct client_end *end)
{
	struct bench *b = arg;

	b->is_over = true;
	b->end = *end;
	client_free(b->client);
	b->client = NULL;
	loop_stop(b->loop);
}

static const struct client_events client_handlers = {
    .ready = on_ready, .done = on_done, .ended = on_ended};

static void
on_patience(int fd, short what, void *arg)
{
	struct bench *b = arg;

	(void)fd;
	(void)what;
	fail("%s: waited in vain at step %u", b->scene->label, b->step);
	exit(tap_done());
}

static void
set_mail(struct bench *b, const struct scene *scene)
{
	static const char *const addresses[] = {
	    "a@example.test", "b@example.test", "c@example.test"};
	const char *content = scene->content != NULL
				  ? scene->content
				  : "Subject: x\r\n\r\nhi\r\n";

	b->mail = (struct client_mail){.reverse_path = "from@example.org",
	    .envid = scene->has_dsn ? "env+20id" : "",
	    .ret = scene->has_dsn ? DSN_RET_HDRS : DSN_RET_UNSAID,
	    .is_8bit = scene->is_8bit,
	    .is_utf8 = scene->is_utf8,
	    .is_callout = scene->is_callout,
	    .size = scene->size != 0 ? scene->size : strlen(content),
	    .content = slice_of(content),
	    .fd = -1,
	    .deadline_ms = clock_monotonic_ms() + 60000,
	    .recipients = b->recipients,
	    .recipient_count = scene->recipients};
	for (unsigned i = 0; i < 3; i++)
		b->recipients[i] =
		    (struct client_recipient){.address = addresses[i],
			.orcpt = scene->has_dsn ? "rfc822;o@example.test" : "",
			.notify = scene->has_dsn
				      ? DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE
				      : 0};
}

static void
check_results(const struct bench *b, const struct scene *scene)
{
	static const char letters[OUTCOME_COUNT] = {[OUTCOME_DELIVERED] = 'D',
	    [OUTCOME_DEFERRED] = 'T',
	    [OUTCOME_FAILED] = 'F'};
	char got[4] = "";

	for (unsigned i = 0; i < scene->recipients; i++)
		got[i] = b->recipients[i].is_settled
			     ? letters[b->recipients[i].outcome]
			     : '-';
	is_str(got, scene->results != NULL ? scene->results : "", "%s: results",
	    scene->label);
	if (scene->code != 0)
		is_u64(b->recipients[0].code, scene->code, "%s: code",
		    scene->label);
	if (scene->enhanced != NULL)
		is_str(b->recipients[0].enhanced, scene->enhanced,
		    "%s: enhanced code", scene->label);
}

static void
check(const struct bench *b, const struct scene *scene)
{
	if (b->has_failed)
		return;
	if (scene->recipients > 0)
		check_results(b, scene);
	if (scene->end != NULL)
		ok(b->is_over && strstr(b->end.text, scene->end) != NULL,
		    "%s: ends with \"%s\"", scene->label, b->end.text);
	else
		ok(!b->is_over, "%s: the session stays open %s", scene->label,
		    b->end.text);
	if (scene->recipients > 0)
		ok(b->was_reusable == scene->is_reusable,
		    "%s: it may be used again, or not", scene->label);
	if (scene->got != NULL)
		is_slice(buf_slice(&b->content), scene->got, "%s: what arrived",
		    scene->label);
}

static void
play(const struct scene *scene)
{
	struct bench b = {.scene = scene};
	const bool is_silent =
	    scene->end != NULL && strstr(scene->end, "timed out") != NULL;
	struct client_config config = {.events = &client_handlers,
	    .arg = &b,
	    .own_name = "gw.example.test",
	    .host = "mx.example.test",
	    .is_lmtp = scene->is_lmtp,
	    .tls = {.action = scene->tls, .why = "test"},
	    .user = scene->user != NULL ? scene->user : "",
	    .password = "secret",
	    .connect_ms = ANSWER_MS,
	    .command_ms = is_silent ? SILENCE_MS : ANSWER_MS,
	    .dot_ms = is_silent ? SILENCE_MS : ANSWER_MS};
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		fds) == -1)
		fatal("no socketpair");
	b.loop = loop_new();
	b.patience = event_new(loop_base(b.loop), -1, 0, on_patience, &b);
	b.late = event_new(loop_base(b.loop), -1, 0, on_late, &b);
	loop_arm(b.patience, PATIENCE_MS);
	buf_init(&b.content, 4 * BIG);
	set_mail(&b, scene);
	config.loop = b.loop;
	if (scene->tls != TLS_PLAIN)
		config.ssl =
		    tls_client_connect(contexts.client, "mx.example.test", NULL,
			0, TLS_CHECK_NONE, NULL, 0, NULL, NULL);
	b.server = stream_new(b.loop, fds[1], &server_events, &b, 65536);
	b.client = client_new(&config, fds[0]);
	if (scene->steps[0].expect != NULL &&
	    scene->steps[0].expect[0] == '\0') {
		b.step = 1;
		serve(&b, scene->steps[0].answer);
	}
	loop_run(b.loop);
	check(&b, scene);
	client_quit(b.client);
	stream_close(b.server);
	event_free(b.patience);
	event_free(b.late);
	loop_free(b.loop);
	buf_clear(&b.content);
	for (unsigned i = 0; i < 3; i++)
		free(b.recipients[i].reply);
}

/* ---- floods ---- */

static void
test_floods(void)
{
	struct scene scene = {.label = "a greeting without an end (T067)",
	    .end = "reply to greeting is none"};
	char *flood = xmalloc(200001);

	memset(flood, 'x', 200000);
	flood[200000] = '\0';
	memcpy(flood, "220-", 4);
	scene.steps[0] = (struct step){"", flood};
	play(&scene);
	scene.label = "endless lines of a greeting";
	for (size_t i = 0; i + 8 <= 200000; i += 8)
		memcpy(flood + i, "220-yes\n", 8);
	play(&scene);
	free(flood);
}

/* ---- large files ---- */

static void
test_file(void)
{
	static struct scene scene = {.label = "a large file",
	    .recipients = 1,
	    .steps = {HELLO, {"MAIL", "250 ok\r\n"}, {"RCPT", "250 ok\r\n"},
		{"DATA", "354 go\r\n"}, {".", "250 ok\r\n"}},
	    .results = "D",
	    .is_reusable = true};
	char path[] = "/tmp/test_relay_client.XXXXXX";
	char line[80];
	struct bench b = {.scene = &scene};
	struct client_config config = {.events = &client_handlers,
	    .arg = &b,
	    .own_name = "gw.example.test",
	    .host = "mx.example.test",
	    .user = "",
	    .password = "",
	    .connect_ms = ANSWER_MS,
	    .command_ms = ANSWER_MS,
	    .dot_ms = ANSWER_MS};
	struct buf all;
	int fds[2];
	int file = mkstemp(path);

	(void)unlink(path);
	buf_init(&all, 4 * BIG);
	for (unsigned i = 0; all.n < BIG; i++) {
		(void)snprintf(line, sizeof(line), "%s line %u\r\n",
		    i % 3 == 0 ? "." : "a", i);
		(void)buf_add_text(&all, line);
	}
	if (write(file, all.p, all.n) != (ssize_t)all.n ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		fds) == -1)
		fatal("no file or sockets");
	b.loop = loop_new();
	b.patience = event_new(loop_base(b.loop), -1, 0, on_patience, &b);
	b.late = event_new(loop_base(b.loop), -1, 0, on_late, &b);
	loop_arm(b.patience, PATIENCE_MS);
	buf_init(&b.content, 4 * BIG);
	set_mail(&b, &scene);
	b.mail.fd = file;
	b.mail.size = all.n;
	config.loop = b.loop;
	b.server = stream_new(b.loop, fds[1], &server_events, &b, 65536);
	b.client = client_new(&config, fds[0]);
	b.step = 1;
	serve(&b, scene.steps[0].answer);
	loop_run(b.loop);
	check(&b, &scene);
	ok(slice_equals(buf_slice(&b.content), buf_slice(&all)),
	    "a large file arrives as it is");
	client_free(b.client);
	stream_close(b.server);
	event_free(b.patience);
	event_free(b.late);
	loop_free(b.loop);
	buf_clear(&b.content);
	buf_clear(&all);
	free(b.recipients[0].reply);
	(void)close(file);
}

int
main(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	tls_prepare();
	contexts.server = tls_own_server("mx.example.test");
	contexts.client = tls_own_client();
	for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++)
		play(&scenes[i]);
	test_floods();
	test_file();
	SSL_CTX_free(contexts.server);
	SSL_CTX_free(contexts.client);
	return tap_done();
}
