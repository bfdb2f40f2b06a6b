/* SPDX-License-Identifier: ISC */
/*
 * The walk over OpenPGP packets.
 * Runs in: postern-signerd's workers.  Trusts: nothing of the octets.
 */
#include <openssl/evp.h>
#include <string.h>

#include "signer/pgp_packets.h"

/* Signatures on one text: a signer with several keys makes a few. */
#define SIGNATURES_MAX 16

/* Session keys of one message: a list with as many readers is no mail. */
#define SESSION_KEYS_MAX 1024

/* Public-key algorithms (RFC 9580 §9.1). */
enum algorithm {
	ALGORITHM_RSA = 1,
	ALGORITHM_RSA_ENCRYPT = 2,
	ALGORITHM_RSA_SIGN = 3,
	ALGORITHM_ELGAMAL = 16,
	ALGORITHM_DSA = 17,
	ALGORITHM_ECDH = 18,
	ALGORITHM_ECDSA = 19,
	ALGORITHM_EDDSA = 22,
	ALGORITHM_X25519 = 25,
	ALGORITHM_X448 = 26,
	ALGORITHM_ED25519 = 27,
	ALGORITHM_ED448 = 28
};

static const char digits[] = "0123456789ABCDEF";

/* ---- reading numbers ---- */

static unsigned
octet(struct slice s, size_t at)
{
	return (unsigned char)s.p[at];
}

static uint64_t
number(struct slice s, size_t at, size_t n)
{
	uint64_t value = 0;

	for (size_t i = 0; i < n; i++)
		value = value << 8 | octet(s, at + i);
	return value;
}

static struct slice
from(struct slice s, size_t at)
{
	return (struct slice){s.p + at, s.n - at};
}

/* ---- one packet ---- */

/* Only these may come in pieces or without a length (§4.2.1.4). */
static bool
holds_data(unsigned tag)
{
	return tag == PGP_TAG_COMPRESSED || tag == PGP_TAG_SED ||
	       tag == PGP_TAG_LITERAL || tag == PGP_TAG_SEIPD ||
	       tag == PGP_TAG_AEAD;
}

struct length {
	size_t octets; /* that it takes itself */
	uint64_t value;
	bool is_partial;
};

/* §4.2.1; -1: it ends within. */
static int
read_length(struct slice s, struct length *length_r)
{
	unsigned first;

	*length_r = (struct length){0};
	if (s.n == 0)
		return -1;
	first = octet(s, 0);
	if (first < 192) {
		length_r->octets = 1;
		length_r->value = first;
		return 0;
	}
	if (first >= 224 && first < 255) {
		length_r->octets = 1;
		length_r->value = (uint64_t)1 << (first & 31);
		length_r->is_partial = true;
		return 0;
	}
	length_r->octets = first < 224 ? 2 : 5;
	if (s.n < length_r->octets)
		return -1;
	length_r->value =
	    first < 224 ? ((uint64_t)(first - 192) << 8) + octet(s, 1) + 192
			: number(s, 1, 4);
	return 0;
}

/* The packet's header is behind; s starts with its length. */
static int
read_new_format(struct slice s, struct pgp_packet *packet_r, size_t *used_r)
{
	struct length length;
	size_t at = 0;

	do {
		if (read_length(from(s, at), &length) == -1 ||
		    length.value > s.n - at - length.octets)
			return -1;
		if (length.is_partial && !holds_data(packet_r->tag))
			return -1;
		at += length.octets;
		if (packet_r->body.p == NULL)
			packet_r->body =
			    (struct slice){s.p + at, (size_t)length.value};
		packet_r->is_partial |= length.is_partial;
		at += (size_t)length.value;
	} while (length.is_partial);
	*used_r = at;
	return 0;
}

static int
read_old_format(struct slice s, unsigned length_type,
    struct pgp_packet *packet_r, size_t *used_r)
{
	const size_t octets = (size_t)1 << length_type;
	uint64_t length;

	if (length_type == 3) {
		if (!holds_data(packet_r->tag))
			return -1;
		packet_r->body = s;
		*used_r = s.n;
		return 0;
	}
	if (s.n < octets)
		return -1;
	length = number(s, 0, octets);
	if (length > s.n - octets)
		return -1;
	packet_r->body = (struct slice){s.p + octets, (size_t)length};
	*used_r = octets + (size_t)length;
	return 0;
}

