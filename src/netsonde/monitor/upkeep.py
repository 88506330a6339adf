"""Upkeep: does what ticks leave to do, in slices, so that nothing else waits for it.

The one idea: everything that counts is of one thread, and gives way every few milliseconds; so
ticks are closed in time, questions are answered between slices, and nothing is ever half-done.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from netsonde.daemon.failures import Failures
from netsonde.model.errors import NetsondeError
from netsonde.monitor.budget import LEAST_NS, Budget
from netsonde.recorder.questions import Answered, Answering

SLICE_NS = 1_000_000
"""Shorter pieces are done in a row."""
_PAUSE_S = 0.001
"""Left after each slice to whoever has waited: a question takes several turns of the loop."""
_MAX_ANSWERS = 2
"""Answers under way at once: each may hold megabytes."""


class Upkeep:
    """Runs work and answers in the event loop.

    Guarantees: what one piece of work or one answer raises ends nothing but itself.
    """

    def __init__(
        self,
        works: Sequence[Callable[[], bool]],
        charge: Callable[[int], None],
        ahead: Callable[[], Answering | None],
        *,
        budget: Budget,
        failures: Failures,
    ) -> None:
        """`works` take turns: each does a piece and tells whether more is left; `charge` takes
        their CPU time in ns. `ahead`: the next answer to make before it is asked for. `budget`:
        what answers may cost."""
        self.budget = budget
        self._works = deque(works)
        self._charge = charge
        self._ahead = ahead
        self._failures = failures
        self._due = asyncio.Event()
        self._answers = asyncio.Semaphore(_MAX_ANSWERS)

    def wake(self) -> None:
        """Say that there may be work."""
        self._due.set()

    async def run(self) -> None:
        """Do what is due, until cancelled; may be called again."""
        while True:
            await self._due.wait()
            self._due.clear()
            left = self._slice()
            while left:
                await asyncio.sleep(_PAUSE_S)
                left = self._slice()
            while not self._due.is_set():
                if not await self._answer_ahead():
                    break
                await asyncio.sleep(_PAUSE_S)

    async def answer(self, slices: Answering) -> Answered:
        """Run an answer that somebody waits for to its end.

        Raises what it raises, and Busy when answers have used up their CPU.
        """
        async with self._answers:
            self.budget.check()
            return await self._finished(slices, 0)

    async def _answer_ahead(self) -> bool:
        """Make an answer before it is asked for, if there is CPU enough; tells whether it did."""
        try:
            if not self.budget.has_plenty or (slices := self._ahead()) is None:
                return False
            async with self._answers:
                await self._finished(slices, _PAUSE_S)
        except NetsondeError:
            pass  # whoever asks it is told
        except Exception as error:  # nobody foresaw it, and all else goes on
            self._failures.note("answer ahead", error)
        return True

    async def _finished(self, slices: Answering, pause_s: float) -> Answered:
        """Run an answer to its end; `pause_s`: left to others after each slice."""
        pause_ns = time.monotonic_ns() + SLICE_NS
        self.budget.spend(LEAST_NS)
        while True:
            begun_ns = time.thread_time_ns()
            try:
                next(slices)
            except StopIteration as stop:
                answered: Answered = stop.value
                return answered
            finally:
                self.budget.spend(time.thread_time_ns() - begun_ns)
            if time.monotonic_ns() >= pause_ns:
                await asyncio.sleep(pause_s)
                pause_ns = time.monotonic_ns() + SLICE_NS

    def _slice(self) -> bool:
        """Work for a slice; tells whether more may be left."""
        begun_ns, pause_ns = time.thread_time_ns(), time.monotonic_ns() + SLICE_NS
        done = 0
        while done < len(self._works) and time.monotonic_ns() < pause_ns:
            try:
                left = self._works[0]()
            except Exception as error:  # nobody foresaw it; its next piece is tried next time
                self._failures.note("work", error)
                left = False
            done = 0 if left else done + 1
            self._works.rotate(-1)
        self._charge(time.thread_time_ns() - begun_ns)
        return done < len(self._works)
