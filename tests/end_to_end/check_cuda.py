#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon with its GPU module, over the emulated runtime (tests/cuda_emulation): every bundled model answers
on the GPU as it does on the processor, and a machine without a usable GPU says so. With ENSO_TEST_MODULE the
module of that path is asked instead, on a real card. Python's standard library only."""

import concurrent.futures
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "bench")]
import harness  # noqa: E402
from daemon import (THREAD_SANITIZED, BUILD, BUNDLED, ENSOD, MODELS, PATIENCE, SANITIZED, SOURCE, Daemon,  # noqa: E402
                    main)

EMULATED = os.path.join(BUILD, "tests", "cuda_emulation", "ensod-cuda-emulated.so")
MODULE = os.environ.get("ENSO_TEST_MODULE") or EMULATED
NAME = "cuda-emulated:0" if MODULE == EMULATED else "cuda:0"
SENTENCES = ["The machine swallowed my card.", "Where is my new card?", "x",
             "I was charged twice for the same coffee yesterday, how do I get my money back?", ""]
FEW_SENTENCES = SENTENCES[1:3] if MODULE == EMULATED else [s for s in SENTENCES if s]
PICTURES = [("fashion", "sneaker.png"), ("cifar", "ship.png")]
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
        self.assertEqual(OnTheGpu.batched(self.gpu), OnTheGpu.batched(self.cpu))
        self.assertTrue(all(v == 0 for k, v in self.gpu.metrics().items()
                            if k.startswith("ensod_model_device_fallback")))

    def test_what_the_card_tells(self):
        if MODULE == EMULATED:
            self.skipTest("on the emulated card: see Metrics")
        told = {k.partition("{")[0]: v for k, v in self.gpu.metrics().items() if k.startswith("ensod_device_")}
        self.assertEqual(told["ensod_device_up"], 1)
        for name, least, most in (("temperature_celsius", 1, 120), ("power_watts", 1, 3000),
                                  ("memory_total_bytes", 1 << 30, 1 << 40)):
            if "ensod_device_" + name not in told:  # not every driver tells everything
                print(f"the card does not tell {name}")
                continue
            self.assertTrue(least <= told["ensod_device_" + name] <= most, (name, told))

    @staticmethod
    def models(d):
        return json.loads(d.get("/v1/models")[2])["data"]

    @staticmethod
    def batched(d):
        """Of a model whose rows are not the same in a batch, each item is run alone."""
        return {m["id"]: m["batched"] for m in OnTheGpu.models(d)}

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

    def test_many_at_once(self):
        """Batches of all sizes, two of them on the card at a time: everyone gets the answer to his own text."""
        texts = [" ".join(SENTENCES[(i + k) % 4] for k in range(i % 7 + 1)) + f" {i}" for i in range(30)]
        want = [self.cpu.post("/v1/embeddings", {"model": "embeddings", "input": t})[2] for t in texts]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda t: self.gpu.post("/v1/embeddings", {"model": "embeddings", "input": t}),
                                texts))
        for (status, _, answer), expected in zip(got, want):
            self.assertEqual(status, 200, answer)
            for a, b in zip(answer["data"][0]["embedding"], expected["data"][0]["embedding"]):
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
        self.assertEqual(OnTheGpu.batched(self.gpu), OnTheGpu.batched(self.cpu))
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


class Shapes(unittest.TestCase):
    """Encoders of the sizes that people serve, random weights: vectors of the GPU against the processor's."""

    def same(self, shape, texts, dtype, near):
        with tempfile.TemporaryDirectory(prefix="ensod-shape-") as folder:
            harness.write_bert(folder, shape)
            daemons = [gpu("--device", "cuda:0", "--dtype", dtype, models=(folder,),
                           config="[server]\ndefault_timeout = 0\n"), Daemon("--device", "cpu", models=(folder,))]
            model = OnTheGpu.models(daemons[0])[0]
            self.assertEqual((model["device"], model["dtype"]), (NAME, {"bf16": "bfloat16", "fp32": "float32"}[dtype]))
            asked = [d.post("/v1/embeddings", {"model": model["id"], "input": texts}, timeout=20 * PATIENCE)
                     for d in daemons]
            self.assertEqual([a[0] for a in asked], [200, 200], asked[0][2])
            for g, c in zip(asked[0][2]["data"], asked[1][2]["data"]):
                largest = max(map(abs, c["embedding"]))
                for a, b in zip(g["embedding"], c["embedding"]):
                    self.assertAlmostEqual(a, b, delta=near * largest)
            self.assertEqual([d.stop() for d in daemons], [0, 0])

    def test_minilm(self):
        """Six layers of 384 in twelve heads, as all-MiniLM-L6-v2."""
        shape = harness.Shape(6, 384, 12, 1536, vocabulary=3000)
        self.same(shape, ["where is my new card", "love"], "bf16", 2e-2)
        if not SANITIZED:
            self.same(shape, ["where is my new card", "love"], "fp32", 1e-4)

    def test_bert_base(self):
        if not os.environ.get("ENSOD_TEST_LONG"):
            self.skipTest("takes minutes; make check-long")
        self.same(harness.BERT_BASE, [SENTENCES[0], SENTENCES[3]], "bf16", 2e-2)


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


