"""Contexts that interrupt each other on one CPU lose, double and misfile nothing.

Pinned senders in process context share each CPU; receive steering (RPS) hands their packets to the
other CPU by interrupt, so LOCAL_IN, and LOCAL_OUT of ICMP errors and TCP resets in answer to them,
come in the middle of LOCAL_OUT. The table is so small that nearly every packet replaces a flow.
Truth is what the senders sent, and the namespace's own IP counters (RFC 4293).
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from features import needs
from pyroute2 import IPRoute, netns

from netsonde.kernel import _abi
from netsonde.kernel.netfilter import NetfilterPath
from netsonde.lab import namespace
from netsonde.model.key import KeyType
from netsonde.model.task import Counter, Filter, Increment, Interface, Question, Task
from netsonde.sketch.tick import Reader, Tick
from netsonde.sketch.window import Window

pytestmark = needs("netfilter_link", minimum=(6, 4))

SECRET = [secrets.randbits(64) for _ in range(8)]
LG_BUCKETS = 3
HERE = f"netsonde-test-{os.getpid()}-reentrancy"
SENDERS = ("udp", "tcp", "tcp", "udp")
"""Of each CPU."""
PORTS = 250
PACKETS = 20_000
FIVE_TUPLE = KeyType.parse("src_dst_sport_dport_proto")


@pytest.fixture
def network() -> Iterator[None]:
    """A namespace with loopback alone, whose packets are received on any CPU."""
    netns.create(HERE)
    try:
        with namespace.inside(HERE), IPRoute() as links:
            links.link("set", index=links.link_lookup(ifname="lo")[0], state="up")
            cpus = sum(1 << cpu for cpu in os.sched_getaffinity(0))
            steer = f"echo {cpus:x} > /sys/class/net/lo/queues/rx-0/rps_cpus"
            mounted = f"mount -t sysfs sysfs /sys && {steer}"
            subprocess.run(["unshare", "--mount", "sh", "-c", mounted], check=True)
        yield
    finally:
        netns.remove(HERE)


def ip_counters() -> dict[str, int]:
    """Read the current namespace's IP counters."""
    found: dict[str, int] = {}
    for name in ("snmp", "netstat"):
        lines = Path("/proc/thread-self/net", name).read_text().splitlines()
        for titles, values in zip(lines[::2], lines[1::2], strict=True):
            group, *columns = titles.split()
            pairs = zip(columns, values.split()[1:], strict=True)
            found |= {group + column: int(value) for column, value in pairs}
    return found


def senders() -> list[subprocess.Popen[bytes]]:
    """Start the senders of every CPU, each with ports of its own."""
    program, started = str(Path(__file__).with_name("sender.py")), []
    for cpu in sorted(os.sched_getaffinity(0)):
        for proto in SENDERS:
            numbers = (cpu, 2000 + len(started), 20000 + PORTS * len(started), PORTS, PACKETS)
            arguments = [sys.executable, program, proto, *map(str, numbers)]
            started.append(subprocess.Popen(arguments))
    return started


def await_quiet() -> None:
    """Wait until the last packet under way was received: no counter moves for 200 ms."""
    quiet_s, before = time.monotonic(), ip_counters()
    while time.monotonic() - quiet_s < 0.2:
        now = ip_counters()
        if now != before:
            quiet_s, before = time.monotonic(), now
        time.sleep(0.01)


def counted(path: NetfilterPath, windows: list[Window]) -> list[Tick]:
    """Count the senders' packets over as many ticks as they take."""
    reader = Reader(
        path.hot, path.cold, path.slices, lg_buckets=LG_BUCKETS, cpus=path.cpus, hash_key=SECRET
    )
    ticks: list[Tick] = []

    def close_tick() -> None:
        ticks.append(reader.read(path.flip(), len(ticks)))
        for window in windows:
            window.absorb(ticks[-1])

    running = senders()
    try:
        while any(sender.poll() is None for sender in running):
            close_tick()
        assert [sender.wait() for sender in running] == [0] * len(running)
    finally:
        for sender in running:
            sender.kill()
            sender.wait()
    await_quiet()
    close_tick()
    return ticks


def assert_flows(window: Window, counter: Counter) -> None:
    """Each flow's truth is in its bounds."""
    for sender, proto in enumerate(SENDERS * len(os.sched_getaffinity(0))):
        number = {"udp": 17, "tcp": 6}[proto]
        for port in range(0, PORTS, 7):
            ip_bytes = 28 + port % 3 * 400 if proto == "udp" else 40
            truth = PACKETS // PORTS
            if counter.increment is Increment.BYTES:
                truth *= ip_bytes
            text = f"127.0.0.1,127.0.0.1,{2000 + sender},{20000 + PORTS * sender + port},{number}"
            key = FIVE_TUPLE.parse_key(text)
            ask = Question(series="sketch", task_id=0, key_type=FIVE_TUPLE.name, key=key)
            bound = window.summary(ask, counter).count(key)
            assert bound.lower <= truth <= bound.upper, text


def window(interface: Interface, increment: Increment) -> Window:
    counter = Counter(key_type=FIVE_TUPLE.name, increment=increment)
    asked = Filter(interface=interface)
    return Window(Task(series="sketch", id=0, filter=asked, counters=(counter,), since_tick=0))


def test_interrupted_counting_is_exact_and_bounded(
    network: None, record_property: Callable[[str, object], None]
) -> None:
    windows = {
        (side, increment): window(side, increment)
        for side in (Interface.INPUT, Interface.OUTPUT)
        for increment in Increment
    }
    with (
        namespace.inside(HERE),
        NetfilterPath(hash_key=SECRET, lg_buckets=LG_BUCKETS) as path,
    ):
        path.attach()
        ticks = counted(path, list(windows.values()))
        true = ip_counters()
        slices = np.frombuffer(path.slices, _abi.SLICE)
        assert not slices["busy"].any()
        contended = int(slices["contended_packets"].sum())
        del slices
    outbound, inbound = ([tick.sides[side] for tick in ticks] for side in (_abi.OUT, _abi.IN))
    assert sum(side.packets for side in outbound) == true["Ip:OutRequests"]
    assert sum(side.ip_bytes for side in outbound) == true["IpExt:OutOctets"]
    assert sum(side.packets for side in inbound) == true["Ip:InReceives"]
    assert sum(side.ip_bytes for side in inbound) == true["IpExt:InOctets"]
    sides = outbound + inbound
    assert sum(side.contended_packets for side in sides) == contended
    sent = PACKETS * len(SENDERS) * len(os.sched_getaffinity(0))
    assert true["Ip:OutRequests"] >= sent
    assert sum(side.inserts for side in sides) > sent / 2
    # A backlog that overflows is the network's loss: which flows it hit nobody knows.
    all_received = true["Ip:InReceives"] == true["Ip:OutRequests"]
    for (side, increment), counts in windows.items():
        if side is Interface.OUTPUT or all_received:
            assert_flows(counts, Counter(key_type=FIVE_TUPLE.name, increment=increment))
    record_property("contended_packets", contended)
