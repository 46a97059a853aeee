#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What has to be seen on a real GPU, in stages, each a few minutes at most:
#
#   check_gpu.sh [--out DIR] [--emulated] [STAGE...]
#
#   card       which card, driver and module; ends the run when there is none
#   twins      inputs and outputs of every intrinsic, recorded (tests/twins)
#   kernels    the tests of kernels (tests/kernels), references in double
#   jit        the same from PTX, which the driver compiles (CUDA_FORCE_PTX_JIT=1)
#   plain      the same with the module of compute_75 (ensod-cuda-75.so) and the kernels that cards without
#              bf16 get
#   library    fp32 products by cuBLASLt where it is found, as batch_invariant = yes has them (in halves it rounds
#              before an activation: models and parity see to those)
#   models     the bundled models over HTTP against the processor (check_cuda.py, parity.py)
#   sanitizer  kernels under compute-sanitizer, where it starts
#
# All but sanitizer when none is named. One card proves three paths: its own code, PTX, and the plain
# kernels. Paths are those of a build folder (top_builddir, top_srcdir); a bundle (make gpu-bundle) has the
# same. Each stage writes DIR/STAGE.log as it goes and a line to DIR/summary; DIR is gpu-results in the
# build folder unless it is named. --emulated rehearses all of it without a card.
set -u
source_dir=$(cd "${top_srcdir:-$(dirname "$0")/../..}" && pwd)
build=$(cd "${top_builddir:-$source_dir/build}" && pwd)
module=$build/kernels/cuda/ensod-cuda.so
plain=$build/kernels/cuda/ensod-cuda-75.so
out=$build/gpu-results
emulated=
stages=()
while [ $# -gt 0 ]; do
    case $1 in
    --out) out=$2; shift ;;
    --emulated) emulated=yes ;;
    -*) sed -n '3,24s/^# \{0,1\}//p' "$0"; exit 2 ;;
    *) stages+=("$1") ;;
    esac
    shift
done
[ ${#stages[@]} -gt 0 ] || stages=(card twins kernels library jit plain models)
if [ -n "$emulated" ]; then
    module=$build/tests/cuda_emulation/ensod-cuda-emulated.so
    plain=$module
fi
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
export CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-5} ENSOD_TEST_PATIENCE=${ENSOD_TEST_PATIENCE:-120}
export top_srcdir=$source_dir top_builddir=$build
status=0

# Those of one node each; check_team knows the processor alone.
kernel_tests() {
    local path
    for path in "$build"/tests/kernels/check_*; do
        [ -x "$path" ] && [ -f "$path" ] && [ "${path##*/}" != check_team ] &&
            case $path in *.sh | *.py | *.o | *.log | *.trs) ;; *) printf '%s\n' "$path" ;; esac
    done
}

