# SPDX-License-Identifier: Apache-2.0
"""The small ONNX files of models/ as PyTorch modules: a reader of protobuf's wire format and the few operators that
convolutional classifiers have. What it does not know it refuses by name."""

import struct

import torch
import torch.nn.functional as F

FLOAT, FLOAT16 = 1, 10
DTYPES = {FLOAT: torch.float32, FLOAT16: torch.float16, 7: torch.int64}


def varint(data, at):
    n = shift = 0
    while True:
        byte = data[at]
        n |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return n, at


def fields(data):
    """{number: [values]}; whole numbers, or bytes of what has a length, or of a float."""
    found, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            size = {1: 8, 5: 4}[kind]
            value, at = data[at:at + size], at + size
        found.setdefault(tag >> 3, []).append(value)
    return found


def numbers(values):
    """Repeated whole numbers, packed or not."""
    out = []
    for v in values:
        if isinstance(v, int):
            out.append(v)
            continue
        at = 0
        while at < len(v):
            n, at = varint(v, at)
            out.append(n)
    return out


def constant(f):
    dims, dtype = numbers(f.get(1, [])), DTYPES[f[2][0]]
    return torch.frombuffer(bytearray(f[9][0]), dtype=dtype).reshape(dims)


def attribute(f):
    if 7 in f or 8 in f:
        return numbers(f[8]) if 8 in f else [struct.unpack("<f", x)[0] for x in f[7]]
    return struct.unpack("<f", f[2][0])[0] if 2 in f else f.get(3, [0])[0]


class Graph(torch.nn.Module):
    """A file's graph; constants are of `dtype`, other operators run as the file has them."""

    def __init__(self, path, dtype, device):
        super().__init__()
        with open(path, "rb") as f:
            graph = fields(fields(f.read())[7][0])
        self.known = {}
        for raw in graph[5]:
            f = fields(raw)
            self.known[f[8][0].decode()] = constant(f)
        self.nodes = []
        for raw in graph[1]:
            f = fields(raw)
            attributes = {a[1][0].decode(): attribute(a) for a in map(fields, f.get(5, []))}
            self.add(f[4][0].decode(), [i.decode() for i in f.get(1, [])], f[2][0].decode(), attributes)
        self.known = {k: v.to(device, dtype) if v.is_floating_point() else v.to(device) for k, v in self.known.items()}
        self.known = {k: v.contiguous(memory_format=torch.channels_last) if v.dim() == 4 and dtype != torch.float32 else v
                      for k, v in self.known.items()}
        self.source, self.result = fields(graph[11][0])[1][0].decode(), fields(graph[12][0])[1][0].decode()

    def add(self, op, inputs, output, attributes):
        """A cast of a constant is made now, not at each run."""
        if op == "Cast" and inputs[0] in self.known:
            self.known[output] = self.known[inputs[0]]
            return
        if not hasattr(self, "op_" + op):
            raise NotImplementedError(f"no {op} here")
        self.nodes.append((getattr(self, "op_" + op), inputs, output, attributes))

    def forward(self, x):
        values = {**self.known, self.source: x}
        for run, inputs, output, attributes in self.nodes:
            values[output] = run([values[i] for i in inputs], attributes)
        return values[self.result]

    @staticmethod
    def op_Conv(x, a):
        top, left, bottom, right = a.get("pads", [0] * 4)
        if (top, left) != (bottom, right):
            raise NotImplementedError("padding of one side")
        return F.conv2d(*x, stride=a.get("strides", 1), padding=(top, left), dilation=a.get("dilations", 1),
                        groups=a.get("group", 1))

    @staticmethod
    def op_MaxPool(x, a):
        return F.max_pool2d(x[0], a["kernel_shape"], a["strides"], tuple(a.get("pads", [0, 0])[:2]))

    @staticmethod
    def op_BatchNormalization(x, a):
        return F.batch_norm(x[0], x[3], x[4], x[1], x[2], eps=a.get("epsilon", 1e-5))

    @staticmethod
    def op_Relu(x, a):
        return F.relu(x[0])

    @staticmethod
    def op_Flatten(x, a):
        return x[0].flatten(a.get("axis", 1))

    @staticmethod
    def op_MatMul(x, a):
        return x[0] @ x[1]

    @staticmethod
    def op_Gemm(x, a):
        return F.linear(x[0], x[1] if a.get("transB") else x[1].t(), x[2])

    @staticmethod
    def op_LogSoftmax(x, a):
        return F.log_softmax(x[0].float(), dim=a.get("axis", 1))
