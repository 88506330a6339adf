"""Detectors on a real host: a scan is named, and soon."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netsonde.lab import namespace
from netsonde.model.detector import Event
from netsonde.model.detectors import BUILTIN
from netsonde.wire import monitor as wire
from netsonde.wire.frame import HEADER

MONITOR = Path("/run/netsonde-lab/h5/monitor.sock")
TARGET = "10.0.0.5"
SCANNERS = [f"10.0.0.{number}" for number in range(101, 141)]
THRESHOLD = next(one.threshold for one in BUILTIN if one.name == "port_scan")
DELAY_S = 0.25
TICK_S = 0.1
PATIENCE_S = 20


class Watcher:
    """What the agent does to get a monitor's events."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._ready: list[Event] = []
        self._say(wire.Hello(software="test"))
        assert isinstance(self._next(), wire.Welcome)
        self._say(wire.Watch())

    def until(self, detector: str, key: str) -> tuple[Event, int]:
        """Wait for an alarm; gives it, and the wall clock at which it came."""
        while True:
            while self._ready:
                event = self._ready.pop(0)
                if (event.state, event.detector, event.key) == ("raised", detector, key):
                    return event, time.time_ns()
            frame = self._next()
            assert isinstance(frame, wire.Events)
            assert not frame.dropped
            self._ready += frame.events

    def _say(self, request: wire.Request) -> None:
        self._connection.sendall(wire.REQUESTS.encode(request))

    def _next(self) -> wire.Reply:
        size = wire.REPLIES.body_bytes(self._exactly(HEADER.size))
        return wire.REPLIES.decode(self._exactly(size))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._connection.recv(size - len(data))
            assert part, "the monitor closed the connection"
            data += part
        return data


@contextmanager
def watching() -> Iterator[Watcher]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(MONITOR))
        yield Watcher(connection)


@pytest.fixture
def scanners(lab) -> Iterator[None]:
    """Give h6 an address for each scan: an alarm that is raised is not raised again."""
    device = lab.exec("h6", "sh", "-c", f"ip -o route get {TARGET} | sed 's/.* dev //; s/ .*//'")
    name = device.stdout.strip()
    for change in ("add", "del"):
        lines = "\n".join(f"address {change} {source}/24 dev {name}" for source in SCANNERS)
        lab.exec("h6", "ip", "-batch", "-", input=lines)
        if change == "add":
            yield


def scan(source: str) -> int:
    """Try as many ports as raise an alarm; gives the wall clock before the last."""
    for port in range(1, THRESHOLD + 1):
        with namespace.inside("netsonde-h6"), socket.socket() as attempt:
            attempt.bind((source, 0))
            attempt.setblocking(False)
            last_ns = time.time_ns()
            with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                attempt.connect((TARGET, port))
    return last_ns


def test_a_scan_with_netcat_is_named(lab):
    with watching() as watcher:
        lab.exec("h6", "nc", "-z", "-w", "1", TARGET, "1-200", check=False)
        event, _ = watcher.until("port_scan", f"10.0.0.6,{TARGET}")
    assert event.host == TARGET
    assert event.sentence.startswith(f"10.0.0.6 scans ports of {TARGET}: ")
    assert event.count.exact
    assert event.count.lower >= THRESHOLD
    assert event.sources == ("10.0.0.6",)
    assert all(row.flow.startswith(f"10.0.0.6,{TARGET},") for row in event.evidence)


@pytest.mark.usefixtures("scanners")
def test_from_the_thresholds_packet_to_the_event():
    dice, delays_s = random.Random(4), []
    with watching() as watcher:
        for source in SCANNERS:
            time.sleep(dice.uniform(0, TICK_S))  # an event comes with a tick: not all in step
            last_ns = scan(source)
            _, came_ns = watcher.until("port_scan", f"{source},{TARGET}")
            delays_s.append((came_ns - last_ns) / 1e9)
    delays_s.sort()
    # Of forty, two may meet a machine that is busy with something else.
    assert delays_s[-3] <= DELAY_S, delays_s
    assert delays_s[len(delays_s) // 2] <= TICK_S, delays_s
