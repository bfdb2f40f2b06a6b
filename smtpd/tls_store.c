/* SPDX-License-Identifier: ISC */
/*
 * Keeps the certificate and its key, watches its dates, renews ticket keys.
 * Runs in: postern-smtpd, the acceptor.  Trusts: its own state directory; an
 * installed pair only after OpenSSL checked it.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/alerts.h"
#include "smtpd/tls_store.h"

/* As the message to the workers has it. */
#define CHAIN_MAX 131072
#define KEY_MAX 32768
/* One key for tickets, as tls_server_new() wants it. */
#define TICKET_KEY_SIZE 80
/* Ticket keys live a day, and one more for tickets given before. */
#define HOUR_MS 3600000
#define ROTATE_HOURS 24
#define DAY_S (24 * 3600)
/* An administrator wants to know this early. */
#define WARN_DAYS 21
#define ALERT_SUBJECT "smtp"

struct tls_store {
	struct daemon *daemon;
	void (*changed)(void *arg);
	void *arg;
	int dir_fd;
	struct buf chain;
	struct buf key;
	struct tls_identity identity;
	bool is_generated; /* by us: may be replaced by us */
	unsigned char ticket_keys[2 * TICKET_KEY_SIZE];
	size_t ticket_keys_n;
	struct event *hourly;
	unsigned hours; /* since the ticket keys changed */
};

/* ---- files ---- */

static const char *const chain_name = "cert.pem";
static const char *const key_name = "key.pem";
static const char *const new_chain_name = "cert.pem.new";
static const char *const new_key_name = "key.pem.new";
/* Stands there while the pair is one that we made ourselves. */
static const char *const generated_name = "self-made";

/* All of a regular file, up to the buffer's limit. */
static int
read_fd(int fd, struct buf *out, struct err *err)
{
	struct stat info;
	size_t size;
	char *room;

	if (fstat(fd, &info) == -1 || !S_ISREG(info.st_mode))
		return err_set(err, "not a regular file");
	size = (size_t)info.st_size;
	if (info.st_size <= 0 || size > out->limit)
		return err_set(
		    err, "empty, or larger than %zu octets", out->limit);
	buf_reset(out);
	room = buf_reserve(out, size);
	if (pread(fd, room, size, 0) != (ssize_t)size)
		return err_set(err, "cannot be read whole");
	buf_extend(out, size);
	return 0;
}

static int
read_file(int dir_fd, const char *name, struct buf *out, struct err *err)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int rc;

	if (fd == -1)
		return err_set(err, "%s: %s", name, strerror(errno));
	if ((rc = read_fd(fd, out, err)) == -1)
		(void)err_wrap(err, "%s", name);
	(void)close(fd);
	return rc;
}

