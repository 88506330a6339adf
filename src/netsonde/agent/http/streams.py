"""Server-sent events (WHATWG HTML §9.2): at most so many streams, each with a heartbeat.

The one idea: a stream reads a place in something bounded and waits for its client before it reads
on. A client that is slow misses the oldest and is told how many; one that takes nothing for
`accept.UNTAKEN_S` is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from litestar import Request
from litestar.response import Stream

from netsonde.agent.event_ring import EventRing
from netsonde.agent.http import problem
from netsonde.agent.http.budget import Budget
from netsonde.agent.http.front import at_end
from netsonde.daemon.failures import Failures
from netsonde.daemon.slots import Slots, is_of_host, source_of
from netsonde.model.detector import Event
from netsonde.model.errors import Busy, Unforeseen

MAX_STREAMS = 16
"""Streams of one agent at a time."""
OF_ONE = 8
"""Of these, at most of one source."""
FOR_HOST = 2
"""Of these, kept for the host itself."""
_NOBODY = ("127.0.0.1", 0)
HEARTBEAT_S = 15.0
"""Seconds of silence after which a comment shows that the stream lives."""
MEDIA_TYPE = "text/event-stream"
ALIVE = b": alive\n\n"
_AT_ONCE = 16


class Streams:
    """The streams of one agent."""

    def __init__(self, failures: Failures, budget: Budget) -> None:
        self.slots = Slots(MAX_STREAMS, of_one=OF_ONE, for_host=FOR_HOST)
        self.budget = budget
        self._failures = failures

    def respond(
        self, request: Request[Any, Any, Any], frames: Callable[[], AsyncIterator[bytes]]
    ) -> Stream:
        """Stream frames until the request ends; raises Busy when there are too many streams."""
        client, server = request.scope["client"], request.scope["server"]
        host, own = (client or _NOBODY)[0], (server or _NOBODY)[0]
        source, of_host = source_of(host), is_of_host(host, own)
        refused = self.slots.take(source, of_host=of_host)
        if refused is not None:
            of_one = refused == "source_quota"
            most = f"{OF_ONE} streams of {source}" if of_one else f"all {MAX_STREAMS} streams"
            raise Busy(f"{most} are open; end one, or try again later")
        at_end(request.scope, partial(self.slots.free, source, of_host=of_host))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return Stream(self._said(frames), media_type=MEDIA_TYPE, headers=headers)

    async def _said(self, frames: Callable[[], AsyncIterator[bytes]]) -> AsyncIterator[bytes]:
        try:
            yield b": netsonde\n\n"
            async for one in frames():
                yield one
        except Exception as error:  # whatever it is, it ends this stream alone, and says so
            self._failures.note("stream", error)
            yield frame("problem", problem.described(Unforeseen.of(error)))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a client asked for."""

    detector: str | None
    state: str | None

    def fits(self, event: Event) -> bool:
        """Tell whether an event is one of them."""
        return self.detector in (None, event.detector) and self.state in (None, event.state)


async def of_events(ring: EventRing, place: int, wanted: Wanted) -> AsyncIterator[bytes]:
    """Give the frames of the events after a place, for ever."""
    while True:
        if not await in_time(ring.wait_after(place)):
            yield ALIVE
            continue
        read = ring.after(place, _AT_ONCE)
        place = read.place
        if read.missed:
            yield frame("dropped", {"dropped": read.missed})
        for event in filter(wanted.fits, read.events):
            yield frame("event", event, event.id)


def frame(kind: str, said: object, event_id: str | None = None) -> bytes:
    """Write one event of a stream; JSON has no line breaks, so its data is one line."""
    name = f"id: {event_id}\n" if event_id else ""
    return f"{name}event: {kind}\ndata: ".encode() + msgspec.json.encode(said) + b"\n\n"


async def in_time(something: Awaitable[None]) -> bool:
    """Wait for something until the next heartbeat is due; tells whether it came."""
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            await something
    except TimeoutError:
        return False
    return True
