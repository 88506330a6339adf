"""Connections of the HTTP interface: as the kernel has them, and what may come on them."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import pytest
from fleet import Fleet, with_fleet

from netsonde.agent.http import accept, protocol
from netsonde.agent.http.app import GREETING

REQUEST = b"GET %s HTTP/1.1\r\nHost: 127.0.0.2\r\n%s\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: 127.0.0.2\r\nTransfer-Encoding: chunked\r\n\r\n"


@with_fleet
async def test_answers_leave_at_once_and_wait_for_nobody_for_ever(fleet: Fleet) -> None:
    """With Nagle's algorithm on, a body would wait 40 ms for the acknowledgement of its head."""
    (agent,) = await fleet.start(2)
    await agent.client.get("/")
    assert options((agent.address, fleet.http_port)) == {(True, accept.UNTAKEN_S * 1000)}


def options(place: tuple[str, int]) -> set[tuple[bool, int]]:
    """Whether this process's connections from a place send at once, and their patience in ms."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            connection = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue  # is no socket
        with connection:
            listens = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if connection.getsockname() == place and not listens:
                at_once = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
                patience_ms = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                found.add((at_once, patience_ms))
    return found


@with_fleet
async def test_head_and_body_come_in_one_piece(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    reader, writer = await asyncio.open_connection(agent.address, fleet.http_port)
    for path in (b"/", b"/nowhere"):
        writer.write(REQUEST % (path, b""))
        head, _, body = (await reader.read(4096)).partition(b"\r\n\r\n")
        assert b"content-length: %d" % len(body) in head
        assert body
    writer.close()


@with_fleet
async def test_requests_sent_at_once_are_answered_in_order(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    reader, writer = await asyncio.open_connection(agent.address, fleet.http_port)
    writer.write(b"".join(REQUEST % (path, b"") for path in (b"/nowhere", b"/", b"/v1/nowhere")))
    for status, kind in ((404, b"text/plain"), (200, b"text/plain"), (404, b"application/problem")):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d" % status)
        assert b"content-type: " + kind in head
        size = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(size.split()[1]))
    writer.close()


@with_fleet
async def test_who_would_rather_speak_another_protocol_is_answered_in_this(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    reader, writer = await asyncio.open_connection(agent.address, fleet.http_port)
    for _ in range(2):
        writer.write(REQUEST % (b"/", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"))
        await reader.readuntil(GREETING.encode() + b"\n")
    writer.close()


@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: ", id="header"),
        pytest.param(b"GET /", id="path"),
        pytest.param(b"GET / HTTP/1.1\r\n", id="headers"),
        pytest.param(CHUNKED + b"3;", id="chunk extension"),
        pytest.param(CHUNKED + b"3\r\na=b\r\n0\r\nTrailer: ", id="trailer"),
        pytest.param(CHUNKED + b"3\r\na=b\r\n0\r\n", id="trailers"),
    ],
)
def test_what_is_around_a_body_is_bounded(begin: bytes, tmp_path: Path) -> None:
    filling = b"x" * 1000 if begin[-1:] != b"\n" else b"a: b\r\n" * 200

    async def story(fleet: Fleet) -> None:
        (agent,) = await fleet.start(2)
        reader, writer = await asyncio.open_connection(agent.address, fleet.http_port)
        sent = len(begin)
        writer.write(begin)
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof() and sent < 100 * protocol.MAX_FRAMING_BYTES:
                writer.write(filling)
                await writer.drain()
                sent += len(filling)
        assert reader.at_eof() or sent < 100 * protocol.MAX_FRAMING_BYTES
        assert (await agent.client.get("/")).status_code == 200
        writer.transport.abort()

    with_fleet(story)(tmp_path)  # type: ignore[arg-type]
