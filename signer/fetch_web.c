/* SPDX-License-Identifier: ISC */
/*
 * libcurl on libevent.
 * Runs in: postern-fetchd.  Trusts: nothing that a server says.
 */
#include "config.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "signer/fetch_web.h"

/* A server's header; curl itself would take more. */
#define HEADER_OCTETS_MAX 65536

#define CONNECT_TIMEOUT_MS 8000L

struct web {
	struct loop *loop;
	CURLM *multi;
	struct event *timer;
	struct loop_task collect;
};

struct web_request {
	struct web *web;
	CURL *easy;
	struct curl_slist *resolve;
	struct netaddr addresses[FETCH_ADDRESSES_MAX];
	size_t address_count;
	struct buf body;
	size_t header_octets;
	char error[CURL_ERROR_SIZE];
	web_answer_fn *answer;
	void *arg;
};

/* ---- what the server sends ---- */

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	struct web_request *request = arg;

	return buf_add(&request->body, p, size * n) == 0 ? size * n : 0;
}

static size_t
on_header(char *p, size_t size, size_t n, void *arg)
{
	struct web_request *request = arg;

	(void)p;
	request->header_octets += size * n;
	return request->header_octets <= HEADER_OCTETS_MAX ? size * n : 0;
}

/* The last check, where nothing can come between: the address itself. */
static curl_socket_t
on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	const struct web_request *request = arg;
	struct netaddr address;

	(void)purpose;
	if (netaddr_from_sockaddr(
		&to->addr, (socklen_t)to->addrlen, &address, NULL) == -1)
		return CURL_SOCKET_BAD;
	for (size_t i = 0; i < request->address_count; i++)
		if (netaddr_equals(&request->addresses[i], &address))
			return socket(to->family,
			    to->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
			    to->protocol);
	return CURL_SOCKET_BAD;
}

/* ---- libevent ---- */

static void
on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct web *web = arg;
	int mask = ((what & EV_READ) != 0 ? CURL_CSELECT_IN : 0) |
		   ((what & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0);
	int running;

	(void)curl_multi_socket_action(web->multi, fd, mask, &running);
	loop_at_turn_end(web->loop, &web->collect);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct web *web = arg;
	int running;

	(void)fd;
	(void)what;
	(void)curl_multi_socket_action(
	    web->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	loop_at_turn_end(web->loop, &web->collect);
}

static int
set_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct web *web = arg;

	(void)multi;
	if (timeout_ms < 0)
		(void)event_del(web->timer);
	else
		loop_arm(web->timer, (uint64_t)timeout_ms);
	return 0;
}

/* context is the event of that socket, as curl keeps it for us. */
static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *context)
{
	struct web *web = arg;
	struct event *event = context;
	short wanted = EV_PERSIST;

	(void)easy;
	if (event != NULL)
		event_free(event);
	event = NULL;
	if (what != CURL_POLL_REMOVE) {
		if (what != CURL_POLL_OUT)
			wanted |= EV_READ;
		if (what != CURL_POLL_IN)
			wanted |= EV_WRITE;
		event =
		    event_new(loop_base(web->loop), fd, wanted, on_ready, web);
		if (event == NULL || event_add(event, NULL) == -1)
			fatal("no event for a socket");
	}
	(void)curl_multi_assign(web->multi, fd, event);
	return 0;
}

/* ---- the end of a request ---- */

static void
free_request(struct web_request *request)
{
	(void)curl_multi_remove_handle(request->web->multi, request->easy);
	curl_easy_cleanup(request->easy);
	curl_slist_free_all(request->resolve);
	buf_clear(&request->body);
	free(request);
}

static void
finish_request(struct web_request *request, CURLcode code)
{
	struct web_answer answer = {.body = buf_slice(&request->body),
	    .is_too_large =
		request->body.overflowed || code == CURLE_FILESIZE_EXCEEDED,
	    .reason = request->error[0] != '\0' ? request->error
						: curl_easy_strerror(code)};
	char *location = NULL;
	long status = 0;

	if (code == CURLE_OK) {
		(void)curl_easy_getinfo(
		    request->easy, CURLINFO_RESPONSE_CODE, &status);
		(void)curl_easy_getinfo(
		    request->easy, CURLINFO_REDIRECT_URL, &location);
		answer.status = (int)status;
		answer.location = location;
	}
	request->answer(request->arg, &answer);
	free_request(request);
}

