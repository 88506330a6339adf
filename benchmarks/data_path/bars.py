"""The promises: each row a figure of a run and the bar it must reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.data_path import ladder
from netsonde.kernel import _abi
from netsonde.kernel.hooks import HOOKS
from netsonde.monitor.main import Settings

DEFAULT = f"netsonde, {next(iter(HOOKS))}"
"""The pipeline that is promised: the hook that is tried first."""
Results = dict[str, Any]
"""A results file: {"machine": ..., section: what its module measured}."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of the table of promises."""

    what: str
    bar: str
    figure: str
    met: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise about one figure."""

    what: str
    section: str
    figure: Callable[[Any], float]
    limit: float
    at_least: bool
    unit: str

    def judge(self, results: Results) -> Verdict:
        """Hold a run to the bar."""
        value = self.figure(results[self.section])
        met = value >= self.limit if self.at_least else value <= self.limit
        sign = "≥" if self.at_least else "≤"
        bar = f"{sign} {_number(self.limit)} {self.unit}".rstrip()
        return Verdict(self.what, bar, f"{_number(value)} {self.unit}".rstrip(), met)


def verdicts(results: Results) -> Iterator[Verdict]:
    """Judge every bar whose section was run."""
    for bar in _BARS:
        if bar.section in results:
            yield bar.judge(results)


def table_bytes_per_cpu(_ladder: Any) -> float:
    """Memory of one CPU's slices with the monitor's default size: both directions and parities."""
    buckets = _abi.DIRECTIONS * _abi.PARITIES << Settings().lg_buckets
    return buckets * (_abi.HOT.itemsize + _abi.COLD.itemsize) / 2**20


def _net_ns(keys: str) -> Callable[[Any], float]:
    return lambda found: float(found[keys]["net_ns"][ladder.TABLE]["median"])


def _against_map(keys: str) -> Callable[[Any], float]:
    return lambda found: float(found[keys]["against_best_map"][ladder.TABLE]["median"])


def _slowest(figure: Callable[[Any], float]) -> Callable[[Any], float]:
    return lambda found: min(figure(capture) for capture in found.values())


def _ours(figure: Callable[[Any], float]) -> Callable[[Any], float]:
    return lambda found: figure(found[DEFAULT])


def _violations(found: Any) -> float:
    return float(sum(scores[ladder.TABLE]["bound_violations"] for scores in found.values()))


_BARS = (
    Bar("table update, 16 K flows", "ladder", _net_ns("16 K"), 30, False, "ns"),
    Bar("table update, every packet a new flow", "ladder", _net_ns("flood"), 120, False, "ns"),
    Bar(
        "table update against the best kernel map, 64 K flows",
        *("ladder", _against_map("64 K"), 1 / 3, False, "x"),
    ),
    Bar(
        "table update against the best kernel map, every packet a new flow",
        *("ladder", _against_map("flood"), 1 / 3, False, "x"),
    ),
    Bar("table memory per CPU", "ladder", table_bytes_per_cpu, 5, False, "MiB"),
    Bar(
        "packets counted at saturation, least round",
        "traffic",
        _ours(lambda found: 100 * found["figures"]["few_reported"]["least"]),
        *(100, True, "%"),
    ),
    Bar(
        "UDP rate kept at saturation",
        "traffic",
        _ours(lambda found: 100 * found["kept"]["few_kpps"]["median"]),
        *(97, True, "%"),
    ),
    Bar(
        "TCP throughput kept",
        "traffic",
        _ours(lambda found: 100 * found["kept"]["tcp_gbps"]["median"]),
        *(97, True, "%"),
    ),
    Bar(
        "UDP rate against the prototype's",
        "traffic",
        _ours(lambda found: found["against_prototype"]["few_kpps"]["median"]),
        *(20, True, "x"),
    ),
    Bar(
        "TCP throughput against the prototype's",
        "traffic",
        _ours(lambda found: found["against_prototype"]["tcp_gbps"]["median"]),
        *(100, True, "x"),
    ),
    Bar(
        "packets lost at saturation",
        "traffic",
        _ours(lambda found: 100 * found["figures"]["few_lost"]["median"]),
        *(0, False, "%"),
    ),
    Bar(
        "memory of the monitor",
        "traffic",
        _ours(lambda found: found["figures"]["rss_mb"]["median"]),
        *(80, False, "MB"),
    ),
    Bar(
        "native replay, slowest capture",
        "captures",
        _slowest(lambda found: found["packets_per_s"]["netsonde"]["median"] / 1e6),
        *(4, True, "M packets/s"),
    ),
    Bar(
        "native replay against dpkt, slowest capture",
        "captures",
        _slowest(lambda found: found["against_dpkt"]["median"]),
        *(40, True, "x"),
    ),
    Bar("bound violations", "accuracy", _violations, 0, False, ""),
)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
