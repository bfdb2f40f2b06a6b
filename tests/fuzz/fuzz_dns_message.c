/* SPDX-License-Identifier: ISC */
/*
 * An answer packet.  The input is: an octet that chooses the type, flags and
 * the number of answers (two octets each), then all that follows the question
 * for example.test.
 */
#include <string.h>

#include "smtpd/dns_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHOICE_SIZE 5
#define PACKET_MAX 65535

static const uint16_t types[] = {DNS_TYPE_A, DNS_TYPE_NS, DNS_TYPE_CNAME,
    DNS_TYPE_SOA, DNS_TYPE_PTR, DNS_TYPE_MX, DNS_TYPE_TXT, DNS_TYPE_AAAA,
    DNS_TYPE_TLSA};

static void
check_name(const char *name)
{
	size_t length = strlen(name);

	if (length > 253)
		bug("a name of %zu characters", length);
	for (size_t i = 0; i < length; i++)
		if (strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.",
		        name[i]) == NULL)
			bug("octet %d in a name", name[i]);
}

static void
check_message(struct slice packet, const struct dns_message *message)
{
	check_name(message->canonical_name);
	if ((message->status == DNS_OK) != (message->count > 0) ||
	    message->count > DNS_RECORDS_MAX || message->is_secure)
		bug("status %d, %zu records", (int)message->status,
		    message->count);
	for (size_t i = 0; i < message->count; i++) {
		const struct dns_record *record = &message->records[i];

		check_name(record->name);
		if (record->data.n > 0 &&
		    (record->data.p < packet.p ||
		        record->data.p + record->data.n > packet.p + packet.n))
			bug("data outside the packet");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char question[] = "\7example\4test\0\0\0\0\1";
	static struct dns_message message;
	static char packet[PACKET_MAX];
	struct slice whole = {packet, 0};
	uint16_t type;
	struct err err;

	if (size < CHOICE_SIZE ||
	    size - CHOICE_SIZE > PACKET_MAX - 12 - (sizeof(question) - 1))
		return 0;
	type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
	memset(packet, 0, 12);
	packet[2] = (char)data[1];
	packet[3] = (char)data[2];
	packet[5] = 1;
	packet[6] = (char)data[3];
	packet[7] = (char)data[4];
	memcpy(packet + 12, question, sizeof(question) - 1);
	packet[12 + 15] = (char)type;
	whole.n = 12 + sizeof(question) - 1;
	memcpy(packet + whole.n, data + CHOICE_SIZE, size - CHOICE_SIZE);
	whole.n += size - CHOICE_SIZE;
	if (dns_message_read(whole, "example.test", type, &message, &err) == 0)
		check_message(whole, &message);
	return 0;
}
