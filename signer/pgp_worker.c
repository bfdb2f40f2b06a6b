/* SPDX-License-Identifier: ISC */
/*
 * Keys in a worker's GnuPG home.
 * Runs in: postern-signerd's pgp-sign and pgp-open workers.  Trusts: the
 * broker for which keys are meant; the key files, which are sealed.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "signer/keyring.h"
#include "signer/pgp_worker.h"

/*
 * Keys in a home before it is made anew: GnuPG reads its whole list of keys
 * at each operation, and with some hundreds that is not yet felt.
 */
#define PRIVATE_MAX 256
#define PUBLIC_MAX 512

/* Files for gpg's --file in it. */
#define FILES_MAX 2000

/* A task starts with at least that much room for its own keys. */
#define ROOM_FOR_TASK 64

/* SHA-256 in hexadecimal and a NUL. */
#define SUM_SIZE 65

struct pgp_worker {
	struct pgp_home *home;
	size_t private_count;
	struct pgp_private privates[PRIVATE_MAX];
	size_t file_count;
	size_t public_count;
	char publics[PUBLIC_MAX][SUM_SIZE]; /* that are in the home */
};

void
pgp_private_clear(struct pgp_private *private)
{
	if (private->key != NULL)
		gpgme_key_unref(private->key);
	explicit_bzero(private, sizeof(*private));
}

static void
drop_home(struct pgp_worker *worker)
{
	for (size_t i = 0; i < worker->private_count; i++)
		pgp_private_clear(&worker->privates[i]);
	worker->private_count = 0;
	worker->public_count = 0;
	worker->file_count = 0;
	pgp_home_free(worker->home);
	worker->home = NULL;
}

void
pgp_worker_free(struct pgp_worker *worker)
{
	if (worker == NULL)
		return;
	drop_home(worker);
	free(worker);
}

void
pgp_worker_spoiled(struct worker_context *context)
{
	if (context->pgp != NULL)
		drop_home(context->pgp);
}

static bool
is_full(const struct pgp_worker *worker)
{
	return worker->private_count + ROOM_FOR_TASK > PRIVATE_MAX ||
	       worker->public_count + ROOM_FOR_TASK > PUBLIC_MAX ||
	       worker->file_count > FILES_MAX;
}

int
pgp_worker_begin(
    struct worker_context *context, struct pgp_home **home_r, struct err *err)
{
	struct pgp_worker *worker = context->pgp;
	gpgme_ctx_t unused;

	if (worker == NULL) {
		if (context->scratch_dir == NULL)
			return err_set(err, "no folder for GnuPG was given");
		if (pgp_start(err) == -1)
			return -1;
		worker = context->pgp = xcalloc(1, sizeof(*worker));
	}
	if (worker->home != NULL &&
	    (is_full(worker) ||
		pgp_home_context(worker->home, &unused, err) == -1))
		drop_home(worker);
	if (worker->home == NULL &&
	    pgp_home_new(context->scratch_dir, &worker->home, err) == -1)
		return -1;
	*home_r = worker->home;
	return 0;
}

/* ---- private keys ---- */

static void
note_key_ids(struct slice binary, struct pgp_private *private_r)
{
	struct pgp_walk walk = {.rest = binary};
	struct pgp_packet packet;
	struct pgp_key_packet key;

	while (pgp_packet_next(&walk, &packet) == PARSE_OK) {
		if (packet.tag != PGP_TAG_SECRET_KEY &&
		    packet.tag != PGP_TAG_SECRET_SUBKEY)
			continue;
		if (pgp_key_packet_read(&packet, &key, NULL) == 0 &&
		    key.has_secret &&
		    private_r->key_id_count < sizeof(private_r->key_ids) /
						  sizeof(private_r->key_ids[0]))
			memcpy(private_r->key_ids[private_r->key_id_count++],
			    key.key_id, PGP_KEY_ID_SIZE);
	}
}

static int
load_private(struct worker_context *context, struct pgp_home *home,
    const struct ipc_record_work_key *work_key, struct pgp_private *private_r,
    struct err *err)
{
	struct pgp_private private = {.key = NULL};
	struct slice key;
	struct buf blob;
	int rc = -1;

	buf_init(&blob, PGP_PRIVATE_MAX);
	if (slice_copy(work_key->ref, private.ref, sizeof(private.ref)) == 0 &&
	    slice_copy(work_key->fingerprint, private.fingerprint,
		sizeof(private.fingerprint)) == 0 &&
	    keyring_secret(context->keyring, work_key->ref, &blob, err) == 0 &&
	    pgp_blob_read(buf_slice(&blob), private.words, &key, err) == 0 &&
	    pgp_home_import(home, key, err) == 0 &&
	    pgp_home_key(home, private.fingerprint, true, &private.key, err) ==
		0) {
		note_key_ids(key, &private);
		*private_r = private;
		rc = 0;
	}
	explicit_bzero(private.words, sizeof(private.words));
	wrap_wipe(&blob);
	return rc;
}

