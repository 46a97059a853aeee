#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# configure names every library that is missing with its Debian package, all of them in one run and
# in one command to copy, and fails. nvcc is taken from 12.8 on, with code for all cards that are named and PTX
# of 80 and of the last.
set -eu
top_srcdir=${top_srcdir:-.}
configure=$(cd "$top_srcdir" && pwd)/configure
[ -x "$configure" ] || { echo "SKIP: there is no configure"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir empty
# pkg-config is there and knows nothing; as on a machine with a compiler and no libraries.
if PKG_CONFIG_PATH='' PKG_CONFIG_LIBDIR="$dir/empty" PROTOC_C=/bin/true ac_cv_header_csv_h=no "$configure" >out 2>&1; then
    echo "configure succeeded without any library"
    exit 1
fi
last=$(grep 'configure: error:' out)
failed=0
for pair in libmicrohttpd:libmicrohttpd-dev jansson:libjansson-dev libuv:libuv1-dev inih:libinih-dev \
    libutf8proc:libutf8proc-dev libprotobuf-c:libprotobuf-c-dev libjpeg:libjpeg-dev libpng:libpng-dev \
    libwebp:libwebp-dev libcurl:libcurl4-openssl-dev libarchive:libarchive-dev libcsv:libcsv-dev; do
    library=${pair%%:*} package=${pair#*:}
    grep -q "WARNING: $library.* is missing: apt-get install $package\$" out ||
        { echo "$library is not named with its package $package"; failed=1; }
    case "$last " in
    *"apt-get install"*" $package "*) ;;
    *) echo "$package is not in the command at the end: $last"; failed=1 ;;
    esac
done

# An nvcc of that version, which says yes to all.
mkdir -p cuda/bin cuda/include
touch cuda/include/cuda_runtime_api.h
cat >cuda/bin/nvcc <<EOT
#!/bin/sh
case \$1 in
--version) echo "Cuda compilation tools, release \$(cat "$dir/version"), V1" ;;
--list-gpu-code) printf 'sm_%s\n' 75 80 86 89 90 100 120 ;;
esac
EOT
chmod +x cuda/bin/nvcc
for version in 12.7 12.8 12.10 13.0; do
    echo $version >version
    rc=0
    NVCC="$dir/cuda/bin/nvcc" "$configure" --with-cuda=yes --cache-file=cache >out 2>&1 || rc=$?
    if [ $version = 12.7 ]; then
        grep -q 'error: .* is of version 12.7; install CUDA 12.8 or later' out ||
            { echo "nvcc $version is taken, or refused without a word: $(tail -n 1 out)"; failed=1; }
        continue
    fi
    [ $rc -eq 0 ] || { echo "nvcc $version is refused: $(tail -n 1 out)"; failed=1; continue; }
    for code in sm_75 sm_80 sm_86 sm_89 sm_90 sm_100 sm_120 compute_80 compute_120; do
        grep -q "^CUDA_CODE = .*code=$code\b" Makefile || { echo "nvcc $version: no $code"; failed=1; }
    done
done
exit $failed
