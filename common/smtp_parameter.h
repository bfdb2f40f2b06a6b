/* SPDX-License-Identifier: ISC */
/*
 * The parameters of MAIL and RCPT.  Only smtp_command.c calls this; sessions
 * use smtp_mail_parse() and smtp_rcpt_parse().
 */
#ifndef COMMON_SMTP_PARAMETER_H
#define COMMON_SMTP_PARAMETER_H

#include "common/smtp_command.h"

/*
 * Reads "KEYWORD=VALUE KEYWORD ..." (parted by spaces) into the members that
 * the keywords stand for; the address is left alone.  -1 with *status_r as
 * smtp_mail_parse() says; the members are then half filled.
 */
int smtp_parameter_read_mail(
    struct slice text, struct smtp_mail *mail, struct smtp_status *status_r);
int smtp_parameter_read_rcpt(struct slice text, bool is_smtputf8,
    struct smtp_rcpt *rcpt, struct smtp_status *status_r);

#endif
