#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small pictures of our own making and what Pillow, numpy and transformers make of them.

    python3 tests/engine/image/golden/make_golden.py

Writes, beside itself, the pictures and three files of JSON lines: decode.jsonl and resize.jsonl (pixels
in hex, or FNV-1a of the bytes where they must be identical), prepare.jsonl (FNV-1a of the float32
tensor's bytes and its first values). Made with Pillow 9.4.0, numpy 1.26 and transformers 4.46.3; anything that can be told
without them is computed here. Deterministic, but codecs of other versions may write other bytes.
"""
import json
import os
import struct
import zlib

import numpy
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
FILTERS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]


def scene(width, height, seed=1):
    """Waves, an edge and some noise: something for every filter to get wrong."""
    rng = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:height, 0:width]
    red = 127 + 120 * numpy.sin(x * 0.9 + y * 0.2)
    green = 255 * ((x * 2 + y) > (width + height) * 0.8)
    blue = 255 * y / max(1, height - 1)
    picture = numpy.stack([red, green, blue], -1) + rng.normal(0, 12, (height, width, 3))
    return picture.clip(0, 255).astype(numpy.uint8)


def write(name, data):
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(data)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack_row(row, depth):
    """Samples of one row as PNG packs them; row is a flat list."""
    if depth == 16:
        return b"".join(struct.pack(">H", v) for v in row)
    bits = "".join(format(v, f"0{depth}b") for v in row)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))


def write_png(name, samples, depth, colour_type, interlaced=False, before=b"", after=b""):
    """A PNG of any kind with filter 0; samples [height, width, channels]."""
    height, width, _ = samples.shape
    raw = b""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
              (0, 1, 1, 2)] if interlaced else [(0, 0, 1, 1)]
    for x0, y0, dx, dy in passes:
        part = samples[y0::dy, x0::dx]
        if part.size:
            for row in part:
                raw += b"\0" + pack_row([int(v) for v in row.reshape(-1)], depth)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced))
    write(name, b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before +
          png_chunk(b"IDAT", zlib.compress(raw, 9)) + after + png_chunk(b"IEND", b""))


def exif_block(orientation, big_endian=True):
    e = ">" if big_endian else "<"
    magic = b"MM\0*" if big_endian else b"II*\0"
    entries = [struct.pack(e + "HHII", 0x0100, 4, 1, 77),
               struct.pack(e + "HHIHH", 0x0112, 3, 1, orientation, 0)]
    return magic + struct.pack(e + "IH", 8, len(entries)) + b"".join(entries) + b"\0\0\0\0"


def make_pngs():
    small = scene(13, 9)
    grey = (small.astype(int).sum(-1) // 3).astype(numpy.uint8)[..., None]
    alpha = (numpy.arange(13 * 9).reshape(9, 13, 1) * 2 % 256).astype(numpy.uint8)
    palette = scene(16, 16, 2).reshape(256, 3)
    for depth in (1, 2, 4):
        write_png(f"grey{depth}.png", grey >> (8 - depth), depth, 0, interlaced=depth == 2)
        write_png(f"palette{depth}.png", grey >> (8 - depth), depth, 3,
                  before=png_chunk(b"PLTE", palette[:1 << depth].tobytes()) +
                  png_chunk(b"tRNS", b"\x80\x00"))
    write_png("palette8-interlaced.png", grey, 8, 3, interlaced=True,
              before=png_chunk(b"PLTE", palette.tobytes()))
    write_png("grey8.png", grey, 8, 0, before=png_chunk(b"tRNS", struct.pack(">H", 100)))
    write_png("grey16.png", grey.astype(int) * 256 + 255 - grey, 16, 0)
    write_png("rgb16.png", small.astype(int) * 256 + 200, 16, 2)
    write_png("rgb8-interlaced.png", small, 8, 2, interlaced=True,
              before=png_chunk(b"gAMA", struct.pack(">I", 100000)) +
              png_chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    write_png("grey-alpha.png", numpy.concatenate([grey, alpha], -1), 8, 4)
    write_png("rgba.png", numpy.concatenate([small, alpha], -1), 8, 6)
    write_png("rgba16-interlaced.png",
              numpy.concatenate([small, alpha], -1).astype(int) * 257, 16, 6, interlaced=True)
    write_png("exif6.png", small, 8, 2, after=png_chunk(b"eXIf", exif_block(6, False)))
    write_png("text-bomb.png", small[:2, :2], 8, 2,
              before=png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 20), 9)),
              after=png_chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(1 << 20), 9)))
    write_png("color.png", scene(23, 17), 8, 2)
    write_png("wide.png", scene(61, 9, 3), 8, 2)
    write_png("tall.png", scene(8, 40, 4), 8, 2)
    write_png("light.png", (scene(20, 30, 5).mean(-1)[..., None] // 2 + 120).astype(int), 8, 0)


def make_jpegs():
    picture = Image.fromarray(scene(24, 16))
    path = lambda name: os.path.join(HERE, name)
    picture.save(path("420.jpg"), quality=85, subsampling=2)
    picture.save(path("422.jpg"), quality=85, subsampling=1)
    picture.save(path("444.jpg"), quality=95, subsampling=0)
    picture.save(path("progressive.jpg"), quality=85, progressive=True)
    picture.convert("L").save(path("grey.jpg"), quality=85)
    picture.convert("CMYK").save(path("cmyk.jpg"), quality=85)
    for orientation in range(1, 9):
        Image.fromarray(scene(11, 6)).save(
            path(f"exif{orientation}.jpg"), quality=85, optimize=True,
            exif=b"Exif\0\0" + exif_block(orientation, orientation % 2 == 0))


def make_webps():
    picture = Image.fromarray(scene(24, 16))
    path = lambda name: os.path.join(HERE, name)
    picture.save(path("lossy.webp"), quality=80)
    picture.save(path("lossless.webp"), lossless=True)
    alpha = Image.fromarray((numpy.arange(24 * 16).reshape(16, 24) % 256).astype(numpy.uint8))
    with_alpha = picture.copy()
    with_alpha.putalpha(alpha)
    with_alpha.save(path("alpha.webp"), quality=80, exact=True)
    picture.save(path("exif8.webp"), lossless=True, exif=b"Exif\0\0" + exif_block(8))
    picture.save(path("animated.webp"), lossless=True, save_all=True, duration=100,
                 append_images=[Image.fromarray(scene(24, 16, 9))])


def pillow_rgb(name):
    if name == "text-bomb.png":  # Pillow refuses it
        return Image.fromarray(scene(13, 9)[:2, :2])
    with Image.open(os.path.join(HERE, name)) as image:
        image.load()
        if image.mode.startswith("I"):  # 16-bit grey: the high byte, see engine/image/image.h
            image = Image.fromarray((numpy.asarray(image).astype("int64") >> 8).astype("uint8"))
        return ImageOps.exif_transpose(image).convert("RGB")


def write_lines(name, rows):
    with open(os.path.join(HERE, name), "w", encoding="ascii") as f:
        for row in rows:
            f.write(json.dumps(row) + "\n")


def fnv1a(data):
    h = 0xcbf29ce484222325
    for b in data:
        h = (h ^ b) * 0x100000001b3 & 0xffffffffffffffff
    return f"{h:016x}"


def pixels(image, whole):
    data = image.tobytes()
    return {"pixels": data.hex()} if whole else {"fnv1a": fnv1a(data)}


def make_decode():
    rows = []
    for name in sorted(os.listdir(HERE)):
        if not name.endswith((".png", ".jpg", ".webp")):
            continue
        rgb = pillow_rgb(name)
        lossy = name.endswith(".jpg") or name in ("lossy.webp", "alpha.webp")
        rows.append({"file": name, "width": rgb.width, "height": rgb.height, "channels": 3,
                     **pixels(rgb, whole=lossy)})
        if name in ("color.png", "grey8.png"):
            rows.append({"file": name, "width": rgb.width, "height": rgb.height, "channels": 1,
                         **pixels(rgb.convert("L"), whole=False)})
    write_lines("decode.jsonl", rows)


def make_resize():
    rows = []
    for name, mode in (("color.png", "RGB"), ("light.png", "L")):
        source = pillow_rgb(name).convert(mode)
        for size in ((5, 4), (30, 9), (9, 21), (1, 1), (source.width, 6), (6, source.height)):
            for filter_name in FILTERS:
                out = source.resize(size, getattr(Image.Resampling, filter_name.upper()))
                rows.append({"file": name, "width": size[0], "height": size[1],
                             "filter": filter_name, "channels": len(mode),
                             **pixels(out, whole=out.width * out.height <= 50)})
    write_lines("resize.jsonl", rows)


def tensor_row(name, kind, config, tensor):
    tensor = numpy.ascontiguousarray(tensor, dtype="<f4")
    return {"file": name, kind: config, "shape": list(tensor.shape),
            "fnv1a": fnv1a(tensor.tobytes()), "first": [float(v) for v in tensor.reshape(-1)[:3]]}


HUGGINGFACE = [
    ("ViTImageProcessor", {"size": {"height": 12, "width": 10}, "resample": 2}),
    ("ViTImageProcessor", {"size": {"height": 40, "width": 33}, "resample": 3,
                           "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}),
    ("ViTFeatureExtractor", {"size": 14, "resample": 0, "do_normalize": False}),
    ("ViTImageProcessor", {"size": 8, "do_rescale": False}),
    ("ViTImageProcessor", {"size": 8, "do_rescale": False, "do_normalize": False}),
    ("ViTImageProcessor", {"size": 9, "rescale_factor": 0.00784313725490196, "image_mean": 1.0,
                           "image_std": 1.0}),
    ("ViTImageProcessor", {"do_resize": False}),
    ("DeiTImageProcessor", {"size": 20, "crop_size": 15}),
    ("BeitImageProcessor", {"size": 12, "crop_size": {"height": 8, "width": 6}}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 14}, "crop_pct": 0.875, "resample": 3}),
    ("ConvNextFeatureExtractor", {"size": 13, "crop_pct": 0.95}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
    ("BitImageProcessor", {"size": {"shortest_edge": 13}, "crop_size": 11}),
    ("CLIPImageProcessor", {"size": {"shortest_edge": 12}, "crop_size": {"height": 12, "width": 12},
                            "do_convert_rgb": True}),
    ("CLIPFeatureExtractor", {"size": 9, "crop_size": 16}),
    ("CLIPImageProcessor", {"do_resize": False, "crop_size": {"height": 12, "width": 31}}),
    ("CLIPImageProcessor", {"size": {"shortest_edge": 10}, "do_center_crop": False}),
    ("MobileNetV1ImageProcessor", {"size": {"shortest_edge": 16}, "crop_size": 14}),
    ("MobileNetV2ImageProcessor", {"size": {"shortest_edge": 15},
                                   "crop_size": {"height": 14, "width": 14}}),
    ("MobileViTImageProcessor", {"size": {"shortest_edge": 16}, "crop_size": 12}),
    ("LevitImageProcessor", {"size": {"shortest_edge": 14}, "crop_size": 14}),
    ("EfficientNetImageProcessor", {"size": {"height": 16, "width": 18}, "resample": 3,
                                    "image_std": [0.47853944, 0.4732864, 0.47434163]}),
    ("EfficientNetImageProcessor", {"size": 16, "rescale_offset": True, "include_top": False,
                                    "rescale_factor": 0.00784313725490196, "do_normalize": False,
                                    "do_center_crop": True, "crop_size": 11}),
    ("SiglipImageProcessor", {"size": {"height": 11, "width": 11}}),
    ("PvtImageProcessor", {"size": {"height": 11, "width": 11}}),
    ("SegformerImageProcessor", {"size": {"height": 11, "width": 11}}),
]


def make_huggingface():
    import transformers
    rows = []
    for kind, config in HUGGINGFACE:
        processor = getattr(transformers, kind.replace("FeatureExtractor", "ImageProcessor"))(**config)
        key = "image_processor_type" if kind.endswith("ImageProcessor") else "feature_extractor_type"
        for name in ("color.png", "wide.png", "tall.png"):
            tensor = processor(pillow_rgb(name), return_tensors="np")["pixel_values"][0]
            rows.append(tensor_row(name, "huggingface", {key: kind, **config}, tensor))
    return rows


def torchvision_crop(picture, height, width):
    """CenterCrop of torchvision on an array [h, w, c]: pads with 0, rounds halves to even."""
    h, w = picture.shape[:2]
    if width > w or height > h:
        left, top = max(0, width - w) // 2, max(0, height - h) // 2
        right, bottom = (max(0, width - w) + 1) // 2, (max(0, height - h) + 1) // 2
        picture = numpy.pad(picture, ((top, bottom), (left, right), (0, 0)))
        h, w = picture.shape[:2]
    top, left = int(round((h - height) / 2.0)), int(round((w - width) / 2.0))
    return picture[top:top + height, left:left + width]


def ensod_tensor(name, spec):
    """docs/ensod-json.md, said once more in numpy."""
    channels = spec.get("channels", 3)
    picture = pillow_rgb(name) if channels == 3 else pillow_rgb(name).convert("L")
    fit, size = spec.get("resize", "exact"), spec.get("size", 16)
    if fit == "exact":
        h, w = size if isinstance(size, list) else (size, size)
    elif fit == "shortest":
        w, h = picture.size
        if w <= h:
            w, h = size, int(size * h / w)
        else:
            w, h = int(size * w / h), size
    else:
        w, h = picture.size
    picture = picture.resize((w, h), getattr(Image.Resampling,
                                             spec.get("resample", "bilinear").upper()))
    pixels = numpy.asarray(picture).reshape(h, w, channels)
    inside = numpy.ones((h, w, 1), numpy.uint8)
    if "crop" in spec:
        crop = spec["crop"] if isinstance(spec["crop"], list) else [spec["crop"]] * 2
        pixels, inside = torchvision_crop(pixels, *crop), torchvision_crop(inside, *crop)
    if spec.get("invert"):
        pixels = numpy.where(inside, 255 - pixels, 0).astype(numpy.uint8)
    x = (pixels.astype(numpy.float64) * spec.get("scale", 1 / 255)).astype(numpy.float32)
    if "mean" in spec or "std" in spec:
        x = (x - numpy.float32(spec.get("mean", 0))) / numpy.float32(spec.get("std", 1))
    return x if spec.get("layout") == "NHWC" else x.transpose(2, 0, 1)


ENSOD = [
    {"size": [12, 10]},
    {"size": 20, "resize": "shortest", "crop": [14, 14], "mean": [0.485, 0.456, 0.406],
     "std": [0.229, 0.224, 0.225], "resample": "bicubic"},
    {"size": 11, "resize": "shortest", "crop": 14, "invert": True},
    {"size": [28, 28], "channels": 1, "invert": True, "mean": 0.1307, "std": 0.3081},
    {"size": [9, 9], "channels": 1, "scale": 1.0, "mean": [128], "std": [2], "layout": "NHWC"},
    {"size": [9, 7], "layout": "NHWC", "resample": "lanczos", "mean": 0.5},
    {"resize": "none", "crop": [17, 30]},
    {},
]


def make_ensod():
    return [tensor_row(name, "ensod", {"input": spec}, ensod_tensor(name, spec))
            for spec in ENSOD for name in ("color.png", "tall.png", "light.png")]


def main():
    for name in os.listdir(HERE):
        if name.endswith((".png", ".jpg", ".webp", ".jsonl")):
            os.remove(os.path.join(HERE, name))
    make_pngs()
    make_jpegs()
    make_webps()
    make_decode()
    make_resize()
    write_lines("prepare.jsonl", make_huggingface() + make_ensod())
    total = sum(os.path.getsize(os.path.join(HERE, n)) for n in os.listdir(HERE))
    print(f"{len(os.listdir(HERE))} files, {total} bytes")


if __name__ == "__main__":
    main()
