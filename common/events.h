/* SPDX-License-Identifier: ISC */
/*
 * The event table: every kind of event in the log exists once, here.  Structs,
 * encoding, JSON names and postern-events(7) follow from it.
 *
 * A row is E(SUFFIX, name, "text name", class, LEVEL, FIELDS, "meaning").
 * Fields use the kinds of common/ipc_messages.h.  Class LIFE: an event of a
 * message's life, kept in queued's outbox until the log has it; FLOW: any
 * other event of a session or message; STATE: of a program.
 *
 * Events stay on disk for months with the number of their row, so a new row
 * is added at the end of the table, a new field at the end of its row, and
 * none is ever taken away: then older events can still be read.
 */
#ifndef COMMON_EVENTS_H
#define COMMON_EVENTS_H

#include "common/ipc.h"

enum event_class { EVENT_LIFE, EVENT_FLOW, EVENT_STATE };
enum event_level { EVENT_DEBUG, EVENT_INFO, EVENT_NOTICE, EVENT_WARNING };

/* ---- the life of a message (queued's outbox) ---- */

#define EVENT_ACCEPTED(F, L) \
	F(TEXT, from, 330) \
	F(U32, recipient_count, 0) \
	F(U64, size, 0) \
	F(TEXT, client, 64) \
	F(TEXT, account, 256) \
	F(TEXT, header_message_id, 998) \
	F(U16, listener, 0)
/* One for each recipient of an accepted message. */
#define EVENT_RECIPIENT(F, L) \
	F(TEXT, to, 330) \
	F(TEXT, original, 330)
/* What an attempt to deliver came to: the first fields of the next three. */
#define EVENT_ATTEMPT(F, L) \
	F(TEXT, to, 330) \
	F(TEXT, host, 255) \
	F(TEXT, address, 64) \
	F(TEXT, tls, 256) \
	F(U16, code, 0) \
	F(TEXT, enhanced, 16) \
	F(TEXT, reply, 1024) \
	F(U32, attempt, 0)
#define EVENT_DELIVERED(F, L) \
	EVENT_ATTEMPT(F, L) \
	F(U32, ms, 0) \
	F(U64, queued_ms, 0)
#define EVENT_DEFERRED(F, L) \
	EVENT_ATTEMPT(F, L) \
	F(I64, next_attempt, 0)
#define EVENT_FAILED(F, L) EVENT_ATTEMPT(F, L)
/* A DSN was made: kind is failed, delayed or delivered. */
#define EVENT_NOTIFIED(F, L) \
	F(TEXT, to, 330) \
	F(TEXT, kind, 16) \
	F(U64, dsn_message_id, 0)
/* Held, released, retried, deleted or bounced by an administrator. */
#define EVENT_HANDLED(F, L) \
	F(TEXT, action, 32) \
	F(TEXT, actor, 128)
/* What was done before it left: signed, encrypted, decrypted, verified. */
#define EVENT_PROTECTED(F, L) \
	F(U32, recipient_count, 0) \
	F(TEXT, to, 330) \
	F(TEXT, applied, 64) \
	F(TEXT, method, 512)
#define EVENT_OPENED(F, L) \
	F(U32, recipient_count, 0) \
	F(TEXT, to, 330) \
	F(TEXT, applied, 64) \
	F(TEXT, method, 512) \
	F(BOOL, is_held, 0)
/* attempt 0: it was accepted before the signer had it. */
#define EVENT_WAITING(F, L) \
	F(U32, attempt, 0) \
	F(TEXT, reason, 512) \
	F(I64, next_attempt, 0)
/* The message left the queue. */
#define EVENT_FINISHED(F, L) F(U64, queued_ms, 0)

/* ---- connections and sessions (smtpd) ---- */

#define EVENT_CONNECT_REFUSED(F, L) \
	F(TEXT, client, 64) \
	F(TEXT, reason, 128) \
	F(U32, times, 0)
