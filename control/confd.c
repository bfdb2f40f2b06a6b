/* SPDX-License-Identifier: ISC */
/*
 * postern-confd: the configuration with its revisions, the management API, and
 * the alerts.  Every program connects to it for its settings; the command line
 * and the web pages speak to nobody else.
 * Trusts: its store; programs for their own matters; nothing of a request.
 */
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alerts.h"
#include "control/confd.h"

/* ---- frames of programs ---- */

static int
on_alert_raise(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_alert_raise *alert = &frame->message->alert_raise;

	if (alert_row(alert->alert) == NULL)
		return -1;
	alerts_raise(daemon_state(channel_daemon(channel)), alert->alert,
	    slice_of(role_name(channel_peer(channel))), alert->subject,
	    alert->text);
	return 0;
}

static int
on_alert_clear(struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_alert_clear *alert = &frame->message->alert_clear;

	if (alert_row(alert->alert) == NULL)
		return -1;
	alerts_clear(daemon_state(channel_daemon(channel)), alert->alert,
	    alert->subject);
	return 0;
}

#define PROGRAM_HANDLERS(peer)                        \
	{peer, MSG_ALERT_RAISE, on_alert_raise},      \
	{                                             \
		peer, MSG_ALERT_CLEAR, on_alert_clear \
	}

static const struct channel_handler handlers[] = {
    PROGRAM_HANDLERS(ROLE_BINDD),
    PROGRAM_HANDLERS(ROLE_SMTPD),
    PROGRAM_HANDLERS(ROLE_AUTHD),
    PROGRAM_HANDLERS(ROLE_CHECKD),
    PROGRAM_HANDLERS(ROLE_QUEUED),
    PROGRAM_HANDLERS(ROLE_RELAYD),
    PROGRAM_HANDLERS(ROLE_LOGHUB),
    PROGRAM_HANDLERS(ROLE_SIGNERD),
    {ROLE_ADMIN, MSG_MGMT_REQUEST, mgmt_on_request},
    {ROLE_ADMIN, MSG_TLS_INSTALL, mgmt_on_tls_install},
    {ROLE_NONE, MSG_COUNT, NULL},
};

/* ---- programs come and go ---- */

static void
on_peer_up(struct daemon *daemon, struct channel *channel)
{
	struct confd *confd = daemon_state(daemon);
	const enum role role = channel_peer(channel);
	struct confd_peer *peer;

	if (role == ROLE_ADMIN)
		return;
	peer = xcalloc(1, sizeof(*peer));
	*peer = (struct confd_peer){.confd = confd,
	    .channel = channel,
	    .role = role,
	    .next = confd->peers};
	confd->peers = peer;
	channel_set_context(channel, peer);
	publish_to(confd, peer);
	alerts_peer_up(confd, role);
	if (role == ROLE_AUTHD)
		directory_ask(confd);
}

static void
on_peer_closed(struct daemon *daemon, struct channel *channel)
{
	struct confd *confd = daemon_state(daemon);
	struct confd_peer **at = &confd->peers;

	if (channel_peer(channel) == ROLE_ADMIN) {
		mgmt_channel_closed(confd, channel);
		return;
	}
	while (*at != NULL && (*at)->channel != channel)
		at = &(*at)->next;
	if (*at != NULL) {
		struct confd_peer *peer = *at;

		*at = peer->next;
		free(peer);
	}
}

/* ---- start ---- */

/* Names of users are looked up later, for the log: load what that needs. */
static int
prepare(struct daemon *daemon, struct err *err)
{
	(void)daemon;
	(void)err;
	(void)getpwuid(geteuid());
	return 0;
}

static int
start(struct daemon *daemon, struct err *err)
{
	struct confd *confd = daemon_state(daemon);

	confd->daemon = daemon;
	if (config_store_open(daemon_state_dir(daemon), &confd->store, err) ==
		-1 ||
	    alerts_load(confd, err) == -1 || directory_load(confd, err) == -1)
		return -1;
	return publish_own(confd, err);
}

static void
status(struct daemon *daemon, struct status_writer *writer)
{
	const struct confd *confd = daemon_state(daemon);
	const struct config_items *items = config_store_items(confd->store);
	int64_t counts[CONFIG_KIND_COUNT] = {0};

	for (size_t i = 0; i < items->count; i++)
		counts[items->list[i].kind]++;
	status_counter(writer, "settings", counts[CONFIG_SETTING]);
	status_counter(writer, "domains", counts[CONFIG_DOMAIN]);
	status_counter(writer, "routes", counts[CONFIG_ROUTE]);
	status_counter(writer, "access_entries", counts[CONFIG_ACCESS]);
	status_counter(writer, "policy_rules", counts[CONFIG_POLICY]);
}

static void
stop(struct daemon *daemon)
{
	struct confd *confd = daemon_state(daemon);

	config_store_close(confd->store);
	confd->store = NULL;
	daemon_stopped(daemon);
}

static const struct confinement confinement = {
    .rights = CONFINE_FILES_WRITE | CONFINE_FILES_READ | CONFINE_CONNECT_UNIX,
    .read_dirs = {"/etc/passwd", "/etc/nsswitch.conf"},
};

static const struct program program = {
    .role = ROLE_CONFD,
    .handlers = handlers,
    .prepare = prepare,
    .start = start,
    .peer_up = on_peer_up,
    .peer_closed = on_peer_closed,
    .status = status,
    .stop = stop,
    .state_size = sizeof(struct confd),
    .confinement = &confinement,
};

int
main(int argc, char **argv)
{
	return daemon_main(argc, argv, &program);
}
