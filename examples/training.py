# SPDX-License-Identifier: Apache-2.0
"""What train_fashion.py and train_cifar.py share: options, seeds, the slice held out for validation,
the loop, and the record of what was done.

The loop is the one of every introduction: for each batch of shuffled, augmented pictures take the
cross-entropy, go back through the network, let AdamW step. Around it stand four habits that are
worth a point or two each: a learning rate that rises and falls once (OneCycleLR), smoothed labels, a
running average of the weights (which is what gets judged and kept), and early stopping: the weights
of the epoch that did best on the validation slice are the result.
"""
import argparse
import copy
import json
import os
import random
import sys
import time

import numpy
import torch
import torch.nn.functional as F


def arguments(doc, **defaults):
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True, help="folder of the data set")
    p.add_argument("--out", required=True, help="folder of the model, is made")
    p.add_argument("--golden", help="also write the network's answers to a few pictures to this file")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--epochs", type=int, default=defaults["epochs"])
    p.add_argument("--patience", type=int, default=12, help="end after so many epochs with no gain")
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--rate", type=float, default=defaults["rate"], help="highest learning rate")
    p.add_argument("--decay", type=float, default=defaults["decay"], help="weight decay")
    p.add_argument("--validation", type=int, default=defaults["validation"],
                   help="so many items of train are held out")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto",
                   help="of the products while training; auto: bf16 where the processor has it")
    return p


def checkpoint_option(parser):
    """Of the trainings that use fit()."""
    parser.add_argument("--checkpoint", metavar="FILE",
                        help="kept after each epoch; a start that finds it goes on there, with the same result")


def begin(args):
    """Seeds, threads and precision, before anything is drawn or computed."""
    random.seed(args.seed)
    numpy.random.seed(args.seed)
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    if args.precision == "auto":
        args.precision = "bf16" if args.device == "cuda" or "avx512_bf16" in cpu("flags") else "fp32"


def cpu(key):
    """A line of /proc/cpuinfo."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            return next(line.split(":", 1)[1].strip() for line in f if line.startswith(key))
    except (OSError, StopIteration):
        return "unknown"


def split(labels, n_validation, seed):
    """Indices of train and validation: as many of each class, drawn with the seed."""
    rng = numpy.random.default_rng(seed)
    classes = numpy.unique(labels)
    each = n_validation // len(classes)
    held_out = numpy.concatenate([rng.permutation(numpy.flatnonzero(labels == c))[:each]
                                  for c in classes])
    return numpy.setdiff1d(numpy.arange(len(labels)), held_out), numpy.sort(held_out)


class Average:
    """The running average of a network's weights; young averages forget faster."""

    def __init__(self, net, keep=0.999):
        self.net, self.keep, self.steps = copy.deepcopy(net).eval(), keep, 0

    @torch.no_grad()
    def update(self, net):
        self.steps += 1
        keep = min(self.keep, self.steps / (self.steps + 10))
        for mine, new in zip(self.net.state_dict().values(), net.state_dict().values()):
            if mine.is_floating_point():
                mine.lerp_(new, 1 - keep)
            else:
                mine.copy_(new)

    def state_dict(self):
        return {"net": self.net.state_dict(), "steps": self.steps}

    def load_state_dict(self, state):
        self.net.load_state_dict(state["net"])
        self.steps = state["steps"]


@torch.no_grad()
def accuracy(net, x, y, prepare, batch=500):
    net.eval()
    right = sum((net(prepare(a)).argmax(1) == b).sum().item()
                for a, b in zip(x.split(batch), y.split(batch)))
    return right / len(y)


