/* SPDX-License-Identifier: ISC */
/*
 * The configuration's text form: what is taken must be written and read back
 * as the same items.
 */
#include "control/config_rules.h"
#include "control/config_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct slice text = {(const char *)data, size};
	const struct config_items nothing = {0};
	struct config_items items;
	struct config_items again;
	struct config_changes changes;
	struct buf written;
	unsigned line;
	struct err err = {""};

	if (config_text_read(text, &nothing, &items, &line, &err) == -1)
		return 0;
	buf_init(&written, CONFIG_TEXT_MAX);
	config_text_write(&items, true, &written);
	if (config_text_read(
		buf_slice(&written), &nothing, &again, &line, &err) == -1)
		bug("line %u of our own text: %s", line, err.text);
	config_items_compare(&items, &again, &changes);
	if (changes.count != 0)
		bug("%s is not what it was", changes.list[0].key);
	(void)config_items_check(&items, &err);
	config_changes_clear(&changes);
	config_items_clear(&again);
	config_items_clear(&items);
	buf_clear(&written);
	return 0;
}
