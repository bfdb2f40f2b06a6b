/* SPDX-License-Identifier: ISC */
/*
 * Settings: what each kind takes and makes of it, what it refuses and how it
 * says so, relations, and snapshots.
 */
#include <string.h>

#include "common/settings.h"
#include "tests/unit/tap.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	const char *label;
	const char *name;
	const char *given;
	const char *want; /* canonical; NULL: refused */
	uint64_t number;
} values[] = {
    {"on", "dns.dnssec", "on", "on", 1},
    {"off, in capitals, with spaces", "dns.dnssec", "  OFF\t", "off", 0},
    {"yes is not on", "dns.dnssec", "yes", NULL, 0},
    {"nothing is not off", "dns.dnssec", "", NULL, 0},
    {"the least number", "smtp.max_hops", "30", "30", 30},
    {"the largest number", "smtp.max_hops", "200", "200", 200},
    {"a number below", "smtp.max_hops", "29", NULL, 0},
    {"a number above", "smtp.max_hops", "201", NULL, 0},
    {"a negative number", "smtp.max_hops", "-30", NULL, 0},
    {"a number with a plus", "smtp.max_hops", "+30", NULL, 0},
    {"hexadecimal", "smtp.max_hops", "0x30", NULL, 0},
    {"a number with a unit", "smtp.max_hops", "1K", NULL, 0},
    {"a number beyond 64 bits", "smtp.max_hops", "18446744073709551646", NULL,
	0},
    {"leading zeros go", "smtp.max_hops", "0100", "100", 100},
    {"octets", "smtp.max_message_size", "100000", "100000", 100000},
    {"the largest unit that divides", "smtp.max_message_size", "65536K", "64M",
	67108864},
    {"a small letter", "smtp.max_message_size", "1g", "1G", 1073741824},
    {"T", "queue.min_free", "1T", "1T", UINT64_C(1) << 40},
    {"zero octets", "queue.min_free", "0M", "0", 0},
    {"a unit alone", "queue.min_free", "M", NULL, 0},
    {"two units", "queue.min_free", "1MM", NULL, 0},
    {"a unit of another kind", "queue.min_free", "1h", NULL, 0},
    {"octets beyond 64 bits", "queue.min_free", "17179869184T", NULL, 0},
    {"fractions", "queue.min_free", "1.5M", NULL, 0},
    {"seconds", "queue.lifetime", "90", "90s", 90},
    {"minutes from seconds", "queue.lifetime", "300s", "5m", 300},
    {"hours from minutes", "queue.lifetime", "120m", "2h", 7200},
    {"days from hours", "queue.lifetime", "96H", "4d", 345600},
    {"zero seconds", "queue.delay_warning", "0", "0", 0},
    {"too many days", "queue.lifetime", "31d", NULL, 0},
    {"two times", "queue.lifetime", "1h 30m", NULL, 0},
    {"text", "relay.ca_file", " /etc/x y.pem ", "/etc/x y.pem", 0},
    {"UTF-8 text", "relay.ca_file", "/etc/\xc3\xa9", "/etc/\xc3\xa9", 0},
    {"text with a tab", "relay.ca_file", "a\tb", NULL, 0},
    {"text with a newline", "relay.ca_file", "a\nb", NULL, 0},
    {"text that is not UTF-8", "relay.ca_file", "a\xff", NULL, 0},
    {"a host name", "smtp.hostname", "Mail.Example.ORG.", "mail.example.org",
	0},
    {"no host name", "smtp.hostname", "", NULL, 0},
    {"two host names", "smtp.hostname", "a.example b.example", NULL, 0},
    {"an address as host name", "smtp.hostname", "192.0.2.1", NULL, 0},
    {"a mail address", "alert.to", "Ops@Example.ORG", "Ops@example.org", 0},
    {"no mail address", "alert.to", "", "", 0},
    {"a mail address in brackets", "alert.to", "<ops@example.org>", NULL, 0},
    {"a local part alone", "alert.to", "root", NULL, 0},
    {"two mail addresses", "alert.to", "a@b.example c@d.example", NULL, 0},
    {"a wildcard", "smtp.listen", "*:25", "*:25", 0},
    {"a port alone", "smtp.listen", "25", "*:25", 0},
    {"no listener", "smtp.listen", " , ", "", 0},
    {"a list with commas", "smtp.listen", "127.0.0.1:25,[::1]:25 ,\n*:2525",
	"127.0.0.1:25 [::1]:25 *:2525", 0},
    {"IPv6 is compressed", "smtp.listen", "[2001:DB8:0::1]:25",
	"[2001:db8::1]:25", 0},
    {"any port", "smtp.listen", "127.0.0.1:0 127.0.0.1:0",
	"127.0.0.1:0 127.0.0.1:0", 0},
    {"a listener twice", "smtp.listen", "127.0.0.1:25 127.0.0.1:25", NULL, 0},
    {"an address without port", "smtp.listen", "127.0.0.1", NULL, 0},
    {"IPv6 without brackets", "smtp.listen", "::1:25", NULL, 0},
    {"IPv4 in brackets", "smtp.listen", "[127.0.0.1]:25", NULL, 0},
    {"a bracket alone", "smtp.listen", "[", NULL, 0},
    {"no port after the colon", "smtp.listen", "127.0.0.1:", NULL, 0},
    {"a port too large", "smtp.listen", "127.0.0.1:65536", NULL, 0},
    {"a name as listener", "smtp.listen", "localhost:25", NULL, 0},
    {"a colon alone", "smtp.listen", ":", NULL, 0},
    {"name servers", "dns.servers", "192.0.2.1 ::1 [::2]:5353 192.0.2.2:54",
	"192.0.2.1:53 [::1]:53 [::2]:5353 192.0.2.2:54", 0},
    {"brackets without a port", "dns.servers", "[::1]", "[::1]:53", 0},
    {"a name server twice", "dns.servers", "192.0.2.1:53 192.0.2.1", NULL, 0},
    {"every address as server", "dns.servers", "*", NULL, 0},
    {"any port of a server", "dns.servers", "192.0.2.1:0", NULL, 0},
    {"a port as server", "dns.servers", "53", NULL, 0},
    {"networks", "smtp.trusted_networks", "10.0.0.0/8, 192.0.2.1 2001:DB8::/32",
	"10.0.0.0/8 192.0.2.1/32 2001:db8::/32", 0},
    {"no networks", "smtp.trusted_networks", "", "", 0},
    {"host bits", "smtp.trusted_networks", "10.0.0.1/8", NULL, 0},
    {"a prefix too long", "smtp.trusted_networks", "10.0.0.0/33", NULL, 0},
    {"a network twice", "smtp.trusted_networks", "10.0.0.0/8 10.0.0.0/8", NULL,
	0},
    {"durations", "queue.retry", "60s,10m  600s 1h", "1m 10m 10m 1h", 0},
    {"one duration", "queue.retry", "1s", "1s", 0},
    {"no duration", "queue.retry", "", NULL, 0},
    {"a falling duration", "queue.retry", "10m 5m", NULL, 0},
    {"a duration of nothing", "queue.retry", "0", NULL, 0},
    {"a duration too long", "queue.retry", "31d", NULL, 0},
    {"a choice", "relay.tls", "verified", "verified", 0},
    {"a choice in capitals", "relay.tls", "DANE", "dane", 0},
    {"no choice", "relay.tls", "", NULL, 0},
    {"a part of a choice", "relay.tls", "veri", NULL, 0},
    {"two choices", "relay.tls", "none dane", NULL, 0},
};

