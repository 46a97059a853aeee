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
from daemon import BUILD, BUNDLED, ENSOD, MODELS, PATIENCE, Daemon, main  # noqa: E402

LIBRARY = os.path.join(BUILD, "tests", "cuda_emulation", "libcublasLt-emulated.so")


def environment(state=None):
    env = {"ENSOD_CUDA_MODULE": check_cuda.EMULATED, "ENSOD_CUBLASLT": LIBRARY}
    if state is not None:
        env["STATE_DIRECTORY"] = state
    return env


class ByTheLibrary(check_cuda.OnTheGpu):
    @classmethod
    def setUpClass(cls):
        cls.gpu = Daemon("--device", "cuda:0", models=(BUNDLED,), env=environment())
        cls.cpu = Daemon("--device", "cpu", models=(BUNDLED,))

    def test_it_is_told(self):
        told = [line for line in self.gpu.log if 'msg="matrix products"' in line]
        self.assertEqual(len(told), 1, told)
        self.assertIn("cuBLASLt 13.1.0 of " + LIBRARY, told[0])
        self.assertTrue(any("cuBLASLt 13.1.0" in line for line in self.gpu.log if "device open" in line))


class Tuning(unittest.TestCase):
    def tune(self, *arguments, **env):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ENSOD_")} | env
        return subprocess.run([ENSOD, "--tune", *arguments], env=env, capture_output=True, text=True,
                              timeout=PATIENCE)

    def test_tuned_once_used_later(self):
        with tempfile.TemporaryDirectory() as state:
            config = os.path.join(state, "ensod.conf")
            with open(config, "w", encoding="utf-8") as f:
                f.write("[batching]\nmax_batch_tokens = 16\n")
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
    if not os.path.exists(LIBRARY):
        print(f"SKIP: {LIBRARY} was not built (it needs a C++ compiler)")
        sys.exit(77)
    main(sys.modules["__main__"])
