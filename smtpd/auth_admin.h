/* SPDX-License-Identifier: ISC */
/*
 * The management verbs of postern-authd: users, app passwords, identities,
 * recipients, aliases.  confd checked who asks and what for; arguments and
 * results are JSON (postern-authd(8) names them).
 */
#ifndef SMTPD_AUTH_ADMIN_H
#define SMTPD_AUTH_ADMIN_H

#include <jansson.h>

#include "smtpd/authd.h"

/* Exit codes of the command line, which travel in MGMT_REPLY. */
enum auth_admin_code {
	ADMIN_DONE = 0,
	ADMIN_FAILED = 1,
	ADMIN_USAGE = 2,
	ADMIN_NOTHING = 3,
	ADMIN_CONFLICT = 6,
	ADMIN_LATER = 100 /* not a code: the verb answers by itself */
};

/* Makes jansson forget what it frees: arguments hold passwords. */
void auth_admin_init(void);

int auth_admin_on_request(
    struct channel *channel, const struct channel_frame *frame);
void auth_admin_drop_channel(
    struct authd *authd, const struct channel *channel);

/* ---- for the files of the verbs ---- */

struct admin_request {
	struct authd *authd;
	struct channel *channel; /* NULL: confd went away meanwhile */
	uint64_t request_id;
	json_t *arguments;
	json_t *reply; /* what the verb leaves */
};

typedef enum auth_admin_code admin_verb_fn(struct admin_request *request);

/* Sets the reply to an error; hint: a command, or NULL.  Returns code. */
enum auth_admin_code admin_fail(struct admin_request *request,
    enum auth_admin_code code, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for a result of the store that is not ACCOUNTS_OK. */
enum auth_admin_code admin_fail_result(struct admin_request *request,
    enum accounts_result result, const struct err *err);

/* Sends and frees; for verbs that answered ADMIN_LATER. */
void admin_answer(struct admin_request *request, enum auth_admin_code code);
void admin_request_free(struct admin_request *request);

/* A text argument, or NULL; a list of texts, or one text, by its index. */
const char *admin_text(const struct admin_request *request, const char *name);
bool admin_flag(const struct admin_request *request, const char *name);
size_t admin_list_size(const struct admin_request *request, const char *name);
/* NULL when that element is no text. */
const char *admin_list_text(
    const struct admin_request *request, const char *name, size_t index);

/* "limit" and "cursor" of lists. */
size_t admin_limit(const struct admin_request *request);
const char *admin_cursor(const struct admin_request *request);

/* Adds the text to a JSON array; for accounts_text_fn. */
void admin_collect(void *array, struct slice text);

/* The account that an argument names; not ADMIN_DONE: the reply is set. */
enum auth_admin_code admin_find_user(struct admin_request *request,
    const char *argument, struct account *account_r);

/* An address of a domain of ours (or "@domain"), folded, and its domain. */
int admin_own_address(const struct admin_request *request, struct slice text,
    bool may_be_domain, char address_r[ADDRESS_TEXT_MAX],
    struct domain *domain_r, struct err *err);

/* A password of 100 random bits, easily typed. */
#define ADMIN_PASSWORD_SIZE 24
void admin_make_password(char password_r[ADMIN_PASSWORD_SIZE]);

/* From a password for that name; -1 with a sentence. */
int admin_make_verifier(struct authd *authd, const char *name,
    struct slice password, struct scram_verifier *verifier_r, struct err *err);

/* Lines of an import that were not taken; the first of them are told. */
#define ADMIN_PROBLEMS_MAX 1000
void admin_add_problem(json_t *problems, size_t line, const char *sentence);

/* auth_admin_users.c */
admin_verb_fn admin_user_add;
admin_verb_fn admin_user_passwd;
admin_verb_fn admin_user_disable;
admin_verb_fn admin_user_enable;
admin_verb_fn admin_user_remove;
admin_verb_fn admin_user_list;
admin_verb_fn admin_user_show;
admin_verb_fn admin_identity_add;
admin_verb_fn admin_identity_remove;
admin_verb_fn admin_identity_list;

/* Identities as JSON, the name's own address first; NULL: the store failed. */
json_t *admin_identities(struct authd *authd, const struct account *account);

/* auth_admin_apps.c */
admin_verb_fn admin_app_add;
admin_verb_fn admin_app_remove;
admin_verb_fn admin_app_list;
json_t *admin_apps(struct authd *authd, const struct account *account);

/* auth_admin_directory.c */
admin_verb_fn admin_recipient_add;
admin_verb_fn admin_recipient_remove;
admin_verb_fn admin_recipient_list;
admin_verb_fn admin_recipient_import;
admin_verb_fn admin_alias_add;
admin_verb_fn admin_alias_remove;
admin_verb_fn admin_alias_list;
admin_verb_fn admin_alias_import;
admin_verb_fn admin_alias_domains;

/* auth_admin_import.c */
admin_verb_fn admin_user_import;
void admin_import_drop_channel(
    struct authd *authd, const struct channel *channel);

#endif
