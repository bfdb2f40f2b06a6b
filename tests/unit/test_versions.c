/* SPDX-License-Identifier: ISC */
/* Debian's order of versions, and what is found in dpkg's record. */
#include "signer/versions.h"
#include "tests/unit/tap.h"

static void
test_order(void)
{
	static const struct {
		const char *less;
		const char *more;
	} rows[] = {
	    {"3.0.22-1~deb12u1", "3.0.22-1~deb12u2"},
	    {"3.0.22-1~deb12u2", "3.0.22-1"},
	    {"3.0.9-1", "3.0.10-1"},
	    {"3.0.22-1", "3.1.0-1"},
	    {"2.2.40-1.1", "2.2.40-1.1+deb12u2"},
	    {"2.2.40-1.1+deb12u2", "2.4.7-21"},
	    {"9.9", "1:0.1"},
	    {"1.0~rc1-1", "1.0-1"},
	    {"1.0", "1.0-1"},
	    {"1.0a", "1.0+"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice a = slice_of(rows[i].less);
		struct slice b = slice_of(rows[i].more);

		ok(version_compare(a, b) < 0 && version_compare(b, a) > 0 &&
			version_compare(a, a) == 0,
		    "%s is before %s", rows[i].less, rows[i].more);
	}
}

static void
test_record(void)
{
	struct software_version versions[SOFTWARE_COUNT];

	versions_find_in(
	    SLICE("Package: libssl3\nStatus: install ok installed\n"
		  "Architecture: amd64\nVersion: 3.0.11-1~deb12u2\n"
		  "Description: x\n Version: 9\n\n"
		  "Package: gpg\nStatus: install ok installed\n"
		  "Version: 2.2.40-1.1+deb12u2\n\n"
		  "Package: gpgsm\nStatus: install ok installed\n"
		  "Version: 1.0\n"),
	    versions);
	is_str(versions[SOFTWARE_OPENSSL].text, "3.0.11-1~deb12u2",
	    "OpenSSL's package");
	ok(versions[SOFTWARE_OPENSSL].is_old, "and it is old");
	is_str(versions[SOFTWARE_GNUPG].text, "2.2.40-1.1+deb12u2",
	    "GnuPG's package");
	ok(!versions[SOFTWARE_GNUPG].is_old, "and it is not");
	versions_find_in(
	    SLICE("Package: gpg\nStatus: deinstall ok config-files\n"
		  "Version: 1.0\n"),
	    versions);
	is_str(versions[SOFTWARE_GNUPG].text, "", "one that was removed");
	versions_find(versions);
	ok(versions[SOFTWARE_OPENSSL].text[0] != '\0',
	    "this host has OpenSSL %s", versions[SOFTWARE_OPENSSL].text);
}

int
main(void)
{
	test_order();
	test_record();
	return tap_done();
}
