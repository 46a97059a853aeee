#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each kernel of a batch on a card against what bench/gpu/predict.py expects of it.

    bench/gpu/steps.py [--build build] [--module FILE] [--out DIR] [--only WORD] [--minutes 6]

tests/engine/model/run_cli runs each step of a batch once and nine times over, as graphs: the difference is the step's
time and the gap to the next one, as predictions have it. Two things to bear in mind: nine runs over the same operands
find small weights in the cache, which a batch does not (the sum of steps beside the whole batch tells how much), and
steps that take more than four times their launch are not recorded. Prints a line for the steps of one sort (all layers' "query,
key, value") and writes DIR/steps.json, after each case, with every step. Weights are random. --rehearse: tiny shapes
on the emulated card. Python's standard library only."""

import json
import os
import re
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import ceilings  # noqa: E402
import harness  # noqa: E402
import options  # noqa: E402
import pictures  # noqa: E402
import predict  # noqa: E402
import resnet  # noqa: E402
from engine import Engine  # noqa: E402
from lengths import MIXED  # noqa: E402

REPEATS = 9
KINDS = {"product": ("Linear", "MatMul", "Gemm", "Conv", "Product"), "attention": ("Attention",)}


def kind_of(op):
    last = op.rpartition(".")[2]
    return next((kind for kind, words in KINDS.items() if any(w in last for w in words)), "stream")


def matched(kernels, steps):
    """[(kernel or None, step)] in order; kernels for which there was no step."""
    left, pairs = list(kernels), []
    for step in steps:
        fits = left and left[0].kind == kind_of(step["op"])
        pairs.append((left.pop(0) if fits else None, step))
    return pairs, left


def text_items(lengths, vocabulary):
    return [{"ids": [1000 + (7 * i + n) % (vocabulary - 1001) for i in range(n)], "want": "pooled"} for n in lengths]


def picture_items(folder, n, dims):
    return [{"image": path} for path in pictures.write_files(folder, n, dims)]


def cases(rehearse, top):
    """(model, batch, folder, items, kernels), the folder written when it is asked for."""
    shapes = {"BERT-base": harness.BERT_BASE, "MiniLM-L6": harness.MINILM}
    batches = [("1 x 128", [128]), ("64 mixed", MIXED), ("128 x 128", [128] * 128)]
    if rehearse:
        shapes, batches = {"tiny": harness.Shape(1, 64, 2, 128, vocabulary=2000, positions=64)}, [("2 mixed", [9, 20])]
    for name, shape in shapes.items():
        folder = os.path.join(top, name)
        harness.write_bert(folder, shape)
        for batch, lengths in batches:
            yield name, batch, folder, text_items(lengths, shape.vocabulary), list(predict.bert(shape, lengths))
    if not rehearse:
        folder = os.path.join(top, "ResNet-50")
        os.makedirs(folder)
        resnet.write_onnx(os.path.join(folder, "model.onnx"), resnet.weights())
        with open(os.path.join(folder, "ensod.json"), "w", encoding="utf-8") as f:
            json.dump({"input": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}, f)
        for n in (1, 128):
            items = picture_items(folder, n, (3, 224, 224))
            yield "ResNet-50", f"{n} x 224 x 224", folder, items, list(predict.resnet50(n))
        yield from bundled(top)


def bundled(top):
    for name, batch, kernels in predict.bundled():
        folder = os.path.join(harness.TOP, "models", name)
        if name in ("fashion", "cifar"):
            items = picture_items(top, int(batch.split()[0]), (1, 28, 28) if name == "fashion" else (3, 32, 32))
        else:
            items = text_items([16] if batch == "1 x 16" else MIXED, predict.shape_of(folder).vocabulary)
            for item in items:
                item["want"] = "raw" if name == "intents" else "pooled"
        yield name, batch, folder, items, kernels


def compare(model, batch, device, kernels, steps, card):
    pairs, left = matched(kernels, steps)
    told = [{"kernel": k.name if k else None, "predicted_seconds": k.seconds(card) if k else None,
             "flop": k.flop if k else None, "fewest_bytes": k.bytes if k else None, **step} for k, step in pairs]
    return {"model": model, "batch": batch, "device": device, "steps": told, "not_run": [k.name for k in left]}


def print_case(case):
    """The same kernel of all layers in one line: medians."""
    groups = {}
    for step in case["steps"]:
        name = re.sub(r"^[0-9.]+ ", "", step["kernel"]) if step["kernel"] else f"not predicted: {step['op']}"
        groups.setdefault(name, []).append(step)
    print(f"\n{case['model']}, {case['batch']} ({case['device']})\n\n"
          "| kernel | how often | predicted, µs | measured, µs | measured / predicted | TFLOP/s |\n|---|--:|--:|--:|--:|--:|")
    total = [0.0, 0.0]
    for name, steps in groups.items():
        measured = [s["seconds"] for s in steps]
        predicted = [s["predicted_seconds"] or 0 for s in steps]
        total = [total[0] + sum(predicted), total[1] + sum(measured)]
        m, p = statistics.median(measured), statistics.median(predicted)
        flop = sum(s["flop"] or 0 for s in steps)
        print(f"| {name} | {len(steps)} | {1e6 * p:.1f} | {1e6 * m:.1f} | {m / p if p else 0:.2f} | "
              f"{flop / sum(measured) / 1e12 if sum(measured) > 0 else 0:.0f} |")
    print(f"| all | {len(case['steps'])} | {1e6 * total[0]:.1f} | {1e6 * total[1]:.1f} | "
          f"{total[1] / total[0] if total[0] else 0:.2f} | |", flush=True)
    if case["not_run"]:
        print("predicted, but there was no step: " + ", ".join(case["not_run"]))


def main():
    p = options.parser(__doc__)
    p.add_argument("--only", default="", help="models whose name holds this word")
    p.add_argument("--minutes", type=float, default=6, help="no case begins later")
    args = p.parse_args()
    module = options.module(args)
    if module is None:
        return 77
    found = {"repeats": 2 if args.rehearse else REPEATS, "predicted_for": "H200", "ceilings": ceilings.read(args.out),
             "cases": [], "failed": []}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ensod-bench-") as top:
        for model, batch, folder, items, kernels in cases(args.rehearse, top):
            if args.only not in model:
                continue
            if time.monotonic() - began > 60 * args.minutes:
                found["failed"].append({"model": model, "batch": batch, "reason": "left out for time"})
                continue
            engine = None
            try:
                engine = Engine(args.build, module, folder, "bf16", args.cublaslt)
                engine.seconds(items, 3)
                case = compare(model, batch, engine.device, kernels, engine.steps(items, found["repeats"]),
                               predict.CARDS["H200"])
                case["batch_seconds"] = statistics.median(engine.seconds(items, found["repeats"])[1][1:])
                found["cases"].append(case)
                print_case(case)
                if args.rehearse and case["not_run"]:
                    raise ValueError("predicted, but there was no step: " + ", ".join(case["not_run"]))
                print(f"The batch as one graph: {1e6 * case['batch_seconds']:.1f} µs by the card's clock.", flush=True)
            except (RuntimeError, OSError, ValueError, KeyError) as error:
                found["failed"].append({"model": model, "batch": batch, "reason": str(error)[:2000]})
                print(f"({model} {batch}: {error})", flush=True)
            finally:
                if engine is not None:
                    engine.close()
            with open(os.path.join(args.out, "steps.json"), "w", encoding="utf-8") as f:
                json.dump(found, f, indent=1)
    print(f"{len(found['cases'])} cases, {len(found['failed'])} failed")
    return 1 if found["failed"] or not found["cases"] else 0


if __name__ == "__main__":
    sys.exit(main())