static unsigned
index_of(const char *name)
{
	unsigned index = 0;

	if (setting_find(slice_of(name), &index) == -1)
		bug("a test names the setting %s", name);
	return index;
}

static void
test_values(void)
{
	struct buf text;

	buf_init(&text, SETTING_TEXT_MAX);
	for (size_t i = 0; i < COUNT(values); i++) {
		unsigned index = index_of(values[i].name);
		uint64_t number = 99;
		struct err err = {.text = ""};
		int rc;

		rc = setting_parse(
		    index, slice_of(values[i].given), &text, &number, &err);
		if (values[i].want == NULL) {
			is_int(rc, -1, "%s: refused", values[i].label);
			ok(strstr(err.text, values[i].name) == err.text,
			    "the setting is named: %s", err.text);
			is_u64(text.n, 0, "nothing is given back");
			continue;
		}
		is_int(rc, 0, "%s: taken %s", values[i].label, err.text);
		is_str(buf_text(&text), values[i].want, "%s: its text",
		    values[i].label);
		is_u64(number, values[i].number, "%s: its number",
		    values[i].label);
		rc = setting_parse(
		    index, slice_of(values[i].want), &text, &number, &err);
		is_int(rc, 0, "the canonical text is taken");
		is_str(buf_text(&text), values[i].want, "and stays as it is");
	}
	buf_clear(&text);
}

