#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small ONNX networks with random weights and what torch makes of some inputs.

    python3 tests/engine/model/golden/make_onnx.py

Writes a folder per case beside itself: model.onnx as torch 1.13 exports it, and expected.json with
outputs computed in float64. Inputs are ramps that both sides compute (ramp below), so no data is
stored. The case "pictures" has an ensod.json and two PNG pictures of exactly the net's size.
Needs torch, numpy and Pillow, but no onnx package. Deterministic for one version of torch.
"""
import os
import warnings

import numpy
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from golden import fresh_folder, numbers, write_expected, write_json

warnings.filterwarnings("ignore")


def ramp(dims, seed):
    """Sixteen bits of mess, the same in check_model.c; exact in float32, in [-1, 1)."""
    n = int(numpy.prod(dims))
    k = (seed * 7919 + numpy.arange(n, dtype=numpy.int64) * 104729) % 65521 % 2048
    return torch.tensor(k / 1024 - 1, dtype=torch.float64).reshape(dims)


def whole_ramp(dims, seed, below):
    n = int(numpy.prod(dims))
    k = (seed * 7919 + numpy.arange(n, dtype=numpy.int64) * 104729) % 65521 % below
    return torch.tensor(k).reshape(dims)


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, p in list(model.named_parameters()) + list(model.named_buffers()):
        if p.dtype != torch.float32:
            continue
        if name.endswith("running_var"):
            p.data = torch.rand(p.shape, generator=generator) + 0.3
        elif p.dim() < 2:
            centre = 1.0 if name.endswith("weight") else 0.0
            p.data = torch.randn(p.shape, generator=generator) * 0.3 + centre
        else:
            n_in = p[0].numel()
            p.data = torch.randn(p.shape, generator=generator) * (1.8 / n_in) ** 0.5
    return model.eval()


# --- the networks -------------------------------------------------------------------------------

class Plain(nn.Module):
    """Every kind of convolution and pooling, on odd sizes."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 10, 3, padding=1), nn.BatchNorm2d(10, eps=0.1), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1, ceil_mode=True),
            nn.Conv2d(10, 12, (3, 2), stride=(2, 1), padding=(1, 0), groups=2), nn.ReLU(),
            nn.Conv2d(12, 9, 3, padding=2, dilation=2, bias=False), nn.BatchNorm2d(9), nn.ReLU(),
            nn.AvgPool2d(3, 2, 1, count_include_pad=False),
            nn.Conv2d(9, 18, 3, padding=1, groups=9), nn.LeakyReLU(0.2),
            nn.AvgPool2d(2, 1, 1, count_include_pad=True),
            nn.Conv2d(18, 7, 1), nn.Tanh(), nn.MaxPool2d(2, 1))
        self.head = nn.Sequential(nn.Linear(7 * 3 * 5, 19), nn.ReLU(), nn.Dropout(0.5), nn.Linear(19, 6))

    def forward(self, x):
        return self.head(torch.flatten(self.features(x), 1))


class Inverted(nn.Module):
    """MobileNet's block: expand, depthwise, squeeze and excite, project, add."""

    def __init__(self, n_in, n_out, expand, stride, act, squeeze):
        super().__init__()
        n = n_in * expand
        self.expand = nn.Sequential(nn.Conv2d(n_in, n, 1, bias=False), nn.BatchNorm2d(n), act())
        self.depthwise = nn.Sequential(
            nn.Conv2d(n, n, 3, stride, 1, groups=n, bias=False), nn.BatchNorm2d(n, eps=0.01), act())
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(n, n // 4, 1), nn.ReLU(), nn.Conv2d(n // 4, n, 1),
            nn.Hardsigmoid()) if squeeze else None
        self.project = nn.Sequential(nn.Conv2d(n, n_out, 1, bias=False), nn.BatchNorm2d(n_out))
        self.add = n_in == n_out and stride == 1

    def forward(self, x):
        y = self.depthwise(self.expand(x))
        if self.squeeze is not None:
            y = y * self.squeeze(y)
        y = self.project(y)
        return x + y if self.add else y


