"""Kernel timestamps on loopback sockets of both families."""

import asyncio
import contextlib
import time

import pytest

from netsonde.agent.kernel_stamps import WARM_UP_S, Datagram, StampedSocket


async def readable(open_socket: StampedSocket) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(open_socket.fileno(), ready.set)
    try:
        async with asyncio.timeout(5):
            await ready.wait()
    finally:
        loop.remove_reader(open_socket.fileno())


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_packet_is_stamped_by_the_kernel_when_it_leaves_and_when_it_arrives(address: str) -> None:
    async def test() -> tuple[list[tuple[int, int]], list[Datagram], int]:
        with StampedSocket(address, departures=True) as near, StampedSocket(address) as far:
            near.connect(address, far.port)
            await asyncio.sleep(WARM_UP_S)
            before_wall_ns = time.time_ns()
            near.send(b"one")
            near.send(b"two")
            await readable(far)
            arrivals = list(far.arrivals())
            far.send_to(b"back", arrivals[0].source)
            await readable(near)
            departures = list(near.departures())
            assert [d.payload for d in near.arrivals()] == [b"back"]
            assert arrivals[0].source == (address, near.port)
            return departures, arrivals, before_wall_ns

    departures, arrivals, before_wall_ns = asyncio.run(test())
    assert [number for number, _ in departures] == [0, 1]
    assert [d.payload for d in arrivals] == [b"one", b"two"]
    for (_, left_wall_ns), arrived in zip(departures, arrivals, strict=True):
        assert arrived.stamped
        assert arrived.ttl == 64
        assert before_wall_ns <= left_wall_ns <= arrived.arrived_wall_ns <= time.time_ns()


def test_a_closed_far_end_does_not_stop_the_reader() -> None:
    async def test() -> None:
        with StampedSocket("127.0.0.1") as near:
            with StampedSocket("127.0.0.1") as gone:
                port = gone.port
            near.connect("127.0.0.1", port)
            near.send(b"lost")
            await readable(near)
            assert list(near.arrivals()) == []
            near.send(b"lost too")

    asyncio.run(test())


def test_an_address_of_another_host_is_refused_and_leaves_nothing_open() -> None:
    with contextlib.ExitStack() as stack, pytest.raises(OSError, match="assign"):
        stack.enter_context(StampedSocket("192.0.2.1"))
