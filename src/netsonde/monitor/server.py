"""The monitor's unix socket: one agent asks, one reply a request; who watches gets events.

Who connects is checked by the kernel (SO_PEERCRED, unix(7)): the agent's user or root, anybody else
is turned away and counted. What comes is checked as if a stranger had sent it, and what fails ends
the one reply or the one connection that it was for.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
import time

import msgspec
import structlog

from netsonde.daemon import log
from netsonde.daemon.failures import Failures
from netsonde.model.checks import check_detectors, check_question, check_tasks
from netsonde.model.coverage import Refusal
from netsonde.model.errors import Busy, NetsondeError, ProtocolError, Unforeseen
from netsonde.model.task import Question
from netsonde.model.text import MAX_NAME_CHARS, MAX_SENTENCE_CHARS, clipped
from netsonde.monitor.alarms import Alarms
from netsonde.monitor.budget import LEAST_NS
from netsonde.monitor.lease import Agent, Lease, Seat
from netsonde.monitor.tasks import is_of_closed
from netsonde.monitor.upkeep import Upkeep
from netsonde.monitor.views import Views
from netsonde.wire import monitor as wire
from netsonde.wire.frame import HEADER, SCHEMA

HELLO_S = 5.0
"""Seconds to greet in."""
IDLE_S = 10.0
"""Seconds without a request after which a connection that has no lease is closed."""
FRAME_S = 5.0
"""Seconds from the first byte of a frame to its last."""
UNTAKEN_S = 10.0
"""Seconds in which a reply must be taken."""
REFUSED_PAUSE_S = 0.01
"""Before a connection reads on, when there was no CPU for an answer: being refused costs, too."""
_CREDENTIALS = struct.Struct("<3i")
_log = structlog.get_logger()


class Server:
    """Serves one bound socket until cancelled."""

    def __init__(
        self,
        views: Views,
        upkeep: Upkeep,
        alarms: Alarms,
        *,
        allowed_uids: frozenset[int],
        software: str,
        encapsulated: str,
        monitor: str,
        failures: Failures,
    ) -> None:
        """`monitor`: its id, as evidence carries it."""
        self._views = views
        self._upkeep = upkeep
        self._alarms = alarms
        self._since_mono_ns = time.monotonic_ns()
        self._allowed_uids = allowed_uids
        self._software = software
        self._encapsulated = encapsulated
        self._monitor = monitor
        self._failures = failures
        self._lease = Lease()

    async def run(self, listener: socket.socket) -> None:
        """Accept and serve connections; may be called again."""
        server = await asyncio.start_unix_server(self._serve, sock=listener.dup())
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid = uid = -1
        try:
            pid, uid = _peer(writer)
            if uid not in self._allowed_uids:
                self._lease.refused["other users"] += 1
                raise Busy(f"user {uid} is not the agent's")
            seat = self._lease.admit(pid, writer.transport.abort)
        except (Busy, OSError) as error:
            _log.warning("connection refused", uid=uid, pid=pid, reason=str(error))
            writer.transport.abort()
            return
        try:
            await self._converse(seat, _Stream(reader, writer))
        except (ConnectionError, TimeoutError, ProtocolError) as error:
            if not isinstance(error, ConnectionResetError):  # it went away, and comes back
                cause = (
                    "slow connections" if isinstance(error, TimeoutError) else "malformed frames"
                )
                self._lease.refused[cause] += 1
                _log.warning("connection closed", pid=pid, reason=str(error) or "it was too slow")
        except asyncio.CancelledError:
            pass  # the monitor stops; streams before Python 3.12 would log it as a failure
        except Exception as error:  # nobody foresaw it, and all else goes on
            self._failures.note("connection", error)
        finally:
            self._lease.leave(seat)
            writer.transport.abort()

    async def _converse(self, seat: Seat, stream: _Stream) -> None:
        async with asyncio.timeout(HELLO_S):
            hello = wire.REQUESTS.decode(await stream.receive())
        if not isinstance(hello, wire.Hello) or hello.schema != SCHEMA:
            raise ProtocolError(f"the agent speaks another schema than {SCHEMA}: {hello!r:.100}")
        seat.agent = Agent(seat.pid, hello.host[:MAX_NAME_CHARS])
        own = self._views.own
        welcome = wire.Welcome(
            software=self._software,
            hook=own.hook,
            since_tick=own.ticker.since_tick,
            monitor=self._monitor,
        )
        await stream.send(wire.REPLIES.encode(welcome))
        while True:
            try:
                async with asyncio.timeout(None if self._lease.holds(seat) else IDLE_S):
                    await stream.more()
            except TimeoutError:
                self._lease.refused["idle connections"] += 1
                return
            body = await stream.receive()
            seat.busy = True
            request: wire.Request | None
            try:
                request = wire.REQUESTS.decode(body)
            except ProtocolError as error:
                self._lease.refused["malformed requests"] += 1
                request, reply = None, wire.REPLIES.encode(_failed(error))
            else:
                if isinstance(request, wire.Watch):
                    self._lease.served(seat)
                    await self._watched(request, stream)
                    return
                reply = await self._replied(seat, request)
            await stream.send(reply)
            self._lease.served(seat)
            await self._let_others_go_first(request)

    async def _let_others_go_first(self, request: wire.Request | None) -> None:
        """Give a turn to everybody else: a frame that waits in a buffer is read without one.

        What is no question costs the answers' budget too, and is not refused but waits for it.
        """
        budget, pause_s = self._upkeep.budget, 0.0
        if not isinstance(request, wire.Ask):
            budget.spend(LEAST_NS)
            pause_s = REFUSED_PAUSE_S if budget.is_spent else 0.0
        await asyncio.sleep(pause_s)

    async def _watched(self, watch: wire.Watch, stream: _Stream) -> None:
        """Send events until the agent closes the connection, or says anything."""
        closed = asyncio.ensure_future(stream.more())
        log = self._alarms.log
        place = log.place(watch.after)
        try:
            while not closed.done():
                events, dropped, place = log.after(place)
                frame = wire.Events(events=tuple(events), dropped=dropped)
                await stream.send(wire.REPLIES.encode(frame))
                news = asyncio.ensure_future(log.wait_after(place))
                try:
                    await asyncio.wait((news, closed), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    news.cancel()
        finally:
            closed.cancel()

    async def _replied(self, seat: Seat, request: wire.Request) -> bytes:
        """Give the frame of a reply; whatever fails ends this reply alone."""
        try:
            return wire.REPLIES.encode(await self._reply(seat, request))
        except NetsondeError as error:
            if isinstance(error, Busy):
                await asyncio.sleep(REFUSED_PAUSE_S)
            return wire.REPLIES.encode(_failed(error))
        except Exception as error:  # nobody foresaw it, and all else goes on
            self._failures.note(type(request).__name__.lower(), error)
            return wire.REPLIES.encode(_failed(Unforeseen.of(error)))

    async def _reply(self, seat: Seat, request: wire.Request) -> wire.Reply:
        match request:
            case wire.Apply(tasks=tasks, detectors=detectors):
                check_tasks(tasks)
                check_detectors(detectors)
                await self._lease.take(seat)
                now_tick = await self._views.apply(tasks)
                if seat.agent:
                    self._alarms.call_host(seat.agent.host)
                self._alarms.apply(detectors, now_tick)
                return wire.Applied(tasks=len(tasks))
            case wire.Ask(question=question):
                return await self._answer(question)
            case wire.AskStatus():
                return self._status()
            case wire.Hello():
                raise ProtocolError("Hello comes once")
            case wire.Watch():
                raise ProtocolError("Watch has a connection of its own")

    async def _answer(self, question: Question) -> wire.Answer:
        check_question(question)
        self._upkeep.budget.check()
        view = self._views.of(question)
        view.ticker.tell_passed()
        last_tick = view.tasks.last_tick
        window = question.window
        past = window.kind == "range" and window.last_tick < last_tick
        if not (past or is_of_closed(question)) or not last_tick:
            spent_ns = view.ticker.spent_ns
            await view.flush()
            self._upkeep.budget.spend(view.ticker.spent_ns - spent_ns)
        answered = await self._upkeep.answer(view.tasks.answering(question))
        usage = resource.getrusage(resource.RUSAGE_SELF)
        since_ns = max(1, time.monotonic_ns() - self._since_mono_ns)
        evidence = msgspec.structs.replace(
            answered.evidence,
            software={self._software: 1},
            hooks={view.hook: ()},
            cpu_ratio=round((usage.ru_utime + usage.ru_stime) * 1e9 / since_ns, 4),
            rss_bytes=usage.ru_maxrss * 1024,
            tick_ms=view.ticker.tick_ms,
            told_one_in=view.ticker.told_one_in,
            monitor=self._monitor,
        )
        return wire.Answer(part=answered.part, evidence=evidence)

    def _status(self) -> wire.Status:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        tasks, ticker = self._views.own.tasks, self._views.own.ticker
        ticker.tell_passed()
        return wire.Status(
            hook=self._views.own.hook,
            encapsulated=self._encapsulated,
            since_tick=ticker.since_tick,
            last_tick=tasks.last_tick,
            packets=tasks.packets,
            ip_bytes=tasks.ip_bytes,
            drops=dict(tasks.drops),
            tasks=len(tasks),
            tick_ms=ticker.tick_ms,
            told_one_in=ticker.told_one_in,
            late_ticks=ticker.late_ticks,
            failed_refreshes=ticker.failed_refreshes,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            rss_bytes=usage.ru_maxrss * 1024,
            recorder=tasks.recorder.reach(),
            detectors=self._alarms.states(),
            devices=self._views.states(),
            monitor=self._monitor,
            failures={f"{part}: {kind}": n for (part, kind), n in self._failures.counts.items()},
            log_dropped=dict(log.dropped()),
            refused=self._lease.refused | {"answers": self._upkeep.budget.refused},
        )


def _failed(error: NetsondeError) -> wire.Failed:
    return wire.Failed(
        kind=type(error).__name__,
        reason=clipped(str(error), MAX_SENTENCE_CHARS),
        refusal=Refusal.of(error),
        retry_after_s=error.retry_after_s,
    )


class _Stream:
    """Frames of one connection; each has its time, and so has whoever is to take one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ahead = b""

    async def more(self) -> None:
        """Wait until another frame begins; raises ConnectionResetError at the end."""
        if not self._ahead:
            self._ahead = await self._reader.read(1)
        if not self._ahead:
            raise ConnectionResetError

    async def receive(self) -> bytes:
        """Read a frame's body; raises ConnectionResetError, TimeoutError or ProtocolError."""
        await self.more()
        begun, self._ahead = self._ahead, b""
        try:
            async with asyncio.timeout(FRAME_S):
                header = begun + await self._reader.readexactly(HEADER.size - 1)
                return await self._reader.readexactly(wire.REQUESTS.body_bytes(header))
        except asyncio.IncompleteReadError:
            raise ConnectionResetError from None

    async def send(self, frame: bytes) -> None:
        """Write a frame, and wait until there is room for the next; raises as `receive` does."""
        self._writer.write(frame)
        async with asyncio.timeout(UNTAKEN_S):
            await self._writer.drain()


def _peer(writer: asyncio.StreamWriter) -> tuple[int, int]:
    """Give the process and the user at the other end, as the kernel knows them."""
    connection = writer.get_extra_info("socket")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return pid, uid
