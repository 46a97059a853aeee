#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The bundled models on a GPU against the same on the processor, over HTTP, in each number format.

    parity.py --module ensod-cuda.so [--dtypes fp32,bf16,fp16] [--quick] [--json FILE]

Asks both daemons about many sentences and pictures and demands, of logits relative to the largest of the answer
(of vectors, to their largest number):

    fp32   1e-4: both sum in float32, in another order
    bf16   2e-2, fp16 4e-3: operands of 8 and 11 bits, sums in float32, through every layer
    labels agree for 99.5 % or more, and wherever they do not, the processor's two best lie nearer to each other
           than what the format's tolerance lets both move
    accuracy within 0.1 points, where the test halves are found ($ENSO_SHARED/data, else ../shared/data);
           without them sentences and pictures are made up

Exits with 0, or 1 when something is off. Python's standard library only."""

import argparse
import csv
import gzip
import json
import os
import random
import struct
import sys
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
os.environ.setdefault("top_srcdir", os.path.join(HERE, "..", ".."))
os.environ.setdefault("top_builddir", os.path.join(HERE, "..", "..", "build"))
sys.path[:0] = [os.path.join(HERE, "..", "end_to_end")]
from daemon import BUNDLED, SOURCE, Daemon  # noqa: E402

DATA = os.path.join(os.environ.get("ENSO_SHARED") or os.path.join(SOURCE, "..", "shared"), "data")
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2, "fp16": 4e-3}
AGREE, ACCURACY = 0.995, 0.001
WORDS = ("card machine money transfer account pin lost stolen why my is the top up app fee charged twice payment "
         "pending identity verify exchange rate cash atm refund order new where when how can i not working please "
         "phone number country age limit direct debit statement wrong amount").split()


