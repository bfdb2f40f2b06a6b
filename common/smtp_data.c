/* SPDX-License-Identifier: ISC */
/*
 * Finds the end of a message, removes and adds dots.  Every octet of every
 * mail passes here twice, so runs are found with memchr() and never copied.
 * Runs in: postern-smtpd (reading), postern-relayd (writing).  Trusts: nothing
 * that comes in; content that queued hands to relayd is checked again.
 */
#include <string.h>

#include "common/smtp_data.h"
#include "common/utf8.h"

/*
 * Where the reader stands.  Only LINE_START, reached by a true CRLF or the
 * start of the message, lets a dot be more than content.
 *
 *	LINE_START  "."  -> DOT       else -> IN_LINE
 *	IN_LINE     CR   -> CR        LF is bare
 *	CR          LF   -> LINE_START    else CR was bare -> IN_LINE
 *	DOT         CR   -> DOT_CR    else the dot was stuffing -> IN_LINE
 *	DOT_CR      LF   -> END       else CR was bare -> IN_LINE
 */
enum data_state {
	DATA_LINE_START,
	DATA_IN_LINE,
	DATA_CR,
	DATA_DOT,
	DATA_DOT_CR,
	DATA_END,
	DATA_STATE_COUNT
};

/* One call of smtp_data_feed(). */
struct feeding {
	struct smtp_data *d;
	smtp_data_sink *sink;
	void *context;
	const char *start; /* of the segment */
	const char *run;   /* content from here on is not handed on yet */
	const char *p;     /* the next octet */
	const char *end;
};

void
smtp_data_init(struct smtp_data *d)
{
	*d = (struct smtp_data){.state = DATA_LINE_START};
}

/* Remembers the fault that stands first; at is its offset on the wire. */
static void
note_fault(struct smtp_data *d, enum smtp_data_fault fault, uint64_t at)
{
	if (d->fault == SMTP_DATA_CLEAN || at < d->fault_offset) {
		d->fault = fault;
		d->fault_offset = at;
	}
}

static uint64_t
wire_offset(const struct feeding *f, const char *p)
{
	return f->d->wire_octets + (uint64_t)(p - f->start);
}

/* Hands on the content between f->run and end. */
static void
hand_on(struct feeding *f, const char *end)
{
	struct slice run = {f->run, (size_t)(end - f->run)};
	const char *nul;

	if (run.n == 0)
		return;
	if ((nul = memchr(run.p, '\0', run.n)) != NULL)
		note_fault(f->d, SMTP_DATA_NUL, wire_offset(f, nul));
	if (!f->d->has_8bit)
		f->d->has_8bit = !utf8_is_ascii(run);
	f->d->content_octets += run.n;
	f->sink(f->context, run.p, run.n);
}

static void
line_ended(struct smtp_data *d)
{
	/* The CRLF was counted, too. */
	if (d->line_octets - 2 > d->longest_line_octets)
		d->longest_line_octets = d->line_octets - 2;
	d->line_octets = 0;
	d->state = DATA_LINE_START;
}

/* Looks for a CR where none may be: between f->p and end. */
static void
check_bare_cr(struct feeding *f, const char *end)
{
	const char *cr;

	if (f->d->fault != SMTP_DATA_CLEAN || end <= f->p)
		return;
	cr = memchr(f->p, '\r', (size_t)(end - f->p));
	if (cr != NULL)
		note_fault(f->d, SMTP_DATA_BARE_CR, wire_offset(f, cr));
}

/*
 * Takes octets up to the next LF, or all.  The search for CR stops where that
 * for LF did, so that no content makes this quadratic.
 */
static void
in_line(struct feeding *f)
{
	struct smtp_data *d = f->d;
	const char *lf = memchr(f->p, '\n', (size_t)(f->end - f->p));
	const char *stop = lf != NULL ? lf : f->end;
	bool has_cr = stop > f->p && stop[-1] == '\r';

	check_bare_cr(f, has_cr ? stop - 1 : stop);
	if (lf != NULL)
		stop++;
	d->line_octets += (uint64_t)(stop - f->p);
	f->p = stop;
	if (lf == NULL)
		d->state = has_cr ? DATA_CR : DATA_IN_LINE;
	else if (has_cr)
		line_ended(d);
	else
		note_fault(d, SMTP_DATA_BARE_LF, wire_offset(f, lf));
}

static void
after_cr(struct feeding *f)
{
	if (*f->p == '\n') {
		f->p++;
		f->d->line_octets++;
		line_ended(f->d);
		return;
	}
	note_fault(f->d, SMTP_DATA_BARE_CR, wire_offset(f, f->p) - 1);
	f->d->state = DATA_IN_LINE;
}

static void
line_start(struct feeding *f)
{
	if (*f->p != '.') {
		f->d->state = DATA_IN_LINE;
		return;
	}
	hand_on(f, f->p);
	f->p++;
	f->run = f->p;
	f->d->state = DATA_DOT;
}

