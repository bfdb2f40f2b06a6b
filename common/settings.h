/* SPDX-License-Identifier: ISC */
/*
 * The settings table: a setting exists once, here.  Parser, default, checks,
 * the web form, postern.conf(5) and who may read it follow from its row
 * (GUIDE §9).
 *
 * S(member, "name", KIND, "default", readers, "label", "help").  Kinds, and
 * what their text looks like:
 *   BOOL                 on | off
 *   NUMBER(least, most)  decimal
 *   OCTETS(least, most)  decimal with K, M, G or T (of 1024)
 *   SECONDS(least, most) decimal with s, m, h or d
 *   TEXT                 any text without control characters
 *   HOSTNAME             a domain name
 *   ADDRESS              a mail address, or empty
 *   LISTEN               list of address:port, *:port for every address, port
 *                        0: any
 *   SERVERS              list of address:port; port 53 where none is named
 *   NETWORKS             list of address or address/bits
 *   DURATIONS            list of SECONDS, none shorter than the one before
 *   CHOICE("one two")    one of these words
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
	    READS_ALL, "Host name", \
	    "The name in greetings, EHLO, Received and bounces. It should " \
	    "resolve to this host, and its address back to it.") \
	S(smtp_listen, "smtp.listen", LISTEN, "*:25", READS(BINDD), \
	    "SMTP listeners", \
	    "Where mail from other servers is taken. No login here.") \
	S(submission_listen, "submission.listen", LISTEN, "*:587", \
	    READS(BINDD), "Submission listeners", \
	    "Where people log in after STARTTLS. Add ports for networks " \
	    "that block 587, such as *:2525.") \
	S(submissions_listen, "submissions.listen", LISTEN, "*:465", \
	    READS(BINDD), "Submission listeners with TLS from the start", \
	    "Where people log in, TLS first (RFC 8314).") \
	S(smtp_trusted_networks, "smtp.trusted_networks", NETWORKS, "", \
	    READS(SMTPD) | READS(QUEUED), "Trusted networks", \
	    "Clients that may relay without login: inner servers, " \
	    "printers. Everything from them is taken in their name; keep " \
	    "it short.") \
	S(smtp_max_message_size, "smtp.max_message_size", \
	    OCTETS(65536, 1073741824), "50M", \
	    READS(SMTPD) | READS(QUEUED) | READS(SIGNERD), \
	    "Largest message", \
	    "Larger ones are refused with 552.") \
	S(smtp_max_recipients, "smtp.max_recipients", NUMBER(100, 2000), \
	    "1000", READS(SMTPD) | READS(QUEUED), "Recipients of one message", \
	    "More are refused with 452; the client sends the rest by " \
	    "itself.") \
	S(smtp_max_header_size, "smtp.max_header_size", \
	    OCTETS(16384, 1048576), "256K", READS(SMTPD) | READS(QUEUED), \
	    "Largest header", \
	    "A message with a larger header is refused.") \
	S(smtp_max_hops, "smtp.max_hops", NUMBER(30, 200), "100", \
	    READS(SMTPD), "Received lines before a loop is assumed", \
	    "RFC 5321 asks for 100 at least.") \
	S(smtp_workers, "smtp.workers", NUMBER(0, 64), "0", READS(SMTPD), \
	    "Worker processes", \
	    "0: one for each processor core.") \
	S(smtp_worker_memory, "smtp.worker_memory", \
	    OCTETS(4194304, 4294967296), "64M", READS(SMTPD), \
	    "Message memory of one worker", \
	    "Messages being received; above it clients are told 452. " \
	    "smtp.reserved_share percent of it are only for people who " \
	    "logged in and for smtp.trusted_networks.") \
	S(smtp_max_connections, "smtp.max_connections", NUMBER(10, 100000), \
	    "2000", READS(SMTPD), "Connections at once", \
	    "More wait in the kernel or are refused with 421.") \
	S(smtp_client_connections, "smtp.client_connections", \
	    NUMBER(1, 100000), "50", READS(SMTPD), \
	    "Connections at once of one address", \
	    "An IPv6 client counts by its /64. Trusted networks are exempt.") \
	S(smtp_network_connections, "smtp.network_connections", \
	    NUMBER(1, 100000), "200", READS(SMTPD), \
	    "Connections at once of one network", \
	    "IPv4 /24 and IPv6 /48.") \
	S(smtp_client_rate, "smtp.client_rate", NUMBER(1, 1000000), "120", \
	    READS(SMTPD), "New connections a minute of one address", \
	    "More are refused with 421.") \
	S(smtp_network_rate, "smtp.network_rate", NUMBER(1, 1000000), "600", \
	    READS(SMTPD), "New connections a minute of one network", \
	    "More are refused with 421.") \
	S(smtp_reserved_share, "smtp.reserved_share", NUMBER(0, 90), "25", \
	    READS(SMTPD), "Share kept for known clients, in percent", \
	    "These slots of smtp.max_connections are only for networks from " \
	    "which somebody logged in lately, this part of " \
	    "smtp.worker_memory only for who is logged in or trusted, so " \
	    "that a flood does not lock staff out.") \
	S(smtp_command_timeout, "smtp.command_timeout", SECONDS(10, 3600), \
	    "5m", READS(SMTPD), "Wait for a command", \
	    "RFC 5321 asks for five minutes.") \
	S(smtp_stressed_timeout, "smtp.stressed_timeout", SECONDS(5, 300), \
	    "10s", READS(SMTPD), "Wait for a command when slots run short", \
	    "") \
	S(smtp_data_timeout, "smtp.data_timeout", SECONDS(10, 3600), "3m", \
	    READS(SMTPD), "Wait for the next piece of a message", "") \
	S(smtp_message_deadline, "smtp.message_deadline", SECONDS(60, 86400), \
	    "1h", READS(SMTPD) | READS(AUTHD), "Longest time for one message", \
	    "") \
	S(smtp_min_rate, "smtp.min_rate", NUMBER(0, 100000), "500", \
	    READS(SMTPD), "Least octets a second of a message", \
	    "Measured after the first minute; slower clients are cut off.") \
	S(smtp_max_errors, "smtp.max_errors", NUMBER(3, 1000), "20", \
	    READS(SMTPD), "Errors before a session is ended", "") \
	S(smtp_max_idle_commands, "smtp.max_idle_commands", NUMBER(10, 10000), \
	    "100", READS(SMTPD), "Commands without mail before an end", \
	    "NOOP, RSET, VRFY and such.") \
	S(smtp_max_transactions, "smtp.max_transactions", NUMBER(1, 100000), \
	    "1000", READS(SMTPD), "Messages in one session", "") \
	S(smtp_spoof_protection, "smtp.spoof_protection", BOOL, "on", \
	    READS(SMTPD) | READS(QUEUED), \
	    "Refuse unauthenticated mail in the name of our domains", \
	    "Off only where other servers of ours send through this port " \
	    "without login and cannot be named in smtp.trusted_networks.") \
	S(smtp_check_sender_domain, "smtp.check_sender_domain", BOOL, "on", \
	    READS(SMTPD), "Refuse senders whose domain does not exist", "") \
	S(submission_hide_client, "submission.hide_client", BOOL, "on", \
	    READS(SMTPD), "Leave the client's address out of Received", \
	    "For people who log in. The log always has it.") \
	S(auth_allow_login, "auth.allow_login", BOOL, "off", READS(AUTHD), \
	    "Offer AUTH LOGIN", \
	    "For old printers and Outlook; PLAIN does the same.") \
	S(auth_tries_per_minute, "auth.tries_per_minute", NUMBER(1, 1000), \
	    "10", READS(AUTHD), "Failed logins looked at in a minute", \
	    "Per client address, and per account and network.") \
	S(auth_cache, "auth.cache", SECONDS(0, 3600), "5m", READS(AUTHD), \
	    "How long a verified password is remembered", \
	    "In memory, as a keyed hash; dropped on any change.") \
	S(dns_servers, "dns.servers", SERVERS, "", READS(CHECKD), \
	    "Name servers to ask", \
	    "Empty: the root servers, by our own validating resolver.") \
	S(dns_dnssec, "dns.dnssec", BOOL, "on", READS(CHECKD), \
	    "Validate DNSSEC", \
	    "Off where the name servers strip signatures; then no DANE.") \
	S(dns_timeout, "dns.timeout", SECONDS(1, 60), "10s", READS(CHECKD), \
	    "Longest wait for DNS", "") \
	S(dns_cache, "dns.cache", OCTETS(1048576, 1073741824), "8M", \
	    READS(CHECKD), "Memory for DNS answers", "") \
	S(dns_trust_anchors, "dns.trust_anchors", TEXT, "", READS(CHECKD), \
	    "Further DNSSEC trust anchors", \
	    "DS or DNSKEY records of zones that the root does not vouch for, " \
	    "separated by \";\".") \
	S(dns_unsigned_domains, "dns.unsigned_domains", TEXT, "", \
	    READS(CHECKD), "Domains to take without DNSSEC", \
	    "Inner domains such as corp.example, separated by \";\", that " \
	    "the root denies or a signed parent does not delegate.") \
	S(relay_mx_port, "relay.mx_port", NUMBER(1, 65535), "25", \
	    READS(RELAYD), "Port of other mail servers", \
	    "Anything but 25 is for tests and closed networks.") \
	S(relay_allow_loopback, "relay.allow_loopback", BOOL, "off", \
	    READS(RELAYD), "Deliver to this host's own addresses", \
	    "Off: an MX that points to loopback, to ourselves or into a " \
	    "private network is refused. Inner servers are named by a route.") \
	S(relay_tls, "relay.tls", \
	    CHOICE("none opportunistic encrypted verified dane"), "dane", \
	    READS(RELAYD), "TLS to other servers", \
	    "With dane, verified by DNSSEC where the destination publishes " \
	    "TLSA, else opportunistic.") \
	S(relay_ca_file, "relay.ca_file", TEXT, \
	    "/etc/ssl/certs/ca-certificates.crt", READS(RELAYD), \
	    "Trusted certification authorities", \
	    "A PEM file.") \
	S(relay_connections, "relay.connections", NUMBER(1, 1000), "20", \
	    READS(QUEUED) | READS(RELAYD), \
	    "Connections at once to one destination", \
	    "Begins with 5 and adapts between 1 and this.") \
	S(relay_max_jobs, "relay.max_jobs", NUMBER(1, 5000), "200", \
	    READS(QUEUED) | READS(RELAYD), "Deliveries at once in all", "") \
	S(relay_recipients, "relay.recipients", NUMBER(1, 1000), "50", \
	    READS(QUEUED), "Recipients in one transaction", "") \
	S(relay_idle, "relay.idle", SECONDS(0, 300), "5s", READS(RELAYD), \
	    "How long an idle connection is kept for the next message", "") \
	S(relay_connect_timeout, "relay.connect_timeout", SECONDS(1, 600), \
	    "30s", READS(RELAYD), "Wait for a connection", "") \
	S(relay_command_timeout, "relay.command_timeout", SECONDS(1, 3600), \
	    "5m", READS(RELAYD), "Wait for a reply to a command", "") \
	S(relay_dot_timeout, "relay.dot_timeout", SECONDS(1, 3600), "10m", \
	    READS(RELAYD) | READS(QUEUED), \
	    "Wait for the reply after a message", \
	    "All of it, also when relay.deadline is over meanwhile.") \
	S(relay_deadline, "relay.deadline", SECONDS(10, 86400), "30m", \
	    READS(RELAYD) | READS(QUEUED), "Longest time for one attempt", "") \
	S(queue_lifetime, "queue.lifetime", SECONDS(1, 2592000), "4d", \
	    READS(QUEUED), "How long delivery is tried", \
	    "Then the sender gets a bounce.") \
	S(queue_bounce_lifetime, "queue.bounce_lifetime", SECONDS(1, 2592000), \
	    "1d", READS(QUEUED), "How long a bounce is tried", "") \
	S(queue_retry, "queue.retry", DURATIONS, "5m 10m 20m 40m 1h", \
	    READS(QUEUED), "Waits between attempts", \
	    "After the last one each wait is half as long again, up to " \
	    "queue.retry_max.") \
	S(queue_retry_max, "queue.retry_max", SECONDS(1, 604800), "4h", \
	    READS(QUEUED), "Longest wait between attempts", "") \
	S(queue_delay_warning, "queue.delay_warning", SECONDS(0, 604800), \
	    "4h", READS(QUEUED), "Tell the sender of a delay after", \
	    "0: never. Once more after a day.") \
	S(queue_memory, "queue.memory", OCTETS(8388608, 4294967296), "64M", \
	    READS(QUEUED), "Message memory of the queue", \
	    "Above it new mail waits, then is told 452.") \
	S(queue_min_free, "queue.min_free", OCTETS(0, 1099511627776), "256M", \
	    READS(QUEUED), "Free disk space below which mail is refused", "") \
	S(queue_age_alert, "queue.age_alert", SECONDS(60, 604800), "2h", \
	    READS(QUEUED), "Alert when the oldest message is older", "") \
	S(crypto_verify, "crypto.verify", BOOL, "on", \
	    READS(QUEUED) | READS(SIGNERD), \
	    "Decrypt incoming mail and check its signatures", \
	    "Mail that is neither encrypted nor signed is not held up by it.") \
	S(crypto_subject_tags, "crypto.subject_tags", BOOL, "off", \
	    READS(QUEUED) | READS(SIGNERD), \
	    "Tell in Subject what was found in incoming mail", \
	    "[decrypted], [signed] or [invalid signature]. What mail brings " \
	    "along of these is taken out first.") \
	S(crypto_undecryptable, "crypto.undecryptable", \
	    CHOICE("deliver hold reject"), "deliver", \
	    READS(QUEUED) | READS(SIGNERD), \
	    "Incoming mail that cannot be decrypted", \
	    "deliver: as it came, its reader may have the key. hold: it " \
	    "waits for an administrator. reject: where that shows without a " \
	    "private key (it is damaged, or for nobody's key here), else " \
	    "it is held: who sends changed copies of a mail could read it " \
	    "by our answers.") \
	S(crypto_bad_signature, "crypto.bad_signature", \
	    CHOICE("deliver hold reject"), "deliver", \
	    READS(QUEUED) | READS(SIGNERD), \
	    "Incoming mail whose signature is invalid", \
	    "deliver: with a header field that says so. Mailing lists break " \
	    "signatures without bad intent. What was decrypted is held " \
	    "instead of rejected.") \
	S(crypto_max_size, "crypto.max_size", OCTETS(65536, 1073741824), \
	    "50M", READS(QUEUED) | READS(SIGNERD), \
	    "Largest message to sign, encrypt or open", \
	    "A larger one that must be protected is returned, any other " \
	    "passes as it is, but for forged tags.") \
	S(crypto_require_revocation, "crypto.require_revocation", BOOL, \
	    "off", READS(SIGNERD), \
	    "Believe S/MIME signatures only when their revocation is known", \
	    "On: when the list of revoked certificates of a CA is missing " \
	    "or out of date, its signatures count as untrusted. Off: they " \
	    "pass, and the header field of the verdict says rev=unknown.") \
	S(crypto_ca_crl_url, "crypto.ca_crl_url", TEXT, "", READS(SIGNERD), \
	    "Where the built-in CA's list of revoked certificates is", \
	    "A URL of your web server, to which you copy what \"postern ca " \
	    "crl --der FILE\" writes. It stands in each certificate that " \
	    "is issued from now on, so that others find the list. Empty: " \
	    "none does.") \
	S(crypto_pkcs11_module, "crypto.pkcs11_module", TEXT, "", \
	    READS(SIGNERD), "PKCS #11 module for keys in tokens", \
	    "The path of a library, such as " \
	    "/usr/lib/softhsm/libsofthsm2.so. It is loaded into the " \
	    "processes that sign and decrypt, when they start.") \
	S(crypto_pkcs11_folder, "crypto.pkcs11_folder", TEXT, "", \
	    READS(SIGNERD), "Folder that the PKCS #11 module may write", \
	    "Where it keeps tokens or locks; all others are closed to it.") \
	S(fetch_wkd, "fetch.wkd", BOOL, "on", READS(FETCHD) | READS(SIGNERD), \
	    "Look up OpenPGP keys in the recipients' domains", \
	    "By WKD, at the web server of the domain, where a policy wants " \
	    "encryption and no key is known. The domain can see that.") \
	S(fetch_vks, "fetch.vks", TEXT, "", READS(FETCHD) | READS(SIGNERD), \
	    "Key server to look up OpenPGP keys at", \
	    "A URL such as https://keys.openpgp.org, asked when the domain " \
	    "has no key (VKS). Empty: none. It sees who writes to whom.") \
	S(fetch_crl, "fetch.crl", BOOL, "on", \
	    READS(FETCHD) | READS(SIGNERD), \
	    "Fetch lists of revoked certificates", \
	    "From where they came from, before they end, and with " \
	    "fetch.crl_points from where certificates say that they are.") \
	S(fetch_crl_points, "fetch.crl_points", BOOL, "on", READS(SIGNERD), \
	    "Fetch the lists that certificates name", \
	    "Of our own certificates, those of correspondents and of who " \
	    "signs mail, when they lead to a CA that is believed (an " \
	    "anchor): 100 places at most, by http and https, never while a " \
	    "mail waits for it. The CA can see that we have one of its " \
	    "certificates. Off: only lists that an administrator asked " \
	    "for.") \
	S(fetch_ca_file, "fetch.ca_file", TEXT, \
	    "/etc/ssl/certs/ca-certificates.crt", READS(FETCHD), \
	    "Authorities trusted for fetching", "A PEM file.") \
	S(fetch_port, "fetch.port", NUMBER(1, 65535), "443", READS(FETCHD), \
	    "Port of web servers with keys", \
	    "Anything but 443 is for tests and closed networks.") \
	S(fetch_allow_private, "fetch.allow_private", BOOL, "off", \
	    READS(FETCHD), "Fetch from private networks", \
	    "Off: a name or URL that leads to this host, its network or " \
	    "a private one is not followed.") \
	S(log_retention_days, "log.retention_days", NUMBER(1, 3650), "90", \
	    READS(LOGHUB), "Days that the log is kept", \
	    "Older events are deleted when events of so many days have " \
	    "followed: by the log itself, not by the clock alone.") \
	S(log_min_free, "log.min_free", OCTETS(0, 1099511627776), "128M", \
	    READS(LOGHUB), "Free disk space below which the log stops", \
	    "Mail goes on; the gap is recorded.") \
	S(alert_to, "alert.to", ADDRESS, "", READS(CONFD), \
	    "Where alerts are mailed", \
	    "Empty: to system.postmaster.") \
	S(system_postmaster, "system.postmaster", ADDRESS, "", READS(QUEUED) | \
	    READS(AUTHD) | READS(CONFD) | READS(SMTPD), "Postmaster", \
	    "Gets postmaster@ and abuse@ of every domain of ours, and " \
	    "alerts.")

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
#define SETTING_MEMBER_NUMBER(least, most) uint64_t
#define SETTING_MEMBER_OCTETS(least, most) uint64_t
#define SETTING_MEMBER_SECONDS(least, most) uint64_t
#define SETTING_MEMBER_TEXT char *
#define SETTING_MEMBER_HOSTNAME char *
#define SETTING_MEMBER_ADDRESS char *
#define SETTING_MEMBER_LISTEN char *
#define SETTING_MEMBER_SERVERS char *
#define SETTING_MEMBER_NETWORKS char *
#define SETTING_MEMBER_DURATIONS char *
#define SETTING_MEMBER_CHOICE(words) char *

/* Values in force; a text is never NULL, a list has single spaces. */
struct settings {
#define SETTING_MEMBER(member, name, kind, def, readers, label, help) \
	SETTING_MEMBER_##kind member;
	SETTINGS(SETTING_MEMBER)
#undef SETTING_MEMBER
};

