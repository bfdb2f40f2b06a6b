/* SPDX-License-Identifier: ISC */
/*
 * Decides who may relay, who may name which sender and recipient.
 * Runs in: postern-smtpd, acceptor and workers.  Trusts: the snapshot; nothing
 * that the client says.  queued makes the decisions that matter again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mailbox_list.h"
#include "common/mime_word.h"
#include "smtpd/access.h"

/* ---- entries for clients ---- */

struct client_entry {
	struct netprefix prefix;
	bool is_allow;
	int64_t until;
};

struct sender_entry {
	char *pattern; /* "user@domain", "@domain" or "*.domain" */
	bool is_allow;
	int64_t until;
};

#define BITS_MAX 128

struct access_list {
	struct client_entry *clients; /* sorted by prefix */
	size_t client_count;
	/* Which prefix lengths occur: only those are looked for. */
	bool has_bits[NETADDR_FAMILY_COUNT][BITS_MAX + 1];
	struct sender_entry *senders; /* sorted by pattern */
	size_t sender_count;
};

static int
compare_prefixes(const void *a, const void *b)
{
	const struct client_entry *one = a;
	const struct client_entry *other = b;

	if (one->prefix.address.family != other->prefix.address.family)
		return one->prefix.address.family -
		       other->prefix.address.family;
	if (one->prefix.bits != other->prefix.bits)
		return one->prefix.bits - other->prefix.bits;
	return memcmp(one->prefix.address.bytes, other->prefix.address.bytes,
	    sizeof(one->prefix.address.bytes));
}

static int
compare_patterns(const void *a, const void *b)
{
	const struct sender_entry *one = a;
	const struct sender_entry *other = b;

	return strcmp(one->pattern, other->pattern);
}

/* For bsearch(): the key is the text of a pattern. */
static int
compare_to_pattern(const void *key, const void *element)
{
	const struct sender_entry *sender = element;

	return strcmp(key, sender->pattern);
}

static void
add_client(struct access_list *list, const struct access_entry *entry)
{
	struct client_entry *client = &list->clients[list->client_count];
	struct netprefix prefix;

	if (netprefix_parse(slice_of(entry->pattern), &prefix, NULL) == -1)
		return; /* confd checked it; a pattern of no shape is none */
	*client = (struct client_entry){.prefix = prefix,
	    .is_allow = entry->is_allow,
	    .until = entry->until};
	list->has_bits[prefix.address.family][prefix.bits] = true;
	list->client_count++;
}

struct access_list *
access_list_new(const struct snapshot *snapshot)
{
	struct access_list *list = xcalloc(1, sizeof(*list));
	size_t count = snapshot->access_count;

	list->clients = xcalloc(count + 1, sizeof(*list->clients));
	list->senders = xcalloc(count + 1, sizeof(*list->senders));
	for (size_t i = 0; i < count; i++) {
		const struct access_entry *entry = &snapshot->access[i];

		if (entry->is_client)
			add_client(list, entry);
		else
			list->senders[list->sender_count++] =
			    (struct sender_entry){
				.pattern = xstrdup(entry->pattern),
				.is_allow = entry->is_allow,
				.until = entry->until};
	}
	qsort(list->clients, list->client_count, sizeof(*list->clients),
	    compare_prefixes);
	qsort(list->senders, list->sender_count, sizeof(*list->senders),
	    compare_patterns);
	return list;
}

void
access_list_free(struct access_list *list)
{
	if (list == NULL)
		return;
	for (size_t i = 0; i < list->sender_count; i++)
		free(list->senders[i].pattern);
	free(list->senders);
	free(list->clients);
	free(list);
}

static enum access_mark
mark_of(bool is_allow, int64_t until, int64_t now_s)
{
	if (until != 0 && until <= now_s)
		return ACCESS_UNMARKED;
	return is_allow ? ACCESS_ALLOWED : ACCESS_BLOCKED;
}

static struct netprefix
cut_prefix(const struct netaddr *address, unsigned bits)
{
	struct netprefix prefix = {
	    .address = {.family = address->family}, .bits = (uint8_t)bits};

	memcpy(prefix.address.bytes, address->bytes, bits / 8);
	if (bits % 8 != 0)
		prefix.address.bytes[bits / 8] =
		    (uint8_t)(address->bytes[bits / 8] & 0xff00 >> bits % 8);
	return prefix;
}

enum access_mark
access_client(
    const struct access_list *list, const struct netaddr *client, int64_t now_s)
{
	unsigned longest = client->family == NETADDR_IPV6 ? 128 : 32;

	for (unsigned i = 0; i <= longest; i++) {
		struct client_entry key = {
		    .prefix = cut_prefix(client, longest - i)};
		const struct client_entry *found;
		enum access_mark mark;

		if (!list->has_bits[client->family][longest - i])
			continue;
		found = bsearch(&key, list->clients, list->client_count,
		    sizeof(key), compare_prefixes);
		if (found == NULL)
			continue;
		mark = mark_of(found->is_allow, found->until, now_s);
		if (mark != ACCESS_UNMARKED)
			return mark;
	}
	return ACCESS_UNMARKED;
}

