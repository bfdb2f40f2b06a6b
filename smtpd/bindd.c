/* SPDX-License-Identifier: ISC */
/*
 * Opens the listening sockets named by three settings, gives smtpd a copy of
 * each and keeps its own, so that connections wait in the kernel while smtpd
 * restarts; after a restart of its own it takes them back from smtpd.  Nothing
 * is ever read from them here.
 * Runs in: postern-bindd, the one program that may bind low ports.  Trusts:
 * confd's settings; of smtpd only a socket that listens where the settings
 * want one, which is what smtpd is given for it anyway.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/alerts.h"
#include "common/daemon.h"

/* What waits in the kernel while smtpd restarts; net.core.somaxconn caps it. */
#define BACKLOG 1024
/* Sockets in all, each held here and in smtpd. */
#define SOCKETS_MAX 256
/*
 * A bind that failed is tried again: first soon, since the socket in its way
 * may be one that smtpd is about to let go; then it is an alert, and slow.
 */
#define RETRY_SOON_MS 100
#define RETRY_SOON_TIMES 10
#define RETRY_LATE_MS 5000

struct listening {
	struct listening *next;
	enum listener_kind kind;
	/* The setting's own word for it: while that stays, the socket does. */
	char word[IPC_CLIENT_MAX];
	char address[IPC_CLIENT_MAX]; /* bound, with the real port */
	int fd;
	bool is_wanted;
};

/* A word of a setting that no socket could be opened for: there is an alert. */
struct failed_word {
	struct failed_word *next;
	char word[IPC_CLIENT_MAX];
};

struct bindd {
	struct daemon *daemon;
	struct listening *first;
	size_t count;
	struct failed_word *failed;
	struct channel *smtpd; /* NULL while it is away */
	bool has_shown;        /* it gave back what it had */
	struct event *retry;
	unsigned tries; /* since the settings changed */
};

static const char *const kind_facts[LISTENER_KIND_COUNT] = {
    [LISTENER_SMTP] = "listener smtp",
    [LISTENER_SUBMISSION] = "listener submission",
    [LISTENER_SUBMISSIONS] = "listener submissions",
};

/* The setting that lists the sockets of a kind. */
static const char *
words_of(const struct settings *settings, enum listener_kind kind)
{
	const char *const lists[LISTENER_KIND_COUNT] = {
	    [LISTENER_SMTP] = settings->smtp_listen,
	    [LISTENER_SUBMISSION] = settings->submission_listen,
	    [LISTENER_SUBMISSIONS] = settings->submissions_listen,
	};

	return lists[kind];
}

/* ---- one socket ---- */

static int
bind_and_listen(int fd, const struct sockaddr *address, socklen_t length)
{
	const int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1)
		return -1;
	/* The IPv4 side of a wildcard is a socket of its own. */
	if (address->sa_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == -1)
		return -1;
	if (bind(fd, address, length) == -1)
		return -1;
	return listen(fd, BACKLOG);
}

/* The address that the system gave, and its port when that was left open. */
static int
bound_address(int fd, struct netaddr *address_r, uint16_t *port_r)
{
	struct sockaddr_storage sa;
	socklen_t length = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &length) == -1)
		return -1;
	return netaddr_from_sockaddr(
	    (struct sockaddr *)&sa, length, address_r, port_r);
}

static void
format_address(
    const struct netaddr *address, uint16_t port, char text_r[IPC_CLIENT_MAX])
{
	char host[NETADDR_TEXT_MAX];

	(void)netaddr_format(address, host);
	(void)snprintf(text_r, IPC_CLIENT_MAX,
	    address->family == NETADDR_IPV6 ? "[%s]:%u" : "%s:%u", host,
	    (unsigned)port);
}

/* Takes fd over, unless it returns -1. */
static int
add_socket(struct bindd *bindd, enum listener_kind kind, struct slice word,
    int fd, uint16_t *port_r)
{
	struct listening *listening = xcalloc(1, sizeof(*listening));
	struct netaddr address;

	if (slice_copy(word, listening->word, sizeof(listening->word)) == -1 ||
	    bound_address(fd, &address, port_r) == -1) {
		free(listening);
		return -1;
	}
	format_address(&address, *port_r, listening->address);
	listening->kind = kind;
	listening->is_wanted = true;
	listening->fd = fd;
	listening->next = bindd->first;
	bindd->first = listening;
	bindd->count++;
	return 0;
}

