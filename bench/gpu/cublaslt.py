#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the libcublasLt that PyTorch runs with, for ENSOD_CUBLASLT or LD_LIBRARY_PATH; nothing, and exits with 1,
when there is none: no PyTorch, or one without CUDA."""

import glob
import os
import re
import sys


def loaded():
    """Of this process's libraries."""
    with open("/proc/self/maps", encoding="utf-8") as f:
        found = re.search(r"(/\S*/libcublasLt\.so\.1[23]\S*)", f.read())
    return found.group(1) if found else None


def find():
    """The path of the one that is loaded, else of one beside PyTorch; None."""
    try:
        import torch
        if torch.cuda.is_available():
            torch.ones(8, 8, device="cuda") @ torch.ones(8, 8, device="cuda")
    except Exception:  # pylint: disable=broad-except
        return loaded()
    home = os.path.dirname(os.path.abspath(torch.__file__))
    places = [os.path.join(home, "lib"), *sorted(glob.glob(os.path.join(home, "..", "nvidia", "*", "lib")), reverse=True)]
    return loaded() or next((os.path.abspath(p) for v in ("13", "12") for place in places
                             for p in glob.glob(os.path.join(place, "libcublasLt.so." + v))), None)


if __name__ == "__main__":
    path = find()
    if path:
        print(path)
    sys.exit(0 if path else 1)
