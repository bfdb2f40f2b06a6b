/* SPDX-License-Identifier: ISC */
/*
 * From words of the command line to a verb and the JSON of its request.
 * Runs in: postern.  Trusts: nothing; files named as arguments are read with
 * the caller's own rights.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base64.h"
#include "common/printable.h"
#include "common/settings.h"
#include "control/cli.h"
#include "control/times.h"

/* Just below what one request may carry (IPC_JSON_MAX), escapes included. */
#define FILE_MAX (3u * 1024 * 1024)
#define WORDS_MAX 4

/* ---- verbs ---- */

size_t
cli_verb_match(
    const struct cli_verb *verb, size_t count, const char *const *words)
{
	struct slice rest = slice_of(verb->words);
	size_t matched = 0;

	while (rest.n > 0) {
		const size_t end = slice_find(rest, ' ', 0);
		const size_t used = end < rest.n ? end + 1 : end;

		if (matched == count ||
		    !slice_equals(
			(struct slice){rest.p, end}, slice_of(words[matched])))
			return 0;
		matched++;
		rest = (struct slice){rest.p + used, rest.n - used};
	}
	return matched;
}

/* The longest that the words begin with. */
static const struct cli_verb *
find_verb(size_t count, const char *const *words, size_t *matched_r)
{
	const struct cli_verb *best = NULL;

	*matched_r = 0;
	for (const struct cli_verb *verb = cli_verbs; verb->words != NULL;
	     verb++) {
		const size_t matched = cli_verb_match(verb, count, words);

		if (matched > *matched_r) {
			*matched_r = matched;
			best = verb;
		}
	}
	return best;
}

/* ---- values ---- */

static int
read_file(const char *path, struct buf *text, struct err *err)
{
	const bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;
	int rc = 0;

	if (fd == -1)
		return err_set(err, "%s: %s", path, strerror(errno));
	while (n > 0 && rc == 0) {
		char *room = buf_reserve(text, 65536);

		if (room == NULL) {
			rc = err_set(
			    err, "%s has more than %u octets", path, FILE_MAX);
		} else if ((n = read(fd, room, 65536)) > 0) {
			buf_extend(text, (size_t)n);
		} else if (n == -1 && errno == EINTR) {
			n = 1;
		} else if (n == -1) {
			rc = err_set(err, "%s: %s", path, strerror(errno));
		}
	}
	if (!is_stdin)
		(void)close(fd);
	return rc;
}

static int
put_file(json_t *arguments, const char *key, const char *path, struct err *err)
{
	struct buf text;
	json_t *value;
	int rc = -1;

	buf_init(&text, FILE_MAX + 65536);
	if (read_file(path, &text, err) == 0) {
		value = json_stringn(text.n > 0 ? text.p : "", text.n);
		if (value == NULL)
			(void)err_set(err, "%s is not UTF-8", path);
		else
			rc = json_object_set_new(arguments, key, value);
	}
	buf_clear(&text);
	return rc;
}

static int
put_octets(
    json_t *arguments, const char *key, const char *path, struct err *err)
{
	struct buf octets;
	char *text;
	int rc;

	buf_init(&octets, FILE_MAX + 65536);
	rc = read_file(path, &octets, err);
	if (rc == 0) {
		text = xmalloc(BASE64_ENCODED_SIZE(octets.n) + 1);
		(void)base64_encode(octets.p, octets.n, text,
		    BASE64_ENCODED_SIZE(octets.n) + 1);
		rc = json_object_set_new(arguments, key, json_string(text));
		explicit_bzero(text, BASE64_ENCODED_SIZE(octets.n));
		free(text);
		if (octets.n > 0)
			explicit_bzero(octets.p, octets.n);
	}
	buf_clear(&octets);
	return rc;
}

static int
put_number(json_t *arguments, const char *key, const char *name,
    const char *word, struct err *err)
{
	uint64_t number;
	char shown[80];

	if (slice_to_u64(slice_of(word), &number) == -1 || number > INT32_MAX)
		return err_set(err, "%s is a number, not \"%s\"", name,
		    printable(slice_of(word), shown, sizeof(shown)));
	return json_object_set_new(
	    arguments, key, json_integer((json_int_t)number));
}

