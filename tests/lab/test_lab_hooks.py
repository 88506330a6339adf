"""Every hook gives the same answers, and what each one sees is what the documents say it sees."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from asking import (
    EXAMPLES,
    HOOKS,
    Reply,
    ask,
    assert_transfer_is_exact,
    example,
    printed,
    sketch,
    until,
)
from packets import Flow, packet

from netsonde.lab import namespace

TRANSFER_BYTES = 200_000_000
TAGS = {
    "vlan": b"\x81\x00\x00\x05",
    "qinq": b"\x88\xa8\x00\x05\x81\x00\x00\x06",
}


@pytest.fixture(scope="module", params=HOOKS)
def hooked(request, _lab_command):
    """A lab whose monitors count at one hook, for all tests of it."""
    _lab_command.down()
    _lab_command.up("--hook", request.param)
    _lab_command.hook = request.param
    yield _lab_command
    _lab_command.down()


def counted(host: str, interface: str, src: str, dst: str, proto: str = "icmp") -> list[int]:
    """Packets and bytes of a counter, configured when it is first asked for."""
    fields = {"interface": interface, "proto": proto, "src": src, "dst": dst}
    reply = ask(host, type="config counter", **fields)
    assert reply.status == 200, reply.text
    assert reply.headers["x-netsonde-bounds"] == "exact"
    return reply.value


def table_printed(process: subprocess.Popen[str], line_after: str) -> dict[str, int]:
    """Give the next table of an example that asks again and again; the first may come too soon."""
    text = printed(process, rf"\{{[^}}]*\}}\n{line_after}")
    table: dict[str, int] = json.loads(text[text.index("{") : text.index("}") + 1])
    return table


@contextmanager
def dropping(lab, host: str, where: str) -> Iterator[None]:
    """Have a host's firewall drop echo requests at `input` or `output`."""
    chain = f"add chain inet test echo {{ type filter hook {where} priority filter; }}"
    rule = "add rule inet test echo icmp type echo-request drop"
    lab.exec(host, "nft", f"add table inet test; {chain}; {rule}")
    try:
        yield
    finally:
        lab.exec(host, "nft", "delete table inet test")


def hardware_address(lab, host: str) -> bytes:
    """Hardware address of a host's device."""
    links = json.loads(lab.exec(host, "ip", "-j", "link", "show", "eth0").stdout)
    return bytes.fromhex(links[0]["address"].replace(":", ""))


def test_the_examples_and_a_transfer(hooked):
    said = hooked.exec("h1", "python", str(EXAMPLES / "query_bw.py")).stdout
    carried = re.fullmatch(r"([\d.]+) MBytes/s\n", said)
    assert carried, said
    assert float(carried[1]) > 1
    with (
        example(hooked, "heavy_hitter.py") as hitters,
        example(hooked, "flow_size_distrib.py") as flows,
        example(hooked, "portscan.py") as scan,
    ):
        hooked.run("pingall")
        hooked.exec("h6", "nc", "-z", "10.0.0.5", "8008-8092", check=False)
        table = printed(scan, "}").partition("detected.\n")[2]
        assert json.loads(table)["10.0.0.6"] == 85
        others = {f"10.0.0.{n}": 2 for n in range(1, 10) if n != 5}
        until(lambda: table_printed(hitters, "h6 hits") == others, "the hitters are others")
        pairs = {
            f"10.0.0.{a},10.0.0.{b}": 168 for a in range(1, 10) for b in range(2, 10) if a != b
        }
        until(lambda: table_printed(flows, "h6 sent") == pairs, "the flows are others")
    assert_transfer_is_exact(hooked, TRANSFER_BYTES)


def test_what_each_hook_sees(hooked):
    """The cells of the table in docs/explanation/counting.md, ten echo requests each."""
    h5, h6 = "10.0.0.5", "10.0.0.6"
    before = counted(h5, "INPUT", h5, h5), counted(h5, "OUTPUT", h5, h5)
    hooked.exec("h5", "ping", "-c", "10", "-i", "0.01", "-q", h5)
    after = counted(h5, "INPUT", h5, h5), counted(h5, "OUTPUT", h5, h5)
    # Over loopback a request and its reply are both sent and received here.
    assert [b[0] - a[0] for a, b in zip(before, after, strict=True)] == [20, 20]

    fragments = counted(h5, "INPUT", h6, h5)
    hooked.exec("h6", "ping", "-c", "10", "-i", "0.01", "-s", "4000", "-q", h5)
    pieces = counted(h5, "INPUT", h6, h5)[0] - fragments[0]
    # Netfilter sees them reassembled, a device as they arrive: 4008 bytes in three pieces.
    assert pieces == (10 if hooked.hook == "netfilter" else 30)


