/* SPDX-License-Identifier: ISC */
/*
 * Asks confd, one question after the other.
 * Runs in: postern, postern-run --check.  Trusts: confd, whose socket only the
 * supervisor could have made.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/link.h"
#include "control/client.h"

/* Programs that are started for a command answer within this time. */
#define START_LIMIT_MS 40000
/* confd itself gives its owners two minutes. */
#define ANSWER_LIMIT_MS 130000

#define CODE_FAILED 1
#define CODE_FORBIDDEN 4
#define CODE_AWAY 5
#define CODE_CONFLICT 6

struct client {
	struct loop *loop;
	struct channel *channel; /* NULL once it has ended */
	char end[ERR_TEXT_MAX];  /* why */
	pid_t manager;           /* postern-run --manage, or 0 */
	int manager_fd;          /* it ends when this is closed */
	json_t *reply;
	int code;
};

/* ---- programs for this command alone ---- */

/*
 * The log is for what the command changes; a gateway that has none does
 * without it.
 */
static bool
is_log_missing(const struct instance *instance)
{
	char path[INSTANCE_PATH_MAX];

	instance_program(instance, ROLE_LOGHUB, path);
	return access(path, X_OK) == -1;
}

static void
name_programs(
    const struct instance *instance, unsigned owners, struct buf *names)
{
	if (is_log_missing(instance))
		owners &= ~(1u << ROLE_LOGHUB);
	(void)buf_add_text(names, role_name(ROLE_CONFD));
	for (int role = 0; role < ROLE_COUNT; role++)
		if ((owners & (1u << role)) != 0 && role != ROLE_CONFD)
			(void)buf_addf(
			    names, ",%s", role_name((enum role)role));
}

_Noreturn static void
exec_manager(
    const struct instance *instance, char *names, int input, int output)
{
	char *argv[6] = {
	    instance->supervisor, "--manage", names, NULL, NULL, NULL};

	if (instance->root != NULL) {
		argv[3] = "--root";
		argv[4] = instance->root;
	}
	/* Ctrl-C is for the command; its end ends the programs. */
	(void)setpgid(0, 0);
	(void)signal(SIGPIPE, SIG_DFL);
	if (dup2(input, STDIN_FILENO) == -1 ||
	    dup2(output, STDOUT_FILENO) == -1)
		_exit(CODE_FAILED);
	(void)execv(argv[0], argv);
	(void)fprintf(stderr, "postern: %s: %s\n", argv[0], strerror(errno));
	_exit(CODE_FAILED);
}

/* Its "ready"; -1 when it ended or the time is over. */
static int
wait_for_ready(int fd)
{
	const uint64_t until_ms = clock_monotonic_ms() + START_LIMIT_MS;
	char text[64];
	size_t used = 0;

	for (;;) {
		const uint64_t now_ms = clock_monotonic_ms();
		struct pollfd waits = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (now_ms >= until_ms ||
		    poll(&waits, 1, (int)(until_ms - now_ms)) == 0)
			return -1;
		n = read(fd, text + used, sizeof(text) - 1 - used);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		used += (size_t)n;
		text[used] = '\0';
		if (strchr(text, '\n') != NULL)
			return strncmp(text, "ready", 5) == 0 ? 0 : -1;
		if (used == sizeof(text) - 1)
			return -1;
	}
}

static int
stop_manager(struct client *client)
{
	int status = 0;

	close_if_open(&client->manager_fd);
	if (client->manager <= 0)
		return 0;
	while (waitpid(client->manager, &status, 0) == -1 && errno == EINTR)
		continue;
	client->manager = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : CODE_FAILED;
}

/*
 * The stores belong to the user that made the instance, or, made by root, to
 * the programs' users: nobody else can start programs that open them.
 */
static bool
may_start(const struct instance *instance)
{
	char path[INSTANCE_PATH_MAX];
	struct stat status;

	instance_store(instance, ROLE_CONFD, path);
	if (lstat(path, &status) == -1)
		return errno != EACCES;
	return geteuid() == 0 || status.st_uid == geteuid();
}

