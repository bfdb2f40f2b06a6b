/* SPDX-License-Identifier: ISC */
/*
 * Puts a delivery status notification together: header, parts, boundaries.
 * Runs in: postern-queued.  Trusts: nothing that came from outside.
 */
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/header.h"
#include "common/mime_word.h"
#include "common/rfc5322_date.h"
#include "common/utf8.h"
#include "relay/dsn.h"
#include "relay/dsn_parts.h"
#include "relay/dsn_text.h"

#define FIELD_MAX 900 /* of a value on one line of our own header */
#define SUBJECT_MAX 120
#define SEED_MAX 40
/* RFC 5322 gives no limit; longer ones are not those of real programs. */
#define MESSAGE_ID_MAX 250
#define REFERENCES_MAX 10
/* Each try is refuted by the content only if that was made to do so. */
#define BOUNDARY_TRIES 1000
#define BOUNDARY_SIZE 71 /* RFC 2046 §5.1.1 */

/* The parts before they are joined, and how they travel. */
struct draft {
	const struct dsn *d;
	struct header original;
	bool needs_smtputf8; /* for the sender's address */
	bool with_utf8;      /* message/global types, as they are */
	bool holds_body;
	struct dsn_shape header_shape;
	struct buf words;
	struct buf status;
	struct buf header;  /* the original's, as it goes back */
	struct buf message; /* the original, likewise, with its body */
	char boundary[BOUNDARY_SIZE];
};

static const char *const subject_starts[DSN_ACTION_COUNT] = {
    [DSN_FAILED] = "Not delivered: ",
    [DSN_DELAYED] = "Delivery delayed: ",
    [DSN_EXPANDED] = "Delivered: ",
    [DSN_RELAYED] = "Handed on: ",
    [DSN_DELIVERED] = "Delivered: ",
};

static void
draft_clear(struct draft *t)
{
	header_clear(&t->original);
	buf_clear(&t->words);
	buf_clear(&t->status);
	buf_clear(&t->header);
	buf_clear(&t->message);
}

static bool
has_utf8_recipient(const struct dsn *d)
{
	for (size_t i = 0; i < d->recipient_count; i++)
		if (!utf8_is_ascii(d->recipients[i].address) ||
		    !utf8_is_ascii(d->recipients[i].orcpt))
			return true;
	return false;
}

/*
 * The original of a message with SMTPUTF8 is one itself if its header says so
 * (RFC 6533 §6.3); only such a message may be encoded as a whole.
 */
static bool
is_global_message(const struct draft *t)
{
	return t->d->is_smtputf8 && t->header_shape.is_8bit;
}

/* The original with its body, if it can go back. */
static void
fill_message(struct draft *t)
{
	struct dsn_shape shape;
	struct buf plain;

	(void)buf_add_slice(&t->message, buf_slice(&t->header));
	(void)buf_add_text(&t->message, "\r\n");
	(void)buf_add_slice(&t->message, t->d->body);
	shape = dsn_shape_of(buf_slice(&t->message));
	t->holds_body = !shape.is_long && !shape.is_binary;
	if (!t->holds_body || !shape.is_8bit || t->needs_smtputf8 ||
	    is_global_message(t))
		return;
	buf_init(&plain, t->message.limit);
	t->holds_body = dsn_add_7bit(buf_slice(&t->message), &plain);
	buf_clear(&t->message);
	t->message = plain;
}

static void
draft_fill(struct draft *t, const struct dsn *d, size_t limit)
{
	*t = (struct draft){.d = d};
	header_init(&t->original, 0);
	buf_init(&t->words, limit);
	buf_init(&t->status, limit);
	buf_init(&t->header, limit);
	buf_init(&t->message, limit);
	/* One over our limits keeps the fields up to there. */
	(void)header_read(&t->original, d->header);
	dsn_add_original_header(d, &t->original, &t->header);
	t->header_shape = dsn_shape_of(buf_slice(&t->header));
	t->needs_smtputf8 = !utf8_is_ascii(d->sender);
	t->with_utf8 = t->needs_smtputf8 &&
		       (t->header_shape.is_8bit || has_utf8_recipient(d));
	if (d->returns_body)
		fill_message(t);
	dsn_add_words(
	    d, &t->original, d->returns_body && !t->holds_body, &t->words);
	dsn_add_status(d, t->with_utf8, &t->status);
}

