"""The monitor's latest events, and who waits for more.

The one idea: one bounded log serves every watcher, each with a place in it. A watcher that reads
slowly costs nothing: what it missed when the oldest gave way is the distance to its place.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from netsonde.model.detector import MAX_EVENTS, Event

_AT_ONCE = 64
"""Events of one frame."""


class EventLog:
    """Events of one boot of a monitor, numbered from 1; for one event loop."""

    def __init__(self, boot: str) -> None:
        """`boot`: what tells this monitor's events from those of others on the host."""
        self.boot = boot
        self._held: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._last = 0
        self._news = asyncio.Event()

    def append(self, events: Sequence[Event]) -> None:
        """Take the next events, and wake whoever waits."""
        if not events:
            return
        self._held.extend(events)
        self._last += len(events)
        news, self._news = self._news, asyncio.Event()
        news.set()

    def place(self, after: str) -> int:
        """Give the number of an event by its id; 0 of another boot's, and of none."""
        _, ours, number = after.rpartition(f"{self.boot}-")
        known = bool(ours) and number.isascii() and number.isdigit()
        return min(int(number), self._last) if known else 0

    def after(self, place: int) -> tuple[list[Event], int, int]:
        """Give the next events after a number, how many before them are gone, and the new place."""
        first = self._last - len(self._held)
        begin = max(place, first)
        events = list(self._held)[begin - first : begin - first + _AT_ONCE]
        return events, begin - place, begin + len(events)

    async def wait_after(self, place: int) -> None:
        """Return when there is an event after that number."""
        while place >= self._last:
            await self._news.wait()
