#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the ONNX files of check_onnx.c: small good ones and hostile ones, byte by byte.

    tests/engine/formats/make_files.py [FOLDER]      default: golden/ beside this script

Standard library only. cases.txt says for each file what must come of it:
    NAME | STATUS | TEXT
STATUS OK: TEXT is the graph (operators in order, then outputs with type and shape); else the name
of the enso_status and a part of the sentence.
"""
import os
import struct
import sys

FOLDER = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "golden")
FLOAT, UINT8, INT8, INT32, INT64, STRING, BOOL, FLOAT16, DOUBLE = 1, 2, 3, 6, 7, 8, 9, 10, 11
BFLOAT16 = 16
cases = []


# --- protobuf's wire format ---

def varint(n):
    n &= (1 << 64) - 1
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def num(field, n):
    return varint(field << 3) + varint(n)


def raw(field, b):
    b = b.encode() if isinstance(b, str) else b
    return varint(field << 3 | 2) + varint(len(b)) + b


def f32(field, x):
    return varint(field << 3 | 5) + struct.pack("<f", x)


# --- ONNX's messages ---

def tensor(name, dtype, dims, data=b"", **more):
    """data: raw bytes, or a list of floats or integers packed as raw_data would be"""
    if isinstance(data, list):
        data = struct.pack("<%d%s" % (len(data), {FLOAT: "f", INT64: "q", INT32: "i", UINT8: "B",
                                                  BOOL: "B", FLOAT16: "e", DOUBLE: "d",
                                                  INT8: "b"}[dtype]), *data)
    out = b"".join(num(1, d) for d in dims) + num(2, dtype) + raw(8, name)
    if "field" in more:
        out += more["field"]
    elif data is not None:
        out += raw(9, data)
    return out


def external(name, dtype, dims, **entries):
    fields = b"".join(raw(13, raw(1, k) + raw(2, str(v))) for k, v in entries.items())
    return tensor(name, dtype, dims, None) + fields + num(14, 1)


def value(name, dtype, dims):
    """dims: numbers, symbols, or None for neither"""
    shape = b""
    for d in dims:
        shape += raw(1, b"" if d is None else num(1, d) if isinstance(d, int) else raw(2, d))
    return raw(1, name) + raw(2, raw(1, num(1, dtype) + raw(2, shape)))


def attribute(name, v):
    if isinstance(v, float):
        body = f32(2, v) + num(20, 1)
    elif isinstance(v, int):
        body = num(3, v) + num(20, 2)
    elif isinstance(v, str):
        body = raw(4, v) + num(20, 3)
    elif isinstance(v, bytes):  # a tensor
        body = raw(5, v) + num(20, 4)
    elif v and isinstance(v[0], float):
        body = raw(7, struct.pack("<%df" % len(v), *v)) + num(20, 6)
    else:
        body = b"".join(num(8, i) for i in v) + num(20, 7)
    return raw(1, name) + body


def node(op, inputs, outputs, name="", domain="", extra=b"", **attributes):
    out = b"".join(raw(1, i) for i in inputs) + b"".join(raw(2, o) for o in outputs)
    out += raw(3, name) + raw(4, op)
    out += b"".join(raw(5, attribute(k, v)) for k, v in attributes.items())
    return out + (raw(7, domain) if domain else b"") + extra


def graph(nodes, inputs, outputs, initializers=()):
    return (b"".join(raw(1, n) for n in nodes) + raw(2, "g") +
            b"".join(raw(5, t) for t in initializers) + b"".join(raw(11, v) for v in inputs) +
            b"".join(raw(12, v) for v in outputs))


def model(g, opset=17, extra=b""):
    return num(1, 8) + raw(2, "make_files") + raw(7, g) + raw(8, raw(1, "") + num(2, opset)) + extra


def case(name, status, text, data):
    with open(os.path.join(FOLDER, name + ".onnx"), "wb") as f:
        f.write(data)
    cases.append("%s | %s | %s\n" % (name, status, text))


def simple(name, status, text, nodes, initializers=(), inputs=None, outputs=None, opset=17):
    """x F32 [2, 3] in, y out, unless said otherwise"""
    inputs = [value("x", FLOAT, [2, 3])] if inputs is None else inputs
    outputs = [value("y", FLOAT, [])] if outputs is None else outputs
    case(name, status, text, model(graph(nodes, inputs, outputs, initializers), opset))


def weight(status, name, text, t):
    """y = x + w with w as given"""
    simple(name, status, text, [node("Add", ["x", "w"], ["y"], "add")], [t])


RELU = [node("Relu", ["x"], ["y"], "relu")]


def good():
    w = [i / 7 for i in range(2 * 1 * 3 * 3)]
    net = [node("Conv", ["image", "w", "b"], ["c"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                auto_pad="NOTSET"),
           node("Relu", ["c"], ["r"], "relu"),
           node("Flatten", ["r"], ["f"], "flatten"),
           node("Gemm", ["f", "m"], ["logits"], "gemm", transB=1, alpha=0.5)]
    weights = [tensor("w", FLOAT, [2, 1, 3, 3], w), tensor("b", FLOAT, [2], [1.0, 2.0]),
               tensor("m", FLOAT, [3, 32], [0.25] * 96)]
    case("net", "OK", "Conv Relu Flatten Gemm -> logits FP32[N, 3]",
         model(graph(net, [value("image", FLOAT, ["batch", 1, 4, 4])],
                     [value("logits", FLOAT, ["other", 3])], weights)))
    case("any_order", "OK", "Conv Relu Flatten Gemm -> logits FP32[N, 3]",
         model(graph(net[::-1], [value("image", FLOAT, [None, 1, 4, 4])],
                     [value("logits", FLOAT, [])], weights)))
    case("two_symbols", "OK", "Add -> y FP32[1, 3]",
         model(graph([node("Add", ["a", "b"], ["y"])],
                     [value("a", FLOAT, ["n", 3]), value("b", FLOAT, ["m", 3])],
                     [value("y", FLOAT, [])])))
    case("minus_one", "OK", "Add -> y FP32[N, 3]",
         model(graph([node("Add", ["a", "b"], ["y"])],
                     [value("a", FLOAT, [-1, 3]), value("b", FLOAT, [-1, 3])],
                     [value("y", FLOAT, [])])))
    # the places where contents may be
    pack = lambda fmt, *v: struct.pack("<" + fmt, *v)
    for name, t in [
            ("raw", tensor("w", FLOAT, [3], [1.0, 2.0, 3.0])),
            ("packed_floats", tensor("w", FLOAT, [3], field=raw(4, pack("3f", 1, 2, 3)))),
            ("single_floats", tensor("w", FLOAT, [3], field=f32(4, 1) + f32(4, 2) + f32(4, 3))),
            ("doubles", tensor("w", DOUBLE, [3], field=raw(10, pack("3d", 1, 2, 3)))),
            ("single_doubles", tensor("w", DOUBLE, [1],
                                      field=varint(10 << 3 | 1) + pack("d", 2.5))),
            ("half_numbers", tensor("w", FLOAT16, [3], field=raw(5, varint(0x3C00) * 3))),
            ("half_raw", tensor("w", FLOAT16, [3], [1.0, 2.0, 3.0])),
            ("bfloat16", tensor("w", BFLOAT16, [3], field=raw(5, varint(0x3F80) * 3))),
            ("external", external("w", FLOAT, [3], location="external.bin", offset=4, length=12)),
            ("external_short", external("w", FLOAT, [3], location="external.bin")),
            ("packed_dims", raw(1, varint(1) + varint(3)) + num(2, FLOAT) + raw(8, "w") +
             raw(9, pack("3f", 1, 2, 3)))]:
        weight("OK", name, "Add -> y FP32[2, 3]", t)
    with open(os.path.join(FOLDER, "external.bin"), "wb") as f:
        f.write(pack("5f", 9, 1, 2, 3, 9))
    simple("integers", "OK", "Add -> y INT64[2]", [node("Add", ["x", "w"], ["y"])],
           [tensor("w", INT64, [2], field=raw(7, varint(-5) + varint(1 << 40)))],
           [value("x", INT64, [2])])
    simple("constants", "OK",
           "Add Add Mul Reshape -> y FP32[1, 6]",
           [node("Constant", [], ["a"], value=tensor("", FLOAT, [], [1.5])),
            node("Constant", [], ["b"], value_float=2.5),
            node("Constant", [], ["c"], value_floats=[1.0, 2.0, 3.0]),
            node("Constant", [], ["s"], value_ints=[1, -1]),
            node("Constant", [], ["i"], value_int=7),
            node("Add", ["x", "a"], ["p"]), node("Add", ["p", "b"], ["q"]),
            node("Mul", ["q", "c"], ["r"]), node("Reshape", ["r", "s"], ["y"])])
    simple("float16", "OK", "Cast Cast -> y FP32[2, 3]",
           [node("Cast", ["x"], ["h"], to=FLOAT16), node("Cast", ["h"], ["y"], to=DOUBLE)],
           inputs=[value("x", FLOAT16, [2, 3])])
    # older forms
    case("opset9", "OK", "Conv Slice Pad Clip Squeeze Identity Shape ConstantOfShape Unsqueeze "
         "ReduceSum Split Softmax -> y FP32[N, 4] z FP32[N, 4]",
         model(graph(
             [node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1]),
              node("Slice", ["c"], ["s"], axes=[1, 2], starts=[0, 0], ends=[8, 2]),
              node("Pad", ["s"], ["p"], mode="constant", pads=[0, 0, 0, 0, 0, 0, 1, 0], value=1.5),
              node("Clip", ["p"], ["k"], min=0.0, max=6.0),
              node("Squeeze", ["k"], ["q"], axes=[3]),
              node("Dropout", ["q"], ["d", "mask"], ratio=0.5),
              node("Unsqueeze", ["d"], ["u"], axes=[3]),
              node("ReduceSum", ["u"], ["r"], axes=[2, 3], keepdims=0),
              node("Split", ["r"], ["t", "z"], axis=1, split=[4, 4]),
              node("Softmax", ["t"], ["y"])],
             [value("x", FLOAT, ["n", 1, 3, 1]), value("w", FLOAT, [8, 1, 1, 1])],
             [value("y", FLOAT, []), value("z", FLOAT, [])],
             [tensor("w", FLOAT, [8, 1, 1, 1], [1.0] * 8)]), 9))
    simple("softmax_tail", "OK", "Flatten Softmax Shape Reshape -> y FP32[2, 3, 4]",
           [node("Softmax", ["x"], ["y"], "soft", axis=1)], inputs=[value("x", FLOAT, [2, 3, 4])],
           opset=11)
    simple("softmax_ones", "OK", "LogSoftmax -> y FP32[2, 5, 1, 1]",
           [node("LogSoftmax", ["x"], ["y"], axis=1)], inputs=[value("x", FLOAT, [2, 5, 1, 1])],
           opset=11)
    simple("opset6", "OK", "Unsqueeze Add Unsqueeze PRelu -> y FP32[2, 3, 4]",
           [node("Add", ["x", "w"], ["a"], broadcast=1, axis=1), node("PRelu", ["a", "w"], ["y"])],
           [tensor("w", FLOAT, [3], [1.0, 2.0, 3.0])], [value("x", FLOAT, [2, 3, 4])], opset=6)
    simple("mask", "OK", "Identity Shape ConstantOfShape -> y FP32[2, 3] m BOOL[2, 3]",
           [node("Dropout", ["x"], ["y", "m"])],
           outputs=[value("y", FLOAT, []), value("m", BOOL, [])])
    simple("layer_norm", "OK", "ensod.LayerNorm Shape Cast -> y FP32[2, 3] z FP32[2]",
           [node("LayerNormalization", ["x", "w", "w"], ["y"], epsilon=1e-12),
            node("Shape", ["y"], ["s"]), node("CastLike", ["s", "y"], ["z"])],
           [tensor("w", FLOAT, [3], [1.0] * 3)],
           outputs=[value("y", FLOAT, []), value("z", FLOAT, [])])
    simple("functions", "OK", "Div Elu Mul Silu Less Greater Sub Where Add Where -> y FP32[2, 3]",
           [node("Celu", ["x"], ["a"], alpha=2.0), node("Swish", ["a"], ["b"]),
            node("Shrink", ["b"], ["y"], lambd=1.5, bias=0.5)], opset=24)
    simple("empty", "OK", "Concat -> y FP32[2, 3]",
           [node("Concat", ["x", "w"], ["y"], axis=1)], [tensor("w", FLOAT, [2, 0])])
    # what PyTorch writes for x.view(x.size(0), -1): the batch stays a symbol through it
    simple("shape_chain", "OK", "Shape Gather Unsqueeze Concat Reshape -> y FP32[N, 48]",
           [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"], axis=0),
            node("Unsqueeze", ["n"], ["v"], axes=[0]), node("Concat", ["v", "rest"], ["t"], axis=0),
            node("Reshape", ["x", "t"], ["y"])],
           [tensor("zero", INT64, [], [0]), tensor("rest", INT64, [1], [-1])],
           [value("x", FLOAT, ["batch", 3, 4, 4])], opset=11)
    simple("unused_indices", "OK", "MaxPool -> y FP32[1, 1, 2, 2]",
           [node("MaxPool", ["x"], ["y", "indices"], kernel_shape=[2, 2], strides=[2, 2])],
           inputs=[value("x", FLOAT, [1, 1, 4, 4])])
    # Resize and what it was before
    double = tensor("s", FLOAT, [2], [2.0, 1.5])
    simple("resize", "OK", "Resize -> y FP32[4, 4]",
           [node("Resize", ["x", "roi", "s"], ["y"], mode="linear")],
           [double, tensor("roi", FLOAT, [0])])
    simple("resize_sizes", "OK", "Resize -> y FP32[2, 7]",
           [node("Resize", ["x", "", "none", "n"], ["y"], mode="cubic", axes=[-1])],
           [tensor("none", FLOAT, [0]), tensor("n", INT64, [1], [7])], opset=18)
    simple("resize10", "OK", "Resize -> y FP32[4, 4]", [node("Resize", ["x", "s"], ["y"])],
           [double], opset=10)
    simple("upsample9", "OK", "Resize -> y FP32[4, 4]", [node("Upsample", ["x", "s"], ["y"])],
           [double], opset=9)
    simple("upsample7", "OK", "Resize -> y FP32[4, 4]",
           [node("Upsample", ["x"], ["y"], scales=[2.0, 1.5], mode="linear")], opset=7)
    # scales and sizes that exporters compute of shapes, in floats
    simple("resize_quotient", "OK",
           "Shape Slice Cast Div Concat Resize -> y FP32[N, 3, 6, 9]",
           [node("Shape", ["x"], ["a"]), node("Slice", ["a", "from", "to"], ["b"]),
            node("Cast", ["b"], ["c"], to=FLOAT), node("Div", ["size", "c"], ["d"]),
            node("Concat", ["ones", "d"], ["s"], axis=0), node("Resize", ["x", "", "s"], ["y"])],
           [tensor("from", INT64, [1], [2]), tensor("to", INT64, [1], [4]),
            tensor("size", FLOAT, [2], [6.0, 9.0]), tensor("ones", FLOAT, [2], [1.0, 1.0])],
           [value("x", FLOAT, ["n", 3, 2, 6])])
    simple("resize_product", "OK",
           "Shape Slice Cast Mul Floor Cast Slice Concat Resize -> y FP32[N, 3, 5, 15]",
           [node("Shape", ["x"], ["a"]), node("Slice", ["a", "two", "four"], ["b"]),
            node("Cast", ["b"], ["c"], to=FLOAT), node("Mul", ["c", "factor"], ["d"]),
            node("Floor", ["d"], ["e"]), node("Cast", ["e"], ["f"], to=INT64),
            node("Slice", ["a", "zero", "two"], ["g"]), node("Concat", ["g", "f"], ["h"], axis=0),
            node("Resize", ["x", "", "", "h"], ["y"], mode="linear")],
           [tensor("zero", INT64, [1], [0]), tensor("two", INT64, [1], [2]),
            tensor("four", INT64, [1], [4]), tensor("factor", FLOAT, [], [2.5])],
           [value("x", FLOAT, ["n", 3, 2, 6])])
    simple("top_k", "OK", "TopK -> y INT64[2, 2]", [node("TopK", ["x", "k"], ["", "y"])],
           [tensor("k", INT64, [1], [2])], outputs=[value("y", INT64, [])])
    simple("top_k1", "OK", "TopK -> y FP32[1, 3]", [node("TopK", ["x"], ["y"], k=1, axis=0)],
           opset=1)


def bad():
    c = "CORRUPT"
    u = "UNSUPPORTED"
    simple("cycle", c, "cycle", [node("Add", ["x", "b"], ["a"], "first"),
                                 node("Relu", ["a"], ["b"], "second"),
                                 node("Relu", ["b"], ["y"])])
    simple("missing_value", c, "node 'relu' (Relu, opset 17): reads 'nothing', which is no input",
           [node("Relu", ["nothing"], ["y"], "relu")])
    simple("missing_output", c, "output 'y' is made by no node", [node("Relu", ["x"], ["z"])])
    simple("twice", c, "'y' is made twice", RELU + RELU)
    simple("input_twice", c, "'x' is made twice", RELU, inputs=[value("x", FLOAT, [1])] * 2)
    simple("output_twice", c, "output 'y' is listed twice", RELU,
           outputs=[value("y", FLOAT, [])] * 2)
    simple("no_outputs", c, "no outputs", RELU, outputs=[])
    simple("initializer_twice", c, "'w' is made twice", RELU, [tensor("w", FLOAT, [], [1.0])] * 2)
    simple("nameless", c, "has no name", RELU, [tensor("", FLOAT, [], [1.0])])
    simple("opset99", u, "opset 99 is not supported (1 to 24 are)", RELU, opset=99)
    simple("opset0", u, "opset 0 is not supported", RELU, opset=0)
    case("no_graph", c, "holds no graph", num(1, 8))
    case("no_opset", c, "which opset", num(1, 8) + raw(7, graph(RELU, [], [])))
    simple("operators", u, "operator 'NonMaxSuppression' of domain 'ai.onnx' in node 'nms' is not "
           "supported at opset 17; nor are Unique, GridSample",
           [node("NonMaxSuppression", ["x"], ["a"], "nms"), node("Unique", ["a"], ["b"]),
            node("Relu", ["b"], ["c"]), node("NonMaxSuppression", ["c"], ["d"]),
            node("GridSample", ["d"], ["y"])])
    double = tensor("s", FLOAT, [2], [2.0, 1.5])
    simple("resize_run_time", u, "the scales 's' are not known when the model is loaded",
           [node("Resize", ["x", "", "s"], ["y"])],
           inputs=[value("x", FLOAT, [2, 3]), value("s", FLOAT, [2])])
    simple("resize_huge", u, "axis 0 is resized to 2147483647, but at most 262144",
           [node("Resize", ["x", "", "s"], ["y"])], [tensor("s", FLOAT, [2], [3e38, 1.0])])
    simple("resize_negative", c, "scale -1 makes no sense",
           [node("Resize", ["x", "", "s"], ["y"])], [tensor("s", FLOAT, [2], [1.0, -1.0])])
    simple("resize_both", c, "it has scales and sizes",
           [node("Resize", ["x", "", "s", "n"], ["y"])], [double, tensor("n", INT64, [2], [4, 4])])
    simple("resize_neither", c, "it has neither scales nor sizes", [node("Resize", ["x"], ["y"])])
    simple("resize_batch", u, "it resizes the batch (axis 0)",
           [node("Resize", ["x", "", "s"], ["y"])], [double], [value("x", FLOAT, ["n", 3])])
    simple("resize_own", c, "it has neither scales nor sizes",  # what passes write is not read from a file
           [node("Resize", ["x"], ["y"], resized_sizes=[1, 2, 3], resized_scales=[1.0])])
    simple("resize_kind", c, "attribute 'mode' is of a wrong kind",
           [node("Resize", ["x", "", "s"], ["y"], mode=1)], [double])
    simple("upsample6", u, "the form of before opset 7", [node("Upsample", ["x"], ["y"])], opset=6)
    simple("top_k_many", c, "the 4 largest of 3 are asked for",
           [node("TopK", ["x", "k"], ["y", "i"])], [tensor("k", INT64, [1], [4])])
    simple("top_k_run_time", u, "'k' must be at most 1 integers that are known",
           [node("TopK", ["x", "k"], ["y", "i"])],
           inputs=[value("x", FLOAT, [2, 3]), value("k", INT64, [1])])
    simple("domain", u, "operator 'Relu' of domain 'com.microsoft' in node 'y'",
           [node("Relu", ["x"], ["y"], domain="com.microsoft")])
    simple("own_operator", u, "operator 'ensod.Linear'", [node("ensod.Linear", ["x"], ["y"])])
    case("function", u, "operator 'Mine' (a function of the model) of domain 'local'",
         model(graph([node("Mine", ["x"], ["y"], domain="local")], [value("x", FLOAT, [1])],
                     [value("y", FLOAT, [])]), extra=raw(25, raw(1, "Mine") + raw(10, "local"))))
    branch = graph(RELU, [], [value("y", FLOAT, [])])
    simple("subgraph", u, "operator 'If'",
           [node("If", ["x"], ["y"], extra=raw(5, raw(1, "then_branch") + raw(6, branch) +
                                               num(20, 5)))])
    simple("graph_attribute", u, "a graph as attribute (control flow) is not supported",
           [node("Relu", ["x"], ["y"], extra=raw(5, raw(1, "body") + raw(6, branch)))])
    deep = b""
    for _ in range(5000):
        deep = raw(1, raw(5, raw(6, deep)))
        if len(deep) > 30000:
            break
    case("nested", c, "nested more than 16 deep", raw(7, deep))
    simple("attribute_kind", c, "attribute 'axis' is of a wrong kind",
           [node("Softmax", ["x"], ["y"], axis=1.0)])
    simple("attribute_reference", c, "refers to a function's",
           [node("Softmax", ["x"], ["y"], extra=raw(5, raw(1, "axis") + raw(21, "a")))])
    simple("training", u, "training_mode is not supported",
           [node("BatchNormalization", ["x"] * 5, ["y"], training_mode=1)])
    simple("used_indices", u, "reads 'i', an output of MaxPool that ensod does not compute",
           [node("MaxPool", ["x"], ["p", "i"], kernel_shape=[2, 2]), node("Neg", ["i"], ["y"])],
           inputs=[value("x", FLOAT, [1, 1, 4, 4])])
    simple("cast_string", u, "type STRING (8) is not supported",
           [node("Cast", ["x"], ["y"], to=STRING)])
    simple("constant_text", u, "given as 'value_string'",
           [node("Constant", [], ["y"], value_string="x")])
    simple("constant_none", c, "not exactly one value", [node("Constant", [], ["y"])])
    simple("split_count", c, "num_outputs is 3, but there are 2",
           [node("Split", ["x"], ["y", "z"], num_outputs=3)], opset=18)
    simple("shapes", c, "Add", [node("Add", ["x", "w"], ["y"], "add")],
           [tensor("w", FLOAT, [4], [1.0] * 4)])
    # inputs
    simple("symbol", "INVALID", "input 'x': dimension 1 is the symbol 'width'; give a size for "
           "'width'", RELU, inputs=[value("x", FLOAT, ["n", "width"])])
    simple("open_dimension", "INVALID", "give a size for 'x[1]'", RELU,
           inputs=[value("x", FLOAT, ["n", None])])
    simple("negative_input", c, "dimension 0 is -2", RELU, inputs=[value("x", FLOAT, [-2])])
    simple("string_input", u, "input 'x': type STRING", RELU, inputs=[value("x", STRING, [1])])
    simple("rank9_input", u, "9 dimensions", RELU, inputs=[value("x", FLOAT, [1] * 9)])
    simple("shapeless_input", u, "input 'x' has no shape", RELU,
           inputs=[raw(1, "x") + raw(2, raw(1, num(1, FLOAT)))])
    simple("sequence_input", u, "input 'x' is no tensor", RELU,
           inputs=[raw(1, "x") + raw(2, raw(4, raw(1, b"abc")))])
    simple("huge_input", "TOO_LARGE", "more elements than can be addressed", RELU, inputs=[value("x", FLOAT, [1 << 40, 1 << 40])])
    # tensors
    weight(c, "short", "initializer 'w': type and dims need 12 bytes, but it has 8",
           tensor("w", FLOAT, [3], [1.0, 2.0]))
    weight(c, "long", "need 12 bytes, but it has 16", tensor("w", FLOAT, [3], [1.0] * 4))
    weight(c, "no_data", "its dims make 3 elements, but it has data for 0",
           tensor("w", FLOAT, [3], None))
    weight(c, "wrong_field", "a field that does not suit its type",
           tensor("w", INT32, [3], field=raw(4, struct.pack("<3f", 1, 2, 3))))
    weight(c, "two_places", "content in two places",
           tensor("w", FLOAT, [1], [1.0]) + raw(4, struct.pack("<f", 1)))
    weight(c, "raw_and_single", "a field that does not suit its type",
           tensor("w", FLOAT, [1], [1.0]) + f32(4, 1))
    weight(c, "negative_dim", "a dimension is negative", tensor("w", FLOAT, [-3], b""))
    weight(c, "huge_dims", "too large", tensor("w", FLOAT, [1 << 32, 1 << 32, 1 << 32], b""))
    weight(c, "huge_bytes", "too large", tensor("w", DOUBLE, [1 << 62], b""))
    weight(u, "rank9", "9 dimensions, but at most 8", tensor("w", FLOAT, [1] * 9, [1.0]))
    weight(u, "strings", "type STRING (8) is not supported",
           tensor("w", STRING, [1], field=raw(6, "text")))
    weight(u, "float8", "type FLOAT8E5M2 (19) is not supported", tensor("w", 19, [3], b"abc"))
    weight(u, "type99", "type unknown (99) is not supported", tensor("w", 99, [3], b"abc"))
    weight(c, "range", "outside the range", tensor("w", INT8, [1], field=num(5, 128)))
    weight(c, "boolean", "neither 0 nor 1", tensor("w", BOOL, [3], [0, 1, 2]))
    for name, text, entries in [
            ("ext_absolute", "not a relative path", dict(location="/etc/passwd")),
            ("ext_upwards", "not a relative path", dict(location="../golden/external.bin")),
            ("ext_hidden", "not a relative path", dict(location="a/../../b")),
            ("ext_nowhere", "not a relative path", dict(offset=0)),
            ("ext_offset", "which has only 20", dict(location="external.bin", offset=12)),
            ("ext_wrap", "which has only 20",
             dict(location="external.bin", offset=(1 << 64) - 4)),
            ("ext_length", "need 12 bytes, but its external data claims 13",
             dict(location="external.bin", length=13)),
            ("ext_number", "decimal numbers", dict(location="external.bin", offset="0x4")),
            ("ext_overflow", "decimal numbers", dict(location="external.bin", offset="9" * 30))]:
        weight(c, name, text, external("w", FLOAT, [3], **entries))
    weight("NOT_FOUND", "ext_missing", "initializer 'w': external data: ",
           external("w", FLOAT, [3], location="absent.bin"))
    case("sparse", u, "sparse initializers", model(
        graph(RELU, [value("x", FLOAT, [1])], [value("y", FLOAT, [])]) + raw(15, b"")))
    # the wire format
    case("empty_file", c, "is empty", b"")
    case("lfs", c, "git lfs pull", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    case("text", c, "not a valid ONNX file", b"hello, this is no model\n")
    case("length", c, "a length that goes beyond", varint(7 << 3 | 2) + varint(1 << 60))
    case("long_varint", c, "a number of more than 64 bits", b"\x08" + b"\xff" * 10 + b"\x01")
    case("wide_varint", c, "a number of more than 64 bits", b"\x08" + b"\xff" * 9 + b"\x02")
    case("wrong_wire", c, "a field of the wrong kind", num(7, 3))
    case("group", c, "a field of an unknown kind", varint(90 << 3 | 3))
    case("field0", c, "a field without a number", num(0, 3))
    case("graph_twice", c, "a field that comes twice", raw(7, b"") + raw(7, b""))
    case("not_utf8", c, "not UTF-8", raw(2, b"\xff\xfe"))
    case("nul", c, "not UTF-8", raw(2, b"a\0b"))
    case("packed_rest", c, "no whole number of floats",
         raw(7, raw(1, raw(5, raw(7, b"12345")))))
    case("packed_cut", c, "in the middle of a field", raw(7, raw(1, raw(5, raw(8, b"\xff")))))


os.makedirs(FOLDER, exist_ok=True)
good()
bad()
with open(os.path.join(FOLDER, "cases.txt"), "w") as f:
    f.writelines(cases)
print("%d files in %s" % (len(cases), FOLDER))