/* Opens a socket and adds it; *port is filled in when it was 0. */
static int
open_socket(struct bindd *bindd, enum listener_kind kind, struct slice word,
    const struct netaddr *address, uint16_t *port)
{
	struct sockaddr_storage sa;
	socklen_t length = netaddr_to_sockaddr(address, *port, &sa);
	int fd =
	    socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd == -1 ||
	    bind_and_listen(fd, (struct sockaddr *)&sa, length) == -1 ||
	    add_socket(bindd, kind, word, fd, port) == -1) {
		int saved_errno = errno;

		close_if_open(&fd);
		errno = saved_errno;
		return -1;
	}
	return 0;
}

/*
 * Both families of a wildcard share a port.  A host without one of them still
 * serves the other.
 */
static int
open_wildcard(struct bindd *bindd, enum listener_kind kind, struct slice word,
    uint16_t port)
{
	const struct netaddr any4 = {.family = NETADDR_IPV4};
	const struct netaddr any6 = {.family = NETADDR_IPV6};
	bool has_ipv4 = true;

	if (open_socket(bindd, kind, word, &any4, &port) == -1) {
		if (errno != EAFNOSUPPORT)
			return -1;
		has_ipv4 = false;
	}
	if (open_socket(bindd, kind, word, &any6, &port) == 0)
		return 0;
	return has_ipv4 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)
		   ? 0
		   : -1;
}

