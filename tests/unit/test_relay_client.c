/* SPDX-License-Identifier: ISC */
/*
 * The SMTP client against servers that follow a script: each row of a script
 * is a line that must come and what is answered; the end of the content is a
 * row ".".  What servers do wrong is in security.md's T067 to T077.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/smtp_data.h"
#include "relay/client.h"
#include "tests/unit/tap.h"

#define PATIENCE_MS 60000
#define STEPS_MAX 16
#define BIG ((size_t)1024 * 1024)

struct step {
	const char *expect; /* how the line begins; "" for the greeting */
	const char *answer; /* NULL: hang up; "tls": 220, then TLS */
};

/* What a case looks at, and how the client is set up. */
struct scene {
	const char *label;
	struct step steps[STEPS_MAX];
	/* The mail: */
	unsigned recipients; /* 0: only the session */
	bool is_deaf; /* what comes after the last step is not looked at */
	bool is_lmtp, is_8bit, is_utf8, is_callout, has_dsn;
	uint64_t size; /* claimed by the mail; 0: what it has */
	const char *user;
	enum tls_action tls;
	const char *content;
	/* What must come of it: */
	const char *results; /* a letter each: D, T (put off), F; - open */
	unsigned code;       /* of the first */
	const char *enhanced;
	const char *end; /* a part of the session's end, NULL: still open */
	const char *got; /* the content as it arrived */
	bool is_reusable;
};

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
	struct client_config config = {.events = &client_handlers,
	    .arg = &b,
	    .own_name = "gw.example.test",
	    .host = "mx.example.test",
	    .is_lmtp = scene->is_lmtp,
	    .tls = {.action = scene->tls, .why = "test"},
	    .user = scene->user != NULL ? scene->user : "",
	    .password = "secret",
	    .connect_ms = 10000,
	    .command_ms = 300,
	    .dot_ms = 300};
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		fds) == -1)
		fatal("no socketpair");
	b.loop = loop_new();
	b.patience = event_new(loop_base(b.loop), -1, 0, on_patience, &b);
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
	loop_free(b.loop);
	buf_clear(&b.content);
	for (unsigned i = 0; i < 3; i++)
		free(b.recipients[i].reply);
}

#define HELLO                                                                \
	{"", "220 mx ready\r\n"},                                            \
	{                                                                    \
		"EHLO gw.example.test",                                      \
		    "250-mx hello\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 " \
		    "DSN\r\n"                                                \
	}
#define BARE                               \
	{"", "220 mx ready\r\n"},          \
	{                                  \
		"EHLO", "250 mx hello\r\n" \
	}

