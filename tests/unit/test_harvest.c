/* SPDX-License-Identifier: ISC */
/*
 * Certificates that come with mail.  The worker that read the mail may have
 * been taken over by it, so whatever it says of their chains: stored is what
 * the `key` worker, here the test itself, leads to an anchor.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "signer/key_admin.h"
#include "signer/trust_x509.h"
#include "tests/unit/smime_world.h"
#include "tests/unit/tap.h"

#define DAY_S 86400
#define ROOM ((size_t)1024 * 1024)

struct daemon {
	unsigned alerts;
	struct log *log;
};

struct fixture {
	struct daemon daemon;
	struct signerd signerd;
	struct loop *loop;
	struct task *submitted; /* the last; NULL: none */
	char folder[64];
	struct world_id *root;
	struct world_id *middle;
};

/* pools_submit() is told of the signerd by way of its pools alone. */
static struct fixture fixture;

/* ---- what the rest of the broker is to the harvest ---- */

struct log *
daemon_log(struct daemon *daemon)
{
	return daemon->log;
}

void
daemon_alert_raise(struct daemon *daemon, int alert, const char *subject,
    const char *format, ...)
{
	(void)alert;
	(void)subject;
	(void)format;
	daemon->alerts++;
}

void
daemon_alert_clear(struct daemon *daemon, int alert, const char *subject)
{
	(void)daemon;
	(void)alert;
	(void)subject;
}

const char *pool_class_name(enum pool_class class)
{
	return class == POOL_KEY ? "key" : "open";
}

int
pools_submit(struct pools *pools, struct task *task, struct err *err)
{
	(void)pools;
	(void)err;
	fixture.submitted = task;
	return 0;
}

int
signerd_scratch_file(const struct signerd *signerd, struct err *err)
{
	(void)signerd;
	return err_set(err, "no task is so large");
}

int
signerd_class_key(const struct signerd *signerd, enum pool_class class,
    struct wrap_key *key_r, struct err *err)
{
	(void)signerd;
	(void)class;
	(void)key_r;
	return err_set(err, "no private part is sealed");
}

enum manage_code
manage_fail(struct manage_request *request, enum manage_code code,
    const char *hint, const char *format, ...)
{
	(void)request;
	(void)hint;
	(void)format;
	return code;
}

void
manage_answer(struct manage_request *request, enum manage_code code)
{
	(void)request;
	(void)code;
	bug("nobody asked");
}

int
key_file_write(const struct signerd *signerd, enum pool_class class,
    const char *name, struct slice octets, struct err *err)
{
	(void)signerd;
	(void)class;
	(void)name;
	(void)octets;
	return err_set(err, "no private part is stored");
}

void
key_file_remove(
    const struct signerd *signerd, enum pool_class class, const char *name)
{
	(void)signerd;
	(void)class;
	(void)name;
}

/* ---- the world ---- */

static struct world_id *
person(const char *ref, const char *address, struct world_id *issuer)
{
	const struct world_wish wish = {.kind = WORLD_P256,
	    .address = address,
	    .not_before_s = (int64_t)time(NULL) - DAY_S,
	    .not_after_s = (int64_t)time(NULL) + 30 * DAY_S};

	return world_id_new(ref, &wish, issuer);
}

static struct world_id *
authority(const char *ref, struct world_id *issuer)
{
	const struct world_wish wish = {.kind = WORLD_P256,
	    .is_ca = true,
	    .name = ref,
	    .not_before_s = (int64_t)time(NULL) - DAY_S,
	    .not_after_s = (int64_t)time(NULL) + 30 * DAY_S};

	return world_id_new(ref, &wish, issuer);
}

static struct slice
der_of(const struct world_id *id)
{
	return (struct slice){(const char *)id->der, id->der_n};
}

static void
add_anchor(const struct world_id *id, bool is_blocked)
{
	struct key_anchor anchor = {.not_after_s = 0,
	    .is_blocked = is_blocked,
	    .certificate = der_of(id)};
	struct err err;

	(void)snprintf(
	    anchor.fingerprint, sizeof(anchor.fingerprint), "%s", id->ref);
	(void)snprintf(anchor.subject, sizeof(anchor.subject), "%s", id->ref);
	if (keystore_add_anchor(fixture.signerd.keystore, &anchor, &err) !=
	    CHANGE_DONE)
		bug("%s", err.text);
}