def test_what_is_forwarded_is_not_the_hosts(hooked):
    """h5 forwards between h4 and h6, which are told to go through it."""
    hooked.exec("h5", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    hooked.exec("h5", "sh", "-c", "echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects")
    hooked.exec("h5", "sh", "-c", "echo 0 > /proc/sys/net/ipv4/conf/eth0/send_redirects")
    hooked.exec("h4", "ip", "route", "add", "10.0.0.6/32", "via", "10.0.0.5")
    before = counted("10.0.0.5", "INPUT", "10.0.0.4", "10.0.0.6")
    sent = counted("10.0.0.5", "OUTPUT", "10.0.0.4", "10.0.0.6")
    arrived = counted("10.0.0.6", "INPUT", "10.0.0.4", "10.0.0.6")
    hooked.exec("h4", "ping", "-c", "10", "-i", "0.01", "-q", "10.0.0.6")
    assert counted("10.0.0.6", "INPUT", "10.0.0.4", "10.0.0.6")[0] - arrived[0] == 10
    assert counted("10.0.0.5", "INPUT", "10.0.0.4", "10.0.0.6") == before
    assert counted("10.0.0.5", "OUTPUT", "10.0.0.4", "10.0.0.6") == sent


def test_what_the_firewall_drops(hooked):
    """Ten echo requests each way: counted when they came, not when they never left."""
    h5, h6 = "10.0.0.5", "10.0.0.6"
    arrived, answered = counted(h5, "INPUT", h6, h5), counted(h5, "OUTPUT", h5, h6)
    with dropping(hooked, "h5", "input"):
        hooked.exec("h6", "ping", "-c", "10", "-i", "0.01", "-W", "1", "-q", h5, check=False)
    assert counted(h5, "INPUT", h6, h5)[0] - arrived[0] == 10
    assert counted(h5, "OUTPUT", h5, h6) == answered
    with dropping(hooked, "h5", "output"):
        hooked.exec("h5", "ping", "-c", "10", "-i", "0.01", "-W", "1", "-q", h6, check=False)
    assert counted(h5, "OUTPUT", h5, h6) == answered


@pytest.mark.parametrize("tag", TAGS)
def test_tagged_frames_without_a_vlan_device(hooked, tag):
    """A device shows them; the host, which has no VLAN device, throws them away."""
    h5, h6 = "10.0.0.5", "10.0.0.6"
    data = packet(Flow(h6, h5, 1000, 53, 17), 20)
    before = counted(h5, "INPUT", h6, h5, "udp")
    with namespace.inside("netsonde-h6"):
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with sender:
        sender.bind(("eth0", 0))
        ends = hardware_address(hooked, "h5") + hardware_address(hooked, "h6")
        for _ in range(10):
            sender.send(ends + TAGS[tag] + b"\x08\x00" + data)
    seen = counted(h5, "INPUT", h6, h5, "udp")
    grown = [seen[0] - before[0], seen[1] - before[1]]
    assert grown == ([0, 0] if hooked.hook == "netfilter" else [10, 10 * len(data)])


def pings_counted(lab, *, end: signal.Signals) -> tuple[int, str]:
    """Ping h3 before, while and after its monitor is away; gives the answer and its coverage."""

    def ping(count: int) -> None:
        lab.exec("h6", "ping", "-c", str(count), "-i", "0.01", "-q", "10.0.0.3")

    def count() -> Reply:
        wanted = {"counter_key_type": "src", "counter_key": "10.0.0.6"}
        return ask("10.0.0.3", type="query sketch", sketch_id=hits, **wanted)

    hits = sketch("10.0.0.3", "src", proto="icmp")
    ping(3)
    assert count().value == 3
    os.kill(lab.pid("h3", "monitor"), end)
    until(lambda: lab.pid("h3", "monitor") is None, "the monitor does not end")
    ping(50)
    lab.restart("h3", "monitor")
    until(lambda: count().status == 200, "the agent does not find it")
    ping(7)
    reply = count()
    assert reply.headers["x-netsonde-bounds"] == "exact"
    return reply.value, reply.headers["x-netsonde-coverage"]


def test_a_restarted_monitor_goes_on(hooked):
    log = "/run/netsonde-lab/h3/monitor.log"
    counted, coverage = pings_counted(hooked, end=signal.SIGTERM)
    if hooked.hook == "afpacket":  # nobody was there to count
        assert (counted, coverage) == (10, "1/1; partial=10.0.0.3")
    else:
        assert (counted, coverage) == (60, "1/1")
        last = hooked.exec("h3", "grep", "monitor counts", log).stdout.splitlines()[-1]
        assert " pinned=true taken_over=true " in last


def test_a_killed_monitor_is_replaced_and_what_is_lost_is_told(hooked):
    counted, coverage = pings_counted(hooked, end=signal.SIGKILL)
    # What it counted since it last kept its counts died with it: some of the first three, or the
    # task itself, which then begins anew.
    whole = 10 if hooked.hook == "afpacket" else 60
    assert counted == 7 or whole - 3 <= counted <= whole
    assert coverage == "1/1; partial=10.0.0.3" or counted == 60


def test_the_doctor_sees_the_monitor(hooked):
    report = json.loads(hooked.exec("h3", "netsonde-doctor", "--json").stdout)
    assert report["monitor_counts_here"]
    works = {verdict["hook"] for verdict in report["hooks"] if verdict["works"]}
    assert works == set(HOOKS), report["hooks"]
    ours = [one for one in report["attached"] or [] if one["ours"]]
    places = {one["where"] for one in ours if one["namespace"] == "this"}
    assert (
        places
        >= {
            "netfilter": {"netfilter LOCAL_IN IPv4", "netfilter LOCAL_OUT IPv6"},
            "tcx": {"tcx eth0 ingress", "tcx lo egress"},
            "clsact": {"clsact eth0 ingress", "clsact lo egress"},
            "afpacket": set(),
        }[hooked.hook]
    )
    text = hooked.exec("h3", "netsonde", "doctor").stdout
    assert "a monitor counts here" in text


def test_the_monitor_keeps_no_more_rights_than_its_hook_needs(hooked):
    net_admin, bpf = 1 << 12, 1 << 39
    kept = {"netfilter": bpf, "tcx": bpf | net_admin, "clsact": bpf | net_admin, "afpacket": 0}
    monitor = Path(f"/proc/{hooked.pid('h5', 'monitor')}")
    for thread in (monitor / "task").iterdir():
        status = dict(line.split(":\t") for line in (thread / "status").read_text().splitlines())
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == kept[hooked.hook]
