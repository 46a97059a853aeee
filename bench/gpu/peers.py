#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ensod's engine on a GPU against PyTorch on the same card, with the same weights, in one run.

    bench/gpu/peers.py [--build build] [--module FILE] [--out DIR] [--only WORD,...] [--rounds 15] [--minutes 6]

Weights are random from a seed, made here; the bundled models have their own. PyTorch runs in bfloat16 at its best:
scaled dot-product attention, a captured CUDA graph for each shape, channels last for pictures, and at last for
BERT-base 128 x 128 also torch.compile(mode="max-autotune"). Mixed lengths are padded to the longest for PyTorch, as
its users do, and packed by ensod, which uses PyTorch's cuBLASLt where it finds it. Both are timed on the host from
inputs in host memory to outputs in host memory, synchronised, in turn, medians of the rounds. Both are compared with
PyTorch in float32: an answer that is off by more than 3e-2 of the largest number is marked, and when it is ensod's
the exit status is 1.

The card's ceilings (ceilings.py) are measured first, or taken from DIR/ceilings.json. Prints a table as it goes and
writes DIR/peers.json after each case; what fails is recorded there with its reason and the next case begins. A case
begins only if it should be through in time. A ratio above 1 says that ensod is faster. Needs PyTorch with CUDA and no
other package; exits with 77 without. --rehearse runs tiny shapes on the processor with the emulated module, to see
that all of it works."""

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402
from lengths import MIXED  # noqa: E402

try:
    import torch
except ImportError as error_of_import:
    print(f"SKIP: {error_of_import}")
    sys.exit(77)

import ceilings  # noqa: E402
import cublaslt  # noqa: E402
import onnx_torch  # noqa: E402
import pictures  # noqa: E402
import predict  # noqa: E402
import resnet  # noqa: E402
from engine import Engine  # noqa: E402
from torch_models import Bert, Captured, ResNet50  # noqa: E402

OFF = 3e-2
LARGE = harness.Shape(24, 1024, 16, 4096)
TINY = harness.Shape(2, 64, 2, 128, vocabulary=2000, positions=64)
BATCHES = [("1 x 128", [128]), ("64 mixed", MIXED), ("128 x 128", [128] * 128)]


class Case:
    """One shape of one model: host inputs, items for ensod, functions of PyTorch by name, the exact answer; what
    ensod's kernels should be at the least (predict.py; None: not known)."""

    def __init__(self, items, host, peers, reference, flop, kernels=None):
        self.items, self.host, self.peers, self.reference = items, host, peers, reference
        self.flop, self.kernels = flop, kernels


class Model:
    """What all cases of a model share, made when the first begins. On `device` PyTorch runs."""

    def __init__(self, name, device):
        self.name, self.device, self.folder = name, device, None
        self.half = torch.bfloat16 if device == "cuda" else torch.float32

    def pinned(self, tensor):
        return tensor.pin_memory() if self.device == "cuda" else tensor

    def prepare(self, top):
        """Write or name self.folder, below a scratch folder."""
        raise NotImplementedError

    def case(self, batch):
        raise NotImplementedError

    def release(self):
        """Of the card's memory."""


class TextModel(Model):
    def __init__(self, name, device, shape=None, bundled=False):
        super().__init__(name, device)
        self.shape, self.bundled, self.fast, self.exact = shape, bundled, None, None

    def prepare(self, top):
        if self.folder is None and self.bundled:
            self.folder = os.path.join(harness.TOP, "models", self.name)
            self.shape = predict.shape_of(self.folder)
        elif self.folder is None:
            folder = os.path.join(top, self.name)
            harness.write_bert(folder, self.shape)
            self.folder = folder
        normalise = os.path.exists(os.path.join(self.folder, "modules.json"))
        if self.fast is None:
            self.fast = Bert(self.folder, self.shape, self.half, self.device, normalise)
            self.exact = Bert(self.folder, self.shape, torch.float32, self.device, normalise)

    def release(self):
        self.fast = self.exact = None

    def case(self, batch):
        lengths, rng = dict(BATCHES).get(batch) or [int(n) for n in batch.split()[-1].split("+")], random.Random(7)
        ids = [[rng.randrange(1000, self.shape.vocabulary - 1) for _ in range(n)] for n in lengths]
        longest = max(lengths)
        padded = torch.tensor([i + [0] * (longest - len(i)) for i in ids])
        mask = torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i in ids]) if min(lengths) < longest else None
        host = [self.pinned(t) for t in (padded, mask) if t is not None]
        want = "raw" if "classifier.weight" in self.fast.w else "pooled"
        return Case([{"ids": i, "want": want} for i in ids], host,
                    {"graph": Captured(self.whole(self.fast, mask), self.there(host))},
                    Captured(self.whole(self.exact, mask), self.there(host)), bert_flop(self.shape, lengths),
                    list(predict.bert(self.shape, lengths)))

    @staticmethod
    def whole(model, mask):
        return (lambda i: model(i, None)) if mask is None else model

    def there(self, host):
        return [t.to(self.device) for t in host]


