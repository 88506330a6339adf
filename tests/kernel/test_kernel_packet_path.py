"""The packet ring counts what the kernel's own hook counts, and the sender's TCP."""

from __future__ import annotations

import ctypes
import os
import secrets
import socket
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from features import needs
from pyroute2 import IPRoute, config, netns

from netsonde.daemon import rights
from netsonde.kernel.netfilter import NetfilterPath
from netsonde.kernel.packet_path import PacketPath
from netsonde.kernel.path import CountingPath
from netsonde.lab import namespace
from netsonde.model.errors import UnsupportedByKernel
from netsonde.sketch import _abi
from netsonde.sketch.tick import Reader

SECRET = [secrets.randbits(64) for _ in range(8)]
LG_BUCKETS = 9
UDP_SEGMENT = 103
CAP_NET_RAW = 13
PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
HERE, THERE = (f"netsonde-test-{os.getpid()}-{side}" for side in ("a", "b"))
ADDRESS = {HERE: "10.9.0.1", THERE: "10.9.0.2"}
ADDRESS6 = {HERE: "fd09::1", THERE: "fd09::2"}
TRANSFER_BYTES = 100_000_000


@pytest.fixture
def network() -> Iterator[None]:
    """Two quiet hosts and a link; the first one's end is the port of a bridge with the address."""
    config.default_communicate_timeout = 30  # a busy machine needs more than 1 s for a process
    try:
        for name in (HERE, THERE):
            netns.create(name)
            with namespace.inside(name):
                for scope in ("all", "default"):
                    settings = Path("/proc/sys/net/ipv6/conf", scope)
                    (settings / "addr_gen_mode").write_text("1")
                    (settings / "accept_dad").write_text("0")
        with namespace.inside(HERE), IPRoute() as links:
            links.link(
                "add", ifname="port", kind="veth", peer={"ifname": "eth0", "net_ns_fd": THERE}
            )
            links.link("add", ifname="eth0", kind="bridge")
            bridge = links.link_lookup(ifname="eth0")[0]
            port = links.link_lookup(ifname="port")[0]
            links.link("set", index=port, master=bridge, state="up")
        for name in (HERE, THERE):
            with namespace.inside(name), IPRoute() as links:
                device = links.link_lookup(ifname="eth0")[0]
                links.addr("add", index=device, address=ADDRESS[name], prefixlen=24)
                links.addr("add", index=device, address=ADDRESS6[name], prefixlen=64)
                links.link("set", index=device, state="up")
                links.link("set", index=links.link_lookup(ifname="lo")[0], state="up")
        yield
    finally:
        for name in set(netns.listnetns()) & {HERE, THERE}:
            netns.remove(name)


@dataclass
class Counting:
    """A path and what it has counted."""

    path: CountingPath

    def __post_init__(self) -> None:
        path = self.path
        self._reader = Reader(
            path.hot,
            path.cold,
            path.slices,
            lg_buckets=LG_BUCKETS,
            cpus=path.cpus,
            hash_key=SECRET,
        )
        self.flows: dict[tuple[object, ...], Counter[str]] = {}
        self.drops: Counter[str] = Counter()
        self.hidden_packets = 0

    def close_tick(self) -> None:
        """Flip, read, add up."""
        tick = self._reader.read(self.path.flip(), 0)
        for side in tick.sides:
            self.drops.update(side.drops)
            self.hidden_packets += side.hidden_packets
        for record in np.frombuffer(tick.records, _abi.RECORD):
            key = tuple(field.tobytes() for field in record["key"])
            counts = {"packets": int(record["packets"]), "bytes": int(record["bytes"])}
            self.flows.setdefault(key, Counter()).update(counts)

    def spoken(self) -> dict[tuple[object, ...], Counter[str]]:
        """TCP and UDP: multicast listeners are announced, and resolved, when the kernel likes."""
        kind = _abi.KEY.names.index("proto")
        return {key: counts for key, counts in self.flows.items() if key[kind] in (b"\6", b"\x11")}

    def packets(self, direction: int, proto: int) -> int:
        """Packets of one protocol and direction."""
        names = _abi.KEY.names
        place, kind = names.index("direction"), names.index("proto")
        return sum(
            counts["packets"]
            for key, counts in self.flows.items()
            if key[place] == bytes([direction]) and key[kind] == bytes([proto])
        )


