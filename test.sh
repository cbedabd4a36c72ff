#!/bin/sh
# Installs what is missing, builds, runs all tests: as they are, and again with the address and undefined-behaviour
# sanitizers; the threaded parts with the thread sanitizer. The last line counts them.
cd "$(dirname "$0")" || exit 1
more="libcmocka-dev python3 mawk iproute2 clang-format g++ util-linux mount e2fsprogs procps tmux"
. ./setup.sh
failed_builds=0
build() { # folder, meson options…
	folder=$1
	shift
	echo "building into $folder/"
	[ -f "$folder/build.ninja" ] || quietly "$folder.log" meson setup "$folder" "$@" || return 1
	quietly "$folder.log" ninja -C "$folder"
}
build build-asan -Db_sanitize=address,undefined -Db_lundef=false || failed_builds=$((failed_builds + 1))
build build-tsan -Db_sanitize=thread -Db_lundef=false || failed_builds=$((failed_builds + 1))
meson test -C build --print-errorlogs --no-rebuild
meson test -C build-asan --print-errorlogs --no-rebuild --no-suite tidy --no-suite chaos -t 4
meson test -C build-tsan --print-errorlogs --no-rebuild --suite threads -t 4
python3 tests/count.py "$failed_builds" build build-asan build-tsan
