/* SPDX-License-Identifier: ISC */
/*
 * The settings table: a setting exists once, here.  Parser, default, checks,
 * the web form, postern.conf(5) and who may read it follow from its row
 * (GUIDE §9).
 *
 * S(member, "name", kind, "default", minimum, maximum, readers, "label",
 *   "help").  Kinds and what their text looks like:
 *   BOOL      on | off
 *   NUMBER    decimal
 *   OCTETS    decimal with K, M or G (of 1024)
 *   SECONDS   decimal with s, m, h or d
 *   TEXT      any text without control characters
 *   HOSTNAME  a domain name
 *   ADDRESS   a mail address, or empty
 *   LISTEN    list of address:port, *:port for every address, port 0: any
 *   SERVERS   list of address:port; port 53 where none is named
 *   NETWORKS  list of address or address/bits
 *   DURATIONS list of SECONDS, rising
 *   CHOICE    one of the words in "maximum words" (last column of its row)
 * Lists are separated by spaces or commas and kept with single spaces.
 */
#ifndef COMMON_SETTINGS_H
#define COMMON_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/address.h"
#include "common/ipc.h"
#include "common/netaddr.h"
#include "common/vocabulary.h"

#define READS(role) (1u << ROLE_##role)
#define READS_ALL 0xffffffffu

