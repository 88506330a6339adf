"""`netsonde host`: what an operator looks for first is first."""

from __future__ import annotations

import json

import msgspec
import pytest
import v1

from netsonde.cli import app, exits
from netsonde.cli.options import Service
from netsonde.client import Client
from netsonde.model.certificate import Covered
from netsonde.model.detector import DetectorState
from netsonde.model.resource import DeviceView, Host, Level, Reach

LAST = 17_955_757_338
REACH = Reach(first_tick=None, begins=None, levels=(), budget_bytes=8 << 20)
VIEW = DeviceView(
    device="eth0",
    hook="tcx eth0",
    gone=None,
    since_tick=LAST - 35_999,
    last_tick=LAST,
    packets=54_321,
    ip_bytes=7_654_321,
    drops={"not_ip": 12, "truncated": 3},
    tasks=1,
    tick_ms=100,
    told_one_in=1,
    late_ticks=0,
    recorder=REACH,
)
HOST = Host(
    host="10.0.0.2",
    software="0.1.0",
    parent=None,
    hook="netfilter",
    encapsulated="outer",
    since_tick=LAST - 35_999,
    last_tick=LAST,
    packets=1_234_567,
    ip_bytes=987_654_321,
    drops={"bad_header": 2, "no_bucket": 0, "not_ip": 5, "ring_full": 1_000},
    tasks=3,
    tick_ms=200,
    told_one_in=4,
    late_ticks=12,
    failed_refreshes=1,
    cpu_seconds=36.0,
    rss_bytes=70 << 20,
    recorder=Reach(
        first_tick=LAST - 3_000,
        begins="2026-11-25T02:57:13.8Z",
        levels=(
            Level(step_ms=100, steps=600, first_tick=LAST - 599, bytes=8 << 20),
            Level(step_ms=1000, steps=300, first_tick=LAST - 3_000, bytes=4 << 20),
            Level(step_ms=10_000, steps=0, first_tick=None, bytes=0),
        ),
        budget_bytes=24 << 20,
    ),
    detectors=(
        DetectorState(
            name="port_scan",
            active=2,
            raised=5,
            suppressed=0,
            suppressed_most=1,
            keys=1_200,
            items=9,
            first_tick=LAST - 100,
            cpu_ms=340,
        ),
    ),
    devices=(VIEW, msgspec.structs.replace(VIEW, hook="tcx eth1", gone="2026-11-25T02:57:13.8Z")),
)
MEMBERS = Covered(asked=8, answered=7, missing={"10.0.0.7": "no answer on port 8001 " * 4})
SHOWN = """\
host       10.0.0.2, root; netsonde 0.1.0
hosts      7 of 8 answer
missing    10.0.0.7: no answer on port 8001 no answer on port 8001 no answer on
           port 8001 no answer on port 8001
dropped    1,002 packets: bad_header 2, ring_full 1,000
counted    1,234,567 packets, 987,654,321 bytes of IP; not IP: 5
since      2026-11-25T02:02:13.9Z, 60.0 min
hook       netfilter; of tunnels: outer
tick       200 ms, 12 were late; flows told: 1 in 4, for the rest estimates
addresses  could not be followed, 1 tries failed: INPUT and OUTPUT may be
           mistaken
cost       1.0% of a CPU, 70 MiB at most
recorder   reaches back 5.0 min, to 2026-11-25T02:57:13.8Z; 12.0 of 24 MiB
           steps of 100 ms for 60.0 s, of 1 s for 5.0 min, of 10 s: none yet
tasks      3

device    state                     packets  bytes of IP  dropped  not IP  tasks
tcx eth0  counts                     54,321    7,654,321        3      12      1
tcx eth1  gone                       54,321    7,654,321        3      12      1
          2026-11-25T02:57:13.8Z

detector   alarms now  raised  suppressed  most   keys  CPU ms
port_scan           2       5           0     1  1,200     340
"""


def test_it_fits_and_begins_with_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(
        Service,
        "client",
        lambda _: Client("http://root:8000", transport=v1.answering(HOST, MEMBERS).transport),
    )
    assert app.run(["host"]) == exits.PARTIAL
    printed = capsys.readouterr().out
    assert printed.splitlines() == SHOWN.splitlines()
    assert max(map(len, printed.splitlines())) <= 80
    assert app.run(["host", "--json"]) == exits.PARTIAL
    told = json.loads(capsys.readouterr().out)
    assert msgspec.convert(told["host"], Host) == HOST
    assert msgspec.convert(told["members"], Covered) == MEMBERS
