"""What monitor and agent hold after an hour of traffic, in simulated time.

Run as a program it is the monitor's memory alone: `python -m benchmarks.answers.memory TICKS`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.answers import latency
from benchmarks.answers.latency import AGENT
from benchmarks.answers.scale import Scale
from benchmarks.answers.ticks import Maker, fifty_tasks
from benchmarks.data_path.pipelines import ROOT
from benchmarks.spread import Spread, spread
from netsonde.daemon.memory import give_back, keep_freed
from netsonde.model.window import TICK_NS, TICKS_PER_S
from netsonde.monitor.main import Settings
from netsonde.monitor.taken import Closed
from netsonde.monitor.tasks import Tasks
from netsonde.recorder.ring import Recorder

_BEGIN_TICK = 17_000_000_000
_TICKS_OF_A_GENERATION = 100
_TASKS = 10
_MARKS = 6
_FLOWS = 10_000


def measure(scale: Scale) -> dict[str, Spread | dict[str, float] | float]:
    """Give {"monitor_mb": {minutes: MB}, "agent_mb", "after_mb", "growth_mb"}."""
    command = [sys.executable, "-m", "benchmarks.answers.memory", str(scale.memory_ticks)]
    done = subprocess.run(
        ["env", f"PYTHONPATH={ROOT}", *command], check=True, capture_output=True, text=True
    )
    monitor_mb: dict[str, float] = json.loads(done.stdout)
    agent_mb = _agent_mb(scale)
    values = list(monitor_mb.values())
    return {
        "monitor_mb": monitor_mb,
        "agent_mb": agent_mb,
        "after_mb": spread([values[-1] + agent_mb]),
        "growth_mb": spread([values[-1] - values[len(values) // 2]]),
    }


def _agent_mb(scale: Scale) -> float:
    with latency.counting() as (host, load), latency.sending(load, scale):
        latency.ask("http", AGENT, scale)
        return host.agent_rss_mb()


def simulate(ticks: int) -> dict[str, float]:
    """Take so many ticks; give {minutes: resident MB} at some of them."""
    keep_freed()
    maker, found = Maker(_FLOWS), {}
    tasks = Tasks(Recorder(Settings().recorder_mb << 20), began_tick=_BEGIN_TICK)
    tasks.apply(fifty_tasks(_TASKS), _BEGIN_TICK)
    for number in range(ticks):
        generation = 1 + number // _TICKS_OF_A_GENERATION
        tick = maker.tick(_BEGIN_TICK + number, generation)
        tasks.absorb(Closed(tick=tick, mono_ns=(1 + number) * TICK_NS))
        while tasks.work():
            pass
        if (number + 1) % TICKS_PER_S == 0:
            give_back()
        if (number + 1) % (ticks // _MARKS) == 0:
            found[f"{(number + 1) / 600:g}"] = _resident_mb()
    return found


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    print(json.dumps(simulate(int(sys.argv[1]))))
