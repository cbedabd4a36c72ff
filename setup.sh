#!/bin/sh
# Sourced by demo.sh and test.sh: installs what is missing (Debian, apt), $more too, and builds into build/.
packages="meson ninja-build pkg-config gcc libc6-dev libzmq3-dev libczmq-dev libuv1-dev libgcrypt20-dev libyaml-dev libsqlite3-dev
libprotobuf-c-dev protobuf-c-compiler libxxhash-dev libjansson-dev liblz4-dev libzstd-dev libpcre2-dev uthash-dev $more"
missing=
for p in $packages; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
# What a command prints goes to a file, and is shown only if the command fails.
quietly() { # log, command…
	log=$1
	shift
	"$@" >"$log" 2>&1 || { cat "$log" >&2; return 1; }
	rm -f "$log"
}
if [ -n "$missing" ]; then
	sudo=
	if [ "$(id -u)" != 0 ]; then
		sudo=sudo
		command -v sudo >/dev/null || { printf '%s\n' "packages are missing, and there is no sudo; as root:" "  apt-get install$missing" >&2; exit 1; }
	fi
	echo "installing with apt (what it says goes to apt.log):$missing" >&2
	quietly apt.log $sudo apt-get update -qq &&
		quietly apt.log $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing ||
		{ printf '%s\n' "cannot install; try it yourself:" "  ${sudo:+sudo }apt-get install$missing" >&2; exit 1; }
fi
# What is there now, a build made without it did not find.
[ -z "$missing" ] || [ ! -d build ] || quietly build.log meson setup --reconfigure build || exit 1
[ -f build/build.ninja ] || { echo "building into build/" >&2; quietly build.log meson setup build; } || { rm -rf build; exit 1; }
quietly build.log ninja -C build || exit 1
