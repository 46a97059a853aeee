#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train models/intents: a small BERT that names what a customer wants of a bank (banking77).

    examples/train_intents.py --data banking77 --teacher all-MiniLM-L6-v2 --out models/intents

1. The teacher (22 million parameters) learns the 77 intents from the train texts.
2. Of each train text some variations are made; the teacher says what it takes them for.
3. The student (2.8 million) starts as a copy of parts of the teacher and learns to give its
   answers: the probabilities of all intents (Hinton et al. 2015, arXiv:1503.02531) and the vector
   in which it sums up a text.

Without --teacher the student starts from random numbers and has the labels alone. Reads
train.csv, nothing of the test half. Writes a folder in the form of Hugging Face's transformers,
which ensod serves as it is: ensod models
"""
import os

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel

import texts as shared
import training

# Sentences of our own, to compare ensod's answers with PyTorch's.
GOLDEN = [
    "The machine swallowed my card.",
    "When will my new card be here?",
    "I would like to choose another PIN",
    "Which exchange rate do you use for Swiss francs?",
    "Somebody paid for a hotel with my card, it was not me!",
    "my transfer to my sister is still pending after 3 days",
    "Hello",
    "Why, oh why, was I charged a fee of £2.50 for taking out cash at the airport yesterday?",
]


def arguments():
    p = training.arguments(__doc__, epochs=10, rate=5e-4, decay=0.05, validation=616)
    p.set_defaults(batch=64)
    p.add_argument("--teacher", help="folder of all-MiniLM-L6-v2; without it: learn from the labels alone")
    p.add_argument("--teacher-epochs", type=int, default=5)
    p.add_argument("--answers", help="file for the teacher's answers; is read instead of asking where it exists")
    p.add_argument("--variations", type=int, default=6, help="texts made of each train text")
    p.add_argument("--vocabulary", type=int, default=2000)
    p.add_argument("--hidden", type=int, default=384, help="the teacher's, if there is one")
    p.add_argument("--inner", type=int, default=384)
    p.add_argument("--layers", type=int, nargs="+", default=[0, 1],
                   help="as many as the student shall have, each the teacher's layer to start from")
    p.add_argument("--temperature", type=float, default=2.0)
    p.add_argument("--dropout", type=float, default=0.1)
    args = p.parse_args()
    if args.answers and not args.teacher:
        p.error("--answers keeps a teacher's answers: name the --teacher, too")
    return args


class Teacher(nn.Module):
    """MiniLM with the mean pooling that it knows, and a linear layer for the intents."""

    def __init__(self, folder, n_labels):
        super().__init__()
        self.bert = BertModel.from_pretrained(folder, add_pooling_layer=False)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(self.bert.config.hidden_size, n_labels)

    def forward(self, ids, mask):
        vectors = shared.mean_pool(self.bert(ids, attention_mask=mask).last_hidden_state, mask)
        return self.classifier(self.dropout(vectors)), vectors


class Student(nn.Module):
    """The model that is served; with the logits also the last vector of [CLS]."""

    def __init__(self, tokenizer, labels, args):
        super().__init__()
        self.model = BertForSequenceClassification(BertConfig(
            vocab_size=len(tokenizer), hidden_size=args.hidden, num_hidden_layers=len(args.layers),
            num_attention_heads=args.hidden // 32, intermediate_size=args.inner,
            max_position_embeddings=shared.MAX_TOKENS, hidden_dropout_prob=args.dropout,
            attention_probs_dropout_prob=args.dropout, pad_token_id=tokenizer.pad_token_id,
            id2label=dict(enumerate(labels)), label2id={label: i for i, label in enumerate(labels)}))

    def forward(self, ids, mask):
        out = self.model(ids, attention_mask=mask, output_hidden_states=True)
        return out.logits, out.hidden_states[-1][:, 0]


def accuracy(rows, targets, args):
    """A judge for fit()."""
    return lambda net: (shared.answers(net, rows, args)[0].argmax(1) == targets).float().mean().item()


def ask_teacher(train, train_targets, validation, validation_targets, n_labels, args):
    """Train the teacher; give back what the student learns from: the train texts, then their
    variations, with the teacher's logits and vectors, and its encoder."""
    tokenizer = AutoTokenizer.from_pretrained(args.teacher)
    teacher = Teacher(args.teacher, n_labels)

    def loss_of(out, picked):
        return F.cross_entropy(out[0], train_targets[picked].to(args.device), label_smoothing=0.05)

    teacher, judged, _ = shared.fit(
        "teacher", teacher, shared.encode(tokenizer, train), loss_of,
        accuracy(shared.encode(tokenizer, validation), validation_targets, args), args.teacher_epochs,
        [(teacher.bert.parameters(), 1.5e-4), (teacher.classifier.parameters(), 2e-3)], args)
    words = teacher.bert.embeddings.word_embeddings.weight.detach()
    vary = shared.Augmenter(train, train_targets.tolist(), tokenizer, words, args.seed)
    texts = train + [vary(i) for _ in range(args.variations) for i in range(len(train))]
    logits, vectors = shared.answers(teacher.to(args.device), shared.encode(tokenizer, texts), args)
    return {"texts": texts, "logits": logits, "vectors": vectors, "bert": teacher.bert.cpu(), "judged": judged}


