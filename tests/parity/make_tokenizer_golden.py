#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the golden files of tests/engine/text/golden with the reference, Hugging Face `tokenizers`:

    bert/vocab.txt, tokenizer_config.json   a lower-casing BERT of a few hundred tokens
    json/tokenizer.json                     other stages: NFKC, Lowercase, added tokens, a template
    cases.jsonl                             texts and what the reference makes of them, one a line:
        {"folder", "text", "pair", "special", "max_length", "truncate",
         "ids", "offsets" (characters), "segments", "mask"}

    pip install tokenizers
    tests/parity/make_tokenizer_golden.py
"""
import json
import os

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOLDEN = os.path.join(TOP, "tests/engine/text/golden")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

WORDS = ["the", "quick", "brown", "fox", "jump", "##s", "##ed", "##ing", "over", "lazy", "dog", "un",
         "##aff", "##able", "cafe", "na", "##ive", "card", "machine", "swallow", "my", "hello",
         "world", "straße", "##ße", "istanbul", "don", "t", "##t", "2024", "##24", "20", "[", "]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789éüσςабв日本語中文ひらがな한글אבمرáạ\u0301\u0310\u0323"

TEXTS = [
    "", " ", "The quick brown fox jumped over the lazy dog.", "unaffable", "UNAFFABLE!", "hello[MASK]world",
    "[CLS] my card [SEP]", "[mask] [MASK ]", "Don't jump-over 2024; café naïve", "cafe\u0301 nai\u0308ve",
    "\u00c5\u212b\u0041\u030a", "İstanbul ISTANBUL ıstanbul", "ΣΊΣΥΦΟΣ ςσ", "STRASSE Straße ẞ",
    "a\u0323\u0301\u0302 e\u0344 \u1e9b\u0323", "\u0301a", "\u0f73\u0345\u0301x",
    "日本語と中文。ひらがな、カタカナ", "中a文b\u3000c", "한글 \u1112\u1161\u11ab각", "אבגד مرحبا \u200fאב\u200e",
    "👩\u200d👩\u200d👧\u200d👦", "🏳️\u200d🌈 👍🏽 🇩🇪 fox", "fox🦊fox", "a\0b\x01c\x7fd\x1be", "tab\tnew\nline\rend",
    "a\u00a0b\u2003c\u2028d\u2029e\u0085f\u000bg", "zero\u200bwidth\ufeff soft\u00adhyphen",
    "\ufffd \ufffe\uffff \U0010ffff \ue000", "ﬁ ﬃ ½ ℌ ｆｏｘ ㌔ ﷺ", "x" * 100, "x" * 101, "σ" * 100, "σ" * 101, "σ" * 20, "σ" * 21,
    "a\u0310\u0301b a\u0323\u0310 a\u0310\u0323 a\u0301\u0310b",
    "a\u302f\x1b\u0356 \u302f\x01\u0323\u302e",  # marks that meet when a control character goes
    "!?.,;:-_()[]{}<>@#$%^&*+=|\\/~`'\"", "«fox» „dog“ —…·¿", "\u1734\u302e\U00011938\U0001e94a a",
    "the <ent> fox<ent>  dog", "foo foofoo Foo FOO éfoo foo.", "  <t>  the", "\u3000the\u3000",
    "the quick brown fox jumps over the lazy dog " * 3,
]
PAIRS = [("the quick brown fox", "my card"), ("", "hello"), ("hello", ""), ("", ""),
         ("a b c d e f g h i j", "a b"), ("a b", "a b c d e f g h i j"),
         ("日本語 fox", "café [MASK]"), ("a b c d e f g", "h i j k l m n")]


def vocab():
    letters = [c for c in dict.fromkeys(LETTERS)]
    tokens = SPECIAL + list("!?.,;:-_(){}<>'\"«»—") + letters + ["##" + c for c in letters] + WORDS
    return {t: i for i, t in enumerate(dict.fromkeys(tokens))}


def bert(v):
    t = Tokenizer(models.WordPiece(v, unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.post_processor = processors.BertProcessing(("[SEP]", v["[SEP]"]), ("[CLS]", v["[CLS]"]))
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIAL])
    return t


def other(v):
    n, p = normalizers, pre_tokenizers
    t = Tokenizer(models.WordPiece(v, unk_token="[UNK]", max_input_chars_per_word=20))
    t.normalizer = n.Sequence([n.Strip(), n.NFKC(), n.Replace("fox", "dog"), n.Lowercase()])
    t.pre_tokenizer = p.Sequence([p.WhitespaceSplit(), p.Whitespace()])
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A:1 [SEP]:2", pair="$B:1 [SEP] [SEP] $A:0 [MASK]:3",
        special_tokens=[(s, v[s]) for s in ("[CLS]", "[SEP]", "[MASK]")])
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIAL])
    t.add_tokens([AddedToken("<ent>", normalized=False, lstrip=True, rstrip=True),
                  AddedToken("Foo", normalized=True, single_word=True),
                  AddedToken("<t>", normalized=True, rstrip=True)])
    t.enable_truncation(64)
    return t


def case(folder, tokenizer, request):
    most = request.get("max_length")
    tokenizer.no_truncation()
    if most is not None:
        tokenizer.enable_truncation(most, strategy="longest_first", direction=request["truncate"])
    e = tokenizer.encode(request["text"], request.get("pair"),
                         add_special_tokens=request["special"])
    return {"folder": folder, **request, "ids": e.ids, "offsets": [list(o) for o in e.offsets],
            "segments": e.type_ids, "mask": e.special_tokens_mask}


def requests():
    for text in TEXTS:
        yield {"text": text, "special": False}
    for text in TEXTS[::4]:
        yield {"text": text, "special": True}
        yield {"text": text, "special": True, "max_length": 6, "truncate": "right"}
    for text, pair in PAIRS:
        yield {"text": text, "pair": pair, "special": True}
        for most, truncate in ((5, "right"), (8, "left"), (9, "right"), (10, "left"), (13, "right")):
            yield {"text": text, "pair": pair, "special": True, "max_length": most,
                   "truncate": truncate}


def main():
    v = vocab()
    tokenizers = {"bert": bert(v), "json": other(v)}
    for folder in tokenizers:
        os.makedirs(os.path.join(GOLDEN, folder), exist_ok=True)
    with open(os.path.join(GOLDEN, "bert/vocab.txt"), "w", encoding="utf-8", newline="\n") as f:
        f.write("".join(t + "\n" for t in v))
    with open(os.path.join(GOLDEN, "bert/tokenizer_config.json"), "w") as f:
        json.dump({"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True,
                   "model_max_length": 512, "tokenizer_class": "BertTokenizer"}, f, indent=1)
        f.write("\n")
    tokenizers["json"].save(os.path.join(GOLDEN, "json/tokenizer.json"), pretty=False)
    with open(os.path.join(GOLDEN, "cases.jsonl"), "w", encoding="ascii") as f:
        for folder, tokenizer in tokenizers.items():
            for request in requests():
                json.dump(case(folder, tokenizer, request), f, separators=(",", ":"))
                f.write("\n")


if __name__ == "__main__":
    main()
