/* SPDX-License-Identifier: ISC */
/*
 * The Received line that each message gets (RFC 5321 section 4.4, with the
 * words of RFC 3848 and RFC 6531).  Pure: the time is an argument.
 */
#ifndef SMTPD_RECEIVED_H
#define SMTPD_RECEIVED_H

#include <time.h>

#include "common/buf.h"
#include "common/netaddr.h"
#include "common/smtp_command.h"

struct received {
	const char *hostname; /* ours */
	const char *helo;     /* what the client called itself */
	enum smtp_hello_kind helo_kind;
	struct netaddr client;
	const char *ptr_name; /* confirmed name of the address; NULL: none */
	/* The client is somebody at home: neither address nor name is told. */
	bool hides_client;
	bool is_esmtp;
	bool is_utf8;        /* SMTPUTF8 was asked for */
	const char *tls;     /* version and cipher; NULL: plain */
	const char *account; /* NULL: nobody logged in */
	uint64_t session_id;
	uint64_t message_id;
	const char *recipient; /* NULL unless there is only one */
	time_t now;
};

/* SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA, UTF8SMTP, UTF8SMTPS, ... */
const char *received_protocol(const struct received *received);

/* Appends the folded line with its CRLF.  -1 when out is full. */
int received_format(const struct received *received, struct buf *out);

#endif
