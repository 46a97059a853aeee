#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares ensod's tokenizers with the reference (Hugging Face `tokenizers`): ids, offsets, type ids
and the special mask must be identical, token by token.

    pip install tokenizers
    tests/parity/tokenizers_parity.py [--cli build/tests/engine/text/tokenize_cli] [--random 20000]
                                      [--seed 1] [--shared ../shared]

Texts: what is in SHARED/data/tokenizers and SHARED/data/text (left out, and said so, where absent),
texts of our own, and random strings of all of Unicode. Tokenizers: the shared WordPiece
vocabularies, from vocab.txt and from tokenizer.json, and small vocabularies with every normaliser
and pre-tokeniser that ensod knows. Ends with "N passed, N failed, N skipped"; exit status 1 when
anything differs.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

from tokenizers import (AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors)

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

OWN_TEXTS = [
    "", " ", "\0", "a\0b", "\t\n\r", "Hello, world!", "unaffable", "[CLS] is [MASK]not[SEP] [mask]",
    "don't-stop_it 3.14 x²+y²=z²", "Ünïcödé naïve façade ÅNGSTRÖM \u212b", "İstanbul ıI ΣΊΣΥΦΟΣ ς",
    "e\u0301\u0323\u0302 a\u0344 \u1e9b\u0323 \u0f73\u0301", "\u0301starts with a mark",
    "日本語テキストと中文混排。한국어 \u1112\u1161\u11ab", "שלום עולם مرحبا بالعالم \u200f\u200e",
    "👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 👍🏽 🇩🇪", "ﬁ ﬃ ℌ ½ ㌔ ﷺ ｆｕｌｌ", "\ufeffbom \ufffd \ufffe \uffff",
    "a\u2028b\u2029c\u0085d\u000be\u000cf\u00a0g\u3000h\u200bi\u00adj", "x" * 100, "x" * 101, "é" * 101,
    "word " * 300, "!?" * 50, "\U0001d400\U0001d7ff \U000e0001 \U0010ffff", "\u0300" * 200,
    "".join(chr(c) for c in range(1, 0x180)), "\u1734\u1a7f\u302e\U00011938\U0001e94a",
]


def read_lines(path, most=None):
    with open(path, encoding="utf-8", errors="replace", newline="\n") as f:
        return [line.rstrip("\n") for line in f][:most]


def shared_texts(shared):
    texts = []
    data = os.path.join(shared, "data")
    for name in ("bert-base-uncased", "bert-base-cased", "bert-base-chinese"):
        texts += [json.loads(line)["text"]
                  for line in read_lines(os.path.join(data, "tokenizers", name, "expected.jsonl"))]
    with open(os.path.join(data, "tokenizers/gguf/ggml-vocab-bert-bge.gguf.inp"), encoding="utf-8",
              newline="\n") as f:
        texts += f.read().split("\n__ggml_vocab_test__\n")
    texts += read_lines(os.path.join(data, "text/blns.txt"))
    for name in ("botchan.txt", "tinyshakespeare.txt", "tinystories-sample.txt",
                 "agnews/test.csv", "banking77/train.csv", "chnsenticorp/test.tsv",
                 "sst2/train.tsv", "wnut17-ner/test.conll"):
        texts += read_lines(os.path.join(data, "text", name), 3000)
    return [t for t in texts if not any(0xD800 <= ord(c) < 0xE000 for c in t)]


# Blocks that matter more than their share of Unicode: marks, CJK, Hangul, punctuation, signs.
BLOCKS = [(0, 0x80), (0x20, 0x7F), (0x80, 0x250), (0x250, 0x400), (0x300, 0x370), (0x370, 0x600),
          (0x600, 0x800), (0x800, 0x1000), (0x1000, 0x2000), (0x1AB0, 0x1B00), (0x1DC0, 0x1F00),
          (0x1E00, 0x2000), (0x2000, 0x2070), (0x2070, 0x3000), (0x3000, 0x3100), (0x4E00, 0xA000),
          (0xA000, 0xAC00), (0xAC00, 0xD7B0), (0x1100, 0x1200), (0xF900, 0x10000),
          (0x10000, 0x12000), (0x12000, 0x20000), (0x1D100, 0x1D250), (0x1F000, 0x1FB00),
          (0x20000, 0x30000), (0xE0000, 0xE0200), (0, 0x110000)]


