#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Judges the bundled models through the daemon and writes their cards' figures.

    examples/evaluate_models.py --data DIR [--build build] [MODEL...]

Starts ensod with models/, asks it about every item of the test halves with `enso eval`, once about all
of them and once about 500, writes models/MODEL/evaluation.json and calls write_card.py. Files, below DIR:

fashion   fashion-mnist/t10k-first5000-images-idx3-ubyte.gz and ...-labels-idx1-ubyte.gz beside it
cifar     cifar10/test-5000.tar.gz
intents   text/banking77/test-even-rows.csv

or the whole test files under the names they are published with. Python's standard library only.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SAMPLE = 500
# The test files of each model, best first, and how to read them.
SETS = {
    "fashion": (["fashion-mnist/t10k-first5000-images-idx3-ubyte.gz", "fashion-mnist/t10k-images-idx3-ubyte.gz"], []),
    "cifar": (["cifar10/test-5000.tar.gz", "cifar10/test"], []),
    "intents": (["text/banking77/test-even-rows.csv", "banking77/test-even-rows.csv", "banking77/test.csv"], []),
}
TIMES = ("seconds", "throughput", "latency_ms")


def test_file(model, data):
    """The test file of a model below a folder of data sets; None where there is none."""
    for name in SETS[model][0]:
        path = os.path.join(data, name)
        if os.path.exists(path):
            return path
    return None


class Daemon:
    """ensod with models/ on a socket of its own."""

    def __init__(self, build, models=os.path.join(TOP, "models")):
        self.enso = os.path.join(build, "enso")
        self.folder = tempfile.TemporaryDirectory(prefix="ensod-evaluate-")
        self.server = "unix:" + os.path.join(self.folder.name, "socket")
        self.process = subprocess.Popen([os.path.join(build, "ensod"), "--listen", self.server, models],
                                        env={**os.environ, "ENSOD_ACCESS_LOG": "off"})

    def __enter__(self):
        while self.process.poll() is None:
            if subprocess.run([self.enso, "health", "--server", self.server], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return self
            time.sleep(0.1)
        raise RuntimeError("the daemon ended; its own message stands above")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


def evaluate(enso, server, model, path, sample=0):
    """The report of `enso eval --json` on a file, without times."""
    how = ["--sample", str(sample)] if sample else []
    run = subprocess.run([enso, "eval", "--server", server, "--json", *how, *SETS[model][1], model, path],
                         stdout=subprocess.PIPE, check=True)
    return {name: value for name, value in json.loads(run.stdout).items() if name not in TIMES}


def write_json(path, report):
    """A line a key, so that a change shows in a diff; the confusion matrix a line a row."""
    lines = []
    for name, value in report.items():
        rows = isinstance(value, list) and value
        text = "[\n    " + ",\n    ".join(map(json.dumps, value)) + "\n  ]" if rows else json.dumps(value)
        lines.append(f"  {json.dumps(name)}: {text}")
    with open(path, "w", encoding="utf-8") as f:
        f.write("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    parser = argparse.ArgumentParser(description="Judge the bundled models through the daemon; write their cards' figures.")
    parser.add_argument("models", metavar="MODEL", nargs="*", help="default: " + ", ".join(SETS))
    parser.add_argument("--data", metavar="DIR", required=True, help="folder with fashion-mnist/, cifar10/ and banking77/")
    parser.add_argument("--build", metavar="DIR", default=os.path.join(TOP, "build"), help="where ensod and enso are")
    args = parser.parse_args()
    models = args.models or list(SETS)
    if set(models) - set(SETS):
        parser.error(f"there is no set for {' '.join(set(models) - set(SETS))}; there are: {' '.join(SETS)}")
    with Daemon(args.build) as daemon:
        for model in models:
            path = test_file(model, args.data)
            if path is None:
                sys.exit(f"there is no test file of {model} in {args.data}: {' or '.join(SETS[model][0])}")
            report = evaluate(daemon.enso, daemon.server, model, path)
            sample = evaluate(daemon.enso, daemon.server, model, path, SAMPLE)
            report["data"] = os.path.basename(path)
            report["sample"] = {"items": sample["items"], "accuracy": sample["accuracy"]}
            folder = os.path.join(TOP, "models", model)
            write_json(os.path.join(folder, "evaluation.json"), report)
            print(f"{model}: {100 * report['accuracy']:.2f} % of {report['items']}", flush=True)
    subprocess.run([sys.executable, os.path.join(TOP, "examples", "write_card.py")], check=True)


if __name__ == "__main__":
    main()
