#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The training scripts of examples/ on a handful of made-up items: they run with this torch, ensod serves
what they write as it is, and its logits are those that the script found before it saved.

    tests/parity/examples_parity.py BUILD_DIR

Nothing is learned here; the models that were are in models/ (tests/end_to_end/check_models.py)."""

import gzip
import io
import json
import os
import random
import struct
import subprocess
import sys
import tarfile
import tempfile
import time

try:
    import numpy
    import onnx  # noqa: F401: export_onnx.py needs it
    import PIL.Image
    import torch
    import transformers
except ImportError as e:
    print(f"skipped: {e}; tests/parity/run and Debian's python3-onnx bring what is needed")
    sys.exit(77)

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ITEMS = 240
LABELS = ["lost_card", "change_pin", "top_up", "exchange_rate"]


def write_fashion(folder, rng):
    """28 x 28 noise, brighter from label to label."""
    labels = numpy.arange(ITEMS, dtype=numpy.uint8) % 10
    pixels = rng.integers(0, 128, (ITEMS, 28, 28)).astype(numpy.uint8) + 10 * labels[:, None, None]
    with gzip.open(os.path.join(folder, "train-images-idx3-ubyte.gz"), "wb") as f:
        f.write(struct.pack(">4I", 2051, ITEMS, 28, 28) + pixels.tobytes())
    with gzip.open(os.path.join(folder, "train-labels-idx1-ubyte.gz"), "wb") as f:
        f.write(struct.pack(">2I", 2049, ITEMS) + labels.tobytes())


def write_cifar(folder, rng):
    """JPEG files in a tar, a folder a class."""
    names = [f"class{i}" for i in range(10)]
    with tarfile.open(os.path.join(folder, "train-50000.tar.gz"), "w:gz") as archive:
        for i in range(ITEMS):
            file = io.BytesIO()
            PIL.Image.fromarray(rng.integers(0, 256, (32, 32, 3)).astype(numpy.uint8)).save(file, "JPEG")
            member = tarfile.TarInfo(f"train/{names[i % 10]}/{i:04}.jpg")
            member.size = file.tell()
            file.seek(0)
            archive.addfile(member, file)


def write_intents(folder, rng):
    """Sentences of the label's own words and of some others."""
    pick = random.Random(int(rng.integers(1 << 30)))
    with open(os.path.join(folder, "train.csv"), "w", encoding="utf-8") as f:
        f.write("text,category\n")
        for i in range(ITEMS):
            words = LABELS[i % 4].split("_") + pick.sample("please help me with my new bank account today".split(), 4)
            pick.shuffle(words)
            f.write(f"\"{' '.join(words)}?\",{LABELS[i % 4]}\n")


def write_texts(folder, rng):
    """All the texts of train_embeddings.py: questions, tweets, two books."""
    os.makedirs(os.path.join(folder, "banking77"))
    write_intents(os.path.join(folder, "banking77"), rng)
    with open(os.path.join(folder, "banking77", "train.csv"), encoding="utf-8") as f:
        texts = [line.split('"')[1].replace("?", ".") for line in f.readlines()[1:]]
    os.makedirs(os.path.join(folder, "wnut17-ner"))
    with open(os.path.join(folder, "wnut17-ner", "train.conll"), "w", encoding="utf-8") as f:
        f.writelines("".join(f"{word}\tO\n" for word in ["Tweet:", *text.split()]) + "\n" for text in texts[:60])
    for book in ("tinyshakespeare", "botchan"):
        with open(os.path.join(folder, book + ".txt"), "w", encoding="utf-8") as f:
            f.writelines(f"{book} says {text}\n\n" for text in texts[:60])


def write_teacher(folder):
    """A teacher of two narrow layers that knows nothing."""
    sys.path.insert(0, os.path.join(TOP, "examples"))
    import texts
    words = " ".join(LABELS).replace("_", " ") + ", please help me with my new bank account"
    tokenizer = texts.train_vocabulary([words] * 9, 300)
    torch.manual_seed(3)
    transformers.BertModel(transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        max_position_embeddings=128)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


SMALL = ["--epochs", "1", "--validation", "40", "--batch", "64"]
CASES = {
    "fashion": ("train_fashion.py", write_fashion, SMALL),
    "cifar": ("train_cifar.py", write_cifar, SMALL),
    "intents": ("train_intents.py", write_intents, [*SMALL, "--vocabulary", "300", "--hidden", "64", "--inner", "64"]),
    "taught": ("train_intents.py", write_intents, [*SMALL, "--vocabulary", "300", "--hidden", "64", "--inner", "64",
                                                   "--teacher", "TEACHER", "--teacher-epochs", "1", "--variations", "1"]),
    "embeddings": ("train_embeddings.py", write_texts, [*SMALL, "--vocabulary", "300", "--inner", "64",
                                                        "--teacher", "TEACHER", "--variations", "1"]),
}


def train(name, folder):
    """Run a script as a reader would; gives back the answers that it wrote down before it saved."""
    script, write, options = CASES[name]
    data, out = os.path.join(folder, "data", name), os.path.join(folder, "models", name)
    os.makedirs(data)
    write(data, numpy.random.default_rng(5))
    golden = os.path.join(folder, name + ".json")
    options = [os.path.join(folder, "teacher") if o == "TEACHER" else o for o in options]
    run = subprocess.run([sys.executable, os.path.join(TOP, "examples", script), "--data", data, "--out", out,
                          "--golden", golden, "--threads", "2", *options],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"{script} ended with {run.returncode}:\n{run.stdout}")
    with open(golden, encoding="utf-8") as f:
        return json.load(f)


def ask(daemon, model, item):
    """The logits, or the embedding, that ensod answers to an item of a golden file."""
    if "embedding" in item:
        status, _, answer = daemon.post("/v1/embeddings", {"model": model, "input": item["text"]})
    elif "text" in item:
        status, _, answer = daemon.post("/v1/classify", {"model": model, "input": item["text"], "raw_scores": True})
    else:
        with open(os.path.join(TOP, item["file"]), "rb") as f:
            status, _, body = daemon.request("POST", f"/v1/classify?model={model}&raw_scores=true", f.read(),
                                             {"Content-Type": "image/png"})
        answer = json.loads(body)
    if status != 200:
        raise RuntimeError(f"{model}: {answer}")
    row = answer["data"][0]
    return row["embedding"] if "embedding" in item else row["probs"]


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} BUILD_DIR")
    os.environ.update(top_builddir=sys.argv[1], top_srcdir=TOP)
    sys.path.insert(0, os.path.join(TOP, "tests", "end_to_end"))
    from daemon import Daemon  # reads where the build is from the environment
    print(f"\nexamples/ with torch {torch.__version__}, transformers {transformers.__version__}, onnx {onnx.__version__}")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="ensod-examples-") as folder:
        golden = {}
        write_teacher(os.path.join(folder, "teacher"))
        for name in CASES:
            started = time.monotonic()
            golden[name] = train(name, folder)
            print(f"{name:12} {CASES[name][0]:22} ran in {time.monotonic() - started:.0f} s", flush=True)
        daemon = Daemon(models=(os.path.join(folder, "models"),))
        for name, told in golden.items():
            pairs = [(ask(daemon, name, item), item.get("logits") or item["embedding"]) for item in told["items"]]
            off = max(float(numpy.abs(numpy.subtract(*pair)).max()) for pair in pairs)
            good = off <= told["tolerance"]
            failed += not good
            print(f"{name:35} {len(told['items'])} inputs, off by {off:.1e} of {told['tolerance']:g} allowed"
                  f"{'' if good else '  FAILED'}")
        daemon.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
