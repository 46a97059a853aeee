#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Start and memory: what a model costs beside its weights.

    bench/memory.py [--build DIR] [--rounds N] [--no-connections]

For the shape of BERT-base in float32 and in float16 (random weights, written to a temporary folder):

  ready        start of the process to ready, against a plain pread of the weights' file into fresh
               memory in the same round
  peak         most memory while loading (VmHWM) \\ less 40 MB, against the weights in the type that
  resident     memory once ready (VmRSS)         / is computed in (float32)
  idle         processor time over 5 s with nothing to do

and for a model that costs nothing: resident memory with 10,000 keep-alive connections that have had
an answer each. Linux, Python's standard library only."""

import argparse
import mmap
import os
import resource
import socket
import sys
import tempfile
import time

import harness

MB = 1e6
SLICE = 4 << 20


def plain_read(path):
    """Seconds to pread the file into memory never touched before."""
    size = os.path.getsize(path)
    start = time.monotonic()
    with mmap.mmap(-1, size) as memory, memoryview(memory) as view:
        file = os.open(path, os.O_RDONLY)
        at = 0
        while at < size:
            at += os.preadv(file, [view[at:min(at + SLICE, size)]], at)
        os.close(file)
        seconds = time.monotonic() - start
    return seconds


def measure_start(build, folder, weights, options, verdict, name):
    file = os.path.join(folder, "model.safetensors")
    plain_read(file)  # both find the file in the page cache
    reads, starts, peaks, residents, ticks = [], [], [], [], []
    for i in range(options.rounds):
        reads.append(plain_read(file))
        with harness.Daemon(build, folder) as daemon:
            starts.append(daemon.ready_seconds)
            peaks.append(daemon.memory("VmHWM"))
            time.sleep(0.5)
            residents.append(daemon.memory("VmRSS"))
            if i == 0:
                before = daemon.cpu_ticks()
                time.sleep(5)
                ticks.append(daemon.cpu_ticks() - before)
    m = harness.median
    print(f"{name}: weights {weights / MB:.0f} MB in float32, file {os.path.getsize(file) / MB:.0f} MB; "
          f"ready {m(starts):.3f} s, plain read {m(reads):.3f} s, peak {m(peaks) / MB:.0f} MB, "
          f"resident {m(residents) / MB:.0f} MB")
    verdict.ratio(f"{name}: ready / plain read", m(starts) / m(reads), 3, False)
    verdict.ratio(f"{name}: (peak - 40 MB) / weights", (m(peaks) - 40 * MB) / weights, 1.3, False)
    verdict.ratio(f"{name}: (resident - 40 MB) / weights", (m(residents) - 40 * MB) / weights, 1.15, False)
    verdict.ratio(f"{name}: idle processor time in 5 s (ticks of 10 ms)", ticks[0], 0, False, 0)


def ask(s):
    s.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
    data = b""
    while b"\r\n\r\n" not in data or len(data) < data.index(b"\r\n\r\n") + 4 + int(
            data.lower().split(b"content-length:")[1].split(b"\r\n")[0]):
        part = s.recv(65536)
        if not part:
            sys.exit("a connection was closed")
        data += part


def measure_connections(build, folder, verdict, n=10000):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < n + 100:
        print(f"skipped: {n} connections need {n + 100} open files, {hard} are allowed")
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, n + 100), hard))
    with harness.Daemon(build, folder) as daemon:
        before = daemon.memory("VmRSS")
        sockets = []
        for _ in range(n):
            s = socket.create_connection(("127.0.0.1", daemon.port), timeout=30)
            ask(s)
            sockets.append(s)
        now = daemon.memory("VmRSS")
        print(f"{n} connections: {before / MB:.0f} MB before, {now / MB:.0f} MB with them "
              f"({(now - before) / n / 1e3:.1f} kB each)")
        verdict.ratio(f"resident MB with {n} connections", now / MB, 400, False, 0)
        for s in sockets:
            s.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(harness.TOP, "build"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-connections", action="store_true")
    options = parser.parse_args()
    verdict = harness.Verdict()
    with tempfile.TemporaryDirectory(prefix="ensod-bench-") as top:
        for dtype in ("F32", "F16"):
            folder = os.path.join(top, dtype)
            weights = harness.write_bert(folder, harness.BERT_BASE, dtype)
            measure_start(options.build, folder, weights, options, verdict, f"BERT-base {dtype}")
            os.remove(os.path.join(folder, "model.safetensors"))
        if not options.no_connections:
            tiny = os.path.join(top, "tiny")
            harness.write_bert(tiny, harness.TINY)
            measure_connections(options.build, tiny, verdict)
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
