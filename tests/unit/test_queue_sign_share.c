/* SPDX-License-Identifier: ISC */
/*
 * Shares of recipients: how many at once, and that each has his turn.
 */
#include "relay/queue_sign_share.h"
#include "tests/unit/tap.h"

#define MOST 2000
#define KB ((uint64_t)1 << 10)
#define MB ((uint64_t)1 << 20)

static struct queue_message *
new_message(size_t count, enum protect_encrypt encrypt)
{
	struct queue_message *message = queue_message_new(1, count);

	message->protection = queue_protection_new(count);
	message->protection->direction = DIRECTION_OUT;
	for (size_t i = 0; i < count; i++) {
		message->recipients[i].number = (uint32_t)i;
		message->protection->demands[i].number = (uint32_t)i;
		message->protection->demands[i].encrypt = (uint8_t)encrypt;
	}
	return message;
}

static uint32_t numbers[MOST];

static const struct {
	const char *what;
	enum protect_encrypt encrypt;
	enum sign_direction direction;
	uint64_t size;
	bool is_file;
	size_t count;
	size_t want;
	size_t outputs;
} rows[] = {
    {"one", ENCRYPT_REQUIRED, DIRECTION_OUT, 10 * KB, false, 1, 1, 1},
    {"as many as any client may send to", ENCRYPT_REQUIRED, DIRECTION_OUT,
	10 * KB, false, 100, 100, 100},
    {"one more", ENCRYPT_REQUIRED, DIRECTION_OUT, 10 * KB, false, 101, 100,
	100},
    {"the most", ENCRYPT_IF_POSSIBLE, DIRECTION_OUT, 10 * KB, false, MOST, 100,
	100},
    {"the most, with one output for all", ENCRYPT_NEVER, DIRECTION_OUT, 10 * KB,
	false, MOST, MOST, 1},
    {"64 KB each", ENCRYPT_REQUIRED, DIRECTION_OUT, 64 * KB, false, MOST, 64,
	64},
    {"files of 1 MB", ENCRYPT_REQUIRED, DIRECTION_OUT, 1 * MB, true, MOST, 100,
	100},
    {"files of 25 MB", ENCRYPT_REQUIRED, DIRECTION_OUT, 25 * MB, true, MOST, 10,
	10},
    {"files of 500 MB", ENCRYPT_REQUIRED, DIRECTION_OUT, 500 * MB, true, MOST,
	1, 1},
    {"what is to be opened", ENCRYPT_NEVER, DIRECTION_IN, 10 * KB, false, 150,
	100, 100},
};

static void
test_sizes(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct queue_message *message =
		    new_message(rows[i].count, rows[i].encrypt);
		struct sign_share share;
		bool is_all;

		message->size = rows[i].size;
		message->is_file = rows[i].is_file;
		message->protection->direction = (uint8_t)rows[i].direction;
		is_all =
		    sign_share_take(message, numbers, rows[i].count, &share);
		ok(share.count == rows[i].want &&
			share.outputs == rows[i].outputs &&
			is_all == (rows[i].want == rows[i].count),
		    "%s: %zu recipients, %zu outputs", rows[i].what,
		    share.count, share.outputs);
		sign_share_clear(&share);
		queue_message_unref(message);
	}
}

/* Whatever becomes of those who were asked for, the others come next. */
static void
test_turns(void)
{
	struct queue_message *message = new_message(250, ENCRYPT_REQUIRED);
	unsigned asked[250] = {0};
	bool is_ascending = true;
	struct sign_share share;

	message->size = 10 * KB;
	for (int turn = 0; turn < 5; turn++) {
		(void)sign_share_take(message, numbers, 250, &share);
		for (size_t i = 0; i < share.count; i++) {
			asked[share.numbers[i]]++;
			is_ascending &=
			    i == 0 || share.numbers[i] > share.numbers[i - 1];
		}
		message->protection->asked_next = share.next;
		sign_share_clear(&share);
	}
	ok(is_ascending, "the recipients of a share are in their order");
	for (size_t i = 0; i < 250; i++)
		if (asked[i] != 2) {
			is_int(asked[i], 2, "recipient %zu has his turn", i);
			return;
		}
	ok(true, "in five turns of 100 each of 250 is asked for twice");
	queue_message_unref(message);
}

/* Those with one output for all are asked for with the first share. */
static void
test_mixed(void)
{
	struct queue_message *message = new_message(300, ENCRYPT_REQUIRED);
	struct sign_share share;

	message->size = 10 * KB;
	for (size_t i = 0; i < 300; i += 2)
		message->protection->demands[i].encrypt = ENCRYPT_NEVER;
	(void)sign_share_take(message, numbers, 300, &share);
	is_int(share.count, 150 + 100, "all that share, and 100 others");
	is_int(share.outputs, 100, "count as 100 outputs");
	sign_share_clear(&share);
	queue_message_unref(message);
}

int
main(void)
{
	for (uint32_t i = 0; i < MOST; i++)
		numbers[i] = i;
	test_sizes();
	test_turns();
	test_mixed();
	return tap_done();
}