class Progress:
    """How far a training has come: what has been found best, and the seconds it took until now."""

    def __init__(self):
        self.epoch, self.best, self.best_epoch, self.best_state = 0, -1.0, 0, None
        self.start = time.time()

    def seconds(self):
        return time.time() - self.start

    def save(self, path, args, parts):
        """Write all that the next epoch starts from, random numbers too, in one step: a file that is
        there is whole. `parts` have state_dict()."""
        state = {"settings": settings(args), "epoch": self.epoch, "seconds": self.seconds(), "best": self.best,
                 "best_epoch": self.best_epoch, "best_state": self.best_state, "random": torch.get_rng_state(),
                 "parts": [part.state_dict() for part in parts]}
        torch.save(state, path + ".part")
        os.replace(path + ".part", path)

    def load(self, path, args, parts):
        """Go on from the file, if there is one; a file of other settings ends the program."""
        if not os.path.exists(path):
            return
        state = torch.load(path, map_location=args.device, weights_only=True)
        if state["settings"] != settings(args):
            sys.exit(f"{path} is of a training with other options: {state['settings']}; remove it, or give those")
        for part, known in zip(parts, state["parts"]):
            part.load_state_dict(known)
        torch.set_rng_state(state["random"].cpu())
        self.epoch, self.best, self.best_epoch = state["epoch"], state["best"], state["best_epoch"]
        self.best_state, self.start = state["best_state"], time.time() - state["seconds"]
        print(f"goes on after epoch {self.epoch}", flush=True)


def settings(args):
    """The options that a training's result depends on."""
    apart = {"data", "out", "golden", "checkpoint", "device"}
    return {key: value for key, value in vars(args).items() if key not in apart}


def fit(net, train, validation, augment, prepare, args, smoothing=0.1):
    """Train the network on train = (x, y), x uint8. `prepare` makes a batch of bytes the network's
    input, `augment` does so with random changes. Gives back the best network and the record."""
    x, y = (t.to(args.device) for t in train)
    vx, vy = (t.to(args.device) for t in validation)
    net = net.to(args.device, memory_format=torch.channels_last)
    average = Average(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=args.decay)
    steps = -(-len(x) // args.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.rate, pct_start=0.2,
                                                   total_steps=steps * args.epochs)
    progress, parts = Progress(), (net, average, optimiser, schedule)
    print(f"{sum(p.numel() for p in net.parameters()):,} parameters, {len(x)} items to learn from, "
          f"{len(vx)} to judge by, {args.precision}, {args.threads} threads", flush=True)
    if args.checkpoint:
        progress.load(args.checkpoint, args, parts)
    while progress.epoch < args.epochs and progress.epoch - progress.best_epoch < args.patience:
        net.train()
        total, right = 0.0, 0
        for picked in torch.randperm(len(x)).split(args.batch):
            if len(picked) < 2:
                continue  # what is left over; batch norm has no spread of one picture
            picked = picked.to(args.device)
            inputs, truth = augment(x[picked]), y[picked]
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.precision == "bf16"):
                answers = net(inputs)
            loss = F.cross_entropy(answers.float(), truth, label_smoothing=smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            average.update(net)
            total += loss.item() * len(truth)
            right += (answers.argmax(1) == truth).sum().item()
        judged, mark = accuracy(average.net, vx, vy, prepare), ""
        progress.epoch += 1
        if judged > progress.best:
            progress.best, progress.best_epoch, mark = judged, progress.epoch, "  *"
            progress.best_state = copy.deepcopy(average.net.state_dict())
        print(f"epoch {progress.epoch:3d}  loss {total / len(x):.4f}  train {right / len(x):.4f}  "
              f"validation {judged:.4f}  {progress.seconds():6.0f} s{mark}", flush=True)
        if args.checkpoint:
            progress.save(args.checkpoint, args, parts)
    if progress.epoch < args.epochs:
        print(f"no gain for {args.patience} epochs: stopped")
    average.net.load_state_dict(progress.best_state)
    net = average.net.to("cpu", memory_format=torch.contiguous_format).eval()
    return net, {
        "seed": args.seed,
        "command": " ".join(["python3"] + sys.argv),
        "seconds": round(progress.seconds()),
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "validation_items": len(vx),
        "validation_accuracy": round(progress.best, 4),
        "parameters": sum(p.numel() for p in net.parameters()),
        "torch": torch.__version__.split("+")[0],
        "threads": args.threads,
        "processor": torch.cuda.get_device_name() if args.device == "cuda" else cpu("model name"),
        "precision": args.precision,
    }


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2, ensure_ascii=False)
        f.write("\n")
