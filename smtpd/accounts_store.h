/* SPDX-License-Identifier: ISC */
/*
 * What the files that work on accounts.db share; for nobody else.
 */
#ifndef SMTPD_ACCOUNTS_STORE_H
#define SMTPD_ACCOUNTS_STORE_H

#include "smtpd/accounts.h"

/*
 * Logins that are noted and not written yet.  More within one flush are not
 * noted: the times are for people, who look once a minute.
 */
#define ACCOUNTS_NOTES_MAX 256

struct login_note {
	int64_t user_id;
	int64_t app_id;
	struct netaddr client;
	int64_t time_s;
};

struct accounts {
	struct sql *sql;
	unsigned char secret[SCRAM_KEY_SIZE];
	struct login_note notes[ACCOUNTS_NOTES_MAX];
	size_t note_count;
	bool is_batch; /* a transaction of accounts_batch_begin() is open */
};

/* Begins a transaction, unless a batch has one open. */
int accounts_begin(struct accounts *accounts, struct err *err);

/* Commits when rc is 0, else rolls back; in a batch that is for its end. */
enum accounts_result accounts_end(
    struct accounts *accounts, int rc, struct err *err);

/* The texts of a statement's first column, for one id. */
int accounts_each_text(struct accounts *accounts, size_t statement, int64_t id,
    accounts_text_fn *each, void *arg, struct err *err);

/* Is that identity within the user's own? */
bool accounts_covers(struct accounts *accounts, const struct account *account,
    const char *identity);

#endif
