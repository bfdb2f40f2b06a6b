/* SPDX-License-Identifier: ISC */
/*
 * Management: from a request to its verb, and what verbs share.
 * Runs in: postern-authd, in its loop.  Trusts: confd for the right to ask;
 * arguments are read like anybody's.  Passwords are never logged, never
 * echoed, and wiped with the arguments.
 */
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/utf8.h"
#include "smtpd/auth_admin.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MOST 1000
/* An error in words. */
#define SENTENCE_MAX 600

static const struct {
	const char *name;
	admin_verb_fn *run;
} verbs[] = {
    {"user.add", admin_user_add},
    {"user.passwd", admin_user_passwd},
    {"user.disable", admin_user_disable},
    {"user.enable", admin_user_enable},
    {"user.remove", admin_user_remove},
    {"user.list", admin_user_list},
    {"user.show", admin_user_show},
    {"user.import", admin_user_import},
    {"identity.add", admin_identity_add},
    {"identity.remove", admin_identity_remove},
    {"identity.list", admin_identity_list},
    {"app_password.add", admin_app_add},
    {"app_password.remove", admin_app_remove},
    {"app_password.list", admin_app_list},
    {"recipient.add", admin_recipient_add},
    {"recipient.remove", admin_recipient_remove},
    {"recipient.list", admin_recipient_list},
    {"recipient.import", admin_recipient_import},
    {"alias.add", admin_alias_add},
    {"alias.remove", admin_alias_remove},
    {"alias.list", admin_alias_list},
    {"alias.import", admin_alias_import},
    {"directory.alias_domains", admin_alias_domains},
};

