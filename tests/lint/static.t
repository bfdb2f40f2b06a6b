#!/bin/bash
# SPDX-License-Identifier: ISC
#
# cppcheck over all C, clang-tidy (its checks stand in .clang-tidy) over what
# is installed, file by file.  A finding that is wrong is answered in the
# code, with its reason: cppcheck-suppress NAME or NOLINTNEXTLINE(NAME).
#
# Needs POSTERN_BUILD, the build folder, for its config.h and flags.

# shellcheck source=SCRIPTDIR/lib.bash
. "${0%/*}/lib.bash"

build=$(build_folder) || exit
mapfile -t c_files < <(tree_files '*.c')

if command -v cppcheck >/dev/null; then
	mkdir -p "$build/cppcheck"
	holds "cppcheck" "$(cppcheck -q -j2 --cppcheck-build-dir="$build/cppcheck" \
		--std=c11 --enable=warning,performance,portability \
		--inline-suppr --suppressions-list=tests/lint/cppcheck.list \
		--template='{file}:{line}: {id}: {message}' \
		--library=posix,tests/lint/cppcheck.cfg -D_GNU_SOURCE -D__linux__ -I. -I"$build" \
		"${c_files[@]}" 2>&1)"
else
	skip "no cppcheck here"
fi

if command -v clang-tidy >/dev/null; then
	mapfile -t flags < <(sed -n 's/^[A-Z0-9]*_CFLAGS = //p' \
		"$build/config.mk" | tr ' ' '\n' |
		grep -E '^-(D|I|pthread)' | sort -u)
	tidy=(clang-tidy --quiet '{}' -- -std=c11 -D_GNU_SOURCE -I"$build"
		-I. "${flags[@]}")
	# Two files at once.  err.c defines what analyzer.h tells of.
	findings=$(
		{
			printf '%s\n' "${c_files[@]}" |
				grep -v '^tests/\|^common/err.c$' |
				xargs -P 2 -I '{}' "${tidy[@]}" \
					-include tests/lint/analyzer.h
			xargs -I '{}' "${tidy[@]}" <<<common/err.c
		} 2>&1 | grep -E '(warning|error): ' | sed "s|$PWD/||" | sort -u
	)
	holds "clang-tidy" "$findings"
else
	skip "no clang-tidy here"
fi

finish
