#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ensod's engine on a GPU against PyTorch on the same card, with the same weights, in one run.

    bench/gpu/peers.py [--build build] [--module FILE] [--out DIR] [--only WORD] [--rounds 15] [--minutes 8]

Weights are random from a seed, made here. PyTorch runs in bfloat16 at its best: scaled dot-product attention, a
captured CUDA graph for each shape, channels last for pictures, and for BERT-base 128 x 128 also
torch.compile(mode="max-autotune"). Mixed lengths are padded to the longest for PyTorch, as its users do, and packed
by ensod. Both are timed on the host from inputs in host memory to outputs in host memory, synchronised, in turn,
medians of the rounds. Before timing both are compared with PyTorch in float32: an answer that is off by more than
3e-2 of the largest number ends the case.

Prints a table as it goes and writes DIR/peers.json after each case. A ratio above 1 says that ensod is faster. Needs
PyTorch with CUDA; exits with 77 without. --rehearse runs tiny shapes on the processor with the emulated module, to
see that all of it works. About 8 minutes; cases that would begin later are left out and said."""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402
from lengths import MIXED  # noqa: E402

try:
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file
except ImportError as error:
    print(f"SKIP: {error}")
    sys.exit(77)

OFF = 3e-2
LARGE = harness.Shape(24, 1024, 16, 4096)
TINY = harness.Shape(2, 64, 2, 128, vocabulary=2000, positions=64)


class Bert:
    """A BERT encoder and the mean over each sequence's tokens, as plain functions over the folder's tensors."""

    def __init__(self, folder, shape, dtype, device):
        self.w = {k: v.to(device, dtype) for k, v in load_file(os.path.join(folder, "model.safetensors")).items()}
        self.shape, self.layers = shape, []
        for i in range(shape.layers):
            p = f"encoder.layer.{i}."
            qkv = [p + f"attention.self.{n}." for n in ("query", "key", "value")]
            self.layers.append({
                "qkv": (torch.cat([self.w[n + "weight"] for n in qkv]), torch.cat([self.w[n + "bias"] for n in qkv])),
                **{k: (self.w[p + n + ".weight"], self.w[p + n + ".bias"]) for k, n in (
                    ("out", "attention.output.dense"), ("norm1", "attention.output.LayerNorm"),
                    ("inner", "intermediate.dense"), ("outer", "output.dense"), ("norm2", "output.LayerNorm"))}})

    def norm(self, x, pair):
        return F.layer_norm(x, x.shape[-1:], *pair, eps=1e-12)

    def __call__(self, ids, mask):
        """ids [B, S]; mask [B, S] of the model's type, 1 for tokens, or None where all are."""
        w, heads = self.w, self.shape.heads
        x = (w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0] +
             w["embeddings.position_embeddings.weight"][: ids.shape[1]])
        x = self.norm(x, (w["embeddings.LayerNorm.weight"], w["embeddings.LayerNorm.bias"]))
        see = None if mask is None else mask[:, None, None, :].bool()
        for layer in self.layers:
            q, k, v = F.linear(x, *layer["qkv"]).view(*ids.shape, 3, heads, -1).permute(2, 0, 3, 1, 4)
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=see).transpose(1, 2).reshape(x.shape)
            x = self.norm(F.linear(a, *layer["out"]) + x, layer["norm1"])
            x = self.norm(F.linear(F.gelu(F.linear(x, *layer["inner"])), *layer["outer"]) + x, layer["norm2"])
        if mask is None:
            return x.float().mean(1)
        m = mask.float()[:, :, None]
        return (x.float() * m).sum(1) / m.sum(1)


