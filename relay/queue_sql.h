/* SPDX-License-Identifier: ISC */
/*
 * queue.db: schema and statements.  Its states on disk, one transaction each:
 *
 *   (nothing)  -> waiting    accept: msg, output, rcpt rows, life events
 *   waiting    -> waiting    deferred: rcpt.next_attempt moves on
 *   waiting    -> held       by an administrator; and back
 *   waiting    -> (no row)   delivered or failed: the rcpt row goes; with the
 *                            last one msg and output go too, and a DSN, if
 *                            one is due, is accepted in the same transaction
 *
 * A message that has to be signed, encrypted or opened has a row in
 * protection and one in demand for each recipient, for as long as it lives;
 * demand.waits says whether that recipient may have it yet, and
 * relay/queue_sign.h has the states.
 *
 * A body over IPC_INLINE_MAX is a file spool/<xx>/<id>, synced before the
 * transaction that names it; a file without a row is removed at start.
 *
 * rcpt has no rowid: its rows lie together by message, and the index of due
 * rows holds all that the scheduler reads, so that it never touches bodies.
 * It holds state, too, though that is 0 in all of it: without, SQLite looks
 * into each row for it (a million rows in 5.5 s instead of 0.5 s).
 *
 * clock.seen_ms is the time that the queue saw last, noted now and then.  Where
 * the clock is elsewhere at the next start, msg.created_ms and rcpt.last_ms
 * move along, in one transaction with seen_ms: nothing gets old by time that
 * the queue did not see.
 */
#ifndef RELAY_QUEUE_SQL_H
#define RELAY_QUEUE_SQL_H

/* rcpt.state */
enum rcpt_state {
	RCPT_WAITING,
	RCPT_HELD,
	RCPT_STATE_COUNT
};

/* msg.flags */
enum msg_flag {
	MSG_FLAG_8BIT = 1,
	MSG_FLAG_UTF8 = 2,
	MSG_FLAG_BOUNCE = 4, /* made by us, with the null reverse-path */
	MSG_FLAG_TRUSTED = 8, /* of a login or a trusted network */
	MSG_FLAG_DEMAND = 16, /* it has a row in protection */
	MSG_FLAG_WAIT_SIGN = 32 /* some recipient waits: see demand.waits */
};

/* demand.waits: a recipient that waits gets nothing. */
enum demand_waits {
	DEMAND_MET,   /* what he is to get is known */
	DEMAND_WAITS, /* for the signer */
	DEMAND_READY, /* for the others: all of them, or none (required-all) */
	DEMAND_WAITS_COUNT
};

/* protection.waits */
enum protection_waits {
	PROTECTION_DONE,
	PROTECTION_WAITS,   /* msg has MSG_FLAG_WAIT_SIGN */
	PROTECTION_SUSPECT, /* likewise; the signer ended over it */
	PROTECTION_WAITS_COUNT
};

/* output.kind */
enum output_kind {
	OUTPUT_SUBMITTED,
	OUTPUT_SIGNER,
	OUTPUT_SIGNER_8BIT,
	OUTPUT_KIND_COUNT
};

