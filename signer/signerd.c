/* SPDX-License-Identifier: ISC */
/*
 * postern-signerd: signs, encrypts, opens and verifies mail, by S/MIME,
 * OpenPGP and DKIM.  This is the broker: it plans what is to be done with
 * which keys and gives the work to processes of its own.  It sees no private
 * key, and parses no CMS and no OpenPGP.
 *
 * Sockets: none of its own; it connects to queued, whose messages it takes,
 * and to confd.  Store: keys.db, the classes' key files below keys/, in its
 * state directory.  Network: none.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/alerts.h"
#include "signer/job.h"
#include "signer/key_admin.h"
#include "signer/keystore_crl.h"
#include "signer/lookup.h"
#include "signer/manage.h"
#include "signer/short_turns.h"
#include "signer/signerd.h"
#include "signer/worker.h"

/* Deadlines of workers, idle ones. */
#define TICK_MS 500
/* Keys that begin or end to sign, and uses to be written, every so often. */
#define SLOW_TICKS 120
/* Lists of revoked certificates that are due. */
#define LISTS_TICKS 20
/* What ends soon: every hour, and after the start. */
#define EXPIRY_TICKS 7200
/*
 * Messages come and go: their memory is not to be mapped anew each time, nor
 * is the heap to shrink and grow with each.
 */
#define MMAP_THRESHOLD (1024 * 1024)
#define TRIM_THRESHOLD (8 * 1024 * 1024)
/* Domains with DKIM keys, all of them in one frame. */
#define DOMAINS_OCTETS_MAX (20000u * 400)

/* ---- what lies where ---- */

void
signerd_key_folder(const struct signerd *signerd, enum pool_class class,
    char *path_r, size_t size)
{
	(void)snprintf(path_r, size, "%s/keys/%s",
	    daemon_state_dir(signerd->daemon), pool_class_name(class));
}

int
signerd_class_key(const struct signerd *signerd, enum pool_class class,
    struct wrap_key *key_r, struct err *err)
{
	return wrap_class_key(
	    &signerd->master.key, pool_class_name(class), key_r, err);
}

int
signerd_scratch_file(const struct signerd *signerd, struct err *err)
{
	int fd = open(daemon_state_dir(signerd->daemon),
	    O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd == -1)
		return err_set(
		    err, "no room for a large message: %s", strerror(errno));
	return fd;
}

static int
make_folder(const char *path, struct err *err)
{
	if (mkdir(path, 0700) == -1 && errno != EEXIST)
		return err_set(err, "mkdir %s: %s", path, strerror(errno));
	return 0;
}

static int
make_folders(const struct signerd *signerd, struct err *err)
{
	char path[512];

	(void)snprintf(
	    path, sizeof(path), "%s/keys", daemon_state_dir(signerd->daemon));
	if (make_folder(path, err) == -1)
		return -1;
	for (unsigned i = 0; i < POOL_CLASS_COUNT; i++) {
		signerd_key_folder(
		    signerd, (enum pool_class)i, path, sizeof(path));
		if (make_folder(path, err) == -1)
			return -1;
	}
	return 0;
}

/* Are there private keys?  Then a new master key would not open them. */
static bool
has_key_files(const struct signerd *signerd)
{
	bool is_found = false;

	for (unsigned i = 0; i < POOL_CLASS_COUNT && !is_found; i++) {
		const struct dirent *entry;
		char path[512];
		DIR *folder;

		signerd_key_folder(
		    signerd, (enum pool_class)i, path, sizeof(path));
		if ((folder = opendir(path)) == NULL)
			continue;
		while (!is_found && (entry = readdir(folder)) != NULL)
			is_found = entry->d_name[0] != '.';
		(void)closedir(folder);
	}
	return is_found;
}

/* ---- what queued must know ---- */

static void
add_domain(void *arg, struct slice domain)
{
	struct ipc_record_fact fact = {
	    .name = SLICE("domain"), .value = domain};

	(void)ipc_fact_add(arg, &fact, NULL);
}