static bool
draft_holds(const struct draft *t, const char *text)
{
	size_t n = strlen(text);
	const struct slice pieces[] = {buf_slice(&t->words),
	    buf_slice(&t->status), buf_slice(&t->header),
	    buf_slice(&t->message)};

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		if (pieces[i].n > 0 &&
		    memmem(pieces[i].p, pieces[i].n, text, n) != NULL)
			return true;
	return false;
}

/*
 * "=_" cannot stand in quoted-printable or base64, and the seed is not known
 * to whoever wrote the original; searching makes sure.
 */
static void
choose_boundary(struct draft *t)
{
	char seed[SEED_MAX + 1];
	size_t n = 0;

	for (size_t i = 0; i < t->d->boundary_seed.n && n < SEED_MAX; i++) {
		char c = t->d->boundary_seed.p[i];

		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		    (c >= 'a' && c <= 'z'))
			seed[n++] = c;
	}
	seed[n] = '\0';
	for (int try = 0; try < BOUNDARY_TRIES; try++) {
		(void)snprintf(
		    t->boundary, BOUNDARY_SIZE, "=_postern_%s_%d", seed, try);
		if (!draft_holds(t, t->boundary))
			return;
	}
	bug("dsn_build: the seed of the boundary is in the content");
}

static void
add_subject(const struct draft *t, struct buf *out)
{
	const struct header_field *field =
	    header_first(&t->original, HDR_SUBJECT);
	struct buf text;
	struct buf line;

	buf_init(&text, FIELD_MAX);
	buf_init(&line, FIELD_MAX);
	(void)buf_add_text(&line, subject_starts[dsn_worst_action(t->d)]);
	if (field != NULL && !t->d->hides_subject)
		(void)mime_word_decode(
		    header_field_value(&t->original, field), &text, NULL);
	if (text.n > 0)
		dsn_add_line(&line, buf_slice(&text), SUBJECT_MAX, true);
	else
		(void)buf_add_text(&line, "your message");
	(void)buf_add_text(out, "Subject: ");
	(void)mime_word_encode(buf_slice(&line), strlen("Subject: "), out);
	(void)buf_add_text(out, "\r\n");
	buf_clear(&line);
	buf_clear(&text);
}

