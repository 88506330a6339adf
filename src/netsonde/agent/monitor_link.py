"""The agent's connection to its monitor: requests in order, back by itself after any loss.

The one idea: the agent owns the desired state, so every new connection begins by applying it, and
a monitor that restarts needs to remember nothing. The monitor answers one request after the other;
the next is sent ahead, so that it never waits for the agent, and the others wait here, where who
asks the same as one of them shares its answer, and who gives up costs nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import structlog

from netsonde.agent import frames
from netsonde.daemon.failures import Failures
from netsonde.model.errors import Busy, NetsondeError, ProtocolError, Unavailable, Unforeseen
from netsonde.model.task import Question
from netsonde.wire import monitor
from netsonde.wire.frame import HEADER, SCHEMA

REPLY_S = 5.0
"""Seconds after which a silent monitor is given up and connected anew."""
FIRST_PAUSE_S = 0.1
LAST_PAUSE_S = 1.0
MAX_WAITING = 64
"""Requests that may wait for their turn, and who may wait for the reply to one of them."""
SENT_AHEAD = 2
"""Requests that the monitor may have and not have answered."""

log = structlog.get_logger()

R = TypeVar("R", bound=monitor.Reply)


@dataclass(slots=True)
class _Turn:
    """A request and who waits for its reply."""

    request: monitor.Request
    replies: list[asyncio.Future[monitor.Reply]] = field(default_factory=list)

    def wait(self) -> asyncio.Future[monitor.Reply]:
        """Give the reply to come, for one more."""
        reply: asyncio.Future[monitor.Reply] = asyncio.get_running_loop().create_future()
        self.replies.append(reply)
        return reply

    @property
    def waited_for(self) -> bool:
        """Whether anybody still waits."""
        return any(not reply.done() for reply in self.replies)

    def end(self, come: monitor.Reply | NetsondeError) -> None:
        """Give everyone who still waits the reply, or why there is none."""
        for reply in self.replies:
            if reply.done():
                continue
            if isinstance(come, NetsondeError):
                reply.set_exception(come)
            else:
                reply.set_result(come)


class _Session(asyncio.Protocol):
    """One connection: what is sent on it is answered in the same order."""

    def __init__(self, answered: Callable[[], None]) -> None:
        """`answered` is called after every reply."""
        self.sent: deque[_Turn] = deque()
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Done, with the reason, once the connection is of no use any more."""
        self._answered = answered
        self._came = bytearray()
        self._watched = False

    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]
        """Take the connection, as asyncio tells it."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Notice at once that the monitor has gone."""
        self._lose(exc or ConnectionResetError("the other side closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Give replies to who waits for them; the requests sent ahead bound how much comes."""
        self._came += data
        try:
            while len(self._came) >= HEADER.size:
                end = HEADER.size + monitor.REPLIES.body_bytes(bytes(self._came[: HEADER.size]))
                if len(self._came) < end:
                    return
                reply = monitor.REPLIES.decode(bytes(self._came[HEADER.size : end]))
                del self._came[:end]
                self._take(reply)
        except Exception as error:  # whatever it is, the link begins again with another session
            self._lose(error)

    def send(self, turn: _Turn) -> None:
        """Send a request; who loses the session ends the turns that are still in `sent`."""
        self._transport.write(monitor.REQUESTS.encode(turn.request))
        self.sent.append(turn)
        if len(self.sent) == 1:
            self._await_reply()

    async def exchange(self, request: monitor.Request, expected: type[R]) -> R:
        """Send one of the first requests of all; raises also what loses the session."""
        turn = _Turn(request)
        reply = turn.wait()
        self.send(turn)
        await asyncio.wait((reply, self.lost), return_when=asyncio.FIRST_COMPLETED)
        if not reply.done():
            self.lost.result()
        return _expect(reply.result(), expected)

    def close(self) -> None:
        """End the connection."""
        self.lost.cancel()
        self._transport.close()

    def _lose(self, error: Exception) -> None:
        if not self.lost.done():
            self.lost.set_exception(error)
            self.lost.exception()  # else asyncio logs one that nobody waited for
        self._transport.close()

    def _take(self, reply: monitor.Reply) -> None:
        if not self.sent:
            raise ProtocolError(f"the monitor answered unasked with {type(reply).__name__}")
        self.sent.popleft().end(reply)
        if self.sent:
            self._await_reply()
        self._answered()

    def _await_reply(self) -> None:
        self._due_s = self._loop.time() + REPLY_S
        if not self._watched:
            self._watched = True
            self._loop.call_at(self._due_s, self._lose_if_silent)

    def _lose_if_silent(self) -> None:
        """Give the monitor up when its reply is late; one timer at a time, for all replies."""
        self._watched = bool(self.sent) and not self.lost.done()
        if not self._watched:
            return
        if self._loop.time() < self._due_s:
            self._loop.call_at(self._due_s, self._lose_if_silent)
        else:
            self._lose(TimeoutError())


class MonitorLink:
    """Client of the monitor's unix socket; `run` keeps it connected until cancelled."""

    def __init__(
        self,
        *,
        path: Path,
        desired: Callable[[], monitor.Apply],
        software: str,
        host: str,
        failures: Failures,
    ) -> None:
        self._path = path
        self._desired = desired
        self._hello = monitor.Hello(software=software, host=host)
        self._failures = failures
        self._waiting: deque[_Turn] = deque()
        self._session: _Session | None = None
        self._away: str | None = "not connected yet"

    async def run(self) -> None:
        """Connect, apply, serve; after a loss wait 0.1 to 1 s and begin again.

        What nobody foresaw is raised, and refuses who waits; it may be called again then.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._converse()
            except (NetsondeError, OSError, TimeoutError) as error:
                pause_s = FIRST_PAUSE_S if self._away is None else min(2 * pause_s, LAST_PAUSE_S)
                self._lose(str(error) or "it does not answer")
            except Exception as error:
                self._lose(str(Unforeseen.of(error)))
                raise
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
        # What is not sent yet is answered from all that the monitor will have counted by then.
        turn = next((one for one in self._waiting if one.request == request), None)
        if turn is None or len(turn.replies) >= MAX_WAITING:
            if len(self._waiting) >= MAX_WAITING:
                raise Busy(f"{MAX_WAITING} requests wait for the monitor; try again later")
            turn = _Turn(request)
            self._waiting.append(turn)
        reply = turn.wait()
        self._take_turns()
        return _expect(await reply, expected)

    def _take_turns(self) -> None:
        """Send as many requests as the monitor may have."""
        session = self._session
        while session is not None and self._waiting and len(session.sent) < SENT_AHEAD:
            turn = self._waiting.popleft()
            try:
                if isinstance(turn.request, monitor.Apply):
                    turn.request = self._desired()
                elif not turn.waited_for:
                    continue
                session.send(turn)
            except ProtocolError as error:  # it is too long
                turn.end(error)
            except Exception as error:  # whoever takes the turns may be another's request
                self._failures.note("monitor", error)
                turn.end(Unforeseen.of(error))

    def _lose(self, reason: str) -> None:
        """Refuse everyone who waits, and everyone who comes until the next session."""
        if reason != self._away:
            log.warning("monitor away", reason=reason)
        self._away = reason
        sent = self._session.sent if self._session else ()
        turns, self._session = [*sent, *self._waiting], None
        self._waiting.clear()
        for turn in turns:
            turn.end(Unavailable(f"monitor away: {reason}"))

    async def _converse(self) -> None:
        """Run one session; raises what ends it."""
        loop = asyncio.get_running_loop()
        try:
            _, session = await loop.create_unix_connection(
                lambda: _Session(self._take_turns), str(self._path)
            )
        except OSError as error:
            raise Unavailable(f"nobody answers on {self._path} ({error.strerror})") from None
        try:
            async with asyncio.timeout(REPLY_S):
                await self._greet(session)
            self._session, self._away = session, None
            await session.lost
        finally:
            session.close()

    async def _greet(self, session: _Session) -> None:
        welcome = await session.exchange(self._hello, monitor.Welcome)
        if welcome.schema != SCHEMA:
            raise ProtocolError(f"the monitor speaks schema {welcome.schema}, this agent {SCHEMA}")
        applied = None
        while applied is None or applied != self._desired():  # it may change meanwhile
            applied = self._desired()
            await session.exchange(applied, monitor.Applied)
        log.info("monitor connected", hook=welcome.hook, tasks=len(applied.tasks))


def _expect(reply: monitor.Reply, expected: type[R]) -> R:
    if isinstance(reply, expected):
        return reply
    if isinstance(reply, monitor.Failed):
        raise frames.refusal(reply.kind, reply.reason, reply.refusal, reply.retry_after_s)
    raise ProtocolError(f"the monitor answered with {type(reply).__name__}")
