# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Counted checks, for the scripts of this folder that source it. They say where output goes: $work.
n=0 failures=0

# check TITLE STATUS COMMAND...: it ends with that status.
check() {
    local title=$1 want=$2 rc
    shift 2
    "$@" >"${work:?}/output" 2>&1
    rc=$?
    n=$((n + 1))
    [ "$rc" -eq "$want" ] && return
    failures=$((failures + 1))
    echo "FAIL: $title: status $rc, not $want"
    tail -n 40 "$work/output"
    return 1
}