static void
wipe_and_free(void *p)
{
	if (p != NULL)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

void
auth_admin_init(void)
{
	json_set_alloc_funcs(xmalloc, wipe_and_free);
}

/* ---- answers ---- */

enum auth_admin_code
admin_fail(struct admin_request *request, enum auth_admin_code code,
    const char *hint, const char *format, ...)
{
	char sentence[SENTENCE_MAX];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(sentence, sizeof(sentence), format, ap);
	va_end(ap);
	json_decref(request->reply);
	/* json_string() refuses what is not UTF-8, for instance cut. */
	request->reply = json_pack("{s:s*, s:s*}", "error",
	    utf8_is_valid(slice_of(sentence)) ? sentence : "not UTF-8", "hint",
	    hint);
	return code;
}

enum auth_admin_code
admin_fail_result(struct admin_request *request, enum accounts_result result,
    const struct err *err)
{
	static const enum auth_admin_code codes[] = {[ACCOUNTS_OK] = ADMIN_DONE,
	    [ACCOUNTS_EXISTS] = ADMIN_CONFLICT,
	    [ACCOUNTS_NONE] = ADMIN_NOTHING,
	    [ACCOUNTS_REFUSED] = ADMIN_USAGE,
	    [ACCOUNTS_FAILED] = ADMIN_FAILED};

	return admin_fail(request, codes[result],
	    result == ACCOUNTS_NONE ? "postern user list" : NULL, "%s",
	    err->text);
}

void
admin_request_free(struct admin_request *request)
{
	json_decref(request->arguments);
	json_decref(request->reply);
	free(request);
}

void
admin_answer(struct admin_request *request, enum auth_admin_code code)
{
	struct ipc_mgmt_reply reply = {.code = (uint16_t)code};
	char *text = NULL;

	if (request->reply != NULL)
		text = json_dumps(request->reply, JSON_COMPACT);
	reply.body = text == NULL ? SLICE("{}") : slice_of(text);
	if (reply.body.n > IPC_JSON_MAX) {
		reply.code = ADMIN_FAILED;
		reply.body = SLICE("{\"error\": \"too much for one answer; "
				   "ask with a smaller limit\"}");
	}
	if (request->channel != NULL)
		(void)channel_answer(request->channel, request->request_id,
		    MSG_MGMT_REPLY, &reply);
	if (text != NULL)
		wipe_and_free(text);
	admin_request_free(request);
}

/* ---- requests ---- */

static admin_verb_fn *
find_verb(struct slice name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (slice_equals(name, slice_of(verbs[i].name)))
			return verbs[i].run;
	return NULL;
}

int
auth_admin_on_request(
    struct channel *channel, const struct channel_frame *frame)
{
	const struct ipc_mgmt_request *message = &frame->message->mgmt_request;
	admin_verb_fn *verb = find_verb(message->verb);
	struct admin_request *request = xcalloc(1, sizeof(*request));
	enum auth_admin_code code;

	request->authd = daemon_state(channel_daemon(channel));
	request->channel = channel;
	request->request_id = frame->request_id;
	request->arguments = json_loadb(message->arguments.p,
	    message->arguments.n, JSON_REJECT_DUPLICATES, NULL);
	if (verb == NULL)
		code = admin_fail(request, ADMIN_USAGE, NULL,
		    "postern-authd has no such verb");
	else if (!json_is_object(request->arguments))
		code = admin_fail(request, ADMIN_USAGE, NULL,
		    "the arguments are not a JSON object");
	else
		code = verb(request);
	if (code != ADMIN_LATER)
		admin_answer(request, code);
	return 0;
}

void
auth_admin_drop_channel(struct authd *authd, const struct channel *channel)
{
	admin_import_drop_channel(authd, channel);
}

/* ---- arguments ---- */

const char *
admin_text(const struct admin_request *request, const char *name)
{
	return json_string_value(json_object_get(request->arguments, name));
}

bool
admin_flag(const struct admin_request *request, const char *name)
{
	return json_is_true(json_object_get(request->arguments, name));
}

size_t
admin_list_size(const struct admin_request *request, const char *name)
{
	const json_t *value = json_object_get(request->arguments, name);

	return json_is_string(value) ? 1 : json_array_size(value);
}

const char *
admin_list_text(
    const struct admin_request *request, const char *name, size_t index)
{
	const json_t *value = json_object_get(request->arguments, name);

	return json_string_value(
	    json_is_string(value) ? value : json_array_get(value, index));
}

size_t
admin_limit(const struct admin_request *request)
{
	json_int_t limit =
	    json_integer_value(json_object_get(request->arguments, "limit"));

	if (limit <= 0)
		return LIMIT_DEFAULT;
	return limit > LIMIT_MOST ? LIMIT_MOST : (size_t)limit;
}

const char *
admin_cursor(const struct admin_request *request)
{
	const char *cursor = admin_text(request, "cursor");

	return cursor == NULL ? "" : cursor;
}

void
admin_collect(void *array, struct slice text)
{
	(void)json_array_append_new(array, json_stringn(text.p, text.n));
}

enum auth_admin_code
admin_find_user(struct admin_request *request, const char *argument,
    struct account *account_r)
{
	const char *text = admin_text(request, argument);
	struct account_name name;
	enum accounts_result result;
	struct err err;

	if (text == NULL)
		return admin_fail(request, ADMIN_USAGE, NULL,
		    "the argument \"%s\" is missing", argument);
	if (account_name_parse(slice_of(text), &name, &err) == -1)
		return admin_fail(
		    request, ADMIN_USAGE, "postern user list", "%s", err.text);
	if (name.label[0] != '\0')
		return admin_fail(request, ADMIN_USAGE, "postern user list",
		    "a user name without a label is wanted");
	result =
	    accounts_find(request->authd->accounts, name.name, account_r, &err);
	return result == ACCOUNTS_OK ? ADMIN_DONE
				     : admin_fail_result(request, result, &err);
}

int
admin_own_address(const struct admin_request *request, struct slice text,
    bool may_be_domain, char address_r[ADDRESS_TEXT_MAX],
    struct domain *domain_r, struct err *err)
{
	const struct snapshot *snapshot =
	    daemon_snapshot(request->authd->daemon);
	struct address address;

	if (may_be_domain && text.n > 0 && text.p[0] == '@') {
		if (domain_parse((struct slice){text.p + 1, text.n - 1},
			domain_r, err) == -1)
			return -1;
		(void)snprintf(
		    address_r, ADDRESS_TEXT_MAX, "@%s", domain_r->text);
	} else {
		if (address_parse(text, ADDRESS_MAY_BE_UTF8, &address, err) ==
		    -1)
			return -1;
		if (address.is_literal)
			return err_set(err, "an address literal is not ours");
		*domain_r = address.domain;
		(void)address_format_folded(&address, address_r);
	}
	if (snapshot_domain(snapshot, domain_r) == NULL)
		return err_set(err,
		    "%s is not a domain of ours; \"postern domain add %s\" "
		    "makes it one",
		    domain_r->text, domain_r->text);
	return 0;
}

/* ---- passwords ---- */

void
admin_make_password(char password_r[ADMIN_PASSWORD_SIZE])
{
	/* 32 letters and digits that are not mistaken for one another. */
	static const char alphabet[] = "abcdefghijkmnpqrstuvwxyz23456789";
	unsigned char random[20];
	size_t n = 0;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		fatal("getrandom: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(random); i++) {
		if (i > 0 && i % 5 == 0)
			password_r[n++] = '-';
		password_r[n++] = alphabet[random[i] % 32];
	}
	password_r[n] = '\0';
	explicit_bzero(random, sizeof(random));
}

int
admin_make_verifier(struct authd *authd, const char *name,
    struct slice password, struct scram_verifier *verifier_r, struct err *err)
{
	unsigned char salt[SCRAM_SALT_SIZE];

	scram_salt(accounts_secret(authd->accounts), slice_of(name), salt);
	return scram_verifier_make(password, salt, verifier_r, err);
}

void
admin_add_problem(json_t *problems, size_t line, const char *sentence)
{
	if (json_array_size(problems) < ADMIN_PROBLEMS_MAX)
		(void)json_array_append_new(problems,
		    json_pack("{s:I, s:s}", "line", (json_int_t)line, "error",
			utf8_is_valid(slice_of(sentence)) ? sentence
							  : "not UTF-8"));
}
