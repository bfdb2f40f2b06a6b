/* SPDX-License-Identifier: ISC */
/*
 * Management of users and of their identities.
 * Runs in: postern-authd, in its loop.  Trusts: see auth_admin.c.
 */
#include <stdlib.h>
#include <string.h>

#include "smtpd/auth_admin.h"

/* ---- identities ---- */

json_t *
admin_identities(struct authd *authd, const struct account *account)
{
	json_t *list = json_array();
	char own[TOKEN_IDENTITY_MAX + 1];

	if (strchr(account->name, '@') != NULL &&
	    token_identity_parse(slice_of(account->name), own, NULL) == 0)
		admin_collect(list, slice_of(own));
	if (accounts_identities(
		authd->accounts, account->id, admin_collect, list, NULL) == 0)
		return list;
	json_decref(list);
	return NULL;
}

/* Every element of "addresses" is an identity; nothing is changed yet. */
static enum auth_admin_code
check_addresses(struct admin_request *request)
{
	char identity[TOKEN_IDENTITY_MAX + 1];
	struct err err;

	for (size_t i = 0; i < admin_list_size(request, "addresses"); i++) {
		const char *text = admin_list_text(request, "addresses", i);

		if (text == NULL)
			return admin_fail(request, ADMIN_USAGE, NULL,
			    "an address is not a text");
		if (token_identity_parse(slice_of(text), identity, &err) == -1)
			return admin_fail(request, ADMIN_USAGE, NULL, "%s: %s",
			    text, err.text);
	}
	return ADMIN_DONE;
}

typedef enum accounts_result change_fn(struct admin_request *request,
    const struct account *account, const char *identity, struct err *err);

static enum accounts_result
add_one(struct admin_request *request, const struct account *account,
    const char *identity, struct err *err)
{
	return accounts_identity_add(
	    request->authd->accounts, account, identity, err);
}

static enum accounts_result
remove_one(struct admin_request *request, const struct account *account,
    const char *identity, struct err *err)
{
	return accounts_identity_remove(
	    request->authd->accounts, account->id, identity, err);
}

/* All of "addresses" or none; *changed_r counts those that were news. */
static enum accounts_result
change_addresses(struct admin_request *request, const struct account *account,
    change_fn *change, size_t *changed_r, struct err *err)
{
	struct accounts *accounts = request->authd->accounts;
	char identity[TOKEN_IDENTITY_MAX + 1];
	enum accounts_result result = ACCOUNTS_OK;
	size_t changed = 0;

	if (accounts_batch_begin(accounts, err) == -1)
		return ACCOUNTS_FAILED;
	for (size_t i = 0; i < admin_list_size(request, "addresses"); i++) {
		const char *text = admin_list_text(request, "addresses", i);

		(void)token_identity_parse(slice_of(text), identity, NULL);
		result = change(request, account, identity, err);
		if (result == ACCOUNTS_OK)
			changed++;
		else if (result == ACCOUNTS_REFUSED ||
			 result == ACCOUNTS_FAILED)
			break;
		result = ACCOUNTS_OK;
	}
	if (accounts_batch_end(accounts, result == ACCOUNTS_OK, err) == -1)
		return ACCOUNTS_FAILED;
	*changed_r = changed;
	return result;
}

static enum auth_admin_code
reply_identities(struct admin_request *request, const struct account *account)
{
	request->reply = json_pack("{s:s, s:o*}", "user", account->name,
	    "addresses", admin_identities(request->authd, account));
	return ADMIN_DONE;
}

static enum auth_admin_code
change_identities(struct admin_request *request, change_fn *change,
    enum auth_admin_code unchanged, const char *nothing)
{
	struct account account;
	enum accounts_result result;
	enum auth_admin_code code = admin_find_user(request, "user", &account);
	size_t changed = 0;
	struct err err;

	if (code != ADMIN_DONE ||
	    (code = check_addresses(request)) != ADMIN_DONE)
		return code;
	if (admin_list_size(request, "addresses") == 0)
		return admin_fail(request, ADMIN_USAGE, NULL,
		    "the argument \"addresses\" is missing");
	result = change_addresses(request, &account, change, &changed, &err);
	if (result != ACCOUNTS_OK)
		return admin_fail_result(request, result, &err);
	if (changed == 0)
		return admin_fail(request, unchanged, "postern user show USER",
		    "%s %s", account.name, nothing);
	return reply_identities(request, &account);
}

