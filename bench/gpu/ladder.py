#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What rounding batches of texts up to recorded sizes costs in time, on texts that arrive one by one.

    bench/gpu/ladder.py [--card H200] [--texts FILE...] [--n 20000]

Texts arrive by chance (Poisson), at some shares of what the card could do with full batches; a lane takes what waits,
at most MAX_TOKENS, whenever the batch before is through. Batches that compute less than LONG times what launching
their kernels takes are rounded up as kernels/cuda/capture.c does, to steps of 64 tokens, of 16 below 128; their
time is that of the rounded size, by the kernels of predict.py. Printed: the time that the added tokens took, as a share of
all, and the most that a size can lose. FILE: a text a line, or CSV with a heading whose first column is the text; their words count a
sixth more as pieces, and two special tokens (lengths.py). Without one, its lengths."""

import argparse
import csv
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402
from lengths import MIXED  # noqa: E402
from predict import CARDS, LAUNCH, COPY, bert  # noqa: E402

MAX_TOKENS = 16384
MAX_LENGTH = 512
LONG = 4          # batches that take so many times longer than their launches are not recorded
ENQUEUE = 2.5e-6  # of a kernel's launch, on the host


def round_up(tokens):
    step = 16 if tokens < 128 else 64
    return -(-tokens // step) * step


def count_tokens(text):
    return min(round(len(text.split()) * 7 / 6) + 2, MAX_LENGTH)


def read_lengths(path):
    with open(path, newline="", encoding="utf-8", errors="replace") as f:
        csv_file = path.endswith(".csv")
        rows = csv.reader(f) if csv_file else ([line] for line in f)
        if csv_file:
            next(rows, None)
        return [count_tokens(row[0]) for row in rows if row and row[0].strip()]


class Model:
    """Times of one model on one card; a size is computed once."""

    def __init__(self, shape, card):
        self.shape, self.card, self.known = shape, card, {}

    def batch(self, tokens):
        """Seconds of the kernels, and of their launches, for so many tokens in texts of usual length."""
        if tokens not in self.known:
            mean = sum(MIXED) // len(MIXED)
            lengths = [mean] * (tokens // mean) + ([tokens % mean] if tokens % mean else [])
            kernels = list(bert(self.shape, lengths))
            self.known[tokens] = sum(k.seconds(self.card) for k in kernels), len(kernels) * ENQUEUE
        return self.known[tokens]

    def serve(self, tokens):
        """Seconds of a batch as it is run, and as it would be if every size were recorded."""
        exact, enqueue = self.batch(tokens)
        if exact > LONG * enqueue:
            return exact + 2 * COPY, exact + 2 * COPY
        return self.batch(min(round_up(tokens), MAX_TOKENS))[0] + LAUNCH + 2 * COPY, exact + LAUNCH + 2 * COPY


def trace(model, lengths, share, n, rng):
    """Serve n texts; gives back the seconds of all batches as run, of the exact sizes, and the mean size."""
    full, _ = model.serve(MAX_TOKENS)
    rate = share * MAX_TOKENS / full / (sum(lengths) / len(lengths))
    arrivals, now = [], 0.0
    for _ in range(n):
        now += rng.expovariate(rate)
        arrivals.append((now, rng.choice(lengths)))
    now, at, run, exact, batches = 0.0, 0, 0.0, 0.0, 0
    while at < n:
        now, tokens = max(now, arrivals[at][0]), 0
        while at < n and arrivals[at][0] <= now and tokens + arrivals[at][1] <= MAX_TOKENS:
            tokens += arrivals[at][1]
            at += 1
        a, b = model.serve(tokens)
        now, run, exact, batches = now + a, run + a, exact + b, batches + 1
    return run, exact, sum(length for _, length in arrivals) / batches


def worst(model):
    return max((model.serve(t)[0] / model.serve(t)[1] - 1, t) for t in range(8, 4096))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--card", default="H200", choices=CARDS)
    p.add_argument("--texts", nargs="*", default=[])
    p.add_argument("--n", type=int, default=20000)
    args = p.parse_args()
    lengths = [n for path in args.texts for n in read_lengths(path)] or MIXED
    print(f"{len(lengths)} texts of {sum(lengths) / len(lengths):.1f} tokens\n\n"
          "| model | load | tokens a batch | time lost |\n|---|--:|--:|--:|")
    for name, shape in (("MiniLM-L6", harness.MINILM), ("BERT-base", harness.BERT_BASE)):
        model = Model(shape, CARDS[args.card])
        for share in (0.02, 0.1, 0.2, 0.3, 0.4, 0.6, 0.9):
            run, exact, mean = trace(model, lengths, share, args.n, random.Random(1))
            print(f"| {name} | {share:.0%} | {mean:.0f} | {run / exact - 1:.2%} |")
        loss, tokens = worst(model)
        print(f"| {name} | worst size | {tokens} | {loss:.2%} |")


if __name__ == "__main__":
    main()
