"""The monitor's unix socket: one agent asks, one reply a request; who watches gets events.

Who connects is checked by the kernel (SO_PEERCRED, unix(7)): the agent's user or root, anybody else
is turned away and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import stat
import struct
import time
from pathlib import Path

import msgspec
import structlog

from netsonde.daemon import log
from netsonde.daemon.directories import check_parent, parent_of
from netsonde.daemon.failures import Failures
from netsonde.model.coverage import Refusal
from netsonde.model.detector import check_all
from netsonde.model.errors import Busy, NetsondeError, ProtocolError, Unavailable, Unforeseen
from netsonde.model.task import Question
from netsonde.model.text import MAX_SENTENCE_CHARS, clipped
from netsonde.monitor.alarms import Alarms
from netsonde.monitor.tasks import is_of_closed
from netsonde.monitor.upkeep import Upkeep
from netsonde.monitor.views import Views
from netsonde.wire import monitor as wire
from netsonde.wire.frame import HEADER, SCHEMA

_log = structlog.get_logger()
_MAX_CONNECTIONS = 8
_IDLE_BEFORE_HELLO_S = 5


def bind(path: Path, owner_uid: int) -> socket.socket:
    """Bind the socket file, readable by its owner alone; a dead monitor's file is replaced.

    Raises Busy when a living monitor answers there, Unavailable when something else than a socket
    is there or others could exchange it, OSError otherwise.
    """
    with parent_of(path) as parent:
        _remove_dead(path, parent)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            if owner_uid != os.geteuid():
                check_parent(path, parent, owner_uid)
            listener.bind(str(path))
            if owner_uid != os.geteuid():
                os.chown(path.name, owner_uid, -1, dir_fd=parent, follow_symlinks=False)
        except (OSError, Unavailable):
            listener.close()
            raise
        finally:
            os.umask(before)
    return listener


def _remove_dead(path: Path, parent: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(path.name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISSOCK(found.st_mode):
            raise Unavailable(f"{path} is no socket; it is left as it is")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                os.unlink(path.name, dir_fd=parent)
            else:
                raise Busy(f"another monitor answers on {path}")


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
        self._connections = 0

    async def run(self, listener: socket.socket) -> None:
        """Accept and serve connections."""
        server = await asyncio.start_unix_server(self._serve, sock=listener)
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = _peer_uid(writer)
        if uid not in self._allowed_uids or self._connections >= _MAX_CONNECTIONS:
            _log.warning("connection refused", uid=uid, open=self._connections)
            writer.close()
            return
        self._connections += 1
        try:
            await self._converse(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass  # the agent went away; it comes back by itself
        except asyncio.CancelledError:
            pass  # the monitor stops; streams before Python 3.12 would log it as a failure
        except ProtocolError as error:
            _log.warning("connection closed", reason=str(error))
        finally:
            self._connections -= 1
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_IDLE_BEFORE_HELLO_S):
            hello = await _receive(reader)
        if not isinstance(hello, wire.Hello) or hello.schema != SCHEMA:
            raise ProtocolError(f"the agent speaks another schema than {SCHEMA}: {hello!r:.100}")
        self._alarms.call_host(hello.host)
        own = self._views.own
        welcome = wire.Welcome(
            software=self._software,
            hook=own.hook,
            since_tick=own.ticker.since_tick,
            monitor=self._monitor,
        )
        writer.write(wire.REPLIES.encode(welcome))
        while True:
            await writer.drain()
            request = await _receive(reader)
            if isinstance(request, wire.Watch):
                await self._watched(request, reader, writer)
                return
            writer.write(await self._replied(request))

    async def _watched(
        self, watch: wire.Watch, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Send events until the agent closes the connection, or says anything."""
        closed = asyncio.ensure_future(reader.read(1))
        log = self._alarms.log
        place = log.place(watch.after)
        try:
            while not closed.done():
                events, dropped, place = log.after(place)
                frame = wire.Events(events=tuple(events), dropped=dropped)
                writer.write(wire.REPLIES.encode(frame))
                await writer.drain()
                news = asyncio.ensure_future(log.wait_after(place))
                try:
                    await asyncio.wait((news, closed), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    news.cancel()
        finally:
            closed.cancel()

    async def _replied(self, request: wire.Request) -> bytes:
        """Give the frame of a reply; whatever fails ends this reply alone."""
        try:
            return wire.REPLIES.encode(await self._reply(request))
        except NetsondeError as error:
            return wire.REPLIES.encode(_failed(error))
        except Exception as error:  # nobody foresaw it, and all else goes on
            self._failures.note(type(request).__name__.lower(), error)
            return wire.REPLIES.encode(_failed(Unforeseen.of(error)))

    async def _reply(self, request: wire.Request) -> wire.Reply:
        match request:
            case wire.Apply(tasks=tasks, detectors=detectors):
                check_all(detectors)
                now_tick = await self._views.apply(tasks)
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
        view = self._views.of(question)
        view.ticker.tell_passed()
        last_tick = view.tasks.last_tick
        window = question.window
        past = window.kind == "range" and window.last_tick < last_tick
        if not (past or is_of_closed(question)) or not last_tick:
            await view.flush()
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
        )


def _failed(error: NetsondeError) -> wire.Failed:
    return wire.Failed(
        kind=type(error).__name__,
        reason=clipped(str(error), MAX_SENTENCE_CHARS),
        refusal=Refusal.of(error),
        retry_after_s=error.retry_after_s,
    )


async def _receive(reader: asyncio.StreamReader) -> wire.Request:
    size = wire.REQUESTS.body_bytes(await reader.readexactly(HEADER.size))
    return wire.REQUESTS.decode(await reader.readexactly(size))


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    connection = writer.get_extra_info("socket")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("<3i", credentials)[1])
