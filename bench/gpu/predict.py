#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What ensod's kernels should take on a card, to be checked against what they do take.

    bench/gpu/predict.py [--card H200] [--kernels] [--counts FILE]

Of each kernel of a batch it counts floating-point operations and the fewest bytes through device memory (each
input read once, each output written once) and predicts

    max(operations / (matrix rate · share · fill), bytes / (copy rate · share), least) + gap

with the rates measured on the card and shares told below: guesses from how such kernels do elsewhere, written down
before ours were seen on any card. `fill` is how much of the last round of tiles over the multiprocessors is work.
Prints Markdown: a line a model and batch, or with --kernels a line a kernel, one for those of all layers that are
alike (predicted.md holds that). With --counts, a file of count.py, it
predicts that batch from what its kernels were counted to do instead (the bytes of different sectors, the matrix
instructions' operations, and passes over shared memory with their conflicts, one a clock and multiprocessor) and
prints both for each kernel. Python's standard library only."""

import argparse
import json
import math
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import count  # noqa: E402
import harness  # noqa: E402
from lengths import MIXED  # noqa: E402

# Measured on such cards: bf16 products of 8192³ on random data, a device-to-device copy (bytes read and written).
# The clock under load is a guess between its base and its highest.
CARDS = {"H200": {"matrix": 788e12, "copy": 4.3e12, "multiprocessors": 132, "clock": 1.7e9}}
# mma.sync reaches about 0.62 of what wgmma does on Hopper; our template 0.85 of that; without a card's tuning.
SHARE = {"product": 0.52, "attention": 0.22, "stream": 0.80}
LEAST, GAP = 2.0e-6, 1.2e-6  # a kernel's own time at least; between kernels of a captured graph
LAUNCH, COPY = 12e-6, 8e-6   # of a graph; one copy each way with its wait


# Of the names of what is launched for a kernel of that kind.
LAUNCHED = {"product": ("gemm", "product"), "attention": ("attention",),
            "stream": ("embedding", "norm", "pool", "cast", "rows", "pairs", "unary", "reduce", "look_up")}


class Kernel:
    def __init__(self, name, kind, flop, size, tiles=0, passes=0):
        self.name, self.kind, self.flop, self.bytes, self.tiles, self.passes = name, kind, flop, size, tiles, passes

    def seconds(self, card):
        moved = self.bytes / (card["copy"] * SHARE["stream"])
        n = card["multiprocessors"]
        fill = self.tiles / (math.ceil(self.tiles / n) * n) if self.tiles else 1
        shared = self.passes / (n * card["clock"] * fill)
        if self.kind == "stream":
            return max(moved, shared, LEAST) + GAP
        return max(self.flop / (card["matrix"] * SHARE[self.kind] * fill), moved, shared, LEAST) + GAP

    def counted(self, launch):
        """The same from what one launch was counted to do."""
        return Kernel(self.name, self.kind, launch["mma_flops"] if launch["mma_flops"] else self.flop,
                      launch["global_read_once"] + launch["global_written_once"], launch["blocks"] if self.tiles else 0,
                      launch["shared_phases"] + launch["shared_conflicts"])


def product(name, m, n, k, residual=False, read=None):
    """Tiles of 128 x 128, or of 64 x 64 where those would leave multiprocessors idle. read: elements of the left side
    in memory, fewer than m k for a convolution, whose windows overlap."""
    large = math.ceil(m / 128) * math.ceil(n / 128)
    tiles = large if large >= 132 else math.ceil(m / 64) * math.ceil(n / 64)
    return Kernel(name, "product", 2 * m * n * k, 2 * ((read or m * k) + n * k + m * n * (2 if residual else 1)), tiles)


def stream(name, elements, size=2):
    return Kernel(name, "stream", 0, elements * size)


def bert(shape, lengths):
    t, h = sum(lengths), shape.hidden
    yield stream("embedding and norm", 4 * t * h)
    for i in range(shape.layers):
        yield product(f"{i} query, key, value", t, 3 * h, h)
        yield Kernel(f"{i} attention", "attention", sum(4 * n * n * h for n in lengths), 2 * 4 * t * h)
        yield product(f"{i} output", t, h, h)
        yield stream(f"{i} norm", 3 * t * h)
        yield product(f"{i} inner, gelu", t, shape.inner, h)
        yield product(f"{i} outer", t, h, shape.inner)
        yield stream(f"{i} norm 2", 3 * t * h)
    if shape.labels:
        yield product("pooler, tanh", len(lengths), h, h)
        yield product("classifier", len(lengths), shape.labels, h)
    else:
        yield stream("mean", t * h)


def shape_of(folder):
    """A model folder's sizes."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        c = json.load(f)
    return harness.Shape(c["num_hidden_layers"], c["hidden_size"], c["num_attention_heads"], c["intermediate_size"],
                         c["vocab_size"], c["max_position_embeddings"], labels=len(c.get("id2label", {})))


# Stages of ResNet-50: blocks, channels inside, side of its output.
STAGES = [(3, 64, 56), (4, 128, 28), (6, 256, 14), (3, 512, 7)]


def resnet50(n):
    yield stream("pixels", n * 3 * 224 * 224, 3)
    yield product("7x7", n * 112 * 112, 64, 147, read=n * 3 * 224 * 224)
    yield stream("max pool", n * 64 * (112 * 112 + 56 * 56))
    wide, side = 64, 56
    for stage, (blocks, inside, out) in enumerate(STAGES):
        for block in range(blocks):
            yield product(f"{stage}.{block} 1x1", n * side * side, inside, wide)
            yield product(f"{stage}.{block} 3x3", n * out * out, inside, 9 * inside, read=n * side * side * inside)
            if block == 0:
                yield product(f"{stage}.{block} shortcut", n * out * out, 4 * inside, wide)
            yield product(f"{stage}.{block} 1x1 wide", n * out * out, 4 * inside, inside, True)
            wide, side = 4 * inside, out
    yield stream("average", n * 2048 * 49)
    yield product("classes", n, 1000, 2048)


def pictures(name, n):
    """fashion or cifar: n pictures, as the engine lowers their files."""
    side, channels, convs, (inside, wide) = {
        "fashion": (28, 1, [(32, 3, 26, 0), (64, 3, 24, 12)], (128, 9216)),
        "cifar": (32, 3, [(64, 5, 32, 16), (128, 5, 16, 8)], (256, 8192))}[name]
    yield stream("pixels", n * channels * side * side, 3)
    for i, (out, size, after, pooled) in enumerate(convs):
        yield product(f"{i} {size}x{size}", n * after * after, out, size * size * channels, read=n * side * side * channels)
        if pooled:
            rest = n * out * pooled * pooled
            yield stream(f"{i} max pool", n * out * after * after + rest)
            for what in ("scale", "shift", "relu") if name == "cifar" else ():  # factors below zero stay behind the pool
                yield stream(f"{i} {what}", 2 * rest)
        channels, side = out, pooled or after
    yield stream("channels first", 2 * n * wide)
    yield product("inner", n, inside, wide)
    yield product("classes", n, 10, inside)
    yield stream("log softmax", 2 * n * 10)


def bundled():
    """The same of models/."""
    for name in ("intents", "embeddings"):
        shape = shape_of(os.path.join(harness.TOP, "models", name))
        for title, lengths in (("1 x 16", [16]), ("64 mixed", MIXED)):
            yield name, title, list(bert(shape, lengths))
    for name, side in (("fashion", 28), ("cifar", 32)):
        for n in (1, 128):
            yield name, f"{n} x {side} x {side}", list(pictures(name, n))


def cases():
    large = harness.Shape(24, 1024, 16, 4096)
    for name, shape in (("BERT-base", harness.BERT_BASE), ("BERT-large", large), ("MiniLM-L6", harness.MINILM)):
        for title, lengths in (("1 x 128", [128]), ("64 mixed", MIXED), ("128 x 128", [128] * 128)):
            yield name, title, list(bert(shape, lengths))
    for n in (1, 128):
        yield "ResNet-50", f"{n} x 224 x 224", list(resnet50(n))
    yield from bundled()


def matched(kernels, launches):
    """(kernel or None, launch) in the order of the launches, and the kernels for which there was none."""
    left, pairs = list(kernels), []
    for launch in launches:
        fits = left and any(word in launch["kernel"] for word in LAUNCHED[left[0].kind]) and "parts" not in launch["kernel"]
        pairs.append((left.pop(0) if fits else None, launch))
    return pairs, left


def print_counted(path, card):
    about, launches = count.read(path)
    if about["dtype"] == "fp32":
        sys.exit("bench/gpu/predict.py: predictions are of bf16 and fp16")
    launches = [r for r in launches if r["kernel"] != "probe"]  # of the start, before any batch
    shape = harness.Shape(about["layers"], about["hidden"], about["heads"], about["inner"])
    pairs, left = matched(bert(shape, about["lengths"]), launches)
    print(f"{about['model']}, {about['layers']} layers, {about['batch']}, {about['dtype']}\n\n"
          "| kernel | launched | blocks | fewest, MB | once, MB | asked, MB | moved, MB | GFLOP | mma, GFLOP | passes | conflicts | "
          "predicted, µs | counted, µs |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    total = [LAUNCH + 2 * COPY] * 2
    for k, r in pairs:
        known = k is not None
        k = k or Kernel("not predicted", "stream", 0, 0)
        seconds = k.seconds(card) if known else 0, k.counted(r).seconds(card)
        total = [t + s for t, s in zip(total, seconds)]
        once, asked, moved = (r["global_read" + what] + r["global_written" + what] for what in ("_once", "", "_moved"))
        print(f"| {k.name} | {r['kernel'].strip('()')} | {r['blocks']} | {k.bytes / 1e6:.2f} | {once / 1e6:.2f} | {asked / 1e6:.2f} | "
              f"{moved / 1e6:.2f} | {k.flop / 1e9:.3f} | {r['mma_flops'] / 1e9:.3f} | {r['shared_phases']} | "
              f"{r['shared_conflicts']} | {1e6 * seconds[0]:.1f} | {1e6 * seconds[1]:.1f} |")
    for k in left:
        print(f"| {k.name} | nothing | | {k.bytes / 1e6:.2f} | | | | {k.flop / 1e9:.3f} | | | | {1e6 * k.seconds(card):.1f} | |")
    print(f"\nThe batch: {1e3 * total[0]:.3f} ms predicted, {1e3 * total[1]:.3f} ms from the counts.")


def print_kernels(model, batch, kernels, card):
    alike = {}
    for k in kernels:
        key = re.sub(r"^[0-9]+(\.[0-9]+)? ", "", k.name), k.flop, k.bytes, k.tiles
        alike.setdefault(key, []).append(k)
    print(f"\n## {model}, {batch}\n\n| kernel | how often | GFLOP | MB | predicted, µs |\n|---|--:|--:|--:|--:|")
    for (name, *_), same in alike.items():
        k = same[0]
        print(f"| {name} | {len(same)} | {k.flop / 1e9:.2f} | {k.bytes / 1e6:.2f} | {1e6 * k.seconds(card):.1f} |")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--card", default="H200", choices=CARDS)
    p.add_argument("--kernels", action="store_true")
    p.add_argument("--counts", metavar="FILE")
    args = p.parse_args()
    card = CARDS[args.card]
    if args.counts:
        print_counted(args.counts, card)
        return
    if args.kernels:
        print(f"# Kernels of a batch, predicted for an {args.card}\n\nBy `bench/gpu/predict.py --kernels`, each kernel's own "
              "time; see its head. Compared with a card by\n`bench/gpu/steps.py`.")
    else:
        print("| model | batch | GFLOP | floor, ms | predicted, ms | TFLOP/s | of that: products | attention | the rest |\n"
              "|---|---|--:|--:|--:|--:|--:|--:|--:|")
    for model, batch, kernels in cases():
        if args.kernels:
            print_kernels(model, batch, kernels, card)
            continue
        flop = sum(k.flop for k in kernels)
        floor = sum(max(k.flop / card["matrix"], k.bytes / card["copy"]) for k in kernels)
        by = {kind: sum(k.seconds(card) for k in kernels if k.kind == kind) for kind in SHARE}
        total = sum(by.values()) + LAUNCH + 2 * COPY
        print(f"| {model} | {batch} | {flop / 1e9:.1f} | {1e3 * floor:.3f} | {1e3 * total:.3f} | {flop / total / 1e12:.0f} | "
              f"{1e3 * by['product']:.3f} | {1e3 * by['attention']:.3f} | {1e3 * (by['stream'] + LAUNCH + 2 * COPY):.3f} |")


if __name__ == "__main__":
    main()
