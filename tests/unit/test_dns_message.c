/* SPDX-License-Identifier: ISC */
/*
 * DNS packets, right and wrong, octet by octet.
 */
#include <string.h>

#include "smtpd/dns_message.h"
#include "tests/unit/tap.h"

#define PACKET_MAX 65535

/* example.test as it stands in a packet, and a pointer to the question. */
#define EXAMPLE "\7example\4test\0"
#define QUESTION "\xc0\x0c"

static struct buf packet;
static struct dns_message message;
static struct err err;

#define ADD(literal) (void)buf_add(&packet, (literal), sizeof(literal) - 1)

static void
add_u16(unsigned value)
{
	char octets[2] = {(char)(value >> 8), (char)value};

	(void)buf_add(&packet, octets, 2);
}

/* Header and question; flags: 0x8180 and the code. */
static void
begin(unsigned flags, unsigned answers, unsigned type)
{
	buf_reset(&packet);
	add_u16(0x1234);
	add_u16(flags);
	add_u16(1);
	add_u16(answers);
	add_u16(0);
	add_u16(0);
	ADD(EXAMPLE);
	add_u16(type);
	add_u16(1);
}

static void
add_head(unsigned type, unsigned size)
{
	add_u16(type);
	add_u16(1);
	add_u16(0);
	add_u16(300);
	add_u16(size);
}

#define RECORD(owner, type, data) \
	do { \
		ADD(owner); \
		add_head(type, sizeof(data) - 1); \
		ADD(data); \
	} while (0)

static int
read_as(unsigned type)
{
	return dns_message_read(buf_slice(&packet), "example.test",
	    (uint16_t)type, &message, &err);
}

static void
test_types(void)
{
	begin(0x8180, 2, DNS_TYPE_MX);
	RECORD(QUESTION, DNS_TYPE_MX, "\0\12\2MX" QUESTION);
	RECORD(QUESTION, DNS_TYPE_MX, "\1\0\0");
	ok(read_as(DNS_TYPE_MX) == 0 && message.status == DNS_OK, "MX");
	is_u64(message.count, 2, "two records");
	is_str(message.records[0].name, "mx.example.test",
	    "a compressed name, in lower case");
	is_u64(message.records[0].preference, 10, "its preference");
	is_u64(message.records[0].ttl_s, 300, "its time to live");
	is_str(message.records[1].name, ".", "the root is a dot");
	is_u64(message.records[1].preference, 256, "both octets of it");
	is_str(message.canonical_name, "example.test", "the canonical name");

	begin(0x8180, 1, DNS_TYPE_A);
	RECORD(EXAMPLE, DNS_TYPE_A, "\177\0\0\1");
	ok(read_as(DNS_TYPE_A) == 0, "A, the owner written out");
	is_mem(message.records[0].data.p, message.records[0].data.n,
	    "\177\0\0\1", 4, "its octets");
	is_str(message.records[0].name, "", "and no name");

	begin(0x8180, 1, DNS_TYPE_TXT);
	RECORD(QUESTION, DNS_TYPE_TXT, "\3one\0\2\0\377");
	ok(read_as(DNS_TYPE_TXT) == 0,
	    "TXT with an empty string and any octet");
	is_u64(message.records[0].data.n, 8, "with its lengths");

	begin(0x8180, 1, DNS_TYPE_TLSA);
	RECORD(QUESTION, DNS_TYPE_TLSA, "\3\1\1abcd");
	ok(read_as(DNS_TYPE_TLSA) == 0 && message.records[0].data.n == 7,
	    "TLSA");
	begin(0x8180, 1, DNS_TYPE_SOA);
	RECORD(QUESTION, DNS_TYPE_SOA,
	    "\2ns" QUESTION "\4root" QUESTION "12345678901234567890");
	ok(read_as(DNS_TYPE_SOA) == 0, "SOA");
	is_str(message.records[0].name, "ns.example.test", "its server");
	begin(0x8180, 1, DNS_TYPE_PTR);
	RECORD(QUESTION, DNS_TYPE_PTR, "\3a_b" QUESTION);
	ok(read_as(DNS_TYPE_PTR) == 0, "PTR");
	is_str(message.records[0].name, "a_b.example.test",
	    "with an underscore");
	ok(dns_type_is_known(DNS_TYPE_NS) && !dns_type_is_known(255),
	    "ANY is not asked");
}

