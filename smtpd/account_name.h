/* SPDX-License-Identifier: ISC */
/*
 * The names that people log in with.  A name is NAME or NAME@DOMAIN: NAME
 * ASCII letters, digits and . _ - ' beginning with a letter or digit, at most
 * 64; DOMAIN a domain name.  Letters count in lower case, the domain by its
 * A-labels, so one account has one name.  NAME+LABEL and NAME+LABEL@DOMAIN
 * mean the account's app password of that label.
 */
#ifndef SMTPD_ACCOUNT_NAME_H
#define SMTPD_ACCOUNT_NAME_H

#include "common/buf.h"
#include "common/err.h"

#define ACCOUNT_NAME_MAX 254
#define ACCOUNT_LABEL_MAX 63

struct account_name {
	char name[ACCOUNT_NAME_MAX + 1];   /* canonical, without the label */
	char label[ACCOUNT_LABEL_MAX + 1]; /* "" without one */
};

/* -1 unless all of text is a name, with or without a label. */
int account_name_parse(
    struct slice text, struct account_name *name_r, struct err *err);

/* "name+label@domain" and a NUL. */
#define ACCOUNT_LOGIN_SIZE (ACCOUNT_NAME_MAX + 1 + ACCOUNT_LABEL_MAX + 1)

/* The one spelling of what was parsed, with its label.  Returns out. */
const char *account_name_format(
    const struct account_name *name, char out[ACCOUNT_LOGIN_SIZE]);

/* A label alone, in lower case. */
int account_label_parse(
    struct slice text, char label_r[ACCOUNT_LABEL_MAX + 1], struct err *err);

#endif
