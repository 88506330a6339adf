"""What many rounds of one measurement say: median and quartiles, never a best case."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TypedDict

_MISSED = 0.025
"""Chance to miss the median on either side."""


class Spread(TypedDict):
    """Median, quartiles and least value of a measurement, and of how many rounds."""

    median: float
    low: float
    high: float
    sure_low: float
    sure_high: float
    """The median lies between these two with 95 % confidence, or as much as so few allow."""
    least: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """Sum up rounds; with fewer than two, the quartiles are the value itself."""
    low = high = values[0]
    if len(values) > 1:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    middle = statistics.median(values)
    sure_low, sure_high = _interval_of_median(sorted(values))
    return Spread(
        median=round(middle, 6),
        low=round(low, 6),
        high=round(high, 6),
        sure_low=round(sure_low, 6),
        sure_high=round(sure_high, 6),
        least=round(min(values), 6),
        rounds=len(values),
    )


def _interval_of_median(ordered: Sequence[float]) -> tuple[float, float]:
    """Give the order statistics that hold the median (the sign test's interval, any distribution).

    It misses below with the chance that fewer than `rank + 1` of n fair coins show heads.
    """
    size, rank, missed = len(ordered), 0, 0.5 ** len(ordered)
    while rank + 1 < size // 2 and missed + math.comb(size, rank + 1) / 2**size <= _MISSED:
        rank += 1
        missed += math.comb(size, rank) / 2**size
    return ordered[rank], ordered[-1 - rank]


def ratios(values: Sequence[float], against: Sequence[float]) -> list[float]:
    """Divide round by round: what is noisy for one is noisy for both."""
    return [
        value / other if other else float("inf")
        for value, other in zip(values, against, strict=True)
    ]
