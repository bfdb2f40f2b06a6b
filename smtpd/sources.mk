# SPDX-License-Identifier: ISC
# What faces clients.  common/sources.mk says how rows look.

# ---- the listening sockets ----
PROGRAMS += postern-bindd
postern-bindd_SOURCES = smtpd/bindd.c
postern-bindd_LIBS = $(EVENT_LIBS) $(SECCOMP_LIBS)

# ---- SMTP: acceptor and workers ----
PROGRAMS += postern-smtpd
smtpd_worker_SOURCES = smtpd/access.c smtpd/intake.c smtpd/intake_header.c \
	smtpd/received.c smtpd/session.c smtpd/session_auth.c \
	smtpd/session_mail.c smtpd/transaction.c
postern-smtpd_SOURCES = smtpd/smtpd.c smtpd/clients.c smtpd/flood.c \
	smtpd/listeners.c smtpd/refusals.c smtpd/tls_store.c smtpd/worker.c \
	smtpd/workers.c $(smtpd_worker_SOURCES)
postern-smtpd_LIBS = $(EVENT_LIBS) $(OPENSSL_LIBS) $(SECCOMP_LIBS) \
	$(IDN2_LIBS)