static void
test_negative(void)
{
	begin(0x8183, 0, DNS_TYPE_A);
	ok(read_as(DNS_TYPE_A) == 0 && message.status == DNS_NXDOMAIN,
	    "NXDOMAIN is in the header");
	begin(0x8180, 0, DNS_TYPE_A);
	ok(read_as(DNS_TYPE_A) == 0 && message.status == DNS_NODATA, "NODATA");
	begin(0x8182, 0, DNS_TYPE_A);
	ok(read_as(DNS_TYPE_A) == 0 && message.status == DNS_TEMPORARY,
	    "SERVFAIL is for now");
	ok(strstr(message.reason, "SERVFAIL") != NULL, "and says so");
	begin(0x8185, 0, DNS_TYPE_A);
	ok(read_as(DNS_TYPE_A) == 0 && message.status == DNS_TEMPORARY,
	    "REFUSED is for now");
	begin(0x818f, 0, DNS_TYPE_A);
	ok(read_as(DNS_TYPE_A) == 0 && message.status == DNS_TEMPORARY,
	    "an unknown code is for now");
	begin(0x8183, 1, DNS_TYPE_A);
	RECORD(QUESTION, DNS_TYPE_CNAME, "\4gone" QUESTION);
	ok(read_as(DNS_TYPE_A) == 0 && message.status == DNS_NXDOMAIN,
	    "a CNAME to a name that does not exist");
	is_str(message.canonical_name, "gone.example.test", "names it");
}

static void
test_cnames(void)
{
	char owner[] = "\1" "b" QUESTION;

	begin(0x8180, 3, DNS_TYPE_A);
	RECORD("\1" "b" QUESTION, DNS_TYPE_A, "\1\2\3\4");
	RECORD("\1" "a" QUESTION, DNS_TYPE_CNAME, "\1" "b" QUESTION);
	RECORD(QUESTION, DNS_TYPE_CNAME, "\1" "a" QUESTION);
	ok(read_as(DNS_TYPE_A) == 0 && message.count == 1,
	    "a chain of two in the wrong order");
	is_str(message.canonical_name, "b.example.test", "its end");

	begin(0x8180, 2, DNS_TYPE_A);
	RECORD(QUESTION, DNS_TYPE_A, "\1\2\3\4");
	RECORD("\5other" QUESTION, DNS_TYPE_A, "\5\6\7\10");
	ok(read_as(DNS_TYPE_A) == 0 && message.count == 1,
	    "a record of another name does not count");
	begin(0x8180, 1, DNS_TYPE_CNAME);
	RECORD(QUESTION, DNS_TYPE_CNAME, "\1" "a" QUESTION);
	ok(read_as(DNS_TYPE_CNAME) == 0 && message.count == 1,
	    "a CNAME that was asked for is not followed");
	begin(0x8180, 1, DNS_TYPE_A);
	RECORD(QUESTION, DNS_TYPE_CNAME, QUESTION);
	ok(read_as(DNS_TYPE_A) == -1, "a CNAME to itself");

	begin(0x8180, 10, DNS_TYPE_A);
	RECORD(QUESTION, DNS_TYPE_CNAME, "\1" "b" QUESTION);
	for (int i = 0; i < 7; i++) {
		owner[1] = (char)('b' + i);
		(void)buf_add(&packet, owner, sizeof(owner) - 1);
		add_head(DNS_TYPE_CNAME, 4);
		owner[1]++;
		(void)buf_add(&packet, owner, sizeof(owner) - 1);
	}
	RECORD("\1" "i" QUESTION, DNS_TYPE_A, "\1\2\3\4");
	RECORD("\1" "z" QUESTION, DNS_TYPE_A, "\1\2\3\4");
	ok(read_as(DNS_TYPE_A) == 0 && message.count == 1, "a chain of eight");
	packet.n -= 18 + 18;
	RECORD("\1" "i" QUESTION, DNS_TYPE_CNAME, "\1" "j" QUESTION);
	RECORD("\1" "j" QUESTION, DNS_TYPE_A, "\1\2\3\4");
	ok(read_as(DNS_TYPE_A) == -1, "a chain of nine");

	begin(0x8180, 2, DNS_TYPE_PTR);
	RECORD(QUESTION, DNS_TYPE_CNAME, "\1" "1" "\4" "0/25" QUESTION);
	RECORD("\1" "1" "\4" "0/25" QUESTION, DNS_TYPE_PTR, QUESTION);
	ok(read_as(DNS_TYPE_PTR) == 0 && message.count == 1,
	    "a chain through a name with a slash (RFC 2317)");
	is_str(message.canonical_name, "", "which is not given as text");
}

