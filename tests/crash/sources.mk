# SPDX-License-Identifier: ISC
# What the crash tests need beside the programs: tests/crash/shim_*.c become
# libraries to preload, lib_*.c are shared, all other .c programs.

check_queue_SOURCES = $(queue_store_SOURCES) \
	relay/spool_file.c tests/bench/lib_mail.c