static int
open_word(struct bindd *bindd, enum listener_kind kind, struct slice word)
{
	struct listen_address listen;

	if (setting_listen_address(word, 0, &listen) == -1 ||
	    bindd->count + 2 > SOCKETS_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (listen.is_wildcard)
		return open_wildcard(bindd, kind, word, listen.port);
	return open_socket(bindd, kind, word, &listen.address, &listen.port);
}

static void
drop_unwanted(struct bindd *bindd)
{
	struct listening **at = &bindd->first;

	while (*at != NULL) {
		struct listening *listening = *at;

		if (listening->is_wanted) {
			at = &listening->next;
			continue;
		}
		*at = listening->next;
		close_if_open(&listening->fd);
		free(listening);
		bindd->count--;
	}
}

/* ---- the whole set ---- */

static void
send_listeners(struct bindd *bindd)
{
	struct ipc_listeners_end end = {0};

	if (bindd->smtpd == NULL || !bindd->has_shown)
		return;
	for (struct listening *at = bindd->first; at != NULL; at = at->next) {
		struct ipc_listener message = {.kind = (uint16_t)at->kind,
		    .address = slice_of(at->address)};

		if (channel_send(
			bindd->smtpd, MSG_LISTENER, &message, &at->fd) == 0)
			end.count++;
	}
	(void)channel_send(bindd->smtpd, MSG_LISTENERS_END, &end, NULL);
}

/*
 * Is there a socket for this word?  One of another kind, that nobody wants
 * any more, becomes this kind's: the same port cannot be bound twice.
 */
static bool
keep_word(struct bindd *bindd, enum listener_kind kind, struct slice word,
    bool may_change_kind)
{
	bool is_found = false;

	for (struct listening *at = bindd->first; at != NULL; at = at->next) {
		if (!slice_equals(slice_of(at->word), word))
			continue;
		if (at->kind != kind && (!may_change_kind || at->is_wanted))
			continue;
		at->kind = kind;
		at->is_wanted = true;
		is_found = true;
	}
	return is_found;
}

static void
keep_wanted(struct bindd *bindd, bool may_change_kind)
{
	const struct settings *settings = daemon_settings(bindd->daemon);

	for (int kind = 0; kind < LISTENER_KIND_COUNT; kind++) {
		struct slice list =
		    slice_of(words_of(settings, (enum listener_kind)kind));
		struct slice word;

		while (setting_list_next(&list, &word))
			if (!keep_word(
				bindd, (enum listener_kind)kind, word, false))
				(void)keep_word(bindd, (enum listener_kind)kind,
				    word, may_change_kind);
	}
}

/* A wildcard's half that was opened before its other half failed. */
static void
drop_word(struct bindd *bindd, enum listener_kind kind, struct slice word)
{
	for (struct listening *at = bindd->first; at != NULL; at = at->next)
		if (at->kind == kind && slice_equals(slice_of(at->word), word))
			at->is_wanted = false;
	drop_unwanted(bindd);
}

/* ---- alerts ---- */

static bool
is_listed(const struct settings *settings, struct slice wanted)
{
	for (int kind = 0; kind < LISTENER_KIND_COUNT; kind++) {
		struct slice list =
		    slice_of(words_of(settings, (enum listener_kind)kind));
		struct slice word;

		while (setting_list_next(&list, &word))
			if (slice_equals(word, wanted))
				return true;
	}
	return false;
}

static void
note_failed(struct bindd *bindd, enum listener_kind kind, struct slice word,
    const char *why)
{
	struct failed_word *failed;

	for (failed = bindd->failed; failed != NULL; failed = failed->next)
		if (slice_equals(slice_of(failed->word), word))
			return;
	failed = xcalloc(1, sizeof(*failed));
	(void)slice_copy(word, failed->word, sizeof(failed->word));
	failed->next = bindd->failed;
	bindd->failed = failed;
	log_notice(
	    "%s: cannot listen on %s: %s", kind_facts[kind], failed->word, why);
	daemon_alert_raise(bindd->daemon, ALERT_LISTENER, failed->word,
	    "Cannot listen on %s (%s): %s.", failed->word, kind_facts[kind],
	    why);
}

/* Clears the alerts of words that have sockets now or are not listed now. */
static void
clear_failed(struct bindd *bindd)
{
	const struct settings *settings = daemon_settings(bindd->daemon);
	struct failed_word **at = &bindd->failed;

	while (*at != NULL) {
		struct failed_word *failed = *at;
		struct listening *listening = bindd->first;

		while (listening != NULL &&
		       strcmp(listening->word, failed->word) != 0)
			listening = listening->next;
		if (listening == NULL &&
		    is_listed(settings, slice_of(failed->word))) {
			at = &failed->next;
			continue;
		}
		daemon_alert_clear(bindd->daemon, ALERT_LISTENER, failed->word);
		*at = failed->next;
		free(failed);
	}
}

/* Returns how many words have no socket. */
static size_t
open_missing(struct bindd *bindd)
{
	const struct settings *settings = daemon_settings(bindd->daemon);
	size_t missing = 0;

	for (int i = 0; i < LISTENER_KIND_COUNT; i++) {
		enum listener_kind kind = (enum listener_kind)i;
		struct slice list = slice_of(words_of(settings, kind));
		struct slice word;

		while (setting_list_next(&list, &word)) {
			if (keep_word(bindd, kind, word, false) ||
			    open_word(bindd, kind, word) == 0)
				continue;
			if (bindd->tries >= RETRY_SOON_TIMES)
				note_failed(bindd, kind, word, strerror(errno));
			drop_word(bindd, kind, word);
			missing++;
		}
	}
	clear_failed(bindd);
	return missing;
}

/* smtpd hears of it when is_changed, or when sockets were opened now. */
static void
open_and_send(struct bindd *bindd, bool is_changed)
{
	size_t before = bindd->count;

	if (open_missing(bindd) > 0) {
		loop_arm(bindd->retry, bindd->tries < RETRY_SOON_TIMES
					   ? RETRY_SOON_MS
					   : RETRY_LATE_MS);
		bindd->tries++;
	} else {
		(void)event_del(bindd->retry);
	}
	if (is_changed || bindd->count != before)
		send_listeners(bindd);
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	open_and_send(arg, false);
}

/* ---- sockets of an earlier bindd ---- */

static bool
is_listening(int fd)
{
	int listens = 0;
	socklen_t size = sizeof(listens);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) ==
		   0 &&
	       listens != 0;
}

/* A port that the system chose belongs to no word. */
static bool
word_names(struct slice word, const struct netaddr *address, uint16_t port)
{
	const struct netaddr any = {.family = address->family};
	struct listen_address listen;

	return setting_listen_address(word, 0, &listen) == 0 &&
	       listen.port == port &&
	       netaddr_equals(
		   listen.is_wildcard ? &any : &listen.address, address);
}

static bool
has_address(
    const struct bindd *bindd, const struct netaddr *address, uint16_t port)
{
	char text[IPC_CLIENT_MAX];

	format_address(address, port, text);
	for (const struct listening *at = bindd->first; at != NULL;
	     at = at->next)
		if (strcmp(at->address, text) == 0)
			return true;
	return false;
}

