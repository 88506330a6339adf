"""Two hosts on one veth pair, and the load between them: what the network itself says happened."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SENDER, RECEIVER = "netsonde-bench-s", "netsonde-bench-r"
OUT_DEVICE, IN_DEVICE = "bench-s", "bench-r"
_RECEIVER_MAC = "02:00:00:00:00:02"
_FIRST_SOURCE = "10.99.0.1"
SENDER_ADDRESS = "10.98.1.1"
ADDRESSES = {"few": "10.98.0.1", "many": "10.98.0.2", "tcp": "10.98.0.3"}
"""Where each phase of a round is sent, so that reports tell them apart."""
FLOWS = {"few": 64, "many": 50_000}
_READY_S = 10.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One phase of UDP at saturation."""

    sent: int
    arrived: int
    """At the receiver's device."""
    delivered: int
    """To the receiving program."""
    seconds: float


def inside(namespace: str, *command: str) -> list[str]:
    """Give the command line that runs a command in one of the two namespaces."""
    return ["nsenter", f"--net=/run/netns/{namespace}", *command]


@contextmanager
def network() -> Iterator[None]:
    """Build the two namespaces and the pair of devices, offloads as they come."""
    try:
        for name in (SENDER, RECEIVER):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            _sysctl(name, "net.ipv6.conf.all.disable_ipv6=1")
            for scope in ("all", "default"):
                _sysctl(name, f"net.ipv4.conf.{scope}.rp_filter=0")
        ends = ("type", "veth", "peer", "name", IN_DEVICE, "netns", RECEIVER)
        _ip("-n", SENDER, "link", "add", OUT_DEVICE, *ends, "address", _RECEIVER_MAC)
        _ip("-n", SENDER, "address", "add", f"{SENDER_ADDRESS}/15", "dev", OUT_DEVICE)
        for address in ADDRESSES.values():
            _ip("-n", RECEIVER, "address", "add", f"{address}/15", "dev", IN_DEVICE)
        _ip("-n", SENDER, "link", "set", OUT_DEVICE, "up")
        _ip("-n", RECEIVER, "link", "set", IN_DEVICE, "up")
        yield
    finally:
        for name in (SENDER, RECEIVER):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def compile_load(into: Path) -> Path:
    """Compile the sender and the sink."""
    made, source = into / "link_load", Path(__file__).parent / "link_load.c"
    subprocess.run(["cc", "-O2", "-Wall", "-o", str(made), str(source)], check=True)
    return made


def udp(load: Path, phase: str, seconds: float) -> Sent:
    """Send 64-byte packets as fast as one core can; give what became of them."""
    cores = sorted(os.sched_getaffinity(0))
    sending = ["taskset", "-c", str(cores[0]), str(load), "send", OUT_DEVICE, _RECEIVER_MAC]
    sending += [ADDRESSES[phase], _FIRST_SOURCE, str(FLOWS[phase]), str(seconds)]
    sink_command = inside(RECEIVER, "taskset", "-c", str(cores[-1]), str(load), "sink")
    before = arrived()
    with subprocess.Popen(
        sink_command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sink:
        assert sink.stdout
        assert sink.stdin
        sink.stdout.readline()
        sent = int(_output(inside(SENDER, *sending)))
        sink.stdin.close()
        delivered = int(sink.stdout.readline())
    return Sent(sent, arrived() - before, delivered, seconds)


@contextmanager
def tcp_server() -> Iterator[None]:
    """Run an iperf3 server at the receiver."""
    command = inside(RECEIVER, "iperf3", "--server", "--forceflush")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout
            for line in server.stdout:
                if "listening" in line:
                    break
            yield
        finally:
            server.terminate()


def tcp(seconds: float) -> float:
    """Send one TCP stream; give its goodput in bits/s."""
    client = ["iperf3", "--json", "--client", ADDRESSES["tcp"], "--bind", SENDER_ADDRESS]
    found = json.loads(_output(inside(SENDER, *client, "--time", f"{max(1, round(seconds))}")))
    if "error" in found:
        raise RuntimeError(f"iperf3: {found['error']}")
    return float(found["end"]["sum_received"]["bits_per_second"])


def arrived() -> int:
    """Count the packets that the receiver's device has taken in so far."""
    text = _output(["ip", "-n", RECEIVER, "-s", "-j", "link", "show", IN_DEVICE])
    return int(json.loads(text)[0]["stats64"]["rx"]["packets"])


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _sysctl(namespace: str, setting: str) -> None:
    subprocess.run(inside(namespace, "sysctl", "-qw", setting), check=True)


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
