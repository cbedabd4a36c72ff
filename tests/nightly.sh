#!/bin/sh
# The longer checks: each fuzz target for a minute, the end-to-end tests ten times over, 10,000 seeds of the simulator with every
# situation met, the story of 1,800 machines, every crash point, 5,000 runs of standard vertices beside their model, outputs of gigabytes, 300 real faults over 10^8 records, and planted bugs. Needs clang with
# libFuzzer, and root for network namespaces.
cd "$(dirname "$0")/.." || exit 1
more="clang libclang-rt-14-dev libcmocka-dev python3"
. ./setup.sh
[ -d build-fuzz ] || CC=clang meson setup build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false >/dev/null || exit 1
ninja -C build-fuzz tests/fuzz_graph_file tests/fuzz_envelope tests/fuzz_data tests/fuzz_index tests/fuzz_spec >/dev/null || exit 1
failed=0 passed=0
for target in graph_file envelope data index spec; do
	mkdir -p "build-fuzz/corpus/$target"
	[ $target = graph_file ] && cp graphs/*/*.yaml build-fuzz/corpus/graph_file/
	if build-fuzz/tests/fuzz_$target -max_total_time="${FUZZ_SECONDS:-60}" -print_final_stats=1 -artifact_prefix=build-fuzz/ \
		"build-fuzz/corpus/$target" >build-fuzz/$target.log 2>&1; then
		passed=$((passed + 1))
		grep -E 'number_of_executed_units' build-fuzz/$target.log | sed "s/^/$target: /"
	else
		failed=$((failed + 1))
		tail -20 build-fuzz/$target.log
	fi
done
check() { # name, command…
	name=$1
	shift
	if "$@" >build/nightly.log 2>&1; then
		passed=$((passed + 1))
		echo "$name: passed"
	else
		failed=$((failed + 1))
		echo "$name: FAILED"
	fi
	grep -E '^#|caught' build/nightly.log | tail -45
}
check "seeds" build/tests/dagrun-sim --seed "${SEED:-$(date +%s)}" --seeds 10000 --all-probes
check "1,800 machines" build/tests/dagrun-sim --nodes 1800 --kill 1600 --vertices 100000 --seeds 20
check "standard vertices" env MODEL_SEED="$(date +%s)" MODEL_RUNS=5000 python3 tests/e2e/test_model.py
check "large outputs" env DAGRUN_BUILD=build python3 tests/e2e/test_large.py
check "crash points" build/tests/dagrun-sim --crash-points
check "chaos" python3 tests/chaos/chaos.py --build build --faults 300 --nodes 16 --records 4000000 --every 0.9 --patience 900 \
	--least kill-daemon=60,stop-daemon=40,partition=40,kill-manager=60,kill-nameserver=20,fill-disk=20,damage=20,delete=10,one-way=10,cut=20 \
	--jobs 25
check "planted bugs" python3 tests/sabotage/sabotage.py
for i in 1 2 3 4 5 6 7 8 9 10; do
	for suite in graphs cluster resume; do
		if DAGRUN_BUILD=build python3 tests/e2e/test_$suite.py >build/e2e.log 2>&1; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			cat build/e2e.log
		fi
	done
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
