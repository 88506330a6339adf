"""A live link under load: what each way of measuring costs it, and what it reports.

Bursts of a tenth of a second go to a host that is measured and, in turn, to its twin that is not,
while whoever measures is held: so what disturbs one disturbs the other, and each ratio is of two
bursts side by side. The twins change places after each round, and ratios of two rounds are joined
by their geometric mean: what makes one twin faster than the other is gone. The truth is what the
receiver's device took in. Every round runs every pipeline, beginning with another one each time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

from benchmarks.data_path import link
from benchmarks.data_path.link import TWINS, Pairs, Receiver
from benchmarks.data_path.pipelines import EMPTY, PROMISED, PROTOTYPE, Pipeline, pipelines
from benchmarks.data_path.scale import Scale
from benchmarks.spread import Spread, ratios, spread

_UDP_PHASES = tuple(link.FLOWS)
Round = dict[str, list[float]]
"""Figure -> one value for each burst, or one for the round."""


class Found(TypedDict):
    """What one pipeline gave."""

    figures: dict[str, Spread]
    """`few_kpps`, `many_kpps` (64 and 50,000 flows, delivered), `tcp_gbps`; `few_reported`,
    `many_reported` (share of what arrived); `few_lost`, `many_lost` (what no program got, as a
    share of what arrived); `cpu_s` (processor seconds of a round); `rss_mb`."""
    kept: dict[str, Spread]
    """`few`, `many`, `tcp`: rates as a share of what the unmeasured twin took beside it."""
    cost_ns: dict[str, Spread]
    """`few`, `many`: processor time a packet took more than one to the twin beside it, on its way
    through the kernel."""
    against_empty: dict[str, Spread]
    """What is kept, as a share of what the empty program keeps; of those with as many bursts."""
    against_prototype: dict[str, Spread]
    """Rates in multiples of the prototype's, burst by burst of the same round."""


def measure(scale: Scale) -> dict[str, Found]:
    """Give {pipeline: what it gave}."""
    kinds = pipelines()
    names = list(kinds)
    rounds: dict[str, list[Round]] = {name: [] for name in names}
    with ExitStack() as held:
        folder = Path(held.enter_context(TemporaryDirectory(prefix="netsonde-bench-")))
        program = link.compile_twins(folder)
        held.enter_context(link.network())
        for number in range(scale.traffic_rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                times = scale.promised_times if name in (PROMISED, EMPTY) else 1
                twins = TWINS[number % 2], TWINS[1 - number % 2]
                rounds[name].append(_round(kinds[name], program, scale, times, twins))
    return {name: _summed(name, rounds) for name in names}


def _round(
    kind: type[Pipeline], program: Path, scale: Scale, times: int, twins: tuple[Receiver, Receiver]
) -> Round:
    found: defaultdict[str, list[float]] = defaultdict(list)
    with TemporaryDirectory(prefix="netsonde-bench-", dir="/run") as folder:
        Path(folder).chmod(0o755)  # the agent has a user of its own
        pipeline = kind(Path(folder), twins[0])

        def pairs(phase: str) -> Pairs:
            return link.side_by_side(
                *(program, phase, twins),
                burst_s=scale.burst_s,
                pairs=times * scale.traffic_pairs,
                held=pipeline.groups(),
            )

        try:
            pipeline.start()
            before_s = pipeline.cpu_s()
            udp = {phase: pairs(phase) for phase in _UDP_PHASES}
            tcp = pairs("tcp")
            found["cpu_s"].append((pipeline.cpu_s() - before_s) / times)
            if (rss_mb := pipeline.rss_mb()) is not None:
                found["rss_mb"].append(rss_mb)
            reported = pipeline.stop()
        finally:
            pipeline.kill()
    for phase, sent in udp.items():
        _add(found, phase, sent, f"{phase}_kpps", 1e-3)
        costs_ns = [[one.cpu_ns / one.sent for one in pair] for pair in sent.bursts]
        found[f"{phase}_cost_ns"] += [measured - bare for measured, bare in costs_ns]
        found[f"{phase}_lost"].append(sent.lost / sent.arrived)
        if reported:
            found[f"{phase}_reported"].append(reported[phase] / sent.arrived)
    _add(found, "tcp", tcp, "tcp_gbps", 8e-9)
    return found


def _add(found: Round, phase: str, pairs: Pairs, rate: str, unit: float) -> None:
    """Add the rates of the measured twin, and their shares of the other's."""
    measured, bare = ([pair[twin].per_s for pair in pairs.bursts] for twin in (0, 1))
    found[rate] += [per_s * unit for per_s in measured]
    found[phase] += ratios(measured, bare)


def _summed(name: str, rounds: dict[str, list[Round]]) -> Found:
    own = rounds[name]
    shares = (*_UDP_PHASES, "tcp")
    costs = {phase: f"{phase}_cost_ns" for phase in _UDP_PHASES}
    rates = (*(f"{phase}_kpps" for phase in _UDP_PHASES), "tcp_gbps")
    kept = {share: _crossed(own, share, _geometric_mean) for share in shares}
    empty = {share: _crossed(rounds[EMPTY], share, _geometric_mean) for share in shares}
    return Found(
        figures={
            figure: spread([value for found in own for value in found[figure]])
            for figure in own[0]
            if figure not in (*shares, *costs.values())
        },
        kept={share: spread(values) for share, values in kept.items()},
        cost_ns={
            phase: spread(_crossed(own, figure, lambda here, there: (here + there) / 2))
            for phase, figure in costs.items()
        },
        against_empty={
            share: spread(ratios(values, empty[share]))
            for share, values in kept.items()
            if len(values) == len(empty[share])
        },
        against_prototype={
            rate: spread(
                [
                    here / there
                    for ours, prototype in zip(own, rounds[PROTOTYPE], strict=True)
                    for here, there in zip(ours[rate], prototype[rate], strict=False)
                ]
            )
            for rate in rates
        },
    )


def _crossed(
    rounds: list[Round], figure: str, mean: Callable[[float, float], float]
) -> list[float]:
    """Join each burst with that of the next round, in which the twins have changed places."""
    values = [found[figure] for found in rounds]
    return [
        mean(here, there)
        for first, second in zip(values[::2], values[1::2], strict=True)
        for here, there in zip(first, second, strict=True)
    ]


def _geometric_mean(here: float, there: float) -> float:
    return math.sqrt(here * there)
