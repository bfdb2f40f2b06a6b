# SPDX-License-Identifier: ISC
# postern-loghub; what its tests need of it.
loghub_STORE = loghub/record.c loghub/segment.c loghub/segment_file.c \
	loghub/segment_head.c loghub/segment_recover.c
loghub_INDEX = loghub/log_index.c loghub/log_index_batch.c \
	loghub/log_index_find.c loghub/log_terms.c loghub/posting.c \
	loghub/remote_ids.c
log_cost_SOURCES = $(loghub_STORE) $(loghub_INDEX)
