/* SPDX-License-Identifier: ISC */
/*
 * The command line postern(1): one table of verbs drives parsing, help and
 * completion, and the manual page is tested against it.
 */
#ifndef CONTROL_CLI_H
#define CONTROL_CLI_H

#include <jansson.h>

#include "common/buf.h"
#include "control/client.h"

/* DESIGN §5 */
enum cli_code {
	CLI_DONE = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_NOTHING = 3,
	CLI_FORBIDDEN = 4,
	CLI_AWAY = 5,
	CLI_CONFLICT = 6,
	CLI_PROBLEMS = 7
};

/* What an argument or option becomes in the request's JSON. */
enum cli_type {
	CLI_FLAG,   /* true; options only */
	CLI_TEXT,   /* a text */
	CLI_NUMBER, /* a whole number */
	CLI_LIST,   /* an array: this word and those behind it */
	CLI_PAIRS,  /* KEY=VALUE words: an object */
	CLI_FILTER, /* words NAME=VALUE of a queue filter: an object */
	CLI_FILE,   /* the content of that file; "-": standard input */
	CLI_OCTETS, /* the same in base64: a file that is no text */
	CLI_AHEAD,  /* a time to come: "2h", "2030-01-31" */
	CLI_AGO     /* a time past: "2h" ago, "2030-01-31" */
};

struct cli_argument {
	const char *key;         /* in the JSON */
	const char *placeholder; /* in the help */
	enum cli_type type;
	bool is_optional;
};

struct cli_option {
	const char *name; /* "--to" */
	const char *key;
	const char *placeholder; /* NULL: a flag */
	enum cli_type type;
	const char *help;
};

/*
 * How an answer is shown.  columns: "key:TITLE" with commas between, each with
 * an optional ":t" (a time) or ":z" (octets).  "recipients.to" shows that
 * member of each object of an array, equal ones once.
 */
struct cli_table {
	const char *list_key; /* the array of the answer */
	const char *columns;
};

#define CLI_ARGUMENTS_MAX 4
#define CLI_OPTIONS_MAX 10

struct cli;

struct cli_verb {
	const char *words;   /* "domain add" */
	const char *request; /* "domain.add"; NULL: none */
	unsigned owners;     /* programs it needs, a set of 1 << role */
	const char *help;    /* one line */
	struct cli_argument arguments[CLI_ARGUMENTS_MAX];
	struct cli_option options[CLI_OPTIONS_MAX];
	struct cli_table table;
	/* NULL: ask `request` and show the answer. */
	int (*run)(struct cli *cli);
};

/* Ends with words NULL; sorted by nouns as the help shows them. */
extern const struct cli_verb cli_verbs[];

/* Options that every verb takes. */
extern const struct cli_option cli_global_options[];

struct cli {
	const struct cli_verb *verb;
	json_t *arguments; /* the request's */
	const char *root;  /* --root, or NULL */
	const char *file;  /* of a CLI_FILE argument, or NULL */
	bool is_json;
	bool is_jsonl;
	bool is_help;
	bool is_version;
	struct instance instance;
	struct client *client; /* once cli_connect() succeeded */
};

/* ---- parsing (cli_args.c) ---- */

/*
 * Finds the verb and reads its arguments.  0, or CLI_USAGE with a sentence;
 * cli->verb is set as soon as it is known.  now: seconds since 1970.
 */
int cli_parse(
    struct cli *cli, int argc, char **argv, int64_t now, struct err *err);

/* How many leading words of that line are those of the verb; 0: another. */
size_t cli_verb_match(
    const struct cli_verb *verb, size_t count, const char *const *words);

/* ---- running (cli_run.c) ---- */

/* Exit code; says itself what is wrong. */
int cli_run(struct cli *cli);

/* Connects, if that was not done yet. */
int cli_connect(struct cli *cli);

/* One question; errors are said.  *reply_r is NULL unless CLI_DONE. */
int cli_ask(struct cli *cli, const char *request, const json_t *arguments,
    json_t **reply_r);

/* Asks the verb's request and shows the answer. */
int cli_run_asked(struct cli *cli);
/* The same for a file of lines, of which some may be refused. */
int cli_run_import(struct cli *cli);

void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* hint: the next command to try, or NULL.  Returns code. */
int cli_fail(const struct cli *cli, int code, const char *hint,
    const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Says the error of an answer; returns code. */
int cli_say_error(const struct cli *cli, int code, const json_t *reply);

/* ---- output (cli_output.c) ---- */

/* Prints by --json, --jsonl, or as the table or lines of key and value. */
void cli_show(const struct cli *cli, json_t *reply);
/* Rows of one table; with_header: the titles first, on a terminal. */
void cli_show_rows(
    const struct cli_table *table, const json_t *rows, bool with_header);
void cli_show_json(const json_t *value);
/* Printable text of a JSON value, without line ends. */
void cli_value_text(const json_t *value, char kind, struct buf *text_r);
bool cli_is_terminal(void);
/* Escape codes where colours are wanted, else "". */
const char *cli_bold(void);
const char *cli_red(void);
const char *cli_green(void);
const char *cli_plain(void);

/* ---- help (cli_help.c) ---- */

/* Verbs that begin with these words; false when there are none. */
bool cli_help(size_t count, const char *const *words);
void cli_usage_line(const struct cli_verb *verb, struct buf *line_r);
int cli_run_help(struct cli *cli);
int cli_run_completion(struct cli *cli);

/* ---- what people type (cli_prompt.c) ---- */

/* Wipe and free it.  From standard input, or asked twice on a terminal. */
int cli_read_password(
    bool from_stdin, bool is_new, char **password_r, struct err *err);
/* Off a terminal the answer is no. */
bool cli_confirm(const char *question);

/* ---- verbs of their own ---- */

int cli_run_init(struct cli *cli);
int cli_run_change(struct cli *cli);
int cli_run_get(struct cli *cli);
int cli_run_diff(struct cli *cli);
int cli_run_export(struct cli *cli);
int cli_run_status(struct cli *cli);
int cli_run_health(struct cli *cli);
int cli_run_metrics(struct cli *cli);
int cli_run_events(struct cli *cli);
/*
 * Reads one into the arguments' "password", by their "password_stdin"; `what`
 * is what a complaint calls it.  is_new: asked twice.  CLI_DONE, or it failed.
 */
int cli_put_password(struct cli *cli, bool is_new, const char *what);
int cli_run_with_password(struct cli *cli);
int cli_run_app_password(struct cli *cli);
int cli_run_tls_install(struct cli *cli);
int cli_run_tls_show(struct cli *cli);
int cli_run_route_test(struct cli *cli);
int cli_run_key_text(struct cli *cli);
int cli_run_key_import(struct cli *cli);
int cli_run_key_pkcs12(struct cli *cli);
int cli_run_ca_crl(struct cli *cli);
int cli_run_pgp_export(struct cli *cli);
int cli_run_dkim(struct cli *cli);
int cli_run_explain(struct cli *cli);
int cli_run_queue_summary(struct cli *cli);
int cli_run_queue_change(struct cli *cli);
int cli_run_trace(struct cli *cli);
int cli_run_log(struct cli *cli);
int cli_run_log_export(struct cli *cli);

#endif
