/* SPDX-License-Identifier: ISC */
/*
 * A DNS answer as a value, and the reader of the packet that it comes in.
 */
#ifndef SMTPD_DNS_MESSAGE_H
#define SMTPD_DNS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/vocabulary.h"

enum dns_type {
	DNS_TYPE_A = 1,
	DNS_TYPE_NS = 2,
	DNS_TYPE_CNAME = 5,
	DNS_TYPE_SOA = 6,
	DNS_TYPE_PTR = 12,
	DNS_TYPE_MX = 15,
	DNS_TYPE_TXT = 16,
	DNS_TYPE_AAAA = 28,
	DNS_TYPE_TLSA = 52
};

/* The types above, and no other. */
bool dns_type_is_known(uint16_t type);

/* Text of a name without its final dot, and the NUL. */
#define DNS_NAME_SIZE 256
/* A longer chain is a loop or a trick. */
#define DNS_CNAMES_MAX 8
/* More are left out; of MX records the worst. */
#define DNS_RECORDS_MAX 256
#define DNS_REASON_SIZE 256

struct dns_record {
	uint16_t preference; /* MX */
	uint32_t ttl_s;
	/*
	 * Where MX, PTR, CNAME, NS, SOA (first name) point to: lower case; "."
	 * is the root (null MX); "" when it has other characters than letters,
	 * digits, "-" and "_".  "" for every other type.
	 */
	const char *name;
	/*
	 * A: 4 octets, AAAA: 16, TLSA: the record, TXT: its strings, each after
	 * an octet with its length.  Empty for every other type.
	 */
	struct slice data;
};

/* Records point into it and into the packet: not to be copied. */
struct dns_message {
	enum dns_status status;
	bool is_secure; /* DNSSEC proves it, a negative answer too */
	char reason[DNS_REASON_SIZE];       /* "" unless something failed */
	char canonical_name[DNS_NAME_SIZE]; /* "" where it has odd characters */
	size_t count;
	struct dns_record records[DNS_RECORDS_MAX];
	char names[DNS_RECORDS_MAX][DNS_NAME_SIZE]; /* what records point to */
};

/* No records; reason is printable text or "". */
void dns_message_set(
    struct dns_message *message, enum dns_status status, const char *reason);

/*
 * Reads the answer to (name, type, IN).  name is in lower case without a final
 * dot; "" is the root.  Only the answer section counts: the chain of CNAMEs
 * from name on and the records at its end.  status becomes DNS_OK, DNS_NODATA,
 * DNS_NXDOMAIN or, by the code in the header, DNS_TEMPORARY; is_secure false.
 *
 * -1 when the packet is malformed or answers another question: err says why,
 * message_r is then not to be read.
 */
int dns_message_read(struct slice packet, const char *name, uint16_t type,
    struct dns_message *message_r, struct err *err);

#endif
