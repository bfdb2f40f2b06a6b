/* SPDX-License-Identifier: ISC */
/*
 * Whole SMTP sessions: the first octet says which port, whether the network is
 * trusted and how the rest is cut into pieces.  Beside crashes it holds that a
 * session answers only in lines of SMTP, ends by itself when its client
 * leaves, and leaves no memory behind.
 */
#include <ctype.h>
#include <string.h>

#include "common/err.h"
#include "tests/unit/smtp_host.h"

/* Sessions of one worker; then it drains, and the next one begins. */
#define SESSIONS_MAX 1000
/* A mail of this size becomes a stream; no input is larger. */
#define INPUT_MAX 200000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Kept from input to input: a worker costs more than a session. */
static struct smtp_host *host;
static unsigned sessions;

static void
check_reply(const char *reply)
{
	while (*reply != '\0') {
		const char *end = strstr(reply, "\r\n");

		if (end == NULL)
			bug("a reply without line end");
		if (end - reply < 3 || !isdigit((unsigned char)reply[0]) ||
		    !isdigit((unsigned char)reply[1]) ||
		    !isdigit((unsigned char)reply[2]))
			bug("a reply without code");
		if (end - reply > 510)
			bug("a reply line of %td octets", end - reply);
		for (const char *c = reply; c < end; c++)
			if (*c < ' ' || *c > '~')
				bug("a reply that is not printable");
		reply = end + 2;
	}
}

static void
talk(const uint8_t *data, size_t size, size_t piece)
{
	struct smtp_client client;
	unsigned closed = smtp_host_closed(host);
	uint8_t how = data[0];

	/* TLS first is no text: that port has its own tests. */
	smtp_client_open(host, &client,
	    (how & 1) != 0 ? LISTENER_SMTP : LISTENER_SUBMISSION,
	    (how & 2) != 0);
	check_reply(client.reply);
	for (size_t at = 1; at < size && !client.is_closed; at += piece) {
		size_t n = size - at < piece ? size - at : piece;

		check_reply(smtp_say_octets(&client, data + at, n));
	}
	smtp_client_close(&client);
	if (smtp_host_closed(host) != closed + 1)
		bug("the session did not end with its client");
	if (smtp_host_memory(host) != 0)
		bug("the session left message memory behind");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece;

	if (size < 2 || size > INPUT_MAX)
		return 0;
	if (host == NULL) {
		host = smtp_host_new();
		smtp_host_set(host, SET_smtp_max_message_size, 150000, NULL);
	}
	piece = (size_t)(data[0] >> 2);
	/* Small pieces for small inputs, so that each takes the same time. */
	if (piece == 0 || size / piece > 200)
		piece = size / 200 + 1;
	talk(data, size, piece);
	if (++sessions == SESSIONS_MAX) {
		smtp_host_free(host);
		host = NULL;
		sessions = 0;
	}
	return 0;
}
