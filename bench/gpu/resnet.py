# SPDX-License-Identifier: Apache-2.0
"""ResNet-50 for the benches of a GPU, as it is deployed: batch norms are folded into the convolutions. Its layers,
random weights, and an ONNX file of it. Python's standard library only."""

import array
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "end_to_end"))
from make_models import field, node, value_info  # noqa: E402

# Blocks, channels inside, stride of its first block.
STAGES = [(3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)]
FLOAT = 1


class Conv:
    """A convolution with a bias; `gain`: how much larger its outputs are than its inputs."""

    def __init__(self, name, source, n_in, n_out, size=1, stride=1, gain=1.0):
        self.name, self.source, self.n_in, self.n_out = name, source, n_in, n_out
        self.size, self.stride, self.gain = size, stride, gain

    def dims(self):
        return [self.n_out, self.n_in, self.size, self.size]


def blocks():
    """[(name, its source, [three convolutions], shortcut or None)] in order."""
    out, wide, source = [], 64, "pooled"
    for stage, (n, inside, stride) in enumerate(STAGES):
        for i in range(n):
            name, step = f"{stage}.{i}", stride if i == 0 else 1
            convs = [Conv(name + ".a", source, wide, inside), Conv(name + ".b", name + ".a.relu", inside, inside, 3, step),
                     Conv(name + ".c", name + ".b.relu", inside, 4 * inside, gain=0.3)]
            shortcut = Conv(name + ".shortcut", source, wide, 4 * inside, 1, step, 0.7) if i == 0 else None
            out.append((name, source, convs, shortcut))
            wide, source = 4 * inside, name
    return out


STEM = Conv("stem", "image", 3, 64, 7, 2)


def weights(seed=0):
    """{name: (dims, array of floats)}; numbers of one random block, used again and again."""
    rng = random.Random(seed)
    block = array.array("f", [rng.gauss(0, 1) for _ in range(1 << 16)])
    tensors = {}

    def put(name, dims, deviation):
        n, start = 1, len(tensors) * 97 % len(block)
        for d in dims:
            n *= d
        scaled = array.array("f", [deviation * x for x in block[start:] + block[:start]])
        tensors[name] = dims, (scaled * (n // len(scaled) + 1))[:n]

    convs = [STEM] + [c for _, _, three, shortcut in blocks() for c in [*three, shortcut] if c is not None]
    for c in convs:
        put(c.name + ".weight", c.dims(), c.gain * (2 / (c.n_in * c.size * c.size)) ** 0.5)
        put(c.name + ".bias", [c.n_out], 0.02)
    put("classes.weight", [1000, 2048], 0.02)
    put("classes.bias", [1000], 0.02)
    return tensors


def tensor(name, dims, numbers):
    return b"".join(field(1, d) for d in dims) + field(2, FLOAT) + field(8, name) + field(9, numbers.tobytes())


def conv_node(c):
    pad = c.size // 2
    return node("Conv", [c.source, c.name + ".weight", c.name + ".bias"], c.name, kernel_shape=[c.size] * 2,
                strides=[c.stride] * 2, pads=[pad] * 4)


def write_onnx(path, tensors, side=224):
    """For pictures of side x side."""
    nodes = [conv_node(STEM), node("Relu", ["stem"], "stem.relu"),
             node("MaxPool", ["stem.relu"], "pooled", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])]
    last = "pooled"
    for name, source, convs, shortcut in blocks():
        for c in convs[:2]:
            nodes += [conv_node(c), node("Relu", [c.name], c.name + ".relu")]
        nodes += [conv_node(shortcut)] if shortcut else []
        nodes += [conv_node(convs[2]), node("Add", [convs[2].name, shortcut.name if shortcut else source], name + ".sum"),
                  node("Relu", [name + ".sum"], name)]
        last = name
    nodes += [node("GlobalAveragePool", [last], "average"), node("Flatten", ["average"], "flat", axis=1),
              node("Gemm", ["flat", "classes.weight", "classes.bias"], "logits", transB=1)]
    graph = (b"".join(field(1, n) for n in nodes) + field(2, "resnet50")
             + b"".join(field(5, tensor(name, *told)) for name, told in tensors.items())
             + field(11, value_info("image", ["batch", 3, side, side])) + field(12, value_info("logits", ["batch", 1000])))
    with open(path, "wb") as f:
        f.write(field(1, 8) + field(2, "ensod bench/gpu/resnet.py") + field(7, graph) + field(8, field(1, "") + field(2, 13)))
