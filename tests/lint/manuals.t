#!/bin/bash
# SPDX-License-Identifier: ISC
#
# Each program has a manual page beside it, and mandoc has nothing to say
# about any page.

# shellcheck source=SCRIPTDIR/lib.bash
. "${0%/*}/lib.bash"

mapfile -t pages < <(tree_files '*.[1-8]')
build=$(build_folder) || exit
# Those that are made from tables are in the build folder.
mapfile -t made < <(fragment_words MADE_MANUALS | sed "s|^|$build/|")
if command -v mandoc >/dev/null; then
	for f in "${pages[@]}" "${made[@]}"; do
		# References to pages of other packages, not installed here.
		holds "mandoc $f" "$(mandoc -T lint -W warning "$f" 2>&1 |
			grep -v 'referenced manual not found')"
	done
else
	skip "no mandoc here"
fi

# What the fragments list, and what they should list.
listed=$(fragment_words MANUALS)
absent=$(for f in "${pages[@]}"; do
	printf '%s\n' "$listed" | grep -qxF "$f" || echo "$f"
done)
holds "each page is installed: MANUALS of its folder names it" "$absent"

programs=$(fragment_words PROGRAMS)
bare=$(for p in $programs; do
	printf '%s\n' "${pages[@]}" | grep -qE "(^|/)${p//./\\.}\.[1-8]$" ||
		echo "$p"
done)
holds "each program has a page" "$bare"

finish