class Mobile(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.blocks = nn.Sequential(Inverted(8, 8, 2, 1, nn.ReLU6, True),
                                    Inverted(8, 12, 3, 2, nn.Hardswish, False),
                                    Inverted(12, 12, 2, 1, nn.SiLU, True))
        self.classifier = nn.Linear(12, 5)

    def forward(self, x):
        return F.log_softmax(self.classifier(self.blocks(self.stem(x)).mean([2, 3])), 1)


class Residual(nn.Module):
    """ResNet's blocks (the activation after the addition), DenseNet's concatenation, Inception's
    branches, ShuffleNet's shuffle."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(4, 8, 3, padding=1)
        self.a1, self.n1 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.a2, self.n2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.down = nn.Conv2d(8, 12, 1, stride=2)
        self.b1 = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.before, self.after = nn.BatchNorm2d(12), nn.Conv2d(12, 4, 3, padding=1)
        self.branches = nn.ModuleList([nn.Conv2d(16, 6, 1), nn.Conv2d(16, 6, 5, padding=2), nn.Conv2d(16, 4, 1)])
        self.out = nn.Conv2d(16, 5, 1)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(x + self.n2(self.a2(F.relu(self.n1(self.a1(x))))))
        x = F.relu(self.b1(x) + self.down(x))
        x = torch.cat([x, self.after(F.relu(self.before(x)))], 1)
        a, b, c = (branch(x) for branch in self.branches)
        x = torch.cat([a, F.relu(b), F.max_pool2d(c, 3, 1, 1)], 1)
        n, channels, height, width = x.size()
        x = x.view(n, 2, channels // 2, height, width).transpose(1, 2).reshape(n, -1, height, width)
        x = self.out(x)
        return F.adaptive_max_pool2d(x, 1).flatten(1)


class Activations(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(12, 24)
        self.acts = nn.ModuleList([
            nn.ReLU(), nn.LeakyReLU(0.1), nn.ELU(0.7), nn.SELU(), nn.CELU(1.3), nn.Softplus(),
            nn.Softsign(), nn.PReLU(24), nn.GELU(), nn.SiLU(), nn.Mish(), nn.Hardtanh(-0.5, 0.8),
            nn.Tanh(), nn.Sigmoid(), nn.Hardsigmoid(), nn.Hardswish(), nn.ReLU6(), nn.LogSigmoid(),
            nn.GELU(approximate="tanh"), nn.Softmax(1), nn.LogSoftmax(1)])

    def forward(self, x):
        x = self.first(x)
        return torch.cat([act(x * 2) for act in self.acts], 1)


class Arithmetic(nn.Module):
    """What is left: reductions, slices, pads, norms, attention by hand."""

    def __init__(self):
        super().__init__()
        self.norm, self.group, self.instance = nn.LayerNorm(16), nn.GroupNorm(2, 6), nn.InstanceNorm2d(6)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.scale = nn.Parameter(torch.zeros(1, 6, 1, 1))

    def attend(self, x):
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        split = lambda t: t.reshape(t.shape[0], t.shape[1], 2, 8).transpose(1, 2)
        weights = torch.softmax(split(q) @ split(k).transpose(-2, -1) / 8 ** 0.5, -1)
        return x + self.out((weights @ split(v)).transpose(1, 2).flatten(2))

    def forward(self, x):
        a, b = self.group(x), self.instance(x)[:, :, 1:-1, ::2]
        x = F.pad(a, (1, 1, 2, 0), mode="reflect") * (1 + self.scale)
        x = x + F.pad(b, (3, 3, 2, 2), value=0.25)[..., 1:]
        y = self.attend(x.flatten(2).reshape(x.shape[0], -1, 16))
        z = torch.stack([y.mean(1), y.amax(1), y.pow(2).sum(1).sqrt(), y.abs().amin(1), y.std(1)], 1)
        mask = torch.where(z > 0.5, z.exp().clamp(max=3), torch.minimum(z, torch.full_like(z, 0.1)))
        return mask.reshape(-1, 80)


class Tables(nn.Module):
    """Driven by its own tensors: whole numbers in, two outputs."""

    def __init__(self):
        super().__init__()
        self.words, self.mix = nn.Embedding(37, 9), nn.Linear(9 + 3, 11)

    def forward(self, ids, extra):
        x = torch.cat([self.words(ids).mean(1), extra.float()], 1)
        x = self.mix(x).relu()
        return x, x.argmax(1, keepdim=True), x[:, :4] > 0.5


# --- cases --------------------------------------------------------------------------------------

def export(model, inputs, path, names, outputs, dynamic=True, opset=13, keep_norms=False):
    """keep_norms: batch norms stay nodes of their own, for ensod to fold."""
    mode = torch.onnx.TrainingMode.PRESERVE if keep_norms else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(model, inputs, path, input_names=names, output_names=outputs,
                      opset_version=opset, training=mode, do_constant_folding=not keep_norms,
                      dynamic_axes={n: {0: "batch"} for n in names + outputs} if dynamic else None)


def run(model, inputs):
    """In float64, whatever the type of the inputs' whole numbers."""
    with torch.no_grad():
        out = model(*inputs)
    return list(out) if isinstance(out, tuple) else [out]


def case(name, model, dims, seed, batches=((1, 0), (3, 1), (2, 5)), dynamic=True, **how):
    """One float input, one output; an item per (rows, ramp's seed)."""
    folder = fresh_folder(name)
    randomise(model, seed)
    export(model, ramp((2 if dynamic else batches[0][0], *dims), 9).float(),
           os.path.join(folder, "model.onnx"), ["x"], ["y"], dynamic, **how)
    model.double()
    items = [{"want": "raw", "inputs": [{"ramp": s, "dtype": "FP32", "shape": [rows, *dims]}],
              "outputs": [numbers(run(model, [ramp((rows, *dims), s)])[0])]}
             for rows, s in batches]
    write_expected(folder, {"task": "tensors", "format": "onnx", "batched": dynamic}, items)


def tables():
    folder = fresh_folder("onnx_tables")
    model = randomise(Tables(), 6)
    export(model, (whole_ramp((2, 5), 0, 37), whole_ramp((2, 3), 0, 5).int()),
           os.path.join(folder, "model.onnx"), ["ids", "extra"], ["x", "best", "large"])
    model.double()
    items = []
    for rows, seed in ((1, 0), (4, 1), (2, 2)):
        ids, extra = whole_ramp((rows, 5), seed, 37), whole_ramp((rows, 3), seed + 1, 5)
        with torch.no_grad():
            x = model.mix(torch.cat([model.words(ids).mean(1), extra.double()], 1)).relu()
        items.append({"want": "raw", "inputs": [
            {"ramp": seed, "below": 37, "dtype": "INT64", "shape": [rows, 5]},
            {"ramp": seed + 1, "below": 5, "dtype": "INT32", "shape": [rows, 3]}],
            "outputs": [numbers(x), numbers(x.argmax(1, keepdim=True).double()),
                        numbers((x[:, :4] > 0.5).double())]})
    write_expected(folder, {"task": "tensors", "format": "onnx", "batched": True}, items)


LABELS = ["circle", "square", "waves", "noise", "nothing"]


def pictures():
    """The whole way from PNG to probabilities; nothing is resized, so it must be exact."""
    folder = fresh_folder("onnx_pictures")
    model = randomise(Mobile(), 7)
    export(model, ramp((2, 3, 20, 14), 0).float(), os.path.join(folder, "model.onnx"), ["image"], ["scores"])
    model.double()
    mean, std = [0.5, 0.25, 0.4], [0.2, 0.3, 0.25]
    write_json(os.path.join(folder, "ensod.json"),
               {"task": "image-classification", "labels": LABELS, "input": {"mean": mean, "std": std}})
    items = []
    for i, kind in enumerate(("RGB", "L")):
        y, x = numpy.mgrid[0:20, 0:14]
        planes = [(x * 13 + y * 7 + i * 40) % 256, (y * y + 3 * x) % 256, (x * y * 5) % 256]
        samples = numpy.stack(planes, -1).astype(numpy.uint8)
        picture = Image.fromarray(samples if kind == "RGB" else samples[:, :, 1].copy())
        picture.save(os.path.join(folder, f"{i}.png"))
        rgb = numpy.asarray(picture.convert("RGB")).astype(numpy.float64) / 255
        tensor = torch.tensor((rgb - mean) / std).permute(2, 0, 1)[None]
        scores = run(model, [tensor])[0]
        items.append({"image": f"{i}.png", "want": "raw", "outputs": [numbers(scores)]})
        items.append({"image": f"{i}.png", "want": "scores", "outputs": [numbers(scores.exp())]})
    write_expected(folder, {"task": "image-classification", "format": "onnx", "labels": LABELS,
                            "multi_label": False, "batched": True}, items)


def main():
    case("onnx_plain", Plain(), (3, 21, 19), 1, keep_norms=True)
    case("onnx_plain_fixed", Plain(), (3, 21, 19), 1, ((1, 3), (1, 4)), dynamic=False, opset=11)
    case("onnx_mobile", Mobile(), (3, 20, 14), 2, keep_norms=True, opset=14)
    case("onnx_residual", Residual(), (4, 11, 13), 3, keep_norms=True)
    case("onnx_activations", Activations(), (12,), 4, opset=14)
    case("onnx_arithmetic", Arithmetic(), (6, 6, 6), 5)
    tables()
    pictures()


if __name__ == "__main__":
    main()
