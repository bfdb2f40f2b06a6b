/* SPDX-License-Identifier: ISC */
/*
 * The directory's decisions.
 * Runs in: postern-authd, in its loop.  Trusts: addresses as far as their
 * parser goes; aliases not to make sense.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtpd/directory.h"

/* Addresses that one recipient may become, over all levels. */
#define EXPANDED_MAX IPC_RECIPIENTS_MAX

struct texts {
	char **p;
	size_t n;
	bool is_cut;
};

static void
texts_add(void *arg, struct slice text)
{
	struct texts *texts = arg;

	if (texts->n >= EXPANDED_MAX) {
		texts->is_cut = true;
		return;
	}
	/* Doubled where the number is a power of two. */
	if ((texts->n & (texts->n - 1)) == 0)
		texts->p = xrealloc(texts->p,
		    (texts->n == 0 ? 1 : texts->n * 2) * sizeof(*texts->p));
	texts->p[texts->n++] = slice_dup(text);
}

static bool
texts_hold(const struct texts *texts, const char *text)
{
	for (size_t i = 0; i < texts->n; i++)
		if (strcmp(texts->p[i], text) == 0)
			return true;
	return false;
}

static void
texts_clear(struct texts *texts)
{
	for (size_t i = 0; i < texts->n; i++)
		free(texts->p[i]);
	free(texts->p);
	*texts = (struct texts){.p = NULL};
}

/* ---- one address ---- */

static bool
is_role_address(const struct address *address)
{
	struct slice local = slice_of(address->local);

	return address->is_bare_postmaster ||
	       slice_equals_nocase(local, SLICE("postmaster")) ||
	       slice_equals_nocase(local, SLICE("abuse"));
}

/* Without its tag; false when it has none. */
static bool
without_tag(const struct address *address, struct address *base_r)
{
	const char *plus = strchr(address->local, '+');

	if (plus == NULL || plus == address->local)
		return false;
	*base_r = *address;
	base_r->local[plus - address->local] = '\0';
	return true;
}

/*
 * The targets of the address's own alias, or of the one without its tag.
 * 1 when there are some, 0, or -1.
 */
static int
own_alias(struct accounts *accounts, const struct address *address,
    struct texts *targets, struct err *err)
{
	char text[ADDRESS_TEXT_MAX];
	struct address base;

	if (directory_alias_targets(accounts,
		address_format_folded(address, text), texts_add, targets,
		err) == -1)
		return -1;
	if (targets->n > 0)
		return 1;
	if (without_tag(address, &base))
		return own_alias(accounts, &base, targets, err);
	return 0;
}

static int
domain_alias(struct accounts *accounts, const struct address *address,
    struct texts *targets, struct err *err)
{
	char text[sizeof(struct domain) + 1];

	(void)snprintf(text, sizeof(text), "@%s", address->domain.text);
	if (directory_alias_targets(accounts, text, texts_add, targets, err) ==
	    -1)
		return -1;
	return targets->n > 0;
}

/* Listed or an account's name, with or without the tag: 1, 0 or -1. */
static int
is_listed(
    struct accounts *accounts, const struct address *address, struct err *err)
{
	char text[ADDRESS_TEXT_MAX];
	struct address base;
	int rc = directory_has_recipient(
	    accounts, address_format_folded(address, text), err);

	if (rc == 0 && without_tag(address, &base))
		return is_listed(accounts, &base, err);
	return rc;
}

static int
has_alias(
    struct accounts *accounts, const struct address *address, bool is_of_domain)
{
	struct texts targets = {.p = NULL};
	int rc = is_of_domain ? domain_alias(accounts, address, &targets, NULL)
			      : own_alias(accounts, address, &targets, NULL);

	texts_clear(&targets);
	return rc;
}

enum directory_answer
directory_check(struct accounts *accounts, const struct snapshot *snapshot,
    const struct address *address)
{
	const struct domain_entry *domain;
	int rc;

	if (address->is_bare_postmaster)
		return DIRECTORY_EXISTS;
	if (address->is_null || address->is_literal ||
	    (domain = snapshot_domain(snapshot, &address->domain)) == NULL)
		return DIRECTORY_FAILED;
	if (domain->mode == DOMAIN_ANY || is_role_address(address))
		return DIRECTORY_EXISTS;
	if ((rc = has_alias(accounts, address, false)) == 0 &&
	    (rc = is_listed(accounts, address, NULL)) == 0)
		rc = has_alias(accounts, address, true);
	if (rc != 0)
		return rc == 1 ? DIRECTORY_EXISTS : DIRECTORY_FAILED;
	return domain->mode == DOMAIN_CALLOUT ? DIRECTORY_ASK
					      : DIRECTORY_UNKNOWN;
}

