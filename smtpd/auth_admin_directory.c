/* SPDX-License-Identifier: ISC */
/*
 * Management of recipients and aliases.
 * Runs in: postern-authd, in its loop.  Trusts: see auth_admin.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtpd/auth_admin.h"
#include "smtpd/directory.h"

/* ---- what imports and lists of arguments share ---- */

/* How many of many changes were news, and which were not taken. */
struct tally {
	struct admin_request *request;
	size_t changed;
	size_t unchanged;
	size_t line; /* of an import, from 1 */
	json_t *problems;
	bool has_failed; /* the store; err says how */
	struct err err;
};

static void
count_result(struct tally *tally, enum accounts_result result)
{
	if (result == ACCOUNTS_OK)
		tally->changed++;
	else if (result == ACCOUNTS_FAILED)
		tally->has_failed = true;
	else if (result == ACCOUNTS_REFUSED)
		admin_add_problem(
		    tally->problems, tally->line, tally->err.text);
	else
		tally->unchanged++;
}

/* Takes the next line off, without its comment and spaces around it. */
static bool
next_line(struct slice *rest, struct slice *line_r)
{
	size_t end;

	if (rest->n == 0)
		return false;
	end = slice_find(*rest, '\n', 0);
	*line_r = (struct slice){rest->p, end};
	if (end < rest->n)
		end++;
	rest->p += end;
	rest->n -= end;
	if (line_r->n > 0 && line_r->p[line_r->n - 1] == '\r')
		line_r->n--;
	if (line_r->n > 0 && line_r->p[0] == '#')
		line_r->n = 0;
	*line_r = slice_trim(*line_r);
	return true;
}

typedef enum accounts_result line_fn(struct tally *tally, struct slice line);

/* All lines in one transaction, kept unless it is a trial. */
static enum auth_admin_code
import_lines(struct admin_request *request, line_fn *take)
{
	struct accounts *accounts = request->authd->accounts;
	const char *text = admin_text(request, "text");
	bool is_trial = admin_flag(request, "dry_run");
	struct slice rest = slice_of(text);
	struct tally tally = {.request = request};
	struct slice line;

	if (text == NULL)
		return admin_fail(request, ADMIN_USAGE, NULL,
		    "the argument \"text\" is missing");
	if (accounts_batch_begin(accounts, &tally.err) == -1)
		return admin_fail(
		    request, ADMIN_FAILED, NULL, "%s", tally.err.text);
	tally.problems = json_array();
	while (!tally.has_failed && next_line(&rest, &line)) {
		tally.line++;
		if (line.n > 0)
			count_result(&tally, take(&tally, line));
	}
	if (accounts_batch_end(
		accounts, !is_trial && !tally.has_failed, &tally.err) == -1)
		tally.has_failed = true;
	if (tally.has_failed) {
		json_decref(tally.problems);
		return admin_fail(
		    request, ADMIN_FAILED, NULL, "%s", tally.err.text);
	}
	request->reply = json_pack("{s:I, s:I, s:o, s:b}", "added",
	    (json_int_t)tally.changed, "unchanged", (json_int_t)tally.unchanged,
	    "failed", tally.problems, "dry_run", is_trial);
	return ADMIN_DONE;
}

/* ---- recipients ---- */

/* An address as it stands, or a local part where "domain" was given. */
static int
read_recipient(const struct admin_request *request, struct slice text,
    char address_r[ADDRESS_TEXT_MAX], struct domain *domain_r, struct err *err)
{
	const char *domain = admin_text(request, "domain");
	char whole[ADDRESS_TEXT_MAX];
	int n;

	if (domain == NULL || slice_find(text, '@', 0) < text.n)
		return admin_own_address(
		    request, text, false, address_r, domain_r, err);
	n = snprintf(whole, sizeof(whole), "%.*s@%s", SLICE_ARG(text), domain);
	if (n < 0 || (size_t)n >= sizeof(whole))
		return err_set(err, "this address is too long");
	return admin_own_address(
	    request, slice_of(whole), false, address_r, domain_r, err);
}

static enum accounts_result
take_recipient(struct tally *tally, struct slice line)
{
	char address[ADDRESS_TEXT_MAX];
	struct domain domain;

	if (read_recipient(
		tally->request, line, address, &domain, &tally->err) == -1)
		return ACCOUNTS_REFUSED;
	return directory_recipient_add(
	    tally->request->authd->accounts, address, domain.text, &tally->err);
}

