/* SPDX-License-Identifier: ISC */
/*
 * Management of app passwords.
 * Runs in: postern-authd, in its loop.  Trusts: see auth_admin.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtpd/auth_admin.h"

/* What a request asks for, read. */
struct app_arguments {
	char label[ACCOUNT_LABEL_MAX + 1]; /* "": one is to be found */
	char (*senders)[TOKEN_IDENTITY_MAX + 1];
	const char **sender_texts;
	size_t sender_count;
	struct netprefix *networks;
	size_t network_count;
	int64_t expires_s;
};

static void
free_arguments(struct app_arguments *app)
{
	free(app->senders);
	free(app->sender_texts);
	free(app->networks);
}

static int
read_senders(const struct admin_request *request, struct app_arguments *app,
    struct err *err)
{
	size_t count = admin_list_size(request, "from");

	if (count > ACCOUNTS_APP_SENDERS_MAX)
		return err_set(
		    err, "at most %d senders", ACCOUNTS_APP_SENDERS_MAX);
	app->senders = xcalloc(count + 1, sizeof(*app->senders));
	app->sender_texts = xcalloc(count + 1, sizeof(*app->sender_texts));
	for (size_t i = 0; i < count; i++) {
		const char *text = admin_list_text(request, "from", i);

		if (text == NULL)
			return err_set(err, "a sender is not a text");
		if (token_identity_parse(
			slice_of(text), app->senders[i], err) == -1)
			return err_wrap(err, "%s", text);
		app->sender_texts[i] = app->senders[i];
	}
	app->sender_count = count;
	return 0;
}

static int
read_networks(const struct admin_request *request, struct app_arguments *app,
    struct err *err)
{
	size_t count = admin_list_size(request, "networks");

	if (count > ACCOUNTS_APP_NETWORKS_MAX)
		return err_set(
		    err, "at most %d networks", ACCOUNTS_APP_NETWORKS_MAX);
	app->networks = xcalloc(count + 1, sizeof(*app->networks));
	for (size_t i = 0; i < count; i++) {
		const char *text = admin_list_text(request, "networks", i);

		if (text == NULL)
			return err_set(err, "a network is not a text");
		if (netprefix_parse(slice_of(text), &app->networks[i], err) ==
		    -1)
			return err_wrap(err, "%s", text);
	}
	app->network_count = count;
	return 0;
}

static int
read_arguments(const struct admin_request *request, struct app_arguments *app,
    struct err *err)
{
	const char *label = admin_text(request, "label");

	memset(app, 0, sizeof(*app));
	if (label != NULL &&
	    account_label_parse(slice_of(label), app->label, err) == -1)
		return -1;
	app->expires_s =
	    json_integer_value(json_object_get(request->arguments, "expires"));
	if (app->expires_s < 0 ||
	    (app->expires_s != 0 && app->expires_s <= authd_now_s()))
		return err_set(err, "that expiry has passed");
	if (read_senders(request, app, err) == -1 ||
	    read_networks(request, app, err) == -1)
		return -1;
	return 0;
}

/* Where no label was given: "app-1" and so on, the first that is free. */
static enum accounts_result
add_app(struct admin_request *request, const struct account *account,
    struct app_arguments *app, const struct scram_verifier *verifier,
    int64_t *id_r, struct err *err)
{
	struct app_password_new new_app = {.label = app->label,
	    .verifier = verifier,
	    .expires_s = app->expires_s,
	    .senders = app->sender_texts,
	    .sender_count = app->sender_count,
	    .networks = app->networks,
	    .network_count = app->network_count};
	bool is_named = app->label[0] != '\0';
	enum accounts_result result = ACCOUNTS_EXISTS;

	for (int i = 1; result == ACCOUNTS_EXISTS && i <= ACCOUNTS_APPS_MAX;
	     i++) {
		if (!is_named)
			(void)snprintf(
			    app->label, sizeof(app->label), "app-%d", i);
		result = accounts_app_add(request->authd->accounts, account,
		    &new_app, authd_now_s(), id_r, err);
		if (is_named)
			break;
	}
	return result;
}

/* "alice+printer@example.org": the name under which it alone counts. */
static json_t *
login_json(const struct account *account, const char *label)
{
	struct account_name name;
	char text[ACCOUNT_LOGIN_SIZE];

	(void)snprintf(name.name, sizeof(name.name), "%s", account->name);
	(void)snprintf(name.label, sizeof(name.label), "%s", label);
	return json_string(account_name_format(&name, text));
}

static enum auth_admin_code
make_app(struct admin_request *request, const struct account *account,
    struct app_arguments *app)
{
	struct scram_verifier verifier;
	char password[ADMIN_PASSWORD_SIZE];
	enum accounts_result result;
	int64_t id;
	struct err err;

