/* SPDX-License-Identifier: ISC */
/*
 * keys.db: its schema and its statements (GUIDE §10).  Times are seconds since
 * 1970; 0 means always, never or open, as the name suggests.  No private key
 * is in it: secret_ref names a file of a class's folder or a token.
 *
 * A binding says whose a key is: "alice@a.example" or "@a.example", ASCII
 * letters in lower case.  Its state is apart from the key's: a key that is
 * trusted for one address may wait for approval for another.
 */
#ifndef SIGNER_KEYSTORE_SQL_H
#define SIGNER_KEYSTORE_SQL_H

/* Migration i takes the schema from version i to i + 1. */
#define KEYSTORE_SCHEMA_1 \
	"CREATE TABLE key (" \
	"  id INTEGER PRIMARY KEY AUTOINCREMENT," \
	"  kind TEXT NOT NULL CHECK (kind IN ('smime', 'pgp', 'dkim', 'ca'))," \
	"  status TEXT NOT NULL CHECK (status IN ('active', 'pending'," \
	"    'decrypt_only', 'revoked', 'disabled', 'retired'))," \
	"  fingerprint TEXT NOT NULL," \
	"  algorithm TEXT NOT NULL," \
	"  bits INTEGER NOT NULL," \
	"  uses INTEGER NOT NULL," \
	"  not_before INTEGER NOT NULL," \
	"  not_after INTEGER NOT NULL," \
	"  subject TEXT NOT NULL," \
	"  issuer TEXT NOT NULL," \
	"  serial TEXT NOT NULL," \
	"  secret_ref TEXT NOT NULL," \
	"  source TEXT NOT NULL," \
	"  has_aead INTEGER NOT NULL," \
	"  caps TEXT NOT NULL," \
	"  created INTEGER NOT NULL," \
	"  last_used INTEGER NOT NULL," \
	"  digest BLOB NOT NULL," /* SHA-256 of public as it came */ \
	"  public BLOB NOT NULL," \
	"  chain BLOB NOT NULL," \
	"  UNIQUE (kind, fingerprint)" \
	");" \
	"CREATE INDEX key_by_issuer ON key (issuer) WHERE kind = 'smime';" \
	"CREATE INDEX key_by_end ON key (not_after) WHERE secret_ref <> '';" \
	"CREATE TABLE key_binding (" \
	"  subject TEXT NOT NULL," \
	"  key_id INTEGER NOT NULL REFERENCES key ON DELETE CASCADE," \
	"  source TEXT NOT NULL," \
	"  trust INTEGER NOT NULL," \
	"  is_pinned INTEGER NOT NULL," \
	"  state TEXT NOT NULL" \
	"    CHECK (state IN ('active', 'pending', 'rejected'))," \
	"  changed INTEGER NOT NULL," \
	"  PRIMARY KEY (subject, key_id)" \
	") WITHOUT ROWID;" \
	"CREATE INDEX binding_by_key ON key_binding (key_id);" \
	"CREATE INDEX binding_pending ON key_binding (key_id) " \
	"  WHERE state = 'pending';" \
	"CREATE TABLE dkim_key (" \
	"  domain TEXT NOT NULL," \
	"  selector TEXT NOT NULL," \
	"  key_id INTEGER NOT NULL UNIQUE REFERENCES key ON DELETE CASCADE," \
	"  active_from INTEGER NOT NULL," /* 0: published, signs not yet */ \
	"  active_to INTEGER NOT NULL," \
	"  PRIMARY KEY (domain, selector)" \
	") WITHOUT ROWID;" \
	"CREATE TABLE anchor (" \
	"  id INTEGER PRIMARY KEY AUTOINCREMENT," \
	"  fingerprint TEXT NOT NULL UNIQUE," \
	"  subject TEXT NOT NULL," \
	"  not_after INTEGER NOT NULL," \
	"  is_blocked INTEGER NOT NULL," \
	"  certificate BLOB NOT NULL" \
	");" \
	"CREATE TABLE crl (" \
	"  issuer TEXT NOT NULL," \
	"  url TEXT NOT NULL," \
	"  this_update INTEGER NOT NULL," \
	"  next_update INTEGER NOT NULL," \
	"  der BLOB NOT NULL," \
	"  PRIMARY KEY (issuer, url)" \
	");" \
	"CREATE TABLE lookup_cache (" \
	"  address TEXT NOT NULL," \
	"  source TEXT NOT NULL," \
	"  result INTEGER NOT NULL," \
	"  expires INTEGER NOT NULL," \
	"  PRIMARY KEY (address, source)" \
	") WITHOUT ROWID;" \
	"CREATE TABLE cert_request (" \
	"  id INTEGER PRIMARY KEY AUTOINCREMENT," \
	"  address TEXT NOT NULL," \
	"  secret_ref TEXT NOT NULL," \
	"  public_digest TEXT NOT NULL UNIQUE," /* of the public key */ \
	"  algorithm TEXT NOT NULL," \
	"  created INTEGER NOT NULL," \
	"  csr TEXT NOT NULL" \
	");" \
	"CREATE TABLE ca_issued (" \
	"  ca_id INTEGER NOT NULL REFERENCES key," \
	"  serial TEXT NOT NULL," \
	"  address TEXT NOT NULL," \
	"  not_after INTEGER NOT NULL," \
	"  revoked INTEGER NOT NULL," \
	"  PRIMARY KEY (ca_id, serial)" \
	") WITHOUT ROWID"

