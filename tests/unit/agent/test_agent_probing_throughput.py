"""TCP transfers between two probers: real sockets and threads."""

import asyncio
import contextlib
import re
import socket
from collections.abc import Iterator

import pytest
from probers import DST, SRC, STRANGER, ask, pair, run

from netsonde.agent import probing_throughput
from netsonde.agent.probing_limits import Limits
from netsonde.model.errors import (
    ProbeFailed,
)
from netsonde.wire import peer


def test_throughput_is_plausible_and_agrees_with_what_dst_counted() -> None:
    async def test() -> None:
        async with pair(Limits(max_bytes=100_000_000)) as p:
            result = await p.near.measure("throughput", DST, p.call)
            (counted,) = [n for n in result.notes if " bytes in " in n]
            sent_bytes, elapsed_ms = map(int, re.findall(r"\d+", counted))
            assert 0 < sent_bytes <= p.received <= 100_000_000
            average_per_s = sent_bytes * 1000 / max(1, elapsed_ms)
            assert result.throughput_bytes_per_s is not None
            assert 0.3 * average_per_s < result.throughput_bytes_per_s < 5 * average_per_s
            assert p.near.statistics().measured == {"throughput": 1}
            assert p.far.statistics().opened == {"throughput": 1}

    run(test())


def test_the_byte_cap_is_never_passed_at_either_end() -> None:
    async def test() -> None:
        async with pair(Limits(max_bytes=1_000_000)) as p:
            result = await p.near.measure("throughput", DST, p.call)
            assert p.received == 1_000_000
            assert result.converged is False
            assert any(note.startswith("1000000 bytes in ") for note in result.notes)
            assert any("byte cap" in note for note in result.notes)

    run(test())


def test_a_receiver_stops_at_its_own_byte_cap_whatever_is_sent() -> None:
    async def test() -> None:
        async with pair() as p:
            opened = await p.far.open(ask("throughput", max_bytes=4096), SRC)
            _, writer = await asyncio.open_connection(DST, opened.port, local_addr=(SRC, 0))
            writer.write(opened.cookie + bytes(1_000_000))
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            closed = await p.far.close(peer.ProbeClose(id=6, port=opened.port), SRC)
            assert closed == peer.ProbeClosed(id=6, received=4096)
            writer.transport.abort()

    run(test())


@contextlib.contextmanager
def listener() -> Iterator[socket.socket]:
    with socket.create_server((DST, 0)) as server:
        server.setblocking(False)
        yield server


def test_a_receiver_that_dies_stops_the_sender_at_once() -> None:
    async def test() -> None:
        with listener() as dying:

            async def die() -> None:
                connection, _ = await asyncio.get_running_loop().sock_accept(dying)
                with connection:
                    await asyncio.get_running_loop().sock_recv(connection, 65536)

            async with pair() as p, asyncio.TaskGroup() as tasks:
                tasks.create_task(die())
                port = dying.getsockname()[1]
                p.detour = lambda _: asyncio.sleep(0, port)
                began_s = asyncio.get_running_loop().time()
                with pytest.raises(ProbeFailed, match=r"127\.0\.0\.2 closed the test connection"):
                    await p.near.measure("throughput", DST, p.call)
                assert asyncio.get_running_loop().time() - began_s < 1

    run(test())


def test_a_receiver_that_falls_silent_stops_the_sender_after_300_ms() -> None:
    async def test() -> None:
        with listener() as silent:
            async with pair() as p:
                port = silent.getsockname()[1]
                p.detour = lambda _: asyncio.sleep(0, port)
                began_s = asyncio.get_running_loop().time()
                with pytest.raises(ProbeFailed, match="acknowledged nothing for 300 ms"):
                    await p.near.measure("throughput", DST, p.call)
                assert 0.3 <= asyncio.get_running_loop().time() - began_s < 1.5

    run(test())


def test_no_receiver_at_all_is_a_sentence() -> None:
    async def test() -> None:
        with listener() as closed:
            port = closed.getsockname()[1]
        async with pair() as p:
            p.detour = lambda _: asyncio.sleep(0, port)
            with pytest.raises(ProbeFailed, match=f"receiver at {DST} port {port}"):
                await p.near.measure("throughput", DST, p.call)

    run(test())


def test_a_cancelled_test_leaves_the_host_free_for_the_next() -> None:
    async def test() -> None:
        async with pair() as p:
            task = asyncio.create_task(p.near.measure("throughput", DST, p.call))
            await p.opened.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await p.near.measure("throughput", DST, p.call)

    run(test())


async def try_to_send(source: str, port: int, cookie: bytes) -> bytes:
    """Send a cookie and give what comes back; a reset at any step is nothing."""
    try:
        reader, writer = await asyncio.open_connection(DST, port, local_addr=(source, 0))
        with contextlib.closing(writer.transport):
            writer.write(cookie)
            writer.write_eof()
            return await reader.read()
    except OSError:
        return b""


def test_strangers_to_a_throughput_receiver_are_dropped_and_counted() -> None:
    async def test() -> None:
        async with pair() as p:
            opened = await p.far.open(ask("throughput"), SRC)
            for source, cookie in ((STRANGER, opened.cookie), (SRC, bytes(8)), (SRC, b"short")):
                assert await try_to_send(source, opened.port, cookie) == b""
            _, writer = await asyncio.open_connection(DST, opened.port, local_addr=(SRC, 0))
            writer.write(opened.cookie + bytes(1000))
            writer.close()
            closed = await p.far.close(peer.ProbeClose(id=0, port=opened.port), SRC)
            assert closed.received == 1000
            assert p.far.statistics().dropped == {"wrong source": 1, "wrong cookie": 2}

    run(test())


def test_a_sender_that_falls_silent_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing_throughput, "_SILENT_NS", 1_000_000)

    async def test() -> None:
        async with pair(Limits(max_ms=60_000)) as p:
            opened = await p.far.open(ask("throughput", max_ms=60_000), SRC)
            reader, writer = await asyncio.open_connection(DST, opened.port, local_addr=(SRC, 0))
            writer.write(opened.cookie + bytes(100))
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            closed = await p.far.close(peer.ProbeClose(id=6, port=opened.port), SRC)
            assert closed == peer.ProbeClosed(id=6, received=100)
            writer.transport.abort()

    run(test())
