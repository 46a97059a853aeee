# SPDX-License-Identifier: Apache-2.0
"""From a PyTorch network to a model.onnx that ensod (or any ONNX runtime) serves.

export() traces the network with any batch size. With half=True the large weights are stored as
float16, which halves the file; a Cast node behind each makes them float32 again, and ensod does that
once, when it loads the file. The arithmetic stays float32.

golden() writes what the network itself, unrounded, answers to a few pictures, so that a test can
compare what comes out of ensod with it.
"""
import inspect
import json
import os

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
import torch
from PIL import Image

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PICTURES = ["examples/pictures/sneaker.png", "examples/pictures/ship.png"] + [
    f"tests/models/golden/{name}.png" for name in ("rings", "bands", "noise")]


def export(net, name, shape, path, input_name, output_name, half):
    """`name` is the graph's; `shape` is that of one picture: channels, height, width."""
    net.eval()
    # The tracing exporter: newer versions have another one beside it, and of late as the default.
    more = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    torch.onnx.export(net, torch.zeros(1, *shape), path, opset_version=13, input_names=[input_name],
                      output_names=[output_name], do_constant_folding=True,
                      dynamic_axes={input_name: {0: "batch"}, output_name: {0: "batch"}}, **more)
    model = onnx.load(path)
    model.graph.name = name
    if half:
        store_half(model.graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def store_half(graph, at_least=1024):
    """Weights of `at_least` numbers become float16; small ones (biases, norms) stay as they are."""
    casts = []
    for tensor in graph.initializer:
        numbers = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or numbers.size < at_least:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(numbers.astype(numpy.float16), name + ".half"))
        casts.append(helper.make_node("Cast", [name + ".half"], [name], name=name + ".cast",
                                      to=TensorProto.FLOAT))
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)


@torch.no_grad()
def golden(path, model, net, prepare, size, mode, half):
    """Answers to the pictures, made `size` and `mode` ("L" or "RGB") as ensod does."""
    items = []
    for name in PICTURES:
        image = Image.open(os.path.join(TOP, name)).convert("RGB").convert(mode)
        image = image.resize(size, Image.BILINEAR)
        x = torch.from_numpy(numpy.array(image)).view(size[1], size[0], -1).permute(2, 0, 1)
        items.append({"file": name, "logits": net(prepare(x[None]))[0].tolist()})
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"model": model, "stored": "F16" if half else "F32",
                   "tolerance": 0.002 if half else 0.0001, "items": items}, f, indent=1)
        f.write("\n")
