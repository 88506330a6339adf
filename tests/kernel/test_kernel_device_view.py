"""A view of one device counts what the device's own counters count, forwarded packets too."""

from __future__ import annotations

import os
import secrets
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from features import HOOK_NEEDS, missing
from packets import Flow, packet
from pyroute2 import IPRoute, config, netns

from netsonde.kernel.devices import device_named, is_there
from netsonde.kernel.hooks import DEVICE_HOOKS, HOOKS, open_device, open_path
from netsonde.kernel.path import CountingPath
from netsonde.lab import namespace
from netsonde.model.errors import BadField, UnsupportedByKernel
from netsonde.sketch import _abi
from netsonde.sketch.tick import Reader

LG_BUCKETS = 6
NEAR, ROUTER, FAR = (f"netsonde-test-{os.getpid()}-{who}" for who in ("near", "router", "far"))
WORKING = [
    hook for hook in DEVICE_HOOKS if (wanted := HOOK_NEEDS[hook]) is None or not missing(wanted[0])
]
PATIENCE_S = 30
TRANSFER_BYTES = 20_000_000


@pytest.fixture
def network() -> Iterator[None]:
    """A host, a router that views its `eth0`, and a host behind it."""
    config.default_communicate_timeout = 30
    try:
        for name in (NEAR, ROUTER, FAR):
            netns.create(name)
            run(name, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1")  # it speaks unasked
        with namespace.inside(ROUTER), IPRoute() as links:
            for device, there in (("eth0", NEAR), ("eth1", FAR)):
                peer = {"ifname": "eth0", "net_ns_fd": there}
                links.link("add", ifname=device, kind="veth", peer=peer)
        run(ROUTER, "sysctl -qw net.ipv4.ip_forward=1")
        run(ROUTER, "ip addr add 10.9.1.1/24 dev eth0; ip addr add 10.9.2.1/24 dev eth1")
        run(ROUTER, "ip link set lo up; ip link set eth0 up; ip link set eth1 up")
        for name, net in ((NEAR, 1), (FAR, 2)):
            run(name, f"ip addr add 10.9.{net}.2/24 dev eth0; ip link set eth0 up")
            run(name, f"ip route add default via 10.9.{net}.1; ping -qc1 -W5 10.9.{net}.1")
        yield
    finally:
        for name in set(netns.listnetns()) & {NEAR, ROUTER, FAR}:
            netns.remove(name)


def run(where: str, command: str) -> str:
    with namespace.inside(where):
        done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def device_counters() -> np.ndarray:
    """Packets and bytes that the kernel counted at the router's `eth0`, in and out."""
    with namespace.inside(ROUTER), IPRoute() as links:
        (link,) = links.get_links(ifname="eth0")
        told = link.get_attr("IFLA_STATS64")
    names = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes")
    return np.array([told[name] for name in names], np.int64)


def tcp_segments(where: str) -> int:
    """Segments that a host sent (RFC 4022; OutSegs leaves retransmissions out)."""
    lines = run(where, "grep ^Tcp: /proc/thread-self/net/snmp").splitlines()
    names, values = (line.split()[1:] for line in lines)
    told = dict(zip(names, map(int, values), strict=True))
    return told["OutSegs"] + told["RetransSegs"]


@dataclass
class Counting:
    """A path and what it has counted so far."""

    path: CountingPath
    sides: np.ndarray = field(default_factory=lambda: np.zeros(4, np.int64))
    """Packets and IP bytes, in and out."""
    not_ip: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))
    """Frames of something else, in and out."""
    records: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        path = self.path
        self.reader = Reader(
            path.hot,
            path.cold,
            path.slices,
            lg_buckets=LG_BUCKETS,
            cpus=path.cpus,
            hash_key=path.hash_key,
        )

    def read(self) -> None:
        tick = self.reader.read(self.path.flip(), 0)
        sides = [tick.sides[side] for side in (_abi.IN, _abi.OUT)]
        self.sides += [n for side in sides for n in (side.packets, side.ip_bytes)]
        self.not_ip += [side.drops["not_ip"] for side in sides]
        assert sum(sum(side.drops.values()) for side in sides) == sum(
            side.drops["not_ip"] for side in sides
        )
        self.records.append(np.frombuffer(tick.records, _abi.RECORD))

    def frames(self) -> np.ndarray:
        """What the device's counters must say: frames and their bytes, in and out."""
        # An Ethernet header before each packet; all else here is ARP, 28 bytes in such a frame.
        packets, ip_bytes = self.sides[::2], self.sides[1::2]
        frame_bytes = ip_bytes + 14 * packets + 42 * self.not_ip
        return np.stack([packets + self.not_ip, frame_bytes], axis=1).ravel()


@contextmanager
def viewing(hook: str) -> Iterator[Counting]:
    with namespace.inside(ROUTER):
        device = device_named("eth0")
        secret = [secrets.randbits(64) for _ in range(8)]
        path = open_device(hook, device, hash_key=secret, lg_buckets=LG_BUCKETS)
    try:
        yield Counting(path)
    finally:
        with namespace.inside(ROUTER):
            path.close()


def uncounted(counting: Counting) -> np.ndarray:
    """What the device had counted before the view began.

    Hosts ask for addresses when they like, so it is read until it is the same twice.
    """
    last = None
    while True:
        counting.read()
        now = device_counters() - counting.frames()
        if last is not None and (now == last).all():
            return now
        last = now


