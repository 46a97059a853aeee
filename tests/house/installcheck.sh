#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# make installcheck: what was installed works by itself, with the installed models and no argument
# but an address: ready, the right labels of a sentence and two pictures, a
# vector, and a clean end. $1 is the folder of the programs.
set -eu
command -v curl >/dev/null || { echo "SKIP: curl is not installed"; exit 0; }
dir=$(mktemp -d)
"$1/ensod" --listen "unix:$dir/socket" 2>"$dir/log" &
daemon=$!
trap 'kill "$daemon" 2>/dev/null || true; rm -rf "$dir"' EXIT
ask() {
    path=$1
    shift
    curl -sS --fail --max-time 60 --unix-socket "$dir/socket" "http://ensod$path" "$@"
}

n=0
until ask /ready >/dev/null 2>&1; do
    n=$((n + 1))
    if [ "$n" -gt 300 ] || ! kill -0 "$daemon" 2>/dev/null; then
        echo "the installed daemon is not ready:"
        cat "$dir/log"
        exit 1
    fi
    sleep 0.1
done
# right LABEL: the answer on standard input has that label.
right() {
    grep -q "\"index\":0,\"label\":\"$1\"" || { echo "the answer is not $1"; exit 1; }
}
pictures=${top_srcdir:-.}/examples/pictures
ask /v1/classify -d '{"model":"intents","input":"The machine swallowed my card."}' | right card_swallowed
ask '/v1/classify?model=fashion' -H 'Content-Type: image/png' --data-binary "@$pictures/sneaker.png" | right Sneaker
ask '/v1/classify?model=cifar' -H 'Content-Type: image/png' --data-binary "@$pictures/ship.png" | right ship
ask /v1/embeddings -d '{"model":"embeddings","input":"My card is lost."}' | grep -q '"embedding":\['
"$1/enso" --version
kill "$daemon"
wait "$daemon"
echo "the installed ensod works"
