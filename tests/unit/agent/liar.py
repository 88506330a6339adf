"""A child, or a stranger, that says what a test tells it to: raw frames on a real socket."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import msgspec
import numpy as np
from fleet import Fleet

from netsonde.model.bound import Bound
from netsonde.model.coverage import Coverage
from netsonde.model.evidence import Evidence
from netsonde.sketch.summary import KEY_DTYPE, Summary
from netsonde.wire import peer
from netsonde.wire.frame import HEADER

R = TypeVar("R", bound=peer.Message)

Answer = Callable[[peer.Query], peer.Message]


async def read(reader: asyncio.StreamReader) -> peer.Message:
    size = peer.MESSAGES.body_bytes(await reader.readexactly(HEADER.size))
    return peer.MESSAGES.decode(await reader.readexactly(size))


def partial(
    number: int,
    *held: str,
    reported: tuple[str, ...] = (),
    fingerprint: str = "",
    **changes: object,
) -> peer.Partial:
    """Give an answer of so many packets that claims to hold members."""
    empty = np.zeros(0, np.int64)
    summary = Summary(
        fingerprint=fingerprint,
        total_packets=Bound.exactly(number),
        total_bytes=Bound.exactly(number),
        keys=np.zeros(0, KEY_DTYPE),
        lower=empty,
        estimate=empty,
        upper=empty,
        heavy=np.zeros(0, np.bool_),
        absent_upper=0,
        distinct=Bound.exactly(0),
        first_tick=10,
        last_tick=20,
    )
    evidence = Evidence(
        software={"liar": 1}, hooks={"tables": held[:1]}, first_tick=10, last_tick=10
    )
    one = peer.Partial(
        id=0,
        subtree=reported or held,
        coverage=Coverage(members=held),
        part=summary.to_bytes(),
        evidence=evidence,
        wall_ns=1,
        held_ns=0,
    )
    return msgspec.structs.replace(one, **changes)


class Liar:
    """Accepts to be a child at its address, and answers as it is told."""

    def __init__(self, fleet: Fleet, number: int, answer: Answer) -> None:
        self.address = f"127.0.0.{number}"
        self.answer = answer
        self.subtree: tuple[str, ...] = (self.address,)
        self.unmet: tuple[peer.Unmet, ...] = ()
        self.adoptions: list[peer.Adopt] = []
        self.asked: list[peer.Query] = []
        self.writer: asyncio.StreamWriter | None = None
        self._port = fleet.peer_port

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.address, self._port)

    def stop(self) -> None:
        self._server.close()
        if self.writer:
            self.writer.transport.abort()

    def tell(self, message: peer.Message) -> None:
        """Send what nobody has asked for."""
        assert self.writer
        self.writer.write(peer.MESSAGES.encode(message))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        hello = peer.Hello(software="liar", address=self.address)
        writer.write(peer.MESSAGES.encode(hello))
        try:
            await read(reader)
            while True:
                request = await read(reader)
                reply = self._reply(request)
                writer.write(peer.MESSAGES.encode(msgspec.structs.replace(reply, id=request.id)))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _reply(self, request: peer.Message) -> peer.Message:
        if isinstance(request, peer.Adopt):
            self.adoptions.append(request)
            return peer.Adopted(
                id=0,
                subtree=self.subtree,
                coverage=Coverage.of(self.address),
                unmet=self.unmet,
            )
        if isinstance(request, peer.Query):
            self.asked.append(request)
            return self.answer(request)
        return peer.Refused(id=0, kind="Busy", reason="no")


class Stranger:
    """Dials an agent from an address of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def greets(cls, fleet: Fleet, at: str, own: str) -> "Stranger":
        reader, writer = await asyncio.open_connection(at, fleet.peer_port, local_addr=(own, 0))
        writer.write(peer.MESSAGES.encode(peer.Hello(software="x", address=own)))
        try:
            await read(reader)
        except BaseException:
            writer.transport.abort()
            raise
        return cls(reader, writer)

    async def call(self, request: peer.Message) -> peer.Message:
        self.send(request)
        return await self.read()

    def send(self, *requests: peer.Message) -> None:
        self.send_bytes(b"".join(map(peer.MESSAGES.encode, requests)))

    def send_bytes(self, data: bytes) -> None:
        self._writer.write(data)

    async def read(self) -> peer.Message:
        """Give the next reply; an agent's news answer nothing."""
        while True:
            message = await read(self._reader)
            if not isinstance(message, peer.Happened) and (
                not isinstance(message, peer.Adopted) or message.id
            ):
                return message

    async def closed(self) -> None:
        """Return when the other side has closed the connection."""
        with suppress(ConnectionError):
            while await self._reader.read(1 << 16):
                pass
        self.close()

    def close(self) -> None:
        self._writer.transport.abort()
