/* SPDX-License-Identifier: ISC */
/*
 * The verbs of keys that read or write files, take a pass phrase, or show text
 * that goes elsewhere as it is: DNS records, PEM.
 * Runs in: postern.  Trusts: an answer's texts only to be shown: paths in it
 * stay below the folder that was named, and lines are made printable.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base64.h"
#include "common/printable.h"
#include "control/cli.h"

#define LINE_MAX_SHOWN 4096
#define PATH_SIZE 4096

/* ---- text ---- */

static void
show_text(const char *text)
{
	struct slice rest = slice_of(text);
	char shown[LINE_MAX_SHOWN];

	while (rest.n > 0) {
		const size_t end = slice_find(rest, '\n', 0);
		const size_t used = end < rest.n ? end + 1 : end;
		const bool has_cr = end > 0 && rest.p[end - 1] == '\r';

		(void)puts(printable((struct slice){rest.p, end - has_cr},
		    shown, sizeof(shown)));
		rest.p += used;
		rest.n -= used;
	}
}

/* The text of the answer alone, so that it can go into a file. */
static void
show_reply(const struct cli *cli, json_t *reply)
{
	static const char *const texts[] = {"text", "csr"};

	if (!cli->is_json && !cli->is_jsonl)
		for (size_t i = 0; i < 2; i++) {
			const char *text =
			    json_string_value(json_object_get(reply, texts[i]));

			if (text != NULL) {
				show_text(text);
				return;
			}
		}
	cli_show(cli, reply);
}

static bool
has_flag(const struct cli *cli, const char *name)
{
	return json_is_true(json_object_get(cli->arguments, name));
}

/* ---- files ---- */

/*
 * Opens it empty.  Who could read the file that was there before cannot read
 * what comes, where mode does not say so.
 */
static int
open_empty(const char *path, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
	struct stat st;

	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == 0 &&
	    (!S_ISREG(st.st_mode) ||
		(fchmod(fd, st.st_mode & mode) == 0 && ftruncate(fd, 0) == 0)))
		return fd;
	close_if_open(&fd);
	return -1;
}

static int
write_file(
    const struct cli *cli, const char *path, const char *base64, mode_t mode)
{
	const struct slice text = slice_of(base64);
	char *octets = xmalloc(BASE64_DECODED_MAX(text.n) + 1);
	size_t n = 0;
	int fd = -1;
	int code = CLI_DONE;

	if (base64_decode(text, octets, BASE64_DECODED_MAX(text.n) + 1, &n) ==
	    -1)
		code =
		    cli_fail(cli, CLI_FAILED, NULL, "the answer is not base64");
	else if ((fd = open_empty(path, mode)) == -1 ||
		 write(fd, octets, n) != (ssize_t)n || close(fd) == -1)
		code = cli_fail(
		    cli, CLI_FAILED, NULL, "%s: %s", path, strerror(errno));
	explicit_bzero(octets, n);
	free(octets);
	return code;
}

/* "example.org/hu/abc": plain names with single slashes between them. */
static bool
is_plain_path(const char *path)
{
	bool is_start = true;

	for (; *path != '\0'; path++) {
		if (is_start && (*path == '.' || *path == '/'))
			return false;
		is_start = *path == '/';
	}
	return !is_start;
}

static int
make_folders(const struct cli *cli, char *path)
{
	for (char *at = strchr(path + 1, '/'); at != NULL;
	     at = strchr(at + 1, '/')) {
		*at = '\0';
		if (mkdir(path, 0755) == -1 && errno != EEXIST)
			return cli_fail(cli, CLI_FAILED, NULL, "%s: %s", path,
			    strerror(errno));
		*at = '/';
	}
	return CLI_DONE;
}

static int
write_wkd(const struct cli *cli, const char *dir, const json_t *reply)
{
	const json_t *files = json_object_get(reply, "files");
	int code = CLI_DONE;
	size_t i;
	const json_t *file;

	json_array_foreach(files, i, file) {
		const char *name =
		    json_string_value(json_object_get(file, "path"));
		const char *data =
		    json_string_value(json_object_get(file, "data"));
		char path[PATH_SIZE];

		if (name == NULL || data == NULL || !is_plain_path(name) ||
		    (size_t)snprintf(path, sizeof(path),
			"%s/.well-known/openpgpkey/%s", dir,
			name) >= sizeof(path))
			return cli_fail(
			    cli, CLI_FAILED, NULL, "the answer is odd");
		code = make_folders(cli, path);
		if (code == CLI_DONE)
			code = write_file(cli, path, data, 0644);
		if (code != CLI_DONE)
			return code;
	}
	cli_say("%zu files below %s/.well-known/openpgpkey", i, dir);
	return code;
}