class Metrics(unittest.TestCase):
    """What /metrics tells of a GPU, with a stand-in for the driver's management library."""

    def setUp(self):
        if MODULE != EMULATED:
            self.skipTest("on a real card")

    def start(self, mood="", nvml=os.path.join(BUILD, "tests", "cuda_emulation", "libfake-nvml.so")):
        return Daemon("--device", "cuda:0", env={
            "ENSOD_CUDA_MODULE": MODULE, "ENSO_CUDA_EMULATED_NVML": nvml, "ENSO_FAKE_NVML": mood})

    def told(self, d):
        """{"temperature_celsius": 83, "clock_hertz/memory": ...}: of this device, without its label."""
        return {m.group(1) + ("/" + m.group(2) if m.group(2) else ""): value for key, value in d.metrics().items()
                for m in [re.fullmatch(r'ensod_device_([a-z_]+)\{device="%s"(?:,[a-z]+="(\w+)")?\}' % NAME, key)] if m}

    def test_all(self):
        d = self.start()
        self.assertEqual(d.post("/v1/classify", {"model": "intents", "input": "hello"})[0], 200)
        told = self.told(d)
        for name, value in {"up": 1, "busy_ratio": 0.75, "memory_busy_ratio": 0.25, "temperature_celsius": 83,
                            "power_watts": 312.5, "clock_hertz/compute": 1.41e9, "clock_hertz/memory": 1.215e9,
                            "throttled/power_cap": 1, "throttled/hardware_thermal": 1, "throttled/sync_boost": 0,
                            "throttled/software_thermal": 0, "throttled/hardware_slowdown": 0,
                            "throttled/power_brake": 0, "ecc_errors_total": 2,
                            "memory_total_bytes": 40 << 30, "memory_bytes/free": 30 << 30}.items():
            self.assertAlmostEqual(told[name], value, msg=name)
        kinds = {k: v for k, v in told.items() if k.startswith("memory_bytes/")}
        self.assertEqual(sum(kinds.values()), 40 << 30)
        for kind in ("weights", "arenas", "lanes"):
            self.assertGreater(kinds["memory_bytes/" + kind], 0)
        self.assertGreater(told["memory_limit_bytes"], 30 << 30)
        self.assertGreaterEqual(told["batches_total/graph"] + told["batches_total/eager"], 1)
        self.assertGreaterEqual(told["tokens_total/input"], 3)
        weights = sum(v for k, v in d.metrics().items() if k.startswith("ensod_model_bytes"))
        self.assertGreaterEqual(kinds["memory_bytes/weights"] * 1.01, weights)
        self.assertEqual(d.metrics()['ensod_model_device{model="intents",device="%s"}' % NAME], 1)
        if shutil.which("promtool") is not None:
            page = d.get("/metrics")[2]
            check = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True)
            self.assertEqual((check.returncode, check.stdout + check.stderr), (0, b""))
        self.assertEqual(d.stop(), 0)

    def test_what_the_card_does_not_tell_is_absent(self):
        d = self.start("plain")
        told = self.told(d)
        self.assertIn("temperature_celsius", told)
        self.assertNotIn("power_watts", told)
        self.assertNotIn("ecc_errors_total", told)
        self.assertEqual(d.stop(), 0)

    def absent(self, reason, **kw):
        d = self.start(**kw)
        self.assertEqual(set(self.told(d)), {"up", "memory_bytes/weights", "memory_bytes/arenas",
                                             "memory_bytes/lanes", "memory_bytes/idle", "memory_limit_bytes",
                                             "allocations", "product_algorithms/own",
                                             "product_algorithms/heuristic", "product_algorithms/timed",
                                             "batches_total/graph", "batches_total/eager",
                                             "lane_batches_total/0", "graph_captures_total", "tokens_total/input",
                                             "tokens_total/padding"})
        told = [line for line in d.log if "no metrics of the GPU" in line]
        self.assertEqual(len(told), 1, d.log)
        self.assertIn(reason, told[0])
        self.assertEqual(d.post("/v1/classify", {"model": "intents", "input": "hello"})[0], 200)
        self.assertEqual(d.stop(), 0)

    def test_without_the_library(self):
        self.absent("cannot be loaded", nvml="/nowhere/libnvidia-ml.so.1")
        self.absent("does not start", mood="broken")
        self.absent("does not know the card", mood="stranger")

    def test_a_hanging_library_holds_up_nobody(self):
        d = self.start("hangs")
        time.sleep(6)  # its second turn has come
        self.assertEqual(self.told(d)["temperature_celsius"], 83)
        self.assertEqual(d.post("/v1/classify", {"model": "intents", "input": "hello"})[0], 200)
        start = time.monotonic()
        self.assertEqual(d.stop(), 0)
        self.assertLess(time.monotonic() - start, 5 if not SANITIZED else PATIENCE)


