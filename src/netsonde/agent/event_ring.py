"""The latest events of a host and of everyone below it, and who reads them.

The one idea: one bounded ring serves every reader, each with a place in it. A reader that is slow
costs nothing: what it missed when the oldest gave way is the distance to its place.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from netsonde.model.detector import Event

MAX_HELD = 1000
"""Events that an agent holds."""


@dataclass(frozen=True, slots=True)
class Read:
    """Some events after a place, oldest first."""

    events: tuple[Event, ...]
    missed: int
    """Events before these that gave way to later ones."""
    place: int
    """Where to go on."""


class EventRing:
    """Numbered events, each once; for one event loop."""

    def __init__(self) -> None:
        self._held: deque[Event] = deque(maxlen=MAX_HELD)
        self._numbers: dict[str, int] = {}
        """Event id -> its number, of those held."""
        self.news = asyncio.Event()
        """Set once there is another event; then there is another one of these."""
        self._read = 0
        self.last = 0
        """Number of the latest event; the first has 1."""
        self.dropped = 0
        """Events that gave way before anybody read them, here or on their way."""

    def append(self, events: Iterable[Event], dropped: int = 0) -> list[Event]:
        """Take events that are not here yet, and wake who waits; gives those that were new.

        `dropped`: events that were lost on their way.
        """
        self.dropped += dropped
        fresh = []
        for event in events:
            if event.id not in self._numbers:
                self._make_room()
                self.last += 1
                self._numbers[event.id] = self.last
                self._held.append(event)
                fresh.append(event)
        if fresh:
            self.wake()
        return fresh

    @property
    def first(self) -> int:
        """The place before the oldest event held."""
        return self.last - len(self._held)

    def wake(self) -> None:
        """Wake who waits for news."""
        news, self.news = self.news, asyncio.Event()
        news.set()

    def place(self, event_id: str | None) -> int:
        """Give the place after an event; 0, before the oldest, where it is not held any more."""
        return self._numbers.get(event_id or "", 0)

    def after(self, place: int, limit: int) -> Read:
        """Give at most `limit` events after a place."""
        first = self.first
        begin = max(min(place, self.last), first)
        events = [self._held[n - first] for n in range(begin, min(begin + limit, self.last))]
        self._read = max(self._read, begin + len(events))
        return Read(tuple(events), max(0, begin - place), begin + len(events))

    async def wait_after(self, place: int) -> None:
        """Return when there is an event after a place."""
        while place >= self.last:
            await self.news.wait()

    def _make_room(self) -> None:
        if len(self._held) == MAX_HELD:
            number = self._numbers.pop(self._held[0].id)
            self.dropped += number > self._read
