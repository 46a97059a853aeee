#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes small models for the tests of the daemon: right in form, random in content.

    tests/end_to_end/make_models.py DIR    write DIR/intents, DIR/fashion, DIR/embeddings

intents      a BERT that names the intent of a sentence to a bank (Hugging Face folder)
fashion      a CNN that names a piece of clothing of 28 x 28 pixels (ONNX with ensod.json)
embeddings   a sentence encoder (sentence-transformers folder)

Their answers mean nothing, and they are a hundred times faster than the bundled ones: tests of
routes, limits and load need many answers and no sense in them. Python's standard library alone, a
quarter of a second, the same bytes everywhere (only arithmetic that IEEE 754 rounds exactly).
"""
import json
import math
import os
import struct
import sys

class Random:
    """SplitMix64 (Steele, Lea, Flood 2014)."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2 ** 64
        z = self.state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2 ** 64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2 ** 64
        return z ^ (z >> 31)

    def uniform(self, n, limit, centre=0.0):
        """n numbers in [centre - limit, centre + limit), exact on every machine."""
        return [centre + limit * ((self.next() >> 11) / 2 ** 52 - 1) for _ in range(n)]


# --- words ------------------------------------------------------------------------------------

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

WORDS = """
a about abroad accept accepted access account activate add address after again age agent all
already also am amount an and another any app apple apply are as ask at atm away back bad balance
bank be because been before being best between bill block blocked bought branch broken but buy by
call can cancel cancelled cannot card cards case cash change charge charged cheap check cheque city
claim clean clear close closed code cold come company compute contact contactless convert copy cost
could country credit currency customer daily damaged dark date day days debit decline declined delay
delete deliver delivered delivery deposit detail details did different direct do document does dollar
done down early easy eat email end enough error euro even ever every exchange expire expired expires
explain extra failed far fast fee fees find fine first food for forgot found fraud free friend from
full funds get give given go going gone good got great had happen happened has have he hello help her
here high him his hold holiday home hot hour hours house how i id if in incorrect insurance interest
into is it its job just keep know lady language large last late later leave left less let letter
light like limit line link list little live loan lock locked log login long look lost love low lunch
machine made mail make man many may me mean merchant might mind minute minutes missing mobile money
month months more morning mortgage most move much must my name near need never new next night no not
nothing notice now number of off office offer old on once one online only open option or order other
our out over overdraft own paid paper passcode passport password pay payee payment pending people per
person phone pin place please plan possible post pound price problem profile purchase put question
quick rate reach read ready really reason receive received red reference refund refunded refuse
reject rejected rent repeat replace report request reset return returned reverse right safe said
salary same save savings say scheme screen security see seem seen sell send sent service set share
she shop should show sign since small so some someone something soon source standing start statement
status stay still stolen stop stopped store street stuck such sum support sure swallowed sweet take
taken talk tax tell terminal text than thank thanks that the their them then there these they thing
think this those three time times to today together told tomorrow too took top town transaction
transfer transferred travel trip true try trying turn two type understand unknown until up update
upgrade us use used user using value verify very virtual visa visit wait waiting wallet want wanted
was water way we weather web week weeks well went were what when where which while who why will wish
with withdraw withdrawal without wonder word work working world would wrong year yes yesterday yet
you young your
""".split()

PIECES = """
##s ##es ##ed ##ing ##er ##ers ##ly ##y ##al ##ment ##ion ##tion ##ations ##ness ##able ##ible
##ful ##less ##ity ##ive ##ous ##ant ##ent ##ence ##ance ##age ##est ##th ##st ##nd ##rd ##up
##out ##in ##on ##an ##ar ##at ##en ##or ##re ##ll ##ve ##work ##man ##time ##day
""".split()

LETTERS = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~£€"


def vocabulary():
    tokens = SPECIAL + list(MARKS) + list(DIGITS + LETTERS)
    tokens += ["##" + c for c in DIGITS + LETTERS]
    return list(dict.fromkeys(tokens + sorted(WORDS) + PIECES))  # each once


def tokenizer_json(tokens):
    ids = {t: i for i, t in enumerate(tokens)}
    cls, sep, sep_b = ({"SpecialToken": {"id": token, "type_id": type_id}}
                       for token, type_id in (("[CLS]", 0), ("[SEP]", 0), ("[SEP]", 1)))
    a, b = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": ids[t], "content": t, "single_word": False, "lstrip": False,
                          "rstrip": False, "normalized": False, "special": True}
                         for t in SPECIAL],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing", "single": [cls, a, sep], "pair": [cls, a, sep, b, sep_b],
            "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]}
                               for t in ("[CLS]", "[SEP]")}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": ids},
    }


