#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon with the emulated GPU and the emulated cuBLASLt: every bundled model answers as it does on the
processor, and what --tune timed is used by the next start. Python's standard library only."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
import check_cuda  # noqa: E402
from make_models import field, float_tensor, node, value_info  # noqa: E402
from daemon import THREAD_SANITIZED, BUILD, BUNDLED, ENSOD, MODELS, PATIENCE, Daemon, main  # noqa: E402

LIBRARY = os.path.join(BUILD, "tests", "cuda_emulation", "libcublasLt-emulated.so")


def environment(state=None):
    env = {"ENSOD_CUDA_MODULE": check_cuda.EMULATED, "ENSOD_CUBLASLT": LIBRARY}
    if state is not None:
        env["STATE_DIRECTORY"] = state
    return env


class Library:
    """A class of check_cuda with the library."""

    @classmethod
    def setUpClass(cls):
        plain = check_cuda.gpu
        check_cuda.gpu = lambda *arguments, models=(BUNDLED,), **kw: Daemon(*arguments, models=models,
                                                                           env=environment(), **kw)
        try:
            super().setUpClass()
        finally:
            check_cuda.gpu = plain

    def test_it_is_told(self):
        told = [line for line in self.gpu.log if 'msg="matrix products"' in line]
        self.assertEqual(len(told), 1, told)
        self.assertIn("cuBLASLt 13.1.0 of " + LIBRARY, told[0])
        self.assertTrue(any("cuBLASLt 13.1.0" in line for line in self.gpu.log if "device open" in line))
        page = self.gpu.metrics()
        origins = {o: page['ensod_device_product_algorithms{device="%s",origin="%s"}' % (check_cuda.NAME, o)]
                   for o in ("own", "heuristic", "timed")}
        self.assertGreater(origins["heuristic"], 0, origins)
        self.assertEqual(origins["timed"], 0, origins)


class InFp32(Library, check_cuda.OnTheGpu):
    def test_bits_may_depend_on_the_batch(self):
        for model in self.models(self.gpu):
            self.assertFalse(model["batch_invariant"], model)


class InBf16(Library, check_cuda.InBf16):
    pass


class InFp16(Library, check_cuda.InFp16):
    pass


class Invariant(unittest.TestCase):
    def answers(self, d, path, model, key, given):
        status, _, answer = d.post(path, {"model": model, "input": given})
        self.assertEqual(status, 200, answer)
        return [row[key] for row in answer["data"]]

    def test_bits_alone_and_in_a_batch(self):
        """For one model they are to be the same, for the other they need not be, and here are not."""
        d = Daemon("--device", "cuda:0", "--dtype", "fp32", models=(BUNDLED,), env=environment(),
                   config="[server]\ndefault_timeout = 0\n"
                          "[batching]\nmax_batch_ms = 60000\nmax_batch_tokens = 4096\n"
                          "[model intents]\nbatch_invariant = yes\n")
        try:
            told = {m["id"]: m["batch_invariant"] for m in check_cuda.OnTheGpu.models(d)}
            self.assertTrue(told["intents"])
            self.assertFalse(told["embeddings"])
            texts = [s for s in check_cuda.SENTENCES if s]
            for path, model, key, same in (("/v1/classify", "intents", "probs", True),
                                           ("/v1/embeddings", "embeddings", "embedding", False)):
                alone = [row for text in texts for row in self.answers(d, path, model, key, text)]
                together = self.answers(d, path, model, key, texts * 5)[:len(texts)]
                self.assertEqual(alone == together, same, model)
        finally:
            self.assertEqual(d.stop(), 0)


