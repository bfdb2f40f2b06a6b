/* SPDX-License-Identifier: ISC */
/*
 * Help and completion, from the table of verbs.
 * Runs in: postern.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli.h"

#define COLUMN 46

void
cli_usage_line(const struct cli_verb *verb, struct buf *line_r)
{
	(void)buf_add_text(line_r, verb->words);
	for (size_t i = 0; i < CLI_ARGUMENTS_MAX; i++) {
		const struct cli_argument *argument = &verb->arguments[i];
		const bool is_many =
		    argument->type == CLI_LIST || argument->type == CLI_PAIRS;

		if (argument->key == NULL)
			break;
		(void)buf_addf(line_r, " %s%s%s%s",
		    argument->is_optional ? "[" : "", argument->placeholder,
		    is_many ? "..." : "", argument->is_optional ? "]" : "");
	}
	if (verb->options[0].name != NULL)
		(void)buf_add_text(line_r, " [OPTION...]");
}

static void
show_verb(const struct cli_verb *verb)
{
	struct buf line;

	buf_init(&line, 512);
	cli_usage_line(verb, &line);
	(void)printf("  %-*s %s%s\n", COLUMN, buf_text(&line),
	    line.n > COLUMN ? "\n                                       "
			      "          "
			    : "",
	    verb->help);
	buf_clear(&line);
}

static void
show_option(const struct cli_option *option)
{
	char left[80];
	const bool is_list =
	    option->type == CLI_LIST || option->type == CLI_FILTER;

	(void)snprintf(left, sizeof(left), "%s%s%s%s", option->name,
	    option->placeholder != NULL ? " " : "",
	    option->placeholder != NULL ? option->placeholder : "",
	    is_list ? "..." : "");
	(void)printf("      %-26s %s\n", left, option->help);
}

static void
show_options(const struct cli_verb *verb)
{
	for (size_t i = 0; i < CLI_OPTIONS_MAX; i++)
		if (verb->options[i].name != NULL)
			show_option(&verb->options[i]);
}

/* "user app-password add" begins with "user". */
static bool
begins_with(const struct cli_verb *verb, size_t count, const char *const *words)
{
	struct slice rest = slice_of(verb->words);

	for (size_t i = 0; i < count; i++) {
		const size_t end = slice_find(rest, ' ', 0);
		const size_t used = end < rest.n ? end + 1 : end;

		if (!slice_equals(
			(struct slice){rest.p, end}, slice_of(words[i])))
			return false;
		rest = (struct slice){rest.p + used, rest.n - used};
	}
	return true;
}

static void
show_head(void)
{
	(void)puts("usage: postern [--root DIR] NOUN [VERB] [ARGUMENT...]");
	(void)puts("Runs and watches the mail gateway; see postern(8).\n");
}

bool
cli_help(size_t count, const char *const *words)
{
	bool is_any = false;

	for (const struct cli_verb *verb = cli_verbs; verb->words != NULL;
	     verb++) {
		if (!begins_with(verb, count, words))
			continue;
		if (!is_any && count == 0)
			show_head();
		is_any = true;
		show_verb(verb);
		if (count > 0)
			show_options(verb);
	}
	if (!is_any)
		return false;
	(void)puts("\nWith every verb:");
	for (const struct cli_option *option = cli_global_options;
	     option->name != NULL; option++)
		show_option(option);
	if (count == 0)
		(void)puts("\n\"postern help NOUN\" tells the options.");
	return true;
}

int
cli_run_help(struct cli *cli)
{
	const json_t *list = json_object_get(cli->arguments, "words");
	const char *words[8] = {NULL};
	size_t count = json_array_size(list);

	if (count > sizeof(words) / sizeof(words[0]))
		count = sizeof(words) / sizeof(words[0]);
	for (size_t i = 0; i < count; i++)
		words[i] = json_string_value(json_array_get(list, i));
	if (cli_help(count, words))
		return CLI_DONE;
	return cli_fail(cli, CLI_NOTHING, "postern help",
	    "no verb begins with \"%s\"", count > 0 ? words[0] : "");
}

/* ---- completion ---- */

static void
print_words(const struct cli_verb *verb)
{
	(void)printf("\t'%s'\n", verb->words);
}

static void
print_options(const struct cli_verb *verb)
{
	(void)printf("\t'%s:' | '%s '*) options='", verb->words, verb->words);
	for (size_t i = 0; i < CLI_OPTIONS_MAX; i++)
		if (verb->options[i].name != NULL)
			(void)printf(
			    "%s%s", i > 0 ? " " : "", verb->options[i].name);
	(void)puts("' ;;");
}

/* Every verb as a line of words; bash takes the next word of those that fit. */
static const char completion_tail[] =
    "_postern()\n"
    "{\n"
    "\tlocal word=${COMP_WORDS[COMP_CWORD]} said='' verb options='' i next\n"
    "\tlocal -a plain=()\n"
    "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
    "\t\tcase ${COMP_WORDS[i]} in\n"
    "\t\t--root) ((i++)) ;;\n"
    "\t\t-*) ;;\n"
    "\t\t*) plain+=(\"${COMP_WORDS[i]}\") ;;\n"
    "\t\tesac\n"
    "\tdone\n"
    "\tsaid=\"${plain[*]}\"\n"
    "\tif [ \"${COMP_WORDS[COMP_CWORD-1]}\" = --root ]; then\n"
    "\t\tmapfile -t COMPREPLY < <(compgen -d -- \"$word\")\n"
    "\t\treturn\n"
    "\tfi\n"
    "\tif [[ $word == -* ]]; then\n"
    "\t\t_postern_options \"$said\"\n"
    "\t\tmapfile -t COMPREPLY < <(compgen -W \"$options "
    "--root --json --jsonl --help\" -- \"$word\")\n"
    "\t\treturn\n"
    "\tfi\n"
    "\tnext=$(for verb in \"${_postern_verbs[@]}\"; do\n"
    "\t\t[ -z \"$said\" ] && echo \"${verb%% *}\" && continue\n"
    "\t\t[[ $verb == \"$said \"* ]] || continue\n"
    "\t\tverb=${verb#\"$said \"}\n"
    "\t\techo \"${verb%% *}\"\n"
    "\tdone | sort -u)\n"
    "\tif [ -n \"$next\" ]; then\n"
    "\t\tmapfile -t COMPREPLY < <(compgen -W \"$next\" -- \"$word\")\n"
    "\telse\n"
    "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
    "\tfi\n"
    "}\n"
    "complete -F _postern postern\n";

int
cli_run_completion(struct cli *cli)
{
	(void)cli;
	(void)puts("# bash: source this file, or put it where bash-completion "
		   "looks.\n_postern_verbs=(");
	for (const struct cli_verb *verb = cli_verbs; verb->words != NULL;
	     verb++)
		print_words(verb);
	(void)puts(")\n_postern_options()\n{\n\tcase \"$1:\" in");
	/* The longer verbs first: "queue list" before "queue". */
	for (size_t words = 3; words > 0; words--)
		for (const struct cli_verb *verb = cli_verbs;
		     verb->words != NULL; verb++) {
			size_t spaces = 0;

			for (const char *c = verb->words; *c != '\0'; c++)
				spaces += *c == ' ' ? 1 : 0;
			if (spaces + 1 == words)
				print_options(verb);
		}
	(void)puts("\tesac\n}");
	(void)fputs(completion_tail, stdout);
	return CLI_DONE;
}