int
pgp_packet_next(struct pgp_walk *walk, struct pgp_packet *packet_r)
{
	struct slice rest = walk->rest;
	unsigned first;
	size_t used = 0;
	int rc;

	*packet_r = (struct pgp_packet){0};
	if (rest.n == 0)
		return PARSE_MORE;
	first = octet(rest, 0);
	if ((first & 0x80) == 0 || walk->count++ == PGP_PACKETS_MAX)
		return PARSE_BAD;
	if ((first & 0x40) != 0) {
		packet_r->tag = first & 63;
		rc = read_new_format(from(rest, 1), packet_r, &used);
	} else {
		packet_r->tag = first >> 2 & 15;
		rc = read_old_format(from(rest, 1), first & 3, packet_r, &used);
	}
	if (rc == -1 || packet_r->tag == 0)
		return PARSE_BAD;
	packet_r->whole = (struct slice){rest.p, used + 1};
	walk->rest = from(rest, used + 1);
	return PARSE_OK;
}

/* ---- keys ---- */

/* Behind a multiprecision integer at that place; 0: it is damaged. */
static size_t
skip_integer(struct slice s, size_t at)
{
	size_t octets;

	if (at == 0 || s.n < 2 || at > s.n - 2)
		return 0;
	octets = (size_t)(number(s, at, 2) + 7) / 8;
	return octets > s.n - at - 2 ? 0 : at + 2 + octets;
}

/* Behind an octet with a length and that many octets; 0: damaged. */
static size_t
skip_counted(struct slice s, size_t at)
{
	if (at == 0 || at >= s.n || octet(s, at) > s.n - at - 1)
		return 0;
	return at + 1 + octet(s, at);
}

static size_t
skip_integers(struct slice s, size_t at, unsigned count)
{
	while (count-- > 0)
		at = skip_integer(s, at);
	return at;
}

/* Behind the public part of a version 4 key; 0: damaged or unknown. */
static size_t
public_end(struct slice body, unsigned algorithm)
{
	static const unsigned char fixed[] = {[ALGORITHM_X25519] = 32,
	    [ALGORITHM_X448] = 56,
	    [ALGORITHM_ED25519] = 32,
	    [ALGORITHM_ED448] = 57};
	const size_t at = 6; /* version, time, algorithm */

	switch (algorithm) {
	case ALGORITHM_RSA:
	case ALGORITHM_RSA_ENCRYPT:
	case ALGORITHM_RSA_SIGN:
		return skip_integers(body, at, 2);
	case ALGORITHM_ELGAMAL:
		return skip_integers(body, at, 3);
	case ALGORITHM_DSA:
		return skip_integers(body, at, 4);
	case ALGORITHM_ECDH:
		return skip_counted(
		    body, skip_integer(body, skip_counted(body, at)));
	case ALGORITHM_ECDSA:
	case ALGORITHM_EDDSA:
		return skip_integer(body, skip_counted(body, at));
	case ALGORITHM_X25519:
	case ALGORITHM_X448:
	case ALGORITHM_ED25519:
	case ALGORITHM_ED448:
		return body.n - at < fixed[algorithm] ? 0
						      : at + fixed[algorithm];
	default:
		return 0;
	}
}

/*
 * One signature by an RSA key of 16384 bits takes GnuPG 10 s to look at where
 * its exponent is as long, and a key has many on itself.  Of DSA and ElGamal
 * nobody makes longer ones than these.
 */
#define RSA_BITS_MAX 8192
#define RSA_EXPONENT_BITS_MAX 64
#define PRIME_BITS_MAX 4096
#define SUBGROUP_BITS_MAX 512

/* The public part is whole. */
static bool
takes_too_long(struct slice body, unsigned algorithm)
{
	const bool is_rsa = algorithm <= ALGORITHM_RSA_SIGN;
	const unsigned count = is_rsa                           ? 2
			       : algorithm == ALGORITHM_ELGAMAL ? 3
			       : algorithm == ALGORITHM_DSA     ? 4
								: 0;
	size_t at = 6;

	for (unsigned i = 0; i < count; i++) {
		uint64_t most = is_rsa ? RSA_BITS_MAX : PRIME_BITS_MAX;

		if (i == 1 && is_rsa)
			most = RSA_EXPONENT_BITS_MAX;
		else if (i == 1 && algorithm == ALGORITHM_DSA)
			most = SUBGROUP_BITS_MAX;
		if (number(body, at, 2) > most)
			return true;
		at = skip_integer(body, at);
	}
	return false;
}

/* RFC 9580 §5.5.4.2: SHA-1 of 0x99, a length and the public part. */
static void
fingerprint(struct slice public, struct pgp_key_packet *key_r)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	const unsigned char head[3] = {0x99, (unsigned char)(public.n >> 8),
	    (unsigned char)(public.n & 0xff)};
	unsigned n = 0;
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (context == NULL ||
	    EVP_DigestInit_ex(context, EVP_sha1(), NULL) != 1 ||
	    EVP_DigestUpdate(context, head, sizeof(head)) != 1 ||
	    EVP_DigestUpdate(context, public.p, public.n) != 1 ||
	    EVP_DigestFinal_ex(context, sum, &n) != 1)
		fatal("no SHA-1");
	EVP_MD_CTX_free(context);
	for (unsigned i = 0; i < n; i++) {

		key_r->fingerprint[2 * i] = digits[sum[i] >> 4];
		key_r->fingerprint[2 * i + 1] = digits[sum[i] & 15];
	}
	key_r->fingerprint[2 * n] = '\0';
	memcpy(key_r->key_id, sum + n - PGP_KEY_ID_SIZE, PGP_KEY_ID_SIZE);
}

