"""The last ticks joined: once for all who ask about them.

Most questions are about the last second, of ten ticks with mostly the same flows. Joined they are
folded ten times as fast, and joining them costs no more than folding them once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netsonde.recorder.steps import Step
from netsonde.sketch import _abi
from netsonde.sketch.merge import merged
from netsonde.sketch.tick import Tick

MOST_RECORDS = 1 << 18
"""Of all ticks that are joined; beyond it they are folded one by one, and memory stays small."""


class Tail:
    """Joins ticks that are not packed yet, and remembers the last it joined."""

    def __init__(self) -> None:
        self._place: tuple[int, int] | None = None
        self._joined: Tick | None = None

    def ticks(self, steps: Sequence[Step]) -> Iterator[Tick]:
        """Give what steps hold, those at the end that are not packed as one."""
        packed = next((i for i, s in enumerate(reversed(steps)) if isinstance(s.held, bytes)), None)
        first = 0 if packed is None else len(steps) - packed
        run = _last_run(steps[first:])
        for step in steps[: len(steps) - len(run)]:
            yield step.tick
        ticks = [step.tick for step in run]
        if len(ticks) < 2 or sum(len(t.records) for t in ticks) > _LIMIT_BYTES:
            yield from ticks
        else:
            yield self._join((run[0].begin, run[-1].end), ticks)

    def _join(self, place: tuple[int, int], ticks: list[Tick]) -> Tick:
        if self._joined is None or self._place != place:
            self._place, self._joined = place, merged(ticks, MOST_RECORDS)
        return self._joined


_LIMIT_BYTES = MOST_RECORDS * _abi.RECORD.itemsize


def _last_run(steps: Sequence[Step]) -> Sequence[Step]:
    """Give the steps at the end that follow one another, of one era."""
    begin = len(steps) - 1
    while begin > 0 and (steps[begin - 1].end, steps[begin - 1].era) == (
        steps[begin].begin,
        steps[begin].era,
    ):
        begin -= 1
    return steps[max(0, begin) :]