/* msg-id of RFC 5322 §3.6.4, as far as it matters in our header. */
static bool
is_message_id(struct slice s)
{
	if (s.n < 5 || s.n > MESSAGE_ID_MAX || s.p[0] != '<' ||
	    s.p[s.n - 1] != '>')
		return false;
	for (size_t i = 1; i + 1 < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '<' ||
		    s.p[i] == '>')
			return false;
	return true;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The next word of a folded value, off its front; empty at the end. */
static struct slice
next_word(struct slice *value)
{
	struct slice word;

	while (value->n > 0 && is_space(value->p[0])) {
		value->p++;
		value->n--;
	}
	word = (struct slice){value->p, 0};
	while (word.n < value->n && !is_space(value->p[word.n]))
		word.n++;
	value->p += word.n;
	value->n -= word.n;
	return word;
}

/*
 * The last ids of the original's References, in their order, so that the
 * notification stands in its thread (RFC 5322 §3.6.4).
 */
static void
add_older_references(struct slice value, struct buf *out)
{
	struct slice rest = value;
	struct slice word;
	size_t count = 0;

	while ((word = next_word(&rest)).n > 0)
		count += is_message_id(word);
	while ((word = next_word(&value)).n > 0) {
		if (!is_message_id(word))
			continue;
		if (count-- > REFERENCES_MAX)
			continue;
		(void)buf_add_slice(out, word);
		(void)buf_add_text(out, "\r\n ");
	}
}

static void
add_references(const struct draft *t, struct buf *out)
{
	struct slice id = header_simple(&t->original, HDR_MESSAGE_ID);
	const struct header_field *older =
	    header_first(&t->original, HDR_REFERENCES);

	if (!is_message_id(id))
		return;
	(void)buf_add_text(out, "In-Reply-To: ");
	(void)buf_add_slice(out, id);
	(void)buf_add_text(out, "\r\nReferences: ");
	if (older != NULL)
		add_older_references(
		    header_field_value(&t->original, older), out);
	(void)buf_add_slice(out, id);
	(void)buf_add_text(out, "\r\n");
}

static void
add_line_field(const char *name, const char *before, struct slice value,
    const char *after, bool with_utf8, struct buf *out)
{
	(void)buf_addf(out, "%s: %s", name, before);
	dsn_add_line(out, value, FIELD_MAX, with_utf8);
	(void)buf_addf(out, "%s\r\n", after);
}

static void
add_header(const struct draft *t, struct buf *out)
{
	const struct dsn *d = t->d;
	char date[RFC5322_DATE_SIZE];

	add_line_field("From", "", d->from, "", false, out);
	add_line_field("To", "<", d->sender, ">", d->is_smtputf8, out);
	add_subject(t, out);
	(void)buf_addf(out, "Date: %s\r\n", rfc5322_date(d->now, date));
	add_line_field("Message-ID", "<", d->message_id, ">", false, out);
	add_references(t, out);
	add_line_field("X-Postern-Reference", "", d->reference, "", false, out);
	(void)buf_addf(out,
	    "Auto-Submitted: auto-replied\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	    " boundary=\"%s\"\r\n"
	    "Content-Transfer-Encoding: %s\r\n"
	    "\r\n",
	    t->boundary, t->needs_smtputf8 ? "8bit" : "7bit");
}

/* The line that starts a part; its CRLF before belongs to it. */
static void
add_delimiter(const struct draft *t, const char *type, const char *description,
    const char *encoding, struct buf *out)
{
	(void)buf_addf(out,
	    "\r\n--%s\r\n"
	    "Content-Type: %s\r\n"
	    "Content-Description: %s\r\n"
	    "Content-Transfer-Encoding: %s\r\n"
	    "\r\n",
	    t->boundary, type, description, encoding);
}

/* Text of a part, encoded where it may not be as it is. */
static void
add_text(struct buf *out, struct slice text, bool is_qp)
{
	if (is_qp)
		dsn_add_quoted_printable(out, text);
	else
		(void)buf_add_slice(out, text);
}

static const char *
encoding_of(bool is_qp, bool is_8bit)
{
	return is_qp ? "quoted-printable" : is_8bit ? "8bit" : "7bit";
}

static void
add_words_part(const struct draft *t, struct buf *out)
{
	struct slice words = buf_slice(&t->words);
	bool is_qp = !utf8_is_ascii(words);

	/* The first delimiter needs no CRLF of its own behind the header. */
	(void)buf_addf(out,
	    "--%s\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: %s\r\n"
	    "\r\n",
	    t->boundary, encoding_of(is_qp, false));
	add_text(out, words, is_qp);
}

static void
add_status_part(const struct draft *t, struct buf *out)
{
	struct slice status = buf_slice(&t->status);

	add_delimiter(t,
	    t->with_utf8 ? "message/global-delivery-status"
			 : "message/delivery-status",
	    "Delivery report", encoding_of(false, !utf8_is_ascii(status)), out);
	(void)buf_add_slice(out, status);
}

/* RFC 6522 §4 has quoted-printable for headers that are not plain lines. */
static void
add_header_part(const struct draft *t, struct buf *out)
{
	const struct dsn_shape *shape = &t->header_shape;
	bool is_qp = shape->is_long || shape->is_binary ||
		     (shape->is_8bit && !t->with_utf8);

	add_delimiter(t,
	    t->with_utf8 || is_global_message(t) ? "message/global-headers"
						 : "text/rfc822-headers",
	    "Header of your message", encoding_of(is_qp, shape->is_8bit), out);
	add_text(out, buf_slice(&t->header), is_qp);
}

static void
add_message_part(const struct draft *t, struct buf *out)
{
	struct slice message = buf_slice(&t->message);
	bool is_8bit = !utf8_is_ascii(message);
	bool is_qp = is_8bit && !t->needs_smtputf8;

	add_delimiter(t,
	    t->header_shape.is_8bit ? "message/global" : "message/rfc822",
	    "Your message", encoding_of(is_qp, is_8bit), out);
	add_text(out, message, is_qp);
}

int
dsn_build(const struct dsn *d, struct buf *out, struct dsn_result *result_r)
{
	struct dsn_result result;
	struct draft t;

	if (d->sender.n == 0)
		bug("dsn_build: the sender is null");
	if (d->recipient_count == 0)
		bug("dsn_build: no recipients");
	draft_fill(&t, d, out->limit);
	choose_boundary(&t);
	add_header(&t, out);
	add_words_part(&t, out);
	add_status_part(&t, out);
	if (t.holds_body)
		add_message_part(&t, out);
	else
		add_header_part(&t, out);
	(void)buf_addf(out, "\r\n--%s--\r\n", t.boundary);
	if (t.words.overflowed || t.status.overflowed || t.header.overflowed ||
	    (t.holds_body && t.message.overflowed))
		out->overflowed = true;
	result = (struct dsn_result){t.needs_smtputf8, t.holds_body};
	draft_clear(&t);
	if (out->overflowed)
		return -1;
	*result_r = result;
	return 0;
}
