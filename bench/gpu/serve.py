#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Requests a second and latency over HTTP, from a daemon on a card: the bundled models and a BERT-base.

    bench/gpu/serve.py [--build build] [--module FILE] [--out DIR] [--dtype bf16] [--seconds 3]

`enso bench` on the same machine asks each model by 1 connection (latency), then by 64 (throughput), all models loaded
in one daemon, batches as ensod makes them. BERT-base has random weights and is asked for the vector of a text of some
120 tokens. Prints a table and writes DIR/serve.json after each model; less than a minute. --rehearse asks the
emulated card a few requests. Python's standard library only."""

import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "..", "tests", "end_to_end")]
import harness  # noqa: E402
import make_models  # noqa: E402
import options  # noqa: E402

CONNECTIONS = (1, 64)
SENTENCE = "I was charged twice for the same coffee yesterday, how do I get my money back?"
LONG = " ".join(["the film that we love was on at one and all were there when you said it can be your new card"] * 5)
PICTURE = os.path.join(harness.TOP, "examples", "pictures", "sneaker.png")
SHIP = os.path.join(harness.TOP, "examples", "pictures", "ship.png")
ASKS = {"intents": ["--text", SENTENCE], "embeddings": ["--text", SENTENCE], "fashion": ["--picture", PICTURE],
        "cifar": ["--picture", SHIP], "BERT-base": ["--text", LONG]}


def ask(args, url, model, connections):
    """The report of `enso bench`."""
    much = ["--requests", str(2 * connections)] if args.rehearse else ["--duration", f"{args.seconds:g}s"]
    done = subprocess.run([harness.program(args.build, "enso"), "bench", "--server", url, "--model", model, *ASKS[model],
                           "--connections", str(connections), "--warmup", "0s" if args.rehearse else "1s", *much,
                           "--json"], capture_output=True, text=True, timeout=120 + args.seconds)
    if done.returncode != 0:
        raise RuntimeError(f"enso bench: {done.stderr[-500:]}")
    report = json.loads(done.stdout)
    if report["ok"] == 0 or report["ok"] != report["answers"]:
        raise RuntimeError(f"{report['ok']} of {report['answers']} answers are good: {report['statuses']}")
    return report


def config(args, module):
    library = f"cublaslt = {args.cublaslt}\n" if args.cublaslt else ""
    return (f"[server]\ndefault_timeout = 0\n[log]\naccess_log = off\n[device]\ndevice = cuda:0\ndtype = {args.dtype}\n"
            f"cuda_module = {os.path.abspath(module)}\n{library}")


def main():
    p = options.parser(__doc__)
    p.add_argument("--dtype", default="bf16", choices=("bf16", "fp16", "fp32"))
    p.add_argument("--seconds", type=float, default=3)
    args = p.parse_args()
    module = options.module(args)
    if module is None:
        return 77
    found = {"dtype": args.dtype, "asked": [], "failed": []}
    with tempfile.TemporaryDirectory(prefix="ensod-bench-") as top:
        folders = [os.path.join(harness.TOP, "models"), os.path.join(top, "BERT-base")]
        if args.rehearse:
            folders = [os.path.join(top, "intents")]
            make_models.make(top)
        else:
            harness.write_bert(folders[-1], harness.BERT_BASE)
        with harness.Daemon(args.build, *folders, config=config(args, module)) as daemon:
            found["log"] = [line for line in daemon.log if "device open" in line or "matrix products" in line]
            print("\n".join(found["log"]) + "\n\n| model | connections | requests/s | median, ms | p99, ms |\n|---|--:|--:|--:|--:|")
            models = [("intents", (1, 2))] if args.rehearse else [(m, CONNECTIONS) for m in ASKS]
            for model, all_connections in models:
                for connections in all_connections:
                    try:
                        report = ask(args, daemon.url, model, connections)
                    except (RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                        found["failed"].append({"model": model, "connections": connections, "reason": str(error)})
                        print(f"({model}, {connections} connections: {error})", flush=True)
                        continue
                    found["asked"].append({"model": model, "connections": connections, "report": report})
                    print(f"| {model} | {connections} | {report['ok_per_second']:.0f} | {report['latency_ms']['p50']:.3f} | "
                          f"{report['latency_ms']['p99']:.3f} |", flush=True)
                with open(os.path.join(args.out, "serve.json"), "w", encoding="utf-8") as f:
                    json.dump(found, f, indent=1)
    return 1 if found["failed"] or not found["asked"] else 0


if __name__ == "__main__":
    sys.exit(main())
