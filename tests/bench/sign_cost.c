/* SPDX-License-Identifier: ISC */
/*
 * What a task of the signer costs beside the bare calls of the library, on
 * one core, in microseconds of CPU per mail of 10 KB; both in turns of the
 * same run, so that the machine is the same.
 *
 *	sign_cost FOLDER [MAILS]      DKIM and S/MIME signatures
 *	sign_cost FOLDER --turn MAILS DKIM by Ed25519 in one turn, to be set
 *	                              against a run that takes as long
 *	sign_cost FOLDER --large MB   memory for one large mail, by files
 *
 * The folder gets key files and the large mail.  Runs in: benchmarks.
 */
#include <fcntl.h>
#include <openssl/cms.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/header.h"
#include "signer/keyring.h"
#include "signer/work.h"

#define DEFAULT_MAILS 2000
#define ROUNDS 20
#define BODY_OCTETS 10240
#define CLASS "sign"

static double
cpu_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* ---- keys ---- */

struct bench_key {
	const char *ref;
	EVP_PKEY *key;
	X509 *cert; /* NULL: DKIM's */
	struct buf public;
};

static const struct wrap_key master = {"a key for this benchmark alone"};

static void
store_key(const char *folder, const struct bench_key *key)
{
	struct wrap_key class_key;
	struct wrap_key public;
	struct buf sealed;
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key->key);
	unsigned char *der = NULL;
	int n = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
	char path[512];
	FILE *file;

	buf_init(&sealed, WRAP_SECRET_MAX + WRAP_OVERHEAD);
	if (n <= 0 || wrap_class_key(&master, CLASS, &class_key, NULL) == -1 ||
	    wrap_public(&class_key, &public, NULL) == -1 ||
	    wrap_seal(&public, SLICE(CLASS), slice_of(key->ref),
		(struct slice){(const char *)der, (size_t)n}, &sealed,
		NULL) == -1)
		fatal("a key could not be sealed");
	(void)snprintf(path, sizeof(path), "%s/%s", folder, CLASS);
	(void)mkdir(path, 0700);
	(void)snprintf(path, sizeof(path), "%s/%s/%s", folder, CLASS, key->ref);
	if ((file = fopen(path, "w")) == NULL ||
	    fwrite(sealed.p, 1, sealed.n, file) != sealed.n ||
	    fclose(file) != 0)
		fatal("%s could not be written", path);
	buf_clear(&sealed);
	OPENSSL_free(der);
	PKCS8_PRIV_KEY_INFO_free(info);
}

static X509 *
certificate(EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);
	X509_EXTENSION *san = X509V3_EXT_conf_nid(
	    NULL, NULL, NID_subject_alt_name, "email:anna@example.test");

	(void)X509_set_version(cert, 2);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(cert), 7);
	(void)X509_gmtime_adj(X509_getm_notBefore(cert), -86400);
	(void)X509_gmtime_adj(X509_getm_notAfter(cert), 30 * 86400);
	(void)X509_NAME_add_entry_by_txt(
	    name, "CN", MBSTRING_ASC, (const unsigned char *)"Anna", -1, -1, 0);
	(void)X509_set_issuer_name(cert, name);
	(void)X509_set_pubkey(cert, key);
	(void)X509_add_ext(cert, san, -1);
	X509_EXTENSION_free(san);
	if (X509_sign(cert, key, EVP_sha256()) == 0)
		fatal("a certificate could not be made");
	return cert;
}

static void
make_key(const char *folder, struct bench_key *key, const char *ref,
    EVP_PKEY *pkey, bool has_cert)
{
	unsigned char *der = NULL;
	int n;

	*key = (struct bench_key){.ref = ref, .key = pkey};
	if (pkey == NULL)
		fatal("no key %s", ref);
	buf_init(&key->public, IPC_KEY_MAX);
	if (has_cert) {
		key->cert = certificate(pkey);
		n = i2d_X509(key->cert, &der);
		(void)buf_add(&key->public, der, (size_t)n);
		OPENSSL_free(der);
	}
	store_key(folder, key);
}

/* ---- a mail ---- */

static void
make_mail(struct buf *mail, size_t octets)
{
	static const char line[] =
	    "The quick brown fox jumps over the lazy dog, and then it rests "
	    "a while.\r\n";

	(void)buf_add_text(mail,
	    "Received: from client.example.test (client.example.test "
	    "[192.0.2.1])\r\n"
	    "\tby gw.example.test with ESMTPSA id 0123456789ABC;\r\n"
	    "\tSun, 22 Nov 2026 10:00:00 +0000\r\n"
	    "From: Anna Example <anna@example.test>\r\n"
	    "To: Bob Example <bob@example.org>\r\n"
	    "Subject: A mail of ten kilobytes for the benchmark\r\n"
	    "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
	    "Message-ID: <0123456789abcdef@example.test>\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: 7bit\r\n"
	    "User-Agent: sign_cost\r\n"
	    "\r\n");
	while (mail->n < octets)
		(void)buf_add(mail, line, sizeof(line) - 1);
}

