"""Who is in the lab and who is above whom: pure functions of depth and fan-out.

Two trees over the same hosts. The *network* is a tree of bridges `s1`.. numbered level by level,
with `fanout` hosts on each of its lowest bridges. The *overlay* groups the hosts by the bridge
they share: the first host of a group speaks for the group. h1 is the manager and stays outside,
so h2 takes its place at the root.
"""

from __future__ import annotations

from dataclasses import dataclass

from netsonde.lab.errors import LabError, OptionError

SWITCH_NAMESPACE = "netsonde-net"
"""Namespace that holds every bridge."""

MAX_HOSTS = 254
"""As many as 10.0.0.0/24 has addresses."""


ROOT_URL = "http://10.0.0.2:8000"
"""Where the manager asks: h2, the root of the overlay."""


@dataclass(frozen=True, slots=True)
class Host:
    """One emulated machine; `number` counts from 1."""

    number: int

    @property
    def name(self) -> str:
        """What people type: `h5`."""
        return f"h{self.number}"

    @property
    def namespace(self) -> str:
        """Its network namespace, as `ip netns` lists it."""
        return f"netsonde-h{self.number}"

    @property
    def address(self) -> str:
        """Its IPv4 address, of a /24."""
        return f"10.0.0.{self.number}"

    @property
    def address6(self) -> str:
        """Its IPv6 address, of a /64; the number is written in hexadecimal."""
        return f"fd00::{self.number:x}"


@dataclass(frozen=True, slots=True)
class Topology:
    """A lab of `fanout ** depth` hosts; raises OptionError for a shape it cannot have."""

    depth: int = 2
    fanout: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= 7:
            raise OptionError("--depth", self.depth, "1 to 7")
        if self.fanout < 2 or self.fanout**self.depth > MAX_HOSTS:
            allowed = f"2 or more, with at most {MAX_HOSTS} hosts (fanout to the power of depth)"
            raise OptionError("--fanout", self.fanout, allowed)

    @property
    def hosts(self) -> tuple[Host, ...]:
        """Every host, h1 first."""
        return tuple(Host(number) for number in range(1, self.fanout**self.depth + 1))

    @property
    def monitored(self) -> tuple[Host, ...]:
        """Hosts that run a monitor and an agent: all but the manager."""
        return self.hosts[1:]

    def host(self, name: str) -> Host:
        """Find a host by its name; raises LabError with the names there are."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(f"there is no host '{name}'; hosts are h1 to {self.hosts[-1].name}")

    def bridges(self) -> dict[str, str | None]:
        """Give every bridge and the bridge above it, topmost first."""
        count = (self.fanout**self.depth - 1) // (self.fanout - 1)
        return {
            f"s{index + 1}": f"s{(index - 1) // self.fanout + 1}" if index else None
            for index in range(count)
        }

    def bridge_of(self, host: Host) -> str:
        """Name the bridge that a host is plugged into."""
        first = (self.fanout ** (self.depth - 1) - 1) // (self.fanout - 1)
        return f"s{first + (host.number - 1) // self.fanout + 1}"


def overlay_parent(topology: Topology, host: Host) -> str:
    """Give the setting `parent` of a host's agent: its parent's address, `none` for the root."""
    for parent, children in overlay_tree(topology.depth, topology.fanout).items():
        if host.name in children:
            return topology.host(parent).address
    return "none"


def overlay_tree(depth: int, fanout: int) -> dict[str, list[str]]:
    """Give each parent of the overlay its children, root first, both in order of number.

    Written in base `fanout`, a host's number less one is its path down the tree of bridges; its
    parent is the host whose path ends where the last step that is not 0 was taken.
    """
    children: dict[str, list[str]] = {}
    for host in Topology(depth, fanout).hosts[2:]:
        path = host.number - 1
        step = 1
        while path % (step * fanout) == 0:
            step *= fanout
        parent = max(2, path - path % (step * fanout) + 1)
        children.setdefault(f"h{parent}", []).append(host.name)
    return dict(sorted(children.items(), key=lambda item: int(item[0][1:])))
