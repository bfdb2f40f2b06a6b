/* SPDX-License-Identifier: ISC */
/*
 * Decides what has to go to the signer.
 * Runs in: postern-queued.  Trusts: nothing of the content; that the sender of
 * trusted mail was checked (submission.c).
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/from_header.h"
#include "common/mailbox_list.h"
#include "common/mime_value.h"
#include "common/mime_word.h"
#include "relay/queue_sign_need.h"

/* Decoding makes three octets of one at the most. */
#define SUBJECT_MAX (3 * HEADER_SIZE_MAX)
/* The facts of up to 32 removals. */
#define REMOVALS_MAX 65536
/* Behind Content-Type: the rest of a header, and the start of a body. */
#define HEADER_LOOK_MAX 32768
#define PGP_TYPE "application/pgp-encrypted"

/* ---- domains with keys ---- */

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

bool
sign_domains_has(const struct sign_domains *domains, struct slice name)
{
	char text[sizeof(struct domain)];
	const char *key = text;

	if (!domains->is_known)
		return true;
	if (domains->count == 0 || slice_copy(name, text, sizeof(text)) == -1)
		return false;
	return bsearch(&key, domains->names, domains->count,
		   sizeof(*domains->names), compare_names) != NULL;
}

void
sign_domains_clear(struct sign_domains *domains)
{
	for (size_t i = 0; i < domains->count; i++)
		free(domains->names[i]);
	free(domains->names);
	*domains = (struct sign_domains){0};
}

void
sign_domains_set(struct sign_domains *domains, struct ipc_list facts)
{
	struct ipc_record_fact fact;
	struct domain domain;

	sign_domains_clear(domains);
	domains->is_known = true;
	domains->names = xcalloc(facts.count + 1, sizeof(char *));
	while (ipc_fact_next(&facts, &fact))
		if (domain_parse(fact.value, &domain, NULL) == 0)
			domains->names[domains->count++] = xstrdup(domain.text);
	qsort(domains->names, domains->count, sizeof(char *), compare_names);
}

/* ---- incoming mail ---- */

/* Of the body, what is there. */
static struct slice
body_of(const struct header *header, struct slice start)
{
	struct slice body = {
	    start.p + header->body_offset, start.n - header->body_offset};

	if (body.n > SIGN_BODY_START)
		body.n = SIGN_BODY_START;
	return body;
}

static bool
ends_nocase(struct slice text, struct slice end)
{
	return text.n >= end.n &&
	       slice_equals_nocase(
		   (struct slice){text.p + text.n - end.n, end.n}, end);
}

static bool
has_param(const struct mime_value *value, const char *name, struct slice wanted)
{
	struct buf text;
	bool is_found;

	buf_init(&text, 1024);
	is_found = mime_value_param(value, name, &text) == 0 &&
		   ends_nocase(buf_slice(&text), wanted);
	buf_clear(&text);
	return is_found;
}

/* "smime.p7m", in Content-Type or in Content-Disposition. */
static bool
has_p7m_name(const struct header *header, const struct mime_value *type)
{
	const struct header_field *field =
	    header_first(header, HDR_CONTENT_DISPOSITION);
	struct mime_value value;

	if (has_param(type, "name", SLICE(".p7m")))
		return true;
	return field != NULL &&
	       mime_value_parse(header_field_value(header, field), &value) ==
		   0 &&
	       has_param(&value, "filename", SLICE(".p7m"));
}

/* Types of a root that say what it is, as labels; the signer looks closer. */
static bool
is_crypto_type(const struct header *header, const struct mime_value *value,
    struct slice body)
{
	if (slice_equals_nocase(value->type, SLICE("multipart"))) {
		if (slice_equals_nocase(value->subtype, SLICE("signed")) ||
		    slice_equals_nocase(value->subtype, SLICE("encrypted")))
			return true;
		/* As Exchange leaves multipart/encrypted behind. */
		return slice_equals_nocase(value->subtype, SLICE("mixed")) &&
		       memmem(body.p, body.n, PGP_TYPE, sizeof(PGP_TYPE) - 1) !=
			   NULL;
	}
	if (!slice_equals_nocase(value->type, SLICE("application")))
		return false;
	if (slice_equals_nocase(value->subtype, SLICE("pkcs7-mime")) ||
	    slice_equals_nocase(value->subtype, SLICE("x-pkcs7-mime")))
		return true;
	return slice_equals_nocase(value->subtype, SLICE("octet-stream")) &&
	       has_p7m_name(header, value);
}

