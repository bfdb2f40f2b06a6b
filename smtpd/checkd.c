/* SPDX-License-Identifier: ISC */
/*
 * postern-checkd: DNS for everyone, with DNSSEC, and what it says about a
 * stranger who sends mail.
 * Runs in: postern-checkd.  Trusts: neither its peers' questions nor the DNS.
 *
 * Sockets: checkd-from-smtpd, checkd-from-relayd, checkd-from-fetchd.  Talks
 * to: confd, loghub, and name servers.
 */
#include "common/alerts.h"
#include "smtpd/checkd.h"

/* Every failure counts, a bogus answer too: then signatures are stripped. */
static void
observe(void *arg, const char *name, const struct dns_message *message)
{
	struct checkd *checkd = arg;
	bool was_answered = message->status != DNS_TEMPORARY &&
	    message->status != DNS_BOGUS;

	if (!dns_health_note(&checkd->health, name, was_answered,
	        clock_monotonic_ms()))
		return;
	if (checkd->health.is_failing)
		daemon_alert_raise(checkd->daemon, ALERT_DNS, "",
		    "No question to the DNS was answered lately; the last "
		    "one, about %s: %s.",
		    name, message->reason);
	else
		daemon_alert_clear(checkd->daemon, ALERT_DNS, "");
}

static int
checkd_start(struct daemon *daemon, struct err *err)
{
	struct checkd *checkd = daemon_state(daemon);

	(void)err;
	checkd->daemon = daemon;
	dns_message_set(&checkd->not_asked, DNS_TEMPORARY, "too busy");
	checkd->resolver = resolver_new(daemon_loop(daemon), observe, checkd);
	return 0;
}

/*
 * Settings that libunbound refuses leave the old ones in force.  At start
 * there are none: questions then fail for now, and that is better than a
 * program that does not run.
 */
static int
checkd_settings_changed(struct daemon *daemon, struct err *err)
{
	struct checkd *checkd = daemon_state(daemon);

	if (resolver_configure(
	        checkd->resolver, daemon_settings(daemon), err) == -1) {
		daemon_alert_raise(
		    daemon, ALERT_DNS, "settings", "%s.", err->text);
		if (checkd->is_configured)
			return -1;
		log_notice("%s", err->text);
		return 0;
	}
	checkd->is_configured = true;
	daemon_alert_clear(daemon, ALERT_DNS, "settings");
	return 0;
}

static void
checkd_peer_closed(struct daemon *daemon, struct channel *channel)
{
	(void)daemon;
	checkd_peer_gone(channel);
}

static void
checkd_status(struct daemon *daemon, struct status_writer *status)
{
	const struct checkd *checkd = daemon_state(daemon);
	const struct settings *settings = daemon_settings(daemon);
	struct resolver_counts counts;

	resolver_count(checkd->resolver, &counts);
	status_fact(status, "dns", "%s, DNSSEC %s",
	    settings->dns_servers[0] != '\0' ? settings->dns_servers
	                                     : "the root servers",
	    settings->dns_dnssec ? "on" : "off");
	status_counter(status, "dns_questions", (int64_t)counts.asked);
	status_counter(status, "dns_cached", (int64_t)counts.cached);
	status_counter(status, "dns_failed", (int64_t)counts.failed);
	status_counter(status, "dns_bogus", (int64_t)counts.bogus);
	status_counter(status, "dns_refused", (int64_t)counts.refused);
	status_counter(
	    status, "dns_in_progress", (int64_t)counts.in_progress);
	status_counter(status, "mail_checks", (int64_t)checkd->mail_checks);
}

static const struct channel_handler handlers[] = {
    {ROLE_SMTPD, MSG_DNS_QUERY, checkd_on_dns_query},
    {ROLE_SMTPD, MSG_CHECK_MAIL, checkd_on_check_mail},
    {ROLE_RELAYD, MSG_DNS_QUERY, checkd_on_dns_query},
    {ROLE_FETCHD, MSG_DNS_QUERY, checkd_on_dns_query},
    {ROLE_NONE, MSG_COUNT, NULL},
};

/* A new context reads the root's key. */
static const struct confinement confinement = {
    .rights = CONFINE_CONNECT_INET | CONFINE_CONNECT_UNIX |
        CONFINE_FILES_READ | CONFINE_FILES_WRITE,
    .read_dirs = {"/usr/share/dns"},
};

static const struct program program = {
    .role = ROLE_CHECKD,
    .handlers = handlers,
    .start = checkd_start,
    .settings_changed = checkd_settings_changed,
    .peer_closed = checkd_peer_closed,
    .status = checkd_status,
    .state_size = sizeof(struct checkd),
    .confinement = &confinement,
};

int
main(int argc, char **argv)
{
	return daemon_main(argc, argv, &program);
}
