/* SPDX-License-Identifier: ISC */
/*
 * What the built-in CA revoked, and its list of that: made at each revocation
 * and before it ends.
 * Runs in: postern-signerd's broker, in its loop.  Trusts: confd for the right
 * to ask.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/events.h"
#include "signer/key_admin.h"

/* How long a list counts, and how long before its end the next is made. */
#define CRL_DAYS "30"
#define RENEW_S ((int64_t)7 * 86400)
/* One that is of later than that was made by a clock that was wrong. */
#define AHEAD_MAX_S 86400
/* Each revoked one is a line. */
#define LINES_MAX ((size_t)2 * 1024 * 1024)
#define DER_MAX ((size_t)IPC_JSON_MAX)
/* CAs of our own that still have certificates. */
#define CAS_MAX 32

/* ---- what was issued ---- */

struct issued_list {
	struct buf lines; /* "SERIAL TIME\n" of the revoked ones */
	json_t *json;     /* of all, or NULL */
};

static void
take_issued(void *arg, const struct ca_issued *row)
{
	struct issued_list *list = arg;
	json_t *json;

	if (row->revoked_s != 0)
		(void)buf_addf(&list->lines, "%s %lld\n", row->serial,
		    (long long)row->revoked_s);
	if (list->json == NULL)
		return;
	json = json_pack("{s:s, s:s, s:I}", "serial", row->serial, "address",
	    row->address, "not_after", (json_int_t)row->not_after_s);
	if (row->revoked_s != 0)
		(void)json_object_set_new(
		    json, "revoked", json_integer(row->revoked_s));
	(void)json_array_append_new(list->json, json);
}

static int
read_issued(struct signerd *signerd, int64_t ca_id, struct issued_list *list,
    struct err *err)
{
	if (keystore_issued(signerd->keystore, ca_id, take_issued, list, err) ==
	    -1)
		return -1;
	return list->lines.overflowed
		   ? err_set(err, "too many certificates are revoked")
		   : 0;
}

/* ---- making the list ---- */

struct making {
	int64_t ca_id;
	size_t n;
	char lines[]; /* that stand in it */
};

static enum manage_code make(struct signerd *signerd,
    struct manage_request *request, const struct key *ca);

static void
tell(struct signerd *signerd, const struct key_crl *crl)
{
	char what[700];
	struct event_change event = {.actor = SLICE("postern-signerd"),
	    .verb = SLICE("ca.crl"),
	    .revision = keystore_revision(signerd->keystore)};

	(void)snprintf(what, sizeof(what),
	    "a new list of certificates that %.400s revoked, %lld of them",
	    crl->issuer, (long long)crl->entries);
	event.what = slice_of(what);
	log_event(daemon_log(signerd->daemon), (struct log_context){0, 0},
	    EV_CHANGE, &event);
}

/* The answer: PEM, or DER where that is asked for. */
static enum manage_code
show(struct manage_request *request, struct slice der, int64_t next_update_s)
{
	char *text = manage_flag(request, "der") ? key_base64(der)
						 : key_pem(der, "X509 CRL");

	request->reply = json_pack("{s:s, s:I}",
	    manage_flag(request, "der") ? "der" : "text", text, "next_update",
	    (json_int_t)next_update_s);
	free(text);
	return MANAGE_DONE;
}

/* Another one was revoked while this list was made: it would be missing. */
static bool
is_old(struct key_call *call, const struct making *making)
{
	struct issued_list now = {.json = NULL};
	bool is_same;

	buf_init(&now.lines, LINES_MAX);
	is_same = read_issued(call->signerd, making->ca_id, &now, NULL) == 0 &&
		  slice_equals(buf_slice(&now.lines),
		      (struct slice){making->lines, making->n});
	buf_clear(&now.lines);
	return !is_same;
}

static enum keystore_change
keep(struct key_call *call, const struct key_answer *answer, int64_t ca_id,
    struct err *err)
{
	struct key_crl *crl = xcalloc(1, sizeof(*crl));
	enum keystore_change change;
	size_t revoked;

	change =
	    key_keep_crl(call, answer, KEY_CRL_BUILT_IN, crl, &revoked, err);
	if (change == CHANGE_DONE)
		change = keystore_put_ca_crl(call->signerd->keystore, ca_id,
		    crl->this_update_s, crl->next_update_s,
		    key_part(&answer->parts, "crl"), err);
	if (change == CHANGE_DONE)
		tell(call->signerd, crl);
	free(crl);
	return change;
}

static enum manage_code
on_made(struct key_call *call, const struct key_answer *answer)
{
	const struct making *making = call->context;
	struct manage_request *request = call->request;
	enum keystore_change change = CHANGE_FAILED;
	const struct key *ca;
	struct err err;

	if (!is_old(call, making)) {
		change = keep(call, answer, making->ca_id, &err);
	} else {
		ca = keystore_key(call->signerd->keystore, making->ca_id, &err);
		if (ca != NULL)
			return make(call->signerd, request, ca);
	}
	if (request != NULL)
		return change == CHANGE_DONE
			   ? show(request, key_part(&answer->parts, "crl"),
				 answer->next_update_s)
			   : key_fail_change(request, change, &err);
	if (change != CHANGE_DONE)
		log_notice("our list of revoked certificates: %s", err.text);
	return MANAGE_LATER;
}

static void
on_failed(struct key_call *call, const char *reason, bool is_temporary)
{
	(void)call;
	(void)is_temporary;
	log_notice("our list of revoked certificates: %s", reason);
}

