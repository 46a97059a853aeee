#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plays `enso eval` against a server of its own that knows the right answers and gives some wrong ones:
every kind of set, the arithmetic (once more, from the confusion matrix), labels that nobody knows, files
that cannot be read, a busy server, one that goes away, Ctrl-C. Python's standard library only; run by
`make check`."""

import gzip
import http.server
import io
import json
import os
import pty
import re
import signal
import socketserver
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest
import zipfile
import zlib

BUILD = os.path.abspath(os.environ.get("top_builddir", "."))
ENSO = os.path.join(BUILD, "enso")
PATIENCE = float(os.environ.get("ENSOD_TEST_PATIENCE", "60"))
LABELS = ["ape", "Bee", "cat"]


def png(pixels):
    """A grey PNG of one row, without a filter."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", len(pixels), 1, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0" + bytes(pixels))) + chunk(b"IEND", b""))


def row_of(data):
    """The pixels of such a PNG, whichever filter its row has."""
    at, packed = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", data[at + 8:at + 18])
        elif kind == b"IDAT":
            packed += data[at + 8:at + 8 + size]
        at += 12 + size
    assert (height, depth, colour) == (1, 8, 0), (height, depth, colour)
    row = zlib.decompress(packed)
    pixels = list(row[1:])
    if row[0] in (1, 4):  # from the left; there is no row above
        for i in range(1, width):
            pixels[i] = (pixels[i] + pixels[i - 1]) & 255
    elif row[0] == 3:
        for i in range(1, width):
            pixels[i] = (pixels[i] + pixels[i - 1] // 2) & 255
    return pixels


class Handler(http.server.BaseHTTPRequestHandler):
    """An ensod with two models. A text says what is answered ("say Bee"), a picture by its first pixel."""
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, value, headers=()):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def refuse(self, status, message, headers=()):
        self.answer(status, {"error": {"message": message, "param": None}}, headers)

    def do_GET(self):
        name = self.path.rsplit("/", 1)[1]
        facts = {"id": name, "state": "ready", "labels": LABELS, "multi_label": name == "many",
                 "task": "image-classification" if name == "pictures" else "text-classification"}
        if name == "loading":
            facts["state"] = "loading"
        elif name == "vectors":
            facts["task"] = "feature-extraction"
        elif name == "mute":
            del facts["labels"]
        elif name == "broken":
            facts = {"id": name, "state": "failed", "error": "no weights"}
        elif name == "stranger":
            facts = {"hello": "world"}
        elif name == "slow":
            time.sleep(3)
        elif name == "none":
            return self.refuse(404, "there is no model 'none'")
        self.answer(200, facts)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server
        with server.lock:
            server.flying += 1
            server.most_flying = max(server.most_flying, server.flying)
            n = server.n_posts = server.n_posts + 1
        try:
            time.sleep(server.delay)
            server.behave(self, n) or self.classify(body)
        finally:
            with server.lock:
                server.flying -= 1

    def classify(self, body):
        if self.headers["Content-Type"] == "application/json":
            request = json.loads(body)
            assert (request["top_k"], request["probs"]) == (1, False), request
            text = request["input"]
            self.server.seen.append(text)
            if "refuse" in text:
                return self.refuse(400, "too \x1b[31mred")
            label = text.split()[-1]
        else:
            path, _, query = self.path.partition("?")
            assert path == "/v1/classify" and "model=pictures" in query, self.path
            self.server.seen.append(body)
            if self.headers["Content-Type"] == "image/jpeg":
                return self.refuse(400, "the picture cannot be decoded")
            label = LABELS[row_of(body)[0] % 3]
        self.answer(200, {"data": [{"index": 0, "label": label, "score": 0.5}]})


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # without looking up our name

    def handle_error(self, *_):
        pass  # clients that leave are part of the game

    def __init__(self):
        self.lock = threading.Lock()
        self.seen = []
        self.n_posts = self.flying = self.most_flying = 0
        self.delay = 0
        self.behave = lambda handler, n: False
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.server_address[1]


