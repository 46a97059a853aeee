#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the card can do, measured by PyTorch: what ensod's times are shares of.

    bench/gpu/ceilings.py [--out DIR]

bf16 products of 8192³ on random numbers (TFLOP/s), a copy of 2 GiB on the device (TB/s, bytes read and written) and
from pinned host memory and back (GB/s): medians of the times by the card's own events. Writes DIR/ceilings.json. Half
a minute; exits with 77 without PyTorch or a GPU. --rehearse: tiny sizes on the processor."""

import argparse
import json
import os
import statistics
import sys
import time

NAMES = {"matmul_flops": ("bf16 products of 8192³", 1e12, "TFLOP/s"), "copy_bytes": ("copies on the device", 1e12, "TB/s"),
         "up_bytes": ("copies to the device", 1e9, "GB/s"), "down_bytes": ("copies from the device", 1e9, "GB/s")}


def timed(torch, run, on_card, n=20):
    """Median seconds of a run."""
    seconds = []
    for i in range(n + 3):
        if not on_card:
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
            continue
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        seconds.append(start.elapsed_time(end) * 1e-3)
    return statistics.median(seconds[3:])


def measure(torch, on_card):
    """{name: rate a second}"""
    device, side, size = ("cuda", 8192, 2 << 30) if on_card else ("cpu", 64, 1 << 16)
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    c = torch.empty_like(a)
    rates = {"matmul_flops": 2 * side ** 3 / timed(torch, lambda: torch.matmul(a, b, out=c), on_card)}
    one, two = (torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2))
    rates["copy_bytes"] = 2 * size / timed(torch, lambda: two.copy_(one), on_card)
    host = torch.zeros(size // 8, dtype=torch.uint8)
    host = host.pin_memory() if on_card else host
    there = one[:size // 8]
    rates["up_bytes"] = host.numel() / timed(torch, lambda: there.copy_(host, non_blocking=True), on_card)
    rates["down_bytes"] = host.numel() / timed(torch, lambda: host.copy_(there, non_blocking=True), on_card)
    return rates


def read(folder):
    """Those that were measured before; None."""
    try:
        with open(os.path.join(folder, "ceilings.json"), encoding="utf-8") as f:
            return json.load(f)
    except (OSError, ValueError):
        return None


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--out", default=".")
    p.add_argument("--rehearse", action="store_true")
    args = p.parse_args()
    try:
        import torch
    except ImportError as error:
        print(f"SKIP: {error}")
        return 77
    if not args.rehearse and not torch.cuda.is_available():
        print("SKIP: PyTorch sees no GPU")
        return 77
    rates = measure(torch, not args.rehearse)
    found = {"card": "no card: a rehearsal" if args.rehearse else torch.cuda.get_device_name(), "torch": torch.__version__,
             **rates}
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "ceilings.json"), "w", encoding="utf-8") as f:
        json.dump(found, f, indent=1)
    for name, (title, unit, word) in NAMES.items():
        print(f"{title:24} {rates[name] / unit:8.2f} {word}")
    print(f"{found['card']}, torch {found['torch']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
