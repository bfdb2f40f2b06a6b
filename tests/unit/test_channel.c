/* SPDX-License-Identifier: ISC */
/*
 * Channels between two honest ends of a socket pair.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/channel_pair.h"
#include "tests/unit/tap.h"

static void
on_answer(void *arg, const struct channel_frame *frame)
{
	struct channel_end *end = arg;

	end->answers++;
	if (frame == NULL)
		end->empty_answers++;
	else
		end->last_code = frame->message->queue_answer.code;
}

static void
test_frames(void)
{
	struct channel_pair pair;
	struct ipc_queue_chunk chunk = {.stream = 1, .content = SLICE("x")};
	struct ipc_queue_credit credit = {.stream = 1, .octets = 5};
	static char content[IPC_CHUNK_MAX + 1];

	channel_pair_init(&pair, 0);
	ok(channel_is_up(pair.ours.channel), "HELLO goes both ways");
	is_int(channel_peer(pair.ours.channel), ROLE_QUEUED, "the peer's role");
	is_int(channel_peer_uid(pair.ours.channel), getuid(),
	    "the peer's user is known");
	channel_set_context(pair.ours.channel, &pair);
	ok(channel_context(pair.ours.channel) == &pair, "a context is kept");
	for (int i = 0; i < 1000; i++)
		(void)channel_send(
		    pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL);
	ok(channel_output_pending(pair.ours.channel) > 0,
	    "nothing leaves before the turn's end");
	(void)channel_send(
	    pair.theirs.channel, MSG_QUEUE_CREDIT, &credit, NULL);
	WAIT_UNTIL(
	    pair.loop, pair.theirs.frames == 1000 && pair.ours.frames == 1);
	is_int(pair.theirs.frames, 1000, "a thousand frames arrive");
	is_int(pair.ours.frames, 1, "and one the other way");
	chunk.content = (struct slice){content, IPC_CHUNK_MAX};
	is_int(channel_send(pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL),
	    0, "the longest chunk is taken");
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 1001);
	is_u64(pair.theirs.last_content, IPC_CHUNK_MAX, "and arrives whole");
	chunk.content.n++;
	is_int(channel_send(pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL),
	    -1, "one octet more is refused");
	channel_pair_clear(&pair);
}

static void
test_large_frame(void)
{
	struct channel_pair pair;
	struct ipc_life_events life = {.events = {NULL, 0, 0}};
	struct ipc_list_writer writer;
	static char event[16384];
	struct ipc_record_life record = {.event = {event, sizeof(event)}};
	struct err err;

	channel_pair_init(&pair, 0);
	ipc_list_writer_init(&writer, 12u << 20);
	while (ipc_life_add(&writer, &record, &err) == 0)
		;
	life.events = ipc_list_of(&writer);
	is_int(channel_send(pair.ours.channel, MSG_LIFE_EVENTS, &life, NULL), 0,
	    "a frame of 12 MiB is sent");
	WAIT_UNTIL(pair.loop, pair.theirs.closes == 1);
	is_str(pair.theirs.reason, "a frame broke its row: LIFE_EVENTS",
	    "and read to its end: this peer has no handler for it");
	ipc_list_writer_clear(&writer);
	channel_pair_clear(&pair);
}

static uint64_t
ask(struct channel_pair *pair, uint32_t deadline_ms)
{
	struct ipc_queue_end question = {.stream = 7};

	return channel_request(pair->ours.channel, MSG_QUEUE_END, &question,
	    NULL, MSG_QUEUE_ANSWER, deadline_ms, on_answer, &pair->ours);
}

static void
test_requests(void)
{
	struct channel_pair pair;
	struct ipc_queue_answer late = {.code = 451};
	uint64_t id;

	channel_pair_init(&pair, 0);
	pair.theirs.act = ACT_ANSWER;
	for (int i = 0; i < 100; i++)
		ok(ask(&pair, 5000) != 0, "question %d is sent", i);
	is_u64(
	    channel_requests_waiting(pair.ours.channel), 100, "a hundred wait");
	WAIT_UNTIL(pair.loop, pair.ours.answers == 100);
	is_int(pair.ours.answers, 100, "all are answered");
	is_int(pair.ours.last_code, 250, "by what was said");
	is_u64(channel_requests_waiting(pair.ours.channel), 0, "none waits");

	pair.theirs.act = ACT_NOTE;
	id = ask(&pair, 1);
	WAIT_UNTIL(pair.loop, pair.ours.empty_answers == 1);
	is_int(pair.ours.empty_answers, 1, "a deadline gives no frame");
	is_int(channel_answer(pair.theirs.channel, id, MSG_QUEUE_ANSWER, &late),
	    0, "a late answer is sent");
	(void)channel_answer(pair.theirs.channel, 0, MSG_QUEUE_ANSWER, &late);
	(void)channel_answer(
	    pair.theirs.channel, UINT64_MAX, MSG_QUEUE_ANSWER, &late);
	pair.theirs.act = ACT_ANSWER;
	(void)ask(&pair, 5000);
	WAIT_UNTIL(pair.loop, pair.ours.answers == 102);
	is_int(pair.ours.last_code, 250, "late and unasked ones are forgotten");
	is_int(pair.ours.closes, 0, "and break nothing");

	pair.theirs.act = ACT_NOTE;
	id = ask(&pair, 5000);
	channel_forget(pair.ours.channel, id);
	channel_forget(pair.ours.channel, id);
	channel_forget(pair.ours.channel, 0);
	channel_forget(pair.ours.channel, id + 1);
	is_u64(channel_requests_waiting(pair.ours.channel), 0,
	    "a forgotten question does not wait");
	ok(ask(&pair, 5000) != id, "its id is not used again");
	(void)ask(&pair, 5000);
	channel_close(pair.theirs.channel);
	WAIT_UNTIL(pair.loop, pair.ours.releases == 1);
	is_int(pair.ours.answers, 104, "an end answers those that wait");
	is_int(pair.ours.empty_answers, 3, "with no frame");
	is_int(pair.ours.closes, 1, "the owner is told");
	is_str(pair.ours.reason, "the peer closed", "why");
	is_int(pair.theirs.closes, 0, "who closed himself is not told");
	is_int(pair.theirs.releases, 1, "but its keeper is");
	ok(pair.theirs.was_up, "it had been up");
	channel_pair_clear(&pair);
}

static void
test_wrong_answer(void)
{
	struct channel_pair pair;

	channel_pair_init(&pair, 0);
	pair.theirs.act = ACT_ANSWER_WRONGLY;
	(void)ask(&pair, 5000);
	WAIT_UNTIL(pair.loop, pair.ours.releases == 1);
	is_str(pair.ours.reason, "a frame broke its row: LIFE_STORED",
	    "an answer of another type is a breach");
	is_int(pair.ours.empty_answers, 1, "who asked gets no frame");
	WAIT_UNTIL(pair.loop, pair.theirs.closes == 1);
	is_int(pair.theirs.closes, 1, "the peer sees the end");
	channel_pair_clear(&pair);
}

static void
test_close_inside(void)
{
	static const enum channel_act acts[] = {
	    ACT_CLOSE, ACT_CLOSE_TWICE, ACT_BREACH};
	struct ipc_queue_chunk chunk = {.stream = 1};

	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		struct channel_pair pair;

		channel_pair_init(&pair, 0);
		pair.theirs.act = acts[i];
		for (int k = 0; k < 3; k++)
			(void)channel_send(
			    pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL);
		WAIT_UNTIL(pair.loop,
		    pair.ours.releases == 1 && pair.theirs.releases == 1);
		is_int(pair.theirs.frames, 1,
		    "nothing is handled after the end (%zu)", i);
		is_int(pair.theirs.closes, acts[i] == ACT_BREACH,
		    "a breach tells the owner, closing does not");
		is_int(pair.ours.closes, 1, "the peer's owner is told");
		channel_pair_clear(&pair);
	}
}

static void
test_bye(void)
{
	struct channel_pair pair;
	struct ipc_queue_chunk chunk = {.stream = 1};

	channel_pair_init(&pair, 0);
	channel_close_with(pair.theirs.channel, "no room");
	is_int(channel_send(pair.theirs.channel, MSG_QUEUE_CHUNK, &chunk, NULL),
	    -1, "a closed channel sends nothing");
	/* The write fails before BYE is read: the reason must not be lost. */
	(void)channel_send(pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL);
	(void)ask(&pair, 5000);
	WAIT_UNTIL(pair.loop, pair.ours.closes == 1);
	is_str(pair.ours.reason, "no room", "BYE says why");
	is_int(pair.ours.empty_answers, 1, "and the question is answered");
	is_int(pair.theirs.closes, 0, "who says BYE is not told");
	channel_pair_clear(&pair);
}