/* T087: whatever stands in the reverse zone. */
static void
test_odd_names(void)
{
	static const struct {
		const char *what;
		const char *target;
		size_t size;
	} rows[] = {
#define ROW(what, target) {what, target, sizeof(target) - 1}
	    ROW("an escape sequence", "\4\33[2J\4test\0"),
	    ROW("a NUL", "\3a\0b\4test\0"),
	    ROW("a tag", "\10<script>\4test\0"),
	    ROW("a space", "\3a b\4test\0"),
	    ROW("a dot within a label", "\3a.b\4test\0"),
	    ROW("a backslash", "\5a\\032\4test\0"),
	    ROW("octets above 127", "\2\303\244\4test\0"),
#undef ROW
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(0x8180, 1, DNS_TYPE_PTR);
		ADD(QUESTION);
		add_head(DNS_TYPE_PTR, (unsigned)rows[i].size);
		(void)buf_add(&packet, rows[i].target, rows[i].size);
		ok(read_as(DNS_TYPE_PTR) == 0 && message.count == 1,
		    "a PTR with %s is read", rows[i].what);
		is_str(message.records[0].name, "", "and not given as a name");
	}
}

static void
add_long_name(unsigned last)
{
	char label[64];

	memset(label, 'x', sizeof(label));
	label[0] = 63;
	for (int i = 0; i < 3; i++)
		(void)buf_add(&packet, label, 64);
	label[0] = (char)last;
	(void)buf_add(&packet, label, last + 1);
	ADD("\0");
}

static void
test_limits(void)
{
	begin(0x8180, 1, DNS_TYPE_PTR);
	ADD(QUESTION);
	add_head(DNS_TYPE_PTR, 255);
	add_long_name(61);
	ok(read_as(DNS_TYPE_PTR) == 0, "a name of 255 octets");
	is_u64(strlen(message.records[0].name), 253, "is 253 characters");
	begin(0x8180, 1, DNS_TYPE_PTR);
	ADD(QUESTION);
	add_head(DNS_TYPE_PTR, 256);
	add_long_name(62);
	ok(read_as(DNS_TYPE_PTR) == -1, "a name of 256 octets");

	begin(0x8180, 1000, DNS_TYPE_MX);
	for (unsigned i = 0; i < 1000; i++) {
		ADD(QUESTION);
		add_head(DNS_TYPE_MX, 4);
		add_u16(1000 - i);
		ADD(QUESTION);
	}
	ok(read_as(DNS_TYPE_MX) == 0, "a thousand MX");
	is_u64(message.count, DNS_RECORDS_MAX, "are cut");
	for (size_t i = 0; i < message.count; i++)
		if (message.records[i].preference > DNS_RECORDS_MAX)
			fail("one of the worst was kept");
	begin(0x8180, 1000, DNS_TYPE_A);
	for (unsigned i = 0; i < 1000; i++)
		RECORD(QUESTION, DNS_TYPE_A, "\1\2\3\4");
	ok(read_as(DNS_TYPE_A) == 0 && message.count == DNS_RECORDS_MAX,
	    "a thousand addresses are cut");
	begin(0x8180, 1, DNS_TYPE_A);
	ADD(QUESTION);
	add_u16(DNS_TYPE_A);
	add_u16(1);
	ADD("\377\377\377\377\0\4" "abcd");
	ok(read_as(DNS_TYPE_A) == 0 && message.records[0].ttl_s == 0,
	    "a time to live with the top bit means none (RFC 2181)");
}

