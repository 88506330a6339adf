"""A live link under load: what each way of measuring costs it, and what it reports.

Every round runs every pipeline, beginning with another one each time; ratios are made within a
round. The truth is what the receiver's device took in.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

from benchmarks.data_path import link
from benchmarks.data_path.pipelines import NONE, PROTOTYPE, Pipeline, pipelines
from benchmarks.data_path.scale import Scale
from benchmarks.data_path.spread import Spread, ratios, spread

_UDP_PHASES = tuple(link.FLOWS)
Round = dict[str, float]


class Found(TypedDict):
    """What one pipeline gave."""

    figures: dict[str, Spread]
    """`few_kpps`, `many_kpps` (64 and 50,000 flows, delivered), `tcp_gbps`; `few_reported`,
    `many_reported` (share of what arrived); `few_lost` (share of what arrived that was not
    delivered); `cpu_s` (processor seconds of a round); `rss_mb`."""
    kept: dict[str, Spread]
    """Rates as a share of no measurement, same round."""
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
        held.enter_context(link.tcp_server())
        for number in range(scale.traffic_rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                rounds[name].append(_round(kinds[name], load, scale.traffic_s))
    return {name: _summed(name, rounds) for name in names}


def _round(kind: type[Pipeline], load: Path, seconds: float) -> Round:
    with TemporaryDirectory(prefix="netsonde-bench-", dir="/run") as folder:
        Path(folder).chmod(0o755)  # the agent is nobody
        pipeline = kind(Path(folder))
        try:
            pipeline.start()
            before_s = pipeline.cpu_s()
            udp = {phase: link.udp(load, phase, seconds) for phase in _UDP_PHASES}
            found = {"tcp_gbps": link.tcp(seconds) / 1e9}
            found["cpu_s"] = pipeline.cpu_s() - before_s
            if (rss_mb := pipeline.rss_mb()) is not None:
                found["rss_mb"] = rss_mb
            reported = pipeline.stop()
        finally:
            pipeline.kill()
    for phase, sent in udp.items():
        found[f"{phase}_kpps"] = sent.delivered / sent.seconds / 1e3
        found[f"{phase}_lost"] = 1 - sent.delivered / sent.arrived
        if reported:
            found[f"{phase}_reported"] = reported[phase] / sent.arrived
    return found


def _summed(name: str, rounds: dict[str, list[Round]]) -> Found:
    def series(of: str, figure: str) -> list[float]:
        return [found[figure] for found in rounds[of]]

    def against(other: str) -> dict[str, Spread]:
        rates = [f"{phase}_kpps" for phase in _UDP_PHASES] + ["tcp_gbps"]
        return {rate: spread(ratios(series(name, rate), series(other, rate))) for rate in rates}

    return Found(
        figures={figure: spread(series(name, figure)) for figure in rounds[name][0]},
        kept=against(NONE),
        against_prototype=against(PROTOTYPE),
    )