#define SETTINGS(S) \
	S(smtp_hostname, "smtp.hostname", HOSTNAME, "localhost.localdomain", \
	    0, 0, READS_ALL, "Host name", \
	    "The name in greetings, EHLO, Received and bounces. It should " \
	    "resolve to this host, and its address back to it.") \
	S(smtp_listen, "smtp.listen", LISTEN, "*:25", 0, 0, \
	    READS(BINDD), "SMTP listeners", \
	    "Where mail from other servers is taken. No login here.") \
	S(submission_listen, "submission.listen", LISTEN, "*:587", 0, 0, \
	    READS(BINDD), "Submission listeners", \
	    "Where people log in after STARTTLS. Add ports for networks that " \
	    "block 587, such as *:2525.") \
	S(submissions_listen, "submissions.listen", LISTEN, "*:465", 0, 0, \
	    READS(BINDD), "Submission listeners with TLS from the start", \
	    "Where people log in, TLS first (RFC 8314).") \
	S(smtp_trusted_networks, "smtp.trusted_networks", NETWORKS, "", 0, 0, \
	    READS(SMTPD) | READS(QUEUED), "Trusted networks", \
	    "Clients that may relay without login: inner servers, printers. " \
	    "Everything from them is taken in their name; keep it short.") \
	S(smtp_max_message_size, "smtp.max_message_size", OCTETS, "50M", \
	    65536, 1073741824, READS(SMTPD) | READS(QUEUED), \
	    "Largest message", "Larger ones are refused with 552.") \
	S(smtp_max_recipients, "smtp.max_recipients", NUMBER, "1000", 100, \
	    2000, READS(SMTPD) | READS(QUEUED), "Recipients of one message", \
	    "More are refused with 452; the client sends the rest by itself.") \
	S(smtp_max_header_size, "smtp.max_header_size", OCTETS, "256K", 16384, \
	    1048576, READS(SMTPD) | READS(QUEUED), "Largest header", \
	    "A message with a larger header is refused.") \
	S(smtp_max_hops, "smtp.max_hops", NUMBER, "100", 30, 200, \
	    READS(SMTPD), "Received lines before a loop is assumed", \
	    "RFC 5321 asks for 100 at least.") \
	S(smtp_workers, "smtp.workers", NUMBER, "0", 0, 64, READS(SMTPD), \
	    "Worker processes", "0: one for each processor core.") \
	S(smtp_worker_memory, "smtp.worker_memory", OCTETS, "64M", 4194304, \
	    4294967296, READS(SMTPD), "Message memory of one worker", \
	    "Messages being received; above it clients are told 452.") \
	S(smtp_max_connections, "smtp.max_connections", NUMBER, "2000", 10, \
	    100000, READS(SMTPD), "Connections at once", \
	    "More wait in the kernel or are refused with 421.") \
	S(smtp_client_connections, "smtp.client_connections", NUMBER, "50", 1, \
	    100000, READS(SMTPD), "Connections at once of one address", \
	    "An IPv6 client counts by its /64. Trusted networks are exempt.") \
	S(smtp_network_connections, "smtp.network_connections", NUMBER, "200", \
	    1, 100000, READS(SMTPD), "Connections at once of one network", \
	    "IPv4 /24 and IPv6 /48.") \
	S(smtp_client_rate, "smtp.client_rate", NUMBER, "120", 1, 1000000, \
	    READS(SMTPD), "New connections a minute of one address", \
	    "More are refused with 421.") \
	S(smtp_network_rate, "smtp.network_rate", NUMBER, "600", 1, 1000000, \
	    READS(SMTPD), "New connections a minute of one network", \
	    "More are refused with 421.") \
	S(smtp_reserved_share, "smtp.reserved_share", NUMBER, "25", 0, 90, \
	    READS(SMTPD), "Share kept for known networks, in percent", \
	    "These slots are only for networks from which somebody logged in " \
	    "lately, so that a flood does not lock staff out.") \
	S(smtp_command_timeout, "smtp.command_timeout", SECONDS, "5m", 10, \
	    3600, READS(SMTPD), "Wait for a command", \
	    "RFC 5321 asks for five minutes.") \
	S(smtp_stressed_timeout, "smtp.stressed_timeout", SECONDS, "10s", 5, \
	    300, READS(SMTPD), "Wait for a command when slots run short", "") \
	S(smtp_data_timeout, "smtp.data_timeout", SECONDS, "3m", 10, 3600, \
	    READS(SMTPD), "Wait for the next piece of a message", "") \
	S(smtp_message_deadline, "smtp.message_deadline", SECONDS, "1h", 60, \
	    86400, READS(SMTPD) | READS(AUTHD), "Longest time for one message", \
	    "") \
	S(smtp_min_rate, "smtp.min_rate", NUMBER, "500", 0, 100000, \
	    READS(SMTPD), "Least octets a second of a message", \
	    "Measured after the first minute; slower clients are cut off.") \
	S(smtp_max_errors, "smtp.max_errors", NUMBER, "20", 3, 1000, \
	    READS(SMTPD), "Errors before a session is ended", "") \
	S(smtp_max_idle_commands, "smtp.max_idle_commands", NUMBER, "100", 10, \
	    10000, READS(SMTPD), "Commands without mail before an end", \
	    "NOOP, RSET, VRFY and such.") \
	S(smtp_max_transactions, "smtp.max_transactions", NUMBER, "1000", 1, \
	    100000, READS(SMTPD), "Messages in one session", "") \
	S(smtp_spoof_protection, "smtp.spoof_protection", BOOL, "on", 0, 0, \
	    READS(SMTPD) | READS(QUEUED), \
	    "Refuse unauthenticated mail in the name of our domains", \
	    "Off only where other servers of ours send through this port " \
	    "without login and cannot be named in smtp.trusted_networks.") \
	S(smtp_check_sender_domain, "smtp.check_sender_domain", BOOL, "on", 0, \
	    0, READS(SMTPD), "Refuse senders whose domain does not exist", "") \
	S(submission_hide_client, "submission.hide_client", BOOL, "on", 0, 0, \
	    READS(SMTPD), "Leave the client's address out of Received", \
	    "For people who log in. The log always has it.") \
	S(auth_allow_login, "auth.allow_login", BOOL, "off", 0, 0, \
	    READS(AUTHD), "Offer AUTH LOGIN", \
	    "For old printers and Outlook; PLAIN does the same.") \
	S(auth_tries_per_minute, "auth.tries_per_minute", NUMBER, "10", 1, \
	    1000, READS(AUTHD), "Failed logins looked at in a minute", \
	    "Per client address, and per account and network.") \
	S(auth_cache, "auth.cache", SECONDS, "5m", 0, 3600, READS(AUTHD), \
	    "How long a verified password is remembered", \
	    "In memory, as a keyed hash; dropped on any change.") \
	S(dns_servers, "dns.servers", SERVERS, "", 0, 0, READS(CHECKD), \
	    "Name servers to ask", \
	    "Empty: the root servers, by our own validating resolver.") \
	S(dns_dnssec, "dns.dnssec", BOOL, "on", 0, 0, READS(CHECKD), \
	    "Validate DNSSEC", \
	    "Off where the name servers strip signatures; then no DANE.") \
	S(dns_timeout, "dns.timeout", SECONDS, "10s", 1, 60, READS(CHECKD), \
	    "Longest wait for DNS", "") \
	S(dns_cache, "dns.cache", OCTETS, "8M", 1048576, 1073741824, \
	    READS(CHECKD), "Memory for DNS answers", "") \
	S(relay_mx_port, "relay.mx_port", NUMBER, "25", 1, 65535, \
	    READS(RELAYD), "Port of other mail servers", \
	    "Anything but 25 is for tests and closed networks.") \
	S(relay_allow_loopback, "relay.allow_loopback", BOOL, "off", 0, 0, \
	    READS(RELAYD), "Deliver to this host's own addresses", \
	    "Off: an MX that points to loopback or to ourselves is a loop.") \
	S(relay_tls, "relay.tls", CHOICE, "dane", 0, 0, READS(RELAYD), \
	    "TLS to other servers", \
	    "none, opportunistic, encrypted, verified, dane. dane: verified by " \
	    "DNSSEC where the destination publishes TLSA, else opportunistic.") \
	S(relay_ca_file, "relay.ca_file", TEXT, \
	    "/etc/ssl/certs/ca-certificates.crt", 0, 0, READS(RELAYD), \
	    "Trusted certification authorities", "A PEM file.") \
	S(relay_connections, "relay.connections", NUMBER, "20", 1, 1000, \
	    READS(QUEUED) | READS(RELAYD), \
	    "Connections at once to one destination", \
	    "Begins with 5 and adapts between 1 and this.") \
	S(relay_max_jobs, "relay.max_jobs", NUMBER, "200", 1, 5000, \
	    READS(QUEUED) | READS(RELAYD), "Deliveries at once in all", "") \
	S(relay_recipients, "relay.recipients", NUMBER, "50", 1, 1000, \
	    READS(QUEUED), "Recipients in one transaction", "") \
	S(relay_idle, "relay.idle", SECONDS, "5s", 0, 300, READS(RELAYD), \
	    "How long an idle connection is kept for the next message", "") \
	S(relay_connect_timeout, "relay.connect_timeout", SECONDS, "30s", 1, \
	    600, READS(RELAYD), "Wait for a connection", "") \
	S(relay_command_timeout, "relay.command_timeout", SECONDS, "5m", 1, \
	    3600, READS(RELAYD), "Wait for a reply to a command", "") \
	S(relay_dot_timeout, "relay.dot_timeout", SECONDS, "10m", 1, 3600, \
	    READS(RELAYD), "Wait for the reply after a message", "") \
	S(relay_deadline, "relay.deadline", SECONDS, "30m", 10, 86400, \
	    READS(RELAYD) | READS(QUEUED), "Longest time for one attempt", "") \
	S(queue_lifetime, "queue.lifetime", SECONDS, "4d", 1, 2592000, \
	    READS(QUEUED), "How long delivery is tried", \
	    "Then the sender gets a bounce.") \
	S(queue_bounce_lifetime, "queue.bounce_lifetime", SECONDS, "1d", 1, \
	    2592000, READS(QUEUED), "How long a bounce is tried", "") \
	S(queue_retry, "queue.retry", DURATIONS, "5m 10m 20m 40m 1h", 0, 0, \
	    READS(QUEUED), "Waits between attempts", \
	    "After the last one each wait is half as long again, up to " \
	    "queue.retry_max.") \
	S(queue_retry_max, "queue.retry_max", SECONDS, "4h", 1, 604800, \
	    READS(QUEUED), "Longest wait between attempts", "") \
	S(queue_delay_warning, "queue.delay_warning", SECONDS, "4h", 0, \
	    604800, READS(QUEUED), "Tell the sender of a delay after", \
	    "0: never. Once more after a day.") \
	S(queue_memory, "queue.memory", OCTETS, "64M", 8388608, 4294967296, \
	    READS(QUEUED), "Message memory of the queue", \
	    "Above it new mail waits, then is told 452.") \
	S(queue_min_free, "queue.min_free", OCTETS, "256M", 0, 1099511627776, \
	    READS(QUEUED), "Free disk space below which mail is refused", "") \
	S(queue_age_alert, "queue.age_alert", SECONDS, "2h", 60, 604800, \
	    READS(QUEUED), "Alert when the oldest message is older", "") \
	S(log_retention_days, "log.retention_days", NUMBER, "90", 1, 3650, \
	    READS(LOGHUB), "Days that the log is kept", "") \
	S(log_min_free, "log.min_free", OCTETS, "128M", 0, 1099511627776, \
	    READS(LOGHUB), "Free disk space below which the log stops", \
	    "Mail goes on; the gap is recorded.") \
	S(alert_to, "alert.to", ADDRESS, "", 0, 0, READS(CONFD), \
	    "Where alerts are mailed", "Empty: to system.postmaster.") \
	S(web_listen, "web.listen", LISTEN, "*:8443", 0, 0, READS(CONFD), \
	    "Web listeners", "") \
	S(system_postmaster, "system.postmaster", ADDRESS, "", 0, 0, \
	    READS(QUEUED) | READS(AUTHD) | READS(CONFD) | READS(SMTPD), \
	    "Postmaster", \
	    "Gets postmaster@ and abuse@ of every domain of ours, and alerts.")