def random_text(rng):
    out = []
    for _ in range(rng.randrange(1, 8)):
        low, high = rng.choice(BLOCKS)
        for _ in range(rng.randrange(1, 12)):
            c = rng.randrange(low, high)
            if not 0xD800 <= c < 0xE000:
                out.append(chr(c))
            if rng.random() < 0.15:
                out.append(rng.choice([" ", "a", "[MASK]", "\u0301", "\u0323", "\u0345", ".", "中"]))
    return "".join(out)


def read_vocab(path):
    return {token: i for i, token in enumerate(read_lines(path))}


def add_specials(tokenizer):
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])


def bert_like(vocab, lowercase, strip=None, ideographs=True):
    t = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=ideographs,
                                              strip_accents=strip, lowercase=lowercase)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]),
                                                 ("[CLS]", vocab["[CLS]"]))
    add_specials(t)
    return t


def small_vocab():
    """Every character of some blocks, alone and inside words, so that most texts do not end in
    [UNK] and every character's offsets are seen."""
    characters = [chr(c) for first, last in
                  ((0x21, 0x600), (0x900, 0xA00), (0x1100, 0x1200), (0x1AB0, 0x1B00),
                   (0x1DC0, 0x2070), (0x2100, 0x2200), (0x302A, 0x30FF), (0x4E00, 0x4F00),
                   (0xAC00, 0xAD00), (0xFB00, 0xFB50), (0x1D165, 0x1D173))
                  for c in range(first, last)]
    tokens = SPECIAL + characters + ["##" + c for c in characters] + ["the", "##ing", "un", "##aff"]
    return {t: i for i, t in enumerate(dict.fromkeys(tokens))}


def small(normalizer=None, pre_tokenizer=None, post_processor=None, added=(), most=100):
    t = Tokenizer(models.WordPiece(small_vocab(), unk_token="[UNK]", max_input_chars_per_word=most))
    if normalizer is not None:
        t.normalizer = normalizer
    if pre_tokenizer is not None:
        t.pre_tokenizer = pre_tokenizer
    if post_processor is not None:
        t.post_processor = post_processor
    add_specials(t)
    t.add_tokens(list(added))
    return t


