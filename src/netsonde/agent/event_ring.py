"""The latest events of a host and of everyone below it, and who reads them.

The one idea: one bounded ring serves every reader, each with a place in it. A reader that is slow
costs nothing: what it missed is what is gone between its place and the next event held. Where the
ring is full, whoever fills it gives way: the oldest event of the host that holds most, among those
heard through the neighbour through whom most was heard. So a flood empties the ring of itself.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from netsonde.model.detector import Event
from netsonde.model.number import MAX_COUNT

MAX_HELD = 1000
"""Events that an agent holds."""


@dataclass(frozen=True, slots=True)
class Read:
    """Some events after a place, oldest first."""

    events: tuple[Event, ...]
    missed: int
    """Events among and before these that gave way to others."""
    place: int
    """Where to go on."""


class EventRing:
    """Numbered events, each id once; for one event loop."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[Event, str]] = {}
        """Number -> event, and through whom it was heard."""
        self._in_order: list[int] = []
        self._numbers: dict[str, int] = {}
        """Event id -> its number, of those held."""
        self._shares: dict[str, dict[str, deque[int]]] = {}
        """Through whom -> host -> numbers of those held, oldest first."""
        self._through: Tally[str] = Tally()
        self.news = asyncio.Event()
        """Set once there is another event; then there is another one of these."""
        self._read = 0
        self.last = 0
        """Number of the latest event; the first has 1."""
        self.dropped = 0
        """Events that gave way before anybody read them, here or on their way."""

    def __contains__(self, event_id: str) -> bool:
        """Tell whether an event is held."""
        return event_id in self._numbers

    def append(self, events: Iterable[Event], dropped: int = 0, through: str = "") -> list[Event]:
        """Take events that are not here yet, and wake who waits; gives those that were new.

        `dropped`: events that were lost on their way. `through`: the child that told of them, or
        nobody for this host's own.
        """
        self.dropped = min(self.dropped + dropped, MAX_COUNT)  # a child may claim any count
        fresh = []
        for event in events:
            if event.id not in self._numbers:
                if len(self._held) >= MAX_HELD:
                    self._make_room(through)
                self._add(event, through)
                fresh.append(event)
        if fresh:
            self.wake()
        return fresh

    @property
    def first(self) -> int:
        """The place before the oldest event held."""
        return self._in_order[0] - 1 if self._in_order else self.last

    def wake(self) -> None:
        """Wake who waits for news."""
        news, self.news = self.news, asyncio.Event()
        news.set()

    def place(self, event_id: str | None) -> int:
        """Give the place after an event; 0, before the oldest, where it is not held any more."""
        return self._numbers.get(event_id or "", 0)

    def waiting(self, place: int) -> int:
        """Tell how many events are held after a place."""
        return len(self._in_order) - bisect_right(self._in_order, place)

    def after(self, place: int, limit: int) -> Read:
        """Give at most `limit` events after a place; there is one if the place is before `last`."""
        place = min(place, self.last)
        begin = bisect_right(self._in_order, place)
        numbers = self._in_order[begin : begin + limit]
        end = numbers[-1] if numbers else place
        self._read = max(self._read, end)
        events = tuple(self._held[number][0] for number in numbers)
        return Read(events, end - place - len(events), end)

    async def wait_after(self, place: int) -> None:
        """Return when there is an event after a place."""
        while place >= self.last:
            await self.news.wait()

    def _add(self, event: Event, through: str) -> None:
        self.last += 1
        self._numbers[event.id] = self.last
        self._held[self.last] = (event, through)
        self._in_order.append(self.last)
        self._shares.setdefault(through, {}).setdefault(event.host, deque()).append(self.last)
        self._through[through] += 1

    def _make_room(self, coming: str) -> None:
        """Let one event go: of several who hold as much, of the one through whom another comes."""
        through = max(self._through, key=lambda one: (self._through[one], one == coming))
        hosts = self._shares[through]
        host = max(hosts, key=lambda one: (len(hosts[one]), -hosts[one][0]))
        number = hosts[host].popleft()
        if not hosts[host]:
            del hosts[host]
        self._through[through] -= 1
        event, _ = self._held.pop(number)
        del self._in_order[bisect_left(self._in_order, number)]
        del self._numbers[event.id]
        self.dropped = min(self.dropped + (number > self._read), MAX_COUNT)
