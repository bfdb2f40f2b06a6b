/* SPDX-License-Identifier: ISC */
/*
 * AUTH (RFC 4954): carries challenges and responses between the client and
 * authd, and keeps the token that says who logged in.
 * Runs in: postern-smtpd, in the workers.  Trusts: authd; nothing that the
 * client sends.  Passwords pass through and are neither kept nor logged.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"
#include "common/tls.h"
#include "smtpd/login_time.h"
#include "smtpd/session.h"

struct exchange {
	enum auth_verdict verdict;
	struct login *login; /* when verdict is AUTH_OK */
	bool is_settled;     /* only the client's empty line is due */
};

void
session_login_free(struct login *login)
{
	if (login == NULL)
		return;
	if (login->octets.p != NULL)
		explicit_bzero(login->octets.p, login->octets.n);
	buf_clear(&login->octets);
	free(login);
}

static void
exchange_free(struct session *session)
{
	if (session->exchange == NULL)
		return;
	session_login_free(session->exchange->login);
	free(session->exchange);
	session->exchange = NULL;
}

void
session_auth_abort(struct session *session)
{
	struct channel *authd = session->worker->links[ROLE_AUTHD];
	struct ipc_auth_abort message = {.session_id = session->id};

	if (session->exchange == NULL)
		return;
	if (authd != NULL && !session->exchange->is_settled)
		(void)channel_send(authd, MSG_AUTH_ABORT, &message, NULL);
	exchange_free(session);
	if (!session->is_ended)
		session_enter(session, SESSION_READY);
}

/* Never on port 25, and never where a password would go in plain text. */
static bool
may_log_in(const struct session *session)
{
	return session->listener != LISTENER_SMTP && session->tls != NULL &&
	       session->login == NULL;
}

const char *
session_mechanisms(const struct session *session)
{
	return may_log_in(session) && session->worker->links[ROLE_AUTHD] != NULL
		   ? session->worker->mechanisms
		   : "";
}

/* ---- authd's answers ---- */

/* NULL when the token is none, or another session's. */
static struct login *
read_login(const struct session *session, const struct ipc_auth_result *result)
{
	struct login *login = xcalloc(1, sizeof(*login));

	buf_init(&login->octets, IPC_TOKEN_MAX);
	login->fresh_ms = clock_monotonic_ms();
	if (buf_add_slice(&login->octets, result->token) == -1 ||
	    token_read(buf_slice(&login->octets), &login->token, NULL) == -1 ||
	    login->token.session_id != session->id ||
	    slice_copy(result->account, login->account,
		sizeof(login->account)) == -1) {
		session_login_free(login);
		return NULL;
	}
	return login;
}

static void
send_challenge(struct session *session, struct slice challenge)
{
	char text[BASE64_ENCODED_SIZE(12288) + 1];
	struct buf *out = stream_output(session->stream);

	if (base64_encode(challenge.p, challenge.n, text, sizeof(text)) == -1)
		bug("a challenge of %zu octets", challenge.n);
	/* A challenge may be longer than a reply line: RFC 4954 section 4. */
	(void)buf_addf(out, "334 %s\r\n", text);
	session_enter(session, SESSION_AUTH);
}

static void
end_exchange(struct session *session)
{
	static const struct {
		unsigned code;
		const char *enhanced;
		const char *text;
	} replies[AUTH_VERDICT_COUNT] = {
	    [AUTH_OK] = {235, "2.7.0", "Welcome"},
	    [AUTH_FAILED] = {535, "5.7.8", "User name or password is wrong"},
	    [AUTH_TEMPORARY] = {454, "4.7.0", "Cannot log in now, try later"},
	    [AUTH_BAD] = {501, "5.5.2", "Not what the mechanism asks for"},
	};
	struct exchange *exchange = session->exchange;
	enum auth_verdict verdict = exchange->verdict;

	session_answered(session);
	if (verdict == AUTH_OK) {
		session->login = exchange->login;
		exchange->login = NULL;
	}
	exchange_free(session);
	session_enter(session, SESSION_READY);
	session_reply(session, replies[verdict].code, replies[verdict].enhanced,
	    "%s", replies[verdict].text);
}