class Captured:
    """A function of tensors of fixed shapes as a CUDA graph; on the processor, the function."""

    def __init__(self, fn, inputs):
        self.fn, self.static, self.graph = fn, inputs, None
        if inputs[0].device.type != "cuda":
            return
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream), torch.inference_mode():
            for _ in range(3):
                fn(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(self.graph):
            self.result = fn(*inputs)

    def __call__(self, *host):
        with torch.inference_mode():
            for to, given in zip(self.static, host):
                to.copy_(given, non_blocking=True)
            if self.graph is None:
                return self.fn(*self.static).float().cpu()
            self.graph.replay()
            return self.result.float().cpu()


class Engine:
    """ensod's engine, by tests/engine/model/run_cli."""

    def __init__(self, options, folder, dtype):
        command = [os.path.join(options.build, "tests/engine/model/run_cli"), "--module", options.module]
        command += ["--dtype", dtype] if dtype != "fp32" else []
        command += [folder]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, line):
        try:
            self.process.stdin.write(json.dumps(line).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError("run_cli ended; its own message stands above") from None
        answer = json.loads(self.process.stdout.readline() or '{"error": "it ended"}')
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(f"run_cli: {answer['error']}")
        return answer

    def outputs(self, items):
        return torch.tensor([item[0]["values"] for item in self.ask(items)])

    def seconds(self, items, n):
        return self.ask({"repeat": n, "items": items})["seconds"]

    def close(self):
        self.process.communicate()


def pinned(tensor, device):
    return tensor.pin_memory() if device == "cuda" else tensor


class Case:
    """One shape of one model: host inputs, items for ensod, functions of PyTorch by name."""

    def __init__(self, title, items, host, peers, reference, flop):
        self.title, self.items, self.host, self.peers = title, items, host, peers
        self.reference, self.flop = reference, flop


def bert_flop(shape, lengths):
    """Multiply-adds counted twice, of products and of attention, over real tokens."""
    t, h = sum(lengths), shape.hidden
    return shape.layers * (2 * t * (4 * h * h + 2 * h * shape.inner) + sum(4 * n * n * h for n in lengths))


def bert_cases(folder, shape, batches, device, autotune):
    fast = Bert(folder, shape, torch.bfloat16 if device == "cuda" else torch.float32, device)
    exact = Bert(folder, shape, torch.float32, device)
    for title, lengths in batches:
        rng = random.Random(7)
        ids = [[rng.randrange(1000, shape.vocabulary - 1) for _ in range(n)] for n in lengths]
        longest = max(lengths)
        padded = torch.tensor([i + [0] * (longest - len(i)) for i in ids])
        mask = torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i in ids]) if min(lengths) < longest else None
        host = [pinned(t, device) for t in (padded, mask) if t is not None]

        def run(model):
            return (lambda i: model(i, None)) if mask is None else model

        peers = {"graph": Captured(run(fast), [t.to(device) for t in host])}
        if autotune and title == "128 x 128":
            peers["max-autotune"] = Captured(torch.compile(run(fast), mode="max-autotune-no-cudagraphs"),
                                             [t.to(device) for t in host])
        reference = Captured(run(exact), [t.to(device) for t in host])
        yield Case(title, [{"ids": i, "want": "pooled"} for i in ids], host, peers, reference,
                   bert_flop(shape, lengths))


def resnet_cases(folder, device, batches):
    import torchvision
    torch.manual_seed(0)
    net = torchvision.models.resnet50(weights=None).eval()
    torch.onnx.export(net, torch.zeros(1, 3, 224, 224), os.path.join(folder, "model.onnx"), opset_version=13,
                      input_names=["image"], output_names=["logits"], dynamo=False,
                      dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}})
    exact = torchvision.models.resnet50(weights=None).eval()
    exact.load_state_dict(net.state_dict())
    exact = exact.to(device)
    half = torch.bfloat16 if device == "cuda" else torch.float32
    fast = net.to(device, half, memory_format=torch.channels_last)
    for n in batches:
        x = pinned(torch.randn(n, 3, 224, 224, generator=torch.Generator().manual_seed(1)), device)
        file = os.path.join(folder, f"pictures-{n}.bin")
        x.numpy().tofile(file)
        items = [{"inputs": [{"dtype": "FP32", "shape": list(x.shape), "file": file}]}]

        def run(y):
            return fast(y.to(half, memory_format=torch.channels_last))

        yield Case(f"{n} x 224 x 224", items, [x], {"graph": Captured(run, [x.to(device)])},
                   Captured(exact, [x.to(device)]), n * 8.18e9)


def off(got, want):
    return float((got - want).abs().max() / want.abs().max())


