#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train models/cifar: two convolutions and two linear layers on the photographs of CIFAR-10.

    examples/train_cifar.py --data ../shared/data/cifar10 --out models/cifar

Reads the folder train or the same in train.tar.gz (or train-50000.tar.gz): JPEG files of 32 x 32 in a
folder for each class, nothing of the test half. Writes model.onnx and ensod.json, which is what ensod
needs to serve it (ensod models), and training.json, the record of the run.
"""
import os

import torch
from torch import nn
import torch.nn.functional as F

import augment
import datasets
import export_onnx
import training

# Of all pixels of the training pictures, which run from 0 to 1: red, green, blue.
MEAN, STD = [0.491, 0.482, 0.447], [0.245, 0.243, 0.261]


class Net(nn.Module):
    """32 x 32 x 3 -> conv, pool 16 x 16 x 64 -> conv, pool 8 x 8 x 128 -> hidden -> 10

    The pool stands before norm and relu, which then have a quarter of the numbers to do."""

    def __init__(self, hidden):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 64, 5, padding=2, bias=False), nn.BatchNorm2d(64)
        self.conv2, self.norm2 = nn.Conv2d(64, 128, 5, padding=2, bias=False), nn.BatchNorm2d(128)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.fc1, self.norm3 = nn.Linear(128 * 8 * 8, hidden, bias=False), nn.BatchNorm1d(hidden)
        self.fc2 = nn.Linear(hidden, 10)
        self.dropout1, self.dropout2 = nn.Dropout(0.2), nn.Dropout(0.2)

    def forward(self, x):
        x = F.relu(self.norm1(self.pool(self.conv1(x))))
        x = F.relu(self.norm2(self.pool(self.conv2(x))))
        x = self.dropout1(torch.flatten(x, 1))
        x = F.relu(self.norm3(self.fc1(x)))
        return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)


def prepare(x):
    """Bytes to the network's input; ensod.json tells ensod the same."""
    mean, std = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (MEAN, STD))
    return (x.float() / 255 - mean) / std


def augmented(x):
    return augment.rotate(augment.shift_and_flip(prepare(x), 4), 10, share=0.3)


def main():
    parser = training.arguments(__doc__, epochs=40, rate=3e-3, decay=0.05, validation=2500)
    training.checkpoint_option(parser)
    parser.add_argument("--hidden", type=int, default=256, help="width of the first linear layer")
    args = parser.parse_args()
    training.begin(args)
    found = datasets.find(args.data, "train", "train.tar.gz", "train-50000.tar.gz")
    pictures, labels, classes = datasets.read_class_folders(found, (32, 32), within="train")
    x, y = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)
    train, held_out = training.split(labels, args.validation, args.seed)
    net, record = training.fit(Net(args.hidden), (x[train], y[train]), (x[held_out], y[held_out]),
                               augmented, prepare, args)

    os.makedirs(args.out, exist_ok=True)
    export_onnx.export(net, "cifar", (3, 32, 32), os.path.join(args.out, "model.onnx"),
                       input_name="image", output_name="log_probabilities", half=True)
    training.write_json(os.path.join(args.out, "ensod.json"), {
        "task": "image-classification", "labels": classes,
        "input": {"size": [32, 32], "channels": 3, "resize": "exact", "mean": MEAN, "std": STD}})
    training.write_json(os.path.join(args.out, "training.json"), {
        "model": "cifar",
        "data": "CIFAR-10 (Krizhevsky 2009) as JPEG files, 50,000 training pictures",
        "data_licence": "none stated; given for research use", **record, "stored": "F16"})
    if args.golden:
        export_onnx.golden(args.golden, "cifar", net, prepare, (32, 32), "RGB", half=True)


if __name__ == "__main__":
    main()