def png(width, height, rows):
    """A grey picture of 8 bits; rows: bytes objects of `width`."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows), 1)) + chunk(b"IEND", b""))


def sentences(n):
    """[(text, label or None)]"""
    path = os.path.join(DATA, "text", "banking77", "test-even-rows.csv")
    if os.path.exists(path):
        with open(path, encoding="utf-8", newline="") as f:
            return [(row["text"], row["category"]) for row in csv.DictReader(f)][:n]
    rng = random.Random(1)
    return [(" ".join(rng.choices(WORDS, k=rng.randint(1, 40))), None) for _ in range(n)]


def clothes(n):
    path = os.path.join(DATA, "fashion-mnist", "t10k-first5000-images-idx3-ubyte.gz")
    if os.path.exists(path):
        with gzip.open(path) as f:
            pixels = f.read()[16:]
        with gzip.open(path.replace("images-idx3", "labels-idx1")) as f:
            labels = f.read()[8:]
        with open(os.path.join(BUNDLED, "fashion", "ensod.json"), encoding="utf-8") as f:
            names = json.load(f)["labels"]
        return [(png(28, 28, [pixels[784 * i + 28 * y:784 * i + 28 * y + 28] for y in range(28)]), names[labels[i]])
                for i in range(min(n, len(labels)))]
    return shapes(n, 28)


def shapes(n, size):
    """Light boxes and noise on black."""
    rng, out = random.Random(2), []
    for _ in range(n):
        left, top = rng.randrange(size // 2), rng.randrange(size // 2)
        right, low, light = rng.randrange(left + 3, size + 1), rng.randrange(top + 3, size + 1), rng.randrange(60, 255)
        out.append((png(size, size, [bytes((light if left <= x < right and top <= y < low else 0) ^ rng.randrange(8)
                                           for x in range(size)) for y in range(size)]), None))
    return out


def ask_texts(d, model, texts):
    """Logits of each label, in the order of the labels."""
    out = []
    for at in range(0, len(texts), 64):
        status, _, answer = d.post("/v1/classify", {"model": model, "input": texts[at:at + 64], "raw_scores": True})
        if status != 200:
            raise SystemExit(f"{model}: HTTP {status}: {answer}")
        out += [row["probs"] for row in answer["data"]]
    return out


def ask_pictures(d, model, pictures):
    out = []
    for picture in pictures:
        status, _, body = d.request("POST", f"/v1/classify?model={model}&raw_scores=true", picture,
                                    {"Content-Type": "image/png"})
        if status != 200:
            raise SystemExit(f"{model}: HTTP {status}: {body!r}")
        out.append(json.loads(body)["data"][0]["probs"])
    return out


def ask_vectors(d, model, texts):
    out = []
    for at in range(0, len(texts), 64):
        status, _, answer = d.post("/v1/embeddings", {"model": model, "input": texts[at:at + 64]})
        if status != 200:
            raise SystemExit(f"{model}: HTTP {status}: {answer}")
        out += [row["embedding"] for row in answer["data"]]
    return out


def best(row):
    return max(range(len(row)), key=row.__getitem__)


def compare(gpu, cpu, truth, names, tolerance):
    """What is found of one model in one format; "off" lists what breaks a bound."""
    worst, flips, off = 0.0, 0, []
    for i, (g, c) in enumerate(zip(gpu, cpu)):
        scale = max(map(abs, c))
        worst = max(worst, max(abs(a - b) for a, b in zip(g, c)) / scale)
        if best(g) != best(c):
            flips += 1
            if c[best(c)] - c[best(g)] > 2 * tolerance * scale:
                off.append(f"item {i}: {best(c)} became {best(g)} though they lie apart")
    found = {"items": len(cpu), "worst": worst, "flips": flips}
    if worst > tolerance:
        off.append(f"largest difference {worst:.2e}, allowed {tolerance:.0e}")
    if flips > (1 - AGREE) * len(cpu):
        off.append(f"{flips} of {len(cpu)} labels differ")
    if names and truth and truth[0] is not None:
        right = [sum(names[best(r)] == t for r, t in zip(rows, truth)) / len(truth) for rows in (gpu, cpu)]
        found.update(accuracy_gpu=right[0], accuracy_cpu=right[1])
        if abs(right[0] - right[1]) > ACCURACY:
            off.append(f"accuracy {right[0]:.4f} against {right[1]:.4f}")
    return {**found, "off": off}


def labels_of(d, model):
    status, _, answer = d.get("/v1/models/" + model)
    if status != 200:
        raise SystemExit(f"{model}: HTTP {status}: {answer!r}")
    return json.loads(answer).get("labels")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--module", required=True)
    p.add_argument("--dtypes", default="fp32,bf16,fp16")
    p.add_argument("--quick", action="store_true", help="a few items of each: for the emulation")
    p.add_argument("--json", metavar="FILE", help="write what was found there")
    args = p.parse_args()
    n = (6, 2, 2) if args.quick else (1540, 2000, 500)
    texts, pieces, photos = sentences(n[0]), clothes(n[1]), shapes(n[2], 32)
    asks = {"intents": (ask_texts, texts), "fashion": (ask_pictures, pieces), "cifar": (ask_pictures, photos),
            "embeddings": (ask_vectors, texts)}
    if args.quick:
        del asks["cifar"]  # a photograph takes the emulation a minute
    cpu = Daemon("--device", "cpu", models=(BUNDLED,))
    want = {m: ask(cpu, m, [x for x, _ in items]) for m, (ask, items) in asks.items()}
    names = {m: labels_of(cpu, m) for m in asks}
    report, bad = {}, False
    for dtype in args.dtypes.split(","):
        gpu = Daemon("--device", "cuda:0", "--dtype", dtype, models=(BUNDLED,), env={"ENSOD_CUDA_MODULE": args.module})
        for model, (ask, items) in asks.items():
            got = ask(gpu, model, [x for x, _ in items])
            found = compare(got, want[model], [t for _, t in items], names[model], TOLERANCE[dtype])
            report[f"{model} {dtype}"] = found
            bad = bad or bool(found["off"])
            print(f"{model:12} {dtype}  {found['items']:5} items  worst {found['worst']:.1e} of the largest  "
                  f"{found['flips']} labels differ" +
                  (f"  accuracy {found['accuracy_gpu']:.4f} / {found['accuracy_cpu']:.4f}"
                   if "accuracy_gpu" in found else "") + "".join(f"\n    OFF: {o}" for o in found["off"]), flush=True)
        if gpu.stop() != 0:
            bad = True
            print("the daemon on the GPU did not end well:\n" + "\n".join(gpu.log[-20:]))
    cpu.stop()
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(report, f, indent=1)
    print("parity: " + ("something is OFF" if bad else "all within bounds"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