#define EVENT_SESSION(F, L) \
	F(TEXT, client, 64) \
	F(TEXT, ptr_name, 255) \
	F(TEXT, helo, 255) \
	F(TEXT, account, 256) \
	F(TEXT, tls, 128) \
	F(U16, listener, 0) \
	F(U32, accepted, 0) \
	F(U32, refused, 0) \
	F(U64, ms, 0) \
	F(TEXT, end, 128) \
	F(U16, client_port, 0) \
	F(TEXT, local_address, 64)
#define EVENT_COMMAND_REFUSED(F, L) \
	F(TEXT, client, 64) \
	F(TEXT, command, 256) \
	F(U16, code, 0) \
	F(TEXT, text, 512)
#define EVENT_MAIL_REFUSED(F, L) \
	F(TEXT, client, 64) \
	F(TEXT, account, 256) \
	F(TEXT, from, 330) \
	F(U16, code, 0) \
	F(TEXT, enhanced, 16) \
	F(TEXT, text, 512) \
	F(TEXT, reference, 16)
#define EVENT_RCPT_REFUSED(F, L) \
	F(TEXT, client, 64) \
	F(TEXT, account, 256) \
	F(TEXT, from, 330) \
	F(TEXT, to, 330) \
	F(U16, code, 0) \
	F(TEXT, enhanced, 16) \
	F(TEXT, text, 512) \
	F(TEXT, reference, 16)
/* After DATA: also where the header From is not the sender's own. */
#define EVENT_DATA_REFUSED(F, L) \
	F(TEXT, client, 64) \
	F(TEXT, account, 256) \
	F(TEXT, from, 330) \
	F(TEXT, header_from, 330) \
	F(U32, recipient_count, 0) \
	F(U16, code, 0) \
	F(TEXT, enhanced, 16) \
	F(TEXT, text, 512) \
	F(TEXT, reference, 16) \
	F(TEXT, header_message_id, 998)
#define EVENT_TLS_FAILED(F, L) \
	F(TEXT, client, 64) \
	F(TEXT, text, 256)

/* ---- logins (authd) ---- */

#define EVENT_LOGIN(F, L) \
	F(TEXT, account, 256) \
	F(TEXT, client, 64) \
	F(TEXT, mechanism, 32) \
	F(TEXT, app_password, 64)
/* Repeated attempts of a minute are one event with their number. */
#define EVENT_LOGIN_FAILED(F, L) \
	F(TEXT, account, 256) \
	F(TEXT, client, 64) \
	F(TEXT, mechanism, 32) \
	F(TEXT, reason, 128) \
	F(U32, times, 0)
#define EVENT_LOGIN_THROTTLED(F, L) \
	F(TEXT, account, 256) \
	F(TEXT, client, 64) \
	F(U32, times, 0)

/* ---- programs ---- */

#define EVENT_PROGRAM_STARTED(F, L) \
	F(TEXT, program, 16) \
	F(TEXT, version, 32)
#define EVENT_PROGRAM_STOPPED(F, L) F(TEXT, program, 16)
#define EVENT_PROGRAM_NOTICE(F, L) \
	F(TEXT, program, 16) \
	F(TEXT, text, 512)
#define EVENT_SETTINGS_APPLIED(F, L) \
	F(TEXT, program, 16) \
	F(U64, revision, 0)
#define EVENT_CHANGE(F, L) \
	F(TEXT, actor, 128) \
	F(TEXT, verb, 64) \
	F(TEXT, what, 512) \
	F(U64, revision, 0)
#define EVENT_LOG_LOST(F, L) \
	F(TEXT, program, 16) \
	F(U64, count, 0) \
	F(TEXT, reason, 64)
#define EVENT_ALERT(F, L) \
	F(TEXT, alert, 32) \
	F(TEXT, subject, 256) \
	F(BOOL, is_raised, 0) \
	F(TEXT, text, 512)
/* A process that the hub did not know yet began to write. */
#define EVENT_LOG_WRITER(F, L) \
	F(TEXT, program, 16) \
	F(U64, boot_id, 0) \
	F(U64, first_number, 0)
