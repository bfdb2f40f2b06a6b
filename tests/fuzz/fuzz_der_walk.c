/* SPDX-License-Identifier: ISC */
/*
 * The walk over CMS.  What passes is also read by OpenSSL, which has to find
 * the same kind of content where it finds any.
 */
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include <openssl/cms.h>
#include <openssl/err.h>

#include "common/err.h"
#include "signer/der_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
nid_of(enum der_cms kind)
{
	switch (kind) {
	case DER_CMS_SIGNED:
		return NID_pkcs7_signed;
	case DER_CMS_ENVELOPED:
		return NID_pkcs7_enveloped;
	case DER_CMS_AUTH_ENVELOPED:
		return NID_id_smime_ct_authEnvelopedData;
	default:
		return NID_undef;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice der = {(const char *)data, size};
	const unsigned char *p = data;
	CMS_ContentInfo *cms;
	struct der_facts f;

	if (der_walk(der, &f, NULL) == -1 || f.kind == DER_CMS_OTHER)
		return 0;
	if (memchr(f.cipher, '\0', sizeof(f.cipher)) == NULL ||
	    memchr(f.digest, '\0', sizeof(f.digest)) == NULL)
		bug("a text without an end");
	cms = d2i_CMS_ContentInfo(NULL, &p, (long)size);
	if (cms != NULL && OBJ_obj2nid(CMS_get0_type(cms)) != nid_of(f.kind))
		bug("OpenSSL reads another kind");
	CMS_ContentInfo_free(cms);
	ERR_clear_error();
	return 0;
}
