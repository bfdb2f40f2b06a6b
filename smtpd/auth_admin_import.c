/* SPDX-License-Identifier: ISC */
/*
 * Users from a CSV file: name,password,address...  A first row that begins
 * with "name" is a heading.  Somebody who is there already gets the password,
 * where there is one, and the addresses.
 * Runs in: postern-authd.  One password after the other is hashed in a thread,
 * behind the logins that wait; then all is written in one transaction.
 */
#include <stdlib.h>
#include <string.h>

#include "smtpd/auth_admin.h"
#include "smtpd/csv.h"

/* 2.5 ms each, and confd waits for two minutes. */
#define PASSWORDS_MAX 20000

struct row {
	struct account_name name;
	size_t line;
	char *password; /* NULL: none */
	struct scram_verifier verifier;
	char **identities;
	size_t identity_count;
};

struct import {
	struct pool_task task; /* one row's password */
	struct admin_request *request;
	unsigned char secret[SCRAM_KEY_SIZE];
	struct row *rows;
	size_t count;
	size_t at; /* the row in work */
	json_t *problems;
	size_t added;
	size_t changed;
	struct import *next;
};

struct auth_admin_jobs {
	struct import *imports;
};

static void
clear_password(struct row *row)
{
	if (row->password != NULL)
		explicit_bzero(row->password, strlen(row->password));
	free(row->password);
	row->password = NULL;
}

static void
free_row(struct row *row)
{
	clear_password(row);
	for (size_t i = 0; i < row->identity_count; i++)
		free(row->identities[i]);
	free(row->identities);
	explicit_bzero(row, sizeof(*row));
}

static void
free_import(struct import *import)
{
	for (size_t i = 0; i < import->count; i++)
		free_row(&import->rows[i]);
	free(import->rows);
	json_decref(import->problems);
	explicit_bzero(import->secret, sizeof(import->secret));
	free(import);
}

/* ---- reading ---- */

static int
read_identities(const struct csv_row *fields, struct row *row, struct err *err)
{
	char identity[TOKEN_IDENTITY_MAX + 1];

	row->identities = xcalloc(CSV_FIELDS_MAX, sizeof(char *));
	for (size_t i = 2; i < fields->count; i++) {
		if (fields->fields[i].n == 0)
			continue;
		if (token_identity_parse(fields->fields[i], identity, err) ==
		    -1)
			return -1;
		row->identities[row->identity_count++] = xstrdup(identity);
	}
	return 0;
}

static int
read_fields(const struct csv_row *fields, struct row *row, struct err *err)
{
	row->line = fields->line;
	if (account_name_parse(fields->fields[0], &row->name, err) == -1)
		return -1;
	if (row->name.label[0] != '\0')
		return err_set(err, "a user name holds no +");
	if (fields->count > 1 && fields->fields[1].n > 0) {
		if (scram_password_check(fields->fields[1], err) == -1)
			return -1;
		row->password = slice_dup(fields->fields[1]);
	}
	return read_identities(fields, row, err);
}

static void
take_row(struct import *import, const struct csv_row *fields)
{
	struct row row = {.password = NULL};
	struct err err;

	if (fields->line == 1 &&
	    slice_equals_nocase(fields->fields[0], SLICE("name")))
		return;
	if (read_fields(fields, &row, &err) == -1) {
		admin_add_problem(import->problems, fields->line, err.text);
		free_row(&row);
		return;
	}
	/* Doubled where the number is a power of two. */
	if ((import->count & (import->count - 1)) == 0) {
		size_t room = import->count == 0 ? 1 : import->count * 2;
		struct row *rows = xcalloc(room, sizeof(*rows));

		if (import->count > 0) {
			memcpy(
			    rows, import->rows, import->count * sizeof(*rows));
			free(import->rows);
		}
		import->rows = rows;
	}
	import->rows[import->count++] = row;
}

static int
read_text(struct import *import, struct slice text, struct err *err)
{
	size_t passwords = 0;
	struct csv_row row;
	struct csv csv;
	int rc;

	csv_init(&csv, text);
	csv_row_init(&row);
	while ((rc = csv_next(&csv, &row, err)) != 0) {
		if (rc == -1)
			admin_add_problem(
			    import->problems, row.line, err->text);
		else
			take_row(import, &row);
	}
	csv_row_clear(&row);
	for (size_t i = 0; i < import->count; i++)
		passwords += import->rows[i].password != NULL ? 1 : 0;
	if (passwords > PASSWORDS_MAX)
		return err_set(err,
		    "%zu passwords at once; split the file, %d are the most",
		    passwords, PASSWORDS_MAX);
	return 0;
}

/* ---- writing ---- */

static enum accounts_result
write_identities(struct accounts *accounts, const struct row *row,
    bool *has_new_r, struct err *err)
{
	struct account account;
	enum accounts_result result =
	    accounts_find(accounts, row->name.name, &account, err);

	for (size_t i = 0; result == ACCOUNTS_OK && i < row->identity_count;
	     i++) {
		result = accounts_identity_add(
		    accounts, &account, row->identities[i], err);
		if (result == ACCOUNTS_OK)
			*has_new_r = true;
		else if (result == ACCOUNTS_EXISTS)
			result = ACCOUNTS_OK;
	}
	return result;
}

