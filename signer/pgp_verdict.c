/* SPDX-License-Identifier: ISC */
/*
 * Verdicts on OpenPGP signatures.  A known way to fool mail programs is behind
 * most of these lines ("Johnny, you are fired", 2019).
 * Runs in: postern-signerd's pgp-open workers.  Trusts: GnuPG's status of one
 * signature; the task for which key belongs to whom.
 */
#include <stdio.h>
#include <string.h>

#include "signer/pgp_packets.h"
#include "signer/pgp_verdict.h"

/* Clocks differ; one day is a wrong date, not a slow clock. */
#define FUTURE_MAX_S 86400

/* One signature's worth. */
struct finding {
	enum verdict_kind kind;
	const char *reason;
	bool matches_from;
	struct slice address;
	char fingerprint[2 * PGP_FINGERPRINT_OCTETS + 1]; /* of the primary */
};

static bool
is_sound_hash(gpgme_hash_algo_t hash)
{
	return hash == GPGME_MD_SHA256 || hash == GPGME_MD_SHA384 ||
	       hash == GPGME_MD_SHA512 || hash == GPGME_MD_SHA224;
}

/* True when one of the key's parts has that fingerprint. */
static bool
key_has_part(struct slice public, const char *fingerprint,
    char primary_r[2 * PGP_FINGERPRINT_OCTETS + 1])
{
	struct pgp_walk walk = {.rest = public};
	struct pgp_packet packet;
	struct pgp_key_packet key;
	bool is_found = false;

	while (pgp_packet_next(&walk, &packet) == PARSE_OK) {
		if (packet.tag != PGP_TAG_PUBLIC_KEY &&
		    packet.tag != PGP_TAG_PUBLIC_SUBKEY)
			continue;
		if (pgp_key_packet_read(&packet, &key, NULL) == -1)
			return false;
		if (packet.tag == PGP_TAG_PUBLIC_KEY)
			memcpy(primary_r, key.fingerprint,
			    sizeof(key.fingerprint));
		is_found |= strcmp(key.fingerprint, fingerprint) == 0;
	}
	return is_found;
}

/*
 * The candidate that made it.  Which address a key belongs to is what our
 * store says, never what its user ids say.
 */
static bool
find_candidate(
    const struct work *work, const char *fingerprint, struct finding *finding)
{
	struct ipc_list keys = work->keys;
	struct ipc_record_work_key key;

	while (ipc_work_key_next(&keys, &key)) {
		if (key.use != WORK_KEY_CANDIDATE ||
		    !key_has_part(
			key.public, fingerprint, finding->fingerprint) ||
		    !slice_equals_nocase(
			slice_of(finding->fingerprint), key.fingerprint))
			continue;
		/* Candidates are looked up by From unless it says else. */
		finding->address =
		    key.address.n > 0 ? key.address : work->sender;
		finding->matches_from =
		    work->sender.n > 0 &&
		    slice_equals_nocase(finding->address, work->sender);
		return true;
	}
	return false;
}

static struct finding
worth(enum verdict_kind kind, const char *reason)
{
	return (struct finding){.kind = kind, .reason = reason};
}

/* What GnuPG says of it, all but a clean success. */
static struct finding
by_status(gpgme_signature_t s, bool has_list_id)
{
	switch (gpgme_err_code(s->status)) {
	case GPG_ERR_NO_ERROR:
		break;
	case GPG_ERR_BAD_SIGNATURE:
		return has_list_id
			   ? worth(VERDICT_MODIFIED, "changed by a list")
			   : worth(VERDICT_FAIL, "the text was changed");
	case GPG_ERR_NO_PUBKEY:
		return worth(VERDICT_UNTRUSTED, "by a key not known");
	case GPG_ERR_KEY_EXPIRED:
	case GPG_ERR_SIG_EXPIRED:
		return worth(VERDICT_EXPIRED, "key or signature expired");
	case GPG_ERR_CERT_REVOKED:
		return worth(VERDICT_REVOKED, "the key is revoked");
	case GPG_ERR_DIGEST_ALGO:
		return worth(VERDICT_WEAK, "by a weak hash");
	default:
		return worth(VERDICT_FAIL, "it cannot be checked");
	}
	/* It is also set where the status says success. */
	if ((s->summary & GPGME_SIGSUM_KEY_REVOKED) != 0)
		return worth(VERDICT_REVOKED, "the key is revoked");
	if ((s->summary &
		(GPGME_SIGSUM_KEY_EXPIRED | GPGME_SIGSUM_SIG_EXPIRED)) != 0)
		return worth(VERDICT_EXPIRED, "key or signature expired");
	if ((s->summary & GPGME_SIGSUM_RED) != 0 || s->wrong_key_usage)
		return worth(VERDICT_FAIL, "by a key that may not sign");
	return worth(VERDICT_PASS, "");
}