/* The words of each CHOICE. */
#define SETTING_WORDS_relay_tls "none opportunistic encrypted verified dane"

enum setting_kind {
	SETTING_BOOL,
	SETTING_NUMBER,
	SETTING_OCTETS,
	SETTING_SECONDS,
	SETTING_TEXT,
	SETTING_HOSTNAME,
	SETTING_ADDRESS,
	SETTING_LISTEN,
	SETTING_SERVERS,
	SETTING_NETWORKS,
	SETTING_DURATIONS,
	SETTING_CHOICE,
	SETTING_KIND_COUNT
};

#define SETTING_MEMBER_BOOL bool
#define SETTING_MEMBER_NUMBER uint64_t
#define SETTING_MEMBER_OCTETS uint64_t
#define SETTING_MEMBER_SECONDS uint64_t
#define SETTING_MEMBER_TEXT char *
#define SETTING_MEMBER_HOSTNAME char *
#define SETTING_MEMBER_ADDRESS char *
#define SETTING_MEMBER_LISTEN char *
#define SETTING_MEMBER_SERVERS char *
#define SETTING_MEMBER_NETWORKS char *
#define SETTING_MEMBER_DURATIONS char *
#define SETTING_MEMBER_CHOICE char *

/* Values in force; a text is never NULL, a list has single spaces. */
struct settings {
#define SETTING_MEMBER(member, name, kind, def, min, max, readers, l, h) \
	SETTING_MEMBER_##kind member;
	SETTINGS(SETTING_MEMBER)
#undef SETTING_MEMBER
};

