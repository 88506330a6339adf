"""One POST to another host: to an address that was checked, and no longer than it is worth.

The one idea: name, address and connection are one step. The name is looked up for each request,
each address is asked about, and the connection is made to that number, so a name that means another
address a moment later leads nowhere else. A certificate is still that of the name.

Not a client for everything: no redirects, no proxies, no reply but its status, a connection each.
"""

from __future__ import annotations

import asyncio
import base64
import encodings.idna  # noqa: F401 # what names of certificates go through, also of plain ASCII
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from urllib.parse import unquote_to_bytes

from netsonde.agent.outward import Outward
from netsonde.model.errors import ProtocolError, Unavailable
from netsonde.model.webhook_url import IPAddress, Target

STEP_S = 5.0
"""Seconds that a receiver has for each step: connecting, its certificate, answering."""
WHOLE_S = 10.0
"""Seconds for all of a request, looking up the name included."""
MAX_ADDRESSES = 4
"""Addresses of a name that are tried, in the resolver's order."""
MAX_HEAD_BYTES = 16 << 10
"""Of a reply: its head. No more is read."""
MAX_REPLIES = 4
"""Heads of a reply: of 100 Continue and the like, and of the reply itself."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r?\n)")

Lookup = Callable[[str], Awaitable[list[IPAddress]]]


class Poster:
    """Sends requests where `outward` allows it."""

    def __init__(self, *, outward: Outward, lookup: Lookup) -> None:
        """`lookup` gives the addresses of a name, or raises whatever it likes."""
        self.outward = outward
        self.lookup = lookup
        self._trusted: ssl.SSLContext | None = None

    async def post(self, target: Target, body: bytes, headers: Mapping[str, str]) -> int:
        """Send a body; gives the status of the reply.

        Raises Unavailable where nothing may be sent there, and any Exception where nothing came of
        it. Ends within WHOLE_S.
        """
        request = _head(target, len(body), headers) + body
        async with asyncio.timeout(WHOLE_S):
            return await self._sent(target, request)

    async def _sent(self, target: Target, request: bytes) -> int:
        trusted = await self._trust() if target.tls else None
        connection = await self._connected(target, await self._reachable(target))
        with connection:
            reader, writer = await asyncio.open_connection(
                sock=connection,
                ssl=trusted,
                server_hostname=target.host.removesuffix(".") if trusted else None,
                ssl_handshake_timeout=STEP_S if trusted else None,
                limit=MAX_HEAD_BYTES,
            )
            try:
                async with asyncio.timeout(STEP_S):
                    writer.write(request)
                    await writer.drain()
                    return await _status(reader)
            finally:
                writer.transport.abort()

    async def _reachable(self, target: Target) -> list[IPAddress]:
        """Give the addresses that may be connected to; raises Unavailable when there is none."""
        found = [target.address] if target.address else await self.lookup(target.host)
        refusals = {address: self.outward.refusal(address) for address in found[:MAX_ADDRESSES]}
        reachable = [address for address, refusal in refusals.items() if refusal is None]
        if not reachable:
            why = next(iter(refusals.values()), None)
            raise Unavailable(why or "the name has no address")
        return reachable

    async def _connected(self, target: Target, reachable: list[IPAddress]) -> socket.socket:
        """Connect to the first address that answers; raises what the last one did."""
        *others, last = reachable
        for address in others:
            with suppress(OSError):
                async with asyncio.timeout(STEP_S / len(reachable)):
                    return await _connection(address, target)
        async with asyncio.timeout(STEP_S / len(reachable)):
            return await _connection(last, target)

    async def _trust(self) -> ssl.SSLContext:
        if self._trusted is None:
            # The system's own certificates, which anybody may read: those of a package may no
            # longer be readable. They take a megabyte, so only where something is sent.
            self._trusted = await asyncio.to_thread(ssl.create_default_context)
        return self._trusted


async def _connection(address: IPAddress, target: Target) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    place: tuple[str, int] | tuple[str, int, int, int] = (str(address), target.port)
    try:
        if target.zone:
            place = (str(address), target.port, 0, _interface(target.zone))
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, place)
    except BaseException:
        connection.close()
        raise
    return connection


def _interface(zone: str) -> int:
    return int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)


def _head(target: Target, size: int, headers: Mapping[str, str]) -> bytes:
    """Write the head of a request, of texts that hold no line ends."""
    lines = {
        "Host": target.authority,
        "User-Agent": "netsonde",
        "Accept": "*/*",
        "Connection": "close",
        "Content-Length": str(size),
        **headers,
    }
    if target.user:
        given = base64.b64encode(unquote_to_bytes(target.user)).decode()
        lines["Authorization"] = f"Basic {given}"
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {target.path} HTTP/1.1\r\n{text}\r\n".encode("latin-1")


async def _status(reader: asyncio.StreamReader) -> int:
    for _ in range(MAX_REPLIES):
        first = await reader.readline()
        found = _STATUS.match(first)
        if found is None:
            raise ProtocolError("the reply is not HTTP" if first else "the connection was closed")
        left = MAX_HEAD_BYTES - len(first)
        while (line := await reader.readline()).strip():
            left -= len(line)
            if left < 0:
                raise ProtocolError(f"the reply's head is over {MAX_HEAD_BYTES} bytes")
        if int(found[1]) >= 200:
            return int(found[1])
    raise ProtocolError(f"there are over {MAX_REPLIES} replies to one request")
