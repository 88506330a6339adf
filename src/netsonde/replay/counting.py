"""What a question counts while ticks pass: keys, spreads, or a count for each step.

Each is what a monitor uses; here ticks come from files, and all of the window at once.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from netsonde.model.bound import Bound
from netsonde.model.errors import BadField
from netsonde.model.task import Counter, Increment, Question, Task
from netsonde.model.window import MAX_POINTS, TICKS_PER_S
from netsonde.sketch.part import Part, fingerprint
from netsonde.sketch.planning import Plan
from netsonde.sketch.series import Series
from netsonde.sketch.spread import Spread
from netsonde.sketch.tick import Tick
from netsonde.sketch.window import Window

CAPACITY = 1 << 20
"""Keys, or pairs of a spread, that are held at once; beyond that bounds widen."""


class Counting(Protocol):
    """Takes ticks, then gives its part of the answer."""

    def absorb(self, tick: Tick) -> None:
        """Take the next tick, or several as one."""

    def part(self, first_tick: int, last_tick: int) -> Part:
        """Give what was counted from one tick to another."""


def counting(plan: Plan, question: Question) -> Counting:
    """Begin to count for one question of a plan."""
    if question.step_ticks:
        return _Steps(plan, question)
    if plan.by is not None and plan.of is not None:
        return _Spreads(plan, question)
    return _Keys(plan, question)


class _Keys:
    def __init__(self, plan: Plan, question: Question) -> None:
        self._question, self._counter = question, _counter(plan)
        self._window = Window(_task(plan), CAPACITY)

    def absorb(self, tick: Tick) -> None:
        self._window.absorb(tick)

    def part(self, _first_tick: int, _last_tick: int) -> Part:
        return self._window.summary(self._question, self._counter)


class _Spreads:
    def __init__(self, plan: Plan, question: Question) -> None:
        assert question.key_type is not None  # noqa: S101 - `counting` asked
        assert question.of is not None  # noqa: S101
        self._question = question
        self._spread = Spread(plan.filter, question.key_type, question.of, CAPACITY)

    def absorb(self, tick: Tick) -> None:
        self._spread.absorb(tick)

    def part(self, _first_tick: int, _last_tick: int) -> Part:
        return self._spread.summary(self._question)


class _Steps:
    """A window for each step; captures that go back in time add to steps that were closed."""

    def __init__(self, plan: Plan, question: Question) -> None:
        self._plan, self._question = plan, question
        self._length = question.step_ticks
        self._step: int | None = None
        self._window = Window(_task(plan))
        self._bounds: dict[int, Bound] = {}
        self._first, self._last = 1 << 62, 0

    def absorb(self, tick: Tick) -> None:
        step = tick.id // self._length
        if step != self._step:
            self._close()
            self._step, self._window = step, Window(_task(self._plan))
            self._first, self._last = min(self._first, step), max(self._last, step)
            if self._last - self._first >= MAX_POINTS:
                longest_s = MAX_POINTS * self._length / TICKS_PER_S
                allowed = f"a longer one, or a window of at most {longest_s:g} s"
                raise BadField("step", _written(self._length), allowed)
        self._window.absorb(tick)

    def part(self, first_tick: int, last_tick: int) -> Part:
        self._close()
        first, end = first_tick // self._length, last_tick // self._length + 1
        steps = range(first, end) if last_tick >= first_tick else range(0)
        zero = Bound.exactly(0)
        bounds = [self._bounds.get(step, zero) for step in steps]
        begins = np.arange(first, first + len(steps)) * self._length
        held = (begins >= first_tick) & (begins + self._length - 1 <= last_tick)
        return Series(
            fingerprint=fingerprint(self._plan.filter, self._plan.increment, self._question),
            step_ticks=self._length,
            first_ticks=begins,
            lower=np.array([bound.lower for bound in bounds], np.int64),
            estimate=np.array([bound.estimate for bound in bounds], np.int64),
            upper=np.array([bound.upper for bound in bounds], np.int64),
            counted=np.ones(len(bounds), np.bool_),
            hosts=held.astype(np.int64),
        )

    def _close(self) -> None:
        if self._step is None:
            return
        summary = self._window.summary(self._question, _counter(self._plan))
        if self._plan.key is not None:
            bound = summary.count(self._plan.key)
        elif self._plan.increment is Increment.BYTES:
            bound = summary.total_bytes
        else:
            bound = summary.total_packets
        self._bounds[self._step] = self._bounds.get(self._step, Bound.exactly(0)) + bound
        self._step = None


def _counter(plan: Plan) -> Counter | None:
    if plan.by is None:
        return None
    return Counter(key_type=plan.by.name, increment=plan.increment)


def _task(plan: Plan) -> Task:
    counter = _counter(plan)
    counters = () if counter is None else (counter,)
    return Task(series="sketch", id=0, filter=plan.filter, counters=counters, since_tick=0)


def _written(step_ticks: int) -> str:
    return {1: "100ms", 10: "1s", 100: "10s"}[step_ticks]