#define SETTING_ENUM(member, name, kind, def, readers, label, help) \
	SET_##member,
enum setting_index { SETTINGS(SETTING_ENUM) SETTING_COUNT };
#undef SETTING_ENUM

struct setting_row {
	const char *name;
	enum setting_kind kind;
	uint64_t least; /* of numbers */
	uint64_t most;
	const char *words; /* of a CHOICE, else NULL */
	const char *default_text;
	uint32_t readers; /* a set of 1 << role */
	size_t offset;    /* in struct settings */
	const char *label;
	const char *help;
};

const struct setting_row *setting_row(unsigned index);

/* -1 when there is no setting of that name. */
int setting_find(struct slice name, unsigned *index_r);

/* "a number from 30 to 200": what the setting takes, after "wants ...". */
void setting_allowed(unsigned index, struct buf *text_r);

/* BOOL, NUMBER, OCTETS and SECONDS: those whose value is a number. */
bool setting_kind_is_number(enum setting_kind kind);

/* Octets of a canonical text. */
#define SETTING_TEXT_MAX 8192

/*
 * Checks a value as a person wrote it and gives its canonical text and, for
 * the kinds that are numbers, its number (else 0).  Needs libidn2, so it is
 * for confd.  -1: err names the setting, what was given and what is allowed;
 * canonical_r is then empty.
 */
