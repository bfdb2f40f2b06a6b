/* SPDX-License-Identifier: ISC */
/*
 * The alerts, each once: raised and cleared once per subject, shown by status
 * and the web, mailed to alert.to (DESIGN §4).
 */
#ifndef COMMON_ALERTS_H
#define COMMON_ALERTS_H

/* ALERT(suffix, name, severity 1 critical..3 notice, what to do) */
#define ALERTS(ALERT) \
	ALERT(DISK, "disk", 1, \
	    "Free space on the file system that holds the queue; new mail is " \
	    "refused for now (452) and nothing is lost.") \
	ALERT(QUEUE_AGE, "queue-age", 2, \
	    "See \"postern queue summary\" for what the next server says.") \
	ALERT(CERTIFICATE, "certificate", 2, \
	    "Install a new one with \"postern tls install CERT KEY\".") \
	ALERT(CLOCK, "clock", 2, \
	    "Check the time service; queued mail is not bounced for it.") \
	ALERT(PROGRAM, "program", 1, \
	    "See the program's own messages; it is restarted with back-off.") \
	ALERT(LOG_GAP, "log-gap", 2, \
	    "Events were lost; \"postern log verify\" names the place.") \
	ALERT(DNS, "dns", 1, \
	    "No name server answers; mail waits. Check dns.servers.") \
	ALERT(ACCOUNT, "account", 2, \
	    "Check with its owner; \"postern user show\" has its last use.") \
	ALERT(STORE, "store", 1, \
	    "A database is damaged or cannot be written; see the manual page " \
	    "of its program for salvage.") \
	ALERT(LISTENER, "listener", 1, \
	    "Another program may have the port: see \"ss -ltnp\"; or change " \
	    "the listen settings.") \
	ALERT(OUTDATED, "outdated", 2, \
	    "Update the package, then restart Postern: what reads mail of " \
	    "strangers has holes that are publicly known.") \
	ALERT(SIGNER, "signer", 1, \
	    "Mail waits to be signed, encrypted or opened. \"postern " \
	    "status\" says whether postern-signerd runs, \"postern " \
	    "queue\" what it said last.") \
	ALERT(PROTECTION, "protection", 1, \
	    "The signer answered with less than the policy demands, which " \
	    "must not happen; the message stays in the queue.") \
	ALERT(KEY_EXPIRES, "key-expires", 2, \
	    "Make or install a new one: \"postern key smime new\", " \
	    "\"csr\" or \"import\", \"postern key pgp new\"; the old one " \
	    "still decrypts.") \
	ALERT(KEY_CHANGED, "key-changed", 3, \
	    "Ask the correspondent by telephone, then \"postern key " \
	    "approve\" or \"reject\"; \"postern key pending\" shows it.") \
	ALERT(TRUST_EXPIRES, "trust-expires", 2, \
	    "\"postern key crl list\" says why a list was not renewed, " \
	    "\"key crl fetch\" and \"import\" take a newer one; \"key anchor " \
	    "add\" takes the CA's next certificate.")

#define ALERT_ENUM(suffix, name, severity, advice) ALERT_##suffix,
enum alert { ALERTS(ALERT_ENUM) ALERT_COUNT };
#undef ALERT_ENUM

struct alert_row {
	const char *name;
	int severity;
	const char *advice;
};

const struct alert_row *alert_row(unsigned alert); /* NULL: no such alert */

#endif
