"""Three hosts: a sender and two receivers that are twins, each on a veth pair of its own.

What the network itself says happened is the truth for everybody.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SENDER = "netsonde-bench-s"
_PHASES = {"few": 1, "many": 2, "tcp": 3}
FLOWS = {"few": 64, "many": 50_000}


@dataclass(frozen=True, slots=True)
class Receiver:
    """A receiving host and the sender's device that leads to it."""

    namespace: str
    device: str
    out_device: str
    net: int
    """Second byte of its /15."""

    @property
    def mac(self) -> str:
        """Address of its device."""
        return f"02:00:00:00:00:{self.net:02x}"

    @property
    def addresses(self) -> dict[str, str]:
        """Where each phase of a round is sent, so that reports tell them apart."""
        return {phase: f"10.{self.net}.0.{last}" for phase, last in _PHASES.items()}

    @property
    def sender(self) -> str:
        """The sender's own address on this link."""
        return f"10.{self.net}.1.1"

    @property
    def first_source(self) -> str:
        """Source address of the first flow."""
        return f"10.{self.net + 1}.0.1"


TWINS = (
    Receiver("netsonde-bench-a", "bench-a", "bench-sa", 98),
    Receiver("netsonde-bench-b", "bench-b", "bench-sb", 96),
)


@dataclass(frozen=True, slots=True)
class Burst:
    """Packets of UDP, or bytes of TCP, as fast as they were taken."""

    sent: int
    delivered: int
    """To the receiving program."""
    cpu_ns: float
    """Processor time of the sender: the kernel's on the way to the receiver is in it."""
    wall_ns: float

    @property
    def per_s(self) -> float:
        """Packets or bytes delivered."""
        return self.delivered / self.wall_ns * 1e9


@dataclass(frozen=True, slots=True)
class Pairs:
    """What twins got side by side."""

    bursts: list[tuple[Burst, Burst]]
    """Of the first and of the second, in the order of time, but for a first pair to warm up."""
    arrived: int
    """At the first one's device, all in all."""
    lost: int
    """Of what was sent to the first, what did not reach the receiving program."""


def inside(namespace: str, *command: str) -> list[str]:
    """Give the command line that runs a command in one of the namespaces."""
    return ["nsenter", f"--net=/run/netns/{namespace}", *command]


@contextmanager
def network() -> Iterator[None]:
    """Build the namespaces and their links, offloads as they come."""
    names = (SENDER, *(twin.namespace for twin in TWINS))
    try:
        for name in names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            _sysctl(name, "net.ipv6.conf.all.disable_ipv6=1")
            for scope in ("all", "default"):
                _sysctl(name, f"net.ipv4.conf.{scope}.rp_filter=0")
            _sysctl(name, "net.ipv4.tcp_slow_start_after_idle=0")  # each twin rests in turn
        for receiver in TWINS:
            _link(receiver)
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _link(to: Receiver) -> None:
    ends = ("type", "veth", "peer", "name", to.device, "netns", to.namespace)
    _ip("-n", SENDER, "link", "add", to.out_device, *ends, "address", to.mac)
    _ip("-n", SENDER, "address", "add", f"{to.sender}/15", "dev", to.out_device)
    for address in to.addresses.values():
        _ip("-n", to.namespace, "address", "add", f"{address}/15", "dev", to.device)
    _ip("-n", SENDER, "link", "set", to.out_device, "up")
    _ip("-n", to.namespace, "link", "set", to.device, "up")


def compile_load(into: Path) -> Path:
    """Compile what sends at a rate: `link_load.c`."""
    return _compile("link_load", into)


def compile_twins(into: Path) -> Path:
    """Compile what sends to twins in turn: `link_twins.c`."""
    return _compile("link_twins", into)


def _compile(name: str, into: Path) -> Path:
    made, source = into / name, Path(__file__).parent / f"{name}.c"
    subprocess.run(["cc", "-O2", "-Wall", "-o", str(made), str(source)], check=True)
    return made


def side_by_side(
    program: Path,
    phase: str,
    twins: tuple[Receiver, Receiver],
    *,
    burst_s: float,
    pairs: int,
    held: Sequence[int],
) -> Pairs:
    """Send bursts to the twins in turn, as fast as one core can; `held`: the process groups that
    measure at the first, which stand still while the second has its turn."""
    command = [str(program), "tcp" if phase == "tcp" else "udp", str(FLOWS.get(phase, 1))]
    command += [str(burst_s), str(pairs)]
    for twin in twins:
        at = (twin.namespace, twin.out_device, twin.mac, twin.addresses[phase], twin.first_source)
        command.append(",".join(at))
    before = arrived(twins[0])
    told = _output(inside(SENDER, *command, *map(str, held))).splitlines()
    sent, delivered = map(int, told.pop().split())
    return Pairs([_pair(line) for line in told], arrived(twins[0]) - before, sent - delivered)


def _pair(line: str) -> tuple[Burst, Burst]:
    told = [int(value) for value in line.split()]
    first, second = Burst(*told[:4]), Burst(*told[4:])
    return first, second


def arrived(at: Receiver) -> int:
    """Count the packets that a receiver's device has taken in so far."""
    text = _output(["ip", "-n", at.namespace, "-s", "-j", "link", "show", at.device])
    return int(json.loads(text)[0]["stats64"]["rx"]["packets"])


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _sysctl(namespace: str, setting: str) -> None:
    subprocess.run(inside(namespace, "sysctl", "-qw", setting), check=True)


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