int
pgp_worker_private(struct worker_context *context,
    const struct ipc_record_work_key *key, const struct pgp_private **private_r,
    struct err *err)
{
	struct pgp_worker *worker = context->pgp;

	for (size_t i = 0; i < worker->private_count; i++)
		if (slice_equals(key->ref, slice_of(worker->privates[i].ref))) {
			*private_r = &worker->privates[i];
			return 0;
		}
	if (worker->private_count == PRIVATE_MAX)
		return err_set(err, "there are too many keys in one task");
	if (load_private(context, worker->home, key,
		&worker->privates[worker->private_count], err) == -1)
		return -1;
	*private_r = &worker->privates[worker->private_count++];
	return 0;
}

int
pgp_worker_private_alone(struct worker_context *context,
    const struct ipc_record_work_key *key, struct pgp_home **home_r,
    struct pgp_private *private_r, struct err *err)
{
	struct pgp_home *home = NULL;

	if (pgp_home_new(context->scratch_dir, &home, err) == -1)
		return -1;
	if (load_private(context, home, key, private_r, err) == -1) {
		pgp_home_free(home);
		return -1;
	}
	*home_r = home;
	return 0;
}

/* ---- public keys ---- */

static void
sum_of(struct slice s, char sum_r[SUM_SIZE])
{
	unsigned char sum[32];

	if (EVP_Digest(s.p, s.n, sum, NULL, EVP_sha256(), NULL) != 1)
		fatal("no SHA-256");
	for (size_t i = 0; i < sizeof(sum); i++)
		(void)snprintf(sum_r + 2 * i, 3, "%02x", sum[i]);
}

/* It comes from our store, but gpg goes by what is in it, so look. */
static int
check_public(const struct ipc_record_work_key *key, struct err *err)
{
	struct pgp_key_shape shape;

	if (pgp_key_shape_read(key->public, &shape, err) == -1)
		return err_wrap(err, "key of %.*s", SLICE_ARG(key->address));
	if (shape.keys != 1 || shape.has_secret ||
	    !slice_equals_nocase(
		slice_of(shape.primary.fingerprint), key->fingerprint))
		return err_set(err, "the key of %.*s is not the one named",
		    SLICE_ARG(key->address));
	return 0;
}

int
pgp_worker_public(struct worker_context *context, struct pgp_home *home,
    const struct ipc_record_work_key *key, struct err *err)
{
	struct pgp_worker *worker = context->pgp;
	const bool is_shared = home == worker->home;
	char sum[SUM_SIZE];

	sum_of(key->public, sum);
	for (size_t i = 0; is_shared && i < worker->public_count; i++)
		if (memcmp(worker->publics[i], sum, SUM_SIZE) == 0)
			return 0;
	if (check_public(key, err) == -1 ||
	    pgp_home_import(home, key->public, err) == -1)
		return -1;
	if (is_shared && worker->public_count < PUBLIC_MAX)
		memcpy(worker->publics[worker->public_count++], sum, SUM_SIZE);
	return 0;
}

/* *is_old_r: it was there already. */
static int
write_public(
    const char *path, struct slice public, bool *is_old_r, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t done = 0;

	*is_old_r = false;
	if (fd == -1 && errno == EEXIST) {
		*is_old_r = true;
		return 0;
	}
	while (fd != -1 && done < public.n) {
		ssize_t n = write(fd, public.p + done, public.n - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (fd != -1 && close(fd) == 0 && done == public.n)
		return 0;
	(void)err_set(err, "cannot write %s: %s", path, strerror(errno));
	(void)unlink(path);
	return -1;
}

int
pgp_worker_recipient(struct worker_context *context,
    const struct ipc_record_work_key *key, struct pgp_recipient *recipient_r,
    struct err *err)
{
	struct pgp_worker *worker = context->pgp;
	char sum[SUM_SIZE];
	bool is_old;

	if (check_public(key, err) == -1)
		return -1;
	sum_of(key->public, sum);
	recipient_r->is_file = true;
	if (pgp_home_path(worker->home, sum, recipient_r->text,
		sizeof(recipient_r->text)) == -1)
		return err_set(err, "a path is too long");
	if (write_public(recipient_r->text, key->public, &is_old, err) == -1)
		return -1;
	worker->file_count += is_old ? 0 : 1;
	if (!is_old || worker->public_count == PUBLIC_MAX)
		return 0;
	recipient_r->is_file = false;
	if (pgp_worker_public(context, worker->home, key, err) == -1)
		return -1;
	return slice_copy(
	    key->fingerprint, recipient_r->text, sizeof(recipient_r->text));
}