def measure(engine, case, rounds):
    """Median seconds by name, in turn."""
    want = case.reference(*case.host)
    worst = {"ensod": off(engine.outputs(case.items).reshape(want.shape), want)}
    for name, peer in case.peers.items():
        worst[name] = off(peer(*case.host), want)
    if max(worst.values()) > OFF:
        raise RuntimeError(f"answers are off: {worst}")
    engine.seconds(case.items, 3)  # captured by then
    times = {"ensod": [], **{name: [] for name in case.peers}}
    for _ in range(rounds):
        times["ensod"] += engine.seconds(case.items, 3)
        for name, peer in case.peers.items():
            for _ in range(3):
                start = time.perf_counter()
                peer(*case.host)
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) for name, t in times.items()}, worst


def models(options, device):
    """(name, shape or None, batches)"""
    if options.rehearse:
        return [("tiny", TINY, [("1 x 16", [16]), ("3 mixed", [5, 16, 9])])]
    batches = [("1 x 128", [128]), ("64 mixed", MIXED), ("128 x 128", [128] * 128)]
    return [("BERT-base", harness.BERT_BASE, batches), ("MiniLM-L6", harness.MINILM, batches),
            ("ResNet-50", None, [1, 128]), ("BERT-large", LARGE, batches)]


def cases_of(options, name, shape, batches, folder, device):
    if shape is None:
        os.makedirs(folder)
        return resnet_cases(folder, device, batches)
    harness.write_bert(folder, shape)
    return bert_cases(folder, shape, batches, device, name == "BERT-base" and device == "cuda")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default=os.path.join(harness.TOP, "build"))
    p.add_argument("--module")
    p.add_argument("--out", default=".")
    p.add_argument("--only", default="", help="models whose name holds this word")
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--minutes", type=float, default=8, help="no case begins later")
    p.add_argument("--rehearse", action="store_true")
    options = p.parse_args()
    device = "cpu" if options.rehearse else "cuda"
    emulated = "tests/cuda_emulation/ensod-cuda-emulated.so" if options.rehearse else "kernels/cuda/ensod-cuda.so"
    options.module = options.module or os.path.join(options.build, emulated)
    if device == "cuda" and not torch.cuda.is_available():
        print("SKIP: PyTorch sees no GPU")
        sys.exit(77)
    began, results, bad = time.monotonic(), [], False
    card = torch.cuda.get_device_name() if device == "cuda" else "no card: a rehearsal"
    print(f"{card}, torch {torch.__version__}, {options.rounds} rounds of 3; medians in ms\n\n"
          "| model | batch | PyTorch, graph | max-autotune | ensod | ratio | ensod TFLOP/s |\n|---|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory(prefix="ensod-bench-") as top:
        for name, shape, batches in models(options, device):
            if options.only not in name:
                continue
            folder, engine = os.path.join(top, name), None
            try:
                for case in cases_of(options, name, shape, batches, folder, device):
                    if time.monotonic() - began > 60 * options.minutes:
                        print(f"(left out for time: {name} {case.title})")
                        continue
                    engine = engine or Engine(options, folder, "bf16" if device == "cuda" else "fp32")
                    seconds, worst = measure(engine, case, options.rounds)
                    best = min(t for n, t in seconds.items() if n != "ensod")
                    ms = {n: f"{1e3 * t:.3f}" for n, t in seconds.items()}
                    print(f"| {name} | {case.title} | {ms['graph']} | {ms.get('max-autotune', '')} | {ms['ensod']} | "
                          f"{best / seconds['ensod']:.2f} | {case.flop / seconds['ensod'] / 1e12:.1f} |", flush=True)
                    results.append({"model": name, "batch": case.title, "seconds": seconds, "off": worst,
                                    "flop": case.flop})
                    with open(os.path.join(options.out, "peers.json"), "w", encoding="utf-8") as f:
                        json.dump({"card": card, "torch": torch.__version__, "cases": results}, f, indent=1)
            except RuntimeError as error:
                bad = True
                print(f"({name}: {error})", flush=True)
            finally:
                if engine is not None:
                    engine.close()
                if device == "cuda":
                    torch.cuda.empty_cache()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
