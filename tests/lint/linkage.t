#!/bin/bash
# SPDX-License-Identifier: ISC
#
# What each program may be linked with.  A library in a process that meets the
# internet is code that an attacker may use; so what is not named here for a
# program, it does not get.  And the programs are hardened.
#
# Needs POSTERN_BUILD, the build folder.

# shellcheck source=SCRIPTDIR/lib.bash
. "${0%/*}/lib.bash"

build=$(build_folder) || exit
base='libc|ld-linux-x86-64|libevent_core-2\.1|libseccomp|libidn2'
# libevent, OpenSSL, libseccomp and, for names of domains, libidn2: all that
# a program on the internet may have.
allowed()
{
	case $1 in
	postern-bindd) echo "libc|libevent_core-2\.1|libseccomp" ;;
	postern-smtpd | postern-relayd) echo "$base|libssl|libcrypto" ;;
	postern-authd) echo "$base|libcrypto|libsasl2|libsqlite3|libidn|libjansson" ;;
	postern-checkd) echo "$base|libcrypto|libunbound|libspf2|libsqlite3" ;;
	postern-queued) echo "$base|libcrypto|libsqlite3|libjansson" ;;
	postern-loghub) echo "$base|libcrypto|libsqlite3|libjansson" ;;
	postern-confd) echo "$base|libcrypto|libsqlite3|libjansson|libidn" ;;
	postern | postern-run) echo "$base|libcrypto|libssl|libjansson" ;;
	postern-signerd) echo "$base|libcrypto|libssl|libsqlite3|libgpgme|libjansson" ;;
	postern-fetchd) echo "$base|libcrypto|libcurl" ;;
	postern.cgi) echo "$base|libcrypto|libjansson" ;;
	*) echo "no-row-for-this-program" ;;
	esac
}

config() # VARIABLE of the build's config.mk
{
	sed -n "s/^$1 = //p" "$build/config.mk"
}

programs=$(fragment_words PROGRAMS)
if [ "$(config WITH_SANITIZERS)" = yes ] || [ "$(config WITH_FUZZERS)" = yes ]
then
	skip "a build with sanitizers is linked with theirs"
	finish
fi
for p in $programs; do
	if [ ! -x "$build/$p" ]; then
		holds "$p is built" "$build/$p does not exist"
		continue
	fi
	needed=$(readelf -dW "$build/$p" |
		sed -n 's/.*(NEEDED).*\[\(.*\)\.so.*/\1/p')
	holds "$p is linked with no more than it may be" "$(
		printf '%s\n' "$needed" | grep -vxE "$(allowed "$p")")"

	headers=$(readelf -hldW "$build/$p")
	weak=
	grep -q 'Type: *DYN' <<<"$headers" || weak+="not position independent "
	grep -q GNU_RELRO <<<"$headers" || weak+="no relro "
	grep -q 'BIND_NOW\|FLAGS_1.*NOW' <<<"$headers" ||
		weak+="no immediate binding "
	grep -q 'GNU_STACK.*RWE' <<<"$headers" && weak+="executable stack "
	# Read to its end: readelf would fail at a pipe that closed.
	readelf -sW --dyn-syms "$build/$p" | grep __stack_chk_fail >/dev/null ||
		weak+="no stack protector "
	holds "$p is hardened" "$weak"
done
[ -n "$programs" ] || skip "no programs yet"

finish
