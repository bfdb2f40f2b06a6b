/* SPDX-License-Identifier: ISC */
/*
 * The message table: every message that travels between programs exists once,
 * here.  Structs, codec, limits, names, the hash that both ends compare, and
 * the tests follow from it (DESIGN §4).
 *
 * A field is F(kind, name, limit).  Kinds:
 *   BOOL U16 U32 U64 I64   numbers; the limit is not used
 *   TEXT                   UTF-8 without control characters, <= limit octets
 *   BYTES                  any octets, <= limit
 * A list is L(record, name, limit): at most limit records of that kind.
 * A message without any is its type alone, and is sent with NULL.
 *
 * A message is M(NAME, name, sender, receiver, descriptors, FIELDS).  ANY
 * stands for every pair that has a channel; which handler a program registers
 * for which peer narrows it.  A question's answer stands in the row below it.
 */
#ifndef COMMON_IPC_MESSAGES_H
#define COMMON_IPC_MESSAGES_H

/* Limits that several rows share. */
#define IPC_ADDRESS_MAX 330     /* "local@domain": 64 + 1 + 255, and slack */
#define IPC_DOMAIN_MAX 255      /* RFC 1035 */
#define IPC_CLIENT_MAX 64       /* an IP address or address:port as text */
#define IPC_REPLY_MAX 1024      /* what is kept of a remote server's reply */
#define IPC_ENVID_MAX 200       /* RFC 3461: 100 characters, as xtext */
#define IPC_ORCPT_MAX 500       /* RFC 3461 §4.2 */
#define IPC_TOKEN_MAX 16384     /* a login token with its identities */
#define IPC_RECIPIENTS_MAX 2000 /* per message, above every setting */
#define IPC_INLINE_MAX 65536    /* bodies up to this travel in one frame */
#define IPC_TRACE_MAX 16384     /* header lines put before the body */
#define IPC_CHUNK_MAX 65536     /* one piece of a larger body */
#define IPC_OUTPUT_MAX 262144   /* a signer's output in one frame */
#define IPC_KEY_MAX 262144      /* a certificate, chain or OpenPGP key */
#define IPC_JSON_MAX 4194304    /* one management request or answer */
#define IPC_CRL_MAX 16777216    /* a CA's list of revoked certificates */

/* ---- records, for lists ---- */

#define IPC_RECORD_FACT(F, L) \
	F(TEXT, name, 64) \
	F(TEXT, value, 1024)

#define IPC_RECORD_COUNTER(F, L) \
	F(TEXT, name, 64) \
	F(I64, value, 0)

/* One setting that is not at its default; index is its row in settings.h. */
#define IPC_RECORD_SETTING(F, L) \
	F(U16, index, 0) \
	F(U64, number, 0) \
	F(TEXT, text, 8192)

/* One of our domains; mode is enum domain_mode, to a route target or "". */
#define IPC_RECORD_DOMAIN(F, L) \
	F(TEXT, name, IPC_DOMAIN_MAX) \
	F(U16, mode, 0) \
	F(TEXT, to, 512) \
	F(BOOL, has_aliases, 0)

/* One route, in match order; user and password only ever go to relayd. */
#define IPC_RECORD_ROUTE(F, L) \
	F(TEXT, pattern, 320) \
	F(TEXT, target, 512) \
	F(TEXT, tls, 16) \
	F(TEXT, user, 256) \
	F(BYTES, password, 1024)

/* A block or allow entry; until 0 means for good, else seconds since 1970. */
#define IPC_RECORD_ACCESS(F, L) \
	F(BOOL, is_allow, 0) \
	F(BOOL, is_client, 0) \
	F(TEXT, pattern, 330) \
	F(I64, until, 0)

/* A recipient as the client named it; notify is a set of enum dsn_notify. */
#define IPC_RECORD_RECIPIENT(F, L) \
	F(U64, id, 0) \
	F(TEXT, address, IPC_ADDRESS_MAX) \
	F(U16, notify, 0) \
	F(TEXT, orcpt, IPC_ORCPT_MAX)

/*
 * One rule of protection: who sends to whom, and what then holds, in the
 * words of common/policy.h.
 */
#define IPC_RECORD_POLICY(F, L) \
	F(TEXT, sender, IPC_ADDRESS_MAX) \
	F(TEXT, recipient, IPC_ADDRESS_MAX) \
	F(TEXT, rules, 1024)

/*
 * What policy demands for one recipient: enums protect_sign,
 * protect_encrypt, protect_method and a set of protect_option.
 */
#define IPC_RECORD_DEMAND(F, L) \
	F(U32, number, 0) \
	F(TEXT, address, IPC_ADDRESS_MAX) \
	F(U16, sign, 0) \
	F(U16, encrypt, 0) \
	F(U16, method, 0) \
	F(U16, options, 0) \
	F(U16, min_trust, 0)

