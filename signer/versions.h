/* SPDX-License-Identifier: ISC */
/*
 * Which OpenSSL and GnuPG this host has, and whether they are older than the
 * first ones without known holes that a mail could use.
 *
 *	OpenSSL  CVE-2025-15467 (stack overflow in AuthEnvelopedData, before
 *	         any check) and later ones in CMS
 *	GnuPG    CVE-2025-68973 (write beyond a buffer in armor)
 */
#ifndef SIGNER_VERSIONS_H
#define SIGNER_VERSIONS_H

#include <stdbool.h>

#include "common/buf.h"

enum software { SOFTWARE_OPENSSL, SOFTWARE_GNUPG, SOFTWARE_COUNT };

struct software_version {
	char text[96]; /* the package's; "": not known */
	bool is_old;
};

/*
 * Versions by dpkg's own record, since a distribution mends a hole without
 * changing the number that a program says; OpenSSL's number where there is
 * none.  Reads a file: before confinement.
 */
void versions_find(struct software_version versions_r[static SOFTWARE_COUNT]);

/* The same in a text like /var/lib/dpkg/status. */
void versions_find_in(struct slice status,
    struct software_version versions_r[static SOFTWARE_COUNT]);

/* "OpenSSL", and the first version that is not too old. */
const char *software_name(enum software software);
const char *software_floor(enum software software);

/* Order of Debian's versions (deb-version(7)): negative, 0, positive. */
int version_compare(struct slice a, struct slice b);

#endif
