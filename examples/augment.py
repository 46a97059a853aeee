# SPDX-License-Identifier: Apache-2.0
"""Changed copies of training pictures: each epoch sees another version of every picture, and the
network learns what does not matter. Every function takes and gives a whole batch (n, c, h, w) and
draws one change for each picture; there is no loop over pictures.
"""
import math

import torch
import torch.nn.functional as F


def shift_and_flip(x, pixels, flip=True):
    """Move by up to `pixels` in both directions; mirror every second picture. What comes in at the
    edge is 0."""
    n, c, h, w = x.shape
    padded = F.pad(x, (pixels,) * 4)
    rows = torch.arange(h) + torch.randint(0, 2 * pixels + 1, (n, 1))
    columns = torch.arange(w) + torch.randint(0, 2 * pixels + 1, (n, 1))
    if flip:
        columns = torch.where(torch.rand(n, 1) < 0.5, columns, columns.flip(1))
    picture, channel = torch.arange(n).view(n, 1, 1, 1), torch.arange(c).view(c, 1, 1)
    return padded[picture, channel, rows.view(n, 1, h, 1), columns.view(n, 1, 1, w)]


def rotate(x, degrees, share=0.5):
    """Turn a share of the pictures by up to so many degrees either way, and zoom by up to a tenth."""
    n = x.shape[0]
    chosen = torch.rand(n) < share
    angle = torch.empty(n).uniform_(-degrees, degrees) * math.pi / 180
    zoom = torch.empty(n).uniform_(0.9, 1.1)
    cos, sin, zero = torch.cos(angle) * zoom, torch.sin(angle) * zoom, torch.zeros(n)
    if not chosen.any():
        return x  # of a last batch of few pictures; torch makes no grid of none
    theta = torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(n, 2, 3)[chosen].to(x.device)
    grid = F.affine_grid(theta, [len(theta), *x.shape[1:]], align_corners=False)
    turned = F.grid_sample(x[chosen.to(x.device)], grid, padding_mode="border", align_corners=False)
    x = x.clone()
    x[chosen.to(x.device)] = turned
    return x


def cutout(x, side, share=0.5):
    """Blank a square of a share of the pictures (DeVries and Taylor 2017): no single part decides."""
    n, _, h, w = x.shape
    top = torch.randint(-(side // 2), h - side // 2, (n, 1))
    left = torch.randint(-(side // 2), w - side // 2, (n, 1))
    rows, columns = torch.arange(h), torch.arange(w)
    in_rows = (rows >= top) & (rows < top + side)
    in_columns = (columns >= left) & (columns < left + side)
    blank = in_rows.view(n, 1, h, 1) & in_columns.view(n, 1, 1, w) & (torch.rand(n, 1, 1, 1) < share)
    return x.masked_fill(blank.to(x.device), 0)