def transfer(source: str, target: str, address: str, count_bytes: int) -> None:
    """Send bytes over TCP from one namespace to an address in another, to the last FIN."""
    with namespace.inside(target):
        server = socket.create_server(
            (address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET
        )
    with namespace.inside(source):
        client = socket.socket(server.family)
    received = 0

    def receive() -> None:
        nonlocal received
        connection, _ = server.accept()
        with connection:
            while chunk := connection.recv(1 << 20):
                received += len(chunk)

    receiver = threading.Thread(target=receive)
    receiver.start()
    with client, server:
        client.connect(server.getsockname()[:2])
        left = count_bytes
        while left:
            left -= client.send(bytes(min(left, 1 << 16)))
        client.shutdown(socket.SHUT_WR)
        receiver.join()
    assert received == count_bytes


def datagrams(source: str, target: str) -> None:
    """Send datagrams, some as super-packets that the kernel segments, some in fragments."""
    with namespace.inside(target):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind((ADDRESS[target], 0))
    with namespace.inside(source):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender, receiver:
        sender.connect(receiver.getsockname())
        for size in (0, 1, 1472):
            sender.send(bytes(size))
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        sender.send(bytes(40_100))  # 41 packets


def tcp_segments(name: str) -> int:
    """Give TcpOutSegs + TcpRetransSegs of a namespace (RFC 4022)."""
    with namespace.inside(name):
        lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("Tcp:"))
    counters = dict(zip(names, map(int, values), strict=True))
    return counters["OutSegs"] + counters["RetransSegs"]


@pytest.fixture
def packet_path(network: None) -> Iterator[Counting]:
    with namespace.inside(HERE):
        path = PacketPath(hash_key=SECRET, lg_buckets=LG_BUCKETS)
    with path:
        with namespace.inside(HERE):
            path.attach()
        yield Counting(path)


@needs("netfilter_link", minimum=(6, 4))
def test_counts_equal_netfilters_flow_by_flow(packet_path: Counting) -> None:
    with namespace.inside(HERE):
        netfilter = NetfilterPath(hash_key=SECRET, lg_buckets=LG_BUCKETS)
        netfilter.attach()
    with netfilter:
        counting = Counting(netfilter)
        packet_path.close_tick()  # from here on it reads
        transfer(HERE, THERE, ADDRESS[THERE], 10_000_000)
        transfer(THERE, HERE, ADDRESS6[HERE], 10_000_000)
        transfer(HERE, HERE, "127.0.0.53", 1_000_000)
        transfer(HERE, HERE, ADDRESS[HERE], 1_000_000)
        datagrams(HERE, THERE)
        datagrams(THERE, HERE)
        packet_path.close_tick()
        counting.close_tick()
    assert packet_path.spoken() == counting.spoken()
    assert len(packet_path.spoken()) > 10
    assert packet_path.hidden_packets == counting.hidden_packets == 0
    assert packet_path.drops["not_ip"] > 0  # ARP
    assert packet_path.drops.total() == packet_path.drops["not_ip"]


def test_a_transfer_is_counted_to_the_last_segment_over_many_flips(packet_path: Counting) -> None:
    before = [tcp_segments(name) for name in (HERE, THERE)]
    sender = threading.Thread(target=transfer, args=(HERE, THERE, ADDRESS[THERE], TRANSFER_BYTES))
    sender.start()
    while sender.is_alive():
        packet_path.close_tick()
    packet_path.close_tick()
    sent, answered = (
        tcp_segments(name) - count for name, count in zip((HERE, THERE), before, strict=True)
    )
    assert packet_path.drops["ring_full"] == 0
    assert packet_path.packets(_abi.OUT, 6) == sent
    assert packet_path.packets(_abi.IN, 6) == answered