def caught_up(counting: Counting, before: np.ndarray) -> None:
    """Read until both are the same; the last packets may be under way."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        counting.read()
        wanted = device_counters() - before
        if (counting.frames() == wanted).all():
            return
        assert time.monotonic() < deadline, (counting.frames(), wanted)


@pytest.mark.parametrize("hook", WORKING)
def test_a_view_counts_what_the_device_does(network: None, hook: str) -> None:
    del network
    with viewing(hook) as counting:
        before = uncounted(counting)
        run(NEAR, "ping -qc 20 -i 0.002 10.9.2.2")  # through the router
        run(NEAR, "ping -qc 7 -i 0.002 -s 100 10.9.1.1")  # to it
        run(ROUTER, "ping -qc 5 -i 0.002 10.9.1.2; ping -qc 3 -i 0.002 10.9.2.2")
        caught_up(counting, before)
        assert counting.path.hook == hook
        # The last three never passed eth0.
        assert tuple(counting.sides[::2]) >= (32, 32)


@pytest.mark.parametrize("hook", WORKING)
def test_what_is_for_others_counts_where_the_device_takes_it(network: None, hook: str) -> None:
    del network
    run(ROUTER, "ip link set eth0 promisc on")
    frame = b"\x02\0\0\0\0\x99" + b"\x02\0\0\0\0\x98" + b"\x08\x00"
    frame += packet(Flow("9.9.9.9", "9.9.9.8", 1000, 53, 17), 20)
    with viewing(hook) as counting:
        before = uncounted(counting)
        with namespace.inside(NEAR), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("eth0", 0))
            for _ in range(11):
                sender.send(frame)
        caught_up(counting, before)
        assert tuple(counting.sides[:2]) == (11, 11 * (len(frame) - 14))


@pytest.mark.parametrize("own", [hook for hook in WORKING if hook != "afpacket"])
def test_a_view_stands_beside_the_hosts_own_hook(network: None, own: str) -> None:
    del network
    with namespace.inside(ROUTER):
        opened = open_path(own, hash_key=list(range(8)), lg_buckets=LG_BUCKETS)
    with opened.claim, namespace.inside(ROUTER), opened.path, viewing(own) as counting:
        before, host = uncounted(counting), Counting(opened.path)
        run(NEAR, "ping -qc 20 -i 0.002 10.9.2.2")
        run(NEAR, "ping -qc 7 -i 0.002 10.9.1.1")
        caught_up(counting, before)
        host.read()
        echoes = [(r["key"]["proto"] == 1) * r["packets"] for r in host.records]
        assert sum(map(np.sum, echoes)) == 14  # in and out; what is forwarded is not the host's
    with namespace.inside(ROUTER):
        again = open_path(own, hash_key=list(range(8)), lg_buckets=LG_BUCKETS)
        with again.claim, again.path:
            assert again.stale_filters == 0  # both took their own away


@pytest.mark.parametrize("hook", WORKING)
def test_segments_are_counted_not_super_packets(network: None, hook: str) -> None:
    del network
    with namespace.inside(FAR):
        server = socket.create_server(("10.9.2.2", 5201))
    with server, viewing(hook) as counting:
        before = tcp_segments(NEAR), tcp_segments(FAR)
        with namespace.inside(NEAR):
            sender = socket.socket()
        sender.connect(("10.9.2.2", 5201))
        taker, _ = server.accept()
        sending = threading.Thread(target=sender.sendall, args=(bytes(TRANSFER_BYTES),))
        sending.start()
        left = TRANSFER_BYTES
        while left:
            left -= len(taker.recv(1 << 20))
            counting.read()
        sending.join()
        for end in (sender, taker):
            end.close()
        deadline = time.monotonic() + PATIENCE_S
        while True:
            counting.read()
            wanted = tcp_segments(NEAR) - before[0], tcp_segments(FAR) - before[1]
            tcp = np.concatenate([r[r["key"]["proto"] == 6] for r in counting.records])
            found = tuple(
                int(tcp["packets"][tcp["key"]["direction"] == side].sum())
                for side in (_abi.IN, _abi.OUT)
            )
            if found == wanted:
                break
            assert time.monotonic() < deadline, (found, wanted)
        assert wanted[0] > TRANSFER_BYTES // 65536


@pytest.mark.parametrize("hook", WORKING)
def test_a_device_that_goes_is_told_and_costs_nothing(network: None, hook: str) -> None:
    del network
    with namespace.inside(ROUTER):
        device = device_named("eth0")
        assert is_there(device)
    with viewing(hook) as counting:
        run(ROUTER, "ip link set eth0 down; ip link set eth0 up")
        before = uncounted(counting)
        run(NEAR, "ping -qc 20 -i 0.002 10.9.1.1")
        caught_up(counting, before)  # down and up again, it counts on
        run(ROUTER, "ip link del eth0")
        with namespace.inside(ROUTER):
            assert not is_there(device)
        counting.read()
        begun_s = time.process_time()
        select.select([], [], [], 0.5)
        assert time.process_time() - begun_s < 0.25
        counting.read()
        assert counting.sides[0] >= 20


def test_what_cannot_be_viewed_is_said(network: None) -> None:
    del network
    with namespace.inside(ROUTER):
        with pytest.raises(BadField, match=r"devices.*'eth7'.*eth0, eth1, lo"):
            device_named("eth7")
        loopback = device_named("lo")
        assert loopback.ethernet
        run(ROUTER, "ip link del eth1")
        gone = device_named("eth0")
        run(ROUTER, "ip link del eth0")
        with pytest.raises(UnsupportedByKernel, match="device eth0 cannot be viewed here"):
            open_device("auto", gone, hash_key=list(range(8)), lg_buckets=LG_BUCKETS)
    assert set(DEVICE_HOOKS) < set(HOOKS)
