/* SPDX-License-Identifier: ISC */
/*
 * One GET at a time of many, by libcurl on the event loop.  Names are not
 * resolved here: the caller knows the addresses, and no others are connected
 * to.  Redirects are told, not followed.
 */
#ifndef SIGNER_FETCH_WEB_H
#define SIGNER_FETCH_WEB_H

#include "common/loop.h"
#include "signer/fetch_url.h"

/* More addresses of one host are not tried. */
#define FETCH_ADDRESSES_MAX 8

struct web;
struct web_request;

struct web_question {
	const char *url;
	const struct fetch_target *target;
	const struct netaddr *addresses;
	size_t address_count;
	const char *ca_file;
	size_t limit; /* octets of the body */
	uint32_t timeout_ms;
};

struct web_answer {
	int status; /* of HTTP; 0: there was none, err says why */
	struct slice body;
	const char *location; /* of a redirect, absolute, or NULL */
	const char *reason;   /* for status 0 */
	bool is_too_large;
};

typedef void web_answer_fn(void *arg, const struct web_answer *answer);

struct web *web_new(struct loop *loop);
void web_free(struct web *web);

/* answer() is called once, from the loop, unless it is cancelled. */
struct web_request *web_get(struct web *web,
    const struct web_question *question, web_answer_fn *answer, void *arg);
void web_cancel(struct web_request *request);

#endif
