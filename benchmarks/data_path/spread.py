"""What many rounds of one measurement say: median and quartiles, never a best case."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TypedDict


class Spread(TypedDict):
    """Median, quartiles and least value of a measurement, and of how many rounds."""

    median: float
    low: float
    high: float
    least: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """Sum up rounds; with fewer than two, the quartiles are the value itself."""
    low = high = values[0]
    if len(values) > 1:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    middle = statistics.median(values)
    return Spread(
        median=round(middle, 6),
        low=round(low, 6),
        high=round(high, 6),
        least=round(min(values), 6),
        rounds=len(values),
    )


def ratios(values: Sequence[float], against: Sequence[float]) -> list[float]:
    """Divide round by round: what is noisy for one is noisy for both."""
    return [
        value / other if other else float("inf")
        for value, other in zip(values, against, strict=True)
    ]
