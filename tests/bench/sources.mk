# SPDX-License-Identifier: ISC
# The load generator and the sink of the benchmark and of the loss tests.

bench_SOURCES = tests/bench/lib_count.c tests/bench/lib_mail.c \
	tests/bench/lib_wire.c
load_SOURCES = $(bench_SOURCES) tests/bench/lib_client.c \
	tests/bench/lib_fleet.c tests/bench/lib_plan.c
sink_SOURCES = $(bench_SOURCES) tests/bench/lib_server.c \
	tests/bench/lib_taken.c
test_bench_mail_SOURCES = tests/bench/lib_mail.c
