#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The bundled models on a GPU against the same on the processor, over HTTP, in each number format.

    parity.py --module ensod-cuda.so [--dtypes fp32,bf16,fp16] [--quick] [--json FILE]

Asks both daemons about many sentences and pictures and demands, of logits relative to the largest of the answer
(of vectors, to their largest number):

    fp32   1e-4: both sum in float32, in another order
    bf16   2e-2, fp16 4e-3: operands of 8 and 11 bits, sums in float32, through every layer
    labels (of classifiers) agree for 99.5 % or more, and wherever they do not, the processor's two best lie nearer
           to each other than what the format's tolerance lets both move
    vectors (of embeddings) have a cosine of 0.999 or more in bf16, 0.9999 in fp16, 0.999999 in fp32: each number may
           be off by the tolerance of the largest, which is two to four times the usual one, so that a vector may be
           off by some 4 % of its length; at right angles to it that is 1 - 0.04² / 2
    accuracy within 0.1 points, where the test halves are found ($ENSO_SHARED/data, else ../shared/data);
           without them sentences and pictures are made up and accuracy is NOT checked, which is said

FILE is written after each model. Exits with 0, or 1 when something is off. Python's standard library only."""

import argparse
import csv
import gzip
import json
import math
import os
import random
import struct
import sys
import tarfile
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
os.environ.setdefault("top_srcdir", os.path.join(HERE, "..", ".."))
os.environ.setdefault("top_builddir", os.path.join(HERE, "..", "..", "build"))
sys.path[:0] = [os.path.join(HERE, "..", "end_to_end")]
from daemon import BUNDLED, SOURCE, Daemon  # noqa: E402

DATA = os.path.join(os.environ.get("ENSO_SHARED") or os.path.join(SOURCE, "..", "shared"), "data")
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2, "fp16": 4e-3}
COSINE = {"fp32": 0.999999, "bf16": 0.999, "fp16": 0.9999}
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
    return garments(n, 28)


def photos(n):
    """Of the test half as it is packed: a folder a class; of all classes alike."""
    path = os.path.join(DATA, "cifar10", "test-5000.tar.gz")
    if not os.path.exists(path):
        return garments(n, 32)
    with tarfile.open(path) as tar:
        files = sorted((m for m in tar.getmembers() if m.isfile()), key=lambda m: m.name)
        step = max(len(files) // n, 1)
        return [(tar.extractfile(m).read(), os.path.basename(os.path.dirname(m.name))) for m in files[::step]][:n]


def garments(n, size):
    """Made-up pictures, in the manner of those that models know: a trunk with sleeves or legs, soft edges, folds, light on
    black. Hard boxes of noise would leave small logits, of which rounding is a larger share."""
    rng, out = random.Random(2), []
    for _ in range(n):
        half, taper, sleeve, cut = (size * rng.uniform(*limits) for limits in ((.15, .3), (-.1, .1), (0, .2), (.2, .9)))
        light, fold, rows = rng.randrange(90, 230), rng.uniform(.1, .4), []
        for y in range(size):
            reach = half + taper * y / size + (sleeve if y < cut else 0) if 2 <= y < size - 2 else 0
            off = [abs(x - (size - 1) / 2) for x in range(size)]
            rows.append(bytes(int(light * min(1, (reach - d) / 2) * (1 - fold * math.sin(.9 * d) ** 2)) + rng.randrange(8)
                              if d < reach else 0 for d in off))
        out.append((png(size, size, rows), None))
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
                                    {"Content-Type": "image/png" if picture[:4] == b"\x89PNG" else "image/jpeg"})
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


def farthest(gpu, cpu):
    """The largest difference of a number, as a share of the largest of its answer."""
    return max(max(abs(a - b) if a == a else math.inf for a, b in zip(g, c)) / max(map(abs, c)) for g, c in zip(gpu, cpu))


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def compare_vectors(gpu, cpu, dtype):
    """What is found of vectors; "off" lists what breaks a bound."""
    worst, least = farthest(gpu, cpu), min(map(cosine, gpu, cpu))
    off = [] if worst <= TOLERANCE[dtype] else [f"largest difference {worst:.2e}, allowed {TOLERANCE[dtype]:.0e}"]
    if not least >= COSINE[dtype]:
        off.append(f"least cosine {least:.6f}, allowed {COSINE[dtype]}")
    return {"items": len(cpu), "worst": worst, "least_cosine": least, "off": off}


