"""The accepting side of connections between agents: greets, reads requests, sends their replies.

Everything a stranger sends is bounded here: connections, frame sizes, requests at a time, seconds.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from netsonde.agent import frames
from netsonde.agent.peers import HELLO_S, MAX_UNSENT_BYTES, Reply, Request, check_hello, tune
from netsonde.daemon.failures import Failures
from netsonde.model.coverage import Refusal
from netsonde.model.errors import Busy, NetsondeError, ProtocolError, Unforeseen
from netsonde.model.text import MAX_SENTENCE_CHARS, clipped
from netsonde.wire import peer
from netsonde.wire.frame import MAX_REQUEST_BYTES

MAX_CONNECTIONS = 64
MAX_REQUESTS = 64
"""Requests of one connection that may be in work."""

log = structlog.get_logger()


class Inbound:
    """One accepted connection, known by the name its agent greeted with."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        source = str(writer.get_extra_info("peername")[0])
        self.name = str(ipaddress.ip_address(source.partition("%")[0]))
        """Address of the other agent: the connection's own source address."""
        self.in_work = 0

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
    ) -> None:
        self._hello = peer.Hello(software=software, address=own)
        self._listener = listener
        self._handler = handler
        self._closed = closed
        self._failures = failures
        self._connections = 0

    async def run(self) -> None:
        """Accept and serve; a connection's errors end that connection alone.

        May be called again after it raised.
        """
        async with asyncio.TaskGroup() as group:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                group.create_task(self._serve(reader, writer))

            server = await asyncio.start_server(accept, sock=self._listener.dup())
            try:
                await asyncio.Event().wait()
            finally:
                server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections += 1
        try:
            inbound = Inbound(writer)
            try:
                await self._converse(reader, writer, inbound)
            except* (NetsondeError, OSError, TimeoutError) as group:
                log.info("peer gone", peer=inbound.name, reason=str(group.exceptions[0]))
            finally:
                self._closed(inbound)
        except Exception as error:  # whatever it is, the other connections go on
            self._failures.note("peer", error)
        finally:
            self._connections -= 1
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
        async with asyncio.TaskGroup() as requests:
            while True:
                message = await frames.read(reader, peer.MESSAGES, MAX_REQUEST_BYTES)
                if not isinstance(message, Request):
                    raise ProtocolError(f"{type(message).__name__} is not a request")
                # Tasks begin in the order they are made, so handlers see requests in order up to
                # their first wait: the latest Adopt of a parent is the one that stands.
                requests.create_task(self._answer(message, inbound))

    async def _answer(self, request: Request, inbound: Inbound) -> None:
        inbound.in_work += 1
        try:
            if inbound.in_work > MAX_REQUESTS:
                raise Busy(f"more than {MAX_REQUESTS} requests at a time")
            reply = await self._handler(request, inbound)
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