/* The end of a segment was not whole when the hub started. */
#define EVENT_LOG_CUT(F, L) \
	F(U32, segment, 0) \
	F(U64, after_number, 0) \
	F(U64, octets, 0) \
	F(TEXT, reason, 64)
/* Segments up to this one were deleted: older than log.retention_days. */
#define EVENT_LOG_EXPIRED(F, L) \
	F(U32, segment, 0) \
	F(TEXT, day, 16)

#define EVENTS(E) \
	E(ACCEPTED, accepted, "accepted", LIFE, INFO, EVENT_ACCEPTED, \
	    "the message is in the queue, durably, and 250 was said") \
	E(RECIPIENT, recipient, "recipient", LIFE, INFO, EVENT_RECIPIENT, \
	    "one recipient of the message; original where an alias led here") \
	E(DELIVERED, delivered, "delivered", LIFE, INFO, EVENT_DELIVERED, \
	    "the next server took it for this recipient") \
	E(DEFERRED, deferred, "deferred", LIFE, INFO, EVENT_DEFERRED, \
	    "this attempt did not succeed; it will be tried again") \
	E(FAILED, failed, "failed", LIFE, NOTICE, EVENT_FAILED, \
	    "given up for this recipient") \
	E(NOTIFIED, notified, "notified", LIFE, INFO, EVENT_NOTIFIED, \
	    "a delivery status notification was made") \
	E(HANDLED, handled, "handled", LIFE, NOTICE, EVENT_HANDLED, \
	    "an administrator acted on the message") \
	E(FINISHED, finished, "finished", LIFE, INFO, EVENT_FINISHED, \
	    "no recipient is left; the message is no longer in the queue") \
	E(CONNECT_REFUSED, connect_refused, "connect.refused", FLOW, INFO, \
	    EVENT_CONNECT_REFUSED, \
	    "a connection was refused by the flood shield or a block entry") \
	E(SESSION, session, "session", FLOW, INFO, EVENT_SESSION, \
	    "an SMTP session ended") \
	E(COMMAND_REFUSED, command_refused, "command.refused", FLOW, INFO, \
	    EVENT_COMMAND_REFUSED, "a command was refused") \
	E(MAIL_REFUSED, mail_refused, "mail.refused", FLOW, INFO, \
	    EVENT_MAIL_REFUSED, "a sender was refused") \
	E(RCPT_REFUSED, rcpt_refused, "rcpt.refused", FLOW, INFO, \
	    EVENT_RCPT_REFUSED, "a recipient was refused") \
	E(DATA_REFUSED, data_refused, "data.refused", FLOW, INFO, \
	    EVENT_DATA_REFUSED, "a message was refused") \
	E(TLS_FAILED, tls_failed, "tls.failed", FLOW, INFO, EVENT_TLS_FAILED, \
	    "a TLS handshake with a client failed") \
	E(LOGIN, login, "login", FLOW, INFO, EVENT_LOGIN, \
	    "somebody logged in") \
	E(LOGIN_FAILED, login_failed, "login.failed", FLOW, NOTICE, \
	    EVENT_LOGIN_FAILED, "a login was refused") \
	E(LOGIN_THROTTLED, login_throttled, "login.throttled", FLOW, NOTICE, \
	    EVENT_LOGIN_THROTTLED, "logins were not looked at: too many") \
	E(PROGRAM_STARTED, program_started, "program.started", STATE, INFO, \
	    EVENT_PROGRAM_STARTED, "a program started") \
	E(PROGRAM_STOPPED, program_stopped, "program.stopped", STATE, INFO, \
	    EVENT_PROGRAM_STOPPED, "a program ended in order") \
	E(PROGRAM_NOTICE, program_notice, "program.notice", STATE, NOTICE, \
	    EVENT_PROGRAM_NOTICE, "a program has something to say") \
	E(SETTINGS_APPLIED, settings_applied, "settings.applied", STATE, \
	    DEBUG, EVENT_SETTINGS_APPLIED, \
	    "a program works with that revision") \
	E(CHANGE, change, "change", STATE, NOTICE, EVENT_CHANGE, \
	    "an administrator changed something") \
	E(LOG_LOST, log_lost, "log.lost", STATE, WARNING, EVENT_LOG_LOST, \
	    "events were lost on their way to the log") \
	E(ALERT, alert, "alert", STATE, WARNING, EVENT_ALERT, \
	    "an alert was raised or cleared") \
	E(LOG_WRITER, log_writer, "log.writer", STATE, DEBUG, \
	    EVENT_LOG_WRITER, "a new process began to write to the log") \
	E(LOG_CUT, log_cut, "log.cut", STATE, WARNING, EVENT_LOG_CUT, \
	    "the end of the log was not whole after a crash") \
	E(LOG_EXPIRED, log_expired, "log.expired", STATE, INFO, \
	    EVENT_LOG_EXPIRED, "old log was deleted, as the settings say") \
	E(PROTECTED, protected, "protected", LIFE, INFO, EVENT_PROTECTED, \
	    "it was signed, encrypted or DKIM-signed, as policy has it") \
	E(OPENED, opened, "opened", LIFE, INFO, EVENT_OPENED, \
	    "it was decrypted or its signature was looked at") \
	E(WAITING, waiting, "waiting", LIFE, INFO, EVENT_WAITING, \
	    "it waits for the signer; nothing leaves before")

