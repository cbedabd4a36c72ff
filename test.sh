#!/bin/sh
# Installs what is missing, builds, runs all tests: as they are, and again with the address and undefined-behaviour
# sanitizers; the threaded parts with the thread sanitizer. The last line counts them.
cd "$(dirname "$0")" || exit 1
more="libcmocka-dev python3 mawk iproute2 clang-format g++ util-linux"
. ./setup.sh
failed_builds=0
build() { # folder, meson options…
	folder=$1
	shift
	[ -d "$folder" ] || meson setup "$folder" "$@" >"$folder.log" 2>&1 || { cat "$folder.log"; return 1; }
	ninja -C "$folder" >"$folder.log" 2>&1 || { cat "$folder.log"; return 1; }
	rm -f "$folder.log"
}
build build-asan -Db_sanitize=address,undefined -Db_lundef=false || failed_builds=$((failed_builds + 1))
build build-tsan -Db_sanitize=thread -Db_lundef=false || failed_builds=$((failed_builds + 1))
meson test -C build --print-errorlogs --no-rebuild
meson test -C build-asan --print-errorlogs --no-rebuild --no-suite tidy --no-suite chaos -t 4
meson test -C build-tsan --print-errorlogs --no-rebuild --suite threads -t 4
python3 tests/count.py "$failed_builds" build build-asan build-tsan
