#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The golden models of tests/engine/model (BERT, DistilBERT, sentence-transformers, ONNX graphs with every sort of
operator) on the emulated card, in fp32, bf16 and fp16, against the processor: whole graphs, lowered as the daemon
lowers them; in bf16 also in guarded memory (ENSO_ARENA_DEBUG), which gives the same bits. ENSO_TEST_MODULE names
another module, for a real card. Python's standard library only."""

import json
import os
import subprocess
import sys

BUILD = os.path.abspath(os.environ.get("top_builddir", "."))
GOLDEN = os.path.join(os.path.abspath(os.environ.get("top_srcdir", ".")), "tests", "engine", "model", "golden")
CLI = os.path.join(BUILD, "tests", "engine", "model", "run_cli")
MODULE = (os.environ.get("ENSO_TEST_MODULE") or
          os.path.join(BUILD, "tests", "cuda_emulation", "ensod-cuda-emulated.so"))
# Differences as shares of the largest number among a model's answers: two rounded layers (bf16 has 8 bits, fp16 11),
# and sums in another order.
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2, "fp16": 4e-3}
KEYS = ("text", "pair", "ids", "image", "inputs", "want", "truncate", "truncate_left")
PATIENCE = 10 * float(os.environ.get("ENSOD_TEST_PATIENCE", "60"))


def run(folder, items, *how, **environment):
    done = subprocess.run([CLI, *how, folder], input=json.dumps(items) + "\n", capture_output=True, text=True,
                          timeout=PATIENCE, env=os.environ | environment)
    answer = json.loads(done.stdout) if done.stdout else {"error": done.stderr}
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer


def outputs(answer):
    """All numbers by output, of all items."""
    return [[x for item in answer for x in item[i]["values"]] for i in range(len(answer[0]))]


def worst(got, want):
    """The largest difference as a share of the largest number of its output."""
    found = 0
    for g, w in zip(outputs(got), outputs(want), strict=True):
        largest = max(map(abs, w), default=0) or 1
        found = max([found] + [abs(a - b) / largest if a == a else float("inf") for a, b in zip(g, w, strict=True)])
    return found


def check(name):
    """Sentences about what is wrong."""
    folder = os.path.join(GOLDEN, name)
    with open(os.path.join(folder, "expected.json"), encoding="utf-8") as f:
        told = [{k: v for k, v in item.items() if k in KEYS} for item in json.load(f)["items"]]
    # one batch: texts that want the same, or one item of a graph (its rows are a batch)
    items = [t for t in told if t.get("want") == told[0].get("want")][:6] if "inputs" not in told[0] else told[:1]
    want = run(folder, items)
    for dtype, tolerance in TOLERANCE.items():
        try:
            answer = run(folder, items, "--module", MODULE, "--dtype", dtype)
            found = worst(answer, want)
            if not found <= tolerance:
                yield f"{name} in {dtype}: {found:.1e} of the largest, not {tolerance:.0e}"
            if dtype == "bf16" and answer != run(folder, items, "--module", MODULE, "--dtype", dtype,
                                                 ENSO_ARENA_DEBUG="1"):
                yield f"{name} in {dtype}: other numbers in guarded memory"
        except ValueError as e:
            yield f"{name} in {dtype}: {e}"


def main():
    if not os.path.exists(MODULE):
        print(f"SKIP: {MODULE} was not built (it needs a C++ compiler)")
        return 77
    names = sorted(n for n in os.listdir(GOLDEN) if os.path.exists(os.path.join(GOLDEN, n, "expected.json")))
    wrong = [line for name in names for line in check(name)]
    print("\n".join(wrong))
    n = len(names) * len(TOLERANCE)
    print(f"{100 * (n - len(wrong)) // max(n, 1)}%: Checks: {n}, Failures: {len(wrong)}, Errors: 0")
    return 1 if wrong or n == 0 else 0


if __name__ == "__main__":
    if os.environ.get("ENSOD_TEST_SANITIZED") == "thread":
        print("SKIP: an emulated card takes too long under ThreadSanitizer")
        sys.exit(77)
    sys.exit(main())
