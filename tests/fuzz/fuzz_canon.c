/* SPDX-License-Identifier: ISC */
/*
 * Entities of any message: what was made canonical stays as it is when it is
 * done again, is clean where it says so, and nothing is lost of a message that
 * is not changed.
 */
#include <stdint.h>
#include <string.h>

#include "common/header.h"
#include "signer/canon.h"
#include "signer/canon_scan.h"
#include "signer/entity.h"

/* Encoding makes up to six octets of one. */
#define OUTPUT_MAX ((size_t)64 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
write_entity(struct slice message, unsigned wishes, struct buf *out)
{
	const struct entity_wishes w = {
	    .is_encrypted = (wishes & 1) != 0,
	    .protects_headers = (wishes & 2) != 0,
	    .obscures_subject = (wishes & 4) != 0,
	    .displays_subject = (wishes & 8) != 0,
	};
	struct content content = content_of(message);
	struct sink sink = sink_of_buf(out);
	struct ipc_list none = {.count = 0};
	struct entity *e;
	bool is_7bit;
	struct buf whole;

	if (entity_open(&content, none, &e, NULL) == -1)
		return false;
	if (entity_write(e, &w, &sink, NULL) == -1)
		bug("an entity is not written");
	is_7bit = entity_is_7bit(e, &w);
	buf_init(&whole, OUTPUT_MAX);
	sink = sink_of_buf(&whole);
	if (entity_write_message(e, &sink, NULL) == -1 ||
	    !slice_equals(buf_slice(&whole), message))
		bug("a message that stays has changed");
	buf_reset(&whole);
	if (entity_write_outer(e, &w, &sink, NULL) == -1)
		bug("the outer fields are not written");
	buf_clear(&whole);
	entity_close(e);
	return is_7bit;
}

/* Else the blank line that an entity has makes parts of what was none. */
static bool
has_blank_line(struct slice message)
{
	struct header h;
	bool has;

	header_init(&h, 0);
	has = header_read(&h, message) == PARSE_OK && h.end == HEADER_END_BLANK;
	header_clear(&h);
	return has;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice message;
	struct content content;
	struct canon_facts facts;
	struct buf first, second;

	if (size < 1)
		return 0;
	message = (struct slice){(const char *)data + 1, size - 1};
	buf_init(&first, OUTPUT_MAX);
	buf_init(&second, OUTPUT_MAX);
	if (write_entity(message, data[0], &first)) {
		content = content_of(buf_slice(&first));
		if (canon_scan(&content, 0, first.n, &facts, NULL) == -1 ||
		    !canon_facts_are_7bit(&facts))
			bug("an entity is not 7bit, but says so");
		if ((data[0] & 6) == 0 && has_blank_line(message) &&
		    write_entity(buf_slice(&first), 0, &second) &&
		    !slice_equals(buf_slice(&first), buf_slice(&second)))
			bug("canonical is not canonical");
	}
	buf_clear(&first);
	buf_clear(&second);
	return 0;
}
