/* SPDX-License-Identifier: ISC */
/*
 * Which protection a mail gets: rules for who sends to whom, and what they
 * come to for one recipient.  Pure: no keys, clock, files or sockets; queued,
 * signerd and "postern explain" decide by the same code.
 *
 * A rule has a pattern for the sender (the address in From), one for the
 * recipient, and words:
 *
 *   sign never | if-possible | required
 *   encrypt never | on-trigger | if-possible | required | required-all
 *   dkim never | if-possible | required
 *   method smime-pgp | pgp-smime | smime | pgp
 *   min-trust 0..100          of the keys of recipients
 *   opaque, protect-headers, calendar-plain, to-self on | off
 *   protect-subject off | on | legacy      legacy: and it stands in the text
 *   lower on | off            may a trigger lower what this rule demands?
 *   trigger subject TEXT ACTION, trigger header NAME[:VALUE] ACTION
 *                             ACTION: sign encrypt no-sign no-encrypt
 *
 * A pattern is an address, "@example.org", "@*.example.org" (all below it) or
 * "*".  An address rule holds for its subaddresses (user+tag@) as well.
 *
 * Each field is settled by itself.  Of the rules that match and name it, the
 * nearest counts: the one whose nearer pattern is nearer, then the one whose
 * other pattern is.  Rules that are equally near (one names the sender, one
 * the recipient) are settled by the stricter value.  Triggers of all rules
 * that match are looked at, in mail from trusted senders only.  They raise,
 * and lower only what rules with "lower on" demand.  What a rule says is
 * "never" holds against triggers that raise, too.
 */
#ifndef COMMON_POLICY_H
#define COMMON_POLICY_H

#include "common/address.h"
#include "common/header.h"
#include "common/ipc.h"
#include "common/settings.h"
#include "common/vocabulary.h"

/* As IPC_RECORD_POLICY has them. */
#define POLICY_PATTERN_MAX IPC_ADDRESS_MAX
#define POLICY_RULES_MAX 1024
#define POLICY_TRIGGERS_MAX 8 /* of one rule */
#define POLICY_TRIGGER_MAX 128
#define POLICY_TRUST_MAX 100

/*
 * Where nothing is said: keys whose address somebody has verified (an import,
 * WKD, a certificate), not what came along with a mail.
 */
#define POLICY_TRUST_DEFAULT 50

/*
 * Tags that the Subject of incoming mail may get (crypto.subject_tags); what
 * a mail brings along of them is forged, and taken out.
 */
enum policy_tag {
	POLICY_TAG_DECRYPTED,
	POLICY_TAG_SIGNED,
	POLICY_TAG_INVALID,
	POLICY_TAG_COUNT
};
extern const char *const policy_tag_texts[POLICY_TAG_COUNT];

/* As enum protect_encrypt, and one more that it never comes to. */
enum policy_encrypt {
	POLICY_ENCRYPT_NEVER,
	POLICY_ENCRYPT_ON_TRIGGER,
	POLICY_ENCRYPT_IF_POSSIBLE,
	POLICY_ENCRYPT_REQUIRED,
	POLICY_ENCRYPT_REQUIRED_ALL,
	POLICY_ENCRYPT_COUNT
};

/* Of POLICY_SUBJECT. */
enum policy_subject {
	POLICY_SUBJECT_SEEN,
	POLICY_SUBJECT_HIDDEN,
	POLICY_SUBJECT_LEGACY, /* hidden, with a legacy display (RFC 9788) */
	POLICY_SUBJECT_COUNT
};

/* Fields of a rule; each is settled by itself. */
enum policy_field {
	POLICY_SIGN,
	POLICY_ENCRYPT,
	POLICY_DKIM,
	POLICY_METHOD,
	POLICY_MIN_TRUST,
	POLICY_OPAQUE, /* from here on: off or on */
	POLICY_HEADERS,
	POLICY_SUBJECT, /* or enum policy_subject */
	POLICY_CALENDAR_PLAIN,
	POLICY_TO_SELF,
	POLICY_FIELD_COUNT
};

enum policy_action {
	POLICY_DO_SIGN,
	POLICY_DO_ENCRYPT,
	POLICY_DO_NOT_SIGN,
	POLICY_DO_NOT_ENCRYPT,
	POLICY_ACTION_COUNT
};

