/* SPDX-License-Identifier: ISC */
/*
 * Operations with revocation lists: making the built-in CA's, reading those of
 * others, finding where lists about certificates are.
 * Runs in: postern-signerd's `key` worker, which ends after one task.
 * Trusts: the broker for what is asked and for the anchors; nothing of a list
 * or a certificate.  The CA's key is opened only when it is to sign.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "signer/crl_read.h"
#include "signer/key_issue.h"
#include "signer/key_work.h"
#include "signer/key_x509.h"

/* No list is for longer: nobody would look at the next one. */
#define DAYS_MAX 400
/* Certificates that are given to lead to anchors. */
#define OTHERS_MAX 2000

/* ---- certificates of the task ---- */

struct people {
	STACK_OF(X509) * anchors;
	STACK_OF(X509) * others; /* none of them is blocked */
	STACK_OF(X509) * blocked;
};

static void
people_init(struct people *people)
{
	people->anchors = sk_X509_new_null();
	people->others = sk_X509_new_null();
	people->blocked = sk_X509_new_null();
	if (people->anchors == NULL || people->others == NULL ||
	    people->blocked == NULL)
		fatal("out of memory");
}

static void
people_clear(struct people *people)
{
	sk_X509_pop_free(people->anchors, X509_free);
	sk_X509_pop_free(people->others, X509_free);
	sk_X509_pop_free(people->blocked, X509_free);
}

static bool
is_blocked(const struct people *people, X509 *certificate)
{
	for (int i = 0; i < sk_X509_num(people->blocked); i++)
		if (X509_cmp(sk_X509_value(people->blocked, i), certificate) ==
		    0)
			return true;
	return false;
}

/* All but the candidates. */
static void
people_add(struct people *people, const struct key_work *task)
{
	struct ipc_list keys = task->work->keys;
	struct ipc_record_work_key record;

	while (ipc_work_key_next(&keys, &record)) {
		if (record.use == WORK_KEY_ANCHOR)
			key_work_push(
			    people->anchors, record.public, OTHERS_MAX);
		else if (record.use == WORK_KEY_BLOCKED)
			key_work_push(
			    people->blocked, record.public, OTHERS_MAX);
		else if (record.use != WORK_KEY_CANDIDATE)
			key_work_push(
			    people->others, record.public, OTHERS_MAX);
		if (record.use != WORK_KEY_CANDIDATE)
			key_work_push(people->others, record.chain, OTHERS_MAX);
	}
	for (int i = sk_X509_num(people->others) - 1; i >= 0; i--)
		if (is_blocked(people, sk_X509_value(people->others, i)))
			X509_free(sk_X509_delete(people->others, i));
}

/* ---- lists ---- */

static int
say_crl(struct key_work *task, const struct crl_facts *facts,
    const struct buf *list)
{
	char id[2 * TRUST_ISSUER_SIZE + 1];

	key_hex(facts->list.issuer, TRUST_ISSUER_SIZE, id);
	work_answer_fact(task->answer, "issuer_id", "%s", id);
	work_answer_fact(task->answer, "issuer", "%s", facts->issuer);
	work_answer_fact(task->answer, "number", "%s", facts->number);
	work_answer_fact(task->answer, "entries", "%llu",
	    (unsigned long long)facts->list.count);
	work_answer_fact(task->answer, "this_update", "%lld",
	    (long long)facts->list.this_update_s);
	work_answer_fact(task->answer, "next_update", "%lld",
	    (long long)facts->list.next_update_s);
	for (size_t i = 0; i < facts->scope_count; i++)
		work_answer_fact(task->answer, "scope", "%s", facts->scopes[i]);
	return key_work_add(task, "list", buf_slice(list));
}

/* All certificates of a task that is not about their chains. */
static STACK_OF(X509) * candidates_of(const struct key_work *task)
{
	struct ipc_list keys = task->work->keys;
	STACK_OF(X509) *all = sk_X509_new_null();
	struct ipc_record_work_key record;

	if (all == NULL)
		fatal("out of memory");
	while (ipc_work_key_next(&keys, &record))
		if (record.use == WORK_KEY_CANDIDATE)
			key_work_push(all, record.public, OTHERS_MAX);
	return all;
}

static int
add_issued(struct buf *issued, X509 *certificate, X509 *ca)
{
	char fingerprint[KEY_FINGERPRINT_MAX + 1];
	struct key_issued row;

	x509_fingerprint(certificate, fingerprint);
	memcpy(row.fingerprint, fingerprint, sizeof(row.fingerprint));
	trust_issuer_id(ca, row.issuer_id);
	return buf_add(issued, &row, sizeof(row));
}

/* The broker does not know yet whose they are; now that can be told of some. */
static int
say_issued(struct key_work *task, const struct people *people)
{
	STACK_OF(X509) *candidates = candidates_of(task);
	struct buf issued;
	int rc = 0;

	buf_init(&issued, (size_t)OTHERS_MAX * sizeof(struct key_issued));
	for (int i = 0; rc == 0 && i < sk_X509_num(candidates); i++) {
		X509 *certificate = sk_X509_value(candidates, i);
		X509 *ca = key_work_issuer(certificate, people->anchors);

		if (ca == NULL)
			ca = key_work_issuer(certificate, people->others);
		if (ca != NULL)
			rc = add_issued(&issued, certificate, ca);
	}
	if (rc == 0 && issued.n > 0)
		rc = key_work_add(task, "issued", buf_slice(&issued));
	buf_clear(&issued);
	sk_X509_pop_free(candidates, X509_free);
	return rc;
}