static enum accounts_result
write_row(struct import *import, struct row *row, struct err *err)
{
	struct accounts *accounts = import->request->authd->accounts;
	const struct scram_verifier *verifier =
	    row->password == NULL ? NULL : &row->verifier;
	bool has_change = false;
	int64_t id;
	enum accounts_result result = accounts_add(
	    accounts, row->name.name, verifier, authd_now_s(), &id, err);
	bool is_new = result == ACCOUNTS_OK;

	if (result == ACCOUNTS_EXISTS && verifier != NULL) {
		result = accounts_set_password(
		    accounts, row->name.name, verifier, authd_now_s(), err);
		has_change = true;
	}
	if (result == ACCOUNTS_EXISTS || result == ACCOUNTS_OK)
		result = write_identities(accounts, row, &has_change, err);
	if (result == ACCOUNTS_OK && is_new)
		import->added++;
	else if (result == ACCOUNTS_OK && has_change)
		import->changed++;
	return result;
}

static int
write_rows(struct import *import, bool is_kept, struct err *err)
{
	struct accounts *accounts = import->request->authd->accounts;
	enum accounts_result result = ACCOUNTS_OK;

	if (accounts_batch_begin(accounts, err) == -1)
		return -1;
	for (size_t i = 0; i < import->count && result != ACCOUNTS_FAILED;
	     i++) {
		result = write_row(import, &import->rows[i], err);
		if (result != ACCOUNTS_OK && result != ACCOUNTS_FAILED)
			admin_add_problem(
			    import->problems, import->rows[i].line, err->text);
	}
	if (result == ACCOUNTS_FAILED) {
		(void)accounts_batch_end(accounts, false, NULL);
		return -1;
	}
	return accounts_batch_end(accounts, is_kept, err);
}

static enum auth_admin_code
write_import(struct import *import)
{
	struct admin_request *request = import->request;
	bool is_trial = admin_flag(request, "dry_run");
	struct err err;

	if (write_rows(import, !is_trial, &err) == -1)
		return admin_fail(request, ADMIN_FAILED, NULL, "%s", err.text);
	password_cache_drop_all(request->authd->env.cache);
	request->reply = json_pack("{s:I, s:I, s:O, s:b}", "added",
	    (json_int_t)import->added, "changed", (json_int_t)import->changed,
	    "failed", import->problems, "dry_run", is_trial);
	return ADMIN_DONE;
}

/* ---- hashing ---- */

static void
end_import(struct import *import)
{
	struct import **at = &import->request->authd->admin_jobs->imports;
	enum auth_admin_code code = write_import(import);

	while (*at != import)
		at = &(*at)->next;
	*at = import->next;
	admin_answer(import->request, code);
	free_import(import);
}

static void
run_hash(struct pool_task *task)
{
	struct import *import = (struct import *)task;
	struct row *row = &import->rows[import->at];
	unsigned char salt[SCRAM_SALT_SIZE];

	scram_salt(import->secret, slice_of(row->name.name), salt);
	(void)scram_verifier_make(
	    slice_of(row->password), salt, &row->verifier, NULL);
}

/* Hashes the next password, or writes when there is none left. */
static void
go_on(struct import *import)
{
	while (import->at < import->count &&
	       import->rows[import->at].password == NULL)
		import->at++;
	if (import->at == import->count)
		end_import(import);
	else
		pool_submit(import->request->authd->env.pool, &import->task);
}

static void
on_hashed(struct pool_task *task)
{
	struct import *import = (struct import *)task;

	import->at++;
	go_on(import);
}

enum auth_admin_code
admin_user_import(struct admin_request *request)
{
	const char *text = admin_text(request, "csv");
	struct authd *authd = request->authd;
	struct import *import;
	struct err err;

	if (text == NULL)
		return admin_fail(request, ADMIN_USAGE, NULL,
		    "the argument \"csv\" is missing");
	import = xcalloc(1, sizeof(*import));
	import->request = request;
	import->problems = json_array();
	import->task.run = run_hash;
	import->task.done = on_hashed;
	memcpy(import->secret, accounts_secret(authd->accounts),
	    sizeof(import->secret));
	if (read_text(import, slice_of(text), &err) == -1) {
		free_import(import);
		return admin_fail(request, ADMIN_USAGE, NULL, "%s", err.text);
	}
	if (authd->admin_jobs == NULL)
		authd->admin_jobs = xcalloc(1, sizeof(*authd->admin_jobs));
	import->next = authd->admin_jobs->imports;
	authd->admin_jobs->imports = import;
	/* A trial needs no hashes. */
	if (admin_flag(request, "dry_run"))
		import->at = import->count;
	go_on(import);
	return ADMIN_LATER;
}

void
admin_import_drop_channel(struct authd *authd, const struct channel *channel)
{
	struct import *at =
	    authd->admin_jobs == NULL ? NULL : authd->admin_jobs->imports;

	for (; at != NULL; at = at->next)
		if (at->request->channel == channel)
			at->request->channel = NULL;
}
