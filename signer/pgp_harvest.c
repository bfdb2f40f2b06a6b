/* SPDX-License-Identifier: ISC */
/*
 * Finds keys in messages.
 * Runs in: postern-signerd's pgp-open workers.  Trusts: nothing.
 */
#include <string.h>

#include "common/base64.h"
#include "common/mime.h"
#include "signer/keystore.h"
#include "signer/pgp_armor.h"
#include "signer/pgp_harvest.h"
#include "signer/pgp_key.h"
#include "signer/pgp_packets.h"
#include "signer/sink.h"
#include "signer/transfer.h"

/* Parts with keys that are looked at: mail programs attach one. */
#define PARTS_MAX 4

/* Autocrypt §2.1: a field is at most that long, and real keys far less. */
#define AUTOCRYPT_MAX 16384

struct found {
	size_t count;
	struct mime_part parts[PARTS_MAX];
};

static void
add_harvest(struct slice binary, struct slice sender, const char *source,
    struct work_answer *answer)
{
	struct pgp_key_shape shape;
	const struct ipc_record_harvest record = {.kind = SLICE("pgp"),
	    .address = sender,
	    .source = slice_of(source),
	    .trust = TRUST_HARVESTED,
	    .public = binary};

	if (binary.n > PGP_PUBLIC_MAX ||
	    pgp_key_shape_read(binary, &shape, NULL) == -1 || shape.keys != 1 ||
	    shape.has_secret)
		return;
	(void)ipc_harvest_add(&answer->harvested, &record, NULL);
}

/* ---- parts ---- */

static void
on_end(void *arg, const struct mime_part *part)
{
	struct found *found = arg;

	if (found->count < PARTS_MAX && part->kind == MIME_LEAF &&
	    strcmp(part->type, "application") == 0 &&
	    strcmp(part->subtype, "pgp-keys") == 0)
		found->parts[found->count++] = *part;
}

static void
find_parts(const struct content *content, struct found *found)
{
	const struct mime_events events = {.end = on_end, .arg = found};
	struct mime *mime = mime_new(&events);
	char piece[16384];
	ssize_t n;

	for (uint64_t at = 0;
	     (n = content_read(content, at, piece, sizeof(piece))) > 0;
	     at += (uint64_t)n)
		mime_feed(mime, (struct slice){piece, (size_t)n});
	mime_finish(mime);
	mime_free(mime);
}

static void
harvest_part(const struct content *content, const struct mime_part *part,
    struct slice sender, struct work_answer *answer)
{
	enum pgp_armor_kind kind;
	struct buf text;
	struct buf binary;
	struct sink sink = sink_of_buf(&text);

	buf_init(&text, 2 * PGP_PUBLIC_MAX);
	buf_init(&binary, PGP_PUBLIC_MAX);
	if (transfer_decode(&sink, part->encoding, content, part->body_start,
		part->body_end, NULL) == 0 &&
	    pgp_armor_read(buf_slice(&text), &kind, &binary, NULL, NULL) == 0 &&
	    kind == PGP_ARMOR_PUBLIC_KEY)
		add_harvest(buf_slice(&binary), sender, "mail", answer);
	buf_clear(&text);
	buf_clear(&binary);
}

/* ---- Autocrypt ---- */

/* The value of "name=" among fields that ";" parts; blanks are left out. */
static bool
attribute(struct slice value, const char *name, struct buf *out)
{
	while (value.n > 0) {
		size_t end = slice_find(value, ';', 0);
		struct slice item = {value.p, end};
		size_t equals = slice_find(item, '=', 0);

		value.p += end;
		value.n -= end;
		if (value.n > 0) {
			value.p++;
			value.n--;
		}
		while (item.n > 0 && strchr(" \t\r\n", *item.p) != NULL) {
			item.p++;
			item.n--;
			equals--;
		}
		if (equals >= item.n ||
		    !slice_equals(
			(struct slice){item.p, equals}, slice_of(name)))
			continue;
		for (size_t i = equals + 1; i < item.n; i++)
			if (strchr(" \t\r\n", item.p[i]) == NULL)
				(void)buf_add_char(out, item.p[i]);
		return !out->overflowed;
	}
	return false;
}

static void
harvest_field(
    struct slice value, struct slice sender, struct work_answer *answer)
{
	struct buf address;
	struct buf text;
	char binary[AUTOCRYPT_MAX];
	size_t n;

	buf_init(&address, PGP_ADDRESS_SIZE);
	buf_init(&text, AUTOCRYPT_MAX);
	if (value.n <= AUTOCRYPT_MAX && attribute(value, "addr", &address) &&
	    slice_equals_nocase(buf_slice(&address), sender) &&
	    attribute(value, "keydata", &text) &&
	    base64_decode(buf_slice(&text), binary, sizeof(binary), &n) == 0)
		add_harvest(
		    (struct slice){binary, n}, sender, "autocrypt", answer);
	buf_clear(&address);
	buf_clear(&text);
}

/* One field exactly (Autocrypt §3.1), else none of them counts. */
static void
harvest_header(const struct content *message, struct slice sender,
    struct work_answer *answer)
{
	struct header h;
	struct slice value = {NULL, 0};
	char piece[16384];
	size_t count = 0;
	int rc = PARSE_MORE;
	ssize_t n;

	header_init(&h, 0);
	for (uint64_t at = 0;
	     rc == PARSE_MORE &&
	     (n = content_read(message, at, piece, sizeof(piece))) > 0;
	     at += (uint64_t)n)
		rc = header_feed(&h, (struct slice){piece, (size_t)n});
	for (size_t i = 0; rc == PARSE_OK && i < h.field_count; i++) {
		if (!slice_equals_nocase(header_field_name(&h, &h.fields[i]),
			SLICE("Autocrypt")))
			continue;
		value = header_field_value(&h, &h.fields[i]);
		count++;
	}
	if (count == 1)
		harvest_field(value, sender, answer);
	header_clear(&h);
}

void
pgp_harvest(const struct content *opened, const struct content *message,
    struct slice sender, struct work_answer *answer)
{
	struct found found = {.count = 0};

	if (sender.n == 0)
		return;
	find_parts(opened, &found);
	for (size_t i = 0; i < found.count; i++)
		harvest_part(opened, &found.parts[i], sender, answer);
	harvest_header(message, sender, answer);
}