/*
 * What the signer did for one recipient: enum sign_outcome, the output that
 * is his (from 1; 0: as it came), a set of protect_applied, and words for the
 * log such as "smime signed AB12... encrypted aes-256-cbc".
 */
#define IPC_RECORD_PROTECTION(F, L) \
	F(U32, number, 0) \
	F(U16, output, 0) \
	F(U16, outcome, 0) \
	F(U16, applied, 0) \
	F(TEXT, method, 512) \
	F(TEXT, enhanced, 16) \
	F(TEXT, reason, 512)

/*
 * A key that a task of the signer works with: use is enum work_key_use, ref
 * the file of its private part or "", public and chain its open parts
 * (certificates DER, OpenPGP as transferable key, CRL DER).
 */
#define IPC_RECORD_WORK_KEY(F, L) \
	F(U16, use, 0) \
	F(TEXT, ref, 512) \
	F(TEXT, fingerprint, 128) \
	F(TEXT, address, IPC_ADDRESS_MAX) \
	F(TEXT, domain, IPC_DOMAIN_MAX) \
	F(TEXT, selector, 64) \
	F(TEXT, algorithm, 64) \
	F(BOOL, has_aead, 0) \
	F(BYTES, public, IPC_KEY_MAX) \
	F(BYTES, chain, IPC_KEY_MAX)

/*
 * A correspondent's key that a signature brought along, and certificates of
 * issuers that came with it (DER, one after another).
 */
#define IPC_RECORD_HARVEST(F, L) \
	F(TEXT, kind, 16) \
	F(TEXT, address, IPC_ADDRESS_MAX) \
	F(TEXT, source, 32) \
	F(U16, trust, 0) \
	F(BYTES, public, IPC_KEY_MAX) \
	F(BYTES, chain, IPC_KEY_MAX)

/* A named part of what the signer's `key` worker is given, or gives back. */
#define IPC_RECORD_PART(F, L) \
	F(TEXT, name, 64) \
	F(BYTES, data, IPC_CRL_MAX)

/*
 * What became of one recipient in one attempt; outcome is enum outcome.  host,
 * address and tls: of another server than the result names.
 */
#define IPC_RECORD_RESULT(F, L) \
	F(U64, id, 0) \
	F(U16, outcome, 0) \
	F(U16, code, 0) \
	F(TEXT, enhanced, 16) \
	F(TEXT, reply, IPC_REPLY_MAX) \
	F(TEXT, host, IPC_DOMAIN_MAX) \
	F(TEXT, address, IPC_CLIENT_MAX) \
	F(TEXT, tls, 256)

/* Alias expansion: the recipient with this index becomes this address. */
#define IPC_RECORD_TARGET(F, L) \
	F(U16, index, 0) \
	F(TEXT, address, IPC_ADDRESS_MAX)

/* One life event of one message, numbered by queued from 1. */
#define IPC_RECORD_LIFE(F, L) \
	F(U64, message_id, 0) \
	F(U32, number, 0) \
	F(BYTES, event, 16384)

/*
 * One resource record.  MX, PTR, CNAME, NS, SOA: the name that it points to,
 * "." for the root (null MX), "" for one with odd characters.  A, AAAA: data
 * is the 4 or 16 octets.  TLSA: the record's octets.  TXT: its strings, each
 * after an octet with its length.
 */
#define IPC_RECORD_RR(F, L) \
	F(U16, type, 0) \
	F(U16, preference, 0) \
	F(U32, ttl_s, 0) \
	F(TEXT, name, IPC_DOMAIN_MAX) \
	F(BYTES, data, 4096)

#define IPC_RECORDS(R) \
	R(fact, IPC_RECORD_FACT) \
	R(counter, IPC_RECORD_COUNTER) \
	R(setting, IPC_RECORD_SETTING) \
	R(domain, IPC_RECORD_DOMAIN) \
	R(route, IPC_RECORD_ROUTE) \
	R(access, IPC_RECORD_ACCESS) \
	R(recipient, IPC_RECORD_RECIPIENT) \
	R(result, IPC_RECORD_RESULT) \
	R(target, IPC_RECORD_TARGET) \
	R(life, IPC_RECORD_LIFE) \
	R(rr, IPC_RECORD_RR) \
	R(policy, IPC_RECORD_POLICY) \
	R(demand, IPC_RECORD_DEMAND) \
	R(protection, IPC_RECORD_PROTECTION) \
	R(work_key, IPC_RECORD_WORK_KEY) \
	R(harvest, IPC_RECORD_HARVEST) \
	R(part, IPC_RECORD_PART)

/* ---- every channel ---- */

/* First frame in both directions. */
#define IPC_HELLO(F, L) \
	F(U64, table_hash, 0) \
	F(TEXT, role, 16) \
	F(TEXT, version, 32)

