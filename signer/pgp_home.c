/* SPDX-License-Identifier: ISC */
/*
 * GnuPG homes.
 * Runs in: postern-signerd's workers that use GnuPG.  Trusts: GnuPG.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "signer/pgp_home.h"

#define HOME_PREFIX "pgp."
/* GnuPG's folders are two levels deep. */
#define HOME_DEPTH 2

/* Old enough to be locked by its owner if there is one. */
#define HOME_AGE_S 60

/* What LISTEN_FDS calls the first descriptor. */
#define FIRST_LISTEN_FD 3
#define LISTEN_BACKLOG 16

/* A worker has few of its own; gpg gets five pipes. */
#define DESCRIPTORS_MAX 256

/* How long an agent may take to end when it is told to. */
#define AGENT_END_MS 1000
#define AGENT_LOOK_MS 2

/* A blob: these words, a line with those that unlock, the key. */
#define BLOB_HEAD "postern-pgp 1\n"

/* Of one key; more of them than anybody's has. */
#define PRIVATE_PARTS_MAX 32

/*
 * A signature that says more than it must is a leak; a key that is fetched
 * or an agent that is started is not ours.  One gpg runs in a home at a time,
 * so there are no locks: one that is killed would leave its own, and the next
 * wait for it until the task is overdue.
 */
static const char gpg_conf[] = "batch\n"
			       "no-tty\n"
			       "no-verbose\n"
			       "no-autostart\n"
			       "no-auto-key-retrieve\n"
			       "no-auto-key-locate\n"
			       "no-auto-check-trustdb\n"
			       "disable-dirmngr\n"
			       "trust-model always\n"
			       "personal-digest-preferences SHA256 SHA512\n"
			       "cert-digest-algo SHA256\n"
			       "weak-digest SHA1\n"
			       "no-emit-version\n"
			       "no-comments\n"
			       "no-random-seed-file\n"
			       "lock-never\n"
			       "no-permission-warning\n"
			       "exit-on-status-write-error\n";

/*
 * The words are 256 random bits: stretching them (s2k) would only cost time,
 * 450 ms at each operation.  Nothing is remembered from one operation to the
 * next (default-cache-ttl).  Within one, gpg hands the words on from step to
 * step under a random name, which no step may find expired (max-cache-ttl, in
 * seconds, longer than any task): gpg would ask again where no words are left
 * to give, and call that cancelled.
 */
static const char agent_conf[] = "allow-loopback-pinentry\n"
				 "auto-expand-secmem\n"
				 "disable-scdaemon\n"
				 "s2k-count 65536\n"
				 "default-cache-ttl 0\n"
				 "max-cache-ttl 3600\n";

struct pgp_home {
	char *dir;
	int lock; /* the folder */
	char *socket_path;
	pid_t agent;
	gpgme_ctx_t context;
	const char *words[2]; /* that are asked for, in this order */
	unsigned asked;
	unsigned asked_max;
};

int
pgp_err(struct err *err, const char *what, gpgme_error_t error)
{
	char text[128];

	(void)gpgme_strerror_r(error, text, sizeof(text));
	return err_set(err, "%s: %s", what, text);
}

/*
 * Who starts a program closes all descriptors that there could be, one by
 * one where /proc is out of reach: a limit of a million takes its time.
 */
static void
limit_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	    limit.rlim_cur > DESCRIPTORS_MAX) {
		limit.rlim_cur = DESCRIPTORS_MAX;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int
pgp_start(struct err *err)
{
	gpgme_error_t error;

	limit_descriptors();

	if (gpgme_check_version("1.18.0") == NULL)
		return err_set(err, "GPGME is older than 1.18");
	error = gpgme_engine_check_version(GPGME_PROTOCOL_OPENPGP);
	return error == 0 ? 0 : pgp_err(err, "no usable gpg", error);
}

/* ---- files ---- */

int
pgp_home_path(
    const struct pgp_home *home, const char *name, char *path_r, size_t size)
{
	int n = snprintf(path_r, size, "%s/%s", home->dir, name);

	return n < 0 || (size_t)n >= size ? -1 : 0;
}

static int
write_file(const struct pgp_home *home, const char *name, const char *text,
    struct err *err)
{
	char path[512];
	ssize_t n = -1;
	int fd = -1;

	if (pgp_home_path(home, name, path, sizeof(path)) == 0)
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd != -1)
		n = write(fd, text, strlen(text));
	if (n != (ssize_t)strlen(text))
		(void)err_set(
		    err, "cannot write %s: %s", name, strerror(errno));
	close_if_open(&fd);
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

static void
remove_dir(int parent, const char *name, int depth)
{
	int fd = openat(
	    parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, entry->d_name, 0) == -1 && depth > 0)
			remove_dir(fd, entry->d_name, depth - 1);
	}
	if (dir != NULL)
		(void)closedir(dir);
	(void)unlinkat(parent, name, AT_REMOVEDIR);
}