#define SETTING_ENUM(member, name, kind, def, min, max, readers, l, h) \
	SET_##member,
enum setting_index { SETTINGS(SETTING_ENUM) SETTING_COUNT };
#undef SETTING_ENUM

struct setting_row {
	const char *name;
	enum setting_kind kind;
	const char *default_text;
	uint64_t minimum; /* of numbers */
	uint64_t maximum;
	uint32_t readers; /* a set of 1 << role */
	size_t offset;    /* in struct settings */
	const char *words; /* of a CHOICE */
	const char *label;
	const char *help;
};

const struct setting_row *setting_row(unsigned index);
int setting_find(struct slice name, unsigned *index_r);

/*
 * Checks a value as a person wrote it and gives its canonical text (<= 8192
 * octets) and, for numbers, its number.  -1: err names the setting, what was
 * given and what is allowed.
 */
int setting_parse(unsigned index, struct slice text, struct buf *canonical_r,
    uint64_t *number_r, struct err *err);

/* Defaults; free with settings_clear(). */
void settings_init(struct settings *settings);
void settings_clear(struct settings *settings);

/* Sets one value from its canonical form. */
void settings_put(struct settings *settings, unsigned index, uint64_t number,
    struct slice text);

/* The value in force as canonical text. */
void settings_format(
    const struct settings *settings, unsigned index, struct buf *text_r);

/* Relations between settings; -1 and a sentence when one is broken. */
int settings_check(const struct settings *settings, struct err *err);

/* Takes the first word off a list; false at its end. */
bool setting_list_next(struct slice *list, struct slice *word_r);

/* "5m" and such, one element of DURATIONS; -1 when malformed. */
int setting_seconds(struct slice text, uint64_t *seconds_r);

/*
 * "127.0.0.1:25", "[::1]:25", "*:25", "25"; a * gives a wildcard of both
 * families: is_wildcard.  default_port 0: a port must be there.
 */
struct listen_address {
	struct netaddr address;
	uint16_t port;
	bool is_wildcard;
};
int setting_listen_address(
    struct slice text, uint16_t default_port, struct listen_address *out);

/* ---- what else a snapshot holds ---- */

struct domain_entry {
	struct domain name;
	enum domain_mode mode;
	char *to; /* a route target, or "" for what the routes say */
	bool has_aliases;
};

struct route_entry {
	char *pattern;
	char *target;
	char *tls;
	char *user;
	char *password; /* "" for everyone but relayd */
};

struct access_entry {
	bool is_allow;
	bool is_client;
	char *pattern;
	int64_t until; /* 0: for good */
};

/* All that a program knows of the configuration, as of one revision. */
struct snapshot {
	uint64_t revision;
	struct settings settings;
	struct domain_entry *domains; /* sorted by name */
	size_t domain_count;
	struct route_entry *routes; /* in match order */
	size_t route_count;
	struct access_entry *access;
	size_t access_count;
};

/* -1 when the message's values break their rows; free with snapshot_free. */
int snapshot_read(const struct ipc_conf_snapshot *message,
    struct snapshot **snapshot_r, struct err *err);
void snapshot_free(struct snapshot *snapshot);

/* One of our domains, or NULL. */
const struct domain_entry *snapshot_domain(
    const struct snapshot *snapshot, const struct domain *name);

/* Is the address within a list of NETWORKS? */
bool setting_networks_match(const char *networks, const struct netaddr *address);

#endif
