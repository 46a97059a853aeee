#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Convolutional networks in ensod against torchvision, by way of ONNX files.

    tests/parity/vision_parity.py BUILD_DIR

Needs torch and torchvision (Debian's python3-torch 1.13 and python3-torchvision 0.14); their
exporter writes ONNX without the onnx package. Weights are random, running statistics are those of
random pictures, so that every layer works on numbers of ordinary size. Each network is exported
with a batch of any size; its logits are compared alone and in batches, which must give the same
bits. Two networks also with batch norms left in the file, as other exporters do.
The bundled models are compared as they are with ONNX Runtime, where it is installed.
"""
import glob
import os
import sys
import warnings

try:
    import numpy
    import torch
    import torchvision
    from torch import nn
except ImportError as e:
    print(f"skipped: {e}; install Debian's python3-torch and python3-torchvision")
    sys.exit(77)

from parity import TOP, Engine, Table, arguments, error, scratch

warnings.filterwarnings("ignore")


def settle(model, dims, seed):
    """Random weights; running statistics from two batches of noise, dropout off."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            n_in = module.weight[0].numel()
            module.weight.data = torch.randn(module.weight.shape, generator=generator) * (2 / n_in) ** 0.5
            if module.bias is not None:
                module.bias.data = torch.randn(module.bias.shape, generator=generator) * 0.1
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data = torch.rand(module.weight.shape, generator=generator) + 0.5
            module.bias.data = torch.randn(module.bias.shape, generator=generator) * 0.2
            module.momentum = None  # the plain mean over batches
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    with torch.no_grad():
        for _ in range(2):
            model(torch.randn((4, *dims), generator=generator))
    return model.eval()


def export(model, dims, path, keep_norms=False):
    mode = torch.onnx.TrainingMode.PRESERVE if keep_norms else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(model, torch.zeros((2, *dims)), path, input_names=["image"], output_names=["logits"],
                      opset_version=13, training=mode, do_constant_folding=not keep_norms,
                      dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}})


def as_item(folder, x, name):
    path = os.path.join(folder, name)
    x.numpy().astype(numpy.float32).tofile(path)
    return {"inputs": [{"dtype": "FP32", "shape": list(x.shape), "file": path}]}


def compare(table, cli, name, model, path, dims, scratch_dir, isa="auto", n=3):
    """n pictures: alone, all in one sample, and as a batch of samples."""
    x = torch.randn((n, *dims), generator=torch.Generator().manual_seed(7))
    items = [as_item(scratch_dir, x[i:i + 1], f"{i}.raw") for i in range(n)]
    whole = as_item(scratch_dir, x, "all.raw")
    try:
        with Engine(cli, path, isa) as engine:
            alone = numpy.concatenate([engine.run([item])[0][0] for item in items])
            batch = numpy.concatenate([out[0] for out in engine.run(items)])
            together = engine.run([whole])[0][0]
    except RuntimeError as e:
        table.problem(name, e)
        return
    with torch.no_grad():
        in_float32 = model(x)
        model.double()
        should = model(x.double())
        model.float()
    errors = [error(a, s) for a, s in zip(together, should)]
    table.row(f"{name} ({isa})", f"{n} x {' x '.join(map(str, dims))}", max(errors),
              max(error(a, s) for a, s in zip(in_float32, should)),
              bool((alone == together).all() and (batch == together).all()))


class Fashion(nn.Module):
    """The architecture of models/fashion, of any width."""

    def __init__(self, c1, c2, wide):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, c1, 3), nn.Conv2d(c1, c2, 3)
        self.fc1, self.fc2 = nn.Linear(c2 * 144, wide), nn.Linear(wide, 10)

    def forward(self, x):
        x = torch.max_pool2d(self.conv2(self.conv1(x).relu()).relu(), 2)
        return torch.log_softmax(self.fc2(self.fc1(x.flatten(1)).relu()), 1)


class Cifar(nn.Module):
    """A small CNN for 32 x 32 colour pictures: three blocks with batch norm."""

    def __init__(self):
        super().__init__()
        blocks, n_in = [], 3
        for n in (32, 64, 128):
            blocks += [nn.Conv2d(n_in, n, 3, padding=1, bias=False), nn.BatchNorm2d(n), nn.ReLU(),
                       nn.Conv2d(n, n, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            n_in = n
        self.features = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(128, 10))

    def forward(self, x):
        return self.head(self.features(x))


def bundled(table, cli):
    """The pictures' models that come with ensod, as their files are: ONNX Runtime knows the answers."""
    try:
        import onnxruntime
    except ImportError as e:
        print(f"skipped: {e}; the bundled models are not compared with ONNX Runtime")
        return
    folders = sorted(os.path.dirname(p) for p in glob.glob(os.path.join(TOP, "models/*/model.onnx")))
    for folder in folders:
        session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"), providers=["CPUExecutionProvider"])
        dims = session.get_inputs()[0].shape[1:]
        x = torch.randn((5, *dims), generator=torch.Generator().manual_seed(7))
        should = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
        with scratch() as files, Engine(cli, folder) as engine:
            items = [as_item(files, x[i:i + 1], f"{i}.raw") for i in range(len(x))]
            alone = numpy.concatenate([engine.run([item])[0][0] for item in items])
            batch = numpy.concatenate([out[0] for out in engine.run(items)])
        table.row(f"models/{os.path.basename(folder)} (ONNX Runtime)", f"5 x {' x '.join(map(str, dims))}",
                  max(error(a, s) for a, s in zip(alone, should)), bits=bool((alone == batch).all()))


def networks():
    """(name, network, input, keep batch norms, instruction sets)"""
    m = torchvision.models
    big = (3, 224, 224)
    yield "fashion, 32 and 64 channels", Fashion(32, 64, 128), (1, 28, 28), False, ("auto", "generic")
    yield "cifar", Cifar(), (3, 32, 32), True, ("auto", "generic")
    yield "ResNet-18", m.resnet18(weights=None), big, False, ("auto", "generic")
    yield "ResNet-18, batch norms in the file", m.resnet18(weights=None), big, True, ("auto",)
    yield "MobileNet v2", m.mobilenet_v2(weights=None), big, False, ("auto", "generic")
    yield "MobileNet v2, batch norms in the file", m.mobilenet_v2(weights=None), big, True, ("auto",)
    yield "AlexNet", m.alexnet(weights=None), big, False, ("auto",)
    yield "MobileNet v3 small", m.mobilenet_v3_small(weights=None), big, False, ("auto",)
    yield "ShuffleNet v2 x0.5", m.shufflenet_v2_x0_5(weights=None), big, False, ("auto",)
    yield "SqueezeNet 1.1", m.squeezenet1_1(weights=None), big, False, ("auto",)
    yield "EfficientNet B0", m.efficientnet_b0(weights=None), big, False, ("auto",)
    yield "DenseNet-121", m.densenet121(weights=None), big, True, ("auto",)
    yield "GoogLeNet", m.googlenet(weights=None, aux_logits=False, init_weights=False), big, False, ("auto",)


def main():
    cli = arguments()
    table = Table(f"torchvision {torchvision.__version__}, torch {torch.__version__}, ONNX opset 13")
    bundled(table, cli)
    for seed, (name, model, dims, keep_norms, sets) in enumerate(networks()):
        settle(model, dims, seed)
        with scratch() as folder:
            path = os.path.join(folder, "model.onnx")
            export(model, dims, path, keep_norms)
            for isa in sets:
                compare(table, cli, name, model, path, dims, folder, isa)
    return table.finish()


if __name__ == "__main__":
    sys.exit(main())
