/* SPDX-License-Identifier: ISC */
/*
 * Addresses from templates, accounts from their file, the id in a 250.
 * Runs in: tests/bench/load.  Trusts: its options; nothing of a reply.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "tests/bench/lib_plan.h"

/* Replaces %d and %u; other text stays as it is. */
static void
expand(const char *template, uint64_t number, const struct account *account,
    char address_r[PLAN_ADDRESS_MAX])
{
	struct buf b;

	buf_init(&b, PLAN_ADDRESS_MAX - 1);
	for (const char *p = template; *p != '\0'; p++) {
		if (p[0] == '%' && p[1] == 'd') {
			(void)buf_addf(&b, "%" PRIu64, number);
			p++;
		} else if (p[0] == '%' && p[1] == 'u') {
			(void)buf_add_text(
			    &b, account != NULL ? account->user : "nobody");
			p++;
		} else {
			(void)buf_add_char(&b, *p);
		}
	}
	(void)snprintf(address_r, PLAN_ADDRESS_MAX, "%s", buf_text(&b));
	buf_clear(&b);
}

void
plan_sender(const struct plan *plan, uint64_t number,
    const struct account *account, char address_r[PLAN_ADDRESS_MAX])
{
	expand(plan->from, number % plan->spread, account, address_r);
}

void
plan_recipient(const struct plan *plan, uint64_t number, uint32_t k,
    const struct account *account, char address_r[PLAN_ADDRESS_MAX])
{
	uint64_t running = number * plan->recipients + k;

	expand(plan->to[running % plan->to_count], running % plan->spread,
	    account, address_r);
}

void
plan_queue_id(const char *reply, char queue_id_r[PLAN_QUEUE_ID_MAX])
{
	static const char *const marks[] = {
	    "ueued as ", "queued: ", "id="}; /* and "Queued as" */
	const char *at = NULL;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		if (at == NULL && (at = strstr(reply, marks[i])) != NULL)
			at += strlen(marks[i]);
	}
	if (at != NULL) {
		while (n < PLAN_QUEUE_ID_MAX - 1 &&
		       (isalnum((unsigned char)at[n]) || at[n] == '-'))
			n++;
	}
	if (n == 0)
		(void)snprintf(queue_id_r, PLAN_QUEUE_ID_MAX, "-");
	else
		(void)snprintf(
		    queue_id_r, PLAN_QUEUE_ID_MAX, "%.*s", (int)n, at);
}

/* "user password" of one line; empty lines and "#" are passed over. */
static bool
read_account(char *line, struct account *account_r)
{
	char *user = line + strspn(line, " \t");
	char *password;

	user[strcspn(user, "\r\n")] = '\0';
	if (*user == '\0' || *user == '#')
		return false;
	password = user + strcspn(user, " \t");
	if (*password == '\0')
		fatal("accounts: \"%s\" has no password behind it", user);
	*password++ = '\0';
	password += strspn(password, " \t");
	if (strlen(user) + strlen(password) + 2 > PLAN_LOGIN_MAX)
		fatal("accounts: the login of %s is too long", user);
	*account_r = (struct account){xstrdup(user), xstrdup(password)};
	return true;
}

void
plan_read_accounts(struct plan *plan, const char *path)
{
	FILE *f = fopen(path, "re");
	struct account account;
	char *line = NULL;
	size_t room = 0;

	if (f == NULL)
		fatal("open %s: %s", path, strerror(errno));
	while (getline(&line, &room, f) != -1) {
		if (!read_account(line, &account))
			continue;
		plan->accounts = xrealloc(plan->accounts,
		    (plan->account_count + 1) * sizeof(*plan->accounts));
		plan->accounts[plan->account_count++] = account;
	}
	free(line);
	(void)fclose(f);
	if (plan->account_count == 0)
		fatal("%s: no account in it", path);
}

void
plan_clear(struct plan *plan)
{
	for (size_t i = 0; i < plan->account_count; i++) {
		free(plan->accounts[i].user);
		free(plan->accounts[i].password);
	}
	free(plan->accounts);
	free(plan->to);
	SSL_SESSION_free(plan->session);
	SSL_CTX_free(plan->tls_context);
	mail_pool_clear(&plan->pool);
}