/* ---- verbs ---- */

/* Shows text as it is; for verbs that need nothing else of their own. */
int
cli_run_key_text(struct cli *cli)
{
	json_t *reply = NULL;
	const int code =
	    cli_ask(cli, cli->verb->request, cli->arguments, &reply);

	if (code == CLI_DONE)
		show_reply(cli, reply);
	json_decref(reply);
	return code;
}

/* A file that may be protected by a pass phrase. */
int
cli_run_key_import(struct cli *cli)
{
	if (has_flag(cli, "password_stdin") || has_flag(cli, "ask_password") ||
	    json_object_get(cli->arguments, "pkcs11") != NULL) {
		const int code = cli_put_password(cli, false, "pass phrase");

		if (code != CLI_DONE)
			return code;
	}
	return cli_run_asked(cli);
}

/* The path that the user gave under that name, or NULL; the owner of the key
 * is only told that there is one.  To be freed. */
static char *
take_path(struct cli *cli, const char *name)
{
	const json_t *file = json_object_get(cli->arguments, name);
	char *path;

	if (file == NULL)
		return NULL;
	path = xstrdup(json_string_value(file));
	(void)json_object_set_new(cli->arguments, name, json_true());
	return path;
}

/* What the reply has under that name goes to path, where there is one. */
static int
ask_into_file(struct cli *cli, const char *name, const char *path, mode_t mode)
{
	json_t *reply = NULL;
	int code = cli_ask(cli, cli->verb->request, cli->arguments, &reply);
	const char *base64 = json_string_value(json_object_get(reply, name));

	if (code == CLI_DONE && base64 != NULL && path != NULL) {
		code = write_file(cli, path, base64, mode);
		if (code == CLI_DONE)
			cli_say("written to %s", path);
	} else if (code == CLI_DONE) {
		show_reply(cli, reply);
	}
	json_decref(reply);
	return code;
}

/* A file that is written here, under a pass phrase of its own. */
int
cli_run_key_pkcs12(struct cli *cli)
{
	char *path = take_path(cli, "pkcs12");
	int code = CLI_DONE;

	if (path != NULL)
		code = cli_put_password(cli, true, "pass phrase");
	if (code == CLI_DONE)
		code = ask_into_file(cli, "pkcs12", path, 0600);
	free(path);
	return code;
}

/* RFC 5280 has DER behind a distribution point, not PEM. */
int
cli_run_ca_crl(struct cli *cli)
{
	char *path = take_path(cli, "der");
	const int code = ask_into_file(cli, "der", path, 0644);

	free(path);
	return code;
}

int
cli_run_pgp_export(struct cli *cli)
{
	const json_t *wkd = json_object_get(cli->arguments, "wkd");
	json_t *reply = NULL;
	int code;

	if (wkd == NULL)
		return cli_run_key_text(cli);
	code = cli_ask(cli, "key.pgp.wkd", cli->arguments, &reply);
	if (code == CLI_DONE && cli->is_json)
		cli_show(cli, reply);
	else if (code == CLI_DONE)
		code = write_wkd(cli, json_string_value(wkd), reply);
	json_decref(reply);
	return code;
}

/* The records, ready for a zone file. */
int
cli_run_dkim(struct cli *cli)
{
	json_t *reply = NULL;
	const int code =
	    cli_ask(cli, cli->verb->request, cli->arguments, &reply);
	const json_t *keys = json_object_get(reply, "keys");
	size_t i;
	const json_t *key;

	if (code == CLI_DONE && (cli->is_json || cli->is_jsonl)) {
		cli_show(cli, reply);
	} else if (code == CLI_DONE && keys == NULL) {
		show_text(json_string_value(json_object_get(reply, "record")));
	} else if (code == CLI_DONE) {
		json_array_foreach(keys, i, key)
			show_text(
			    json_string_value(json_object_get(key, "record")));
	}
	json_decref(reply);
	return code;
}