/*
 * Lists of revoked certificates are files that workers search (signer/trust.h);
 * here stands what they are.  crl_source: where lists are fetched, asked for by
 * an administrator or named by a certificate; issuers are the certificates that
 * lead from who signs it to an anchor.  The lists of the schema before, which
 * were kept as they came, are fetched again.
 */
#define KEYSTORE_SCHEMA_2 \
	"CREATE TABLE crl_source (" \
	"  url TEXT PRIMARY KEY," \
	"  is_wanted INTEGER NOT NULL," /* by an administrator */ \
	"  seen INTEGER NOT NULL,"      /* in a certificate */ \
	"  due INTEGER NOT NULL," \
	"  failures INTEGER NOT NULL,"  /* in a row */ \
	"  reason TEXT NOT NULL,"       /* of the last one */ \
	"  issuers BLOB NOT NULL" \
	");" \
	"INSERT INTO crl_source (url, is_wanted, seen, due, failures, " \
	"  reason, issuers) SELECT DISTINCT url, 1, 0, 0, 0, '', x'' " \
	"  FROM crl WHERE url LIKE 'http%';" \
	"DROP TABLE crl;" \
	"CREATE TABLE crl (" \
	"  issuer_id BLOB NOT NULL," /* SHA-256 of name and key */ \
	"  scope TEXT NOT NULL," \
	"  issuer TEXT NOT NULL," \
	"  url TEXT NOT NULL," /* 'built-in', or '': by hand */ \
	"  number TEXT NOT NULL," \
	"  entries INTEGER NOT NULL," \
	"  this_update INTEGER NOT NULL," \
	"  next_update INTEGER NOT NULL," \
	"  PRIMARY KEY (issuer_id, scope)" \
	") WITHOUT ROWID;" \
	"CREATE TABLE ca_crl (" \
	"  ca_id INTEGER PRIMARY KEY REFERENCES key," \
	"  this_update INTEGER NOT NULL," \
	"  next_update INTEGER NOT NULL," \
	"  der BLOB NOT NULL" \
	")"

/*
 * issuer_id of a certificate: SHA-256 of its CA's name and key, as in crl;
 * empty: no certificate of the CA was known yet.
 */
#define KEYSTORE_SCHEMA_3 \
	"ALTER TABLE key ADD COLUMN issuer_id BLOB NOT NULL DEFAULT x'';" \
	"DROP INDEX key_by_issuer;" \
	"CREATE INDEX key_by_issuer ON key (issuer_id) WHERE kind = 'smime'"

/* others: URLs where the list is, too, a line each. */
#define KEYSTORE_SCHEMA_4 \
	"ALTER TABLE crl_source ADD COLUMN others TEXT NOT NULL DEFAULT ''"

#define KEY_COLUMNS \
	"k.id, k.kind, k.status, k.fingerprint, k.algorithm, k.bits, k.uses, " \
	"k.not_before, k.not_after, k.subject, k.issuer, k.serial, " \
	"k.secret_ref, k.source, k.has_aead, k.created, k.last_used, " \
	"k.public, k.chain, k.issuer_id"
