/* SPDX-License-Identifier: ISC */
/*
 * "postern explain": what policy makes of a mail, for people.
 * Runs in: postern.  Trusts: nothing of an answer's texts.
 */
#include <stdio.h>

#include "control/cli.h"

static void
show_member(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);
	struct buf text;

	if (value == NULL ||
	    (json_is_array(value) && json_array_size(value) == 0))
		return;
	buf_init(&text, 8192);
	cli_value_text(value, '\0', &text);
	(void)printf("%s\t%s\n", name, buf_text(&text));
	buf_clear(&text);
}

int
cli_run_explain(struct cli *cli)
{
	static const char *const members[] = {
	    "sign", "encrypt", "dkim", "method", "min_trust", "options"};
	static const struct cli_table rules = {"rules",
	    "sender:SENDER,recipient:RECIPIENT,rule:RULE,"
	    "counts:COUNTS,why:WHY"};
	static const struct cli_table keys = {"keys",
	    "use:KEY TO,method:METHOD,state:STATE,"
	    "fingerprint:FINGERPRINT,algorithm:ALGORITHM,"
	    "not_after:EXPIRES:t,trust:TRUST"};
	const json_t *decision;
	json_t *reply;
	const int code =
	    cli_ask(cli, cli->verb->request, cli->arguments, &reply);

	if (code != CLI_DONE)
		return code;
	if (cli->is_json || cli->is_jsonl) {
		cli_show_json(reply);
		json_decref(reply);
		return code;
	}
	decision = json_object_get(reply, "decision");
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		show_member(decision, members[i]);
	show_member(reply, "removed");
	show_member(reply, "outcome");
	show_member(reply, "note");
	cli_show_rows(&rules, json_object_get(reply, "rules"), true);
	cli_show_rows(&keys, json_object_get(reply, "keys"), true);
	json_decref(reply);
	return code;
}