static int
read_crl(struct key_work *task, struct slice file, const struct people *people)
{
	struct crl_facts *facts = xcalloc(1, sizeof(*facts));
	struct buf list;
	int rc;

	buf_init(&list, TRUST_LIST_MAX);
	rc = crl_read(file, task->work->now_s, people->anchors, people->others,
	    facts, &list, &task->err);
	if (rc == 0)
		rc = say_crl(task, facts, &list);
	if (rc == 0)
		rc = say_issued(task, people);
	buf_clear(&list);
	free(facts);
	return rc;
}

int
key_op_read_crl(struct key_work *task)
{
	struct people people;
	int rc;

	people_init(&people);
	people_add(&people, task);
	rc = read_crl(task, task->file, &people);
	people_clear(&people);
	return rc;
}

/* Read again as one of anybody: so it is what others will see in it. */
static int
read_own(struct key_work *task, struct slice der, X509 *ca)
{
	struct people people;
	int rc;

	people_init(&people);
	if (X509_up_ref(ca) != 1 || sk_X509_push(people.anchors, ca) <= 0)
		fatal("out of memory");
	rc = read_crl(task, der, &people);
	people_clear(&people);
	return rc;
}

int
key_op_make_crl(struct key_work *task)
{
	EVP_PKEY *ca_key;
	X509 *ca;
	struct buf der;
	int rc = key_work_open_ca(task, &ca, &ca_key);

	buf_init(&der, IPC_JSON_MAX);
	if (rc == 0)
		rc = issue_crl(key_part(&task->parts, "revoked"),
		    key_work_fact(task, "serial"), task->work->now_s,
		    key_work_days_after(task, DAYS_MAX), ca, ca_key, &der,
		    &task->err);
	if (rc == 0)
		rc = read_own(task, buf_slice(&der), ca);
	if (rc == 0)
		rc = key_work_add(task, "crl", buf_slice(&der));
	buf_clear(&der);
	X509_free(ca);
	return rc;
}

/* ---- where lists are ---- */

static bool
is_told(const struct key_work *task, const char *url)
{
	struct ipc_list parts = ipc_list_of(&task->results);
	struct ipc_record_part part;

	while (ipc_part_next(&parts, &part))
		if (slice_equals(part.name, SLICE("url")) &&
		    slice_equals(part.data, slice_of(url)))
			return true;
	return false;
}

/* The places of the list about chain[at], and who signs it. */
static int
tell_point(struct key_work *task, STACK_OF(X509) * chain, int at)
{
	struct trust_points points;
	struct buf issuers;
	struct buf others;
	int rc = 0;

	trust_points_of(sk_X509_value(chain, at), &points);
	if (points.count == 0 || is_told(task, points.urls[0]) ||
	    task->results.count + 3 > KEY_PARTS_MAX)
		return 0;
	buf_init(&issuers, KEY_FILE_MAX);
	buf_init(&others, TRUST_OTHERS_SIZE);
	for (size_t i = 1; i < points.count; i++)
		(void)buf_addf(&others, "%s\n", points.urls[i]);
	for (int i = at + 1; rc == 0 && i < sk_X509_num(chain); i++)
		rc = x509_to_der(sk_X509_value(chain, i), &issuers, &task->err);
	if (rc == 0)
		rc = key_work_add(task, "url", slice_of(points.urls[0]));
	if (rc == 0)
		rc = key_work_add(task, "others", buf_slice(&others));
	if (rc == 0)
		rc = key_work_add(task, "issuers", buf_slice(&issuers));
	buf_clear(&issuers);
	buf_clear(&others);
	return rc;
}

/* Only of what leads to an anchor: nobody else has a list fetched. */
static int
find_points(struct key_work *task, struct slice candidate,
    struct slice followers, const struct people *people)
{
	STACK_OF(X509) *own = sk_X509_new_null();
	STACK_OF(X509) *others = sk_X509_dup(people->others);
	STACK_OF(X509) *chain = NULL;
	int rc = 0;

	if (own == NULL || others == NULL)
		fatal("out of memory");
	key_work_push(own, candidate, OTHERS_MAX);
	key_work_push(own, followers, OTHERS_MAX);
	for (int i = 1; i < sk_X509_num(own); i++)
		if (!is_blocked(people, sk_X509_value(own, i)) &&
		    sk_X509_push(others, sk_X509_value(own, i)) <= 0)
			fatal("out of memory");
	if (sk_X509_num(own) > 0 && !is_blocked(people, sk_X509_value(own, 0)))
		chain = crl_chain_of(sk_X509_value(own, 0), NULL,
		    task->work->now_s, people->anchors, others);
	for (int i = 0; rc == 0 && i + 1 < sk_X509_num(chain); i++)
		rc = tell_point(task, chain, i);
	sk_X509_pop_free(chain, X509_free);
	sk_X509_free(others);
	sk_X509_pop_free(own, X509_free);
	return rc;
}

int
key_op_find_points(struct key_work *task)
{
	struct ipc_list keys = task->work->keys;
	struct ipc_record_work_key record;
	struct people people;
	int rc = 0;

	people_init(&people);
	people_add(&people, task);
	while (rc == 0 && ipc_work_key_next(&keys, &record))
		if (record.use == WORK_KEY_CANDIDATE)
			rc = find_points(
			    task, record.public, record.chain, &people);
	people_clear(&people);
	return rc;
}
