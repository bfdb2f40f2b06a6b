/* SPDX-License-Identifier: ISC */
/*
 * Octets as the hub gets them from a writer, and as it finds them in a
 * segment.  Whatever is taken must be an event that keeps its row, lie within
 * the input, and survive being stored and read again.
 * Runs in: tests.
 */
#include <string.h>

#include "common/log.h"
#include "loghub/record.h"
#include "loghub/writers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must_lie_within(struct slice inner, struct slice outer)
{
	if (inner.n > 0 &&
	    (inner.p < outer.p || inner.p + inner.n > outer.p + outer.n))
		bug("a slice outside of its input");
}

/* An event goes into a record and comes out the same. */
static void
through_record(struct slice event)
{
	static const unsigned char no_hash[RECORD_HASH_SIZE];
	char octets[RECORD_MAX_SIZE];
	struct record record;
	struct slice again;
	uint32_t life_number;

	if (event.n > sizeof(octets) - RECORD_MIN_SIZE)
		return;
	record_head_write(
	    octets, RECORD_EVENT, ROLE_SMTPD, 7, 8, event.n);
	memcpy(octets + RECORD_HEAD_SIZE, event.p, event.n);
	memcpy(octets + RECORD_HEAD_SIZE + event.n, no_hash, sizeof(no_hash));
	if (record_read((struct slice){octets, event.n + RECORD_MIN_SIZE},
	        &record) != PARSE_OK ||
	    record_event(&record, &life_number, &again) == -1 ||
	    !slice_equals(event, again))
		bug("a record does not give back its event");
}

static void
try_datagram(struct slice in)
{
	struct writers writers = {.clock = 0};
	struct event_datagram datagram;
	struct writer_news news;
	struct slice event;

	if (event_datagram_read(in, &datagram, NULL) == -1)
		return;
	writers_note(&writers, ROLE_SMTPD, datagram.boot_id,
	    datagram.sequence, datagram.count, &news);
	while (event_datagram_next(&datagram, &event)) {
		struct event_head head;
		union event_fields fields;

		must_lie_within(event, in);
		if (event_read(event, &head, &fields, NULL) == 0)
			through_record(event);
	}
}

static void
try_segment(struct slice in)
{
	struct record record;
	struct record_opening opening;

	while (record_read(in, &record) == PARSE_OK) {
		struct event_head head;
		union event_fields fields;
		uint32_t life_number;
		struct slice event;

		must_lie_within(record.payload, in);
		must_lie_within(record.hashed, in);
		(void)record_opening_read(&record, &opening);
		if (record_event(&record, &life_number, &event) == 0) {
			must_lie_within(event, in);
			(void)event_read(event, &head, &fields, NULL);
		}
		in.p += record.size;
		in.n -= record.size;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = {(const char *)data, size};

	try_datagram(in);
	try_segment(in);
	return 0;
}