enum auth_admin_code
admin_recipient_import(struct admin_request *request)
{
	return import_lines(request, take_recipient);
}

static enum auth_admin_code
change_recipients(struct admin_request *request, bool is_removal)
{
	struct tally tally = {.request = request};
	char address[ADDRESS_TEXT_MAX];
	struct domain domain;
	size_t count = admin_list_size(request, "addresses");

	for (size_t i = 0; i < count && !tally.has_failed; i++) {
		const char *text = admin_list_text(request, "addresses", i);
		struct address parsed;

		if (text == NULL)
			return admin_fail(request, ADMIN_USAGE, NULL,
			    "an address is not a text");
		/* What is left of a domain that is gone can be removed. */
		if (is_removal
			? address_parse(slice_of(text), ADDRESS_MAY_BE_UTF8,
			      &parsed, &tally.err) == -1
			: admin_own_address(request, slice_of(text), false,
			      address, &domain, &tally.err) == -1)
			return admin_fail(request, ADMIN_USAGE,
			    "postern domain list", "%s: %s", text,
			    tally.err.text);
		count_result(&tally,
		    is_removal
			? directory_recipient_remove(request->authd->accounts,
			      address_format_folded(&parsed, address),
			      &tally.err)
			: directory_recipient_add(request->authd->accounts,
			      address, domain.text, &tally.err));
	}
	if (tally.has_failed)
		return admin_fail(
		    request, ADMIN_FAILED, NULL, "%s", tally.err.text);
	if (tally.changed == 0)
		return admin_fail(request,
		    is_removal ? ADMIN_NOTHING : ADMIN_CONFLICT,
		    "postern recipient list",
		    is_removal ? "no such recipient" : "listed already");
	request->reply = json_pack("{s:I}", "count", (json_int_t)tally.changed);
	return ADMIN_DONE;
}

enum auth_admin_code
admin_recipient_add(struct admin_request *request)
{
	return change_recipients(request, false);
}

enum auth_admin_code
admin_recipient_remove(struct admin_request *request)
{
	return change_recipients(request, true);
}

/* The canonical form of the argument "domain", or "". */
static int
read_domain(const struct admin_request *request, struct domain *domain_r,
    struct err *err)
{
	const char *text = admin_text(request, "domain");

	domain_r->text[0] = '\0';
	return text == NULL ? 0 : domain_parse(slice_of(text), domain_r, err);
}

static void
collect_recipient(void *array, struct slice text)
{
	(void)json_array_append_new(
	    array, json_pack("{s:o}", "address", json_stringn(text.p, text.n)));
}

/* "next" where the list was cut by the limit. */
static void
set_next(struct admin_request *request, const json_t *list, size_t limit)
{
	const json_t *last;

	if (json_array_size(list) < limit)
		return;
	last = json_array_get(list, limit - 1);
	(void)json_object_set(
	    request->reply, "next", json_object_get(last, "address"));
}

enum auth_admin_code
admin_recipient_list(struct admin_request *request)
{
	size_t limit = admin_limit(request);
	json_t *recipients = json_array();
	struct domain domain;
	struct err err;

	if (read_domain(request, &domain, &err) == -1 ||
	    directory_recipients(request->authd->accounts, domain.text,
		admin_cursor(request), limit, collect_recipient, recipients,
		&err) == -1) {
		json_decref(recipients);
		return admin_fail(request, ADMIN_FAILED, NULL, "%s", err.text);
	}
	request->reply = json_pack("{s:o}", "recipients", recipients);
	set_next(request, recipients, limit);
	return ADMIN_DONE;
}

/* ---- aliases ---- */

static void
ignore_text(void *arg, struct slice text)
{
	(void)arg;
	(void)text;
}

/* Would mail still arrive?  An alias of a whole domain is not tried. */
static int
check_circle(
    const struct admin_request *request, const char *alias, struct err *err)
{
	struct address address;

	if (alias[0] == '@')
		return 0;
	if (address_parse(
		slice_of(alias), ADDRESS_MAY_BE_UTF8, &address, err) == -1)
		return -1;
	return directory_expand(request->authd->accounts,
	    daemon_snapshot(request->authd->daemon), &address, ignore_text,
	    NULL, err);
}

