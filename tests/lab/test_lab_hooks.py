"""Every hook gives the same answers, and what each one sees is what the documents say it sees."""

from __future__ import annotations

import json
import os
import signal

import pytest
from asking import ask, assert_transfer_is_exact, example, printed, sketch, until

HOOKS = ["netfilter", "tcx", "clsact"]
TRANSFER_BYTES = 200_000_000


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


def test_the_examples_and_a_transfer(hooked):
    with (
        example(hooked, "heavy_hitter.py") as hitters,
        example(hooked, "flow_size_distrib.py") as flows,
        example(hooked, "portscan.py") as scan,
    ):
        hooked.run("pingall")
        hooked.exec("h6", "nc", "-z", "10.0.0.5", "8008-8092", check=False)
        table = printed(scan, "}").partition("detected.\n")[2]
        assert json.loads(table)["10.0.0.6"] == 85
        table = printed(hitters, r"h6 hits: 2times").partition("}\n")[0]
        assert json.loads(table + "}") == {f"10.0.0.{n}": 2 for n in range(1, 10) if n != 5}
        table = printed(flows, r"h6 sent h5: 168 bytes").partition("}\n")[0]
        assert set(json.loads(table + "}").values()) == {168}
        assert len(json.loads(table + "}")) == 64
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


def test_a_killed_monitor_is_replaced_on_every_hook(hooked):
    os.kill(hooked.pid("h3", "monitor"), signal.SIGKILL)
    until(lambda: hooked.pid("h3", "monitor") is None, "the monitor does not die")
    hooked.restart("h3", "monitor")
    status = {"type": "config counter", "interface": "INPUT", "proto": "icmp"}
    until(lambda: ask("10.0.0.3", **status).status == 200, "the agent does not find it")
    hits = sketch("10.0.0.3", "src", proto="icmp")
    hooked.exec("h6", "ping", "-c", "3", "-i", "0.01", "-q", "10.0.0.3")
    wanted = {"counter_key_type": "src", "counter_key": "10.0.0.6"}
    reply = ask("10.0.0.3", type="query sketch", sketch_id=hits, **wanted)
    # A filter that a dead monitor left on a device would not change this, but would cost.
    assert reply.value == 3
    log = hooked.exec("h3", "cat", "/run/netsonde-lab/h3/monitor.log").stdout
    assert ("dead monitor" in log) == (hooked.hook == "clsact")


def test_the_doctor_sees_the_monitor(hooked):
    report = json.loads(hooked.exec("h3", "netsonde-doctor", "--json").stdout)
    assert report["monitor_counts_here"]
    assert all(verdict["works"] for verdict in report["hooks"]), report["hooks"]
    places = {one["where"] for one in report["attached"] if one["ours"]}
    assert (
        places
        >= {
            "netfilter": {"netfilter LOCAL_IN IPv4", "netfilter LOCAL_OUT IPv6"},
            "tcx": {"tcx eth0 ingress", "tcx lo egress"},
            "clsact": {"clsact eth0 ingress", "clsact lo egress"},
        }[hooked.hook]
    )
    text = hooked.exec("h3", "netsonde", "doctor").stdout
    assert "a monitor counts here" in text
