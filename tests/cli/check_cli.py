#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plays enso against a small server of its own: output, exit statuses, bad servers, the arithmetic
and the two loops of `enso bench`. Python's standard library only; run by `make check`."""

import http.server
import json
import os
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zlib

BUILD = os.path.abspath(os.environ.get("top_builddir", "."))
ENSO = os.path.join(BUILD, "enso")


def png():
    """The smallest honest PNG: one grey pixel."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b""))


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers like an ensod; paths under /test misbehave on purpose."""
    protocol_version = "HTTP/1.1"
    # One write per answer and no waiting for acknowledgements: answers must not cost 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def address_string(self):
        return "client"

    def answer(self, status, value, headers=()):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def do_GET(self):
        self.server.seen.append(("GET", self.path, dict(self.headers), b""))
        if self.path == "/health":
            self.answer(200, {"status": "ok"})
        elif self.path == "/ready":
            self.answer(200 if self.server.ready else 503,
                        {"ready": self.server.ready, "draining": False,
                         "models": {"ready": 2, "loading": 0, "failed": 1}})
        elif self.path == "/v1/models":
            self.answer(200, {"object": "list", "data": [
                {"id": "intents", "task": "text-classification", "state": "ready", "device": "cpu",
                 "weight_bytes": 5 << 20},
                {"id": "broken", "state": "failed", "error": "config.json: no such architecture"}]})
        elif self.path == "/v1/models/intents":
            self.answer(200, {"id": "intents", "task": "text-classification"})
        elif self.path == "/v1/models/my/embedder":
            self.answer(200, {"id": "my/embedder", "task": "feature-extraction"})
        elif self.path == "/v1/models/shoes":
            self.answer(200, {"id": "shoes", "task": "image-classification"})
        elif self.path == "/test/close":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif self.path == "/test/slow":
            time.sleep(1)
            self.answer(200, {})
        elif self.path == "/test/20ms":
            time.sleep(0.02)
            self.answer(200, {})
        else:
            self.answer(404, {"error": {"message": "there is no model 'x'; there are: intents",
                                        "type": "invalid_request_error", "param": "model", "code": "c"}})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append(("POST", self.path, dict(self.headers), body))
        path, _, query = self.path.partition("?")
        if path == "/v1/classify":
            self.classify(body, query)
        elif path == "/v1/embeddings":
            self.embed(json.loads(body))
        elif path == "/test/text":
            self.answer(200, b"<html>hello</html>")
        elif path == "/test/sometimes":
            n = len(self.server.seen)
            self.answer(503 if n % 4 == 0 else 200, {},
                        [("Server-Timing", "queue;dur=0.5, compute;dur=%d" % (n % 2 * 10))])
        else:
            self.answer(404, {"error": "nothing here"})

    def classify(self, body, query):
        if self.headers["Content-Type"] == "image/png":
            inputs, model = ["picture"], query
        else:
            request = json.loads(body)
            inputs, model = request["input"], request.get("model", "")
            inputs = [inputs] if isinstance(inputs, str) else inputs
        if model == "nothing":
            self.answer(404, {"error": {"message": "there is no model 'nothing'", "param": "model"}})
        elif model == "cut":
            self.answer(200, {"data": []})
        else:
            self.answer(200, {"data": [
                {"index": i, "label": "label of " + text, "score": 0.75, "truncated": text == "long",
                 "top": [{"label": "label of " + text, "score": 0.75}, {"label": "other", "score": 0.25}]}
                for i, text in enumerate(inputs)]})

    def embed(self, request):
        inputs = [request["input"]] if isinstance(request["input"], str) else request["input"]
        vector = [0.5, -0.25, 0.1][:request.get("dimensions", 3)]
        if request.get("encoding_format") == "base64":
            vector = "AAAAPwAAgL4="
        self.answer(200, {"data": [{"index": i, "embedding": vector} for i in range(len(inputs))]})


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # without looking up our name

    def handle_error(self, *_):
        pass  # clients that leave are part of the game

    def __init__(self, address=("127.0.0.1", 0), handler=Handler):
        self.seen = []
        self.ready = True
        super().__init__(address, handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.server_address[1]


class UnixHandler(Handler):
    disable_nagle_algorithm = False


class UnixServer(Server):
    address_family = socket.AF_UNIX

    def __init__(self, path):
        super().__init__(path, UnixHandler)


def enso(*args, server=None, stdin="", timeout=60, env=None):
    """(exit status, standard output, standard error) of one run."""
    environment = {k: v for k, v in os.environ.items() if k != "ENSO_SERVER"}
    environment["http_proxy"] = "http://127.0.0.1:1"  # must not be used
    if server is not None:
        environment["ENSO_SERVER"] = server
    environment.update(env or {})
    run = subprocess.run([ENSO, *args], input=stdin, capture_output=True, text=True,
                         env=environment, timeout=timeout)
    return run.returncode, run.stdout, run.stderr


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Case(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def ask(self, *args, **kw):
        return enso(*args, server=kw.pop("server", self.server.url), **kw)

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(content)
        return path


class Usage(Case):
    def test_help(self):
        for command in ([], ["classify"], ["embed"], ["models"], ["health"], ["bench"]):
            status, out, err = self.ask(*command, "--help")
            self.assertEqual((status, err), (0, ""))
            self.assertIn("Usage: enso", out)
            for line in out.splitlines():
                self.assertLessEqual(len(line), 100)
                self.assertEqual(line, line.rstrip())
        self.assertRegex(self.ask("--version")[1], r"^enso \d+\.\d+\.\d+\n$")

    def test_wrong_usage_is_2_with_one_line(self):
        for line in ([], ["nonsense"], ["classify"], ["classify", "--nonsense", "x"],
                     ["classify", "--top", "many", "x"], ["classify", "--top=-1", "x"],
                     ["classify", "x", "--top"], ["classify", "-x"], ["classify", "--json=1", "x"],
                     ["embed"], ["embed", "--dimensions", "0", "x"], ["models", "x"],
                     ["health", "x"], ["bench"], ["bench", "x"], ["bench", "--url", "x"],
                     ["bench", "--url", "/", "--model", "m"], ["bench", "--model", "m"],
                     ["bench", "--model", "m", "--text", "a", "--texts", "b"],
                     ["bench", "--url", "/", "--rate", "0"], ["bench", "--url", "/", "--rate", "inf"],
                     ["bench", "--url", "/", "--duration", "0"],
                     ["bench", "--url", "/", "--duration", "soon"],
                     ["bench", "--url", "/", "--connections", "0"],
                     ["bench", "--url", "/", "--arrivals", "late"],
                     ["bench", "--url", "/", "--header", "nonsense"]):
            status, out, err = self.ask(*line)
            self.assertEqual((status, out), (2, ""), line)
            if line:
                self.assertEqual(err.count("\n"), 1, line)
                self.assertTrue(err.startswith("enso"), err)

    def test_server_addresses(self):
        for server in ("unix:", "ftp://x", "a b"):
            self.assertEqual(self.ask("health", "--server", server)[0], 2)
        host = "127.0.0.1:%d" % self.server.server_address[1]
        self.assertEqual(enso("health", "--server", host)[0], 0)
        self.assertEqual(enso("health", server="http://" + host + "/")[0], 0)
        path = os.path.join(self.folder, "socket")
        server = UnixServer(path)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.assertEqual(enso("health", "--server", "unix:" + path)[0], 0)
        self.assertEqual(enso("bench", "--server", "unix:" + path, "--url", "/health",
                              "--requests", "5", "--warmup", "0", "--connections", "2")[0], 0)
        status, _, err = enso("health", "--server", "unix:" + path + ".gone")
        self.assertEqual(status, 1)
        self.assertIn("no server answers", err)

    def test_no_server(self):
        status, out, err = enso("models", "--server", "http://127.0.0.1:%d" % free_port())
        self.assertEqual((status, out), (1, ""))
        self.assertIn("no server answers at", err)
        self.assertIn("start ensod", err)

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            run = subprocess.run([ENSO, "models"], stdout=full, stderr=subprocess.PIPE, text=True,
                                 env={**os.environ, "ENSO_SERVER": self.server.url})
        self.assertEqual(run.returncode, 1)
        self.assertIn("could not be written", run.stderr)


class Classify(Case):
    def test_table(self):
        status, out, err = self.ask("classify", "--model", "intents", "--top", "2", "hello", "long")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out, "hello\n  label of hello  0.7500\n  other           0.2500\n"
                              "\nlong  [cut to the model's length]\n"
                              "  label of long  0.7500\n  other          0.2500\n")
        sent = json.loads(self.server.seen[-1][3])
        self.assertEqual(sent, {"model": "intents", "input": ["hello", "long"], "top_k": 2})

    def test_json(self):
        status, out, _ = self.ask("classify", "--json", "Grüße \"x\"")
        line = json.loads(out)
        self.assertEqual(status, 0)
        self.assertEqual((line["input"], line["score"]), ("Grüße \"x\"", 0.75))
        self.assertNotIn("model", json.loads(self.server.seen[-1][3]))

    def test_standard_input_in_batches(self):
        status, out, _ = self.ask("classify", "--json", "--batch", "3", "-", "last",
                                  stdin="a\n\nb\r\nc\nd")
        self.assertEqual(status, 0)
        self.assertEqual([json.loads(line)["input"] for line in out.splitlines()],
                         ["a", "b", "c", "d", "last"])
        self.assertEqual([json.loads(s[3])["input"] for s in self.server.seen],
                         [["a", "b", "c"], ["d", "last"]])

    def test_pictures(self):
        path = self.file("any.name", png())
        status, out, _ = self.ask("classify", "--model", "a b", "--json", "text", path, "more")
        self.assertEqual(status, 0)
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([line.get("input", line.get("file")) for line in lines], ["text", path, "more"])
        _, target, headers, body = self.server.seen[1]
        self.assertEqual(target, "/v1/classify?top_k=5&model=a%20b")
        self.assertEqual((headers["Content-Type"], body), ("image/png", png()))

    def test_pictures_that_are_none(self):
        for path in (os.path.join(self.folder, "gone.png"), self.file("text.png", b"hello")):
            status, out, err = self.ask("classify", path)
            self.assertEqual((status, out), (1, ""))
            self.assertIn(path, err)
        # a sentence that ends like a file's name is a sentence
        self.assertEqual(self.ask("classify", "please send shoe.png")[0], 0)

    def test_refusals_and_nonsense(self):
        status, out, err = self.ask("classify", "--model", "nothing", "x")
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(err, "enso classify: there is no model 'nothing' (HTTP 404) (at model)\n")
        status, _, err = self.ask("classify", "--model", "cut", "x")
        self.assertEqual(status, 1)
        self.assertIn("is it an ensod?", err)
        status, _, err = self.ask("classify", "x", server=self.server.url + "/test/text?")
        self.assertEqual(status, 1)
        self.assertIn("not with JSON", err)
        status, _, err = self.ask("classify", b"\xff")
        self.assertEqual(status, 1)
        self.assertIn("UTF-8", err)

    def test_servers_that_break_off(self):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        self.addCleanup(listener.close)
        answers = [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"nonsense\r\n\r\n"]

        def serve():
            for answer in answers:
                with listener.accept()[0] as s:
                    s.recv(65536)
                    s.sendall(answer)
        threading.Thread(target=serve, daemon=True).start()
        for _ in answers:
            status, out, err = self.ask("classify", "x",
                                        server="http://127.0.0.1:%d" % listener.getsockname()[1])
            self.assertEqual((status, out), (1, ""))
            self.assertEqual(err.count("\n"), 1)


class Embed(Case):
    def test_numbers(self):
        status, out, _ = self.ask("embed", "--model", "m", "a", "b")
        self.assertEqual((status, out), (0, "0.5 -0.25 0.1\n" * 2))
        self.assertEqual(json.loads(self.server.seen[-1][3]),
                         {"model": "m", "input": ["a", "b"], "encoding_format": "float"})
        self.assertEqual(self.ask("embed", "--dimensions", "2", "a")[1], "0.5 -0.25\n")

    def test_json_and_base64(self):
        self.assertEqual(json.loads(self.ask("embed", "--json", "a")[1]),
                         {"input": "a", "embedding": [0.5, -0.25, 0.1]})
        self.assertEqual(self.ask("embed", "--base64", "-", stdin="a\nb\n")[1], "AAAAPwAAgL4=\n" * 2)


class Facts(Case):
    def test_models(self):
        status, out, _ = self.ask("models")
        self.assertEqual(status, 0)
        self.assertEqual(out.splitlines(), [
            "ID       TASK                 STATE   DEVICE    BYTES",
            "intents  text-classification  ready   cpu     5.0 MiB",
            "broken   -                    failed  -             -",
            "broken: config.json: no such architecture"])
        self.assertEqual(len(json.loads(self.ask("models", "--json")[1])["data"]), 2)

    def test_health(self):
        status, out, _ = self.ask("health")
        self.assertEqual((status, out),
                         (0, "alive: yes\nready: yes (models: 2 ready, 0 loading, 1 failed)\n"))
        self.server.ready = False
        status, out, _ = self.ask("health", "--json")
        self.assertEqual(status, 1)
        self.assertEqual(json.loads(out)["ready"], False)


class Bench(Case):
    def bench(self, *args, **kw):
        status, out, err = self.ask("bench", "--json", "--warmup", "0", *args, **kw)
        return status, json.loads(out) if out else None, err

    def test_requests_are_counted(self):
        status, report, err = self.bench("--url", "/health", "--requests", "200", "--connections", "8")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(len(self.server.seen), 200)
        self.assertEqual((report["answers"], report["ok"], report["statuses"]), (200, 200, {"200": 200}))
        self.assertEqual(set(report["errors"].values()), {0})
        self.assertLessEqual(report["connections_opened"], 8)
        self.assertAlmostEqual(report["answers_per_second"], 200 / report["seconds"], places=3)
        latency = report["latency_ms"]
        order = [latency[k] for k in ("min", "p50", "p90", "p95", "p99", "p99.9", "max")]
        self.assertEqual(order, sorted(order))
        self.assertEqual(latency["count"], 200)
        self.assertEqual(sum(row["count"] for row in report["histogram"]), 200)
        self.assertEqual(report["loop"], "closed")

    def test_statuses_and_server_timing(self):
        status, report, _ = self.bench("--url", "/test/sometimes", "--body", "{}", "--requests", "100",
                                       "--connections", "1")
        self.assertEqual(status, 0)
        self.assertEqual(report["statuses"], {"200": 75, "503": 25})
        self.assertEqual((report["answers"], report["ok"]), (100, 75))
        self.assertEqual(report["latency_ms"]["count"], 75)
        timing = report["server_timing_ms"]
        self.assertAlmostEqual(timing["queue"]["mean"], 0.5, places=6)
        self.assertAlmostEqual(timing["compute"]["mean"], 5, places=6)
        self.assertAlmostEqual(timing["compute"]["max"], 10, places=6)
        text = self.ask("bench", "--url", "/test/sometimes", "--body", "{}", "--requests", "20",
                        "--warmup", "0")[1]
        for part in ("closed loop, 32 connections", "statuses", "p99.9", "Histogram", "Server-Timing",
                     "compute"):
            self.assertIn(part, text)

    def test_bodies_headers_and_method(self):
        body = self.file("body.json", b'{"from":"file"}')
        self.bench("--url", self.server.url + "/test/sometimes", "--body", "@" + body, "--body", "two",
                   "--header", "X-Key: 7", "--requests", "10", "--connections", "1")
        self.assertEqual([s[3] for s in self.server.seen], [b'{"from":"file"}', b"two"] * 5)
        self.assertEqual(self.server.seen[0][2]["X-Key"], "7")
        self.assertEqual(self.server.seen[0][2]["Content-Type"], "application/json")
        self.assertNotIn("Expect", self.server.seen[0][2])
        status, _, err = self.bench("--url", "/x", "--body", "@" + body + ".gone", "--requests", "1")
        self.assertEqual(status, 1)
        self.assertIn("body.json.gone", err)

    def test_texts_of_a_model(self):
        texts = self.file("texts", "eins\nzwei\n\ndreißig".encode())
        self.bench("--model", "intents", "--texts", texts, "--requests", "6", "--connections", "1")
        sent = [json.loads(s[3]) for s in self.server.seen if s[0] == "POST"]
        self.assertEqual([s["input"] for s in sent], ["eins", "zwei", "dreißig"] * 2)
        self.server.seen.clear()
        self.bench("--model", "my/embedder", "--texts", texts, "--batch", "2", "--requests", "2",
                   "--connections", "1")
        self.assertEqual(self.server.seen[0][1], "/v1/models/my/embedder")
        self.assertEqual([(s[1], json.loads(s[3])["input"]) for s in self.server.seen[1:]],
                         [("/v1/embeddings", ["eins", "zwei"]), ("/v1/embeddings", ["dreißig", "eins"])])
        status, _, err = self.bench("--model", "shoes", "--text", "x", "--requests", "1")
        self.assertEqual(status, 1)
        self.assertIn("takes no texts", err)
        status, _, err = self.bench("--model", "gone", "--text", "x", "--requests", "1")
        self.assertEqual(status, 1)
        self.assertIn("there is no model", err)
        self.server.seen.clear()
        self.assertEqual(self.bench("--model", "shoes", "--picture", self.file("p", png()),
                                    "--requests", "1")[0], 0)
        self.assertEqual(self.server.seen[0][2]["Content-Type"], "image/png")

    def test_fixed_rate(self):
        status, report, _ = self.bench("--url", "/health", "--rate", "200", "--arrivals", "fixed",
                                       "--duration", "1s")
        self.assertEqual(status, 0)
        self.assertEqual(report["latency_ms"]["count"], 200)
        self.assertEqual((report["loop"], report["arrivals"], report["rate"]), ("open", "fixed", 200))

    def test_poisson_rate(self):
        report = self.bench("--url", "/health", "--rate", "300", "--duration", "1s", "--seed", "3")[1]
        self.assertTrue(220 <= report["latency_ms"]["count"] <= 380, report["latency_ms"]["count"])

    def test_a_slow_server_shows_the_whole_wait(self):
        """One connection, 20 ms an answer, 200 requests a second: in a second 200 are due, at most
        50 are answered. Counted from the sending every latency would be 20 ms."""
        status, report, _ = self.bench("--url", "/test/20ms", "--rate", "200", "--arrivals", "fixed",
                                       "--duration", "1s", "--connections", "1")
        self.assertEqual(status, 0)
        self.assertEqual(report["latency_ms"]["count"], 200)
        self.assertGreaterEqual(report["errors"]["not_sent"], 140)
        self.assertEqual(report["ok"] + report["errors"]["not_sent"], 200)
        self.assertGreater(report["latency_ms"]["p50"], 200)
        closed = self.bench("--url", "/test/20ms", "--requests", "10", "--connections", "1")[1]
        self.assertLess(closed["latency_ms"]["p50"], 200)

    def test_errors_by_kind(self):
        status, report, err = self.bench("--url", "/test/close", "--requests", "5", "--connections", "1")
        self.assertEqual((status, report["errors"]["closed"]), (1, 5))
        self.assertIn("not one request", err)
        status, report, _ = self.bench("--url", "/test/slow", "--requests", "2", "--connections", "2",
                                       "--timeout", "100ms")
        self.assertEqual((status, report["errors"]["timeout"]), (1, 2))
        self.assertGreaterEqual(report["latency_ms"]["min"], 99)
        status, report, _ = self.bench("--url", "http://127.0.0.1:%d/" % free_port(), "--duration", "20s")
        self.assertEqual(status, 1)  # long before the 20 seconds
        self.assertGreater(report["errors"]["connect"], 100)

    def test_warm_up_is_not_counted(self):
        report = self.bench("--url", "/health", "--requests", "20", "--warmup", "300ms",
                            "--connections", "2")[1]
        self.assertEqual(report["answers"], 20)
        self.assertGreater(len(self.server.seen), 20)

    def test_interrupt_ends_with_a_report(self):
        run = subprocess.Popen([ENSO, "bench", "--json", "--warmup", "0", "--url", "/health",
                                "--duration", "60s", "--connections", "2"], stdout=subprocess.PIPE,
                               env={**os.environ, "ENSO_SERVER": self.server.url})
        end = time.monotonic() + 30
        while len(self.server.seen) < 10 and time.monotonic() < end:
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=30)
        self.assertEqual(run.returncode, 0)
        self.assertGreater(json.loads(out)["answers"], 0)

    def test_many_connections(self):
        report = self.bench("--url", "/health", "--requests", "1000", "--connections", "300")[1]
        self.assertEqual(report["ok"], 1000, report)


if __name__ == "__main__":
    if not os.path.exists(ENSO):
        print("skipped: %s is not built" % ENSO)
        sys.exit(77)
    unittest.main(verbosity=1)
