# SPDX-License-Identifier: ISC
# What all unit tests share.  The tests themselves are found by their names:
# tests/unit/test_*.c, tests/fuzz/fuzz_*.c, tests/bench/*.c
unit_SOURCES =
test_channel_SOURCES = tests/unit/channel_pair.c
test_channel_breach_SOURCES = tests/unit/channel_pair.c
test_secrets_SOURCES = tests/unit/channel_pair.c
test_spawner_SOURCES = tests/unit/nest.c tests/unit/channel_pair.c
test_stream_SOURCES = tests/unit/tls_own.c

# queued without its main(), in a world of its own.
queued_world_SOURCES = tests/unit/queued_world.c tests/unit/channel_pair.c \
	$(filter-out relay/queued.c relay/queue_admin%.c,\
	$(postern-queued_SOURCES))
test_dispatch_SOURCES = $(dispatch_SOURCES) relay/queue_message.c \
	relay/queue_protection.c
test_schedule_SOURCES = relay/schedule.c
test_submission_SOURCES = relay/submission.c relay/queue_message.c \
	relay/queue_protection.c
test_queue_store_SOURCES = $(queue_store_SOURCES)
test_queue_salvage_SOURCES = relay/queue_salvage.c \
	relay/queue_salvage_rows.c relay/spool_file.c $(queue_store_SOURCES)
test_queue_writer_SOURCES = relay/queue_writer.c relay/schedule.c \
	$(queue_store_SOURCES)
test_queue_client_SOURCES = $(queued_world_SOURCES)
test_queue_spool_SOURCES = tests/unit/sending.c $(queued_world_SOURCES)
test_spool_places_SOURCES = tests/unit/sending.c $(queued_world_SOURCES)
test_queue_refill_SOURCES = $(queued_world_SOURCES)
test_queue_result_SOURCES = $(queued_world_SOURCES)
test_queue_delivery_SOURCES = $(queued_world_SOURCES)
signer_world_SOURCES = tests/unit/signer_world.c tests/unit/signer_scenes.c \
	$(queued_world_SOURCES)
test_queue_sign_SOURCES = $(signer_world_SOURCES)
test_queue_sign_many_SOURCES = $(signer_world_SOURCES)
test_queue_admin_SOURCES = relay/queue_admin.c relay/queue_admin_act.c \
	relay/queue_admin_look.c relay/queue_admin_notice.c \
	$(signer_world_SOURCES)
test_queue_sign_share_SOURCES = relay/queue_sign_share.c \
	relay/queue_message.c relay/queue_protection.c
test_queue_sign_need_SOURCES = relay/queue_sign_check.c \
	relay/queue_sign_need.c relay/queue_message.c relay/queue_protection.c
