/* SPDX-License-Identifier: ISC */
/*
 * Ids: they rise whatever the clock does, and their text sorts as they do.
 */
#include <string.h>

#include "common/ids.h"
#include "tests/unit/tap.h"

#define NOW_MS UINT64_C(1789000000000)

static const struct {
	const char *label;
	const char *text;
	size_t n;
} refused[] = {
    {"nothing", "", 0},
    {"twelve characters", "012345678901", 12},
    {"fourteen characters", "01234567890123", 14},
    {"an i", "000000000000i", 13},
    {"an l", "000000000000l", 13},
    {"an o", "000000000000o", 13},
    {"a u", "000000000000u", 13},
    {"a capital I", "000000000000I", 13},
    {"a NUL", "000000000000\0", 13},
    {"a space", " 000000000000", 13},
    {"an octet above ASCII", "000000000000\xe9", 13},
    {"65 bits", "g000000000000", 13},
    {"all ones of 65 bits", "zzzzzzzzzzzzz", 13},
};

static void
test_text(void)
{
	static const uint64_t ids[] = {0, 1, 31, 32, UINT64_C(1) << 59,
	    UINT64_C(0x123456789abcdef0), UINT64_MAX};
	char before[ID_TEXT_SIZE] = "";

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		char text[ID_TEXT_SIZE];
		uint64_t id = 0;

		id_format(ids[i], text);
		is_int(strlen(text), ID_TEXT_LENGTH, "13 characters: %s", text);
		is_int(id_parse(slice_of(text), &id), 0, "it is read");
		is_u64(id, ids[i], "and is the same");
		ok(strcmp(before, text) < 0, "texts sort as ids do");
		memcpy(before, text, sizeof(before));
	}
	is_str(before, "fzzzzzzzzzzzz", "the last id");
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		uint64_t id = 7;

		is_int(id_parse(
			   (struct slice){refused[i].text, refused[i].n}, &id),
		    -1, "%s is refused", refused[i].label);
		is_u64(id, 7, "nothing is written");
	}
	{
		uint64_t lower = 0;
		uint64_t upper = 1;

		(void)id_parse(SLICE("0abcdefghjkmn"), &lower);
		(void)id_parse(SLICE("0ABCDEFGHJKMN"), &upper);
		is_u64(upper, lower, "case does not count");
	}
}

static void
test_rising(void)
{
	static const uint64_t clocks[] = {NOW_MS, NOW_MS, NOW_MS + 1,
	    NOW_MS - 3600000, 0, NOW_MS + 1, NOW_MS + 2};
	struct id_maker maker;
	uint64_t last = 0;
	bool rises = true;
	bool has_slot = true;

	id_maker_init(&maker, 254);
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		/* More than a millisecond's counter holds. */
		for (int k = 0; k < 3 << ID_COUNTER_BITS; k++) {
			uint64_t id = id_next(&maker, clocks[i]);

			rises = rises && id > last;
			has_slot = has_slot && id_slot(id) == 254;
			last = id;
		}
	}
	ok(rises, "ids rise while the clock stands, jumps back and goes on");
	ok(has_slot, "and keep their slot");
	ok(id_time_ms(last) < NOW_MS + 30, "borrowed time is a few ms");
	last = id_next(&maker, NOW_MS + 5000);
	is_u64(
	    id_time_ms(last), NOW_MS + 5000, "later it is the clock's again");
}

static void
test_slots(void)
{
	struct id_maker a;
	struct id_maker b;

	id_maker_init(&a, 0);
	id_maker_init(&b, 1);
	ok(id_next(&a, NOW_MS) != id_next(&b, NOW_MS),
	    "two makers never give the same id");
	OK_DIES(id_maker_init(&a, ID_SLOTS), "a slot too large is a bug");
}

int
main(void)
{
	test_text();
	test_rising();
	test_slots();
	return tap_done();
}
