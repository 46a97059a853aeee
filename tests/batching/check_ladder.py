#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rounding batches up to recorded sizes may cost 7 % of the kernels' time, whatever the load: bench/gpu/ladder.py's
trace, through the daemon's own scheduler, plans and ladder, of bundled lengths and of real texts where they are.
Python's standard library only."""

import os
import sys

BUILD = os.path.abspath(os.environ.get("top_builddir", "."))
sys.path.insert(0, os.path.join(os.path.abspath(os.environ.get("top_srcdir", ".")), "bench", "gpu"))
sys.dont_write_bytecode = True
import ladder  # noqa: E402

N = 4000  # texts a load


def lengths():
    """(what they are, lengths)"""
    yield "bundled lengths", ladder.MIXED
    for path in ladder.REAL_TEXTS:
        if not (os.path.exists(path) and os.path.isdir(ladder.TOKENIZER)):
            print(f"SKIP: there is no {path}, or no {ladder.TOKENIZER}")
            continue
        name = os.path.basename(os.path.dirname(path))
        yield name, ladder.count_tokens(BUILD, ladder.TOKENIZER, ladder.read_texts(path))


def wrong_of(told):
    """Sentences about one trace."""
    if not told["lost"] <= ladder.TARGET:
        yield f"{told['lost']:.2%} of the time is lost to padding"
    if told["long_padding"] != 0:
        yield f"batches that are not recorded were rounded up by {told['long_padding']} tokens"
    if told["padding"] == 0:
        yield "nothing was rounded up: this is no trace of the ladder"


def check():
    texts = list(lengths())
    for name, shape in ladder.MODELS.items():
        model = ladder.Model(shape, ladder.CARDS["H200"])
        for kind, of_them in texts:
            traces = {load: ladder.trace(BUILD, model, of_them, load, N) for load in ladder.LOADS}
            for load, told in traces.items():
                yield [f"{name}, {kind}, load {load:.0%}: {sentence}" for sentence in wrong_of(told)]
            load, most = max(traces.items(), key=lambda t: t[1]["lost"])
            print(f"{name}, {kind}: at most {most['lost']:.2%} of the time lost, at {load:.0%} of the load, "
                  f"{most['tokens'] / most['batches']:.0f} tokens a batch")
        if name == "BERT-base" and not any(told["long_batches"] for told in traces.values()):
            yield [f"{name}: no batch was long enough for its exact size"]


def main():
    if os.environ.get("ENSOD_TEST_SANITIZED"):
        print("SKIP: the same numbers come out of any build")
        return 77
    results = list(check())
    print("\n".join(sentence for sentences in results for sentence in sentences))
    failed = sum(map(bool, results))
    print(f"{100 * (len(results) - failed) // len(results)}%: Checks: {len(results)}, Failures: {failed}, Errors: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
