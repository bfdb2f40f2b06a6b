/* SPDX-License-Identifier: ISC */
/*
 * Rules of protection as configuration items.
 * Runs in: postern-confd.  Trusts: nothing of what it is given.
 */
#include <string.h>

#include "control/config_rules.h"

/* key "SENDER RECIPIENT", value the words of common/policy.h */
int
config_policy_parse(struct slice key, struct slice value, struct buf *key_r,
    struct buf *value_r, struct err *err)
{
	const size_t space = slice_find(key, ' ', 0);
	const struct slice recipient =
	    slice_trim((struct slice){key.p + space, key.n - space});
	char patterns[2][POLICY_PATTERN_MAX + 1];
	struct policy_words words;

	if (recipient.n == 0)
		return config_refuse(err, "policy", key,
		    "a pattern for senders and one for recipients");
	if (policy_pattern_parse(
		(struct slice){key.p, space}, patterns[0], err) == -1 ||
	    policy_pattern_parse(recipient, patterns[1], err) == -1 ||
	    policy_words_parse(value, &words, err) == -1)
		return -1;
	(void)buf_addf(key_r, "%s %s", patterns[0], patterns[1]);
	policy_words_format(&words, value_r);
	if (value_r->n > POLICY_RULES_MAX)
		return err_set(
		    err, "the rule has more than %d octets", POLICY_RULES_MAX);
	return 0;
}

int
config_policy_read(const char *key, struct config_policy *policy_r)
{
	const char *space = strchr(key, ' ');

	if (space == NULL)
		return -1;
	policy_r->recipient = space + 1;
	return slice_copy((struct slice){key, (size_t)(space - key)},
	    policy_r->sender, sizeof(policy_r->sender));
}