#define EVENT_STRUCT(SUFFIX, name, text, class, level, FIELDS, meaning) \
	struct event_##name { \
		FIELDS(IPC_MEMBER, IPC_LIST_MEMBER) \
	};
EVENTS(EVENT_STRUCT)
#undef EVENT_STRUCT

/* EV_ACCEPTED, ... */
#define EVENT_ENUM(SUFFIX, name, text, class, level, FIELDS, meaning) \
	EV_##SUFFIX,
enum event_type { EVENTS(EVENT_ENUM) EVENT_TYPE_COUNT };
#undef EVENT_ENUM

#define EVENT_MEMBER(SUFFIX, name, text, class, level, FIELDS, meaning) \
	struct event_##name name;
union event_fields {
	EVENTS(EVENT_MEMBER)
};
#undef EVENT_MEMBER

struct event_row {
	struct ipc_shape shape; /* shape.name is the text name */
	enum event_class class;
	enum event_level level;
	const char *meaning;
};

const struct event_row *event_row(enum event_type type);

/* "life", "warning": as JSON and the manual have them. */
const char *event_class_name(enum event_class class);
const char *event_level_name(enum event_level level);

/* The type with that text name, or EVENT_TYPE_COUNT. */
enum event_type event_by_name(struct slice name);

/* A decoded event. */
struct event_head {
	enum event_type type;
	uint64_t time_us;
	uint64_t session_id;
	uint64_t message_id;
};

/* Octets of the fixed part: u16 type, u64 time, u64 session, u64 message. */
#define EVENT_HEAD_SIZE 26

/*
 * -1 unless in is exactly one event that keeps its row; fields that an older
 * build did not have yet are empty.  The fields point into in.
 */
int event_read(struct slice in, struct event_head *head_r,
    union event_fields *fields_r, struct err *err);

/*
 * A datagram: u64 boot id (random for each start of the writer), u64 sequence
 * number of its first event, u16 count, then for each event a u32 length and
 * its octets.  Numbers start at 1 and have no gaps: what was given up before
 * it got a number is told by an event "log.lost".
 */
#define EVENT_DATAGRAM_MAX 60000
#define EVENT_DATAGRAM_HEAD 18

struct event_datagram {
	uint64_t boot_id;
	uint64_t sequence; /* of the next event */
	uint16_t count;    /* of events left in rest */
	struct slice rest;
};

/* -1 unless all of in is a datagram of count events, none of them read yet. */
int event_datagram_read(
    struct slice in, struct event_datagram *datagram_r, struct err *err);

/* Takes the first event off; false at the end. */
bool event_datagram_next(
    struct event_datagram *datagram, struct slice *event_r);

/* Writes the head of a datagram. */
void event_datagram_write_head(uint64_t boot_id, uint64_t sequence,
    uint16_t count, char out[EVENT_DATAGRAM_HEAD]);

#endif
