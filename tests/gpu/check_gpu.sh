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
#   models     the bundled models over HTTP against the processor (check_cuda.py, parity.py), and the golden
#              models of tests/engine/model (check_golden.py)
#   ceilings   what the card can do, by PyTorch (bench/gpu/ceilings.py)
#   steps      each kernel against what was predicted of it (bench/gpu/steps.py)
#   serve      requests a second and latency over HTTP (bench/gpu/serve.py)
#   sanitizer  kernels under compute-sanitizer, where it starts
#   peers      the engine against PyTorch (bench/gpu/peers.py)
#
# All but sanitizer and peers when none is named. One card proves three paths: its own code, PTX, and the
# plain kernels. Paths are those of a build folder (top_builddir, top_srcdir); a bundle (make gpu-bundle) has
# the same. Each stage has $ENSO_GPU_STAGE_SECONDS (510), writes DIR/STAGE.log as it goes and a line to
# DIR/summary; DIR is gpu-results in the build folder unless it is named. Where $ENSO_PYTHON (python3) has
# PyTorch, its cuBLASLt is found. --emulated rehearses all of it without a card; $ENSO_GPU_TESTS, an
# expression, names some of the programs of tests alone.
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
    -*) sed -n '3,35s/^# \{0,1\}//p' "$0"; exit 2 ;;
    *) stages+=("$1") ;;
    esac
    shift
