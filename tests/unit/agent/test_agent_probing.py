"""Two probers in one process over loopback: real sockets and threads, a path the test controls."""

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
import pytest

from netsonde.agent import probing
from netsonde.agent.probing import Limits, Prober
from netsonde.model.errors import (
    BadField,
    Busy,
    NetsondeError,
    NotFound,
    ProbeFailed,
    TooLarge,
    Unavailable,
)
from netsonde.probe import stamp
from netsonde.wire import peer

SRC, DST, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.3"
SHORT = Limits(max_ms=200)
"""An echo test of 20 probes."""
T = TypeVar("T")


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("probe"):
            thread.join(timeout=5)
            assert not thread.is_alive()


def run(test: Coroutine[object, object, T]) -> T:
    async def in_time() -> T:
        async with asyncio.timeout(20):
            return await test

    return asyncio.run(in_time())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@dataclass
class Pair:
    """A prober at each end and the control connection between them."""

    near: Prober
    far: Prober
    replies: list[peer.Message] = field(default_factory=list)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    detour: Callable[[int], Awaitable[int]] | None = None
    """Gives the port src is told instead of the receiver's own."""
    true_port: int = 0

    async def call(self, request: peer.Message) -> peer.Message:
        if isinstance(request, peer.ProbeOpen):
            opened = await self.far.open(request, SRC)
            self.true_port = opened.port
            if self.detour is not None:
                opened = msgspec.structs.replace(opened, port=await self.detour(opened.port))
            self.opened.set()
            reply: peer.Message = opened
        else:
            reply = await self.far.close(peer.ProbeClose(id=0, port=self.true_port), SRC)
        self.replies.append(reply)
        return reply

    @property
    def received(self) -> int:
        """What dst said at the end."""
        closed = self.replies[-1]
        assert isinstance(closed, peer.ProbeClosed)
        return closed.received


@contextlib.asynccontextmanager
async def pair(limits: Limits | None = None, far: Limits | None = None) -> AsyncIterator[Pair]:
    near_limits = limits or Limits()
    async with (
        Prober(address=SRC, limits=near_limits) as near_prober,
        Prober(address=DST, limits=far or near_limits) as far_prober,
    ):
        yield Pair(near=near_prober, far=far_prober)


def ask(kind: probing.Kind, max_ms: int = 1000, max_bytes: int = 100_000) -> peer.ProbeOpen:
    return peer.ProbeOpen(id=5, kind=kind, max_ms=max_ms, max_bytes=max_bytes)


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


def test_an_echo_over_a_clean_path_returns_every_probe() -> None:
    async def test() -> None:
        async with pair() as p:
            result = await p.near.measure("echo", DST, p.call)
            assert (result.sent, result.received, result.returned) == (100, 100, 100)
            assert result.delay_ms is not None
            assert 0 < result.delay_ms < 1000
            assert result.jitter_ms is not None
            assert result.jitter_ms >= 0
            assert not any("lack a kernel timestamp" in note for note in result.notes)

    run(test())


class Relay:
    """Stands on the path: forwards probes and replies except the sequence numbers it was told."""

    def __init__(self, lose_forth: set[int], lose_back: set[int]) -> None:
        self._lose = lose_forth, lose_back
        self._towards_src = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._towards_dst = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._towards_src.bind((DST, 0))
        self._towards_dst.bind((SRC, 0))

    async def detour(self, port: int) -> int:
        self._towards_dst.connect((DST, port))
        loop = asyncio.get_running_loop()
        loop.add_reader(self._towards_src, self._forth)
        loop.add_reader(self._towards_dst, self._back)
        return int(self._towards_src.getsockname()[1])

    def _forth(self) -> None:
        packet, self._src = self._towards_src.recvfrom(2048)
        if int.from_bytes(packet[:4], "big") not in self._lose[0]:
            self._towards_dst.send(packet)

    def _back(self) -> None:
        packet = self._towards_dst.recv(2048)
        if stamp.Reply.decode(packet).probe_sequence not in self._lose[1]:
            self._towards_src.sendto(packet, self._src)

    def close(self) -> None:
        for end in (self._towards_src, self._towards_dst):
            asyncio.get_running_loop().remove_reader(end)
            end.close()


def test_loss_is_exact_and_told_apart_by_direction() -> None:
    async def test() -> None:
        async with pair(SHORT) as p:
            relay = Relay(lose_forth={0, 7, 19}, lose_back={3, 7})
            p.detour = relay.detour
            with contextlib.closing(relay):
                result = await p.near.measure("echo", DST, p.call)
            assert (result.sent, result.received, result.returned) == (20, 17, 16)
            assert result.delay_ms is not None

    run(test())


