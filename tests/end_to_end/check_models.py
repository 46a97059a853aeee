#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The bundled models, asked over HTTP: the answers that a reader of the README sees, PyTorch's logits, and
the figures of their cards. Python's standard library only.

The figures are asked again of 500 items of the test halves in $ENSO_SHARED/data (default ../shared/data),
of all of them where ENSOD_TEST_WHOLE is set; without the data that is skipped, the rest is not."""

import glob
import json
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "examples")]
import evaluate_models  # noqa: E402
from daemon import BUILD, BUNDLED, PATIENCE, SANITIZED, SOURCE, Daemon, main  # noqa: E402

DATA = os.path.join(os.environ.get("ENSO_SHARED") or os.path.join(SOURCE, "..", "shared"), "data")
GOLDEN = os.path.join(SOURCE, "tests", "models", "golden")
# What each must reach on its test half, and the answer that the README and the quickstart show.
FLOORS = {"fashion": 0.92, "cifar": 0.84, "intents": 0.87}
DEMO = {"fashion": ("examples/pictures/sneaker.png", "Sneaker"), "cifar": ("examples/pictures/ship.png", "ship"),
        "intents": ("The machine swallowed my card.", "card_swallowed")}
MAX_BYTES = 6000000
IN_TRAINING = {"model", "data", "data_licence", "seed", "command", "seconds", "epochs", "best_epoch",
               "validation_items", "validation_accuracy", "parameters", "torch", "threads", "processor", "precision"}


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return json.load(f)


class Asked(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.d = Daemon(models=(BUNDLED,))

    @classmethod
    def tearDownClass(cls):
        status = cls.d.stop()
        if status != 0:
            raise AssertionError(f"exit status {status}: " + "\n".join(cls.d.log[-40:]))

    def ask(self, model, text_or_file, **parameters):
        """The row that /v1/classify answers about a text or, where there is such a file, a picture."""
        path = os.path.join(SOURCE, text_or_file)
        if text_or_file and os.path.isfile(path):
            query = "&".join(f"{k}={json.dumps(v)}" for k, v in {"top_k": 5, **parameters}.items())
            with open(path, "rb") as f:
                status, _, body = self.d.request("POST", f"/v1/classify?model={model}&{query}", f.read(),
                                                 {"Content-Type": "image/png"})
            answer = json.loads(body)
        else:
            status, _, answer = self.d.post("/v1/classify", {"model": model, "input": text_or_file, **parameters})
        self.assertEqual(status, 200, answer)
        return answer["data"][0]

    def embed(self, model, text):
        status, _, answer = self.d.post("/v1/embeddings", {"model": model, "input": text})
        self.assertEqual(status, 200, answer)
        return answer["data"][0]["embedding"]


class Demo(Asked):
    def test_the_readers_sentence_and_pictures_get_the_right_label(self):
        for model in FLOORS:
            row = self.ask(model, DEMO[model][0])
            self.assertEqual(row["label"], DEMO[model][1], row)
            self.assertGreater(row["score"], 0.5, row)

    def test_texts_of_like_meaning_are_near(self):
        lost, found, rate = (self.embed("embeddings", text) for text in (
            "My card is lost.", "I cannot find my card.", "What is the exchange rate for dollars?"))
        near, far = (sum(a * b for a, b in zip(lost, other)) for other in (found, rate))
        self.assertGreater(near, far + 0.3, (near, far))

    def test_enso_says_the_same(self):
        server = f"http://127.0.0.1:{self.d.port}"
        for model in FLOORS:
            what, label = DEMO[model]
            run = subprocess.run([os.path.join(BUILD, "enso"), "classify", "--server", server, "--model", model, "--json",
                                  os.path.join(SOURCE, what) if "/" in what else what],
                                 capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertEqual(json.loads(run.stdout)["label"], label)


class Logits(Asked):
    def test_they_are_those_of_pytorch_before_rounding(self):
        paths = sorted(glob.glob(os.path.join(GOLDEN, "*.json")))
        self.assertEqual({os.path.basename(p)[:-5] for p in paths}, {*FLOORS, "embeddings"})
        for path in paths:
            golden = read(path)
            self.assertLessEqual(golden["tolerance"], {"F32": 1e-4, "F16": 2e-3}[golden["stored"]])
            self.assertTrue(golden["items"])
            for item in golden["items"]:
                what = item.get("text", item.get("file"))
                if "embedding" in item:
                    answer = self.embed(golden["model"], what)
                else:
                    answer = self.ask(golden["model"], what, raw_scores=True, probs=True)["probs"]
                told = item.get("logits") or item["embedding"]
                self.assertEqual(len(answer), len(told))
                off = max(abs(a - b) for a, b in zip(answer, told))
                self.assertLessEqual(off, golden["tolerance"], f"{golden['model']}: {what}: off by {off}")


class Cards(unittest.TestCase):
    def test_they_say_what_the_files_beside_them_say(self):
        run = subprocess.run([sys.executable, os.path.join(SOURCE, "examples", "write_card.py"), "--check"],
                             capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_the_promised_floors_are_reached(self):
        for model in FLOORS:
            figures = read(BUNDLED, model, "evaluation.json")
            self.assertGreaterEqual(figures["accuracy"], FLOORS[model], model)
            self.assertEqual((figures["model"], figures["failed"], figures["skipped"], figures["problems"]),
                             (model, 0, 0, []))
            self.assertEqual(figures["sample"]["items"], evaluate_models.SAMPLE)

    def test_the_figures_follow_from_the_confusion_matrix(self):
        for model in FLOORS:
            figures = read(BUNDLED, model, "evaluation.json")
            rows, classes = figures["confusion"], figures["classes"]
            self.assertEqual((len(rows), sum(map(sum, rows))), (len(classes), figures["items"]))
            right = [rows[i][i] for i in range(len(rows))]
            self.assertAlmostEqual(figures["accuracy"], sum(right) / figures["items"], places=4)
            recall = [r / max(sum(row), 1) for r, row in zip(right, rows)]
            precision = [r / max(sum(column), 1) for r, column in zip(right, zip(*rows))]
            f1 = [2 * r / max(sum(row) + sum(column), 1) for r, row, column in zip(right, rows, zip(*rows))]
            for name, values in (("recall", recall), ("precision", precision), ("f1", f1)):
                self.assertAlmostEqual(figures["macro"][name], sum(values) / len(values), places=3, msg=model)

    def test_the_making_is_told(self):
        for model in FLOORS:
            training = read(BUNDLED, model, "training.json")
            self.assertEqual(IN_TRAINING - set(training), set(), model)
            self.assertEqual(training["model"], model)

    def test_they_are_small(self):
        for model in (*FLOORS, "embeddings"):
            size = sum(os.path.getsize(os.path.join(here, name))
                       for here, _, names in os.walk(os.path.join(BUNDLED, model)) for name in names)
            self.assertLessEqual(size, MAX_BYTES, model)


@unittest.skipIf(SANITIZED, "instrumented builds answer the same, but slowly")
class Figures(Asked):
    def judge(self, sample):
        """Ask `enso eval` about `sample` items of each test half (0: all), and compare with the cards."""
        for model in FLOORS:
            path = evaluate_models.test_file(model, DATA)
            if path is None:
                print(f"SKIP: the figures of {model} are not asked again: its test half is not in {DATA}")
                continue
            report = evaluate_models.evaluate(os.path.join(BUILD, "enso"), f"http://127.0.0.1:{self.d.port}", model,
                                              path, sample)
            figures = read(BUNDLED, model, "evaluation.json")
            told = figures["sample"] if sample else figures
            print(f"{model}: {report['accuracy']:.4f} of {report['items']} items, the card says {told['accuracy']:.4f}")
            self.assertEqual((report["items"], report["failed"]), (told["items"], 0), report["problems"])
            self.assertAlmostEqual(report["accuracy"], told["accuracy"], delta=0.01, msg=model)

    def test_on_a_sample(self):
        self.judge(evaluate_models.SAMPLE)

    def test_on_the_whole_half(self):
        if "ENSOD_TEST_WHOLE" not in os.environ:
            self.skipTest("ENSOD_TEST_WHOLE is not set")
        self.judge(0)


if __name__ == "__main__":
    main(sys.modules["__main__"])
