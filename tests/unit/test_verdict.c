/* SPDX-License-Identifier: ISC */
/*
 * Verdicts as header fields, and fields that claim to be ours.
 */
#include <string.h>

#include "common/forged_field.h"
#include "signer/verdict.h"
#include "tests/unit/tap.h"

static const struct {
	const char *label;
	const char *name;
	const char *value;
	bool is_forged;
} fields[] = {
    {"another's result", "Authentication-Results", " mx.example; spf=pass",
	false},
    {"ours", "Authentication-Results", " gw.example; smime=pass", true},
    {"ours in another case", "authentication-results", " GW.Example;x", true},
    {"ours with a version", "Authentication-Results", " gw.example 1; x", true},
    {"ours in quotes", "Authentication-Results", " \"gw.example\"; x", true},
    {"ours behind a comment", "Authentication-Results",
	" (a (b) \\) c)\r\n gw.example; x", true},
    {"ours before a comment", "Authentication-Results", " gw.example(x); x",
	true},
    {"a name that begins like ours", "Authentication-Results",
	" gw.example.evil; x", false},
    {"nobody's", "Authentication-Results", " ; smime=pass", true},
    {"a comment that does not end", "Authentication-Results", " (gw.example; x",
	true},
    {"our own field", "X-Postern-Crypto", " x", true},
    {"any of ours", "x-postern-new", "", true},
    {"any other", "X-Post", "", false},
};

int
main(void)
{
	struct verdict v = {
	    .kind = VERDICT_PASS,
	    .method = VERDICT_SMIME,
	    .revocation = REVOCATION_GOOD,
	    .is_signed = true,
	    .matches_from = true,
	    .digest = "sha256",
	    .signer = "a@example.org",
	    .identifier = "a@example.org",
	    .serial = "01AB",
	    .issuer = "CN=\"Evil\\ \303\251\r\nX-Evil: yes",
	    .fingerprint = "AABB",
	};
	struct buf out;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		is_int(forged_field(slice_of(fields[i].name),
			   slice_of(fields[i].value), SLICE("gw.example")),
		    fields[i].is_forged, "%s", fields[i].label);

	buf_init(&out, 65536);
	is_int(verdict_write(&v, SLICE("gw.example"), &out), 0, "written");
	is_slice(buf_slice(&out),
	    "Authentication-Results: gw.example; smime=pass\r\n"
	    "\tbody.smime-identifier=\"a@example.org\" "
	    "body.smime-serial=\"01AB\"\r\n"
	    "\tbody.smime-issuer="
	    "\"CN=\\\"Evil\\\\ \\\\u{e9}\\\\x0d\\\\x0aX-Evil: yes\"\r\n"
	    "X-Postern-Crypto: v=1; enc=none; sig=pass; method=smime; "
	    "digest=sha256;\r\n"
	    "\tsigner=\"a@example.org\"; from=match; rev=ok; key=AABB\r\n",
	    "a signature, with a name that would add a field");

	buf_reset(&out);
	v = (struct verdict){.kind = VERDICT_UNDECRYPTABLE,
	    .method = VERDICT_PGP,
	    .is_encrypted = true,
	    .cipher = "aes-256-cfb",
	    .has_integrity = true,
	    .reason = "no key"};
	is_int(verdict_write(&v, SLICE("gw.example"), &out), 0, "written");
	is_slice(buf_slice(&out),
	    "Authentication-Results: gw.example; openpgp=none "
	    "(undecryptable)\r\n\treason=\"no key\"\r\n"
	    "X-Postern-Crypto: v=1; enc=openpgp/aes-256-cfb; "
	    "integrity=yes;\r\n"
	    "\tsig=undecryptable; reason=\"no key\"\r\n",
	    "no key");
	buf_clear(&out);

	for (int i = 0; i < VERDICT_KIND_COUNT; i++) {
		is_int(verdict_worse((enum verdict_kind)i, VERDICT_FAIL),
		    VERDICT_FAIL, "nothing is worse than fail");
		is_int(verdict_worse(VERDICT_NONE, (enum verdict_kind)i), i,
		    "nor better than none");
	}
	return tap_done();
}
