/* SPDX-License-Identifier: ISC */
/*
 * Rules of protection: what is taken must be written and read back as the
 * same, and any mail gets a decision.  Input: "SENDER RECIPIENT WORDS", a line
 * end, and a mail's header.
 */
#include <string.h>

#include "common/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_words(struct slice text)
{
	struct policy_words words;
	struct policy_words again;
	struct buf first;
	struct buf second;
	struct err err;

	if (policy_words_parse(text, &words, NULL) == -1)
		return;
	buf_init(&first, 4 * POLICY_RULES_MAX);
	buf_init(&second, 4 * POLICY_RULES_MAX);
	policy_words_format(&words, &first);
	if (first.n <= POLICY_RULES_MAX) {
		if (policy_words_parse(buf_slice(&first), &again, &err) == -1)
			bug("our own text: %s", err.text);
		policy_words_format(&again, &second);
		if (strcmp(buf_text(&first), buf_text(&second)) != 0)
			bug("%s became %s", buf_text(&first),
			    buf_text(&second));
	}
	buf_clear(&first);
	buf_clear(&second);
}

static void
decide(const struct policy *policy, struct slice mail_text)
{
	struct policy_decision decision;
	struct ipc_list_writer removals;
	struct policy_mail mail;
	struct header header;
	struct address sender;
	struct address recipient;

	(void)address_parse(SLICE("a+t@ours.test"), 0, &sender, NULL);
	(void)address_parse(SLICE("b@mail.x.test"), 0, &recipient, NULL);
	header_init(&header, 0);
	ipc_list_writer_init(&removals, 65536);
	if (header_read(&header, mail_text) == PARSE_OK) {
		policy_mail_init(&mail, &sender, true, &header);
		policy_decide(policy, &mail, &recipient, &decision, &removals,
		    NULL, NULL);
		if (decision.sign >= SIGN_COUNT ||
		    decision.encrypt >= ENCRYPT_COUNT ||
		    decision.dkim >= DKIM_COUNT ||
		    decision.method >= METHOD_COUNT ||
		    (decision.options & ~(unsigned)PROTECT_OPTION_ALL) != 0)
			bug("a decision that is none");
		policy_mail_clear(&mail);
	}
	ipc_list_writer_clear(&removals);
	header_clear(&header);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct slice input = {(const char *)data, size};
	const size_t end = slice_find(input, '\n', 0);
	const struct slice line = {input.p, end};
	const size_t one = slice_find(line, ' ', 0);
	const size_t two = one < line.n ? slice_find(line, ' ', one + 1) : one;
	struct slice words;
	struct slice rest = {NULL, 0};
	struct policy *policy;

	if (one == line.n || two == line.n)
		return 0;
	words = (struct slice){line.p + two, line.n - two};
	if (end < input.n)
		rest = (struct slice){input.p + end + 1, input.n - end - 1};
	check_words(words);
	policy = policy_new();
	(void)policy_add(policy, (struct slice){line.p, one},
	    (struct slice){line.p + one + 1, two - one - 1}, words, NULL);
	(void)policy_add(policy, SLICE("*"), SLICE("@*.x.test"), words, NULL);
	policy_sort(policy);
	decide(policy, rest);
	policy_free(policy);
	return 0;
}