#define KEY_COLUMN_COUNT 20
/* Columns behind those of the key. */
#define BINDING_COLUMNS "b.subject, b.source, b.trust, b.is_pinned, b.state"
#define NO_BINDING "'', k.source, 0, 0, 'active'"
#define SELECTOR_COLUMNS \
	"d.domain, d.selector, d.active_from, d.active_to, 'active'"

/* S(SUFFIX, text) */
#define KEYSTORE_STATEMENTS(S) \
	S(BY_SUBJECT, "SELECT " KEY_COLUMNS ", " BINDING_COLUMNS \
		      " FROM key_binding b JOIN key k ON k.id = b.key_id " \
		      "WHERE b.subject = ?1 AND b.state <> 'rejected' " \
		      "ORDER BY b.state, k.id DESC LIMIT ?2") \
	S(BY_FINGERPRINT, "SELECT " KEY_COLUMNS ", " NO_BINDING \
			  " FROM key k WHERE k.kind = ?1 " \
			  "AND k.fingerprint = ?2") \
	S(BY_ID, "SELECT " KEY_COLUMNS ", " NO_BINDING \
		 " FROM key k WHERE k.id = ?1") \
	S(BY_DOMAIN, "SELECT " KEY_COLUMNS ", " SELECTOR_COLUMNS \
		     " FROM dkim_key d JOIN key k ON k.id = d.key_id " \
		     "WHERE d.domain = ?1 ORDER BY " \
		     "k.status <> 'active', k.algorithm DESC, " \
		     "d.selector LIMIT ?2") \
	S(DKIM_DOMAINS, "SELECT DISTINCT d.domain FROM dkim_key d " \
			"JOIN key k ON k.id = d.key_id " \
			"WHERE k.status = 'active' AND d.active_from <> 0 " \
			"AND (d.active_to = 0 OR d.active_to > ?1) " \
			"ORDER BY d.domain") \
	S(LIST, "SELECT k.id FROM key k WHERE k.kind = ?1 AND k.id > ?2 " \
		"AND (?4 = '' OR EXISTS (SELECT 1 FROM key_binding b " \
		"WHERE b.key_id = k.id AND b.subject LIKE ?4 ESCAPE '\\')) " \
		"ORDER BY k.id LIMIT ?3") \
	S(WAITING, "SELECT DISTINCT key_id FROM key_binding " \
		   "WHERE state = 'pending' ORDER BY key_id LIMIT ?1") \
	S(UNBOUND, "SELECT id FROM key WHERE kind = 'smime' " \
		   "AND issuer_id = x'' AND status <> 'revoked' " \
		   "AND id > ?1 ORDER BY id LIMIT ?2") \
	S(BINDINGS, "SELECT b.subject, b.source, b.trust, b.is_pinned, " \
		    "b.state FROM key_binding b WHERE b.key_id = ?1 " \
		    "ORDER BY b.subject") \
	S(SELECTOR_OF, "SELECT domain, selector, active_from, active_to " \
		       "FROM dkim_key WHERE key_id = ?1") \
	S(KNOWS, "SELECT k.fingerprint FROM key_binding b " \
		 "JOIN key k ON k.id = b.key_id " \
		 "WHERE b.subject = ?1 AND k.kind = ?2 AND k.digest = ?3 " \
		 "AND (b.trust >= ?4 OR b.state = 'rejected')") \
	S(REJECTED, "SELECT 1 FROM key_binding b " \
		    "JOIN key k ON k.id = b.key_id WHERE b.subject = ?1 " \
		    "AND k.kind = ?2 AND k.fingerprint = ?3 " \
		    "AND b.state = 'rejected'") \
	S(KEY_ADD, \
	    "INSERT INTO key (kind, status, fingerprint, algorithm, " \
	    "bits, uses, not_before, not_after, subject, issuer, " \
	    "serial, secret_ref, source, has_aead, caps, created, " \
	    "last_used, digest, public, chain, issuer_id) " \
	    "VALUES (?1, ?2, ?3, ?4, " \
	    "?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, '', ?15, 0, " \
	    "?16, ?17, ?18, ?19)") \
	S(KEY_RENEW, "UPDATE key SET algorithm = ?2, bits = ?3, uses = ?4, " \
		     "not_before = ?5, not_after = ?6, status = ?7, " \
		     "digest = ?8, public = ?9, chain = ?10 WHERE id = ?1") \
	S(KEY_OWN, "UPDATE key SET secret_ref = ?2, status = ?6, " \
		   "source = ?3, public = ?4, chain = ?5 WHERE id = ?1") \
	S(KEY_ISSUER, "UPDATE key SET issuer_id = ?2 " \
		      "WHERE id = ?1 AND issuer_id = x''") \
	S(KEY_STATUS, "UPDATE key SET status = ?2 WHERE id = ?1") \
	S(KEY_AEAD, "UPDATE key SET has_aead = ?2 WHERE id = ?1") \
	S(KEY_USED, "UPDATE key SET last_used = ?2 WHERE id = ?1") \
	S(KEY_REMOVE, "DELETE FROM key WHERE id = ?1 AND secret_ref = ''") \
	S(BIND, "INSERT INTO key_binding (subject, key_id, source, trust, " \
		"is_pinned, state, changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, " \
		"?7) ON CONFLICT (subject, key_id) DO UPDATE SET " \
		"source = ?3, trust = ?4, is_pinned = ?5, state = ?6, " \
		"changed = ?7") \
	S(RESOLVE, "UPDATE key_binding SET state = ?2, trust = max(trust, " \
		   "?3), is_pinned = ?4, changed = ?5 " \
		   "WHERE key_id = ?1 AND state = 'pending'") \
	S(SUPERSEDE, "UPDATE key_binding SET state = 'rejected' " \
		     "WHERE key_id <> ?1 AND subject IN (SELECT subject " \
		     "FROM key_binding WHERE key_id = ?1) AND key_id IN " \
		     "(SELECT id FROM key WHERE secret_ref = '' AND " \
		     "kind = (SELECT kind FROM key WHERE id = ?1))") \
	S(DEMOTE, "UPDATE key_binding SET state = 'pending', changed = ?5 " \
		  "WHERE subject = ?1 AND key_id <> ?2 AND trust <= ?4 " \
		  "AND is_pinned = 0 AND state = 'active' AND key_id IN " \
		  "(SELECT id FROM key WHERE secret_ref = '' AND " \
		  "kind = ?3 AND status = 'active')") \
	S(DKIM_ADD, "INSERT INTO dkim_key (domain, selector, key_id, " \
		    "active_from, active_to) VALUES (?1, ?2, ?3, ?4, 0)") \
	S(DKIM_SPAN, "UPDATE dkim_key SET active_from = ?2, active_to = ?3 " \
		     "WHERE key_id = ?1") \
	S(ANCHORS, "SELECT id, fingerprint, subject, not_after, is_blocked, " \
		   "certificate FROM anchor ORDER BY id") \
	S(ANCHOR_ADD, "INSERT INTO anchor (fingerprint, subject, not_after, " \
		      "is_blocked, certificate) VALUES (?1, ?2, ?3, ?4, ?5)") \
	S(ANCHOR_REMOVE, "DELETE FROM anchor WHERE fingerprint = ?1") \
	S(CRLS, "SELECT scope, issuer, url, number, issuer_id, entries, " \
		"this_update, next_update FROM crl ORDER BY issuer, scope") \
	S(CRL_PUT, "INSERT INTO crl (issuer_id, scope, issuer, url, number, " \
		   "entries, this_update, next_update) " \
		   "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) " \
		   "ON CONFLICT (issuer_id, scope) DO UPDATE SET " \
		   "issuer = ?3, url = CASE WHEN ?4 = '' OR url = 'built-in' " \
		   "THEN url ELSE ?4 END, number = ?5, entries = ?6, " \
		   "this_update = ?7, next_update = ?8 " \
		   "WHERE this_update <= ?7 OR ?4 = 'built-in'") \
	S(CRL_REMOVE, "DELETE FROM crl WHERE issuer_id = ?1 AND scope = ?2") \
	S(SOURCES, "SELECT url, is_wanted, seen, due, failures, reason " \
		   "FROM crl_source ORDER BY url") \
	S(SOURCE_PUT, "INSERT INTO crl_source (url, is_wanted, seen, due, " \
		      "failures, reason, issuers, others) " \
		      "VALUES (?1, ?2, ?3, 0, 0, '', ?4, ?5) " \
		      "ON CONFLICT (url) DO UPDATE SET " \
		      "is_wanted = max(is_wanted, ?2), seen = max(seen, ?3), " \
		      "issuers = CASE WHEN length(?4) > 0 THEN ?4 " \
		      "ELSE issuers END, " \
		      "others = CASE WHEN length(?4) > 0 THEN ?5 " \
		      "ELSE others END") \
	S(SOURCE_OTHERS, "SELECT others FROM crl_source WHERE url = ?1") \
	S(SOURCE_TOLD, "UPDATE crl_source SET due = ?2, failures = ?3, " \
		       "reason = ?4 WHERE url = ?1") \
	S(SOURCE_REMOVE, "DELETE FROM crl_source WHERE url = ?1") \
	S(SOURCE_TRIM, "DELETE FROM crl_source WHERE is_wanted = 0 " \
		       "AND seen < ?1") \
	S(SOURCE_ISSUERS, "SELECT DISTINCT issuers FROM crl_source " \
			  "WHERE length(issuers) > 0") \
	S(CA_CRL, "SELECT this_update, next_update, der FROM ca_crl " \
		  "WHERE ca_id = ?1") \
	S(CA_CRL_PUT, "INSERT OR REPLACE INTO ca_crl (ca_id, this_update, " \
		      "next_update, der) VALUES (?1, ?2, ?3, ?4)") \
	S(OF_ISSUER, "SELECT id, serial FROM key WHERE kind = 'smime' " \
		     "AND issuer_id = ?1 AND status <> 'revoked'") \
	S(LOOKUP_GET, "SELECT result, expires FROM lookup_cache " \
		      "WHERE address = ?1 AND source = ?2") \
	S(LOOKUP_PUT, "INSERT INTO lookup_cache (address, source, result, " \
		      "expires) VALUES (?1, ?2, ?3, ?4) " \
		      "ON CONFLICT (address, source) DO UPDATE SET " \
		      "result = ?3, expires = ?4") \
	S(LOOKUP_TRIM, "DELETE FROM lookup_cache WHERE expires < ?1") \
	S(ENDING, \
	    "SELECT k.id, k.fingerprint, k.kind, k.not_after, " \
	    "(SELECT b.subject FROM key_binding b " \
	    "WHERE b.key_id = k.id ORDER BY b.subject LIMIT 1) " \
	    "FROM key k WHERE k.secret_ref <> '' AND k.not_after <> 0 " \
	    "AND k.status IN ('active', 'pending') ORDER BY k.not_after") \
	S(REQUEST_ADD, "INSERT INTO cert_request (address, secret_ref, " \
		       "public_digest, algorithm, created, csr) " \
		       "VALUES (?1, ?2, ?3, ?4, ?5, ?6)") \
	S(REQUEST_FIND, "SELECT id, address, secret_ref FROM cert_request " \
			"WHERE public_digest = ?1") \
	S(REQUEST_LIST, "SELECT id, address, algorithm, created " \
			"FROM cert_request ORDER BY id") \
	S(REQUEST_REMOVE, "DELETE FROM cert_request WHERE id = ?1") \
	S(ISSUED_ADD, "INSERT INTO ca_issued (ca_id, serial, address, " \
		      "not_after, revoked) VALUES (?1, ?2, ?3, ?4, 0)") \
	S(ISSUED_LIST, "SELECT serial, address, not_after, revoked " \
		       "FROM ca_issued WHERE ca_id = ?1 ORDER BY serial") \
	S(ISSUED_REVOKE, "UPDATE ca_issued SET revoked = ?3 " \
			 "WHERE ca_id = ?1 AND serial = ?2 AND revoked = 0")

#define KEYSTORE_ENUM(suffix, text) KEYSTORE_##suffix,
enum keystore_statement {
	KEYSTORE_STATEMENTS(KEYSTORE_ENUM) KEYSTORE_STATEMENT_COUNT
};
#undef KEYSTORE_ENUM

#endif
