"""Receivers and who leaves them unused: strangers that ask and do not measure."""

import asyncio
import contextlib
import socket

import pytest
from probers import DST, SRC, STRANGER, ask, pair, run, until

from netsonde.agent import probing_receivers
from netsonde.agent.probing_limits import Limits
from netsonde.model.errors import Busy, NetsondeError, NotFound
from netsonde.wire import peer


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is unused is so at once."""
    monkeypatch.setattr(probing_receivers, "UNUSED_S", 0.05)


@pytest.mark.usefixtures("prompt")
def test_a_stranger_who_only_opens_receivers_keeps_nobody_from_measuring() -> None:
    """He was let to hold the only place: of 59 real tests 58 were refused."""

    async def test() -> None:
        async with pair(Limits(max_bytes=1_000_000)) as p:
            opened = refused = 0

            async def hold() -> None:
                nonlocal opened, refused
                while True:
                    try:
                        await p.far.open(ask("throughput", 3000, 1_000_000), STRANGER)
                        opened += 1
                    except Busy as error:
                        refused += error.retry_after_s <= probing_receivers.PAUSE_S
                    await asyncio.sleep(0.001)

            holding = asyncio.create_task(hold())
            await until(lambda: opened == 1)
            with pytest.raises(Busy, match="is in a throughput test"):
                await p.near.measure("throughput", DST, p.call)
            await until(lambda: p.far.statistics().refused.get("unused before", 0) > 0)
            for _ in range(10):
                result = await p.near.measure("throughput", DST, p.call)
                assert result.throughput_bytes_per_s
            assert not holding.done()
            holding.cancel()
            assert opened == 1
            assert refused > 10

    run(test())


async def trickle(port: int, cookie: bytes) -> None:
    """Connect as one should, and carry a byte now and then."""
    _, writer = await asyncio.open_connection(DST, port, local_addr=(STRANGER, 0))
    with contextlib.suppress(ConnectionError):
        writer.write(cookie)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)


def test_one_who_hardly_uses_a_receiver_costs_nothing_and_waits() -> None:
    async def test() -> None:
        async with pair(Limits(max_bytes=1_000_000, max_ms=300)) as p:
            before = p.far.statistics().left
            request = ask("throughput", 200, 1_000_000)
            opened = await p.far.open(request, STRANGER)
            using = asyncio.create_task(trickle(opened.port, opened.cookie))
            await until(lambda: p.far.statistics().refused.get("busy", 0) == 0)
            closed = None
            while closed is None:  # until the receiver has ended by itself
                with contextlib.suppress(Busy):
                    await p.near.measure("throughput", DST, p.call)
                    closed = True
                await asyncio.sleep(0.01)
            using.cancel()
            with pytest.raises(Busy, match=f"opened receivers for {STRANGER} that it did not use"):
                await p.far.open(request, STRANGER)
            after = p.far.statistics().left
            assert before.busy_ns - after.busy_ns < 200_000_000  # that of the real test alone

    run(test())


@pytest.mark.usefixtures("prompt")
def test_who_closes_what_it_did_not_use_may_come_again_once() -> None:
    """A test that its asker gave up is no attack; many in a row are."""

    async def test() -> None:
        async with pair() as p:
            for _ in range(2):
                opened = await p.far.open(ask("throughput"), SRC)
                await p.far.close(peer.ProbeClose(id=0, port=opened.port), SRC)
            with pytest.raises(Busy, match="did not use") as refused:
                await p.far.open(ask("throughput"), SRC)
            assert 1 <= refused.value.retry_after_s <= probing_receivers.PAUSE_S
            await p.far.open(ask("throughput"), STRANGER)

    run(test())


@pytest.mark.usefixtures("prompt")
def test_a_path_that_loses_everything_is_measured_as_that() -> None:
    """The receiver is given up, but what it saw, nothing, is still said."""

    async def test() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
            hole.bind((DST, 0))
            async with pair(Limits(max_ms=200)) as p:
                p.detour = lambda _: asyncio.sleep(0, hole.getsockname()[1])
                result = await p.near.measure("echo", DST, p.call)
                assert (result.sent, result.received, result.returned) == (20, 0, 0)
                with pytest.raises(NotFound):
                    await p.far.close(peer.ProbeClose(id=0, port=p.true_port), SRC)

    run(test())


@pytest.mark.usefixtures("prompt")
def test_only_src_is_told_what_an_unused_receiver_saw() -> None:
    async def test() -> None:
        async with pair() as p:
            opened = await p.far.open(ask("echo"), SRC)
            request = peer.ProbeClose(id=7, port=opened.port)

            def ended() -> bool:
                return p.far.statistics().left.sent_bytes == before

            before = p.near.statistics().left.sent_bytes
            await until(ended)
            with pytest.raises(NotFound):
                await p.far.close(request, STRANGER)
            assert await p.far.close(request, SRC) == peer.ProbeClosed(id=7, received=0)

    run(test())


def test_so_many_sources_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing_receivers, "MAX_PAUSES", 3)

    async def test() -> None:
        async with pair() as p:
            for number in range(2, 12):
                for _ in range(2):
                    with contextlib.suppress(Busy):
                        opened = await p.far.open(ask("throughput"), f"127.0.1.{number}")
                        request = peer.ProbeClose(id=0, port=opened.port)
                        await p.far.close(request, f"127.0.1.{number}")
            with pytest.raises(NetsondeError, match="did not use"):
                await p.far.open(ask("throughput"), "127.0.1.11")
            await p.far.open(ask("throughput"), "127.0.1.2")  # gave way

    run(test())
