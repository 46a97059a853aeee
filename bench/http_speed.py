#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP, JSON and batcher: ensod with a model that costs nothing against a bare loop.

    bench/http_speed.py [--build DIR] [--rounds N] [--seconds S]

The yardstick is the probe http_loop.c (libmicrohttpd by external epoll on libuv, no JSON, no
routes, no log): its GETs/s against ensod's GET /health, and its suspended POSTs/s (a worker thread
answers) against ensod's POST /v1/classify of a one-layer BERT with 8 hidden units, access log on, to
a file. wrk with 32 keep-alive connections loads each in turn, on the same two cores, round by round;
ratios are of medians. Needs wrk, cc and the probe's source; skipped with a line otherwise."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import harness

BODY = '{"model":"tiny","input":"I love this film, it is wonderful"}'
CONNECTIONS = 32


def wrk(url, seconds, script=None):
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *(["-s", script] if script else []), url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(f"{url} answered with errors:\n{out}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))


def write_script(path, body):
    with open(path, "w") as f:
        f.write("wrk.method = 'POST'\nwrk.body = '%s'\n"
                "wrk.headers['Content-Type'] = 'application/json'\n" % body)


def start_probe(folder):
    source = os.path.join(harness.SHARED, "probes", "http_loop.c")
    for need, there in ((source, os.path.exists(source)), ("wrk", shutil.which("wrk")), ("cc", shutil.which("cc"))):
        if not there:
            print(f"skipped: {need} is not there")
            sys.exit(77)
    binary = os.path.join(folder, "probe")
    subprocess.run(["cc", "-O2", source, "-o", binary, "-lmicrohttpd", "-luv", "-lpthread"], check=True)
    probe = subprocess.Popen([binary])
    for _ in range(100):
        try:
            urllib.request.urlopen("http://127.0.0.1:8099/health", timeout=5).read()
            return probe
        except OSError:
            time.sleep(0.05)
    sys.exit("the probe does not answer on port 8099")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(harness.TOP, "build"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # wrk and both servers share two cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory(prefix="ensod-bench-") as folder:
        model = os.path.join(folder, "tiny")
        harness.write_bert(model, harness.TINY)
        script, probe_script = os.path.join(folder, "classify.lua"), os.path.join(folder, "probe.lua")
        write_script(script, BODY)
        write_script(probe_script, BODY)
        probe = start_probe(folder)
        config = f"[log]\naccess_log = {folder}/access.log\n"
        try:
            with harness.Daemon(options.build, model, config=config) as daemon:
                return measure(daemon, options, script, probe_script)
        finally:
            probe.kill()
            probe.wait()


def measure(daemon, options, script, probe_script):
    runs = {
        "probe GET": lambda: wrk("http://127.0.0.1:8099/health", options.seconds),
        "ensod GET /health": lambda: wrk(daemon.url + "/health", options.seconds),
        "probe POST": lambda: wrk("http://127.0.0.1:8099/x", options.seconds, probe_script),
        "ensod POST /v1/classify": lambda: wrk(daemon.url + "/v1/classify", options.seconds, script),
    }
    rates = {name: [] for name in runs}
    for run in runs.values():  # warm-up
        run()
    for _ in range(options.rounds):
        for name, run in runs.items():
            rates[name].append(run())
    for name, values in rates.items():
        print(f"{name:26} median {harness.median(values):9.0f}/s   {min(values):.0f} to {max(values):.0f}")
    verdict = harness.Verdict()
    m = {name: harness.median(values) for name, values in rates.items()}
    verdict.ratio("/health against the probe's GETs", m["ensod GET /health"] / m["probe GET"], 0.75, True)
    verdict.ratio("classify against the probe's suspended POSTs",
                  m["ensod POST /v1/classify"] / m["probe POST"], 0.6, True)
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
