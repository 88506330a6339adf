"""Which agent a monitor serves, and who may sit at its socket meanwhile.

The one idea: whose tasks run is one agent at a time, a process under one name, and it stays so
until the last of its connections has ended. Anybody else may ask and watch, and gives its place up
to whoever comes when there is none left.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from netsonde.model.errors import Busy

MAX_CONNECTIONS = 8
MAX_OF_ONE = 4
"""Connections of one process; an agent has two, and two more while it connects anew."""
GRACE_S = 1.0
"""Seconds that a new agent waits for the one before it, which is just ending."""
_RETRY_S = 1.0


class Agent(NamedTuple):
    """Who is at the other end: the kernel says the process, `Hello` the name."""

    pid: int
    host: str


@dataclass(eq=False, slots=True)
class Seat:
    """One connection."""

    pid: int
    close: Callable[[], None]
    """End it at once."""
    agent: Agent | None = None
    """Once it has greeted."""
    busy: bool = field(default=False)
    """Whether a request of it is under way."""


class Lease:
    """Who sits, and who of them has the lease; for one event loop."""

    def __init__(self) -> None:
        self.refused: Tally[str] = Tally()
        """What was turned away, by cause."""
        self._seats: dict[Seat, None] = {}
        """The one that was idle longest comes first."""
        self._holder: Agent | None = None
        self._left = asyncio.Event()

    def __len__(self) -> int:
        return len(self._seats)

    def admit(self, pid: int, close: Callable[[], None]) -> Seat:
        """Give a place; raises Busy.

        Where all are taken, the one of an idle connection that has no lease is freed.
        """
        if sum(seat.pid == pid for seat in self._seats) >= MAX_OF_ONE:
            self.refused["connections of one process"] += 1
            raise Busy(f"process {pid} has {MAX_OF_ONE} connections")
        if len(self._seats) >= MAX_CONNECTIONS:
            idle = (seat for seat in self._seats if not (seat.busy or self.holds(seat)))
            if (victim := next(idle, None)) is None:
                self.refused["connections"] += 1
                raise Busy(f"{MAX_CONNECTIONS} connections are open")
            self.refused["idle connections"] += 1
            self._seats.pop(victim)
            victim.close()
        seat = Seat(pid, close)
        self._seats[seat] = None
        return seat

    def served(self, seat: Seat) -> None:
        """Say that a request of it was answered."""
        seat.busy = False
        if seat in self._seats:
            del self._seats[seat]
            self._seats[seat] = None

    def leave(self, seat: Seat) -> None:
        """Give a place up, and with the holder's last one the lease."""
        self._seats.pop(seat, None)
        left, self._left = self._left, asyncio.Event()
        left.set()

    def holds(self, seat: Seat) -> bool:
        """Tell whether it is of the agent whose tasks run."""
        return seat.agent is not None and seat.agent == self._holder

    async def take(self, seat: Seat) -> None:
        """Let its agent's tasks run; raises Busy while those of another do."""
        try:
            async with asyncio.timeout(GRACE_S):
                while self._held_by_another(seat):
                    await self._left.wait()
        except TimeoutError:
            self.refused["another agent's tasks"] += 1
            holder = self._holder or Agent(0, "")
            name = f"{holder.host or 'another agent'} (process {holder.pid})"
            raise Busy(f"{name} holds this monitor; end it first", _RETRY_S) from None
        self._holder = seat.agent

    def _held_by_another(self, seat: Seat) -> bool:
        return self._holder != seat.agent and any(map(self.holds, self._seats))
