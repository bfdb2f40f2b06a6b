/* SPDX-License-Identifier: ISC */
/*
 * The rows of the table of verbs that are about keys, certificates and the
 * built-in CA: a part of cli_verbs.c, whose macros they use.
 */
#ifndef CONTROL_CLI_VERBS_KEY_H
#define CONTROL_CLI_VERBS_KEY_H

#define SIGNED (NEEDS(SIGNERD) | IS_LOGGED)
#define KEY {"key", "KEY", CLI_TEXT, false}
#define KEY_FILE {"text", "FILE", CLI_OCTETS, false}
#define MATCH_ADDRESS \
	{"--match", "match", "TEXT", CLI_TEXT, \
	    "those of addresses that contain TEXT"}
#define ASK_PASSWORD \
	{"--ask-password", "ask_password", NULL, CLI_FLAG, \
	    "ask for the pass phrase of the file"}
#define FILE_PASSWORD \
	{"--password-stdin", "password_stdin", NULL, CLI_FLAG, \
	    "read the pass phrase from standard input, one line"}
#define FOR_DOMAIN \
	{"--domain", "domain", "DOMAIN", CLI_TEXT, \
	    "it is for all addresses of DOMAIN"}
#define HOLDER_NAME \
	{"--name", "name", "NAME", CLI_TEXT, "the holder's name"}
#define DAYS(text) {"--days", "days", "N", CLI_NUMBER, text}
#define CERTIFICATE_ALGORITHM \
	{"--algorithm", "algorithm", "A", CLI_TEXT, \
	    "rsa-2048, rsa-3072, rsa-4096, p-256 or p-384"}
#define DKIM_OPTIONS \
	{"--selector", "selector", "S", CLI_TEXT, \
	    "its name in the DNS; else one made from the date"}, \
	    {"--algorithm", "algorithm", "A", CLI_TEXT, \
		"rsa, ed25519 or both"}
#define KEY_COLUMNS \
	"id:ID,status:STATUS,algorithm:ALGORITHM,addresses:ADDRESSES," \
	"pending:PENDING,is_ours:OURS,trust:TRUST,not_after:ENDS:t," \
	"fingerprint:FINGERPRINT"
#define DKIM_COLUMNS \
	"id:ID,domain:DOMAIN,selector:SELECTOR,algorithm:ALGORITHM," \
	"phase:PHASE,active_from:FROM:t,active_to:TO:t"

