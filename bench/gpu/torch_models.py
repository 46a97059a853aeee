# SPDX-License-Identifier: Apache-2.0
"""PyTorch's side of bench/gpu/peers.py: the same weights in plain PyTorch, captured as CUDA graphs. Needs PyTorch
and nothing else."""

import json
import os
import struct

import torch
import torch.nn.functional as F

import resnet

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def read_safetensors(path):
    """{name: tensor}"""
    with open(path, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(size)), bytearray(f.read())
    header.pop("__metadata__", None)
    tensors = {}
    for name, told in header.items():
        begin, end = told["data_offsets"]
        dtype = DTYPES[told["dtype"]]
        size = torch.empty(0, dtype=dtype).element_size()
        tensors[name] = torch.frombuffer(data, dtype=dtype, offset=begin, count=(end - begin) // size).reshape(told["shape"])
    return tensors


def attention(q, k, v, see):
    """Scaled dot-product attention; in float32 by itself where PyTorch is older than the function."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=see)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return (scores if see is None else scores.masked_fill(~see, float("-inf"))).softmax(-1) @ v


class Bert:
    """A BERT encoder over a folder's tensors, as plain functions: the mean over each sequence's tokens, with
    normalise of length 1, or the logits where the folder has a classifier."""

    def __init__(self, folder, shape, dtype, device, normalise=False):
        tensors = read_safetensors(os.path.join(folder, "model.safetensors"))
        w = self.w = {k.removeprefix("bert."): v.to(device, dtype) for k, v in tensors.items()}
        self.shape, self.normalise, self.layers = shape, normalise, []
        for i in range(shape.layers):
            p = f"encoder.layer.{i}."
            qkv = [p + f"attention.self.{n}." for n in ("query", "key", "value")]
            self.layers.append({
                "qkv": (torch.cat([w[n + "weight"] for n in qkv]), torch.cat([w[n + "bias"] for n in qkv])),
                **{k: self.pair(p + n) for k, n in (
                    ("out", "attention.output.dense"), ("norm1", "attention.output.LayerNorm"),
                    ("inner", "intermediate.dense"), ("outer", "output.dense"), ("norm2", "output.LayerNorm"))}})

    def pair(self, name):
        return self.w[name + ".weight"], self.w[name + ".bias"]

    def norm(self, x, pair):
        return F.layer_norm(x, x.shape[-1:], *pair, eps=1e-12)

    def __call__(self, ids, mask):
        """ids [B, S]; mask [B, S] of the model's type, 1 for tokens, or None where all are."""
        w, heads = self.w, self.shape.heads
        x = (w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0] +
             w["embeddings.position_embeddings.weight"][: ids.shape[1]])
        x = self.norm(x, self.pair("embeddings.LayerNorm"))
        see = None if mask is None else mask[:, None, None, :].bool()
        for layer in self.layers:
            q, k, v = F.linear(x, *layer["qkv"]).view(*ids.shape, 3, heads, -1).permute(2, 0, 3, 1, 4)
            a = attention(q, k, v, see).transpose(1, 2).reshape(x.shape)
            x = self.norm(F.linear(a, *layer["out"]) + x, layer["norm1"])
            x = self.norm(F.linear(F.gelu(F.linear(x, *layer["inner"])), *layer["outer"]) + x, layer["norm2"])
        return self.logits(x) if "classifier.weight" in w else self.mean(x, mask)

    def logits(self, x):
        return F.linear(torch.tanh(F.linear(x[:, 0], *self.pair("pooler.dense"))), *self.pair("classifier"))

    def mean(self, x, mask):
        if mask is None:
            mean = x.float().mean(1)
        else:
            m = mask.float()[:, :, None]
            mean = (x.float() * m).sum(1) / m.sum(1)
        return F.normalize(mean, dim=-1) if self.normalise else mean


class ResNet50(torch.nn.Module):
    """The layers of resnet.py."""

    def __init__(self, tensors):
        super().__init__()
        self.blocks = resnet.blocks()
        self.w = torch.nn.ParameterDict({
            name.replace(".", "_"): torch.nn.Parameter(torch.frombuffer(numbers, dtype=torch.float32).reshape(dims).clone(), requires_grad=False)
            for name, (dims, numbers) in tensors.items()})

    def conv(self, c, x):
        name = c.name.replace(".", "_")
        return F.conv2d(x, self.w[name + "_weight"], self.w[name + "_bias"], c.stride, c.size // 2)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(resnet.STEM, x)), 3, 2, 1)
        for _, _, convs, shortcut in self.blocks:
            y = F.relu(self.conv(convs[1], F.relu(self.conv(convs[0], x))))
            x = F.relu(self.conv(convs[2], y) + (x if shortcut is None else self.conv(shortcut, x)))
        return F.linear(x.mean((2, 3)), self.w["classes_weight"], self.w["classes_bias"])


class Captured:
    """A function of tensors of fixed shapes as a CUDA graph, with the result's way to pinned memory; on the processor,
    the function. A result is good until the next call."""

    def __init__(self, fn, inputs):
        self.fn, self.static, self.graph = fn, inputs, None
        if inputs[0].device.type != "cuda":
            return
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), torch.inference_mode():
            for _ in range(3):
                fn(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(self.graph):
            self.result = fn(*inputs).float()
        self.host = torch.empty(self.result.shape, dtype=torch.float32, pin_memory=True)

    def __call__(self, *host):
        with torch.inference_mode():
            for to, given in zip(self.static, host):
                to.copy_(given, non_blocking=True)
            if self.graph is None:
                return self.fn(*self.static).float().cpu()
            self.graph.replay()
            self.host.copy_(self.result, non_blocking=True)
            torch.cuda.current_stream().synchronize()
            return self.host