static void
test_pause(void)
{
	struct channel_pair pair;
	struct ipc_queue_chunk chunk = {.stream = 1, .content = SLICE("abc")};

	channel_pair_init(&pair, 0);
	pair.theirs.act = ACT_PAUSE;
	for (int i = 0; i < 10; i++)
		(void)channel_send(
		    pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL);
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 1);
	for (int i = 0; i < 20; i++)
		channel_pair_turn(pair.loop);
	is_int(pair.theirs.frames, 1, "nothing is handled while paused");
	channel_resume(pair.theirs.channel);
	is_int(pair.theirs.frames, 1, "nor inside the call that resumes");
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 2);
	for (int i = 0; i < 20; i++)
		channel_pair_turn(pair.loop);
	is_int(pair.theirs.frames, 2, "a handler may pause again");
	pair.theirs.act = ACT_NOTE;
	channel_resume(pair.theirs.channel);
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 10);
	is_int(pair.theirs.frames, 10, "then the rest comes");
	channel_pause(pair.theirs.channel);
	channel_resume(pair.theirs.channel);
	(void)channel_send(pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL);
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 11);
	is_int(pair.theirs.frames, 11, "and what is sent later");
	channel_pair_clear(&pair);
}

/* Both ends wait for room while one resumes: its output must still leave. */
static void
test_pause_with_output(void)
{
	struct channel_pair pair;
	static char content[IPC_CHUNK_MAX];
	struct ipc_queue_chunk chunk = {
	    .stream = 1, .content = {content, sizeof(content)}};
	unsigned frames = 100;

	channel_pair_init(&pair, 0);
	channel_pause(pair.theirs.channel);
	channel_pause(pair.ours.channel);
	for (unsigned i = 0; i < frames; i++)
		(void)channel_send(
		    pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL);
	for (int i = 0; i < 5; i++)
		channel_pair_turn(pair.loop);
	ok(channel_output_pending(pair.ours.channel) > 0,
	    "a paused peer fills the socket");
	channel_resume(pair.ours.channel);
	channel_resume(pair.theirs.channel);
	WAIT_UNTIL(pair.loop, pair.theirs.frames == frames);
	is_int(pair.theirs.frames, frames, "then all of it leaves");
	channel_pair_clear(&pair);
}