static int
write_file(int dir_fd, const char *name, struct slice content, struct err *err)
{
	int fd = openat(dir_fd, name,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc = 0;

	if (fd == -1)
		return err_set(err, "%s: %s", name, strerror(errno));
	if (write(fd, content.p, content.n) != (ssize_t)content.n ||
	    fsync(fd) == -1)
		rc = err_set(err, "%s: %s", name, strerror(errno));
	(void)close(fd);
	return rc;
}

static void
clear_key(struct buf *key)
{
	if (key->p != NULL)
		explicit_bzero(key->p, key->capacity);
	buf_clear(key);
}

/*
 * Two renames are not one: a crash between them leaves the new key beside the
 * new chain under its other name, which load() then puts in place.
 */
static int
save(struct tls_store *store, struct slice chain, struct slice key,
    bool is_generated, struct err *err)
{
	int fd = store->dir_fd;

	if (write_file(fd, new_chain_name, chain, err) == -1 ||
	    write_file(fd, new_key_name, key, err) == -1)
		return -1;
	if (is_generated) {
		if (write_file(fd, generated_name, SLICE("\n"), err) == -1)
			return -1;
	} else if (unlinkat(fd, generated_name, 0) == -1 && errno != ENOENT) {
		return err_set(err, "%s: %s", generated_name, strerror(errno));
	}
	if (renameat(fd, new_key_name, fd, key_name) == -1 ||
	    renameat(fd, new_chain_name, fd, chain_name) == -1 ||
	    fsync(fd) == -1)
		return err_set(err, "tls/: %s", strerror(errno));
	return 0;
}

/* ---- the pair ---- */

static int
check(const struct tls_store *store, struct slice chain, struct slice key,
    struct tls_identity *identity_r, struct err *err)
{
	return tls_identity_check(chain, key,
	    daemon_settings(store->daemon)->smtp_hostname, (int64_t)time(NULL),
	    identity_r, err);
}

static void
watch_dates(struct tls_store *store)
{
	int64_t left_s = store->identity.not_after - (int64_t)time(NULL);

	if (left_s > (int64_t)WARN_DAYS * DAY_S)
		daemon_alert_clear(
		    store->daemon, ALERT_CERTIFICATE, ALERT_SUBJECT);
	else if (left_s > 0)
		daemon_alert_raise(store->daemon, ALERT_CERTIFICATE,
		    ALERT_SUBJECT, "The certificate %s expires in %lld days.",
		    store->identity.subject, (long long)(left_s / DAY_S));
	else
		daemon_alert_raise(store->daemon, ALERT_CERTIFICATE,
		    ALERT_SUBJECT, "The certificate %s has expired.",
		    store->identity.subject);
}

/* Takes both buffers over. */
static void
put_in_force(struct tls_store *store, struct buf *chain, struct buf *key,
    const struct tls_identity *identity, bool is_generated)
{
	buf_clear(&store->chain);
	clear_key(&store->key);
	store->chain = *chain;
	store->key = *key;
	store->identity = *identity;
	store->is_generated = is_generated;
	/* An alert that says another number of days is another one. */
	daemon_alert_clear(store->daemon, ALERT_CERTIFICATE, ALERT_SUBJECT);
	watch_dates(store);
}

static int
make_self_signed(struct tls_store *store, struct err *err)
{
	const char *hostname = daemon_settings(store->daemon)->smtp_hostname;
	struct tls_identity identity;
	struct buf chain;
	struct buf key;

	buf_init(&chain, CHAIN_MAX);
	buf_init(&key, KEY_MAX);
	if (tls_self_signed(hostname, (int64_t)time(NULL), &chain, &key, err) ==
		-1 ||
	    check(store, buf_slice(&chain), buf_slice(&key), &identity, err) ==
		-1 ||
	    save(store, buf_slice(&chain), buf_slice(&key), true, err) == -1) {
		buf_clear(&chain);
		clear_key(&key);
		return err_wrap(err, "self-signed certificate");
	}
	put_in_force(store, &chain, &key, &identity, true);
	return 0;
}

static int
load_pair(struct tls_store *store, const char *chain_file, struct err *err)
{
	struct tls_identity identity;
	struct buf chain;
	struct buf key;

	buf_init(&chain, CHAIN_MAX);
	buf_init(&key, KEY_MAX);
	if (read_file(store->dir_fd, chain_file, &chain, err) == -1 ||
	    read_file(store->dir_fd, key_name, &key, err) == -1 ||
	    check(store, buf_slice(&chain), buf_slice(&key), &identity, err) ==
		-1) {
		buf_clear(&chain);
		clear_key(&key);
		return -1;
	}
	put_in_force(store, &chain, &key, &identity,
	    faccessat(store->dir_fd, generated_name, F_OK, 0) == 0);
	return 0;
}

/*
 * A pair that cannot be used (damaged, expired) must not keep mail out: TLS
 * goes on with a self-made one in memory, and an alert says so.
 */
static int
load(struct tls_store *store, struct err *err)
{
	struct err why;

	if (faccessat(store->dir_fd, key_name, F_OK, 0) == -1)
		return make_self_signed(store, err);
	if (load_pair(store, chain_name, &why) == 0)
		return 0;
	if (load_pair(store, new_chain_name, NULL) == 0) {
		(void)renameat(
		    store->dir_fd, new_chain_name, store->dir_fd, chain_name);
		return 0;
	}
	if (faccessat(store->dir_fd, generated_name, F_OK, 0) == 0)
		return make_self_signed(store, err);
	log_notice("tls: %s", why.text);
	daemon_alert_raise(store->daemon, ALERT_CERTIFICATE, "smtp files",
	    "The certificate in tls/ cannot be used: %s.", why.text);
	return 0;
}

/* ---- tickets ---- */

static void
new_ticket_key(struct tls_store *store)
{
	memmove(store->ticket_keys + TICKET_KEY_SIZE, store->ticket_keys,
	    TICKET_KEY_SIZE);
	if (RAND_bytes(store->ticket_keys, TICKET_KEY_SIZE) != 1)
		fatal("no random numbers for TLS");
	store->ticket_keys_n = store->ticket_keys_n == 0
				   ? TICKET_KEY_SIZE
				   : sizeof(store->ticket_keys);
	store->hours = 0;
}

static void
on_hour(evutil_socket_t fd, short what, void *arg)
{
	struct tls_store *store = arg;

	(void)fd;
	(void)what;
	loop_arm(store->hourly, HOUR_MS);
	if (store->chain.n > 0)
		watch_dates(store);
	if (++store->hours < ROTATE_HOURS)
		return;
	new_ticket_key(store);
	store->changed(store->arg);
}

/* ---- the rest ---- */

struct tls_store *
tls_store_new(struct daemon *daemon, void (*changed)(void *arg), void *arg,
    struct err *err)
{
	struct tls_store *store = xcalloc(1, sizeof(*store));
	char path[600];

	store->daemon = daemon;
	store->changed = changed;
	store->arg = arg;
	buf_init(&store->chain, CHAIN_MAX);
	buf_init(&store->key, KEY_MAX);
	(void)snprintf(path, sizeof(path), "%s/tls", daemon_state_dir(daemon));
	if (mkdir(path, 0700) == -1 && errno != EEXIST) {
		(void)err_set(err, "%s: %s", path, strerror(errno));
		free(store);
		return NULL;
	}
	store->dir_fd =
	    open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (store->dir_fd == -1) {
		(void)err_set(err, "%s: %s", path, strerror(errno));
		free(store);
		return NULL;
	}
	new_ticket_key(store);
	store->hourly =
	    event_new(loop_base(daemon_loop(daemon)), -1, 0, on_hour, store);
	if (store->hourly == NULL)
		fatal("out of memory for a timer");
	loop_arm(store->hourly, HOUR_MS);
	if (load(store, err) == -1) {
		tls_store_free(store);
		return NULL;
	}
	return store;
}

void
tls_store_free(struct tls_store *store)
{
	if (store == NULL)
		return;
	event_free(store->hourly);
	close_if_open(&store->dir_fd);
	buf_clear(&store->chain);
	clear_key(&store->key);
	explicit_bzero(store->ticket_keys, sizeof(store->ticket_keys));
	free(store);
}

void
tls_store_settings_changed(struct tls_store *store)
{
	struct tls_identity identity;
	struct err err;

	if (!store->is_generated || store->chain.n == 0)
		return;
	if (check(store, buf_slice(&store->chain), buf_slice(&store->key),
		&identity, &err) == 0 &&
	    identity.covers_hostname)
		return;
	if (make_self_signed(store, &err) == -1)
		log_notice("tls: %s", err.text);
	else
		store->changed(store->arg);
}

int
tls_store_install(
    struct tls_store *store, int chain_fd, int key_fd, struct err *err)
{
	struct tls_identity identity;
	struct buf chain;
	struct buf key;

	buf_init(&chain, CHAIN_MAX);
	buf_init(&key, KEY_MAX);
	if (read_fd(chain_fd, &chain, err) == -1) {
		(void)err_wrap(err, "certificate");
		goto refused;
	}
	if (read_fd(key_fd, &key, err) == -1) {
		(void)err_wrap(err, "key");
		goto refused;
	}
	if (check(store, buf_slice(&chain), buf_slice(&key), &identity, err) ==
		-1 ||
	    save(store, buf_slice(&chain), buf_slice(&key), false, err) == -1)
		goto refused;
	daemon_alert_clear(store->daemon, ALERT_CERTIFICATE, "smtp files");
	put_in_force(store, &chain, &key, &identity, false);
	store->changed(store->arg);
	return 0;
refused:
	buf_clear(&chain);
	clear_key(&key);
	return -1;
}

void
tls_store_message(
    const struct tls_store *store, struct ipc_worker_tls *message_r)
{
	*message_r = (struct ipc_worker_tls){.chain = buf_slice(&store->chain),
	    .key = buf_slice(&store->key),
	    .ticket_keys = {
		(const char *)store->ticket_keys, store->ticket_keys_n}};
}

static void
format_date(int64_t when, char *out, size_t size)
{
	time_t t = (time_t)when;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL ||
	    strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		out[0] = '\0';
}

size_t
tls_store_facts(const struct tls_store *store,
    struct tls_store_fact facts_r[TLS_STORE_FACTS])
{
	const struct tls_identity *identity = &store->identity;
	char not_before[32];
	char not_after[32];
	const struct {
		const char *name;
		const char *value;
	} rows[TLS_STORE_FACTS] = {
	    {"tls.subject", identity->subject},
	    {"tls.issuer", identity->issuer},
	    {"tls.names", identity->names},
	    {"tls.not_before", not_before},
	    {"tls.not_after", not_after},
	    {"tls.fingerprint", identity->fingerprint},
	    {"tls.is_self_signed", identity->is_self_signed ? "yes" : "no"},
	    {"tls.covers_hostname", identity->covers_hostname ? "yes" : "no"},
	    {"tls.is_generated", store->is_generated ? "yes" : "no"},
	};

	if (store->chain.n == 0)
		return 0;
	format_date(identity->not_before, not_before, sizeof(not_before));
	format_date(identity->not_after, not_after, sizeof(not_after));
	for (size_t i = 0; i < TLS_STORE_FACTS; i++) {
		facts_r[i].name = rows[i].name;
		(void)snprintf(facts_r[i].value, sizeof(facts_r[i].value), "%s",
		    rows[i].value);
	}
	return TLS_STORE_FACTS;
}