enum auth_admin_code
admin_identity_add(struct admin_request *request)
{
	return change_identities(
	    request, add_one, ADMIN_CONFLICT, "may send as these already");
}

enum auth_admin_code
admin_identity_remove(struct admin_request *request)
{
	return change_identities(request, remove_one, ADMIN_NOTHING,
	    "has none of these, beside the own name");
}

enum auth_admin_code
admin_identity_list(struct admin_request *request)
{
	struct account account;
	enum auth_admin_code code = admin_find_user(request, "user", &account);

	return code == ADMIN_DONE ? reply_identities(request, &account) : code;
}

/* ---- users ---- */

/*
 * The password to be set: the one given, or a new one, which is then told
 * once in the reply.  *has_r is false for an account without its own.
 */
static int
choose_password(struct admin_request *request, const char *name,
    struct scram_verifier *verifier_r, bool *has_r, struct err *err)
{
	const char *given = admin_text(request, "password");
	char made[ADMIN_PASSWORD_SIZE];
	int rc;

	*has_r = !admin_flag(request, "no_password");
	if (!*has_r)
		return 0;
	if (given != NULL)
		return admin_make_verifier(
		    request->authd, name, slice_of(given), verifier_r, err);
	admin_make_password(made);
	rc = admin_make_verifier(
	    request->authd, name, slice_of(made), verifier_r, err);
	(void)json_object_set_new(
	    request->reply, "password", json_string(made));
	explicit_bzero(made, sizeof(made));
	return rc;
}

/* Together with its identities, or not at all. */
static enum auth_admin_code
insert_user(struct admin_request *request, const char *name,
    const struct scram_verifier *verifier)
{
	struct accounts *accounts = request->authd->accounts;
	struct account account = {.id = 0};
	enum accounts_result result;
	size_t added;
	struct err err;

	result = accounts_add(
	    accounts, name, verifier, authd_now_s(), &account.id, &err);
	if (result == ACCOUNTS_OK)
		result = accounts_find(accounts, name, &account, &err);
	if (result == ACCOUNTS_OK && admin_list_size(request, "addresses") > 0)
		result =
		    change_addresses(request, &account, add_one, &added, &err);
	if (result == ACCOUNTS_OK) {
		(void)json_object_set_new(request->reply, "addresses",
		    admin_identities(request->authd, &account));
		return ADMIN_DONE;
	}
	if (result != ACCOUNTS_EXISTS)
		(void)accounts_remove(accounts, name, NULL);
	return admin_fail_result(request, result, &err);
}

enum auth_admin_code
admin_user_add(struct admin_request *request)
{
	const char *text = admin_text(request, "name");
	struct scram_verifier verifier;
	struct account_name name;
	enum auth_admin_code code;
	bool has_password;
	struct err err;

	if (text == NULL)
		return admin_fail(request, ADMIN_USAGE, NULL,
		    "the argument \"name\" is missing");
	if (account_name_parse(slice_of(text), &name, &err) == -1)
		return admin_fail(request, ADMIN_USAGE, NULL, "%s", err.text);
	if (name.label[0] != '\0')
		return admin_fail(request, ADMIN_USAGE, NULL,
		    "a user name holds no +: what follows one is the label of "
		    "an app password");
	if ((code = check_addresses(request)) != ADMIN_DONE)
		return code;
	request->reply = json_pack("{s:s}", "name", name.name);
	if (choose_password(
		request, name.name, &verifier, &has_password, &err) == -1)
		return admin_fail(request, ADMIN_USAGE, NULL, "%s", err.text);
	code = insert_user(request, name.name, has_password ? &verifier : NULL);
	explicit_bzero(&verifier, sizeof(verifier));
	return code;
}

