#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What rounding batches of texts up to recorded sizes costs in time, on texts that arrive one by one.

    bench/gpu/ladder.py [--build DIR] [--card H200] [--texts FILE...] [--tokenizer FOLDER] [--n 20000]

Texts arrive by chance (Poisson), at some shares of what the card could do with full batches. The daemon's own
scheduler forms the batches, its own code rounds them up (tests/batching/trace_cli.c), over virtual time; how long a
batch takes is what predict.py says, kernel by kernel, its tokens in texts of usual length. Printed for each load: the
time that the added tokens took, as a share of the kernels' time, which may be 7 %; and the most that a size can lose.
Texts: the bundled lengths (lengths.py), or those of files, a text a row of tab or comma separated fields, the longest
of them, as the tokenizer cuts them up. Python's standard library only."""

import argparse
import copy
import csv
import json
import os
import random
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import harness  # noqa: E402
from lengths import MIXED  # noqa: E402
from predict import CARDS, COPY, LAUNCH, bert  # noqa: E402

TARGET = 0.07
MODELS = {"MiniLM-L6": harness.MINILM, "BERT-base": harness.BERT_BASE}
LOADS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.9)
FULL = 16384  # tokens of the batches that the loads are shares of
MAX_LENGTH = 512
ENQUEUE = 2.5e-6  # of a kernel's launch, on the host
TOKENIZER = os.path.join(harness.SHARED, "data", "tokenizers", "bert-base-uncased")
REAL_TEXTS = [os.path.join(harness.SHARED, "data", "text", *name) for name in
              (("sst2", "train.tsv"), ("banking77", "train.csv"), ("agnews", "train.csv"))]
# Whatever the model, its texts are but lengths: the smallest that is bundled stands for it.
STANDS_FOR_IT = os.path.join(harness.TOP, "models", "embeddings")


def read_texts(path):
    with open(path, newline="", encoding="utf-8") as f:
        rows = csv.reader(f, delimiter=",", quotechar='"') if path.endswith(".csv") else (r.split("\t") for r in f)
        return [max(row, key=len).strip() for row in rows if row and row != ["text", "category"]]  # the heading


def count_tokens(build, tokenizer, texts):
    """Lengths of texts, special tokens among them."""
    lines = "".join(json.dumps({"text": t, "special": True, "max_length": MAX_LENGTH, "truncate": "right"}) + "\n"
                    for t in texts)
    done = subprocess.run([harness.program(build, "tests/engine/text/tokenize_cli"), tokenizer], input=lines,
                          capture_output=True, text=True, check=True)
    return [len(json.loads(line)["ids"]) for line in done.stdout.splitlines()]


def with_layers(shape, n):
    fewer = copy.copy(shape)
    fewer.layers = n
    return fewer


def predicted(shape, card, tokens):
    """Seconds of the kernels of a batch; layers are all alike."""
    mean = sum(MIXED) // len(MIXED)
    lengths = [mean] * (tokens // mean) + ([tokens % mean] if tokens % mean else [])
    one, two = (sum(k.seconds(card) for k in bert(with_layers(shape, n), lengths)) for n in (1, 2))
    return one + (shape.layers - 1) * (two - one)


class Model:
    """Times of one model on one card, for trace_cli."""

    def __init__(self, shape, card):
        self.times = [(n, round(1e9 * predicted(shape, card, n))) for n in range(1, FULL + 1)]
        self.full_seconds = 1e-9 * self.times[-1][1]
        self.enqueue = len(list(bert(shape, [FULL]))) * ENQUEUE


def arrivals(model, lengths, load, n):
    rng = random.Random(1)
    rate, now = load * FULL / model.full_seconds / (sum(lengths) / len(lengths)), 0.0
    for _ in range(n):
        now += rng.expovariate(rate)
        yield round(1e9 * now), rng.choice(lengths)


def trace(build, model, lengths, load, n):
    """What trace_cli says of n such texts, and "lost", the share of the time."""
    texts = list(arrivals(model, lengths, load, n))
    words = [round(1e9 * model.enqueue), round(1e9 * (LAUNCH + COPY))]
    for pairs in (model.times, texts):
        words += [len(pairs), *(number for pair in pairs for number in pair)]
    done = subprocess.run([harness.program(build, "tests/batching/trace_cli"), STANDS_FOR_IT],
                          input=" ".join(map(str, words)), stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(done.stdout)
    return {**told, "lost": told["run_ns"] / told["exact_ns"] - 1}


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--build", default=os.path.join(harness.TOP, "build"))
    p.add_argument("--card", default="H200", choices=CARDS)
    p.add_argument("--texts", nargs="*", default=[])
    p.add_argument("--tokenizer", default=TOKENIZER)
    p.add_argument("--n", type=int, default=20000)
    args = p.parse_args()
    lengths = count_tokens(args.build, args.tokenizer, [t for path in args.texts for t in read_texts(path)]) or MIXED
    print(f"{len(lengths)} texts of {sum(lengths) / len(lengths):.1f} tokens\n\n"
          "| model | load | tokens a batch | most | batches not rounded | time lost |\n|---|--:|--:|--:|--:|--:|")
    missed = False
    for name, shape in MODELS.items():
        model = Model(shape, CARDS[args.card])
        for load in LOADS:
            t = trace(args.build, model, lengths, load, args.n)
            print(f"| {name} | {load:.0%} | {t['tokens'] / t['batches']:.0f} | {t['largest']} | "
                  f"{t['long_batches'] / t['batches']:.0%} | {t['lost']:.2%} |", flush=True)
            missed = missed or t["lost"] > TARGET
        print(f"| {name} | worst size | {t['worst_tokens']} | | | {t['worst']:.2%} |")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