/* The whole body is one armored message, for all that can be seen here. */
static bool
is_inline_pgp(struct slice body)
{
	while (body.n > 0 && (body.p[0] == '\r' || body.p[0] == '\n' ||
				 body.p[0] == ' ' || body.p[0] == '\t')) {
		body.p++;
		body.n--;
	}
	return slice_starts_nocase(body, "-----BEGIN PGP MESSAGE-----") ||
	       slice_starts_nocase(body, "-----BEGIN PGP SIGNED MESSAGE-----");
}

static bool
is_crypto_root(const struct header *header, struct slice start)
{
	const struct slice body = body_of(header, start);
	const struct header_field *field;
	struct mime_value value;

	for (field = header_first(header, HDR_CONTENT_TYPE); field != NULL;
	     field = header_next(header, field))
		if (mime_value_parse(
			header_field_value(header, field), &value) == 0 &&
		    is_crypto_type(header, &value, body))
			return true;
	return is_inline_pgp(body);
}

static bool
contains_nocase(struct slice text, struct slice part)
{
	for (size_t i = 0; i + part.n <= text.n; i++)
		if (slice_equals_nocase(
			(struct slice){text.p + i, part.n}, part))
			return true;
	return false;
}

/* Has a stranger put one of our tags into his Subject, however long? */
static bool
has_tag(const struct header *header)
{
	const struct header_field *field;
	struct buf subject;
	bool has = false;

	buf_init(&subject, SUBJECT_MAX);
	for (field = header_first(header, HDR_SUBJECT); field != NULL;
	     field = header_next(header, field))
		(void)mime_word_read(
		    header_field_value(header, field), &subject);
	for (int i = 0; i < POLICY_TAG_COUNT; i++)
		has |= contains_nocase(
		    buf_slice(&subject), slice_of(policy_tag_texts[i]));
	buf_clear(&subject);
	return has;
}

/*
 * All of them: one may come together when another is cut out of it, and a
 * Subject that was encrypted or signed with the text takes this one's place.
 */
static void
add_tags(struct ipc_list_writer *removals)
{
	for (int i = 0; i < POLICY_TAG_COUNT; i++) {
		struct ipc_record_fact fact = {.name = SLICE("subject"),
		    .value = slice_of(policy_tag_texts[i])};

		(void)ipc_fact_add(removals, &fact, NULL);
	}
}

/* Takes a line with those that continue it off the text. */
static struct slice
next_field(struct slice *rest)
{
	struct slice field = *rest;
	size_t n = 0;

	do {
		n = slice_find(*rest, '\n', n);
		n += n < rest->n;
	} while (n < rest->n && (rest->p[n] == ' ' || rest->p[n] == '\t'));
	field.n = n;
	rest->p += n;
	rest->n -= n;
	return field;
}