static void
send_ready(struct signerd *signerd)
{
	struct channel *queued = link_channel(signerd->queued);
	struct ipc_sign_ready message = {{0}};
	struct ipc_list_writer domains;
	struct err err;

	if (queued == NULL)
		return;
	ipc_list_writer_init(&domains, DOMAINS_OCTETS_MAX);
	if (keystore_dkim_domains(signerd->keystore, (int64_t)time(NULL),
		add_domain, &domains, &err) == -1) {
		/* What queued heard last holds; the tick tries again. */
		log_notice("DKIM domains: %s", err.text);
	} else {
		message.dkim_domains = ipc_list_of(&domains);
		if (channel_send(queued, MSG_SIGN_READY, &message, NULL) == 0)
			signerd->ready_revision =
			    keystore_revision(signerd->keystore);
	}
	ipc_list_writer_clear(&domains);
}

void
signerd_keys_changed(struct signerd *signerd)
{
	if (signerd->ready_revision != keystore_revision(signerd->keystore))
		send_ready(signerd);
}

/* ---- peers ---- */

static void
peer_up(struct daemon *daemon, struct channel *channel)
{
	struct signerd *signerd = daemon_state(daemon);

	if (channel_peer(channel) == ROLE_WORKER)
		pools_worker_up(signerd->pools, channel);
	else if (channel_peer(channel) == ROLE_QUEUED)
		send_ready(signerd);
}

static void
peer_closed(struct daemon *daemon, struct channel *channel)
{
	struct signerd *signerd = daemon_state(daemon);

	if (channel_peer(channel) == ROLE_WORKER) {
		pools_worker_closed(signerd->pools, channel);
		if (daemon_is_stopping(daemon) &&
		    pools_are_idle(signerd->pools))
			daemon_stopped(daemon);
	} else if (channel_peer(channel) == ROLE_QUEUED) {
		jobs_drop_all(signerd->jobs);
	} else if (channel_peer(channel) == ROLE_CONFD) {
		manage_drop_channel(signerd, channel);
	}
}

/* ---- start, settings, stop ---- */

static void
judge_versions(const struct signerd *signerd)
{
	for (unsigned i = 0; i < SOFTWARE_COUNT; i++) {
		enum software software = (enum software)i;
		const char *name = software_name(software);

		if (signerd->versions[i].is_old)
			daemon_alert_raise(signerd->daemon, ALERT_OUTDATED,
			    name, "%s %s is older than %s.", name,
			    signerd->versions[i].text,
			    software_floor(software));
		else
			daemon_alert_clear(
			    signerd->daemon, ALERT_OUTDATED, name);
	}
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct signerd *signerd = arg;
	struct err err;

	(void)fd;
	(void)what;
	pools_tick(signerd->pools, clock_monotonic_ms());
	keystore_trim(signerd->keystore);
	signerd_keys_changed(signerd);
	if (signerd->ticks % EXPIRY_TICKS == 0) {
		key_ca_renew_crls(signerd);
		key_expiry_check(signerd);
	}
	if (signerd->ticks % LISTS_TICKS == 0)
		lookup_tick(signerd->lookup, (int64_t)time(NULL));
	keystore_trim(signerd->keystore);
	if (++signerd->ticks % SLOW_TICKS == 0) {
		/* A key's time may have come without a change. */
		send_ready(signerd);
		if (keystore_flush(signerd->keystore, &err) == -1)
			log_notice("uses of keys: %s", err.text);
	}
	loop_arm(signerd->tick, TICK_MS);
}

static int
prepare(struct daemon *daemon, struct err *err)
{
	struct signerd *signerd = daemon_state(daemon);
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	(void)err;
	manage_init();
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
	(void)mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
	tzset();
	/* OpenSSL reads its configuration now or never. */
	(void)OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL);
	signerd->processors = processors > 0 ? (unsigned)processors : 1;
	versions_find(signerd->versions);
	short_turns();
	return 0;
}

/* Those whose file did not come along with keys.db are fetched again. */
static int
check_lists(struct signerd *signerd, struct err *err)
{
	size_t count;

	if (keystore_check_crls(signerd->keystore, &count, err) == -1)
		return -1;
	if (count > 0)
		log_notice("%zu lists of revoked certificates are missing and "
			   "forgotten",
		    count);
	return 0;
}

