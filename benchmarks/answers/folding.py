"""What recording ticks and folding them into fifty tasks takes of the monitor's CPU."""

from __future__ import annotations

import time

from benchmarks.answers.scale import Scale
from benchmarks.answers.ticks import Maker, fifty_tasks
from benchmarks.spread import Spread, spread
from netsonde.model.window import TICK_NS
from netsonde.monitor.main import Settings
from netsonde.monitor.taken import Closed
from netsonde.monitor.tasks import Tasks
from netsonde.recorder.ring import Recorder

_BEGIN_TICK = 17_000_000_000


def measure(scale: Scale) -> dict[str, dict[str, Spread]]:
    """Give {"steady" | "new": {"cpu_percent", "tick_ms", "worst_ms"}}, a value for each round.

    `worst_ms` is the longest that one piece of the work held up everything else.
    """
    maker = Maker(scale.fold_flows)
    found: dict[str, dict[str, Spread]] = {}
    for name, ticks_of_a_generation in (("steady", 1 << 40), ("new", 1)):
        ticks = scale.fold_ticks
        rounds = [_round(maker, ticks, ticks_of_a_generation) for _ in range(3)]
        found[name] = {
            "cpu_percent": spread(
                [100 * cpu_ns / (TICK_NS * scale.fold_ticks) for cpu_ns, _ in rounds]
            ),
            "tick_ms": spread([cpu_ns / ticks / 1e6 for cpu_ns, _ in rounds]),
            "worst_ms": spread([worst_ns / 1e6 for _, worst_ns in rounds]),
        }
    return found


def _round(maker: Maker, ticks: int, ticks_of_a_generation: int) -> tuple[int, int]:
    """Give the CPU time of so many ticks, and that of the longest piece, in ns."""
    tasks = Tasks(Recorder(Settings().recorder_mb << 20), began_tick=_BEGIN_TICK)
    tasks.apply(fifty_tasks(), _BEGIN_TICK)
    cpu_ns = worst_ns = 0
    for number in range(ticks):
        tick = maker.tick(_BEGIN_TICK + number, 1 + number // ticks_of_a_generation)
        closed = Closed(tick=tick, mono_ns=(1 + number) * TICK_NS)
        begun_ns = time.thread_time_ns()
        tasks.absorb(closed)
        worst_ns = max(worst_ns, time.thread_time_ns() - begun_ns)
        while True:
            piece_ns = time.thread_time_ns()
            more = tasks.work()
            worst_ns = max(worst_ns, time.thread_time_ns() - piece_ns)
            if not more:
                break
        cpu_ns += time.thread_time_ns() - begun_ns
    return cpu_ns, worst_ns
