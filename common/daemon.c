/* SPDX-License-Identifier: ISC */
/*
 * The life of a program: sockets, settings, confinement, stop.
 * Runs in: every program.  Trusts: its supervisor (sockets, environment) and
 * confd's snapshots, which are checked against the settings table again.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/daemon_state.h"
#include "config.h"

/* A silent confd is not waited for longer (DESIGN §4). */
#define CONFD_WAIT_MS 2000
/* What runs is finished within this time after SIGTERM. */
#define STOP_DEADLINE_MS 30000
#define LISTEN_FDS_START 3
/* One peer role's connections; smtpd's workers are the most. */
#define CHANNELS_PER_PEER 128

/* ---- small accessors ---- */

void *
daemon_state(struct daemon *daemon)
{
	return daemon->state;
}

struct daemon *
channel_daemon(const struct channel *channel)
{
	return channel_owner(channel);
}

struct loop *
daemon_loop(struct daemon *daemon)
{
	return daemon->loop;
}

struct log *
daemon_log(struct daemon *daemon)
{
	return daemon->log;
}

struct spawner *
daemon_spawner(struct daemon *daemon)
{
	return daemon->spawner;
}

const struct snapshot *
daemon_snapshot(const struct daemon *daemon)
{
	return daemon->snapshot;
}

const struct settings *
daemon_settings(const struct daemon *daemon)
{
	return &daemon->snapshot->settings;
}

bool
daemon_is_managing(const struct daemon *daemon)
{
	return daemon->is_managing;
}

bool
daemon_is_stopping(const struct daemon *daemon)
{
	return daemon->is_stopping;
}

struct channel *
daemon_confd(const struct daemon *daemon)
{
	return link_channel(daemon->confd);
}

const char *
daemon_state_dir(const struct daemon *daemon)
{
	return daemon->state_dir;
}

const char *
daemon_run_dir(const struct daemon *daemon)
{
	return daemon->run_dir;
}

void
daemon_socket_path(
    const struct daemon *daemon, enum role server, char *path_r, size_t size)
{
	char name[ROLE_SOCKET_NAME_MAX];

	role_socket_name(server, daemon->program->role, name);
	(void)snprintf(path_r, size, "%s/%s.sock", daemon->run_dir, name);
}

/* ---- the supervisor ---- */

/* One datagram to NOTIFY_SOCKET, as sd_notify(3) sends it. */
static void
notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length;
	int fd;

	if (path == NULL || (length = strlen(path)) < 2 ||
	    length >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return;
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL,
	    (const struct sockaddr *)&address,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
	(void)close(fd);
}

static bool
serves_anybody(enum role role)
{
	for (size_t i = 0; i < channel_row_count; i++)
		if (channel_rows[i].server == role)
			return true;
	return false;
}

/* The descriptors of LISTEN_FDS with their names, as sd_listen_fds(3). */
static int
collect_fds(struct daemon *daemon, struct err *err)
{
	const char *pid = getenv("LISTEN_PID");
	const char *count_text = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	uint64_t number;
	struct slice rest = slice_of(names);

	if (count_text == NULL || names == NULL)
		return serves_anybody(daemon->program->role)
		    ? err_set(err,
		          "no sockets were given: start it by postern-run or "
		          "by its systemd unit")
		    : 0;
	if (pid != NULL && (slice_to_u64(slice_of(pid), &number) == -1 ||
			       number != (uint64_t)getpid()))
		return err_set(err, "LISTEN_PID is another process");
	if (slice_to_u64(slice_of(count_text), &number) == -1 ||
	    number > DAEMON_LISTEN_FDS_MAX)
		return err_set(err, "LISTEN_FDS is not a sensible number");
	for (size_t i = 0; i < number; i++) {
		size_t end = slice_find(rest, ':', 0);
		struct given_fd *given = &daemon->given[i];

		if (slice_copy((struct slice){rest.p, end}, given->name,
			sizeof(given->name)) == -1)
			return err_set(err, "LISTEN_FDNAMES: a name too long");
		given->fd = LISTEN_FDS_START + (int)i;
		if (fcntl(given->fd, F_SETFD, FD_CLOEXEC) == -1)
			return err_set(err, "descriptor %d (%s): %s", given->fd,
			    given->name, strerror(errno));
		rest.p += end < rest.n ? end + 1 : end;
		rest.n -= end < rest.n ? end + 1 : end;
	}
	daemon->given_count = (size_t)number;
	return 0;
}

