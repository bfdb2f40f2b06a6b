/* SPDX-License-Identifier: ISC */
/*
 * The parameters of MAIL and RCPT: each has a row, and one walk serves both.
 * Runs in: postern-smtpd, in the workers.  Trusts: nothing; values stay encoded
 * and are checked for what they would decode to.
 */
#include "common/printable.h"
#include "common/smtp_parameter.h"
#include "common/utf8.h"
#include "common/xtext.h"

/* What the parameters of one command are written to. */
struct parameters {
	struct smtp_mail *mail;
	struct smtp_rcpt *rcpt;
	bool is_smtputf8;
};

/* Returns -1 for a bad value; has_value is false for "KEYWORD" alone. */
typedef int parameter_reader(
    struct parameters *to, bool has_value, struct slice value);

struct parameter_row {
	const char *keyword;
	parameter_reader *read;
};

static int
read_size(struct parameters *to, bool has_value, struct slice value)
{
	/* RFC 1870 section 4: at most 20 digits. */
	enum { SIZE_DIGITS_MAX = 20 };

	if (!has_value || value.n == 0 || value.n > SIZE_DIGITS_MAX)
		return -1;
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] < '0' || value.p[i] > '9')
			return -1;
	if (slice_to_u64(value, &to->mail->size_bytes) == -1)
		to->mail->size_bytes = UINT64_MAX;
	to->mail->has_size = true;
	return 0;
}

static int
read_body(struct parameters *to, bool has_value, struct slice value)
{
	if (has_value && slice_equals_nocase(value, SLICE("7BIT")))
		to->mail->body = SMTP_BODY_7BIT;
	else if (has_value && slice_equals_nocase(value, SLICE("8BITMIME")))
		to->mail->body = SMTP_BODY_8BITMIME;
	else
		return -1;
	return 0;
}

static int
read_smtputf8(struct parameters *to, bool has_value, struct slice value)
{
	(void)value;
	to->mail->is_smtputf8 = true;
	return has_value ? -1 : 0;
}

static int
read_ret(struct parameters *to, bool has_value, struct slice value)
{
	if (has_value && slice_equals_nocase(value, SLICE("FULL")))
		to->mail->ret = SMTP_RET_FULL;
	else if (has_value && slice_equals_nocase(value, SLICE("HDRS")))
		to->mail->ret = SMTP_RET_HDRS;
	else
		return -1;
	return 0;
}

/* xtext whose meaning is printable ASCII: no CR, LF or NUL hidden in it. */
static bool
is_printable_xtext(struct slice s)
{
	char decoded[SMTP_LINE_EXTENDED_MAX];
	size_t n;

	if (xtext_decode(s, decoded, sizeof(decoded), &n) == -1)
		return false;
	for (size_t i = 0; i < n; i++)
		if (decoded[i] < ' ' || decoded[i] > '~')
			return false;
	return true;
}

static int
read_envid(struct parameters *to, bool has_value, struct slice value)
{
	if (!has_value || value.n == 0 || !is_printable_xtext(value))
		return -1;
	return slice_copy(value, to->mail->envid, sizeof(to->mail->envid));
}

static int
read_auth(struct parameters *to, bool has_value, struct slice value)
{
	if (!has_value || value.n == 0 || !is_printable_xtext(value))
		return -1;
	return slice_copy(value, to->mail->auth, sizeof(to->mail->auth));
}

static int
read_notify(struct parameters *to, bool has_value, struct slice value)
{
	static const struct {
		const char *name;
		unsigned bit;
	} words[] = {
	    {"NEVER", SMTP_NOTIFY_NEVER},
	    {"SUCCESS", SMTP_NOTIFY_SUCCESS},
	    {"FAILURE", SMTP_NOTIFY_FAILURE},
	    {"DELAY", SMTP_NOTIFY_DELAY},
	};
	const size_t count = sizeof(words) / sizeof(words[0]);
	unsigned notify = 0;

	if (!has_value)
		return -1;
	for (size_t at = 0; at <= value.n;) {
		size_t end = slice_find(value, ',', at);
		struct slice word = {value.p + at, end - at};
		size_t i = 0;

		while (i < count &&
		       !slice_equals_nocase(word, slice_of(words[i].name)))
			i++;
		if (i == count || (notify & words[i].bit) != 0)
			return -1;
		notify |= words[i].bit;
		at = end + 1;
	}
	if ((notify & SMTP_NOTIFY_NEVER) != 0 && notify != SMTP_NOTIFY_NEVER)
		return -1;
	to->rcpt->notify = notify;
	return 0;
}

static unsigned
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A') + 10;
	return 16;
}

/*
 * EmbeddedUnicodeChar of RFC 6533 section 3: "\x{20AC}".  The character at the
 * front of s; returns what it took, or 0.
 */
