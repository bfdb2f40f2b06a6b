# SPDX-License-Identifier: ISC
# What all unit tests share.  The tests themselves are found by their names:
# tests/unit/test_*.c, tests/fuzz/fuzz_*.c, tests/bench/*.c
unit_SOURCES =