static struct finding
judge_one(gpgme_signature_t s, const struct work *work, bool has_list_id)
{
	struct finding finding = by_status(s, has_list_id);

	if (s->fpr == NULL)
		return worth(VERDICT_FAIL, "nobody is named");
	/* Of these GnuPG tells no more than the key's id. */
	if (finding.kind == VERDICT_UNTRUSTED || finding.kind == VERDICT_FAIL ||
	    finding.kind == VERDICT_MODIFIED)
		return finding;
	if (!find_candidate(work, s->fpr, &finding))
		return worth(VERDICT_UNTRUSTED, "by a key not known");
	if (finding.kind != VERDICT_PASS)
		return finding;
	if (!is_sound_hash(s->hash_algo)) {
		finding.kind = VERDICT_WEAK;
		finding.reason = "by a weak hash";
	} else if ((int64_t)s->timestamp > work->now_s + FUTURE_MAX_S) {
		finding.kind = VERDICT_FAIL;
		finding.reason = "made in the future";
	} else if (!finding.matches_from) {
		finding.kind = VERDICT_MISMATCH;
		finding.reason = "by another address than From";
	}
	return finding;
}

static void
set_text(char *out, size_t size, struct slice s)
{
	(void)snprintf(out, size, "%.*s", SLICE_ARG(s));
}

static void
keep_worse(struct verdict *verdict, const struct finding *finding,
    gpgme_hash_algo_t hash)
{
	const enum verdict_kind worse =
	    verdict->is_signed ? verdict_worse(verdict->kind, finding->kind)
			       : finding->kind;
	const bool is_first = !verdict->is_signed;
	const char *name = gpgme_hash_algo_name(hash);

	verdict->is_signed = true;
	if (!is_first && worse == verdict->kind)
		return;
	verdict->kind = worse;
	verdict->matches_from = finding->matches_from;
	verdict->revocation =
	    finding->kind == VERDICT_REVOKED ? REVOCATION_REVOKED
	    : finding->kind == VERDICT_PASS  ? REVOCATION_GOOD
					     : REVOCATION_UNKNOWN;
	set_text(verdict->reason, sizeof(verdict->reason),
	    slice_of(finding->reason));
	set_text(verdict->signer, sizeof(verdict->signer), finding->address);
	set_text(verdict->fingerprint, sizeof(verdict->fingerprint),
	    slice_of(finding->fingerprint));
	set_text(verdict->digest, sizeof(verdict->digest), slice_of(name));
	for (char *c = verdict->digest; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
}

void
pgp_verdict_fail(struct verdict *verdict, const char *reason)
{
	const struct finding finding = worth(VERDICT_FAIL, reason);

	keep_worse(verdict, &finding, GPGME_MD_NONE);
}

/* GnuPG does not compute what a weak hash or an unknown key is for. */
bool
pgp_verdict_fits(enum verdict_kind kind)
{
	return kind == VERDICT_PASS || kind == VERDICT_PARTIAL ||
	       kind == VERDICT_MISMATCH || kind == VERDICT_EXPIRED ||
	       kind == VERDICT_REVOKED;
}

void
pgp_verdict_judge(gpgme_verify_result_t result, const struct work *work,
    bool has_list_id, struct verdict *verdict)
{
	if (result == NULL || result->signatures == NULL) {
		pgp_verdict_fail(verdict, "there is no signature");
		return;
	}
	for (gpgme_signature_t s = result->signatures; s != NULL; s = s->next) {
		const struct finding finding = judge_one(s, work, has_list_id);

		keep_worse(verdict, &finding, s->hash_algo);
	}
}