static int
put_time(json_t *arguments, const char *key, const char *name, const char *word,
    int64_t now, int ahead, struct err *err)
{
	int64_t time;
	char shown[80];

	if (times_parse_from(slice_of(word), now, ahead, &time) == -1)
		return err_set(err,
		    "%s is a date such as 2030-01-31, a time "
		    "such as 2030-01-31T12:00:00Z, or a span such as 12h, not "
		    "\"%s\"",
		    name, printable(slice_of(word), shown, sizeof(shown)));
	return json_object_set_new(arguments, key, json_integer(time));
}

static int
put_text(json_t *arguments, const char *key, const char *name, const char *word,
    struct err *err)
{
	json_t *value = json_string(word);

	if (value == NULL)
		return err_set(err, "%s is not UTF-8", name);
	return json_object_set_new(arguments, key, value);
}

static int
put_pair(json_t *arguments, const char *key, const char *word, struct err *err)
{
	const char *equals = strchr(word, '=');
	json_t *object = json_object_get(arguments, key);
	json_t *value;
	char *name;
	int rc = -1;
	char shown[80];

	if (equals == NULL || equals == word)
		return err_set(err, "write KEY=VALUE, not \"%s\"",
		    printable(slice_of(word), shown, sizeof(shown)));
	if (object == NULL) {
		object = json_object();
		(void)json_object_set_new(arguments, key, object);
	}
	name = xstrndup(word, (size_t)(equals - word));
	value = json_string(equals + 1);
	if (value == NULL || json_object_get(object, name) != NULL) {
		(void)err_set(err,
		    value == NULL ? "the value of %s is not UTF-8"
				  : "%s is set twice",
		    name);
		json_decref(value);
	} else {
		rc = json_object_set_new(object, name, value);
		if (rc == -1)
			(void)err_set(err, "a setting's name is not UTF-8");
	}
	free(name);
	return rc;
}

/*
 * "from=a@b.example older=2h", also as several words: the names that
 * postern-queued knows, and older for a span.
 */
static int
put_filter_word(json_t *object, struct slice word, struct err *err)
{
	const size_t equals = slice_find(word, '=', 0);
	const struct slice value = {
	    word.p + equals + 1, equals < word.n ? word.n - equals - 1 : 0};
	bool is_span;
	uint64_t seconds;
	const char *key;
	char name[32];
	char shown[80];

	if (equals == word.n || value.n == 0 ||
	    slice_copy((struct slice){word.p, equals}, name, sizeof(name)) ==
		-1)
		return err_set(err,
		    "a filter is written NAME=VALUE, not "
		    "\"%s\"",
		    printable(word, shown, sizeof(shown)));
	is_span = strcmp(name, "older") == 0;
	key = is_span ? "older_than_s" : name;
	/* The later one would count alone, and others be deleted than meant. */
	if (json_object_get(object, key) != NULL)
		return err_set(err, "%s is in the filter twice", name);
	if (is_span &&
	    (setting_seconds(value, &seconds) == -1 || seconds > INT32_MAX))
		return err_set(err, "older is a span such as 2h, not \"%s\"",
		    printable(value, shown, sizeof(shown)));
	if (json_object_set_new(object, key,
		is_span ? json_integer((json_int_t)seconds)
			: json_stringn(value.p, value.n)) == -1)
		return err_set(err, "\"%s\" in the filter is not UTF-8",
		    printable(word, shown, sizeof(shown)));
	return 0;
}

static int
put_filter(
    json_t *arguments, const char *key, const char *words, struct err *err)
{
	json_t *object = json_object_get(arguments, key);
	struct slice rest = slice_trim(slice_of(words));

	if (object == NULL) {
		object = json_object();
		(void)json_object_set_new(arguments, key, object);
	}
	while (rest.n > 0) {
		const size_t end = slice_find(rest, ' ', 0);

		if (put_filter_word(object, (struct slice){rest.p, end}, err) ==
		    -1)
			return -1;
		rest = slice_trim((struct slice){rest.p + end, rest.n - end});
	}
	return 0;
}