/* ---- aliases ---- */

struct expansion {
	struct accounts *accounts;
	const struct snapshot *snapshot;
	struct texts seen;  /* addresses that were looked up */
	struct texts given; /* what came out */
	accounts_text_fn *each;
	void *arg;
};

static void
give(struct expansion *expansion, const char *text)
{
	if (texts_hold(&expansion->given, text))
		return;
	texts_add(&expansion->given, slice_of(text));
	expansion->each(expansion->arg, slice_of(text));
}

/*
 * RFC 5321 section 4.5.1 and RFC 2142: mail to these reaches a person, also
 * where nobody made a recipient of that name.
 */
static int
role_target(struct expansion *expansion, const struct address *address,
    struct texts *targets, struct err *err)
{
	const char *postmaster =
	    expansion->snapshot->settings.system_postmaster;
	int rc;

	if (!is_role_address(address) || postmaster[0] == '\0')
		return 0;
	if (!address->is_bare_postmaster &&
	    (rc = is_listed(expansion->accounts, address, err)) != 0)
		return rc == -1 ? -1 : 0;
	texts_add(targets, slice_of(postmaster));
	return 1;
}

/* 1 with targets, 0 when the address stays as it is, or -1. */
static int
find_targets(struct expansion *expansion, const struct address *address,
    struct texts *targets, struct err *err)
{
	const struct domain_entry *domain = NULL;
	int rc = 0;

	if (!address->is_bare_postmaster && !address->is_literal)
		domain = snapshot_domain(expansion->snapshot, &address->domain);
	if (domain == NULL && !address->is_bare_postmaster)
		return 0; /* elsewhere is not ours to say */
	if (domain != NULL)
		rc = own_alias(expansion->accounts, address, targets, err);
	if (rc == 0)
		rc = role_target(expansion, address, targets, err);
	if (rc != 0 || domain == NULL)
		return rc;
	if ((rc = is_listed(expansion->accounts, address, err)) != 0)
		return rc == -1 ? -1 : 0;
	return domain_alias(expansion->accounts, address, targets, err);
}

static int expand(struct expansion *expansion, const struct address *address,
    unsigned depth, struct err *err);

/* One target of the address's alias. */
static int
follow(struct expansion *expansion, const struct address *address,
    const char *text, unsigned depth, struct err *err)
{
	char own[ADDRESS_TEXT_MAX];
	struct address target;

	if (address_parse(slice_of(text), ADDRESS_MAY_BE_UTF8, &target, err) ==
	    -1)
		return -1;
	if (!address_equals_folded(address, &target))
		return expand(expansion, &target, depth + 1, err);
	/* Its own target: a copy stays here. */
	give(expansion, address_format(address, own));
	return 0;
}

static int
expand(struct expansion *expansion, const struct address *address,
    unsigned depth, struct err *err)
{
	struct texts targets = {.p = NULL};
	char folded[ADDRESS_TEXT_MAX];
	char text[ADDRESS_TEXT_MAX];
	int rc;

	(void)address_format(address, text);
	(void)address_format_folded(address, folded);
	if (texts_hold(&expansion->seen, folded))
		return 0; /* on its way already */
	texts_add(&expansion->seen, slice_of(folded));
	if (depth > DIRECTORY_DEPTH_MAX || expansion->seen.is_cut)
		return err_set(err, "aliases of %s lead too far", text);
	rc = find_targets(expansion, address, &targets, err);
	if (rc == 0)
		give(expansion, text);
	for (size_t i = 0; rc >= 0 && i < targets.n; i++)
		rc = follow(expansion, address, targets.p[i], depth, err);
	texts_clear(&targets);
	return rc == -1 ? -1 : 0;
}

int
directory_expand(struct accounts *accounts, const struct snapshot *snapshot,
    const struct address *address, accounts_text_fn *each, void *arg,
    struct err *err)
{
	struct expansion expansion = {.accounts = accounts,
	    .snapshot = snapshot,
	    .each = each,
	    .arg = arg};
	int rc = expand(&expansion, address, 0, err);

	if (rc == 0 && expansion.given.n == 0)
		rc = err_set(err, "an alias leads to nobody");
	texts_clear(&expansion.seen);
	texts_clear(&expansion.given);
	return rc;
}
