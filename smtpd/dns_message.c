/* SPDX-License-Identifier: ISC */
/*
 * Reads the answer section of a DNS packet (RFC 1035 §4).
 * Runs in: postern-checkd.  Trusts: nothing in the packet.  It comes from
 * libunbound, which has written it anew, but its content is a stranger's.
 */
#include <stdio.h>
#include <string.h>

#include "smtpd/dns_message.h"

#define HEADER_SIZE 12
#define WIRE_NAME_MAX 255
#define LABEL_MAX 63
/* A name has at most 127 labels; more jumps than that are a trick. */
#define JUMPS_MAX 128

#define CLASS_IN 1
#define FLAG_ANSWER 0x8000u
#define FLAG_TRUNCATED 0x0200u
#define RCODE_MASK 0x000fu
#define RCODE_NXDOMAIN 3

/* SOA after its two names. */
#define SOA_NUMBERS_SIZE 20
/* TLSA before its association data (RFC 6698 §2.1). */
#define TLSA_HEAD_SIZE 3

/* Uncompressed, in lower case, with the root's empty label at its end. */
struct wire_name {
	uint8_t octets[WIRE_NAME_MAX];
	size_t n;
};

struct resource {
	struct wire_name owner;
	uint16_t type;
	uint16_t class;
	uint32_t ttl_s;
	size_t data_at;
	size_t data_end;
};

/* ---- pieces; each -1 at the packet's end ---- */

static uint8_t
octet(struct slice packet, size_t at)
{
	return (uint8_t)packet.p[at];
}

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static int
read_u16(struct slice packet, size_t *at, uint16_t *value_r)
{
	if (packet.n < 2 || *at > packet.n - 2)
		return -1;
	*value_r = (uint16_t)(octet(packet, *at) << 8 |
	    octet(packet, *at + 1));
	*at += 2;
	return 0;
}

static int
read_u32(struct slice packet, size_t *at, uint32_t *value_r)
{
	uint16_t high;
	uint16_t low;

	if (read_u16(packet, at, &high) == -1 ||
	    read_u16(packet, at, &low) == -1)
		return -1;
	*value_r = (uint32_t)high << 16 | low;
	return 0;
}

static int
add_label(struct wire_name *name, struct slice packet, size_t at)
{
	size_t length = octet(packet, at);

	if (length > LABEL_MAX || length >= packet.n - at ||
	    name->n + 1 + length > WIRE_NAME_MAX)
		return -1;
	name->octets[name->n++] = (uint8_t)length;
	for (size_t i = 1; i <= length; i++)
		name->octets[name->n++] = lower(octet(packet, at + i));
	return 0;
}

/*
 * A pointer must lead before the run of labels that it ends (RFC 1035 §4.1.4:
 * "a prior occurrence"), so no chain of them is a loop.
 */
static int
read_name(struct slice packet, size_t *at, struct wire_name *name_r)
{
	size_t run = *at;
	size_t from = *at;
	size_t end = 0; /* of the name where it stands; 0: no jump yet */
	unsigned jumps = 0;

	name_r->n = 0;
	for (;;) {
		size_t length;

		if (from >= packet.n)
			return -1;
		length = octet(packet, from);
		if ((length & 0xc0) == 0xc0) {
			uint16_t target;
			size_t next = from;

			if (read_u16(packet, &next, &target) == -1)
				return -1;
			if (end == 0)
				end = next;
			from = target & 0x3fff;
			if (from >= run || ++jumps > JUMPS_MAX)
				return -1;
			run = from;
			continue;
		}
		if (add_label(name_r, packet, from) == -1)
			return -1;
		from += 1 + length;
		if (length == 0)
			break;
	}
	*at = end != 0 ? end : from;
	return 0;
}