/* ---- the bare calls ---- */

/* Both digests and the key's operation: what no DKIM signer can do without. */
static void
bare_dkim(const struct bench_key *key, struct slice mail, EVP_MD *sha256)
{
	bool is_ed25519 = EVP_PKEY_is_a(key->key, "ED25519");
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	unsigned char digest[32];
	unsigned char signature[512];
	size_t n = sizeof(signature);
	size_t header = 700;

	(void)EVP_DigestInit_ex2(context, sha256, NULL);
	(void)EVP_DigestUpdate(context, mail.p + header, mail.n - header);
	(void)EVP_DigestFinal_ex(context, digest, NULL);
	(void)EVP_DigestInit_ex2(context, sha256, NULL);
	(void)EVP_DigestUpdate(context, mail.p, header);
	(void)EVP_DigestFinal_ex(context, digest, NULL);
	if (is_ed25519) {
		(void)EVP_MD_CTX_reset(context);
		if (EVP_DigestSignInit(context, NULL, NULL, NULL, key->key) !=
			1 ||
		    EVP_DigestSign(context, signature, &n, digest, 32) != 1)
			fatal("Ed25519 failed");
	} else {
		EVP_PKEY_CTX *pkey = EVP_PKEY_CTX_new(key->key, NULL);

		if (EVP_PKEY_sign_init(pkey) != 1 ||
		    EVP_PKEY_CTX_set_signature_md(pkey, sha256) != 1 ||
		    EVP_PKEY_sign(pkey, signature, &n, digest, 32) != 1)
			fatal("RSA failed");
		EVP_PKEY_CTX_free(pkey);
	}
	EVP_MD_CTX_free(context);
}

/* CMS_sign() and the structure in DER. */
static void
bare_smime(const struct bench_key *key, struct slice mail, EVP_MD *sha256)
{
	BIO *in = BIO_new_mem_buf(mail.p, (int)mail.n);
	unsigned char *der = NULL;
	CMS_ContentInfo *cms =
	    CMS_sign(key->cert, key->key, NULL, in, CMS_DETACHED | CMS_BINARY);

	(void)sha256;
	if (cms == NULL || i2d_CMS_ContentInfo(cms, &der) <= 0)
		fatal("CMS failed");
	OPENSSL_free(der);
	CMS_ContentInfo_free(cms);
	BIO_free(in);
}

/* ---- ours ---- */

struct ours {
	struct worker_context context;
	struct ipc_list_writer keys;
	unsigned expected; /* a set of enum protect_applied */
};

static void
ours_init(struct ours *ours, const char *folder, const struct bench_key *key)
{
	struct ipc_record_work_key record = {.ref = slice_of(key->ref),
	    .use = key->cert != NULL ? WORK_KEY_SIGN : WORK_KEY_DKIM,
	    .domain = SLICE("example.test"),
	    .selector = SLICE("s1"),
	    .public = buf_slice(&key->public)};
	struct wrap_key class_key;
	char path[512];

	memset(ours, 0, sizeof(*ours));
	(void)snprintf(path, sizeof(path), "%s/%s", folder, CLASS);
	if (wrap_class_key(&master, CLASS, &class_key, NULL) == -1)
		fatal("no key for the class");
	ours->context.keyring = keyring_new(path, &class_key);
	ipc_list_writer_init(&ours->keys, IPC_KEY_MAX);
	(void)ipc_work_key_add(&ours->keys, &record, NULL);
	ours->expected = key->cert != NULL ? APPLIED_SIGNED : APPLIED_DKIM;
}

static void
ours_clear(struct ours *ours)
{
	keyring_free(ours->context.keyring);
	ipc_list_writer_clear(&ours->keys);
}

static void
ours_run(struct ours *ours, const struct content *content, int output_fd)
{
	struct work work = {.op = WORK_PROTECT,
	    .sender = SLICE("anna@example.test"),
	    .now_s = (int64_t)time(NULL),
	    .output_limit = content->size * 2 + 65536,
	    .keys = ipc_list_of(&ours->keys),
	    .content = *content};
	struct work_answer answer;
	struct content output;

	work_answer_init(&answer, output_fd, work.output_limit);
	work_protect(&ours->context, &work, &answer);
	if (answer.outcome != SIGNED_DONE ||
	    (answer.applied & ours->expected) != ours->expected ||
	    content_writer_finish(&answer.output, &output) == -1 ||
	    (!answer.is_prefix && output.size < content->size))
		fatal("not signed: %s %s", answer.reason, answer.method);
	work_answer_clear(&answer);
}

/* ---- the comparison ---- */

typedef void bare_fn(
    const struct bench_key *key, struct slice mail, EVP_MD *sha256);

