#!/bin/bash
# SPDX-License-Identifier: ISC
#
# Every shell script, by shellcheck; every Python file compiles.

# shellcheck source=SCRIPTDIR/lib.bash
. "${0%/*}/lib.bash"

mapfile -t scripts < <(tree_files | while read -r f; do
	head -n 1 "$f" | grep -aqE '^#! ?/bin/(ba|da|)sh' && echo "$f"
done)
mapfile -t pythons < <(tree_files | while read -r f; do
	head -n 1 "$f" | grep -aq '^#! *.*python' && echo "$f"
done)

if command -v shellcheck >/dev/null; then
	for f in "${scripts[@]}" $(tree_files '*.bash'); do
		holds "shellcheck $f" "$(shellcheck -x -f gcc "$f" 2>&1)"
	done
else
	skip "no shellcheck here"
fi

wrong=$(for f in "${pythons[@]}"; do
	[ "$(head -n 1 "$f")" = '#!/usr/bin/python3' ] || echo "$f"
done)
holds "Python is Debian's, which has Debian's modules" "$wrong"
for f in "${pythons[@]}" $(tree_files '*.py'); do
	holds "$f compiles" "$(/usr/bin/python3 -c '
import sys
compile(open(sys.argv[1], "rb").read(), sys.argv[1], "exec")' "$f" 2>&1)"
done

finish