static void
on_auth_result(void *arg, const struct channel_frame *frame)
{
	struct session *session = arg;
	struct exchange *exchange = session->exchange;
	const struct ipc_auth_result *result;
	uint32_t delay_ms = 0;

	session->asked = NULL;
	exchange->verdict = AUTH_TEMPORARY;
	exchange->is_settled = true;
	if (frame != NULL) {
		result = &frame->message->auth_result;
		delay_ms = result->delay_ms;
		if (result->session_id == session->id &&
		    result->verdict < AUTH_VERDICT_COUNT)
			exchange->verdict = (enum auth_verdict)result->verdict;
		if (exchange->verdict == AUTH_OK &&
		    (exchange->login = read_login(session, result)) == NULL)
			exchange->verdict = AUTH_TEMPORARY;
		if (exchange->verdict == AUTH_CHALLENGE ||
		    (exchange->verdict == AUTH_OK && result->challenge.n > 0)) {
			exchange->is_settled = exchange->verdict == AUTH_OK;
			session_answered(session);
			send_challenge(session, result->challenge);
			return;
		}
	}
	if (delay_ms == 0) {
		end_exchange(session);
		return;
	}
	/* Guessing is slow: the input still rests. */
	session->delayed = end_exchange;
	session_set_deadline(session, delay_ms);
}

/* ---- the client's side ---- */

static void
fail_exchange(struct session *session, unsigned code, const char *enhanced,
    const char *text)
{
	session_auth_abort(session);
	session_reply(session, code, enhanced, "%s", text);
}

static void
ask(struct session *session, enum ipc_type type, const void *message)
{
	if (session_ask(session, ROLE_AUTHD, type, message, MSG_AUTH_RESULT,
		LOGIN_ANSWER_MS, on_auth_result) == -1)
		fail_exchange(
		    session, 454, "4.7.0", "Cannot log in now, try later");
}

/* Is it one of the words of a list? */
static bool
is_offered(const char *mechanisms, const char *wanted)
{
	struct slice list = slice_of(mechanisms);

	while (list.n > 0) {
		size_t end = slice_find(list, ' ', 0);

		if (slice_equals_nocase(
			(struct slice){list.p, end}, slice_of(wanted)))
			return true;
		end += end < list.n ? 1 : 0;
		list = (struct slice){list.p + end, list.n - end};
	}
	return false;
}

static int
check_offer(const struct session *session, const char *mechanism,
    struct smtp_status *status)
{
	if (session->listener == LISTENER_SMTP)
		return smtp_status_set(status, 502, "5.5.1",
		    "No logins on this port, use a submission port");
	if (session->login != NULL)
		return smtp_status_set(
		    status, 503, "5.5.1", "Logged in already");
	if (session->tls == NULL)
		return smtp_status_set(
		    status, 538, "5.7.11", "STARTTLS has to come first");
	if (session->worker->links[ROLE_AUTHD] == NULL)
		return smtp_status_set(
		    status, 454, "4.7.0", "Cannot log in now, try later");
	if (!is_offered(session->worker->mechanisms, mechanism))
		return smtp_status_set(
		    status, 504, "5.5.4", "That mechanism is not offered");
	return 0;
}

/* PLAIN and LOGIN have no use for them, and they cost two hashes and a KDF. */
static bool
knows_bindings(const char *mechanism)
{
	return strncmp(mechanism, "SCRAM-", strlen("SCRAM-")) == 0;
}

static void
start_exchange(
    struct session *session, const struct smtp_auth *auth, struct slice initial)
{
	struct tls_bindings bindings = {.exporter_n = 0};
	char client[NETADDR_TEXT_MAX];
	struct ipc_auth_start message = {.session_id = session->id,
	    .mechanism = slice_of(auth->mechanism),
	    .has_initial = auth->has_initial,
	    .initial = initial,
	    .client = session_client_text(session, client),
	    .is_tls = true};

