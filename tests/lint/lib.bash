# SPDX-License-Identifier: ISC
# shellcheck shell=bash
#
# TAP for the checks of tests/lint, and the list of files that are ours.

set -uo pipefail
source_dir=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
caller_dir=$PWD
cd "$source_dir" || exit 1
checks=0
failures=0

# Files of the tree: git's, with what is not committed yet; without git (a
# tarball), all that is not a build's.
tree_files() # PATTERN...
{
	if git rev-parse --git-dir >/dev/null 2>&1; then
		git ls-files --cached --others --exclude-standard -- "$@" |
			while read -r f; do [ ! -f "$f" ] || echo "$f"; done
	else
		local pattern

		for pattern in "${@:-*}"; do
			find . -path ./.git -prune -o -path './build*' -prune \
				-o -name '*.[od]' -prune -o -type f \
				-path "./$pattern" -printf '%P\n'
		done
	fi | sort -u
}

# What the folders' fragments add to a VARIABLE, one word a line.
fragment_words()
{
	tree_files '*/sources.mk' | xargs -r sed -n "s/^$1 *+= *//p" |
		tr ' ' '\n' | sort -u
}

# POSTERN_BUILD as an absolute path.
build_folder()
{
	local build

	build=$(cd "$caller_dir" && cd "${POSTERN_BUILD:?is missing}" && pwd) &&
		[ -f "$build/config.mk" ] && echo "$build" && return
	echo "POSTERN_BUILD is no build folder" >&2
	return 1
}

# holds NAME TEXT: the check holds when TEXT, what was found, is empty.
holds()
{
	checks=$((checks + 1))
	if [ -z "$2" ]; then
		echo "ok $checks - $1"
	else
		failures=$((failures + 1))
		echo "not ok $checks - $1"
		printf '%s\n' "$2" | sed 's/^/#   /'
	fi
}

skip()
{
	checks=$((checks + 1))
	echo "ok $checks # SKIP $1"
}

finish()
{
	echo "1..$checks"
	[ $failures -eq 0 ]
	exit
}