static enum accounts_result
add_target(const struct admin_request *request, const char *alias,
    const char *domain, struct slice text, struct err *err)
{
	struct address target;
	char folded[ADDRESS_TEXT_MAX];
	char kept[ADDRESS_TEXT_MAX];
	const struct snapshot *snapshot =
	    daemon_snapshot(request->authd->daemon);

	if (address_parse(text, ADDRESS_MAY_BE_UTF8, &target, err) == -1)
		return ACCOUNTS_REFUSED;
	/* Elsewhere the case of a local part may count. */
	if (snapshot_domain(snapshot, &target.domain) != NULL)
		(void)address_format_folded(&target, folded);
	else
		(void)address_format(&target, folded);
	(void)snprintf(kept, sizeof(kept), "%s", folded);
	return directory_alias_add(
	    request->authd->accounts, alias, domain, kept, err);
}

static bool
is_separator(char c)
{
	return c == ' ' || c == '\t' || c == ',';
}

/* Takes the first word off; false at the end. */
static bool
next_word(struct slice *rest, struct slice *word_r)
{
	size_t n = 0;

	while (rest->n > 0 && is_separator(rest->p[0])) {
		rest->p++;
		rest->n--;
	}
	while (n < rest->n && !is_separator(rest->p[n]))
		n++;
	*word_r = (struct slice){rest->p, n};
	rest->p += n;
	rest->n -= n;
	return n > 0;
}

/* "ADDRESS TARGET...", and "address: target, target" of other servers. */
static enum accounts_result
take_alias(struct tally *tally, struct slice line)
{
	char alias[ADDRESS_TEXT_MAX];
	struct domain domain;
	struct slice word;
	bool has_target = false;
	enum accounts_result result = ACCOUNTS_EXISTS;

	(void)next_word(&line, &word);
	if (word.n > 0 && word.p[word.n - 1] == ':')
		word.n--;
	if (admin_own_address(
		tally->request, word, true, alias, &domain, &tally->err) == -1)
		return ACCOUNTS_REFUSED;
	while (next_word(&line, &word)) {
		enum accounts_result one = add_target(
		    tally->request, alias, domain.text, word, &tally->err);

		has_target = true;
		if (one == ACCOUNTS_REFUSED || one == ACCOUNTS_FAILED)
			return one;
		if (one == ACCOUNTS_OK)
			result = one;
	}
	if (!has_target) {
		(void)err_set(&tally->err, "an alias needs a target");
		return ACCOUNTS_REFUSED;
	}
	return result;
}

enum auth_admin_code
admin_alias_import(struct admin_request *request)
{
	return import_lines(request, take_alias);
}

struct alias_change {
	char address[ADDRESS_TEXT_MAX];
	struct domain domain;
	size_t changed;
};

static enum accounts_result
add_targets(
    struct admin_request *request, struct alias_change *change, struct err *err)
{
	for (size_t i = 0; i < admin_list_size(request, "targets"); i++) {
		const char *text = admin_list_text(request, "targets", i);
		enum accounts_result result;

		if (text == NULL) {
			(void)err_set(err, "a target is not a text");
			return ACCOUNTS_REFUSED;
		}
		result = add_target(request, change->address,
		    change->domain.text, slice_of(text), err);
		if (result == ACCOUNTS_REFUSED)
			(void)err_wrap(err, "%s", text);
		if (result == ACCOUNTS_REFUSED || result == ACCOUNTS_FAILED)
			return result;
		change->changed += result == ACCOUNTS_OK ? 1 : 0;
	}
	if (check_circle(request, change->address, err) == -1)
		return ACCOUNTS_REFUSED;
	return ACCOUNTS_OK;
}

static json_t *
targets_json(struct authd *authd, const char *alias)
{
	json_t *targets = json_array();

	(void)directory_alias_targets(
	    authd->accounts, alias, admin_collect, targets, NULL);
	return targets;
}

static enum auth_admin_code
reply_alias(struct admin_request *request, const char *alias)
{
	request->reply = json_pack("{s:s, s:o}", "address", alias, "targets",
	    targets_json(request->authd, alias));
	return ADMIN_DONE;
}