/* ---- entries for senders ---- */

static enum access_mark
find_sender(const struct access_list *list, const char *pattern, int64_t now_s)
{
	const struct sender_entry *found = bsearch(pattern, list->senders,
	    list->sender_count, sizeof(*list->senders), compare_to_pattern);

	return found == NULL ? ACCESS_UNMARKED
			     : mark_of(found->is_allow, found->until, now_s);
}

enum access_mark
access_sender(
    const struct access_list *list, const struct address *sender, int64_t now_s)
{
	char text[ADDRESS_TEXT_MAX];
	char whole[sizeof(struct domain) + 1];
	char below[DOMAIN_PATTERN_TEXT_MAX];
	struct domain domain = sender->domain;
	enum access_mark mark;

	if (list->sender_count == 0 || sender->is_null)
		return ACCESS_UNMARKED;
	mark = find_sender(list, address_format_folded(sender, text), now_s);
	if (mark != ACCESS_UNMARKED || sender->is_literal)
		return mark;
	(void)snprintf(whole, sizeof(whole), "@%s", domain.text);
	mark = find_sender(list, whole, now_s);
	while (
	    mark == ACCESS_UNMARKED && domain_parent(&domain, &domain) == 0) {
		struct domain_pattern pattern = {
		    .kind = DOMAIN_PATTERN_BELOW, .domain = domain};

		mark = find_sender(
		    list, domain_pattern_format(&pattern, below), now_s);
	}
	return mark;
}

/* ---- senders ---- */

static bool
may_relay(const struct access_subject *subject)
{
	return subject->is_logged_in || subject->is_trusted;
}

bool
access_is_ours(const struct snapshot *snapshot, const struct address *address)
{
	return !address->is_null && !address->is_literal &&
	       address->domain.text[0] != '\0' &&
	       snapshot_domain(snapshot, &address->domain) != NULL;
}

int
access_check_client(
    const struct access_subject *subject, struct smtp_status *status_r)
{
	/* Submission is for those who are known (RFC 6409 section 4.3). */
	if (subject->listener != LISTENER_SMTP && !may_relay(subject))
		return smtp_status_set(
		    status_r, 530, "5.7.0", "Authentication required");
	return 0;
}

int
access_check_sender(const struct access_subject *subject,
    const struct snapshot *snapshot, const struct address *sender,
    enum access_mark mark, bool *needs_dns_r, struct smtp_status *status_r)
{
	const struct settings *settings = &snapshot->settings;

	*needs_dns_r = false;
	/* The null path is the way of notifications: it names nobody. */
	if (subject->is_logged_in)
		return subject->owns_sender
			   ? 0
			   : smtp_status_set(status_r, 550, "5.7.1",
				 "Sender address is not one of yours");
	if (subject->is_trusted)
		return 0;
	if (mark == ACCESS_BLOCKED)
		return smtp_status_set(
		    status_r, 550, "5.7.1", "Sender is not welcome here");
	if (settings->smtp_spoof_protection && access_is_ours(snapshot, sender))
		return smtp_status_set(status_r, 550, "5.7.1",
		    "Senders of this domain have to log in");
	*needs_dns_r =
	    mark != ACCESS_ALLOWED && settings->smtp_check_sender_domain;
	return 0;
}

/* ---- recipients ---- */

/*
 * "user%outside@ours", "outside!user@ours" and "user@outside"@ours make an
 * inner server relay that still reads them the old way: strangers have no use
 * for such local parts.
 */
static bool
is_source_routed(const struct address *address)
{
	return strpbrk(address->local, "%!@") != NULL;
}

static enum access_recipient
refuse_relaying(struct smtp_status *status_r)
{
	(void)smtp_status_set(status_r, 550, "5.7.1", "Relaying denied");
	return ACCESS_RCPT_REFUSED;
}

/* RFC 5321 section 4.5.1 and RFC 2142: these exist in each domain. */
static bool
is_role_address(const struct address *address)
{
	struct slice local = slice_of(address->local);

	return slice_equals_nocase(local, SLICE("postmaster")) ||
	       slice_equals_nocase(local, SLICE("abuse"));
}

enum access_recipient
access_check_recipient(const struct access_subject *subject,
    const struct snapshot *snapshot, const struct address *recipient,
    struct smtp_status *status_r)
{
	const struct domain_entry *ours = NULL;

	if (recipient->is_bare_postmaster)
		return ACCESS_RCPT_POSTMASTER;
	if (!recipient->is_literal)
		ours = snapshot_domain(snapshot, &recipient->domain);
	if (ours == NULL)
		return may_relay(subject) ? ACCESS_RCPT_OK
					  : refuse_relaying(status_r);
	if (!may_relay(subject) && is_source_routed(recipient))
		return refuse_relaying(status_r);
	if (ours->mode == DOMAIN_ANY ||
	    (is_role_address(recipient) &&
		snapshot->settings.system_postmaster[0] != '\0'))
		return ACCESS_RCPT_OK;
	return ACCESS_RCPT_ASK;
}

