"""The accepting side of connections between agents: greets, reads requests, sends their replies.

Everything a stranger sends is bounded here: connections, frame sizes, requests at a time, seconds.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Coroutine

import msgspec
import structlog

from netsonde.agent import frames
from netsonde.agent.http.accept import Acceptor, Guest
from netsonde.agent.http.budget import Budget
from netsonde.agent.peers import HELLO_S, MAX_UNSENT_BYTES, Reply, Request, check_hello, tune
from netsonde.daemon.failures import Failures
from netsonde.daemon.slots import Slots, is_of_host
from netsonde.model.coverage import Refusal
from netsonde.model.errors import Busy, NetsondeError, ProtocolError, Unforeseen
from netsonde.model.text import MAX_SENTENCE_CHARS, clipped
from netsonde.wire import peer
from netsonde.wire.frame import MAX_REQUEST_BYTES, BadMessage

MAX_CONNECTIONS = 64
OF_ONE = 32
"""Of these, at most of one source; a jump host or a NAT is one."""
FOR_KIN = 8
"""Of these, kept for the parent, for children and for this host's own."""
IDLE_S = 10.0
"""Seconds that a connection without a role may say nothing: it is not the parent's, nothing that it
asked is in work, and no receiver is open for it."""
MAX_REQUESTS = 64
"""Requests of one connection that may be in work."""
CPU_PERCENT = 10.0
"""Of one CPU, for reading and answering all connections that are not the parent's; beyond it they
are read later. A test that is run for one has limits of its own and is not charged."""
_LOOK_S = 0.05
"""Least seconds before a connection that waits for this is looked at again."""

log = structlog.get_logger()


class Inbound:
    """One accepted connection, known by the name its agent greeted with."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        source = str(writer.get_extra_info("peername")[0])
        self.name = str(ipaddress.ip_address(source.partition("%")[0]))
        """Address of the other agent: the connection's own source address."""
        self.in_work = 0
        self.said_mono_s = 0.0
        """When it last said something, or had a role."""
        self.open_until_mono_s = 0.0
        """Until when a receiver may be open for it."""

    def send(self, message: peer.Message) -> None:
        """Send without waiting; raises Busy when the other side does not read."""
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            raise Busy(f"{self.name} does not read its replies")
        if not self._writer.is_closing():
            self._writer.write(peer.MESSAGES.encode(message))

    def close(self) -> None:
        """Send what waits, and end the connection."""
        self._writer.close()