static void
test_sentences(void)
{
	static const struct {
		const char *name;
		const char *given;
		const char *want;
	} rows[] = {
	    {"smtp.max_hops", "7",
		"smtp.max_hops wants a number from 30 to 200, not \"7\""},
	    {"smtp.max_message_size", "1K",
		"smtp.max_message_size wants a size such as 64K, 50M or 1G "
		"from 64K to 1G, not \"1K\""},
	    {"smtp.command_timeout", "soon",
		"smtp.command_timeout wants a time such as 30s, 5m, 4h or 2d "
		"from 10s to 1h, not \"soon\""},
	    {"dns.dnssec", "maybe",
		"dns.dnssec wants \"on\" or \"off\", not \"maybe\""},
	    {"relay.tls", "tls",
		"relay.tls wants one of none, opportunistic, encrypted, "
		"verified, dane, not \"tls\""},
	    {"queue.retry", "1h 5m",
		"queue.retry wants times such as \"5m 10m 1h\", none shorter "
		"than the one before, not \"1h 5m\": \"5m\" is shorter than "
		"the one before"},
	    {"smtp.listen", "*:25 \x1b[2J",
		"smtp.listen wants addresses with ports such as *:25 or "
		"192.0.2.1:25 or [2001:db8::1]:25, or nothing, not \"*:25 "
		"\\x1b[2J\": \"\\x1b[2J\" is no such thing"},
	};
	struct buf text;

	buf_init(&text, SETTING_TEXT_MAX);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct err err;
		uint64_t number;

		(void)setting_parse(index_of(rows[i].name),
		    slice_of(rows[i].given), &text, &number, &err);
		is_str(
		    err.text, rows[i].want, "the sentence of %s", rows[i].name);
	}
	buf_clear(&text);
}

static void
test_limits(void)
{
	struct buf list;
	struct buf text;
	struct err err;
	uint64_t number;

	buf_init(&list, 1u << 20);
	buf_init(&text, 1u << 20);
	for (unsigned i = 0; i < 1000; i++)
		(void)buf_addf(&list, "10.%u.%u.1 ", i / 256, i % 256);
	is_int(setting_parse(SET_smtp_trusted_networks, buf_slice(&list), &text,
		   &number, &err),
	    -1, "a list of more than 8192 octets is refused");
	is_str(err.text, "smtp.trusted_networks takes no more than 8192 octets",
	    "and says so");
	buf_reset(&list);
	for (int i = 0; i < 2000; i++)
		(void)buf_add_char(&list, 'x');
	is_int(setting_parse(
		   SET_relay_ca_file, buf_slice(&list), &text, &number, &err),
	    -1, "so is a text of 2000 octets");
	buf_clear(&list);
	buf_clear(&text);
	OK_DIES(setting_row(SETTING_COUNT), "a row that is none is a bug");
	is_int(setting_find(SLICE("smtp.nothing"), &(unsigned){0}), -1,
	    "a name that is none has no row");
	is_int(setting_find(SLICE("smtp.hostnam"), &(unsigned){0}), -1,
	    "nor has a part of one");
}

/* ---- the table itself ---- */

