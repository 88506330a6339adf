"""A live link under load: what each way of measuring costs it, and what it reports.

The same bursts go to a host that is measured and, in turn, to its twin that is not, while whoever
measures is held: so what disturbs one disturbs the other, and each ratio is of two bursts side by
side. The truth is what the receiver's device took in. Every round runs every pipeline, beginning
with another one each time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

from benchmarks.data_path import link
from benchmarks.data_path.link import BARE, MEASURED, Receiver
from benchmarks.data_path.pipelines import PROTOTYPE, Pipeline, pipelines
from benchmarks.data_path.scale import Scale
from benchmarks.data_path.spread import Spread, ratios, spread

_UDP_PHASES = tuple(link.FLOWS)
Round = dict[str, list[float]]
"""Figure -> one value for each burst, or one for the round."""


class Found(TypedDict):
    """What one pipeline gave."""

    figures: dict[str, Spread]
    """`few_kpps`, `many_kpps` (64 and 50,000 flows, delivered), `tcp_gbps`; `few_reported`,
    `many_reported` (share of what arrived); `few_lost` (share of what arrived that was not
    delivered); `cpu_s` (processor seconds of a round); `rss_mb`."""
    kept: dict[str, Spread]
    """`few`, `many`, `tcp`: rates as a share of what the unmeasured twin took beside it."""
    against_prototype: dict[str, Spread]
    """Rates in multiples of the prototype's, same round."""


def measure(scale: Scale) -> dict[str, Found]:
    """Give {pipeline: what it gave}."""
    kinds = pipelines()
    names = list(kinds)
    rounds: dict[str, list[Round]] = {name: [] for name in names}
    with ExitStack() as held:
        folder = Path(held.enter_context(TemporaryDirectory(prefix="netsonde-bench-")))
        load = link.compile_load(folder)
        held.enter_context(link.network())
        held.enter_context(link.tcp_servers())
        for number in range(scale.traffic_rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                rounds[name].append(_round(kinds[name], load, scale))
    return {name: _summed(name, rounds) for name in names}


def _round(kind: type[Pipeline], load: Path, scale: Scale) -> Round:
    found: defaultdict[str, list[float]] = defaultdict(list)
    with TemporaryDirectory(prefix="netsonde-bench-", dir="/run") as folder:
        Path(folder).chmod(0o755)  # the agent is nobody
        pipeline = kind(Path(folder))
        try:
            pipeline.start()
            before_s = pipeline.cpu_s()
            arrived = {
                phase: _udp_bursts(pipeline, load, phase, scale, found) for phase in _UDP_PHASES
            }
            _tcp_bursts(pipeline, scale, found)
            found["cpu_s"].append(pipeline.cpu_s() - before_s)
            if (rss_mb := pipeline.rss_mb()) is not None:
                found["rss_mb"].append(rss_mb)
            reported = pipeline.stop()
        finally:
            pipeline.kill()
    if reported:
        for phase in _UDP_PHASES:
            found[f"{phase}_reported"].append(reported[phase] / arrived[phase])
    return found


def _udp_bursts(pipeline: Pipeline, load: Path, phase: str, scale: Scale, found: Round) -> int:
    """Send the bursts of one phase; give the packets that arrived at the measured host."""
    arrived = 0

    def burst(to: Receiver) -> float:
        nonlocal arrived
        sent = link.udp(load, to, phase, scale.traffic_s)
        if to is MEASURED:
            arrived += sent.arrived
            found[f"{phase}_lost"].append(1 - sent.delivered / sent.arrived)
        return sent.delivered / sent.seconds / 1e3

    _side_by_side(pipeline, scale.traffic_pairs, burst, found[f"{phase}_kpps"], found[phase])
    return arrived


def _tcp_bursts(pipeline: Pipeline, scale: Scale, found: Round) -> None:
    def burst(to: Receiver) -> float:
        return link.tcp(to, 1) / 1e9

    _side_by_side(pipeline, scale.tcp_pairs, burst, found["tcp_gbps"], found["tcp"])


def _side_by_side(
    pipeline: Pipeline,
    pairs: int,
    burst: Callable[[Receiver], float],
    rates: list[float],
    kept: list[float],
) -> None:
    """Run pairs of bursts, to the measured host and to its twin, which of them first in turn."""
    for pair in range(pairs):
        rate: dict[Receiver, float] = {}
        for to in (MEASURED, BARE) if pair % 2 else (BARE, MEASURED):
            if to is BARE:
                pipeline.pause()
            rate[to] = burst(to)
            if to is BARE:
                pipeline.resume()
        rates.append(rate[MEASURED])
        kept += ratios([rate[MEASURED]], [rate[BARE]])


def _summed(name: str, rounds: dict[str, list[Round]]) -> Found:
    def series(of: str, figure: str) -> list[float]:
        return [value for found in rounds[of] for value in found[figure]]

    shares = (*_UDP_PHASES, "tcp")
    rates = (*(f"{phase}_kpps" for phase in _UDP_PHASES), "tcp_gbps")
    return Found(
        figures={
            figure: spread(series(name, figure))
            for figure in rounds[name][0]
            if figure not in shares
        },
        kept={share: spread(series(name, share)) for share in shares},
        against_prototype={
            rate: spread(ratios(series(name, rate), series(PROTOTYPE, rate))) for rate in rates
        },
    )