/* The last frame: why this end closes. */
#define IPC_BYE(F, L) F(TEXT, reason, 256)

/* ---- confd and every program ---- */

#define IPC_CONF_SNAPSHOT(F, L) \
	F(U64, revision, 0) \
	L(setting, settings, 512) \
	L(domain, domains, 20000) \
	L(route, routes, 20000) \
	L(access, access, 100000) \
	L(policy, policies, 20000)

/* The program works with that revision now; or why it cannot. */
#define IPC_CONF_APPLIED(F, L) \
	F(U64, revision, 0) \
	F(TEXT, error, 512)

#define IPC_STATUS_ASK(F, L)

#define IPC_STATUS(F, L) \
	F(BOOL, is_ready, 0) \
	L(fact, facts, 256) \
	L(counter, counters, 256)

/* A verb of the management API with its JSON arguments; actor is who asks. */
#define IPC_MGMT_REQUEST(F, L) \
	F(TEXT, verb, 64) \
	F(TEXT, actor, 128) \
	F(BYTES, arguments, IPC_JSON_MAX)

/* code is an exit code of DESIGN §5; body the JSON result or the error. */
#define IPC_MGMT_REPLY(F, L) \
	F(U16, code, 0) \
	F(BYTES, body, IPC_JSON_MAX)

/* alert is a row of alerts.h; raised and cleared once per subject. */
#define IPC_ALERT_RAISE(F, L) \
	F(U16, alert, 0) \
	F(TEXT, subject, 256) \
	F(TEXT, text, 512)

#define IPC_ALERT_CLEAR(F, L) \
	F(U16, alert, 0) \
	F(TEXT, subject, 256)

/* A certificate chain and its key (PEM files) on their way to smtpd. */
#define IPC_TLS_INSTALL(F, L) F(TEXT, actor, 128)
#define IPC_TLS_INSTALLED(F, L) \
	F(TEXT, error, 512) \
	L(fact, facts, 32)

/* Which way an address would take now, step by step. */
#define IPC_ROUTE_TEST(F, L) F(TEXT, address, IPC_ADDRESS_MAX)
#define IPC_ROUTE_TESTED(F, L) \
	F(TEXT, error, 512) \
	L(fact, facts, 64)

/* ---- bindd and smtpd ---- */

/* One listening socket; kind is enum listener_kind. */
#define IPC_LISTENER(F, L) \
	F(U16, kind, 0) \
	F(TEXT, address, IPC_CLIENT_MAX)

/* The set is complete: listeners not named since the last one are closed. */
#define IPC_LISTENERS_END(F, L) F(U32, count, 0)

/*
 * What smtpd still has from an earlier bindd, whenever it meets one, and the
 * end of that: so ports stay open while bindd restarts.
 */
#define IPC_LISTENER_KEPT(F, L) F(U16, kind, 0)
#define IPC_LISTENERS_KEPT(F, L) F(U32, count, 0)

/* ---- a program, its spawner and its workers ---- */

#define IPC_SPAWN(F, L) F(TEXT, worker, 32)
#define IPC_SPAWNED(F, L) F(U32, pid, 0)
#define IPC_WORKER_EXITED(F, L) \
	F(U32, pid, 0) \
	F(U32, wait_status, 0)

/* It and what it started end at once; of another pid nothing happens. */
#define IPC_WORKER_KILL(F, L) F(U32, pid, 0)

/* First to a worker; slot numbers the workers of one program from 0. */
#define IPC_WORKER_START(F, L) F(U16, slot, 0)

/* A connected channel to that role, for a worker that may not connect. */
#define IPC_WORKER_LINK(F, L) F(U16, role, 0)
#define IPC_WORKER_LINK_WANTED(F, L) F(U16, role, 0)

/* PEM texts, and the keys of session tickets that all workers share. */
#define IPC_WORKER_TLS(F, L) \
	F(BYTES, chain, 131072) \
	F(BYTES, key, 32768) \
	F(BYTES, ticket_keys, 256)

/* An accepted connection. */
#define IPC_CLIENT(F, L) \
	F(U64, session_id, 0) \
	F(U16, listener_kind, 0) \
	F(TEXT, address, IPC_CLIENT_MAX) \
	F(U16, port, 0) \
	F(TEXT, local_address, IPC_CLIENT_MAX) \
	F(BOOL, is_trusted, 0) \
	F(BOOL, is_stressed, 0)

#define IPC_CLIENT_CLOSED(F, L) \
	F(U64, session_id, 0) \
	F(BOOL, was_authenticated, 0) \
	F(U32, accepted, 0) \
	F(U32, refused, 0)

/* Finish what runs, take no more, exit. */
#define IPC_WORKER_DRAIN(F, L) F(U32, deadline_s, 0)

/* ---- smtpd and authd ---- */

