#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What those who run the daemon rely on: configuration from all its places, SIGHUP, listeners, memory
limits, names of metrics, logs in odd places. Python's standard library only."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from daemon import ENSOD, MODELS, PATIENCE, SANITIZED, SOURCE, Daemon, main  # noqa: E402

INTENTS = os.path.join(MODELS, "intents")


def until(condition, seconds=PATIENCE):
    """Wait until condition() holds; false when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def run(*args, env=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ENSOD_")}
    return subprocess.run([ENSOD, *args], capture_output=True, text=True, timeout=PATIENCE,
                          env={**environment, **(env or {})})


class Configuration(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "ensod.conf")

    def write(self, text):
        with open(self.path, "w") as f:
            f.write(text)

    def test_command_line_beats_environment_beats_file_beats_default(self):
        self.write("[limits]\nmax_body = 1MiB\nmax_inputs = 10\n[device]\nthreads = 1\n")
        shown = run("--config", self.path, "--check-config", "--threads", "2",
                    env={"ENSOD_MAX_INPUTS": "20", "ENSOD_THREADS": "3"})
        self.assertEqual(shown.returncode, 0, shown.stderr)
        shown_lines = shown.stdout.splitlines()
        for line in ("max_body = 1MiB", "max_inputs = 20 ; environment", "threads = 2 ; command line",
                     "max_json_depth = 64 ; default"):
            self.assertIn(line, shown_lines)
        self.write(shown.stdout)
        again = run("--config", self.path, "--check-config")
        self.assertEqual(again.returncode, 0, again.stderr)

    def test_errors_name_file_line_key_and_the_nearest(self):
        for text, words in (("[server]\n\nidle_timout = 3s\n", (":3:", "idle_timout", "idle_timeout")),
                            ("[sever]\nlisten = 1\n", (":1:", "sever", "[server]")),
                            ("[limits]\nmax_body = lots\n", (":2:", "max_body", "lots", "32MiB")),
                            ("[limits]\nmax_json_depth = 3\n", (":2:", "max_json_depth", "4 to 1000")),
                            ("[server]\nmax_connections = 1\nmax_connections = 2\n", (":3:", "max_connections")),
                            ("rubbish\n", (":1:", "key = value"))):
            self.write(text)
            for args in (("--check-config",), (MODELS,)):
                said = run("--config", self.path, *args)
                self.assertEqual(said.returncode, 1, text)
                for word in (self.path,) + words:
                    self.assertIn(word, said.stderr)
                self.assertEqual(len(said.stderr.splitlines()), 1, said.stderr)
        said = run("--check-config", env={"ENSOD_MAX_BODY": "lots"})
        self.assertEqual(said.returncode, 1)
        self.assertIn("ENSOD_MAX_BODY", said.stderr)
        said = run("--lissten", "x")
        self.assertEqual(said.returncode, 2)
        self.assertIn("--listen", said.stderr)
        said = run("--config", self.path + ".not")
        self.assertEqual(said.returncode, 1)
        self.assertIn(self.path + ".not", said.stderr)

    def test_hangup_takes_over_what_may_change(self):
        log = self.path + ".log"
        self.write("[server]\nidle_timeout = 1h\n")
        d = Daemon("--config", self.path)
        with d.connect() as s:
            self.write(f"[server]\nidle_timeout = 100ms\n[log]\naccess_log = {log}\nlevel = debug\n"
                       "[limits]\nmax_inputs = 3\n")
            d.process.send_signal(signal.SIGHUP)
            self.assertTrue(until(lambda: os.path.exists(log)))
            s.sendall(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertTrue(s.recv(1000).startswith(b"HTTP/1.1 404"))
            self.assertEqual(s.recv(1000), b"")  # idle for long enough now
        self.assertTrue(until(lambda: "/nope" in open(log).read()))
        # What needs a restart is as it was, and the log says so.
        self.assertEqual(d.post("/v1/classify", {"model": "intents", "input": ["x"] * 4})[0], 200)
        self.assertEqual(d.stop(), 0)
        said = "\n".join(d.log)
        self.assertIn("key=idle_timeout old=1h new=100ms", said)
        self.assertIn('msg="this change needs a restart" section=limits key=max_inputs running=2048 file=3', said)

    def test_hangup_with_a_wrong_file_changes_nothing(self):
        self.write("[server]\nidle_timeout = 1h\n[log]\naccess_log = off\n")
        d = Daemon("--config", self.path)
        self.write("[server]\nidle_timeout = 100ms\nidle_timout = 1s\n")
        d.process.send_signal(signal.SIGHUP)
        self.assertTrue(until(lambda: any("stays as it was" in line for line in d.log)))
        with d.connect() as s:
            time.sleep(0.5)
            s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertTrue(s.recv(1000).startswith(b"HTTP/1.1 200"))
        self.assertEqual(d.stop(), 0)
        self.assertTrue(any("level=error" in line and ":3:" in line and "idle_timeout" in line for line in d.log))
        self.assertFalse(any("key=idle_timeout" in line for line in d.log))


class Listeners(unittest.TestCase):
    def test_several_at_once(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "ensod.sock")
            d = Daemon("--listen", "unix:" + path, "--listen", "[::1]:0")
            six = [line for line in d.log if "address=[::1]:" in line]
            addresses = [(socket.AF_UNIX, path), (socket.AF_INET, ("127.0.0.1", d.port))]
            if six:
                addresses.append((socket.AF_INET6, ("::1", int(six[0].rsplit(":", 1)[1]))))
            for family, address in addresses:
                with socket.socket(family) as s:
                    s.connect(address)
                    s.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
                    self.assertTrue(s.recv(1000).startswith(b"HTTP/1.1 200"))
            self.assertEqual(d.stop(), 0)
            self.assertFalse(os.path.exists(path))
            self.assertEqual([line for line in d.log if "anybody" in line], [])

    def test_a_warning_beyond_this_machine(self):
        d = Daemon("--listen", "0.0.0.0:0")
        self.assertEqual(d.stop(), 0)
        warnings = [line for line in d.log if "level=warning" in line]
        self.assertEqual(len(warnings), 1, warnings)
        self.assertIn("0.0.0.0", warnings[0])
        self.assertIn("proxy", warnings[0])


class Memory(unittest.TestCase):
    def test_a_request_over_the_budget_is_503_and_comes_back(self):
        d = Daemon(INTENTS, models=(), config="[limits]\nrequest_memory = 2MiB\nmax_body = 2MiB\n")
        small = {"model": "intents", "input": "x"}
        for value in ({"model": "intents", "input": "x " * 1000000},  # the body and its text
                      {"model": "intents", "input": ["x"] * 100, "more": [0] * 100000}):  # its tree
            status, head, a = d.post("/v1/classify", value)
            self.assertEqual(status, 503, a)
            self.assertIn("request_memory", a["error"]["message"])
            self.assertGreaterEqual(int(head["Retry-After"]), 1)
            self.assertEqual(d.post("/v1/classify", small)[0], 200)
        self.assertEqual(d.metrics()['ensod_rejected_total{reason="memory"}'], 2)
        self.assertEqual(d.metrics()["ensod_request_memory_bytes"], 0)
        self.assertEqual(d.stop(), 0)

    def test_many_at_once_share_the_budget(self):
        d = Daemon(INTENTS, models=(), config="[limits]\nrequest_memory = 8MiB\nmax_body = 2MiB\n")
        seen = []
        body = json.dumps({"model": "intents", "input": "x " * 500000})

        def client():
            for _ in range(5):
                seen.append(d.post("/v1/classify", body)[0])
        threads = [threading.Thread(target=client) for _ in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(len(seen), 100)
        self.assertEqual(set(seen) - {200, 503}, set())
        self.assertIn(200, seen)
        self.assertTrue(until(lambda: d.metrics()["ensod_request_memory_bytes"] == 0))
        self.assertEqual(d.stop(), 0)


class Metrics(unittest.TestCase):
    def test_names_are_there_from_the_first_scrape(self):
        """Rates and alerts need a series before its first event."""
        d = Daemon()
        page = d.metrics()
        text = d.get("/metrics")[2].decode()
        d.stop()
        for name in ("requests_total", "request_duration_seconds", "queue_duration_seconds",
                     "preprocess_duration_seconds", "compute_duration_seconds", "batch_items", "batch_tokens",
                     "queue_items", "queue_tokens", "lanes_busy", "connections", "tokens_total", "rejected_total",
                     "cancelled_total", "deadline_missed_total", "model_loaded", "model_bytes",
                     "model_load_seconds", "predicted_label_total", "confidence", "build_info"):
            self.assertIn(f"# TYPE ensod_{name} ", text)
        for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds",
                     "process_max_fds", "process_start_time_seconds", "process_virtual_memory_bytes"):
            self.assertIn(name, page)
        for reason in ("overloaded", "deadline", "unavailable", "memory"):
            self.assertEqual(page.get(f'ensod_rejected_total{{reason="{reason}"}}'), 0, reason)
        for stage in ("preprocess", "queue", "compute", "postprocess"):
            self.assertEqual(page.get(f'ensod_cancelled_total{{stage="{stage}"}}'), 0, stage)

    def test_counts_are_right(self):
        d = Daemon()
        self.assertEqual(d.post("/v1/classify", {"model": "intents", "input": ["a b", "c"]})[0], 200)
        self.assertEqual(d.post("/v1/classify", {"model": "intents", "input": []})[0], 400)
        self.assertEqual(d.post("/v1/classify", {"model": "no such \" model", "input": "x"})[0], 404)
        page = d.metrics()
        d.stop()
        ok = 'ensod_requests_total{model="intents",task="text-classification",dialect="native",code="200"}'
        self.assertEqual(page[ok], 1)
        self.assertEqual(page['ensod_batch_items_sum{model="intents"}'], 2)
        self.assertEqual(page['ensod_tokens_total{model="intents",kind="input"}'], 7)  # with [CLS] and [SEP]
        self.assertEqual(page['ensod_request_duration_seconds_count{model="intents"}'], 1)
        self.assertFalse([name for name in page if "no such" in name])  # names of clients are no labels
        labels = [v for k, v in page.items() if k.startswith('ensod_predicted_label_total{model="intents"')]
        self.assertEqual(sum(labels), 2)


class OddPlaces(unittest.TestCase):
    def play(self, command, leave=None, **options):
        """Start a daemon that no log line can come from, ask it, end it."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s")
            process = subprocess.Popen(command + [ENSOD, "--listen", "unix:" + path, INTENTS], **options)

            def status(target):
                try:
                    with socket.socket(socket.AF_UNIX) as s:
                        s.settimeout(PATIENCE)
                        s.connect(path)
                        s.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target)
                        return s.recv(10000)[9:12]
                except OSError:
                    return b""
            try:
                self.assertTrue(until(lambda: status(b"/ready") == b"200"))
                if leave is not None:
                    leave()
                for _ in range(50):
                    self.assertEqual(status(b"/nope"), b"404")
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(PATIENCE), 0)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()

    def test_without_any_standard_descriptors(self):
        """As a careless starter leaves it: nothing the daemon opens may become its standard error."""
        self.play(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])

    def test_standard_error_whose_reader_left(self):
        end, start = os.pipe()
        try:
            self.play([], leave=lambda: os.close(end), stderr=start)
        finally:
            os.close(start)

    def test_access_log_that_cannot_be_opened_ends_the_start(self):
        said = run("--listen", "127.0.0.1:0", MODELS, env={"ENSOD_ACCESS_LOG": "/does/not/exist/log"})
        self.assertEqual(said.returncode, 1)
        self.assertIn("/does/not/exist/log", said.stderr)

    def test_a_full_disk_under_the_access_log(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        d = Daemon(INTENTS, models=(), env={"ENSOD_ACCESS_LOG": "/dev/full"})
        for _ in range(10):
            self.assertEqual(d.get("/nope")[0], 404)
        self.assertTrue(until(lambda: d.metrics()["ensod_log_dropped_total"] >= 10))
        self.assertEqual(d.stop(), 0)


class Signals(unittest.TestCase):
    def test_a_hail_of_signals_is_a_clean_end(self):
        """Whenever the next one comes, also in the last moments: status 0, the socket's file gone."""
        for _ in range(10):
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "s")
                d = Daemon("--listen", "unix:" + path)
                while d.process.poll() is None:
                    d.process.send_signal(signal.SIGTERM)
                    d.process.send_signal(signal.SIGHUP)
                    time.sleep(0.0002)
                self.assertEqual(d.stop(), 0)
                self.assertFalse(os.path.exists(path))
                self.assertTrue(any("msg=stopped" in line for line in d.log), d.log[-5:])


