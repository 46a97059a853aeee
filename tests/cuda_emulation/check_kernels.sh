#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The tests of kernels (tests/kernels), with their references in double, over the CUDA kernels on each
# emulated card: shared memory, block and grid limits differ between them. Sanitized builds take one
# card, since they look for what is the same on all. ENSO_TEST_CARDS names others.
set -u
# Each test is a process that ThreadSanitizer would let wait a second at its end.
export TSAN_OPTIONS="atexit_sleep_ms=0 ${TSAN_OPTIONS:-}"
build=${top_builddir:-.}
module=$(cd "$build" && pwd)/tests/cuda_emulation/ensod-cuda-emulated.so
[ -r "$module" ] || { echo "SKIP: $module was not built (it needs a C++ compiler)"; exit 77; }
checks=0 failures=0 errors=0 status=0
cards=${ENSOD_TEST_SANITIZED:+A100}
for card in ${ENSO_TEST_CARDS:-${cards:-T4 A100 L4 H100 B200 RTX50}}; do
    names='elementwise move network fused half half_ragged half_products types'
    # what no limit of a card bears on
    [ "$card" != A100 ] || names="$names corners network_corners threads invariance"
    for name in $names; do
        said=$(ENSO_TEST_BACKEND=$module ENSO_CUDA_EMULATED=$card "$build/tests/kernels/check_$name" 2>&1) ||
            { status=1; printf '%s on %s:\n%s\n' "$name" "$card" "$said"; }
        read -r n f e < <(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' <<<"$said") ||
            { status=1; echo "$name on $card ended without a count"; continue; }
        checks=$((checks + n)) failures=$((failures + f)) errors=$((errors + e))
    done
done
echo "$((checks == 0 ? 0 : 100 * (checks - failures - errors) / checks))%: Checks: $checks, Failures: $failures, Errors: $errors"
exit $status