static size_t
embedded_character(struct slice s, uint32_t *code_r)
{
	size_t i = 3;

	*code_r = 0;
	if (!slice_starts_nocase(s, "\\x{"))
		return 0;
	for (; i < s.n && i < 3 + 6 && hex_digit(s.p[i]) < 16; i++)
		*code_r = *code_r << 4 | hex_digit(s.p[i]);
	if (i == 3 || i == s.n || s.p[i] != '}' || *code_r > 0x10ffff)
		return 0;
	return i + 1;
}

/* The address of "utf-8;": utf-8-addr-xtext or, raw, utf-8-addr-unitext. */
static bool
is_utf8_address(struct slice s, bool is_smtputf8)
{
	if (!is_smtputf8 && !utf8_is_ascii(s))
		return false;
	while (s.n > 0) {
		uint32_t code;
		size_t n = s.p[0] == '\\' ? embedded_character(s, &code)
					  : utf8_decode(s, &code);

		if (n == 0 || utf8_is_control(code) ||
		    utf8_is_deceptive(code) || s.p[0] == ' ')
			return false;
		s.p += n;
		s.n -= n;
	}
	return true;
}

static bool
is_letter_or_digit(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c >= '0' && c <= '9');
}

static bool
is_address_type(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_letter_or_digit(s.p[i]) && s.p[i] != '-')
			return false;
	return s.n > 0;
}

static int
read_orcpt(struct parameters *to, bool has_value, struct slice value)
{
	size_t semicolon = slice_find(value, ';', 0);
	struct slice type = {value.p, semicolon};
	struct slice rest;
	bool is_right;

	/* An empty address would make an empty DSN field. */
	if (!has_value || value.n < semicolon + 2 || !is_address_type(type))
		return -1;
	rest = (struct slice){value.p + semicolon + 1, value.n - semicolon - 1};
	if (slice_equals_nocase(type, SLICE("utf-8")))
		is_right = is_utf8_address(rest, to->is_smtputf8);
	else
		is_right = is_printable_xtext(rest);
	if (!is_right)
		return -1;
	return slice_copy(value, to->rcpt->orcpt, sizeof(to->rcpt->orcpt));
}

static const struct parameter_row mail_parameters[] = {
    {"SIZE", read_size},
    {"BODY", read_body},
    {"SMTPUTF8", read_smtputf8},
    {"RET", read_ret},
    {"ENVID", read_envid},
    {"AUTH", read_auth},
    {NULL, NULL},
};

static const struct parameter_row rcpt_parameters[] = {
    {"NOTIFY", read_notify},
    {"ORCPT", read_orcpt},
    {NULL, NULL},
};

/* One parameter; seen_bits has a bit for each row that came before. */
static int
read_parameter(struct slice text, const struct parameter_row *rows,
    struct parameters *to, unsigned *seen_bits, struct smtp_status *status_r)
{
	size_t equals = slice_find(text, '=', 0);
	bool has_value = equals < text.n;
	struct slice keyword = {text.p, equals};
	struct slice value = {NULL, 0};
	char shown[64];
	size_t i = 0;

	if (has_value)
		value =
		    (struct slice){text.p + equals + 1, text.n - equals - 1};
	while (rows[i].keyword != NULL &&
	       !slice_equals_nocase(keyword, slice_of(rows[i].keyword)))
		i++;
	if (rows[i].keyword == NULL)
		return smtp_status_set(status_r, 555, "5.5.4",
		    "Parameter %s is not known here",
		    printable_ascii(keyword, shown, sizeof(shown)));
	if ((*seen_bits & 1u << i) != 0)
		return smtp_status_set(status_r, 501, "5.5.4",
		    "Parameter %s came twice", rows[i].keyword);
	*seen_bits |= 1u << i;
	if (rows[i].read(to, has_value, value) == -1)
		return smtp_status_set(status_r, 501, "5.5.4",
		    "Parameter %s has a bad value", rows[i].keyword);
	return 0;
}

static int
read_parameters(struct slice text, const struct parameter_row *rows,
    struct parameters *to, struct smtp_status *status_r)
{
	unsigned seen_bits = 0;

	for (size_t at = 0; at < text.n;) {
		size_t end = slice_find(text, ' ', at);

		if (end > at &&
		    read_parameter((struct slice){text.p + at, end - at}, rows,
			to, &seen_bits, status_r) == -1)
			return -1;
		at = end + 1;
	}
	return 0;
}

int
smtp_parameter_read_mail(
    struct slice text, struct smtp_mail *mail, struct smtp_status *status_r)
{
	struct parameters to = {.mail = mail};

	return read_parameters(text, mail_parameters, &to, status_r);
}

int
smtp_parameter_read_rcpt(struct slice text, bool is_smtputf8,
    struct smtp_rcpt *rcpt, struct smtp_status *status_r)
{
	struct parameters to = {.rcpt = rcpt, .is_smtputf8 = is_smtputf8};

	return read_parameters(text, rcpt_parameters, &to, status_r);
}
