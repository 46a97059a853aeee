# SPDX-License-Identifier: Apache-2.0
"""What the benches share: a daemon on a free port, what it costs in memory and processor time,
model folders with random weights, medians. Python's standard library only.

Benches compare by ratios of medians of interleaved runs: machines have moods, and what is measured
one after the other is compared with the weather."""

import array
import json
import os
import random
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHARED = os.environ.get("ENSO_SHARED", os.path.join(TOP, "..", "shared"))


def program(build, name):
    path = os.path.join(build, name)
    if not os.path.exists(path):
        sys.exit(f"{path} is not there; build first: ./configure && make (or name the build folder)")
    return path


class Daemon:
    """An ensod on a free port of 127.0.0.1, stopped at the end of its `with`."""

    def __init__(self, build, *models, options=(), config=""):
        self.folder = tempfile.TemporaryDirectory(prefix="ensod-bench-")
        file = os.path.join(self.folder.name, "ensod.conf")
        with open(file, "w") as f:
            f.write(config)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ENSOD_")}
        environment.pop("NOTIFY_SOCKET", None)
        self.log = []
        self.port = None
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [program(build, "ensod"), "--config", file, "--listen", "127.0.0.1:0", *options, *models],
            stderr=subprocess.PIPE, text=True, env=environment)
        self.ready_seconds = None
        self.is_ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line.rstrip())
            if (found := re.search(r"msg=listening address=127\.0\.0\.1:(\d+)", line)):
                self.port = int(found.group(1))
            if " msg=ready " in line:
                self.ready_seconds = time.monotonic() - self.started
                self.is_ready.set()
        self.is_ready.set()

    def __enter__(self):
        if not self.is_ready.wait(300) or self.ready_seconds is None:
            self.process.kill()
            sys.exit("ensod did not become ready:\n" + "\n".join(self.log[-20:]))
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.folder.cleanup()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def post(self, path, value):
        request = urllib.request.Request(self.url + path, json.dumps(value).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def memory(self, key):
        """Bytes of a line of /proc/PID/status: VmRSS now, VmHWM at most so far."""
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(key + r":\s+(\d+) kB", f.read()).group(1)) * 1024

    def cpu_ticks(self):
        """Processor time so far, of all threads, in ticks (a hundredth of a second)."""
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])


# --- models -------------------------------------------------------------------------------------

class Shape:
    """A BERT's sizes."""

    def __init__(self, layers, hidden, heads, inner, vocabulary=30522, positions=512, labels=0):
        self.layers, self.hidden, self.heads, self.inner = layers, hidden, heads, inner
        self.vocabulary, self.positions, self.labels = vocabulary, positions, labels

    def tensors(self):
        """[(name, dims, kind)], kind is "weight", "bias" or "scale"."""
        h, prefix = self.hidden, "bert." if self.labels else ""

        def linear(name, n_out, n_in):
            return [(name + ".weight", [n_out, n_in], "weight"), (name + ".bias", [n_out], "bias")]

        def norm(name):
            return [(name + ".weight", [h], "scale"), (name + ".bias", [h], "bias")]

        out = [(f"{prefix}embeddings.{name}_embeddings.weight", [n, h], "weight")
               for name, n in (("word", self.vocabulary), ("position", self.positions), ("token_type", 2))]
        out += norm(prefix + "embeddings.LayerNorm")
        for i in range(self.layers):
            layer = f"{prefix}encoder.layer.{i}."
            for name in ("query", "key", "value"):
                out += linear(layer + "attention.self." + name, h, h)
            out += linear(layer + "attention.output.dense", h, h) + norm(layer + "attention.output.LayerNorm")
            out += linear(layer + "intermediate.dense", self.inner, h) + linear(layer + "output.dense", h, self.inner)
            out += norm(layer + "output.LayerNorm")
        if self.labels:
            out += linear(prefix + "pooler.dense", h, h) + linear("classifier", self.labels, h)
        return out

    def config(self):
        config = {"architectures": ["BertForSequenceClassification" if self.labels else "BertModel"],
                  "model_type": "bert", "hidden_act": "gelu", "hidden_size": self.hidden,
                  "intermediate_size": self.inner, "layer_norm_eps": 1e-12,
                  "max_position_embeddings": self.positions, "num_attention_heads": self.heads,
                  "num_hidden_layers": self.layers, "pad_token_id": 0, "type_vocab_size": 2,
                  "vocab_size": self.vocabulary}
        if self.labels:
            config["id2label"] = {str(i): f"label {i}" for i in range(self.labels)}
            config["label2id"] = {f"label {i}": i for i in range(self.labels)}
        return config


