/* SPDX-License-Identifier: ISC */
/*
 * Names of accounts in one canonical form.
 * Runs in: postern-authd.  Trusts: nothing.
 */
#include <stdio.h>
#include <string.h>

#include "common/domain.h"
#include "smtpd/account_name.h"

#define LOCAL_MAX 64

static bool
is_alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

/* Not tolower(), which asks the locale. */
static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Letters, digits and the others given; the first a letter or digit. */
static int
copy_word(struct slice text, const char *others, char *out, size_t out_size)
{
	if (text.n == 0 || text.n >= out_size || !is_alphanumeric(text.p[0]))
		return -1;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (!is_alphanumeric(c) &&
		    (c == '\0' || strchr(others, c) == NULL))
			return -1;
		out[i] = lower(c);
	}
	out[text.n] = '\0';
	return 0;
}

int
account_label_parse(
    struct slice text, char label_r[ACCOUNT_LABEL_MAX + 1], struct err *err)
{
	char label[ACCOUNT_LABEL_MAX + 1] = "";

	if (copy_word(text, "._-", label, sizeof(label)) == -1)
		return err_set(err,
		    "a label is made of up to %d ASCII letters, digits and "
		    ". _ -, and begins with a letter or digit",
		    ACCOUNT_LABEL_MAX);
	memcpy(label_r, label, sizeof(label));
	return 0;
}

int
account_name_parse(
    struct slice text, struct account_name *name_r, struct err *err)
{
	size_t at = slice_find(text, '@', 0);
	struct slice before = {text.p, at};
	size_t plus = slice_find(before, '+', 0);
	struct account_name parsed = {.label = ""};
	struct domain domain = {.text = ""};
	char local[LOCAL_MAX + 1];
	int length;

	if (copy_word((struct slice){before.p, plus}, "._-'", local,
		sizeof(local)) == -1)
		return err_set(err,
		    "a user name is made of up to %d ASCII letters, digits "
		    "and . _ - ', begins with a letter or digit, and may end "
		    "in @ and a domain",
		    LOCAL_MAX);
	if (plus < before.n &&
	    account_label_parse(
		(struct slice){before.p + plus + 1, before.n - plus - 1},
		parsed.label, err) == -1)
		return -1;
	if (at < text.n &&
	    domain_parse((struct slice){text.p + at + 1, text.n - at - 1},
		&domain, err) == -1)
		return -1;
	length = snprintf(parsed.name, sizeof(parsed.name), "%s%s%s", local,
	    at < text.n ? "@" : "", domain.text);
	if (length < 0 || (size_t)length >= sizeof(parsed.name))
		return err_set(
		    err, "a user name has at most %d octets", ACCOUNT_NAME_MAX);
	*name_r = parsed;
	return 0;
}

const char *
account_name_format(
    const struct account_name *name, char out[ACCOUNT_LOGIN_SIZE])
{
	const char *at = strchr(name->name, '@');
	size_t local =
	    at == NULL ? strlen(name->name) : (size_t)(at - name->name);

	(void)snprintf(out, ACCOUNT_LOGIN_SIZE, "%.*s%s%s%s", (int)local,
	    name->name, name->label[0] == '\0' ? "" : "+", name->label,
	    at == NULL ? "" : at);
	return out;
}