done
[ ${#stages[@]} -gt 0 ] || stages=(card twins kernels library jit plain models ceilings steps serve)
if [ -n "$emulated" ]; then
    module=$build/tests/cuda_emulation/ensod-cuda-emulated.so
    plain=$module
fi
# what a bundle has of the data sets
[ -n "${ENSO_SHARED:-}" ] || [ ! -d "$source_dir/shared/data" ] || export ENSO_SHARED=$source_dir/shared
unset NVIDIA_TF32_OVERRIDE # float32 is to be float32
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
export CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-5} ENSOD_TEST_PATIENCE=${ENSOD_TEST_PATIENCE:-120}
export top_srcdir=$source_dir top_builddir=$build
status=0

# left [MOST]: seconds that what the stage starts now may take, for timeout.
left() {
    local n=$((deadline - SECONDS))
    [ "$n" -le "${1:-$n}" ] || n=$1
    printf '%d\n' $((n > 1 ? n : 1))
}

# python SCRIPT [ARGUMENT...]: with the time that the stage has left.
python() {
    timeout "$(left)" "${ENSO_PYTHON:-python3}" "$source_dir/$1" "${@:2}"
    local rc=$?
    [ $rc -ne 124 ] || echo "${1##*/}: stopped for time; what it wrote until then stands"
    return $rc
}

# PyTorch's cuBLASLt where ensod finds it, in a folder that holds nothing else.
find_library() {
    local path
    [ -z "$emulated" ] || return 0
    if ! ls "$out"/lib/libcublasLt.so.* >/dev/null 2>&1; then
        path=$(timeout 60 "${ENSO_PYTHON:-python3}" "$source_dir/bench/gpu/cublaslt.py" 2>/dev/null) || return 0
        mkdir -p "$out/lib" && ln -sf "$path" "$out/lib/$(basename "$path" | grep -o '^libcublasLt\.so\.[0-9]*')"
    fi
    case :${LD_LIBRARY_PATH:-}: in *":$out/lib:"*) ;; *) export LD_LIBRARY_PATH=$out/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} ;; esac
}

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
        [[ ${path##*/} =~ ^($only) && ${path##*/} =~ ${ENSO_GPU_TESTS:-} ]] || continue
        [ "$(left)" -gt 5 ] || { printf '%s: not begun, the stage has no time left\n' "${path##*/}"; bad=$((bad + 1)); continue; }
        said=$(CK_FORK=no ENSO_TEST_KEEP_DEVICE=1 ENSO_TEST_BACKEND=$over timeout "$(left 400)" "$path" 2>&1) || {
            [ $? -ne 124 ] || said+=$'\n'"${path##*/}: stopped for time"
            bad=$((bad + 1))
            # A card that is lost fails all that comes behind: which test it was shows in a process for each.
            ! grep -q 'stays down' <<<"$said" || said=$(ENSO_TEST_BACKEND=$over timeout "$(left 400)" "$path" 2>&1)
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

# fp32 products by the library, where one is found.
library() {
    local path='' told
    find_library
    [ -z "$emulated" ] || path=$build/tests/cuda_emulation/libcublasLt-emulated.so
    told=$(echo '{"device": true}' | ENSO_TEST_CUBLASLT=$path timeout "$(left 60)" "$build/tests/engine/model/run_cli" \
        --module "$module" "$source_dir/models/intents")
    echo "$told"
    [[ $told == *cuBLASLt* ]] || { echo "SKIP: no cuBLASLt of version 12 or 13 is found"; return 77; }
    ENSO_TEST_CUBLASLT=$path ENSO_TEST_BATCH_INVARIANT=1 run_kernels "$module" 'check_fused|check_network'
}

models() {
    local bad=0
    find_library
    # Empty: these take the emulated one.
    export ENSO_TEST_MODULE=
    [ -n "$emulated" ] || ENSO_TEST_MODULE=$module
    python tests/end_to_end/check_cuda.py || bad=1
    python tests/gpu/parity.py --module "$module" ${emulated:+--quick} --json "$out/parity.json" || bad=1
    python tests/cuda_emulation/check_golden.py || bad=1
    return "$bad"
}

# bench SCRIPT [ARGUMENT...]
bench() {
    find_library
    python "bench/gpu/$1" --out "$out" ${emulated:+--rehearse} "${@:2}"
}

sanitizer() {
    local kind name found bad=0 ran=0
    command -v compute-sanitizer >/dev/null || { echo "SKIP: compute-sanitizer is not here"; return 77; }
    for kind in memcheck racecheck; do
        for name in check_fused check_half_products check_half_ragged check_gather check_top_k; do
            [ "$(left)" -gt 20 ] || { echo "$kind $name: not begun, the stage has no time left"; continue; }
            # All tests of a program in one process; slow ones are cut off by the time.
            CK_FORK=no CK_DEFAULT_TIMEOUT=0 ENSO_TEST_KEEP_DEVICE=1 ENSO_TEST_BACKEND=$module timeout "$(left 60)" \
                compute-sanitizer --tool "$kind" --error-exitcode 99 "$build/tests/kernels/$name" \
                >"$out/sanitizer-$kind-$name.log" 2>&1
            case $? in
            0) echo "$kind $name: nothing found"; ran=$((ran + 1)) ;;
            124)
                found=$(grep -c '^========= .*\(Invalid\|Race\|hazard\)' "$out/sanitizer-$kind-$name.log")
                echo "$kind $name: not through in time, $found findings until then"
                [ "$found" -eq 0 ] || bad=1
                ;;
            *) bad=1; echo "$kind $name: FAILED"; tail -n 30 "$out/sanitizer-$kind-$name.log" ;;
            esac
        done
    done
    echo "$ran of 10 runs went through"
    [ "$bad" -eq 0 ] || return 1
    [ "$ran" -gt 0 ] || { echo "SKIP: no run came to its end in time"; return 77; }
}

run_stage() {
    case $1 in
    card) card ;;
    twins) twins ;;
    kernels) run_kernels "$module" ;;
    jit) CUDA_FORCE_PTX_JIT=1 with_own_cache run_kernels "$module" ;;
    plain) plain ;;
    library) library ;;
    models) models ;;
    ceilings) bench ceilings.py ;;
    steps) bench steps.py --build "$build" --module "$module" ;;
    serve) bench serve.py --build "$build" --module "$module" ;;
    peers) bench peers.py --build "$build" --module "$module" ${emulated:+--rounds 1} ;;
    sanitizer) sanitizer ;;
    *) echo "check_gpu.sh: there is no stage '$1'; --help names them"; return 2 ;;
    esac
}

for stage in "${stages[@]}"; do
    began=$SECONDS
    deadline=$((SECONDS + ${ENSO_GPU_STAGE_SECONDS:-510}))
    echo "=== $stage"
    run_stage "$stage" >"$out/$stage.log" 2>&1
    rc=$?
    case $rc in 0) word=passed ;; 77) word=skipped ;; *) word=FAILED status=1 ;; esac
    tail -n 25 "$out/$stage.log"
    printf '%-10s %-8s %4d s  %s\n' "$stage" $word $((SECONDS - began)) "$(tail -n 1 "$out/$stage.log")" |
        tee -a "$out/summary"
    [ "$stage" != card ] || [ $rc -eq 0 ] || exit 1
done
exit $status
