"""Windows: which ticks an answer covers, as people write them.

`total` (since configured, up to the question), `real_time` (the last second) and `last 30s`, both
of closed ticks, or a range of the wall clock: `2026-11-24T12:04:00Z/2026-11-24T12:05:00Z`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from netsonde.model.errors import BadField
from netsonde.model.number import Tick

TICK_NS = 100_000_000
"""Length of a tick; tick id = unix time / TICK_NS."""
TICKS_PER_S = 10
REAL_TIME_TICKS = 10
MAX_TICKS = 24 * 3600 * TICKS_PER_S
"""Longest window that can be asked for after the fact: a day."""

MAX_POINTS = 3600
"""Most steps of a series: an hour of seconds, or six minutes of ticks."""

_ALLOWED = (
    "real_time, total, 'last 30s' (ms, s, m or h, up to 24h), or a range such as "
    "2026-11-24T12:04:00Z/2026-11-24T12:05:00Z"
)
_LAST = re.compile(r"last\s+(\d{1,9}(?:\.\d{1,3})?)\s*(ms|s|m|h)", re.ASCII)
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A choice of ticks; made by `parse` or one of the constants below."""

    kind: Literal["total", "real_time", "last", "range"]
    ticks: Annotated[int, Meta(ge=0, le=MAX_TICKS)] = 0
    """Of `last`: how many."""
    first_tick: Tick = 0
    """Of `range`: the first."""
    last_tick: Tick = 0
    """Of `range`: the last, included."""

    @classmethod
    def last(cls, ticks: int) -> Window:
        """The last so many ticks that have closed."""
        return cls(kind="last", ticks=ticks)

    @classmethod
    def range(cls, first_tick: int, last_tick: int) -> Window:
        """The ticks from one to another, both included."""
        return cls(kind="range", first_tick=first_tick, last_tick=last_tick)

    @classmethod
    def parse(cls, text: str, field: str = "window") -> Window:
        """Read what people write; raises BadField naming `field`.

        A range is widened to whole ticks; its ends need a time zone.
        """
        if text in ("total", "real_time"):
            return TOTAL if text == "total" else REAL_TIME
        if found := _LAST.fullmatch(text.strip()):
            return cls.last(_ticks(field, text, float(found[1]) * _UNIT_MS[found[2]]))
        begin, slash, end = text.partition("/")
        if not slash:
            raise BadField(field, text, _ALLOWED)
        first_ns, last_ns = (_wall_ns(field, text, part.strip()) for part in (begin, end))
        if last_ns <= first_ns:
            raise BadField(field, text, "a range that ends after it begins")
        chosen = cls.range(first_ns // TICK_NS, -(-last_ns // TICK_NS) - 1)
        if chosen.last_tick - chosen.first_tick >= MAX_TICKS:
            raise BadField(field, text, "a range of at most 24 hours")
        return chosen

    @property
    def text(self) -> str:
        """Write it as `parse` reads it."""
        if self.kind == "last":
            return f"last {self.ticks / TICKS_PER_S:g}s"
        if self.kind == "range":
            return f"{wall_text(self.first_tick)}/{wall_text(self.last_tick + 1)}"
        return self.kind

    def before(self) -> Window:
        """Give the window of the same length just before a range; raises BadField at 1970."""
        length = self.last_tick - self.first_tick + 1
        if self.first_tick < length:
            raise BadField("against", "before", "a window that is as long, since 1970")
        return Window.range(self.first_tick - length, self.last_tick - length)


TOTAL = Window(kind="total")
REAL_TIME = Window(kind="real_time")


def wall_text(tick: int) -> str:
    """Write when a tick begins, in UTC to the tenth of a second: `2026-11-24T12:04:31.2Z`."""
    whole, tenth = divmod(tick, TICKS_PER_S)
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{tenth}Z"


def span_text(seconds: float) -> str:
    """Write a length of time for people: `30.0 s`, `5.3 min`, `3.0 h`, `2.5 days`."""
    for least, unit_s, unit in ((172_800, 86_400, "days"), (7200, 3600, "h"), (120, 60, "min")):
        if seconds >= least:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{seconds:.1f} s"


def _ticks(field: str, text: str, ms: float) -> int:
    ticks = round(ms / 100)
    if not 1 <= ticks <= MAX_TICKS:
        raise BadField(field, text, "100ms to 24h")
    return ticks


def _wall_ns(field: str, text: str, part: str) -> int:
    try:
        when = datetime.fromisoformat(part)
        if when.tzinfo is None:
            raise BadField(field, text, "times with a zone, such as 2026-11-24T12:04:00Z")
        microseconds = (when - datetime.fromtimestamp(0, UTC)) // _MICROSECOND
    except (ValueError, OverflowError):
        raise BadField(field, text, _ALLOWED) from None
    if not 0 <= microseconds < 1 << 53:
        raise BadField(field, text, "times after 1970 and before 2255")
    return microseconds * 1000


_MICROSECOND = datetime.resolution
