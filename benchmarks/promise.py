"""Promises: figures of a run, each with the bar it must reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.spread import Spread

Results = dict[str, Any]
"""A results file: {"machine": ..., section: what its module measured}."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of the table of promises."""

    what: str
    bar: str
    figure: str
    met: str
    """`yes` or `no`: whether the median reaches the bar; `, within the noise` when the interval
    that holds it with 95 % confidence lies on both sides."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise about one figure."""

    what: str
    section: str
    figure: Callable[[Any], Spread]
    limit: float
    at_least: bool
    unit: str

    def judge(self, results: Results) -> Verdict:
        """Hold a run to the bar."""
        found = self.figure(results[self.section])
        met = "yes" if self._reached(found["median"]) else "no"
        if self._reached(found["sure_low"]) != self._reached(found["sure_high"]):
            met += ", within the noise"
        sign = "≥" if self.at_least else "≤"
        figure = number(found["median"])
        if found["sure_low"] != found["sure_high"]:
            figure += f" [{number(found['sure_low'])}, {number(found['sure_high'])}]"
        bar = f"{sign} {number(self.limit)} {self.unit}".rstrip()
        return Verdict(self.what, bar, f"{figure} {self.unit}".rstrip(), met)

    def _reached(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


def verdicts(bars: Iterable[Bar], results: Results) -> Iterator[Verdict]:
    """Judge every bar whose section was run."""
    for bar in bars:
        if bar.section in results:
            yield bar.judge(results)


def number(value: float) -> str:
    """Write a figure with two digits after the point, or none where they say nothing."""
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
