#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# quickstart says what is wrong in one clear sentence, before it changes anything: not Debian, no
# root, no network, a package that cannot be installed, a port in use. The tools it would call are
# stand-ins; nothing is installed, built or started here.
set -u
script=$(cd "${top_srcdir:-.}" && pwd)/quickstart
dir=$(mktemp -d)
listener=
trap 'rm -rf "$dir"; [ -z "$listener" ] || kill "$listener" 2>/dev/null' EXIT
passed=0 failed=0

# stand_in NAME LINES: a program that is found instead of the real one.
stand_in() { printf '#!/bin/bash\n%s\n' "$2" >"$dir/bin/$1" && chmod +x "$dir/bin/$1"; }

# A machine where everything is missing and nothing works; the tests mend what they need.
machine() {
    rm -rf "${dir:?}/bin" && mkdir "$dir/bin"
    for tool in bash sh dirname cat grep tail sed seq sleep nproc mkdir printf; do
        ln -s "$(command -v "$tool")" "$dir/bin/$tool" 2>/dev/null
    done
    stand_in dpkg-query 'exit 1'
    stand_in id 'echo 1000'
    stand_in sudo 'exit 1'
    stand_in apt-get "echo \"\$@\" >>$dir/apt; exit 0"
    for tool in autoreconf make gcc; do stand_in "$tool" "echo $tool >>$dir/ran; exit 1"; done
    rm -f "$dir/apt" "$dir/ran"
}

# says NAME WORD... -- ARGUMENT...: quickstart fails, and its last line holds all the words.
says() {
    local name=$1 words=() said word
    shift
    while [ "$1" != -- ]; do words+=("$1"); shift; done
    shift
    if said=$(PATH=$dir/bin ENSOD_LISTEN=${listen:-127.0.0.1:1} "$dir/bin/bash" "$script" "$@" 2>&1); then
        echo "FAILED $name: it went on: $said"; failed=$((failed + 1)); return
    fi
    for word in "${words[@]}"; do
        case $(tail -n 1 <<<"$said") in
        *"$word"*) ;;
        *) echo "FAILED $name: no '$word' in: $said"; failed=$((failed + 1)); return ;;
        esac
    done
    if [ -e "$dir/ran" ]; then
        echo "FAILED $name: it ran $(cat "$dir/ran")"; failed=$((failed + 1)); return
    fi
    passed=$((passed + 1))
}

machine
says "no root" "not root" "apt-get install" libmicrohttpd-dev -- serve
[ ! -e "$dir/apt" ] || { echo "FAILED no root: apt-get was run"; failed=$((failed + 1)); }
says "no root for the tests" "not root" check -- check

machine
rm "$dir/bin/dpkg-query"
says "not Debian" "not Debian" ./configure -- serve

machine
stand_in id 'echo 0'
stand_in apt-get 'exit 100'
says "no network" network apt-get -- serve

machine
stand_in id 'echo 0'
stand_in apt-get 'case "$*" in *update*) exit 0 ;; *) exit 100 ;; esac'
says "no package" "could not be installed" -- serve

if command -v python3 >/dev/null; then
    machine
    python3 -c 'import socket, sys, time
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
time.sleep(60)' >"$dir/port" &
    listener=$!
    for _ in $(seq 100); do [ -s "$dir/port" ] && break; sleep 0.1; done
    listen=127.0.0.1:$(cat "$dir/port")
    says "port in use" "$listen" ENSOD_LISTEN -- serve
    unset listen
else
    echo "SKIP: python3 is not installed, which holds a port"
fi

n=$((passed + failed))
echo "$((100 * passed / n))%: Checks: $n, Failures: $failed, Errors: 0"
[ "$failed" -eq 0 ]
