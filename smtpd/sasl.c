/* SPDX-License-Identifier: ISC */
/*
 * The one file that calls Cyrus SASL.
 * Runs in: postern-authd, in its loop's thread only: the library is not
 * thread-safe.  Trusts: nothing from the client; the library with parsing,
 * and not with its verdict after an error.
 */
#include <errno.h>
#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <sasl/saslutil.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "smtpd/account_name.h"
#include "smtpd/sasl.h"

#define AUXPROP_NAME "postern"
/* One binding value as it crosses the socket. */
#define BINDING_MAX 64
/* Longest name of a mechanism here. */
#define MECHANISM_MAX 32

enum binding { BINDING_EXPORTER, BINDING_UNIQUE, BINDING_END_POINT };
#define BINDING_COUNT 3

static const char *const binding_names[BINDING_COUNT] = {
    [BINDING_EXPORTER] = "tls-exporter",
    [BINDING_UNIQUE] = "tls-unique",
    [BINDING_END_POINT] = "tls-server-end-point"};

struct sasl_exchange {
	sasl_conn_t *conn; /* NULL: ended, never to be stepped again */
	const struct sasl_hooks *hooks;
	void *arg;
	sasl_callback_t callbacks[3]; /* the library keeps the pointer */
	/* It keeps these pointers too. */
	sasl_channel_binding_t bindings[BINDING_COUNT];
	unsigned char values[BINDING_COUNT][BINDING_MAX];
	char mechanism[MECHANISM_MAX];
	bool is_started;
	bool has_first; /* SCRAM's first message was looked at */
};

/*
 * Takes the library's place: its own numbers come from 48 bits of state, and
 * from the clock where /dev/urandom cannot be opened.
 */
void
sasl_rand(sasl_rand_t *rpool, char *buf, unsigned len)
{
	(void)rpool;
	while (len > 0) {
		ssize_t n = getrandom(buf, len, 0);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			fatal("getrandom: %s", strerror(errno));
		buf += n;
		len -= (unsigned)n;
	}
}

/* ---- callbacks of the library ---- */

static int
on_getopt(void *context, const char *plugin, const char *option,
    const char **result, unsigned *length)
{
	static const struct {
		const char *option;
		const char *value;
	} options[] = {
	    {"mech_list", "SCRAM-SHA-256 PLAIN LOGIN"},
	    {"auxprop_plugin", AUXPROP_NAME},
	    /* A failed password check looks no further. */
	    {"pwcheck_method", "none"},
	    {"canon_user_plugin", "INTERNAL"},
	    {"log_level", "0"},
	};

	(void)context;
	(void)plugin;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strcmp(option, options[i].option) == 0) {
			*result = options[i].value;
			if (length != NULL)
				*length = (unsigned)strlen(options[i].value);
			return SASL_OK;
		}
	return SASL_FAIL;
}

static int
on_log(void *context, int level, const char *message)
{
	(void)context;
	(void)level;
	(void)message;
	return SASL_OK;
}

/* No folder: there is no configuration file to read. */
static int
on_getconfpath(void *context, char **path)
{
	static char nowhere[] = "/nonexistent";

	(void)context;
	*path = nowhere; /* the library does not free it */
	return SASL_OK;
}

/*
 * Only the three plug-ins that are used: the others bring Berkeley DB, SQL
 * and LDAP along.
 */
static int
on_verifyfile(void *context, const char *file, sasl_verify_type_t type)
{
	static const char *const wanted[] = {
	    "libscram.so", "libplain.so", "liblogin.so"};
	const char *name = strrchr(file, '/');

	(void)context;
	if (type != SASL_VRFY_PLUGIN)
		return SASL_CONTINUE;
	name = name == NULL ? file : name + 1;
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (strncmp(name, wanted[i], strlen(wanted[i])) == 0)
			return SASL_OK;
	return SASL_CONTINUE;
}

typedef int callback_fn(void);

#define CALLBACK(function) ((callback_fn *)(void (*)(void))(function))

/*
 * The canonical name: the library itself would only strip spaces, and then one
 * account had many names.  What is no name becomes one that nobody can have
 * instead of an error, after which the LOGIN plug-in forgets the password
 * without freeing it.
 */