/* The lock on a home goes with the process that holds it. */
static int
lock_home(int parent, const char *name)
{
	int fd = openat(
	    parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd != -1 && flock(fd, LOCK_EX | LOCK_NB) == -1)
		close_if_open(&fd);
	return fd;
}

/* One that was just made may not have its lock yet. */
static bool
is_abandoned(int parent, const char *name)
{
	struct stat st;
	int fd = -1;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == -1 ||
	    st.st_mtime + HOME_AGE_S > time(NULL) ||
	    (fd = lock_home(parent, name)) == -1)
		return false;
	(void)close(fd);
	return true;
}

/* What is abandoned there goes, with that many levels of folders in it. */
static void
sweep(const char *parent, int depth)
{
	DIR *dir = opendir(parent);
	const struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (strncmp(entry->d_name, HOME_PREFIX, strlen(HOME_PREFIX)) ==
			0 &&
		    is_abandoned(dirfd(dir), entry->d_name))
			remove_dir(dirfd(dir), entry->d_name, depth);
	(void)closedir(dir);
}

/* A new folder there, with a name that sweep() knows. */
static int
make_dir(const char *parent, char *path_r, size_t size, struct err *err)
{
	const int n =
	    snprintf(path_r, size, "%s/" HOME_PREFIX "XXXXXX", parent);

	if (n > 0 && (size_t)n < size && mkdtemp(path_r) != NULL)
		return 0;
	return err_set(err, "cannot make a folder for GnuPG in %s: %s", parent,
	    strerror(errno));
}

int
pgp_home_scratch(const char *parent, char *path_r, size_t size, struct err *err)
{
	/* One at a time, so that none sweeps what has no lock yet. */
	int turn = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int lock = -1;

	if (turn == -1 || flock(turn, LOCK_EX) == -1) {
		(void)err_set(
		    err, "cannot lock %s: %s", parent, strerror(errno));
		goto out;
	}
	sweep(parent, HOME_DEPTH + 1);
	if (make_dir(parent, path_r, size, err) == 0 &&
	    (lock = lock_home(AT_FDCWD, path_r)) == -1)
		(void)err_set(
		    err, "cannot lock %s: %s", path_r, strerror(errno));
out:
	close_if_open(&turn);
	return lock;
}

/* ---- the agent ---- */

static void
signals_to_default(void)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
}

/* In the child: an agent that ends when the worker does, however it does. */
_Noreturn static void
become_agent(const char *program, const char *dir, int listening, pid_t parent)
{
	char pid[32];
	int null = open("/dev/null", O_RDWR);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	signals_to_default();
	if (null == -1 || dup2(null, 0) == -1 || dup2(null, 1) == -1 ||
	    dup2(null, 2) == -1)
		_exit(1);
	if (listening == FIRST_LISTEN_FD)
		(void)fcntl(listening, F_SETFD, 0);
	else if (dup2(listening, FIRST_LISTEN_FD) == -1)
		_exit(1);
	(void)close_range(FIRST_LISTEN_FD + 1, ~0u, 0);
	(void)snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	(void)setenv("LISTEN_PID", pid, 1);
	(void)setenv("LISTEN_FDS", "1", 1);
	(void)unsetenv("LISTEN_FDNAMES");
	(void)execl(program, "gpg-agent", "--homedir", dir, "--supervised",
	    (char *)NULL);
	_exit(127);
}

/*
 * Where gpg will look for the agent: in the home, unless the system has a
 * folder for sockets of this user.
 */
static char *
find_socket(const char *dir, struct err *err)
{
	const char *program = gpgme_get_dirinfo("gpgconf-name");
	char text[256];
	size_t n = 0;
	ssize_t got;
	pid_t pid;
	int ends[2];

	if (program == NULL || pipe2(ends, O_CLOEXEC) == -1 ||
	    (pid = fork()) == -1) {
		(void)err_set(err, "cannot run gpgconf");
		return NULL;
	}
	if (pid == 0) {
		signals_to_default();
		if (dup2(ends[1], 1) == 1)
			(void)execl(program, "gpgconf", "--homedir", dir,
			    "--list-dirs", "agent-socket", (char *)NULL);
		_exit(127);
	}
	(void)close(ends[1]);
	while (n < sizeof(text) - 1 &&
	       (got = read(ends[0], text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	(void)close(ends[0]);
	while (waitpid(pid, NULL, 0) == -1 && errno == EINTR)
		continue;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (text[0] != '/') {
		(void)err_set(err, "gpgconf names no socket");
		return NULL;
	}
	return xstrdup(text);
}

static int
listen_at(const char *path, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(
		    err, "the path of a socket is too long: %s", path);
	memcpy(address.sun_path, path, strlen(path));
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) == -1)
		return err_set(err, "socket: %s", strerror(errno));
	(void)unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == -1 ||
	    listen(fd, LISTEN_BACKLOG) == -1) {
		(void)err_set(err, "%s: %s", path, strerror(errno));
		(void)close(fd);
		return -1;
	}
	return fd;
}

