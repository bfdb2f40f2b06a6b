# SPDX-License-Identifier: ISC
# The load generator and the sink of the benchmark and of the loss tests.

bench_SOURCES = tests/bench/lib_count.c tests/bench/lib_mail.c \
	tests/bench/lib_wire.c
load_SOURCES = $(bench_SOURCES) tests/bench/lib_client.c \
	tests/bench/lib_fleet.c tests/bench/lib_plan.c
sink_SOURCES = $(bench_SOURCES) tests/bench/lib_server.c \
	tests/bench/lib_taken.c
test_bench_mail_SOURCES = tests/bench/lib_mail.c
sign_cost_SOURCES = signer/content.c signer/protect.c signer/work.c \
	$(dkim_SOURCES) $(smime_SOURCES) $(keyring_SOURCES) signer/trust.c
# A worker for OpenPGP on the command line.
pgp_work_SOURCES = signer/content.c signer/work.c $(pgp_SOURCES) \
	$(smime_SOURCES) $(keyring_SOURCES) signer/trust.c
# A worker for S/MIME on the command line.
smime_work_SOURCES = tests/unit/trust_host.c signer/content.c \
	signer/crl_read.c signer/durable_file.c signer/key_task.c \
	signer/key_x509.c signer/trust.c signer/work.c $(smime_SOURCES)