class Browser(unittest.TestCase):
    def test_a_page_for_browsers_and_text_for_others(self):
        d = Daemon(models=(), config=f"[model x]\npath = {INTENTS}\nserved_name = <b>&x\n")
        _, head, page = d.request("GET", "/", headers={"Accept": "text/html,*/*;q=0.8", "Host": "a.example<script>"})
        self.assertEqual(head["Content-Type"], "text/html; charset=utf-8")
        self.assertNotIn(b"<script>", page)
        self.assertNotIn(b"<b>", page)
        self.assertIn(b"&lt;b&gt;&amp;x", page)
        self.assertIn(b"curl a.example&lt;script&gt;/v1/models", page)
        _, head, page = d.get("/")
        self.assertEqual(head["Content-Type"], "text/plain; charset=utf-8")
        self.assertIn(b"<b>&x (text-classification)", page)
        self.assertEqual(d.stop(), 0)


class Models(unittest.TestCase):
    def test_hostile_files_fail_alone(self):
        """A folder of broken models beside a good one: each fails with a sentence of its own."""
        golden = os.path.join(SOURCE, "tests", "engine", "formats", "golden")
        with open(os.path.join(INTENTS, "model.safetensors"), "rb") as f:
            weights = f.read()
        size = int.from_bytes(weights[:8], "little")
        header = json.loads(weights[8:8 + size])
        name = next(n for n in header if n != "__metadata__")

        def bent(change):
            entries = json.loads(json.dumps(header))
            change(entries[name])
            text = json.dumps(entries).encode()
            return len(text).to_bytes(8, "little") + text + weights[8 + size:]
        safetensors = {
            "empty": b"", "short": weights[:7], "cut-header": weights[:8 + size // 2], "cut-data": weights[:-1],
            "huge-header": (1 << 63).to_bytes(8, "little") + weights[8:],
            "not-json": weights[:8] + b"x" * size + weights[8 + size:],
            "deep": (100000).to_bytes(8, "little") + b"[" * 100000 + weights[8 + size:],
            "past-the-end": bent(lambda e: e.update(data_offsets=[0, 1 << 40])),
            "backwards": bent(lambda e: e.update(data_offsets=[8, 0])),
            "huge-dims": bent(lambda e: e.update(shape=[1 << 62, 1 << 62])),
            "negative-dim": bent(lambda e: e.update(shape=[-1, 4])),
            "unknown-type": bent(lambda e: e.update(dtype="F7")),
        }
        onnx = ["cycle", "missing_value", "huge_dims", "huge_bytes", "nested", "negative_dim", "no_graph", "ext_offset",
                "ext_overflow", "ext_upwards", "ext_missing", "lfs", "length", "own_operator", "empty_file"]
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(INTENTS, os.path.join(folder, "good"))
            for name, data in safetensors.items():
                shutil.copytree(INTENTS, os.path.join(folder, name))
                path = os.path.join(folder, name, "model.safetensors")
                os.chmod(path, 0o644)
                with open(path, "wb") as f:
                    f.write(data)
            for name in onnx:
                os.mkdir(os.path.join(folder, name))
                shutil.copyfile(os.path.join(golden, name + ".onnx"), os.path.join(folder, name, "model.onnx"))
            d = Daemon(models=(), config=f"[server]\nmodels = {folder}\n")
            models = {m["id"]: m for m in json.loads(d.get("/v1/models")[2])["data"]}
            self.assertEqual(len(models), 1 + len(safetensors) + len(onnx))
            for name, m in models.items():
                if name == "good":
                    continue
                self.assertEqual(m["state"], "failed", name)
                self.assertIn("model.", m["error"], name)  # the file
                self.assertNotIn("\n", m["error"])
                self.assertLess(len(m["error"]), 600)
                status, head, a = d.post("/v1/classify", {"model": name, "input": "x"})
                self.assertEqual(status, 503, a)
            self.assertEqual(d.post("/v1/classify", {"model": "good", "input": "x"})[0], 200)
            if not SANITIZED:
                self.assertLess(d.rss_bytes(), 100 << 20)
            self.assertEqual(d.stop(), 0)

    def test_no_model_at_all_says_what_to_do(self):
        said = run("--listen", "127.0.0.1:0", env={"ENSOD_MODEL_DIR": "/does/not/exist"})
        self.assertEqual(said.returncode, 1)
        self.assertIn("/does/not/exist", said.stderr)

    def test_two_of_one_name(self):
        said = run("--listen", "127.0.0.1:0", INTENTS, MODELS)
        self.assertEqual(said.returncode, 1)
        self.assertIn("'intents'", said.stderr)
        self.assertIn("served_name", said.stderr)

    def test_names_of_the_configuration(self):
        d = Daemon(models=(), config=f"[model support]\npath = {INTENTS}\nserved_name = team/support\n"
                                     "aliases = gpt-4o-mini, s\n")
        for name in ("team/support", "gpt-4o-mini", "s"):
            status, _, a = d.post("/v1/classify", {"model": name, "input": "x"})
            self.assertEqual(status, 200, a)
        self.assertEqual(d.get("/v1/models/team/support")[0], 200)
        self.assertEqual(d.post("/v1/classify", {"model": "support", "input": "x"})[0], 404)
        self.assertEqual(d.post("/v1/classify", {"input": "x"})[0], 200)  # the only one of its task
        self.assertEqual(d.stop(), 0)


class Loop(unittest.TestCase):
    def test_long_texts_are_tokenized_elsewhere(self):
        """The thread of the loop, which all other clients wait for, has little to do with them."""
        d = Daemon(models=(os.path.join(MODELS, "embeddings"),), config="[batching]\ntruncate = true\n")
        tasks = f"/proc/{d.process.pid}/task"

        def spent():
            """Nanoseconds of the loop's thread, and of all."""
            found = {}
            for task in os.listdir(tasks):
                with open(os.path.join(tasks, task, "schedstat"), encoding="utf-8") as f:
                    found[int(task)] = int(f.read().split()[0])
            return found[d.process.pid], sum(found.values())
        text = " ".join(f"card {n} arrived, but where is the machine" for n in range(6000))
        loop, everybody = spent()
        for _ in range(8):
            self.assertEqual(d.post("/v1/embeddings", {"model": "embeddings", "input": text})[0], 200)
        loop, everybody = (after - before for after, before in zip(spent(), (loop, everybody)))
        self.assertEqual(d.stop(), 0)
        self.assertLess(loop, everybody / 4)


if __name__ == "__main__":
    main(sys.modules["__main__"])