static void
set_up(void)
{
	struct err err;

	(void)snprintf(
	    fixture.folder, sizeof(fixture.folder), "/tmp/harvest-XXXXXX");
	if (mkdtemp(fixture.folder) == NULL ||
	    keystore_open(fixture.folder, &fixture.signerd.keystore, &err) ==
		-1)
		bug("no store");
	fixture.loop = loop_new();
	fixture.daemon.log = log_new(fixture.loop, -1, NULL);
	fixture.signerd.daemon = &fixture.daemon;
	fixture.root = authority("root", NULL);
	fixture.middle = authority("middle", fixture.root);
	add_anchor(fixture.root, false);
}

static void
tear_down(void)
{
	static const char *const names[] = {
	    "keys.db", "keys.db-wal", "keys.db-shm", "lock"};
	char path[128];

	keystore_close(fixture.signerd.keystore);
	log_free(fixture.daemon.log);
	loop_free(fixture.loop);
	world_id_free(fixture.root);
	world_id_free(fixture.middle);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(
		    path, sizeof(path), "%s/%s", fixture.folder, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(fixture.folder);
}

/* The submitted task is done, in this process. */
static void
run_task(void)
{
	struct task *task = fixture.submitted;
	struct worker_context context = {.scratch_dir = "/nonexistent"};
	struct task_result result = {.fd = -1};
	struct work_answer answer;
	struct content output = content_of((struct slice){NULL, 0});
	struct work work = {.op = WORK_KEY,
	    .now_s = task->message.now_s,
	    .output_limit = task->message.output_limit,
	    .facts = task->message.facts,
	    .keys = task->message.keys,
	    .content = content_of(task->message.content)};

	fixture.submitted = NULL;
	work_answer_init(&answer, -1, ROOM);
	work_key(&context, &work, &answer);
	if (answer.outcome == SIGNED_DONE &&
	    (content_writer_finish(&answer.output, &output) == -1 ||
		output.fd != -1))
		bug("an answer that cannot be read");
	result.outcome = answer.outcome;
	result.reason = slice_of(answer.reason);
	result.facts = ipc_list_of(&answer.facts);
	result.content = output.memory;
	result.size_octets = output.size;
	task->done(task, &result);
	work_answer_clear(&answer);
}

/* The trust that is stored; 0: the certificate is not. */
static unsigned
trust_of(const char *address)
{
	struct key_binding binding;

	return keystore_recipient(fixture.signerd.keystore, KEY_SMIME,
		   slice_of(address), 0, (int64_t)time(NULL),
		   &binding) == KEYSTORE_FOUND
		   ? binding.trust
		   : 0;
}

static void
on_harvest(void *arg, bool is_usable)
{
	bool *is_usable_r = arg;

	*is_usable_r = is_usable;
}

/* What becomes of it when it comes with a mail of that address. */
static unsigned
come(const struct world_id *id, struct slice chain, const char *kind,
    unsigned claimed, const char *address)
{
	const struct ipc_record_harvest record = {.kind = slice_of(kind),
	    .address = slice_of(address),
	    .source = SLICE("smime"),
	    .trust = (uint16_t)claimed,
	    .public = der_of(id),
	    .chain = chain};
	bool is_usable = true;

	key_harvest(&fixture.signerd, &record, on_harvest, &is_usable);
	if (fixture.submitted != NULL)
		run_task();
	is_int(is_usable, trust_of(address) != 0, "%s: what is said is so",
	    address);
	return trust_of(address);
}

static const struct slice no_chain = {NULL, 0};

static void
test_good(void)
{
	struct world_id *anna = person("anna", "anna@a.test", fixture.root);
	struct world_id *ben = person("ben", "ben@b.test", fixture.middle);

	is_u64(come(anna, no_chain, "smime", TRUST_HARVESTED, "anna@a.test"),
	    TRUST_CHAIN, "one that leads to an anchor is believed");
	is_u64(come(ben, no_chain, "smime", TRUST_HARVESTED, "ben@b.test"), 0,
	    "one whose issuer is missing is not");
	is_u64(come(ben, der_of(fixture.middle), "smime", TRUST_HARVESTED,
		   "ben@b.test"),
	    TRUST_CHAIN, "with the issuer that came along it is");
	key_harvest(&fixture.signerd,
	    &(struct ipc_record_harvest){.kind = SLICE("smime"),
		.address = SLICE("ben@b.test"),
		.trust = TRUST_HARVESTED,
		.public = der_of(ben)},
	    NULL, NULL);
	ok(fixture.submitted == NULL, "what is known is not read again");
	world_id_free(anna);
	world_id_free(ben);
}

/* Does the store know that this CA, and no other of its name, signed it? */
static bool
is_by(const char *address, const struct world_id *ca)
{
	unsigned char id[TRUST_ISSUER_SIZE];
	struct key_binding binding;

	trust_issuer_id(ca->cert, id);
	return keystore_recipient(fixture.signerd.keystore, KEY_SMIME,
		   slice_of(address), 0, (int64_t)time(NULL),
		   &binding) == KEYSTORE_FOUND &&
	       binding.key->has_issuer_id &&
	       memcmp(binding.key->issuer_id, id, sizeof(id)) == 0;
}

/* Lists of revoked certificates count for those of that key alone. */
static void
test_issuers(void)
{
	struct world_id *twin = authority("root", NULL);
	struct world_id *gus = person("gus", "gus@g.test", fixture.root);
	struct world_id *hans = person("hans", "hans@g.test", twin);
	struct world_id *ines = person("ines", "ines@g.test", fixture.middle);

	(void)come(gus, der_of(twin), "smime", TRUST_CHAIN, "gus@g.test");
	ok(is_by("gus@g.test", fixture.root), "an anchor signed it");
	(void)snprintf(twin->ref, sizeof(twin->ref), "twin");
	add_anchor(twin, false);
	(void)come(hans, no_chain, "smime", TRUST_CHAIN, "hans@g.test");
	ok(is_by("hans@g.test", twin), "another one of the same name");
	(void)come(
	    ines, der_of(fixture.middle), "smime", TRUST_CHAIN, "ines@g.test");
	ok(is_by("ines@g.test", fixture.middle), "a CA that came along");
	world_id_free(twin);
	world_id_free(gus);
	world_id_free(hans);
	world_id_free(ines);
}

/* What a worker says that was taken over. */
static void
test_claims(void)
{
	struct world_id *eve = person("eve", "victim@c.test", NULL);
	struct world_id *fake = authority("root", NULL);
	struct world_id *twin = person("twin", "twin@c.test", fake);
	struct world_id *own = person("own", "own@c.test", fixture.root);

	is_u64(come(eve, no_chain, "smime", TRUST_CHAIN, "victim@c.test"), 0,
	    "a certificate signed by itself, said to have a chain");
	is_u64(come(eve, no_chain, "smime", TRUST_MANUAL, "victim@c.test"), 0,
	    "or to have been approved");
	is_u64(come(eve, der_of(eve), "smime", TRUST_CHAIN, "victim@c.test"), 0,
	    "or to be its own issuer");
	is_u64(come(eve, der_of(fixture.root), "smime", TRUST_CHAIN,
		   "victim@c.test"),
	    0, "or an anchor's");
	is_u64(come(eve, no_chain, "dkim", TRUST_CHAIN, "victim@c.test"), 0,
	    "or to be something else");
	is_u64(come(eve, no_chain, "pgp", TRUST_CHAIN, "victim@c.test"), 0,
	    "or an OpenPGP key");
	is_u64(come(twin, der_of(fake), "smime", TRUST_CHAIN, "twin@c.test"), 0,
	    "one of a CA that has an anchor's name");
	is_u64(come(own, no_chain, "smime", TRUST_MANUAL, "victim@c.test"), 0,
	    "a good one for another address");
	is_u64(come(own, no_chain, "smime", TRUST_MANUAL, "own@c.test"),
	    TRUST_CHAIN, "a good one is believed for its chain, no more");
	is_u64(fixture.signerd.harvests, 0, "none is waited for any more");
	world_id_free(eve);
	world_id_free(fake);
	world_id_free(twin);
	world_id_free(own);
}

static void
test_blocked(void)
{
	struct world_id *other = authority("other", NULL);
	struct world_id *dora = person("dora", "dora@d.test", other);
	struct world_id *emil = person("emil", "emil@d.test", fixture.middle);
	struct world_id *fritz = person("fritz", "fritz@d.test", fixture.root);

	add_anchor(other, true);
	is_u64(come(dora, no_chain, "smime", TRUST_CHAIN, "dora@d.test"), 0,
	    "one of a blocked CA is not believed");
	add_anchor(fixture.middle, true);
	is_u64(come(emil, der_of(fixture.middle), "smime", TRUST_CHAIN,
		   "emil@d.test"),
	    0, "nor one of a blocked CA below a known one");
	add_anchor(fritz, true);
	is_u64(come(fritz, no_chain, "smime", TRUST_CHAIN, "fritz@d.test"), 0,
	    "nor one that is blocked itself");
	world_id_free(emil);
	world_id_free(fritz);
	world_id_free(other);
	world_id_free(dora);
}

int
main(void)
{
	set_up();
	test_good();
	test_claims();
	test_issuers();
	test_blocked();
	tear_down();
	return tap_done();
}
