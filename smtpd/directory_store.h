/* SPDX-License-Identifier: ISC */
/*
 * Recipients and aliases in accounts.db.  Addresses are canonical: folded
 * (address_format_folded), an alias's own may be "@domain" for all of it.
 *
 * Functions return enum accounts_result, or 0 and -1 where they say int.
 */
#ifndef SMTPD_DIRECTORY_STORE_H
#define SMTPD_DIRECTORY_STORE_H

#include "smtpd/accounts.h"

/* Targets of one alias; a larger group is a mailing list's business. */
#define DIRECTORY_TARGETS_MAX 500

enum accounts_result directory_recipient_add(struct accounts *accounts,
    const char *address, const char *domain, struct err *err);
enum accounts_result directory_recipient_remove(
    struct accounts *accounts, const char *address, struct err *err);

/* 1, 0 or -1: listed, or an account's own name. */
int directory_has_recipient(
    struct accounts *accounts, const char *address, struct err *err);

/* Up to limit addresses after that one; domain: "" for all. */
int directory_recipients(struct accounts *accounts, const char *domain,
    const char *after, size_t limit, accounts_text_fn *each, void *arg,
    struct err *err);

enum accounts_result directory_alias_add(struct accounts *accounts,
    const char *address, const char *domain, const char *target,
    struct err *err);
/* target: NULL for the alias with all its targets. */
enum accounts_result directory_alias_remove(struct accounts *accounts,
    const char *address, const char *target, struct err *err);
int directory_alias_targets(struct accounts *accounts, const char *address,
    accounts_text_fn *each, void *arg, struct err *err);
int directory_aliases(struct accounts *accounts, const char *domain,
    const char *after, size_t limit, accounts_text_fn *each, void *arg,
    struct err *err);
int directory_alias_domains(struct accounts *accounts, accounts_text_fn *each,
    void *arg, struct err *err);

#endif
