"""The last ticks joined: once for all who ask about them.

Most questions are about the last second, of ten ticks with mostly the same flows. Joined they are
folded ten times as fast, and joining them costs no more than folding them once. Where somebody has
asked since the tick before, they are joined before anybody asks again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netsonde.recorder.steps import Step
from netsonde.sketch import _abi
from netsonde.sketch.merge import merged
from netsonde.sketch.tick import Tick

MOST_RECORDS = 1 << 18
"""Of all ticks that are joined; beyond it they are folded one by one, and memory stays small."""
_MOST_BYTES = MOST_RECORDS * _abi.RECORD.itemsize


class Tail:
    """Joins ticks that are not packed yet, and remembers the last it joined."""

    def __init__(self) -> None:
        self._place: tuple[int, int] | None = None
        self._joined: Tick | None = None
        self.wanted = 0
        """Ticks that were joined for somebody since `keep_up`."""

    def ticks(self, steps: Sequence[Step]) -> Iterator[Tick]:
        """Give what steps hold, those at the end that are not packed as one."""
        run = _last_run(steps)
        for step in steps[: len(steps) - len(run)]:
            yield step.tick
        if joined := self._join(run):
            self.wanted = len(run)
            yield joined
        else:
            yield from (step.tick for step in run)

    def keep_up(self, steps: Sequence[Step]) -> None:
        """Join the latest of these as often as was wanted of those before."""
        wanted, self.wanted = self.wanted, 0
        run = _last_run(steps[-wanted:]) if wanted else ()
        if len(run) == wanted:
            self._join(run)

    def _join(self, run: Sequence[Step]) -> Tick | None:
        """Give steps as one tick; None where that is not worth it."""
        if len(run) < 2:
            return None
        place = run[0].begin, run[-1].end
        if self._place != place:
            ticks = [step.tick for step in run]
            if sum(len(tick.records) for tick in ticks) > _MOST_BYTES:
                return None
            self._place, self._joined = place, merged(ticks, MOST_RECORDS)
        return self._joined


def _last_run(steps: Sequence[Step]) -> Sequence[Step]:
    """Give the steps at the end that follow one another, of one era, none of them packed."""
    begin = len(steps)
    while begin > 0 and not isinstance(steps[begin - 1].held, bytes):
        if begin < len(steps) and (steps[begin - 1].end, steps[begin - 1].era) != (
            steps[begin].begin,
            steps[begin].era,
        ):
            break
        begin -= 1
    return steps[begin:]
