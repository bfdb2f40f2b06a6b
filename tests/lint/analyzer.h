/* SPDX-License-Identifier: ISC */
/*
 * What clang's analyzer cannot see, because it reads one file at a time.  It
 * is included before each file by tests/lint/static.t.
 */
#ifndef TESTS_LINT_ANALYZER_H
#define TESTS_LINT_ANALYZER_H

#include "common/err.h"

#define err_set(...) ((err_set)(__VA_ARGS__), -1)
#define err_wrap(...) ((err_wrap)(__VA_ARGS__), -1)

#endif
