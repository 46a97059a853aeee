#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The tests of kernels (tests/kernels), with their references in double, over the CUDA kernels on each
# emulated card: shared memory, block and grid limits differ between them. Sanitized builds take one
# card, since they look for what is the same on all, and ThreadSanitizer's some of the tests.
# ENSO_TEST_CARDS names others. As many at a time as there are cores: one after the other they would be
# the longest test by far.
set -u
# Each test is a process that ThreadSanitizer would let wait a second at its end.
export TSAN_OPTIONS="atexit_sleep_ms=0 ${TSAN_OPTIONS:-}"
# LeakSanitizer's own thread faults now and then in forked tests of many fibers; leaks of bound nodes are
# looked for by check_module.
export ASAN_OPTIONS="detect_leaks=0 ${ASAN_OPTIONS:-}"
build=$(cd "${top_builddir:-.}" && pwd)
module=$build/tests/cuda_emulation/ensod-cuda-emulated.so
[ -r "$module" ] || { echo "SKIP: $module was not built (it needs a C++ compiler)"; exit 77; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# one CARD NAME: its output and exit status go to $out.
# shellcheck disable=SC2317 # xargs calls it
one() {
    local file=$out/$1-$2
    ENSO_TEST_BACKEND=$module ENSO_CUDA_EMULATED=$1 "$build/tests/kernels/check_$2" >"$file" 2>&1
    echo $? >"$file.rc"
}
export -f one
export build module out

cards=${ENSOD_TEST_SANITIZED:+A100}
for card in ${ENSO_TEST_CARDS:-${cards:-T4 A100 L4 H100 B200 RTX50}}; do
    names='half_ragged half_products half half_rows elementwise move network fused types top_k gather pixels'
    # what no limit of a card bears on
    [ "$card" != A100 ] || names="$names corners move_corners network_corners threads invariance resize"
    [ "$card" != T4 ] || names="$names network_corners invariance resize" # its kernels are others
    # Races inside of kernels are check_kernel_races' matter; here, what their launching does.
    [ "${ENSOD_TEST_SANITIZED:-}" != thread ] || names='network move'
    for name in $names; do echo "$card $name"; done
done >"$out/list"
# shellcheck disable=SC2016 # the inner shell's
xargs -P "$(nproc)" -n 2 bash -c 'one "$0" "$1"' <"$out/list"

checks=0 failures=0 errors=0 status=0
while read -r card name; do
    file=$out/$card-$name
    [ "$(cat "$file.rc" 2>/dev/null)" = 0 ] || { status=1; echo "$name on $card:"; cat "$file"; }
    read -r n f e < <(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' "$file") ||
        { status=1; echo "$name on $card ended without a count"; continue; }
    checks=$((checks + n)) failures=$((failures + f)) errors=$((errors + e))
done <"$out/list"
echo "$((checks == 0 ? 0 : 100 * (checks - failures - errors) / checks))%: Checks: $checks, Failures: $failures, Errors: $errors"
exit $status
