#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draw the pictures of the golden logits beside this script. Needs Pillow and numpy.

rings.png   28 x 28 grey, the size of the fashion model's input: nothing is resized
bands.png   32 x 32 RGB, the size of the cifar model's input
noise.png   45 x 30 RGB, resized in both directions, other proportions
"""
import os

import numpy
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))


def save(name, pixels):
    Image.fromarray(pixels.clip(0, 255).astype(numpy.uint8)).save(os.path.join(HERE, name), optimize=True)


def main():
    y, x = numpy.mgrid[0:28, 0:28]
    save("rings.png", 127.5 + 127.5 * numpy.sin(numpy.hypot(x - 12, y - 15) * 0.9))
    y, x = numpy.mgrid[0:32, 0:32]
    save("bands.png", numpy.stack([8 * x, 255 - 6 * y, 127.5 + 120 * numpy.cos(x * 0.7 + y * 0.4)], 2))
    rng = numpy.random.default_rng(11)
    save("noise.png", rng.integers(0, 256, (30, 45, 3)))


if __name__ == "__main__":
    main()
