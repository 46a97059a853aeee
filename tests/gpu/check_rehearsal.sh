#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What is run on a card, rehearsed without one: some stages of check_gpu.sh over the emulated card, and
# bench/gpu/peers.py where PyTorch is. They must say when something is wrong, too. A minute at most.
set -u
source_dir=$(cd "${top_srcdir:-.}" && pwd)
build=$(cd "${top_builddir:-.}" && pwd)
# what somebody who works with a card may have in the environment
unset ENSO_PYTHON ENSO_GPU_STAGE_SECONDS ENSO_GPU_TESTS ENSO_GPU_STAGES ENSO_TEST_BACKEND ENSO_TEST_MODULE \
    ENSO_TEST_CUBLASLT ENSO_CUDA_EMULATED ENSO_CUDA_EMULATED_FAIL ENSO_CUDA_EMULATED_DEVICES
export top_srcdir=$source_dir top_builddir=$build PYTHONDONTWRITEBYTECODE=1
if [ -n "${ENSOD_TEST_SANITIZED:-}" ]; then
    echo "SKIP: instrumented programs take too long on an emulated card"
    exit 77
fi
if [ ! -e "$build/tests/cuda_emulation/ensod-cuda-emulated.so" ]; then
    echo "SKIP: the emulated module was not built (it needs a C++ compiler)"
    exit 77
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/gpu/checks.sh
. "$source_dir/tests/gpu/checks.sh"

# stages FOLDER STAGE...: with one small program of tests.
stages() {
    ENSO_GPU_TESTS=${only:-check_top_k} bash "$source_dir/tests/gpu/check_gpu.sh" --emulated --out "$work/$1" "${@:2}"
}

# has FILE WORDS COUNT
has() {
    [ "$(grep -c -- "$2" "$work/$1")" -eq "$3" ]
}

check "stages" 0 stages good card kernels steps serve
check "four stages passed" 0 has good/summary ' passed ' 4
check "steps were compared" 0 has good/steps.json '"kernel": "0 attention"' 1
only=no_such check "a stage in which nothing ran" 1 stages empty kernels
check "a failure is told" 0 has empty/summary ' FAILED ' 1
check "a stage without time" 1 env ENSO_GPU_STAGE_SECONDS=1 ENSO_GPU_TESTS=check_top_k \
    bash "$source_dir/tests/gpu/check_gpu.sh" --emulated --out "$work/late" kernels
check "a stage of no such name" 1 stages none no_such

# What parity.py thinks of answers that are made up.
judged() {
    python3 - "$source_dir/tests/gpu" <<'EOT'
import sys
sys.path.insert(0, sys.argv[1])
import parity
names, cpu = ["a", "b", "c"], [[4.0, 1.0, 0.0]] * 400
near, far = [[4.01, 1.0, 0.0]] + cpu[1:], [[1.0, 4.0, 0.0]] + cpu[1:]
for gpu, truth, dtype, words in ((near, "a", "bf16", None), (near, "a", "fp32", "largest difference"),
                                 (far, "a", "bf16", "lie apart"), (far, "a", "bf16", "accuracy"),
                                 ([[float("nan")] * 3] + cpu[1:], None, "bf16", "largest difference")):
    found = parity.compare_labels(gpu, cpu, [truth] * 400, names, dtype)
    assert (words is None and not found["off"]) or any(words in o for o in found["off"]), (words, found)
    assert ("NOT checked" in parity.sentence("m", dtype, found)) == (truth is None)
# numbers all within the tolerance, and an arg-max that changes sides; then a vector that has turned
vector = [1.0, 0.999] + [0.01] * 98
assert not parity.compare_vectors([[0.999, 1.0] + [0.01] * 98], [vector], "bf16")["off"]
turned = parity.compare_vectors([[x + 0.019 * (-1) ** i for i, x in enumerate([0.1] * 99 + [1.0])]],
                                [[0.1] * 99 + [1.0]], "bf16")
assert turned["worst"] < 2e-2 and "cosine" in turned["off"][0], turned
EOT
}
check "parity judges" 0 judged

python=
for candidate in python3 /usr/bin/python3; do
    [ -n "$python" ] || ! "$candidate" -c 'import torch' 2>/dev/null || python=$candidate
done
peers() {
    "$python" "$source_dir/bench/gpu/peers.py" --rehearse --rounds 1 --build "$build" --out "$work" "$@"
}
if [ -n "$python" ]; then
    check "ceilings" 0 env ENSO_PYTHON="$python" bash "$source_dir/tests/gpu/check_gpu.sh" --emulated --out "$work" ceilings
    check "ceilings: written" 0 has ceilings.json '"matmul_flops"' 1
    check "peers" 0 peers --only tiny,fashion,ResNet
    check "peers: all cases" 0 has peers.json '"of_matmul_rate"\|"deviates": \[\]' 6
    check "peers: one model that cannot run takes no other with it" 1 peers --only tiny,fashion --module "$work/none.so"
    check "peers: the reason is written" 0 has peers.json 'none.so\|run_cli' 2
    check "peers: the other is, too" 0 has peers.json '"deviates": \[\]' 1
else
    echo "SKIP: bench/gpu/peers.py is not rehearsed, there is no PyTorch"
fi
echo "$((100 * (n - failures) / n))%: Checks: $n, Failures: $failures, Errors: 0"
[ "$failures" -eq 0 ]
