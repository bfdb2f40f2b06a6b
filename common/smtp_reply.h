/* SPDX-License-Identifier: ISC */
/*
 * SMTP replies: the reader of the client side (RFC 5321 section 4.2, enhanced
 * codes of RFC 2034 and 3463) and the writer of the server side.
 */
#ifndef COMMON_SMTP_REPLY_H
#define COMMON_SMTP_REPLY_H

#include "common/buf.h"
#include "common/parse.h"

/* "5.123.456" and a NUL. */
#define SMTP_ENHANCED_MAX 10
#define SMTP_STATUS_TEXT_MAX 160

/* Why a command is refused: what smtp_reply_format() needs. */
struct smtp_status {
	unsigned code;
	char enhanced[SMTP_ENHANCED_MAX];
	char text[SMTP_STATUS_TEXT_MAX]; /* printable ASCII, one line */
};

/* Fills *status_r; text is made printable and cut.  Returns -1. */
int smtp_status_set(struct smtp_status *status_r, unsigned code,
    const char *enhanced, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * Appends one reply to out.  Lines of text are parted by "\n" and each gets
 * code and enhanced code (NULL: none, as in greeting, EHLO and 3xx), so that
 * no text can begin another reply; every other control octet and all that is
 * not ASCII is escaped, and each line is cut to 512 octets with its CRLF.
 * code is 200 to 599 and enhanced has three numbers, or it is a bug.  At most
 * SMTP_REPLY_LINES_MAX lines go out.  Returns -1 when out was full; a part may
 * then stand in it.
 */
int smtp_reply_format(
    struct buf *out, unsigned code, const char *enhanced, struct slice text);

/* What a server may send as one reply; beyond, it is no mail server. */
#define SMTP_REPLY_LINES_MAX 100
#define SMTP_REPLY_OCTETS_MAX 65536
/* Octets kept of one line: RFC 5321 has 512, some servers pass it. */
#define SMTP_REPLY_LINE_MAX 1000
/* All EHLO replies that are known fit four times. */
#define SMTP_REPLY_TEXT_MAX 4096

/*
 * A reply as it comes in.  The public members are valid when feeding answered
 * PARSE_OK.
 */
struct smtp_reply {
	unsigned code;                    /* 200 to 599 */
	char enhanced[SMTP_ENHANCED_MAX]; /* "5.1.1", or "" */
	unsigned line_count;
	size_t octet_count;
	size_t cut_octets; /* not kept, of lines and of the whole */
	/* Printable, without the codes at the front; lines end in "\n". */
	char text[SMTP_REPLY_TEXT_MAX];

	/* Private: */
	size_t text_n;
	char line[SMTP_REPLY_LINE_MAX];
	size_t line_n;
	bool is_broken;
	bool is_complete;
};

void smtp_reply_init(struct smtp_reply *r);

/*
 * Reads from in.  PARSE_OK: the reply is complete; *used_r tells how much of
 * in it was, and what follows was sent before our next command: after
 * STARTTLS it must not be read (nostarttls, 2021).  PARSE_MORE: all of in was
 * used.  PARSE_BAD: no reply (bad code, codes that differ, too long, too many
 * lines); the connection has lost its framing and has to go.  CRLF ends a
 * line, and LF alone is tolerated, since it can here only end what the server
 * itself says.
 */
enum parse_result smtp_reply_feed(
    struct smtp_reply *r, struct slice in, size_t *used_r);

/* For logs and DSNs: one line "550 5.1.1 …", the lines parted by spaces. */
#define SMTP_REPLY_SUMMARY_MAX 1024
const char *smtp_reply_summary(
    const struct smtp_reply *r, char out[SMTP_REPLY_SUMMARY_MAX]);

/*
 * The keywords of an EHLO reply, one a call.  *at starts at 0.  The first line
 * is a greeting and never taken for a keyword.  "AUTH=LOGIN" (old servers)
 * splits like "AUTH LOGIN".  The slices point into r.
 */
bool smtp_ehlo_next(const struct smtp_reply *r, size_t *at,
    struct slice *keyword_r, struct slice *arguments_r);

#define SMTP_EHLO_MECHANISMS_MAX 256

struct smtp_ehlo {
	bool has_starttls;
	bool has_pipelining;
	bool has_8bitmime;
	bool has_smtputf8;
	bool has_dsn;
	bool has_enhanced_codes;
	bool has_size;
	uint64_t size_bytes; /* 0: no fixed limit */
	char
	    mechanisms[SMTP_EHLO_MECHANISMS_MAX]; /* of AUTH: " PLAIN LOGIN " */
};

void smtp_ehlo_read(const struct smtp_reply *r, struct smtp_ehlo *ehlo_r);

/* Whether AUTH offers the mechanism. */
bool smtp_ehlo_has_mechanism(const struct smtp_ehlo *e, const char *name);

#endif
