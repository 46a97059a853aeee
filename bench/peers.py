#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ensod against ONNX Runtime: the same random weights, the same inputs, round by round.

    /usr/bin/python3 -m venv --system-site-packages .venv/bench
    .venv/bench/bin/pip install onnxruntime transformers==4.30.2
    .venv/bench/bin/python bench/peers.py [--build DIR] [--rounds N] [--only WORD] [--no-engine]

with Debian's python3-torch (1.13), python3-torchvision and python3-numpy, which export the models.
(4.30 is the last series of transformers that takes torch 1.13.)

  MiniLM-L6, BERT-base   one text of 128 tokens; 32 sentences of mixed length, as one request
  ResNet-50              one picture and 8 pictures of 224 x 224, as tensors

"ensod" is the whole way over HTTP, as a user sees it: texts as token ids to /v1/embeddings (mean
pooling, base64), pictures as binary tensors to /v2. "engine" is ensod's engine alone (tests/engine/
model/run_cli, through a pipe), where it is built. ONNX Runtime runs in this process on the graph that
torch.onnx exports (mean pooling in the graph, too), all its optimisations on; sentences are padded
to the longest. Results are compared: an answer that is off by more than 1e-3 ends the bench.

Prints a Markdown table: medians in milliseconds; a ratio above 1 says that ensod is faster."""

import argparse
import base64
import csv
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time

import harness

try:
    import numpy
    import onnxruntime
    import torch
    import torchvision
    import transformers
except ImportError as error:
    print(f"skipped: {error}; see the head of {__file__}")
    sys.exit(77)

PAUSE = 0.03  # the peer's threads spin for a while after their work

# Numbers of words of 32 sentences of film reviews, where $ENSO_SHARED has no texts.
WORDS = [27, 10, 21, 33, 8, 18, 42, 14, 24, 5, 19, 30, 12, 22, 16, 37, 9, 25, 20, 11, 28, 17, 46, 7,
         23, 15, 35, 13, 26, 19, 31, 6]


# --- models and inputs --------------------------------------------------------------------------

class Pooled(torch.nn.Module):
    """BERT and the mean over the tokens that are there."""

    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, input_ids, attention_mask, token_type_ids):
        hidden = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)[0]
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)


def make_bert(folder, shape):
    harness.write_bert(folder, shape)
    transformers.logging.set_verbosity_error()  # the pooler is not there, and not needed
    bert = Pooled(transformers.BertModel.from_pretrained(folder, add_pooling_layer=False)).eval()
    ids = torch.full((2, 8), 2000)
    path = os.path.join(folder, "..", os.path.basename(folder) + ".onnx")
    axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "attention_mask", "token_type_ids")}
    torch.onnx.export(bert, (ids, torch.ones_like(ids), torch.zeros_like(ids)), path, opset_version=14,
                      input_names=list(axes), output_names=["embedding"],
                      dynamic_axes={**axes, "embedding": {0: "batch"}}, do_constant_folding=True)
    return path


def make_resnet(folder):
    os.makedirs(folder)
    torch.manual_seed(0)
    net = torchvision.models.resnet50(weights=None).eval()
    path = os.path.join(folder, "model.onnx")
    torch.onnx.export(net, torch.zeros(1, 3, 224, 224), path, opset_version=13, input_names=["image"],
                      output_names=["logits"], dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}})
    return path


def mixed_lengths():
    """Tokens of 32 sentences: words of real ones, a sixth more for pieces, two special tokens."""
    words = WORDS
    path = os.path.join(harness.SHARED, "data/text/sst2/test-even-rows.tsv")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            words = [len(row[1].split()) for row in csv.reader(f, delimiter="\t", quoting=csv.QUOTE_NONE)][:32]
    return [min(n + n // 6 + 2, 128) for n in words]


def token_ids(lengths):
    rng = numpy.random.default_rng(0)
    return [rng.integers(1000, 30000, n).tolist() for n in lengths]


# --- the three ways to run ----------------------------------------------------------------------

class Peer:
    def __init__(self, path, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def texts(self, ids):
        longest = max(map(len, ids))
        mask = numpy.array([[1] * len(i) + [0] * (longest - len(i)) for i in ids], numpy.int64)
        padded = numpy.array([i + [0] * (longest - len(i)) for i in ids], numpy.int64)
        feed = {"input_ids": padded, "attention_mask": mask, "token_type_ids": numpy.zeros_like(mask)}
        return lambda: self.session.run(None, feed)[0]

    def pictures(self, x):
        return lambda: self.session.run(None, {"image": x})[0]


class Http:
    def __init__(self, daemon, model):
        self.connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=120)
        self.model = model

    def post(self, path, body, headers):
        self.connection.request("POST", path, body, headers)
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            sys.exit(f"ensod: HTTP {answer.status}: {data[:500]}")
        return answer, data

    def texts(self, ids):
        body = json.dumps({"model": self.model, "input": ids, "encoding_format": "base64"}).encode()

        def run():
            rows = json.loads(self.post("/v1/embeddings", body, {"Content-Type": "application/json"})[1])["data"]
            return numpy.stack([numpy.frombuffer(base64.b64decode(r["embedding"]), "<f4") for r in rows])
        return run

    def pictures(self, x):
        blob = x.tobytes()
        head = json.dumps({"inputs": [{"name": "image", "shape": list(x.shape), "datatype": "FP32",
                                       "parameters": {"binary_data_size": len(blob)}}],
                           "parameters": {"binary_data_output": True}}).encode()
        headers = {"Content-Type": "application/octet-stream",
                   "Inference-Header-Content-Length": str(len(head))}

        def run():
            answer, data = self.post(f"/v2/models/{self.model}/infer", head + blob, headers)
            return numpy.frombuffer(data[int(answer.headers["Inference-Header-Content-Length"]):],
                                    "<f4").reshape(len(x), -1)
        return run


class Engine:
    def __init__(self, build, folder, threads):
        self.process = subprocess.Popen(
            [os.path.join(build, "tests/engine/model/run_cli"), "--threads", str(threads), folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)

    def run(self, items):
        self.process.stdin.write(json.dumps(items).encode() + b"\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if isinstance(answer, dict):
            sys.exit(f"run_cli: {answer['error']}")
        return numpy.array([item[0]["values"] for item in answer], numpy.float32)

    def texts(self, ids):
        items = [{"ids": i, "want": "pooled"} for i in ids]
        return lambda: self.run(items)

    def pictures(self, x):
        file = tempfile.NamedTemporaryFile()
        x.tofile(file.name)
        items = [{"inputs": [{"dtype": "FP32", "shape": list(x.shape), "file": file.name}], "keep": file.name}]
        hold = file  # removed with the closure

        def run():
            assert hold
            return self.run(items).reshape(len(x), -1)
        return run


# --- measuring ----------------------------------------------------------------------------------

def error(a, b):
    return float(numpy.abs(a - b).max() / numpy.abs(b).max())


def interleave(runs, rounds):
    """Median seconds of each."""
    reference = runs["peer"]()
    for name, run in runs.items():  # warm-up, and do they agree?
        if (off := error(run(), reference)) > 1e-3:
            sys.exit(f"{name} is off by {off:.1e}")
    seconds = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: harness.median(values) for name, values in seconds.items()}


def row(title, threads, m):
    ms = {name: f"{1e3 * value:.1f}" for name, value in m.items()}
    cells = [title, str(threads), ms["peer"], ms["ensod"], f"{m['peer'] / m['ensod']:.2f}"]
    if "engine" in m:
        cells += [ms["engine"], f"{m['peer'] / m['engine']:.2f}"]
    print("| " + " | ".join(cells) + " |", flush=True)


def measure(options, folder, path, cases, kind):
    name = os.path.basename(folder)
    for threads in (1, 2):
        with harness.Daemon(options.build, folder, options=["--threads", str(threads)]) as daemon:
            peer, http_way = Peer(path, threads), Http(daemon, name)
            engine = Engine(options.build, folder, threads) if options.engine else None
            for title, given in cases:
                runs = {"peer": getattr(peer, kind)(given), "ensod": getattr(http_way, kind)(given)}
                if engine is not None:
                    runs["engine"] = getattr(engine, kind)(given)
                row(f"{name}, {title}", threads, interleave(runs, options.rounds))
            if engine is not None:
                engine.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(harness.TOP, "build"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="models whose name holds this word")
    parser.add_argument("--no-engine", dest="engine", action="store_false")
    options = parser.parse_args()
    options.engine = options.engine and os.path.exists(os.path.join(options.build, "tests/engine/model/run_cli"))
    texts = [("1 x 128 tokens", token_ids([128])),
             ("32 mixed, %d tokens, longest %d" % (sum(mixed_lengths()), max(mixed_lengths())),
              token_ids(mixed_lengths()))]
    rng = numpy.random.default_rng(0)
    pictures = [(f"{n} x 224 x 224", rng.standard_normal((n, 3, 224, 224), numpy.float32)) for n in (1, 8)]
    print(f"ONNX Runtime {onnxruntime.__version__}, torch {torch.__version__}, {options.rounds} rounds; "
          "medians in ms\n")
    heads = ["case", "threads", "ONNX Runtime", "ensod, HTTP", "ratio"]
    heads += ["engine alone", "ratio"] if options.engine else []
    print("| " + " | ".join(heads) + " |\n|---|" + "--:|" * (len(heads) - 1), flush=True)
    with tempfile.TemporaryDirectory(prefix="ensod-bench-") as top:
        for name, shape in (("MiniLM-L6", harness.MINILM), ("BERT-base", harness.BERT_BASE)):
            if options.only in name:
                folder = os.path.join(top, name)
                measure(options, folder, make_bert(folder, shape), texts, "texts")
        if options.only in "ResNet-50":
            folder = os.path.join(top, "ResNet-50")
            measure(options, folder, make_resnet(folder), pictures, "pictures")


if __name__ == "__main__":
    main()
