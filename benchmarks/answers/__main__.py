"""`python -m benchmarks.answers`: how fast answers and events come, and what tasks cost."""

from __future__ import annotations

import sys

from benchmarks.answers import bars, detection, folding, idle, latency, memory, report, scale
from benchmarks.run import Group, main

GROUP = Group(
    name="answers",
    page="benchmarks-answers.md",
    sections={
        "latency": latency.measure,
        "folding": folding.measure,
        "idle": idle.measure,
        "detection": detection.measure,
        "memory": memory.measure,
    },
    full=scale.FULL,
    smoke=scale.SMOKE,
    bars=bars.BARS,
    render=report.render,
)

if __name__ == "__main__":
    sys.exit(main(GROUP))
