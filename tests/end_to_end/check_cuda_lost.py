#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A GPU that fails for good while the daemon serves, over the emulated runtime: what is answered, what /ready and
/metrics tell, and what each setting of on_device_lost makes of it. Python's standard library only."""

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from daemon import THREAD_SANITIZED, BUILD, MODELS, PATIENCE, SANITIZED, Daemon, main  # noqa: E402

MODULE = os.path.join(BUILD, "tests", "cuda_emulation", "ensod-cuda-emulated.so")
NAME = "cuda-emulated:0"
QUESTION = {"model": "intents", "input": "hello"}


class Lost(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="ensod-lost-")
        self.addCleanup(shutil.rmtree, self.folder)

    def start(self, policy, *arguments, env=None, config=None):
        """A daemon on a GPU that works, until lose() is called."""
        self.wish = os.path.join(self.folder, "wish")
        given = {"ENSOD_CUDA_MODULE": MODULE, "ENSO_CUDA_EMULATED_FAIL": "@" + self.wish, **(env or {})}
        # lanes of a lost device are left alone at the end
        given["TSAN_OPTIONS"] = "report_thread_leaks=0 " + os.environ.get("TSAN_OPTIONS", "")
        if policy is not None:
            given["ENSOD_ON_DEVICE_LOST"] = policy
        d = Daemon("--device", "cuda:0", *arguments, env=given, config=config)
        self.assertEqual(d.post("/v1/classify", QUESTION)[0], 200)
        self.assertEqual(self.up(d), 1)
        self.assertEqual(self.devices(d), {NAME})
        return d

    def lose(self, d, wish="launch:700"):
        """The next launch meets an illegal address; whose request it was is answered with 503."""
        new = self.wish + ".new"
        with open(new, "w") as f:
            f.write(wish)
        os.rename(new, self.wish)
        self.refused(d)

    def refused(self, d):
        status, head, answer = d.post("/v1/classify", QUESTION)
        self.assertEqual(status, 503, answer)
        self.assertGreaterEqual(int(head["Retry-After"]), 1)
        return answer["error"]["message"]

    @staticmethod
    def up(d):
        return d.metrics()['ensod_device_up{device="%s"}' % NAME]

    @staticmethod
    def devices(d):
        return {m.get("device") for m in json.loads(d.get("/v1/models")[2])["data"]}

    def wait(self, what, true):
        end = time.monotonic() + PATIENCE
        while not true():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)

    def hang(self, policy, **env):
        """A daemon whose next batch never comes to an end."""
        wish = os.path.join(self.folder, "hang")
        d = self.start(policy, env={"ENSO_CUDA_EMULATED_FAULT": "@" + wish, "ENSO_CUDA_EMULATED_HANG_MS": "600000",
                                    "ENSO_CUDA_EMULATED_PATIENCE_MS": "2000", **env})
        with open(wish + ".new", "w") as f:
            f.write("1:hang")
        os.rename(wish + ".new", wish)
        self.assertIn("does not answer", self.refused(d))
        return d

    def test_hangs_and_stays(self):
        """Whoever waited is answered, and the end of the daemon waits for nothing."""
        d = self.hang("stay")
        self.assertEqual(d.get("/ready")[0], 503)
        self.assertEqual(self.up(d), 0)
        self.refused(d)
        start = time.monotonic()
        self.assertEqual(d.stop(), 0)
        self.assertLess(time.monotonic() - start, 10 if not SANITIZED else PATIENCE)

    def test_hangs_and_moves(self):
        d = self.hang("cpu")
        self.wait("the models move", lambda: d.get("/ready")[0] == 200)
        self.assertEqual(self.devices(d), {"cpu"})
        self.assertEqual(d.post("/v1/classify", QUESTION)[0], 200)
        self.assertEqual(d.stop(), 0)

    def test_hangs_and_exits(self):
        d = self.hang("exit")
        self.assertEqual(d.process.wait(PATIENCE), 1)

    @unittest.skipIf(SANITIZED, "sleeps for a minute, which the plain build does too")
    def test_stuck_in_a_launch_moves(self):
        """A call of the driver that never comes back keeps its lane and its request; all else goes on elsewhere."""
        d = self.start("cpu", env={"ENSO_CUDA_EMULATED_HANG_MS": "600000", "ENSO_CUDA_EMULATED_PATIENCE_MS": "2000",
                                   "ENSOD_DRAIN_TIMEOUT": "1s"})
        with open(self.wish + ".new", "w") as f:
            f.write("launch:stuck")
        os.rename(self.wish + ".new", self.wish)
        stuck = threading.Thread(target=lambda: d.post("/v1/classify", QUESTION), daemon=True)
        stuck.start()
        self.wait("the models move", lambda: d.get("/ready")[0] == 200 and self.devices(d) == {"cpu"})
        self.assertEqual(self.up(d), 0)
        for _ in range(3):
            self.assertEqual(d.post("/v1/classify", QUESTION)[0], 200)
        start = time.monotonic()
        self.assertEqual(d.stop(), 0)
        self.assertLess(time.monotonic() - start, 10)

    def stuck(self, drain_timeout):
        """A daemon with a lane in a call of the driver that does not come back, long before it counts as lost."""
        d = self.start("stay", env={"ENSO_CUDA_EMULATED_HANG_MS": "600000", "ENSOD_DRAIN_TIMEOUT": drain_timeout})
        with open(self.wish + ".new", "w") as f:
            f.write("launch:stuck")
        os.rename(self.wish + ".new", self.wish)
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(self.status(d)), daemon=True)
        waiting.start()
        self.wait("a lane is busy", lambda: any(v for k, v in d.metrics().items() if k.startswith("ensod_lanes_busy")))
        return d, waiting, answers

    @staticmethod
    def status(d):
        try:
            return d.post("/v1/classify", QUESTION)[0]
        except OSError as e:
            return e

    def test_drain_ends_though_a_lane_is_stuck(self):
        """Whoever waits for the lane is answered with 503, the lane is left alone."""
        d, waiting, answers = self.stuck("1s")
        start = time.monotonic()
        self.assertEqual(d.stop(), 0)
        self.assertLess(time.monotonic() - start, 10 if not SANITIZED else PATIENCE)
        waiting.join(PATIENCE)
        self.assertEqual(answers, [503])
        self.assertTrue(d.logged("drain timed out"), d.log)
        self.assertTrue(d.logged('msg="lanes left alone" device=cuda:0 lanes=1'), d.log)

    def test_second_signal_ends_at_once_though_a_lane_is_stuck(self):
        for first, second, timeout, until in ((signal.SIGTERM, signal.SIGINT, "1h", "draining"),
                                              (signal.SIGINT, signal.SIGTERM, "1s", "drain timed out")):
            # in the drain, which alone would last; while lanes are waited for after it
            d, waiting, answers = self.stuck(timeout)
            d.process.send_signal(first)
            self.wait(until, lambda: d.logged(until))
            self.assertEqual(d.stop(second), 0)
            if timeout == "1h":
                self.assertTrue(d.logged("stopping at once"), d.log)
            waiting.join(PATIENCE)
            os.remove(self.wish)  # else the next daemon is stuck from the start

    def stay(self, policy):
        d = self.start(policy)
        self.lose(d)
        for _ in range(3):
            self.assertIn("stays down", self.refused(d))
        status, _, body = d.get("/ready")
        answer = json.loads(body)
        self.assertEqual(status, 503)
        self.assertFalse(answer["ready"])
        self.assertIn("illegal memory access", answer["reason"])
        self.assertEqual(d.get("/v2/health/ready")[0], 503)
        self.assertEqual(d.get("/v2/models/intents/ready")[0], 503)
        self.assertEqual(d.get("/health")[0], 200)
        self.assertEqual(self.up(d), 0)
        for model in json.loads(d.get("/v1/models")[2])["data"]:
            self.assertEqual(model["state"], "failed")
            self.assertIn("stays down", model["error"])
        self.assertEqual(d.stop(), 0)
        self.assertEqual(sum("device lost" in line for line in d.log), 1, d.log)  # whole only now

    def test_stay(self):
        self.stay("stay")

    def test_auto_without_a_supervisor_stays(self):
        self.stay(None)

    def test_cpu(self):
        d = self.start("cpu")
        self.lose(d)
        self.wait("the models move", lambda: d.get("/ready")[0] == 200)
        self.assertEqual(self.devices(d), {"cpu"})
        self.assertEqual(self.up(d), 0)
        self.assertEqual(d.post("/v1/classify", QUESTION)[0], 200)
        for model in json.loads(d.get("/v1/models")[2])["data"]:
            self.assertEqual(model["state"], "ready")
            self.assertIn("stays down", model["device_fallback"])
        metrics = d.metrics()
        self.assertEqual(metrics['ensod_model_device_fallback{model="intents"}'], 1)
        self.assertEqual(metrics['ensod_model_loaded{model="intents"}'], 1)
        self.assertGreater(metrics['ensod_model_load_seconds{model="intents"}'], 0)
        self.assertEqual(d.stop(), 0)

    def test_cpu_while_many_ask(self):
        """Nobody waits for ever, and the answers that come are right."""
        d = self.start("cpu")
        want = d.post("/v1/classify", QUESTION)[2]["data"][0]["label"]
        seen, stop = [], threading.Event()

        def ask():
            while not stop.is_set():
                status, _, answer = d.post("/v1/classify", QUESTION)
                seen.append(status)
                if status == 200:
                    assert answer["data"][0]["label"] == want

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for t in threads:
            t.start()
        new = self.wish + ".new"
        with open(new, "w") as f:
            f.write("launch:700")
        os.rename(new, self.wish)
        self.wait("somebody is refused", lambda: 503 in seen)
        self.wait("the models move", lambda: d.get("/ready")[0] == 200)
        n = len(seen)
        self.wait("answers come again", lambda: 200 in seen[n:])
        stop.set()
        for t in threads:
            t.join(PATIENCE)
            self.assertFalse(t.is_alive())
        self.assertEqual(set(seen), {200, 503})
        self.assertEqual(d.stop(), 0)

    def ends(self, d):
        self.assertEqual(d.process.wait(PATIENCE), 1)
        d._reader.join(5)
        self.assertTrue(any(line.startswith("ensod: ") and "illegal memory access" in line for line in d.log), d.log)

    def test_exit(self):
        d = self.start("exit")
        self.lose(d)
        self.ends(d)

    def test_exit_drains(self):
        """During the drain everybody is still answered."""
        d = self.start("exit", config="[shutdown]\ndrain_delay = 2s\n")
        self.lose(d)
        self.assertIn("stays down", self.refused(d))
        status, _, body = d.get("/ready")
        self.assertEqual((status, json.loads(body)["draining"]), (503, True))
        self.ends(d)

    def test_auto_under_a_supervisor_exits(self):
        d = self.start(None, env={"NOTIFY_SOCKET": os.path.join(self.folder, "nobody")})
        self.lose(d)
        self.ends(d)

    def test_refused_launch_is_no_loss(self):
        d = self.start("exit")
        with open(self.wish, "w") as f:
            f.write("launch:701")
        # one batch fails, or only its recording as a graph
        self.assertIn(d.post("/v1/classify", QUESTION)[0], (200, 500))
        self.assertEqual(d.post("/v1/classify", QUESTION)[0], 200)
        self.assertEqual(self.up(d), 1)
        self.assertEqual(d.get("/ready")[0], 200)
        self.assertEqual(d.stop(), 0)


if __name__ == "__main__":
    if THREAD_SANITIZED:
        print("SKIP: an emulated card takes too long under ThreadSanitizer")
        sys.exit(77)
    if not os.path.exists(MODULE):
        print(f"SKIP: {MODULE} was not built (it needs a C++ compiler)")
        sys.exit(77)
    main(sys.modules["__main__"])
