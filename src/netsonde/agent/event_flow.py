"""Events on their way: from the monitor and the children into the ring, and up to the parent.

The one idea: nothing waits for a reader. The parent reads the ring as everybody does, from its own
place; what it could not take in time is counted and told with the next events.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from netsonde.agent import frames
from netsonde.agent.event_ring import EventRing
from netsonde.model.detector import MAX_DETECTORS, Event
from netsonde.model.errors import BadField, Busy, NetsondeError, ProtocolError, Unavailable
from netsonde.overlay.checks import check_events
from netsonde.overlay.events import FromChild, identified
from netsonde.wire import monitor, peer
from netsonde.wire.frame import SCHEMA

FIRST_PAUSE_S = 0.1
LAST_PAUSE_S = 1.0
GREETING_S = 5.0
MAX_KINDS = 4 * MAX_DETECTORS
"""Detectors and states that events are counted by."""
AT_ONCE = 64
"""Events of one message to the parent."""
BUSY_PAUSE_S = 0.2
"""Seconds before a parent that does not read is sent more."""

log = structlog.get_logger()


class Upward(Protocol):
    """The connection to the parent."""

    def send(self, message: peer.Message) -> None:
        """Send without waiting; raises Busy."""


class EventFlow:
    """Feeds one ring by two parts, `watch` and `tell_parents`, each until cancelled.

    Either may be called again after it raised, and goes on where it was.
    """

    def __init__(
        self,
        *,
        ring: EventRing,
        own: str,
        monitor_socket: Path,
        software: str,
        parent: Callable[[], Upward | None],
        mono_s: Callable[[], float],
    ) -> None:
        self._ring = ring
        self._own = own
        self._path = monitor_socket
        self._hello = monitor.Hello(software=software, host=own)
        self._parent = parent
        self._mono_s = mono_s
        self.happened: Tally[tuple[str, str]] = Tally()
        """Events taken, by detector and state; those of too many detectors as `other`."""
        self.refused: Tally[str] = Tally()
        """Events of children that were not taken, by cause."""
        self._children: dict[str, FromChild] = {}
        self._hosts: dict[str, tuple[Collection[str], frozenset[str]]] = {}
        """Child -> its subtree, and the same without this host."""
        self._last_own = ""
        """Id of the latest event of this host's monitor."""
        self._told: Upward | None = None
        """The parent that is sent events, its place in the ring, and what it is still to be told
        that it missed."""
        self._place = self._missed = 0
        self._reached = 0
        """The farthest place that any parent has had."""

    def parent_changed(self) -> None:
        """Hear that there is another connection to a parent."""
        self._ring.wake()

    def take_from_child(self, child: str, message: peer.Happened, subtree: Collection[str]) -> None:
        """Take a child's events, each once.

        Those of hosts that are not below it, and those over its rates, are dropped and counted.
        """
        try:
            check_events(message.events, self._below(child, subtree))
            events = [identified(event) for event in message.events]
        except BadField as error:
            log.warning("events refused", child=child, reason=str(error))
            self.refused["bad"] += len(message.events)
            self._take((), len(message.events))
            return
        fresh = [event for event in events if event.id not in self._ring]
        taken, over = self._children.setdefault(child, FromChild()).taken(fresh, self._mono_s())
        for host, number in over.items():
            log.warning("more events than are taken", child=child, host=host, more=number)
        self.refused["rate"] += sum(over.values())
        self._take(taken, message.dropped + sum(over.values()), child)

    def forget_child(self, child: str) -> None:
        """Hear that there is no such child any more."""
        self._children.pop(child, None)
        self._hosts.pop(child, None)

    def _below(self, child: str, subtree: Collection[str]) -> Collection[str]:
        """Give the hosts that a child may speak for: those below it, and never this one."""
        known = self._hosts.get(child)
        if known is None or known[0] is not subtree:
            known = self._hosts[child] = (subtree, frozenset(subtree) - {self._own})
        return known[1]

    def _take(self, events: Sequence[Event], dropped: int, through: str = "") -> None:
        for event in self._ring.append(events, dropped, through):
            kind = (event.detector, event.state)
            full = len(self.happened) >= MAX_KINDS and kind not in self.happened
            self.happened[("other", event.state) if full else kind] += 1
            if event.host == self._own or self._parent() is None:
                log.warning(
                    f"alarm {event.state}",
                    detector=event.detector,
                    host=event.host,
                    key=event.key,
                    said=event.sentence,
                    id=event.id,
                )

    async def watch(self) -> None:
        """Take the monitor's events; raises what nobody foresaw."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._watch_once()
            except (NetsondeError, OSError, TimeoutError):
                # The link to the same monitor says why it is away.
                pause_s = min(2 * pause_s, LAST_PAUSE_S)
            await asyncio.sleep(pause_s)

    async def _watch_once(self) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(self._path)
        except OSError as error:
            raise Unavailable(f"nobody answers on {self._path} ({error.strerror})") from None
        try:
            async with asyncio.timeout(GREETING_S):
                writer.write(monitor.REQUESTS.encode(self._hello))
                welcome = await frames.read(reader, monitor.REPLIES)
            if not isinstance(welcome, monitor.Welcome) or welcome.schema != SCHEMA:
                raise ProtocolError(f"the monitor does not greet: {welcome!r:.100}")
            writer.write(monitor.REQUESTS.encode(monitor.Watch(after=self._last_own)))
            while True:
                self._take_own(await frames.read(reader, monitor.REPLIES))
        finally:
            writer.close()

    def _take_own(self, reply: monitor.Reply) -> None:
        if not isinstance(reply, monitor.Events):
            raise ProtocolError(f"the monitor sent {type(reply).__name__}, not events")
        if reply.events:
            self._last_own = reply.events[-1].id
        self._take([identified(event) for event in reply.events], reply.dropped)

    async def tell_parents(self) -> None:
        """Send everything held, and then what comes, to whoever is the parent.

        A parent that was away, or has forgotten, so has it all; what it has already it leaves out.
        Events that cannot be sent for a reason that nobody foresaw are told as missed, so that
        those behind them get through; the reason is raised.
        """
        while True:
            news, parent = self._ring.news, self._parent()
            if parent is not self._told:
                self._told, self._place = parent, self._ring.first
                self._missed += max(0, self._place - self._reached)
            if parent is None or self._place >= self._ring.last:
                await news.wait()
                continue
            read = self._ring.after(self._place, AT_ONCE)
            missed = self._missed + read.missed
            try:
                parent.send(peer.Happened(id=0, events=read.events, dropped=missed))
            except Busy:
                await asyncio.sleep(BUSY_PAUSE_S)
                continue
            except Exception:
                self._sent(read.place, missed + len(read.events))
                raise
            self._sent(read.place, 0)

    def _sent(self, place: int, missed: int) -> None:
        self._place, self._missed = place, missed
        self._reached = max(self._reached, place)
