/* SPDX-License-Identifier: ISC */
/*
 * accounts.db: its schema and its statements (GUIDE §10).  Names, identities
 * and addresses are in their canonical form; times are seconds since 1970, 0
 * for never.
 */
#ifndef SMTPD_ACCOUNTS_SQL_H
#define SMTPD_ACCOUNTS_SQL_H

/* Migration i takes the schema from version i to i + 1. */
#define ACCOUNTS_SCHEMA_1 \
	"CREATE TABLE meta (" \
	"  key TEXT PRIMARY KEY, value BLOB NOT NULL" \
	") WITHOUT ROWID;" \
	"CREATE TABLE users (" \
	"  id INTEGER PRIMARY KEY AUTOINCREMENT," \
	"  name TEXT NOT NULL UNIQUE," \
	"  verifier TEXT NOT NULL," \
	"  is_disabled INTEGER NOT NULL," \
	"  revision INTEGER NOT NULL," \
	"  created INTEGER NOT NULL," \
	"  password_changed INTEGER NOT NULL," \
	"  last_login INTEGER NOT NULL" \
	");" \
	"CREATE TABLE identities (" \
	"  user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE," \
	"  identity TEXT NOT NULL," \
	"  PRIMARY KEY (user_id, identity)" \
	") WITHOUT ROWID;" \
	"CREATE TABLE app_passwords (" \
	"  id INTEGER PRIMARY KEY AUTOINCREMENT," \
	"  user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE," \
	"  label TEXT NOT NULL," \
	"  verifier TEXT NOT NULL," \
	"  created INTEGER NOT NULL," \
	"  expires INTEGER NOT NULL," \
	"  last_used INTEGER NOT NULL," \
	"  last_client TEXT NOT NULL," \
	"  UNIQUE (user_id, label)" \
	");" \
	"CREATE TABLE app_senders (" \
	"  app_id INTEGER NOT NULL" \
	"    REFERENCES app_passwords ON DELETE CASCADE," \
	"  identity TEXT NOT NULL," \
	"  PRIMARY KEY (app_id, identity)" \
	") WITHOUT ROWID;" \
	"CREATE TABLE app_networks (" \
	"  app_id INTEGER NOT NULL" \
	"    REFERENCES app_passwords ON DELETE CASCADE," \
	"  network TEXT NOT NULL," \
	"  PRIMARY KEY (app_id, network)" \
	") WITHOUT ROWID;" \
	"CREATE TABLE known_networks (" \
	"  user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE," \
	"  network TEXT NOT NULL," \
	"  last_seen INTEGER NOT NULL," \
	"  PRIMARY KEY (user_id, network)" \
	") WITHOUT ROWID;" \
	"CREATE TABLE recipients (" \
	"  address TEXT PRIMARY KEY, domain TEXT NOT NULL" \
	") WITHOUT ROWID;" \
	"CREATE INDEX recipients_by_domain ON recipients (domain, address);" \
	"CREATE TABLE aliases (" \
	"  address TEXT NOT NULL," \
	"  target TEXT NOT NULL," \
	"  domain TEXT NOT NULL," \
	"  PRIMARY KEY (address, target)" \
	") WITHOUT ROWID;" \
	"CREATE INDEX aliases_by_domain ON aliases (domain, address)"

#define ACCOUNT_COLUMNS \
	"id, name, verifier, is_disabled, revision, created, " \
	"password_changed, last_login"

#define APP_COLUMNS \
	"id, label, verifier, created, expires, last_used, last_client"

