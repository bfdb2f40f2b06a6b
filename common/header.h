/* SPDX-License-Identifier: ISC */
/*
 * The header of a message (RFC 5322 §2.1, §2.2): where it ends, which fields
 * it has, where each of them stands.  Pure: no decoding, nothing is changed.
 *
 * The reader is strict about what it takes for a field and exact about the
 * rest, because mail programs differ there and a forger lives on differences:
 *
 *   empty line                   the header ends (HEADER_END_BLANK)
 *   a line that is no field      the header ends before it, it is body
 *                                (HEADER_END_NOT_A_FIELD); a message without a
 *                                header is the case where this is line one
 *   the message ends             HEADER_END_MESSAGE: a header and no body
 *   "From " mbox line, first     left out, HEADER_QUIRK_MBOX_LINE
 *   folded line, first           left out, HEADER_QUIRK_LEADING_FOLD
 *   folded line of blanks only   continues its field,
 *                                HEADER_QUIRK_BLANK_FOLD: others end the
 *                                header here
 *   blanks before the colon      a field (RFC 5322 §4.5 allows it),
 *                                HEADER_QUIRK_SPACED_COLON
 *   bare CR or LF, or NUL        bytes like others, HEADER_QUIRK_BARE_LINE_END
 *                                and HEADER_QUIRK_NUL
 *
 * Time is linear in the bytes, memory is bounded by the two limits.
 */
#ifndef COMMON_HEADER_H
#define COMMON_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/parse.h"

/* Real headers stay far under this; a header of megabytes is an attack. */
#define HEADER_SIZE_MAX ((size_t)256 * 1024)
/* As large as the longest lists of Received and X- fields, times fifty. */
#define HEADER_FIELDS_MAX 10000

/* Every field whose name decides something, and the name as it is written. */
#define HEADER_NAMES(X)                                           \
	X(FROM, "From")                                           \
	X(SENDER, "Sender")                                       \
	X(REPLY_TO, "Reply-To")                                   \
	X(MAIL_REPLY_TO, "Mail-Reply-To")                         \
	X(MAIL_FOLLOWUP_TO, "Mail-Followup-To")                   \
	X(TO, "To")                                               \
	X(CC, "Cc")                                               \
	X(BCC, "Bcc")                                             \
	X(RESENT_FROM, "Resent-From")                             \
	X(RESENT_SENDER, "Resent-Sender")                         \
	X(RESENT_TO, "Resent-To")                                 \
	X(RESENT_CC, "Resent-Cc")                                 \
	X(RESENT_BCC, "Resent-Bcc")                               \
	X(RESENT_DATE, "Resent-Date")                             \
	X(RESENT_MESSAGE_ID, "Resent-Message-ID")                 \
	X(DATE, "Date")                                           \
	X(MESSAGE_ID, "Message-ID")                               \
	X(IN_REPLY_TO, "In-Reply-To")                             \
	X(REFERENCES, "References")                               \
	X(SUBJECT, "Subject")                                     \
	X(RECEIVED, "Received")                                   \
	X(RECEIVED_SPF, "Received-SPF")                           \
	X(RETURN_PATH, "Return-Path")                             \
	X(DELIVERED_TO, "Delivered-To")                           \
	X(MIME_VERSION, "MIME-Version")                           \
	X(CONTENT_TYPE, "Content-Type")                           \
	X(CONTENT_TRANSFER_ENCODING, "Content-Transfer-Encoding") \
	X(CONTENT_DISPOSITION, "Content-Disposition")             \
	X(CONTENT_ID, "Content-ID")                               \
	X(CONTENT_DESCRIPTION, "Content-Description")             \
	X(CONTENT_LANGUAGE, "Content-Language")                   \
	X(AUTO_SUBMITTED, "Auto-Submitted")                       \
	X(PRECEDENCE, "Precedence")                               \
	X(LIST_ID, "List-Id")                                     \
	X(LIST_UNSUBSCRIBE, "List-Unsubscribe")                   \
	X(LIST_UNSUBSCRIBE_POST, "List-Unsubscribe-Post")         \
	X(LIST_SUBSCRIBE, "List-Subscribe")                       \
	X(LIST_POST, "List-Post")                                 \
	X(LIST_HELP, "List-Help")                                 \
	X(LIST_OWNER, "List-Owner")                               \
	X(LIST_ARCHIVE, "List-Archive")                           \
	X(DKIM_SIGNATURE, "DKIM-Signature")                       \
	X(AUTHENTICATION_RESULTS, "Authentication-Results")

enum header_name {
#define X(id, text) HDR_##id,
	HEADER_NAMES(X)
#undef X
	    HDR_OTHER, /* any name that is not in the table */
	HDR_COUNT,
};

