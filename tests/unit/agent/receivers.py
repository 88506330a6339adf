"""Receivers of webhooks: real servers on loopback, good ones and bad ones."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Self

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listening:
    """A TCP server that serves each connection in some way, and counts them."""

    def __init__(self, serve: Serve | None = None, address: str = "127.0.0.1") -> None:
        self.address = address
        self.connections = 0
        self._serve = serve
        self._open: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._accepted, self.address, 0)
        self.port = int(self.server.sockets[0].getsockname()[1])
        self.url = f"http://{self.address}:{self.port}/events"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.append(writer)
        try:
            await self.serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._serve
        await self._serve(reader, writer)


class Receiver(Listening):
    """An HTTP server that answers with the statuses it is given, then with 204."""

    def __init__(self, *statuses: int) -> None:
        super().__init__()
        self.statuses = list(statuses)
        self.heads: list[dict[str, str]] = []
        """Of what it took, names in lower case."""
        self.raw: list[bytes] = []
        self.bodies: list[dict[str, object]] = []
        self.taking = asyncio.Event()
        self.taking.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:-2]]
            fields = {name.lower(): value for name, value in lines}
            raw = await reader.readexactly(int(fields["content-length"]))
            await self.taking.wait()
            status = self.statuses.pop(0) if self.statuses else 204
            if status == 204:
                self.heads.append(fields)
                self.raw.append(raw)
                self.bodies.append(json.loads(raw))
            writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % status)
