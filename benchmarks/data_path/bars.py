"""The promises of the data path: each row a figure of a run and the bar it must reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.data_path import ladder
from benchmarks.data_path.pipelines import PROMISED
from benchmarks.promise import Bar
from benchmarks.spread import Spread, spread
from netsonde.kernel import _abi
from netsonde.kernel.sizing import lg_buckets, possible_cpus


def _table_mib(_ladder: Any) -> Spread:
    """Memory of one CPU's slices with the monitor's default size: both directions and parities."""
    buckets = _abi.DIRECTIONS * _abi.PARITIES << lg_buckets(0, possible_cpus())
    return spread([buckets * (_abi.HOT.itemsize + _abi.COLD.itemsize) / 2**20])


def _ladder(keys: str, kind: str) -> Callable[[Any], Spread]:
    return lambda found: _times(found[keys][kind][ladder.TABLE], 1)


def _ours(kind: str, figure: str, factor: float = 1) -> Callable[[Any], Spread]:
    return lambda found: _times(found[PROMISED][kind][figure], factor)


def _reported(found: Any) -> Spread:
    return spread([100 * found[PROMISED]["figures"]["few_reported"]["least"]])


def _slowest(figure: Callable[[Any], Spread], factor: float = 1) -> Callable[[Any], Spread]:
    return lambda found: _times(
        min((figure(capture) for capture in found.values()), key=lambda rate: rate["median"]),
        factor,
    )


def _violations(found: Any) -> Spread:
    return spread([sum(scores[ladder.TABLE]["bound_violations"] for scores in found.values())])


def _times(value: Spread, factor: float) -> Spread:
    return Spread(
        median=value["median"] * factor,
        low=value["low"] * factor,
        high=value["high"] * factor,
        sure_low=value["sure_low"] * factor,
        sure_high=value["sure_high"] * factor,
        least=value["least"] * factor,
        rounds=value["rounds"],
    )


BARS = (
    Bar("table update, 16 K flows", "ladder", _ladder("16 K", "net_ns"), 30, False, "ns"),
    Bar(
        "table update, every packet a new flow",
        "ladder",
        _ladder("flood", "net_ns"),
        120,
        False,
        "ns",
    ),
    Bar(
        "table update against the best kernel map, 64 K flows",
        *("ladder", _ladder("64 K", "against_best_map"), 1 / 3, False, "x"),
    ),
    Bar(
        "table update against the best kernel map, every packet a new flow",
        *("ladder", _ladder("flood", "against_best_map"), 1 / 3, False, "x"),
    ),
    Bar("table memory per CPU", "ladder", _table_mib, 5, False, "MiB"),
    Bar(
        "packets counted at saturation, least round",
        "traffic",
        _reported,
        *(100, True, "%"),
    ),
    Bar(
        "UDP rate kept at saturation",
        "traffic",
        _ours("kept", "few", 100),
        *(97, True, "%"),
    ),
    Bar(
        "the same, of what an empty program at the hook keeps",
        "traffic",
        _ours("against_empty", "few", 100),
        *(97, True, "%"),
    ),
    Bar(
        "TCP throughput kept",
        "traffic",
        _ours("kept", "tcp", 100),
        *(97, True, "%"),
    ),
    Bar(
        "UDP rate against the prototype's",
        "traffic",
        _ours("against_prototype", "few_kpps"),
        *(20, True, "x"),
    ),
    Bar(
        "TCP throughput against the prototype's",
        "traffic",
        _ours("against_prototype", "tcp_gbps"),
        *(100, True, "x"),
    ),
    Bar(
        "packets lost at saturation",
        "traffic",
        _ours("figures", "few_lost", 100),
        *(0, False, "%"),
    ),
    Bar(
        "memory of the monitor",
        "traffic",
        _ours("figures", "rss_mb"),
        *(80, False, "MB"),
    ),
    Bar(
        "native replay, slowest capture",
        "captures",
        _slowest(lambda found: found["packets_per_s"]["netsonde"], 1e-6),
        *(4, True, "M packets/s"),
    ),
    Bar(
        "native replay against dpkt, slowest capture",
        "captures",
        _slowest(lambda found: found["against_dpkt"]),
        *(40, True, "x"),
    ),
    Bar("bound violations", "accuracy", _violations, 0, False, ""),
)
