# SPDX-License-Identifier: Apache-2.0
"""What the programs of bench/gpu are all told: a build, the module in it, where results go."""

import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402


def parser(doc):
    p = argparse.ArgumentParser(description=doc.split("\n", maxsplit=1)[0])
    p.add_argument("--build", default=os.path.join(harness.TOP, "build"))
    p.add_argument("--module")
    p.add_argument("--out", default=".")
    p.add_argument("--cublaslt", default=None, help="path of the library, or none; default: look for it")
    p.add_argument("--rehearse", action="store_true")
    return p


def module(args):
    """The module to measure, and --out made; None, and it is told, where there is none."""
    emulated = "tests/cuda_emulation/ensod-cuda-emulated.so" if args.rehearse else "kernels/cuda/ensod-cuda.so"
    path = args.module or os.path.join(args.build, emulated)
    if not os.path.exists(path):
        print(f"SKIP: there is no {path}")
        return None
    os.makedirs(args.out, exist_ok=True)
    return path