enum header_end {
	HEADER_END_OPEN, /* not found yet */
	HEADER_END_BLANK,
	HEADER_END_NOT_A_FIELD,
	HEADER_END_MESSAGE,
	HEADER_END_COUNT,
};

enum header_failure {
	HEADER_FAILURE_NONE,
	HEADER_FAILURE_TOO_LARGE,
	HEADER_FAILURE_TOO_MANY_FIELDS,
	HEADER_FAILURE_COUNT,
};

#define HEADER_QUIRK_MBOX_LINE 0x01u
#define HEADER_QUIRK_LEADING_FOLD 0x02u
#define HEADER_QUIRK_BLANK_FOLD 0x04u
#define HEADER_QUIRK_SPACED_COLON 0x08u
#define HEADER_QUIRK_BARE_LINE_END 0x10u
#define HEADER_QUIRK_NUL 0x20u

/* Offsets count from the first byte of the message. */
struct header_field {
	uint32_t start;  /* first byte of the name */
	uint32_t value;  /* the byte after the colon */
	uint32_t end;    /* behind the last line end of the field */
	uint32_t next;   /* number of the next field of this name, or 0 */
	uint16_t name_n; /* length of the name, at most UINT16_MAX */
	uint8_t name;    /* enum header_name */
	bool is_spaced;  /* blanks stand between name and colon */
};

struct header {
	const char *p; /* the block: ours (copy) or the caller's bytes */
	size_t n;      /* of it, read so far */
	size_t limit;
	struct buf copy;
	size_t line_start; /* of the line that is still incomplete */
	struct header_field *fields;
	size_t field_count;
	size_t field_capacity;
	uint32_t count[HDR_COUNT];
	uint32_t first[HDR_COUNT]; /* field number + 1; 0: none */
	uint32_t last[HDR_COUNT];
	size_t block_end;   /* behind the last field line: no blank line */
	size_t body_offset; /* first byte of the body; valid at the end */
	uint32_t quirks;    /* HEADER_QUIRK_… */
	enum header_end end;
	enum header_failure failure;
};

/* limit 0 means HEADER_SIZE_MAX; no limit may pass UINT32_MAX. */
void header_init(struct header *h, size_t limit);
void header_clear(struct header *h);
void header_reset(struct header *h); /* for the next message; keeps memory */

/*
 * Takes the next bytes of the message, in pieces of any size, and keeps a copy
 * of those that belong to the header.  PARSE_MORE: the end is not in sight;
 * PARSE_OK: it is found, the rest is body (from h->body_offset of the whole
 * message, which after HEADER_END_NOT_A_FIELD may lie in an earlier piece);
 * PARSE_BAD: h->failure says which limit was passed.  OK and BAD are final.
 */
int header_feed(struct header *h, struct slice piece);

/* The message ended.  Settles a header without a blank line behind it. */
int header_finish(struct header *h);

/*
 * The same for a message that lies in one piece: nothing is copied, the fields
 * point into it, so it must outlive them.  PARSE_OK or PARSE_BAD.
 */
int header_read(struct header *h, struct slice message);

/* A sentence for a reply: why this header was not accepted. */
const char *header_failure_text(enum header_failure failure);

/* Fields of one name, in their order.  NULL when there is none (any more). */
size_t header_count(const struct header *h, enum header_name name);
const struct header_field *header_first(
    const struct header *h, enum header_name name);
const struct header_field *header_next(
    const struct header *h, const struct header_field *field);

/* HDR_OTHER when the name is not in the table; ASCII case does not count. */
enum header_name header_name_of(struct slice name);
const char *header_name_text(enum header_name name);

/* The name without blanks; the value as it stands, but its last line end. */
struct slice header_field_name(
    const struct header *h, const struct header_field *field);
struct slice header_field_value(
    const struct header *h, const struct header_field *field);
/* The whole field with its last line end. */
struct slice header_field_text(
    const struct header *h, const struct header_field *field);

/* The trimmed value of the first field of that name when it is on one line. */
struct slice header_simple(const struct header *h, enum header_name name);

/*
 * Appends the value with its folds undone (RFC 5322 §2.2.3: the CRLF goes, the
 * blank after it stays) and blanks at both ends removed.  -1 when out is full.
 */
int header_unfold(struct slice value, struct buf *out);

/*
 * Of a field that goes with the Subject where that is hidden: Keywords and
 * Comments tell as much (hcp_baseline of RFC 9788); Outlook's Thread-Topic is
 * the Subject itself.
 */
bool header_tells_subject(struct slice name);

#endif
