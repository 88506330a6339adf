"""How many flows there were, from the HyperLogLog that the flow table keeps beside its buckets.

Estimator: Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), algorithm
6: unbiased from none to 2^50 without tables, corrections or a choice of ranges.
"""

from __future__ import annotations

from math import inf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from netsonde.sketch import _abi

Ranks = NDArray[np.uint8]
"""Shape (HLL_REGISTERS,): highest rank seen; the union of two is their maximum."""

STANDARD_ERROR = 1.04 / sqrt(_abi.HLL_REGISTERS)
"""Relative; two thirds of estimates are within it."""

_MOST_RANK = 64 - _abi.HLL_BITS + 1


def estimate(ranks: Ranks) -> int:
    """Estimate the number of distinct flows."""
    size = len(ranks)
    counts = np.bincount(ranks, minlength=_MOST_RANK + 1).tolist()
    if counts[0] == size:
        return 0
    z = size * _tau(1 - counts[_MOST_RANK] / size)
    for count in reversed(counts[1:_MOST_RANK]):
        z = (z + count) / 2
    z += size * _sigma(counts[0] / size)
    return round(size * size / (2 * log(2)) / z)


def _sigma(x: float) -> float:
    """Give x + sum of x^(2^k) * 2^(k-1) over k >= 1."""
    if x == 1:
        return inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        before = z
        x *= x
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    """Give (1 - x - sum of (1 - x^(2^-k))^2 * 2^-k over k >= 1) / 3."""
    if x in (0, 1):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        before = z
        x = sqrt(x)
        y /= 2
        z -= (1 - x) ** 2 * y
    return z / 3
