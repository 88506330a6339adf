"""Connections between agents: who dials asks, who accepts answers, many requests at a time.

The one idea: an idle connection is silent. There are no heartbeats, because a host's traffic is
what we measure; the kernel tells of a peer that ends, and TCP keepalive of a host that vanishes.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from netsonde.agent import frames
from netsonde.model import address
from netsonde.model.errors import (
    Busy,
    NetsondeError,
    ProtocolError,
    Unavailable,
    Unforeseen,
)
from netsonde.wire import peer
from netsonde.wire.frame import HEADER, MAX_REQUEST_BYTES, SCHEMA, BadMessage

HELLO_S = 1.0
"""Seconds for a connection to stand and for both names to be told."""
MAX_CALLS = 256
"""Requests that may wait for their replies on one connection."""
MAX_UNSENT_BYTES = 1 << 20
"""Bytes that a slow reader may leave unsent before it is refused more."""
KEEPALIVE_S = 60
UNACKED_MS = 10_000
"""Milliseconds that sent data may stay unacknowledged before the connection is given up."""

Request = peer.Adopt | peer.Release | peer.Query | peer.ProbeRun | peer.ProbeOpen | peer.ProbeClose
Reply = (
    peer.Adopted
    | peer.Released
    | peer.Partial
    | peer.ProbeResult
    | peer.ProbeOpened
    | peer.ProbeClosed
    | peer.Refused
)
News = peer.Adopted | peer.Happened
"""What a child tells without being asked."""
R = TypeVar("R", bound=Reply)


class Garbled(Unavailable):
    """What came could not be read: one reply, or so little of it that the connection was lost."""


class Connection:
    """The dialling side of one connection; made by `dial`."""

    def __init__(
        self,
        name: str,
        writer: asyncio.StreamWriter,
        on_news: Callable[[News], None],
        on_garbled: Callable[[NetsondeError], None],
    ) -> None:
        self.name = name
        self._writer = writer
        self._on_news = on_news
        self._on_garbled = on_garbled
        self._ids = itertools.count(1)
        self._calls: dict[int, asyncio.Future[Reply]] = {}
        self._lost: Unavailable | None = None

    async def call(self, request: Request, expected: type[R]) -> R:
        """Send a request under a fresh id and give its reply; the caller sets the deadline.

        Raises Unavailable when the connection is lost, Busy when it is full, ProtocolError for a
        reply of another type, or what the other side refused with.
        """
        reply = await self.exchange(request)
        if isinstance(reply, expected):
            return reply
        raise ProtocolError(f"{self.name} answered with {type(reply).__name__}")

    async def exchange(self, request: Request) -> Reply:
        """Send a request and give whatever reply it gets; raises as `call` does."""
        if self._lost:
            raise self._lost
        unsent_bytes = self._writer.transport.get_write_buffer_size()
        if len(self._calls) >= MAX_CALLS or unsent_bytes > MAX_UNSENT_BYTES:
            raise Busy(f"too many requests wait for {self.name}; try again later")
        number = next(self._ids)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        try:
            frame = peer.MESSAGES.encode(msgspec.structs.replace(request, id=number))
            if len(frame) - HEADER.size > MAX_REQUEST_BYTES:  # the other side would hang up
                raise ProtocolError(f"a request of {len(frame)} bytes is over {MAX_REQUEST_BYTES}")
            self._writer.write(frame)
            reply = await future
        finally:
            del self._calls[number]
        if isinstance(reply, peer.Refused):
            raise frames.refusal(
                reply.kind,
                f"{self.name} refused: {reply.reason}",
                reply.refusal,
                reply.retry_after_s,
            )
        return reply

    async def read(self, reader: asyncio.StreamReader) -> None:
        """Hand out replies until the connection is lost; then everyone who waits is told.

        Returns when it is lost; what nobody foresaw, also in who takes news, ends it too and is
        raised.
        """
        reason, kind = "the agent was stopped", Unavailable
        try:
            while True:
                try:
                    self._take(await frames.read(reader, peer.MESSAGES))
                except BadMessage as error:  # its frame is whole, so that the next one is found
                    self._drop(error)
                await asyncio.sleep(0)  # whoever tells without end lets others have their turn
        except ProtocolError as error:
            reason, kind = str(error), Garbled
            self._on_garbled(error)
        except (NetsondeError, OSError, TimeoutError) as error:
            reason = str(error) or "a frame came too slowly"
        except Exception as error:
            reason = str(Unforeseen.of(error))
            raise
        finally:
            self._lost = kind(f"connection to {self.name} lost: {reason}")
            for future in self._calls.values():
                if not future.done():
                    future.set_exception(self._lost)

    def _drop(self, error: BadMessage) -> None:
        """Leave out a message that breaks its type; who waits for it is told."""
        self._on_garbled(error)
        future = self._calls.get(error.id)
        if future and not future.done():
            future.set_exception(Garbled(f"a reply of {self.name} was refused: {error}"))

    def _take(self, message: peer.Message) -> None:
        if isinstance(message, peer.Happened):
            self._on_news(message)
            return
        if not isinstance(message, Reply):
            raise ProtocolError(f"{self.name} sent {type(message).__name__} on our connection")
        if message.id == 0 and isinstance(message, peer.Adopted):
            self._on_news(message)
        if message.id == 0 and isinstance(message, peer.Refused):
            raise frames.refusal(
                message.kind,
                f"{self.name} refused us: {message.reason}",
                message.refusal,
                message.retry_after_s,
            )
        future = self._calls.get(message.id)
        if future and not future.done():
            future.set_result(message)


class Dialer:
    """Opens connections to other agents in this agent's name."""

    def __init__(self, *, own: str, peer_port: int, software: str) -> None:
        self._peer_port = peer_port
        self._local = own
        self._hello = peer.Hello(software=software, address=own)

    @asynccontextmanager
    async def dial(
        self,
        name: str,
        on_news: Callable[[News], None] = lambda news: None,
        on_garbled: Callable[[NetsondeError], None] = lambda error: None,
    ) -> AsyncIterator[tuple[Connection, asyncio.Task[None]]]:
        """Connect to the agent of that name; give the connection and the task that ends with it.

        Raises Unavailable when it cannot be reached within HELLO_S, ProtocolError when it speaks
        another schema or bears another name, which would count one host twice.
        """
        try:
            async with asyncio.timeout(HELLO_S):
                reader, writer = await asyncio.open_connection(
                    str(address.parsed(name)),  # never a name that somebody would look up
                    self._peer_port,
                    local_addr=(self._local, 0),
                    flags=socket.AI_NUMERICHOST,
                )
        except (OSError, TimeoutError, ValueError) as error:
            numbered = error.errno if isinstance(error, OSError) else None
            why = os.strerror(numbered) if numbered else str(error) or "no answer"
            raise Unavailable(
                f"the agent of {name} cannot be reached on port {self._peer_port}: {why}"
            ) from None
        try:
            await self._greet(name, reader, writer)
            connection = Connection(name, writer, on_news, on_garbled)
            reading = asyncio.create_task(connection.read(reader))
            try:
                yield connection, reading
            except NetsondeError:
                if reading.done():
                    reading.result()  # what nobody foresaw is why
                raise
            finally:
                reading.cancel()
                await asyncio.wait([reading])
        finally:
            writer.transport.abort()

    async def _greet(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        tune(writer)
        try:
            async with asyncio.timeout(HELLO_S):
                writer.write(peer.MESSAGES.encode(self._hello))
                hello = await frames.read(reader, peer.MESSAGES)
        except (OSError, TimeoutError) as error:
            raise Unavailable(
                f"the agent of {name} did not greet: {str(error) or 'no answer'}"
            ) from None
        check_hello(hello, name)


def check_hello(message: peer.Message, name: str) -> None:
    """Check the first frame of a connection; raises ProtocolError naming what does not fit."""
    if isinstance(message, peer.Refused):
        raise frames.refusal(
            message.kind,
            f"{name} refused: {message.reason}",
            message.refusal,
            message.retry_after_s,
        )
    if not isinstance(message, peer.Hello):
        raise ProtocolError(f"{name} began with {type(message).__name__}, not Hello")
    if message.schema != SCHEMA:
        raise ProtocolError(f"{name} speaks schema {message.schema}, this agent {SCHEMA}")
    if address.host("address", message.address) != name:
        raise ProtocolError(f"the agent at {name} calls itself {message.address}")


def tune(writer: asyncio.StreamWriter) -> None:
    """Let the kernel send at once, and notice a vanished host: in 90 s when idle, in 10 s when data
    waits."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKED_MS)