int
daemon_take_fd(struct daemon *daemon, const char *name)
{
	for (size_t i = 0; i < daemon->given_count; i++)
		if (strcmp(daemon->given[i].name, name) == 0) {
			int fd = daemon->given[i].fd;

			daemon->given[i].fd = -1;
			return fd;
		}
	return -1;
}

/* ---- channels ---- */

static void
on_peer_up(struct channel *channel)
{
	struct daemon *daemon = channel_owner(channel);

	if (daemon->program->peer_up != NULL)
		daemon->program->peer_up(daemon, channel);
}

static void
on_peer_closed(struct channel *channel, const char *reason)
{
	struct daemon *daemon = channel_owner(channel);

	if (!daemon->is_stopping && strcmp(reason, "the peer closed") != 0)
		log_notice("channel with %s ended: %s",
		    role_name(channel_peer(channel)), reason);
	if (daemon->program->peer_closed != NULL)
		daemon->program->peer_closed(daemon, channel);
}

static struct channel_config
channel_config_for(struct daemon *daemon, enum role peer)
{
	return (struct channel_config){.loop = daemon->loop,
	    .self = daemon->program->role,
	    .peer = peer,
	    .handlers = daemon->handlers,
	    .owner = daemon,
	    .up = on_peer_up,
	    .closed = on_peer_closed};
}

struct channel_config
daemon_channel_config(struct daemon *daemon, enum role peer)
{
	return channel_config_for(daemon, peer);
}

struct link *
daemon_link(struct daemon *daemon, enum role server)
{
	struct channel_config config = channel_config_for(daemon, server);
	char path[DAEMON_PATH_SIZE + ROLE_SOCKET_NAME_MAX + 8];

	daemon_socket_path(daemon, server, path, sizeof(path));
	return link_new(&config, path);
}

static void
open_doors(struct daemon *daemon)
{
	for (size_t i = 0; i < channel_row_count; i++) {
		const struct channel_row *row = &channel_rows[i];
		struct channel_config config;
		char name[ROLE_SOCKET_NAME_MAX];
		int fd;

		if (row->server != daemon->program->role)
			continue;
		role_socket_name(row->server, row->peer, name);
		if ((fd = daemon_take_fd(daemon, name)) == -1)
			fatal("no socket named %s was given", name);
		config = channel_config_for(daemon, row->peer);
		(void)door_new(&config, fd, CHANNELS_PER_PEER);
	}
}

/* ---- start and stop ---- */

void
daemon_finish_start(struct daemon *daemon)
{
	struct event_program_started started = {
	    .program = slice_of(role_name(daemon->program->role)),
	    .version = SLICE(PACKAGE_VERSION)};
	struct err err;

	if (daemon->program->start != NULL &&
	    daemon->program->start(daemon, &err) == -1)
		fatal("%s", err.text);
	if (daemon->program->settings_changed != NULL &&
	    daemon->program->settings_changed(daemon, &err) == -1)
		fatal("%s", err.text);
	open_doors(daemon);
	daemon->is_started = true;
	(void)event_del(daemon->timer);
	log_event(daemon->log, (struct log_context){0, 0}, EV_PROGRAM_STARTED,
	    &started);
	notify("READY=1");
}

static void
on_confd_up(struct channel *channel)
{
	daemon_send_alerts(channel_owner(channel));
}