class Case(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        return path

    def command(self, *args):
        return [ENSO, "eval", "--server", self.server.url, *args]

    def eval(self, *args):
        run = subprocess.run(self.command(*args), capture_output=True, timeout=PATIENCE)
        return run.returncode, run.stdout.decode(), run.stderr.decode()

    def report(self, *args):
        status, out, err = self.eval("--json", *args)
        self.assertEqual((status, err), (0, ""))
        return json.loads(out)

    def fails(self, *args):
        """The one sentence of a failure."""
        status, out, err = self.eval(*args)
        self.assertEqual((status, out, err.count("\n")), (1, "", 1), err)
        return err

    def texts(self, *rows):
        return self.file("set.csv", "text,label\n" + "".join('"%s",%s\n' % row for row in rows))


class Sets(Case):
    def check_four(self, report):
        """ape right, ape taken for a cat, Bee right, cat right."""
        self.assertEqual(report["confusion"], [[1, 0, 1], [0, 1, 0], [0, 0, 1]])
        self.assertEqual((report["items"], report["answered"], report["failed"]), (4, 4, 0))
        self.assertEqual(report["accuracy"], 0.75)

    def test_csv_and_tsv(self):
        rows = [("say ape", "ape"), ("say, \nin two lines: cat", "ape"), ("say Bee", "bee"), ("say cat", "2")]
        report = self.report("texts", self.texts(*rows))
        self.check_four(report)
        self.assertEqual((report["model"], report["task"]), ("texts", "text-classification"))
        self.assertEqual(sorted(self.server.seen), sorted(text for text, _ in rows))
        plain = "".join("%s\t%s\n" % (label, text.replace("\n", "")) for text, label in rows)
        self.check_four(self.report("texts", self.file("set.tsv", plain)))
        self.check_four(self.report("texts", self.file("set.tsv.gz", gzip.compress(plain.encode()))))
        named = "what,x,why\n" + "".join('"%s",?,%s\n' % row for row in rows)
        self.check_four(self.report("--text-column", "what", "--label-column=3", "texts",
                                    self.file("other.csv", named)))

    def pictures(self):
        return [("ape/1.png", png([0, 7])), ("ape/2.png", png([2])), ("Bee/1.png", png([1, 9, 200])),
                ("cat/1.png", png([5]))]

    def test_folder(self):
        for name, content in self.pictures():
            self.file("set/test/" + name, content)
        self.check_four(self.report("pictures", os.path.join(self.folder, "set")))

    def test_tar_and_zip(self):
        for name, mode in (("set.tar", "w"), ("set.tar.gz", "w:gz"), ("set.tgz", "w:gz"), ("set.tar.xz", "w:xz")):
            with tarfile.open(os.path.join(self.folder, name), mode) as tar:
                for path, content in self.pictures():
                    entry = tarfile.TarInfo("data/" + path)
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
            self.check_four(self.report("pictures", os.path.join(self.folder, name)))
        with zipfile.ZipFile(os.path.join(self.folder, "set.zip"), "w", zipfile.ZIP_DEFLATED) as z:
            for path, content in self.pictures():
                z.writestr(path, content)
        self.check_four(self.report("pictures", os.path.join(self.folder, "set.zip")))

    def test_idx(self):
        pixels = [[0, 7, 8], [2, 2, 2], [1, 9, 200], [5, 0, 255]]
        images = struct.pack(">IIII", 0x803, 4, 1, 3) + bytes(sum(pixels, []))
        labels = struct.pack(">II", 0x801, 4) + bytes([0, 0, 1, 2])
        self.file("t-labels-idx1-ubyte", labels)
        self.check_four(self.report("pictures", self.file("t-images-idx3-ubyte", images)))
        self.assertEqual(sorted(row_of(body) for body in self.server.seen), sorted(pixels))
        named = self.file("mine.gz", gzip.compress(labels))
        self.check_four(self.report("--labels", named, "pictures",
                                    self.file("x-idx3.gz", gzip.compress(images))))

    def test_map(self):
        path = self.texts(("say ape", "monkey"), ("say cat", "3"), ("say cat", "junk"), ("say Bee", "Bee"))
        names = self.file("map.csv", "monkey,ape\n3,2\njunk,\n")
        report = self.report("--map", names, "texts", path)
        self.assertEqual((report["items"], report["skipped"], report["accuracy"]), (3, 1, 1))
        self.assertIn("line 1: the model has no label 'dog'",
                      self.fails("--map", self.file("bad.csv", "monkey,dog\n"), "texts", path))

    def test_sample(self):
        path = self.texts(*[("%d say ape" % i, "ape") for i in range(100)])
        self.assertEqual(self.report("--sample", "7", "texts", path)["items"], 7)
        expected = [i for i in range(100) if (i + 1) * 7 // 100 > i * 7 // 100]
        self.assertEqual(sorted(int(text.split()[0]) for text in self.server.seen), expected)
        self.assertEqual(self.report("--sample", "101", "texts", path)["items"], 100)

    def test_multi_label(self):
        self.assertEqual(self.report("many", self.texts(("say ape", "ape")))["accuracy"], 1)
        self.assertIn("multi-label", self.eval("many", self.texts(("say ape", "ape")))[1])


class Figures(Case):
    def test_arithmetic(self):
        rows = [("%d say %s" % (i, LABELS[i * i % 3]), LABELS[i * 7 // 2 % 3]) for i in range(200)]
        report = self.report("texts", self.texts(*rows))
        matrix = report["confusion"]
        found = [[sum(1 for text, truth in rows if truth == t and text.endswith(a)) for a in LABELS]
                 for t in LABELS]
        self.assertEqual(matrix, found)
        self.assertAlmostEqual(report["accuracy"], sum(matrix[i][i] for i in range(3)) / 200)
        scores = []
        for i, entry in enumerate(report["classes"]):
            predicted, support = sum(row[i] for row in matrix), sum(matrix[i])
            precision = matrix[i][i] / predicted if predicted else 0
            recall = matrix[i][i] / support if support else 0
            f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0
            self.assertEqual((entry["label"], entry["support"], entry["predicted"], entry["correct"]),
                             (LABELS[i], support, predicted, matrix[i][i]))
            for key, value in (("precision", precision), ("recall", recall), ("f1", f1)):
                self.assertAlmostEqual(entry[key], value, places=12)
            scores.append((precision, recall, f1))
        used = [s for s, entry in zip(scores, report["classes"]) if entry["support"] + entry["predicted"]]
        for k, key in enumerate(("precision", "recall", "f1")):
            self.assertAlmostEqual(report["macro"][key], sum(s[k] for s in used) / len(used), places=12)
        wrong = sorted(((-matrix[t][a], t, a) for t in range(3) for a in range(3) if t != a and matrix[t][a]))
        self.assertEqual([(w["count"], w["truth"], w["answer"]) for w in report["worst"]],
                         [(-n, LABELS[t], LABELS[a]) for n, t, a in wrong])
        self.assertAlmostEqual(report["throughput"], 200 / report["seconds"], places=6)
        times = [report["latency_ms"][k] for k in ("p50", "p90", "p95", "p99", "max")]
        self.assertEqual(times, sorted(times))
        self.assertEqual(list(report), ["model", "task", "items", "answered", "failed", "skipped", "accuracy",
                                        "macro", "classes", "confusion", "worst", "seconds", "throughput",
                                        "latency_ms", "problems"])

    def test_for_people(self):
        status, out, err = self.eval("texts", self.texts(("say ape", "ape"), ("say cat", "ape")))
        self.assertEqual((status, err), (0, ""))
        for part in ("set.csv: 2 items, 3 labels", "accuracy     50.00 %  (1 of 2)", "in flight",
                     "\n 0 ape  1  .  1\n", "       1  ape answered as cat\n", "latency"):
            self.assertIn(part, out)

    def test_concurrency_is_bounded_and_used(self):
        path = self.texts(*[("say ape", "ape")] * 60)
        self.server.delay = 0.02
        self.assertEqual(self.report("--concurrency", "7", "texts", path)["accuracy"], 1)
        self.assertLessEqual(self.server.most_flying, 7)
        self.assertGreaterEqual(self.server.most_flying, 4)


class Troubles(Case):
    def test_labels_that_the_model_does_not_know(self):
        path = self.texts(("x", "ape"), ("x", "dog"), ("x", "emu"), ("x", "dog"))
        err = self.fails("texts", path)
        self.assertIn("line 3: the model has no label 'dog' (3 items with unknown labels; others: 'emu'); "
                      "its 3: 'ape', 'Bee', 'cat'; give --map FILE", err)
        self.file("set/ape/1.png", png([0]))
        self.file("set/README.d/x", "a stray")
        self.assertIn("README.d/x: the model has no label 'README.d' (1 item with unknown labels); its 3: 'ape', "
                      "'Bee', 'cat'; give --map FILE with lines 'label of the set,label of the model' (nothing "
                      "behind the comma: left out)", self.fails("pictures", os.path.join(self.folder, "set")))
        self.assertEqual(self.server.n_posts, 0)

    def test_items_that_cannot_be_used(self):
        for name, content in (("ape/good.png", png([0])), ("ape/text.png", "I am no picture"), ("ape/empty", ""),
                              ("cat/broken.jpg", b"\xff\xd8\xff\xe0 broken")):
            self.file("set/" + name, content)
        os.symlink("nowhere", os.path.join(self.folder, "set/Bee"))
        os.symlink("nowhere", os.path.join(self.folder, "set/ape/gone.png"))
        report = self.report("pictures", os.path.join(self.folder, "set"))
        self.assertEqual((report["items"], report["answered"], report["failed"], report["skipped"]), (5, 1, 4, 1))
        problems = {p["item"]: p["error"] for p in report["problems"]}
        self.assertEqual(set(problems), {"ape/text.png", "ape/empty", "ape/gone.png", "cat/broken.jpg"})
        self.assertEqual(problems["ape/text.png"], "no JPEG, PNG or WebP picture")
        self.assertIn("No such file", problems["ape/gone.png"])
        self.assertEqual(problems["cat/broken.jpg"], "the picture cannot be decoded (HTTP 400)")
        self.assertEqual(report["accuracy"], 1)

    def test_problems_are_counted_beyond_those_shown(self):
        rows = [("%d refuse me" % i, "ape") for i in range(30)] + [("say ape", "ape")]
        report = self.report("texts", self.texts(*rows))
        self.assertEqual((report["failed"], len(report["problems"])), (30, 20))
        self.assertIn("\x1b", report["problems"][0]["error"])
        out = self.eval("texts", self.texts(*rows))[1]
        self.assertIn("the first 20 of 30", out)
        self.assertNotIn("\x1b", out)  # servers do not steer the terminal
        status, _, err = self.eval("texts", self.texts(*rows[:-1]))
        self.assertEqual(status, 1)
        self.assertIn("not one item was answered", err)

    def test_an_answer_of_another_world(self):
        report = self.report("texts", self.texts(("say dragon", "ape"), ("say ape", "ape")))
        self.assertEqual((report["answered"], report["failed"]), (1, 1))
        self.assertIn("names no label of the model", report["problems"][0]["error"])

    def test_models_that_do_not_fit(self):
        path = self.texts(("x", "ape"))
        self.assertIn("there is no model 'none'", self.fails("none", path))
        self.assertIn("is not ready: loading", self.fails("loading", path))
        self.assertIn("is not ready: failed: no weights", self.fails("broken", path))
        self.assertIn("tells no task of model 'stranger'; is it an ensod?", self.fails("stranger", path))
        self.assertIn("timed out", self.fails("--timeout", "300ms", "slow", path))
        self.assertIn("gives no labels", self.fails("vectors", path))
        self.assertIn("labels", self.fails("mute", path))
        self.assertIn("is read as a set of texts, but model 'pictures' has the task 'image-classification'",
                      self.fails("pictures", path))
        self.file("set/ape/1.png", png([0]))
        self.assertIn("is read as a set of pictures, but", self.fails("texts", os.path.join(self.folder, "set")))

    def test_sets_that_are_none(self):
        self.assertIn("No such file", self.fails("texts", self.folder + "/gone.csv"))
        self.assertIn("'%s' is empty" % self.file("e.csv", ""), self.fails("texts", self.folder + "/e.csv"))
        self.assertIn("does not tell what it is", self.fails("texts", self.file("x.json", "{}")))
        self.assertIn("line 2: a NUL byte", self.fails("texts", self.file("n.csv", "a,ape\nb\0,ape\n")))
        self.assertIn("UTF-16", self.fails("texts", self.file("w.csv", "text,label\n".encode("utf-16"))))
        big = self.file("big.csv", b"text,label\nx,ape\n\"" + b"y" * (100 << 20))
        self.assertIn("line 3: a field is over 1 MiB", self.fails("texts", big))
        self.assertIn("!", self.fails("texts", self.file("t.csv.gz", gzip.compress(os.urandom(5000))[:-9]))
                      .replace("'", "!"))
        self.assertEqual(self.server.n_posts, 0)

    def test_usage(self):
        for args in ((), ("texts",), ("texts", "a", "b"), ("--concurrency", "0", "texts", "a"),
                     ("--sample", "0", "texts", "a"), ("--timeout", "x", "texts", "a"), ("--what", "texts", "a"),
                     ("", "a"), ("--labels", "a", "texts", self.texts(("say ape", "ape"))),
                     ("--label-column", "1", "pictures", self.folder)):
            status, out, err = self.eval(*args)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1), err)

    def test_a_busy_server_is_asked_again(self):
        def busy(handler, n):
            if n % 3 == 0:
                return False
            handler.refuse(429 if n % 3 == 1 else 503, "busy",
                           [("Retry-After", "1"), ("retry-after-ms", "20")] if n % 2 else [("Retry-After", "0")])
            return True
        self.server.behave = busy
        report = self.report("--concurrency", "2", "texts", self.texts(*[("say ape", "ape")] * 20))
        self.assertEqual((report["answered"], report["failed"]), (20, 0))
        self.assertGreaterEqual(self.server.n_posts, 60)
        self.assertLess(report["latency_ms"]["max"], 1000)

    def test_a_server_that_stays_busy(self):
        self.server.behave = lambda handler, n: handler.refuse(503, "draining", [("Retry-After", "1")]) or True
        err = self.fails("--timeout", "1500ms", "texts", self.texts(*[("say ape", "ape")] * 20))
        self.assertIn("has answered nothing with success for 1.5 s (HTTP 503: it is not ready)", err)
        self.server.behave = lambda handler, n: time.sleep(3) or False
        err = self.fails("--timeout", "300ms", "texts", self.texts(("say ape", "ape")))
        self.assertIn("has answered nothing", err)

    def test_one_item_that_is_too_slow(self):
        first = threading.Event()

        def slow(handler, n):
            if n == 5 and not first.is_set():
                first.set()
                time.sleep(1.5)
            return False
        self.server.behave = slow
        self.server.delay = 0.05
        report = self.report("--timeout", "1s", "--concurrency", "2", "texts",
                             self.texts(*[("say ape", "ape")] * 60))
        self.assertEqual((report["answered"], report["failed"]), (59, 1))
        self.assertIn("no answer within 1 s", report["problems"][0]["error"])

    def test_a_server_that_goes_away(self):
        def leave(handler, n):
            if n < 30:
                return False
            handler.server.socket.close()
            handler.connection.shutdown(2)
            handler.close_connection = True
            return True
        self.server.behave = leave
        err = self.fails("--concurrency", "3", "texts", self.texts(*[("say ape", "ape")] * 200))
        self.assertRegex(err, r"failed after \d+ answers: .*is the server still there\?")
        self.server.server_close()
        self.assertIn("no server answers at", self.fails("texts", self.texts(("say ape", "ape"))))

    def test_refusals_of_all_end_the_run(self):
        self.server.behave = lambda handler, n: handler.refuse(401, "no key") or True
        self.assertIn("no key (HTTP 401)", self.fails("texts", self.texts(*[("say ape", "ape")] * 200)))
        self.assertLess(self.server.n_posts, 100)

    def test_interrupt(self):
        path = self.texts(*[("say ape", "ape")] * 1000)
        self.server.delay = 0.05
        run = subprocess.Popen(self.command("--json", "--concurrency", "4", "texts", path),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        end = time.monotonic() + PATIENCE
        while self.server.n_posts < 40 and time.monotonic() < end:
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=PATIENCE)
        report = json.loads(out)
        self.assertEqual(run.returncode, 130)
        self.assertEqual((report["items"], report["accuracy"]), (1000, 1))
        self.assertTrue(10 <= report["answered"] < 900, report["answered"])
        self.assertRegex(err.decode(), r"^enso eval: interrupted after %d of 1000 items\n$" % report["answered"])

    def test_progress_on_a_terminal_only(self):
        path = self.texts(*[("say ape", "ape")] * 100)
        self.server.delay = 0.01
        terminal, other = pty.openpty()
        run = subprocess.Popen(self.command("--concurrency", "2", "texts", path), stdout=subprocess.PIPE, stderr=other)
        os.close(other)
        out = run.stdout.read().decode()
        run.stdout.close()
        self.assertEqual(run.wait(timeout=PATIENCE), 0)
        drawn = b""
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:
                break
            if not part:
                break
            drawn += part
        os.close(terminal)
        self.assertTrue(re.search(rb"\[#+ *\] \d+/100  [\d.]+/s  \d+ s left", drawn), drawn)
        self.assertTrue(drawn.endswith(b"\r\x1b[K"), drawn[-40:])
        self.assertNotIn("[#", out)


if __name__ == "__main__":
    if not os.path.exists(ENSO):
        print("skipped: %s is not built" % ENSO)
        sys.exit(77)
    unittest.main(verbosity=1)
