#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small text models with random weights and what transformers makes of some texts.

    python3 tests/engine/model/golden/make_text.py

Writes a folder per case beside itself: the model as Hugging Face or sentence-transformers keep it,
and expected.json with logits or embeddings computed in float64. Made with torch 1.13 and
transformers 4.46.3; pooling, projection and normalisation of sentence-transformers are a few lines
of torch here. Deterministic for one version of torch.
"""
import copy
import os

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")

import torch
from safetensors.torch import load_file, save_file
from transformers import (BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel,
                          BertTokenizerFast, DistilBertConfig,
                          DistilBertForSequenceClassification, DistilBertModel)

from golden import fresh_folder, numbers, write_expected, write_json

LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list(".,!?'") + list(LETTERS)
              + ["##" + c for c in LETTERS]
              + "the my card machine swallowed where is new cat sat on mat and not good bad".split()
              + ["##ing", "##ed", "é", "##é"])

TEXTS = ["The machine swallowed my card.", "", "cat", "Where is my new card?", "café ☃ naïve!",
         "the cat sat on the mat, and the mat is not good", "a b c d e f g h i j k l m n o p q r s t"]
LONG = "the cat sat on the mat and " * 12
PAIRS = [("where is the cat", "on the mat"), ("", "bad"), ("good", "!"), (LONG, "swallowed")]


def tokenizer(folder, kind, max_length):
    """kind: "json" leaves tokenizer.json alone, "vocab" leaves vocab.txt alone."""
    vocab = os.path.join(folder, "vocab.txt")
    with open(vocab, "w", encoding="utf-8") as f:
        f.write("\n".join(VOCABULARY) + "\n")
    reference = BertTokenizerFast(vocab, do_lower_case=True, strip_accents=False,
                                  model_max_length=max_length)
    write_json(os.path.join(folder, "tokenizer_config.json"),
               {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": False,
                "model_max_length": max_length})
    if kind == "json":
        reference.backend_tokenizer.save(os.path.join(folder, "tokenizer.json"), pretty=False)
        os.remove(vocab)
    return reference


def randomise(model, seed):
    """Weights that keep the size of what flows through, norms and biases that matter."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if "LayerNorm" in name or "layer_norm" in name:
            spread, centre = 0.3, 1.0 if name.endswith("weight") else 0.0
        elif p.dim() == 1:
            spread, centre = 0.3, 0.0
        elif "embeddings" in name:
            spread, centre = 0.8, 0.0
        else:
            spread, centre = p.shape[1] ** -0.5 * 1.2, 0.0
        p.data = torch.randn(p.shape, generator=generator) * spread + centre
    return model.eval()


def bert_config(**changes):
    config = dict(vocab_size=len(VOCABULARY), hidden_size=32, num_hidden_layers=2,
                  num_attention_heads=4, intermediate_size=48, max_position_embeddings=40,
                  type_vocab_size=2, layer_norm_eps=1e-3)
    return BertConfig(**{**config, **changes})


def distilbert_config(**changes):
    config = dict(vocab_size=len(VOCABULARY), dim=24, n_layers=2, n_heads=2, hidden_dim=40,
                  max_position_embeddings=40)
    return DistilBertConfig(**{**config, **changes})


def save(model, folder, dtype=torch.float32, rename=None, **how):
    """Weights rounded to dtype in file and model alike; the model goes on in float64."""
    for p in model.parameters():
        p.data = p.data.to(dtype).to(torch.float32)
    stored = copy.deepcopy(model).to(dtype)
    stored.config.torch_dtype = dtype
    stored.save_pretrained(folder, **how)
    path = os.path.join(folder, "model.safetensors")
    if rename is not None:
        tensors = load_file(path)
        save_file({rename(k): v.contiguous() for k, v in tensors.items()}, path, {"format": "pt"})
    return model.double()


def inputs_of(tok, item, max_length):
    """What the model sees, as tensors [1, n]."""
    if "ids" in item:
        ids = item["ids"][-max_length:] if item.get("truncate_left") else item["ids"][:max_length]
        return {"input_ids": torch.tensor([ids])}
    tok.truncation_side = "left" if item.get("truncate_left") else "right"
    out = tok(item["text"], item.get("pair"), truncation=True, max_length=max_length,
              return_tensors="pt")
    return {k: out[k] for k in ("input_ids", "token_type_ids")}


