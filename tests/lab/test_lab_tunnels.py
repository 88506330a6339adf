"""Of a packet in a tunnel and its carrier one is counted, the one asked for, at every hook."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from asking import HOOKS
from features import HOOK_NEEDS, needs

from netsonde.kernel.hooks import HOOKS as LOADERS
from netsonde.kernel.path import Encapsulated
from netsonde.lab import namespace
from netsonde.sketch import _abi
from netsonde.sketch.tick import Reader

HERE, THERE = (f"netsonde-tunnel-{os.getpid()}-{side}" for side in ("a", "b"))
SECRET = [secrets.randbits(64) for _ in range(8)]
LG_BUCKETS = 6
PINGS, PLAIN_PINGS = 10, 3
IPV6_MULTICAST = 0xFF
ICMP, UDP, IPV4_IN_IP, IPV6_IN_IP, GRE, ICMPV6 = 1, 17, 4, 41, 47, 58


@dataclass(frozen=True)
class Tunnel:
    """A kind of tunnel between the two hosts."""

    make: str
    """Arguments of `ip link add`; {here} and {there} are the ends' addresses."""
    carrier: int
    """Protocol of the packets that carry others."""
    overhead_bytes: int
    """What a carrier has more than the IP packet it carries."""
    inner: int = ICMP
    """Protocol of a ping through it."""


_ENDS = "local {here} remote {there}"
_ENDS6 = "local {here6} remote {there6}"
TUNNELS = {
    "vxlan": Tunnel(f"vxlan id 7 dstport 4789 dev eth0 {_ENDS}", UDP, 20 + 8 + 8 + 14),
    "geneve": Tunnel("geneve id 7 remote {there}", UDP, 20 + 8 + 8 + 14),
    "ipip": Tunnel(f"ipip {_ENDS}", IPV4_IN_IP, 20),
    "sit": Tunnel(f"sit {_ENDS}", IPV6_IN_IP, 20, ICMPV6),
    "gre": Tunnel(f"gre {_ENDS}", GRE, 20 + 4),
    "gretap": Tunnel(f"gretap {_ENDS}", GRE, 20 + 4 + 14),
    "ip6tnl": Tunnel(f"ip6tnl mode ipip6 encaplimit none {_ENDS6}", IPV4_IN_IP, 40),
}


def run(name: str, command: str) -> None:
    """Run a shell command in a namespace, to its end."""
    with namespace.inside(name):
        done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def hosts() -> Iterator[None]:
    """Two hosts and a link, quiet: neighbours are known, nobody is announced."""
    try:
        for name in (HERE, THERE):
            subprocess.run(["ip", "netns", "add", name], check=True)
            with namespace.inside(name):
                for scope in ("all", "default"):
                    settings = Path("/proc/sys/net/ipv6/conf", scope)
                    (settings / "addr_gen_mode").write_text("1")
                    (settings / "accept_dad").write_text("0")
        run(HERE, f"ip link add eth0 type veth peer name eth0 netns {THERE}")
        for name, number, other in ((HERE, 1, 2), (THERE, 2, 1)):
            run(name, f"ip link set eth0 address 02:00:00:00:00:0{number} up; ip link set lo up")
            run(name, f"ip address add 192.0.2.{number}/24 dev eth0")
            run(name, f"ip address add 2001:db8::{number}/64 dev eth0")
            for far in (f"192.0.2.{other}", f"2001:db8::{other}"):
                run(name, f"ip neighbour add {far} dev eth0 lladdr 02:00:00:00:00:0{other}")
        yield
    finally:
        for name in (HERE, THERE):
            subprocess.run(["ip", "netns", "delete", name], check=False)


