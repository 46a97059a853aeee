#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the daemon tells of padding, over the emulated card: texts arrive one by one, and its metrics are what the
ladder of kernels/cuda/ladder.h makes of their sizes. The texts are those of bench/gpu/ladder.py, real ones where they
are. With ENSO_TEST_MODULE the module of that path is asked instead, on a real card, where long batches are exact.
Python's standard library only."""

import concurrent.futures
import os
import random
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "bench", "gpu")]
sys.dont_write_bytecode = True
import ladder  # noqa: E402
from daemon import BUILD, MODELS, THREAD_SANITIZED, Daemon, main  # noqa: E402

EMULATED = os.path.join(BUILD, "tests", "cuda_emulation", "ensod-cuda-emulated.so")
MODULE = os.environ.get("ENSO_TEST_MODULE") or EMULATED
ONE_BY_ONE, AT_ONCE, CLIENTS = 150, 200, 12
BUNDLED = ["Where is my new card?", "The machine swallowed my card and gave me no money at all.", "x",
           "I was charged twice for the same coffee yesterday, how do I get my money back?"]


def some_texts(n):
    paths = [path for path in ladder.REAL_TEXTS if os.path.exists(path)]
    if not paths:
        print(f"SKIP: real texts, there is no {ladder.REAL_TEXTS[0]}; bundled ones are sent")
    rng = random.Random(1)
    texts = [text for path in paths for text in ladder.read_texts(path)] or [
        " ".join(BUNDLED[:k] + [str(k)] * k) for k in range(1, len(BUNDLED) + 1)]
    return rng.choices(texts, k=n)


def padding(tokens):
    """Steps of 16 below 128 tokens, of 64 from there on."""
    return -tokens % (16 if tokens < 128 else 64)


class Padding(unittest.TestCase):
    def setUp(self):
        self.d = Daemon("--device", "cuda:0", "--dtype", "fp32", models=(os.path.join(MODELS, "embeddings"),),
                        env={"ENSOD_CUDA_MODULE": MODULE}, config="[batching]\ntruncate = true\n")
        self.before = self.d.metrics()

    def tearDown(self):
        self.assertEqual(self.d.stop(), 0)

    def ask(self, text):
        """Sends the text; how many tokens it has."""
        status, _, answer = self.d.post("/v1/embeddings", {"model": "embeddings", "input": text})
        self.assertEqual(status, 200, answer)
        return answer["usage"]["prompt_tokens"]

    def told(self):
        """(input, padding, batches, of these with at most 128 tokens); device and model must tell alike."""
        now = self.d.metrics()

        def sum_of(name, *labels):
            return int(sum(v - self.before.get(k, 0) for k, v in now.items()
                           if k.startswith(name) and all(label in k for label in labels)))
        told = [sum_of("ensod_tokens_total", f'kind="{kind}"') for kind in ("input", "wasted")]
        self.assertEqual(told, [sum_of("ensod_device_tokens_total", f'kind="{kind}"') for kind in ("input", "padding")])
        return *told, sum_of("ensod_batch_tokens_count"), sum_of("ensod_batch_tokens_bucket", 'le="128.0"')

    def test_one_by_one(self):
        """A batch a text: to the token."""
        sizes = [self.ask(text) for text in some_texts(ONE_BY_ONE)]
        tokens, wasted, batches, _ = self.told()
        self.assertEqual((tokens, batches), (sum(sizes), ONE_BY_ONE))
        expected = sum(map(padding, sizes))
        self.assertGreater(expected, 0)
        self.assertLessEqual(wasted, expected)  # less where a plan's batches are long, and so exact
        if MODULE == EMULATED:
            self.assertGreater(wasted, 0)

    def test_at_once(self):
        """Whoever shares a batch: less than a step each; none where an emulated card's clock calls it long."""
        rng = random.Random(2)

        def ask(text):
            time.sleep(rng.expovariate(100))
            return self.ask(text)
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            sizes = list(pool.map(ask, some_texts(AT_ONCE)))
        tokens, wasted, batches, short = self.told()
        self.assertEqual(tokens, sum(sizes))
        self.assertLess(batches, AT_ONCE)
        self.assertLessEqual(wasted, 15 * short + 63 * (batches - short))
        print(f"{batches} batches of {tokens / batches:.0f} tokens, {wasted / tokens:.1%} of padding")


if __name__ == "__main__":
    if not os.path.exists(MODULE):
        print(f"SKIP: {MODULE} was not built (it needs a C++ compiler)")
        sys.exit(77)
    if THREAD_SANITIZED:
        print("SKIP: an emulated card takes too long under ThreadSanitizer")
        sys.exit(77)
    main(sys.modules["__main__"])
