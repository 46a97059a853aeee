# SPDX-License-Identifier: Apache-2.0
"""Lengths of real texts, for the benches of a GPU."""

# Tokens of the first 64 sentences of film reviews in SST-2's test file: words of each, a sixth more for pieces, two
# special tokens. (bench/peers.py counts alike.)
MIXED = [13, 28, 11, 31, 21, 30, 38, 46, 32, 44, 10, 16, 26, 20, 40, 19, 33, 12, 17, 31, 37, 10, 38, 34, 33, 31, 20,
         23, 25, 13, 16, 26, 26, 19, 33, 10, 31, 23, 33, 28, 17, 17, 38, 31, 32, 19, 34, 34, 24, 24, 11, 18,
         11, 40, 16, 28, 23, 14, 12, 27, 10, 7, 25, 37]
