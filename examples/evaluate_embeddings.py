#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Judge models/embeddings through the daemon, against its teacher, on texts that it did not learn from.

    examples/evaluate_embeddings.py --data text --teacher all-MiniLM-L6-v2

Starts ensod with models/, asks it for the vectors of the test texts, computes the teacher's with
PyTorch, and writes models/embeddings/similarity.json and the figures of the card:

spearman    do both put all pairs of texts into the same order of likeness?
retrieval   has the nearest train text of a banking77 test text the same intent?
"""
import argparse
import http.client
import json
import os
import socket
import subprocess
import sys

import torch
from transformers import AutoTokenizer, BertModel

import evaluate_models
import texts as shared
import train_embeddings
import training


def ask_daemon(path, texts):
    """Vectors of length 1 from POST /v1/embeddings over a Unix socket, 500 texts a request."""
    rows = []
    for i in range(0, len(texts), 500):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(path)
        connection.request("POST", "/v1/embeddings", json.dumps({"model": "embeddings", "input": texts[i:i + 500]}))
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            sys.exit(f"the daemon answered {answer.status}: {body.decode()}")
        rows += [row["embedding"] for row in json.loads(body)["data"]]
        connection.close()
    return torch.tensor(rows)


def retrieval(train, test, train_intents, test_intents):
    nearest = (test @ train.T).argmax(1).tolist()
    return sum(train_intents[j] == intent for j, intent in zip(nearest, test_intents)) / len(test_intents)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True, help="the folder that train_embeddings.py takes, with the test files too")
    p.add_argument("--teacher", required=True, help="folder of all-MiniLM-L6-v2")
    p.add_argument("--build", default=os.path.join(evaluate_models.TOP, "build"), help="where ensod and enso are")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    args = p.parse_args()
    args.device, args.precision = "cpu", "fp32"
    torch.set_num_threads(args.threads)

    folder = os.path.join(args.data, "banking77")
    train, test = shared.read_banking77(folder, "train"), shared.read_banking77(folder, "test")
    parts = train_embeddings.read(args.data, "test")
    parts = {"banking77": [text for text, _ in test], **{k: v for k, v in parts.items() if k != "banking77"}}
    texts = [text for part in parts.values() for text in part] + [text for text, _ in train]

    with evaluate_models.Daemon(args.build) as daemon:
        mine = ask_daemon(daemon.server[len("unix:"):], texts)
    tokenizer = AutoTokenizer.from_pretrained(args.teacher)
    teacher = train_embeddings.Encoder(BertModel.from_pretrained(args.teacher, add_pooling_layer=False))
    theirs, = shared.answers(teacher, shared.encode(tokenizer, texts), args)

    n_test, start, rows = len(texts) - len(train), 0, []
    for source, part in parts.items():
        end = start + len(part)
        rows.append({"source": source, "texts": len(part),
                     "spearman": round(train_embeddings.spearman(mine[start:end], theirs[start:end]), 4)})
        start = end
    rows.append({"source": "all", "texts": n_test,
                 "spearman": round(train_embeddings.spearman(mine[:n_test], theirs[:n_test]), 4)})
    intents = [intent for _, intent in train], [intent for _, intent in test]
    right = {name: round(retrieval(v[n_test:], v[:len(test)], *intents), 4) for name, v in
             (("student", mine), ("teacher", theirs))}
    report = {"model": "embeddings", "spearman": rows, "retrieval": {"items": len(test), "among": len(train), **right}}
    out = os.path.join(evaluate_models.TOP, "models", "embeddings")
    training.write_json(os.path.join(out, "similarity.json"), report)
    print(json.dumps(report, indent=2))
    subprocess.run([sys.executable, os.path.join(evaluate_models.TOP, "examples", "write_card.py")], check=True)


if __name__ == "__main__":
    main()