/* How the secret part is kept (§5.5.3), and GnuPG's stubs. */
static int
read_secret(struct slice body, size_t at, struct pgp_key_packet *key_r)
{
	if (at >= body.n)
		return -1;
	key_r->has_secret = true;
	key_r->is_protected = octet(body, at) != 0;
	if (octet(body, at) >= 253 && body.n - at >= 8 &&
	    octet(body, at + 2) == 101 &&
	    memcmp(body.p + at + 4, "GNU", 3) == 0)
		key_r->has_secret = false;
	return 0;
}

int
pgp_key_packet_read(const struct pgp_packet *packet,
    struct pgp_key_packet *key_r, struct err *err)
{
	const struct slice body = packet->body;
	const bool is_secret = packet->tag == PGP_TAG_SECRET_KEY ||
			       packet->tag == PGP_TAG_SECRET_SUBKEY;
	size_t end;

	*key_r = (struct pgp_key_packet){0};
	if (body.n < 8)
		return err_set(err, "a key is cut short");
	key_r->version = octet(body, 0);
	if (key_r->version != 4)
		return err_set(
		    err, "a key is of version %u, not 4", key_r->version);
	key_r->created_s = (int64_t)number(body, 1, 4);
	key_r->algorithm = octet(body, 5);
	end = public_end(body, key_r->algorithm);
	if (end == 0 || (!is_secret && end != body.n) || end > UINT16_MAX)
		return err_set(err, "a key is damaged, or of algorithm %u",
		    key_r->algorithm);
	if (takes_too_long(body, key_r->algorithm))
		return err_set(err, "a key takes too long to use: it has a "
				    "number of too many bits");
	if (key_r->algorithm <= ALGORITHM_DSA)
		key_r->bits = (unsigned)number(body, 6, 2);
	fingerprint((struct slice){body.p, end}, key_r);
	if (is_secret && read_secret(body, end, key_r) == -1)
		return err_set(err, "a secret key is cut short");
	return 0;
}

static int
shape_key(const struct pgp_packet *packet, struct pgp_key_shape *shape,
    struct err *err)
{
	const bool is_secret = packet->tag == PGP_TAG_SECRET_KEY ||
			       packet->tag == PGP_TAG_SECRET_SUBKEY;
	const bool is_primary = packet->tag == PGP_TAG_SECRET_KEY ||
				packet->tag == PGP_TAG_PUBLIC_KEY;
	struct pgp_key_packet key;

	if (pgp_key_packet_read(packet, &key, err) == -1)
		return -1;
	if (shape->keys == 0) {
		if (!is_primary)
			return err_set(err, "a subkey stands first");
		shape->primary = key;
		shape->has_secret = is_secret;
	}
	if (shape->has_secret != is_secret)
		return err_set(err, "secret and public keys are mixed");
	shape->is_protected |= key.is_protected && key.has_secret;
	if (is_primary)
		shape->keys++;
	else
		shape->subkeys++;
	return 0;
}

int
pgp_key_shape_read(
    struct slice binary, struct pgp_key_shape *shape_r, struct err *err)
{
	struct pgp_walk walk = {.rest = binary};
	struct pgp_packet packet;
	int rc;

	*shape_r = (struct pgp_key_shape){0};
	while ((rc = pgp_packet_next(&walk, &packet)) == PARSE_OK) {
		switch (packet.tag) {
		case PGP_TAG_SECRET_KEY:
		case PGP_TAG_PUBLIC_KEY:
		case PGP_TAG_SECRET_SUBKEY:
		case PGP_TAG_PUBLIC_SUBKEY:
			if (shape_key(&packet, shape_r, err) == -1)
				return -1;
			break;
		case PGP_TAG_USER_ATTRIBUTE:
			shape_r->image_octets += packet.body.n;
			break;
		case PGP_TAG_USER_ID:
			shape_r->user_ids++;
			break;
		case PGP_TAG_SIGNATURE:
		case PGP_TAG_TRUST:
		case PGP_TAG_MARKER:
			break;
		default:
			return err_set(err, "a packet of type %u is in no key",
			    packet.tag);
		}
		if (shape_r->keys == 0 && packet.tag != PGP_TAG_MARKER)
			return err_set(err, "it does not start with a key");
	}
	if (rc == PARSE_BAD)
		return err_set(err, "its packets are damaged or too many");
	if (shape_r->keys == 0)
		return err_set(err, "there is no key in it");
	return 0;
}

