/* SPDX-License-Identifier: ISC */
/*
 * One task of OpenPGP from the command line, with keys in a folder, as a
 * worker of the signer would do it; and the speed of such tasks against calls
 * of GPGME alone.
 *
 *	pgp_work DIR new NAME ADDRESS KIND
 *	pgp_work DIR import NAME FILE PASSPHRASE
 *	pgp_work DIR public NAME            prints it, armored
 *	pgp_work DIR facts FILE             of a public key
 *	pgp_work DIR protect [--sign NAME] [--to FILE]... [--hidden]
 *	         [--options N] <message >message
 *	pgp_work DIR open [--key NAME]... [--from ADDRESS] [--known FILE]...
 *	         [--limit N] [--fact NAME=VALUE]... <message >message
 *	pgp_work DIR bench sign|both NAME SECONDS PROCESSES
 *
 * What is known of a task beside its output goes to standard error, a line
 * each: "outcome done", "applied 3", "fact verdict pass", ...
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "signer/keyring.h"
#include "signer/pgp_armor.h"
#include "signer/pgp_data.h"
#include "signer/pgp_worker.h"

/* As large as a message of a test. */
#define INPUT_MAX ((size_t)512 * 1024 * 1024)
#define OUTPUT_MAX ((uint64_t)512 * 1024 * 1024)
#define KEYS_OCTETS_MAX ((size_t)4 * 1024 * 1024)
#define TEST_MESSAGE_OCTETS 10240

static const char *const classes[2] = {"pgp-sign", "pgp-open"};
static const struct wrap_key wrapping_key = {{7}};

struct tool {
	const char *dir;
	struct err err;
	struct worker_context context;
	struct ipc_list_writer keys;
	struct ipc_list_writer facts;
	char scratch[512];
	double spent_s[2]; /* by ours, by bare calls */
};

_Noreturn static void
die(const struct tool *tool, const char *what)
{
	(void)fprintf(stderr, "pgp_work: %s: %s\n", what, tool->err.text);
	exit(1);
}

/* ---- files ---- */

static void
read_fd(struct tool *tool, int fd, struct buf *out)
{
	ssize_t n;

	buf_init(out, INPUT_MAX);
	do {
		char *room = buf_reserve(out, 65536);

		n = room == NULL ? -1 : read(fd, room, 65536);
		if (n > 0)
			buf_extend(out, (size_t)n);
	} while (n > 0);
	if (n == -1)
		die(tool, "cannot read");
}

static void
read_path(struct tool *tool, const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	(void)err_set(&tool->err, "%s: %s", path, strerror(errno));
	read_fd(tool, fd, out);
	close_if_open(&fd);
}

static void
write_path(struct tool *tool, const char *path, struct slice s)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	(void)err_set(&tool->err, "%s: %s", path, strerror(errno));
	if (fd == -1 || write(fd, s.p, s.n) != (ssize_t)s.n)
		die(tool, "cannot write");
	close_if_open(&fd);
}

static char *
path_of(const struct tool *tool, const char *folder, const char *name)
{
	char path[1024];

	(void)snprintf(path, sizeof(path), "%s/%s/%s", tool->dir, folder, name);
	return xstrdup(path);
}

/* The public key of that name. */
static void
read_public(struct tool *tool, const char *name, struct buf *out)
{
	char *path = path_of(tool, "public", name);

	read_path(tool, path, out);
	free(path);
}

/* ---- keys ---- */

static void
seal(struct tool *tool, const char *class, const char *name, struct slice blob)
{
	char *path = path_of(tool, class, name);
	struct wrap_key public;
	struct buf sealed;

	buf_init(&sealed, WRAP_SECRET_MAX + WRAP_OVERHEAD);
	if (wrap_public(&wrapping_key, &public, &tool->err) == -1 ||
	    wrap_seal(&public, slice_of(class), slice_of(name), blob, &sealed,
		&tool->err) == -1)
		die(tool, "wrap");
	write_path(tool, path, buf_slice(&sealed));
	buf_clear(&sealed);
	free(path);
}

static void
store(struct tool *tool, const char *name, const struct pgp_key_pair *pair)
{
	char *path = path_of(tool, "public", name);

	write_path(tool, path, buf_slice(&pair->public));
	if (pair->signing.n > 0)
		seal(tool, classes[0], name, buf_slice(&pair->signing));
	if (pair->decryption.n > 0)
		seal(tool, classes[1], name, buf_slice(&pair->decryption));
	(void)printf("%s\n", pair->facts.fingerprint);
	free(path);
}