static int
start_agent(struct pgp_home *home, struct err *err)
{
	const char *program = gpgme_get_dirinfo("agent-name");
	const pid_t parent = getpid();
	int listening;

	if (program == NULL)
		return err_set(err, "there is no gpg-agent");
	if ((home->socket_path = find_socket(home->dir, err)) == NULL ||
	    (listening = listen_at(home->socket_path, err)) == -1)
		return -1;
	/* Connections wait in the socket until it is ready. */
	if ((home->agent = fork()) == 0)
		become_agent(program, home->dir, listening, parent);
	(void)close(listening);
	if (home->agent == -1) {
		home->agent = 0;
		return err_set(err, "fork: %s", strerror(errno));
	}
	return 0;
}

/*
 * By its socket: once confined, no signal may be sent.
 */
static void
tell_agent_to_end(const struct pgp_home *home)
{
	static const char command[] = "KILLAGENT\n";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, home->socket_path, strlen(home->socket_path));
	if (fd != -1 &&
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		(void)send(fd, command, sizeof(command) - 1, MSG_NOSIGNAL);
	close_if_open(&fd);
}

static bool
agent_ended(const struct pgp_home *home, unsigned wait_ms)
{
	unsigned waited_ms = 0;

	while (waitpid(home->agent, NULL, WNOHANG) == 0) {
		if (waited_ms >= wait_ms)
			return false;
		(void)poll(NULL, 0, AGENT_LOOK_MS);
		waited_ms += AGENT_LOOK_MS;
	}
	return true;
}

/* One that hangs ends with this process, whatever becomes of it. */
static void
stop_agent(struct pgp_home *home)
{
	if (home->agent <= 0)
		return;
	tell_agent_to_end(home);
	if (!agent_ended(home, AGENT_END_MS) && kill(home->agent, SIGKILL) == 0)
		(void)waitpid(home->agent, NULL, 0);
	home->agent = 0;
}

/* ---- the context ---- */

static gpgme_error_t
answer_words(
    void *arg, const char *uid_hint, const char *info, int was_bad, int fd)
{
	struct pgp_home *home = arg;
	const char *words = NULL;

	(void)uid_hint;
	(void)info;
	if (!was_bad && home->asked < home->asked_max)
		words = home->words[home->asked++ == 0 ? 0 : 1];
	if (words == NULL)
		return gpgme_error(GPG_ERR_CANCELED);
	if (gpgme_io_writen(fd, words, strlen(words)) != 0 ||
	    gpgme_io_writen(fd, "\n", 1) != 0)
		return gpgme_error_from_errno(errno);
	return 0;
}

void
pgp_home_unlock(struct pgp_home *home, const char *words)
{
	pgp_home_unlock_twice(home, words, words);
}

void
pgp_home_unlock_twice(
    struct pgp_home *home, const char *first, const char *second)
{
	home->words[0] = first != NULL ? first : second;
	home->words[1] = second;
	home->asked = 0;
	/* gpg asks once, but of open private parts the new ones of each. */
	home->asked_max = first != NULL ? 2 : PRIVATE_PARTS_MAX;
}

static int
make_context(struct pgp_home *home, struct err *err)
{
	gpgme_ctx_t context = NULL;
	gpgme_error_t error = gpgme_new(&context);

	if (error == 0)
		error = gpgme_set_protocol(context, GPGME_PROTOCOL_OPENPGP);
	if (error == 0)
		error = gpgme_ctx_set_engine_info(
		    context, GPGME_PROTOCOL_OPENPGP, NULL, home->dir);
	if (error == 0)
		error = gpgme_set_pinentry_mode(
		    context, GPGME_PINENTRY_MODE_LOOPBACK);
	if (error == 0)
		error = gpgme_set_ctx_flag(context, "no-symkey-cache", "1");
	if (error != 0) {
		gpgme_release(context);
		return pgp_err(err, "no context", error);
	}
	gpgme_set_passphrase_cb(context, answer_words, home);
	home->context = context;
	return 0;
}

