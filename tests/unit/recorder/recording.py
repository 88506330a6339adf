"""Ticks of made traffic, with clocks that a test sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netsonde.model.evidence import ClockStep
from netsonde.model.window import TICK_NS
from netsonde.recorder.ring import Recorder
from netsonde.sketch import _abi
from netsonde.sketch.tick import Side, Tick

NOW = 17_000_000_000
"""A tick that begins ten seconds."""


def tick(number: int, flows: Sequence[tuple[int, int]], first: int | None = None) -> Tick:
    """A tick of received flows, each a source (0 to 2^24) and its packets of 100 bytes."""
    records = np.zeros(len(flows), _abi.RECORD)
    sources = np.array([source for source, _ in flows], np.uint32)
    for byte in range(3):
        records["key"]["src"][:, 15 - byte] = sources >> 8 * byte & 0xFF
    records["key"]["src"][:, 12] = 10
    records["key"]["src"][:, 10:12] = 0xFF
    records["key"]["proto"] = 6
    records["packets"] = [packets for _, packets in flows]
    records["bytes"] = 100 * records["packets"]
    total = int(records["packets"].sum())
    quiet = Side(packets=0, ip_bytes=0, drops={"not_ip": 0})
    busy = Side(packets=total, ip_bytes=100 * total, drops={"not_ip": 1})
    return Tick(id=number, first_id=first, records=records.tobytes(), sides=(busy, quiet))


class Clocked:
    """A recorder and the two clocks of its host."""

    def __init__(self, budget_bytes: int = 32 << 20) -> None:
        self.recorder = Recorder(budget_bytes)
        self.wall, self.mono_ns = NOW, 5_000_000_000
        self.ticks: list[Tick] = []

    def add(self, flows: Sequence[tuple[int, int]], length: int = 1) -> Tick:
        """Count these flows in the tick that begins now, and let it pass."""
        last = self.wall + length - 1
        one = tick(last, flows, None if length == 1 else self.wall)
        self.mono_ns += length * TICK_NS
        self.recorder.add(one, self.mono_ns, self._step)
        self._step = None
        self.wall = last + 1
        self.ticks.append(one)
        return one

    _step: ClockStep | None = None

    def set_clock(self, wall: int) -> None:
        self._step = ClockStep(tick=wall, step_ms=100 * (wall - self.wall))
        self.wall = wall

    def settle(self) -> None:
        while self.recorder.work():
            pass
