# SPDX-License-Identifier: Apache-2.0
"""Readers of labelled data sets, as they are downloaded. numpy and Pillow, nothing else.

    pictures, labels = read_idx("train-images-idx3-ubyte.gz")          MNIST and its likes
    pictures, labels = read_tar("train.tar.gz", classes, size=(32, 32)) a folder a class, in a tar
    texts, labels = read_csv("train.csv")                              text,label

Pictures come as one uint8 array: (items, height, width) or (items, height, width, 3).
"""
import csv
import gzip
import io
import os
import struct
import tarfile

import numpy
from PIL import Image


def find(folder, *names):
    """The first of the names that is in the folder, so that packed and unpacked downloads work."""
    for name in names:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    raise SystemExit(f"{folder}: there is none of {', '.join(names)}")


# --- idx ----------------------------------------------------------------------------------------

def read_idx_array(path):
    """One idx file (or idx.gz): two zero bytes, type 8 (uint8), number of sides, the sides as
    big-endian 32-bit numbers, then the bytes."""
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as f:
        data = f.read()
    zero, kind, n_sides = struct.unpack_from(">HBB", data)
    if zero != 0 or kind != 8:
        raise ValueError(f"{path}: not an idx file of bytes")
    sides = struct.unpack_from(f">{n_sides}I", data, 4)
    return numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * n_sides).reshape(sides).copy()


def read_idx(images_path):
    """Pictures, and the labels of the file beside them: X-images-idx3-ubyte, X-labels-idx1-ubyte."""
    folder, name = os.path.split(images_path)
    labels_path = os.path.join(folder, name.replace("images-idx3", "labels-idx1"))
    pictures, labels = read_idx_array(images_path), read_idx_array(labels_path)
    if len(pictures) != len(labels):
        raise ValueError(f"{images_path}: {len(pictures)} pictures, but {len(labels)} labels")
    return pictures, labels.astype(numpy.int64)


# --- tar of class folders -------------------------------------------------------------------------

def read_tar(path, classes, size, within=""):
    """A tar or tar.gz of picture files whose folder names the class: .../CLASS/FILE. `within` keeps
    only what lies in a folder of that name ("train" of an archive that has "test" too). Pictures of
    another size (width, height) than `size` are made that size."""
    index = {name: i for i, name in enumerate(classes)}
    pictures, labels = [], []
    with tarfile.open(path) as archive:
        for member in archive:
            folders = member.name.split("/")[:-1]
            if not member.isfile() or not folders or (within and within not in folders):
                continue
            if folders[-1] not in index:
                raise ValueError(f"{path}: {member.name}: there is no class '{folders[-1]}'")
            image = Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB")
            if image.size != size:
                image = image.resize(size, Image.BILINEAR)
            pictures.append(numpy.asarray(image))
            labels.append(index[folders[-1]])
    return numpy.stack(pictures), numpy.array(labels)


def read_lines(path):
    """The lines of a text file that are not empty, such as the names of the classes."""
    with open(path, encoding="utf-8") as f:
        return [line.strip() for line in f if line.strip()]


# --- CSV ------------------------------------------------------------------------------------------

def read_csv(path, text_column="text", label_column="category"):
    """Texts and the names of their labels; the first line names the columns."""
    with open(path, encoding="utf-8", newline="") as f:
        rows = csv.DictReader(f)
        missing = {text_column, label_column} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: no column {', '.join(sorted(missing))}; there are: "
                             f"{', '.join(rows.fieldnames or ())}")
        pairs = [(row[text_column], row[label_column]) for row in rows]
    return [text for text, _ in pairs], [label for _, label in pairs]
