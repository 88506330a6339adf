"""The service as users meet it: the prototype's examples and promises on real packets."""

from __future__ import annotations

import ast
import http.client
import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from netsonde.lab import namespace

EXAMPLES = Path(__file__).parents[2] / "examples"
ROOT = "10.0.0.2"
PATIENCE_S = 30
TRANSFER_BYTES = 1_000_000_000


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
    connection = http.client.HTTPConnection(address, 8000, timeout=PATIENCE_S)
    with namespace.inside("netsonde-h1"):
        connection.connect()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/", urlencode(fields), kind)
    reply = connection.getresponse()
    headers = {name.lower(): value for name, value in reply.getheaders()}
    answered = Reply(reply.status, reply.read().decode(), headers)
    connection.close()
    return answered


def sketch(address: str, key_type: str, **fields: object) -> int:
    """Configure a sketch with one counter and give its id."""
    increment = fields.pop("increment", "pkt")
    identity = ask(address, type="config sketch", **fields)
    assert identity.status == 200, identity.text
    counter = ask(
        address,
        type="config sketch counter",
        sketch_id=identity.text,
        counter_key_type=key_type,
        increment=increment,
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


def test_heavy_hitters_of_one_host(lab):
    with example(lab, "heavy_hitter.py") as process:
        lab.run("pingall")
        text = printed(process, r"h6 hits: .*\n")
    table, _, rest = text.partition("}\n")
    others = {f"10.0.0.{n}": 2 for n in range(1, 10) if n != 5}
    assert json.loads(table + "}") == others
    assert rest == "h6 hits: 2times\n"


def test_flow_sizes_of_the_network(lab):
    with example(lab, "flow_size_distrib.py") as process:
        lab.run("pingall")
        text = printed(process, r"h6 sent h5: .*\n")
    table, _, rest = text.partition("}\n")
    pairs = {
        f"10.0.0.{src},10.0.0.{dst}": 168
        for src in range(1, 10)
        for dst in range(2, 10)
        if src != dst
    }
    assert len(pairs) == 64
    assert json.loads(table + "}") == pairs
    assert rest == "h6 sent h5: 168 bytes\n"


def test_port_scan_in_real_time(lab):
    with example(lab, "portscan.py") as process:
        begin = time.monotonic()
        lab.exec("h6", "nc", "-z", "10.0.0.5", "8008-8092", check=False)
        text = printed(process, "portscan detected")
        assert time.monotonic() - begin < 1
        text += printed(process, "}")
    assert json.loads(text.partition("detected.\n")[2])["10.0.0.6"] == 85


def test_counts_ipv6_and_prefixes(lab):
    pings = sketch("10.0.0.5", "src_dst", proto="icmpv6", src="fd00::/64", interface="INPUT")
    lab.exec("h6", "ping", "-6", "-c", "3", "-i", "0.1", "-q", "fd00::5")
    reply = ask(
        "10.0.0.5",
        type="query sketch",
        sketch_id=pings,
        counter_key_type="src_dst",
        counter_key="fd00::6,fd00::5",
    )
    # Neighbour discovery may add to the three requests, whose number the next line shows.
    requests = ask(
        "10.0.0.5",
        type="query heavy hitters",
        sketch_id=pings,
        counter_key_type="src_dst",
    )
    assert int(reply.text) >= 3
    assert requests.value["fd00::6,fd00::5"] == int(reply.text)
    assert reply.headers["x-netsonde-bounds"] == "exact"


def tcp_segments(lab, host: str) -> int:
    """TcpOutSegs + TcpRetransSegs of a host (RFC 4022; OutSegs leaves retransmissions out)."""
    lines = lab.exec(host, "cat", "/proc/net/snmp").stdout.splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("Tcp:"))
    counters = dict(zip(names, map(int, values), strict=True))
    return counters["OutSegs"] + counters["RetransSegs"]


def settled(lab, *hosts: str) -> list[int]:
    """Segments sent by each host, once nobody sends any more."""
    before: list[int] = []

    def quiet() -> bool:
        nonlocal before
        now = [tcp_segments(lab, host) for host in hosts]
        before, same = now, now == before
        return same

    until(quiet, "the hosts do not fall silent")
    return before