static int
start(struct daemon *daemon, struct err *err)
{
	struct signerd *signerd = daemon_state(daemon);
	const char *dir = daemon_state_dir(daemon);

	signerd->daemon = daemon;
	if (sql_lock_directory(dir, err) == -1 ||
	    keystore_open(dir, &signerd->keystore, err) == -1 ||
	    master_key_load(
		dir, has_key_files(signerd), &signerd->master, err) == -1 ||
	    make_folders(signerd, err) == -1 || check_lists(signerd, err) == -1)
		return -1;
	signerd->pools = pools_new(signerd, signerd->processors);
	signerd->jobs = jobs_new(signerd);
	signerd->tick =
	    event_new(loop_base(daemon_loop(daemon)), -1, 0, on_tick, signerd);
	if (signerd->tick == NULL)
		return err_set(err, "out of memory for a timer");
	loop_arm(signerd->tick, TICK_MS);
	judge_versions(signerd);
	if (!daemon_is_managing(daemon))
		signerd->queued = daemon_link(daemon, ROLE_QUEUED);
	if (!daemon_is_managing(daemon))
		signerd->lookup = lookup_new(signerd);
	return 0;
}

static void
status(struct daemon *daemon, struct status_writer *out)
{
	const struct signerd *signerd = daemon_state(daemon);

	status_fact(out, "master_key", "%s", master_key_text(&signerd->master));
	status_fact(out, "queued", "%s",
	    signerd->queued != NULL && link_channel(signerd->queued) != NULL
		? "connected"
		: "not connected");
	for (unsigned i = 0; i < SOFTWARE_COUNT; i++)
		status_fact(out, software_name((enum software)i), "%s%s",
		    signerd->versions[i].text,
		    signerd->versions[i].is_old ? " (too old)" : "");
	jobs_status(signerd->jobs, out);
	pools_status(signerd->pools, out);
	lookup_status(signerd->lookup, out);
}

/* What runs is not waited for: its messages are in the queue. */
static void
stop(struct daemon *daemon)
{
	struct signerd *signerd = daemon_state(daemon);
	struct err err;

	link_free(signerd->queued);
	signerd->queued = NULL;
	jobs_drop_all(signerd->jobs);
	lookup_free(signerd->lookup);
	signerd->lookup = NULL;
	if (keystore_flush(signerd->keystore, &err) == -1)
		log_notice("uses of keys: %s", err.text);
	pools_stop(signerd->pools);
	daemon_stopped(daemon);
}

static const struct channel_handler handlers[] = {
    {ROLE_QUEUED, MSG_SIGN_JOB, jobs_on_job},
    {ROLE_QUEUED, MSG_SIGN_FILE, jobs_on_file},
    {ROLE_QUEUED, MSG_SIGN_FORGET, jobs_on_forget},
    {ROLE_WORKER, MSG_WORKER_READY, pools_on_ready},
    {ROLE_WORKER, MSG_WORKED, pools_on_worked},
    {ROLE_WORKER, MSG_WORKED_FILE, pools_on_worked_file},
    {ROLE_CONFD, MSG_MGMT_REQUEST, manage_on_request},
    {ROLE_NONE, MSG_HELLO, NULL}};

/* Its only folder beside its own: systemd's credentials (master_key.h). */
static struct confinement confinement = {
    .rights = CONFINE_FILES_READ | CONFINE_FILES_WRITE | CONFINE_CONNECT_UNIX};

static const struct program program = {.role = ROLE_SIGNERD,
    .handlers = handlers,
    .workers = signer_worker_programs,
    .prepare = prepare,
    .start = start,
    .peer_up = peer_up,
    .peer_closed = peer_closed,
    .status = status,
    .stop = stop,
    .state_size = sizeof(struct signerd),
    .confinement = &confinement};

int
main(int argc, char **argv)
{
	confinement.read_dirs[0] = getenv("CREDENTIALS_DIRECTORY");
	return daemon_main(argc, argv, &program);
}