static const char *const queue_migrations[] = {
    "CREATE TABLE msg ("
    " id INTEGER PRIMARY KEY,"        /* common/ids.h */
    " session INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL,"
    " sender TEXT NOT NULL,"          /* reverse-path; '' is the null one */
    " account TEXT NOT NULL,"
    " client TEXT NOT NULL,"
    " envid TEXT NOT NULL,"
    " ret INTEGER NOT NULL,"
    " flags INTEGER NOT NULL,"
    " size INTEGER NOT NULL,"
    " header_message_id TEXT NOT NULL,"
    " events INTEGER NOT NULL);"      /* life events so far */
    "CREATE TABLE output ("
    " msg INTEGER NOT NULL REFERENCES msg(id),"
    " number INTEGER NOT NULL,"
    " kind INTEGER NOT NULL,"         /* enum output_kind */
    " size INTEGER NOT NULL,"
    " is_file INTEGER NOT NULL,"
    " content BLOB,"                  /* NULL when is_file */
    " UNIQUE (msg, number));"
    "CREATE TABLE rcpt ("
    " msg INTEGER NOT NULL REFERENCES msg(id),"
    " number INTEGER NOT NULL,"
    " output INTEGER NOT NULL,"
    " address TEXT NOT NULL,"
    " domain TEXT NOT NULL,"
    " original TEXT NOT NULL,"        /* before alias expansion, or '' */
    " notify INTEGER NOT NULL,"
    " orcpt TEXT NOT NULL,"
    " state INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL,"
    " next_ms INTEGER NOT NULL,"
    " last_ms INTEGER NOT NULL,"
    " last_code INTEGER NOT NULL,"
    " last_enhanced TEXT NOT NULL,"
    " last_reply TEXT NOT NULL,"
    " last_host TEXT NOT NULL,"
    " PRIMARY KEY (msg, number)) WITHOUT ROWID;"
    "CREATE INDEX rcpt_due ON rcpt(next_ms, msg, number, domain, state)"
    " WHERE state = 0;"
    "CREATE TABLE outbox (seq INTEGER PRIMARY KEY, events BLOB NOT NULL);",

    "CREATE TABLE protection ("
    " msg INTEGER PRIMARY KEY,"       /* msg.id */
    " direction INTEGER NOT NULL,"    /* enum sign_direction */
    " dkim INTEGER NOT NULL,"         /* enum protect_dkim */
    " waits INTEGER NOT NULL,"        /* enum protection_waits */
    " attempts INTEGER NOT NULL,"
    " header_from TEXT NOT NULL,"
    " removals TEXT NOT NULL);"       /* lines "subject WORDS" ... */
    "CREATE INDEX protection_waits ON protection(msg) WHERE waits = 1;"
    "CREATE TABLE demand ("
    " msg INTEGER NOT NULL,"
    " number INTEGER NOT NULL,"       /* rcpt.number */
    " sign INTEGER NOT NULL,"         /* enum protect_sign ... */
    " encrypt INTEGER NOT NULL,"
    " method INTEGER NOT NULL,"
    " min_trust INTEGER NOT NULL,"
    " options INTEGER NOT NULL,"
    " applied INTEGER NOT NULL,"      /* a set of enum protect_applied */
    " PRIMARY KEY (msg, number)) WITHOUT ROWID;",

    "CREATE TABLE clock (seen_ms INTEGER NOT NULL);" /* 0: never */
    "INSERT INTO clock VALUES(0);",

    "ALTER TABLE demand ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;"
    "UPDATE demand SET waits=1 WHERE msg IN"
    " (SELECT id FROM msg WHERE (flags & 32)<>0);",
};