TINY = Shape(1, 8, 2, 16, positions=128, labels=4)
MINILM = Shape(6, 384, 12, 1536)
BERT_BASE = Shape(12, 768, 12, 3072)


def count(dims):
    n = 1
    for d in dims:
        n *= d
    return n


def numbers(kind, dtype, seed):
    """64 Ki random numbers as bytes: weights as BERT's are at first (deviation 0.02)."""
    rng = random.Random(seed)
    centre, spread = (1, 0.02) if kind == "scale" else (0, 0.02)
    values = [rng.gauss(centre, spread) for _ in range(1 << 16)]
    return struct.pack(f"<{len(values)}e", *values) if dtype == "F16" else array.array("f", values).tobytes()


def write_safetensors(path, tensors, dtype):
    """Tensors of random numbers; a few blocks of them are used again and again."""
    blocks = {kind: numbers(kind, dtype, i) for i, kind in enumerate(("weight", "bias", "scale"))}
    size = 2 if dtype == "F16" else 4
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, dims, _ in tensors:
        header[name] = {"dtype": dtype, "shape": dims, "data_offsets": [at, at + count(dims) * size]}
        at += count(dims) * size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for i, (_, dims, kind) in enumerate(tensors):
            block, left = blocks[kind], count(dims) * size
            start = i * 97 * size % len(block)  # not the same numbers in every tensor
            while left > 0:
                part = block[start:start + left]
                f.write(part)
                left -= len(part)
                start = 0
    return at


def write_vocabulary(path, n):
    """BERT's first tokens in their places, letters, and made-up words up to n tokens."""
    tokens = ["[PAD]"] + [f"[unused{i}]" for i in range(99)] + ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'\"-"
    tokens += list(letters) + ["##" + c for c in letters]
    tokens += "the a of to and in is it you that he was for on are with as i his they be at one have this".split()
    tokens += "love film wonderful where my new card what not but all were we when your can said there".split()
    seen = set(tokens)
    rng = random.Random(0)
    while len(tokens) < n:
        word = "".join(rng.choice(letters[:26]) for _ in range(rng.randint(2, 8)))
        word = rng.choice(("", "##")) + word
        if word not in seen:
            seen.add(word)
            tokens.append(word)
    with open(path, "w") as f:
        f.write("\n".join(tokens[:n]) + "\n")


def write_bert(folder, shape, dtype="F32"):
    """A Hugging Face folder with random weights; bytes of its weights in float32."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(shape.config(), f)
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
        json.dump({"tokenizer_class": "BertTokenizer", "do_lower_case": True,
                   "model_max_length": shape.positions}, f)
    write_vocabulary(os.path.join(folder, "vocab.txt"), shape.vocabulary)
    write_safetensors(os.path.join(folder, "model.safetensors"), shape.tensors(), dtype)
    return sum(count(dims) for _, dims, _ in shape.tensors()) * 4


# --- results ------------------------------------------------------------------------------------

def median(values):
    return statistics.median(values)


class Verdict:
    """Figures with targets; `code` is 1 when one was missed."""

    def __init__(self):
        self.code = 0

    def ratio(self, what, value, target, at_least, digits=2):
        met = value >= target if at_least else value <= target
        sign = "at least" if at_least else "at most"
        print(f"{what:58} {value:8.{digits}f}   target {sign} {target:g}: {'met' if met else 'MISSED'}")
        if not met:
            self.code = 1
