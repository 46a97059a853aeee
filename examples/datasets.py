# SPDX-License-Identifier: Apache-2.0
"""Readers of labelled data sets, as they are downloaded. numpy and Pillow, nothing else.

    pictures, labels = read_idx("train-images-idx3-ubyte.gz")              MNIST and its likes
    pictures, labels, classes = read_class_folders("train.tar.gz", (32, 32))  a folder a class
    texts, labels = read_csv("train.csv")                                  text,category

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
    if "images-idx3" not in name:
        raise ValueError(f"{images_path}: the labels are found by the name, which must hold 'images-idx3'")
    labels_path = os.path.join(folder, name.replace("images-idx3", "labels-idx1"))
    pictures, labels = read_idx_array(images_path), read_idx_array(labels_path)
    if len(pictures) != len(labels):
        raise ValueError(f"{images_path}: {len(pictures)} pictures, but {len(labels)} labels")
    return pictures, labels.astype(numpy.int64)


# --- class folders --------------------------------------------------------------------------------

def members(path):
    """(name, bytes) of every file of a tar, a tar.gz or a folder, always in the same order."""
    if os.path.isdir(path):
        for here, below, names in os.walk(path):
            below.sort()
            for name in sorted(names):
                full = os.path.join(here, name)
                with open(full, "rb") as f:
                    yield os.path.relpath(full, os.path.dirname(os.path.abspath(path))), f.read()
        return
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                yield member.name, archive.extractfile(member).read()


def read_class_folders(path, size, within=""):
    """Picture files whose folder names the class, .../CLASS/FILE, in a folder, a tar or a tar.gz.
    `within` keeps only what lies below a folder of that name ("train", where there is a "test" too).
    Pictures of another size (width, height) than `size` are made that size. Gives the pictures, the
    labels and the names of the classes, which are numbered in alphabetical order."""
    pictures, names = [], []
    for name, data in members(path):
        folders = name.replace(os.sep, "/").split("/")[:-1]
        if not folders or (within and within not in folders[:-1]):
            continue
        try:
            image = Image.open(io.BytesIO(data)).convert("RGB")
        except OSError as e:
            raise ValueError(f"{path}: {name} is no picture, or a damaged one; take it out") from e
        if image.size != size:
            image = image.resize(size, Image.BILINEAR)
        pictures.append(numpy.asarray(image))
        names.append(folders[-1])
    if not pictures:
        raise ValueError(f"{path}: there are no pictures in class folders" + (f" in {within}/" if within else ""))
    classes, labels = numpy.unique(names, return_inverse=True)
    return numpy.stack(pictures), labels.astype(numpy.int64), classes.tolist()


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
