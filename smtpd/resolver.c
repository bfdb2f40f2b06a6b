/* SPDX-License-Identifier: ISC */
/*
 * Asks libunbound, which runs on our event loop, and hands out parsed answers
 * at the end of the turn.
 * Runs in: postern-checkd.  Trusts: libunbound to keep packets and DNSSEC
 * verdicts together; the packets' content to nobody.
 *
 * A question belongs to libunbound until its callback, even when its asker
 * was told of a timeout long ago: libunbound still holds memory for it, so it
 * still counts.  A change of settings makes a new context; the old one is
 * deleted when nobody waits for an answer of it, which is within dns.timeout.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unbound-event.h>
#include <unbound.h>

#include "common/printable.h"
#include "smtpd/resolver.h"
#include "smtpd/resolver_context.h"

/* About 500 octets each in libunbound, and as much here. */
#define QUESTIONS_MAX 4096

#define CLASS_IN 1
/* What libunbound says of DNSSEC (unbound-event.h). */
#define VERDICT_BOGUS 1
#define VERDICT_SECURE 2

struct context {
	struct ub_ctx *ub;
	struct resolver_question *first; /* those that libunbound holds */
	size_t awaited;                  /* whose askers have no answer yet */
	struct context *next;            /* the one before it */
};

struct resolver_question {
	struct resolver *resolver;
	struct context *context;
	struct resolver_question *next; /* in the context, or of the done */
	struct resolver_question **link;
	resolver_answer_fn *answer; /* NULL: answered or forgotten */
	void *arg;
	struct event *timer;
	char name[DNS_NAME_SIZE];
	uint16_t type;
	/* What the callback said; a copy, as its packet is good only in it. */
	int rcode;
	int verdict;
	char *packet;
	size_t packet_size;
	char *why_bogus;
};

struct resolver {
	struct loop *loop;
	resolver_observe_fn *observe;
	void *observe_arg;
	struct context *contexts; /* the first is the current one */
	char *signature;          /* of the settings that made it */
	uint64_t timeout_ms;
	struct resolver_question *done;
	struct resolver_question **done_end;
	struct loop_task turn_end;
	struct dns_message message; /* of the answer being given */
	struct resolver_counts counts;
	bool is_asking; /* a callback now is an answer from the cache */
};

/* ---- questions ---- */

static void
free_question(struct resolver_question *question)
{
	question->resolver->counts.in_progress--;
	if (question->timer != NULL)
		event_free(question->timer);
	free(question->packet);
	free(question->why_bogus);
	free(question);
}

static void
hold(struct resolver_question *question, struct context *context)
{
	question->context = context;
	question->next = context->first;
	question->link = &context->first;
	if (context->first != NULL)
		context->first->link = &question->next;
	context->first = question;
}

/* Takes it off its context's list. */
static void
let_go(struct resolver_question *question)
{
	*question->link = question->next;
	if (question->next != NULL)
		question->next->link = question->link;
	question->next = NULL;
}

/* The asker's function, which will not be needed again. */
static resolver_answer_fn *
take_asker(struct resolver_question *question)
{
	resolver_answer_fn *answer = question->answer;

	question->answer = NULL;
	if (answer == NULL)
		return NULL;
	if (question->context != NULL)
		question->context->awaited--;
	if (question->timer != NULL) {
		event_free(question->timer);
		question->timer = NULL;
	}
	/* Perhaps it was the last one of an old context. */
	loop_at_turn_end(
	    question->resolver->loop, &question->resolver->turn_end);
	return answer;
}

static void
give_answer(struct resolver_question *question)
{
	struct resolver *resolver = question->resolver;
	resolver_answer_fn *answer = take_asker(question);

	if (resolver->message.status == DNS_TEMPORARY)
		resolver->counts.failed++;
	if (resolver->message.status == DNS_BOGUS)
		resolver->counts.bogus++;
	if (resolver->observe != NULL)
		resolver->observe(
		    resolver->observe_arg, question->name, &resolver->message);
	if (answer != NULL)
		answer(question->arg, &resolver->message);
}

static void
on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct resolver_question *question = arg;
	struct resolver *resolver = question->resolver;

	(void)fd;
	(void)what;
	dns_message_set(
	    &resolver->message, DNS_TEMPORARY, "no answer in time");
	give_answer(question);
}

/* ---- answers ---- */

static void
read_outcome(
    const struct resolver_question *question, struct dns_message *message)
{
	struct slice packet = {question->packet, question->packet_size};
	char reason[DNS_REASON_SIZE];
	struct err err;

	if (question->verdict == VERDICT_BOGUS) {
		(void)printable(slice_of(question->why_bogus), reason,
		    sizeof(reason));
		dns_message_set(message, DNS_BOGUS,
		    reason[0] != '\0' ? reason : "DNSSEC validation failed");
		return;
	}
	if (question->rcode < 0) {
		(void)snprintf(reason, sizeof(reason), "the DNS library: %s",
		    ub_strerror(question->rcode));
		dns_message_set(message, DNS_TEMPORARY, reason);
		return;
	}
	if (question->rcode != 0 || packet.n == 0) {
		dns_message_set(message, DNS_TEMPORARY,
		    "no name server gave a usable answer (SERVFAIL)");
		return;
	}
	if (dns_message_read(packet, question->name, question->type, message,
	        &err) == -1) {
		(void)snprintf(reason, sizeof(reason),
		    "malformed answer: %.200s", err.text);
		dns_message_set(message, DNS_TEMPORARY, reason);
		return;
	}
	message->is_secure = question->verdict == VERDICT_SECURE &&
	    message->status != DNS_TEMPORARY;
}

