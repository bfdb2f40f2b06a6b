/* SPDX-License-Identifier: ISC */
/*
 * Tasks of S/MIME from the command line, as a worker of the signer would do
 * them: tests let programs that are not ours read what comes of them, and give
 * them what those programs make.
 *
 *	smime_work [--sign CERT KEY] [--prefer CERT] [--to CERT]... [--aead]
 *	           [--options N] [--shared] [--remove KIND VALUE]...
 *	           protect FILE...
 *	smime_work [--anchor CERT]... [--decrypt CERT KEY]... [--crl FILE]...
 *	           open FILE...         (anchors before lists)
 *
 * FILE is a message; what comes of it is written to FILE.out, and what else is
 * known to standard output, a line each: the outcome, what was applied, the
 * verdict or "-", FILE, the reason or the words for the log.  Certificates and
 * keys are PEM, lists DER.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "signer/delivery.h"
#include "signer/keyring.h"
#include "signer/sink.h"
#include "signer/smime.h"
#include "signer/smime_cert.h"
#include "signer/smime_memo.h"
#include "tests/unit/trust_host.h"

/* As large as a message of a test. */
#define OUTPUT_MAX ((uint64_t)1024 * 1024 * 1024)
#define KEYS_OCTETS_MAX ((size_t)16 * 1024 * 1024)
#define LIST_MAX ((size_t)IPC_CRL_MAX)
#define NAME_MAX_OCTETS 4096

static const char *const outcomes[SIGN_OUTCOME_COUNT] = {
    "temporary", "done", "permanent", "hold"};

/* ---- a key ring of files: a ref is a name ---- */

#define RING_MAX 16

struct keyring {
	size_t count;
	char *names[RING_MAX];
	EVP_PKEY *keys[RING_MAX];
};

EVP_PKEY *
keyring_key(struct keyring *keyring, struct slice ref, struct err *err)
{
	EVP_PKEY *key;
	char *name;
	FILE *file;

	for (size_t i = 0; i < keyring->count; i++)
		if (slice_equals(ref, slice_of(keyring->names[i])))
			return keyring->keys[i];
	if (keyring->count == RING_MAX) {
		err_set(err, "too many keys");
		return NULL;
	}
	name = slice_dup(ref);
	file = fopen(name, "re");
	key = file == NULL ? NULL : PEM_read_PrivateKey(file, NULL, NULL, NULL);
	if (file != NULL)
		(void)fclose(file);
	if (key == NULL) {
		err_set(err, "no key in %s", name);
		free(name);
		return NULL;
	}
	keyring->names[keyring->count] = name;
	keyring->keys[keyring->count++] = key;
	return key;
}

/* ---- the keys of a task ---- */

struct tool {
	struct keyring ring;
	struct worker_context context;
	struct ipc_list_writer keys;
	struct ipc_list_writer removals;
	struct ipc_list_writer facts;
	struct trust_host trust;
	unsigned options;
	bool has_aead;
};

static X509 *
read_cert(const char *name)
{
	FILE *file = fopen(name, "re");
	X509 *cert =
	    file == NULL ? NULL : PEM_read_X509(file, NULL, NULL, NULL);

	if (cert == NULL)
		fatal("no certificate in %s", name);
	(void)fclose(file);
	return cert;
}

static void
add_record(struct tool *tool, enum work_key_use use, struct slice public,
    const char *ref)
{
	const struct ipc_record_work_key record = {
	    .use = (uint16_t)use,
	    .ref = slice_of(ref),
	    .has_aead = tool->has_aead,
	    .public = public,
	};
	struct err err;

	if (ipc_work_key_add(&tool->keys, &record, &err) == -1)
		fatal("%s", err.text);
}

static void
add_cert(
    struct tool *tool, enum work_key_use use, const char *name, const char *ref)
{
	X509 *cert = read_cert(name);
	struct buf der;