static int
append_text(json_t *arguments, const char *key, const char *name,
    const char *word, struct err *err)
{
	json_t *list = json_object_get(arguments, key);
	json_t *value = json_string(word);

	if (value == NULL)
		return err_set(err, "%s is not UTF-8", name);
	if (list == NULL) {
		list = json_array();
		(void)json_object_set_new(arguments, key, list);
	}
	return json_array_append_new(list, value);
}

static int
put_value(struct cli *cli, enum cli_type type, const char *key,
    const char *name, const char *word, int64_t now, struct err *err)
{
	json_t *arguments = cli->arguments;

	/* A flag has no word; all else does. */
	if (word == NULL)
		return json_object_set_new(arguments, key, json_true());
	switch (type) {
	case CLI_FLAG:
		bug("a flag with a value");
	case CLI_TEXT:
		return put_text(arguments, key, name, word, err);
	case CLI_NUMBER:
		return put_number(arguments, key, name, word, err);
	case CLI_LIST:
		return append_text(arguments, key, name, word, err);
	case CLI_PAIRS:
		return put_pair(arguments, key, word, err);
	case CLI_FILTER:
		return put_filter(arguments, key, word, err);
	case CLI_FILE:
		cli->file = word;
		return put_file(arguments, key, word, err);
	case CLI_OCTETS:
		return put_octets(arguments, key, word, err);
	case CLI_AHEAD:
		return put_time(arguments, key, name, word, now, 1, err);
	case CLI_AGO:
		return put_time(arguments, key, name, word, now, -1, err);
	}
	bug("argument type %d", (int)type);
}

/* ---- options ---- */

struct words {
	int argc;
	char **argv;
	int at;
};

/* The value of an option "--to=X" or "--to X"; NULL when there is none. */
static const char *
option_value(struct words *words, const char *word)
{
	const char *equals = strchr(word, '=');

	if (equals != NULL)
		return equals + 1;
	if (words->at + 1 >= words->argc)
		return NULL;
	return words->argv[++words->at];
}

static bool
is_option(const char *word, const char *name)
{
	const size_t n = strlen(name);

	return strncmp(word, name, n) == 0 &&
	       (word[n] == '\0' || (word[n] == '=' && n > 2));
}

/* 1 when the word was one of those for every verb. */
static int
take_global(struct cli *cli, struct words *words, struct err *err)
{
	const char *word = words->argv[words->at];

	if (is_option(word, "--root")) {
		cli->root = option_value(words, word);
		return cli->root == NULL || cli->root[0] == '\0'
			   ? err_set(err, "--root needs a folder")
			   : 1;
	}
	if (strcmp(word, "--json") == 0)
		cli->is_json = true;
	else if (strcmp(word, "--jsonl") == 0)
		cli->is_jsonl = true;
	else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		cli->is_help = true;
	else if (strcmp(word, "--version") == 0)
		cli->is_version = true;
	else
		return 0;
	return 1;
}

/* More words of a list: "--from A B" up to the next option. */
static int
take_more(struct cli *cli, const struct cli_option *option, struct words *words,
    struct err *err)
{
	while (
	    words->at + 1 < words->argc && words->argv[words->at + 1][0] != '-')
		if (put_value(cli, option->type, option->key, option->name,
			words->argv[++words->at], 0, err) == -1)
			return -1;
	return 0;
}

static int
take_option(struct cli *cli, struct words *words, int64_t now, struct err *err)
{
	const char *word = words->argv[words->at];
	const struct cli_option *option = cli->verb->options;
	const struct cli_option *end = option + CLI_OPTIONS_MAX;
	const char *value = NULL;
	char shown[80];

	while (option < end && option->name != NULL &&
	       !is_option(word, option->name))
		option++;
	if (option == end || option->name == NULL)
		return err_set(err, "\"%s\" takes no option %s",
		    cli->verb->words,
		    printable(slice_of(word), shown, sizeof(shown)));
	if (option->placeholder == NULL && strchr(word, '=') != NULL)
		return err_set(err, "%s takes no value", option->name);
	if (option->placeholder != NULL &&
	    (value = option_value(words, word)) == NULL)
		return err_set(
		    err, "%s needs %s", option->name, option->placeholder);
	if (put_value(cli, option->type, option->key, option->name, value, now,
		err) == -1)
		return -1;
	return strchr(word, '=') == NULL &&
		       (option->type == CLI_LIST || option->type == CLI_FILTER)
		   ? take_more(cli, option, words, err)
		   : 0;
}