/* After each change: nothing remembered may let the old one in. */
static enum auth_admin_code
end_change(struct admin_request *request, const struct account *account,
    enum accounts_result result, const struct err *err)
{
	if (result != ACCOUNTS_OK)
		return admin_fail_result(request, result, err);
	password_cache_drop(request->authd->env.cache, account->id);
	if (request->reply == NULL)
		request->reply = json_pack("{s:s}", "name", account->name);
	return ADMIN_DONE;
}

enum auth_admin_code
admin_user_passwd(struct admin_request *request)
{
	struct scram_verifier verifier;
	struct account account;
	enum auth_admin_code code = admin_find_user(request, "name", &account);
	enum accounts_result result;
	bool has_password;
	struct err err;

	if (code != ADMIN_DONE)
		return code;
	request->reply = json_pack("{s:s}", "name", account.name);
	if (choose_password(
		request, account.name, &verifier, &has_password, &err) == -1)
		return admin_fail(request, ADMIN_USAGE, NULL, "%s", err.text);
	result = accounts_set_password(request->authd->accounts, account.name,
	    has_password ? &verifier : NULL, authd_now_s(), &err);
	explicit_bzero(&verifier, sizeof(verifier));
	return end_change(request, &account, result, &err);
}

static enum auth_admin_code
set_disabled(struct admin_request *request, bool is_disabled)
{
	struct account account;
	enum auth_admin_code code = admin_find_user(request, "name", &account);
	enum accounts_result result;
	struct err err;

	if (code != ADMIN_DONE)
		return code;
	result = accounts_set_disabled(
	    request->authd->accounts, account.name, is_disabled, &err);
	return end_change(request, &account, result, &err);
}

enum auth_admin_code
admin_user_disable(struct admin_request *request)
{
	return set_disabled(request, true);
}

enum auth_admin_code
admin_user_enable(struct admin_request *request)
{
	return set_disabled(request, false);
}

enum auth_admin_code
admin_user_remove(struct admin_request *request)
{
	struct account account;
	enum auth_admin_code code = admin_find_user(request, "name", &account);
	enum accounts_result result;
	struct err err;

	if (code != ADMIN_DONE)
		return code;
	result = accounts_remove(request->authd->accounts, account.name, &err);
	return end_change(request, &account, result, &err);
}

static json_t *
user_json(struct authd *authd, const struct account *account)
{
	return json_pack("{s:s, s:b, s:b, s:o*, s:I, s:I, s:I}", "name",
	    account->name, "is_disabled", account->is_disabled, "has_password",
	    account->verifier[0] != '\0', "addresses",
	    admin_identities(authd, account), "created",
	    (json_int_t)account->created_s, "password_changed",
	    (json_int_t)account->password_changed_s, "last_login",
	    (json_int_t)account->last_login_s);
}

enum auth_admin_code
admin_user_show(struct admin_request *request)
{
	struct account account;
	enum auth_admin_code code = admin_find_user(request, "name", &account);

	if (code != ADMIN_DONE)
		return code;
	request->reply = user_json(request->authd, &account);
	(void)json_object_set_new(request->reply, "app_passwords",
	    admin_apps(request->authd, &account));
	return ADMIN_DONE;
}

/* Accounts are collected first: their identities are statements too. */
struct user_list {
	struct account *accounts;
	size_t count;
};

static void
collect_user(void *arg, const struct account *account)
{
	struct user_list *list = arg;

	list->accounts[list->count++] = *account;
}

enum auth_admin_code
admin_user_list(struct admin_request *request)
{
	size_t limit = admin_limit(request);
	struct user_list list = {
	    .accounts = xcalloc(limit, sizeof(*list.accounts))};
	json_t *users = json_array();
	struct err err;

	if (accounts_list(request->authd->accounts, admin_cursor(request),
		limit, collect_user, &list, &err) == -1) {
		json_decref(users);
		free(list.accounts);
		return admin_fail(request, ADMIN_FAILED, NULL, "%s", err.text);
	}
	for (size_t i = 0; i < list.count; i++)
		(void)json_array_append_new(
		    users, user_json(request->authd, &list.accounts[i]));
	request->reply = json_pack("{s:o}", "users", users);
	if (list.count == limit)
		(void)json_object_set_new(request->reply, "next",
		    json_string(list.accounts[limit - 1].name));
	free(list.accounts);
	return ADMIN_DONE;
}
