/* SPDX-License-Identifier: ISC */
/*
 * What the sink does with a mail that has come to its dot.
 */
#ifndef TESTS_BENCH_LIB_TAKEN_H
#define TESTS_BENCH_LIB_TAKEN_H

#include "common/buf.h"
#include "tests/bench/lib_server.h"

/* What stands between < and >, or all of it. */
struct slice taken_address(struct slice path);

/* Judges, counts, records and saves the message.  False: it is put off. */
bool taken_mail(struct server_session *s);

#endif
