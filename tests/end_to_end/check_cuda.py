#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon with its GPU module, over the emulated runtime (tests/cuda_emulation): every bundled model answers
on the GPU as it does on the processor, and a machine without a usable GPU says so. With ENSO_TEST_MODULE the
module of that path is asked instead, on a real card. Python's standard library only."""

import json
import math
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "examples")]
from daemon import BUILD, BUNDLED, ENSOD, MODELS, PATIENCE, SOURCE, Daemon, main  # noqa: E402

EMULATED = os.path.join(BUILD, "tests", "cuda_emulation", "ensod-cuda-emulated.so")
MODULE = os.environ.get("ENSO_TEST_MODULE") or EMULATED
NAME = "cuda-emulated:0" if MODULE == EMULATED else "cuda:0"
SENTENCES = ["The machine swallowed my card.", "Where is my new card?", "x",
             "I was charged twice for the same coffee yesterday, how do I get my money back?", ""]
FEW_SENTENCES = SENTENCES[1:3] if MODULE == EMULATED else [s for s in SENTENCES if s]
PICTURES = [("fashion", "sneaker.png")]
# Probabilities of the two devices differ by rounding only: float sums in another order.
NEAR = 2e-5


def gpu(*arguments, models=(BUNDLED,), module=MODULE, emulated=None, **kw):
    env = {"ENSOD_CUDA_MODULE": module}
    if emulated is not None:
        env["ENSO_CUDA_EMULATED"] = emulated
    return Daemon(*arguments, models=models, env=env, **kw)


