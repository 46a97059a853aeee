#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# make_bundle.sh SOURCE BUILD: what `make gpu-bundle` does. Writes BUILD/ensod-gpu.tar.xz for a machine with a GPU
# and nothing else that ensod needs: the sources, and below build/ the programs, the module for cards of today
# (kernels/cuda/ensod-cuda.so) and for compute_75 alone (ensod-cuda-75.so), the tests of kernels, and our shared
# libraries, found by $ORIGIN. No CUDA library is inside. There:
#
#   tar xf ensod-gpu.tar.xz && cd ensod-gpu && tests/gpu/check_gpu.sh --out results card twins kernels
#
# and, when the programs do not run there (an older C library), rebuild.sh in the same folder. Of the data sets, where
# this machine has them ($ENSO_SHARED, else ../shared), the test halves that accuracy is judged by: not for shipping.
# $ENSO_BUNDLE_ARCH: architectures of the module (80,90). Folders configured before spare compiling anew:
# $ENSO_BUNDLE_PROGRAMS that of the programs, $ENSO_BUNDLE_CUDA that of the module, made with PTX of 80 or later.
# Needs nvcc, patchelf, git, a C++ compiler. check_bundle.sh proves what comes out.
set -eu
source_dir=$(cd "$1" && pwd)
build=$(cd "$2" && pwd)
limit=$((60 << 20))
work=$build/gpu-bundle
top=$work/ensod-gpu
command -v patchelf >/dev/null || { echo "make_bundle.sh: install patchelf (apt-get install patchelf)" >&2; exit 1; }

# configured DIR ARCH: a build folder of its own, with optimised programs and no sanitizer.
configured() {
    mkdir -p "$work/$1"
    (cd "$work/$1" && "$source_dir/configure" --with-cuda=yes --with-cuda-arch="$2" CFLAGS='-O2 -g0' >configure.out 2>&1) ||
        { tail -n 5 "$work/$1/configure.out" >&2; exit 1; }
}

programs_of_tests() {
    (cd "$source_dir" && sed -n 's/^check_PROGRAMS += *\(tests\/\(kernels\|twins\|engine\/model\)\/.*\)/\1/p' \
        tests/kernels/local.mk tests/twins/local.mk tests/engine/model/local.mk 2>/dev/null)
}

rm -rf "$top"
mkdir -p "$top/build/lib"
main=$work/main
if [ -z "${ENSO_BUNDLE_PROGRAMS:-}" ] || [ -z "${ENSO_BUNDLE_CUDA:-}" ]; then
    configured main "${ENSO_BUNDLE_ARCH:-80,90}"
fi
programs=$(cd "${ENSO_BUNDLE_PROGRAMS:-$main}" && pwd)
cuda=$(cd "${ENSO_BUNDLE_CUDA:-$main}" && pwd)
grep -q '^CUDA_CODE = .*code=compute_' "$cuda/Makefile" || {
    echo "make_bundle.sh: $cuda is configured without PTX, which the stage jit wants (--with-cuda-arch=80,90)" >&2
    exit 1
}
configured plain 75
mapfile -t tests < <(programs_of_tests | tr ' ' '\n')
# for a rehearsal there
emulation=(tests/cuda_emulation/{ensod-cuda-emulated,libcublasLt-emulated,libfake-nvml}.so)
jobs=$(nproc)
# `all` first, and by itself: what is generated is made by it, and two goals of automake's would build the same
# objects at the same time.
make -C "$programs" -s -j"$jobs" all
make -C "$programs" -s -j"$jobs" "${tests[@]}" "${emulation[@]}"
make -C "$cuda" -s -j"$jobs" kernels/cuda/ensod-cuda.so tests/twins/record-cuda
make -C "$work/plain" -s -j"$jobs" kernels/cuda/ensod-cuda.so

(cd "$source_dir" && git ls-files -z | tar -c --null -T -) | tar -x -C "$top"
data=${ENSO_SHARED:-$source_dir/../shared}/data
for file in text/banking77/test-even-rows.csv cifar10/test-5000.tar.gz \
    fashion-mnist/t10k-first5000-{images-idx3,labels-idx1}-ubyte.gz; do
    [ ! -r "$data/$file" ] || install -D -m 644 "$data/$file" "$top/shared/data/$file"
done
for file in ensod enso "${tests[@]}" "${emulation[@]}"; do
    install -D -s "$programs/$file" "$top/build/$file"
done
for file in kernels/cuda/ensod-cuda.so tests/twins/record-cuda; do
    install -D -s "$cuda/$file" "$top/build/$file"
done
install -s "$work/plain/kernels/cuda/ensod-cuda.so" "$top/build/kernels/cuda/ensod-cuda-75.so"

# Their shared libraries, but for the C library's, which any system has and which must all be its own: its parts
# know one another's insides.
find "$top/build" -type f -exec ldd {} + 2>/dev/null | sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p' | sort -u |
    while read -r library; do
        case ${library##*/} in
        libc.so.* | libm.so.* | libmvec.so.* | libpthread.so.* | libdl.so.* | librt.so.* | libresolv.so.* | \
            libutil.so.* | libanl.so.* | ld-linux*) ;;
        *) install -m 644 "$library" "$top/build/lib/" ;;
        esac
    done
find "$top/build" -type f ! -path '*/lib/*' | while read -r program; do
    up=$(realpath --relative-to="$(dirname "$program")" "$top/build/lib")
    patchelf --set-rpath "\$ORIGIN/$up" "$program"
done
find "$top/build/lib" -type f | while read -r library; do
    patchelf --set-rpath "\$ORIGIN" "$library"
done
if find "$top/build/lib" | grep -qE '/lib(cuda|cublas|cudnn|nv|nccl)'; then
    echo "make_bundle.sh: a CUDA library is in the bundle" >&2
    exit 1
fi

sed "s|@PROGRAMS@|${tests[*]} ${emulation[*]} tests/twins/record-cuda|" >"$top/rebuild.sh" <<'EOT'
#!/bin/sh
# Makes build/ again on this machine, which then needs what quickstart installs, the tests' packages too, and
# nvcc. -n: finds out whether it could.
set -e
dry=${1:-}
cd "$(dirname "$0")"
autoreconf -fi
# Not native: such a module holds no PTX, which the stage jit wants.
arch=${ENSO_BUNDLE_ARCH:-80,90}
for folder in 75 all; do
    rm -rf "build-$folder"
    mkdir "build-$folder"
    (cd "build-$folder" && ../configure --with-cuda=yes --with-cuda-arch="$([ $folder = 75 ] && echo 75 || echo "$arch")")
    # shellcheck disable=SC2086 # an option, or nothing
    make $dry -C "build-$folder" -j"$(nproc)" kernels/cuda/ensod-cuda.so
done
for goals in all '@PROGRAMS@'; do
    # shellcheck disable=SC2086
    make $dry -C build-all -j"$(nproc)" $goals
done
[ -z "$dry" ] || exit 0
rm -rf build
mv build-all build
cp build-75/kernels/cuda/ensod-cuda.so build/kernels/cuda/ensod-cuda-75.so
EOT
chmod +x "$top/rebuild.sh"
XZ_OPT='-6 -T0' tar -C "$work" -cJf "$build/ensod-gpu.tar.xz" ensod-gpu
size=$(stat -c %s "$build/ensod-gpu.tar.xz")
echo "$build/ensod-gpu.tar.xz: $((size >> 20)) MiB"
[ "$size" -le "$limit" ] || { echo "make_bundle.sh: that is more than $((limit >> 20)) MiB" >&2; exit 1; }