int
pgp_home_context(struct pgp_home *home, gpgme_ctx_t *context_r, struct err *err)
{
	if (home->agent <= 0 || waitpid(home->agent, NULL, WNOHANG) != 0) {
		home->agent = 0;
		return err_set(err, "the agent of GnuPG ended");
	}
	gpgme_signers_clear(home->context);
	gpgme_set_armor(home->context, 0);
	gpgme_set_textmode(home->context, 0);
	/* Dirmngr would be for the network, which there is none of. */
	gpgme_set_offline(home->context, 1);
	*context_r = home->context;
	return 0;
}

int
pgp_home_new(const char *scratch_dir, struct pgp_home **home_r, struct err *err)
{
	struct pgp_home *home = xcalloc(1, sizeof(*home));
	char dir[400];

	sweep(scratch_dir, HOME_DEPTH);
	if (make_dir(scratch_dir, dir, sizeof(dir), err) == -1) {
		free(home);
		return -1;
	}
	home->dir = xstrdup(dir);
	home->lock = lock_home(AT_FDCWD, dir);
	if (write_file(home, "gpg.conf", gpg_conf, err) == -1 ||
	    write_file(home, "gpg-agent.conf", agent_conf, err) == -1 ||
	    start_agent(home, err) == -1 || make_context(home, err) == -1) {
		pgp_home_free(home);
		return -1;
	}
	*home_r = home;
	return 0;
}

void
pgp_home_free(struct pgp_home *home)
{
	if (home == NULL)
		return;
	if (home->context != NULL)
		gpgme_release(home->context);
	stop_agent(home);
	if (home->socket_path != NULL)
		(void)unlink(home->socket_path);
	remove_dir(AT_FDCWD, home->dir, HOME_DEPTH);
	close_if_open(&home->lock);
	free(home->socket_path);
	free(home->dir);
	free(home);
}

/* ---- keys ---- */

int
pgp_home_import(struct pgp_home *home, struct slice key, struct err *err)
{
	gpgme_ctx_t context;
	gpgme_data_t data = NULL;
	gpgme_error_t error;
	gpgme_import_result_t result;

	if (pgp_home_context(home, &context, err) == -1)
		return -1;
	error = gpgme_data_new_from_mem(&data, key.p, key.n, 0);
	if (error == 0)
		error = gpgme_op_import(context, data);
	gpgme_data_release(data);
	if (error != 0)
		return pgp_err(err, "cannot take a key in", error);
	result = gpgme_op_import_result(context);
	if (result == NULL || result->imports == NULL ||
	    result->imports->result != 0)
		return err_set(err, "gpg does not take the key");
	return 0;
}

int
pgp_home_key(struct pgp_home *home, const char *fingerprint, bool is_secret,
    gpgme_key_t *key_r, struct err *err)
{
	gpgme_ctx_t context;
	gpgme_error_t error;

	if (pgp_home_context(home, &context, err) == -1)
		return -1;
	error = gpgme_get_key(context, fingerprint, key_r, is_secret);
	return error == 0 ? 0 : pgp_err(err, "no such key", error);
}

/* ---- blobs ---- */

int
pgp_words_new(char words_r[PGP_WORDS_SIZE], struct err *err)
{
	unsigned char octets[(PGP_WORDS_SIZE - 1) / 2];

	if (RAND_bytes(octets, sizeof(octets)) != 1)
		return err_set(err, "no random numbers");
	for (size_t i = 0; i < sizeof(octets); i++)
		(void)snprintf(words_r + 2 * i, 3, "%02x", octets[i]);
	OPENSSL_cleanse(octets, sizeof(octets));
	return 0;
}

void
pgp_blob_write(const char *words, struct slice key, struct buf *out)
{
	(void)buf_addf(out, BLOB_HEAD "%s\n", words);
	(void)buf_add_slice(out, key);
}

int
pgp_blob_read(struct slice blob, char words_r[PGP_WORDS_SIZE],
    struct slice *key_r, struct err *err)
{
	const size_t head = strlen(BLOB_HEAD);
	const size_t words = PGP_WORDS_SIZE - 1;

	if (blob.n <= head + words + 1 ||
	    memcmp(blob.p, BLOB_HEAD, head) != 0 ||
	    blob.p[head + words] != '\n')
		return err_set(err, "a private key is not one of OpenPGP");
	memcpy(words_r, blob.p + head, words);
	words_r[words] = '\0';
	*key_r = (struct slice){
	    blob.p + head + words + 1, blob.n - head - words - 1};
	return 0;
}