static int
start_manager(struct client *client, const struct instance *instance,
    unsigned owners, struct err *err)
{
	int input[2] = {-1, -1};
	int output[2] = {-1, -1};
	struct buf names;
	int code = CODE_FAILED;

	buf_init(&names, 512);
	name_programs(instance, owners, &names);
	if (pipe2(input, O_CLOEXEC) == -1 || pipe2(output, O_CLOEXEC) == -1) {
		(void)err_set(err, "pipe: %s", strerror(errno));
		goto out;
	}
	client->manager = fork();
	if (client->manager == 0)
		exec_manager(
		    instance, xstrdup(buf_text(&names)), input[0], output[1]);
	close_if_open(&input[0]);
	close_if_open(&output[1]);
	if (client->manager == -1) {
		(void)err_set(err, "fork: %s", strerror(errno));
		goto out;
	}
	client->manager_fd = input[1];
	input[1] = -1;
	if (wait_for_ready(output[0]) == 0) {
		code = 0;
		goto out;
	}
	code = stop_manager(client);
	if (code == 0)
		code = CODE_FAILED;
	(void)err_set(err, "the gateway is stopped, and its programs could "
			   "not be started for this command");
out:
	buf_clear(&names);
	close_if_open(&input[0]);
	close_if_open(&input[1]);
	close_if_open(&output[0]);
	close_if_open(&output[1]);
	return code;
}

/* ---- the channel ---- */

static void
on_up(struct channel *channel)
{
	struct client *client = channel_owner(channel);

	loop_stop(client->loop);
}

static void
on_closed(struct channel *channel, const char *reason)
{
	struct client *client = channel_owner(channel);

	client->channel = NULL;
	(void)snprintf(client->end, sizeof(client->end), "%s", reason);
	loop_stop(client->loop);
}

static int
attach(struct client *client, int fd, struct err *err)
{
	static const struct channel_handler no_handlers[] = {
	    {ROLE_NONE, MSG_COUNT, NULL}};
	const struct channel_config config = {.loop = client->loop,
	    .self = ROLE_ADMIN,
	    .peer = ROLE_CONFD,
	    .handlers = no_handlers,
	    .owner = client,
	    .up = on_up,
	    .closed = on_closed};

	client->channel = channel_new(&config, fd);
	loop_run(client->loop);
	if (client->channel != NULL && channel_is_up(client->channel))
		return 0;
	(void)err_set(err, "postern-confd: %s", client->end);
	return CODE_AWAY;
}

static int
connect_running(const struct instance *instance, bool is_managing, int *fd_r,
    struct err *err)
{
	char path[INSTANCE_PATH_MAX];

	instance_admin_socket(instance, is_managing, path);
	*fd_r = link_connect_fd(path, err);
	if (*fd_r != -1)
		return 0;
	if (access(instance->run_dir, X_OK) == -1 && errno == EACCES)
		return CODE_FORBIDDEN;
	if (access(path, F_OK) == 0 && access(path, W_OK) == -1) {
		(void)err_set(err,
		    "%s is for root and the group "
		    "postern-admin",
		    path);
		return CODE_FORBIDDEN;
	}
	return CODE_AWAY;
}

int
client_open(const struct instance *instance, unsigned owners,
    struct client **client_r, struct err *err)
{
	struct client *client = xcalloc(1, sizeof(*client));
	int fd = -1;
	int code;

	*client_r = client;
	client->manager_fd = -1;
	client->loop = loop_new();
	(void)signal(SIGPIPE, SIG_IGN);
	code = connect_running(instance, false, &fd, err);
	if (code == CODE_AWAY && !may_start(instance)) {
		(void)err_set(err,
		    "the gateway is stopped, and its programs can be started "
		    "by root or the user that made the instance alone");
		code = CODE_FORBIDDEN;
	} else if (code == CODE_AWAY) {
		code = start_manager(client, instance, owners, err);
		if (code == 0)
			code = connect_running(instance, true, &fd, err);
	}
	if (code == 0)
		code = attach(client, fd, err);
	if (code == 0)
		return 0;
	client_close(client);
	*client_r = NULL;
	return code;
}