/* libunbound's callback; from within ub_resolve_event() for cached answers. */
static void
on_resolved(void *arg, int rcode, void *packet, int packet_size, int verdict,
    char *why_bogus, int was_rate_limited)
{
	struct resolver_question *question = arg;
	struct resolver *resolver = question->resolver;

	(void)was_rate_limited;
	let_go(question);
	if (resolver->is_asking)
		resolver->counts.cached++;
	question->rcode = rcode;
	question->verdict = verdict;
	if (question->answer != NULL && rcode == 0 && packet_size > 0) {
		question->packet_size = (size_t)packet_size;
		question->packet = xmalloc(question->packet_size);
		memcpy(question->packet, packet, question->packet_size);
	}
	if (why_bogus != NULL)
		question->why_bogus = xstrdup(why_bogus);
	*resolver->done_end = question;
	resolver->done_end = &question->next;
	loop_at_turn_end(resolver->loop, &resolver->turn_end);
}

static void
delete_context(struct context *context)
{
	struct resolver_question *question;

	/* Its manual denies it, but it calls back for some of its questions. */
	ub_ctx_delete(context->ub);
	question = context->first;
	while (question != NULL) {
		struct resolver_question *next = question->next;

		free_question(question);
		question = next;
	}
	free(context);
}

static void
delete_old_contexts(struct resolver *resolver)
{
	struct context **at = &resolver->contexts;

	if (*at == NULL)
		return;
	at = &(*at)->next;
	while (*at != NULL) {
		struct context *context = *at;

		if (context->awaited > 0) {
			at = &context->next;
			continue;
		}
		*at = context->next;
		delete_context(context);
	}
}

static void
on_turn_end(void *arg)
{
	struct resolver *resolver = arg;
	struct resolver_question *question;

	while ((question = resolver->done) != NULL) {
		resolver->done = question->next;
		if (resolver->done == NULL)
			resolver->done_end = &resolver->done;
		if (question->answer != NULL) {
			read_outcome(question, &resolver->message);
			give_answer(question);
		}
		free_question(question);
	}
	delete_old_contexts(resolver);
}

/* ---- exported ---- */

struct resolver *
resolver_new(struct loop *loop, resolver_observe_fn *observe, void *arg)
{
	struct resolver *resolver = xcalloc(1, sizeof(*resolver));

	resolver->loop = loop;
	resolver->observe = observe;
	resolver->observe_arg = arg;
	resolver->done_end = &resolver->done;
	resolver->turn_end =
	    (struct loop_task){.run = on_turn_end, .arg = resolver};
	return resolver;
}

int
resolver_configure(
    struct resolver *resolver, const struct settings *settings, struct err *err)
{
	char *signature = resolver_context_signature(settings);
	struct context *context;
	struct ub_ctx *ub;

	resolver->timeout_ms = settings->dns_timeout * 1000;
	if (resolver->signature != NULL &&
	    strcmp(resolver->signature, signature) == 0) {
		free(signature);
		return 0;
	}
	ub = resolver_context_new(loop_base(resolver->loop), settings, err);
	if (ub == NULL) {
		free(signature);
		return -1;
	}
	free(resolver->signature);
	resolver->signature = signature;
	context = xcalloc(1, sizeof(*context));
	context->ub = ub;
	context->next = resolver->contexts;
	resolver->contexts = context;
	loop_at_turn_end(resolver->loop, &resolver->turn_end);
	return 0;
}

/* Hands the question over; answered with a failure when that fails. */
static void
start_question(struct resolver_question *question)
{
	struct resolver *resolver = question->resolver;
	struct context *context = resolver->contexts;
	int rc = UB_INITFAIL;

	if (context != NULL) {
		hold(question, context);
		context->awaited++;
		resolver->is_asking = true;
		rc = ub_resolve_event(context->ub, question->name,
		    question->type, CLASS_IN, question, on_resolved, NULL);
		resolver->is_asking = false;
	}
	if (rc == UB_NOERROR)
		return;
	if (context != NULL)
		let_go(question);
	question->rcode = rc;
	*resolver->done_end = question;
	resolver->done_end = &question->next;
	loop_at_turn_end(resolver->loop, &resolver->turn_end);
}

struct resolver_question *
resolver_ask(struct resolver *resolver, const struct domain *name,
    enum dns_type type, resolver_answer_fn *answer, void *arg)
{
	struct resolver_question *question;

	if (resolver->counts.in_progress >= QUESTIONS_MAX) {
		resolver->counts.refused++;
		return NULL;
	}
	question = xcalloc(1, sizeof(*question));
	question->resolver = resolver;
	question->answer = answer;
	question->arg = arg;
	question->type = (uint16_t)type;
	(void)snprintf(
	    question->name, sizeof(question->name), "%s", name->text);
	question->timer = event_new(
	    loop_base(resolver->loop), -1, 0, on_timeout, question);
	if (question->timer == NULL)
		fatal("out of memory for a timer");
	loop_arm(question->timer, resolver->timeout_ms);
	resolver->counts.asked++;
	resolver->counts.in_progress++;
	start_question(question);
	return question;
}

void
resolver_forget(struct resolver_question *question)
{
	(void)take_asker(question);
}

void
resolver_count(
    const struct resolver *resolver, struct resolver_counts *counts_r)
{
	*counts_r = resolver->counts;
}
