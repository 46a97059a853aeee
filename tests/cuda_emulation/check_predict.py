#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One batch of a BERT counted on the emulated card (bench/gpu/count.py) against what bench/gpu/predict.py expects of
its kernels: which there are, their operations, and the fewest bytes, from shapes there, from addresses here. Python's
standard library only."""

import os
import sys
import tempfile

BUILD = os.path.abspath(os.environ.get("top_builddir", "."))
BENCH = os.path.join(os.path.abspath(os.environ.get("top_srcdir", ".")), "bench", "gpu")
sys.path.insert(0, BENCH)
sys.dont_write_bytecode = True
import count  # noqa: E402
import predict  # noqa: E402

MODULE = os.path.join(BUILD, "tests", "cuda_emulation", "ensod-cuda-counted.so")
SHAPE, LENGTHS = count.SHAPES["tiny"], [128]  # no padding: products and bytes are those of the shape


def wrong_of(kernel, launch):
    """Sentences about one kernel and what it was counted to do."""
    read, written = ([launch[f"global_{way}{what}"] for what in ("", "_moved", "_once")] for way in ("read", "written"))
    once = read[2] + written[2]
    if kernel.kind == "product" and launch["mma_flops"] != kernel.flop:
        yield f"{launch['mma_flops']} operations, not {kernel.flop}"
    # biases, norms' scales and starts are in no prediction; token 1000 and the next are all that is read of the table
    least = 0.5 if "embedding" in kernel.name else 1.0
    # pooling fills the rows of all sequences that the plan has room for, 64
    size = kernel.bytes + (64 * SHAPE.hidden * 4 if kernel.name == "mean" else 0)
    if not least * size <= once <= 1.25 * size + 1024:
        yield f"{once} bytes of different sectors, not about {size}"
    if read[1] < read[2] or written[1] < written[2]:
        yield "more different sectors than sectors"
    if launch["shared_conflicts"] > launch["shared_phases"] / 4:
        yield f"{launch['shared_conflicts']} conflicts in {launch['shared_phases']} passes"


def check():
    with tempfile.TemporaryDirectory(prefix="ensod-check-") as folder:
        path = os.path.join(folder, "launches")
        count.run(BUILD, SHAPE, LENGTHS, "bf16", "H100", path)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        with open(path, "w", encoding="utf-8") as f:
            f.write("# {}\n" + text)
        launches = count.read(path)[1]
    pairs, left = predict.matched(predict.bert(SHAPE, LENGTHS), launches)
    yield "kernels", [f"nothing was launched for '{k.name}'" for k in left]
    yield "groups", [f"{r['kernel']}: {r['alone']} accesses alone" for r in launches if r["alone"] != 0]
    for kernel, launch in pairs:
        if kernel is not None:
            yield kernel.name, [f"{kernel.name}: {sentence}" for sentence in wrong_of(kernel, launch)]


def main():
    if not os.path.exists(MODULE):
        print(f"SKIP: {MODULE} was not built (it needs clang++)")
        return 77
    results = list(check())
    wrong = [sentence for _, sentences in results for sentence in sentences]
    print("\n".join(wrong))
    failed = sum(bool(sentences) for _, sentences in results)
    print(f"{100 * (len(results) - failed) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
