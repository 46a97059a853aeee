#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The unit file: systemd reads it without complaint, and it exposes little (below 2.0 of 10).
set -eu
command -v systemd-analyze >/dev/null || { echo "SKIP: systemd-analyze is not installed"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# systemd-analyze wants the programs to exist: any will do for the check.
sed 's|^\(Exec[A-Za-z]*\)=[^ ]*|\1=/bin/true|; /^Documentation=/d' "${top_builddir:-.}/systemd/ensod.service" >"$dir/ensod.service"
said=$(systemd-analyze verify "$dir/ensod.service" 2>&1) || { echo "verify: $said"; exit 1; }
[ -z "$said" ] || { echo "verify says: $said"; exit 1; }
level=$(systemd-analyze security --offline=true "$dir/ensod.service" |
    sed -n 's/.*Overall exposure level for ensod.service: \([0-9.]*\).*/\1/p')
echo "exposure level $level"
[ -n "$level" ] || { echo "no exposure level was told"; exit 1; }
awk -v level="$level" 'BEGIN { exit !(level < 2.0) }' || { echo "exposure $level is not below 2.0"; exit 1; }