def compare_labels(gpu, cpu, truth, names, dtype):
    """The same of a classifier's logits."""
    flips, off, worst, tolerance = 0, [], farthest(gpu, cpu), TOLERANCE[dtype]
    for i, (g, c) in enumerate(zip(gpu, cpu)):
        if best(g) != best(c):
            flips += 1
            if c[best(c)] - c[best(g)] > 2 * tolerance * max(map(abs, c)):
                off.append(f"item {i}: {best(c)} became {best(g)} though they lie apart")
    found = {"items": len(cpu), "worst": worst, "flips": flips, "accuracy_checked": truth[0] is not None}
    if not worst <= tolerance:
        off.append(f"largest difference {worst:.2e}, allowed {tolerance:.0e}")
    if flips > (1 - AGREE) * len(cpu):
        off.append(f"{flips} of {len(cpu)} labels differ")
    if found["accuracy_checked"]:
        right = [sum(names[best(r)] == t for r, t in zip(rows, truth)) / len(truth) for rows in (gpu, cpu)]
        found.update(accuracy_gpu=right[0], accuracy_cpu=right[1])
        if abs(right[0] - right[1]) > ACCURACY:
            off.append(f"accuracy {right[0]:.4f} against {right[1]:.4f}")
    return {**found, "off": off}


def sentence(model, dtype, found):
    text = f"{model:12} {dtype}  {found['items']:5} items  worst {found['worst']:.1e} of the largest"
    if "least_cosine" in found:
        text += f"  least cosine {found['least_cosine']:.6f}"
    else:
        text += f"  {found['flips']} labels differ"
        text += (f"  accuracy {found['accuracy_gpu']:.4f} / {found['accuracy_cpu']:.4f}" if found["accuracy_checked"]
                 else "  accuracy NOT checked")
    return text + "".join(f"\n    OFF: {o}" for o in found["off"])


def labels_of(d, model):
    """None of a model that has no labels."""
    status, _, answer = d.get("/v1/models/" + model)
    if status != 200:
        raise SystemExit(f"{model}: HTTP {status}: {answer!r}")
    return json.loads(answer).get("labels")


def write(path, report):
    if path:
        with open(path, "w", encoding="utf-8") as f:
            json.dump(report, f, indent=1)


def with_gpu(gpu, dtype, asks, want, names, args, report):
    """Ask it all in one format; False when something is off."""
    good = True
    for model, (ask, items) in asks.items():
        got = ask(gpu, model, [x for x, _ in items])
        found = (compare_labels(got, want[model], [t for _, t in items], names[model], dtype) if names[model]
                 else compare_vectors(got, want[model], dtype))
        report["found"][f"{model} {dtype}"] = found
        good = good and not found["off"]
        print(sentence(model, dtype, found), flush=True)
        write(args.json, report)
    return good


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--module", required=True)
    p.add_argument("--dtypes", default="fp32,bf16,fp16")
    p.add_argument("--quick", action="store_true", help="a few items of each: for the emulation")
    p.add_argument("--json", metavar="FILE", help="write what was found there")
    args = p.parse_args()
    os.environ.pop("NVIDIA_TF32_OVERRIDE", None)
    n = (6, 2, 2) if args.quick else (1540, 2000, 2000)
    texts = sentences(n[0])
    asks = {"intents": (ask_texts, texts), "fashion": (ask_pictures, clothes(n[1])), "cifar": (ask_pictures, photos(n[2])),
            "embeddings": (ask_vectors, texts)}
    if args.quick:
        del asks["cifar"]  # a photograph takes the emulation a minute
    cpu = Daemon("--device", "cpu", models=(BUNDLED,))
    want = {m: ask(cpu, m, [x for x, _ in items]) for m, (ask, items) in asks.items()}
    names = {m: labels_of(cpu, m) for m in asks}
    report, bad = {"device": [], "found": {}}, False
    for dtype in args.dtypes.split(","):
        gpu = Daemon("--device", "cuda:0", "--dtype", dtype, models=(BUNDLED,), env={"ENSOD_CUDA_MODULE": args.module})
        # which card, and which library of matrix products
        report["device"] = [line for line in gpu.log if "device open" in line or "matrix products" in line]
        bad = not with_gpu(gpu, dtype, asks, want, names, args, report) or bad
        if gpu.stop() != 0:
            bad = True
            print("the daemon on the GPU did not end well:\n" + "\n".join(gpu.log[-20:]))
    cpu.stop()
    print("parity: " + ("something is OFF" if bad else "all within bounds") +
          ("" if all(f.get("accuracy_checked", True) for f in report["found"].values()) else "; accuracy NOT checked"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
