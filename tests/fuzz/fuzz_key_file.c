/* SPDX-License-Identifier: ISC */
/*
 * Files of keys and certificates as strangers may write them: PKCS #12, PEM,
 * DER, requests, revocation lists.  The first octet says as what they are
 * given.  A refusal says why and leaves no part of an answer.
 */
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/key_task_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const enum key_op ops[] = {
    KEY_OP_IMPORT, KEY_OP_PARSE, KEY_OP_READ_CRL, KEY_OP_EXPORT, KEY_OP_IMPORT};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct key_task_host host;
	struct wrap_key key;
	const unsigned which = size > 0 ? data[0] % 5 : 0;

	if (size == 0)
		return 0;
	key_task_host_init(&host, ops[which]);
	key_task_host_fact(&host, "kind", "smime");
	key_task_host_seal(&host, "sign", &key);
	key_task_host_seal(&host, "open", &key);
	if (which == 0)
		key_task_host_fact(&host, "may_be_public", "yes");
	if (ops[which] == KEY_OP_READ_CRL)
		host.file = (struct slice){(const char *)data + 1, size - 1};
	else
		key_task_host_part(&host, "file",
		    (struct slice){(const char *)data + 1, size - 1});
	if (which < 4)
		key_task_host_part(&host, "passphrase", SLICE("test"));
	if (key_task_host_run(&host, 1700000000) != SIGNED_DONE &&
	    (host.answer.reason[0] == '\0' || host.answer.facts.count != 0 ||
		host.answer.output.size != 0))
		bug("a refusal that leaves something");
	key_task_host_clear(&host);
	return 0;
}