static int
on_canon_user(sasl_conn_t *conn, void *context, const char *in,
    unsigned in_length, unsigned flags, const char *realm, char *out,
    unsigned out_max, unsigned *out_length)
{
	struct account_name name;
	char text[ACCOUNT_LOGIN_SIZE] = "-";

	(void)conn;
	(void)context;
	(void)flags;
	(void)realm;
	if (account_name_parse((struct slice){in, in_length}, &name, NULL) == 0)
		(void)account_name_format(&name, text);
	if (strlen(text) >= out_max)
		return SASL_BADAUTH;
	*out_length = (unsigned)strlen(text);
	memcpy(out, text, *out_length + 1);
	return SASL_OK;
}

static int
on_checkpass(sasl_conn_t *conn, void *context, const char *user,
    const char *password, unsigned length, struct propctx *properties)
{
	struct sasl_exchange *exchange = context;

	(void)conn;
	(void)properties;
	return exchange->hooks->password(exchange->arg, slice_of(user),
		   (struct slice){password, length})
		   ? SASL_OK
		   : SASL_BADAUTH;
}

/* ---- our auxiliary property plug-in: where SCRAM finds verifiers ---- */

static struct sasl_exchange *
exchange_of(sasl_server_params_t *params)
{
	sasl_callback_ft function;
	void *context = NULL;

	if (params->utils->getcallback(params->utils->conn,
		SASL_CB_SERVER_USERDB_CHECKPASS, &function,
		&context) != SASL_OK)
		return NULL;
	return context;
}

/*
 * Answers the login's own "*authPassword" alone.  "userPassword" is never
 * set: with it the library would not look at verifiers.
 */
static int
on_lookup(void *glob_context, sasl_server_params_t *params, unsigned flags,
    const char *user, unsigned length)
{
	struct sasl_exchange *exchange = exchange_of(params);
	const struct propval *at;
	char text[SCRAM_TEXT_MAX];
	int rc = SASL_OK;

	(void)glob_context;
	if ((flags & SASL_AUXPROP_AUTHZID) != 0)
		return SASL_OK;
	if (exchange == NULL)
		return SASL_FAIL;
	/* Nonces would be guessable, and nobody would see it. */
	if (params->utils->rand != sasl_rand)
		fatal("Cyrus SASL does not use our random numbers");
	for (at = params->utils->prop_get(params->propctx);
	     at != NULL && at->name != NULL && rc == SASL_OK; at++) {
		if (strcmp(at->name, "*authPassword") != 0 ||
		    at->values != NULL)
			continue;
		if (exchange->hooks->verifier(exchange->arg,
			(struct slice){user, length}, text) == -1)
			return SASL_UNAVAIL;
		rc = params->utils->prop_set(
		    params->propctx, at->name, text, -1);
	}
	explicit_bzero(text, sizeof(text));
	return rc;
}

static char auxprop_name[] = AUXPROP_NAME;
static sasl_auxprop_plug_t auxprop = {
    .auxprop_lookup = on_lookup, .name = auxprop_name};

static int
auxprop_init(const sasl_utils_t *utils, int max_version, int *out_version,
    sasl_auxprop_plug_t **plug, const char *name)
{
	(void)utils; /* NULL: the library is not started yet */
	(void)name;
	if (max_version < SASL_AUXPROP_PLUG_VERSION)
		return SASL_BADVERS;
	*out_version = SASL_AUXPROP_PLUG_VERSION;
	*plug = &auxprop;
	return SASL_OK;
}

/* ---- start ---- */

/* Finds nobody, and tells that it was asked. */
static int
note_question(void *arg, struct slice user, char text_r[SCRAM_TEXT_MAX])
{
	bool *was_asked = arg;

	(void)user;
	(void)text_r;
	*was_asked = true;
	return -1;
}

/* SCRAM comes as far as our store and our random numbers (on_lookup). */
static bool
is_scram_ours(void)
{
	static const struct sasl_hooks noting = {.verifier = note_question};
	static const struct sasl_bindings none;
	static const struct slice first = {"n,,n=a,r=b", 10};
	bool was_asked = false;
	struct sasl_exchange *exchange =
	    sasl_exchange_new("SCRAM-SHA-256", &none, &noting, &was_asked);
	struct slice output;

	if (exchange != NULL)
		(void)sasl_exchange_step(exchange, &first, &output);
	sasl_exchange_free(exchange);
	return was_asked;
}

