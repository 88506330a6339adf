"""Server-sent events (WHATWG HTML §9.2): at most so many streams, each with a heartbeat.

The one idea: a stream reads a place in something bounded and waits for its client before it reads
on. A client that is slow misses the oldest and is told how many; one that takes nothing for
`accept.UNTAKEN_S` is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import msgspec
from litestar.response import Stream

from netsonde.agent.event_ring import EventRing
from netsonde.agent.http import problem
from netsonde.daemon.failures import Failures
from netsonde.model.detector import Event
from netsonde.model.errors import Busy, Unforeseen

MAX_STREAMS = 16
"""Streams of one agent at a time."""
HEARTBEAT_S = 15.0
"""Seconds of silence after which a comment shows that the stream lives."""
MEDIA_TYPE = "text/event-stream"
ALIVE = b": alive\n\n"
_AT_ONCE = 16


class Streams:
    """The streams of one agent."""

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self.open = 0

    def respond(self, frames: Callable[[], AsyncIterator[bytes]]) -> Stream:
        """Stream frames; raises Busy when there are too many streams."""
        if self.open >= MAX_STREAMS:
            raise Busy(f"{MAX_STREAMS} streams are open; end one, or try again later")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return Stream(self._counted(frames), media_type=MEDIA_TYPE, headers=headers)

    async def _counted(self, frames: Callable[[], AsyncIterator[bytes]]) -> AsyncIterator[bytes]:
        if self.open >= MAX_STREAMS:  # as many came before the first frame of any
            return
        self.open += 1
        try:
            yield b": netsonde\n\n"
            async for one in frames():
                yield one
        except Exception as error:  # whatever it is, it ends this stream alone, and says so
            self._failures.note("stream", error)
            yield frame("problem", problem.described(Unforeseen.of(error)))
        finally:
            self.open -= 1


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