/* Sent when the channel is up and when it changes: SASL names, spaces. */
#define IPC_AUTH_MECHANISMS(F, L) F(TEXT, mechanisms, 512)

/*
 * Login attempts.  The three channel bindings are empty without TLS.  An
 * empty initial response differs from none.
 */
#define IPC_AUTH_START(F, L) \
	F(U64, session_id, 0) \
	F(TEXT, mechanism, 32) \
	F(BOOL, has_initial, 0) \
	F(BYTES, initial, 12288) \
	F(TEXT, client, IPC_CLIENT_MAX) \
	F(BOOL, is_tls, 0) \
	F(BYTES, tls_exporter, 64) \
	F(BYTES, tls_unique, 64) \
	F(BYTES, tls_server_end_point, 64)

#define IPC_AUTH_STEP(F, L) \
	F(U64, session_id, 0) \
	F(BYTES, response, 12288)

/* The client cancelled or left. */
#define IPC_AUTH_ABORT(F, L) F(U64, session_id, 0)

/* verdict is enum auth_verdict; only AUTH_OK carries account and token. */
#define IPC_AUTH_RESULT(F, L) \
	F(U64, session_id, 0) \
	F(U16, verdict, 0) \
	F(BYTES, challenge, 12288) \
	F(U32, delay_ms, 0) \
	F(TEXT, account, 256) \
	F(BYTES, token, IPC_TOKEN_MAX)

/* Is that login still good?  Answered by AUTH_RESULT. */
#define IPC_AUTH_RENEW(F, L) \
	F(U64, session_id, 0) \
	F(BYTES, token, IPC_TOKEN_MAX)

/* Does an address of one of our domains exist?  verdict: rcpt_verdict. */
#define IPC_RCPT_CHECK(F, L) \
	F(U64, session_id, 0) \
	F(TEXT, address, IPC_ADDRESS_MAX)
#define IPC_RCPT_CHECKED(F, L) F(U16, verdict, 0)

/* ---- authd and relayd: ask the inner server by RCPT ---- */

#define IPC_CALLOUT(F, L) F(TEXT, address, IPC_ADDRESS_MAX)
#define IPC_CALLED_OUT(F, L) \
	F(U16, verdict, 0) \
	F(TEXT, reply, IPC_REPLY_MAX)

/* ---- authd and queued ---- */

/* The keys that tokens are made with: the current and the one before. */
#define IPC_TOKEN_KEYS(F, L) \
	F(BYTES, current, 32) \
	F(BYTES, previous, 32)

/* What recipients in domains with aliases become; asked before the commit. */
#define IPC_ALIAS_EXPAND(F, L) L(target, recipients, IPC_RECIPIENTS_MAX)
#define IPC_ALIAS_EXPANDED(F, L) \
	F(BOOL, is_complete, 0) \
	L(target, targets, IPC_RECIPIENTS_MAX)

/* ---- checkd ---- */

/* status is enum dns_status; type the DNS type number. */
#define IPC_DNS_QUERY(F, L) \
	F(TEXT, name, IPC_DOMAIN_MAX) \
	F(U16, type, 0)
#define IPC_DNS_ANSWER(F, L) \
	F(U16, status, 0) \
	F(BOOL, is_secure, 0) \
	F(TEXT, canonical_name, IPC_DOMAIN_MAX) \
	F(TEXT, reason, 256) \
	L(rr, records, 256)

/* All questions about an unknown client's MAIL FROM at once. */
#define IPC_CHECK_MAIL(F, L) \
	F(U64, session_id, 0) \
	F(TEXT, client, IPC_CLIENT_MAX) \
	F(TEXT, helo, 255) \
	F(TEXT, sender_domain, IPC_DOMAIN_MAX)
/* sender is enum sender_verdict; ptr_name "" unless forward-confirmed. */
#define IPC_CHECKED_MAIL(F, L) \
	F(U16, sender, 0) \
	F(TEXT, ptr_name, IPC_DOMAIN_MAX) \
	F(U16, ptr_status, 0)

/* ---- smtpd and queued ---- */

/*
 * The connection of a client in a trusted network, before its messages: queued
 * asks the kernel who is at the other end.  Holds until another address comes.
 */
#define IPC_QUEUE_CLIENT(F, L)

/* Sent when the channel is up: the slot for ids made by this peer. */
#define IPC_QUEUE_SLOT(F, L) F(U16, slot, 0)

#define IPC_ENVELOPE_FIELDS(F, L) \
	F(U64, message_id, 0) \
	F(U64, session_id, 0) \
	F(BYTES, token, IPC_TOKEN_MAX) \
	F(TEXT, client, IPC_CLIENT_MAX) \
	F(BOOL, is_trusted, 0) \
	F(TEXT, reverse_path, IPC_ADDRESS_MAX) \
	F(TEXT, envid, IPC_ENVID_MAX) \
	F(U16, ret, 0) \
	F(BOOL, is_8bit, 0) \
	F(BOOL, is_utf8, 0) \
	F(U16, listener_kind, 0) \
	F(TEXT, header_message_id, 998) \
	L(recipient, recipients, IPC_RECIPIENTS_MAX)