def as_json(value):
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def tokenizer_files(tokens, max_length):
    compact = json.dumps(tokenizer_json(tokens), ensure_ascii=False, separators=(",", ":"))
    return {
        "tokenizer.json": (compact + "\n").encode(),
        "vocab.txt": ("\n".join(tokens) + "\n").encode(),
        "tokenizer_config.json": as_json({
            "tokenizer_class": "BertTokenizer", "do_lower_case": True,
            "model_max_length": max_length, "unk_token": "[UNK]", "sep_token": "[SEP]",
            "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}),
    }


# --- BERT -------------------------------------------------------------------------------------

def bert_config(n_tokens, layers, max_length):
    return {
        "architectures": ["BertModel"], "model_type": "bert", "attention_probs_dropout_prob": 0.0,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.0, "hidden_size": 64,
        "initializer_range": 0.02, "intermediate_size": 128, "layer_norm_eps": 1e-12,
        "max_position_embeddings": max_length, "num_attention_heads": 2,
        "num_hidden_layers": layers, "pad_token_id": 0, "position_embedding_type": "absolute",
        "torch_dtype": "float16", "type_vocab_size": 2, "vocab_size": n_tokens,
    }


def bert_shapes(config, prefix, pooler):
    """Names, shapes and the spread of the numbers: (name, dims, limit, centre)."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]

    def linear(name, n_out, n_in):
        # uniform with variance 1 / n_in keeps the size of what flows through
        return [(f"{name}.weight", [n_out, n_in], math.sqrt(3 / n_in), 0), (f"{name}.bias", [n_out], 0.1, 0)]

    def norm(name):
        return [(f"{name}.weight", [hidden], 0.2, 1.0), (f"{name}.bias", [hidden], 0.1, 0)]

    shapes = [(f"{prefix}embeddings.{name}_embeddings.weight", [n, hidden], limit, 0)
              for name, n, limit in (("word", config["vocab_size"], 1.0),
                                     ("position", config["max_position_embeddings"], 0.1),
                                     ("token_type", config["type_vocab_size"], 0.1))]
    shapes += norm(f"{prefix}embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        layer = f"{prefix}encoder.layer.{i}."
        for name in ("query", "key", "value"):
            shapes += linear(f"{layer}attention.self.{name}", hidden, hidden)
        shapes += linear(f"{layer}attention.output.dense", hidden, hidden)
        shapes += norm(f"{layer}attention.output.LayerNorm")
        shapes += linear(f"{layer}intermediate.dense", inner, hidden)
        shapes += linear(f"{layer}output.dense", hidden, inner)
        shapes += norm(f"{layer}output.LayerNorm")
    return shapes + (linear(f"{prefix}pooler.dense", hidden, hidden) if pooler else [])


def safetensors(shapes, seed):
    """An F16 file of random tensors: 8-byte length, JSON header, data."""
    random, header, data = Random(seed), {"__metadata__": {"format": "pt"}}, bytearray()
    for name, dims, limit, centre in shapes:
        n = 1
        for d in dims:
            n *= d
        start = len(data)
        data += struct.pack(f"<{n}e", *random.uniform(n, limit, centre))
        header[name] = {"dtype": "F16", "shape": dims, "data_offsets": [start, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(data)


INTENTS = """
account_blocked balance_wrong card_arrival card_declined card_lost card_not_working
card_swallowed cash_withdrawal_fee change_pin direct_debit_unknown exchange_rate
passcode_forgotten payment_pending refund_missing transfer_failed verify_identity
""".split()


def intents():
    tokens, max_length = vocabulary(), 128
    config = bert_config(len(tokens), 2, max_length)
    config["architectures"] = ["BertForSequenceClassification"]
    config["id2label"] = {str(i): name for i, name in enumerate(INTENTS)}
    config["label2id"] = {name: i for i, name in enumerate(INTENTS)}
    shapes = bert_shapes(config, "bert.", True)
    shapes += [("classifier.weight", [len(INTENTS), 64], 0.5, 0), ("classifier.bias", [len(INTENTS)], 0.1, 0)]
    return {
        "config.json": as_json(config),
        "model.safetensors": safetensors(shapes, 1),
        **tokenizer_files(tokens, max_length),
    }


def embeddings():
    tokens, max_length = vocabulary(), 128
    config = bert_config(len(tokens), 1, max_length)
    path = "sentence_transformers.models."
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    return {
        "modules.json": as_json([{"idx": i, "name": str(i), "path": folder, "type": path + kind}
                                 for i, (folder, kind) in enumerate(modules)]),
        "sentence_bert_config.json": as_json({"max_seq_length": max_length, "do_lower_case": False}),
        "1_Pooling/config.json": as_json({
            "word_embedding_dimension": 64, "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False}),
        "config.json": as_json(config),
        "model.safetensors": safetensors(bert_shapes(config, "", False), 2),
        **tokenizer_files(tokens, max_length),
    }


# --- ONNX: just enough protobuf to write a small graph -------------------------------------------

def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


def field(number, value):
    """Whole numbers as varints, everything else length-delimited."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


FLOAT, INT_ATTRIBUTE, INTS_ATTRIBUTE = 1, 2, 7


def attribute(name, value):
    if isinstance(value, int):
        return field(1, name) + field(3, value) + field(20, INT_ATTRIBUTE)
    return field(1, name) + b"".join(field(8, v) for v in value) + field(20, INTS_ATTRIBUTE)


def node(op, inputs, output, **attributes):
    return (b"".join(field(1, i) for i in inputs) + field(2, output) + field(3, output)
            + field(4, op) + b"".join(field(5, attribute(k, v)) for k, v in attributes.items()))


def float_tensor(name, dims, numbers):
    return (b"".join(field(1, d) for d in dims) + field(2, FLOAT) + field(8, name)
            + field(9, struct.pack(f"<{len(numbers)}f", *numbers)))


def value_info(name, dims):
    shape = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, shape)))


