"""The agent's connection to its monitor: one request at a time, back by itself after any loss.

The one idea: the agent owns the desired state, so every new connection begins by applying it, and
a monitor that restarts needs to remember nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from netsonde.agent import frames
from netsonde.model.errors import Busy, NetsondeError, ProtocolError, Unavailable
from netsonde.model.task import Question
from netsonde.wire import monitor
from netsonde.wire.frame import SCHEMA

REPLY_S = 5.0
"""Seconds after which a silent monitor is given up and connected anew."""
FIRST_PAUSE_S = 0.1
LAST_PAUSE_S = 1.0
MAX_WAITING = 64
"""Requests that may wait for their turn."""

log = structlog.get_logger()

R = TypeVar("R", bound=monitor.Reply)


@dataclass(slots=True)
class _Turn:
    """A request and who waits for its reply."""

    request: monitor.Request
    reply: asyncio.Future[monitor.Reply]


class MonitorLink:
    """Client of the monitor's unix socket; `run` keeps it connected until cancelled."""

    def __init__(
        self, *, path: Path, desired: Callable[[], monitor.Apply], software: str, host: str
    ) -> None:
        self._path = path
        self._desired = desired
        self._hello = monitor.Hello(software=software, host=host)
        self._waiting: asyncio.Queue[_Turn] = asyncio.Queue(MAX_WAITING)
        self._current: _Turn | None = None
        self._away: str | None = "not connected yet"

    async def run(self) -> None:
        """Connect, apply, serve; after a loss wait 0.1 to 1 s and begin again."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._session_apart()
            except* (NetsondeError, OSError, TimeoutError) as group:
                pause_s = FIRST_PAUSE_S if self._away is None else min(2 * pause_s, LAST_PAUSE_S)
                self._lose(str(group.exceptions[0]) or "it does not answer")
            await asyncio.sleep(pause_s)

    async def apply(self) -> None:
        """Make the monitor run what is desired when its turn comes; raises as `ask` does."""
        await self._call(monitor.Apply(tasks=()), monitor.Applied)

    async def ask(self, question: Question) -> monitor.Answer:
        """Ask one question.

        Raises Unavailable when the monitor is away, Busy when too many requests wait, or what the
        monitor answered. The caller sets the deadline; a reply nobody waits for is dropped.
        """
        return await self._call(monitor.Ask(question=question), monitor.Answer)

    async def status(self) -> monitor.Status:
        """Ask how the monitor itself is; raises as `ask` does."""
        return await self._call(monitor.AskStatus(), monitor.Status)

    async def _call(self, request: monitor.Request, expected: type[R]) -> R:
        if self._away is not None:
            raise Unavailable(f"monitor away: {self._away}")
        turn = _Turn(request, asyncio.get_running_loop().create_future())
        try:
            self._waiting.put_nowait(turn)
        except asyncio.QueueFull:
            raise Busy(f"{MAX_WAITING} requests wait for the monitor; try again later") from None
        return _expect(await turn.reply, expected)

    def _lose(self, reason: str) -> None:
        """Refuse everyone who waits, and everyone who comes until the next session."""
        if reason != self._away:
            log.warning("monitor away", reason=reason)
        self._away = reason
        turns = [self._current] if self._current else []
        while not self._waiting.empty():
            turns.append(self._waiting.get_nowait())
        self._current = None
        for turn in turns:
            if not turn.reply.done():
                turn.reply.set_exception(Unavailable(f"monitor away: {reason}"))

    async def _session_apart(self) -> None:
        """Run a session as a task of its own, so that this one's cancellation is not lost.

        A TaskGroup that fails while it is cancelled from outside forgets the cancellation before
        Python 3.13 (gh-116720); here nothing but this task can be cancelled from outside.
        """
        session = asyncio.create_task(self._session())
        try:
            await asyncio.wait([session])
        finally:
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)
        session.result()

    async def _session(self) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(self._path)
        except OSError as error:
            raise Unavailable(f"nobody answers on {self._path} ({error.strerror})") from None
        try:
            async with asyncio.timeout(REPLY_S):
                await self._greet(reader, writer)
            self._away = None
            replies: asyncio.Queue[monitor.Reply] = asyncio.Queue(1)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(reader, replies))
                group.create_task(self._take_turns(writer, replies))
        finally:
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(monitor.REQUESTS.encode(self._hello))
        welcome = _expect(await frames.read(reader, monitor.REPLIES), monitor.Welcome)
        if welcome.schema != SCHEMA:
            raise ProtocolError(f"the monitor speaks schema {welcome.schema}, this agent {SCHEMA}")
        applied = None
        while applied is None or applied != self._desired():  # it may change meanwhile
            applied = self._desired()
            writer.write(monitor.REQUESTS.encode(applied))
            _expect(await frames.read(reader, monitor.REPLIES), monitor.Applied)
        log.info("monitor connected", hook=welcome.hook, tasks=len(applied.tasks))

    async def _read(
        self, reader: asyncio.StreamReader, replies: asyncio.Queue[monitor.Reply]
    ) -> None:
        # Reading always, not only when a reply is due, notices at once that the monitor has gone.
        while True:
            await replies.put(await frames.read(reader, monitor.REPLIES))

    async def _take_turns(
        self, writer: asyncio.StreamWriter, replies: asyncio.Queue[monitor.Reply]
    ) -> None:
        while True:
            turn = self._current = await self._waiting.get()
            request = turn.request
            if isinstance(request, monitor.Apply):
                request = self._desired()
            elif turn.reply.cancelled():
                continue
            async with asyncio.timeout(REPLY_S):
                writer.write(monitor.REQUESTS.encode(request))
                await writer.drain()
                reply = await replies.get()
            if not turn.reply.done():
                turn.reply.set_result(reply)
            self._current = None


def _expect(reply: monitor.Reply, expected: type[R]) -> R:
    if isinstance(reply, expected):
        return reply
    if isinstance(reply, monitor.Failed):
        raise frames.refusal(reply.kind, reply.reason, reply.refusal)
    raise ProtocolError(f"the monitor answered with {type(reply).__name__}")
