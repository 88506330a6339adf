"""What monitor and agent take of a CPU on a host where nothing happens."""

from __future__ import annotations

import time

from benchmarks.answers.latency import counting
from benchmarks.answers.scale import Scale
from benchmarks.spread import Spread, spread


def measure(scale: Scale) -> dict[str, Spread]:
    """Give {"cpu_percent": of one core, monitor and agent together}, by /proc's clock."""
    shares: list[float] = []
    with counting() as (host, _):
        for _ in range(max(2, scale.rounds)):
            before_s, begun_s = host.cpu_s(), time.monotonic()
            time.sleep(scale.idle_s)
            shares.append(100 * (host.cpu_s() - before_s) / (time.monotonic() - begun_s))
    return {"cpu_percent": spread(shares)}