#define CLI_KEY_VERBS \
	{.words = "key dkim new", \
	    .request = "key.dkim.new", \
	    .owners = SIGNED, \
	    .help = "a DKIM key for a domain; shows its DNS record", \
	    .arguments = {{"domain", "DOMAIN", CLI_TEXT, false}}, \
	    .options = {DKIM_OPTIONS, \
		{"--later", "later", NULL, CLI_FLAG, \
		    "do not sign with it before \"key dkim activate\""}}, \
	    .run = cli_run_dkim}, \
	{.words = "key dkim rotate", \
	    .request = "key.dkim.rotate", \
	    .owners = SIGNED, \
	    .help = "the next DKIM key, to be published before it signs", \
	    .arguments = {{"domain", "DOMAIN", CLI_TEXT, false}}, \
	    .options = {DKIM_OPTIONS}, \
	    .run = cli_run_dkim}, \
	{.words = "key dkim activate", \
	    .request = "key.dkim.activate", \
	    .owners = SIGNED, \
	    .help = "sign with the next key; the one before it stops", \
	    .arguments = {{"domain", "DOMAIN", CLI_TEXT, false}, \
		{"selector", "SELECTOR", CLI_TEXT, true}}, \
	    .table = {"keys", DKIM_COLUMNS}}, \
	{.words = "key dkim list", \
	    .request = "key.dkim.list", \
	    .owners = NEEDS(SIGNERD), \
	    .help = "DKIM keys and what they do now", \
	    .arguments = {{"domain", "DOMAIN", CLI_TEXT, true}}, \
	    .options = {LIMIT}, \
	    .table = {"keys", DKIM_COLUMNS}}, \
	{.words = "key dkim show", \
	    .request = "key.dkim.show", \
	    .owners = NEEDS(SIGNERD), \
	    .help = "all of one DKIM key", \
	    .arguments = {KEY}}, \
	{.words = "key dkim export", \
	    .request = "key.dkim.export", \
	    .owners = NEEDS(SIGNERD), \
	    .help = "the DNS record of a DKIM key, for a zone file", \
	    .arguments = {KEY}, \
	    .run = cli_run_dkim}, \
	{.words = "key dkim retire", \
	    .request = "key.dkim.retire", \
	    .owners = SIGNED, \
	    .help = "a DKIM key that signs no more; its private part goes", \
	    .arguments = {KEY}}, \
	{.words = "key smime new", \
	    .request = "key.smime.new", \
	    .owners = SIGNED, \
	    .help = "a key and a certificate by the CA of our own", \
	    .arguments = {{"address", "ADDRESS", CLI_TEXT, false}}, \
	    .options = {HOLDER_NAME, CERTIFICATE_ALGORITHM, \
		DAYS("valid for N days, at most 825")}}, \
	{.words = "key smime import", \
	    .request = "key.smime.import", \
	    .owners = SIGNED, \
	    .help = "a certificate, or with its key as PKCS #12 or PEM", \
	    .arguments = {KEY_FILE}, \
	    .options = {FILE_PASSWORD, ASK_PASSWORD, FOR_DOMAIN, \
		{"--number", "number", "N", CLI_NUMBER, \
		    "of several private keys in FILE the Nth"}, \
		{"--pkcs11", "pkcs11", "URI", CLI_TEXT, \
		    "the key is in a token; the password is its PIN"}}, \
	    .run = cli_run_key_import}, \
	{.words = "key smime csr", \
	    .request = "key.smime.csr", \
	    .owners = SIGNED, \
	    .help = "a new key and the request for its certificate", \
	    .arguments = {{"address", "ADDRESS", CLI_TEXT, false}}, \
	    .options = {HOLDER_NAME, CERTIFICATE_ALGORITHM}, \
	    .run = cli_run_key_text}, \
	{.words = "key smime install", \
	    .request = "key.smime.install", \
	    .owners = SIGNED, \
	    .help = "the certificate that a CA made for a request", \
	    .arguments = {KEY_FILE}}, \
	{.words = "key smime list", \
	    .request = "key.smime.list", \
	    .owners = NEEDS(SIGNERD), \
	    .help = "certificates, ours and those of correspondents", \
	    .options = {MATCH_ADDRESS, LIMIT}, \
	    .table = {"keys", KEY_COLUMNS}}, \
	{.words = "key smime show", \
	    .request = "key.smime.show", \
	    .owners = NEEDS(SIGNERD), \
	    .help = "all of one certificate", \
	    .arguments = {KEY}}, \
	{.words = "key smime export", \
	    .request = "key.smime.export", \
	    .owners = NEEDS(SIGNERD), \
	    .help = "a certificate and its chain, without the private key", \
	    .arguments = {KEY}, \
	    .options = {{"--pkcs12", "pkcs12", "FILE", CLI_TEXT, \
			    "into FILE as PKCS #12, under a pass phrase"}, \
		PASSWORD_STDIN}, \
	    .run = cli_run_key_pkcs12}, \
	{.words = "key smime retire", \
	    .request = "key.smime.retire", \
	    .owners = SIGNED, \
	    .help = "a key of ours that from now on only opens old mail", \
	    .arguments = {KEY}}, \
	{.words = "key smime remove", \
	    .request = "key.smime.remove", \
	    .owners = SIGNED, \
	    .help = "forget a correspondent's certificate", \
	    .arguments = {KEY}}, \
	{.words = "key smime aead", \
	    .request = "key.smime.aead", \
	    .owners = SIGNED, \
	    .help = "may mail to it be encrypted by AES-GCM: yes or no", \
	    .arguments = {KEY, {"value", "VALUE", CLI_TEXT, false}}}, \
	{.words = "key pgp new", \
	    .request = "key.pgp.new", \
	    .owners = SIGNED, \
	    .help = "an OpenPGP key", \
	    .arguments = {{"address", "ADDRESS", CLI_TEXT, false}}, \
	    .options = {HOLDER_NAME, \
		{"--algorithm", "algorithm", "A", CLI_TEXT, \
		    "ed25519, rsa3072 or rsa4096"}, \
		DAYS("ends after N days; else never")}}, \
	{.words = "key pgp import", \
	    .request = "key.pgp.import", \
	    .owners = SIGNED, \
	    .help = "an OpenPGP key, public, or with its private part", \
	    .arguments = {KEY_FILE}, \
	    .options = {FILE_PASSWORD, ASK_PASSWORD, FOR_DOMAIN}, \
	    .run = cli_run_key_import}, \
	{.words = "key pgp list", \
	    .request = "key.pgp.list", \
	    .owners = NEEDS(SIGNERD), \
	    .help = "OpenPGP keys, ours and those of correspondents", \
	    .options = {MATCH_ADDRESS, LIMIT}, \
	    .table = {"keys", KEY_COLUMNS}}, \
	{.words = "key pgp show", \
	    .request = "key.pgp.show", \
	    .owners = NEEDS(SIGNERD), \
	    .help = "all of one OpenPGP key", \
	    .arguments = {KEY}}, \
	{.words = "key pgp export", \
	    .request = "key.pgp.export", \
	    .owners = NEEDS(SIGNERD), \
	    .help = "a public key; or all of ours as a Web Key Directory", \
	    .arguments = {{"key", "KEY", CLI_TEXT, true}}, \
	    .options = {{"--wkd", "wkd", "DIR", CLI_TEXT, \
		"below DIR, as a web server is to show it"}}, \
	    .run = cli_run_pgp_export}, \
	{.words = "key pgp retire", \
	    .request = "key.pgp.retire", \
	    .owners = SIGNED, \
	    .help = "a key of ours that from now on only opens old mail", \
	    .arguments = {KEY}}, \
	{.words = "key pgp remove", \
	    .request = "key.pgp.remove", \
	    .owners = SIGNED, \
	    .help = "forget a correspondent's key", \
	    .arguments = {KEY}}, \
	{.words = "key pending", \
	    .request = "key.pending", \
	    .owners = NEEDS(SIGNERD), \
	    .help = "keys of correspondents that differ from the known ones", \
	    .options = {LIMIT}, \
	    .table = {"keys", KEY_COLUMNS}}, \
	{.words = "key approve", \
	    .request = "key.approve", \
	    .owners = SIGNED, \
	    .help = "use such a key from now on, and no other one", \
	    .arguments = {KEY}}, \
	{.words = "key reject", \
	    .request = "key.reject", \
	    .owners = SIGNED, \
	    .help = "never use such a key", \
	    .arguments = {KEY}}, \
	{.words = "key anchor add", \
	    .request = "key.anchor.add", \
	    .owners = SIGNED, \
	    .help = "a CA whose certificates are believed for mail", \
	    .arguments = {KEY_FILE}, \
	    .options = {{"--block", "block", NULL, CLI_FLAG, \
		"believe neither it nor what it signed"}}}, \
	{.words = "key anchor remove", \
	    .request = "key.anchor.remove", \
	    .owners = SIGNED, \
	    .help = "believe a CA no more", \
	    .arguments = {{"fingerprint", "FINGERPRINT", CLI_TEXT, false}}}, \
	{.words = "key anchor list", \
	    .request = "key.anchor.list", \
	    .owners = NEEDS(SIGNERD), \
	    .help = "CAs that are believed or blocked", \
	    .table = {"anchors", "subject:SUBJECT,not_after:ENDS:t," \
				 "is_blocked:BLOCKED," \
				 "fingerprint:FINGERPRINT"}}, \
	{.words = "key crl import", \
	    .request = "key.crl.import", \
	    .owners = SIGNED, \
	    .help = "a CA's list of revoked certificates", \
	    .arguments = {KEY_FILE}}, \
	{.words = "key crl fetch", \
	    .request = "key.crl.fetch", \
	    .owners = SIGNED, \
	    .help = "a CA's list from the web, renewed before it ends", \
	    .arguments = {{"url", "URL", CLI_TEXT, false}}}, \
	{.words = "key crl remove", \
	    .request = "key.crl.remove", \
	    .owners = SIGNED, \
	    .help = "fetch no list from there any more, and forget it", \
	    .arguments = {{"url", "URL", CLI_TEXT, false}}}, \
	{.words = "key crl list", \
	    .request = "key.crl.list", \
	    .owners = NEEDS(SIGNERD), \
	    .help = "the lists of revoked certificates that are known", \
	    .table = {"crls", "issuer:ISSUER,url:URL,entries:REVOKED," \
			      "this_update:MADE:t,next_update:NEXT:t"}}, \
	{.words = "key crl places", \
	    .request = "key.crl.list", \
	    .owners = NEEDS(SIGNERD), \
	    .help = "where lists are fetched, when next, what went wrong", \
	    .table = {"sources", "url:URL,is_wanted:BY-HAND,due:NEXT:t," \
				 "failures:FAILURES,reason:REASON"}}, \
	{.words = "ca new", \
	    .request = "ca.new", \
	    .owners = SIGNED, \
	    .help = "a CA of our own, for certificates of our users", \
	    .arguments = {{"name", "NAME", CLI_TEXT, false}}, \
	    .options = {CERTIFICATE_ALGORITHM, \
		DAYS("valid for N days; else 7300")}}, \
	{.words = "ca issue", \
	    .request = "ca.issue", \
	    .owners = SIGNED, \
	    .help = "a certificate for a key that a user keeps himself", \
	    .arguments = {{"address", "ADDRESS", CLI_TEXT, false}}, \
	    .options = {{"--csr", "text", "FILE", CLI_OCTETS, \
			    "for the key of this request"}, \
		{"--pkcs12", "pkcs12", "FILE", CLI_TEXT, \
		    "for a new key, both into FILE, which we do not keep"}, \
		HOLDER_NAME, CERTIFICATE_ALGORITHM, \
		DAYS("valid for N days, at most 825"), PASSWORD_STDIN}, \
	    .run = cli_run_key_pkcs12}, \
	{.words = "ca revoke", \
	    .request = "ca.revoke", \
	    .owners = SIGNED, \
	    .help = "a certificate of ours counts no more; shows the list", \
	    .arguments = {{"serial", "SERIAL", CLI_TEXT, false}}, \
	    .run = cli_run_key_text}, \
	{.words = "ca crl", \
	    .request = "ca.crl", \
	    .owners = SIGNED, \
	    .help = "our CA's list of revoked certificates, to publish", \
	    .options = {{"--der", "der", "FILE", CLI_TEXT, \
			    "into FILE as a web server is to give it"}, \
		{"--renew", "renew", NULL, CLI_FLAG, \
		    "a new one, although the one there still counts"}}, \
	    .run = cli_run_ca_crl}, \
	{.words = "ca show", \
	    .request = "ca.show", \
	    .owners = NEEDS(SIGNERD), \
	    .help = "the CA's certificate; all that it issued with --json", \
	    .run = cli_run_key_text},

#endif