def train_student(student, rows, targets, judge, taught, args):
    """The first of the rows have a target each; all of them have the teacher's answer, if any."""
    def loss_of(out, picked):
        logits, vectors = out
        known = [k for k, i in enumerate(picked) if i < len(targets)]
        loss = F.cross_entropy(logits[known], targets[[picked[k] for k in known]].to(args.device),
                               reduction="sum") / len(picked)
        if not taught:
            return loss
        t = args.temperature
        theirs = F.softmax(taught["logits"][picked].to(args.device) / t, dim=1)
        soft = F.kl_div(F.log_softmax(logits / t, dim=1), theirs, reduction="batchmean") * t * t
        apart = 1 - F.cosine_similarity(vectors, taught["vectors"][picked].to(args.device), dim=1).mean()
        return 0.3 * loss + soft + apart

    return shared.fit("student", student, rows, loss_of, judge, args.epochs, [(student.parameters(), args.rate)], args)


def write_golden(path, model, tokenizer):
    with torch.no_grad():
        items = [{"text": text, "logits": [round(x, 6) for x in model(
            torch.tensor(shared.encode(tokenizer, [text]))).logits[0].tolist()]} for text in GOLDEN]
    training.write_json(path, {"model": "intents", "stored": "F16", "tolerance": 0.002, "items": items})


def main():
    args = arguments()
    training.begin(args)
    pairs = shared.read_banking77(args.data, "train")
    labels = sorted({label for _, label in pairs})
    every = torch.tensor([labels.index(label) for _, label in pairs])
    picked, held_out = training.split(every.numpy(), args.validation, args.seed)
    train, train_targets = [pairs[i][0] for i in picked], every[torch.from_numpy(picked)]
    validation, validation_targets = [pairs[i][0] for i in held_out], every[torch.from_numpy(held_out)]

    taught = None
    if args.answers and os.path.exists(args.answers):
        taught = torch.load(args.answers, weights_only=False)
    elif args.teacher:
        taught = ask_teacher(train, train_targets, validation, validation_targets, len(labels), args)
        if args.answers:
            torch.save(taught, args.answers)

    tokenizer = shared.train_vocabulary(train, args.vocabulary)
    torch.manual_seed(args.seed)
    student = Student(tokenizer, labels, args)
    if taught:
        shared.copy_from_teacher(student.model.bert, tokenizer, taught["bert"],
                                 AutoTokenizer.from_pretrained(args.teacher), args.layers)
    rows = shared.encode(tokenizer, taught["texts"] if taught else train)
    judge = accuracy(shared.encode(tokenizer, validation), validation_targets, args)
    student, judged, best_epoch = train_student(student, rows, train_targets, judge, taught, args)

    record = shared.record("intents", "banking77, train.csv", "CC BY 4.0 (Casanueva et al. 2020, PolyAI)",
                           student, best_epoch, len(validation), judged, args)
    if taught:
        record["teacher"] = {**shared.TEACHER, "epochs": args.teacher_epochs,
                             "validation_accuracy": round(taught["judged"], 4), "texts": len(rows)}
    if args.golden:
        write_golden(args.golden, student.model, tokenizer)
    shared.save(args.out, student.model, tokenizer)
    training.write_json(os.path.join(args.out, "training.json"), record)


if __name__ == "__main__":
    main()
