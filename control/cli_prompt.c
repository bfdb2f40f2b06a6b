/* SPDX-License-Identifier: ISC */
/*
 * Passwords and confirmations from people.
 * Runs in: postern.  A password is never an argument: others would see it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "control/cli.h"

#define PASSWORD_MAX 1024

/* One line without its end; NULL at the end of input. */
static char *
read_line(FILE *in, struct err *err)
{
	char *line = xcalloc(1, PASSWORD_MAX + 2);
	size_t n;

	if (fgets(line, PASSWORD_MAX + 2, in) == NULL) {
		free(line);
		(void)err_set(err, "no password came");
		return NULL;
	}
	n = strlen(line);
	if (n > 0 && line[n - 1] == '\n')
		line[--n] = '\0';
	if (n > 0 && line[n - 1] == '\r')
		line[--n] = '\0';
	if (n == 0 || n > PASSWORD_MAX) {
		explicit_bzero(line, PASSWORD_MAX + 2);
		free(line);
		(void)err_set(err,
		    n == 0 ? "the password is empty"
			   : "the password has more than %d octets",
		    PASSWORD_MAX);
		return NULL;
	}
	return line;
}

static char *
ask_hidden(FILE *tty, const char *question, struct err *err)
{
	struct termios before;
	struct termios hidden;
	char *line;

	if (tcgetattr(fileno(tty), &before) == -1) {
		(void)err_set(err, "terminal: %s", strerror(errno));
		return NULL;
	}
	hidden = before;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	(void)fputs(question, tty);
	(void)fflush(tty);
	(void)tcsetattr(fileno(tty), TCSAFLUSH, &hidden);
	line = read_line(tty, err);
	(void)tcsetattr(fileno(tty), TCSAFLUSH, &before);
	(void)fputc('\n', tty);
	return line;
}

static void
wipe(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
}

int
cli_read_password(
    bool from_stdin, bool is_new, char **password_r, struct err *err)
{
	FILE *tty;
	char *again;

	*password_r = NULL;
	if (from_stdin) {
		*password_r = read_line(stdin, err);
		return *password_r != NULL ? 0 : -1;
	}
	tty = isatty(STDIN_FILENO) == 1 ? fopen("/dev/tty", "r+e") : NULL;
	if (tty == NULL)
		return err_set(err, "there is no terminal to ask for the "
				    "password; use --password-stdin");
	*password_r = ask_hidden(tty, "Password: ", err);
	if (*password_r != NULL && is_new) {
		again = ask_hidden(tty, "Once more: ", err);
		if (again == NULL || strcmp(again, *password_r) != 0) {
			if (again != NULL)
				(void)err_set(err, "the two differ");
			wipe(*password_r);
			*password_r = NULL;
		}
		wipe(again);
	}
	(void)fclose(tty);
	return *password_r != NULL ? 0 : -1;
}

bool
cli_confirm(const char *question)
{
	char line[16] = "";

	if (isatty(STDIN_FILENO) != 1 || isatty(STDERR_FILENO) != 1)
		return false;
	(void)fprintf(stderr, "%s [y/N] ", question);
	return fgets(line, sizeof(line), stdin) != NULL &&
	       (line[0] == 'y' || line[0] == 'Y');
}