# run_kernels MODULE [PATTERN]: every test program (whose name matches) over a module. All tests of a program in
# one process, over one opened card: a process for each would spend the time on making contexts and, from PTX, on
# compiling the same again.
run_kernels() {
    local over=$1 only=${2:-check_} path said n f e checks=0 bad=0
    while read -r path; do
        [[ ${path##*/} =~ ^($only) ]] || continue
        said=$(CK_FORK=no ENSO_TEST_KEEP_DEVICE=1 ENSO_TEST_BACKEND=$over timeout 400 "$path" 2>&1) || {
            bad=$((bad + 1))
            # A card that is lost fails all that comes behind: which test it was shows in a process for each.
            ! grep -q 'stays down' <<<"$said" || said=$(ENSO_TEST_BACKEND=$over timeout 400 "$path" 2>&1)
            printf '%s\n' "$said" | tail -n 60
        }
        read -r n f e < <(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' <<<"$said" | tail -n 1) ||
            { printf '%s: no count\n' "${path##*/}"; bad=$((bad + 1)); continue; }
        printf '%-24s %5d checks %3d failures %3d errors\n' "${path##*/}" "$n" "$f" "$e"
        checks=$((checks + n))
    done < <(kernel_tests)
    printf '%d checks, %d programs with failures\n' "$checks" "$bad"
    [ "$bad" -eq 0 ] && [ "$checks" -gt 0 ]
}

# What the driver compiles is compiled in this run, but once and not again by every program.
with_own_cache() {
    local cache rc
    cache=$(mktemp -d) || return 1
    CUDA_CACHE_PATH=$cache CUDA_CACHE_MAXSIZE=1073741824 CK_TIMEOUT_MULTIPLIER=$((4 * CK_TIMEOUT_MULTIPLIER)) "$@"
    rc=$?
    rm -rf "$cache"
    return $rc
}

card() {
    [ -r "$module" ] || { echo "there is no $module; make it where nvcc is found"; return 1; }
    [ -n "$emulated" ] || nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv ||
        { echo "nvidia-smi does not work: there is no GPU here"; return 1; }
    ENSOD_CUDA_MODULE=$module "$build/ensod" --device cuda:0 --check "$source_dir/models/intents"
}

twins() {
    # The one without -cuda answers by the emulation, wherever it runs.
    local record=$build/tests/twins/record
    [ -n "$emulated" ] || record=$record-cuda
    [ -x "$record" ] || { echo "SKIP: $record is not built"; return 77; }
    "$record" "$out/twins"
}

plain() {
    [ -r "$plain" ] || { echo "SKIP: there is no $plain (--with-cuda-arch=75 in a folder of its own)"; return 77; }
    local card=${emulated:+T4}
    ENSO_CUDA_ARCHITECTURE=75 ENSO_CUDA_EMULATED=${card:-A100} with_own_cache run_kernels "$plain"
}

models() {
    local bad=0
    # Empty: check_cuda.py takes the emulated one.
    ENSO_TEST_MODULE=$([ -n "$emulated" ] || echo "$module") \
        python3 "$source_dir/tests/end_to_end/check_cuda.py" || bad=1
    python3 "$source_dir/tests/gpu/parity.py" --module "$module" ${emulated:+--quick} --json "$out/parity.json" || bad=1
    return "$bad"
}

sanitizer() {
    local kind bad=0
    command -v compute-sanitizer >/dev/null || { echo "SKIP: compute-sanitizer is not here"; return 77; }
    for kind in memcheck racecheck synccheck; do
        echo "== $kind"
        # One test program in one process; its slow cases are left out by the time limit of the stage.
        CK_FORK=no CK_DEFAULT_TIMEOUT=0 ENSO_TEST_KEEP_DEVICE=1 ENSO_TEST_BACKEND=$module timeout 150 \
            compute-sanitizer --tool "$kind" --error-exitcode 99 "$build/tests/kernels/check_fused" >"$out/sanitizer-$kind.log" 2>&1
        case $? in
        0) echo "nothing found" ;;
        124) echo "not through in 150 s" ;;
        *) bad=1; tail -n 30 "$out/sanitizer-$kind.log" ;;
        esac
    done
    return "$bad"
}

run_stage() {
    case $1 in
    card) card ;;
    twins) twins ;;
    kernels) run_kernels "$module" ;;
    jit) CUDA_FORCE_PTX_JIT=1 with_own_cache run_kernels "$module" ;;
    plain) plain ;;
    library) ENSO_TEST_CUBLASLT='' ENSO_TEST_BATCH_INVARIANT=1 run_kernels "$module" 'check_fused|check_network' ;;
    models) models ;;
    sanitizer) sanitizer ;;
    *) echo "check_gpu.sh: there is no stage '$1'; --help names them"; return 2 ;;
    esac
}

for stage in "${stages[@]}"; do
    began=$(date +%s)
    echo "=== $stage"
    run_stage "$stage" >"$out/$stage.log" 2>&1
    rc=$?
    case $rc in 0) word=passed ;; 77) word=skipped ;; *) word=FAILED status=1 ;; esac
    tail -n 25 "$out/$stage.log"
    printf '%-10s %-8s %4d s  %s\n' "$stage" $word $(($(date +%s) - began)) "$(tail -n 1 "$out/$stage.log")" |
        tee -a "$out/summary"
    [ "$stage" != card ] || [ $rc -eq 0 ] || exit 1
done
exit $status
