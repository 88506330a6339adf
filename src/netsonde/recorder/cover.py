"""Covers: the steps that answer for a window, and what is not in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from netsonde.model.evidence import ClockStep
from netsonde.recorder.steps import Step
from netsonde.recorder.tail import Tail
from netsonde.sketch.tick import Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """The steps that answer for a window."""

    steps: tuple[Step, ...]
    """In order of arrival; the fewest that cover what is held of the window."""
    first_tick: int
    """First wall tick that is in the steps."""
    last_tick: int
    asked_first_tick: int
    """First wall tick of the window, as the clock is now."""
    asked_last_tick: int
    missed_ticks: int
    """Ticks of the window that are in none of them."""
    clock_steps: tuple[ClockStep, ...]
    """How the clock was set within the window."""
    left_out: tuple[tuple[int, int], ...]
    """First and last wall ticks of what has some of the same ticks, and is in none of the steps."""
    tail: Tail

    def ticks(self, *, single: bool) -> Iterator[Tick]:
        """Give what the steps hold; `single`: no ticks joined that are not joined yet."""
        return (step.tick for step in self.steps) if single else self.tail.ticks(self.steps)


def runs(tiles: list[Step]) -> list[list[Step]]:
    """Part tiles where others lie between them: the clock was set, and back."""
    parted: list[list[Step]] = []
    for tile in tiles:
        if parted and parted[-1][-1].end == tile.begin:
            parted[-1].append(tile)
        else:
            parted.append([tile])
    return parted


def in_any(spans: list[tuple[int, int]], first_tick: int, last_tick: int) -> int:
    """Count the wall ticks of a range that are in any span."""
    held, place = 0, first_tick
    for first, last in sorted(spans):
        end = min(last, last_tick) + 1
        held += max(0, end - max(first, place))
        place = max(place, end)
    return held
