/* SPDX-License-Identifier: ISC */
/*
 * Addresses and domains: the first octet chooses what is allowed.  What is
 * taken must hold nothing dangerous, and read back from its own text.
 */
#include <string.h>

#include "common/address.h"
#include "common/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_domain(const struct domain *d)
{
	struct domain again;

	if (strlen(d->text) > DOMAIN_LENGTH_MAX ||
	    !utf8_is_ascii(slice_of(d->text)) ||
	    domain_parse_dns(slice_of(d->text), &again, NULL) == -1 ||
	    !domain_equals(d, &again))
		bug("domain %s is not canonical", d->text);
}

static void
check_address(const struct address *a, unsigned flags)
{
	char text[ADDRESS_TEXT_MAX];
	char folded[ADDRESS_TEXT_MAX];
	struct address again;

	(void)address_format(a, text);
	for (const char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			bug("control in address");
	if (strlen(text) + 2 > ADDRESS_PATH_MAX)
		bug("address is too long");
	if (a->is_null)
		return;
	if (a->domain.text[0] != '\0')
		check_domain(&a->domain);
	if (a->local[0] == '\0' ||
	    address_parse(slice_of(text), flags, &again, NULL) == -1 ||
	    !address_equals(a, &again))
		bug("%s does not read back", text);
	if (address_parse(slice_of(address_format_folded(a, folded)), flags,
		&again, NULL) == -1 ||
	    !address_equals_folded(a, &again))
		bug("%s does not fold", text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct domain_pattern pattern;
	struct domain domain;
	struct address a;
	struct slice s;
	struct err err;

	if (size == 0)
		return 0;
	s = (struct slice){(const char *)data + 1, size - 1};
	if (address_parse(s, data[0], &a, &err) == 0)
		check_address(&a, data[0]);
	if (address_parse_path(s, data[0], &a, &err) == 0)
		check_address(&a, data[0]);
	if (domain_parse(s, &domain, &err) == 0)
		check_domain(&domain);
	if (domain_parse_dns(s, &domain, &err) == 0)
		check_domain(&domain);
	(void)domain_pattern_parse(s, &pattern, &err);
	return 0;
}
