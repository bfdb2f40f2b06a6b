/* SPDX-License-Identifier: ISC */
/*
 * Versions of the libraries that read what strangers send.
 * Runs in: postern-signerd, before confinement.  Trusts: dpkg's record.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signer/versions.h"

#define STATUS_FILE "/var/lib/dpkg/status"
/* A large system's has 5 MB. */
#define STATUS_MAX ((size_t)64 << 20)

static const struct {
	const char *name;
	const char *package;
	const char *floor;
} rows[SOFTWARE_COUNT] = {
    [SOFTWARE_OPENSSL] = {"OpenSSL", "libssl3", "3.0.22-1~deb12u1"},
    [SOFTWARE_GNUPG] = {"GnuPG", "gpg", "2.2.40-1.1+deb12u2"}};

const char *
software_name(enum software software)
{
	return rows[software].name;
}

const char *
software_floor(enum software software)
{
	return rows[software].floor;
}

/* ---- order ---- */

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Tilde before the end, letters before all else. */
static int
weight(struct slice s, size_t at)
{
	char c = at < s.n ? s.p[at] : '\0';

	if (c == '~')
		return -1;
	if (c == '\0' || is_digit(c))
		return 0;
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
		return c;
	return c + 256;
}

static uint64_t
take_number(struct slice s, size_t *at)
{
	uint64_t number = 0;

	for (; *at < s.n && is_digit(s.p[*at]); ++*at)
		if (number < UINT64_MAX / 10 - 9)
			number = number * 10 + (uint64_t)(s.p[*at] - '0');
	return number;
}

static int
compare_part(struct slice a, struct slice b)
{
	size_t i = 0;
	size_t k = 0;

	while (i < a.n || k < b.n) {
		uint64_t x;
		uint64_t y;

		while ((i < a.n && !is_digit(a.p[i])) ||
		       (k < b.n && !is_digit(b.p[k]))) {
			int difference = weight(a, i) - weight(b, k);

			if (difference != 0)
				return difference;
			i++;
			k++;
		}
		x = take_number(a, &i);
		y = take_number(b, &k);
		if (x != y)
			return x < y ? -1 : 1;
	}
	return 0;
}

/* [epoch:]upstream[-revision] */
static void
split(struct slice version, struct slice parts_r[static 3])
{
	size_t colon = slice_find(version, ':', 0);
	size_t end = version.n;

	parts_r[0] = (struct slice){NULL, 0};
	if (colon < version.n) {
		parts_r[0] = (struct slice){version.p, colon};
		version.p += colon + 1;
		version.n -= colon + 1;
		end = version.n;
	}
	while (end > 0 && version.p[end - 1] != '-')
		end--;
	parts_r[1] = (struct slice){version.p, end > 0 ? end - 1 : version.n};
	parts_r[2] = end > 0 ? (struct slice){version.p + end, version.n - end}
			     : (struct slice){NULL, 0};
}

int
version_compare(struct slice a, struct slice b)
{
	struct slice parts[2][3];
	int difference = 0;

	split(a, parts[0]);
	split(b, parts[1]);
	for (size_t i = 0; i < 3 && difference == 0; i++)
		difference = compare_part(parts[0][i], parts[1][i]);
	return difference;
}

/* ---- what is installed ---- */

static bool
take_line(struct slice *rest, struct slice *line_r)
{
	size_t end = slice_find(*rest, '\n', 0);

	if (rest->n == 0)
		return false;
	*line_r = (struct slice){rest->p, end};
	if (end < rest->n)
		end++;
	rest->p += end;
	rest->n -= end;
	return true;
}

static bool
has_field(struct slice line, const char *name, struct slice *value_r)
{
	size_t n = strlen(name);

	if (!slice_starts_nocase(line, name))
		return false;
	*value_r = slice_trim((struct slice){line.p + n, line.n - n});
	return true;
}

static void
set_version(
    struct software_version *version, enum software software, struct slice text)
{
	if (slice_copy(text, version->text, sizeof(version->text)) == -1)
		return;
	version->is_old =
	    version_compare(text, slice_of(rows[software].floor)) < 0;
}

void
versions_find_in(struct slice status,
    struct software_version versions_r[static SOFTWARE_COUNT])
{
	enum software at = SOFTWARE_COUNT;
	bool is_installed = false;
	struct slice line;
	struct slice value;

	memset(versions_r, 0, SOFTWARE_COUNT * sizeof(*versions_r));
	while (take_line(&status, &line)) {
		if (has_field(line, "Package:", &value)) {
			is_installed = false;
			at = SOFTWARE_OPENSSL;
			while (at < SOFTWARE_COUNT &&
			       !slice_equals(value, slice_of(rows[at].package)))
				at++;
		} else if (has_field(line, "Status:", &value)) {
			is_installed =
			    slice_equals(value, SLICE("install ok installed"));
		} else if (at < SOFTWARE_COUNT && is_installed &&
			   has_field(line, "Version:", &value)) {
			set_version(&versions_r[at], at, value);
		}
	}
}

/* The number in "OpenSSL 3.0.22 1 Jan 2026": only of its own branch. */
static void
ask_openssl(struct software_version *version)
{
	const char *said = OpenSSL_version(OPENSSL_VERSION_STRING);

	(void)snprintf(version->text, sizeof(version->text), "%s", said);
	version->is_old = strncmp(said, "3.0.", 4) == 0 &&
			  version_compare(slice_of(said), SLICE("3.0.22")) < 0;
}

void
versions_find(struct software_version versions_r[static SOFTWARE_COUNT])
{
	FILE *file = fopen(STATUS_FILE, "re");
	struct buf text;
	char *room;
	size_t n;

	buf_init(&text, STATUS_MAX);
	while (file != NULL && (room = buf_reserve(&text, 65536)) != NULL &&
	       (n = fread(room, 1, 65536, file)) > 0)
		buf_extend(&text, n);
	if (file != NULL)
		(void)fclose(file);
	versions_find_in(buf_slice(&text), versions_r);
	buf_clear(&text);
	if (versions_r[SOFTWARE_OPENSSL].text[0] == '\0')
		ask_openssl(&versions_r[SOFTWARE_OPENSSL]);
}
