# SPDX-License-Identifier: Apache-2.0
"""Pictures for the benches of a GPU, with random content: as PNG files, as clients send them, and as the raw tensors
that both engines of a comparison read. Python's standard library only."""

import array
import os
import random
import struct
import zlib


def png(channels, height, width, samples):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    row = width * channels
    rows = b"".join(b"\0" + samples[y * row:(y + 1) * row] for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def write_files(folder, n, dims, seed=1):
    """Paths of n pictures of dims [channels, height, width]."""
    rng = random.Random(seed)
    paths = [os.path.join(folder, f"{dims[0]}x{dims[1]}x{dims[2]}-{i}.png") for i in range(n)]
    for path in paths:
        with open(path, "wb") as f:
            f.write(png(*dims, rng.randbytes(dims[0] * dims[1] * dims[2])))
    return paths


def write_tensor(path, n, dims, seed=1):
    """n pictures of raw float32; the numbers of a few thousand, again and again. Their dims."""
    rng = random.Random(seed)
    block = array.array("f", [rng.gauss(0, 1) for _ in range(1 << 16)])
    count = n * dims[0] * dims[1] * dims[2]
    with open(path, "wb") as f:
        (block * (count // len(block) + 1))[:count].tofile(f)
    return [n, *dims]
