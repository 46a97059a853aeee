#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon from outside, over real sockets, with the bundled models: every route, bad input,
clients that misbehave, load, signals, restarts. Python's standard library only."""

import base64
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from daemon import ENSOD, MODELS, PATIENCE, SOURCE, Daemon, main, read_all, read_answers  # noqa: E402

SENTENCE = "The machine swallowed my card."
PICTURE = os.path.join(SOURCE, "examples", "pictures", "sneaker.png")


def picture():
    with open(PICTURE, "rb") as f:
        return f.read()


def png_header(width, height):
    """A PNG that claims a size and holds next to nothing."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))


class Shared(unittest.TestCase):
    """One daemon for a class of tests."""
    args = ()
    config = None

    @classmethod
    def setUpClass(cls):
        cls.d = Daemon(*cls.args, config=cls.config)

    @classmethod
    def tearDownClass(cls):
        status = cls.d.stop()
        if status != 0:
            raise AssertionError(f"exit status {status}: " + "\n".join(cls.d.log[-40:]))

    def alive(self):
        self.assertEqual(self.d.get("/health")[0], 200)

    def refused(self, answer, status, *words):
        """An error of that status, in the OpenAI shape, whose sentence holds the words."""
        code, _, body = answer
        body = json.loads(body) if isinstance(body, bytes) else body
        self.assertEqual(code, status, body)
        message = body["error"]["message"] if isinstance(body["error"], dict) else body["error"]
        for word in words:
            self.assertIn(word, message)
        self.alive()


class Routes(Shared):
    def test_health_ready_index(self):
        self.assertEqual(self.d.get("/health")[0], 200)
        self.assertEqual(self.d.get("/ready")[0], 200)
        status, head, body = self.d.get("/")
        self.assertEqual(status, 200)
        self.assertIn(b"/v1/classify", body)

    def test_classify_text(self):
        status, head, a = self.d.post("/v1/classify", {"model": "intents", "input": SENTENCE})
        self.assertEqual(status, 200, a)
        row = a["data"][0]
        self.assertEqual(a["object"], "list")
        self.assertEqual(a["model"], "intents")
        self.assertEqual(row["label"], row["top"][0]["label"])
        self.assertEqual(len(row["probs"]), row["num_classes"])
        self.assertAlmostEqual(sum(row["probs"]), 1, places=4)
        self.assertGreater(a["usage"]["prompt_tokens"], 2)
        self.assertIn("queue;dur=", head["Server-Timing"])
        self.assertTrue(head["X-Request-Id"])

    def test_classify_without_content_type_as_curl_sends_it(self):
        status, _, body = self.d.request("POST", "/v1/classify", json.dumps({"model": "intents", "input": "x"}),
                                         {"Content-Type": "application/x-www-form-urlencoded"})
        self.assertEqual(status, 200, body)

    def test_classify_list_pairs_and_parameters(self):
        status, _, a = self.d.post("/v1/classify", {
            "model": "intents", "top_k": 2, "probs": False,
            "input": ["one", {"text": "two"}, {"text": "three", "text_pair": "four"}]})
        self.assertEqual(status, 200, a)
        self.assertEqual([r["index"] for r in a["data"]], [0, 1, 2])
        self.assertEqual(len(a["data"][0]["top"]), 2)
        self.assertNotIn("probs", a["data"][0])

    def test_same_text_same_bits_alone_and_in_a_batch(self):
        alone = self.d.post("/v1/classify", {"model": "intents", "input": SENTENCE})[2]["data"][0]["probs"]
        many = self.d.post("/v1/classify", {"model": "intents",
                                            "input": ["a b c " * i for i in range(1, 9)] + [SENTENCE]})[2]
        self.assertEqual(alone, many["data"][8]["probs"])

    def test_classify_picture_three_ways(self):
        status, _, bare = self.d.request("POST", "/v1/classify?model=fashion", picture(), {"Content-Type": "image/png"})
        self.assertEqual(status, 200, bare)
        url = "data:image/png;base64," + base64.b64encode(picture()).decode()
        status, _, by_url = self.d.post("/v1/classify", {"model": "fashion", "input": {"image": url}})
        self.assertEqual(status, 200, by_url)
        form = (b'--xyz\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
                b'Content-Type: image/png\r\n\r\n' + picture() + b'\r\n--xyz--\r\n')
        status, _, by_form = self.d.request("POST", "/v1/classify?model=fashion", form,
                                            {"Content-Type": "multipart/form-data; boundary=xyz"})
        self.assertEqual(status, 200, by_form)
        rows = [json.loads(bare)["data"], by_url["data"], json.loads(by_form)["data"]]
        self.assertEqual(rows[0], rows[1])
        self.assertEqual(rows[0], rows[2])

    def test_embeddings_float_base64_and_dimensions(self):
        request = {"model": "embeddings", "input": ["hello", "world"]}
        status, _, floats = self.d.post("/v1/embeddings", request)
        self.assertEqual(status, 200, floats)
        _, _, coded = self.d.post("/v1/embeddings", {**request, "encoding_format": "base64"})
        for i in range(2):
            vector = floats["data"][i]["embedding"]
            raw = base64.b64decode(coded["data"][i]["embedding"])
            self.assertEqual(list(struct.unpack(f"<{len(vector)}f", raw)),
                             [struct.unpack("<f", struct.pack("<f", x))[0] for x in vector])
        _, _, cut = self.d.post("/v1/embeddings", {**request, "dimensions": 4})
        self.assertEqual(len(cut["data"][0]["embedding"]), 4)
        self.assertAlmostEqual(sum(x * x for x in cut["data"][0]["embedding"]), 1, places=4)

    def test_embeddings_of_token_ids(self):
        ids = [t["id"] for t in self.d.post("/v1/tokenize", {"model": "embeddings", "input": "hello"})[2]["data"][0]["tokens"]]
        text = self.d.post("/v1/embeddings", {"model": "embeddings", "input": "hello"})[2]
        tokens = self.d.post("/v1/embeddings", {"model": "embeddings", "input": ids})[2]
        self.assertEqual(text["data"][0]["embedding"], tokens["data"][0]["embedding"])

    def test_tokenize(self):
        status, _, a = self.d.post("/v1/tokenize", {"model": "intents", "input": "my card"})
        self.assertEqual(status, 200, a)
        tokens = a["data"][0]["tokens"]
        self.assertTrue(tokens[0]["special"])
        self.assertEqual("my card"[tokens[1]["start"]:tokens[1]["end"]], "my")

    def test_models(self):
        status, _, a = self.d.get("/v1/models")
        models = {m["id"]: m for m in json.loads(a)["data"]}
        self.assertEqual(set(models), {"intents", "fashion", "embeddings"})
        self.assertEqual(models["intents"]["task"], "text-classification")
        self.assertTrue(models["intents"]["batch_invariant"])
        one = json.loads(self.d.get("/v1/models/fashion")[2])
        self.assertEqual(len(one["labels"]), 10)

    def test_huggingface(self):
        status, _, a = self.d.post("/models/intents", {"inputs": SENTENCE})
        self.assertEqual(status, 200, a)
        self.assertIn("label", a[0][0])
        status, _, a = self.d.request("POST", "/models/fashion", picture(), {"Content-Type": "image/png"})
        self.assertEqual(status, 200, a)
        self.assertIn("score", json.loads(a)[0])
        status, _, a = self.d.post("/models/embeddings", {"inputs": ["a", "b"]})
        self.assertEqual(status, 200, a)
        self.assertEqual(len(a), 2)

    def test_kserve_json(self):
        self.assertEqual(self.d.get("/v2/health/live")[0], 200)
        self.assertEqual(self.d.get("/v2/health/ready")[0], 200)
        self.assertEqual(json.loads(self.d.get("/v2")[2])["name"], "ensod")
        meta = json.loads(self.d.get("/v2/models/intents")[2])
        self.assertEqual(meta["inputs"][0]["name"], "text")
        self.assertEqual(self.d.get("/v2/models/intents/ready")[0], 200)
        status, _, a = self.d.post("/v2/models/intents/infer", {
            "id": "7", "inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a", SENTENCE]}]})
        self.assertEqual(status, 200, a)
        self.assertEqual(a["id"], "7")
        outputs = {o["name"]: o for o in a["outputs"]}
        self.assertEqual(outputs["probabilities"]["shape"][0], 2)
        self.assertEqual(len(outputs["label"]["data"]), 2)

    def test_kserve_binary_both_directions(self):
        data = struct.pack("<784f", *[i / 784 for i in range(784)])
        name = json.loads(self.d.get("/v2/models/fashion")[2])["inputs"]
        name = [t["name"] for t in name if t["datatype"] == "FP32"][0]
        head = json.dumps({"inputs": [{"name": name, "shape": [1, 1, 28, 28], "datatype": "FP32",
                                       "parameters": {"binary_data_size": len(data)}}],
                           "parameters": {"binary_data_output": True}}).encode()
        status, headers, body = self.d.request("POST", "/v2/models/fashion/infer", head + data, {
            "Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"})
        self.assertEqual(status, 200, body)
        split = int(headers["Inference-Header-Content-Length"])
        answer = json.loads(body[:split])
        self.assertEqual(answer["outputs"][0]["parameters"]["binary_data_size"], len(body) - split)
        self.assertEqual(len(body) - split, 40)

    def test_openapi_names_every_path_of_the_index(self):
        document = json.loads(self.d.get("/openapi.json")[2])
        self.assertTrue(document["openapi"].startswith("3.1"))
        self.assertIn("/v1/classify", document["paths"])

    def test_request_id_is_echoed(self):
        status, head, _ = self.d.post("/v1/classify", {"model": "intents", "input": "x"}, headers={"X-Request-Id": "abc-1"})
        self.assertEqual(head["X-Request-Id"], "abc-1")

    def test_head_options_and_wrong_methods(self):
        status, head, body = self.d.request("HEAD", "/health")
        self.assertEqual((status, body), (200, b""))
        status, head, _ = self.d.request("OPTIONS", "/v1/classify")
        self.assertEqual((status, head["Allow"]), (204, "POST"))
        status, head, _ = self.d.request("GET", "/v1/classify")
        self.assertEqual((status, head["Allow"]), (405, "POST"))
        self.assertEqual(self.d.request("DELETE", "/health")[0], 405)

    def test_metrics_pass_promtool(self):
        self.d.post("/v1/classify", {"model": "intents", "input": "x"})
        page = self.d.get("/metrics")[2]
        self.assertIn(b'ensod_requests_total{model="intents"', page)
        self.assertIn(b"ensod_request_duration_seconds_bucket", page)
        if shutil.which("promtool") is None:
            print("SKIP: promtool is not installed")
            return
        check = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)


class BadInput(Shared):
    def classify(self, value, **kw):
        return self.d.post("/v1/classify", value, **kw)

    def test_empty_body(self):
        self.refused(self.classify(b""), 400, "empty")

    def test_not_json(self):
        self.refused(self.classify(b"hello"), 400)

    def test_truncated_json(self):
        self.refused(self.classify(b'{"model":"intents","input":"x'), 400)

    def test_duplicate_keys(self):
        self.refused(self.classify(b'{"input":"x","input":"y"}'), 400)

    def test_ten_megabyte_string_is_cut_or_refused(self):
        status, _, a = self.classify({"model": "intents", "input": "a b " * 2500000})
        self.assertEqual(status, 200, a)
        self.assertTrue(a["data"][0]["truncated"])
        self.refused(self.classify({"model": "intents", "input": "a b " * 2500000, "truncate": False}), 400, "tokens")

    def test_depth(self):
        self.refused(self.classify(b'{"input":' + b"[" * 10000 + b"]" * 10000 + b"}"), 413, "64")

    def test_many_values(self):
        before = self.d.rss_bytes()
        self.refused(self.classify(b"[" + b"{}," * ((32 << 20) // 3 - 10) + b"{}]"), 413)
        self.assertLess(self.d.rss_bytes() - before, 200 << 20)

    def test_wrong_types(self):
        for value in ({"model": "intents", "input": 7}, {"model": "intents", "input": [7]},
                      {"model": 7, "input": "x"}, {"model": "intents", "input": {"text": 7}},
                      {"model": "intents", "input": "x", "top_k": "many"}, {"model": "intents", "input": None},
                      {"model": "intents"}, [1], "x"):
            self.refused(self.classify(value), 400)

    def test_path_of_the_offending_input(self):
        _, _, a = self.classify({"model": "intents", "input": ["x", "y", 7]})
        self.assertEqual(a["error"]["param"], "input[2]")

    def test_nan_invalid_utf8_lone_surrogate(self):
        self.refused(self.classify(b'{"model":"intents","input":"x","timeout_ms":NaN}'), 400)
        self.refused(self.classify(b'{"model":"intents","input":"\xff\xfe"}'), 400)
        self.refused(self.classify(b'{"model":"intents","input":"\\ud800"}'), 400)

    def test_empty_list_and_too_many(self):
        self.refused(self.classify({"model": "intents", "input": []}), 400, "empty")
        self.refused(self.classify({"model": "intents", "input": ["x"] * 5000}), 413, "5000", "2048")

    def test_unknown_model_and_wrong_task(self):
        self.refused(self.classify({"model": "nope", "input": "x"}), 404, "nope", "intents")
        self.refused(self.classify({"model": "embeddings", "input": "x"}), 400, "feature-extraction")
        self.refused(self.d.get("/v1/models/nope"), 404, "nope")

    def test_ambiguous_model(self):
        self.refused(self.classify({"input": "x"}), 400, "intents", "fashion")

    def test_wrong_kind_of_input(self):
        self.refused(self.classify({"model": "fashion", "input": "text"}), 400, "images")

    def test_wrong_content_type(self):
        self.refused(self.d.request("POST", "/v1/classify", "x", {"Content-Type": "text/xml"}), 415)

    def test_pictures(self):
        def send(data):
            return self.d.request("POST", "/v1/classify?model=fashion", data, {"Content-Type": "image/png"})
        self.refused(send(b""), 400, "empty")
        self.refused(send(picture()[:200]), 400)
        self.refused(send(b"GIF89a" + b"\0" * 100), 400, "GIF")
        self.refused(send(b"not a picture at all"), 400)
        self.refused(send(png_header(20000, 20000)), 413, "pixels")
        self.refused(send(png_header(60, 60)), 400)

    def test_broken_base64(self):
        self.refused(self.classify({"model": "fashion", "input": {"image": "data:image/png;base64,@@@@"}}), 400)
        self.refused(self.classify({"model": "fashion", "input": {"image": "http://example.com/a.png"}}), 400)

    def test_broken_form(self):
        self.refused(self.d.request("POST", "/v1/classify?model=fashion", "--x\r\n", {
            "Content-Type": "multipart/form-data; boundary=x"}), 400)

    def test_kserve(self):
        def send(value, headers=None):
            return self.d.post("/v2/models/intents/infer", value, headers=headers)
        text = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["x"]}
        self.refused(send({"inputs": [{**text, "shape": [-1]}]}), 400)
        self.refused(send({"inputs": [{**text, "shape": [2]}]}), 400)
        self.refused(send({"inputs": [{**text, "shape": [1 << 62, 1 << 62]}]}), 400)
        self.refused(send({"inputs": [{**text, "datatype": "FP32"}]}), 400)
        self.refused(send({"inputs": [{**text, "name": "nope"}]}), 400, "nope")
        self.refused(send({"inputs": []}), 400)
        self.refused(send({}), 400)
        self.refused(send({"inputs": [text], "outputs": [{"name": "nope"}]}), 400, "nope")
        self.refused(send(b'{"inputs":[]}xx', {"Inference-Header-Content-Length": "9999"}), 400)
        self.refused(send(b'{"inputs":[]}xx', {"Inference-Header-Content-Length": "-1"}), 400)
        self.refused(self.d.post("/v2/models/nope/infer", {"inputs": [text]}), 404, "nope")

    def test_deadlines(self):
        self.refused(self.classify({"model": "intents", "input": "x"}, headers={"X-Request-Timeout": "soon"}), 400)
        status, head, a = self.classify({"model": "intents", "input": ["x y z"] * 500, "timeout_ms": 0.001})
        self.assertIn(status, (429, 504), a)
        if status == 504:
            self.assertEqual(head["x-should-retry"], "false")

    def test_unknown_path(self):
        self.refused(self.d.get("/nope"), 404)


class Http(Shared):
    config = "[server]\nheader_timeout = 1s\nbody_timeout = 1s\n[limits]\nmax_body = 1MiB\n"

    def status_of(self, data):
        answer = self.d.raw(data)
        self.alive()
        return int(answer.split()[1]) if answer else 0

    def test_smuggling_is_refused(self):
        self.assertEqual(self.status_of(b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                                        b"Content-Length: 6\r\n\r\nhello"), 400)
        self.assertEqual(self.status_of(b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                                        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400)

    def test_missing_host_and_nul(self):
        self.assertEqual(self.status_of(b"GET /health HTTP/1.1\r\n\r\n"), 400)
        self.assertEqual(self.status_of(b"GET /health%00 HTTP/1.1\r\nHost: x\r\n\r\n"), 400)

    def test_header_bomb(self):
        self.assertIn(self.status_of(b"GET /health HTTP/1.1\r\nHost: x\r\n" +
                                     b"".join(b"X-%d: %s\r\n" % (i, b"a" * 1000) for i in range(100)) + b"\r\n"),
                      (0, 431))

    def test_http_1_0(self):
        self.assertEqual(self.status_of(b"GET /health HTTP/1.0\r\n\r\n"), 200)

    def test_expect_continue(self):
        with self.d.connect() as s:
            s.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 34\r\n\r\n")
            self.assertIn(b"100", s.recv(100))
            s.sendall(b'{"model":"intents","input":"hello"}'[:34])
            self.assertTrue(read_all(s, 1).startswith(b"HTTP/1.1 400"))

    def test_expect_with_too_long_a_body_is_refused_at_once(self):
        with self.d.connect() as s:
            s.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                      b"Content-Length: 50000000\r\n\r\n")
            self.assertTrue(read_all(s, 1).startswith(b"HTTP/1.1 413"))

    def test_body_over_the_limit(self):
        self.refused(self.d.post("/v1/classify", b"x" * 1500000), 413)

    def test_chunked_body_and_over_the_limit(self):
        body = b'{"model":"intents","input":"hello"}'
        self.assertEqual(self.status_of(b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                        b"Transfer-Encoding: chunked\r\n\r\n" +
                                        b"".join(b"1\r\n" + bytes([c]) + b"\r\n" for c in body) + b"0\r\n\r\n"), 200)
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        self.assertIn(self.status_of(b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
                                     piece * 20 + b"0\r\n\r\n"), (0, 413))

    def test_pipelining(self):
        body = json.dumps({"model": "intents", "input": SENTENCE}).encode()
        one = (b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)) + body
        with self.d.connect() as s:
            s.sendall(one * 20 + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            answers = read_answers(s, 21)
        self.assertEqual([a[0] for a in answers], [200] * 21)

    def test_slow_headers_and_bodies_are_cut_off(self):
        for start in (b"GET /hea", b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"):
            with self.d.connect() as s:
                s.sendall(start)
                began = time.monotonic()
                try:
                    while time.monotonic() - began < PATIENCE:
                        s.sendall(b"x")
                        s.settimeout(0.1)
                        try:
                            if s.recv(1000) == b"":
                                break
                        except TimeoutError:
                            pass
                except OSError:
                    pass
                self.assertLess(time.monotonic() - began, 20)
        self.alive()

    def test_hang_ups(self):
        body = json.dumps({"model": "intents", "input": [SENTENCE] * 200}).encode()
        large = json.dumps({"model": "intents", "input": ["x " * 200] * 1000}).encode()
        for data in (body, large):
            for wait in (0, 0.01):
                s = self.d.connect()
                s.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
                time.sleep(wait)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                s.close()
        end = time.monotonic() + PATIENCE
        while self.d.metrics().get("ensod_queue_items", 1) != 0 and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(self.d.metrics()["ensod_queue_items"], 0)
        self.alive()

    def test_two_hundred_clients(self):
        failures = []

        def client(i):
            try:
                for _ in range(3):
                    text = f"client {i} says hello"
                    status, _, a = self.d.post("/v1/classify", {"model": "intents", "input": text})
                    if status != 200:
                        failures.append((status, a))
            except OSError as e:
                failures.append(e)
        threads = [threading.Thread(target=client, args=(i,)) for i in range(200)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(failures, [])


class Life(unittest.TestCase):
    def test_sigterm_under_load_answers_everything_received(self):
        d = Daemon()
        sent, answered, broken = [], [], []
        go = threading.Event()

        def client():
            body = json.dumps({"model": "intents", "input": [SENTENCE] * 20}).encode()
            one = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            with d.connect() as s:
                s.sendall(one)
                sent.append(1)
                go.wait()
                answers = read_answers(s, 1)
                (answered if answers and answers[0][0] == 200 else broken).append(answers)
        threads = [threading.Thread(target=client) for _ in range(50)]
        for t in threads:
            t.start()
        while len(sent) < 50:
            time.sleep(0.01)
        d.process.send_signal(signal.SIGTERM)
        go.set()
        for t in threads:
            t.join()
        self.assertEqual(d.stop(), 0, d.log[-20:])
        self.assertEqual((len(answered), broken), (50, []))

    def test_second_signal_stops_at_once(self):
        d = Daemon(config="[shutdown]\ndrain_delay = 60s\n")
        d.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        self.assertEqual(d.get("/ready")[0], 503)
        self.assertEqual(d.get("/health")[0], 200)
        began = time.monotonic()
        self.assertEqual(d.stop(signal.SIGINT), 0)
        self.assertLess(time.monotonic() - began, 20)

    def test_kill_and_start_again(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s")
            for _ in range(2):
                d = Daemon("--listen", "unix:" + path)
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(path)
                    s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                    self.assertIn(b"200", s.recv(100))
                d.stop(signal.SIGKILL)
            self.assertTrue(os.path.exists(path))

    def test_port_in_use(self):
        d = Daemon()
        other = subprocess.run([ENSOD, "--listen", f"127.0.0.1:{d.port}", MODELS], capture_output=True, text=True,
                               timeout=PATIENCE)
        self.assertEqual(other.returncode, 1)
        self.assertIn(str(d.port), other.stderr)
        d.stop()

    def test_wrong_flags_and_folders(self):
        with tempfile.TemporaryDirectory() as empty:
            for args, code, word in ((["--liste", "x"], 2, "--listen"), (["/does/not/exist"], 1, "/does/not/exist"),
                                     (["--device", "cuda:0", MODELS], 1, "GPU"), (["--check", empty], 1, empty)):
                run = subprocess.run([ENSOD] + args, capture_output=True, text=True, timeout=PATIENCE)
                self.assertEqual(run.returncode, code, f"{args}: {run.stdout}{run.stderr}")
                self.assertIn(word, run.stderr)

    def test_check_help_version(self):
        run = subprocess.run([ENSOD, "--check", os.path.join(MODELS, "intents")], capture_output=True, text=True,
                             timeout=PATIENCE)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("text-classification", run.stdout)
        for flag in ("--help", "--version", "--check-config"):
            run = subprocess.run([ENSOD, flag], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertTrue(run.stdout)

    def test_broken_model_beside_a_good_one(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(os.path.join(MODELS, "intents"), os.path.join(folder, "good"))
            shutil.copytree(os.path.join(MODELS, "intents"), os.path.join(folder, "bad"))
            path = os.path.join(folder, "bad", "model.safetensors")
            os.truncate(path, os.path.getsize(path) // 2)
            d = Daemon(models=(), config=f"[server]\nmodels = {folder}\n")
            models = {m["id"]: m for m in json.loads(d.get("/v1/models")[2])["data"]}
            self.assertEqual(models["bad"]["state"], "failed")
            self.assertIn("model.safetensors", models["bad"]["error"])
            self.assertEqual(d.post("/v1/classify", {"model": "good", "input": "x"})[0], 200)
            self.assertEqual(d.post("/v1/classify", {"model": "bad", "input": "x"})[0], 503)
            self.assertEqual(d.stop(), 0)
            named = subprocess.run([ENSOD, "--listen", "127.0.0.1:0", os.path.join(folder, "bad")],
                                   capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(named.returncode, 1)
            self.assertIn("model.safetensors", named.stderr)

    def test_notifies_systemd(self):
        if not sys.platform.startswith("linux"):
            self.skipTest("no systemd")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "notify")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
                s.bind(path)
                s.settimeout(PATIENCE)
                d = Daemon(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"})
                seen = b""
                while b"READY=1" not in seen or b"WATCHDOG=1" not in seen:
                    seen += s.recv(4096)
                d.process.send_signal(signal.SIGTERM)
                while b"STOPPING=1" not in seen:
                    seen += s.recv(4096)
                self.assertEqual(d.stop(), 0)

    def test_idle_takes_no_cpu(self):
        d = Daemon()
        d.post("/v1/classify", {"model": "intents", "input": "x"})
        time.sleep(0.5)
        before = d.cpu_seconds()
        time.sleep(2)
        self.assertLessEqual(d.cpu_seconds() - before, 0.02)
        d.stop()

    def test_full_queue_is_429_with_retry_after(self):
        d = Daemon(config="[batching]\nmax_queue_items = 8\n")
        seen, refused = [], []

        def client():  # on a busy machine a single round may come one by one
            for _ in range(50):
                answer = d.post("/v1/classify", {"model": "intents", "input": ["x y z " * 50] * 6})
                (refused if answer[0] == 429 else seen).append(answer)
                if refused:
                    break
        threads = [threading.Thread(target=client) for _ in range(40)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        d.stop()
        self.assertTrue(refused)
        self.assertEqual({a[0] for a in seen}, {200})
        for _, head, _ in refused:
            self.assertGreaterEqual(int(head["Retry-After"]), 1)

    def test_access_log_has_no_inputs(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "access.log")
            d = Daemon(config=f"[log]\naccess_log = {path}\n")
            d.post("/v1/classify", {"model": "intents", "input": "sesamword"})
            d.get("/health")
            d.stop()
            with open(path) as f:
                lines = f.read().splitlines()
        lines = [line for line in lines if "/v1/classify" in line]
        self.assertEqual(len(lines), 1)
        self.assertIn("status=200", lines[0])
        self.assertIn("model=intents", lines[0])
        self.assertNotIn("sesamword", "\n".join(lines + d.log))


if __name__ == "__main__":
    main(sys.modules["__main__"])