static int
read_resource(struct slice packet, size_t *at, struct resource *resource_r)
{
	uint16_t length;

	if (read_name(packet, at, &resource_r->owner) == -1 ||
	    read_u16(packet, at, &resource_r->type) == -1 ||
	    read_u16(packet, at, &resource_r->class) == -1 ||
	    read_u32(packet, at, &resource_r->ttl_s) == -1 ||
	    read_u16(packet, at, &length) == -1 || length > packet.n - *at)
		return -1;
	/* RFC 2181 §8: more than 31 bits mean nothing. */
	if (resource_r->ttl_s > INT32_MAX)
		resource_r->ttl_s = 0;
	resource_r->data_at = *at;
	*at += length;
	resource_r->data_end = *at;
	return 0;
}

/* ---- names ---- */

static bool
wire_name_equals(const struct wire_name *a, const struct wire_name *b)
{
	return a->n == b->n && memcmp(a->octets, b->octets, a->n) == 0;
}

/* The name that was asked for, in the form of those in packets. */
static int
wire_name_of(const char *text, struct wire_name *name_r)
{
	struct slice rest = slice_of(text);

	name_r->n = 0;
	while (rest.n > 0) {
		size_t length = slice_find(rest, '.', 0);

		if (length == 0 || length > LABEL_MAX ||
		    name_r->n + 1 + length + 1 > WIRE_NAME_MAX)
			return -1;
		name_r->octets[name_r->n++] = (uint8_t)length;
		for (size_t i = 0; i < length; i++)
			name_r->octets[name_r->n++] = lower((uint8_t)rest.p[i]);
		length += length < rest.n;
		rest.p += length;
		rest.n -= length;
	}
	name_r->octets[name_r->n++] = 0;
	return 0;
}

static bool
is_plain(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
	    c == '_';
}

/* See struct dns_record.name; a dot within a label is odd, too. */
static void
write_text(const struct wire_name *name, char out[DNS_NAME_SIZE])
{
	const uint8_t *label = name->octets;
	size_t used = 0;

	for (; label[0] != 0; label += 1 + label[0]) {
		if (used > 0)
			out[used++] = '.';
		for (size_t i = 1; i <= label[0]; i++) {
			uint8_t c = label[i];

			if (!is_plain(c)) {
				out[0] = '\0';
				return;
			}
			out[used++] = (char)c;
		}
	}
	if (used == 0)
		out[used++] = '.';
	out[used] = '\0';
}

/* ---- the data of each type ---- */

static int
read_target(struct slice packet, size_t *at, char out[DNS_NAME_SIZE])
{
	struct wire_name name;

	if (read_name(packet, at, &name) == -1)
		return -1;
	write_text(&name, out);
	return 0;
}

static int
read_mx(struct slice packet, const struct resource *resource,
    struct dns_record *record, char *name)
{
	size_t at = resource->data_at;

	return read_u16(packet, &at, &record->preference) == 0 &&
	        read_target(packet, &at, name) == 0 &&
	        at == resource->data_end
	    ? 0
	    : -1;
}

static int
read_one_name(struct slice packet, const struct resource *resource,
    struct dns_record *record, char *name)
{
	size_t at = resource->data_at;

	(void)record;
	return read_target(packet, &at, name) == 0 && at == resource->data_end
	    ? 0
	    : -1;
}

static int
read_soa(struct slice packet, const struct resource *resource,
    struct dns_record *record, char *name)
{
	struct wire_name mailbox;
	size_t at = resource->data_at;

	(void)record;
	return read_target(packet, &at, name) == 0 &&
	        read_name(packet, &at, &mailbox) == 0 &&
	        at + SOA_NUMBERS_SIZE == resource->data_end
	    ? 0
	    : -1;
}

static int
read_octets(struct slice packet, const struct resource *resource,
    struct dns_record *record, char *name)
{
	(void)name;
	record->data.p = packet.p + resource->data_at;
	record->data.n = resource->data_end - resource->data_at;
	return 0;
}