static void
after_dot(struct feeding *f)
{
	if (*f->p != '\r') {
		f->d->state = DATA_IN_LINE;
		return;
	}
	/* Held back: with LF it is no content. */
	f->p++;
	f->run = f->p;
	f->d->state = DATA_DOT_CR;
}

static void
after_dot_cr(struct feeding *f)
{
	if (*f->p == '\n') {
		f->p++;
		f->run = f->p;
		f->d->state = DATA_END;
		return;
	}
	note_fault(f->d, SMTP_DATA_BARE_CR, wire_offset(f, f->p) - 1);
	f->sink(f->context, "\r", 1);
	f->d->content_octets++;
	f->d->line_octets++;
	f->d->state = DATA_IN_LINE;
}

static void (*const steps[DATA_STATE_COUNT])(struct feeding *f) = {
    [DATA_LINE_START] = line_start,
    [DATA_IN_LINE] = in_line,
    [DATA_CR] = after_cr,
    [DATA_DOT] = after_dot,
    [DATA_DOT_CR] = after_dot_cr,
};

enum parse_result
smtp_data_feed(struct smtp_data *d, struct slice in, smtp_data_sink *sink,
    void *context, size_t *used_r)
{
	struct feeding f = {
	    .d = d,
	    .sink = sink,
	    .context = context,
	    .start = in.p,
	    .run = in.p,
	    .p = in.p,
	};

	*used_r = 0;
	if (in.n > 0) {
		f.end = in.p + in.n;
		while (f.p < f.end && d->state != DATA_END)
			steps[d->state](&f);
		hand_on(&f, f.p);
		*used_r = (size_t)(f.p - f.start);
		d->wire_octets += *used_r;
	}
	return d->state == DATA_END ? PARSE_OK : PARSE_MORE;
}

void
smtp_data_refusal(const struct smtp_data *d, struct smtp_status *status_r)
{
	static const char *const sentences[SMTP_DATA_FAULT_COUNT] = {
	    [SMTP_DATA_BARE_CR] =
		"Message refused: carriage return without line feed",
	    [SMTP_DATA_BARE_LF] =
		"Message refused: line feed without carriage return",
	    [SMTP_DATA_NUL] = "Message refused: it holds a NUL octet",
	};

	if (d->fault == SMTP_DATA_CLEAN)
		bug("smtp_data_refusal: nothing to refuse");
	(void)smtp_status_set(status_r, 554, "5.6.0", "%s (at octet %llu)",
	    sentences[d->fault], (unsigned long long)d->fault_offset);
}

void
smtp_stuffer_init(struct smtp_stuffer *s)
{
	*s = (struct smtp_stuffer){.is_in_line = false};
}

/*
 * Whether a line (or a piece of one, has_lf false) is clean.  Its octets before
 * the LF are p to stop; the last CR is then part of the line end.
 */
static bool
is_clean_piece(
    const struct smtp_stuffer *s, const char *p, const char *stop, bool has_lf)
{
	size_t n = (size_t)(stop - p);
	bool has_cr = n > 0 ? stop[-1] == '\r' : s->is_after_cr;

	if (s->is_after_cr && n > 0)
		return false;
	if (has_lf && !has_cr)
		return false;
	if (n > 0 && has_cr)
		n--;
	return memchr(p, '\r', n) == NULL;
}

int
smtp_data_stuff(
    struct smtp_stuffer *s, struct slice in, struct buf *out, struct err *err)
{
	const char *end = in.p + in.n;
	const char *run = in.p;

	if (in.n == 0)
		return 0;
	if (memchr(in.p, '\0', in.n) != NULL)
		return err_set(err, "message holds a NUL");
	for (const char *p = in.p; p < end;) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		const char *stop = lf != NULL ? lf : end;

		if (!is_clean_piece(s, p, stop, lf != NULL))
			return err_set(err, "message holds a bare CR or LF");
		if (*p == '.' && !s->is_in_line) {
			/* The dot begins the next run, and goes out twice. */
			(void)buf_add(out, run, (size_t)(p - run));
			(void)buf_add_char(out, '.');
			run = p;
		}
		s->is_in_line = lf == NULL;
		s->is_after_cr = lf == NULL && stop[-1] == '\r';
		p = lf != NULL ? lf + 1 : end;
	}
	(void)buf_add(out, run, (size_t)(end - run));
	if (out->overflowed)
		return err_set(err, "message does not fit its buffer");
	return 0;
}

int
smtp_data_stuff_end(struct smtp_stuffer *s, struct buf *out, struct err *err)
{
	if (s->is_after_cr)
		return err_set(err, "message ends in a bare CR");
	if (buf_add_text(out, s->is_in_line ? "\r\n.\r\n" : ".\r\n") == -1)
		return err_set(err, "message does not fit its buffer");
	return 0;
}
