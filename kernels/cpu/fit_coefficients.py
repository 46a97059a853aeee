#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Coefficients of the vector functions in kernels/cpu/math_avx2.h.

Least squares on Chebyshev points, reweighted (Lawson) towards the smallest largest error, solved
with 60 decimal digits so that the normal equations' bad condition does not matter. Plain Python:
    ./fit_coefficients.py
"""
import math
from decimal import Decimal, getcontext

getcontext().prec = 60


def solve(a, b):
    n = len(b)
    for i in range(n):
        p = max(range(i, n), key=lambda r: abs(a[r][i]))
        a[i], a[p], b[i], b[p] = a[p], a[i], b[p], b[i]
        for r in range(i + 1, n):
            f = a[r][i] / a[i][i]
            for c in range(i, n):
                a[r][c] -= f * a[i][c]
            b[r] -= f * b[i]
    x = [Decimal(0)] * n
    for i in reversed(range(n)):
        x[i] = (b[i] - sum(a[i][c] * x[c] for c in range(i + 1, n))) / a[i][i]
    return x


def fit(f, low, high, n_p, n_q, scale, points=160, rounds=24):
    """P (n_p terms) and Q (1 + n_q terms) with P(t)/Q(t) = f(t); scale(t): size of one unit of error."""
    ts = [low + (high - low) * (0.5 - 0.5 * math.cos(math.pi * (i + 0.5) / points)) for i in range(points)]
    fs = [f(t) for t in ts]
    lawson = [1.0] * points
    q_at = [1.0] * points
    best = None
    for _ in range(rounds):
        n = n_p + n_q
        a = [[Decimal(0)] * n for _ in range(n)]
        b = [Decimal(0)] * n
        for t, y, l, q in zip(ts, fs, lawson, q_at):
            w = Decimal(l) / Decimal(scale(t) * q) ** 2
            dt, dy = Decimal(t), Decimal(y)
            row = [dt**i for i in range(n_p)] + [-dy * dt ** (j + 1) for j in range(n_q)]
            for i in range(n):
                wi = w * row[i]
                for j in range(i, n):
                    a[i][j] += wi * row[j]
                b[i] += wi * dy
        for i in range(n):
            for j in range(i):
                a[i][j] = a[j][i]
        c = solve(a, b)
        p, q = [float(v) for v in c[:n_p]], [1.0] + [float(v) for v in c[n_p:]]
        err = []
        for k, t in enumerate(ts):
            q_at[k] = sum(v * t**i for i, v in enumerate(q))
            err.append(abs(sum(v * t**i for i, v in enumerate(p)) / q_at[k] - fs[k]) / scale(t))
        if best is None or max(err) < best[0]:
            best = (max(err), p, q)
        mean = sum(l * e for l, e in zip(lawson, err)) or 1.0
        lawson = [max(l * e / mean * points, 1e-12) for l, e in zip(lawson, err)]
    return best


def show(name, result):
    print(f"{name}: largest error {result[0]:.3g}")
    print("  P", ", ".join(f"{v:.10e}f" for v in result[1]))
    if len(result[2]) > 1:
        print("  Q", ", ".join(f"{v:.10e}f" for v in result[2]))


def over(f, limit):
    return lambda z: f(math.sqrt(z)) / math.sqrt(z) if z > 1e-12 else limit


# erf(x) = x P(x^2)/Q(x^2) on [-4, 4]: absolute error, so one unit in P/Q is 1/x
show("erf", fit(over(math.erf, 2 / math.sqrt(math.pi)), 0.0, 16.0, 6, 5, lambda z: 1 / max(math.sqrt(z), 0.5)))
# tanh(x) = x P(x^2)/Q(x^2) on [-9, 9]: relative error near zero, absolute far out
show("tanh", fit(over(math.tanh, 1.0), 0.0, 81.0, 6, 4, lambda z: 1 / max(math.sqrt(z), 1.0)))
# exp(r) = 1 + r + r^2 P(r) on [-ln2/2, ln2/2]
h = math.log(2) / 2
show("exp", fit(lambda r: (math.expm1(r) - r) / (r * r) if abs(r) > 1e-4 else 0.5 + r / 6, -h, h, 5, 0, lambda r: 1 / max(r * r, 1e-3)))
