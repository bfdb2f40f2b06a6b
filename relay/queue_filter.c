/* SPDX-License-Identifier: ISC */
/*
 * Filters over queued messages.
 * Runs in: postern-queued.  Trusts: nothing of the JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "relay/queue_filter.h"

const char *
queue_recipient_status(const struct queue_recipient *recipient)
{
	if (recipient->state == RCPT_HELD)
		return "held";
	return recipient->attempts > 0 ? "deferred" : "waiting";
}

static int
take_text(const char *name, const json_t *value, char **text_r, struct err *err)
{
	if (!json_is_string(value) || json_string_length(value) == 0)
		return err_set(err, "match.%s: a text is wanted", name);
	free(*text_r);
	*text_r = xstrdup(json_string_value(value));
	return 0;
}

static int
take_word(struct queue_filter *filter, const char *name, const json_t *value,
    struct err *err)
{
	const struct {
		const char *name;
		char **text;
	} texts[] = {{"from", &filter->from}, {"to", &filter->to},
	    {"domain", &filter->domain}, {"account", &filter->account},
	    {"status", &filter->status}};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strcmp(name, texts[i].name) == 0)
			return take_text(name, value, texts[i].text, err);
	if (strcmp(name, "older_than_s") != 0)
		return err_set(err,
		    "match.%s: unknown; known are from, to, domain, account, "
		    "status, older_than_s",
		    name);
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return err_set(
		    err, "match.older_than_s: a number of seconds is wanted");
	filter->older_than_s = json_integer_value(value);
	return 0;
}

int
queue_filter_parse(
    const json_t *match, struct queue_filter *filter_r, struct err *err)
{
	const char *name;
	json_t *value;

	memset(filter_r, 0, sizeof(*filter_r));
	if (match == NULL || json_is_null(match))
		return 0;
	if (!json_is_object(match))
		return err_set(err, "match: an object is wanted");
	json_object_foreach((json_t *)(uintptr_t)match, name, value)
	{
		if (take_word(filter_r, name, value, err) == -1) {
			queue_filter_clear(filter_r);
			return -1;
		}
	}
	if (filter_r->status != NULL &&
	    strcmp(filter_r->status, "waiting") != 0 &&
	    strcmp(filter_r->status, "deferred") != 0 &&
	    strcmp(filter_r->status, "held") != 0) {
		queue_filter_clear(filter_r);
		return err_set(
		    err, "match.status: waiting, deferred or held are allowed");
	}
	return 0;
}

void
queue_filter_clear(struct queue_filter *filter)
{
	free(filter->from);
	free(filter->to);
	free(filter->domain);
	free(filter->account);
	free(filter->status);
	memset(filter, 0, sizeof(*filter));
}

static bool
sender_matches(const char *pattern, const char *sender)
{
	if (strcmp(pattern, "<>") == 0)
		return sender[0] == '\0';
	return strcasestr(sender, pattern) != NULL;
}

/* One recipient that fits all words is enough. */
static bool
recipient_matches(
    const struct queue_filter *filter, const struct queue_recipient *recipient)
{
	if (filter->to != NULL &&
	    strcasestr(recipient->address, filter->to) == NULL)
		return false;
	if (filter->domain != NULL &&
	    strcasecmp(recipient->domain, filter->domain) != 0)
		return false;
	return filter->status == NULL ||
	       strcmp(queue_recipient_status(recipient), filter->status) == 0;
}

bool
queue_filter_matches(const struct queue_filter *filter,
    const struct queue_message *message, int64_t now_ms)
{
	if (filter->from != NULL &&
	    !sender_matches(filter->from, message->sender))
		return false;
	if (filter->account != NULL &&
	    strcasecmp(filter->account, message->account) != 0)
		return false;
	if (now_ms - message->created_ms < filter->older_than_s * 1000)
		return false;
	for (size_t i = 0; i < message->recipient_count; i++)
		if (recipient_matches(filter, &message->recipients[i]))
			return true;
	return false;
}