static int
verb_new(struct tool *tool, int argc, char **argv)
{
	struct pgp_key_pair pair;

	if (argc != 3)
		return 2;
	pgp_key_pair_init(&pair);
	if (pgp_key_generate(tool->scratch,
		pgp_key_kind_by_name(slice_of(argv[2])), slice_of(argv[0]),
		slice_of(argv[1]), 0, &pair, &tool->err) == -1)
		die(tool, "new");
	store(tool, argv[0], &pair);
	pgp_key_pair_clear(&pair);
	return 0;
}

static int
verb_import(struct tool *tool, int argc, char **argv)
{
	struct pgp_key_pair pair;
	struct buf file;

	if (argc != 3)
		return 2;
	read_path(tool, argv[1], &file);
	pgp_key_pair_init(&pair);
	if (pgp_key_import(tool->scratch, buf_slice(&file), slice_of(argv[2]),
		time(NULL), &pair, &tool->err) == -1)
		die(tool, "import");
	store(tool, argv[0], &pair);
	pgp_key_pair_clear(&pair);
	buf_clear(&file);
	return 0;
}

static int
verb_public(struct tool *tool, int argc, char **argv)
{
	struct buf binary;
	struct buf armored;

	if (argc != 1)
		return 2;
	read_public(tool, argv[0], &binary);
	buf_init(&armored, INPUT_MAX);
	(void)pgp_armor_write(
	    PGP_ARMOR_PUBLIC_KEY, buf_slice(&binary), &armored);
	(void)fputs(buf_text(&armored), stdout);
	buf_clear(&binary);
	buf_clear(&armored);
	return 0;
}

static int
verb_facts(struct tool *tool, int argc, char **argv)
{
	struct pgp_key_facts facts;
	struct buf file;
	struct buf public;

	if (argc != 1)
		return 2;
	read_path(tool, argv[0], &file);
	buf_init(&public, PGP_PUBLIC_MAX);
	if (pgp_key_parse(tool->scratch, buf_slice(&file), time(NULL), &facts,
		&public, &tool->err) == -1)
		die(tool, "facts");
	(void)printf("%s %s bits=%u sign=%d encrypt=%d expired=%d revoked=%d",
	    facts.fingerprint, facts.algorithm, facts.bits, facts.can_sign,
	    facts.can_encrypt, facts.is_expired, facts.is_revoked);
	for (size_t i = 0; i < facts.address_count; i++)
		(void)printf(" %s", facts.addresses[i]);
	(void)printf("\n");
	buf_clear(&file);
	buf_clear(&public);
	return 0;
}

/* ---- tasks ---- */

/* A public key from a file, armored or not, as the store would have it. */
static void
add_public(struct tool *tool, enum work_key_use use, const char *file)
{
	struct ipc_record_work_key record = {.use = (uint16_t)use};
	struct pgp_key_shape shape;
	enum pgp_armor_kind kind;
	struct buf text;
	struct buf binary;

	read_path(tool, file, &text);
	buf_init(&binary, PGP_PUBLIC_MAX);
	if (pgp_armor_is(buf_slice(&text))) {
		if (pgp_armor_read(buf_slice(&text), &kind, &binary, NULL,
			&tool->err) == -1)
			die(tool, file);
	} else {
		(void)buf_add_slice(&binary, buf_slice(&text));
	}
	if (pgp_key_shape_read(buf_slice(&binary), &shape, &tool->err) == -1)
		die(tool, file);
	record.fingerprint = slice_of(shape.primary.fingerprint);
	record.public = buf_slice(&binary);
	if (ipc_work_key_add(&tool->keys, &record, &tool->err) == -1)
		die(tool, file);
	buf_clear(&text);
	buf_clear(&binary);
}

static void
add_private(struct tool *tool, enum work_key_use use, const char *name)
{
	struct ipc_record_work_key record = {
	    .use = (uint16_t)use, .ref = slice_of(name)};
	struct pgp_key_shape shape;
	struct buf binary;

	read_public(tool, name, &binary);
	if (pgp_key_shape_read(buf_slice(&binary), &shape, &tool->err) == -1)
		die(tool, name);
	record.fingerprint = slice_of(shape.primary.fingerprint);
	record.public = buf_slice(&binary);
	if (ipc_work_key_add(&tool->keys, &record, &tool->err) == -1)
		die(tool, name);
	buf_clear(&binary);
}

