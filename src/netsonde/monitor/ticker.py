"""The ticker: closes a tick at each boundary of the wall clock, and whenever someone must know.

The one idea: `flush()` returns after a flip that *began* after it was called, so everything this
host sent or received before a question is in its answer, and everything before a task is not in
the task. Calls that wait together share one flip.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from netsonde.sketch.tick import TICK_NS, Reader, Tick

REFRESH_TICKS = 10


class Flippable(Protocol):
    """What the ticker needs of a counting path."""

    def refresh(self) -> None:
        """Follow the host's addresses and devices."""

    def flip(self) -> int:
        """Close the current epoch and give its number; blocks until nobody writes it."""


class Ticker:
    """Flips, reads and hands ticks on, in the event loop's thread."""

    def __init__(self, path: Flippable, reader: Reader, absorb: Callable[[Tick], None]) -> None:
        self._path = path
        self._reader = reader
        self._absorb = absorb
        self._lock = asyncio.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="flip")
        self._begun = 0
        self.late_ticks = 0
        self.since_tick = time.time_ns() // TICK_NS

    async def run(self) -> None:
        """Close a tick at each boundary and follow the host once a second, until cancelled."""
        loop = asyncio.get_running_loop()
        for number in itertools.count():
            if number % REFRESH_TICKS == 0:
                await loop.run_in_executor(self._worker, self._path.refresh)
            now_wall_ns = time.time_ns()
            await asyncio.sleep((TICK_NS - now_wall_ns % TICK_NS) / 1e9)
            begun_mono_ns = time.monotonic_ns()
            await self.flush()
            if time.monotonic_ns() - begun_mono_ns > TICK_NS:
                self.late_ticks += 1

    async def flush(self) -> int:
        """Close the tick being filled, hand it on, and give the id of the one that begins."""
        wanted = self._begun + 1
        async with self._lock:
            if self._begun < wanted:
                self._begun += 1
                loop = asyncio.get_running_loop()
                self._absorb(await loop.run_in_executor(self._worker, self._close))
        return time.time_ns() // TICK_NS

    def _close(self) -> Tick:
        # A tick that ends on a boundary belongs to the time before it.
        tick_id = (time.time_ns() - TICK_NS // 2) // TICK_NS
        return self._reader.read(self._path.flip(), tick_id)