class Memory(unittest.TestCase):
    """gpu_memory: what does not fit is refused, and costs nobody else anything."""

    def setUp(self):
        if MODULE != EMULATED:
            self.skipTest("on a real card")

    def test_model_larger_than_the_limit(self):
        env = dict(os.environ, ENSOD_CUDA_MODULE=MODULE, ENSOD_GPU_MEMORY="2MiB")
        done = subprocess.run([ENSOD, "--listen", "127.0.0.1:0", "--device", "cuda:0",
                               os.path.join(BUNDLED, "embeddings")],
                              env=env, capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1, done.stderr)
        last = done.stderr.rstrip().rpartition("\n")[2]
        self.assertRegex(last, r"no room for the model \(\d+\.\d MiB\): .* of the 2\.0 MiB of gpu_memory are left")

    def test_model_that_fits_serves_beside_one_that_does_not(self):
        config = (f"[server]\nmodels = {BUNDLED}\n[device]\ndevice = cuda:0\ncuda_module = {MODULE}\n"
                  "gpu_memory = 24MiB\ndtype = fp32\n")
        d = Daemon(models=(), config=config)
        answer = {m["id"]: m for m in OnTheGpu.models(d)}
        self.assertEqual(answer["intents"]["state"], "failed")
        self.assertIn("of the 24.0 MiB of gpu_memory are left", answer["intents"]["error"])
        self.assertEqual(answer["embeddings"]["state"], "ready")
        self.assertEqual(answer["embeddings"]["device"], NAME)
        self.assertEqual(d.post("/v1/embeddings", {"model": "embeddings", "input": "hello"})[0], 200)
        self.assertEqual(d.stop(), 0)

    def test_batch_that_does_not_fit(self):
        """Just enough memory for a short text: the model is refused, since a long one would not fit."""
        models = (os.path.join(BUNDLED, "intents"),)
        d = gpu("--device", "cuda:0", models=models)
        self.assertEqual(d.post("/v1/classify", {"model": "intents", "input": "hello there"})[0], 200)
        taken = sum(v for k, v in d.metrics().items()
                    if re.match('ensod_device_memory_bytes.*kind="(weights|arenas|lanes)"', k))
        self.assertEqual(d.stop(), 0)
        env = dict(os.environ, ENSOD_CUDA_MODULE=MODULE, ENSOD_GPU_MEMORY="%dB" % (taken + (64 << 10)))
        done = subprocess.run([ENSOD, "--listen", "127.0.0.1:0", "--device", "cuda:0", *models],
                              env=env, capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1, done.stderr)
        last = done.stderr.rstrip().rpartition("\n")[2]
        found = re.search(r"no room for batches on cuda:0: its 1 lane needs (\S+) MiB for them, and (\S+) MiB of "
                          r"gpu_memory are left .*; use a larger gpu_memory or another device$", last)
        self.assertTrue(found, last)
        self.assertGreater(float(found.group(1)), float(found.group(2)))