/* S(SUFFIX, text) */
#define ACCOUNTS_STATEMENTS(S) \
	S(META_GET, "SELECT value FROM meta WHERE key = ?1") \
	S(META_PUT, "INSERT INTO meta (key, value) VALUES (?1, ?2) " \
	            "ON CONFLICT (key) DO UPDATE SET value = ?2") \
	S(USER_ADD, "INSERT INTO users (name, verifier, is_disabled, " \
	            "revision, created, password_changed, last_login) " \
	            "VALUES (?1, ?2, 0, ?3, ?4, ?4, 0)") \
	S(USER_FIND, "SELECT " ACCOUNT_COLUMNS " FROM users WHERE name = ?1") \
	S(USER_LIST, "SELECT " ACCOUNT_COLUMNS " FROM users " \
	             "WHERE name > ?1 ORDER BY name LIMIT ?2") \
	S(USER_PASSWORD, "UPDATE users SET verifier = ?2, revision = ?3, " \
	                 "password_changed = ?4 WHERE id = ?1") \
	S(USER_DISABLE, "UPDATE users SET is_disabled = ?2, revision = ?3 " \
	                "WHERE id = ?1") \
	S(USER_REMOVE, "DELETE FROM users WHERE id = ?1") \
	S(USER_COUNT, "SELECT count(*) FROM users") \
	S(USER_USED, "UPDATE users SET last_login = ?2 WHERE id = ?1") \
	S(IDENTITY_ADD, "INSERT OR IGNORE INTO identities " \
	                "(user_id, identity) VALUES (?1, ?2)") \
	S(IDENTITY_REMOVE, "DELETE FROM identities " \
	                   "WHERE user_id = ?1 AND identity = ?2") \
	S(IDENTITY_LIST, "SELECT identity FROM identities " \
	                 "WHERE user_id = ?1 ORDER BY identity") \
	S(APP_ADD, "INSERT INTO app_passwords (user_id, label, verifier, " \
	           "created, expires, last_used, last_client) " \
	           "VALUES (?1, ?2, ?3, ?4, ?5, 0, '')") \
	S(APP_SENDER_ADD, "INSERT OR IGNORE INTO app_senders " \
	                  "(app_id, identity) VALUES (?1, ?2)") \
	S(APP_NETWORK_ADD, "INSERT OR IGNORE INTO app_networks " \
	                   "(app_id, network) VALUES (?1, ?2)") \
	S(APP_LIST, "SELECT " APP_COLUMNS " FROM app_passwords " \
	            "WHERE user_id = ?1 ORDER BY id") \
	S(APP_COUNT, "SELECT count(*) FROM app_passwords WHERE user_id = ?1") \
	S(APP_FIND, "SELECT expires FROM app_passwords " \
	            "WHERE user_id = ?1 AND id = ?2") \
	S(APP_SENDERS, "SELECT identity FROM app_senders " \
	               "WHERE app_id = ?1 ORDER BY identity") \
	S(APP_NETWORKS, "SELECT network FROM app_networks " \
	                "WHERE app_id = ?1 ORDER BY network") \
	S(APP_REMOVE, "DELETE FROM app_passwords " \
	              "WHERE user_id = ?1 AND id = ?2") \
	S(APP_USED, "UPDATE app_passwords SET last_used = ?2, " \
	            "last_client = ?3 WHERE id = ?1") \
	S(KNOWN_ADD, "INSERT INTO known_networks " \
	             "(user_id, network, last_seen) SELECT id, ?2, ?3 " \
	             "FROM users WHERE id = ?1 " \
	             "ON CONFLICT (user_id, network) DO UPDATE " \
	             "SET last_seen = ?3") \
	S(KNOWN_FIND, "SELECT last_seen FROM known_networks " \
	              "WHERE user_id = ?1 AND network = ?2") \
	S(KNOWN_TRIM, "DELETE FROM known_networks WHERE user_id = ?1 AND " \
	              "network NOT IN (SELECT network FROM known_networks " \
	              "WHERE user_id = ?1 ORDER BY last_seen DESC LIMIT ?2)") \
	S(RECIPIENT_ADD, "INSERT OR IGNORE INTO recipients " \
	                 "(address, domain) VALUES (?1, ?2)") \
	S(RECIPIENT_REMOVE, "DELETE FROM recipients WHERE address = ?1") \
	S(RECIPIENT_FIND, "SELECT 1 FROM recipients WHERE address = ?1") \
	S(RECIPIENT_LIST, "SELECT address FROM recipients " \
	                  "WHERE address > ?1 ORDER BY address LIMIT ?2") \
	S(RECIPIENT_LIST_DOMAIN, "SELECT address FROM recipients " \
	                         "WHERE domain = ?3 AND address > ?1 " \
	                         "ORDER BY address LIMIT ?2") \
	S(ALIAS_ADD, "INSERT OR IGNORE INTO aliases " \
	             "(address, target, domain) VALUES (?1, ?2, ?3)") \
	S(ALIAS_REMOVE, "DELETE FROM aliases WHERE address = ?1") \
	S(ALIAS_REMOVE_TARGET, "DELETE FROM aliases " \
	                       "WHERE address = ?1 AND target = ?2") \
	S(ALIAS_TARGETS, "SELECT target FROM aliases WHERE address = ?1 " \
	                 "ORDER BY target LIMIT ?2") \
	S(ALIAS_LIST, "SELECT DISTINCT address FROM aliases " \
	              "WHERE address > ?1 ORDER BY address LIMIT ?2") \
	S(ALIAS_LIST_DOMAIN, "SELECT DISTINCT address FROM aliases " \
	                     "WHERE domain = ?3 AND address > ?1 " \
	                     "ORDER BY address LIMIT ?2") \
	S(ALIAS_DOMAINS, "SELECT DISTINCT domain FROM aliases ORDER BY domain")

#define ACCOUNTS_ENUM(suffix, text) ACCOUNTS_##suffix,
enum accounts_statement {
	ACCOUNTS_STATEMENTS(ACCOUNTS_ENUM) ACCOUNTS_STATEMENT_COUNT
};
#undef ACCOUNTS_ENUM

#endif
