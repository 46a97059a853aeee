#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make gpu-bundle` makes, proven where no card is: check_bundle.sh [TARBALL] (a new one when none is named).
#
#   - 60 MiB at most, every source in it, unchanged, and rebuild.sh finds all that it would build from
#   - every program and library finds ours by $ORIGIN; nothing of CUDA's, nothing of the C library's is inside
#   - unpacked in a bare root, which holds a C library, a shell, coreutils and Python but none of ensod's
#     libraries, every command of docs/gpu-results.md runs over the emulated card and leaves what it found
#   - each of these is told when it is not so
#
# The root has namespaces of its own: what is mounted and what runs there ends with the script, however that ends;
# a killed one leaves a folder, bundle-check.*, in the build folder.
# Made by root on Debian; not by `make check`, as nvcc takes a minute for the module of compute_75 and for the other
# one several ($ENSO_BUNDLE_PROGRAMS and $ENSO_BUNDLE_CUDA, see make_bundle.sh, spare the rest).
set -u
source_dir=$(cd "${top_srcdir:-$(dirname "$0")/../..}" && pwd)
build=$(cd "${top_builddir:-$source_dir/build}" && pwd) || exit 1
skip() { echo "SKIP: $*"; exit 77; }
PATH=$PATH:/usr/local/cuda/bin command -v nvcc >/dev/null || skip "nvcc is not here, which makes the GPU modules"
[ "$(id -u)" = 0 ] || skip "only root can make a root of its own"
for tool in git patchelf readelf dpkg-query chroot setpriv unshare; do
    command -v "$tool" >/dev/null || skip "$tool is not here"
done
python=$(basename "$(readlink -f /usr/bin/python3)")
base_packages=(libc6 bash coreutils dash findutils grep sed "$python-minimal" "lib$python-minimal" "lib$python-stdlib")
dpkg-query -L "${base_packages[@]}" >/dev/null 2>&1 || skip "this is not Debian with a Python of its own"
unshare --mount --pid --fork --kill-child chroot / true 2>/dev/null || skip "namespaces and chroot are not allowed here"

work=$(mktemp -d "$build/bundle-check.XXXXXX") || exit 1
root=$work/root tree=$work/root/ensod-gpu inside=''
# shellcheck source=tests/gpu/checks.sh
. "$source_dir/tests/gpu/checks.sh"