enum auth_admin_code
admin_alias_add(struct admin_request *request)
{
	struct accounts *accounts = request->authd->accounts;
	const char *text = admin_text(request, "address");
	struct alias_change change = {.changed = 0};
	enum accounts_result result;
	struct err err;

	if (text == NULL || admin_list_size(request, "targets") == 0)
		return admin_fail(request, ADMIN_USAGE, NULL,
		    "the argument \"address\" or \"targets\" is missing");
	if (admin_own_address(request, slice_of(text), true, change.address,
		&change.domain, &err) == -1)
		return admin_fail(request, ADMIN_USAGE, "postern domain list",
		    "%s: %s", text, err.text);
	if (accounts_batch_begin(accounts, &err) == -1)
		return admin_fail(request, ADMIN_FAILED, NULL, "%s", err.text);
	result = add_targets(request, &change, &err);
	if (accounts_batch_end(accounts, result == ACCOUNTS_OK, &err) == -1)
		result = ACCOUNTS_FAILED;
	if (result != ACCOUNTS_OK)
		return admin_fail(request,
		    result == ACCOUNTS_FAILED ? ADMIN_FAILED : ADMIN_USAGE,
		    "postern alias list", "%s", err.text);
	if (change.changed == 0)
		return admin_fail(request, ADMIN_CONFLICT, "postern alias list",
		    "%s goes there already", change.address);
	return reply_alias(request, change.address);
}

/* The spelling under which an alias or a target was stored. */
static int
stored_form(const char *text, bool is_folded, char out[ADDRESS_TEXT_MAX],
    struct err *err)
{
	struct address address;
	struct domain domain;

	if (text[0] == '@') {
		if (domain_parse(slice_of(text + 1), &domain, err) == -1)
			return -1;
		(void)snprintf(out, ADDRESS_TEXT_MAX, "@%s", domain.text);
		return 0;
	}
	if (address_parse(slice_of(text), ADDRESS_MAY_BE_UTF8, &address, err) ==
	    -1)
		return -1;
	if (is_folded)
		(void)address_format_folded(&address, out);
	else
		(void)address_format(&address, out);
	return 0;
}

static enum accounts_result
remove_target(const struct admin_request *request, const char *alias,
    const char *text, struct err *err)
{
	char target[ADDRESS_TEXT_MAX];
	enum accounts_result result;

	if (text == NULL || stored_form(text, true, target, err) == -1)
		return ACCOUNTS_NONE;
	result = directory_alias_remove(
	    request->authd->accounts, alias, target, err);
	if (result != ACCOUNTS_NONE)
		return result;
	(void)stored_form(text, false, target, err);
	return directory_alias_remove(
	    request->authd->accounts, alias, target, err);
}

enum auth_admin_code
admin_alias_remove(struct admin_request *request)
{
	const char *text = admin_text(request, "address");
	size_t count = admin_list_size(request, "targets");
	struct tally tally = {.request = request};
	char alias[ADDRESS_TEXT_MAX];

	if (text == NULL || stored_form(text, true, alias, &tally.err) == -1)
		return admin_fail(request, ADMIN_USAGE, "postern alias list",
		    "the argument \"address\" is no address");
	if (count == 0)
		count_result(
		    &tally, directory_alias_remove(request->authd->accounts,
				alias, NULL, &tally.err));
	for (size_t i = 0; i < count; i++)
		count_result(&tally,
		    remove_target(request, alias,
			admin_list_text(request, "targets", i), &tally.err));
	if (tally.has_failed)
		return admin_fail(
		    request, ADMIN_FAILED, NULL, "%s", tally.err.text);
	if (tally.changed == 0)
		return admin_fail(request, ADMIN_NOTHING, "postern alias list",
		    "%s has no such alias", alias);
	return reply_alias(request, alias);
}

enum auth_admin_code
admin_alias_list(struct admin_request *request)
{
	size_t limit = admin_limit(request);
	json_t *aliases = json_array();
	struct domain domain;
	struct err err;

	if (read_domain(request, &domain, &err) == -1 ||
	    directory_aliases(request->authd->accounts, domain.text,
		admin_cursor(request), limit, collect_recipient, aliases,
		&err) == -1) {
		json_decref(aliases);
		return admin_fail(request, ADMIN_FAILED, NULL, "%s", err.text);
	}
	for (size_t i = 0; i < json_array_size(aliases); i++) {
		json_t *alias = json_array_get(aliases, i);

		(void)json_object_set_new(alias, "targets",
		    targets_json(request->authd,
			json_string_value(json_object_get(alias, "address"))));
	}
	request->reply = json_pack("{s:o}", "aliases", aliases);
	set_next(request, aliases, limit);
	return ADMIN_DONE;
}

enum auth_admin_code
admin_alias_domains(struct admin_request *request)
{
	json_t *domains = json_array();
	struct err err;

	if (directory_alias_domains(
		request->authd->accounts, admin_collect, domains, &err) == -1) {
		json_decref(domains);
		return admin_fail(request, ADMIN_FAILED, NULL, "%s", err.text);
	}
	request->reply = json_pack("{s:o}", "domains", domains);
	return ADMIN_DONE;
}