/* What waits for an answer to confd must know that nobody will hear it. */
static void
on_confd_closed(struct channel *channel, const char *reason)
{
	struct daemon *daemon = channel_owner(channel);

	(void)reason;
	if (daemon->program->peer_closed != NULL)
		daemon->program->peer_closed(daemon, channel);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *daemon = arg;

	(void)fd;
	(void)what;
	if (daemon->is_stopping) {
		log_notice("not everything was finished in time");
		loop_stop(daemon->loop);
		return;
	}
	if (!daemon->is_started)
		daemon_start_from_saved(daemon);
	if (!daemon->is_started)
		loop_arm(daemon->timer, CONFD_WAIT_MS);
}

void
daemon_stopped(struct daemon *daemon)
{
	struct event_program_stopped stopped = {
	    .program = slice_of(role_name(daemon->program->role))};

	log_event(daemon->log, (struct log_context){0, 0}, EV_PROGRAM_STOPPED,
	    &stopped);
	loop_stop(daemon->loop);
}

static void
on_terminate(evutil_socket_t signal_number, short what, void *arg)
{
	struct daemon *daemon = arg;

	(void)signal_number;
	(void)what;
	if (daemon->is_stopping) {
		loop_stop(daemon->loop);
		return;
	}
	daemon->is_stopping = true;
	notify("STOPPING=1");
	loop_arm(daemon->timer, STOP_DEADLINE_MS);
	if (daemon->is_started && daemon->program->stop != NULL)
		daemon->program->stop(daemon);
	else
		daemon_stopped(daemon);
}

/* Settings come from confd by themselves: SIGHUP has nothing to reload. */
static void
on_reload(evutil_socket_t signal_number, short what, void *arg)
{
	(void)signal_number;
	(void)what;
	(void)arg;
}

static struct event *
watch_signal(struct daemon *daemon, int number, event_callback_fn handle)
{
	struct event *event =
	    evsignal_new(loop_base(daemon->loop), number, handle, daemon);

	if (event == NULL || event_add(event, NULL) == -1)
		fatal("no events for signal %d", number);
	return event;
}

/* The program's handlers, and the daemon's own for confd. */
static void
merge_handlers(struct daemon *daemon)
{
	static const struct channel_handler own[] = {
	    {ROLE_CONFD, MSG_CONF_SNAPSHOT, daemon_on_snapshot},
	    {ROLE_CONFD, MSG_STATUS_ASK, daemon_on_status_ask}};
	const struct channel_handler *theirs = daemon->program->handlers;
	size_t count = 0;
	size_t own_count = sizeof(own) / sizeof(own[0]);

	while (theirs != NULL && theirs[count].handle != NULL)
		count++;
	daemon->handlers =
	    xcalloc(count + own_count + 1, sizeof(*daemon->handlers));
	if (count > 0)
		memcpy(daemon->handlers, theirs, count * sizeof(*theirs));
	memcpy(daemon->handlers + count, own, sizeof(own));
}

static void
set_paths(struct daemon *daemon, const char *root)
{
	const char *name = role_name(daemon->program->role);

	(void)snprintf(daemon->run_dir, sizeof(daemon->run_dir), "%s%s/postern",
	    root, RUNSTATEDIR);
	(void)snprintf(daemon->state_dir, sizeof(daemon->state_dir),
	    "%s%s/lib/postern/%s", root, LOCALSTATEDIR, name);
	(void)snprintf(daemon->snapshot_path, sizeof(daemon->snapshot_path),
	    "%s/settings.snapshot", daemon->state_dir);
	/* Large steps of SQLite need files; no other folder is open to us. */
	if (setenv("SQLITE_TMPDIR", daemon->state_dir, 1) == -1)
		fatal("out of memory for the environment");
}