def small_tokenizers():
    n, p = normalizers, pre_tokenizers
    template = processors.TemplateProcessing(
        single="[CLS] $A [SEP]:2", pair="[CLS] $A:3 [SEP] [SEP] $B:1 [MASK]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3), ("[MASK]", 4)])
    added = [AddedToken("Foo", normalized=True), AddedToken("<m>", lstrip=True, rstrip=True,
                                                            normalized=False),
             AddedToken("wo", single_word=True), AddedToken("<", lstrip=True, normalized=False),
             AddedToken("<<", rstrip=True), AddedToken("É", normalized=True),
             AddedToken(" x", normalized=False), AddedToken("中a", special=True)]
    yield "none", small()
    yield "whitespace", small(None, p.Whitespace(), most=10)
    yield "whitespace-split", small(None, p.WhitespaceSplit(), template)
    yield "nfc", small(n.NFC(), p.WhitespaceSplit())
    yield "nfd", small(n.NFD(), p.Whitespace())
    yield "nfkc", small(n.NFKC(), p.BertPreTokenizer())
    yield "nfkd-strip-lower", small(n.Sequence([n.NFKD(), n.StripAccents(), n.Lowercase()]),
                                    p.Sequence([p.WhitespaceSplit(), p.BertPreTokenizer()]))
    yield "strip", small(n.Sequence([n.Strip(), n.Lowercase()]), p.Whitespace())
    yield "strip-left", small(n.Strip(right=False))
    yield "replace", small(n.Sequence([n.Replace("ab", "x"), n.Replace("e", ""),
                                       n.Replace("中", "<中>"), n.Prepend("_")]), p.Whitespace())
    yield "lower", small(n.Lowercase(), p.WhitespaceSplit(), template)
    yield "added", small(n.BertNormalizer(), p.BertPreTokenizer(), template, added)
    yield "added-raw", small(None, p.Whitespace(), None, added)
    yield "bert-no-strip", small(n.BertNormalizer(strip_accents=False), p.BertPreTokenizer())
    yield "bert-strip-cased", small(n.BertNormalizer(strip_accents=True, lowercase=False),
                                    p.BertPreTokenizer())
    yield "bert-dirty", small(n.BertNormalizer(clean_text=False, handle_chinese_chars=False),
                              p.BertPreTokenizer())


class Cli:
    """tokenize_cli on a folder."""

    def __init__(self, cli, folder):
        self.process = subprocess.Popen([cli, folder], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def encode(self, request):
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def expect(tokenizer, request):
    if "max_length" in request:
        tokenizer.enable_truncation(request["max_length"], strategy="longest_first",
                                    direction=request["truncate"])
    e = tokenizer.encode(request["text"], request.get("pair"),
                         add_special_tokens=request.get("special", False))
    if "max_length" in request:
        tokenizer.no_truncation()
    return {"ids": e.ids, "offsets": [list(o) for o in e.offsets], "segments": e.type_ids,
            "special": e.special_tokens_mask}


def requests_of(texts, rng):
    """Each text alone; some in pairs and cut short."""
    for i, text in enumerate(texts):
        yield {"text": text}
        if i % 5 == 0:
            pair = texts[rng.randrange(len(texts))]
            yield {"text": text, "pair": pair, "special": True}
            for direction in ("right", "left"):
                yield {"text": text, "special": True, "truncate": direction,
                       "max_length": rng.randrange(5, 24)}
                yield {"text": text, "pair": pair, "special": True, "truncate": direction,
                       "max_length": rng.randrange(6, 24)}


def compare(name, cli, folder, tokenizer, texts, rng):
    """(passed, failed)"""
    passed = failed = 0
    process = Cli(cli, folder)
    for request in requests_of(texts, rng):
        expected, got = expect(tokenizer, request), process.encode(request)
        if got == expected:
            passed += 1
            continue
        failed += 1
        if failed <= 3:
            print(f"{name}: differs for {json.dumps(request)[:600]}\n"
                  f"  expected {json.dumps(expected)[:600]}\n  got      {json.dumps(got)[:600]}")
    process.close()
    print(f"{name}: {passed} identical, {failed} different")
    return passed, failed


def write_vocab_folder(path, source, config):
    os.makedirs(path)
    os.symlink(os.path.join(source, "vocab.txt"), os.path.join(path, "vocab.txt"))
    with open(os.path.join(path, "tokenizer_config.json"), "w") as f:
        json.dump(config, f)


def save_folder(path, tokenizer):
    os.makedirs(path)
    tokenizer.save(os.path.join(path, "tokenizer.json"))


def cases(folder, shared):
    """(name, folder for ensod, reference tokenizer, with the long texts)"""
    for name, tokenizer in small_tokenizers():
        path = os.path.join(folder, name)
        save_folder(path, tokenizer)
        yield name, path, tokenizer, False
    if not shared:
        return
    vocabularies = os.path.join(shared, "data/tokenizers")
    for name, lowercase in (("bert-base-uncased", True), ("bert-base-cased", False),
                            ("bert-base-chinese", True)):
        source = os.path.join(os.path.abspath(vocabularies), name)
        tokenizer = bert_like(read_vocab(os.path.join(source, "vocab.txt")), lowercase)
        path = os.path.join(folder, name)
        write_vocab_folder(path, source, {"do_lower_case": lowercase, "model_max_length": 512})
        yield name + " (vocab.txt)", path, tokenizer, True
        save_folder(path + "-json", tokenizer)
        yield name + " (tokenizer.json)", path + "-json", tokenizer, False
    letters = os.path.join(vocabularies, "hf-json/wordpiece-chinese-letters")
    yield ("wordpiece-chinese-letters", letters,
           Tokenizer.from_file(os.path.join(letters, "tokenizer.json")), True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cli", default=os.path.join(TOP, "build/tests/engine/text/tokenize_cli"))
    parser.add_argument("--random", type=int, default=20000, help="random strings in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shared", default=os.environ.get("ENSO_SHARED",
                                                           os.path.join(TOP, "../shared")))
    args = parser.parse_args()
    rng = random.Random(args.seed)
    passed = failed = skipped = 0
    shared = args.shared if os.path.isdir(os.path.join(args.shared, "data/tokenizers")) else None
    long_texts = shared_texts(shared) if shared else []
    if not shared:
        skipped = 4
        print(f"skipped: {args.shared} is absent, so its vocabularies and texts are left out")
    with tempfile.TemporaryDirectory() as folder:
        all_cases = list(cases(folder, shared))
        for name, path, tokenizer, with_long in all_cases:
            texts = OWN_TEXTS + [random_text(rng) for _ in range(args.random // len(all_cases))]
            texts += long_texts if with_long else long_texts[:2500]
            good, bad = compare(name, args.cli, path, tokenizer, texts, rng)
            passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
