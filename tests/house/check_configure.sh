#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# configure names every library that is missing with its Debian package, all of them in one run and
# in one command to copy, and fails.
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
exit $failed