def test_a_gigabyte_is_counted_to_the_last_segment(lab):
    def totals(verb: str, at: str, interface: str, src: str, dst: str) -> tuple[int, int]:
        fields = {"interface": interface, "proto": "tcp", "src": src, "dst": dst}
        reply = ask(at, type=f"{verb} counter", **fields)
        assert reply.headers["x-netsonde-bounds"] == "exact"
        packets, ip_bytes = reply.value
        return packets, ip_bytes

    h5, h9 = "10.0.0.5", "10.0.0.9"
    places = [(h5, "OUTPUT", h5, h9), (h9, "INPUT", h5, h9)]
    places += [(h9, "OUTPUT", h9, h5), (h5, "INPUT", h9, h5)]
    for place in places:
        totals("config", *place)
    before = settled(lab, "h5", "h9")
    with lab.popen("h9", "iperf3", "-s", "-1", "--forceflush") as server:
        assert "listening" in printed(server, "listening")
        lab.exec("h5", "iperf3", "-c", h9, "-n", str(TRANSFER_BYTES), timeout=180)
        server.wait(timeout=PATIENCE_S)
    after = settled(lab, "h5", "h9")
    sent, arrived, answered, back = (totals("query", *place) for place in places)
    assert sent[0] == after[0] - before[0]
    assert answered[0] == after[1] - before[1]
    assert arrived == sent
    assert back == answered
    assert sent[1] > TRANSFER_BYTES


def test_dead_daemons_are_named_and_harm_nobody(lab):
    sketch_id = sketch(ROOT, "src_dst", proto="icmp", increment="pkt")
    wanted = {"type": "query sketch", "sketch_id": sketch_id, "counter_key_type": "src_dst"}
    wanted["counter_key"] = "10.0.0.6,10.0.0.5"
    assert ask(ROOT, **wanted).headers["x-netsonde-coverage"] == "8/8"
    with (
        lab.popen("h6", "ping", "-i", "0.02", "-c", "150", "-q", "10.0.0.5") as pings,
        lab.popen("h8", "iperf3", "-s", "-1", "--forceflush") as server,
    ):
        assert "listening" in printed(server, "listening")
        with lab.popen("h5", "iperf3", "-c", "10.0.0.8", "-t", "2", "-J") as stream:
            for host, daemon in (("h5", "monitor"), ("h6", "agent"), ("h7", "monitor")):
                os.kill(lab.pid(host, daemon), signal.SIGKILL)
            report = json.loads(stream.communicate(timeout=PATIENCE_S)[0])
        assert "0% packet loss" in pings.communicate(timeout=PATIENCE_S)[0]
    assert min(i["sum"]["bits_per_second"] for i in report["intervals"]) > 0
    begin = time.monotonic()
    reply = ask(ROOT, **wanted)
    assert time.monotonic() - begin < 1.5
    assert reply.status == 200
    coverage = reply.headers["x-netsonde-coverage"]
    assert coverage == "5/8; missing=10.0.0.5,10.0.0.6,10.0.0.7"
    away = ask("10.0.0.5", **wanted, scope="host")
    assert away.status == 503
    assert "monitor away" in away.text

    for host, daemon in (("h5", "monitor"), ("h6", "agent"), ("h7", "monitor")):
        lab.restart(host, daemon)
    until(
        lambda: "missing" not in ask(ROOT, **wanted).headers["x-netsonde-coverage"],
        "a restarted daemon does not come back by itself",
    )
    # The monitors that died forgot what they had counted, and the answer says whose those were.
    coverage = ask(ROOT, **wanted).headers["x-netsonde-coverage"]
    assert coverage == "8/8; partial=10.0.0.5,10.0.0.7"


def test_nothing_stays_attached_after_kill(lab):
    os.kill(lab.pid("h3", "monitor"), signal.SIGKILL)
    until(lambda: lab.pid("h3", "monitor") is None, "the monitor does not die")
    # A second monitor is refused while the first one's programs are attached.
    lab.restart("h3", "monitor")
    assert lab.pid("h3", "monitor") is not None


@pytest.mark.parametrize("kind", ["delay", "jitter", "loss"])
def test_paths_may_be_asked_of_any_agent(lab, kind):
    reply = ask("10.0.0.3", type=f"query {kind}", src="10.0.0.5", dst="10.0.0.9")
    assert reply.status == 200, reply.text
    assert 0 <= reply.value < 50
    assert "sent=100" in reply.headers["x-netsonde-probe"]


def test_bandwidth_of_a_shaped_link(no_lab):
    no_lab.up("--rate", "100mbit")
    reply = ask("10.0.0.5", type="query bw", src="10.0.0.5", dst="10.0.0.6")
    shaped_mbytes_per_s = 100 / 8 * 1448 / 1514
    assert abs(reply.value / shaped_mbytes_per_s - 1) < 0.1, reply


def test_a_host_tells_how_it_is(lab):
    host = json.loads(lab.exec("h1", "curl", "-s", "http://10.0.0.5:8000/v1/host").stdout)
    assert host["hook"] == "netfilter"
    assert host["tick_ms"] == 100
    assert set(host["drops"]) >= {"not_ip", "truncated", "bad_header"}
    assert host["packets"] > 0