static void
collect(void *arg)
{
	struct web *web = arg;
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(web->multi, &left)) != NULL) {
		struct web_request *request = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(
		    message->easy_handle, CURLINFO_PRIVATE, &request);
		finish_request(request, message->data.result);
	}
}

/* ---- asking ---- */

static void
set_addresses(struct web_request *request, const struct web_question *question)
{
	struct buf entry;

	buf_init(&entry, FETCH_URL_MAX);
	(void)buf_addf(
	    &entry, "%s:%u:", question->target->host, question->target->port);
	for (size_t i = 0; i < question->address_count; i++) {
		char text[NETADDR_TEXT_MAX];

		if (i == FETCH_ADDRESSES_MAX)
			break;
		request->addresses[request->address_count++] =
		    question->addresses[i];
		(void)buf_addf(&entry,
		    question->addresses[i].family == NETADDR_IPV6 ? "%s[%s]"
								  : "%s%s",
		    i > 0 ? "," : "",
		    netaddr_format(&question->addresses[i], text));
	}
	request->resolve = curl_slist_append(NULL, buf_text(&entry));
	buf_clear(&entry);
}

static void
set_options(struct web_request *request, const struct web_question *question)
{
	CURL *e = request->easy;

	set_addresses(request, question);
	(void)curl_easy_setopt(e, CURLOPT_URL, question->url);
	(void)curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR,
	    question->target->is_https ? "https" : "http");
	(void)curl_easy_setopt(e, CURLOPT_RESOLVE, request->resolve);
	(void)curl_easy_setopt(e, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
	(void)curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
	(void)curl_easy_setopt(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(e, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	(void)curl_easy_setopt(e, CURLOPT_CAINFO, question->ca_file);
	(void)curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	(void)curl_easy_setopt(
	    e, CURLOPT_TIMEOUT_MS, (long)question->timeout_ms);
	(void)curl_easy_setopt(
	    e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	(void)curl_easy_setopt(e, CURLOPT_MAXFILESIZE, (long)question->limit);
	(void)curl_easy_setopt(
	    e, CURLOPT_USERAGENT, "postern/" PACKAGE_VERSION);
	(void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(e, CURLOPT_WRITEDATA, request);
	(void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(e, CURLOPT_HEADERDATA, request);
	(void)curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_socket);
	(void)curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, request);
	(void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, request->error);
	(void)curl_easy_setopt(e, CURLOPT_PRIVATE, request);
}

struct web_request *
web_get(struct web *web, const struct web_question *question,
    web_answer_fn *answer, void *arg)
{
	struct web_request *request = xcalloc(1, sizeof(*request));

	request->web = web;
	request->answer = answer;
	request->arg = arg;
	buf_init(&request->body, question->limit);
	if ((request->easy = curl_easy_init()) == NULL)
		fatal("no memory for a request");
	set_options(request, question);
	if (curl_multi_add_handle(web->multi, request->easy) != CURLM_OK)
		fatal("libcurl takes no request");
	return request;
}

void
web_cancel(struct web_request *request)
{
	if (request != NULL)
		free_request(request);
}

struct web *
web_new(struct loop *loop)
{
	struct web *web = xcalloc(1, sizeof(*web));

	web->loop = loop;
	web->collect = (struct loop_task){.run = collect, .arg = web};
	web->multi = curl_multi_init();
	web->timer = evtimer_new(loop_base(loop), on_timer, web);
	if (web->multi == NULL || web->timer == NULL)
		fatal("libcurl does not start");
	(void)curl_multi_setopt(
	    web->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	(void)curl_multi_setopt(web->multi, CURLMOPT_SOCKETDATA, web);
	(void)curl_multi_setopt(web->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	(void)curl_multi_setopt(web->multi, CURLMOPT_TIMERDATA, web);
	return web;
}

void
web_free(struct web *web)
{
	if (web == NULL)
		return;
	loop_task_cancel(web->loop, &web->collect);
	(void)curl_multi_cleanup(web->multi);
	event_free(web->timer);
	free(web);
}