CLOTHES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
           "Ankle boot"]


def fashion_onnx():
    random, weights = Random(3), []

    def weight(name, dims, n_in):
        n = 1
        for d in dims:
            n *= d
        limit = math.sqrt(6 / n_in) if len(dims) > 1 else 0.1
        weights.append(float_tensor(name, dims, random.uniform(n, limit)))

    for name, dims, n_in in (("conv1", [8, 1, 3, 3], 9), ("conv2", [16, 8, 3, 3], 72),
                             ("fc1", [28, 2304], 2304), ("fc2", [10, 28], 28)):
        weight(name + ".weight", dims, n_in)
        weight(name + ".bias", dims[:1], n_in)
    nodes = [
        node("Conv", ["image", "conv1.weight", "conv1.bias"], "c1", kernel_shape=[3, 3]),
        node("Relu", ["c1"], "r1"),
        node("Conv", ["r1", "conv2.weight", "conv2.bias"], "c2", kernel_shape=[3, 3]),
        node("Relu", ["c2"], "r2"),
        node("MaxPool", ["r2"], "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p"], "f", axis=1),
        node("Gemm", ["f", "fc1.weight", "fc1.bias"], "g1", transB=1),
        node("Relu", ["g1"], "r3"),
        node("Gemm", ["r3", "fc2.weight", "fc2.bias"], "g2", transB=1),
        node("LogSoftmax", ["g2"], "log_probabilities", axis=1),
    ]
    graph = (b"".join(field(1, n) for n in nodes) + field(2, "fashion")
             + b"".join(field(5, w) for w in weights)
             + field(11, value_info("image", ["batch", 1, 28, 28]))
             + field(12, value_info("log_probabilities", ["batch", 10])))
    opset = field(1, "") + field(2, 13)
    return field(1, 8) + field(2, "ensod tests/end_to_end/make_models.py") + field(7, graph) + field(8, opset)


def fashion():
    return {
        "model.onnx": fashion_onnx(),
        "ensod.json": as_json({
            "task": "image-classification", "labels": CLOTHES,
            "input": {"size": [28, 28], "channels": 1, "resize": "exact", "mean": 0.286, "std": 0.353}}),
    }


def make(folder):
    """Write the three model folders into a folder."""
    for model, files in (("intents", intents()), ("fashion", fashion()), ("embeddings", embeddings())):
        for name, data in files.items():
            path = os.path.join(folder, model, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(data)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DIR")
    make(sys.argv[1])