/* The mechanisms must be there now: after confinement nothing is loaded. */
static int
check_mechanisms(struct err *err)
{
	static const char *const wanted[] = {
	    "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "PLAIN", "LOGIN"};
	static const struct sasl_bindings bindings = {.tls_exporter = {"x", 1}};
	static const struct sasl_hooks no_hooks;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		struct sasl_exchange *exchange =
		    sasl_exchange_new(wanted[i], &bindings, &no_hooks, NULL);
		struct slice output;
		bool is_there = exchange != NULL &&
				sasl_exchange_step(exchange, NULL, &output) ==
				    SASL_VERDICT_CHALLENGE;

		sasl_exchange_free(exchange);
		if (!is_there)
			return err_set(err,
			    "Cyrus SASL has no mechanism %s; is "
			    "libsasl2-modules installed?",
			    wanted[i]);
	}
	if (!is_scram_ours())
		return err_set(err, "Cyrus SASL does not ask our store");
	return 0;
}

int
sasl_glue_init(struct err *err)
{
	static const sasl_callback_t callbacks[] = {
	    {SASL_CB_GETOPT, CALLBACK(on_getopt), NULL},
	    {SASL_CB_LOG, CALLBACK(on_log), NULL},
	    {SASL_CB_GETCONFPATH, CALLBACK(on_getconfpath), NULL},
	    {SASL_CB_VERIFYFILE, CALLBACK(on_verifyfile), NULL},
	    {SASL_CB_LIST_END, NULL, NULL}};
	int rc = sasl_auxprop_add_plugin(AUXPROP_NAME, auxprop_init);

	if (rc == SASL_OK)
		rc = sasl_server_init(callbacks, "postern");
	if (rc != SASL_OK)
		return err_set(
		    err, "Cyrus SASL: %s", sasl_errstring(rc, NULL, NULL));
	return check_mechanisms(err);
}

/* ---- exchanges ---- */

static bool
is_scram(const char *mechanism)
{
	return strncmp(mechanism, "SCRAM-", 6) == 0;
}

static void
copy_binding(
    struct sasl_exchange *exchange, enum binding which, struct slice value)
{
	if (value.n > BINDING_MAX)
		return;
	if (value.n > 0)
		memcpy(exchange->values[which], value.p, value.n);
	exchange->bindings[which] =
	    (sasl_channel_binding_t){.name = binding_names[which],
		.len = value.n,
		.data = exchange->values[which]};
}

/* The library holds one binding at a time. */
static bool
use_binding(struct sasl_exchange *exchange, enum binding which)
{
	return exchange->bindings[which].len > 0 &&
	       sasl_setprop(exchange->conn, SASL_CHANNEL_BINDING,
		   &exchange->bindings[which]) == SASL_OK;
}

static bool
is_plus(const struct sasl_exchange *exchange)
{
	return strstr(exchange->mechanism, "-PLUS") != NULL;
}

static bool
has_binding(const struct sasl_exchange *exchange)
{
	for (int i = 0; i < BINDING_COUNT; i++)
		if (exchange->bindings[i].len > 0)
			return true;
	return false;
}

/*
 * RFC 5801 section 5, before the library sees SCRAM's first message, which
 * may come with AUTH or as the first answer.  "p=name," asks for that binding,
 * and belongs to -PLUS alone; "y" says that we did not offer -PLUS, so
 * somebody between us took it away; the library lets both pass for a while.
 */
static bool
take_first_message(struct sasl_exchange *exchange, struct slice message)
{
	struct slice name;

	exchange->has_first = true;
	if (message.n < 2 || memcmp(message.p, "p=", 2) != 0)
		return !is_plus(exchange) &&
		       !(message.n > 0 && message.p[0] == 'y' &&
			   has_binding(exchange));
	name = (struct slice){message.p + 2, slice_find(message, ',', 2) - 2};
	for (int i = 0; i < BINDING_COUNT; i++)
		if (slice_equals(name, slice_of(binding_names[i])))
			return is_plus(exchange) &&
			       use_binding(exchange, (enum binding)i);
	return false;
}

static int
set_up(struct sasl_exchange *exchange)
{
	static const sasl_security_properties_t security = {
	    .max_ssf = 0, .security_flags = SASL_SEC_NOANONYMOUS};
	/* Under TLS, always: the caller saw to it. */
	static const sasl_ssf_t external = 256;

	if (sasl_server_new("smtp", "localhost", NULL, NULL, NULL,
		exchange->callbacks, 0, &exchange->conn) != SASL_OK ||
	    sasl_setprop(exchange->conn, SASL_SSF_EXTERNAL, &external) !=
		SASL_OK ||
	    sasl_setprop(exchange->conn, SASL_SEC_PROPS, &security) != SASL_OK)
		return -1;
	if (!is_plus(exchange))
		return 0;
	/* One at all, for the mechanism to be had. */
	for (int i = 0; i < BINDING_COUNT; i++)
		if (use_binding(exchange, (enum binding)i))
			return 0;
	return -1;
}