static void
open_keyring(struct tool *tool, const char *class)
{
	char folder[600];

	(void)snprintf(folder, sizeof(folder), "%s/%s", tool->dir, class);
	tool->context.keyring = keyring_new(folder, &wrapping_key);
	tool->context.scratch_dir = tool->scratch;
}

static void
print_facts(const struct work_answer *answer)
{
	static const char *const outcomes[SIGN_OUTCOME_COUNT] = {
	    [SIGNED_TEMPORARY] = "temporary",
	    [SIGNED_DONE] = "done",
	    [SIGNED_PERMANENT] = "permanent",
	    [SIGNED_HOLD] = "hold"};
	struct ipc_list facts = ipc_list_of(&answer->facts);
	struct ipc_list harvested = ipc_list_of(&answer->harvested);
	struct ipc_record_fact fact;
	struct ipc_record_harvest harvest;

	(void)fprintf(stderr, "outcome %s\napplied %u\nmethod %s\n",
	    outcomes[answer->outcome], answer->applied, answer->method);
	if (answer->outcome != SIGNED_DONE)
		(void)fprintf(
		    stderr, "reason %s %s\n", answer->enhanced, answer->reason);
	while (ipc_fact_next(&facts, &fact))
		(void)fprintf(stderr, "fact %.*s %.*s\n", SLICE_ARG(fact.name),
		    SLICE_ARG(fact.value));
	while (ipc_harvest_next(&harvested, &harvest))
		(void)fprintf(stderr, "harvest %.*s %.*s %zu\n",
		    SLICE_ARG(harvest.source), SLICE_ARG(harvest.address),
		    harvest.public.n);
}

static void
print_output(struct tool *tool, struct work_answer *answer)
{
	struct content output;
	char piece[65536];
	ssize_t n;

	if (content_writer_finish(&answer->output, &output) == -1) {
		tool->err = answer->output.err;
		die(tool, "output");
	}
	for (uint64_t at = 0;
	     (n = content_read(&output, at, piece, sizeof(piece))) > 0;
	     at += (uint64_t)n)
		(void)fwrite(piece, 1, (size_t)n, stdout);
}

/* Large inputs come as a file, as from the broker. */
static int
run_task(struct tool *tool, work_fn *function, struct work *work)
{
	struct work_answer answer;
	struct stat st;
	struct buf input;
	int rc;

	buf_init(&input, 1);
	if (fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size > IPC_INLINE_MAX) {
		if (content_of_file(STDIN_FILENO, &work->content, &tool->err) ==
		    -1)
			die(tool, "input");
	} else {
		read_fd(tool, STDIN_FILENO, &input);
		work->content = content_of(buf_slice(&input));
	}
	work->now_s = time(NULL);
	work->keys = ipc_list_of(&tool->keys);
	work->facts = ipc_list_of(&tool->facts);
	work->authserv_id = SLICE("gw.example.test");
	work_answer_init(&answer, -1, work->output_limit);
	function(&tool->context, work, &answer);
	print_facts(&answer);
	rc = answer.outcome == SIGNED_DONE ? 0 : 1;
	if (rc == 0)
		print_output(tool, &answer);
	work_answer_clear(&answer);
	buf_clear(&input);
	return rc;
}

static int
verb_protect(struct tool *tool, int argc, char **argv)
{
	struct work work = {.op = WORK_PGP_PROTECT, .output_limit = OUTPUT_MAX};
	const struct ipc_record_fact hidden = {
	    .name = SLICE("hidden"), .value = SLICE("yes")};

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--hidden") == 0)
			(void)ipc_fact_add(&tool->facts, &hidden, NULL);
		else if (i + 1 == argc)
			return 2;
		else if (strcmp(argv[i], "--sign") == 0)
			add_private(tool, WORK_KEY_SIGN, argv[++i]);
		else if (strcmp(argv[i], "--to") == 0)
			add_public(tool, WORK_KEY_ENCRYPT, argv[++i]);
		else if (strcmp(argv[i], "--options") == 0)
			work.options = (unsigned)strtoul(argv[++i], NULL, 10);
		else
			return 2;
	}
	open_keyring(tool, classes[0]);
	return run_task(tool, work_pgp_protect, &work);
}

/* NAME=VALUE */
static void
add_fact(struct tool *tool, const char *text)
{
	const struct slice all = slice_of(text);
	const size_t n = slice_find(all, '=', 0);
	const struct ipc_record_fact fact = {.name = {all.p, n},
	    .value = slice_of(n < all.n ? text + n + 1 : "")};

	(void)ipc_fact_add(&tool->facts, &fact, NULL);
}

