#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draw the two pictures of the quickstart, beside this script. Needs Pillow and numpy.

sneaker.png  112 x 112 grey: light on black, in the manner of Fashion-MNIST (which is 28 x 28)
ship.png     128 x 128 RGB: a freighter at sea, in the manner of CIFAR-10 (which is 32 x 32)
"""
import os

import numpy
from PIL import Image, ImageDraw, ImageFilter

HERE = os.path.dirname(os.path.abspath(__file__))
SCALE = 4  # drawn larger, then averaged down: soft edges


def scaled(points):
    return [(x * SCALE, y * SCALE) for x, y in points]


def curve(points, steps=24):
    """A smooth closed line through the points (Catmull-Rom)."""
    n, out = len(points), []
    p = [numpy.array(q, float) for q in points]
    for i in range(n):
        a, b, c, d = p[i - 1], p[i], p[(i + 1) % n], p[(i + 2) % n]
        for t in numpy.linspace(0, 1, steps, endpoint=False):
            q = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t
                       + (3 * b - a - 3 * c + d) * t ** 3)
            out.append(tuple(q))
    return out


def sneaker():
    size = 112
    image = Image.new("L", (size * SCALE, size * SCALE), 0)
    draw = ImageDraw.Draw(image)
    # The upper, toe to the left, opening at the top right.
    upper = [(3, 72), (8, 62), (24, 57), (44, 49), (62, 38), (70, 35), (78, 43), (92, 45),
             (102, 36), (108, 42), (108, 60), (109, 73), (60, 75), (10, 75)]
    draw.polygon(scaled(curve(upper)), fill=196)
    # The tongue and the lining.
    draw.polygon(scaled(curve([(58, 43), (66, 33), (72, 33), (80, 44), (70, 48)])), fill=150)
    draw.polygon(scaled(curve([(76, 43), (90, 46), (102, 38), (104, 43), (92, 52), (80, 49)])),
                 fill=96)
    # The toe cap, the heel and a stripe.
    draw.polygon(scaled(curve([(3, 72), (9, 63), (22, 58), (28, 66), (26, 74), (10, 75)])), fill=224)
    draw.polygon(scaled(curve([(100, 48), (108, 46), (109, 72), (98, 73)])), fill=142)
    draw.polygon(scaled([(50, 73), (66, 49), (75, 50), (62, 73)]), fill=240)
    draw.polygon(scaled([(68, 73), (80, 53), (86, 54), (77, 73)]), fill=240)
    for i in range(4):  # laces
        x, y = 34 + 8 * i, 55 - 5 * i
        draw.line(scaled([(x, y), (x + 9, y + 6)]), fill=250, width=2 * SCALE)
    # The sole.
    draw.polygon(scaled([(2, 73), (110, 72), (110, 79), (104, 82), (8, 82), (3, 79)]), fill=236)
    draw.line(scaled([(3, 74), (110, 73)]), fill=110, width=SCALE)
    image = image.resize((size, size), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.8))
    rng = numpy.random.default_rng(7)  # a little weave, on the shoe alone
    pixels = numpy.asarray(image).astype(float)
    pixels += rng.normal(0, 9, pixels.shape) * (pixels > 40)
    Image.fromarray(pixels.clip(0, 255).astype(numpy.uint8)).save(
        os.path.join(HERE, "sneaker.png"), optimize=True)


def ship():
    size = 128
    y = numpy.linspace(0, 1, size * SCALE)[:, None, None]
    top, low = numpy.array([142, 178, 214]), numpy.array([206, 220, 230])
    sky = top * (1 - y) + low * y
    pixels = numpy.broadcast_to(sky, (size * SCALE, size * SCALE, 3)).copy()
    horizon = 82 * SCALE
    depth = numpy.linspace(0, 1, size * SCALE - horizon)[:, None, None]
    pixels[horizon:] = numpy.array([96, 128, 150]) * (1 - depth) + numpy.array([36, 66, 96]) * depth
    rng = numpy.random.default_rng(3)
    waves = rng.normal(0, 1, (size * SCALE - horizon, size * SCALE // 16))
    pixels[horizon:] += 9 * numpy.repeat(waves, 16, axis=1)[..., None]
    image = Image.fromarray(pixels.clip(0, 255).astype(numpy.uint8))
    draw = ImageDraw.Draw(image)
    draw.polygon(scaled([(8, 70), (120, 66), (108, 93), (22, 94)]), fill=(46, 52, 74))  # hull
    draw.polygon(scaled([(19, 88), (111, 86), (108, 93), (22, 94)]), fill=(136, 44, 40))
    draw.line(scaled([(9, 71), (120, 67)]), fill=(210, 212, 210), width=SCALE * 2)
    draw.rectangle(scaled([(22, 44), (46, 70)]), fill=(232, 232, 226))  # bridge
    draw.rectangle(scaled([(26, 36), (42, 44)]), fill=(220, 220, 216))
    for row in (40, 49, 57):
        for x in range(26, 43, 5):
            draw.rectangle(scaled([(x, row), (x + 2, row + 3)]), fill=(48, 62, 84))
    draw.rectangle(scaled([(30, 22), (38, 36)]), fill=(190, 66, 44))  # funnel
    draw.rectangle(scaled([(30, 22), (38, 26)]), fill=(40, 40, 44))
    colours = [(176, 84, 48), (62, 110, 88), (70, 96, 148), (196, 160, 72), (150, 58, 58)]
    for i in range(6):  # containers
        for level in range(2 + (i % 3 == 1)):
            x, bottom = 52 + 9 * i, 69 - 8 * level
            draw.rectangle(scaled([(x, bottom - 7), (x + 8, bottom)]),
                           fill=colours[(i * 2 + level) % len(colours)])
    draw.line(scaled([(112, 67), (112, 48)]), fill=(60, 60, 66), width=SCALE)  # mast
    for i in range(12):  # foam
        x = 12 + 9 * i
        draw.line(scaled([(x, 95 + i % 3), (x + 8, 95 + (i + 1) % 3)]), fill=(214, 226, 234),
                  width=SCALE)
    image = image.resize((size, size), Image.Resampling.BOX)
    image.quantize(128).save(os.path.join(HERE, "ship.png"), optimize=True)


if __name__ == "__main__":
    sneaker()
    ship()