	buf_init(&der, LIST_MAX);
	smime_cert_write(cert, &der);
	if (use == WORK_KEY_ANCHOR)
		trust_host_anchor(&tool->trust, buf_slice(&der));
	else
		add_record(tool, use, buf_slice(&der), ref);
	buf_clear(&der);
	X509_free(cert);
}

static void
add_list(struct tool *tool, const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct content content;
	struct slice all;
	struct err err;
	char *owned;

	if (fd == -1 || content_of_file(fd, &content, &err) == -1 ||
	    content_load(&content, LIST_MAX, &all, &owned, &err) == -1)
		fatal("no list in %s", name);
	if (trust_host_list(&tool->trust, all, (int64_t)time(NULL), &err) == -1)
		fatal("%s: %s", name, err.text);
	free(owned);
	(void)close(fd);
}

static void
add_removal(struct tool *tool, const char *kind, const char *value)
{
	const struct ipc_record_fact fact = {
	    .name = slice_of(kind), .value = slice_of(value)};
	struct err err;

	if (ipc_fact_add(&tool->removals, &fact, &err) == -1)
		fatal("%s", err.text);
}

/* Others get the same message, signed alike. */
static void
share(struct tool *tool)
{
	const struct ipc_record_fact fact = {
	    .name = SLICE(FACT_SHARED), .value = SLICE("on")};

	(void)ipc_fact_add(&tool->facts, &fact, NULL);
}

/* ---- one message ---- */

static void
write_output(struct work_answer *answer, const char *name)
{
	char out_name[NAME_MAX_OCTETS];
	struct content_writer writer;
	struct content content;
	struct sink sink;
	int fd;

	(void)snprintf(out_name, sizeof(out_name), "%s.out", name);
	fd = open(out_name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1)
		fatal("open %s: %s", out_name, strerror(errno));
	content_writer_init(&writer, fd, OUTPUT_MAX);
	sink = sink_of_writer(&writer);
	if (content_writer_finish(&answer->output, &content) == -1 ||
	    sink_range(&sink, &content, 0, content.size, NULL) == -1 ||
	    content_writer_finish(&writer, &content) == -1 ||
	    (content.fd == -1 &&
		write(fd, content.memory.p, content.memory.n) !=
		    (ssize_t)content.memory.n))
		fatal("cannot write %s", out_name);
	content_writer_clear(&writer);
	(void)close(fd);
}

static void
print_answer(const struct work_answer *answer, const char *name)
{
	struct ipc_list facts = ipc_list_of(&answer->facts);
	struct slice verdict = SLICE("-");
	struct ipc_record_fact fact;

	while (ipc_fact_next(&facts, &fact))
		if (slice_equals(fact.name, SLICE(FACT_VERDICT)))
			verdict = fact.value;
	printf("%s %u %.*s %s %s\n", outcomes[answer->outcome], answer->applied,
	    SLICE_ARG(verdict), name,
	    answer->reason[0] != '\0' ? answer->reason : answer->method);
}

static void
do_file(struct tool *tool, bool opens, const char *name)
{
	struct work work = {
	    .op = opens ? WORK_OPEN : WORK_PROTECT,
	    .options = tool->options,
	    .authserv_id = SLICE("gw.example"),
	    .now_s = (int64_t)time(NULL),
	    .output_limit = OUTPUT_MAX,
	    .removals = ipc_list_of(&tool->removals),
	    .facts = ipc_list_of(&tool->facts),
	    .keys = ipc_list_of(&tool->keys),
	};
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct work_answer answer;
	struct content file;
	struct err err;
	char *owned = NULL;
	struct slice all;

	if (fd == -1 || content_of_file(fd, &file, &err) == -1)
		fatal("open %s: %s", name, strerror(errno));
	/* As the broker gives it to a worker: in memory when it is small. */
	work.content = file;
	if (file.size <= IPC_INLINE_MAX &&
	    content_load(&file, IPC_INLINE_MAX, &all, &owned, &err) == 0)
		work.content = content_of(all);
	work_answer_init(&answer, -1, OUTPUT_MAX);
	if (opens)
		work_open(&tool->context, &work, &answer);
	else if (smime_protect(&tool->context, &work, &answer.output,
		     &answer) == SMIME_WRITTEN)
		answer.outcome = SIGNED_DONE;
	if (answer.outcome == SIGNED_DONE || answer.outcome == SIGNED_HOLD)
		write_output(&answer, name);
	print_answer(&answer, name);
	work_answer_clear(&answer);
	free(owned);
	(void)close(fd);
}