class TunedText(TextModel):
    """The same with torch.compile, which measures for minutes."""

    def case(self, batch):
        case = super().case(batch)
        if self.device == "cuda":
            compiled = torch.compile(self.whole(self.fast, None), mode="max-autotune-no-cudagraphs")
            case.peers["max-autotune"] = Captured(compiled, self.there(case.host))
        return case


class PictureModel(Model):
    def __init__(self, name, device, dims, flop=None):
        super().__init__(name, device)
        self.dims, self.flop, self.fast, self.exact, self.scratch = dims, flop, None, None, None

    def prepare(self, top):
        self.scratch = top
        if self.fast is not None:
            return
        if self.name in os.listdir(os.path.join(harness.TOP, "models")):
            self.folder = os.path.join(harness.TOP, "models", self.name)
            self.exact, self.fast = (onnx_torch.Graph(os.path.join(self.folder, "model.onnx"), dtype, self.device)
                                     for dtype in (torch.float32, self.half))
            return
        weights = resnet.weights()
        folder = os.path.join(top, self.name)
        os.makedirs(folder, exist_ok=True)
        resnet.write_onnx(os.path.join(folder, "model.onnx"), weights, self.dims[1])
        self.folder = folder
        self.exact = ResNet50(weights).to(self.device)
        self.fast = ResNet50(weights).to(self.device, self.half).to(memory_format=torch.channels_last)

    def release(self):
        self.fast = self.exact = None

    def case(self, batch):
        n = int(batch.split()[0])
        file = os.path.join(self.scratch, f"{self.name}-{n}.bin")
        shape = pictures.write_tensor(file, n, self.dims)
        with open(file, "rb") as f:
            x = self.pinned(torch.frombuffer(bytearray(f.read()), dtype=torch.float32).reshape(shape))
        half, fast = self.half, self.fast

        def run(y):
            return fast(y.to(half, memory_format=torch.channels_last))

        return Case([{"inputs": [{"dtype": "FP32", "shape": list(x.shape), "file": file}]}], [x],
                    {"graph": Captured(run, [x.to(self.device)])}, Captured(self.exact, [x.to(self.device)]),
                    n * self.flop if self.flop else None,
                    list(predict.resnet50(n)) if self.name == "ResNet-50" and self.flop else None)


def bert_flop(shape, lengths):
    """Multiply-adds counted twice, of products and of attention, over real tokens."""
    t, h = sum(lengths), shape.hidden
    return shape.layers * (2 * t * (4 * h * h + 2 * h * shape.inner) + sum(4 * n * n * h for n in lengths))


def off(got, want):
    return float((got - want).abs().max() / want.abs().max())


def measure(engine, case, rounds, repeats):
    """({name: median seconds}, {name: how far its answer is off}), in turn."""
    want = case.reference(*case.host).clone()
    worst = {"ensod": off(torch.tensor(engine.outputs(case.items)).reshape(want.shape), want)}
    for name, peer in case.peers.items():
        worst[name] = off(peer(*case.host), want)
    engine.seconds(case.items, 3)  # captured by then
    times = {"ensod": [], "ensod, device": [], **{name: [] for name in case.peers}}
    for _ in range(rounds):
        # the first of each was not told how long it takes
        wall, device = engine.seconds(case.items, repeats + 1)
        times["ensod"] += wall[1:]
        times["ensod, device"] += device[1:]
        for name, peer in case.peers.items():
            peer(*case.host)
            for _ in range(repeats):
                start = time.perf_counter()
                peer(*case.host)
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) for name, t in times.items()}, worst


