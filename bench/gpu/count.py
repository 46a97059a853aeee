#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What ensod's kernels do for one batch, counted over the emulated card: bytes, matrix instructions, bank conflicts.

    make -C build tests/cuda_emulation/ensod-cuda-counted.so tests/engine/model/run_cli      (needs clang++)
    bench/gpu/count.py counts.tsv --model MiniLM-L6 --batch "1 x 128"
    bench/gpu/predict.py --counts counts.tsv

The model is a BERT with random weights. The file: a line of JSON about the batch behind "# ", a head, a line for each
launch, fields between tabs (tests/cuda_emulation/README.md tells them). --table prints it too, smaller. The emulation
takes about 4 s for a layer of MiniLM-L6 with 128 tokens, and longer in proportion. Python's standard library only."""

import argparse
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402
from lengths import MIXED  # noqa: E402

SHAPES = {"BERT-base": harness.BERT_BASE, "MiniLM-L6": harness.MINILM, "tiny": harness.Shape(1, 64, 2, 128)}
BATCHES = {"1 x 128": [128], "8 x 128": [128] * 8, "64 mixed": MIXED, "128 x 128": [128] * 128, "2 short": [9, 30]}
HEAD = ("kernel", "grid", "block", "dynamic_bytes")


def run(build, shape, lengths, dtype, card, path):
    """One batch in a process of its own; the emulator writes the launches to path."""
    module = harness.program(build, "tests/cuda_emulation/ensod-cuda-counted.so")
    items = [{"ids": [1000 + (7 * i + n) % 1000 for i in range(n)], "want": "pooled"} for n in lengths]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ENSO_")}
    environment.update(ENSO_CUDA_EMULATED=card, ENSO_CUDA_EMULATED_LAUNCHES=path)
    with tempfile.TemporaryDirectory(prefix="ensod-count-") as folder:
        harness.write_bert(folder, shape)
        done = subprocess.run([harness.program(build, "tests/engine/model/run_cli"), "--module", module, "--dtype", dtype,
                               folder], input=json.dumps(items) + "\n", capture_output=True, text=True, env=environment)
    if done.returncode != 0 or '"error"' in done.stdout[:100]:
        sys.exit(f"no batch ran: {done.stdout[:300]} {done.stderr[-1000:]}")


def read(path):
    """({about the batch}, [{field: text or number}, a launch])."""
    with open(path, encoding="utf-8") as f:
        about = json.loads(f.readline().lstrip("# "))
        head = f.readline().rstrip("\n").split("\t")
        rows = [dict(zip(head, line.rstrip("\n").split("\t"), strict=True)) for line in f]
    return about, [{k: v if k in HEAD else int(v) for k, v in row.items()} for row in rows]


def print_table(rows):
    print("| kernel | blocks | threads | read, KB | moved | once | written, KB | moved | once | shared, passes | conflicts | mma |\n"
          "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for r in rows:
        kilobytes = [f"{r[f'global_{way}{what}'] / 1e3:.0f}" for way in ("read", "written") for what in ("", "_moved", "_once")]
        print("|", " | ".join([r["kernel"].strip("()"), str(r["blocks"]), str(r["threads"]), *kilobytes,
                              str(r["shared_phases"]), str(r["shared_conflicts"]), str(r["mma"])]), "|")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("file")
    p.add_argument("--build", default=os.path.join(harness.TOP, "build"))
    p.add_argument("--model", default="MiniLM-L6", choices=SHAPES)
    p.add_argument("--layers", type=int, help="only so many, to be sooner done; default all")
    p.add_argument("--batch", default="1 x 128", choices=BATCHES)
    p.add_argument("--dtype", default="bf16", choices=("bf16", "fp16", "fp32"))
    p.add_argument("--card", default="H100", help="ENSO_CUDA_EMULATED: %(default)s")
    p.add_argument("--table", action="store_true")
    args = p.parse_args()
    whole = SHAPES[args.model]
    shape = harness.Shape(args.layers or whole.layers, whole.hidden, whole.heads, whole.inner, vocabulary=3000)
    about = {"model": args.model, "batch": args.batch, "dtype": args.dtype, "card": args.card, "layers": shape.layers,
             "hidden": shape.hidden, "heads": shape.heads, "inner": shape.inner, "lengths": BATCHES[args.batch]}
    with tempfile.NamedTemporaryFile("r", prefix="ensod-launches-", encoding="utf-8") as launches:
        run(args.build, shape, BATCHES[args.batch], args.dtype, args.card, launches.name)
        with open(args.file, "w", encoding="utf-8") as f:
            f.write(f"# {json.dumps(about)}\n")
            f.writelines(launches)
    if args.table:
        print_table(read(args.file)[1])


if __name__ == "__main__":
    main()
