"""The wall clock: which ticks a time covers, and whether somebody set the clock in it.

Pure. The one idea: between two readings the wall clock moves as far as the monotonic one, or it was
set; a tick is named by the clock as it is at its end, so names follow a clock that was set at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from netsonde.model.evidence import ClockStep
from netsonde.model.window import TICK_NS

STEP_NS = 50_000_000
"""Difference that no slewing makes within a tick: half a tick."""
_UNSURE_NS = 5_000_000
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """Both clocks at one time."""

    wall_ns: int
    mono_ns: int


@dataclass(frozen=True, slots=True)
class Named:
    """A time in wall ticks."""

    first_tick: int
    last_tick: int
    clock_step: ClockStep | None
    """When the clock was set in it."""


class WallClock:
    """Names the times between readings.

    Guarantees: names are of ticks since 1970, the first of a time is not after its last, and no
    time has a name before that of the time before it, unless a step is told with it.
    """

    def __init__(self, now: Reading) -> None:
        """`now`: when the first tick begins."""
        self._last = now
        self._last_tick = 0
        """The last name that was given."""

    def named(self, now: Reading) -> Named:
        """Name the time since the last reading.

        Ends are rounded to the nearest boundary, as ticks end a little late; a piece that rounds to
        nothing is of the tick that its middle lies in. A clock that is slewed, or set by less than
        a step, may round to the tick before the one that was named last: then it is that one still.
        Set by little again and again it is a step, of what that has come to.
        """
        elapsed_ns = now.mono_ns - self._last.mono_ns
        begin_ns, step_ns = now.wall_ns - elapsed_ns, now.wall_ns - self._last.wall_ns - elapsed_ns
        self._last = now
        first, last = _nearest(begin_ns), _nearest(now.wall_ns) - 1
        if last < first:
            first = last = (begin_ns + now.wall_ns) // 2 // TICK_NS
        first = max(0, first)  # the clock may have been set to less than a tick after 1970
        last = max(first, last)
        if abs(step_ns) > STEP_NS:
            clock_step = ClockStep(tick=last, step_ms=round(step_ns / 1e6))
        elif last < self._last_tick - 1:
            clock_step = ClockStep(tick=last, step_ms=(last - self._last_tick) * TICK_NS // 10**6)
        else:
            clock_step = None
            first = max(first, self._last_tick)
            last = max(first, last)
        self._last_tick = last
        return Named(first, last, clock_step)


def read_clocks() -> Reading:
    """Read both clocks at one time, even where this thread is interrupted between them."""
    for _ in range(_TRIES):
        before_ns, wall_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if after_ns - before_ns < _UNSURE_NS:
            break
    return Reading(wall_ns, (before_ns + after_ns) // 2)


def _nearest(wall_ns: int) -> int:
    return (wall_ns + TICK_NS // 2) // TICK_NS