	admin_make_password(password);
	if (admin_make_verifier(request->authd, account->name,
		slice_of(password), &verifier, &err) == -1)
		return admin_fail(request, ADMIN_FAILED, NULL, "%s", err.text);
	result = add_app(request, account, app, &verifier, &id, &err);
	if (result == ACCOUNTS_OK)
		request->reply = json_pack("{s:o, s:s, s:o, s:s}", "id",
		    json_sprintf("%lld", (long long)id), "label", app->label,
		    "login", login_json(account, app->label), "password",
		    password);
	explicit_bzero(password, sizeof(password));
	explicit_bzero(&verifier, sizeof(verifier));
	if (result == ACCOUNTS_REFUSED)
		return admin_fail(request, ADMIN_USAGE,
		    "postern identity add USER ADDRESS", "%s", err.text);
	return result == ACCOUNTS_OK ? ADMIN_DONE
				     : admin_fail_result(request, result, &err);
}

enum auth_admin_code
admin_app_add(struct admin_request *request)
{
	struct app_arguments app;
	struct account account;
	enum auth_admin_code code = admin_find_user(request, "user", &account);
	struct err err;

	if (code != ADMIN_DONE)
		return code;
	if (read_arguments(request, &app, &err) == -1)
		code = admin_fail(request, ADMIN_USAGE, NULL, "%s", err.text);
	else
		code = make_app(request, &account, &app);
	free_arguments(&app);
	return code;
}

/* ---- those that there are ---- */

struct app_list {
	struct app_password apps[ACCOUNTS_APPS_MAX];
	size_t count;
};

static void
collect_app(void *arg, const struct app_password *app)
{
	struct app_list *list = arg;

	if (list->count < ACCOUNTS_APPS_MAX)
		list->apps[list->count++] = *app;
}

static json_t *
app_json(struct authd *authd, const struct account *account,
    const struct app_password *app)
{
	json_t *from = json_array();
	json_t *networks = json_array();

	(void)accounts_app_senders(
	    authd->accounts, app->id, admin_collect, from, NULL);
	(void)accounts_app_networks(
	    authd->accounts, app->id, admin_collect, networks, NULL);
	return json_pack("{s:o, s:s, s:o, s:o, s:o, s:I, s:I, s:I, s:s}", "id",
	    json_sprintf("%lld", (long long)app->id), "label", app->label,
	    "login", login_json(account, app->label), "from", from, "networks",
	    networks, "created", (json_int_t)app->created_s, "expires",
	    (json_int_t)app->expires_s, "last_used",
	    (json_int_t)app->last_used_s, "last_client", app->last_client);
}

json_t *
admin_apps(struct authd *authd, const struct account *account)
{
	struct app_list list = {.count = 0};
	json_t *apps = json_array();

	(void)accounts_apps(
	    authd->accounts, account->id, collect_app, &list, NULL);
	for (size_t i = 0; i < list.count; i++)
		(void)json_array_append_new(
		    apps, app_json(authd, account, &list.apps[i]));
	return apps;
}

enum auth_admin_code
admin_app_list(struct admin_request *request)
{
	struct account account;
	enum auth_admin_code code = admin_find_user(request, "user", &account);

	if (code != ADMIN_DONE)
		return code;
	request->reply = json_pack(
	    "{s:o}", "app_passwords", admin_apps(request->authd, &account));
	return ADMIN_DONE;
}

/* By its number or its label; 0 when there is none. */
static int64_t
find_app(const struct app_list *list, const char *text)
{
	char id[24];

	for (size_t i = 0; i < list->count; i++) {
		(void)snprintf(
		    id, sizeof(id), "%lld", (long long)list->apps[i].id);
		if (strcmp(text, id) == 0 ||
		    strcmp(text, list->apps[i].label) == 0)
			return list->apps[i].id;
	}
	return 0;
}

enum auth_admin_code
admin_app_remove(struct admin_request *request)
{
	const char *text = admin_text(request, "id");
	struct app_list list = {.count = 0};
	struct account account;
	enum auth_admin_code code = admin_find_user(request, "user", &account);
	enum accounts_result result;
	int64_t id;
	struct err err;

	if (code != ADMIN_DONE)
		return code;
	(void)accounts_apps(
	    request->authd->accounts, account.id, collect_app, &list, NULL);
	if (text == NULL || (id = find_app(&list, text)) == 0)
		return admin_fail(request, ADMIN_NOTHING,
		    "postern user app-password list USER",
		    "%s has no such app password", account.name);
	result =
	    accounts_app_remove(request->authd->accounts, account.id, id, &err);
	if (result != ACCOUNTS_OK)
		return admin_fail_result(request, result, &err);
	password_cache_drop(request->authd->env.cache, account.id);
	request->reply = json_pack("{s:s}", "user", account.name);
	return ADMIN_DONE;
}