def items_for(tok, max_length, want, forward):
    """Items with forward(inputs) as values; want is what check_model.c asks for."""
    items = [{"text": t} for t in TEXTS] + [{"text": a, "pair": b} for a, b in PAIRS]
    items += [{"text": LONG}, {"text": LONG, "truncate_left": True},
              {"ids": [2, 60, 70, 80, 3]}, {"ids": [5]}, {"ids": list(range(5, 82))},
              {"ids": list(range(5, 82)), "truncate_left": True}]
    for item in items:
        inputs = inputs_of(tok, item, max_length)
        full = len(item["ids"]) if "ids" in item else \
            len(tok(item["text"], item.get("pair"))["input_ids"])
        with torch.no_grad():
            result = forward(inputs)
        item.update(want=want, n_tokens=inputs["input_ids"].shape[1],
                    truncated=full > max_length, **numbers(result))
    return items


def classifier(name, model, seed, dtype=torch.float32, kind="json", problem=None, **how):
    folder = fresh_folder(name)
    tok = tokenizer(folder, kind, 40)
    distil = model.config.model_type == "distilbert"
    if problem is not None:
        model.config.problem_type = problem
    model = save(randomise(model, seed), folder, dtype, **how)

    def forward(inputs):
        if distil:
            inputs = {"input_ids": inputs["input_ids"]}
        return model(**inputs).logits

    def scores(inputs):
        logits = forward(inputs)
        single = problem == "multi_label_classification" or logits.shape[1] == 1
        return logits.sigmoid() if single else logits.softmax(-1)

    items = items_for(tok, 40, "raw", forward) + items_for(tok, 40, "scores", scores)[:4]
    labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
    write_expected(folder, {"task": "text-classification", "format": "safetensors", "labels": labels,
                            "multi_label": problem is not None or len(labels) == 1,
                            "max_tokens": 40, "architecture": type(model).__name__}, items)


def pool(hidden, modes):
    parts = {"cls": lambda: hidden[:, 0], "mean": lambda: hidden.mean(1),
             "max": lambda: hidden.max(1).values, "last": lambda: hidden[:, -1]}
    return torch.cat([parts[m]() for m in modes], 1)


def encoder(name, model, seed, encode=None, dtype=torch.float32, kind="vocab", rename=None):
    """A bare encoder: the mean over the tokens, and a row per token."""
    folder = fresh_folder(name)
    tok = tokenizer(folder, kind, 40)
    distil = model.config.model_type == "distilbert"
    model = save(randomise(model, seed), folder, dtype, rename)
    base = getattr(model, "bert", model)

    def hidden(inputs):
        if distil or model.config.type_vocab_size == 1:  # no segments: a pair's are left out
            inputs = {"input_ids": inputs["input_ids"]}
        return base(**inputs).last_hidden_state

    items = items_for(tok, 40, "pooled", lambda i: pool(hidden(i), ["mean"]))
    items += items_for(tok, 40, "tokens", lambda i: hidden(i)[0])[:4]
    write_expected(folder, {"task": "feature-extraction", "format": "safetensors",
                            "dimensions": items[0]["shape"][1], "pooling": "mean",
                            "pooling_given": False, "normalized": False, "max_tokens": 40,
                            "architecture": type(model).__name__}, items)


POOLING_KEYS = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens",
                "max": "pooling_mode_max_tokens", "last": "pooling_mode_lasttoken"}


def dense(folder, width_in, width_out, activation, bias, seed):
    os.makedirs(folder)
    generator = torch.Generator().manual_seed(seed)
    tensors = {"linear.weight": torch.randn(width_out, width_in, generator=generator) * 0.3}
    if bias:
        tensors["linear.bias"] = torch.randn(width_out, generator=generator) * 0.3
    save_file(tensors, os.path.join(folder, "model.safetensors"))
    write_json(os.path.join(folder, "config.json"), {
        "in_features": width_in, "out_features": width_out, "bias": bias,
        "activation_function": f"torch.nn.modules.{activation}"})

    def apply(x):
        x = x @ tensors["linear.weight"].double().T
        if bias:
            x = x + tensors["linear.bias"].double()
        return x.tanh() if activation.endswith("Tanh") else x
    return apply


