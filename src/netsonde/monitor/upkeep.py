"""Upkeep: does what ticks leave to do, in slices, so that nothing else waits for it.

The one idea: everything that counts is of one thread, and gives way every few milliseconds; so
ticks are closed in time, questions are answered between slices, and nothing is ever half-done.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from netsonde.model.errors import NetsondeError
from netsonde.recorder.questions import Answered, Answering

SLICE_NS = 1_000_000
"""Shorter pieces are done in a row."""
_PAUSE_S = 0.001
"""Left after each slice to whoever has waited: a question takes several turns of the loop."""
_MAX_ANSWERS = 2
"""Answers under way at once: each may hold megabytes."""


class Upkeep:
    """Runs work and answers in the event loop."""

    def __init__(
        self,
        works: Sequence[Callable[[], bool]],
        charge: Callable[[int], None],
        ahead: Callable[[], Answering | None],
    ) -> None:
        """`works` take turns: each does a piece and tells whether more is left; `charge` takes
        their CPU time in ns. `ahead`: the next answer to make before it is asked for."""
        self._works = deque(works)
        self._charge = charge
        self._ahead = ahead
        self._due = asyncio.Event()
        self._answers = asyncio.Semaphore(_MAX_ANSWERS)

    def wake(self) -> None:
        """Say that there may be work."""
        self._due.set()

    async def run(self) -> None:
        """Do what is due, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            left = self._slice()
            while left:
                await asyncio.sleep(_PAUSE_S)
                left = self._slice()
            while not self._due.is_set() and (slices := self._ahead()):
                with suppress(NetsondeError):  # whoever asks it is told
                    await self.answer(slices, _PAUSE_S)
                await asyncio.sleep(_PAUSE_S)

    async def answer(self, slices: Answering, pause_s: float = 0) -> Answered:
        """Run an answer to its end; raises what it raises.

        `pause_s`: left to others after each slice; 0 where somebody waits for the answer.
        """
        async with self._answers:
            pause_ns = time.monotonic_ns() + SLICE_NS
            while True:
                try:
                    next(slices)
                except StopIteration as stop:
                    answered: Answered = stop.value
                    return answered
                if time.monotonic_ns() >= pause_ns:
                    await asyncio.sleep(pause_s)
                    pause_ns = time.monotonic_ns() + SLICE_NS

    def _slice(self) -> bool:
        """Work for a slice; tells whether more may be left."""
        begun_ns, pause_ns = time.thread_time_ns(), time.monotonic_ns() + SLICE_NS
        done = 0
        while done < len(self._works) and time.monotonic_ns() < pause_ns:
            done = 0 if self._works[0]() else done + 1
            self._works.rotate(-1)
        self._charge(time.thread_time_ns() - begun_ns)
        return done < len(self._works)