static int
read_a(struct slice packet, const struct resource *resource,
    struct dns_record *record, char *name)
{
	(void)read_octets(packet, resource, record, name);
	return record->data.n == 4 ? 0 : -1;
}

static int
read_aaaa(struct slice packet, const struct resource *resource,
    struct dns_record *record, char *name)
{
	(void)read_octets(packet, resource, record, name);
	return record->data.n == 16 ? 0 : -1;
}

static int
read_tlsa(struct slice packet, const struct resource *resource,
    struct dns_record *record, char *name)
{
	(void)read_octets(packet, resource, record, name);
	return record->data.n > TLSA_HEAD_SIZE ? 0 : -1;
}

/* One string at least (RFC 1035 §3.3.14), and all of them whole. */
static int
read_txt(struct slice packet, const struct resource *resource,
    struct dns_record *record, char *name)
{
	size_t at = 0;

	(void)read_octets(packet, resource, record, name);
	while (at < record->data.n)
		at += 1u + octet(record->data, at);
	return at > 0 && at == record->data.n ? 0 : -1;
}

typedef int read_data_fn(struct slice packet, const struct resource *resource,
    struct dns_record *record, char *name);

static const struct {
	uint16_t type;
	read_data_fn *read;
} types[] = {
    {DNS_TYPE_A, read_a},
    {DNS_TYPE_NS, read_one_name},
    {DNS_TYPE_CNAME, read_one_name},
    {DNS_TYPE_SOA, read_soa},
    {DNS_TYPE_PTR, read_one_name},
    {DNS_TYPE_MX, read_mx},
    {DNS_TYPE_TXT, read_txt},
    {DNS_TYPE_AAAA, read_aaaa},
    {DNS_TYPE_TLSA, read_tlsa},
};

static read_data_fn *
reader_of(uint16_t type)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].type == type)
			return types[i].read;
	return NULL;
}

bool
dns_type_is_known(uint16_t type)
{
	return reader_of(type) != NULL;
}

/* ---- the answer section ---- */

/* Where the next record goes; NULL when it is to be left out. */
static struct dns_record *
place_for(struct dns_message *message, uint16_t type, uint16_t preference)
{
	struct dns_record *worst = &message->records[0];

	if (message->count < DNS_RECORDS_MAX)
		return &message->records[message->count++];
	if (type != DNS_TYPE_MX)
		return NULL;
	for (size_t i = 1; i < message->count; i++)
		if (message->records[i].preference > worst->preference)
			worst = &message->records[i];
	return preference < worst->preference ? worst : NULL;
}

static int
take_record(struct slice packet, const struct resource *resource,
    struct dns_message *message)
{
	struct dns_record record = {.ttl_s = resource->ttl_s};
	struct dns_record *place;
	char name[DNS_NAME_SIZE] = "";
	char *kept;

	if (reader_of(resource->type)(packet, resource, &record, name) == -1)
		return -1;
	place = place_for(message, resource->type, record.preference);
	if (place == NULL)
		return 0;
	kept = message->names[place - message->records];
	memcpy(kept, name, sizeof(name));
	record.name = kept;
	*place = record;
	return 0;
}

/* Where the name leads by a CNAME; 1: one was found, -1: malformed. */
static int
follow_cname(
    struct slice packet, size_t at, uint16_t count, struct wire_name *name)
{
	struct resource resource;

	for (uint16_t i = 0; i < count; i++) {
		size_t data_at;

		if (read_resource(packet, &at, &resource) == -1)
			return -1;
		if (resource.type != DNS_TYPE_CNAME ||
		    resource.class != CLASS_IN ||
		    !wire_name_equals(&resource.owner, name))
			continue;
		data_at = resource.data_at;
		if (read_name(packet, &data_at, name) == -1 ||
		    data_at != resource.data_end)
			return -1;
		return 1;
	}
	return 0;
}

