"""`python -m benchmarks.data_path`: what counting costs, and what it is worth."""

from __future__ import annotations

import sys

from benchmarks.data_path import accuracy, bars, captures, ladder, report, scale, ticks, traffic
from benchmarks.run import Group, main

GROUP = Group(
    name="data_path",
    page="benchmarks.md",
    sections={
        "ladder": ladder.measure,
        "traffic": traffic.measure,
        "captures": captures.measure,
        "ticks": ticks.measure,
        "accuracy": accuracy.measure,
    },
    full=scale.FULL,
    smoke=scale.SMOKE,
    bars=bars.BARS,
    render=report.render,
)

if __name__ == "__main__":
    sys.exit(main(GROUP))
