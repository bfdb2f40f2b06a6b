#!/bin/bash
# SPDX-License-Identifier: ISC
#
# What the eye would look for in every file: banned calls, paths of somebody's
# machine, files that have outgrown a reader, notes of unfinished work.

# shellcheck source=SCRIPTDIR/lib.bash
. "${0%/*}/lib.bash"

mapfile -t all < <(tree_files)
mapfile -t c_files < <(tree_files '*.c' '*.h')
mapfile -t scripts < <(tree_files '*.sh' '*.py' '*.t' '*.mk' configure)
mapfile -t text < <(grep -Il '' "${all[@]}" 2>/dev/null |
	grep -v '^tests/fuzz/corpus/\|^tests/.*/data/')

# Comment lines may name them.
calls() # PATTERN of names
{
	grep -nE "(^|[^A-Za-z0-9_>.])($1)[[:space:]]*\(" "${c_files[@]}" |
		grep -vE '^[^:]+:[0-9]+:[[:space:]]*(/?\*|//)'
}

holds "no call that cannot know its buffer's size" \
	"$(calls 'strcpy|stpcpy|strcat|sprintf|vsprintf|gets|alloca|strdupa')"
holds "no call that hides an error or keeps a state: strtok, atoi" \
	"$(calls 'strtok|atoi|atol|atoll|atof|strncpy|strncat')"
holds "no shell, no temporary file by name" \
	"$(calls 'system|popen|tmpnam|tempnam|mktemp')"

holds "no path of somebody's machine" "$(grep -nE \
	'(^|[^A-Za-z0-9_.$}-])/(work|root|home/[a-z]+)/' "${text[@]}" |
	grep -v '^tests/lint/source.t:')"
# This file's own patterns are split so that they do not find themselves.
holds "no note of unfinished work" "$(grep -nwE \
	'TO''DO|FIX''ME|X''XX|HA''CK|not imple''mented' "${text[@]}")"
holds "no space at the end of a line" "$(grep -nE '[[:space:]]+$' \
	"${c_files[@]}" "${scripts[@]}")"

long=
headless=
for f in "${text[@]}"; do
	case $f in
	*.c | *.h | *.py | *.t | *.sh | *.mk | configure | Makefile.in)
		lines=$(wc -l <"$f")
		[ "$lines" -le 800 ] || long+="$f: $lines lines"$'\n'
		head -n 3 "$f" | grep -q 'SPDX-License-Identifier: ISC' ||
			headless+="$f"$'\n'
		;;
	esac
done
holds "no file has more than 800 lines" "${long%$'\n'}"
holds "each file names its licence at its top" "${headless%$'\n'}"

wide=$(for f in "${c_files[@]}"; do
	expand "$f" | awk -v f="$f" 'length($0) > 80 { print f ":" NR }'
done)
holds "no line of C is wider than 80 columns" "$wide"

idle=$(for f in $(tree_files '*.t'); do
	[ -x "$f" ] || echo "$f"
done)
holds "each test can be run" "$idle"

unguarded=$(for f in $(tree_files '*.h'); do
	guard=$(printf '%s' "$f" | tr 'a-z/.-' 'A-Z___')
	case $(cat "$f") in
	*"#ifndef $guard"*) ;;
	*) echo "$f: no guard $guard" ;;
	esac
done)
# Tables are read several times, each time with other macros.
unguarded=$(printf '%s' "$unguarded" | grep -vE \
	'^common/(ipc_messages|events|settings|alerts)\.h:')
holds "each header has a guard named after it" "$unguarded"

finish