# What runs in the root is killed with its first process; the last of its files may come a moment later.
cleanup() {
    [ -z "$inside" ] || kill -KILL "$inside" 2>/dev/null
    for _ in 1 2 3 4 5; do
        rm -rf "$work" 2>/dev/null && break
        sleep 0.2
    done
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# says WORDS COMMAND...: it fails, and these words are in what it says.
says() {
    local words=$1
    shift
    "$@" >"$work/said" 2>&1 && { echo "it did not fail"; return 1; }
    grep -q -- "$words" "$work/said" || { echo "it says nothing of '$words':"; cat "$work/said"; return 1; }
}

fits() {
    local size
    size=$(stat -c %s "$1") || return 1
    [ "$size" -le $(($2 << 20)) ] || { echo "$size bytes are more than $2 MiB"; return 1; }
}

# Every file that git knows is there with the same bytes.
sources_are_there() {
    (cd "$source_dir" && git ls-files -z | xargs -0 sha256sum) >"$work/sums" && [ -s "$work/sums" ] &&
        (cd "$tree" && sha256sum --quiet --check "$work/sums")
}

# It parses, and goes as far as one can go without compiling: autoreconf, configure, and make finds every source.
could_rebuild() {
    cp -a "$tree" "$work/again" && rm -rf "$work/again/build" && sh -n "$work/again/rebuild.sh" &&
        (cd "$work/again" && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL PATH="$PATH:/usr/local/cuda/bin" ./rebuild.sh -n)
    local rc=$?
    rm -rf "$work/again"
    return $rc
}

programs() {
    find "$tree/build" -type f -exec sh -c 'head -c 4 "$1" | grep -q ELF' _ {} \; -print
}

of_the_system='^(lib(c|m|mvec|pthread|dl|rt|resolv|util|anl)\.so\.[0-9]+|ld-linux.*\.so\.[0-9]+)$'
of_cuda='^lib(cuda|cublas|cudnn|cufft|curand|cusolver|cusparse|nv|nccl|npp).*\.so'

# What readelf says of one file: where it looks, what it needs.
look_at() {
    local file=$1 name=${1#"$tree"/} paths needed path library
    paths=$(readelf -d "$file" | sed -n 's/.*(\(RPATH\|RUNPATH\)).*\[\(.*\)\]$/\2/p')
    [ -n "$paths" ] || echo "$name: it has no RUNPATH"
    while read -r path; do
        [[ $path == "\$ORIGIN"* && $(realpath -m "${path/"\$ORIGIN"/"${file%/*}"}") = "$tree/build/lib" ]] ||
            echo "$name: it looks in $path"
    done < <(tr ':' '\n' <<<"$paths")
    needed=$(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p')
    for library in $needed; do
        [[ $library =~ $of_cuda ]] && echo "$name: it needs CUDA's $library"
        [[ $library =~ $of_the_system ]] || [ -f "$tree/build/lib/$library" ] || echo "$name: $library is not in lib/"
    done
}

# All of them; sentences about what is wrong.
is_of_a_piece() {
    local file name faults
    faults=$(programs | while read -r file; do
        name=${file##*/}
        look_at "$file"
        # ours stands in for CUDA's in tests
        [[ $name =~ $of_cuda && $file != */tests/cuda_emulation/*-emulated.so ]] && echo "CUDA's $name is inside"
        [[ $file == */lib/* && $name =~ $of_the_system ]] && echo "the C library's $name is inside"
    done)
    [ -z "$faults" ] || { echo "$faults"; return 1; }
    [ "$(programs | wc -l)" -gt 40 ] || { echo "these are not all"; return 1; }
}

# A root with what any Debian has, and Python. The libraries that these need stand there too, few of them the bundle's.
make_root() {
    local folder library
    mkdir -p "$root"/{dev,etc,proc,root,run,tmp,usr/{bin,sbin,lib,lib64},var/tmp} && chmod 1777 "$root"/{,var/}tmp
    for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
    dpkg-query -L "${base_packages[@]}" | grep -E '^/(usr/)?(s?bin|lib[0-9]*)/' | grep -v /gconv/ | sort -u |
        while read -r file; do
            [ -d "$file" ] || printf '%s\n' "${file#/}"
        done >"$work/base"
    tar -C / --no-recursion -c -T "$work/base" | tar -C "$root" -x || return 1
    ln -sf dash "$root/bin/sh"
    ln -sf "$python" "$root/bin/python3"
    while read -r library; do
        [ -e "$root$library" ] || install -D "$library" "$root$library" || return 1
    done < <(find "$root/usr/bin" -type f -exec ldd {} + 2>/dev/null | sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p' | sort -u)
    printf 'root:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n' >"$root/etc/passwd"
    echo '127.0.0.1 localhost' >"$root/etc/hosts"
    (cd "$root/dev" && touch null zero full random urandom && ln -s /proc/self/fd fd)
}

# start COMMAND...: there, with devices and /proc, and with nothing else of this machine. $inside is its process.
start() {
    # shellcheck disable=SC2016 # the inner shell's
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" bash -c 'for node in "$0"/dev/*; do
            [ -f "$node" ] || continue
            mount --bind "/dev/${node##*/}" "$node" || exit 125
        done
        exec chroot "$0" env -i PATH=/usr/bin HOME=/root "$@"' "$root" "$@" &
    inside=$!
}

ends() {
    local rc
    wait "$inside"
    rc=$?
    inside=''
    return $rc
}

in_root() {
    start "$@"
    ends
}

# Which file each library is, as the loader there finds it: the bundle's, or the C library's.
finds_its_libraries() {
    local faults files
    mapfile -t files < <(programs)
    # shellcheck disable=SC2016 # the inner shell's
    in_root bash -c 'cd /ensod-gpu && for file; do
        /lib*/ld-linux*.so.[0-9] --list "$file" 2>&1 | sed "s|^|$file:|"
    done' bash "${files[@]#"$tree"/}" >"$work/found" || return 1
    faults=$(grep -vE '=> /ensod-gpu/build/[^ ]*lib/[^/ ]+ |linux-vdso|statically linked' "$work/found" | while read -r file library rest; do
        [[ ${library##*/} =~ $of_the_system ]] || echo "$file $library $rest: not the bundle's"
    done)
    [ -z "$faults" ] || { echo "$faults"; return 1; }
    grep -q libuv "$work/found" || { echo "the loader was not asked"; return 1; }
}

# stages FOLDER STAGE...: there, with two small programs of tests.
stages() {
    in_root ENSO_GPU_TESTS='check_(top_k|fused)$' bash -c 'cd /ensod-gpu && exec tests/gpu/check_gpu.sh --emulated --out "$@"' bash "$@"
}

# The commands of the document, each by itself.
documented() {
    local line
    sed -n 's|^tests/gpu/check_gpu.sh --out results \([a-z ]*[a-z]\).*|\1|p' "$source_dir/docs/gpu-results.md" >"$work/commands"
    [ "$(wc -l <"$work/commands")" -ge 10 ] || { echo "docs/gpu-results.md has no commands"; return 1; }
    while read -r -u 3 line; do
        # shellcheck disable=SC2086 # several stages
        check "the command '$line'" 0 stages results $line
    done 3<"$work/commands"
}

# was STAGE WORD: it ended so.
was() {
    grep -qE "^$1 +$2 " "$tree/results/summary"
}

# Killed in a stage: what came before is in the summary, what the stage had found is in its log.
is_cut_off() {
    local log=$tree/cut/kernels.log
    start ENSO_GPU_TESTS='check_(fused|network)$' bash -c 'cd /ensod-gpu && exec tests/gpu/check_gpu.sh --emulated --out cut card kernels'
    for _ in $(seq $((10 * ${ENSOD_TEST_PATIENCE:-60}))); do
        grep -qs '^check_fused .* checks' "$log" && break
        kill -0 "$inside" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$inside"
    ends && { echo "it was not killed"; return 1; }
    grep -H . "$tree/cut/summary" "$log"
    grep -q '^check_fused .* checks' "$log" && grep -q '^card *passed' "$tree/cut/summary" &&
        ! grep -q '^kernels' "$tree/cut/summary"
}

tarball=${1:-}
if [ -z "$tarball" ]; then
    tarball=$build/ensod-gpu.tar.xz
    rm -f "$tarball"
    check "make_bundle.sh" 0 bash "$source_dir/tests/gpu/make_bundle.sh" "$source_dir" "$build" || exit 1
fi

check "60 MiB" 0 fits "$tarball" 60
check "a larger one is told" 0 says 'more than 1 MiB' fits "$tarball" 1
check "a bare root" 0 make_root || exit 1
check "it unpacks" 0 tar -C "$root" -xf "$tarball" || exit 1
check "all sources" 0 sources_are_there
check "rebuild.sh" 0 could_rebuild
check "programs, libraries" 0 is_of_a_piece
check "which libraries they find" 0 finds_its_libraries
documented
for stage in card twins kernels models steps serve library jit plain; do check "$stage passed" 0 was $stage passed; done
for stage in ceilings sanitizer peers; do check "$stage has nothing to run with" 0 was $stage skipped; done
for file in twins parity.json steps.json serve.json; do check "$file is written" 0 test -s "$tree/results/$file"; done
check "cut off" 0 is_cut_off

# What is wrong is told.
library=$tree/build/lib/$(basename "$(find "$tree/build/lib" -name 'libuv.so*')") ensod=$tree/build/ensod
mv "$library" "$work/" && cp "$ensod" "$work/ensod"
check "a library is not there" 0 says 'libuv.* is not in lib' is_of_a_piece
check "a library is not found" 0 says 'build/ensod.*libuv.*: not the bundle' finds_its_libraries
check "a daemon without it" 1 stages without card
check "a daemon without it: told" 0 grep -q '^card *FAILED' "$tree/without/summary"
mv "$work/${library##*/}" "$library"
patchelf --set-rpath "$build/lib" "$ensod"
check "a path of this machine" 0 says "build/ensod: it looks in $build/lib" is_of_a_piece
check "a path of this machine: not found" 0 says 'build/ensod.*: not the bundle' finds_its_libraries
patchelf --set-rpath "\$ORIGIN/lib" --add-needed libcudart.so.12 "$ensod"
check "a need of CUDA" 0 says "it needs CUDA's libcudart.so.12" is_of_a_piece
cp "$work/ensod" "$ensod" && cp "$library" "$tree/build/lib/libcublasLt.so.13"
check "a library of CUDA" 0 says "CUDA's libcublasLt.so.13 is inside" is_of_a_piece
rm "$tree/build/lib/libcublasLt.so.13"
check "as it was" 0 is_of_a_piece
rm "$tree/bench/gpu/options.py"
check "a source is missing" 0 says 'bench/gpu/options.py' sources_are_there

echo "$(($(stat -c %s "$tarball") >> 20)) MiB; $(awk '{ printf "%s%s %s %d s", sep, $1, $2, $3; sep = ", " }' "$tree/results/summary")"
echo "$((100 * (n - failures) / n))%: Checks: $n, Failures: $failures, Errors: 0"
[ "$failures" -eq 0 ]