/* ---- signatures ---- */

int
pgp_signatures_check(struct slice binary, size_t *count_r, struct err *err)
{
	struct pgp_walk walk = {.rest = binary};
	struct pgp_packet packet;
	size_t count = 0;
	int rc;

	while ((rc = pgp_packet_next(&walk, &packet)) == PARSE_OK) {
		if (packet.tag != PGP_TAG_SIGNATURE)
			return err_set(err,
			    "a packet of type %u stands among signatures",
			    packet.tag);
		if (packet.body.n < 4 || octet(packet.body, 0) != 4)
			return err_set(err, "a signature is not of version 4");
		/* Binary and text documents (§5.2.1). */
		if (octet(packet.body, 1) > 1)
			return err_set(err, "a signature is not of a document");
		if (++count > SIGNATURES_MAX)
			return err_set(err, "there are too many signatures");
	}
	if (rc == PARSE_BAD || count == 0)
		return err_set(err, "there is no whole signature");
	*count_r = count;
	return 0;
}

/* ---- encrypted messages ---- */

static int
check_session_key(const struct pgp_packet *packet, struct pgp_sealed *sealed_r,
    struct err *err)
{
	if (packet->body.n < 12 || octet(packet->body, 0) != 3)
		return err_set(err, "a session key is not of version 3");
	if (++sealed_r->session_keys > SESSION_KEYS_MAX)
		return err_set(err, "there are too many session keys");
	if (number(packet->body, 1, PGP_KEY_ID_SIZE) == 0)
		sealed_r->anonymous++;
	return 0;
}

static int
check_data(struct slice binary, const struct pgp_packet *packet,
    const struct pgp_walk *walk, struct pgp_sealed *sealed_r, struct err *err)
{
	sealed_r->is_aead = packet->tag == PGP_TAG_AEAD;
	sealed_r->first_data = (size_t)(packet->whole.p - binary.p);
	if (packet->body.n < 1 || octet(packet->body, 0) != 1)
		return err_set(err, "its data is of a version not known here");
	if (walk->rest.n > 0)
		return err_set(err, "something stands behind the data");
	if (sealed_r->session_keys == 0)
		return err_set(err, "it is for no public key");
	return 0;
}

int
pgp_sealed_check(
    struct slice binary, struct pgp_sealed *sealed_r, struct err *err)
{
	struct pgp_walk walk = {.rest = binary};
	struct pgp_packet packet;

	*sealed_r = (struct pgp_sealed){0};
	while (pgp_packet_next(&walk, &packet) == PARSE_OK) {
		switch (packet.tag) {
		case PGP_TAG_MARKER:
		case PGP_TAG_PADDING:
			break;
		case PGP_TAG_PKESK:
			if (check_session_key(&packet, sealed_r, err) == -1)
				return -1;
			break;
		case PGP_TAG_SEIPD:
		case PGP_TAG_AEAD:
			return check_data(
			    binary, &packet, &walk, sealed_r, err);
		case PGP_TAG_SED:
			return err_set(
			    err, "its data has no integrity protection");
		case PGP_TAG_SKESK:
			return err_set(err, "it is for a pass phrase");
		default:
			return err_set(err,
			    "a packet of type %u is in no encrypted message",
			    packet.tag);
		}
	}
	return err_set(err, "its packets are damaged or too many");
}

static bool
is_wanted(struct slice key_id, const unsigned char (*key_ids)[PGP_KEY_ID_SIZE],
    size_t key_id_count, bool with_anonymous)
{
	static const char nobody[PGP_KEY_ID_SIZE];

	if (memcmp(key_id.p, nobody, PGP_KEY_ID_SIZE) == 0)
		return with_anonymous;
	for (size_t i = 0; i < key_id_count; i++)
		if (memcmp(key_id.p, key_ids[i], PGP_KEY_ID_SIZE) == 0)
			return true;
	return false;
}

size_t
pgp_sealed_filter(struct slice head,
    const unsigned char (*key_ids)[PGP_KEY_ID_SIZE], size_t key_id_count,
    bool with_anonymous, struct buf *out)
{
	struct pgp_walk walk = {.rest = head};
	struct pgp_packet packet;
	size_t count = 0;

	while (pgp_packet_next(&walk, &packet) == PARSE_OK) {
		struct slice key_id = {packet.body.p + 1, PGP_KEY_ID_SIZE};

		if (packet.tag != PGP_TAG_PKESK ||
		    !is_wanted(key_id, key_ids, key_id_count, with_anonymous))
			continue;
		(void)buf_add_slice(out, packet.whole);
		count++;
	}
	return count;
}