/* ---- the whole line ---- */

/* The first words that are no options name the verb. */
static int
take_verb(struct cli *cli, size_t count, const char *const *plain,
    size_t *matched_r, struct err *err)
{
	char shown[80];

	cli->verb = find_verb(count, plain, matched_r);
	if (cli->verb != NULL)
		return 0;
	if (count == 0)
		return err_set(err, "a verb is missing");
	return err_set(err, "there is no verb \"%s%s%.60s\"",
	    printable(slice_of(plain[0]), shown, sizeof(shown)),
	    count > 1 ? " " : "", count > 1 ? plain[1] : "");
}

static int
take_argument(struct cli *cli, size_t *position, const char *word, int64_t now,
    struct err *err)
{
	const struct cli_argument *argument = &cli->verb->arguments[*position];
	char shown[80];

	if (*position == CLI_ARGUMENTS_MAX || argument->key == NULL)
		return err_set(err, "\"%s\" takes no more: \"%s\"",
		    cli->verb->words,
		    printable(slice_of(word), shown, sizeof(shown)));
	if (argument->type != CLI_LIST && argument->type != CLI_PAIRS)
		++*position;
	return put_value(cli, argument->type, argument->key,
	    argument->placeholder, word, now, err);
}

static int
check_complete(const struct cli *cli, struct err *err)
{
	for (size_t i = 0; i < CLI_ARGUMENTS_MAX; i++) {
		const struct cli_argument *argument = &cli->verb->arguments[i];

		if (argument->key != NULL && !argument->is_optional &&
		    json_object_get(cli->arguments, argument->key) == NULL)
			return err_set(err, "\"%s\" needs %s", cli->verb->words,
			    argument->placeholder);
	}
	return 0;
}

/* Words before "--" that are neither options for all verbs nor theirs. */
static size_t
leading_words(int argc, char **argv, const char *plain_r[WORDS_MAX])
{
	size_t count = 0;

	for (int i = 1; i < argc && count < WORDS_MAX; i++) {
		if (strcmp(argv[i], "--") == 0)
			break;
		if (strcmp(argv[i], "--root") == 0) {
			i++;
			continue;
		}
		if (argv[i][0] == '-' && argv[i][1] != '\0') {
			/* An option of a verb: the verb came before it. */
			if (count > 0)
				break;
			continue;
		}
		plain_r[count++] = argv[i];
	}
	return count;
}

static int
take_words(struct cli *cli, struct words *words, size_t verb_words, int64_t now,
    struct err *err)
{
	size_t position = 0;
	bool are_options_over = false;

	for (words->at = 1; words->at < words->argc; words->at++) {
		const char *word = words->argv[words->at];
		int taken = 0;

		if (!are_options_over && word[0] == '-' && word[1] != '\0') {
			if (strcmp(word, "--") == 0) {
				are_options_over = true;
				continue;
			}
			taken = take_global(cli, words, err);
			if (taken == 0 &&
			    take_option(cli, words, now, err) == -1)
				taken = -1;
		} else if (verb_words > 0) {
			verb_words--;
		} else {
			taken = take_argument(cli, &position, word, now, err);
		}
		if (taken == -1)
			return -1;
	}
	return 0;
}

/* --help and --version stand alone, so they are looked for first. */
static void
take_early(struct cli *cli, int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0 ||
		    strcmp(argv[i], "-h") == 0)
			cli->is_help = true;
		if (strcmp(argv[i], "--version") == 0)
			cli->is_version = true;
	}
}

int
cli_parse(struct cli *cli, int argc, char **argv, int64_t now, struct err *err)
{
	const char *plain[WORDS_MAX];
	const size_t count = leading_words(argc, argv, plain);
	struct words words = {.argc = argc, .argv = argv};
	size_t verb_words;

	cli->arguments = json_object();
	take_early(cli, argc, argv);
	if (take_verb(cli, count, plain, &verb_words, err) == -1)
		return CLI_USAGE;
	if (cli->is_help)
		return CLI_DONE;
	if (take_words(cli, &words, verb_words, now, err) == -1 ||
	    check_complete(cli, err) == -1)
		return CLI_USAGE;
	return CLI_DONE;
}
