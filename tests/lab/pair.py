"""Two hosts and a link: the smallest network there is, and patience for emulated machines."""

from __future__ import annotations

import ast
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

from features import missing

from netsonde.lab import namespace

PATIENCE_S = 180
"""An emulated processor is ten to thirty times slower than a real one."""
DEVICE = "veth0"
ROADS = {"plain": "10.99.0", "vlan": "10.98.0", "qinq": "10.97.0"}
"""Ways from one host to the other, all over one link, and the network of each."""
_PROGRAMS = Path(sys.executable).parent
_T = TypeVar("_T")


class Refused(Exception):
    """An agent did not answer a question; its sentence says why."""


@dataclass(frozen=True)
class Host:
    """A network namespace with an agent, and a monitor while it counts."""

    namespace: str
    number: int
    room: Path
    """Folder of its processes."""

    @property
    def address(self) -> str:
        """Where its agent listens, on the plain link."""
        return self.on("plain")

    def on(self, road: str) -> str:
        """Address on one of the ROADS."""
        return f"{ROADS[road]}.{self.number}"

    def run(self, command: str) -> str:
        """Run a shell command to its end, successfully, and give what it prints."""
        with namespace.inside(self.namespace):
            done = subprocess.run(
                ["sh", "-ec", command], capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def ask(self, **fields: object) -> object:
        """Send a message to the agent and give its reply as a value; raises Refused."""
        connection = http.client.HTTPConnection(self.address, 8000, timeout=PATIENCE_S)
        with namespace.inside(self.namespace):
            connection.connect()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/", urlencode(fields), kind)
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        if reply.status != http.client.OK:
            raise Refused(f"{fields}: {text}")
        bounds = reply.getheader("X-Netsonde-Bounds", "exact")
        assert bounds == "exact", bounds
        return ast.literal_eval(text)

    def counter(self, interface: str, proto: str, src: str, dst: str) -> tuple[int, int]:
        """Packets and bytes of a counter, which begins when it is first asked for."""
        packets, ip_bytes = self.ask(
            type="config counter", interface=interface, proto=proto, src=src, dst=dst
        )
        return packets, ip_bytes

    def snmp(self, protocol: str) -> dict[str, int]:
        """The kernel's own counters (RFC 4293, RFC 4022)."""
        lines = self.run(f"grep ^{protocol}: /proc/thread-self/net/snmp").splitlines()
        names, values = (line.split()[1:] for line in lines)
        return dict(zip(names, map(int, values), strict=True))

    def netem(self) -> tuple[int, int]:
        """Packets that the impairment has let through, and that it has dropped."""
        disciplines = json.loads(self.run(f"tc -s -j qdisc show dev {DEVICE}"))
        (netem,) = (one for one in disciplines if one["kind"] == "netem")
        return netem["packets"], netem["drops"]


def patiently(ask: Callable[[], _T]) -> _T:
    """Ask until there is an answer: a slow machine may give none that can be trusted."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask()
        except (OSError, Refused):
            if time.monotonic() > deadline:
                raise
        # Asking costs an emulated machine more than what it waits for.
        time.sleep(0.5)


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@contextmanager
def linked() -> Iterator[tuple[Host, Host]]:
    """Give two hosts with agents, and VLAN devices over their link where the kernel has those."""
    mark = f"netsonde-pair{os.getpid()}"
    with ExitStack() as stack:
        first, second = pair = (
            Host(f"{mark}a", 1, stack.enter_context(_room())),
            Host(f"{mark}b", 2, stack.enter_context(_room())),
        )
        for host in pair:
            _shell(f"ip netns add {host.namespace}")
            stack.callback(_shell, f"ip netns del {host.namespace}")
        _shell(
            f"ip link add {DEVICE} netns {first.namespace} type veth "
            f"peer name {DEVICE} netns {second.namespace}"
        )
        for host in pair:
            host.run("ip link set lo up")
            _address(host, DEVICE, "plain")
            if missing("vlan") is None:
                _vlan(host, DEVICE, "vlan", "802.1Q")
                _vlan(host, DEVICE, "service", "802.1ad")
                _vlan(host, "service", "qinq", "802.1Q")
                _address(host, "vlan", "vlan")
                _address(host, "qinq", "qinq")
        for host in pair:
            agent = ["agent", "--listen", f"{host.address}:8000", "--peer-port", "8001"]
            agent += ["--monitor-socket", str(host.room / "monitor.sock")]
            agent += ["--state-dir", str(host.room / "state")]
            stack.enter_context(_daemon(host, *agent))
        yield pair


@contextmanager
def counting(pair: tuple[Host, Host], hook: str) -> Iterator[None]:
    """Have monitors count on both hosts at a hook."""
    with ExitStack() as stack:
        for host in pair:
            monitor = ["monitor", "--hook", hook, "--socket", str(host.room / "monitor.sock")]
            stack.enter_context(_daemon(host, *monitor))
        for host in pair:
            patiently(lambda host=host: host.counter("INPUT", "icmp", "192.0.2.1", host.address))
        yield


def _address(host: Host, device: str, road: str) -> None:
    host.run(f"ip address add {host.on(road)}/24 dev {device}; ip link set {device} up")


def _vlan(host: Host, lower: str, name: str, protocol: str) -> None:
    host.run(
        f"ip link add link {lower} name {name} type vlan protocol {protocol} id 5; "
        f"ip link set {name} up"
    )


@contextmanager
def _room() -> Iterator[Path]:
    room = Path(tempfile.mkdtemp(prefix="netsonde-pair-", dir="/run"))
    try:
        room.chmod(0o755)
        yield room
    finally:
        shutil.rmtree(room)


@contextmanager
def _daemon(host: Host, name: str, *arguments: str) -> Iterator[None]:
    """Run a monitor or an agent on a host; what it said is shown with a test that fails."""
    log = host.room / f"{name}.log"
    with log.open("wb") as out, namespace.inside(host.namespace):
        process = subprocess.Popen(
            [_PROGRAMS / f"netsonde-{name}", *arguments], stdout=out, stderr=out
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        sys.stdout.write(log.read_text())


def _shell(command: str) -> None:
    subprocess.run(["sh", "-ec", command], check=True)
