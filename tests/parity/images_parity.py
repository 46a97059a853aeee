#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pictures as ensod decodes and resizes them against Pillow.

    tests/parity/images_parity.py BUILD_DIR [SHARED_DIR]

BUILD_DIR holds tests/engine/image/prepare_cli (make check builds it); SHARED_DIR holds
data/images (default: $ENSO_SHARED, else ../shared beside the source). Needs Pillow and numpy;
exits 77 with a line saying why when something is missing.

Decoded: identical for PNG and lossless WebP, at most 2 grey levels apart for JPEG and lossy WebP
(the two sides may be built with different versions of the codecs). Resized from the same decoded
pixels: at most one grey level apart; how many samples differ at all is reported. Where transformers
is installed too, whole photos through its (numpy) image processors: identical tensors.
"""
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy
    from PIL import Image, ImageOps
except ImportError as e:
    print(f"skipped: {e}; install numpy and Pillow")
    sys.exit(77)

SIZES = [(224, 224), (32, 32), (299, 299), (1, 1), (640, 17), (17, 640), (1500, 1000)]
FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


class Refused(Exception):
    pass


def run(cli, *args, dtype=numpy.uint8):
    done = subprocess.run([cli, *map(str, args)], capture_output=True, timeout=60)
    if done.returncode != 0:
        raise Refused(done.stderr.decode().strip())
    end = done.stdout.index(b"\n")
    width, height, channels = map(int, done.stdout[:end].split())
    samples = numpy.frombuffer(done.stdout[end + 1:], dtype)
    if dtype != numpy.uint8:
        return samples.reshape(channels, height, width)
    return samples.reshape(height, width, channels)


def pillow_decode(path, channels):
    with Image.open(path) as image:
        image.load()
        if image.mode.startswith("I"):  # 16-bit grey: ensod takes the high byte, see image.h
            image = Image.fromarray((numpy.asarray(image).astype("int64") >> 8).astype("uint8"))
        turned = ImageOps.exif_transpose(image)
        turned = turned.convert("RGB") if channels == 3 else turned.convert("RGB").convert("L")
        pixels = numpy.asarray(turned)
        return pixels.reshape(*pixels.shape[:2], channels)


def lossy(path):
    head = open(path, "rb").read(4096)
    return head[:2] == b"\xff\xd8" or (head[:4] == b"RIFF" and b"VP8L" not in head)


def check_decoding(cli, images):
    n_same = n_close = n_failed = n_refused = 0
    for folder in ["photos", "odd", "pngsuite", "cifar-jpeg"]:
        for name in sorted(os.listdir(os.path.join(images, folder))):
            path = os.path.join(images, folder, name)
            try:
                expected = pillow_decode(path, 3)
            except Exception:
                continue  # not a picture to Pillow
            try:
                got = run(cli, "decode", path, 3)
            except Refused as e:
                n_refused += 1
                if "UNSUPPORTED" not in str(e):
                    print(f"  refused {folder}/{name}: {e}")
                continue
            if got.shape != expected.shape:
                print(f"  {folder}/{name}: shape {got.shape}, Pillow {expected.shape}")
                n_failed += 1
                continue
            worst = int(numpy.abs(got.astype(int) - expected).max())
            grey = run(cli, "decode", path, 1).astype(int)
            worst_grey = int(numpy.abs(grey - pillow_decode(path, 1)).max())
            if worst == 0 and worst_grey == 0:
                n_same += 1
            elif lossy(path) and worst <= 2 and worst_grey <= 2:
                n_close += 1
            else:
                print(f"  {folder}/{name}: differs by up to {worst} (RGB), {worst_grey} (grey)")
                n_failed += 1
    print(f"decoding: {n_same} files identical, {n_close} within two grey levels, "
          f"{n_refused} refused, {n_failed} wrong")
    return n_failed


def check_resizing(cli, images):
    n_failed = n_cases = n_identical = n_samples = n_different = 0
    folder = os.path.join(images, "photos")
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        try:
            source = Image.fromarray(run(cli, "decode", path, 3))
        except Refused:
            continue
        for width, height in SIZES:
            for filter_name in FILTERS:
                expected = numpy.asarray(
                    source.resize((width, height), getattr(Image.Resampling, filter_name.upper())))
                got = run(cli, "resize", path, width, height, filter_name)
                difference = numpy.abs(got.astype(int) - expected)
                n_cases += 1
                n_samples += difference.size
                n_different += int((difference != 0).sum())
                n_identical += int(difference.max() == 0)
                if difference.max() > 1:
                    print(f"  {name} to {width}x{height} {filter_name}: "
                          f"differs by up to {difference.max()}")
                    n_failed += 1
    print(f"resizing: {n_cases} cases, {n_identical} identical, {n_different} of {n_samples} samples "
          f"differ by one grey level, {n_failed} cases wrong")
    return n_failed if n_cases else 1


PROCESSORS = [
    ("ViTImageProcessor", {"size": {"height": 224, "width": 224}}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}),
    ("CLIPImageProcessor", {"size": {"shortest_edge": 224}}),
    ("MobileNetV2ImageProcessor", {"size": {"shortest_edge": 256}, "crop_size": 224}),
    ("EfficientNetImageProcessor", {"size": 300, "resample": 0}),
    ("BitImageProcessor", {"size": {"shortest_edge": 480}, "crop_size": 448}),
]


def processor_class(transformers, kind):
    """The numpy processor: that of the name in version 4, with the ending Pil in version 5."""
    return getattr(transformers, kind + "Pil", None) or getattr(transformers, kind)


def check_preparing(cli, images):
    try:
        import transformers
    except ImportError as e:
        print(f"preparing: skipped, {e}")
        return 0
    n_failed = n_identical = 0
    folder = os.path.join(images, "photos")
    for kind, config in PROCESSORS:
        processor = processor_class(transformers, kind)(**config)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump({"image_processor_type": kind, **config}, f)
            f.flush()
            for name in sorted(os.listdir(folder)):
                path = os.path.join(folder, name)
                try:
                    source = Image.fromarray(run(cli, "decode", path, 3))
                except Refused:
                    continue
                expected = processor(source, return_tensors="np")["pixel_values"][0]
                got = run(cli, "prepare", path, f.name, dtype=numpy.float32)
                if got.shape == expected.shape and (got == expected).all():
                    n_identical += 1
                else:
                    print(f"  {name} for {kind}: {got.shape} differs from {expected.shape}")
                    n_failed += 1
    print(f"preparing: {n_identical} tensors identical to transformers {transformers.__version__}, "
          f"{n_failed} not")
    return n_failed


def main():
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    shared = sys.argv[2] if len(sys.argv) > 2 else os.environ.get(
        "ENSO_SHARED", os.path.join(source, "..", "shared"))
    cli = os.path.join(sys.argv[1], "tests/engine/image/prepare_cli")
    images = os.path.join(shared, "data/images")
    for what in (cli, images):
        if not os.path.exists(what):
            print(f"skipped: {what} is absent")
            return 77
    print(f"Pillow {Image.__version__}")
    n_failed = (check_decoding(cli, images) + check_resizing(cli, images)
                + check_preparing(cli, images))
    print("images parity:", "ok" if n_failed == 0 else f"{n_failed} failed")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