/* Rises by itself, and is another one for each list. */
static void
add_number(struct key_call *call)
{
	struct timespec now;
	char number[24];

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)snprintf(number, sizeof(number), "%lld",
	    (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
	key_call_fact(call, "serial", number);
}

static enum manage_code
make(struct signerd *signerd, struct manage_request *request,
    const struct key *ca)
{
	struct issued_list list = {.json = NULL};
	struct key_call *call;
	struct making *making;
	struct err err;

	buf_init(&list.lines, LINES_MAX);
	if (read_issued(signerd, ca->id, &list, &err) == -1) {
		buf_clear(&list.lines);
		if (request != NULL)
			return manage_fail(
			    request, MANAGE_FAILED, NULL, "%s", err.text);
		log_notice("our list of revoked certificates: %s", err.text);
		return MANAGE_LATER;
	}
	call = key_call_new(signerd, request, KEY_OP_MAKE_CRL);
	making = xcalloc(1, sizeof(*making) + list.lines.n + 1);
	making->ca_id = ca->id;
	making->n = list.lines.n;
	if (list.lines.n > 0)
		memcpy(making->lines, list.lines.p, list.lines.n);
	call->context = making;
	if (request == NULL)
		call->failed = on_failed;
	key_call_part(call, "revoked", buf_slice(&list.lines));
	buf_clear(&list.lines);
	add_number(call);
	key_call_fact(call, "days", CRL_DAYS);
	key_call_key(call, WORK_KEY_ISSUER, ca);
	key_call_unbound(call);
	return key_call_run(call, on_made);
}

/* ---- its renewal ---- */

static bool
must_renew(int64_t this_update_s, int64_t next_update_s, int64_t now_s)
{
	return next_update_s - now_s < RENEW_S ||
	       this_update_s - now_s > AHEAD_MAX_S;
}

struct cas {
	int64_t ids[CAS_MAX];
	size_t count;
	int64_t now_s;
};

static void
take_ca(void *arg, const struct key *key)
{
	struct cas *cas = arg;

	/* One that ended has no certificates that count. */
	if (key->status == KEY_ACTIVE && key->not_after_s > cas->now_s &&
	    cas->count < CAS_MAX)
		cas->ids[cas->count++] = key->id;
}

void
key_ca_renew_crls(struct signerd *signerd)
{
	struct cas cas = {.now_s = (int64_t)time(NULL)};
	struct err err;

	if (keystore_list(signerd->keystore, KEY_CA, "", 0, 1000, take_ca, &cas,
		&err) == -1)
		log_notice("CAs of our own: %s", err.text);
	for (size_t i = 0; i < cas.count; i++) {
		struct ca_crl crl = {.this_update_s = 0};
		const struct key *ca;

		buf_init(&crl.der, DER_MAX);
		if (keystore_ca_crl(
			signerd->keystore, cas.ids[i], &crl, &err) == -1)
			log_notice(
			    "our list of revoked certificates: %s", err.text);
		else if (must_renew(
			     crl.this_update_s, crl.next_update_s, cas.now_s) &&
			 (ca = keystore_key(
			      signerd->keystore, cas.ids[i], &err)) != NULL)
			(void)make(signerd, NULL, ca);
		buf_clear(&crl.der);
	}
}

/* ---- verbs ---- */

enum manage_code
ca_revoke(struct manage_request *request)
{
	const char *serial = manage_text(request, "serial");
	enum manage_code code;
	const struct key *ca = key_current_ca(request, &code);
	enum keystore_change change;
	struct err err;
	int64_t id;

	if (ca == NULL)
		return code;
	if (serial == NULL)
		return manage_fail(request, MANAGE_USAGE, "postern ca show",
		    "name the certificate by its serial number");
	id = ca->id;
	change = keystore_revoke_issued(
	    request->signerd->keystore, id, serial, (int64_t)time(NULL), &err);
	if (change != CHANGE_DONE)
		return key_fail_change(request, change, &err);
	ca = keystore_key(request->signerd->keystore, id, &err);
	return ca == NULL
		   ? manage_fail(request, MANAGE_FAILED, NULL, "%s", err.text)
		   : make(request->signerd, request, ca);
}

/* The one that counts; a new one where none counts for long. */
enum manage_code
ca_crl(struct manage_request *request)
{
	const int64_t now_s = (int64_t)time(NULL);
	struct ca_crl crl = {.this_update_s = 0};
	enum manage_code code;
	const struct key *ca = key_current_ca(request, &code);
	struct err err;

	if (ca == NULL)
		return code;
	buf_init(&crl.der, DER_MAX);
	if (keystore_ca_crl(request->signerd->keystore, ca->id, &crl, &err) ==
	    -1)
		code =
		    manage_fail(request, MANAGE_FAILED, NULL, "%s", err.text);
	else if (manage_flag(request, "renew") ||
		 must_renew(crl.this_update_s, crl.next_update_s, now_s))
		code = make(request->signerd, request, ca);
	else
		code = show(request, buf_slice(&crl.der), crl.next_update_s);
	buf_clear(&crl.der);
	return code;
}

enum manage_code
ca_show(struct manage_request *request)
{
	enum manage_code code;
	const struct key *ca = key_current_ca(request, &code);
	struct issued_list list = {.json = NULL};
	char *pem;
	struct err err;

	if (ca == NULL)
		return code;
	request->reply = key_json(request->signerd, ca);
	pem = key_pem(ca->public, "CERTIFICATE");
	(void)json_object_set_new(request->reply, "text", json_string(pem));
	free(pem);
	buf_init(&list.lines, LINES_MAX);
	list.json = json_array();
	if (keystore_issued(request->signerd->keystore, ca->id, take_issued,
		&list, &err) == -1)
		code =
		    manage_fail(request, MANAGE_FAILED, NULL, "%s", err.text);
	else
		code = MANAGE_DONE;
	if (code == MANAGE_DONE)
		(void)json_object_set(request->reply, "issued", list.json);
	json_decref(list.json);
	buf_clear(&list.lines);
	return code;
}
