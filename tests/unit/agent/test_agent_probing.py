"""Who may run a probe, for how long, and what every kind of probe leaves behind."""

import asyncio
import socket

import pytest
from probers import DST, SRC, STRANGER, Pair, ask, pair, run, until

from netsonde.agent import probing
from netsonde.agent.probing import Prober
from netsonde.agent.probing_limits import Limits
from netsonde.model.errors import (
    BadField,
    Busy,
    NetsondeError,
    NotFound,
    ProbeFailed,
    TooLarge,
    Unavailable,
)
from netsonde.wire import peer


def bindable(kind: socket.SocketKind, port: int) -> bool:
    """Whether nothing is bound to a port of dst, by binding it."""
    with socket.socket(socket.AF_INET, kind) as again:
        try:
            again.bind((DST, port))
        except OSError:
            return False
        return True


def test_a_control_connection_that_hangs_ends_with_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probing, "_MARGIN_S", 0.0)

    async def hang(_: peer.Message) -> peer.Message:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def test() -> None:
        async with pair(Limits(max_ms=50)) as p:
            for kind in ("throughput", "echo"):
                with pytest.raises(
                    ProbeFailed, match=f"the {kind} test .* did not end in its time"
                ):
                    await p.near.measure(kind, DST, hang)

    run(test())


def test_one_throughput_test_at_a_time_at_either_end() -> None:
    async def test() -> None:
        async with pair() as p:
            opened = await p.far.open(ask("throughput"), STRANGER)
            with pytest.raises(Busy, match=r"127\.0\.0\.2 is in a throughput test; try again"):
                await p.near.measure("throughput", DST, p.call)
            with pytest.raises(Busy, match="throughput"):
                await p.far.measure("throughput", SRC, p.call)
            assert p.far.statistics().refused == {"busy": 2}
            await p.far.close(peer.ProbeClose(id=0, port=opened.port), STRANGER)
            await p.near.measure("throughput", DST, p.call)

    run(test())


def test_echo_tests_run_together_up_to_the_limit() -> None:
    async def test() -> None:
        async with pair(Limits(max_ms=100, max_echo_tests=4)) as p:
            async with asyncio.TaskGroup() as tasks:
                ends = [Pair(near=p.near, far=p.far) for _ in range(2)]
                running = [tasks.create_task(p.near.measure("echo", DST, e.call)) for e in ends]
                await asyncio.gather(*(e.opened.wait() for e in ends))
                # A source has half of the places, and all together have all.
                with pytest.raises(Busy, match=rf"is in 2 echo tests of {SRC}"):
                    await p.near.measure("echo", DST, p.call)
                for _ in range(2):
                    await p.far.open(ask("echo", 100, 5600), STRANGER)
                with pytest.raises(Busy, match="is in 4 echo tests; try again"):
                    await p.far.open(ask("echo", 100, 5600), "127.0.0.4")
            assert [task.result().returned for task in running] == [10, 10]

    run(test())


@pytest.mark.parametrize(
    ("request_", "kind", "says"),
    [
        (ask("throughput", max_ms=3001), TooLarge, r"'max_ms' is 3001; allowed: 1 to 3000"),
        (
            ask("throughput", max_bytes=250_000_001),
            TooLarge,
            r"'max_bytes' is 250000001; .* 250000000",
        ),
        (ask("throughput", max_ms=0), BadField, r"'max_ms' is 0; allowed: 1 to"),
        (ask("throughput", max_bytes=-1), BadField, r"'max_bytes' is -1; allowed: 56 to"),
        (ask("echo", max_bytes=168_001), TooLarge, r"'max_bytes' is 168001; allowed: 56 to 168000"),
        (ask("echo", max_ms=-5), BadField, r"'max_ms' is -5"),
    ],
)
def test_a_request_over_the_limits_is_refused_and_opens_nothing(
    request_: peer.ProbeOpen, kind: type[NetsondeError], says: str
) -> None:
    async def test() -> None:
        async with pair() as p:
            with pytest.raises(kind, match=says):
                await p.far.open(request_, SRC)
            assert p.far.statistics().refused == {"over limits": 1}
            assert p.far.statistics().opened == {}

    run(test())


def test_dsts_limits_bind_src_too() -> None:
    async def test() -> None:
        async with pair(far=Limits(max_bytes=1_000_000)) as p:
            with pytest.raises(TooLarge, match=r"1000000 at 127\.0\.0\.2"):
                await p.near.measure("throughput", DST, p.call)

    run(test())


def test_only_the_one_who_opened_a_receiver_may_close_it() -> None:
    async def test() -> None:
        async with pair() as p:
            opened = await p.far.open(ask("echo"), SRC)
            request = peer.ProbeClose(id=0, port=opened.port)
            with pytest.raises(NotFound, match=rf"{STRANGER} is open on port {opened.port}"):
                await p.far.close(request, STRANGER)
            assert (await p.far.close(request, SRC)).received == 0
            with pytest.raises(NotFound):
                await p.far.close(request, SRC)

    run(test())


async def reopened(far: Prober, request: peer.ProbeOpen) -> peer.ProbeOpened:
    """Open a receiver as soon as the host is free for it."""
    while True:
        try:
            return await far.open(request, SRC)
        except Busy:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("kind", ["throughput", "echo"])
def test_a_receiver_that_nobody_uses_closes_by_itself(
    kind: probing.Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "GRACE_MS", 0)
    protocol = socket.SOCK_STREAM if kind == "throughput" else socket.SOCK_DGRAM

    async def test() -> None:
        async with pair() as p:
            opened = await p.far.open(ask(kind, max_ms=1000), SRC)
            assert not bindable(protocol, opened.port)
            await until(lambda: bindable(protocol, opened.port))
            assert (await reopened(p.far, ask(kind, max_ms=1000))).port > 0

    run(test())


@pytest.mark.parametrize("kind", ["throughput", "echo"])
def test_leaving_closes_every_receiver(kind: probing.Kind) -> None:
    protocol = socket.SOCK_STREAM if kind == "throughput" else socket.SOCK_DGRAM

    async def test() -> None:
        async with pair() as p:
            opened = await p.far.open(ask(kind), SRC)
        assert bindable(protocol, opened.port)

    run(test())


def test_an_address_that_is_not_this_hosts_is_a_sentence() -> None:
    async def test() -> None:
        async with Prober(address="192.0.2.1", limits=Limits()) as prober:
            for kind in ("throughput", "echo"):
                with pytest.raises(Unavailable, match=r"at 192\.0\.2\.1: "):
                    await prober.open(ask(kind), SRC)

    run(test())


@pytest.mark.parametrize("kind", ["throughput", "echo"])
def test_a_dst_that_answers_nonsense_is_a_failed_probe(kind: probing.Kind) -> None:
    async def nonsense(_: peer.Message) -> peer.Message:
        return peer.ProbeOpened(id=0, port=1, cookie=b"short")

    async def test() -> None:
        async with pair() as p:
            with pytest.raises(ProbeFailed, match="port is 1"):
                await p.near.measure(kind, DST, nonsense)
            with pytest.raises(BadField, match="'dst'"):
                await p.near.measure(kind, "224.0.0.1", nonsense)

    run(test())
