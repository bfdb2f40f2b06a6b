/* SPDX-License-Identifier: ISC */
/*
 * One command line, and its argument as that of each command.
 */
#include <string.h>

#include "common/err.h"
#include "common/smtp_command.h"
#include "common/xtext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A refusal has to become a reply of one line. */
static void
check_status(const struct smtp_status *status)
{
	struct buf out;

	buf_init(&out, 1024);
	if (smtp_reply_format(&out, status->code, status->enhanced,
		slice_of(status->text)) == -1 ||
	    slice_find(buf_slice(&out), '\n', 0) != out.n - 1)
		bug("a refusal of more than one line");
	buf_clear(&out);
}

static void
check_argument(struct slice s)
{
	struct smtp_status status;
	struct smtp_hello hello;
	struct smtp_auth auth;
	struct smtp_mail mail;
	struct smtp_rcpt rcpt;

	if (smtp_hello_parse(s, &hello, &status) == -1)
		check_status(&status);
	if (smtp_auth_parse(s, &auth, &status) == -1)
		check_status(&status);
	if (smtp_mail_parse(s, &mail, &status) == -1)
		check_status(&status);
	else if (!xtext_is_valid(slice_of(mail.envid)) ||
		 !xtext_is_valid(slice_of(mail.auth)))
		bug("bad xtext was taken");
	if (smtp_rcpt_parse(s, false, &rcpt, &status) == -1)
		check_status(&status);
	if (smtp_rcpt_parse(s, true, &rcpt, &status) == -1)
		check_status(&status);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_command command;
	struct smtp_status status;
	struct slice line = {(const char *)data, size};

	if (smtp_command_parse(line, &command, &status) == -1)
		check_status(&status);
	check_argument(command.argument);
	check_argument(line);
	return 0;
}
