"""What a monitor has taken in, by position: where the counts of a task begin and end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from netsonde.model.evidence import MAX_NAMED, ClockStep
from netsonde.monitor.running import Mark
from netsonde.sketch.tick import Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A tick as it was closed."""

    tick: Tick
    mono_ns: int
    """When it ended."""
    epoch: int = 0
    """Of the table it was read from."""
    clock_step: ClockStep | None = None
    """How the wall clock was set in it."""


class Taken:
    """Marks at the positions that tasks may stand at, and how the clock was set between them."""

    def __init__(self, position: int, mark: Mark) -> None:
        self.clock_steps: deque[tuple[int, ClockStep]] = deque(maxlen=MAX_NAMED)
        """The latest, each with the position of the tick that has the new time."""
        self._marks = {position: mark}

    def note(self, position: int, mark: Mark, clock_step: ClockStep | None = None) -> None:
        """Take another tick, after which the position is this one."""
        if clock_step is not None:
            self.clock_steps.append((position - 1, clock_step))
        self._marks[position] = mark

    def at(self, position: int) -> Mark:
        """Give the mark of a position from the least of all tasks on."""
        return self._marks[position]

    def clock_steps_until(self, position: int) -> Iterator[tuple[int, ClockStep]]:
        """Give those before a position."""
        return ((at, step) for at, step in self.clock_steps if at < position)

    def let_go(self, least: int) -> None:
        """Forget what is before the position that is the least of all tasks."""
        for position in [position for position in self._marks if position < least]:
            del self._marks[position]