def plan(rehearse, device):
    """[(model, batch, seconds that it should take at most)], the most important first. The first case of a model
    writes and loads its weights."""
    if rehearse:
        return [(TextModel("tiny", device, TINY), "16", 1), (None, "5+16+9", 1),
                (TextModel("intents", device, bundled=True), "9", 1),
                (PictureModel("fashion", device, (1, 28, 28)), "2 x 28 x 28", 1),
                (PictureModel("ResNet-50", device, (3, 64, 64)), "1 x 64 x 64", 1)]
    cases = []
    for name, shape, seconds in (("BERT-base", harness.BERT_BASE, (30, 8, 8)), ("MiniLM-L6", harness.MINILM, (15, 6, 6)),
                                 ("BERT-large", LARGE, (60, 12, 12))):
        model = TextModel(name, device, shape)
        cases += [(model, batch, s) for (batch, _), s in zip(BATCHES, seconds)]
    net = PictureModel("ResNet-50", device, (3, 224, 224), 8.18e9)
    cases += [(net, "1 x 224 x 224", 30), (net, "128 x 224 x 224", 15)]
    for name in ("intents", "embeddings"):
        model = TextModel(name, device, bundled=True)
        cases += [(model, "16", 10), (model, "64 mixed", 6)]
    for name, dims in (("fashion", (1, 28, 28)), ("cifar", (3, 32, 32))):
        model = PictureModel(name, device, dims)
        cases += [(model, f"{n} x {dims[1]} x {dims[2]}", 8) for n in (1, 128)]
    return cases + [(TunedText("BERT-base", device, harness.BERT_BASE), "128 x 128", 150)]


