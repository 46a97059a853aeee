#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Text models in ensod against transformers: the shapes of real ones, random weights.

    tests/parity/transformers_parity.py BUILD_DIR

Needs torch, transformers and safetensors (tests/parity/run makes a virtualenv with them). Compares
logits, pooled embeddings and rows per token of ragged batches, from one token to the longest, and
checks that a batch gives the same bits as its inputs alone.
"""
import os
import random
import sys

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")

try:
    import torch
    import transformers
    from transformers import (AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel,
                              BertTokenizerFast, DistilBertConfig,
                              DistilBertForSequenceClassification)
except ImportError as e:
    print(f"skipped: {e}; tests/parity/run installs what is needed")
    sys.exit(77)

import json

from parity import TOP, Engine, Table, arguments, error, scratch

transformers.logging.set_verbosity_error()
SYLLABLES = [a + b for a in "bcdfghjklmnprstvwz" for b in "aeiou"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def vocabulary(n):
    """n tokens: letters, syllables, words of two and three of them, and their continuations."""
    words = SPECIAL + list("abcdefghijklmnopqrstuvwxyz.,!?") + SYLLABLES
    words += ["##" + w for w in words[5:]]
    words += [a + b for a in SYLLABLES for b in SYLLABLES]
    words += ["##" + a + b for a in SYLLABLES for b in SYLLABLES]
    words += [a + b + c for a in SYLLABLES for b in SYLLABLES for c in "bdgklmnrst"]
    words = list(dict.fromkeys(words))
    assert len(words) >= n
    return words[:n]


def write_tokenizer(folder, n):
    path = os.path.join(folder, "vocab.txt")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(vocabulary(n)) + "\n")
    tok = BertTokenizerFast(path, do_lower_case=True, model_max_length=512)
    tok.save_pretrained(folder)
    return tok


def randomise(model, seed):
    """Wide enough that attention and activations are far from flat."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if p.dim() == 1:
            centre = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            p.data = torch.randn(p.shape, generator=generator) * 0.2 + centre
        else:
            spread = 1.0 if "embeddings" in name else 1.2 * p.shape[1] ** -0.5
            p.data = torch.randn(p.shape, generator=generator) * spread
    return model.eval()


def sentences(n, seed):
    rng = random.Random(seed)
    words = vocabulary(8000)[130:]
    return [" ".join(rng.choice(words).lstrip("#") for _ in range(rng.choice([0, 1, 5, 12, 30, 90])))
            + rng.choice([".", "?", "! Ünd mehr ☃", ""]) for _ in range(n)]


def items_of(tok, lengths, seed):
    """Token ids of exactly these lengths, texts, pairs."""
    rng = random.Random(seed)
    items = [{"ids": [2] + [rng.randrange(5, len(tok)) for _ in range(n - 1)]} for n in lengths]
    texts = sentences(8, seed)
    items += [{"text": t} for t in texts]
    # no empty second text: transformers' fast tokenizers leave it out, tokenizers itself does not
    items += [{"text": a, "pair": b + " and"} for a, b in zip(texts, texts[3:6])]
    rng.shuffle(items)
    return items


def inputs_of(tok, item, segments):
    if "ids" in item:
        return {"input_ids": torch.tensor([item["ids"]])}
    out = tok(item["text"], item.get("pair"), truncation=True, max_length=tok.model_max_length,
              return_tensors="pt")
    keep = ("input_ids", "token_type_ids") if segments else ("input_ids",)
    return {k: out[k] for k in keep}


def compare(table, cli, name, folder, tok, forward, model, items, segments=True, isa="auto", batch=8):
    """forward(model, inputs) gives the item's output [1, n] or [tokens, n]."""
    try:
        with Engine(cli, folder, isa) as engine:
            together = [out[0] for i in range(0, len(items), batch)
                        for out in engine.run(items[i:i + batch])]
            alone = [engine.run([item])[0][0] for item in items[:6]]
    except RuntimeError as e:
        table.problem(name, e)
        return
    errors, single = [0.0], [0.0]
    with torch.no_grad():
        inputs = [inputs_of(tok, item, segments) for item in items]
        in_float32 = [forward(model, i) for i in inputs]
        model.double()
        for i, mine, other in zip(inputs, together, in_float32):
            should = forward(model, i)
            errors.append(error(mine, should))
            single.append(error(other, should))
        model.float()
    tokens = sum(i["input_ids"].shape[1] for i in inputs)
    bits = all((a == t).all() for a, t in zip(alone, together))
    table.row(f"{name} ({isa})", f"{len(items)} of {tokens} tokens", max(errors), max(single), bits)


