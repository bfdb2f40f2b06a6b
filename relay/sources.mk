# SPDX-License-Identifier: ISC
# The programs of relay/, and what their tests are linked with.
dsn_SOURCES = relay/dsn.c relay/dsn_7bit.c relay/dsn_reason.c \
	relay/dsn_status.c relay/dsn_text.c relay/dsn_words.c
test_dsn_SOURCES = $(dsn_SOURCES)
fuzz_dsn_SOURCES = $(dsn_SOURCES)

queue_store_SOURCES = relay/queue_message.c relay/queue_protection.c \
	relay/queue_store.c relay/queue_store_sign.c
dispatch_SOURCES = relay/dispatch.c relay/dispatch_destination.c \
	relay/dispatch_known.c
queue_SOURCES = $(dispatch_SOURCES) relay/queue_filter.c relay/queue_writer.c \
	relay/schedule.c $(queue_store_SOURCES) \
	relay/spool_file.c relay/spool_places.c relay/spool_stream.c \
	relay/submission.c
PROGRAMS += postern-queued
postern-queued_SOURCES = relay/queued.c relay/queue_admin.c \
	relay/queue_admin_act.c relay/queue_admin_look.c \
	relay/queue_admin_notice.c relay/queue_alias.c \
	relay/queue_delivery.c relay/queue_dsn.c relay/queue_intake.c \
	relay/queue_outbox.c relay/queue_refill.c relay/queue_result.c \
	relay/queue_result_park.c relay/queue_settling.c \
	relay/queue_settling_recipient.c \
	relay/queue_salvage.c relay/queue_salvage_rows.c \
	relay/queue_sign.c relay/queue_sign_admin.c \
	relay/queue_sign_answer.c \
	relay/queue_sign_check.c relay/queue_sign_job.c \
	relay/queue_sign_judge.c relay/queue_sign_need.c \
	relay/queue_sign_plan.c relay/queue_sign_ready.c \
	relay/queue_sign_send.c relay/queue_sign_settle.c \
	relay/queue_sign_share.c relay/queue_sign_store.c \
	relay/queue_spool.c relay/route.c \
	$(queue_SOURCES) $(dsn_SOURCES)
MANUALS += relay/postern-queued.8
postern-queued_LIBS = $(EVENT_LIBS) $(SQLITE_LIBS) $(JANSSON_LIBS) \
	$(OPENSSL_LIBS) $(IDN2_LIBS) $(SECCOMP_LIBS) $(THREAD_LIBS)

relay_client_SOURCES = relay/client.c relay/client_mail.c relay/tls_policy.c
relayd_SOURCES = relay/dns_client.c relay/job.c relay/mx.c relay/plan.c \
	relay/pool.c relay/pool_connection.c relay/route.c $(relay_client_SOURCES)
PROGRAMS += postern-relayd
MANUALS += relay/postern-relayd.8
postern-relayd_SOURCES = relay/relayd.c relay/relay_questions.c \
	$(relayd_SOURCES)
postern-relayd_LIBS = $(EVENT_LIBS) $(OPENSSL_LIBS) $(IDN2_LIBS) \
	$(SECCOMP_LIBS) $(THREAD_LIBS)
test_route_SOURCES = relay/route.c
test_mx_SOURCES = relay/mx.c
test_tls_policy_SOURCES = relay/tls_policy.c
test_relay_client_SOURCES = tests/unit/tls_own.c $(relay_client_SOURCES)
test_relayd_SOURCES = tests/unit/relayd_host.c tests/unit/relay_world.c \
	tests/unit/tls_own.c
# It starts the program.
tests/unit/test_relayd: | postern-relayd