class OnTheGpu(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gpu = gpu("--device", "cuda:0", "--dtype", "fp32")
        cls.cpu = Daemon("--device", "cpu", models=(BUNDLED,))

    @classmethod
    def tearDownClass(cls):
        for d in (cls.gpu, cls.cpu):
            if d.stop() != 0:
                raise AssertionError("\n".join(d.log[-40:]))

    def both(self, ask):
        return ask(self.gpu), ask(self.cpu)

    def same_rows(self, gpu, cpu):
        self.assertEqual(len(gpu), len(cpu))
        for g, c in zip(gpu, cpu):
            self.assertEqual(g["label"], c["label"])
            for a, b in zip(g["probs"], c["probs"]):
                self.assertAlmostEqual(a, b, delta=NEAR)

    def test_every_bundled_model_is_there(self):
        answer = self.models(self.gpu)
        self.assertEqual({m["id"] for m in answer}, {m["id"] for m in self.models(self.cpu)})
        for model in answer:
            self.assertEqual((model["id"], model["state"], model["device"]), (model["id"], "ready", NAME))
            self.assertEqual(model["dtype"], "float32")
            self.assertNotIn("device_fallback", model)
            self.assertGreater(model["weight_bytes"], 0)
        self.assertTrue(all(v == 0 for k, v in self.gpu.metrics().items()
                            if k.startswith("ensod_model_device_fallback")))

    @staticmethod
    def models(d):
        return json.loads(d.get("/v1/models")[2])["data"]

    def test_sentences(self):
        """Alone, and all in one ragged batch."""
        texts = [s for s in SENTENCES if s]
        for given in [*texts, texts]:
            gpu, cpu = self.both(lambda d: d.post("/v1/classify", {"model": "intents", "input": given}))
            self.assertEqual((gpu[0], cpu[0]), (200, 200), gpu[2])
            self.same_rows(gpu[2]["data"], cpu[2]["data"])

    def test_pictures(self):
        for model, name in PICTURES:
            with open(os.path.join(SOURCE, "examples", "pictures", name), "rb") as f:
                picture = f.read()
            gpu, cpu = self.both(lambda d: d.request("POST", f"/v1/classify?model={model}", picture,
                                                     {"Content-Type": "image/png"}))
            self.assertEqual((gpu[0], cpu[0]), (200, 200), gpu[2])
            self.same_rows(json.loads(gpu[2])["data"], json.loads(cpu[2])["data"])

    def test_embeddings(self):
        texts = [s for s in SENTENCES if s]
        gpu, cpu = self.both(lambda d: d.post("/v1/embeddings", {"model": "embeddings", "input": texts}))
        self.assertEqual((gpu[0], cpu[0]), (200, 200), gpu[2])
        for g, c in zip(gpu[2]["data"], cpu[2]["data"]):
            for a, b in zip(g["embedding"], c["embedding"]):
                self.assertAlmostEqual(a, b, delta=NEAR)


class InAHalf:
    """Every bundled model in a half type against the processor's fp32: the same labels, logits within `NEAR` of
    the largest, embeddings in the same direction."""

    @classmethod
    def setUpClass(cls):
        # emulated matrix instructions take their time
        cls.gpu = gpu("--device", "cuda:0", "--dtype", cls.DTYPE, config="[server]\ndefault_timeout = 0\n")
        cls.cpu = Daemon("--device", "cpu", models=(BUNDLED,))

    @classmethod
    def tearDownClass(cls):
        for d in (cls.gpu, cls.cpu):
            if d.stop() != 0:
                raise AssertionError("\n".join(d.log[-40:]))

    def test_type_is_told(self):
        for model in OnTheGpu.models(self.gpu):
            self.assertEqual((model["id"], model["device"], model["dtype"], model.get("dtype_reason")),
                             (model["id"], NAME, self.NAME, None))
        self.assertTrue(self.gpu.logged(f"dtype={self.NAME}"))

    def near_rows(self, gpu, cpu):
        self.assertEqual(len(gpu), len(cpu))
        for g, c in zip(gpu, cpu):
            largest = max(abs(x) for x in c["probs"])
            for a, b in zip(g["probs"], c["probs"]):
                self.assertAlmostEqual(a, b, delta=self.NEAR * largest)
            self.assertEqual(g["label"], c["label"])

    def test_sentences(self):
        texts = FEW_SENTENCES
        gpu, cpu = (d.post("/v1/classify", {"model": "intents", "input": texts, "raw_scores": True})
                    for d in (self.gpu, self.cpu))
        self.assertEqual((gpu[0], cpu[0]), (200, 200), gpu[2])
        self.near_rows(gpu[2]["data"], cpu[2]["data"])

    def test_pictures(self):
        for model, name in PICTURES:
            with open(os.path.join(SOURCE, "examples", "pictures", name), "rb") as f:
                picture = f.read()
            gpu, cpu = (d.request("POST", f"/v1/classify?model={model}&raw_scores=true", picture,
                                  {"Content-Type": "image/png"}) for d in (self.gpu, self.cpu))
            self.assertEqual((gpu[0], cpu[0]), (200, 200), gpu[2])
            self.near_rows(json.loads(gpu[2])["data"], json.loads(cpu[2])["data"])

    def test_embeddings(self):
        texts = FEW_SENTENCES
        gpu, cpu = (d.post("/v1/embeddings", {"model": "embeddings", "input": texts}) for d in (self.gpu, self.cpu))
        self.assertEqual((gpu[0], cpu[0]), (200, 200), gpu[2])
        for g, c in zip(gpu[2]["data"], cpu[2]["data"]):
            a, b = g["embedding"], c["embedding"]
            cosine = sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
            self.assertGreater(cosine, 0.999)


class InBf16(InAHalf, unittest.TestCase):
    DTYPE, NAME, NEAR = "bf16", "bfloat16", 2e-2


class InFp16(InAHalf, unittest.TestCase):
    DTYPE, NAME, NEAR = "fp16", "float16", 4e-3


class OfTheirOwn(unittest.TestCase):
    """dtype and gelu for one model; a card without bf16."""

    def test_a_model_of_its_own(self):
        config = ("[device]\ndtype = auto\n[model intents]\ndtype = fp32\n[model embeddings]\ndtype = bf16\n"
                  "gelu = fast\n")
        d = gpu("--device", "cuda:0", models=(BUNDLED,), config=config)
        try:
            types = {m["id"]: m["dtype"] for m in OnTheGpu.models(d)}
            # the bundled models are stored as fp16
            self.assertEqual((types["intents"], types["embeddings"], types["fashion"]),
                             ("float32", "bfloat16", "float16"))
        finally:
            self.assertEqual(d.stop(), 0)

    def checks(self, dtype, card):
        env = dict(os.environ, ENSOD_CUDA_MODULE=MODULE, ENSO_CUDA_EMULATED=card)
        return subprocess.run([ENSOD, "--device", "cuda:0", "--dtype", dtype, "--check",
                               os.path.join(MODELS, "intents")], env=env, capture_output=True, text=True,
                              timeout=PATIENCE)

    def test_a_card_without_bf16(self):
        if MODULE != EMULATED:
            self.skipTest("on a real card")
        refused = self.checks("bf16", "T4")
        self.assertEqual(refused.returncode, 1, refused.stdout)
        self.assertIn("does not compute in bf16", refused.stderr)
        self.assertIn("use dtype fp16, fp32 or auto", refused.stderr)
        for dtype in ("auto", "fp16"):
            done = self.checks(dtype, "T4")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("computes in float16\n", done.stdout)


class WithoutOne(unittest.TestCase):
    """What is said when there is no GPU to be had. A real card has no such moods."""

    def setUp(self):
        if MODULE != EMULATED:
            self.skipTest("on a real card")

    def refuses(self, *words, device="cuda:0", module=MODULE, emulated="A100"):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ENSOD_")}
        env.update(ENSOD_CUDA_MODULE=module, ENSO_CUDA_EMULATED=emulated)
        done = subprocess.run([ENSOD, "--listen", "127.0.0.1:0", "--device", device, MODELS], env=env,
                              capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1, done.stderr)
        last = done.stderr.rstrip().rpartition("\n")[2]
        self.assertTrue(last.startswith(f"ensod: device '{device}': "), last)
        for word in words:
            self.assertIn(word, last)

    def test_asked_for_by_name(self):
        self.refuses("no NVIDIA driver", emulated="no-driver")
        self.refuses("driver is too old", "update", emulated="old-driver")
        self.refuses("no NVIDIA GPU", emulated="none")
        self.refuses("no NVIDIA GPU", device="cuda", emulated="none")
        self.refuses("there is no cuda:5", device="cuda:5")
        self.refuses("cannot read the GPU module", "cuda_module", module="/nowhere/ensod-cuda.so")
        self.refuses("cannot be loaded", module=os.path.join(SOURCE, "README.md"))

    def falls_back(self, reason, level, module=MODULE, emulated="A100"):
        d = gpu("--device", "auto", models=(MODELS,), module=module, emulated=emulated)
        try:
            told = [line for line in d.log if "no GPU" in line]
            self.assertEqual(len(told), 1, d.log)
            self.assertIn(f"level={level}", told[0])
            self.assertIn(reason, told[0])
            for model in OnTheGpu.models(d):
                self.assertEqual(model["device"], "cpu")
                self.assertIn(reason, model["device_fallback"])
            fallbacks = [v for k, v in d.metrics().items() if k.startswith("ensod_model_device_fallback")]
            self.assertEqual(fallbacks, [1] * len(OnTheGpu.models(d)))
            self.assertEqual(d.post("/v1/classify", {"model": "intents", "input": "hello"})[0], 200)
        finally:
            self.assertEqual(d.stop(), 0)

    def test_auto_takes_the_processor(self):
        self.falls_back("no NVIDIA driver", "info", emulated="no-driver")
        self.falls_back("no NVIDIA GPU", "info", emulated="none")
        self.falls_back("driver is too old", "warning", emulated="old-driver")
        self.falls_back("cannot read the GPU module", "warning", module="/nowhere/ensod-cuda.so")

    def test_auto_takes_the_gpu(self):
        d = gpu("--device", "auto", models=(MODELS,))
        try:
            self.assertEqual({m["device"] for m in OnTheGpu.models(d)}, {NAME})
            self.assertFalse(d.logged("no GPU"))
        finally:
            self.assertEqual(d.stop(), 0)

    def test_check_names_the_device(self):
        env = dict(os.environ, ENSOD_CUDA_MODULE=MODULE)
        done = subprocess.run([ENSOD, "--device", "cuda:0", "--check", os.path.join(MODELS, "intents")],
                              env=env, capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(NAME, done.stdout)


if __name__ == "__main__":
    if not os.path.exists(MODULE):
        print(f"SKIP: {MODULE} was not built (it needs a C++ compiler)")
        sys.exit(77)
    main(sys.modules["__main__"])