class WithoutOne(unittest.TestCase):
    """What is said when there is no GPU to be had. A real card has no such moods."""

    def setUp(self):
        if MODULE != EMULATED:
            self.skipTest("on a real card")

    def refuses(self, *words, device="cuda:0", named=None, module=MODULE, emulated="A100"):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ENSOD_")}
        env.update(ENSOD_CUDA_MODULE=module, ENSO_CUDA_EMULATED=emulated)
        done = subprocess.run([ENSOD, "--listen", "127.0.0.1:0", "--device", device, MODELS], env=env,
                              capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1, done.stderr)
        last = done.stderr.rstrip().rpartition("\n")[2]
        self.assertTrue(last.startswith(f"ensod: device '{named or device}': "), last)
        for word in words:
            self.assertIn(word, last)

    def test_asked_for_by_name(self):
        self.refuses("no NVIDIA driver", emulated="no-driver")
        self.refuses("driver is too old", "update", emulated="old-driver")
        self.refuses("no NVIDIA GPU", emulated="none")
        self.refuses("no NVIDIA GPU", device="cuda", named="cuda:0", emulated="none")
        self.refuses("there is no cuda:5", device="cuda:5")
        self.refuses("cannot read the GPU module", "cuda_module", module="/nowhere/ensod-cuda.so")
        self.refuses("cannot be loaded", module=os.path.join(SOURCE, "README.md"))

    def test_module_of_the_caller(self):
        """A program with more rights than its caller loads no code from where the caller says."""
        if os.geteuid() != 0:
            self.skipTest("only root can give a program more rights")
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            program = os.path.join(folder, "ensod")
            shutil.copy(ENSOD, program)
            os.chmod(folder, 0o755)
            os.chmod(program, 0o4755)
            empty = os.path.join(folder, "model")
            os.mkdir(empty, 0o755)
            how = dict(capture_output=True, text=True, cwd="/", timeout=PATIENCE,
                       env={"PATH": os.environ["PATH"], "ENSOD_CUDA_MODULE": MODULE})
            try:
                ended = subprocess.run([program, "--device", "cuda:0", "--check", empty], user=65534, group=65534, **how)
            except PermissionError:
                self.skipTest("another user cannot run programs here")
            if "error while loading shared libraries" in ended.stderr:
                self.skipTest("this ensod finds its libraries beside itself, a copy with more rights does not")
            self.assertIn("cuda_module is not read", ended.stdout + ended.stderr)
            self.assertNotEqual(ended.returncode, 0)
            same = subprocess.run([program, "--device", "cuda:0", "--check", empty], **how)
            self.assertNotIn("cuda_module is not read", same.stdout + same.stderr)

    def falls_back(self, reason, level, module=MODULE, emulated="A100", is_news=True):
        """Where there is no GPU to be missed (is_news false) one line of the log is all."""
        d = gpu("--device", "auto", models=(MODELS,), module=module, emulated=emulated)
        try:
            told = [line for line in d.log if "no GPU" in line]
            self.assertEqual(len(told), 1, d.log)
            self.assertIn(f"level={level}", told[0])
            self.assertIn(reason, told[0])
            for model in OnTheGpu.models(d):
                self.assertEqual(model["device"], "cpu")
                if is_news:
                    self.assertIn(reason, model["device_fallback"])
                else:
                    self.assertNotIn("device_fallback", model)
            fallbacks = [v for k, v in d.metrics().items() if k.startswith("ensod_model_device_fallback")]
            self.assertEqual(fallbacks, [int(is_news)] * len(OnTheGpu.models(d)))
            self.assertFalse(any(k.startswith("ensod_device_") for k in d.metrics()))
            self.assertEqual(d.post("/v1/classify", {"model": "intents", "input": "hello"})[0], 200)
        finally:
            self.assertEqual(d.stop(), 0)

    def test_auto_takes_the_processor(self):
        self.falls_back("no NVIDIA driver", "info", emulated="no-driver", is_news=False)
        self.falls_back("no NVIDIA GPU", "info", emulated="none", is_news=False)
        self.falls_back("driver is too old", "warning", emulated="old-driver")
        self.falls_back("cannot read the GPU module", "warning", module="/nowhere/ensod-cuda.so")

    def test_auto_takes_the_gpu(self):
        d = gpu("--device", "auto", models=(MODELS,))
        try:
            self.assertEqual({m["device"] for m in OnTheGpu.models(d)}, {NAME})
            self.assertFalse(d.logged("no GPU"))
        finally:
            self.assertEqual(d.stop(), 0)

    @unittest.skipIf(MODULE != EMULATED, "the machine has the cards that it has")
    def test_auto_passes_over_a_card_that_is_too_old(self):
        d = Daemon("--device", "auto", models=(MODELS,),
                   env={"ENSOD_CUDA_MODULE": MODULE, "ENSO_CUDA_EMULATED": "V100,A100", "ENSO_CUDA_EMULATED_DEVICES": "2"})
        try:
            self.assertEqual({m["device"] for m in OnTheGpu.models(d)}, {"cuda-emulated:1"})
            told = [line for line in d.log if "GPU passed over" in line]
            self.assertEqual(len(told), 1, d.log)
            self.assertIn("too old", told[0])
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
    if THREAD_SANITIZED and len(sys.argv) == 1:
        sys.argv += ["WithoutOne"]
    main(sys.modules["__main__"])
