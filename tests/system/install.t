#!/bin/bash
# SPDX-License-Identifier: ISC
#
# configure and make as a packager calls them: out of the tree, with
# debhelper's own arguments, into a DESTDIR; and as a hurried user does.

set -u
source=${POSTERN_SOURCE:-$(cd "${0%/*}/../.." && pwd)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
run=0
failed=0

# The literal ${prefix} is what debhelper passes.
# shellcheck disable=SC2016
debhelper=(
	--build=x86_64-linux-gnu --prefix=/usr
	'--includedir=${prefix}/include' '--mandir=${prefix}/share/man'
	'--infodir=${prefix}/share/info' --sysconfdir=/etc
	--localstatedir=/var --disable-option-checking
	--disable-silent-rules '--libdir=${prefix}/lib/x86_64-linux-gnu'
	--runstatedir=/run --disable-maintainer-mode
	--disable-dependency-tracking
)

ok() # STATUS NAME
{
	run=$((run + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $run - $2"
	else
		failed=$((failed + 1))
		echo "not ok $run - $2"
	fi
}

has() # FILE PATTERN NAME
{
	grep -q -- "$2" "$1"
	ok $? "$3"
}

fragment_words() # VARIABLE
{
	sed -n "s/^$1 *+= *//p" "$source"/*/sources.mk
}

refused() # PATTERN NAME, then configure's arguments
{
	local pattern=$1 name=$2
	shift 2

	! (cd odd && "$source/configure" "$@") >out 2>err &&
		grep -q -- "$pattern" err
	ok $? "$name"
}

mkdir deb
(cd deb && CFLAGS="-g -O2" CPPFLAGS="-Wdate-time -D_FORTIFY_SOURCE=2" \
	LDFLAGS="-Wl,-z,relro" "$source/configure" "${debhelper[@]}") \
	>out 2>err
ok $? "configure takes what debhelper passes"
[ ! -s err ]
ok $? "and warns of nothing"
# shellcheck disable=SC2016
has deb/config.mk '^mandir = /usr/share/man$' '${prefix} is expanded'
has deb/config.mk '^programdir = /usr/lib/postern$' "programs: /usr/lib/postern"
has deb/config.mk '^CPPFLAGS = -Wdate-time' "CPPFLAGS are recorded"
has deb/config.h 'SYSCONFDIR "/etc"' "config.h has the folders"
! grep -q 'D_FORTIFY_SOURCE=3' deb/config.mk
ok $? "the packager's FORTIFY_SOURCE stays alone"

# What would be installed, without building it: names and places.
make -C deb -n install DESTDIR=/dest >plan 2>&1
ok $? "make knows how to install"
for word in $(fragment_words PROGRAMS); do
	case $word in
	postern) place=/dest/usr/bin/postern ;;
	postern-run) place=/dest/usr/sbin/postern-run ;;
	*) place=/dest/usr/lib/postern/$word ;;
	esac
	has plan "'$place'" "$word goes to ${place#/dest}"
done
for page in $(fragment_words MANUALS); do
	has plan "'/dest/usr/share/man/man${page##*.}/${page##*/}'" \
		"the page ${page##*/} is installed"
done

mkdir odd
(cd odd && "$source/configure" --enable-fish --wat FOO=1 CFLAGS=-O0) >out 2>err
ok $? "unknown options are not fatal"
[ "$(grep -c 'warning: unknown option' err)" -eq 3 ]
ok $? "but each is warned of"
has odd/config.mk '^CFLAGS = -O0$' "CFLAGS as an argument"
! grep -q FORTIFY odd/config.mk
ok $? "no FORTIFY_SOURCE without optimisation"
has odd/config.log 'enable-fish' "config.log tells how it was called"

refused sanitizers "--without-confinement alone is refused" \
	--without-confinement
refused absolute "a relative prefix is refused" --prefix=relative
refused 'apt-get install.*libevent-dev.*libsqlite3-dev' \
	"missing libraries are named, all at once" \
	PKG_CONFIG_LIBDIR=/nonexistent

echo "1..$run"
[ $failed -eq 0 ]
