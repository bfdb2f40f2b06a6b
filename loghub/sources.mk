# SPDX-License-Identifier: ISC
# postern-loghub; what its tests need of it.
loghub_STORE = loghub/record.c loghub/segment.c loghub/segment_file.c \
	loghub/segment_head.c loghub/segment_recover.c loghub/verify.c
loghub_INDEX = loghub/indexer.c loghub/log_day.c loghub/log_index.c \
	loghub/log_index_batch.c loghub/log_index_find.c \
	loghub/log_terms.c loghub/posting.c loghub/remote_ids.c
loghub_QUERY = loghub/event_json.c loghub/log_filter.c \
	loghub/log_query.c loghub/log_view.c loghub/trace.c \
	loghub/trace_life.c
PROGRAMS += postern-loghub
postern-loghub_SOURCES = loghub/loghub.c loghub/intake.c \
	loghub/expiry.c loghub/life_seen.c loghub/manage.c \
	loghub/retention.c loghub/store.c loghub/writers.c $(loghub_STORE) $(loghub_INDEX) \
	$(loghub_QUERY)
postern-loghub_LIBS = $(EVENT_LIBS) $(SQLITE_LIBS) $(JANSSON_LIBS) \
	$(OPENSSL_LIBS) $(IDN2_LIBS) $(SECCOMP_LIBS) $(THREAD_LIBS)
MANUALS += loghub/postern-loghub.8
log_cost_SOURCES = $(loghub_STORE) $(loghub_INDEX)
test_expiry_SOURCES = loghub/expiry.c
segment_log_SOURCES = tests/unit/segment_log.c $(loghub_STORE)
test_segment_SOURCES = $(segment_log_SOURCES)
test_segment_names_SOURCES = $(segment_log_SOURCES)
test_segment_reader_SOURCES = $(segment_log_SOURCES)
test_log_writers_SOURCES = $(loghub_STORE) loghub/writers.c loghub/life_seen.c
log_box_SOURCES = tests/unit/log_box.c $(segment_log_SOURCES) \
	$(loghub_INDEX) $(loghub_QUERY)
test_log_index_SOURCES = $(log_box_SOURCES)
test_log_clock_SOURCES = $(log_box_SOURCES)
test_log_query_SOURCES = $(log_box_SOURCES)
fuzz_log_datagram_SOURCES = loghub/record.c loghub/writers.c
