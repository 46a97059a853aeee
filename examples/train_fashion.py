#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train models/fashion: the convolutional network of MNIST fame on Fashion-MNIST.

    examples/train_fashion.py --data ../shared/data/fashion-mnist --out models/fashion

Reads train-images-idx3-ubyte.gz and its labels, nothing of the test half. Writes model.onnx and
ensod.json, which is what ensod needs to serve it (ensod models), and training.json, the record of
the run.
"""
import os

import torch
from torch import nn
import torch.nn.functional as F

import augment
import datasets
import export_onnx
import training

LABELS = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
          "Ankle boot"]
MEAN, STD = 0.286, 0.353  # of all pixels of the training pictures, which run from 0 to 1


class Net(nn.Module):
    """28 x 28 -> conv 26 x 26 x 32 -> conv 24 x 24 x 64 -> pool 12 x 12 x 64 -> 128 -> 10

    The pool stands before norm and relu, which then have a quarter of the numbers to do."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 32, 3), nn.BatchNorm2d(32)
        self.conv2, self.norm2 = nn.Conv2d(32, 64, 3), nn.BatchNorm2d(64)
        self.fc1, self.norm3 = nn.Linear(64 * 12 * 12, 128), nn.BatchNorm1d(128)
        self.fc2 = nn.Linear(128, 10)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)

    def forward(self, x):
        x = F.relu(self.norm1(self.conv1(x)))
        x = self.dropout1(F.relu(self.norm2(F.max_pool2d(self.conv2(x), 2))))
        x = F.relu(self.norm3(self.fc1(torch.flatten(x, 1))))
        return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)


def prepare(x):
    """Bytes to the network's input; ensod.json tells ensod the same."""
    return (x.float() / 255 - MEAN) / STD


def augmented(x):
    x = augment.shift_and_flip(x, 2).float() / 255
    x = augment.cutout(augment.rotate(x, 8, share=0.3), 8, share=0.5)
    return (x - MEAN) / STD


def main():
    parser = training.arguments(__doc__, epochs=40, rate=4e-3, decay=0.02, validation=5000)
    training.checkpoint_option(parser)
    args = parser.parse_args()
    training.begin(args)
    images = datasets.find(args.data, "train-images-idx3-ubyte.gz", "train-images-idx3-ubyte")
    pictures, labels = datasets.read_idx(images)
    x, y = torch.from_numpy(pictures).unsqueeze(1), torch.from_numpy(labels)
    train, held_out = training.split(labels, args.validation, args.seed)
    net, record = training.fit(Net(), (x[train], y[train]), (x[held_out], y[held_out]), augmented,
                               prepare, args)

    os.makedirs(args.out, exist_ok=True)
    export_onnx.export(net, "fashion", (1, 28, 28), os.path.join(args.out, "model.onnx"),
                       input_name="image", output_name="log_probabilities", half=True)
    training.write_json(os.path.join(args.out, "ensod.json"), {
        "task": "image-classification", "labels": LABELS,
        "input": {"size": [28, 28], "channels": 1, "resize": "exact", "mean": MEAN, "std": STD}})
    training.write_json(os.path.join(args.out, "training.json"), {
        "model": "fashion", "data": "Fashion-MNIST (Xiao, Rasul, Vollgraf 2017), 60,000 training pictures",
        "data_licence": "MIT", **record, "stored": "F16"})
    if args.golden:
        export_onnx.golden(args.golden, "fashion", net, prepare, (28, 28), "L", half=True)


if __name__ == "__main__":
    main()
