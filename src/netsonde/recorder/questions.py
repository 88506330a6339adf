"""Answers a question from the steps that cover its window, a step at a time.

The one idea: an answer is folded in slices, each of some milliseconds, so that whoever drives it
closes ticks in between; what it reads does not change meanwhile.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from netsonde.model.errors import BadField
from netsonde.model.evidence import Evidence
from netsonde.model.flow import FlowClass
from netsonde.model.task import Counter, Filter, Increment, Question, Task
from netsonde.model.window import MAX_POINTS
from netsonde.recorder.cover import Cover
from netsonde.recorder.seen import Seen
from netsonde.recorder.steps import Step
from netsonde.sketch.part import fingerprint
from netsonde.sketch.series import Series
from netsonde.sketch.spread import Spread
from netsonde.sketch.window import Window

CAPACITY = 1 << 16
"""Keys, or pairs of a spread, that an answer holds at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One host's answer; evidence says nothing yet of who counted and at what cost."""

    part: bytes
    """`sketch.part.read` reads it."""
    evidence: Evidence


Answering = Generator[None, None, Answered]
"""Slices of an answer; `finished` runs them all."""


def finished(slices: Answering) -> Answered:
    """Run an answer to its end."""
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            answered: Answered = stop.value
            return answered


def answering(
    question: Question, asked: Filter, counter: Counter | None, cover: Cover
) -> Answering:
    """Answer from a cover, in slices.

    `asked`: the filter that applies, the task's where there is one. `counter`: what is counted for
    each key, None for totals. Raises BadField for a series of too many steps.
    """
    if question.step_ticks:
        return _series(question, asked, counter, cover)
    if question.of is not None and question.key_type is not None:
        return _spread(question, asked, question.key_type, question.of, cover)
    return _window(question, asked, counter, cover)


def _window(question: Question, asked: Filter, counter: Counter | None, cover: Cover) -> Answering:
    window, seen = Window(_task(asked, counter), CAPACITY), Seen()
    for tick in cover.ticks(single=_by_tick(asked)):
        window.absorb(tick)
        seen += Seen.of(tick)
        yield
    return _answered(window.summary(question, counter).to_bytes(), seen, cover)


def _spread(question: Question, asked: Filter, by: str, of: str, cover: Cover) -> Answering:
    spread, seen = Spread(asked, by, of, CAPACITY), Seen()
    for tick in cover.ticks(single=_by_tick(asked)):
        spread.absorb(tick)
        seen += Seen.of(tick)
        yield
    return _answered(spread.summary(question).to_bytes(), seen, cover)


def _series(question: Question, asked: Filter, counter: Counter | None, cover: Cover) -> Answering:
    points, seen = _Points(question, cover), Seen()
    for run in points.runs(cover.steps):
        window = Window(_task(asked, counter), CAPACITY)
        for step in run:
            tick = step.tick
            window.absorb(tick)
            seen += Seen.of(tick)
            yield
        summary = window.summary(question, counter)
        if question.key is not None:
            bound = summary.count(question.key)
        elif question.increment is Increment.BYTES:
            bound = summary.total_bytes
        else:
            bound = summary.total_packets
        points.add(run[0].first_tick, run[-1].last_tick, (bound.lower, bound.estimate, bound.upper))
    increment = counter.increment if counter else question.increment
    part = points.series(fingerprint(asked, increment, question)).to_bytes()
    return _answered(part, seen, cover)


class _Points:
    """The steps of a series while they fill."""

    def __init__(self, question: Question, cover: Cover) -> None:
        self._length = length = question.step_ticks
        first = min(cover.asked_first_tick, cover.first_tick) // length
        last = max(cover.asked_last_tick, cover.last_tick) // length
        if last - first >= MAX_POINTS:
            allowed = f"at most {MAX_POINTS} steps of {length / 10:g} s"
            raise BadField("window", question.window.text, allowed)
        self._first_tick = first * length
        self._bounds = np.zeros((3, last - first + 1), np.int64)
        self._held = np.zeros((last - first + 1) * length, np.bool_)
        """Each wall tick; several steps may have some of the same one."""
        self._left_out = cover.left_out

    def runs(self, steps: tuple[Step, ...]) -> list[list[Step]]:
        """Join what follows one another within a point."""
        runs: list[list[Step]] = []
        for step in steps:
            point = step.first_tick // self._length
            last = runs[-1][-1] if runs else None
            if (
                last is not None
                and (last.end, last.era) == (step.begin, step.era)
                and point == step.last_tick // self._length
                and point == runs[-1][0].first_tick // self._length
            ):
                runs[-1].append(step)
            else:
                runs.append([step])
        return runs

    def add(self, first_tick: int, last_tick: int, bound: tuple[int, int, int]) -> None:
        """Add what was counted from one tick to another.

        Where that is more than one point nobody knows how it was parted: then any of them may have
        all or none of it, and estimates are parted by time.
        """
        first, last = (self._point(tick) for tick in (first_tick, last_tick))
        lower, estimate, upper = bound
        self._bounds[0, first] += lower if first == last else 0
        self._bounds[2, first : last + 1] += upper
        ticks, left = last_tick - first_tick + 1, estimate
        for point in range(first, last + 1):
            begin = self._first_tick + point * self._length
            own = min(last_tick + 1, begin + self._length) - max(first_tick, begin)
            part = left if point == last else estimate * own // ticks
            self._bounds[1, point] += part
            left -= part
        self._held[first_tick - self._first_tick : last_tick - self._first_tick + 1] = True

    def series(self, asked: str) -> Series:
        """Make a series of them; `asked`: its fingerprint."""
        lower, estimate, upper = self._bounds
        held = self._held.reshape(-1, self._length)
        counted, whole = np.any(held, axis=1), np.all(held, axis=1)
        for first_tick, last_tick in self._left_out:
            begin, end = self._point(first_tick), self._point(last_tick) + 1
            whole[max(0, begin) : max(0, end)] = False
        return Series(
            fingerprint=asked,
            step_ticks=self._length,
            first_ticks=self._first_tick + self._length * np.arange(len(held)),
            lower=lower,
            estimate=estimate,
            upper=upper,
            counted=counted,
            hosts=whole.astype(np.int64),
        )

    def _point(self, tick: int) -> int:
        return (tick - self._first_tick) // self._length


def _by_tick(asked: Filter) -> bool:
    """Tell whether a filter needs each tick's own TCP flags, which joining would mix."""
    return asked.flow is not FlowClass.ANY


def _task(asked: Filter, counter: Counter | None) -> Task:
    counters = () if counter is None else (counter,)
    return Task(series="sketch", id=0, filter=asked, counters=counters, since_tick=0)


def _answered(part: bytes, seen: Seen, cover: Cover) -> Answered:
    evidence = seen.evidence(
        cover.first_tick, cover.last_tick, cover.missed_ticks, cover.clock_steps
    )
    return Answered(part=part, evidence=evidence)
