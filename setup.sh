#!/bin/sh
# Sourced by demo.sh and test.sh: installs what is missing (Debian, apt), $more too, and builds into build/.
packages="meson ninja-build pkg-config gcc libc6-dev libzmq3-dev libczmq-dev libuv1-dev libgcrypt20-dev libyaml-dev libsqlite3-dev
libprotobuf-c-dev protobuf-c-compiler libxxhash-dev libjansson-dev liblz4-dev libzstd-dev libpcre2-dev uthash-dev $more"
missing=
for p in $packages; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
if [ -n "$missing" ]; then
	echo "installing:$missing" >&2
	sudo=
	[ "$(id -u)" = 0 ] || sudo=sudo
	$sudo apt-get update -qq >&2 && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2 ||
		{ echo "cannot install:$missing" >&2; exit 1; }
fi
# What is there now, a build made without it did not find.
[ -z "$missing" ] || [ ! -d build ] || meson setup --reconfigure build >build.log 2>&1 || { cat build.log >&2; exit 1; }
[ -d build ] || meson setup build >build.log 2>&1 || { cat build.log >&2; rm -rf build; exit 1; }
ninja -C build >build.log 2>&1 || { cat build.log >&2; exit 1; }
rm -f build.log
