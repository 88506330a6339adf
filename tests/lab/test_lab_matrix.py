"""Every hook on every kernel: exact counts over a plain link, a VLAN, and a link that loses."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from asking import HOOKS
from features import HOOK_NEEDS, needs
from pair import DEVICE, PATIENCE_S, ROADS, Host, counting, linked, patiently, until

from netsonde.lab import namespace

pytestmark = pytest.mark.guest
TRANSFER_BYTES = 4_000_000
LOSS = 0.2
DELAY_MS = 100
SLACK_MS = 100
"""What an emulated machine may add to a round trip."""
_ROADS = [pytest.param(road, marks=[] if road == "plain" else [needs("vlan")]) for road in ROADS]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(hook, marks=[needs(wanted[0], minimum=wanted[1])] if wanted else [])
        for hook, wanted in HOOK_NEEDS.items()
        if hook in HOOKS
    ],
)
def hook(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    with linked() as made:
        yield made


@pytest.fixture(scope="module")
def pair(hosts: tuple[Host, Host], hook: str) -> Iterator[tuple[Host, Host]]:
    """Two hosts that count at a hook."""
    with counting(hosts, hook):
        yield hosts


def growth(
    pair: tuple[Host, Host], proto: str, road: str = "plain"
) -> Callable[[], list[tuple[int, int]]]:
    """Begin to count; asked again, gives what left the first host and what reached the second."""
    src, dst = (host.on(road) for host in pair)

    def counts() -> list[tuple[int, int]]:
        sides = zip(pair, ("OUTPUT", "INPUT"), strict=True)
        return [host.counter(side, proto, src, dst) for host, side in sides]

    before = counts()
    return lambda: [
        (packets - packets_before, ip_bytes - bytes_before)
        for (packets, ip_bytes), (packets_before, bytes_before) in zip(
            counts(), before, strict=True
        )
    ]


@pytest.mark.parametrize("road", _ROADS)
def test_counts_are_exact(pair: tuple[Host, Host], road: str) -> None:
    first, second = pair
    counted = growth(pair, "icmp", road)
    first.run(f"ping -n -q -c 20 -i 0.05 {second.on(road)}")
    assert counted() == [(20, 20 * 84), (20, 20 * 84)]


@pytest.mark.parametrize("road", _ROADS)
def test_a_transfer_is_exact_to_the_segment(pair: tuple[Host, Host], road: str) -> None:
    first, second = pair
    counted = growth(pair, "tcp", road)
    segments = _settled(first)
    _transfer(first, second, road)
    segments = _settled(first) - segments
    left, reached = counted()
    assert left == reached
    assert left[0] == segments
    assert left[1] > TRANSFER_BYTES


@needs("netem")
def test_a_link_that_loses_and_delays(hook: str, pair: tuple[Host, Host]) -> None:
    """Truth is what netem itself says it let through and dropped."""
    first, second = pair

    def loss() -> tuple[object, float]:
        before = first.netem()
        answer = first.ask(type="query loss", src=first.address, dst=second.address)
        after = first.netem()
        passed, dropped = after[0] - before[0], after[1] - before[1]
        return answer, dropped / (passed + dropped)

    # The way back is delayed: kernel time stamps are taken below the sender's own queue, so what
    # waits there is not the network's.
    with _impaired(first, f"loss {LOSS:.0%}"), _impaired(second, f"delay {DELAY_MS}ms"):
        counted = growth(pair, "icmp")
        first.run(f"ping -n -q -c 200 -i 0.02 -W 1 {second.address} || true")
        passed, dropped = first.netem()
        assert passed + dropped == 200
        assert dropped > 0
        left, reached = counted()
        # A packet socket sees what has left the device's queue, where netem drops.
        assert (left[0], reached[0]) == (passed if hook == "afpacket" else 200, passed)
        answer, true_loss = patiently(loss)
        assert answer == pytest.approx(true_loss, abs=1e-6)
        delay_ms = patiently(
            lambda: first.ask(type="query delay", src=first.address, dst=second.address)
        )
        assert DELAY_MS <= delay_ms <= DELAY_MS + SLACK_MS


@contextmanager
def _impaired(host: Host, impairment: str) -> Iterator[None]:
    """Impair what the host sends by ICMP and UDP; TCP, which the questions use, is left alone."""
    host.run(
        f"tc qdisc add dev {DEVICE} root handle 1: prio bands 2 priomap {'0 ' * 16};"
        f"tc qdisc add dev {DEVICE} parent 1:2 netem limit 10000 {impairment};"
    )
    try:
        for protocol in (socket.IPPROTO_ICMP, socket.IPPROTO_UDP):
            host.run(
                f"tc filter add dev {DEVICE} parent 1: protocol ip "
                f"u32 match ip protocol {protocol} 0xff flowid 1:2"
            )
        yield
    finally:
        host.run(f"tc qdisc del dev {DEVICE} root")


def _settled(host: Host) -> int:
    """TCP segments the host has sent, once it sends no more."""
    last = -1

    def quiet() -> bool:
        nonlocal last
        tcp = host.snmp("Tcp")
        now = tcp["OutSegs"] + tcp["RetransSegs"]
        same, last = now == last, now
        return same

    until(quiet, "the host does not fall silent")
    return last


def _transfer(first: Host, second: Host, road: str) -> None:
    """Send bytes over TCP, to the end of both directions."""
    with namespace.inside(second.namespace):
        server = socket.create_server((second.on(road), 9000))
    server.settimeout(PATIENCE_S)

    def receive() -> None:
        connection, _ = server.accept()
        with connection:
            while connection.recv(1 << 16):
                pass

    receiver = threading.Thread(target=receive, daemon=True)
    receiver.start()
    with namespace.inside(first.namespace):
        sender = socket.create_connection((second.on(road), 9000), timeout=PATIENCE_S)
    with server, sender:
        sender.sendall(bytes(TRANSFER_BYTES))
        sender.shutdown(socket.SHUT_WR)
        assert sender.recv(1) == b""
        receiver.join(PATIENCE_S)
