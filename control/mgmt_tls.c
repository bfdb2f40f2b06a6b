/* SPDX-License-Identifier: ISC */
/*
 * Hands a certificate and its key, as descriptors, from the command line to
 * smtpd, which checks and keeps them: confd reads neither.
 * Runs in: postern-confd.  Trusts: nothing of either side's text.
 */
#include <stdlib.h>

#include "control/confd.h"

#define INSTALL_LIMIT_MS 10000

static const struct mgmt_verb tls_install_verb = {
    "tls.install", RIGHT_CHANGE, ROLE_SMTPD, NULL};

/*
 * The request rides on a mgmt_ask, so that an asker who leaves is forgotten in
 * the one place.
 */
static void
answer(struct mgmt_ask *ask, const struct ipc_tls_installed *installed)
{
	if (ask->channel != NULL)
		(void)channel_answer(ask->channel, ask->request_id,
		    MSG_TLS_INSTALLED, installed);
	mgmt_forget(ask, installed->error.n == 0);
}

static void
on_installed(void *arg, const struct channel_frame *frame)
{
	const struct ipc_tls_installed silent = {
	    .error = SLICE("postern-smtpd has not answered")};

	answer(arg, frame != NULL ? &frame->message->tls_installed : &silent);
}

int
mgmt_on_tls_install(struct channel *channel, const struct channel_frame *frame)
{
	struct confd *confd = daemon_state(channel_daemon(channel));
	const struct confd_peer *smtpd = confd_find_peer(confd, ROLE_SMTPD);
	struct mgmt_ask *ask =
	    mgmt_new_ask(confd, channel, frame->request_id, &tls_install_verb);
	const struct ipc_tls_install install = {.actor = slice_of(ask->actor)};
	const struct ipc_tls_installed away = {
	    .error = SLICE("postern-smtpd is not running")};

	if (smtpd == NULL || channel_request(smtpd->channel, MSG_TLS_INSTALL,
				 &install, frame->fds, MSG_TLS_INSTALLED,
				 INSTALL_LIMIT_MS, on_installed, ask) == 0)
		answer(ask, &away);
	return 0;
}