/*
 * A whole message in one frame: the envelope, and the content with our
 * Received line, line ends CR LF, dots unstuffed.
 */
#define IPC_QUEUE_SUBMIT(F, L) \
	IPC_ENVELOPE_FIELDS(F, L) \
	F(BYTES, content, IPC_INLINE_MAX + IPC_TRACE_MAX)

/*
 * A larger one: OPEN, then CHUNKs up to the credit given, then END.  stream
 * is the peer's number for it.  ABORT when the client leaves.
 */
#define IPC_QUEUE_OPEN(F, L) \
	IPC_ENVELOPE_FIELDS(F, L) \
	F(U32, stream, 0) \
	F(U64, size_hint, 0)
#define IPC_QUEUE_CREDIT(F, L) \
	F(U32, stream, 0) \
	F(U32, octets, 0)
#define IPC_QUEUE_CHUNK(F, L) \
	F(U32, stream, 0) \
	F(BYTES, content, IPC_CHUNK_MAX)
/* is_8bit: what came after OPEN decides, too. */
#define IPC_QUEUE_END(F, L) \
	F(U32, stream, 0) \
	F(BOOL, is_8bit, 0)
#define IPC_QUEUE_ABORT(F, L) F(U32, stream, 0)

/* Answer to SUBMIT, OPEN (a refusal) and END: the reply for the client. */
#define IPC_QUEUE_ANSWER(F, L) \
	F(U32, stream, 0) \
	F(U16, code, 0) \
	F(TEXT, enhanced, 16) \
	F(TEXT, text, 512)

/* ---- queued and relayd ---- */

/* How many jobs relayd takes at once in all. */
#define IPC_RELAY_READY(F, L) F(U32, jobs, 0)

#define IPC_RELAY_FIELDS(F, L) \
	F(U64, job_id, 0) \
	F(U64, message_id, 0) \
	F(U32, attempt, 0) \
	F(TEXT, domain, IPC_DOMAIN_MAX) \
	F(TEXT, reverse_path, IPC_ADDRESS_MAX) \
	F(TEXT, envid, IPC_ENVID_MAX) \
	F(U16, ret, 0) \
	F(BOOL, is_8bit, 0) \
	F(BOOL, is_utf8, 0) \
	F(U64, size_octets, 0) \
	L(recipient, recipients, IPC_RECIPIENTS_MAX)

/* One message for recipients of one domain: small with its content... */
#define IPC_RELAY_JOB(F, L) \
	IPC_RELAY_FIELDS(F, L) \
	F(BYTES, content, IPC_INLINE_MAX + IPC_TRACE_MAX)
/* ...large with a descriptor open for reading. */
#define IPC_RELAY_FILE(F, L) IPC_RELAY_FIELDS(F, L)

/*
 * tls says the level asked, the level reached and why, in words.
 * is_dsn_passed: the next server offered DSN, so it answers for successes.
 */
#define IPC_RELAY_RESULT(F, L) \
	F(U64, job_id, 0) \
	F(U64, message_id, 0) \
	F(TEXT, host, IPC_DOMAIN_MAX) \
	F(TEXT, address, IPC_CLIENT_MAX) \
	F(TEXT, tls, 256) \
	F(U32, duration_ms, 0) \
	F(BOOL, is_host_down, 0) \
	F(BOOL, is_dsn_passed, 0) \
	L(result, results, IPC_RECIPIENTS_MAX)

/* ---- queued and signerd ---- */

/* Sent when the channel is up and on change: domains with DKIM keys. */
#define IPC_SIGN_READY(F, L) L(fact, dkim_domains, 20000)

/*
 * direction is enum sign_direction, dkim enum protect_dkim.  header_from is
 * the one address in From, already checked to be the sender's own when out.
 * removals: what triggered, to be taken out: "subject" and the words, or
 * "header" and the field's name; subject tags of incoming mail likewise.
 */
#define IPC_SIGN_FIELDS(F, L) \
	F(U64, message_id, 0) \
	F(U32, attempt, 0) \
	F(U16, direction, 0) \
	F(U16, dkim, 0) \
	F(TEXT, reverse_path, IPC_ADDRESS_MAX) \
	F(TEXT, header_from, IPC_ADDRESS_MAX) \
	F(U64, size_octets, 0) \
	L(fact, removals, 32) \
	L(demand, recipients, IPC_RECIPIENTS_MAX)

/* Answered by SIGN_OUTPUTs and then one SIGN_RESULT of the same attempt. */
#define IPC_SIGN_JOB(F, L) \
	IPC_SIGN_FIELDS(F, L) \
	F(BYTES, content, IPC_INLINE_MAX + IPC_TRACE_MAX)