class Tuning(unittest.TestCase):
    def tune(self, *arguments, **env):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ENSOD_")} | env
        return subprocess.run([ENSOD, "--tune", *arguments], env=env, capture_output=True, text=True,
                              timeout=PATIENCE)

    def test_tuned_once_used_later(self):
        with tempfile.TemporaryDirectory() as state:
            config = os.path.join(state, "ensod.conf")
            with open(config, "w", encoding="utf-8") as f:
                f.write("[batching]\nmax_batch_tokens = 16\nmax_batch_items = 16\n")
            done = self.tune("--device", "cuda:0", "--config", config, os.path.join(MODELS, "intents"),
                             **environment(state))
            self.assertEqual(done.returncode, 0, done.stderr)
            rows = done.stdout.splitlines()
            n = len(rows) - 2  # a head and the sum
            self.assertGreaterEqual(n, 3, done.stdout)
            self.assertIn(f"{n} timed", rows[-1])
            files = [name for name in os.listdir(state) if name.startswith("algorithms-")]
            self.assertEqual(len(files), 1, files)

            def notes():
                d = Daemon("--device", "cuda:0", models=(MODELS,),
                           env=environment(state) | {"ENSOD_LOG_LEVEL": "info"})
                self.assertEqual(d.post("/v1/classify", {"model": "intents", "input": "hello"})[0], 200)
                self.assertEqual(d.stop(), 0)
                return [line for line in d.log if "timed products" in line]

            told = notes()
            self.assertEqual(len(told), 1, told)
            self.assertIn(f"{n} timed products", told[0])
            with open(os.path.join(state, files[0]), "r+b") as f:
                f.truncate(os.path.getsize(f.name) - 1)
            told = notes()
            self.assertEqual(len(told), 1, told)
            self.assertIn("level=warning", told[0])
            self.assertIn("its end is missing", told[0])

    def test_tuned_on_two_gpus(self):
        """Each for its models; cards of one kind share a file, in which both have a part."""
        with tempfile.TemporaryDirectory() as state:
            config = os.path.join(state, "ensod.conf")
            with open(config, "w", encoding="utf-8") as f:
                f.write("[batching]\nmax_batch_tokens = 16\nmax_batch_items = 16\n")
            done = self.tune("--device", "cuda:0,cuda:1", "--config", config, os.path.join(MODELS, "intents"),
                             os.path.join(MODELS, "fashion"),
                             **environment(state), ENSO_CUDA_EMULATED_DEVICES="2")
            self.assertEqual(done.returncode, 0, done.stderr)
            rows = done.stdout.splitlines()
            self.assertEqual([row for row in rows if row.startswith("cuda:")], ["cuda:0", "cuda:1"])
            timed = [int(row.split()[0]) for row in rows if " timed, " in row]
            self.assertEqual(len(timed), 2, done.stdout)
            (name,) = [name for name in os.listdir(state) if name.startswith("algorithms-")]
            with open(os.path.join(state, name), encoding="utf-8") as f:
                kept = int(f.read().splitlines()[-1].split()[1])
            self.assertGreater(kept, max(timed), done.stdout)
            self.assertLessEqual(kept, sum(timed))

    def test_rows_of_pictures(self):
        """A convolution of 1x1 has a row for each pixel of a batch."""
        with tempfile.TemporaryDirectory() as state:
            model, config = os.path.join(state, "plain.onnx"), os.path.join(state, "ensod.conf")
            weight = float_tensor("w", [8, 8, 1, 1], [0.125] * 64)
            graph = (field(1, node("Conv", ["x", "w"], "y", kernel_shape=[1, 1])) + field(2, "plain") + field(5, weight) +
                     field(11, value_info("x", ["batch", 8, 5, 6])) + field(12, value_info("y", ["batch", 8, 5, 6])))
            with open(model, "wb") as f:
                f.write(field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13)))
            with open(config, "w", encoding="utf-8") as f:
                f.write("[batching]\nmax_batch_items = 2\nmax_batch_tokens = 16\n")
            done = self.tune("--device", "cuda:0", "--config", config, model, **environment(state))
            self.assertEqual(done.returncode, 0, done.stderr)
            rows = [int(line.split()[4]) for line in done.stdout.splitlines()[1:-1]]
            self.assertEqual(rows, [16, 24, 32, 48, 64])  # two pictures have 60

    def test_nothing_to_tune(self):
        model = os.path.join(MODELS, "intents")
        for words, arguments, env in (
                ("without a GPU", ("--device", "cpu", model), environment()),
                ("has no cuBLASLt", ("--device", "cuda:0", model), environment() | {"ENSOD_CUBLASLT": "none"}),
                ("there is no file '/nowhere'", ("--device", "cuda:0", model),
                 environment() | {"ENSOD_CUBLASLT": "/nowhere"}),
                ("name the models", ("--device", "cuda:0"), environment())):
            done = self.tune(*arguments, **env)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    if THREAD_SANITIZED:
        print("SKIP: an emulated card takes too long under ThreadSanitizer")
        sys.exit(77)
    if not os.path.exists(LIBRARY):
        print(f"SKIP: {LIBRARY} was not built (it needs a C++ compiler)")
        sys.exit(77)
    main(sys.modules["__main__"])
