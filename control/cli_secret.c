/* SPDX-License-Identifier: ISC */
/*
 * The verbs that take or show something secret: passwords and the TLS key.
 * Runs in: postern.  Secrets come by standard input, a terminal or a file that
 * is handed over unread, never as an argument.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/cli.h"

/* Which verbs need a password. */
static bool
wants_password(const struct cli *cli)
{
	const json_t *arguments = cli->arguments;

	if (json_is_true(json_object_get(arguments, "no_password")) ||
	    json_is_true(json_object_get(arguments, "generate")))
		return false;
	/* A route needs one only with a user. */
	if (strcmp(cli->verb->words, "route add") == 0)
		return json_object_get(arguments, "user") != NULL;
	return true;
}

int
cli_put_password(struct cli *cli, bool is_new, const char *what)
{
	const bool from_stdin =
	    json_is_true(json_object_get(cli->arguments, "password_stdin"));
	char *password;
	json_t *value;
	struct err err;

	if (cli_read_password(from_stdin, is_new, &password, &err) == -1)
		return cli_fail(cli, CLI_USAGE, NULL, "%s", err.text);
	value = json_string(password);
	explicit_bzero(password, strlen(password));
	free(password);
	if (value == NULL)
		return cli_fail(
		    cli, CLI_USAGE, NULL, "the %s is not UTF-8", what);
	(void)json_object_set_new(cli->arguments, "password", value);
	return CLI_DONE;
}

int
cli_run_with_password(struct cli *cli)
{
	const bool is_route = strcmp(cli->verb->words, "route add") == 0;

	if (wants_password(cli)) {
		const int code = cli_put_password(cli, !is_route, "password");

		if (code != CLI_DONE)
			return code;
	}
	return is_route ? cli_run_change(cli) : cli_run_asked(cli);
}

/* The password alone on standard output: it is shown this once. */
int
cli_run_app_password(struct cli *cli)
{
	json_t *reply;
	const char *password;
	const char *id;
	const char *login;
	const int code =
	    cli_ask(cli, cli->verb->request, cli->arguments, &reply);

	if (code != CLI_DONE)
		return code;
	password = json_string_value(json_object_get(reply, "password"));
	id = json_string_value(json_object_get(reply, "id"));
	login = json_string_value(json_object_get(reply, "login"));
	if (cli->is_json || cli->is_jsonl) {
		cli_show_json(reply);
	} else {
		if (id != NULL && login != NULL)
			cli_say("app password %s, for the login %s; it is "
				"shown only now",
			    id, login);
		(void)puts(password != NULL ? password : "");
	}
	json_decref(reply);
	return code;
}

int
cli_run_tls_install(struct cli *cli)
{
	const char *chain =
	    json_string_value(json_object_get(cli->arguments, "chain"));
	const char *key =
	    json_string_value(json_object_get(cli->arguments, "key"));
	int chain_fd = open(chain, O_RDONLY | O_CLOEXEC);
	int key_fd = -1;
	json_t *reply = NULL;
	int code;

	if (chain_fd == -1)
		return cli_fail(
		    cli, CLI_FAILED, NULL, "%s: %s", chain, strerror(errno));
	if ((key_fd = open(key, O_RDONLY | O_CLOEXEC)) == -1) {
		code = cli_fail(
		    cli, CLI_FAILED, NULL, "%s: %s", key, strerror(errno));
	} else if ((code = cli_connect(cli)) == CLI_DONE) {
		code =
		    client_install_tls(cli->client, chain_fd, key_fd, &reply);
		if (code != CLI_DONE)
			code = cli_say_error(cli, code, reply);
		else
			cli_show(cli, reply);
	}
	json_decref(reply);
	close_if_open(&key_fd);
	close_if_open(&chain_fd);
	return code;
}
