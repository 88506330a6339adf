"""Echo tests between two probers: real sockets, and a path that loses what it is told to."""

import asyncio
import contextlib
import socket

import pytest
from probers import DST, SHORT, SRC, STRANGER, ask, pair, run

from netsonde.agent.probing import Prober
from netsonde.model.errors import (
    Unavailable,
)
from netsonde.probe import stamp
from netsonde.wire import peer


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