/* Q(name, SQL text) */
#define QUEUE_STATEMENTS(Q) \
	Q(MSG_INSERT, \
	    "INSERT INTO msg(id, session, created_ms, sender, account," \
	    " client, envid, ret, flags, size, header_message_id, events)" \
	    " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)") \
	Q(OUTPUT_INSERT, \
	    "INSERT INTO output(msg, number, kind, size, is_file, content)" \
	    " VALUES(?1,?2,?3,?4,?5,?6)") \
	Q(RCPT_INSERT, \
	    "INSERT INTO rcpt(msg, number, output, address, domain, original," \
	    " notify, orcpt, state, attempts, next_ms, last_ms, last_code," \
	    " last_enhanced, last_reply, last_host)" \
	    " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,0,?10,0,0,'','','')") \
	Q(RCPT_DELETE, "DELETE FROM rcpt WHERE msg=?1 AND number=?2") \
	Q(RCPT_DEFER, \
	    "UPDATE rcpt SET attempts=?3, next_ms=?4, last_ms=?5," \
	    " last_code=?6, last_enhanced=?7, last_reply=?8, last_host=?9" \
	    " WHERE msg=?1 AND number=?2") \
	Q(RCPT_POSTPONE, \
	    "UPDATE rcpt SET next_ms=?3" \
	    " WHERE msg=?1 AND number=?2 AND state=0") \
	Q(RCPT_PULL_IN, \
	    "UPDATE rcpt SET next_ms=?2 WHERE (msg, number) IN" \
	    " (SELECT msg, number FROM rcpt INDEXED BY rcpt_due" \
	    " WHERE state=0 AND next_ms>?1 LIMIT ?3)") \
	Q(RCPT_ANY, "SELECT 1 FROM rcpt WHERE msg=?1 LIMIT 1") \
	Q(MSG_DELETE, "DELETE FROM msg WHERE id=?1") \
	Q(OUTPUT_DELETE, "DELETE FROM output WHERE msg=?1") \
	Q(MSG_EVENTS, "UPDATE msg SET events=max(events, ?2) WHERE id=?1") \
	Q(CLOCK_GET, "SELECT seen_ms FROM clock") \
	Q(CLOCK_SET, "UPDATE clock SET seen_ms=?1") \
	Q(CLOCK_MSG, "UPDATE msg SET created_ms=created_ms+?1") \
	Q(CLOCK_RCPT, \
	    "UPDATE rcpt SET last_ms=last_ms+?1 WHERE last_ms<>0") \
	Q(OUTBOX_INSERT, "INSERT INTO outbox(seq, events) VALUES(?1,?2)") \
	Q(OUTBOX_DELETE, "DELETE FROM outbox WHERE seq<=?1") \
	Q(OUTBOX_RANGE, "SELECT min(seq), max(seq), count(*) FROM outbox") \
	Q(OUTBOX_NEXT, \
	    "SELECT seq, events FROM outbox WHERE seq>?1" \
	    " ORDER BY seq LIMIT 1") \
	Q(MSG_GET, \
	    "SELECT session, created_ms, sender, account, client, envid, ret," \
	    " flags, size, header_message_id, events" \
	    " FROM msg WHERE id=?1") \
	Q(RCPT_OF_MSG, \
	    "SELECT number, output, address, domain, original, notify, orcpt," \
	    " state, attempts, next_ms, last_ms, last_code, last_enhanced," \
	    " last_reply, last_host FROM rcpt WHERE msg=?1 ORDER BY number") \
	Q(OUTPUT_GET, \
	    "SELECT size, is_file, content FROM output" \
	    " WHERE msg=?1 AND number=?2") \
	Q(DUE, \
	    "SELECT next_ms, msg, number, domain FROM rcpt" \
	    " INDEXED BY rcpt_due WHERE state=0 AND next_ms<=?1" \
	    " AND (next_ms, msg, number) > (?2, ?3, ?4)" \
	    " ORDER BY next_ms, msg, number LIMIT ?5") \
	Q(FILE_KNOWN, \
	    "SELECT 1 FROM output WHERE msg=?1 AND number=?2 AND is_file=1") \
	Q(PROTECTION_INSERT, \
	    "INSERT INTO protection(msg, direction, dkim, waits, attempts," \
	    " header_from, removals) VALUES(?1,?2,?3,?4,?5,?6,?7)") \
	Q(PROTECTION_ATTEMPT, \
	    "UPDATE protection SET attempts=?2, waits=?3 WHERE msg=?1") \
	Q(PROTECTION_NUMBER, \
	    "UPDATE protection SET attempts=max(attempts, ?2)" \
	    " WHERE msg=?1") \
	Q(PROTECTION_DELETE, "DELETE FROM protection WHERE msg=?1") \
	Q(PROTECTION_GET, \
	    "SELECT direction, dkim, attempts, header_from, removals, waits" \
	    " FROM protection WHERE msg=?1") \
	Q(DEMAND_INSERT, \
	    "INSERT INTO demand(msg, number, sign, encrypt, method," \
	    " min_trust, options, applied, waits)" \
	    " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)") \
	Q(DEMAND_APPLIED, \
	    "UPDATE demand SET applied=?3, waits=?4" \
	    " WHERE msg=?1 AND number=?2") \
	Q(DEMAND_DELETE, "DELETE FROM demand WHERE msg=?1") \
	Q(DEMAND_OF_MSG, \
	    "SELECT number, sign, encrypt, method, min_trust, options," \
	    " applied, waits FROM demand WHERE msg=?1 ORDER BY number") \
	Q(OUTPUTS_OF_MSG, \
	    "SELECT number, kind, size, is_file FROM output" \
	    " WHERE msg=?1 AND number>0 ORDER BY number") \
	Q(MSG_SIGNED, "UPDATE msg SET flags=flags & ~32 WHERE id=?1") \
	Q(RCPT_OUTPUT, \
	    "UPDATE rcpt SET output=?3, state=?4, next_ms=?5" \
	    " WHERE msg=?1 AND number=?2") \
	Q(RCPT_WAITS, \
	    "SELECT 1 FROM rcpt AS r JOIN demand AS d" \
	    " ON d.msg=r.msg AND d.number=r.number" \
	    " WHERE r.msg=?1 AND r.number=?2 AND r.state=0 AND d.waits<>0") \
	Q(MSG_WAITS, \
	    "SELECT 1 FROM rcpt AS r JOIN demand AS d" \
	    " ON d.msg=r.msg AND d.number=r.number" \
	    " WHERE r.msg=?1 AND d.waits<>0 LIMIT 1") \
	Q(SIGN_PULL_IN, \
	    "UPDATE rcpt SET next_ms=?1 WHERE (msg, number) IN" \
	    " (SELECT r.msg, r.number FROM protection AS p" \
	    " INDEXED BY protection_waits JOIN rcpt AS r ON r.msg=p.msg" \
	    " JOIN demand AS d ON d.msg=r.msg AND d.number=r.number" \
	    " WHERE p.waits=1 AND d.waits=1 AND r.state=0 AND r.next_ms>?1" \
	    " LIMIT ?2)") \
	Q(TOTALS, \
	    "SELECT count(*), coalesce(sum(size), 0)," \
	    " coalesce(min(created_ms), 0) FROM msg") \
	Q(RCPT_SET_STATE, \
	    "UPDATE rcpt SET state=?3, next_ms=?4" \
	    " WHERE msg=?1 AND state=?2") \
	Q(MSG_LIST, \
	    "SELECT id FROM msg WHERE id>?1 ORDER BY id LIMIT ?2") \
	Q(SUMMARY_DOMAIN, \
	    "SELECT domain, count(*) AS n, sum(state=1), min(next_ms)," \
	    " max(last_reply) FROM rcpt GROUP BY 1 ORDER BY n DESC LIMIT ?1") \
	Q(SUMMARY_REASON, \
	    "SELECT CASE WHEN attempts=0 THEN 'not tried yet' ELSE" \
	    " last_code || ' ' || last_enhanced END, count(*) AS n," \
	    " sum(state=1), min(next_ms), max(last_reply)" \
	    " FROM rcpt GROUP BY 1 ORDER BY n DESC LIMIT ?1") \
	Q(SUMMARY_SENDER, \
	    "SELECT sender, count(*) AS n, sum(state=1), min(next_ms)," \
	    " max(last_reply) FROM rcpt JOIN msg ON msg.id=rcpt.msg" \
	    " GROUP BY 1 ORDER BY n DESC LIMIT ?1")

#define QUEUE_STATEMENT_ENUM(name, text) Q_##name,
enum queue_statement { QUEUE_STATEMENTS(QUEUE_STATEMENT_ENUM) Q_COUNT };
#undef QUEUE_STATEMENT_ENUM

#define QUEUE_STATEMENT_TEXT(name, text) [Q_##name] = text,
static const char *const queue_statements[Q_COUNT] = {
    QUEUE_STATEMENTS(QUEUE_STATEMENT_TEXT)};
#undef QUEUE_STATEMENT_TEXT

#endif
