#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train models/embeddings: a small BERT that gives texts of like meaning vectors of like direction.

    examples/train_embeddings.py --data text --teacher all-MiniLM-L6-v2 --out models/embeddings

The student (2.8 million parameters) learns the vectors that the teacher (22 million) gives, and
with them the angles between all texts of a batch (relational distillation, Park et al. 2019,
arXiv:1904.05068), on questions to a bank, old books and tweets: all may be shipped. No labels are used.
DATA is a folder with banking77/train.csv, wnut17-ner/train.conll, tinyshakespeare.txt and
botchan.txt. Writes a folder in the form of sentence-transformers, which ensod serves as it is.
"""
import os
import random
import re

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertModel

import texts as shared
import training

# Sentences of our own, to compare ensod's answers with PyTorch's.
GOLDEN = ["The machine swallowed my card.", "A cash dispenser kept my bank card", "O brother, lend me thy horse!",
          "It rained in the mountains all week.", "Hello"]


def sentences(path):
    """The sentences of a book whose lines are broken anywhere, as long as a text is wont to be."""
    with open(path, encoding="utf-8") as f:
        paragraphs = f.read().split("\n\n")
    found = [s for p in paragraphs for s in re.split(r"(?<=[.!?;:]) ", " ".join(p.split()))]
    return [s for s in found if 3 <= len(s.split()) <= 60]


def tweets(path):
    """The texts of a CoNLL file: a token a line, an empty line after each text."""
    with open(path, encoding="utf-8") as f:
        return [" ".join(line.split("\t")[0] for line in t.split("\n")) for t in f.read().split("\n\n") if t.strip()]


def read(folder, part):
    """{source: texts} of train or test; nothing twice. Of the books the last tenth is the test half."""
    def book(name):
        found = sentences(os.path.join(folder, name))
        cut = len(found) * 9 // 10
        return found[:cut] if part == "train" else found[cut:]

    found = {
        "banking77": [text for text, _ in shared.read_banking77(os.path.join(folder, "banking77"), part)],
        "wnut17": tweets(os.path.join(folder, "wnut17-ner", part + ".conll")),
        "tinyshakespeare": book("tinyshakespeare.txt"),
        "botchan": book("botchan.txt"),
    }
    return {source: list(dict.fromkeys(texts)) for source, texts in found.items()}


class Encoder(nn.Module):
    """BERT, the mean over the tokens, length 1."""

    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, ids, mask):
        hidden = self.bert(ids, attention_mask=mask).last_hidden_state
        return (F.normalize(shared.mean_pool(hidden, mask).float(), dim=1),)


def spearman(a, b):
    """The correlation of ranks of the cosines of all pairs, of rows of length 1."""
    i, j = torch.triu_indices(len(a), len(a), 1)
    ranks = torch.stack([(v @ v.T)[i, j].argsort().argsort().double() for v in (a, b)])
    return torch.corrcoef(ranks)[0, 1].item()


def write_folder(out, model, tokenizer):
    """The form of sentence-transformers: a transformer, pooling, normalisation."""
    shared.save(out, model, tokenizer)
    kind = "sentence_transformers.models."
    training.write_json(os.path.join(out, "modules.json"), [
        {"idx": i, "name": str(i), "path": path, "type": kind + name}
        for i, (path, name) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")])])
    training.write_json(os.path.join(out, "sentence_bert_config.json"),
                        {"max_seq_length": shared.MAX_TOKENS, "do_lower_case": False})
    os.makedirs(os.path.join(out, "1_Pooling"), exist_ok=True)
    training.write_json(os.path.join(out, "1_Pooling", "config.json"), {
        "word_embedding_dimension": model.config.hidden_size, "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False})


def main():
    p = training.arguments(__doc__, epochs=8, rate=5e-4, decay=0.01, validation=600)
    p.set_defaults(batch=64)
    p.add_argument("--teacher", required=True, help="folder of all-MiniLM-L6-v2")
    p.add_argument("--vocabulary", type=int, default=3000)
    p.add_argument("--variations", type=int, default=2, help="texts made of each text")
    p.add_argument("--inner", type=int, default=256)
    p.add_argument("--layers", type=int, nargs="+", default=[0, 1])
    args = p.parse_args()
    training.begin(args)
    rng = random.Random(args.seed)
    train, groups, validation = [], [], []
    for source, texts in read(args.data, "train").items():
        rng.shuffle(texts)
        n = args.validation // 4
        validation += texts[:n]
        train += texts[n:]
        groups += [source] * (len(texts) - n)
        print(f"{source}: {len(texts) - n} texts to learn from, {n} to judge by")

    theirs = AutoTokenizer.from_pretrained(args.teacher)
    teacher = Encoder(BertModel.from_pretrained(args.teacher, add_pooling_layer=False)).to(args.device)
    vary = shared.Augmenter(train, groups, theirs, teacher.bert.embeddings.word_embeddings.weight.detach(), args.seed)
    texts = train + [vary(i) for _ in range(args.variations) for i in range(len(train))]
    target, = shared.answers(teacher, shared.encode(theirs, texts), args)
    expected, = shared.answers(teacher, shared.encode(theirs, validation), args)
    print(f"the teacher gave vectors to {len(texts)} texts", flush=True)

    tokenizer = shared.train_vocabulary(train, args.vocabulary)
    student = Encoder(BertModel(BertConfig(
        vocab_size=len(tokenizer), hidden_size=teacher.bert.config.hidden_size, num_hidden_layers=len(args.layers),
        num_attention_heads=teacher.bert.config.num_attention_heads, intermediate_size=args.inner,
        max_position_embeddings=shared.MAX_TOKENS, hidden_dropout_prob=0.05, attention_probs_dropout_prob=0.05),
        add_pooling_layer=False))
    shared.copy_from_teacher(student.bert, tokenizer, teacher.bert.cpu(), theirs, args.layers)

    def loss_of(out, picked):
        mine, wanted = out[0], target[picked].to(args.device)
        angles = ((mine @ mine.T - wanted @ wanted.T) ** 2).mean()
        return (1 - (mine * wanted).sum(1)).mean() + 10 * angles

    rows = shared.encode(tokenizer, validation)
    student, judged, best_epoch = shared.fit(
        "student", student, shared.encode(tokenizer, texts), loss_of,
        lambda net: spearman(shared.answers(net, rows, args)[0], expected), args.epochs,
        [(student.parameters(), args.rate)], args)

    record = shared.record(
        "embeddings", "banking77 train, wnut17 train, tinyshakespeare, botchan",
        "CC BY 4.0 (Casanueva et al. 2020, PolyAI), CC BY 4.0 (Derczynski et al. 2017), public domain, public domain",
        student, best_epoch, len(validation), judged, args)
    record["validation_spearman"] = record.pop("validation_accuracy")
    record["teacher"] = {**shared.TEACHER, "texts": len(texts)}
    if args.golden:
        with torch.no_grad():
            items = [{"text": text, "embedding": [round(x, 6) for x in student(
                *shared.pad(shared.encode(tokenizer, [text])))[0][0].tolist()]} for text in GOLDEN]
        training.write_json(args.golden, {"model": "embeddings", "stored": "F16", "tolerance": 0.002, "items": items})
    write_folder(args.out, student.bert, tokenizer)
    training.write_json(os.path.join(args.out, "training.json"), record)


if __name__ == "__main__":
    main()