/* A look at one Content-Type; the header is taken apart only then. */
static bool
is_interesting_type(struct slice field, struct slice rest)
{
	static const char *const words[] = {
	    "pkcs7-mime", "/signed", "/encrypted", "octet-stream"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (contains_nocase(field, slice_of(words[i])))
			return true;
	if (rest.n > HEADER_LOOK_MAX)
		rest.n = HEADER_LOOK_MAX;
	return contains_nocase(field, SLICE("/mixed")) &&
	       memmem(rest.p, rest.n, PGP_TYPE, sizeof(PGP_TYPE) - 1) != NULL;
}

/*
 * May it be signed or encrypted, or have a tag?  This is asked of all mail
 * that comes in, so the header is not taken apart for it.
 */
static bool
is_worth_a_look(const struct sign_rules *rules, struct slice start)
{
	struct slice rest = start;

	if (rules->has_tags)
		return true;
	if (!rules->verifies)
		return false;
	while (rest.n > 0 && rest.p[0] != '\r' && rest.p[0] != '\n') {
		const struct slice field = next_field(&rest);

		if (slice_starts_nocase(field, "content-type") &&
		    is_interesting_type(field, rest))
			return true;
	}
	return is_inline_pgp(rest);
}

/* ---- what all kinds have in common ---- */

static struct queue_protection *
new_protection(const struct queue_message *message,
    enum sign_direction direction, const char *header_from,
    struct ipc_list removals)
{
	struct queue_protection *protection =
	    queue_protection_new(message->recipient_count);

	protection->direction = (uint8_t)direction;
	protection->dkim = DKIM_NEVER;
	protection->header_from = xstrdup(header_from);
	protection->removals = queue_removals_text(removals);
	for (size_t i = 0; i < message->recipient_count; i++)
		protection->demands[i].number = message->recipients[i].number;
	return protection;
}

/* The one address in From; -1: there is none that all read alike. */
static int
read_from(const struct queue_message *message, const struct header *header,
    struct address *from_r)
{
	const bool is_utf8 = (message->flags & MSG_FLAG_UTF8) != 0;
	struct from_header from;

	if (from_header_check(header, is_utf8, &from) == -1)
		return -1;
	return address_parse(from.mailbox.address,
	    is_utf8 ? ADDRESS_MAY_BE_UTF8 : 0, from_r, NULL);
}

static struct queue_protection *
need_of_stranger(const struct sign_rules *rules,
    const struct queue_message *message, const struct header *header,
    struct slice start)
{
	const bool is_crypto = rules->verifies && is_crypto_root(header, start);
	struct queue_protection *protection = NULL;
	struct ipc_list_writer removals;
	struct address from;
	char text[ADDRESS_TEXT_MAX] = "";

	ipc_list_writer_init(&removals, REMOVALS_MAX);
	if (rules->has_tags && (is_crypto || has_tag(header)))
		add_tags(&removals);
	if (removals.count > 0 || is_crypto) {
		if (read_from(message, header, &from) == 0)
			(void)address_format(&from, text);
		protection = new_protection(
		    message, DIRECTION_IN, text, ipc_list_of(&removals));
	}
	ipc_list_writer_clear(&removals);
	return protection;
}

/* ---- trusted mail ---- */

/* A gateway with no rule and no key has nothing to do with it. */
static bool
is_idle(const struct sign_rules *rules)
{
	return policy_count(rules->policy) == 0 && rules->domains->is_known &&
	       rules->domains->count == 0;
}

static void
fill_demand(struct queue_demand *demand, const struct policy_decision *decision)
{
	demand->sign = (uint8_t)decision->sign;
	demand->encrypt = (uint8_t)decision->encrypt;
	demand->method = (uint8_t)decision->method;
	demand->options = (uint16_t)decision->options;
	demand->min_trust = (uint8_t)decision->min_trust;
}

/* The first of several, or one in a header that some read otherwise. */
static int
read_odd_from(const struct header *header, struct address *from_r)
{
	const struct header_field *field = header_first(header, HDR_FROM);
	struct mailbox_list list;
	struct mailbox mailbox;

	if (field == NULL)
		return -1;
	mailbox_list_init(&list, header_field_value(header, field),
	    MAILBOX_LIST_UTF8 | MAILBOX_LIST_GROUPS);
	if (mailbox_list_next(&list, &mailbox) != 1)
		return -1;
	return address_parse(
	    mailbox.address, ADDRESS_MAY_BE_UTF8, from_r, NULL);
}

/*
 * Who sends, for the rules: From, or, where that cannot be read, MAIL FROM,
 * so that an odd From is no way around a rule.  An automatic answer has no
 * MAIL FROM; then what there is of From counts.
 */
static const struct address *
sender_of(const struct queue_message *message, const struct header *header,
    struct address *room, char header_from_r[ADDRESS_TEXT_MAX])
{
	header_from_r[0] = '\0';
	if (read_from(message, header, room) == 0) {
		(void)address_format(room, header_from_r);
		return room;
	}
	if (message->sender[0] == '\0')
		return read_odd_from(header, room) == 0 ? room : NULL;
	return address_parse(slice_of(message->sender), ADDRESS_MAY_BE_UTF8,
		   room, NULL) == 0
		   ? room
		   : NULL;
}

static bool
decide(const struct sign_rules *rules, const struct policy_mail *mail,
    const struct queue_message *message, struct queue_protection *protection,
    struct ipc_list_writer *removals)
{
	bool is_demanded = false;

	for (size_t i = 0; i < message->recipient_count; i++) {
		struct policy_decision decision;
		struct address recipient = {.is_null = true};

		(void)address_parse(slice_of(message->recipients[i].address),
		    ADDRESS_MAY_BE_UTF8, &recipient, NULL);
		policy_decide(rules->policy, mail, &recipient, &decision,
		    removals, NULL, NULL);
		fill_demand(&protection->demands[i], &decision);
		if (decision.dkim > protection->dkim)
			protection->dkim = (uint8_t)decision.dkim;
		if (decision.sign != SIGN_NEVER ||
		    decision.encrypt != ENCRYPT_NEVER)
			is_demanded = true;
	}
	return is_demanded;
}

static struct queue_protection *
need_of_trusted(const struct sign_rules *rules,
    const struct queue_message *message, const struct header *header)
{
	struct queue_protection *protection;
	struct ipc_list_writer removals;
	struct policy_mail mail;
	struct address room;
	char header_from[ADDRESS_TEXT_MAX];
	const struct address *sender =
	    sender_of(message, header, &room, header_from);
	bool is_needed;

	ipc_list_writer_init(&removals, REMOVALS_MAX);
	policy_mail_init(&mail, sender, true, header);
	protection = new_protection(
	    message, DIRECTION_OUT, header_from, ipc_list_of(&removals));
	is_needed = decide(rules, &mail, message, protection, &removals);
	policy_mail_clear(&mail);
	if (protection->dkim == DKIM_IF_POSSIBLE &&
	    (header_from[0] == '\0' ||
		!sign_domains_has(rules->domains, slice_of(room.domain.text))))
		protection->dkim = DKIM_NEVER;
	free(protection->removals);
	protection->removals = queue_removals_text(ipc_list_of(&removals));
	is_needed |= protection->dkim != DKIM_NEVER || removals.count > 0;
	ipc_list_writer_clear(&removals);
	if (!is_needed) {
		queue_protection_free(protection);
		return NULL;
	}
	return protection;
}

/* A notification of ours is not signed by anybody, and never encrypted. */
static struct queue_protection *
need_of_bounce(const struct sign_rules *rules,
    const struct queue_message *message, const struct header *header)
{
	struct queue_protection *protection;
	struct address from;
	char text[ADDRESS_TEXT_MAX];

	if (!rules->domains->is_known ||
	    read_from(message, header, &from) == -1 ||
	    !sign_domains_has(rules->domains, slice_of(from.domain.text)))
		return NULL;
	protection = new_protection(message, DIRECTION_OUT,
	    address_format(&from, text), (struct ipc_list){0});
	protection->dkim = DKIM_IF_POSSIBLE;
	return protection;
}

bool
queue_sign_may_need(const struct sign_rules *rules,
    const struct queue_message *message, struct slice start)
{
	if ((message->flags & MSG_FLAG_TRUSTED) != 0)
		return !is_idle(rules);
	return is_worth_a_look(rules, start);
}

struct queue_protection *
queue_sign_need(const struct sign_rules *rules,
    const struct queue_message *message, struct slice start)
{
	struct queue_protection *protection = NULL;
	struct header header;

	if (!queue_sign_may_need(rules, message, start))
		return NULL;
	header_init(&header, rules->header_limit);
	/* A header that cannot be read has no root, and no From to sign for. */
	if (header_read(&header, start) == PARSE_BAD)
		header_reset(&header);
	if ((message->flags & MSG_FLAG_TRUSTED) == 0)
		protection = need_of_stranger(rules, message, &header, start);
	else if ((message->flags & MSG_FLAG_BOUNCE) != 0)
		protection = need_of_bounce(rules, message, &header);
	else
		protection = need_of_trusted(rules, message, &header);
	header_clear(&header);
	return protection;
}
