"""A live link under load: what each way of measuring costs it, and what it reports.

The same bursts go to a host that is measured and, in turn, to its twin that is not, while whoever
measures is held: so what disturbs one disturbs the other, and each ratio is of two bursts side by
side. The twins change places after each round, and ratios of two rounds are joined by their
geometric mean: what makes one twin faster than the other is gone. The truth is what the receiver's
device took in. Every round runs every pipeline, beginning with another one each time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

from benchmarks.data_path import link
from benchmarks.data_path.link import TWINS, Receiver
from benchmarks.data_path.pipelines import PROMISED, PROTOTYPE, Pipeline, pipelines
from benchmarks.data_path.scale import Scale
from benchmarks.spread import Spread, ratios, spread

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
    cost_ns: dict[str, Spread]
    """`few`, `many`: processor time a packet took more than one to the twin beside it, on its way
    through the kernel."""
    against_prototype: dict[str, Spread]
    """Rates in multiples of the prototype's, burst by burst of the same round."""


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
                times = scale.promised_times if name == PROMISED else 1
                twins = TWINS[number % 2], TWINS[1 - number % 2]
                rounds[name].append(_round(kinds[name], load, scale, times, twins))
    return {name: _summed(name, rounds) for name in names}


def _round(
    kind: type[Pipeline], load: Path, scale: Scale, times: int, twins: tuple[Receiver, Receiver]
) -> Round:
    found: defaultdict[str, list[float]] = defaultdict(list)
    with TemporaryDirectory(prefix="netsonde-bench-", dir="/run") as folder:
        Path(folder).chmod(0o755)  # the agent is nobody
        pipeline = kind(Path(folder), twins[0])
        try:
            pipeline.start()
            beside = _SideBySide(pipeline, twins, found)
            before_s = pipeline.cpu_s()
            arrived = {
                phase: beside.udp(load, phase, scale.traffic_s, times * scale.traffic_pairs)
                for phase in _UDP_PHASES
            }
            beside.tcp(times * scale.tcp_pairs)
            found["cpu_s"].append((pipeline.cpu_s() - before_s) / times)
            if (rss_mb := pipeline.rss_mb()) is not None:
                found["rss_mb"].append(rss_mb)
            reported = pipeline.stop()
        finally:
            pipeline.kill()
    if reported:
        for phase in _UDP_PHASES:
            found[f"{phase}_reported"].append(reported[phase] / arrived[phase])
    return found


@dataclass(frozen=True, slots=True)
class _SideBySide:
    """Bursts to the measured host and to its twin, which of them first in turn."""

    pipeline: Pipeline
    twins: tuple[Receiver, Receiver]
    found: Round

    def udp(self, load: Path, phase: str, seconds: float, pairs: int) -> int:
        """Send the bursts of one phase; give the packets that arrived at the measured host."""
        arrived = 0
        costs_ns: dict[Receiver, list[float]] = {twin: [] for twin in self.twins}

        def burst(to: Receiver) -> float:
            nonlocal arrived
            sent = link.udp(load, to, phase, seconds)
            costs_ns[to].append(sent.cpu_ns / sent.sent)
            if to is self.twins[0]:
                arrived += sent.arrived
                self.found[f"{phase}_lost"].append(1 - sent.delivered / sent.arrived)
            return sent.delivered / sent.seconds / 1e3

        self._run(pairs, burst, f"{phase}_kpps", phase)
        pairs_ns = zip(*(costs_ns[twin] for twin in self.twins), strict=True)
        self.found[f"{phase}_cost_ns"] += [measured - bare for measured, bare in pairs_ns]
        return arrived

    def tcp(self, pairs: int) -> None:
        """Send TCP streams of a second."""
        self._run(pairs, lambda to: link.tcp(to, 1) / 1e9, "tcp_gbps", "tcp")

    def _run(self, pairs: int, burst: Callable[[Receiver], float], rate: str, share: str) -> None:
        measured, bare = self.twins
        for pair in range(pairs):
            rates: dict[Receiver, float] = {}
            for to in (measured, bare) if pair % 2 else (bare, measured):
                if to is bare:
                    self.pipeline.pause()
                rates[to] = burst(to)
                if to is bare:
                    self.pipeline.resume()
            self.found[rate].append(rates[measured])
            self.found[share] += ratios([rates[measured]], [rates[bare]])


def _summed(name: str, rounds: dict[str, list[Round]]) -> Found:
    def series(figure: str) -> list[float]:
        return [value for found in rounds[name] for value in found[figure]]

    def crossed(figure: str, mean: Callable[[float, float], float]) -> list[float]:
        values = [found[figure] for found in rounds[name]]
        return [
            mean(here, there)
            for first, second in zip(values[::2], values[1::2], strict=True)
            for here, there in zip(first, second, strict=True)
        ]

    def multiples(figure: str) -> list[float]:
        both = zip(rounds[name], rounds[PROTOTYPE], strict=True)
        return [
            here / there
            for ours, prototype in both
            for here, there in zip(ours[figure], prototype[figure], strict=False)
        ]

    shares = (*_UDP_PHASES, "tcp")
    costs = {phase: f"{phase}_cost_ns" for phase in _UDP_PHASES}
    rates = (*(f"{phase}_kpps" for phase in _UDP_PHASES), "tcp_gbps")
    return Found(
        figures={
            figure: spread(series(figure))
            for figure in rounds[name][0]
            if figure not in (*shares, *costs.values())
        },
        kept={share: spread(crossed(share, _geometric_mean)) for share in shares},
        cost_ns={
            phase: spread(crossed(figure, lambda here, there: (here + there) / 2))
            for phase, figure in costs.items()
        },
        against_prototype={rate: spread(multiples(rate)) for rate in rates},
    )


def _geometric_mean(here: float, there: float) -> float:
    return math.sqrt(here * there)