	if (knows_bindings(auth->mechanism))
		tls_bindings_get(stream_ssl(session->stream), &bindings);
	message.tls_exporter =
	    (struct slice){bindings.exporter, bindings.exporter_n};
	message.tls_unique = (struct slice){bindings.unique, bindings.unique_n};
	message.tls_server_end_point =
	    (struct slice){bindings.end_point, bindings.end_point_n};
	session->exchange = xcalloc(1, sizeof(*session->exchange));
	ask(session, MSG_AUTH_START, &message);
}

void
session_auth_command(struct session *session, struct slice argument)
{
	char decoded[BASE64_DECODED_MAX(SMTP_LINE_AUTH_MAX)];
	struct smtp_status status;
	struct smtp_auth auth;
	size_t n = 0;

	if (smtp_auth_parse(argument, &auth, &status) == -1 ||
	    check_offer(session, auth.mechanism, &status) == -1) {
		session_reply_status(session, &status);
		return;
	}
	if (base64_decode(auth.initial, decoded, sizeof(decoded), &n) == -1) {
		session_reply(session, 501, "5.5.2", "That is not base64");
		return;
	}
	start_exchange(session, &auth, (struct slice){decoded, n});
	explicit_bzero(decoded, n);
}

void
session_auth_line(struct session *session, struct slice line)
{
	char decoded[BASE64_DECODED_MAX(SMTP_LINE_AUTH_MAX)];
	struct ipc_auth_step message = {.session_id = session->id};
	size_t n = 0;

	session->line = SLICE("AUTH");
	if (slice_equals(line, SLICE("*"))) {
		fail_exchange(session, 501, "5.7.0", "Login cancelled");
	} else if (base64_decode(line, decoded, sizeof(decoded), &n) == -1) {
		fail_exchange(session, 501, "5.5.2", "That is not base64");
	} else if (!session->exchange->is_settled) {
		message.response = (struct slice){decoded, n};
		ask(session, MSG_AUTH_STEP, &message);
	} else if (n == 0) {
		end_exchange(session);
	} else {
		fail_exchange(session, 501, "5.5.2", "An empty line was due");
	}
	session->line = (struct slice){NULL, 0};
	explicit_bzero(decoded, n);
}

/* ---- is the login still good? ---- */

static void
on_renewed(void *arg, const struct channel_frame *frame)
{
	struct session *session = arg;
	const struct ipc_auth_result *result = NULL;
	struct smtp_status status;
	struct login *login;

	session_answered(session);
	if (frame != NULL)
		result = &frame->message->auth_result;
	if (result != NULL && result->verdict == AUTH_OK &&
	    (login = read_login(session, result)) != NULL) {
		session_login_free(session->login);
		session->login = login;
		session_mail_renewed(session);
		return;
	}
	if (result == NULL || result->verdict == AUTH_TEMPORARY ||
	    result->verdict == AUTH_OK) {
		(void)smtp_status_set(&status, 454, "4.7.0",
		    "Your login cannot be checked now, try later");
		session_mail_refuse(session, &status);
		return;
	}
	(void)smtp_status_set(
	    &status, 535, "5.7.8", "Your login does not hold any more");
	session_mail_refuse(session, &status);
	session_end(session, 421, "4.7.0", "%s Please log in again",
	    session_settings(session)->smtp_hostname);
}

void
session_auth_renew(struct session *session)
{
	struct ipc_auth_renew message = {.session_id = session->id,
	    .token = buf_slice(&session->login->octets)};
	struct smtp_status status;

	if (clock_monotonic_ms() - session->login->fresh_ms <
	    TOKEN_FRESH_S * 1000) {
		session_mail_renewed(session);
		return;
	}
	if (session_ask(session, ROLE_AUTHD, MSG_AUTH_RENEW, &message,
		MSG_AUTH_RESULT, LOGIN_ANSWER_MS, on_renewed) == 0)
		return;
	(void)smtp_status_set(&status, 454, "4.7.0",
	    "Your login cannot be checked now, try later");
	session_mail_refuse(session, &status);
}
