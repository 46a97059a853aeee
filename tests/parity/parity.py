# SPDX-License-Identifier: Apache-2.0
"""What the parity scripts share: run a model folder through ensod's engine (tests/engine/model/
run_cli), measure the largest error, print a table.

An item's error is max|ensod - reference| / max|reference| over its outputs. The reference is
computed in float64; LIMIT is what the project promises in float32. The table also shows how far the
reference itself is off when it computes in float32 as ensod does.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy

LIMIT = 1e-4
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Engine:
    """run_cli on one folder: batches in, lists of arrays out."""

    def __init__(self, cli, folder, isa="auto", threads=2):
        self.process = subprocess.Popen([cli, "--isa", isa, "--threads", str(threads), folder],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)

    def run(self, items):
        """[[array per output] per item]"""
        self.process.stdin.write(json.dumps(items) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"run_cli ended with {self.process.wait(60)}")
        answer = json.loads(line)
        if isinstance(answer, dict):
            raise RuntimeError(answer["error"])
        return [[numpy.array(o["values"], numpy.float64).reshape(o["shape"]) for o in item]
                for item in answer]


def error(is_, should):
    """Relative to the largest number of the reference; infinite for another shape or NaN."""
    is_, should = numpy.asarray(is_, numpy.float64), numpy.asarray(should, numpy.float64)
    if is_.shape != should.shape or not numpy.isfinite(is_).all():
        return float("inf")
    return float(numpy.abs(is_ - should).max() / max(numpy.abs(should).max(), 1e-30))


class Table:
    """One row per comparison; finish() prints the sum and gives the exit status."""

    def __init__(self, title):
        self.rows = self.failed = 0
        self.started = time.monotonic()
        print(f"\n{title}\n{'model':46} {'inputs':26} {'ensod':>9} {'float32':>9}", flush=True)

    def row(self, model, inputs, ensod, reference=None, bits=True):
        """ensod, reference: largest errors; bits: were batches the same to the bit?"""
        good = ensod <= LIMIT and bits
        self.rows += 1
        self.failed += not good
        other = f"{reference:9.1e}" if reference is not None else " " * 9
        note = "" if good else "  FAILED" if bits else "  FAILED: other bits in a batch"
        print(f"{model:46} {inputs:26} {ensod:9.1e} {other}{note}", flush=True)

    def problem(self, model, sentence):
        self.rows += 1
        self.failed += 1
        print(f"{model:46} FAILED: {sentence}", flush=True)

    def finish(self):
        seconds = time.monotonic() - self.started
        print(f"{self.rows - self.failed} passed, {self.failed} failed, 0 skipped "
              f"(limit {LIMIT:g}, {seconds:.0f} s)")
        return 1 if self.failed else 0


def arguments():
    """BUILD_DIR, and run_cli in it; exits where it is missing."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} BUILD_DIR")
    cli = os.path.join(sys.argv[1], "tests/engine/model/run_cli")
    if not os.path.exists(cli):
        print(f"skipped: {cli} is not there; make -C {sys.argv[1]} tests/engine/model/run_cli")
        sys.exit(77)
    return cli


def scratch():
    return tempfile.TemporaryDirectory(prefix="ensod-parity-")
