"""Views of devices as users meet them: what crosses `eth0`, beside what is the host's own."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from asking import (
    AGENT_PORT,
    HOOKS,
    PATIENCE_S,
    ROOT,
    ask,
    assert_transfer_is_exact,
    host_status,
    until,
)

from netsonde.lab import daemons, namespace
from netsonde.lab.topology import Topology

H5, H6, H9 = "10.0.0.5", "10.0.0.6", "10.0.0.9"
YARD, BEHIND = "10.77.0.1", "10.77.0.2"
"""Of h5, and of a host behind it that h5 forwards to."""
BACKYARD = f"netsonde-test-{os.getpid()}-backyard"
TRANSFER_BYTES = 200_000_000


@pytest.fixture(scope="module", params=HOOKS)
def viewing(request, _lab_command):
    """A lab whose monitors view their `eth0` as well."""
    _lab_command.down()
    _lab_command.up("--hook", request.param, "--devices", "eth0")
    _lab_command.hook = request.param
    yield _lab_command
    _lab_command.down()


def posted(address: str, path: str, **body: object) -> tuple[int, dict[str, Any]]:
    """Post to `/v1` from h1; gives status and what came."""
    connection = http.client.HTTPConnection(address, AGENT_PORT, timeout=PATIENCE_S)
    with namespace.inside("netsonde-h1"):
        connection.connect()
    headers = {"Content-Type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply.status, json.loads(text)


def asked(address: str, **fields: object) -> dict[str, Any]:
    """Ask a question, and fail on anything but an answer."""
    status, answer = posted(address, "/v1/questions", **fields)
    assert status in (200, 201), answer
    return answer


def count(address: str, **fields: object) -> int:
    """What passes, to the packet."""
    bound = asked(address, ask="count", **fields)["count"]
    assert bound["lower"] == bound["upper"], bound
    return bound["estimate"]


def ip(command: str) -> None:
    done = subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"


@contextmanager
def forwarding(lab) -> Iterator[None]:
    """Have h5 forward to a host behind it; h6 knows the way."""
    h5, h6 = "netsonde-h5", "netsonde-h6"
    ip(f"netns add {BACKYARD}")
    try:
        ip(f"-n {h5} link add yard type veth peer name eth0 netns {BACKYARD}")
        for where, device, address in ((h5, "yard", YARD), (BACKYARD, "eth0", BEHIND)):
            ip(f"-n {where} addr add {address}/24 dev {device}")
            ip(f"-n {where} link set {device} up")
        ip(f"-n {BACKYARD} route add default via {YARD}")
        ip(f"-n {h6} route add 10.77.0.0/24 via {H5}")
        lab.exec("h5", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        yield
        lab.exec("h5", "sysctl", "-qw", "net.ipv4.ip_forward=0")
        ip(f"-n {h6} route del 10.77.0.0/24")
    finally:
        ip(f"netns del {BACKYARD}")


@contextmanager
def restarted(lab, host: str, *devices: str) -> Iterator[None]:
    """Have the monitor of a host view these devices for a while."""
    found = Topology(2, 3).host(host)

    def again(viewed: tuple[str, ...]) -> None:
        daemons.stop(found, "monitor")
        deadline = daemons.deadline_mono_s(1)
        daemons.start([found], "monitor", lab.hook, devices=viewed, deadline_mono_s=deadline)
        until(lambda: [v["device"] for v in _status(lab, host)] == list(viewed), "no such views")

    again(devices)
    try:
        yield
    finally:
        again(("eth0",))


def _status(lab, host: str) -> list[dict[str, Any]]:
    return host_status(lab, lab.address(host)).get("devices", [{"device": "none yet"}])


def test_a_device_and_the_host_s_own_packets_side_by_side(viewing):
    """Forwarded pings cross h5's device and are not the host's; those to h5 are both."""
    with forwarding(viewing):
        tasks = {}
        for interface in ("eth0", "INPUT", "both"):
            chosen = {"interface": interface, "proto": "icmp"}
            status, task = posted(H5, "/v1/tasks", filter=chosen, counters=[{"by": "src"}])
            assert status == 201, task
            tasks[interface] = task["id"]
        viewing.exec("h6", "ping", "-c", "20", "-i", "0.01", "-q", BEHIND)
        viewing.exec("h6", "ping", "-c", "7", "-i", "0.01", "-q", H5)
        # A forwarded request comes in by eth0 and its reply leaves by it: two crossings.
        found = {name: count(H5, task=number) for name, number in tasks.items()}
        assert found == {"eth0": 2 * 20 + 2 * 7, "INPUT": 7, "both": 14}
        answer = asked(H5, ask="top", by="src", task=tasks["eth0"], k=5)
    rows = {row["key"]: row["count"]["estimate"] for row in answer["rows"]}
    assert rows == {H6: 27, BEHIND: 20, H5: 7}
    certificate = answer["certificate"]
    hook = "tcx" if viewing.hook == "netfilter" else viewing.hook
    assert list(certificate["evidence"]["hooks"]) == [f"{hook} eth0"]
    assert certificate["filter"]["interface"] == "eth0"


def test_a_filter_of_device_prefix_and_ports(viewing):
    """Five ports of twenty, from one prefix of two, forwarded: five datagrams."""
    task = {"interface": "eth0", "proto": "udp", "src": "10.0.0.6/31", "dport": "9005-9009"}
    wider = {**task, "src": "10.0.0.0/24"}
    own = {**wider, "interface": "INPUT"}
    numbers = []
    for chosen in (task, wider, own):
        status, body = posted(H5, "/v1/tasks", filter=chosen)
        assert status == 201, body
        numbers.append(body["id"])
    with forwarding(viewing):
        send = "import socket,sys; s = socket.socket(2, 2)\nfor p in range(9000, 9020):"
        for host, to in (("h6", BEHIND), ("h9", H5)):
            viewing.exec(host, "python3", "-c", f"{send} s.sendto(b'x', ('{to}', p))")
        until(lambda: count(H5, task=numbers[1]) >= 10, "ten datagrams do not come")
        assert [count(H5, task=number) for number in numbers] == [5, 10, 5]


def test_a_transfer_is_exact_to_the_segment(viewing):
    assert_transfer_is_exact(viewing, TRANSFER_BYTES, device="eth0")


def test_one_that_does_not_view_it_is_missing_with_the_reason(viewing):
    with restarted(viewing, "h9"):
        answer = asked(ROOT, ask="count", filter={"interface": "eth0"}, window="last 1s")
        covered = answer["certificate"]["coverage"]
        assert (covered["answered"], list(covered["missing"])) == (7, [H9])
        assert "--devices eth0" in covered["missing"][H9]
        status, refused = posted(H9, "/v1/tasks", filter={"interface": "eth0"})
        assert (status, refused["field"], refused["value"]) == (400, "interface", "eth0")
        nobody = ask(ROOT, type="config sketch", interface="eth9")
        assert nobody.status == 400
        assert "INPUT, OUTPUT, both, or a device viewed here: eth0" in nobody.text


def test_a_device_that_goes_away_is_refused_from_then_on(viewing):
    ip("-n netsonde-h9 link add yard type veth peer name fence")
    with restarted(viewing, "h9", "eth0", "yard"):
        yard = {"interface": "yard"}
        status, task = posted(H9, "/v1/tasks", filter=yard)
        assert status == 201, task
        assert count(H9, task=task["id"]) >= 0
        ip("-n netsonde-h9 link del yard")
        for question in ({"task": task["id"]}, {"filter": yard, "window": "last 5s"}):
            status, refused = posted(H9, "/v1/questions", ask="count", **question)
            assert (status, refused["field"]) == (400, "interface"), refused
            assert "yard is gone since 20" in refused["allowed"]
        (_, view) = _status(viewing, "h9")
        assert view["device"] == "yard"
        assert view["gone"] is not None
        assert asked(H9, ask="count", filter={"interface": "eth0"}, window="last 1s")


def test_what_a_restarted_monitor_missed_is_said(viewing):
    status, task = posted(H9, "/v1/tasks", filter={"interface": "eth0", "proto": "icmp"})
    assert status == 201, task
    with restarted(viewing, "h9", "eth0"):
        viewing.exec("h6", "ping", "-c", "5", "-i", "0.01", "-q", H9)
        answer = asked(H9, ask="count", task=task["id"])
        assert answer["count"]["estimate"] == 10
        assert answer["certificate"]["evidence"]["missed_ticks"] > 0
        assert H9 in answer["certificate"]["coverage"]["partial"]


def test_no_more_rights_are_kept_than_the_hooks_need(viewing):
    """All is attached by then: a view of TCX adds none to those of the host's own hook."""
    net_admin, bpf = 1 << 12, 1 << 39
    kept = {"netfilter": bpf, "tcx": bpf | net_admin, "clsact": bpf | net_admin, "afpacket": 0}
    monitor = Path(f"/proc/{viewing.pid('h5', 'monitor')}")
    for thread in (monitor / "task").iterdir():
        status = dict(line.split(":\t") for line in (thread / "status").read_text().splitlines())
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == kept[viewing.hook]


def test_a_monitor_says_which_device_it_cannot_view(viewing):
    told = viewing.exec("h9", "netsonde-monitor", "--devices", "eth0,eth7", check=False)
    assert told.returncode == 2
    assert "field 'devices' is 'eth7'; allowed: devices of this host: eth0, lo" in told.stderr