void
client_close(struct client *client)
{
	if (client == NULL)
		return;
	if (client->channel != NULL)
		channel_close(client->channel);
	loop_free(client->loop);
	(void)stop_manager(client);
	json_decref(client->reply);
	free(client);
}

bool
client_is_managing(const struct client *client)
{
	return client->manager > 0;
}

/* ---- questions ---- */

static json_t *
error_json(const char *text)
{
	return json_pack("{s:s, s:s}", "error", text, "hint", "postern status");
}

static void
finish(struct client *client, int code, json_t *reply)
{
	client->code = code;
	client->reply = reply;
	loop_stop(client->loop);
}

static void
on_reply(void *arg, const struct channel_frame *frame)
{
	struct client *client = arg;
	const struct ipc_mgmt_reply *reply;
	json_t *body;

	if (frame == NULL) {
		finish(client, CODE_AWAY,
		    error_json("postern-confd has not answered"));
		return;
	}
	reply = &frame->message->mgmt_reply;
	body = json_loadb(reply->body.p, reply->body.n, 0, NULL);
	if (!json_is_object(body)) {
		json_decref(body);
		body = json_object();
	}
	finish(client, reply->code, body);
}

static void
on_installed(void *arg, const struct channel_frame *frame)
{
	struct client *client = arg;
	const struct ipc_tls_installed *installed;
	struct ipc_record_fact fact;
	struct ipc_list facts;
	json_t *body;

	if (frame == NULL) {
		finish(client, CODE_AWAY,
		    error_json("postern-confd has not answered"));
		return;
	}
	installed = &frame->message->tls_installed;
	facts = installed->facts;
	body = json_object();
	while (ipc_fact_next(&facts, &fact)) {
		char *name = slice_dup(fact.name);

		(void)json_object_set_new(body, name,
		    json_stringn(
			fact.value.n > 0 ? fact.value.p : "", fact.value.n));
		free(name);
	}
	if (installed->error.n > 0)
		(void)json_object_set_new(body, "error",
		    json_stringn(installed->error.p, installed->error.n));
	finish(client, installed->error.n > 0 ? CODE_FAILED : 0, body);
}

/* Runs the loop until the answer is there. */
static int
await(struct client *client, uint64_t request_id, json_t **reply_r)
{
	if (request_id == 0) {
		*reply_r = error_json(client->channel == NULL
					  ? client->end
					  : "the request is too large");
		return client->channel == NULL ? CODE_AWAY : CODE_FAILED;
	}
	client->reply = NULL;
	while (client->reply == NULL)
		loop_run(client->loop);
	*reply_r = client->reply;
	client->reply = NULL;
	return client->code;
}

int
client_ask(struct client *client, const char *verb, const json_t *arguments,
    json_t **reply_r)
{
	char *text = json_dumps(arguments, JSON_COMPACT);
	const struct ipc_mgmt_request request = {
	    .verb = slice_of(verb), .arguments = slice_of(text)};
	uint64_t id = 0;

	if (client->channel != NULL)
		id = channel_request(client->channel, MSG_MGMT_REQUEST,
		    &request, NULL, MSG_MGMT_REPLY, ANSWER_LIMIT_MS, on_reply,
		    client);
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
	return await(client, id, reply_r);
}

int
client_install_tls(
    struct client *client, int chain_fd, int key_fd, json_t **reply_r)
{
	const int fds[2] = {chain_fd, key_fd};
	const struct ipc_tls_install install = {.actor = SLICE("")};
	uint64_t id = 0;

	if (client->channel != NULL)
		id = channel_request(client->channel, MSG_TLS_INSTALL, &install,
		    fds, MSG_TLS_INSTALLED, ANSWER_LIMIT_MS, on_installed,
		    client);
	return await(client, id, reply_r);
}