static void
test_rows(void)
{
	struct settings settings;
	struct buf text;
	struct err err;

	settings_init(&settings);
	buf_init(&text, SETTING_TEXT_MAX);
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		const struct setting_row *row = setting_row(i);
		unsigned found = SETTING_COUNT;
		uint64_t number = 0;

		is_int(setting_find(slice_of(row->name), &found), 0,
		    "%s is found", row->name);
		is_int(found, i, "%s: at its place", row->name);
		ok(row->label[0] != '\0' && row->readers != 0,
		    "%s has a label and a reader", row->name);
		is_int(setting_parse(i, slice_of(row->default_text), &text,
			   &number, &err),
		    0, "%s: the default is a value", row->name);
		is_str(buf_text(&text), row->default_text, "%s: and canonical",
		    row->name);
		settings_format(&settings, i, &text);
		is_str(buf_text(&text), row->default_text, "%s: and in force",
		    row->name);
	}
	is_int(settings_check(&settings, &err), 0,
	    "the defaults contradict nothing");
	buf_clear(&text);
	settings_clear(&settings);
}

/* ---- relations ---- */

/* Sets name=value pairs, which end with NULL. */
static void
set_values(struct settings *settings, const char *const *pairs)
{
	struct buf text;

	buf_init(&text, SETTING_TEXT_MAX);
	for (; pairs[0] != NULL; pairs += 2) {
		unsigned index = index_of(pairs[0]);
		struct err err;
		uint64_t number;

		if (setting_parse(
			index, slice_of(pairs[1]), &text, &number, &err) == -1)
			bug("%s", err.text);
		settings_put(settings, index, number, buf_slice(&text));
	}
	buf_clear(&text);
}

#define PAIRS_MAX 9

static void
test_check(void)
{
	static const struct {
		const char *label;
		const char *pairs[PAIRS_MAX];
		const char *want; /* NULL: nothing to say */
	} rows[] = {
	    {"a bounce that outlives its message", {"queue.lifetime", "1h"},
		"queue.bounce_lifetime (1d) is more than queue.lifetime (1h): "
		"lower the first or raise the second"},
	    {"both short",
		{"queue.lifetime", "10s", "queue.bounce_lifetime", "5s"}, NULL},
	    {"more connections of one client than of its network",
		{"smtp.client_connections", "300"},
		"smtp.client_connections (300) is more than "
		"smtp.network_connections (200): lower the first or raise the "
		"second"},
	    {"a header larger than a message", {"smtp.max_message_size", "64K"},
		"smtp.max_header_size (256K) is more than "
		"smtp.max_message_size (64K): lower the first or raise the "
		"second"},
	    {"a wait above the longest", {"queue.retry_max", "30m"},
		"queue.retry has 40m, which is more than queue.retry_max: "
		"lower the first or raise the second"},
	    {"short waits",
		{"queue.retry", "1s 1s 2s", "queue.retry_max", "2s"}, NULL},
	    {"the whole of IPv4", {"smtp.trusted_networks", "0.0.0.0/0"},
		"smtp.trusted_networks has 0.0.0.0/0: that would let much of "
		"the internet relay through this host"},
	    {"the whole of IPv6", {"smtp.trusted_networks", "::/0"},
		"smtp.trusted_networks has ::/0: that would let much of the "
		"internet relay through this host"},
	    {"half of IPv4",
		{"smtp.trusted_networks", "10.0.0.0/8 128.0.0.0/1"},
		"smtp.trusted_networks has 128.0.0.0/1: that would let much "
		"of the internet relay through this host"},
	    {"private networks",
		{"smtp.trusted_networks", "10.0.0.0/8 fc00::/7 127.0.0.0/8"},
		NULL},
	    {"one port in two lists", {"submission.listen", "*:587 *:25"},
		"smtp.listen has *:25 and submission.listen has *:25: both "
		"cannot be opened"},
	    {"a wildcard over an address", {"smtp.listen", "127.0.0.1:25 *:25"},
		"smtp.listen has 127.0.0.1:25 and smtp.listen has *:25: both "
		"cannot be opened"},
	    {"one address in two lists",
		{"smtp.listen", "127.0.0.1:8443", "submissions.listen",
		    "[::1]:8443 127.0.0.1:8443"},
		"smtp.listen has 127.0.0.1:8443 and submissions.listen has "
		"127.0.0.1:8443: both cannot be opened"},
	    {"one port on two addresses",
		{"smtp.listen", "127.0.0.1:25", "submission.listen",
		    "127.0.0.2:25"},
		NULL},
	    {"any port everywhere",
		{"smtp.listen", "127.0.0.1:0 127.0.0.1:0", "submission.listen",
		    "127.0.0.1:0"},
		NULL},
	    {"no listener at all",
		{"smtp.listen", "", "submission.listen", "",
		    "submissions.listen", ""},
		NULL},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct settings settings;
		struct err err = {.text = ""};
		int rc;

		settings_init(&settings);
		set_values(&settings, rows[i].pairs);
		rc = settings_check(&settings, &err);
		is_int(rc, rows[i].want == NULL ? 0 : -1, "%s", rows[i].label);
		is_str(err.text, rows[i].want == NULL ? "" : rows[i].want,
		    "%s: what it says", rows[i].label);
		settings_clear(&settings);
	}
}

