"""The promises of answers: each row a figure of a run and the bar it must reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.promise import Bar
from benchmarks.spread import Spread


def _figure(*names: str) -> Callable[[Any], Spread]:
    def of(found: Any) -> Spread:
        for name in names:
            found = found[name]
        chosen: Spread = found
        return chosen

    return of


BARS = (
    Bar(
        "question over the last 1 s at 16 K live flows, in the monitor, p99",
        *("latency", _figure("monitor", "p99_ms"), 10, False, "ms"),
    ),
    Bar(
        "the same through the agent's HTTP, p99",
        *("latency", _figure("agent", "p99_ms"), 25, False, "ms"),
    ),
    Bar(
        "questions sustained while counting",
        *("latency", _figure("agent", "per_s"), 190, True, "/s of 200 asked"),
    ),
    Bar(
        "50 tasks with 3 counters each, the same 10 K flows each tick, of one core",
        *("folding", _figure("steady", "cpu_percent"), 25, False, "%"),
    ),
    Bar("idle host, of one core", "idle", _figure("cpu_percent"), 1, False, "%"),
    Bar(
        "from the threshold's packet to the event, p99",
        *("detection", _figure("p99_ms"), 250, False, "ms"),
    ),
    Bar("scans that no event told", "detection", _figure("missed"), 0, False, ""),
    Bar(
        "memory of monitor and agent after an hour of 10 K flows a tick",
        *("memory", _figure("after_mb"), 200, False, "MB"),
    ),
    Bar(
        "growth of the monitor in the last half of that hour",
        *("memory", _figure("growth_mb"), 5, False, "MB"),
    ),
)