def logits(model, inputs):
    return model(**inputs).logits


def mean_normalised(model, inputs):
    return torch.nn.functional.normalize(model(**inputs).last_hidden_state.mean(1), dim=1)


def rows(model, inputs):
    return model(**inputs).last_hidden_state[0]


def sentence_transformers_files(folder, width, max_length):
    for sub in ("1_Pooling", "2_Normalize"):
        os.makedirs(os.path.join(folder, sub))
    files = {
        "modules.json": [{"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{t}"}
                         for i, (p, t) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"),
                                                     ("2_Normalize", "Normalize")])],
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": width, "pooling_mode_cls_token": False,
                                  "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False,
                                  "pooling_mode_mean_sqrt_len_tokens": False}}
    for name, content in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            json.dump(content, f)


LENGTHS = [1, 2, 3, 7, 16, 31, 65, 128, 512]


def bert_base(table, cli):
    """BERT-base but for its depth: 4 layers of 12."""
    with scratch() as folder:
        tok = write_tokenizer(folder, 30522)
        model = randomise(BertForSequenceClassification(BertConfig(num_hidden_layers=4, num_labels=77)), 1)
        model.save_pretrained(folder)
        items = items_of(tok, LENGTHS, 1)
        compare(table, cli, "BERT-base shape, 4 layers, 77 labels", folder, tok, logits, model, items)


def distilbert(table, cli):
    with scratch() as folder:
        tok = write_tokenizer(folder, 20000)
        config = DistilBertConfig(vocab_size=20000, n_layers=3, num_labels=2)
        model = randomise(DistilBertForSequenceClassification(config), 2)
        model.save_pretrained(folder, max_shard_size="60MB")
        compare(table, cli, "DistilBERT shape, 3 layers, shards", folder, tok, logits, model,
                items_of(tok, LENGTHS, 2), segments=False)


def minilm(table, cli):
    """all-MiniLM-L6's shape as a sentence-transformers folder, and bare."""
    with scratch() as folder:
        tok = write_tokenizer(folder, 30522)
        config = BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536)
        model = randomise(BertModel(config, add_pooling_layer=False), 3)
        for p in model.parameters():
            p.data = p.data.half().float()
        model.half().save_pretrained(folder)
        model.float()
        tok.model_max_length = 256
        items = items_of(tok, [n for n in LENGTHS if n <= 256], 3)
        for item in items:
            item["want"] = "tokens"
        compare(table, cli, "MiniLM-L6 shape, F16 file, rows", folder, tok, rows, model, items[:9])
        sentence_transformers_files(folder, 384, 256)
        for item in items:
            item["want"] = "pooled"
        compare(table, cli, "MiniLM-L6 shape, mean, normalised", folder, tok, mean_normalised, model, items)
        compare(table, cli, "MiniLM-L6 shape, mean, normalised", folder, tok, mean_normalised, model,
                items[:8], isa="generic")


def bundled(table, cli):
    """The models that come with ensod."""
    texts = [{"text": t} for t in ("The machine swallowed my card.", "", "hi", "Where is my new card?",
                                   "What is the exchange rate for dollars in Tokyo? " * 20)]
    folder = os.path.join(TOP, "models/intents")
    model = BertForSequenceClassification.from_pretrained(folder, torch_dtype=torch.float32).eval()
    compare(table, cli, "models/intents", folder, AutoTokenizer.from_pretrained(folder), logits, model, texts)
    folder = os.path.join(TOP, "models/embeddings")
    model = BertModel.from_pretrained(folder, torch_dtype=torch.float32, add_pooling_layer=False).eval()
    compare(table, cli, "models/embeddings", folder, AutoTokenizer.from_pretrained(folder), mean_normalised,
            model, texts)


def main():
    cli = arguments()
    table = Table(f"transformers {transformers.__version__}, torch {torch.__version__}")
    bundled(table, cli)
    minilm(table, cli)
    distilbert(table, cli)
    bert_base(table, cli)
    return table.finish()


if __name__ == "__main__":
    sys.exit(main())