/* ---- the command line ---- */

static const struct option_row {
	const char *name;
	int arguments;
	enum work_key_use use;
} option_rows[] = {
    {"--sign", 2, WORK_KEY_SIGN},
    {"--prefer", 1, WORK_KEY_PREFERRED},
    {"--to", 1, WORK_KEY_ENCRYPT},
    {"--anchor", 1, WORK_KEY_ANCHOR},
    {"--decrypt", 2, WORK_KEY_DECRYPT},
    {"--crl", 1, WORK_KEY_TRUST},
    {"--aead", 0, WORK_KEY_USE_COUNT},
    {"--shared", 0, WORK_KEY_USE_COUNT},
    {"--options", 1, WORK_KEY_USE_COUNT},
    {"--remove", 2, WORK_KEY_USE_COUNT},
};

static void
take_option(struct tool *tool, const struct option_row *row, char **values)
{
	uint64_t number;

	if (strcmp(row->name, "--aead") == 0)
		tool->has_aead = true;
	else if (strcmp(row->name, "--shared") == 0)
		share(tool);
	else if (strcmp(row->name, "--remove") == 0)
		add_removal(tool, values[0], values[1]);
	else if (strcmp(row->name, "--crl") == 0)
		add_list(tool, values[0]);
	else if (strcmp(row->name, "--options") != 0)
		add_cert(tool, row->use, values[0],
		    row->arguments == 2 ? values[1] : "");
	else if (slice_to_u64(slice_of(values[0]), &number) == 0)
		tool->options = (unsigned)number;
}

/* Returns how many words it took; 0: it is no option. */
static int
read_option(struct tool *tool, char **words, int left)
{
	for (size_t i = 0; i < sizeof(option_rows) / sizeof(option_rows[0]);
	     i++) {
		const struct option_row *row = &option_rows[i];

		if (strcmp(words[0], row->name) != 0 || left <= row->arguments)
			continue;
		take_option(tool, row, words + 1);
		return row->arguments + 1;
	}
	return 0;
}

int
main(int argc, char **argv)
{
	struct tool tool = {.options = 0};
	struct ipc_record_work_key trust;
	struct err err;
	bool opens;
	int at = 1;

	trust_host_init(&tool.trust);

	tool.context.keyring = &tool.ring;
	ipc_list_writer_init(&tool.keys, KEYS_OCTETS_MAX);
	ipc_list_writer_init(&tool.removals, KEYS_OCTETS_MAX);
	ipc_list_writer_init(&tool.facts, KEYS_OCTETS_MAX);
	while (at < argc) {
		int n = read_option(&tool, argv + at, argc - at);

		if (n == 0)
			break;
		at += n;
	}
	opens = at < argc && strcmp(argv[at], "open") == 0;
	if (at == argc || (!opens && strcmp(argv[at], "protect") != 0))
		fatal("usage: smime_work [OPTION...] protect|open FILE...");
	trust = trust_host_publish(&tool.trust);
	if (ipc_work_key_add(&tool.keys, &trust, &err) == -1)
		fatal("%s", err.text);
	for (at++; at < argc; at++)
		do_file(&tool, opens, argv[at]);
	trust_host_clear(&tool.trust);
	smime_certs_free(tool.context.certs);
	smime_memo_free(tool.context.memo);
	for (size_t i = 0; i < tool.ring.count; i++) {
		free(tool.ring.names[i]);
		EVP_PKEY_free(tool.ring.keys[i]);
	}
	ipc_list_writer_clear(&tool.keys);
	ipc_list_writer_clear(&tool.removals);
	ipc_list_writer_clear(&tool.facts);
	return 0;
}