@pytest.fixture(params=[pytest.param(kind, marks=needs(kind)) for kind in TUNNELS])
def tunnel(request: pytest.FixtureRequest, hosts: None) -> Iterator[Tunnel]:
    """A tunnel between the hosts."""
    made = TUNNELS[request.param]
    try:
        for name, number, other in ((HERE, 1, 2), (THERE, 2, 1)):
            ends = {"here": f"192.0.2.{number}", "there": f"192.0.2.{other}"}
            ends |= {"here6": f"2001:db8::{number}", "there6": f"2001:db8::{other}"}
            run(name, f"ip link add tunnel type {made.make.format(**ends)}")
            # A device with IPv6 would announce its multicast groups, in packets that nobody sent.
            with_ipv6 = made.inner == ICMPV6
            run(name, f"echo {1 - with_ipv6} > /proc/sys/net/ipv6/conf/tunnel/disable_ipv6")
            address = f"fd07::{number}/64" if with_ipv6 else f"10.7.0.{number}/24"
            run(name, f"ip link set tunnel up; ip address add {address} dev tunnel")
        for name, other in ((HERE, THERE), (THERE, HERE)):
            _introduce(name, other)
        yield made
    finally:
        for name in (HERE, THERE):
            run(name, "ip link delete tunnel || true")


def _introduce(name: str, other: str) -> None:
    """Tell a host its neighbour in the tunnel, where the tunnel carries Ethernet."""
    with namespace.inside(other):
        far = subprocess.run(
            ["ip", "-o", "link", "show", "tunnel"], check=True, capture_output=True, text=True
        ).stdout
    if "link/ether" in far:
        hardware = far.split("link/ether ")[1].split()[0]
        number = 2 if other == THERE else 1
        run(name, f"ip neighbour add 10.7.0.{number} dev tunnel lladdr {hardware}")


@contextmanager
def counting(hook: str, encapsulated: Encapsulated) -> Iterator[Counter[tuple[int, int]]]:
    """Count in the first host; at its end gives packets and bytes by direction and protocol."""
    counts: Counter[tuple[int, int]] = Counter()
    with namespace.inside(HERE):
        path = LOADERS[hook](hash_key=SECRET, lg_buckets=LG_BUCKETS, encapsulated=encapsulated)
    with path:
        with namespace.inside(HERE):
            path.attach()
        reader = Reader(
            path.hot,
            path.cold,
            path.slices,
            lg_buckets=LG_BUCKETS,
            cpus=path.cpus,
            hash_key=SECRET,
        )
        yield counts
        tick = reader.read(path.flip(), 0)
    for record in np.frombuffer(tick.records, _abi.RECORD):
        if record["key"]["dst"][0] == IPV6_MULTICAST:
            continue  # the kernel announces groups when it likes
        place = int(record["key"]["direction"]), int(record["key"]["proto"])
        counts[place] += int(record["packets"])
        counts[place[0], -place[1]] += int(record["bytes"])


@pytest.mark.parametrize(
    "hook",
    [
        pytest.param(hook, marks=[needs(wanted[0], minimum=wanted[1])] if wanted else [])
        for hook, wanted in HOOK_NEEDS.items()
        if hook in HOOKS
    ],
)
@pytest.mark.parametrize("encapsulated", Encapsulated)
def test_one_of_a_packet_and_its_carrier(
    tunnel: Tunnel, hook: str, encapsulated: Encapsulated
) -> None:
    target, plain = (
        ("fd07::2", "192.0.2.2") if tunnel.inner == ICMPV6 else ("10.7.0.2", "2001:db8::2")
    )
    with counting(hook, encapsulated) as counts:
        run(HERE, f"ping -n -q -c {PINGS} -i 0.01 {target}")
        run(HERE, f"ping -n -q -c {PLAIN_PINGS} -i 0.01 {plain}")
    inner_bytes = PINGS * (84 if tunnel.inner == ICMP else 104)
    outer_bytes = inner_bytes + PINGS * tunnel.overhead_bytes
    direct = ICMP if tunnel.inner == ICMPV6 else ICMPV6
    for direction in (_abi.IN, _abi.OUT):
        assert counts[direction, direct] == PLAIN_PINGS
        seen = {proto: counts[direction, proto] for proto in (tunnel.carrier, tunnel.inner)}
        sizes = {proto: counts[direction, -proto] for proto in (tunnel.carrier, tunnel.inner)}
        if encapsulated is Encapsulated.OUTER:
            assert seen == {tunnel.carrier: PINGS, tunnel.inner: 0}
            assert sizes[tunnel.carrier] == outer_bytes
        else:
            assert seen == {tunnel.carrier: 0, tunnel.inner: PINGS}
            assert sizes[tunnel.inner] == inner_bytes
