"""The manager of the tests: asks agents from h1, runs examples, knows the hosts' counters."""

from __future__ import annotations

import ast
import http.client
import json
import os
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from netsonde.daemon import rights
from netsonde.lab import namespace

EXAMPLES = Path(__file__).parents[2] / "examples"
ROOT = "10.0.0.2"
AGENT_PORT = 8000
PATIENCE_S = 30
_TCP_TIME_WAIT, _TCP_LISTEN = "06", "0A"  # include/net/tcp_states.h, as /proc/net/tcp has them
# Root of a user namespace may load no programs, which is what packet sockets are for.
HOOKS = ["netfilter", "tcx", "clsact"] * rights.is_mapped(1, 1) + ["afpacket"]
"""What monitors can count at here, best first."""


@dataclass(frozen=True)
class Reply:
    status: int
    text: str
    headers: dict[str, str]

    @property
    def value(self):
        return ast.literal_eval(self.text)


def ask(address: str, **fields: object) -> Reply:
    """Send one message from h1, as the manager does."""
    connection = http.client.HTTPConnection(address, AGENT_PORT, timeout=PATIENCE_S)
    with namespace.inside("netsonde-h1"):
        connection.connect()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/", urlencode(fields), kind)
    reply = connection.getresponse()
    headers = {name.lower(): value for name, value in reply.getheaders()}
    answered = Reply(reply.status, reply.read().decode(), headers)
    connection.close()
    return answered


def host_status(lab, address: str) -> dict[str, object]:
    """What a host says of its monitor."""
    status = lab.exec("h1", "curl", "-s", f"http://{address}:{AGENT_PORT}/v1/host").stdout
    return json.loads(status)


def sketch(address: str, key_type: str, **fields: object) -> int:
    """Configure a sketch with one counter and give its id."""
    of_counter = {"increment": fields.pop("increment", "pkt")}
    if "hitter_threshold" in fields:
        of_counter["hitter_threshold"] = fields.pop("hitter_threshold")
    identity = ask(address, type="config sketch", **fields)
    assert identity.status == 200, identity.text
    counter = ask(
        address,
        type="config sketch counter",
        sketch_id=identity.text,
        counter_key_type=key_type,
        **of_counter,
    )
    assert counter.status == 200, counter.text
    return int(identity.text)


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@contextmanager
def example(lab, name: str) -> Iterator[subprocess.Popen[str]]:
    """Run an example on h1; it is counting when the block begins."""
    with lab.popen(
        "h1", "python", str(EXAMPLES / name), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert "sketch" in process.stderr.readline()
            yield process
        finally:
            process.kill()


def printed(process: subprocess.Popen[str], pattern: str) -> str:
    """Give what an example printed, up to a match."""
    out, text = process.stdout.fileno(), ""
    deadline = time.monotonic() + PATIENCE_S
    while not re.search(pattern, text):
        ready, _, _ = select.select([out], [], [], deadline - time.monotonic())
        assert ready, f"{pattern!r} did not come: {text!r}"
        text += os.read(out, 65536).decode()
    return text


def tcp_segments(lab, host: str) -> int:
    """TcpOutSegs + TcpRetransSegs of a host (RFC 4022; OutSegs leaves retransmissions out)."""
    lines = lab.exec(host, "cat", "/proc/net/snmp").stdout.splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("Tcp:"))
    counters = dict(zip(names, map(int, values), strict=True))
    return counters["OutSegs"] + counters["RetransSegs"]


def is_spoken_to(lab, host: str) -> bool:
    """Tell whether a conversation with the host's agent is not over yet, to its last FIN."""
    lines = lab.exec(host, "cat", "/proc/net/tcp").stdout.splitlines()[1:]
    sockets = (line.split()[1:4] for line in lines)
    return any(
        local.endswith(f":{AGENT_PORT:04X}") and state not in (_TCP_LISTEN, _TCP_TIME_WAIT)
        for local, _, state in sockets
    )


def settled(lab, *hosts: str) -> list[int]:
    """Segments sent by each host, once nobody sends any more.

    An agent that has to wait for a CPU ends a conversation long after the other side did.
    """
    before: list[int] = []

    def quiet() -> bool:
        nonlocal before
        talking = any(is_spoken_to(lab, host) for host in hosts)
        now = [tcp_segments(lab, host) for host in hosts]
        before, same = now, now == before
        return same and not talking

    until(quiet, "the hosts do not fall silent")
    return before


@contextmanager
def changes_unsaid(lab) -> Iterator[None]:
    """Have no host tell its root that its traffic changes: that is traffic of its own."""
    url = f"http://{ROOT}:{AGENT_PORT}/v1/detectors/heavy_change"
    off = {"measure": "change", "by": "dst", "threshold": 1, "enabled": False}
    kind = "Content-Type: application/json"
    lab.exec("h1", "curl", "-sf", "-X", "PUT", "-H", kind, "-d", json.dumps(off), url)
    try:
        yield
    finally:
        lab.exec("h1", "curl", "-sf", "-X", "DELETE", url)


def assert_transfer_is_exact(lab, size_bytes: int, *, device: str | None = None) -> None:
    """Send bytes over TCP from h5 to h9; all four counts equal the hosts' own, to the segment.

    `device`: counted there instead of at the host's INPUT and OUTPUT.
    """

    def totals(at: str, interface: str, src: str, dst: str) -> tuple[int, int]:
        fields = {"interface": interface, "proto": "tcp", "src": src, "dst": dst}
        reply = ask(at, type="config counter", **fields)  # is configured by the first
        assert reply.headers["x-netsonde-bounds"] == "exact"
        packets, ip_bytes = reply.value
        return packets, ip_bytes

    def growth(place: tuple[str, str, str, str], before: tuple[int, int]) -> tuple[int, int]:
        after = totals(*place)
        return after[0] - before[0], after[1] - before[1]

    h5, h9 = "10.0.0.5", "10.0.0.9"
    to_host, from_host = (device, device) if device else ("INPUT", "OUTPUT")
    places = [(h5, from_host, h5, h9), (h9, to_host, h5, h9)]
    places += [(h9, from_host, h9, h5), (h5, to_host, h9, h5)]
    # Word to everybody, so that no agent's keepalive, of once a minute, falls into the transfer:
    # it is a segment of the host's that goes to somebody else.
    assert ask(ROOT, type="config counter", interface="INPUT", proto="tcp").status == 200
    counted = [totals(*place) for place in places]
    with changes_unsaid(lab):
        before = settled(lab, "h5", "h9")
        with lab.popen("h9", "iperf3", "-s", "-1", "--forceflush") as server:
            assert "listening" in printed(server, "listening")
            lab.exec("h5", "iperf3", "-c", h9, "-n", str(size_bytes), timeout=180)
            server.wait(timeout=PATIENCE_S)
        after = settled(lab, "h5", "h9")
    sent, arrived, answered, back = map(growth, places, counted)
    assert sent[0] == after[0] - before[0]
    assert answered[0] == after[1] - before[1]
    assert arrived == sent
    assert back == answered
    assert sent[1] > size_bytes
