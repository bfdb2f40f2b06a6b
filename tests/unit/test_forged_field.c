/* SPDX-License-Identifier: ISC */
/*
 * Fields in our name that strangers write.
 */
#include "common/forged_field.h"
#include "tests/unit/tap.h"

static const struct {
	const char *label;
	const char *name;
	const char *value;
	bool is_forged;
} rows[] = {
    {"ours", "Authentication-Results", " gw.example.test; spf=pass", true},
    {"somebody else's", "Authentication-Results", " mx.example.net; spf=pass",
	false},
    {"a name that begins like ours", "Authentication-Results",
	" gw.example.test.evil.example; spf=pass", false},
    {"a name that ends like ours", "Authentication-Results",
	" x.gw.example.test; spf=pass", false},
    {"in other case", "authentication-RESULTS", " GW.Example.TEST; none", true},
    {"with a final dot", "Authentication-Results", " gw.example.test.; none",
	true},
    {"quoted", "Authentication-Results", " \"gw.example.test\"; spf=pass",
	true},
    {"quoted with an escape", "Authentication-Results",
	" \"gw.exam\\ple.test\"; spf=pass", true},
    {"quoted with a blank", "Authentication-Results",
	" \"gw.example.test \"; spf=pass", true},
    {"behind a comment", "Authentication-Results",
	" (a (b\\)) ) gw.example.test; spf=pass", true},
    {"behind a fold", "Authentication-Results",
	"\r\n\tgw.example.test;\r\n spf=pass", true},
    {"with a version", "Authentication-Results", " gw.example.test 1; none",
	true},
    {"another's with a version", "Authentication-Results",
	" mx.example.net 1; none", false},
    {"another's with a comment behind", "Authentication-Results",
	" mx.example.net (x); none", false},
    {"without results", "Authentication-Results", " mx.example.net", false},
    {"empty", "Authentication-Results", "", true},
    {"only results", "Authentication-Results", " ; spf=pass", true},
    {"a comment that does not end", "Authentication-Results",
	" (mx.example.net; spf=pass", true},
    {"a quote that does not end", "Authentication-Results",
	" \"mx.example.net; spf=pass", true},
    {"two names", "Authentication-Results",
	" mx.example.net gw.example.test; spf=pass", true},
    {"something between name and results", "Authentication-Results",
	" mx.example.net, gw.example.test; spf=pass", true},
    {"our info field", "X-Postern-Crypto", " v=1; sig=pass", true},
    {"another of our fields", "x-postern-anything", " 1", true},
    {"a field like ours", "X-Posterns", " 1", false},
    {"any other field", "Subject", " gw.example.test; spf=pass", false},
};

int
main(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		is_int(forged_field(slice_of(rows[i].name),
			   slice_of(rows[i].value), SLICE("gw.example.test")),
		    rows[i].is_forged, "%s", rows[i].label);
	ok(forged_field(SLICE("Authentication-Results"),
	       SLICE(" b\xc3\xbc"
		     "cher.example; none"),
	       SLICE("xn--bcher-kva.example")),
	    "our name in its own letters");
	return tap_done();
}