static void
test_output_limit(void)
{
	struct channel_pair pair;
	static char content[IPC_CHUNK_MAX];
	struct ipc_queue_chunk chunk = {
	    .stream = 1, .content = {content, sizeof(content)}};
	unsigned taken = 0;

	channel_pair_init(&pair, 1u << 20);
	while (
	    channel_send(pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL) == 0)
		taken++;
	is_int(taken, 15, "output ends at its limit");
	ok(channel_output_pending(pair.ours.channel) <= 1u << 20,
	    "which is never passed");
	chunk.content.n = 1;
	ok(channel_send(pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL) == 0,
	    "a small frame still fits");
	chunk.content.n = sizeof(content);
	WAIT_UNTIL(pair.loop, pair.theirs.frames >= taken);
	is_int(channel_send(pair.ours.channel, MSG_QUEUE_CHUNK, &chunk, NULL),
	    0, "there is room when it was sent");
	channel_pair_clear(&pair);
}

static void
test_fds(void)
{
	struct channel_pair pair;
	struct ipc_relay_file file = {.job_id = 1};
	struct ipc_tls_install install = {.actor = SLICE("root")};
	int pipes[2];
	struct stat one;
	struct stat other;
	unsigned before;

	channel_pair_init(&pair, 0);
	if (pipe(pipes) == -1)
		fatal("pipe");
	OK_DIES(channel_send(pair.ours.channel, MSG_RELAY_FILE, &file, NULL),
	    "a frame without its descriptors is our own mistake");
	before = channel_pair_open_fds();
	pair.theirs.act = ACT_KEEP_FD;
	is_int(
	    channel_send(pair.ours.channel, MSG_RELAY_FILE, &file, &pipes[0]),
	    0, "a descriptor is sent");
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 1);
	(void)fstat(pipes[0], &one);
	is_int(fstat(pair.theirs.kept_fd, &other), 0, "and arrives");
	ok(one.st_ino == other.st_ino, "the right one");
	ok((fcntl(pair.theirs.kept_fd, F_GETFD) & FD_CLOEXEC) != 0,
	    "closed on exec");
	close_if_open(&pair.theirs.kept_fd);
	pair.theirs.act = ACT_NOTE;
	for (int i = 0; i < 50; i++) {
		(void)channel_send(
		    pair.ours.channel, MSG_RELAY_FILE, &file, &pipes[0]);
		(void)channel_send(
		    pair.ours.channel, MSG_TLS_INSTALL, &install, pipes);
	}
	WAIT_UNTIL(pair.loop, pair.theirs.frames == 101);
	is_int(pair.theirs.frames, 101, "many frames with descriptors");
	is_int(channel_pair_open_fds(), before, "those not taken are closed");
	for (int i = 0; i < 5; i++)
		(void)channel_send(
		    pair.ours.channel, MSG_TLS_INSTALL, &install, pipes);
	channel_close(pair.ours.channel);
	WAIT_UNTIL(pair.loop, pair.theirs.releases == 1);
	is_int(
	    channel_pair_open_fds(), before - 2, "those not sent are closed");
	(void)close(pipes[0]);
	(void)close(pipes[1]);
	channel_pair_clear(&pair);
}

static void
test_free_with_channels(void)
{
	struct channel_pair pair;

	channel_pair_init(&pair, 0);
	channel_drop_keeper(pair.ours.channel);
	(void)ask(&pair, 5000);
	channel_close(pair.ours.channel);
	channel_close(pair.theirs.channel);
	loop_free(pair.loop);
	is_int(pair.ours.empty_answers, 1,
	    "what was closed after the last turn ends with the loop");
	is_int(pair.ours.releases, 0, "a keeper that went is not called");
	is_int(pair.theirs.releases, 1, "one that stayed is");
}

int
main(void)
{
	(void)signal(SIGPIPE, SIG_DFL); /* no write may raise it */
	test_frames();
	test_large_frame();
	test_requests();
	test_wrong_answer();
	test_close_inside();
	test_bye();
	test_pause();
	test_pause_with_output();
	test_output_limit();
	test_fds();
	test_free_with_channels();
	return tap_done();
}
