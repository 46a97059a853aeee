#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Several lanes and several GPUs, over the emulated runtime: answers are those of the processor, every lane finds
work, models are spread over the GPUs or stay where their section wants them, one GPU is lost while the other
serves on, and what cannot be is refused with a sentence. Python's standard library only."""

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from daemon import THREAD_SANITIZED, BUILD, ENSOD, MODELS, PATIENCE, Daemon, main  # noqa: E402

MODULE = os.path.join(BUILD, "tests", "cuda_emulation", "ensod-cuda-emulated.so")
GPUS = ("cuda-emulated:0", "cuda-emulated:1")
TEXTS = ["The machine swallowed my card.", "Where is my new card?", "x", "hello there",
         "I was charged twice for the same coffee yesterday, how do I get my money back?"]
NEAR = 2e-5  # probabilities of the two devices differ by rounding only


def model(name, **keys):
    return "[model %s]\n%s\n" % (name, "\n".join("%s = %s" % item for item in keys.items()))


def path_of(name):
    return os.path.join(MODELS, name)


class Several(unittest.TestCase):
    def start(self, config, *arguments, models=(MODELS,), gpus=2, **env):
        env = {"ENSOD_CUDA_MODULE": MODULE, "ENSO_CUDA_EMULATED_DEVICES": str(gpus), **env}
        # lanes of a lost device are left alone at the end
        env["TSAN_OPTIONS"] = "report_thread_leaks=0 " + os.environ.get("TSAN_OPTIONS", "")
        return Daemon(*arguments, models=models, env=env, config="[device]\ndtype = fp32\n" + config)

    @staticmethod
    def models(d):
        return {m["id"]: m for m in json.loads(d.get("/v1/models")[2])["data"]}

    def devices(self, d):
        return {name: m.get("device") for name, m in self.models(d).items()}

    @staticmethod
    def lane_batches(d, device):
        found = {}
        for name, value in d.metrics().items():
            m = re.fullmatch(r'ensod_device_lane_batches_total\{device="%s",lane="(\d+)"\}' % re.escape(device), name)
            if m:
                found[int(m.group(1))] = value
        return found

    def same(self, got, want):
        self.assertEqual((got[0], want[0]), (200, 200), got[2])
        for g, w in zip(got[2]["data"], want[2]["data"]):
            self.assertEqual(g["label"], w["label"])
            for a, b in zip(g["probs"], w["probs"]):
                self.assertAlmostEqual(a, b, delta=NEAR)

    @staticmethod
    def ask(d, text, name="intents"):
        return d.post("/v1/classify", {"model": name, "input": text})

    @staticmethod
    def embed(d, text):
        return d.post("/v1/embeddings", {"model": "embeddings", "input": text})

    def load_all_lanes(self, d, device, ask, n_lanes):
        """Requests of many clients until every lane has had some."""
        end = time.monotonic() + PATIENCE
        answers = []
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            while True:
                texts = [TEXTS[i % len(TEXTS)] + f" {len(answers) + i}" for i in range(36)]
                answers += zip(texts, pool.map(ask, texts))
                batches = self.lane_batches(d, device)
                self.assertEqual(set(batches), set(range(n_lanes)))
                if min(batches.values()) >= 3:
                    return answers
                self.assertLess(time.monotonic(), end, batches)

    def test_lanes_of_one_gpu(self):
        cpu = Daemon("--device", "cpu")
        d = self.start("lanes = 2\ndevice = cuda:0\n", gpus=1)
        self.assertEqual(set(self.devices(d).values()), {GPUS[0]})
        for text, got in self.load_all_lanes(d, GPUS[0], lambda text: self.ask(d, text), 2):
            self.same(got, self.ask(cpu, text))
        self.assertTrue(d.logged("lanes=2"))
        self.assertEqual((d.stop(), cpu.stop()), (0, 0))

    def test_lanes_of_two_gpus(self):
        """Two models, each on its GPU, both under load at a time."""
        cpu = Daemon("--device", "cpu")
        d = self.start("lanes = 2\ndevice = cuda:0, cuda:1\n" + model("intents", device="cuda:1")
                       + model("embeddings", device="cuda:0"))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            intents = pool.submit(self.load_all_lanes, d, GPUS[1], lambda text: self.ask(d, text), 2)
            vectors = pool.submit(self.load_all_lanes, d, GPUS[0], lambda text: self.embed(d, text), 2)
        for text, got in intents.result():
            self.same(got, self.ask(cpu, text))
        for text, got in vectors.result():
            want = self.embed(cpu, text)
            self.assertEqual((got[0], want[0]), (200, 200), got[2])
            for a, b in zip(got[2]["data"][0]["embedding"], want[2]["data"][0]["embedding"]):
                self.assertAlmostEqual(a, b, delta=NEAR)
        metrics = d.metrics()
        for gpu in GPUS:
            self.assertEqual(metrics['ensod_device_up{device="%s"}' % gpu], 1)
            self.assertGreater(metrics['ensod_device_memory_bytes{device="%s",kind="arenas"}' % gpu], 0)
        self.assertEqual((d.stop(), cpu.stop()), (0, 0))

    def test_models_are_spread(self):
        """Each goes to the GPU with the fewest bytes of weights, in the order in which they are loaded."""
        names = ("intents", "fashion", "embeddings")
        d = self.start("device = cuda:0,cuda:1\n", models=[path_of(name) for name in names])
        held = dict.fromkeys(GPUS, 0)
        found = self.models(d)
        for name in names:
            least = min(GPUS, key=lambda gpu: held[gpu])
            self.assertEqual(found[name]["device"], least, (name, held))
            held[least] += found[name]["weight_bytes"]
            self.assertEqual(d.metrics()['ensod_model_device{model="%s",device="%s"}' % (name, least)], 1)
        metrics = d.metrics()
        for gpu in GPUS:
            self.assertGreater(held[gpu], 0)
            self.assertGreaterEqual(metrics['ensod_device_memory_bytes{device="%s",kind="weights"}' % gpu],
                                    0.9 * held[gpu])
        self.assertEqual(d.stop(), 0)

    def test_models_stay_where_they_are_wanted(self):
        """One on a GPU, one on the processor, which is no fallback; the third goes to the emptier GPU."""
        d = self.start("device = cuda:0,cuda:1\n" + model("a", path=path_of("embeddings"), device="cuda:1")
                       + model("b", path=path_of("intents"), device="cpu") + model("c", path=path_of("fashion")),
                       models=())
        self.assertEqual(self.devices(d), {"a": GPUS[1], "b": "cpu", "c": GPUS[0]})
        self.assertNotIn("device_fallback", self.models(d)["b"])
        self.assertEqual(d.metrics()['ensod_model_device_fallback{model="b"}'], 0)
        self.assertEqual(self.ask(d, "hello", "b")[0], 200)
        self.assertEqual(d.stop(), 0)

    # ---- one model on two

    def test_model_on_both(self):
        """Two copies: both GPUs take batches, alone each of them answers as the processor does."""
        cpu = Daemon("--device", "cpu", models=[path_of("intents")])
        d = self.start("device = cuda:0,cuda:1\n" + model("intents", device="cuda:1, cuda:0"),
                       models=[path_of("intents")])
        found = self.models(d)["intents"]
        self.assertEqual((found["device"], found["devices"]), (GPUS[1], [GPUS[1], GPUS[0]]))
        metrics = d.metrics()
        for gpu in GPUS:
            self.assertEqual(metrics['ensod_model_device{model="intents",device="%s"}' % gpu], 1)
        self.assertEqual(metrics['ensod_model_bytes{model="intents"}'], 2 * found["weight_bytes"])
        before = [self.lane_batches(d, gpu)[0] for gpu in GPUS]
        for text in TEXTS:  # one after the other: by turns, or where times are believed to be shorter
            self.same(self.ask(d, text), self.ask(cpu, text))
        after = [self.lane_batches(d, gpu)[0] for gpu in GPUS]
        self.assertEqual(sum(after) - sum(before), len(TEXTS))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            texts = [text + f" {i}" for i in range(8) for text in TEXTS]
            for text, got in zip(texts, pool.map(lambda text: self.ask(d, text), texts)):
                self.same(got, self.ask(cpu, text))
        for gpu, count in zip(GPUS, after):
            self.assertGreater(self.lane_batches(d, gpu)[0], count)
        self.assertEqual((d.stop(), cpu.stop()), (0, 0))

    def test_model_on_both_outlives_one(self):
        """What was on the lost GPU is told to come again, what comes goes to the other; nothing moves."""
        for policy in ("stay", "cpu"):
            d, lose = self.may_lose("device = cuda:0,cuda:1\non_device_lost = %s\n" % policy
                                    + model("intents", device="cuda:0,cuda:1"), models=[path_of("intents")])
            self.assertEqual(self.ask(d, "hello")[0], 200)
            lose()
            self.assertEqual(self.ask(d, "hello")[0], 503)
            for _ in range(5):
                self.assertEqual(self.ask(d, "hello")[0], 200)
            self.assertEqual(sorted(d.metrics()['ensod_device_up{device="%s"}' % gpu] for gpu in GPUS), [0, 1])
            self.assertEqual(d.get("/ready")[0], 200)
            self.assertEqual(self.models(d)["intents"]["state"], "ready")
            self.assertNotIn("device_fallback", self.models(d)["intents"])
            lose("launch:0700")  # the other one, too
            self.assertEqual(self.ask(d, "hello")[0], 503)
            self.assertEqual([d.metrics()['ensod_device_up{device="%s"}' % gpu] for gpu in GPUS], [0, 0])
            if policy == "stay":
                self.assertEqual(d.get("/ready")[0], 503)
                self.assertEqual(self.models(d)["intents"]["state"], "failed")
            else:
                end = time.monotonic() + PATIENCE
                while d.get("/ready")[0] != 200:
                    self.assertLess(time.monotonic(), end)
                self.assertEqual(self.devices(d), {"intents": "cpu"})
                self.assertNotIn("devices", self.models(d)["intents"])
                self.assertEqual(self.ask(d, "hello")[0], 200)
            self.assertEqual(d.stop(), 0)

    def test_model_on_unlike_cards(self):
        """All compute in the type of the first; a card that has it not is left out and told once."""
        cpu = Daemon("--device", "cpu", models=[path_of("intents")])
        for cards, keys, device, dtype, n in (("H100,T4", {}, 0, "float16", 2),
                                              ("H100,T4", {"dtype": "bf16"}, 0, "bfloat16", 1),
                                              ("T4,H100", {"dtype": "bf16"}, 1, "bfloat16", 1),
                                              ("T4,H100", {"dtype": "fp32"}, 0, "float32", 2)):
            keys = {"dtype": "auto", "device": "cuda:0,cuda:1", **keys}
            d = self.start("device = cuda:0,cuda:1\n" + model("intents", **keys), models=[path_of("intents")],
                           ENSO_CUDA_EMULATED=cards)
            found = self.models(d)["intents"]
            self.assertEqual((found["device"], found["dtype"]), (GPUS[device], dtype), (cards, keys))
            self.assertEqual(len(found.get("devices", [1])), n)
            self.assertNotIn("device_fallback", found)
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                texts = [text + f" {i}" for i in range(4) for text in TEXTS]
                for text, got in zip(texts, pool.map(lambda text: self.ask(d, text), texts)):
                    self.assertEqual(got[0], 200)
                    for g, w in zip(got[2]["data"], self.ask(cpu, text)[2]["data"]):
                        for a, b in zip(g["probs"], w["probs"]):
                            self.assertAlmostEqual(a, b, delta=NEAR if dtype == "float32" else 0.05)
            self.assertEqual(d.stop(), 0)
            told = [line for line in d.log if "model not on one of its GPUs" in line]
            self.assertEqual(len(told), 2 - n, d.log)
            for line in told:
                self.assertIn("device=cuda:%d" % (1 - device), line)
                self.assertIn("does not compute in bf16", line)
        self.assertEqual(cpu.stop(), 0)

    def test_model_goes_where_there_is_room(self):
        """The emptiest GPU is too small for the batches that its section asks for: the other one, without a word in
        the section; where that is as small, the sentence tells."""
        config = "device = cuda:0,cuda:1\n[batching]\nmax_batch_tokens = 65536\n"
        small = 48 << 20
        d = self.start(config, models=[path_of("intents")], ENSO_CUDA_EMULATED_MEMORY="%d,%d" % (small, 4 << 30))
        self.assertEqual(self.devices(d), {"intents": GPUS[1]})
        self.assertEqual(self.ask(d, "hello")[0], 200)
        self.assertEqual(d.stop(), 0)
        told = [line for line in d.log if "model does not fit" in line]
        self.assertEqual(len(told), 1, d.log)
        self.assertIn("no room for batches on cuda:0", told[0])
        sentence = self.refused("[device]\ndtype = fp32\n" + config, models=[path_of("intents")],
                                ENSO_CUDA_EMULATED_MEMORY=str(small))
        self.assertTrue(sentence.startswith("model 'intents': no room for batches on cuda:0: its 1 lane needs "), sentence)
        self.assertTrue(sentence.endswith("; the other GPUs have no room either"), sentence)

    # ---- one is lost

    def may_lose(self, config, **kw):
        """A daemon, and what makes the next launch on any of its GPUs end that GPU."""
        folder = tempfile.mkdtemp(prefix="ensod-lanes-")
        self.addCleanup(shutil.rmtree, folder)
        wish = os.path.join(folder, "wish")

        def lose(wanted="launch:700"):
            with open(wish + ".new", "w") as f:
                f.write(wanted)
            os.rename(wish + ".new", wish)

        return self.start(config, ENSO_CUDA_EMULATED_FAIL="@" + wish, **kw), lose

    def lose_second(self, policy):
        """A daemon with intents on the first GPU and embeddings on the second, which has just failed."""
        d, lose = self.may_lose("lanes = 2\ndevice = cuda:0,cuda:1\non_device_lost = %s\n" % policy
                                + model("intents", device="cuda:0") + model("embeddings", device="cuda:1")
                                + model("fashion", device="cuda:0"))
        self.assertEqual(self.embed(d, "hello")[0], 200)
        lose()
        status, head, answer = self.embed(d, "hello")
        self.assertEqual(status, 503, answer)
        self.assertGreaterEqual(int(head["Retry-After"]), 1)
        self.assertIn("cuda-emulated:1", answer["error"]["message"])
        return d

    def test_one_gpu_is_lost(self):
        """Its model tells, the other's go on; /ready says no, for one model is gone."""
        d = self.lose_second("stay")
        for _ in range(3):
            self.assertEqual(self.ask(d, "hello")[0], 200)
            status, _, answer = self.embed(d, "hello")
            self.assertEqual(status, 503)
            self.assertIn("stays down", answer["error"]["message"])
        found = self.models(d)
        self.assertEqual({name: m["state"] for name, m in found.items()},
                         {"intents": "ready", "fashion": "ready", "embeddings": "failed"})
        self.assertIn("cuda-emulated:1", found["embeddings"]["error"])
        metrics = d.metrics()
        self.assertEqual([metrics['ensod_device_up{device="%s"}' % gpu] for gpu in GPUS], [1, 0])
        status, _, body = d.get("/ready")
        self.assertEqual(status, 503)
        self.assertIn("cuda-emulated:1", json.loads(body)["reason"])
        self.assertEqual(d.get("/v2/models/intents/ready")[0], 200)
        self.assertEqual(d.get("/v2/models/embeddings/ready")[0], 503)
        self.assertEqual(d.stop(), 0)
        self.assertEqual(sum("device lost" in line for line in d.log), 1, d.log)

    def test_one_gpu_is_lost_and_its_model_moves(self):
        d = self.lose_second("cpu")
        end = time.monotonic() + PATIENCE
        while d.get("/ready")[0] != 200:
            self.assertLess(time.monotonic(), end)
            self.assertEqual(self.ask(d, "hello")[0], 200)
        self.assertEqual(self.devices(d), {"intents": GPUS[0], "fashion": GPUS[0], "embeddings": "cpu"})
        self.assertIn("stays down", self.models(d)["embeddings"]["device_fallback"])
        self.assertEqual((self.embed(d, "hello")[0], self.ask(d, "hello")[0]), (200, 200))
        self.assertEqual(d.stop(), 0)

    def test_one_gpu_is_lost_and_ends_the_daemon(self):
        d = self.lose_second("exit")
        self.assertEqual(d.process.wait(PATIENCE), 1)

    # ---- what cannot be

    def refused(self, config, *arguments, models=(MODELS,), **env):
        """What the daemon says before it ends."""
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as f:
            f.write(config)
            f.flush()
            given = {k: v for k, v in os.environ.items() if not k.startswith("ENSOD_")}
            given.update({"ENSOD_CUDA_MODULE": MODULE, "ENSO_CUDA_EMULATED_DEVICES": "2", **env})
            done = subprocess.run([ENSOD, "--listen", "127.0.0.1:0", "--config", f.name, *arguments, *models],
                                  env=given, capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 1, done.stderr)
            last = [line for line in done.stderr.splitlines() if line.startswith("ensod: ")][-1]
            return last[len("ensod: "):].replace(f.name, "FILE")

    def test_bad_configurations(self):
        self.assertEqual(self.refused("[device]\ndevice = cuda:0,cuda:2\n"),
                         "device 'cuda:2': there is no cuda:2: this machine has 2 GPUs, the last is cuda:1")
        self.assertEqual(self.refused("[device]\ndevice = cuda:1,cuda:1\n"),
                         "FILE:2: [device] device: 'cuda:1,cuda:1' names cuda:1 twice; name each GPU once")
        self.assertEqual(self.refused("[device]\ndevice = cuda:0\n[model intents]\ndevice = cuda:1\n"),
                         "FILE:3: [model intents] device: cuda:1 is not one of [device] device = cuda:0; write "
                         "cuda:0,cuda:1 there")
        self.assertEqual(self.refused("[model intents]\ndevice = cuda:0\n", ENSO_CUDA_EMULATED="old-driver"),
                         "model 'intents' shall run on cuda:0, which is not there (the NVIDIA driver is too old: it "
                         "knows CUDA 11.4, this module was built with 13.0; update the driver or use --device cpu); "
                         "leave device out of its section, or make that GPU work")
        self.assertEqual(self.refused("[device]\nlanes = 9\n"),
                         "FILE:2: [device] lanes: '9' is out of range; use 1 to 8")

    def test_more_lanes_than_fit(self):
        """The same model with the same memory: eight lanes find no room, as many as the sentence's sizes allow do."""
        config = "device = cuda:0\ngpu_memory = 24MiB\nlanes = %d\n[batching]\nmax_batch_tokens = 4096\n"
        sentence = self.refused("[device]\ndtype = fp32\n" + config % 8, models=[path_of("intents")])
        found = re.fullmatch(r"model 'intents': no room for batches on cuda:0: its 8 lanes need (\S+) MiB for them, and "
                             r"(\S+) MiB of gpu_memory are left beside all weights and the batches of other models; use "
                             r"fewer lanes, a smaller max_batch_tokens, a larger gpu_memory or another device", sentence)
        self.assertTrue(found, sentence)
        need, left = map(float, found.groups())
        self.assertGreater(need, left)
        self.assertLess(left, 24)
        fit = int(left // (need / 8))
        self.assertGreaterEqual(fit, 1)
        d = self.start(config % fit, models=[path_of("intents")], gpus=1)
        self.assertEqual(self.ask(d, TEXTS)[0], 200)
        self.assertEqual(d.stop(), 0)

    def test_lanes_that_do_not_fit_at_all(self):
        """Not even what each lane keeps for itself."""
        sentence = self.refused("[device]\ndevice = cuda:0\nlanes = 8\ngpu_memory = 1%\n",
                                ENSO_CUDA_EMULATED_MEMORY=str(20 << 20))
        self.assertTrue(sentence.startswith("8 lanes of cuda:0: cannot open a lane: no room for a lane of the GPU"),
                        sentence)
        self.assertTrue(sentence.endswith("; or use fewer lanes"), sentence)


if __name__ == "__main__":
    if THREAD_SANITIZED:
        print("SKIP: an emulated card takes too long under ThreadSanitizer")
        sys.exit(77)
    if not os.path.exists(MODULE):
        print(f"SKIP: {MODULE} was not built (it needs a C++ compiler)")
        sys.exit(77)
    main(sys.modules["__main__"])
