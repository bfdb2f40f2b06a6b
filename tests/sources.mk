# SPDX-License-Identifier: ISC
# What all unit tests share.  The tests themselves are found by their names:
# tests/unit/test_*.c, tests/fuzz/fuzz_*.c, tests/bench/*.c
unit_SOURCES =
test_channel_SOURCES = tests/unit/channel_pair.c
test_channel_breach_SOURCES = tests/unit/channel_pair.c