/* Takes the socket over if a word of its kind wants one there. */
static bool
take_back(struct bindd *bindd, enum listener_kind kind, int fd)
{
	const struct settings *settings = daemon_settings(bindd->daemon);
	struct slice list = slice_of(words_of(settings, kind));
	struct slice word;
	struct netaddr address;
	uint16_t port;

	if (!is_listening(fd) || bound_address(fd, &address, &port) == -1 ||
	    has_address(bindd, &address, port) || bindd->count >= SOCKETS_MAX)
		return false;
	while (setting_list_next(&list, &word))
		if (word_names(word, &address, port))
			return add_socket(bindd, kind, word, fd, &port) == 0;
	return false;
}

static int
on_kept(struct channel *channel, const struct channel_frame *frame)
{
	struct bindd *bindd = daemon_state(channel_daemon(channel));
	unsigned kind = frame->message->listener_kept.kind;

	if (kind >= LISTENER_KIND_COUNT)
		return -1;
	if (take_back(bindd, (enum listener_kind)kind, frame->fds[0]))
		frame->fds[0] = -1;
	return 0;
}

/* Not before this is smtpd told of a set: it would close what is missing. */
static int
on_kept_end(struct channel *channel, const struct channel_frame *frame)
{
	struct bindd *bindd = daemon_state(channel_daemon(channel));

	(void)frame;
	if (bindd->smtpd != channel)
		return 0;
	bindd->has_shown = true;
	open_and_send(bindd, true);
	return 0;
}

/* ---- the program ---- */

static int
bindd_start(struct daemon *daemon, struct err *err)
{
	struct bindd *bindd = daemon_state(daemon);

	bindd->daemon = daemon;
	bindd->retry =
	    event_new(loop_base(daemon_loop(daemon)), -1, 0, on_retry, bindd);
	if (bindd->retry == NULL)
		return err_set(err, "out of memory for a timer");
	return 0;
}

static int
bindd_settings_changed(struct daemon *daemon, struct err *err)
{
	struct bindd *bindd = daemon_state(daemon);

	(void)err;
	for (struct listening *at = bindd->first; at != NULL; at = at->next)
		at->is_wanted = false;
	keep_wanted(bindd, false);
	keep_wanted(bindd, true);
	/* Before anything is opened: an old socket may be in the way. */
	drop_unwanted(bindd);
	bindd->tries = 0;
	open_and_send(bindd, true);
	return 0;
}

static void
bindd_peer_up(struct daemon *daemon, struct channel *channel)
{
	struct bindd *bindd = daemon_state(daemon);

	if (channel_peer(channel) != ROLE_SMTPD)
		return;
	bindd->smtpd = channel;
	bindd->has_shown = false;
}

static void
bindd_peer_closed(struct daemon *daemon, struct channel *channel)
{
	struct bindd *bindd = daemon_state(daemon);

	if (bindd->smtpd == channel)
		bindd->smtpd = NULL;
}

static void
bindd_status(struct daemon *daemon, struct status_writer *status)
{
	struct bindd *bindd = daemon_state(daemon);

	for (int kind = 0; kind < LISTENER_KIND_COUNT; kind++) {
		struct buf text;

		buf_init(&text, IPC_CLIENT_MAX * SOCKETS_MAX);
		for (struct listening *at = bindd->first; at != NULL;
		     at = at->next)
			if ((int)at->kind == kind)
				(void)buf_addf(&text, "%s%s",
				    text.n > 0 ? " " : "", at->address);
		if (text.n > 0)
			status_fact(
			    status, kind_facts[kind], "%s", buf_text(&text));
		buf_clear(&text);
	}
}

static const struct channel_handler bindd_handlers[] = {
    {ROLE_SMTPD, MSG_LISTENER_KEPT, on_kept},
    {ROLE_SMTPD, MSG_LISTENERS_KEPT, on_kept_end},
    {ROLE_NONE, MSG_HELLO, NULL}};

static const struct confinement bindd_confinement = {
    .rights = CONFINE_BIND | CONFINE_CONNECT_UNIX | CONFINE_FILES_WRITE,
};

static const struct program bindd_program = {
    .role = ROLE_BINDD,
    .handlers = bindd_handlers,
    .start = bindd_start,
    .settings_changed = bindd_settings_changed,
    .peer_up = bindd_peer_up,
    .peer_closed = bindd_peer_closed,
    .status = bindd_status,
    .state_size = sizeof(struct bindd),
    .confinement = &bindd_confinement,
};

int
main(int argc, char **argv)
{
	return daemon_main(argc, argv, &bindd_program);
}
