/* SPDX-License-Identifier: ISC */
/*
 * z-base-32 of SHA-1 of a local part.
 * Runs in: postern-signerd, postern-fetchd.  Trusts: nothing.
 */
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/err.h"
#include "signer/pgp_wkd.h"

#define SHA1_OCTETS 20

/* RFC 6189 §5.1.6. */
static const char zbase32[] = "ybndrfg8ejkmcpqxot1uwisza345h769";

void
pgp_wkd_hash(struct slice local_part, char hash_r[PGP_WKD_HASH_SIZE])
{
	unsigned char sum[SHA1_OCTETS];
	char *lower = slice_dup(local_part);
	char *out = hash_r;
	uint32_t bits = 0;
	unsigned bit_count = 0;

	for (size_t i = 0; i < local_part.n; i++)
		if (lower[i] >= 'A' && lower[i] <= 'Z')
			lower[i] = (char)(lower[i] - 'A' + 'a');
	if (EVP_Digest(lower, local_part.n, sum, NULL, EVP_sha1(), NULL) != 1)
		fatal("no SHA-1");
	free(lower);
	for (size_t i = 0; i < SHA1_OCTETS; i++) {
		bits = bits << 8 | sum[i];
		bit_count += 8;
		while (bit_count >= 5) {
			bit_count -= 5;
			*out++ = zbase32[bits >> bit_count & 31];
		}
	}
	*out = '\0';
}