int setting_parse(unsigned index, struct slice text, struct buf *canonical_r,
    uint64_t *number_r, struct err *err);

/* Defaults; free with settings_clear(). */
void settings_init(struct settings *settings);
void settings_clear(struct settings *settings);

/*
 * Sets one value from its canonical form; of a kind that is a number only the
 * number counts, else only the text.
 */
void settings_put(struct settings *settings, unsigned index, uint64_t number,
    struct slice text);

/* The value in force as canonical text, in place of what text_r held. */
void settings_format(
    const struct settings *settings, unsigned index, struct buf *text_r);

/*
 * Relations between settings; -1 and a sentence that says what to change when
 * one is broken.
 */
int settings_check(const struct settings *settings, struct err *err);

/* Takes the first word off a list; false at its end. */
bool setting_list_next(struct slice *list, struct slice *word_r);

/* "5m" and such, one element of DURATIONS; -1 when malformed. */
int setting_seconds(struct slice text, uint64_t *seconds_r);

/*
 * The number of such a kind from text and back, without its range.  Written
 * in the largest unit that divides it: "1h".
 */
int setting_number(
    enum setting_kind kind, struct slice text, uint64_t *number_r);
void setting_format_number(
    enum setting_kind kind, uint64_t number, struct buf *text_r);

