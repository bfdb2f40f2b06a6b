/* SPDX-License-Identifier: ISC */
/*
 * postern: the command line of the gateway.  It opens no store: confd answers,
 * the running one or one started for the command.
 * Trusts: its caller, whose rights it has; nothing that an answer quotes.
 */
#include "config.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "control/cli.h"

static int
usage_error(const struct cli *cli, const struct err *err)
{
	char hint[128];

	(void)snprintf(hint, sizeof(hint), "postern help%s%s",
	    cli->verb != NULL ? " " : "",
	    cli->verb != NULL ? cli->verb->words : "");
	return cli_fail(cli, CLI_USAGE, hint, "%s", err->text);
}

/* --help behind the words of a verb, or of a noun. */
static int
show_help(int argc, char **argv)
{
	const char *words[8];
	size_t count = 0;

	for (int i = 1; i < argc && count < 8; i++) {
		if (strcmp(argv[i], "--root") == 0)
			i++;
		else if (argv[i][0] != '-')
			words[count++] = argv[i];
	}
	while (!cli_help(count, words))
		count--;
	return CLI_DONE;
}

int
main(int argc, char **argv)
{
	struct cli cli = {.verb = NULL};
	struct err err;
	int code;

	(void)setlocale(LC_TIME, "");
	(void)umask(077);
	code = cli_parse(&cli, argc, argv, (int64_t)time(NULL), &err);
	if (cli.is_version) {
		(void)puts("postern " PACKAGE_VERSION);
		code = CLI_DONE;
	} else if (cli.is_help) {
		code = show_help(argc, argv);
	} else if (code != CLI_DONE) {
		code = usage_error(&cli, &err);
	} else if (instance_init(&cli.instance, cli.root, &err) == -1) {
		code = cli_fail(&cli, CLI_USAGE, NULL, "%s", err.text);
	} else {
		code = cli_run(&cli);
	}
	client_close(cli.client);
	instance_clear(&cli.instance);
	json_decref(cli.arguments);
	return code;
}