@contextlib.contextmanager
def at_most(seconds):
    """TimeoutError inside when it takes longer."""
    def stop(*_):
        raise TimeoutError(f"stopped after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Run:
    """All cases in turn, and the file of what was found."""

    def __init__(self, options, device):
        self.options, self.device, self.began = options, device, time.monotonic()
        self.repeats, self.engine, self.engine_of = (1 if options.rehearse else 3), None, None
        self.library = None if options.rehearse else cublaslt.find()
        card = torch.cuda.get_device_name() if device == "cuda" else "no card: a rehearsal"
        self.found = {"card": card, "torch": torch.__version__, "cublaslt": self.library, "cases": [], "failed": [],
                      "left_out": []}
        self.bad = False

    def left(self):
        return 60 * self.options.minutes - (time.monotonic() - self.began)

    def write(self):
        path = os.path.join(self.options.out, "peers.json")
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump(self.found, f, indent=1)
        os.replace(path + ".new", path)

    def find_ceilings(self):
        rates = ceilings.read(self.options.out)
        try:
            rates = rates or ceilings.measure(torch, self.device == "cuda")
        except Exception as error:  # pylint: disable=broad-except
            self.failed("ceilings", "", error)
        self.found["ceilings"] = rates

    def failed(self, model, batch, error, counts=True):
        """counts: it is no accident of PyTorch's, such as a machine without the compiler that it wants."""
        self.bad = self.bad or counts
        reason = f"{type(error).__name__}: {error}"[:2000]
        self.found["failed"].append({"model": model, "batch": batch, "reason": reason})
        print(f"({model} {batch}: {reason[:500]})", flush=True)

    def open_engine(self, model):
        if self.engine_of is not model:
            self.close_engine()
            on_card = not (self.options.rehearse and isinstance(model, PictureModel))  # emulated pictures take minutes
            self.engine = Engine(self.options.build, self.options.module if on_card else None, model.folder,
                                 "bf16" if self.device == "cuda" else "fp32", self.library)
            self.engine_of = model
        return self.engine

    def close_engine(self):
        if self.engine is not None:
            self.engine.close()
            self.engine_of.release()
        self.engine = self.engine_of = None
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def shares(self, case, seconds):
        """Of the card's measured rates, and of the time that they allow at best."""
        rates = self.found["ceilings"] or {}
        told = {}
        if case.flop and rates:
            told["of_matmul_rate"] = case.flop / seconds / rates["matmul_flops"]
        if case.kernels and rates:
            floor = sum(max(k.flop / rates["matmul_flops"], k.bytes / rates["copy_bytes"]) for k in case.kernels)
            told.update(floor_seconds=floor, of_floor=floor / seconds)
        return told

    def run_case(self, model, batch, top):
        model.prepare(top)
        case = model.case(batch)
        engine = self.open_engine(model)
        seconds, worst = measure(engine, case, self.options.rounds, self.repeats)
        shares = self.shares(case, seconds["ensod"])
        deviates = [name for name, far in worst.items() if not far <= OFF]
        self.bad = self.bad or "ensod" in deviates
        peers = [t for n, t in seconds.items() if not n.startswith("ensod")]
        ms = {n: f"{1e3 * t:.3f}" for n, t in seconds.items()}
        print(f"| {model.name} | {batch} | {ms['graph']} | {ms.get('max-autotune', '')} | {ms['ensod']} | "
              f"{ms['ensod, device']} | {min(peers) / seconds['ensod']:.2f} | "
              f"{case.flop / seconds['ensod'] / 1e12 if case.flop else 0:.1f} | "
              f"{100 * shares.get('of_matmul_rate', 0):.0f} % | {', '.join(deviates) or '-'} |", flush=True)
        self.found["cases"].append({
            "model": model.name, "batch": batch, "seconds": seconds, "ratio": min(peers) / seconds["ensod"], "off": worst,
            "deviates": deviates, "flop": case.flop, "shares": shares, "device": engine.device,
            "without_cublaslt": engine.without})

    def run_all(self, top):
        model = None
        for told, batch, seconds in plan(self.options.rehearse, self.device):
            model = told or model
            if not any(word in model.name for word in self.options.only.split(",")):
                continue
            if seconds > self.left():
                print(f"(left out for time: {model.name} {batch})")
                self.found["left_out"].append({"model": model.name, "batch": batch})
                self.write()
                continue
            try:
                with at_most(self.left()):
                    self.run_case(model, batch, top)
            except Exception as error:  # pylint: disable=broad-except
                self.failed(model.name, batch, error, not isinstance(model, TunedText))
                self.close_engine()
            self.write()
        self.close_engine()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--build", default=os.path.join(harness.TOP, "build"))
    p.add_argument("--module")
    p.add_argument("--out", default=".")
    p.add_argument("--only", default="", help="models whose name holds this word, or one of several between commas")
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--minutes", type=float, default=6, help="what would not be through by then is left out")
    p.add_argument("--rehearse", action="store_true")
    options = p.parse_args()
    device = "cpu" if options.rehearse else "cuda"
    emulated = "tests/cuda_emulation/ensod-cuda-emulated.so" if options.rehearse else "kernels/cuda/ensod-cuda.so"
    options.module = options.module or os.path.join(options.build, emulated)
    os.environ.pop("NVIDIA_TF32_OVERRIDE", None)
    torch.backends.cudnn.benchmark = True  # the fastest convolutions
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # of the reference
    if device == "cuda" and not torch.cuda.is_available():
        print("SKIP: PyTorch sees no GPU")
        return 77
    os.makedirs(options.out, exist_ok=True)
    run = Run(options, device)
    print(f"{run.found['card']}, torch {torch.__version__}, cuBLASLt {run.library}, {options.rounds} rounds of "
          f"{run.repeats}; medians in ms\n\n"
          "| model | batch | PyTorch, graph | max-autotune | ensod | its device | ratio | ensod TFLOP/s | of the card's | off |\n"
          "|---|---|--:|--:|--:|--:|--:|--:|--:|---|")
    run.find_ceilings()
    with tempfile.TemporaryDirectory(prefix="ensod-bench-") as top:
        run.run_all(top)
    n = len(run.found["cases"])
    print(f"\n{n} cases, {len(run.found['failed'])} failed, {len(run.found['left_out'])} left out for time")
    return 1 if run.bad or n == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