struct policy_trigger {
	bool is_header;
	enum policy_action action;
	char name[POLICY_TRIGGER_MAX + 1]; /* of the header field, or "" */
	char text[POLICY_TRIGGER_MAX + 1]; /* "": any value of the field */
};

/* The words of one rule. */
struct policy_words {
	unsigned given; /* a set of 1 << enum policy_field */
	uint16_t values[POLICY_FIELD_COUNT];
	bool is_lower_given;
	bool may_lower;
	size_t trigger_count;
	struct policy_trigger triggers[POLICY_TRIGGERS_MAX];
};

/*
 * Reads what a person wrote; words may be "quoted".  -1 and a sentence with
 * what was given and what is allowed.
 */
int policy_words_parse(
    struct slice text, struct policy_words *words_r, struct err *err);

/* The canonical text: fields in their order, then triggers. */
void policy_words_format(const struct policy_words *words, struct buf *text_r);

/* A pattern's canonical text, room POLICY_PATTERN_MAX + 1. */
int policy_pattern_parse(
    struct slice text, char pattern_r[POLICY_PATTERN_MAX + 1], struct err *err);

/* ---- all rules ---- */

struct policy;

struct policy_rule {
	char *sender; /* canonical patterns */
	char *recipient;
	struct policy_words words;
};

struct policy *policy_new(void);
/* All of a snapshot; one that cannot be read is left out and counted. */
struct policy *policy_of_snapshot(
    const struct snapshot *snapshot, size_t *unread_r);
void policy_free(struct policy *policy);

/* Adds one; -1 when it cannot be read.  Then, after the last: sort. */
int policy_add(struct policy *policy, struct slice sender,
    struct slice recipient, struct slice words, struct err *err);
void policy_sort(struct policy *policy);

size_t policy_count(const struct policy *policy);

/* ---- one mail ---- */

/* As SIGN_JOB takes them. */
#define POLICY_REMOVALS_MAX 32

/* Free with policy_mail_clear(); header must outlive it. */
struct policy_mail {
	char sender[ADDRESS_TEXT_MAX]; /* folded; "": none that matches */
	bool is_trusted;
	const struct header *header; /* or NULL: no triggers */
	struct buf subject;          /* decoded, for people */
};

/* sender: the address in From, NULL for none. */
void policy_mail_init(struct policy_mail *mail, const struct address *sender,
    bool is_trusted, const struct header *header);
void policy_mail_clear(struct policy_mail *mail);

struct policy_decision {
	enum protect_sign sign;
	enum protect_encrypt encrypt;
	enum protect_dkim dkim;
	enum protect_method method;
	unsigned options; /* a set of enum protect_option */
	unsigned min_trust;
};

/*
 * A rule or one of its triggers, and what it came to: text such as "encrypt
 * required" or "trigger subject [secure] encrypt", why such as "counts" or
 * "a nearer rule says encrypt never".
 */
typedef void policy_fired_fn(void *arg, const struct policy_rule *rule,
    const char *text, bool counts, const char *why);

/*
 * What holds for that recipient.  fired (may be NULL) is called for each rule
 * that matches.  removals (may be NULL) gets a fact for each trigger that is
 * in the mail, whatever came of it, each once: "subject" and the text, or
 * "header" and the field's name.
 */
void policy_decide(const struct policy *policy, const struct policy_mail *mail,
    const struct address *recipient, struct policy_decision *decision_r,
    struct ipc_list_writer *removals, policy_fired_fn *fired, void *arg);

const char *policy_field_name(enum policy_field field);

/* "required", "on", "50"; of encrypt, the number is enum policy_encrypt. */
#define POLICY_VALUE_TEXT_MAX 16
const char *policy_value_name(enum policy_field field, unsigned value,
    char text_r[POLICY_VALUE_TEXT_MAX]);

/* "trigger subject [secure] encrypt" */
void policy_trigger_format(
    const struct policy_trigger *trigger, struct buf *text_r);

/* enum protect_encrypt as a word. */
const char *policy_encrypt_name(enum protect_encrypt encrypt);

#endif