static void
test_malformed(void)
{
	static const struct {
		const char *what;
		unsigned type;
		const char *record;
		size_t size;
	} rows[] = {
#define ROW(what, type, record) {what, type, record, sizeof(record) - 1}
	    ROW("a pointer to itself", DNS_TYPE_A,
	        "\xc0\x1e\0\1\0\1\0\0\0\1\0\4abcd"),
	    ROW("a pointer forward", DNS_TYPE_A,
	        "\xc0\x2e\0\1\0\1\0\0\0\1\0\4abcd"),
	    ROW("a pointer past the end", DNS_TYPE_A,
	        "\xff\xff\0\1\0\1\0\0\0\1\0\4abcd"),
	    ROW("half a pointer", DNS_TYPE_A, "\xc0"),
	    ROW("a label of an unknown kind", DNS_TYPE_A,
	        "\x41" "a\0\0\1\0\1\0\0\0\1\0\4abcd"),
	    ROW("a label past the end", DNS_TYPE_A, "\77abc"),
	    ROW("no data length", DNS_TYPE_A, "\xc0\x0c\0\1\0\1\0\0\0\1\0"),
	    ROW("data past the end", DNS_TYPE_A,
	        "\xc0\x0c\0\1\0\1\0\0\0\1\0\5abcd"),
	    ROW("A of five octets", DNS_TYPE_A,
	        "\xc0\x0c\0\1\0\1\0\0\0\1\0\5abcde"),
	    ROW("A of none", DNS_TYPE_A, "\xc0\x0c\0\1\0\1\0\0\0\1\0\0"),
	    ROW("AAAA of four", DNS_TYPE_AAAA,
	        "\xc0\x0c\0\34\0\1\0\0\0\1\0\4abcd"),
	    ROW("MX without a name", DNS_TYPE_MX,
	        "\xc0\x0c\0\17\0\1\0\0\0\1\0\2\0\1"),
	    ROW("MX whose name goes on past its data", DNS_TYPE_MX,
	        "\xc0\x0c\0\17\0\1\0\0\0\1\0\4\0\1\1a\0"),
	    ROW("MX with something after the name", DNS_TYPE_MX,
	        "\xc0\x0c\0\17\0\1\0\0\0\1\0\5\0\1\xc0\x0cx"),
	    ROW("TXT without a string", DNS_TYPE_TXT,
	        "\xc0\x0c\0\20\0\1\0\0\0\1\0\0"),
	    ROW("TXT whose string is cut", DNS_TYPE_TXT,
	        "\xc0\x0c\0\20\0\1\0\0\0\1\0\3\3ab"),
	    ROW("TLSA without data", DNS_TYPE_TLSA,
	        "\xc0\x0c\0\64\0\1\0\0\0\1\0\3\3\1\1"),
	    ROW("SOA without its numbers", DNS_TYPE_SOA,
	        "\xc0\x0c\0\6\0\1\0\0\0\1\0\4\xc0\x0c\xc0\x0c"),
	    ROW("CNAME with something after its name", DNS_TYPE_A,
	        "\xc0\x0c\0\5\0\1\0\0\0\1\0\3\xc0\x0cx"),
	    ROW("no record where one was counted", DNS_TYPE_A, ""),
#undef ROW
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(0x8180, 1, rows[i].type);
		(void)buf_add(&packet, rows[i].record, rows[i].size);
		ok(read_as(rows[i].type) == -1, "%s", rows[i].what);
	}
}

static void
test_heads(void)
{
	begin(0x0180, 0, DNS_TYPE_A);
	ok(read_as(DNS_TYPE_A) == -1, "a question is no answer");
	begin(0x8380, 0, DNS_TYPE_A);
	ok(read_as(DNS_TYPE_A) == -1, "a truncated answer");
	begin(0x8180, 0, DNS_TYPE_AAAA);
	ok(read_as(DNS_TYPE_A) == -1, "an answer to another type");
	ok(dns_message_read(buf_slice(&packet), "example.tes", DNS_TYPE_AAAA,
	       &message, &err) == -1,
	    "an answer to another name");
	ok(dns_message_read(buf_slice(&packet), "Example.TEST", DNS_TYPE_AAAA,
	       &message, &err) == 0,
	    "the case of a name does not matter");
	ok(dns_message_read(buf_slice(&packet), "a..test", DNS_TYPE_AAAA,
	       &message, &err) == -1,
	    "no name with an empty label is asked");
	ok(read_as(255) == -1, "no type that cannot be read");
	packet.p[5] = 0;
	ok(read_as(DNS_TYPE_AAAA) == -1, "no question");
	packet.p[5] = 2;
	ok(read_as(DNS_TYPE_AAAA) == -1, "two questions");
	packet.p[5] = 1;
	for (; packet.n > 0; packet.n--) {
		struct slice cut = {packet.p, packet.n - 1};

		if (dns_message_read(cut, "example.test", DNS_TYPE_AAAA,
		        &message, &err) == 0)
			fail("cut after %zu octets", cut.n);
	}
	ok(read_as(DNS_TYPE_AAAA) == -1, "nothing at all");
}

int
main(void)
{
	buf_init(&packet, PACKET_MAX);
	test_types();
	test_negative();
	test_cnames();
	test_odd_names();
	test_limits();
	test_malformed();
	test_heads();
	buf_clear(&packet);
	return tap_done();
}
