# SPDX-License-Identifier: ISC
# The programs of relay/, and what their tests are linked with.
dsn_SOURCES = relay/dsn.c relay/dsn_reason.c relay/dsn_status.c \
	relay/dsn_text.c relay/dsn_words.c
test_dsn_SOURCES = $(dsn_SOURCES)
fuzz_dsn_SOURCES = $(dsn_SOURCES)