static int
read_answers(struct slice packet, size_t at, uint16_t count, uint16_t type,
    struct wire_name *name, struct dns_message *message, struct err *err)
{
	struct resource resource;
	unsigned cnames = 0;
	int found = type != DNS_TYPE_CNAME;

	while (found == 1) {
		found = follow_cname(packet, at, count, name);
		if (found == 1 && ++cnames > DNS_CNAMES_MAX)
			return err_set(err, "a chain of more than %d CNAMEs",
			    DNS_CNAMES_MAX);
	}
	if (found == -1)
		return err_set(err, "a malformed record");
	for (uint16_t i = 0; i < count; i++) {
		if (read_resource(packet, &at, &resource) == -1)
			return err_set(err, "a malformed record");
		if (resource.type != type || resource.class != CLASS_IN ||
		    !wire_name_equals(&resource.owner, name))
			continue;
		if (take_record(packet, &resource, message) == -1)
			return err_set(
			    err, "a malformed record of type %u", type);
	}
	return 0;
}

/* ---- the whole ---- */

void
dns_message_set(
    struct dns_message *message, enum dns_status status, const char *reason)
{
	message->status = status;
	message->is_secure = false;
	message->canonical_name[0] = '\0';
	message->count = 0;
	(void)snprintf(message->reason, sizeof(message->reason), "%s", reason);
}

/* RFC 1035 §4.1.1, RFC 2136 §2.2. */
static const char *
rcode_text(unsigned rcode)
{
	static const char *const texts[] = {
	    [1] = "the name server could not read the question (FORMERR)",
	    [2] = "the name server failed (SERVFAIL)",
	    [4] = "the name server does not do this (NOTIMP)",
	    [5] = "the name server refused (REFUSED)",
	};

	return rcode < sizeof(texts) / sizeof(texts[0]) && texts[rcode] != NULL
	    ? texts[rcode]
	    : "the name server answered with an unusual code";
}

static bool
is_our_question(struct slice packet, size_t *at, const struct wire_name *name,
    uint16_t type)
{
	struct wire_name asked;
	uint16_t asked_type;
	uint16_t asked_class;

	return read_name(packet, at, &asked) == 0 &&
	    read_u16(packet, at, &asked_type) == 0 &&
	    read_u16(packet, at, &asked_class) == 0 &&
	    wire_name_equals(&asked, name) && asked_type == type &&
	    asked_class == CLASS_IN;
}

int
dns_message_read(struct slice packet, const char *name, uint16_t type,
    struct dns_message *message_r, struct err *err)
{
	struct wire_name current;
	uint16_t head[HEADER_SIZE / 2] = {0}; /* id, flags, four counts */
	size_t at = 0;
	unsigned rcode;

	if (!dns_type_is_known(type) || wire_name_of(name, &current) == -1)
		return err_set(err, "not a question that can be asked");
	for (size_t i = 0; i < HEADER_SIZE / 2; i++)
		if (read_u16(packet, &at, &head[i]) == -1)
			return err_set(err, "an answer without a header");
	if ((head[1] & FLAG_ANSWER) == 0 || (head[1] & FLAG_TRUNCATED) != 0)
		return err_set(err, "not a whole answer");
	if (head[2] != 1 || !is_our_question(packet, &at, &current, type))
		return err_set(err, "an answer to another question");

	rcode = head[1] & RCODE_MASK;
	if (rcode != 0 && rcode != RCODE_NXDOMAIN) {
		dns_message_set(message_r, DNS_TEMPORARY, rcode_text(rcode));
		return 0;
	}
	dns_message_set(message_r, DNS_NODATA, "");
	if (read_answers(packet, at, head[3], type, &current, message_r, err) ==
	    -1)
		return -1;
	write_text(&current, message_r->canonical_name);
	if (rcode == RCODE_NXDOMAIN) {
		message_r->status = DNS_NXDOMAIN;
		message_r->count = 0;
	} else if (message_r->count > 0) {
		message_r->status = DNS_OK;
	}
	return 0;
}
