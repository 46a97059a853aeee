#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes engine/text/unicode_tables.h: what the reference tokenizers take each character for.

The Hugging Face package `tokenizers` carries character tables of several Unicode versions
(categories of Unicode 8, normalisation of 9, lower case and \\w of the newest), so no Unicode
library gives the same answers. This script asks the package about every code point and writes the
answers down as ranges; what a character decomposes to, its combining class and its lower case come
from utf8proc, where the two do not differ.

    pip install tokenizers
    tests/parity/make_unicode_tables.py > engine/text/unicode_tables.h

Needs libutf8proc.so.2 (Debian: libutf8proc2). The names of the flags are in engine/text/unicode.h.
"""
import ctypes
import sys

import tokenizers
from tokenizers import normalizers, pre_tokenizers

FLAGS = ["DROPPED", "NONSPACING", "COMBINING", "PUNCTUATION", "WORD", "CANONICAL", "COMPATIBLE",
         "REORDERED"]

clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False,
                                   strip_accents=False, lowercase=False)
strip = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False,
                                   strip_accents=True, lowercase=False)
nfd, nfkd = normalizers.NFD(), normalizers.NFKD()
accents, lower = normalizers.StripAccents(), normalizers.Lowercase()
bert, whitespace = pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Whitespace()


def flags_of(c):
    """The set of flags, as an integer, that the reference gives to the character c."""
    inside = "a" + c + "b"
    canonical = nfd.normalize_str(c) != c
    answers = [
        clean.normalize_str(inside) == "ab",
        not canonical and strip.normalize_str(inside) == "ab",
        accents.normalize_str(inside) == "ab",
        len(bert.pre_tokenize_str(inside)) == 3,
        len(whitespace.pre_tokenize_str(inside)) == 1,
        canonical,
        nfkd.normalize_str(c) != c,
        # U+0345 has the highest class but one: what moves before it has a class of its own.
        c == "\u0345" or (not canonical
                          and nfd.normalize_str("\u0345" + c) == c + "\u0345"),
    ]
    return sum(1 << i for i, yes in enumerate(answers) if yes)


def ranges(values):
    """[(first, last, value)] of the runs of equal, truthy values of {code point: value}."""
    out = []
    for code in sorted(values):
        if out and out[-1][1] == code - 1 and out[-1][2] == values[code]:
            out[-1][1] = code
        else:
            out.append([code, code, values[code]])
    return out


def print_rows(name, comment, rows):
    print(f"\n/* {comment} */\nstatic const struct enso__unicode_range {name}[] = {{")
    line = "   "
    for first, last, value in rows:
        item = f" {{0x{first:X}, 0x{last:X}, {value}}},"
        if len(line) + len(item) > 100:
            print(line)
            line = "   "
        line += item
    print(line + "\n};")


def main():
    utf8proc = ctypes.CDLL("libutf8proc.so.2")
    utf8proc.utf8proc_unicode_version.restype = ctypes.c_char_p
    flags, lowered = {}, {}
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        c = chr(code)
        value = flags_of(c)
        if value:
            flags[code] = value
        small = lower.normalize_str(c)
        if len(small) == 1 and ord(small) != utf8proc.utf8proc_tolower(code):
            lowered[code] = ord(small) - code
    print("""/* SPDX-License-Identifier: Apache-2.0
 *
 * Made by tests/parity/make_unicode_tables.py; do not edit. What the reference (Python package
 * tokenizers %s) takes characters for, see unicode.h; its lower case where it knows more than
 * utf8proc with Unicode %s. Included by unicode.c only.
 */
#include "engine/text/unicode.h"

/* clang-format off */""" % (tokenizers.__version__, utf8proc.utf8proc_unicode_version().decode()))
    print_rows("flag_ranges", "value: " + ", ".join(f"{1 << i} {n}" for i, n in enumerate(FLAGS)),
               ranges(flags))
    print_rows("lower_ranges", "value: what is added to the code point", ranges(lowered))
    print("/* clang-format on */")


if __name__ == "__main__":
    sys.exit(main())