#define IPC_SIGN_FILE(F, L) IPC_SIGN_FIELDS(F, L)

/* Nobody waits for that attempt any more. */
#define IPC_SIGN_FORGET(F, L) \
	F(U64, message_id, 0) \
	F(U32, attempt, 0)

/*
 * One output, numbered from 1; a large one is a descriptor.  follows_octets:
 * behind content comes the message as it was sent in SIGN_JOB, so many octets
 * that are all of it; 0: nothing does.
 */
#define IPC_SIGN_OUTPUT_FIELDS(F, L) \
	F(U64, message_id, 0) \
	F(U32, attempt, 0) \
	F(U16, number, 0)
#define IPC_SIGN_OUTPUT(F, L) \
	IPC_SIGN_OUTPUT_FIELDS(F, L) \
	F(U64, follows_octets, 0) \
	F(BYTES, content, IPC_OUTPUT_MAX)
#define IPC_SIGN_OUTPUT_FILE(F, L) \
	IPC_SIGN_OUTPUT_FIELDS(F, L) \
	F(U64, size_octets, 0)

/* outcome: enum sign_outcome; DONE: see each recipient. */
#define IPC_SIGN_RESULT(F, L) \
	F(U64, message_id, 0) \
	F(U32, attempt, 0) \
	F(U16, outcome, 0) \
	F(TEXT, enhanced, 16) \
	F(TEXT, reason, 512) \
	L(protection, recipients, IPC_RECIPIENTS_MAX)

/* ---- signerd and its workers ---- */

/*
 * The class's wrapping key, and the folder of its key files; a PKCS #11 module
 * and its own folder, or "".
 */
#define IPC_WORKER_SECRET(F, L) \
	F(BYTES, wrapping_key, 32) \
	F(TEXT, folder, 512) \
	F(TEXT, pkcs11_module, 512) \
	F(TEXT, pkcs11_folder, 512)
/* It has its secret and takes tasks; pid is for the log. */
#define IPC_WORKER_READY(F, L) F(U32, pid, 0)

/*
 * A task; op is enum work_op.  facts: arguments of WORK_KEY, and the layers
 * already opened of WORK_OPEN.  removals as in SIGN_JOB.
 */
#define IPC_WORK_FIELDS(F, L) \
	F(U64, task_id, 0) \
	F(U16, op, 0) \
	F(U16, options, 0) \
	F(TEXT, sender, IPC_ADDRESS_MAX) \
	F(TEXT, recipient, IPC_ADDRESS_MAX) \
	F(TEXT, authserv_id, IPC_DOMAIN_MAX) \
	F(I64, now_s, 0) \
	F(U64, size_octets, 0) \
	F(U64, output_limit, 0) \
	L(fact, removals, 32) \
	L(fact, facts, 64) \
	L(work_key, keys, 512)
/* is_short: its answer may leave together with those of tasks behind it. */
#define IPC_WORK(F, L) \
	IPC_WORK_FIELDS(F, L) \
	F(BOOL, is_short, 0) \
	F(BYTES, content, IPC_OUTPUT_MAX)
/* Descriptors: the content to read, and a file for the output. */
#define IPC_WORK_FILE(F, L) IPC_WORK_FIELDS(F, L)

/* memory_kb: the most that the worker ever had resident. */
#define IPC_WORKED_FIELDS(F, L) \
	F(U64, task_id, 0) \
	F(U32, memory_kb, 0) \
	F(U16, outcome, 0) \
	F(U16, applied, 0) \
	F(TEXT, method, 512) \
	F(TEXT, enhanced, 16) \
	F(TEXT, reason, 512) \
	L(fact, facts, 64) \
	L(harvest, harvested, 16)
/* is_prefix: the output is this and then the content as it was given. */
#define IPC_WORKED(F, L) \
	IPC_WORKED_FIELDS(F, L) \
	F(BOOL, is_prefix, 0) \
	F(BYTES, content, IPC_OUTPUT_MAX)
#define IPC_WORKED_FILE(F, L) \
	IPC_WORKED_FIELDS(F, L) \
	F(U64, size_octets, 0)

/* ---- signerd and fetchd ---- */

/* kind is "wkd", "vks" or "crl"; what an address or a URL. */
#define IPC_FETCH(F, L) \
	F(TEXT, kind, 16) \
	F(TEXT, what, 1024)
/* is_final: there is none, and asking again soon is of no use. */
#define IPC_FETCHED(F, L) \
	F(BOOL, is_found, 0) \
	F(BOOL, is_final, 0) \
	F(TEXT, reason, 256) \
	F(TEXT, source, 512) \
	F(BYTES, content, IPC_CRL_MAX)

/* ---- queued and loghub ---- */

