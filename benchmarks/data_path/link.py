"""Three hosts: a sender and two receivers that are twins, each on a veth pair of its own.

What the network itself says happened is the truth for everybody.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
class Sent:
    """One phase of UDP at saturation."""

    sent: int
    arrived: int
    """At the receiver's device."""
    delivered: int
    """To the receiving program."""
    seconds: float
    cpu_ns: float
    """Processor time of the sender: the kernel's on the packets' way to the receiver is in it."""


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
    """Compile the sender and the sink."""
    made, source = into / "link_load", Path(__file__).parent / "link_load.c"
    subprocess.run(["cc", "-O2", "-Wall", "-o", str(made), str(source)], check=True)
    return made


def udp(load: Path, to: Receiver, phase: str, seconds: float) -> Sent:
    """Send 64-byte packets as fast as one core can; give what became of them."""
    cores = sorted(os.sched_getaffinity(0))
    sending = ["taskset", "-c", str(cores[0]), str(load), "send", to.out_device, to.mac]
    sending += [to.addresses[phase], to.first_source, str(FLOWS[phase]), str(seconds)]
    sink_command = inside(to.namespace, "taskset", "-c", str(cores[-1]), str(load), "sink")
    before = arrived(to)
    with subprocess.Popen(
        sink_command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sink:
        assert sink.stdout
        assert sink.stdin
        sink.stdout.readline()
        sent, cpu_ns = map(int, _output(inside(SENDER, *sending)).split())
        sink.stdin.close()
        delivered = int(sink.stdout.readline())
    return Sent(sent, arrived(to) - before, delivered, seconds, cpu_ns)


@contextmanager
def tcp_servers() -> Iterator[None]:
    """Run an iperf3 server at each receiver."""
    with ExitStack() as held:
        for receiver in TWINS:
            held.enter_context(_tcp_server(receiver))
        yield


@contextmanager
def _tcp_server(at: Receiver) -> Iterator[None]:
    command = inside(at.namespace, "iperf3", "--server", "--forceflush")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout
            for line in server.stdout:
                if "listening" in line:
                    break
            # It prints a report for each stream, and would wait for ever where nobody reads them.
            threading.Thread(target=server.stdout.read, daemon=True).start()
            yield
        finally:
            server.terminate()


def tcp(to: Receiver, seconds: float) -> float:
    """Send one TCP stream; give its goodput in bits/s."""
    client = ["iperf3", "--json", "--client", to.addresses["tcp"], "--bind", to.sender]
    found = json.loads(_output(inside(SENDER, *client, "--time", f"{max(1, round(seconds))}")))
    if "error" in found:
        raise RuntimeError(f"iperf3: {found['error']}")
    return float(found["end"]["sum_received"]["bits_per_second"])


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