static void
prepare(struct daemon *daemon, const char *binary)
{
	const struct program *program = daemon->program;
	char log_path[DAEMON_PATH_SIZE + ROLE_SOCKET_NAME_MAX + 8];
	char log_name[ROLE_SOCKET_NAME_MAX];
	int spawner_fd = -1;
	struct err err;

	if (collect_fds(daemon, &err) == -1)
		fatal("%s", err.text);
	if (program->workers != NULL &&
	    (spawner_fd = spawner_start(program->role, binary, &err)) == -1)
		fatal("%s", err.text);
	daemon->state = xcalloc(1, program->state_size);
	if (program->prepare != NULL && program->prepare(daemon, &err) == -1)
		fatal("%s", err.text);
	daemon->loop = loop_new();
	role_event_socket_name(program->role, log_name);
	(void)snprintf(log_path, sizeof(log_path), "%s/%s.sock",
	    daemon->run_dir, log_name);
	daemon->log = log_new(daemon->loop, -1, log_path);
	if (spawner_fd != -1)
		daemon->spawner =
		    spawner_new(daemon->loop, program->role, spawner_fd);
	/* The user database is read for the last time before confinement. */
	for (int i = 0; i < ROLE_COUNT; i++)
		(void)role_uid((enum role)i);
	if (program->confinement != NULL &&
	    confine(program->confinement, daemon->state_dir, &err) == -1)
		fatal("%s", err.text);
}

static void
serve(struct daemon *daemon)
{
	daemon->timer =
	    event_new(loop_base(daemon->loop), -1, 0, on_timer, daemon);
	if (daemon->timer == NULL)
		fatal("out of memory for a timer");
	daemon->terminate = watch_signal(daemon, SIGTERM, on_terminate);
	daemon->interrupt = watch_signal(daemon, SIGINT, on_terminate);
	daemon->reload = watch_signal(daemon, SIGHUP, on_reload);
	merge_handlers(daemon);
	if (daemon->program->role == ROLE_CONFD) {
		daemon_finish_start(daemon);
	} else {
		struct channel_config config =
		    channel_config_for(daemon, ROLE_CONFD);
		char path[DAEMON_PATH_SIZE + ROLE_SOCKET_NAME_MAX + 8];

		config.up = on_confd_up;
		config.closed = on_confd_closed;
		daemon_socket_path(daemon, ROLE_CONFD, path, sizeof(path));
		daemon->confd = link_new(&config, path);
		loop_arm(daemon->timer, CONFD_WAIT_MS);
	}
	loop_run(daemon->loop);
	log_free(daemon->log); /* sends what is left */
}

static _Noreturn void
usage(const struct program *program)
{
	(void)fprintf(stderr,
	    "usage: postern-%s [--root DIR] [--manage]\n"
	    "It is started by postern-run or by systemd; see "
	    "postern-%s(8).\n",
	    role_name(program->role), role_name(program->role));
	exit(2);
}

static int
run_worker(const struct program *program, const char *name)
{
	const struct worker_program *worker = program->workers;
	char title[16]; /* as ps(1) shows it; the kernel has 15 octets */

	for (; worker != NULL && worker->name != NULL; worker++) {
		if (strcmp(worker->name, name) != 0)
			continue;
		(void)snprintf(title, sizeof(title), "%s-%s",
		    role_name(program->role), worker->name);
		(void)prctl(PR_SET_NAME, title);
		/* Before anybody gives it a key. */
		confine_memory();
		return worker->main(LISTEN_FDS_START);
	}
	usage(program);
}

int
daemon_main(int argc, char **argv, const struct program *program)
{
	struct daemon *daemon;
	const char *root = "";
	bool is_managing = false;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(077);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--worker") == 0 && i + 1 < argc)
			return run_worker(program, argv[i + 1]);
		if (strcmp(argv[i], "--root") == 0 && i + 1 < argc)
			root = argv[++i];
		else if (strcmp(argv[i], "--manage") == 0)
			is_managing = true;
		else
			usage(program);
	}
	daemon = xcalloc(1, sizeof(*daemon));
	daemon->program = program;
	daemon->is_managing = is_managing;
	set_paths(daemon, root);
	prepare(daemon, "/proc/self/exe");
	serve(daemon);
	return 0;
}