def test_when_nothing_comes_back_times_are_unknown_and_not_zero() -> None:
    async def test() -> None:
        async with pair(SHORT) as p:
            relay = Relay(lose_forth=set(), lose_back=set(range(20)))
            p.detour = relay.detour
            with contextlib.closing(relay):
                result = await p.near.measure("echo", DST, p.call)
            assert (result.sent, result.received, result.returned) == (20, 20, 0)
            assert (result.delay_ms, result.jitter_ms) == (None, None)

    run(test())


def test_a_reflector_that_closed_loses_every_probe_and_says_so() -> None:
    async def call(request: peer.Message) -> peer.Message:
        if isinstance(request, peer.ProbeOpen):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
                gone.bind((DST, 0))
                return peer.ProbeOpened(id=0, port=gone.getsockname()[1], cookie=bytes(8))
        raise Unavailable("the connection to 127.0.0.2 is lost")

    async def test() -> None:
        async with Prober(address=SRC, limits=SHORT) as near:
            result = await near.measure("echo", DST, call)
            assert (result.received, result.returned, result.delay_ms) == (None, 0, None)
            assert "dst did not say how many probes it received" in result.notes

    run(test())


def test_strangers_to_a_reflector_get_no_answer_and_are_counted() -> None:
    async def test() -> None:
        async with pair() as p:
            opened = await p.far.open(ask("echo", max_bytes=2 * stamp.PACKET_BYTES), SRC)

            def packet(sequence: int, cookie: bytes) -> bytes:
                return stamp.Probe(
                    sequence=sequence, sent_wall_ns=0, error_estimate=1, cookie=cookie
                ).encode()

            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as stranger,
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as src,
            ):
                stranger.bind((STRANGER, 0))
                src.bind((SRC, 0))
                stranger.sendto(packet(0, opened.cookie), (DST, opened.port))
                src.sendto(packet(0, bytes(8)), (DST, opened.port))
                src.sendto(b"?", (DST, opened.port))
                src.sendto(packet(2, opened.cookie), (DST, opened.port))
                src.sendto(packet(1, opened.cookie), (DST, opened.port))
                answer = await asyncio.get_running_loop().sock_recv(src, 2048)
                assert len(answer) == stamp.PACKET_BYTES
                assert stamp.Reply.decode(answer).probe_sequence == 1
                for end in (stranger, src):
                    with pytest.raises(BlockingIOError):
                        end.recv(2048)
            dropped = {"wrong source": 1, "wrong cookie": 1, "malformed": 1, "over budget": 1}
            assert p.far.statistics().dropped == dropped
            closed = await p.far.close(peer.ProbeClose(id=0, port=opened.port), SRC)
            assert closed.received == 1
            assert p.far.statistics().dropped == dropped

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
        async with pair(Limits(max_ms=100, max_echo_tests=2)) as p:
            async with asyncio.TaskGroup() as tasks:
                ends = [Pair(near=p.near, far=p.far) for _ in range(2)]
                running = [tasks.create_task(p.near.measure("echo", DST, e.call)) for e in ends]
                await asyncio.gather(*(e.opened.wait() for e in ends))
                with pytest.raises(Busy, match="is in 2 echo tests"):
                    await p.near.measure("echo", DST, p.call)
                with pytest.raises(Busy, match="is in 2 echo tests"):
                    await p.far.open(ask("echo", 100, 5600), STRANGER)
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


def refused(kind: socket.SocketKind, port: int) -> bool:
    """Whether nothing is bound to a port of dst, by binding it."""
    with socket.socket(socket.AF_INET, kind) as again:
        try:
            again.bind((DST, port))
        except OSError:
            return False
        return True


@pytest.mark.parametrize("kind", ["throughput", "echo"])
def test_a_receiver_that_nobody_uses_closes_by_itself(
    kind: probing.Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "GRACE_MS", 0)
    protocol = socket.SOCK_STREAM if kind == "throughput" else socket.SOCK_DGRAM

    async def test() -> None:
        async with pair() as p:
            opened = await p.far.open(ask(kind, max_ms=30), SRC)
            assert not refused(protocol, opened.port)
            await until(lambda: refused(protocol, opened.port))
            with pytest.raises(NotFound):
                await p.far.close(peer.ProbeClose(id=0, port=opened.port), SRC)
            again = await p.far.open(ask(kind, max_ms=30), SRC)
            assert again.port > 0

    run(test())


@pytest.mark.parametrize("kind", ["throughput", "echo"])
def test_leaving_closes_every_receiver(kind: probing.Kind) -> None:
    protocol = socket.SOCK_STREAM if kind == "throughput" else socket.SOCK_DGRAM

    async def test() -> None:
        async with pair() as p:
            opened = await p.far.open(ask(kind), SRC)
        assert refused(protocol, opened.port)

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
            with pytest.raises(ProbeFailed, match="ProbeOpened"):
                await p.near.measure(kind, DST, nonsense)
            with pytest.raises(BadField, match="'dst'"):
                await p.near.measure(kind, "224.0.0.1", nonsense)

    run(test())