static const struct scene scenes[] = {
    {.label = "a mail, pipelined",
	.recipients = 1,
	.steps = {HELLO, {"MAIL FROM:<from@example.org>\r", "250 ok\r\n"},
	    {"RCPT TO:<a@example.test>\r", "250 ok\r\n"},
	    {"DATA", "354 go\r\n"}, {".", "250 2.0.0 taken as 1\r\n"}},
	.results = "D",
	.code = 250,
	.enhanced = "2.0.0",
	.got = "Subject: x\r\n\r\nhi\r\n",
	.is_reusable = true},
    {.label = "dots and a last line without its end",
	.recipients = 1,
	.content = ".\r\n..\r\n.x\r\nend",
	.steps = {BARE, {"MAIL", "250 ok\r\n"}, {"RCPT", "250 ok\r\n"},
	    {"DATA", "354 go\r\n"}, {".", "250 ok\r\n"}},
	.results = "D",
	.got = ".\r\n..\r\n.x\r\nend\r\n",
	.is_reusable = true},
    {.label = "DSN is passed on",
	.recipients = 1,
	.has_dsn = true,
	.steps = {HELLO,
	    {"MAIL FROM:<from@example.org> RET=HDRS ENVID=env+20id\r",
		"250 ok\r\n"},
	    {"RCPT TO:<a@example.test> NOTIFY=SUCCESS,FAILURE "
	     "ORCPT=rfc822;o@example.test\r",
		"250 ok\r\n"},
	    {"DATA", "354 go\r\n"}, {".", "250 ok\r\n"}},
	.results = "D",
	.is_reusable = true},
    {.label = "DSN is not offered",
	.recipients = 1,
	.has_dsn = true,
	.steps = {BARE, {"MAIL FROM:<from@example.org>\r", "250 ok\r\n"},
	    {"RCPT TO:<a@example.test>\r", "250 ok\r\n"},
	    {"DATA", "354 go\r\n"}, {".", "250 ok\r\n"}},
	.results = "D",
	.is_reusable = true},
    {.label = "some recipients are refused",
	.recipients = 3,
	.steps = {HELLO, {"MAIL", "250 ok\r\n"},
	    {"RCPT TO:<a", "550 5.1.1 no\r\n"}, {"RCPT TO:<b", "250 ok\r\n"},
	    {"RCPT TO:<c", "450 later\r\n"}, {"DATA", "354 go\r\n"},
	    {".", "250 ok\r\n"}},
	.results = "FDT",
	.code = 550,
	.enhanced = "5.1.1",
	.is_reusable = true},
    {.label = "too many recipients, said as 552",
	.recipients = 2,
	.steps = {HELLO, {"MAIL", "250 ok\r\n"}, {"RCPT", "250 ok\r\n"},
	    {"RCPT", "552 too many\r\n"}, {"DATA", "354 go\r\n"},
	    {".", "250 ok\r\n"}},
	.results = "DT",
	.is_reusable = true},
    {.label = "MAIL is refused, pipelined",
	.recipients = 2,
	.steps = {HELLO, {"MAIL", "550 5.7.1 not you\r\n"},
	    {"RCPT", "503 no\r\n"}, {"RCPT", "503 no\r\n"},
	    {"DATA", "503 no\r\n"}, {"RSET", "250 ok\r\n"}},
	.results = "FF",
	.code = 550,
	.enhanced = "5.7.1",
	.is_reusable = true},
    {.label = "MAIL is put off",
	.recipients = 1,
	.steps = {BARE, {"MAIL", "451 4.3.0 later\r\n"},
	    {"RSET", "250 ok\r\n"}},
	.results = "T",
	.code = 451,
	.is_reusable = true},
    {.label = "all refused, and DATA too",
	.recipients = 2,
	.steps = {HELLO, {"MAIL", "250 ok\r\n"}, {"RCPT", "550 no\r\n"},
	    {"RCPT", "550 no\r\n"}, {"DATA", "554 no recipients\r\n"},
	    {"RSET", "250 ok\r\n"}},
	.results = "FF",
	.is_reusable = true},
    {.label = "all refused yet 354: only a dot (T071)",
	.recipients = 1,
	.steps = {HELLO, {"MAIL", "250 ok\r\n"}, {"RCPT", "550 no\r\n"},
	    {"DATA", "354 go\r\n"}, {".", "250 delivered, honestly\r\n"}},
	.results = "F",
	.got = "",
	.is_reusable = true},
    {.label = "refused after the dot",
	.recipients = 2,
	.steps = {HELLO, {"MAIL", "250 ok\r\n"}, {"RCPT", "250 ok\r\n"},
	    {"RCPT", "250 ok\r\n"}, {"DATA", "354 go\r\n"},
	    {".", "554 5.7.1 spam\r\n"}},
	.results = "FF",
	.code = 554,
	.is_reusable = true},
    {.label = "put off after the dot",
	.recipients = 1,
	.steps = {HELLO, {"MAIL", "250 ok\r\n"}, {"RCPT", "250 ok\r\n"},
	    {"DATA", "354 go\r\n"}, {".", "451 later\r\n"}},
	.results = "T",
	.enhanced = "4.0.0",
	.is_reusable = true},
    {.label = "250 to DATA is no leave to send (T069)",
	.recipients = 1,
	.steps = {HELLO, {"MAIL", "250 ok\r\n"}, {"RCPT", "250 ok\r\n"},
	    {"DATA", "250 delivered\r\n"}},
	.results = "-",
	.end = "said 250 to DATA",
	.got = ""},
    {.label = "354 to MAIL",
	.recipients = 1,
	.steps = {HELLO, {"MAIL", "354 go\r\n"}},
	.results = "-",
	.end = "said 354 in the wrong place"},
    {.label = "a code of no kind",
	.recipients = 1,
	.steps = {BARE, {"MAIL", "999 what\r\n"}},
	.results = "-",
	.end = "reply to MAIL is none"},
    {.label = "codes that differ in a reply",
	.recipients = 1,
	.steps = {BARE, {"MAIL", "250-ok\r\n550 no\r\n"}},
	.results = "-",
	.end = "reply to MAIL is none"},
    {.label = "a reply too many is not a delivery (T070)",
	.recipients = 1,
	.steps = {BARE, {"MAIL", "250 ok\r\n250 ok\r\n250 ok\r\n"}},
	.results = "-",
	.end = "said 250 to DATA"},
    {.label = "354 and 250 in one breath are no delivery (T070)",
	.recipients = 1,
	.steps = {BARE, {"MAIL", "250 ok\r\n"}, {"RCPT", "250 ok\r\n"},
	    {"DATA", "354 go\r\n250 delivered\r\n"}},
	.results = "-",
	.is_deaf = true,
	.end = "answered before the message was sent"},
    {.label = "all replies at once are no delivery",
	.recipients = 1,
	.steps = {HELLO, {"MAIL", "250 ok\r\n250 ok\r\n354 go\r\n"
				  "250 delivered\r\n"}},
	.results = "-",
	.is_deaf = true,
	.end = "answered before the message was sent"},
    {.label = "replies too early",
	.recipients = 0,
	.steps = {{"", "220 mx\r\n"}, {"EHLO", "250 mx\r\n250 and more\r\n"}},
	.end = "answered what was not asked"},
    {.label = "LMTP answers for each recipient",
	.recipients = 3,
	.is_lmtp = true,
	.steps = {{"", "220 lmtp\r\n"},
	    {"LHLO", "250-lmtp\r\n250 PIPELINING\r\n"}, {"MAIL", "250 ok\r\n"},
	    {"RCPT", "250 ok\r\n"}, {"RCPT", "550 no\r\n"},
	    {"RCPT", "250 ok\r\n"}, {"DATA", "354 go\r\n"},
	    {".", "250 one\r\n452 4.2.2 full\r\n"}},
	.results = "DFT",
	.is_reusable = true},
    {.label = "LMTP stops in the middle of its answers",
	.recipients = 2,
	.is_lmtp = true,
	.steps = {{"", "220 lmtp\r\n"}, {"LHLO", "250 lmtp\r\n"},
	    {"MAIL", "250 ok\r\n"}, {"RCPT", "250 ok\r\n"},
	    {"RCPT", "250 ok\r\n"}, {"DATA", "354 go\r\n"},
	    {".", "250 one\r\n"}},
	.results = "D-",
	.end = "timed out"},
    {.label = "a greeting of 554",
	.steps = {{"", "554 go away\r\n"}},
	.end = "554 go away"},
    {.label = "no EHLO, but HELO",
	.recipients = 1,
	.steps = {{"", "220 old\r\n"}, {"EHLO", "500 what\r\n"},
	    {"HELO gw.example.test", "250 old\r\n"}, {"MAIL", "250 ok\r\n"},
	    {"RCPT", "250 ok\r\n"}, {"DATA", "354 go\r\n"},
	    {".", "250 ok\r\n"}},
	.results = "D",
	.is_reusable = true},
    {.label = "421 to MAIL",
	.recipients = 1,
	.steps = {BARE, {"MAIL", "421 4.3.2 closing\r\n"}},
	.results = "-",
	.end = "421 4.3.2 closing"},
    {.label = "no answer to the dot",
	.recipients = 1,
	.steps = {HELLO, {"MAIL", "250 ok\r\n"}, {"RCPT", "250 ok\r\n"},
	    {"DATA", "354 go\r\n"}, {".", NULL}},
	.results = "-",
	.end = "closed the connection (end of data)"},
    {.label = "hung up after 354",
	.recipients = 1,
	.steps = {HELLO, {"MAIL", "250 ok\r\n"}, {"RCPT", "250 ok\r\n"},
	    {"DATA", NULL}},
	.results = "-",
	.end = "closed the connection"},
    {.label = "silence",
	.recipients = 0,
	.steps = {{"x", ""}},
	.end = "timed out (greeting)"},
    {.label = "larger than the server takes",
	.recipients = 1,
	.size = 5000,
	.steps = {{"", "220 mx\r\n"}, {"EHLO", "250-mx\r\n250 SIZE 4999\r\n"}},
	.results = "F",
	.enhanced = "5.3.4",
	.is_reusable = true},
    {.label = "SIZE is told",
	.recipients = 1,
	.steps = {{"", "220 mx\r\n"}, {"EHLO", "250-mx\r\n250 SIZE 4999\r\n"},
	    {"MAIL FROM:<from@example.org> SIZE=18\r", "250 ok\r\n"},
	    {"RCPT", "250 ok\r\n"}, {"DATA", "354 go\r\n"},
	    {".", "250 ok\r\n"}},
	.results = "D",
	.is_reusable = true},
    {.label = "8BITMIME is needed and told",
	.recipients = 1,
	.is_8bit = true,
	.steps = {HELLO,
	    {"MAIL FROM:<from@example.org> BODY=8BITMIME\r", "250 ok\r\n"},
	    {"RCPT", "250 ok\r\n"}, {"DATA", "354 go\r\n"},
	    {".", "250 ok\r\n"}},
	.results = "D",
	.is_reusable = true},
    {.label = "8BITMIME is needed and not there",
	.recipients = 1,
	.is_8bit = true,
	.steps = {BARE},
	.results = "F",
	.enhanced = "5.6.3",
	.is_reusable = true},
    {.label = "SMTPUTF8 is needed and not there",
	.recipients = 1,
	.is_utf8 = true,
	.steps = {HELLO},
	.results = "F",
	.enhanced = "5.6.7",
	.is_reusable = true},
    {.label = "a bare LF never leaves us",
	.recipients = 1,
	.content = "a\r\nb\nc\r\n",
	.steps = {BARE, {"MAIL", "250 ok\r\n"}, {"RCPT", "250 ok\r\n"},
	    {"DATA", "354 go\r\n"}},
	.results = "F",
	.enhanced = "5.6.0",
	.end = "bare",
	.got = ""},
    {.label = "a callout that finds somebody",
	.recipients = 1,
	.is_callout = true,
	.steps = {HELLO, {"MAIL", "250 ok\r\n"}, {"RCPT", "250 ok\r\n"},
	    {"RSET", "250 ok\r\n"}},
	.results = "D",
	.is_reusable = true},
    {.label = "a callout that finds nobody",
	.recipients = 1,
	.is_callout = true,
	.steps = {HELLO, {"MAIL", "250 ok\r\n"}, {"RCPT", "550 5.1.1 no\r\n"},
	    {"RSET", "250 ok\r\n"}},
	.results = "F",
	.is_reusable = true},
    {.label = "a callout whose MAIL is refused tells nothing",
	.recipients = 1,
	.is_callout = true,
	.steps = {HELLO, {"MAIL", "550 no bounces\r\n"},
	    {"RSET", "250 ok\r\n"}},
	.results = "T",
	.is_reusable = true},
    {.label = "STARTTLS",
	.recipients = 1,
	.tls = TLS_MAY,
	.steps = {{"", "220 mx\r\n"}, {"EHLO", "250-mx\r\n250 STARTTLS\r\n"},
	    {"STARTTLS", "tls"}, {"EHLO", "250 mx\r\n"}, {"MAIL", "250 ok\r\n"},
	    {"RCPT", "250 ok\r\n"}, {"DATA", "354 go\r\n"},
	    {".", "250 ok\r\n"}},
	.results = "D",
	.is_reusable = true},
    {.label = "STARTTLS not offered, and not required",
	.tls = TLS_MAY,
	.steps = {BARE}},
    {.label = "STARTTLS not offered, but required",
	.tls = TLS_MUST,
	.steps = {BARE},
	.end = "TLS is required"},
    {.label = "STARTTLS refused",
	.tls = TLS_MAY,
	.steps = {{"", "220 mx\r\n"}, {"EHLO", "250-mx\r\n250 STARTTLS\r\n"},
	    {"STARTTLS", "454 4.7.0 not now\r\n"}},
	.end = "STARTTLS refused: 454 4.7.0 not now"},
    {.label = "a reply put in before TLS (T074)",
	.tls = TLS_MAY,
	.steps = {{"", "220 mx\r\n"}, {"EHLO", "250-mx\r\n250 STARTTLS\r\n"},
	    {"STARTTLS", "220 go\r\n250 AUTH PLAIN\r\n"}},
	.end = "sent more before TLS began"},
    {.label = "silence for a handshake",
	.tls = TLS_MUST,
	.is_deaf = true,
	.steps = {{"", "220 mx\r\n"}, {"EHLO", "250-mx\r\n250 STARTTLS\r\n"},
	    {"STARTTLS", "220 go\r\n"}},
	.end = "TLS handshake: timed out"},
    {.label = "no password without TLS (T076)",
	.user = "me",
	.steps = {{"", "220 mx\r\n"}, {"EHLO", "250-mx\r\n250 AUTH PLAIN\r\n"}},
	.end = "no login without TLS"},
    {.label = "AUTH PLAIN",
	.user = "me",
	.tls = TLS_MUST,
	.steps = {{"", "220 mx\r\n"}, {"EHLO", "250-mx\r\n250 STARTTLS\r\n"},
	    {"STARTTLS", "tls"}, {"EHLO", "250-mx\r\n250 AUTH LOGIN PLAIN\r\n"},
	    {"AUTH PLAIN AG1lAHNlY3JldA==\r", "235 2.7.0 welcome\r\n"}}},
    {.label = "AUTH LOGIN where nothing else is",
	.user = "me",
	.tls = TLS_MUST,
	.steps = {{"", "220 mx\r\n"}, {"EHLO", "250-mx\r\n250 STARTTLS\r\n"},
	    {"STARTTLS", "tls"}, {"EHLO", "250-mx\r\n250 AUTH LOGIN\r\n"},
	    {"AUTH LOGIN\r", "334 VXNlcm5hbWU6\r\n"},
	    {"bWU=\r", "334 UGFzc3dvcmQ6\r\n"},
	    {"c2VjcmV0\r", "235 welcome\r\n"}}},
    {.label = "a login that asks on and on",
	.user = "me",
	.tls = TLS_MUST,
	.steps = {{"", "220 mx\r\n"}, {"EHLO", "250-mx\r\n250 STARTTLS\r\n"},
	    {"STARTTLS", "tls"}, {"EHLO", "250-mx\r\n250 AUTH LOGIN\r\n"},
	    {"AUTH LOGIN\r", "334 \r\n"}, {"bWU=\r", "334 \r\n"},
	    {"c2VjcmV0\r", "334 \r\n"}},
	.end = "asks on and on"},
    {.label = "a wrong password puts off",
	.user = "me",
	.tls = TLS_MUST,
	.steps = {{"", "220 mx\r\n"}, {"EHLO", "250-mx\r\n250 STARTTLS\r\n"},
	    {"STARTTLS", "tls"}, {"EHLO", "250-mx\r\n250 AUTH PLAIN\r\n"},
	    {"AUTH PLAIN", "535 5.7.8 no\r\n"}},
	.end = "535 5.7.8 no"},
};

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
	    .connect_ms = 10000,
	    .command_ms = 10000,
	    .dot_ms = 10000};
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
	loop_free(b.loop);
	buf_clear(&b.content);
	buf_clear(&all);
	free(b.recipients[0].reply);
	(void)close(file);
}

static void
make_contexts(void)
{
	struct buf chain;
	struct buf key;
	struct err err;

	buf_init(&chain, 65536);
	buf_init(&key, 65536);
	if (tls_self_signed("mx.example.test", (int64_t)time(NULL), &chain,
		&key, &err) == -1)
		fatal("%s", err.text);
	contexts.server = tls_server_new(buf_slice(&chain), buf_slice(&key),
	    "smtp", (struct slice){NULL, 0}, &err);
	contexts.client = tls_client_new(NULL, &err);
	if (contexts.server == NULL || contexts.client == NULL)
		fatal("%s", err.text);
	buf_clear(&chain);
	buf_clear(&key);
}

int
main(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	tls_prepare();
	make_contexts();
	for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++)
		play(&scenes[i]);
	test_floods();
	test_file();
	SSL_CTX_free(contexts.server);
	SSL_CTX_free(contexts.client);
	return tap_done();
}