/* ---- lists ---- */

static void
test_networks(void)
{
	static const struct {
		const char *networks;
		const char *address;
		bool want;
	} rows[] = {
	    {"10.0.0.0/8 2001:db8::/32", "10.1.2.3", true},
	    {"10.0.0.0/8 2001:db8::/32", "2001:db8::1", true},
	    {"10.0.0.0/8 2001:db8::/32", "11.0.0.1", false},
	    {"10.0.0.0/8", "::ffff:10.0.0.1", true},
	    {"192.0.2.1", "192.0.2.1", true},
	    {"192.0.2.1", "192.0.2.2", false},
	    {"", "127.0.0.1", false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct netaddr address;

		if (netaddr_parse(slice_of(rows[i].address), &address) == -1)
			bug("address %s", rows[i].address);
		is_int(setting_networks_match(rows[i].networks, &address),
		    rows[i].want, "%s in \"%s\"", rows[i].address,
		    rows[i].networks);
	}
}

/* ---- snapshots ---- */

struct message {
	struct ipc_list_writer settings;
	struct ipc_list_writer domains;
	struct ipc_list_writer routes;
	struct ipc_list_writer access;
};

static void
message_init(struct message *message)
{
	ipc_list_writer_init(&message->settings, 1u << 20);
	ipc_list_writer_init(&message->domains, 1u << 20);
	ipc_list_writer_init(&message->routes, 1u << 20);
	ipc_list_writer_init(&message->access, 1u << 20);
}

static void
message_clear(struct message *message)
{
	ipc_list_writer_clear(&message->settings);
	ipc_list_writer_clear(&message->domains);
	ipc_list_writer_clear(&message->routes);
	ipc_list_writer_clear(&message->access);
}

static int
message_read(const struct message *message, struct snapshot **snapshot_r,
    struct err *err)
{
	struct ipc_conf_snapshot snapshot = {.revision = 42,
	    .settings = ipc_list_of(&message->settings),
	    .domains = ipc_list_of(&message->domains),
	    .routes = ipc_list_of(&message->routes),
	    .access = ipc_list_of(&message->access)};

	return snapshot_read(&snapshot, snapshot_r, err);
}

static void
add_domain(struct message *message, const char *name, uint16_t mode)
{
	struct ipc_record_domain record = {.name = slice_of(name),
	    .mode = mode,
	    .to = SLICE("smtp://127.0.0.1:2500"),
	    .has_aliases = true};

	if (ipc_domain_add(&message->domains, &record, NULL) == -1)
		bug("domain %s", name);
}

static void
test_snapshot(void)
{
	struct ipc_record_setting size = {
	    .index = SET_smtp_max_message_size, .number = 1 << 20};
	struct ipc_record_setting name = {
	    .index = SET_smtp_hostname, .text = SLICE("gw.example.test")};
	struct ipc_record_route route = {.pattern = SLICE("*"),
	    .target = SLICE("mx"),
	    .tls = SLICE("dane"),
	    .user = SLICE("u"),
	    .password = SLICE("secret")};
	struct ipc_record_access access = {
	    .is_client = true, .pattern = SLICE("192.0.2.0/24"), .until = 5};
	struct domain key = {.text = "b.example"};
	struct snapshot *snapshot = NULL;
	struct message message;
	struct err err = {.text = ""};

	message_init(&message);
	(void)ipc_setting_add(&message.settings, &size, NULL);
	(void)ipc_setting_add(&message.settings, &name, NULL);
	add_domain(&message, "c.example", DOMAIN_LIST);
	add_domain(&message, "a.example", DOMAIN_ANY);
	add_domain(&message, "b.example", DOMAIN_CALLOUT);
	(void)ipc_route_add(&message.routes, &route, NULL);
	(void)ipc_access_add(&message.access, &access, NULL);
	is_int(
	    message_read(&message, &snapshot, &err), 0, "a snapshot is read");
	if (snapshot == NULL)
		return;
	is_u64(snapshot->revision, 42, "its revision");
	is_u64(snapshot->settings.smtp_max_message_size, 1 << 20, "a number");
	is_str(snapshot->settings.smtp_hostname, "gw.example.test", "a text");
	is_u64(snapshot->settings.smtp_max_hops, 100, "the rest is default");
	is_u64(snapshot->domain_count, 3, "domains");
	is_str(snapshot->domains[0].name.text, "a.example", "sorted");
	ok(snapshot_domain(snapshot, &key) == &snapshot->domains[1],
	    "one is found");
	is_int(snapshot->domains[1].mode, DOMAIN_CALLOUT, "with its mode");
	is_str(snapshot->domains[1].to, "smtp://127.0.0.1:2500", "and target");
	(void)slice_copy(SLICE("bb.example"), key.text, sizeof(key.text));
	ok(snapshot_domain(snapshot, &key) == NULL, "one that is none is not");
	is_str(snapshot->routes[0].password, "secret", "a route's password");
	is_str(snapshot->access[0].pattern, "192.0.2.0/24", "an entry");
	snapshot_free(snapshot);
	message_clear(&message);
	snapshot_free(NULL);
}

static void
test_empty_snapshot(void)
{
	struct domain key = {.text = "b.example"};
	struct snapshot *snapshot = NULL;
	struct message message;
	struct err err;

	message_init(&message);
	is_int(message_read(&message, &snapshot, &err), 0, "an empty snapshot");
	ok(snapshot != NULL && snapshot_domain(snapshot, &key) == NULL,
	    "has no domains");
	snapshot_free(snapshot);
	message_clear(&message);
}

static void
test_bad_snapshots(void)
{
	static const struct {
		const char *label;
		struct ipc_record_setting setting;
		const char *domains[2];
		uint16_t mode;
	} rows[] = {
	    {"a setting that is none", {.index = SETTING_COUNT}, {NULL}, 0},
	    {"a number above its row's",
		{.index = SET_smtp_max_hops, .number = 201}, {NULL}, 0},
	    {"a number below its row's",
		{.index = SET_smtp_max_hops, .number = 0}, {NULL}, 0},
	    {"a truth of 2", {.index = SET_dns_dnssec, .number = 2}, {NULL}, 0},
	    {"a word that is no choice",
		{.index = SET_relay_tls, .text = {"x", 1}}, {NULL}, 0},
	    {"a domain in capitals", {.index = SET_smtp_hostname},
		{"A.example"}, 0},
	    {"a domain of nothing", {.index = SET_smtp_hostname}, {""}, 0},
	    {"a domain with a space", {.index = SET_smtp_hostname}, {"a b"}, 0},
	    {"a domain twice", {.index = SET_smtp_hostname},
		{"a.example", "a.example"}, 0},
	    {"a mode that is none", {.index = SET_smtp_hostname}, {"a.example"},
		DOMAIN_MODE_COUNT},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct snapshot *snapshot = NULL;
		struct message message;
		struct err err;

		message_init(&message);
		(void)ipc_setting_add(
		    &message.settings, &rows[i].setting, NULL);
		for (size_t k = 0; k < 2 && rows[i].domains[k] != NULL; k++)
			add_domain(&message, rows[i].domains[k], rows[i].mode);
		is_int(message_read(&message, &snapshot, &err), -1,
		    "%s is refused", rows[i].label);
		ok(snapshot == NULL, "and nothing is given");
		message_clear(&message);
	}
}

int
main(void)
{
	test_values();
	test_sentences();
	test_limits();
	test_rows();
	test_check();
	test_networks();
	test_snapshot();
	test_empty_snapshot();
	test_bad_snapshots();
	return tap_done();
}