Handler = Callable[[Request, Inbound], Awaitable[Reply]]
Serve = Callable[[Inbound, asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


class Idle(ProtocolError):
    """A connection that has no role here and says nothing."""


class _Guest(asyncio.StreamReaderProtocol, Guest):
    """A connection that has a place, from its accept to its end."""

    def __init__(
        self, serve: Serve, has_role: Callable[[Inbound], bool], ended: Callable[[], None]
    ) -> None:
        super().__init__(asyncio.StreamReader(), self._connected)
        self._serve = serve
        self._has_role = has_role
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self.inbound: Inbound | None = None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.inbound = Inbound(writer)
        self._task = asyncio.get_running_loop().create_task(
            self._serve(self.inbound, reader, writer)
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        super().connection_lost(exc)
        self._ended()

    @property
    def idle(self) -> bool:
        """Whether it has no role now."""
        return self.inbound is not None and not self._has_role(self.inbound)

    def displace(self) -> None:
        """End it at once."""
        if self._task is not None:
            self._task.cancel()
        self._ended()


class PeerServer:
    """Serves agents that dial this one; `run` until cancelled."""

    def __init__(
        self,
        *,
        own: str,
        software: str,
        listener: socket.socket,
        handler: Handler,
        closed: Callable[[Inbound], None],
        failures: Failures,
        is_kin: Callable[[str], bool],
        is_parent: Callable[[Inbound], bool],
        refused: Tally[str],
    ) -> None:
        """`is_kin`: tells whether an address is the parent's or a child's. Whom nobody serves, or
        serves on, is counted in `refused` by cause."""
        self._hello = peer.Hello(software=software, address=own)
        self._listener = listener
        self._handler = handler
        self._closed = closed
        self._failures = failures
        self._is_kin = is_kin
        self._is_parent = is_parent
        self._refused = refused
        self._budget = Budget(CPU_PERCENT)
        self._serving: set[asyncio.Task[None]] = set()
        self.slots = Slots(MAX_CONNECTIONS, of_one=OF_ONE, for_host=FOR_KIN)

    async def run(self) -> None:
        """Accept and serve; a connection's errors end that connection alone.

        May be called again after it raised.
        """
        self.slots = Slots(MAX_CONNECTIONS, of_one=OF_ONE, for_host=FOR_KIN)
        listener = self._listener.dup()
        acceptor = Acceptor(
            listener,
            lambda ended: _Guest(self._serve, self._has_role, ended),
            self._refused,
            self.slots,
            of_host=lambda host, own: is_of_host(host, own) or self._is_kin(host),
            full=b"",
        )
        acceptor.start()
        try:
            await asyncio.Event().wait()
        finally:
            acceptor.close()
            listener.close()
            for task in self._serving:
                task.cancel()

    def _has_role(self, inbound: Inbound) -> bool:
        now_s = asyncio.get_running_loop().time()
        waited_for = inbound.in_work > 0 or now_s < inbound.open_until_mono_s
        return waited_for or self._is_parent(inbound)

    async def _serve(
        self, inbound: Inbound, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        try:
            try:
                await self._converse(reader, writer, inbound)
            except* (NetsondeError, OSError, TimeoutError) as group:
                self._count(group.exceptions[0])
                log.info("peer gone", peer=inbound.name, reason=str(group.exceptions[0]))
            finally:
                self._closed(inbound)
        except Exception as error:  # whatever it is, the other connections go on
            self._failures.note("peer", error)
        finally:
            writer.transport.abort()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inbound: Inbound
    ) -> None:
        tune(writer)
        async with asyncio.timeout(HELLO_S):
            writer.write(peer.MESSAGES.encode(self._hello))
            hello = await frames.read(reader, peer.MESSAGES, MAX_REQUEST_BYTES)
        try:
            check_hello(hello, inbound.name)
        except NetsondeError as error:
            inbound.send(_refused(0, error))
            await writer.drain()
            raise
        inbound.said_mono_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as requests:
            requests.create_task(self._end_when_idle(inbound))
            while True:
                await self._turn(inbound)
                reading = frames.read(reader, peer.MESSAGES, MAX_REQUEST_BYTES)
                try:
                    message = await self._budget.metered(reading)
                except BadMessage as error:  # its frame is whole, so that the next one is found
                    self._refused["bad"] += 1
                    inbound.send(_refused(error.id, error))
                    continue
                inbound.said_mono_s = asyncio.get_running_loop().time()
                if not isinstance(message, Request):
                    raise ProtocolError(f"{type(message).__name__} is not a request")
                # Tasks begin in the order they are made, so handlers see requests in order up to
                # their first wait: the latest Adopt of a parent is the one that stands.
                requests.create_task(self._answer(message, inbound))

    async def _turn(self, inbound: Inbound) -> None:
        """Return when the next request of a connection may be read.

        One at a time of each connection, so that who sends many waits as everybody does; and of all
        that are not the parent's no more than their share of a CPU pays for.
        """
        await asyncio.sleep(0)
        while not self._is_parent(inbound):
            wait_s = self._budget.wait_s()
            if wait_s <= 0:
                return
            await asyncio.sleep(max(wait_s, _LOOK_S))

    async def _answer(self, request: Request, inbound: Inbound) -> None:
        """Answer, and charge it to whom it is to be charged."""
        if isinstance(request, peer.ProbeRun) or self._is_parent(inbound):
            await self._answered(request, inbound)
        else:
            await self._budget.metered(self._answered(request, inbound))

    async def _end_when_idle(self, inbound: Inbound) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            if self._has_role(inbound):
                inbound.said_mono_s = clock()
            left_s = inbound.said_mono_s + IDLE_S - clock()
            if left_s <= 0:
                raise Idle(f"{inbound.name} said nothing for {IDLE_S:g} s, and has no role here")
            await asyncio.sleep(left_s)

    def _count(self, error: BaseException) -> None:
        """Count whose connection was ended here, and why."""
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        causes = {Idle: "idle", TimeoutError: "slow", ProtocolError: "bad", Busy: "unread"}
        for kind, cause in causes.items():
            if isinstance(error, kind):
                self._refused[cause] += 1
                return

    async def _answered(self, request: Request, inbound: Inbound) -> None:
        inbound.in_work += 1
        try:
            if inbound.in_work > MAX_REQUESTS:
                self._refused["busy"] += 1
                raise Busy(f"more than {MAX_REQUESTS} requests at a time")
            reply = await self._handler(request, inbound)
            if isinstance(request, peer.ProbeOpen) and isinstance(reply, peer.ProbeOpened):
                now_s = asyncio.get_running_loop().time()
                inbound.open_until_mono_s = now_s + request.max_ms / 1000
            inbound.send(msgspec.structs.replace(reply, id=request.id))
        except NetsondeError as error:
            inbound.send(_refused(request.id, error))
        except Exception as error:  # whatever it is, the connection's other requests go on
            self._failures.note("answer", error)
            inbound.send(_refused(request.id, Unforeseen.of(error)))
        finally:
            inbound.in_work -= 1


def _refused(number: int, error: NetsondeError) -> peer.Refused:
    return peer.Refused(
        id=number,
        kind=type(error).__name__,
        reason=clipped(str(error), MAX_SENTENCE_CHARS),
        refusal=Refusal.of(error),
        retry_after_s=error.retry_after_s,
    )