struct sasl_exchange *
sasl_exchange_new(const char *mechanism, const struct sasl_bindings *bindings,
    const struct sasl_hooks *hooks, void *arg)
{
	struct sasl_exchange *exchange = xcalloc(1, sizeof(*exchange));

	exchange->hooks = hooks;
	exchange->arg = arg;
	exchange->callbacks[0] = (sasl_callback_t){
	    SASL_CB_CANON_USER, CALLBACK(on_canon_user), exchange};
	exchange->callbacks[1] = (sasl_callback_t){
	    SASL_CB_SERVER_USERDB_CHECKPASS, CALLBACK(on_checkpass), exchange};
	exchange->callbacks[2] =
	    (sasl_callback_t){SASL_CB_LIST_END, NULL, NULL};
	copy_binding(exchange, BINDING_EXPORTER, bindings->tls_exporter);
	copy_binding(exchange, BINDING_UNIQUE, bindings->tls_unique);
	copy_binding(
	    exchange, BINDING_END_POINT, bindings->tls_server_end_point);
	if (slice_copy(slice_of(mechanism), exchange->mechanism,
		sizeof(exchange->mechanism)) == -1 ||
	    set_up(exchange) == -1) {
		sasl_exchange_free(exchange);
		return NULL;
	}
	return exchange;
}

void
sasl_exchange_free(struct sasl_exchange *exchange)
{
	if (exchange == NULL)
		return;
	if (exchange->conn != NULL)
		sasl_dispose(&exchange->conn);
	explicit_bzero(exchange, sizeof(*exchange));
	free(exchange);
}

int
sasl_exchange_restart(struct sasl_exchange *exchange)
{
	if (exchange->conn != NULL)
		sasl_dispose(&exchange->conn);
	exchange->is_started = false;
	exchange->has_first = false;
	return set_up(exchange);
}

static int
call_library(struct sasl_exchange *exchange, const struct slice *input,
    const char **output, unsigned *output_n)
{
	const char *in = input == NULL      ? NULL
			 : input->p == NULL ? ""
					    : input->p;
	unsigned in_n = input == NULL ? 0 : (unsigned)input->n;

	if (exchange->is_started)
		return sasl_server_step(
		    exchange->conn, in, in_n, output, output_n);
	exchange->is_started = true;
	return sasl_server_start(
	    exchange->conn, exchange->mechanism, in, in_n, output, output_n);
}

enum sasl_verdict
sasl_exchange_step(struct sasl_exchange *exchange, const struct slice *input,
    struct slice *output_r)
{
	const char *output = NULL;
	unsigned output_n = 0;
	bool had_first = exchange->has_first;
	int rc;

	*output_r = (struct slice){NULL, 0};
	if (exchange->conn == NULL)
		return SASL_VERDICT_REFUSED;
	if (input != NULL && input->n > SASL_GLUE_STEP_MAX)
		rc = SASL_BADPROT;
	else if (input != NULL && is_scram(exchange->mechanism) &&
		 !exchange->has_first && !take_first_message(exchange, *input))
		rc = SASL_BADAUTH;
	else
		rc = call_library(exchange, input, &output, &output_n);
	if (rc == SASL_OK || rc == SASL_CONTINUE) {
		*output_r = (struct slice){output, output_n};
		return rc == SASL_OK ? SASL_VERDICT_OK : SASL_VERDICT_CHALLENGE;
	}
	sasl_dispose(&exchange->conn);
	/* A wrong binding is "malformed" to the library, not to us. */
	return (rc == SASL_BADPROT || rc == SASL_BADPARAM) && !had_first
		   ? SASL_VERDICT_MALFORMED
		   : SASL_VERDICT_REFUSED;
}

struct slice
sasl_exchange_user(struct sasl_exchange *exchange)
{
	const void *user = NULL;

	if (exchange->conn == NULL ||
	    sasl_getprop(exchange->conn, SASL_USERNAME, &user) != SASL_OK)
		return (struct slice){NULL, 0};
	return slice_of(user);
}
