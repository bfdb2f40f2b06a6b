/* SPDX-License-Identifier: ISC */
/*
 * Operations with keys: what is made can be read again, private parts leave
 * sealed alone, and what is refused leaves nothing.
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/key_task_host.h"
#include "tests/unit/tap.h"

#define NOW_S 1700000000

/* Is that the fact's value? */
static bool
says(const struct key_task_host *host, const char *name, const char *value)
{
	struct ipc_list facts = ipc_list_of(&host->answer.facts);
	struct ipc_record_fact record;

	while (ipc_fact_next(&facts, &record))
		if (slice_equals(record.name, slice_of(name)))
			return slice_equals(record.value, slice_of(value));
	return false;
}

static bool
opens(const struct key_task_host *host, const char *class_name,
    const struct wrap_key *key)
{
	char name[64];
	struct buf secret;
	bool is_open;
	struct err err;

	(void)snprintf(name, sizeof(name), "secret.%s", class_name);
	buf_init(&secret, WRAP_SECRET_MAX + 1);
	is_open = wrap_open(key, slice_of(class_name), SLICE("k-test"),
		      key_part(&host->results, name), &secret, &err) == 0;
	wrap_wipe(&secret);
	return is_open;
}

static void
test_dkim(const char *algorithm)
{
	struct key_task_host host;
	struct wrap_key key;

	key_task_host_init(&host, KEY_OP_GENERATE_DKIM);
	key_task_host_fact(&host, "algorithm", algorithm);
	key_task_host_seal(&host, "sign", &key);
	is_int(key_task_host_run(&host, NOW_S), SIGNED_DONE, "a %s key",
	    algorithm);
	ok(says(&host, "uses", "sign "), "signs");
	ok(key_part(&host.results, "public").n > 40, "has a public half");
	ok(opens(&host, "sign", &key), "and a private one for its class");
	key_task_host_clear(&host);
}

static void
test_refused(
    enum key_op op, const char *algorithm, const char *file, const char *part)
{
	struct key_task_host host;
	struct wrap_key key;

	key_task_host_init(&host, op);
	key_task_host_fact(&host, "algorithm", algorithm);
	key_task_host_fact(&host, "address", "a@b.example");
	if (op == KEY_OP_READ_CRL)
		host.file = slice_of(file);
	else
		key_task_host_part(&host, "file", slice_of(file));
	key_task_host_seal(&host, "sign", &key);
	key_task_host_seal(&host, "open", &key);
	is_int(key_task_host_run(&host, NOW_S), SIGNED_PERMANENT,
	    "%s %s is refused", key_op_name(op), algorithm);
	ok(strstr(host.answer.reason, part) != NULL, "because: %s",
	    host.answer.reason);
	ok(host.answer.facts.count == 0 && host.answer.output.size == 0,
	    "and nothing is left");
	key_task_host_clear(&host);
}

static void
test_request(void)
{
	struct key_task_host host;
	struct wrap_key sign;
	struct wrap_key open;

	key_task_host_init(&host, KEY_OP_REQUEST);
	key_task_host_fact(&host, "algorithm", "p-384");
	key_task_host_fact(&host, "address", "a@b.example");
	key_task_host_seal(&host, "sign", &sign);
	key_task_host_seal(&host, "open", &open);
	is_int(key_task_host_run(&host, NOW_S), SIGNED_DONE, "a request");
	ok(memmem(key_part(&host.results, "csr").p,
	       key_part(&host.results, "csr").n, "BEGIN CERTIFICATE REQUEST",
	       25) != NULL,
	    "is made as PEM");
	ok(opens(&host, "sign", &sign) && opens(&host, "open", &open),
	    "its key is kept for both classes");
	ok(!opens(&host, "sign", &open), "each with its own wrapping key");
	key_task_host_clear(&host);
}

static void
test_ca(void)
{
	struct key_task_host host;
	struct wrap_key key;

	key_task_host_init(&host, KEY_OP_CA);
	key_task_host_fact(&host, "algorithm", "p-256");
	key_task_host_fact(&host, "name", "Our CA");
	key_task_host_fact(&host, "serial", "1234");
	key_task_host_seal(&host, "key", &key);
	is_int(key_task_host_run(&host, NOW_S), SIGNED_DONE, "a CA");
	ok(says(&host, "uses", "certify"), "certifies alone");
	ok(says(&host, "subject", "CN=Our CA"), "has its name");
	ok(says(&host, "serial", "1234"), "and its number");
	ok(opens(&host, "key", &key), "its key is for the key worker");
	key_task_host_clear(&host);
}

int
main(void)
{
	test_dkim("rsa-2048");
	test_dkim("ed25519");
	test_request();
	test_ca();
	test_refused(
	    KEY_OP_GENERATE_DKIM, "rsa-1024", "", "rsa-2048 or ed25519");
	test_refused(KEY_OP_REQUEST, "ed25519", "", "cannot be used for mail");
	test_refused(KEY_OP_REQUEST, "dsa", "", "no algorithm");
	test_refused(KEY_OP_IMPORT, "", "", "empty");
	test_refused(KEY_OP_IMPORT, "", "nonsense", "neither PKCS #12 nor PEM");
	test_refused(KEY_OP_IMPORT, "", "-----BEGIN X-----\n", "damaged");
	test_refused(KEY_OP_PARSE, "", "nonsense", "not a certificate");
	test_refused(KEY_OP_READ_CRL, "", "nonsense", "not a revocation list");
	test_refused(KEY_OP_ISSUE, "p-256", "", "no CA");
	test_refused(KEY_OP_COUNT - 1, "", "nonsense", "not a certificate");
	return tap_done();
}