static int
verb_open(struct tool *tool, int argc, char **argv)
{
	struct work work = {.op = WORK_PGP_OPEN, .output_limit = OUTPUT_MAX};

	for (int i = 0; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--key") == 0)
			add_private(tool, WORK_KEY_DECRYPT, argv[i + 1]);
		else if (strcmp(argv[i], "--known") == 0)
			add_public(tool, WORK_KEY_CANDIDATE, argv[i + 1]);
		else if (strcmp(argv[i], "--from") == 0)
			work.sender = slice_of(argv[i + 1]);
		else if (strcmp(argv[i], "--limit") == 0)
			work.output_limit = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--fact") == 0)
			add_fact(tool, argv[i + 1]);
		else
			return 2;
	}
	open_keyring(tool, classes[1]);
	return run_task(tool, work_pgp_open, &work);
}

/* ---- speed ---- */

static double
now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
test_message(struct buf *text)
{
	buf_init(text, (size_t)2 * TEST_MESSAGE_OCTETS);
	(void)buf_add_text(text, "From: <a@a.example>\r\nTo: <b@b.example>\r\n"
				 "Subject: speed\r\nMIME-Version: 1.0\r\n"
				 "Content-Type: text/plain\r\n\r\n");
	while (text->n < TEST_MESSAGE_OCTETS)
		(void)buf_add_text(text,
		    "The quick brown fox jumps over the lazy dog, again.\r\n");
}

static int
ours(struct tool *tool, struct slice message)
{
	struct work work = {.op = WORK_PGP_PROTECT,
	    .output_limit = OUTPUT_MAX,
	    .now_s = time(NULL),
	    .keys = ipc_list_of(&tool->keys),
	    .content = content_of(message)};
	struct work_answer answer;
	int rc;

	work_answer_init(&answer, -1, work.output_limit);
	work_pgp_protect(&tool->context, &work, &answer);
	rc = answer.outcome == SIGNED_DONE ? 0 : -1;
	if (rc == -1)
		(void)fprintf(stderr, "%s\n", answer.reason);
	work_answer_clear(&answer);
	return rc;
}

/* The calls alone, with a context, a home, an agent and a key that stay. */
struct bare {
	gpgme_ctx_t context;
	gpgme_key_t readers[2];
	bool encrypts;
};

static int
prepare_bare(struct tool *tool, bool encrypts, struct bare *bare_r)
{
	struct ipc_list keys = ipc_list_of(&tool->keys);
	const struct pgp_private *private;
	struct ipc_record_work_key key;
	struct pgp_home *home;

	*bare_r = (struct bare){.encrypts = encrypts};
	if (!ipc_work_key_next(&keys, &key) ||
	    pgp_worker_begin(&tool->context, &home, &tool->err) == -1 ||
	    pgp_worker_private(&tool->context, &key, &private, &tool->err) ==
		-1 ||
	    pgp_worker_public(&tool->context, home, &key, &tool->err) == -1 ||
	    pgp_home_key(home, private->fingerprint, false, &bare_r->readers[0],
		&tool->err) == -1 ||
	    pgp_home_context(home, &bare_r->context, &tool->err) == -1)
		return -1;
	pgp_home_unlock(home, private->words);
	return gpgme_signers_add(bare_r->context, private->key) == 0 ? 0 : -1;
}

static int
run_bare(struct tool *tool, struct slice message, bool encrypts)
{
	struct bare bare;
	gpgme_data_t in = NULL;
	gpgme_data_t out = NULL;
	gpgme_error_t error;
	double start;
	int rc = -1;

	if (prepare_bare(tool, encrypts, &bare) == -1)
		return -1;
	start = now_s();
	(void)gpgme_data_new_from_mem(&in, message.p, message.n, 0);
	(void)gpgme_data_new(&out);
	gpgme_set_armor(bare.context, 1);
	error = encrypts ? gpgme_op_encrypt_sign(bare.context, bare.readers,
			       GPGME_ENCRYPT_ALWAYS_TRUST, in, out)
			 : gpgme_op_sign(
			       bare.context, in, out, GPGME_SIG_MODE_DETACH);
	gpgme_data_release(in);
	gpgme_data_release(out);
	tool->spent_s[1] += now_s() - start;
	if (error == 0)
		rc = 0;
	gpgme_key_unref(bare.readers[0]);
	return rc;
}

