# SPDX-License-Identifier: ISC
# What faces clients.  common/sources.mk says how rows look.

# ---- the listening sockets ----
PROGRAMS += postern-bindd
postern-bindd_SOURCES = smtpd/bindd.c
postern-bindd_LIBS = $(EVENT_LIBS) $(SECCOMP_LIBS)

# ---- SMTP: acceptor and workers ----
PROGRAMS += postern-smtpd
smtpd_worker_SOURCES = smtpd/access.c smtpd/intake.c smtpd/intake_header.c \
	smtpd/intake_stream.c smtpd/received.c smtpd/session.c \
	smtpd/session_auth.c smtpd/session_command.c smtpd/session_mail.c \
	smtpd/transaction.c
postern-smtpd_SOURCES = smtpd/smtpd.c smtpd/clients.c smtpd/flood.c \
	smtpd/listeners.c smtpd/refusals.c smtpd/tls_store.c smtpd/worker.c \
	smtpd/worker_links.c smtpd/workers.c $(smtpd_worker_SOURCES)
postern-smtpd_LIBS = $(EVENT_LIBS) $(OPENSSL_LIBS) $(SECCOMP_LIBS) \
	$(IDN2_LIBS)
MANUALS += smtpd/postern-bindd.8 smtpd/postern-smtpd.8
# A worker and its peers, in one process.
smtp_host_SOURCES = tests/unit/smtp_host.c smtpd/worker.c \
	$(smtpd_worker_SOURCES)
test_access_SOURCES = smtpd/access.c
test_clients_SOURCES = smtpd/clients.c
test_flood_SOURCES = smtpd/flood.c
test_received_SOURCES = smtpd/received.c
test_refusals_SOURCES = smtpd/refusals.c
test_session_SOURCES = $(smtp_host_SOURCES)
test_worker_links_SOURCES = smtpd/worker_links.c
fuzz_smtp_session_SOURCES = $(smtp_host_SOURCES)

# ---- logins, identities, recipients ----
PROGRAMS += postern-authd
accounts_SOURCES = smtpd/accounts.c smtpd/accounts_login.c \
	smtpd/account_name.c smtpd/scram_verifier.c
auth_session_SOURCES = smtpd/auth_session.c smtpd/hash_queue.c \
	smtpd/login_line.c smtpd/password_cache.c smtpd/sasl.c \
	smtpd/throttle.c $(accounts_SOURCES)
directory_SOURCES = smtpd/directory.c smtpd/directory_store.c
postern-authd_SOURCES = smtpd/authd.c smtpd/authd_directory.c \
	smtpd/authd_login.c smtpd/auth_admin.c smtpd/auth_admin_apps.c \
	smtpd/auth_admin_directory.c smtpd/auth_admin_import.c \
	smtpd/auth_admin_users.c smtpd/csv.c smtpd/login_log.c \
	$(directory_SOURCES) $(auth_session_SOURCES)
postern-authd_LIBS = $(EVENT_LIBS) $(OPENSSL_LIBS) $(SECCOMP_LIBS) \
	$(SASL_LIBS) $(SQLITE_LIBS) $(IDN2_LIBS) $(STRINGPREP_LIBS) \
	$(JANSSON_LIBS) $(THREAD_LIBS)
MANUALS += smtpd/postern-authd.8
test_account_name_SOURCES = smtpd/account_name.c
test_accounts_SOURCES = $(accounts_SOURCES)
auth_tests_SOURCES = tests/unit/auth_fixture.c $(auth_session_SOURCES)
test_auth_session_SOURCES = $(auth_tests_SOURCES)
test_csv_SOURCES = smtpd/csv.c
test_directory_SOURCES = $(directory_SOURCES) $(accounts_SOURCES)
test_hash_queue_SOURCES = smtpd/hash_queue.c
test_login_line_SOURCES = smtpd/login_line.c
test_login_rush_SOURCES = $(auth_tests_SOURCES)
test_scram_SOURCES = $(auth_tests_SOURCES)
test_scram_verifier_SOURCES = smtpd/scram_verifier.c
test_password_cache_SOURCES = smtpd/password_cache.c
test_throttle_SOURCES = smtpd/throttle.c
fuzz_csv_SOURCES = smtpd/csv.c
fuzz_sasl_SOURCES = smtpd/sasl.c smtpd/account_name.c smtpd/scram_verifier.c

# ---- DNS, and what it says about strangers ----
PROGRAMS += postern-checkd
postern-checkd_SOURCES = smtpd/checkd.c smtpd/checkd_mail.c \
	smtpd/checkd_peer.c smtpd/checkd_query.c smtpd/client_check.c \
	smtpd/dns_health.c smtpd/dns_message.c smtpd/resolver.c \
	smtpd/resolver_context.c
postern-checkd_LIBS = $(EVENT_LIBS) $(UNBOUND_LIBS) $(IDN2_LIBS) \
	$(SECCOMP_LIBS)
MANUALS += smtpd/postern-checkd.8
test_dns_message_SOURCES = smtpd/dns_message.c
test_dns_health_SOURCES = smtpd/dns_health.c
test_client_check_SOURCES = smtpd/client_check.c smtpd/dns_message.c
fuzz_dns_message_SOURCES = smtpd/dns_message.c