/* ---- the From field ---- */

/* A name in UTF-8, before it becomes A-labels, and more than any has. */
#define LOOSE_DOMAIN_MAX 1024
/*
 * A comment is read once for each "@" before it; a value that has so much of
 * them is written to keep us busy, as is one of very many addresses: each may
 * be a name outside ASCII, which is dear to convert.
 */
#define SEARCHED_COMMENTS_MAX 65536

static bool
is_our_name(const struct snapshot *snapshot, struct slice name)
{
	struct domain domain;

	return domain_parse(name, &domain, NULL) == 0 &&
	       snapshot_domain(snapshot, &domain) != NULL;
}

/* A byte that may stand in a domain, in UTF-8 too. */
static bool
is_domain_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '-' || c == '.' ||
	       (unsigned char)c >= 0x80;
}

static bool
is_skipped_byte(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A value that is searched, and what it has cost so far. */
struct from_search {
	const struct snapshot *snapshot;
	struct slice text;
	size_t names;
	size_t comment_octets;
};

/* Behind blanks and comments that begin at `at`. */
static size_t
skip_blanks(struct from_search *search, size_t at)
{
	const struct slice text = search->text;
	size_t depth = 0;

	for (; at < text.n; at++) {
		if (text.p[at] == '(')
			depth++;
		else if (text.p[at] == ')' && depth > 0)
			depth--;
		else if (depth == 0 && !is_skipped_byte(text.p[at]))
			break;
		else if (text.p[at] == '\\')
			at++;
		if (depth > 0)
			search->comment_octets++;
	}
	return at < text.n ? at : text.n;
}

/*
 * Is it one of our domains that begins at `at`?  Blanks and comments may stand
 * around each of its dots (RFC 5322 section 4.4), and readers take them out.
 */
static bool
is_ours_at(struct from_search *search, size_t at)
{
	const struct slice text = search->text;
	struct buf name;
	bool is_ours = false;

	buf_init(&name, LOOSE_DOMAIN_MAX);
	for (bool is_first = true; !is_ours; is_first = false) {
		size_t end = at = skip_blanks(search, at);

		while (end < text.n && is_domain_byte(text.p[end]))
			end++;
		/* Two words with no dot between them are no longer one name. */
		if (end == at || (!is_first && name.p[name.n - 1] != '.' &&
				     text.p[at] != '.'))
			break;
		if (buf_add(&name, text.p + at, end - at) == -1)
			break;
		/* Others read no further than to the first blank. */
		is_ours =
		    is_first && is_our_name(search->snapshot, buf_slice(&name));
		at = end;
	}
	is_ours = is_ours || (name.n > 0 && is_our_name(search->snapshot,
						buf_slice(&name)));
	buf_clear(&name);
	return is_ours;
}

/* Whatever follows an "@" and might be read as a domain. */
static enum access_from
search_ours(const struct snapshot *snapshot, struct slice text)
{
	struct from_search search = {.snapshot = snapshot, .text = text};

	for (size_t at = slice_find(text, '@', 0); at < text.n;
	     at = slice_find(text, '@', at + 1)) {
		if (++search.names > ACCESS_FROM_ADDRESSES_MAX ||
		    search.comment_octets > SEARCHED_COMMENTS_MAX)
			return ACCESS_FROM_TOO_MANY;
		if (is_ours_at(&search, at + 1))
			return ACCESS_FROM_OURS;
	}
	return ACCESS_FROM_FOREIGN;
}

/* Some programs decode the whole field before they look for an address. */
static enum access_from
search_decoded(const struct snapshot *snapshot, struct slice text)
{
	enum access_from found = ACCESS_FROM_OURS;
	struct buf decoded;

	buf_init(&decoded, text.n * 3);
	if (mime_word_read(text, &decoded) != -1)
		found = search_ours(snapshot, buf_slice(&decoded));
	buf_clear(&decoded);
	return found;
}

enum access_from
access_from_names(const struct snapshot *snapshot, struct slice from_value)
{
	enum access_from found;
	struct mailbox_list list;
	struct mailbox mailbox;
	size_t count = 0;
	int rc;

	mailbox_list_init(
	    &list, from_value, MAILBOX_LIST_GROUPS | MAILBOX_LIST_UTF8);
	while ((rc = mailbox_list_next(&list, &mailbox)) == 1) {
		if (++count > ACCESS_FROM_ADDRESSES_MAX)
			return ACCESS_FROM_TOO_MANY;
		if (is_our_name(snapshot, mailbox.domain))
			return ACCESS_FROM_OURS;
	}
	if (rc == 0)
		return ACCESS_FROM_FOREIGN;
	found = search_ours(snapshot, from_value);
	return found != ACCESS_FROM_FOREIGN
		   ? found
		   : search_decoded(snapshot, from_value);
}
