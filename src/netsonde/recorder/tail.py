"""The last ticks joined: once for all who ask about them.

Most questions are about the last second, of ten ticks with mostly the same flows. Joined they are
folded ten times as fast, and joining them costs no more than folding them once. Where somebody has
asked since the tick before, they are joined before anybody asks again, and are not packed for it to
be unpacked. Questions come when a tick has closed, so all but that one are added up while it fills,
and each tick is added once for each window: sums that could be taken away from again would have to
remember which flags and labels are whose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netsonde.model.window import TICKS_PER_S
from netsonde.recorder.steps import Step
from netsonde.sketch import _abi
from netsonde.sketch.merge import Merging, merged
from netsonde.sketch.tick import Tick

MOST_RECORDS = 1 << 18
"""Of all ticks that are joined; beyond it they are folded one by one, and memory stays small."""
_MOST_BYTES = MOST_RECORDS * _abi.RECORD.itemsize
_MOST_STEPS = 2 * TICKS_PER_S
"""Of those that are joined: what lies farther back is in longer steps already."""


class Tail:
    """Joins ticks, and remembers the last it joined."""

    def __init__(self) -> None:
        self._place: tuple[int, int] | None = None
        self._joined: Tick | None = None
        self._held: dict[tuple[int, int], Tick] = {}
        """What was joined, by begin and end of its step: steps may have been packed since."""
        self._before: tuple[tuple[int, int], Merging] | None = None
        """All but the newest of the ticks that are joined next, added up, and their place."""
        self.wanted = 0
        """Ticks that were joined for somebody since `keep_up`."""

    def ticks(self, steps: Sequence[Step]) -> Iterator[Tick]:
        """Give what steps hold, the ticks at the end as one."""
        run = _last_run(steps)
        for step in steps[: len(steps) - len(run)]:
            yield step.tick
        if joined := self._join(run):
            self.wanted = len(run)
            yield joined
        else:
            yield from (step.tick for step in run)

    def keep_up(self, steps: Sequence[Step]) -> Iterator[None]:
        """Join the latest of these as often as was wanted of those before, and prepare the next.

        In pieces of a tick.
        """
        wanted, self.wanted = self.wanted, 0
        run = _last_run(steps[-wanted:]) if wanted else ()
        if len(run) < wanted or self._join(run) is None:
            return
        rest = list(self._held.values())[1:]
        before = Merging(max(len(tick.records) for tick in rest))
        for tick in rest:
            yield
            before.add(tick)
        self._before = _place(run[1:]), before

    def let_go(self) -> None:
        """Hold nothing: nobody asks."""
        self._place, self._joined, self._held, self._before = None, None, {}, None

    def _join(self, run: Sequence[Step]) -> Tick | None:
        """Give steps as one tick; None where that is not worth it."""
        if len(run) < 2:
            return None
        if self._place != _place(run):
            held: dict[tuple[int, int], Tick] = {}
            size_bytes = 0
            for step in run:
                at = step.begin, step.end
                held[at] = self._held.get(at) or step.tick
                size_bytes += len(held[at].records)
                if size_bytes > _MOST_BYTES:
                    self.let_go()
                    return None
            ticks, before = list(held.values()), self._before
            self.let_go()  # what fails from here on leaves nothing behind
            if before and before[0] == _place(run[:-1]):
                before[1].add(ticks[-1])
                joined = before[1].tick(MOST_RECORDS)
            else:
                joined = merged(ticks, MOST_RECORDS)
            self._place, self._joined, self._held = _place(run), joined, held
        return self._joined


def _place(run: Sequence[Step]) -> tuple[int, int]:
    return run[0].begin, run[-1].end


def _last_run(steps: Sequence[Step]) -> Sequence[Step]:
    """Give the ticks at the end that follow one another, of one era."""
    begin, least = len(steps), max(0, len(steps) - _MOST_STEPS)
    while begin > least and steps[begin - 1].ticks < TICKS_PER_S:
        if begin < len(steps) and (steps[begin - 1].end, steps[begin - 1].era) != (
            steps[begin].begin,
            steps[begin].era,
        ):
            break
        begin -= 1
    return steps[begin:]