/*
 * One element of LISTEN or SERVERS: "127.0.0.1:25", "[::1]:25", "*:25", and
 * "25" for "*:25".  Port 0 lets the system choose.  A * is a wildcard of both
 * families: is_wildcard, and no address.  With a default_port (SERVERS) the
 * port may be left out ("::1", "192.0.2.1"), but not be 0, and the address
 * must be there.
 */
struct listen_address {
	struct netaddr address;
	uint16_t port;
	bool is_wildcard;
};
int setting_listen_address(
    struct slice text, uint16_t default_port, struct listen_address *out);

/* Is the address within a list of NETWORKS? */
bool setting_networks_match(
    const char *networks, const struct netaddr *address);

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

/* One rule of protection, as common/policy.h reads it. */
struct policy_entry {
	char *sender;
	char *recipient;
	char *words;
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
	struct policy_entry *policies;
	size_t policy_count;
};

/* -1 when the message's values break their rows; free with snapshot_free. */
int snapshot_read(const struct ipc_conf_snapshot *message,
    struct snapshot **snapshot_r, struct err *err);
void snapshot_free(struct snapshot *snapshot);

/* One of our domains, or NULL. */
const struct domain_entry *snapshot_domain(
    const struct snapshot *snapshot, const struct domain *name);


#endif