def sentence_transformer(name, model, seed, modes, denses=(), normalize=False, max_length=16,
                         prompt="", sub_folder="", dtype=torch.float32):
    """modules.json and its folders; `denses` are (width, activation, bias)."""
    top = fresh_folder(name)
    folder = os.path.join(top, sub_folder)
    os.makedirs(folder, exist_ok=True)
    tok = tokenizer(folder, "json", 512)
    model = save(randomise(model, seed), folder, dtype)
    distil = model.config.model_type == "distilbert"
    width = (model.config.dim if distil else model.config.hidden_size) * len(modes)
    modules, steps = [(sub_folder, "Transformer"), ("1_Pooling", "Pooling")], []
    os.makedirs(os.path.join(top, "1_Pooling"))
    write_json(os.path.join(top, "1_Pooling/config.json"), {
        "word_embedding_dimension": width // len(modes),
        **{key: mode in modes for mode, key in POOLING_KEYS.items()},
        "pooling_mode_mean_sqrt_len_tokens": False})
    for i, (width_out, activation, bias) in enumerate(denses):
        path = f"{len(modules)}_Dense"
        steps.append(dense(os.path.join(top, path), width, width_out, activation, bias, seed + i))
        modules.append((path, "Dense"))
        width = width_out
    if normalize:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
        steps.append(lambda x: torch.nn.functional.normalize(x, dim=1))
    write_json(os.path.join(top, "modules.json"), [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(modules)])
    write_json(os.path.join(folder, "sentence_bert_config.json"),
               {"max_seq_length": max_length, "do_lower_case": False})
    if prompt:
        write_json(os.path.join(top, "config_sentence_transformers.json"),
                   {"prompts": {"query": prompt}, "default_prompt_name": "query"})

    def forward(inputs):
        if distil:
            inputs = {"input_ids": inputs["input_ids"]}
        x = pool(model(**inputs).last_hidden_state, modes)
        for step in steps:
            x = step(x)
        return x

    items = []
    for item in items_for(tok, max_length, "pooled", forward):
        if prompt and "text" in item:
            asked = dict(item, text=prompt + item["text"])
            inputs = inputs_of(tok, asked, max_length)
            full = len(tok(asked["text"], asked.get("pair"))["input_ids"])
            with torch.no_grad():
                item.update(n_tokens=inputs["input_ids"].shape[1], truncated=full > max_length,
                            **numbers(forward(inputs)))
        items.append(item)
    order = [m for m in ("cls", "max", "mean", "last") if m in modes]
    assert order == modes, "sentence-transformers concatenates in this order"
    write_expected(top, {"task": "feature-extraction", "format": "safetensors", "dimensions": width,
                         "pooling": modes[0] if len(modes) == 1 else "concatenated",
                         "pooling_given": True, "normalized": normalize, "max_tokens": max_length,
                         "architecture": type(model).__name__}, items)


def old_names(name):
    """As checkpoints converted from TensorFlow spell them."""
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def main():
    five = {i: name for i, name in enumerate(["yes", "no", "maybe", "naïve \"quoted\"", "card_swallowed"])}
    classifier("bert_classifier", BertForSequenceClassification(bert_config(
        id2label=five, label2id={v: k for k, v in five.items()})), 1)
    classifier("bert_multi_label_f16", BertForSequenceClassification(bert_config(
        num_labels=3, hidden_size=24, num_attention_heads=2, hidden_act="gelu_new",
        type_vocab_size=3, num_hidden_layers=1)), 2, torch.float16, "vocab",
        "multi_label_classification")
    classifier("bert_one_label_bf16", BertForSequenceClassification(bert_config(
        num_labels=1, hidden_size=20, hidden_act="relu", layer_norm_eps=1e-12)), 3, torch.bfloat16)
    classifier("distilbert_classifier_sharded", DistilBertForSequenceClassification(
        distilbert_config(num_labels=4)), 4, max_shard_size="20KB")
    classifier("distilbert_f16", DistilBertForSequenceClassification(
        distilbert_config(num_labels=2, dim=40, n_heads=5, activation="relu", n_layers=1)), 5,
        torch.float16, "vocab")
    encoder("bert_bare_old_names", BertModel(bert_config(hidden_size=36, num_attention_heads=3,
                                                        num_hidden_layers=1)), 6, rename=old_names)
    encoder("bert_masked_lm", BertForMaskedLM(bert_config(
        num_hidden_layers=1, hidden_act="silu", type_vocab_size=1)), 7, dtype=torch.bfloat16,
        kind="json")
    encoder("distilbert_bare", DistilBertModel(distilbert_config(n_heads=3)), 8, dtype=torch.float16)
    small = dict(num_hidden_layers=1, hidden_size=24, num_attention_heads=2, intermediate_size=32)
    sentence_transformer("st_mean_normalize", BertModel(bert_config(**small)), 9, ["mean"],
                         normalize=True, sub_folder="0_Transformer")
    sentence_transformer("st_cls_dense", BertModel(bert_config(**small)), 10, ["cls"],
                         [(20, "activation.Tanh", True)], dtype=torch.float16)
    sentence_transformer("st_max_two_dense", DistilBertModel(distilbert_config(n_layers=1)), 11,
                         ["max"], [(10, "linear.Identity", False), (7, "activation.Tanh", True)],
                         True, dtype=torch.float16)
    sentence_transformer("st_concatenated_prompt", BertModel(bert_config(**small)), 12,
                         ["cls", "max", "mean", "last"], prompt="where is: ", dtype=torch.bfloat16)


if __name__ == "__main__":
    main()