def test_needs_no_more_than_one_capability(network: None) -> None:
    child = os.fork()
    if child == 0:
        try:
            count_as_nobody()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def count_as_nobody() -> None:
    namespace.enter(HERE)
    rights.confine()
    rights.give_up(rights.account("user", rights.AUTO, rights.MONITOR), {CAP_NET_RAW})
    with PacketPath(hash_key=SECRET, lg_buckets=LG_BUCKETS) as path:
        path.attach()
        counting = Counting(path)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(7):
                sender.sendto(b"", ("127.0.0.1", 9))
        counting.close_tick()
        assert counting.packets(_abi.OUT, 17) == counting.packets(_abi.IN, 17) == 7


def test_says_what_it_needs(network: None) -> None:
    child = os.fork()
    if child == 0:
        rights.confine()
        rights.give_up(rights.account("user", rights.AUTO, rights.MONITOR))
        try:
            PacketPath(hash_key=SECRET, lg_buckets=LG_BUCKETS)
        except UnsupportedByKernel as error:
            os._exit(0 if "CAP_NET_RAW" in str(error) else 1)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_reader_late_by_less_than_a_second_loses_nothing(packet_path: Counting) -> None:
    """Blocks go by time, full or not: enough of them must be there for a trickle of packets."""
    sent, end_s = 0, time.monotonic() + 0.7
    with namespace.inside(HERE):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        while time.monotonic() < end_s:
            sender.sendto(b"", ("127.0.0.1", 9))
            sent += 1
            time.sleep(0.002)
    packet_path.close_tick()
    assert packet_path.drops["ring_full"] == 0
    assert packet_path.packets(_abi.OUT, 17) == packet_path.packets(_abi.IN, 17) == sent


@contextmanager
def held(thread: int) -> Iterator[None]:
    """Let a thread of this process get no CPU, by ptrace(2) from another process."""
    libc = ctypes.CDLL(None, use_errno=True)
    stopped, tell = os.pipe()
    wait, release = os.pipe()
    tracer = os.fork()
    if tracer == 0:
        os.close(release)
        done = [libc.ptrace(what, thread, None, None) for what in (PTRACE_SEIZE, PTRACE_INTERRUPT)]
        os.waitpid(thread, WALL)
        os.write(tell, bytes(abs(result) for result in done))
        os.read(wait, 1)
        os._exit(0)  # which lets the thread go
    for end in (tell, wait):
        os.close(end)
    try:
        assert os.read(stopped, 2) == b"\0\0"
        yield
    finally:
        os.close(release)
        os.waitpid(tracer, 0)
        os.close(stopped)


def test_a_flip_waits_for_a_reader_that_gets_no_cpu(packet_path: Counting) -> None:
    """For longer than the second after which a flip no longer waits for more frames to come."""
    packet_path.close_tick()
    reader = next(thread for thread in threading.enumerate() if thread.name == "ring")
    flip = threading.Thread(target=packet_path.close_tick)
    with namespace.inside(HERE):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender, held(reader.native_id):
        for _ in range(7):
            sender.sendto(b"", ("127.0.0.1", 9))
        flip.start()
        flip.join(1.5)
        assert flip.is_alive()
    flip.join()
    assert packet_path.packets(_abi.OUT, 17) == packet_path.packets(_abi.IN, 17) == 7
    assert packet_path.drops["ring_full"] == 0


def test_what_comes_too_late_is_a_named_drop(packet_path: Counting) -> None:
    """Nobody reads before the first flip: the ring holds some 26,000 headers, the rest is named."""
    sent = 60_000
    with namespace.inside(HERE):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        sender.connect(("127.0.0.1", 9))
        for _ in range(sent):
            with suppress(ConnectionRefusedError):  # nobody listens there, says ICMP
                sender.send(b"")
    packet_path.close_tick()
    packet_path.close_tick()
    counted = sum(flow["packets"] for flow in packet_path.flows.values())
    assert packet_path.drops["ring_full"] > 0
    # Every datagram sent and received, and ICMP errors as rate limits allow.
    assert counted + packet_path.drops["ring_full"] >= 2 * sent
    packet_path.flows.clear()
    packet_path.drops.clear()
    transfer(HERE, HERE, "127.0.0.1", 1_000_000)
    packet_path.close_tick()
    assert packet_path.drops["ring_full"] == 0
    assert packet_path.packets(_abi.IN, 6) == packet_path.packets(_abi.OUT, 6) > 0