/*
 * Ours and bare in turns, so that what else runs here hits both the same.
 * Returns how many of each.
 */
static unsigned
loop(struct tool *tool, bool encrypts, double seconds)
{
	struct buf text;
	struct slice message;
	unsigned count = 0;
	double end;

	test_message(&text);
	message = buf_slice(&text);

	/* The first ones make the home and take the keys in. */
	if (ours(tool, message) == -1 ||
	    run_bare(tool, message, encrypts) == -1)
		return 0;
	tool->spent_s[0] = tool->spent_s[1] = 0;
	for (end = now_s() + seconds; now_s() < end; count++) {
		double start = now_s();

		if (ours(tool, message) == -1)
			return 0;
		tool->spent_s[0] += now_s() - start;
		if (run_bare(tool, message, encrypts) == -1)
			return 0;
	}
	return count;
}

struct figures {
	double ours;
	double bare;
};

static void
run_process(struct tool *tool, bool encrypts, double seconds, int fd)
{
	unsigned count = loop(tool, encrypts, seconds);
	const struct figures figures = {
	    count / tool->spent_s[0], count / tool->spent_s[1]};

	pgp_worker_free(tool->context.pgp);
	if (count == 0 ||
	    write(fd, &figures, sizeof(figures)) != (ssize_t)sizeof(figures))
		_exit(1);
	_exit(0);
}

static int
verb_bench(struct tool *tool, int argc, char **argv)
{
	struct figures total = {0, 0};
	bool encrypts;
	int processes;
	int ends[2];

	if (argc != 4 || pipe(ends) == -1)
		return 2;
	encrypts = strcmp(argv[0], "both") == 0;
	processes = (int)strtol(argv[3], NULL, 10);
	add_private(tool, WORK_KEY_SIGN, argv[1]);
	if (encrypts)
		add_public(
		    tool, WORK_KEY_ENCRYPT, path_of(tool, "public", argv[1]));
	open_keyring(tool, classes[0]);
	for (int i = 0; i < processes; i++)
		if (fork() == 0)
			run_process(
			    tool, encrypts, strtod(argv[2], NULL), ends[1]);
	close_if_open(&ends[1]);
	for (int i = 0; i < processes; i++) {
		struct figures figures;

		if (read(ends[0], &figures, sizeof(figures)) !=
		    (ssize_t)sizeof(figures))
			die(tool, "a process of the bench failed");
		total.ours += figures.ours;
		total.bare += figures.bare;
	}
	while (wait(NULL) > 0)
		continue;
	(void)printf("%s %s: ours %.1f/s, bare GPGME %.1f/s, ratio %.2f\n",
	    argv[0], argv[1], total.ours, total.bare, total.ours / total.bare);
	return 0;
}

struct verb {
	const char *name;
	int (*run)(struct tool *tool, int argc, char **argv);
};

static const struct verb verbs[] = {{"new", verb_new}, {"import", verb_import},
    {"public", verb_public}, {"facts", verb_facts}, {"protect", verb_protect},
    {"open", verb_open}, {"bench", verb_bench}, {NULL, NULL}};

static void
make_folders(struct tool *tool)
{
	static const char *const names[] = {
	    "public", "pgp-sign", "pgp-open", "scratch"};

	(void)mkdir(tool->dir, 0700);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *path = path_of(tool, names[i], "");

		(void)mkdir(path, 0700);
		free(path);
	}
	(void)snprintf(
	    tool->scratch, sizeof(tool->scratch), "%s/scratch", tool->dir);
}

int
main(int argc, char **argv)
{
	struct tool tool = {.dir = argc > 1 ? argv[1] : ""};
	int rc = 2;

	ipc_list_writer_init(&tool.keys, KEYS_OCTETS_MAX);
	ipc_list_writer_init(&tool.facts, KEYS_OCTETS_MAX);
	if (argc > 2) {
		make_folders(&tool);
		for (const struct verb *v = verbs; v->name != NULL; v++)
			if (strcmp(v->name, argv[2]) == 0)
				rc = v->run(&tool, argc - 3, argv + 3);
	}
	if (rc == 2)
		(void)fprintf(stderr, "pgp_work: see its head for usage\n");
	pgp_worker_free(tool.context.pgp);
	keyring_free(tool.context.keyring);
	ipc_list_writer_clear(&tool.keys);
	ipc_list_writer_clear(&tool.facts);
	return rc;
}