/* In turns, and of each the least: what else ran is left out. */
static void
compare(const char *name, const char *folder, const struct bench_key *key,
    bare_fn *bare, unsigned mails, unsigned turns)
{
	EVP_MD *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	double least[2] = {1e18, 1e18};
	unsigned turn = mails / turns > 0 ? mails / turns : 1;
	struct content content;
	struct ours ours;
	struct buf mail;

	buf_init(&mail, 1 << 20);
	make_mail(&mail, BODY_OCTETS);
	content = content_of(buf_slice(&mail));
	ours_init(&ours, folder, key);
	ours_run(&ours, &content, -1);
	for (unsigned round = 0; round < turns; round++) {
		double start = cpu_us();
		double middle;
		double end;

		for (unsigned i = 0; i < turn; i++)
			bare(key, buf_slice(&mail), sha256);
		middle = cpu_us();
		for (unsigned i = 0; i < turn; i++)
			ours_run(&ours, &content, -1);
		end = cpu_us();
		if ((middle - start) / turn < least[0])
			least[0] = (middle - start) / turn;
		if ((end - middle) / turn < least[1])
			least[1] = (end - middle) / turn;
	}
	(void)printf("%-22s bare %7.1f us  ours %7.1f us  ratio %.2f\n", name,
	    least[0], least[1], least[1] / least[0]);
	(void)fflush(stdout);
	ours_clear(&ours);
	buf_clear(&mail);
	EVP_MD_free(sha256);
}

/* ---- one large mail ---- */

static int
large_file(const char *folder, uint64_t octets)
{
	char path[512];
	struct buf piece;
	uint64_t written = 0;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/large", folder);
	fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	buf_init(&piece, 4 << 20);
	make_mail(&piece, 1 << 20);
	while (fd != -1 && written < octets) {
		/* The header once, then text alone. */
		size_t skip = written == 0 ? 0 : 1024;
		ssize_t n = write(fd, piece.p + skip, piece.n - skip);

		if (n <= 0)
			fatal("%s could not be written", path);
		written += (uint64_t)n;
	}
	buf_clear(&piece);
	return fd;
}

/* Not ru_maxrss: that counts the program that started this one as well. */
static long
resident_kb(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	long kb = -1;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, "VmHWM:", 6) == 0)
			kb = strtol(line + 6, NULL, 10);
	if (file != NULL)
		(void)fclose(file);
	return kb;
}

static void
sign_large(const char *name, const char *folder, const struct bench_key *key,
    const struct content *content)
{
	struct ours ours;
	char path[512];
	double start = cpu_us();
	int fd;

	(void)snprintf(path, sizeof(path), "%s/signed", folder);
	fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	if (fd == -1)
		fatal("%s could not be made", path);
	ours_init(&ours, folder, key);
	ours_run(&ours, content, fd);
	ours_clear(&ours);
	(void)close(fd);
	(void)unlink(path);
	(void)printf("%-22s %llu MB in %.0f ms of CPU, resident at most "
		     "%.1f MB\n",
	    name, (unsigned long long)(content->size >> 20),
	    (cpu_us() - start) / 1000, (double)resident_kb() / 1024);
}

int
main(int argc, char **argv)
{
	struct bench_key dkim[2];
	struct bench_key smime[2];
	struct content content;
	uint64_t number = DEFAULT_MAILS;
	bool is_large = argc == 4 && strcmp(argv[2], "--large") == 0;
	bool is_turn = argc == 4 && strcmp(argv[2], "--turn") == 0;

	if (argc < 2 || (argc > 3 && !is_large && !is_turn) ||
	    (argc > 2 &&
		slice_to_u64(slice_of(argv[argc - 1]), &number) == -1)) {
		(void)fprintf(stderr, "usage: sign_cost FOLDER [MAILS]\n"
				      "       sign_cost FOLDER --turn MAILS\n"
				      "       sign_cost FOLDER --large MB\n");
		return 2;
	}
	make_key(argv[1], &dkim[1], "ed25519",
	    EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), false);
	if (is_turn) {
		compare("dkim ed25519", argv[1], &dkim[1], bare_dkim,
		    (unsigned)number, 1);
		return 0;
	}
	make_key(argv[1], &dkim[0], "rsa", EVP_RSA_gen(2048), false);
	make_key(argv[1], &smime[0], "smime-rsa", EVP_RSA_gen(2048), true);
	make_key(argv[1], &smime[1], "smime-p256", EVP_EC_gen("P-256"), true);
	if (is_large) {
		if (content_of_file(large_file(argv[1], number << 20), &content,
			NULL) == -1)
			fatal("the large mail could not be made");
		sign_large("dkim ed25519", argv[1], &dkim[1], &content);
		sign_large("smime sign p-256", argv[1], &smime[1], &content);
		return 0;
	}
	compare("dkim rsa-2048", argv[1], &dkim[0], bare_dkim, (unsigned)number,
	    ROUNDS);
	compare("dkim ed25519", argv[1], &dkim[1], bare_dkim, (unsigned)number,
	    ROUNDS);
	compare("smime sign rsa-2048", argv[1], &smime[0], bare_smime,
	    (unsigned)number, ROUNDS);
	compare("smime sign p-256", argv[1], &smime[1], bare_smime,
	    (unsigned)number, ROUNDS);
	return 0;
}
