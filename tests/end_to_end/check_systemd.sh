#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The unit file, alone and with the GPU's drop-in: systemd reads it without complaint, and it exposes
# little (below 2.0 of 10; with the GPU's devices below 3.0).
set -eu
command -v systemd-analyze >/dev/null || { echo "SKIP: systemd-analyze is not installed"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# systemd-analyze wants the programs to exist: any will do for the check.
sed 's|^\(Exec[A-Za-z]*\)=[^ ]*|\1=/bin/true|; /^Documentation=/d' "${top_builddir:-.}/systemd/ensod.service" >"$dir/ensod.service"

# check WHAT MOST: no complaint, and an exposure below MOST.
check() {
    said=$(systemd-analyze verify "$dir/ensod.service" 2>&1) || { echo "verify, $1: $said"; exit 1; }
    [ -z "$said" ] || { echo "verify, $1, says: $said"; exit 1; }
    level=$(systemd-analyze security --offline=true "$dir/ensod.service" |
        sed -n 's/.*Overall exposure level for ensod.service: \([0-9.]*\).*/\1/p')
    echo "exposure level, $1: $level"
    [ -n "$level" ] || { echo "no exposure level was told"; exit 1; }
    awk -v level="$level" -v most="$2" 'BEGIN { exit !(level < most) }' ||
        { echo "exposure $level is not below $2"; exit 1; }
}

check alone 2.0
alone=$level
mkdir "$dir/ensod.service.d"
cp "${top_srcdir:-.}/systemd/ensod-cuda.conf" "$dir/ensod.service.d/"
check "with the GPU's drop-in" 3.0
[ "$level" != "$alone" ] || { echo "the drop-in was not read"; exit 1; }
