"""The CPU that answering over HTTP may take: a share of one core, and no more over any while.

The one idea: each step of an answer is charged with the time that the thread worked for it, to a
bucket that fills at the budget's rate. A request is begun while there is something in it, waits a
moment while there is not, and is then told when to come again. Waiting also keeps refusals cheap:
they come no faster than connections can wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from netsonde.model.errors import Busy

T = TypeVar("T")
BURST_S = 1.0
"""Seconds of the budget that may be saved up for a burst."""
HELD_S = 0.25
"""Seconds that a request waits for its turn before it is refused."""
_KEPT = 0.25
"""Of what is saved up, the part that is kept for what must not wait behind questions."""
_LOOK_S = 0.01


class Budget:
    """A share of one core; spent by `metered` and `spend`, asked by `admitted`."""

    def __init__(
        self,
        percent: float,
        *,
        mono_s: Callable[[], float] = time.monotonic,
        worked_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self.spent_ns = 0
        """Work charged so far."""
        self._share = percent / 100
        self._full_s = BURST_S * self._share
        self._left_s = self._full_s
        self._mono_s = mono_s
        self._at_s = mono_s()
        self._worked_ns = worked_ns

    def spend(self, work_ns: int) -> None:
        """Charge work."""
        self.spent_ns += work_ns
        self._left_s -= work_ns * 1e-9

    def wait_s(self, *, first: bool = False) -> float:
        """Give the seconds until a request may begin; `first` ones may use what is kept."""
        now_s = self._mono_s()
        filled_s = self._left_s + (now_s - self._at_s) * self._share
        self._left_s, self._at_s = min(self._full_s, filled_s), now_s
        lacks_s = (0.0 if first else _KEPT * self._full_s) - self._left_s
        return max(0.0, lacks_s / self._share)

    async def admitted(self, *, first: bool = False) -> None:
        """Return when a request may begin; raises Busy when that is not soon."""
        until_s = self._mono_s() + HELD_S
        while (wait_s := self.wait_s(first=first)) > 0:
            left_s = until_s - self._mono_s()
            if left_s <= 0:
                raise Busy(
                    "this agent has spent what it may on answers (setting 'answer_cpu_percent'); "
                    f"try again in {wait_s:.1f} s",
                    wait_s,
                )
            await asyncio.sleep(min(left_s, max(wait_s, _LOOK_S)))

    async def metered(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work, and charge it; what it waits for costs nothing."""
        done: T = await _Metered(work, self._worked_ns, self.spend)
        return done


class _Metered:
    def __init__(
        self,
        work: Coroutine[Any, Any, T],
        worked_ns: Callable[[], int],
        spend: Callable[[int], None],
    ) -> None:
        self._work = work
        self._worked_ns = worked_ns
        self._spend = spend

    def __await__(self) -> Generator[Any, Any, Any]:
        """Hand through what the work waits for, and what that gives or raises."""
        worked_ns, spend, work = self._worked_ns, self._spend, self._work
        given: Any = None
        raised: BaseException | None = None
        while True:
            begun_ns = worked_ns()
            try:
                waits_for = work.send(given) if raised is None else work.throw(raised)
            except StopIteration as ended:
                return ended.value
            finally:
                spend(worked_ns() - begun_ns)
            given = raised = None
            try:
                given = yield waits_for
            except BaseException as error:  # cancelling too is the work's to answer
                raised = error