/* The outbox; answered when all of it is durable in the log. */
#define IPC_LIFE_EVENTS(F, L) L(life, events, 4096)
#define IPC_LIFE_STORED(F, L) F(U32, count, 0)

/* ---- secrets ---- */

/*
 * Messages with private keys: they leave at once, and both ends wipe them from
 * their buffers when they were sent, or handled.
 */
#define IPC_SECRETS(S) S(WORKER_SECRET) S(WORKER_TLS)

/* ---- the table ---- */

#define IPC_MESSAGES(M) \
	M(HELLO, hello, ANY, ANY, 0, IPC_HELLO) \
	M(BYE, bye, ANY, ANY, 0, IPC_BYE) \
	M(CONF_SNAPSHOT, conf_snapshot, CONFD, ANY, 0, IPC_CONF_SNAPSHOT) \
	M(CONF_APPLIED, conf_applied, ANY, CONFD, 0, IPC_CONF_APPLIED) \
	M(STATUS_ASK, status_ask, CONFD, ANY, 0, IPC_STATUS_ASK) \
	M(STATUS, status, ANY, CONFD, 0, IPC_STATUS) \
	M(MGMT_REQUEST, mgmt_request, ANY, ANY, 0, IPC_MGMT_REQUEST) \
	M(MGMT_REPLY, mgmt_reply, ANY, ANY, 0, IPC_MGMT_REPLY) \
	M(ALERT_RAISE, alert_raise, ANY, CONFD, 0, IPC_ALERT_RAISE) \
	M(ALERT_CLEAR, alert_clear, ANY, CONFD, 0, IPC_ALERT_CLEAR) \
	M(TLS_INSTALL, tls_install, ANY, ANY, 2, IPC_TLS_INSTALL) \
	M(TLS_INSTALLED, tls_installed, ANY, ANY, 0, IPC_TLS_INSTALLED) \
	M(ROUTE_TEST, route_test, CONFD, RELAYD, 0, IPC_ROUTE_TEST) \
	M(ROUTE_TESTED, route_tested, RELAYD, CONFD, 0, IPC_ROUTE_TESTED) \
	M(LISTENER, listener, BINDD, SMTPD, 1, IPC_LISTENER) \
	M(LISTENERS_END, listeners_end, BINDD, SMTPD, 0, IPC_LISTENERS_END) \
	M(LISTENER_KEPT, listener_kept, SMTPD, BINDD, 1, IPC_LISTENER_KEPT) \
	M(LISTENERS_KEPT, listeners_kept, SMTPD, BINDD, 0, \
	    IPC_LISTENERS_KEPT) \
	M(SPAWN, spawn, ANY, SPAWNER, 1, IPC_SPAWN) \
	M(SPAWNED, spawned, SPAWNER, ANY, 0, IPC_SPAWNED) \
	M(WORKER_EXITED, worker_exited, SPAWNER, ANY, 0, IPC_WORKER_EXITED) \
	M(WORKER_KILL, worker_kill, ANY, SPAWNER, 0, IPC_WORKER_KILL) \
	M(WORKER_START, worker_start, ANY, WORKER, 0, IPC_WORKER_START) \
	M(WORKER_LINK, worker_link, ANY, WORKER, 1, IPC_WORKER_LINK) \
	M(WORKER_LINK_WANTED, worker_link_wanted, WORKER, ANY, 0, \
	    IPC_WORKER_LINK_WANTED) \
	M(WORKER_TLS, worker_tls, SMTPD, WORKER, 0, IPC_WORKER_TLS) \
	M(WORKER_DRAIN, worker_drain, ANY, WORKER, 0, IPC_WORKER_DRAIN) \
	M(CLIENT, client, SMTPD, WORKER, 1, IPC_CLIENT) \
	M(CLIENT_CLOSED, client_closed, WORKER, SMTPD, 0, IPC_CLIENT_CLOSED) \
	M(AUTH_MECHANISMS, auth_mechanisms, AUTHD, SMTPD, 0, \
	    IPC_AUTH_MECHANISMS) \
	M(AUTH_START, auth_start, SMTPD, AUTHD, 0, IPC_AUTH_START) \
	M(AUTH_STEP, auth_step, SMTPD, AUTHD, 0, IPC_AUTH_STEP) \
	M(AUTH_ABORT, auth_abort, SMTPD, AUTHD, 0, IPC_AUTH_ABORT) \
	M(AUTH_RENEW, auth_renew, SMTPD, AUTHD, 0, IPC_AUTH_RENEW) \
	M(AUTH_RESULT, auth_result, AUTHD, SMTPD, 0, IPC_AUTH_RESULT) \
	M(RCPT_CHECK, rcpt_check, SMTPD, AUTHD, 0, IPC_RCPT_CHECK) \
	M(RCPT_CHECKED, rcpt_checked, AUTHD, SMTPD, 0, IPC_RCPT_CHECKED) \
	M(CALLOUT, callout, AUTHD, RELAYD, 0, IPC_CALLOUT) \
	M(CALLED_OUT, called_out, RELAYD, AUTHD, 0, IPC_CALLED_OUT) \
	M(TOKEN_KEYS, token_keys, AUTHD, QUEUED, 0, IPC_TOKEN_KEYS) \
	M(ALIAS_EXPAND, alias_expand, QUEUED, AUTHD, 0, IPC_ALIAS_EXPAND) \
	M(ALIAS_EXPANDED, alias_expanded, AUTHD, QUEUED, 0, \
	    IPC_ALIAS_EXPANDED) \
	M(DNS_QUERY, dns_query, ANY, CHECKD, 0, IPC_DNS_QUERY) \
	M(DNS_ANSWER, dns_answer, CHECKD, ANY, 0, IPC_DNS_ANSWER) \
	M(CHECK_MAIL, check_mail, SMTPD, CHECKD, 0, IPC_CHECK_MAIL) \
	M(CHECKED_MAIL, checked_mail, CHECKD, SMTPD, 0, IPC_CHECKED_MAIL) \
	M(QUEUE_SLOT, queue_slot, QUEUED, SMTPD, 0, IPC_QUEUE_SLOT) \
	M(QUEUE_CLIENT, queue_client, SMTPD, QUEUED, 1, IPC_QUEUE_CLIENT) \
	M(QUEUE_SUBMIT, queue_submit, SMTPD, QUEUED, 0, IPC_QUEUE_SUBMIT) \
	M(QUEUE_OPEN, queue_open, SMTPD, QUEUED, 0, IPC_QUEUE_OPEN) \
	M(QUEUE_CREDIT, queue_credit, QUEUED, SMTPD, 0, IPC_QUEUE_CREDIT) \
	M(QUEUE_CHUNK, queue_chunk, SMTPD, QUEUED, 0, IPC_QUEUE_CHUNK) \
	M(QUEUE_END, queue_end, SMTPD, QUEUED, 0, IPC_QUEUE_END) \
	M(QUEUE_ABORT, queue_abort, SMTPD, QUEUED, 0, IPC_QUEUE_ABORT) \
	M(QUEUE_ANSWER, queue_answer, QUEUED, SMTPD, 0, IPC_QUEUE_ANSWER) \
	M(RELAY_READY, relay_ready, RELAYD, QUEUED, 0, IPC_RELAY_READY) \
	M(RELAY_JOB, relay_job, QUEUED, RELAYD, 0, IPC_RELAY_JOB) \
	M(RELAY_FILE, relay_file, QUEUED, RELAYD, 1, IPC_RELAY_FILE) \
	M(RELAY_RESULT, relay_result, RELAYD, QUEUED, 0, IPC_RELAY_RESULT) \
	M(SIGN_READY, sign_ready, SIGNERD, QUEUED, 0, IPC_SIGN_READY) \
	M(SIGN_JOB, sign_job, QUEUED, SIGNERD, 0, IPC_SIGN_JOB) \
	M(SIGN_FILE, sign_file, QUEUED, SIGNERD, 1, IPC_SIGN_FILE) \
	M(SIGN_FORGET, sign_forget, QUEUED, SIGNERD, 0, IPC_SIGN_FORGET) \
	M(SIGN_OUTPUT, sign_output, SIGNERD, QUEUED, 0, IPC_SIGN_OUTPUT) \
	M(SIGN_OUTPUT_FILE, sign_output_file, SIGNERD, QUEUED, 1, \
	    IPC_SIGN_OUTPUT_FILE) \
	M(SIGN_RESULT, sign_result, SIGNERD, QUEUED, 0, IPC_SIGN_RESULT) \
	M(WORKER_SECRET, worker_secret, SIGNERD, WORKER, 0, \
	    IPC_WORKER_SECRET) \
	M(WORKER_READY, worker_ready, WORKER, SIGNERD, 0, IPC_WORKER_READY) \
	M(WORK, work, SIGNERD, WORKER, 0, IPC_WORK) \
	M(WORK_FILE, work_file, SIGNERD, WORKER, 2, IPC_WORK_FILE) \
	M(WORKED, worked, WORKER, SIGNERD, 0, IPC_WORKED) \
	M(WORKED_FILE, worked_file, WORKER, SIGNERD, 1, IPC_WORKED_FILE) \
	M(FETCH, fetch, SIGNERD, FETCHD, 0, IPC_FETCH) \
	M(FETCHED, fetched, FETCHD, SIGNERD, 0, IPC_FETCHED) \
	M(LIFE_EVENTS, life_events, QUEUED, LOGHUB, 0, IPC_LIFE_EVENTS) \
	M(LIFE_STORED, life_stored, LOGHUB, QUEUED, 0, IPC_LIFE_STORED)

#endif
