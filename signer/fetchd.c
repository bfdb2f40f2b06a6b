/* SPDX-License-Identifier: ISC */
/*
 * postern-fetchd: keys of correspondents and revocation lists, from the web.
 * It has the network and no keys; postern-signerd has keys and no network.
 * Runs in: postern-fetchd.  Trusts: signerd's questions; nothing else.
 *
 * Sockets: fetchd-from-signerd.  Talks to: confd, loghub, checkd (names), and
 * web servers.
 */
#include <curl/curl.h>

#include "signer/fetchd.h"

/* Loads OpenSSL's configuration, while it may be read. */
static int
fetchd_prepare(struct daemon *daemon, struct err *err)
{
	(void)daemon;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(err, "libcurl does not start");
	return 0;
}

static int
fetchd_start(struct daemon *daemon, struct err *err)
{
	struct fetchd *fetchd = daemon_state(daemon);

	(void)err;
	fetchd->daemon = daemon;
	fetchd->web = web_new(daemon_loop(daemon));
	fetchd->checkd = daemon_link(daemon, ROLE_CHECKD);
	return 0;
}

static void
fetchd_peer_closed(struct daemon *daemon, struct channel *channel)
{
	fetch_drop_channel(daemon_state(daemon), channel);
}

static void
fetchd_status(struct daemon *daemon, struct status_writer *status)
{
	const struct fetchd *fetchd = daemon_state(daemon);
	const struct settings *settings = daemon_settings(daemon);

	status_fact(status, "fetch", "WKD %s, VKS %s, CRL %s",
	    settings->fetch_wkd ? "on" : "off",
	    settings->fetch_vks[0] != '\0' ? settings->fetch_vks : "off",
	    settings->fetch_crl ? "on" : "off");
	status_counter(status, "fetch_asked", (int64_t)fetchd->asked);
	status_counter(status, "fetch_found", (int64_t)fetchd->found);
	status_counter(status, "fetch_failed", (int64_t)fetchd->failed);
	status_counter(status, "fetch_in_progress", (int64_t)fetchd->job_count);
}

static const struct channel_handler handlers[] = {
    {ROLE_SIGNERD, MSG_FETCH, fetch_on_fetch},
    {ROLE_NONE, MSG_COUNT, NULL},
};

static const struct confinement confinement = {
    .rights = CONFINE_FILES_READ | CONFINE_FILES_WRITE | CONFINE_CONNECT_UNIX |
	      CONFINE_CONNECT_INET,
    /* Where authorities' certificates are kept. */
    .read_dirs = {"/etc/ssl", "/usr/share/ca-certificates",
	"/usr/local/share/ca-certificates", "/etc/postern"},
};

static const struct program program = {
    .role = ROLE_FETCHD,
    .handlers = handlers,
    .prepare = fetchd_prepare,
    .start = fetchd_start,
    .peer_closed = fetchd_peer_closed,
    .status = fetchd_status,
    .state_size = sizeof(struct fetchd),
    .confinement = &confinement,
};

int
main(int argc, char **argv)
{
	return daemon_main(argc, argv, &program);
}
