"""Captures counted by `netsonde replay` against what tshark counted in them.

Truth files lie beside the shared traces; a clone without them tests on a capture it builds.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter as Tally
from pathlib import Path
from typing import Any

import pytest
from captures import pcap
from packets import traffic
from rich.progress import Progress
from traces import traces_folder

from netsonde.model.bound import Bound
from netsonde.model.key import KeyType
from netsonde.model.task import Counter, Filter, Increment, Question, Task
from netsonde.replay.capture import Capture
from netsonde.replay.detecting import run_detectors
from netsonde.replay.largest import Asked, Counted, count, top_rows
from netsonde.sketch.window import Window

KEY_TYPES = {
    "src": "src",
    "dst": "dst",
    "src_dst": "src_dst",
    "dport": "dport",
    "proto_dport": "proto_dport",
    "five_tuple": "src_dst_sport_dport_proto",
}


def exact_traces() -> list[Path]:
    folder = traces_folder()
    found = sorted(folder.glob("*.pcap")) if folder else []
    return [path for path in found if not path.name.startswith("edge-")]


def edge_traces() -> list[Path]:
    folder = traces_folder()
    return sorted(folder.glob("edge-*.pcap")) if folder else []


def replayed(path: Path, key_type: str, increment: Increment) -> tuple[Asked, Counted]:
    counter = Counter(key_type=key_type, increment=increment)
    task = Task(series="sketch", id=0, filter=Filter(), counters=(counter,), since_tick=0)
    asked = Asked(task, KeyType.parse(key_type), 20)
    with Progress(disable=True) as progress:
        return asked, count(Capture(path, secrets.token_bytes(64)), asked, progress)


def normal(key: str) -> str:
    """Write a truth file's key as ours: it joins parts with '>' or '/'."""
    return key.replace(">", ",").replace("/", ",")


@pytest.mark.parametrize("path", exact_traces(), ids=lambda path: path.stem)
@pytest.mark.parametrize("increment", Increment)
def test_equals_tshark(path: Path, increment: Increment) -> None:
    truth: dict[str, Any] = json.loads(path.with_suffix(".truth.json").read_text())
    counters = tuple(Counter(key_type=k, increment=increment) for k in KEY_TYPES.values())
    task = Task(series="sketch", id=0, filter=Filter(), counters=counters, since_tick=0)
    capture, window = Capture(path, secrets.token_bytes(64)), Window(task)
    ip_packets = ip_bytes = 0
    for tick, _ in capture.ticks():
        window.absorb(tick)
        ip_packets += tick.sides[0].packets
        ip_bytes += tick.sides[0].ip_bytes
    totals = truth["totals"]
    assert capture.packets == totals["packets"]
    assert (ip_packets, ip_bytes) == (totals["ip_packets"], totals["ip_bytes"])
    for name, key_type in KEY_TYPES.items():
        question = Question(series="sketch", task_id=0, key_type=key_type, limit=1 << 20)
        summary = window.summary(question, task.counter(key_type))
        assert summary.distinct == Bound.exactly(truth["distinct"][name])
        top = top_rows(summary, KeyType.parse(key_type), 20)
        wanted = truth["top20"][name][f"by_{increment.value}"]
        assert [(key, row.count) for key, row in top] == [
            (normal(key), Bound.exactly(count)) for key, count in wanted
        ]


# Where tools honestly disagree (docs/reference/replay.md): IP packets, IP bytes, five-tuples here.
DISAGREED = {
    "edge-jumbo-bigtcp": (55, 365_044, 6),
    "edge-malformed": (652, 3_734_813, 256),
    "edge-mpls": (117, 5_616, 1),
}


@pytest.mark.parametrize("path", edge_traces(), ids=lambda path: path.stem)
def test_edge_trace_is_counted_to_its_end(path: Path) -> None:
    truth: dict[str, Any] = json.loads(path.with_suffix(".truth.json").read_text())
    _, counted = replayed(path, KEY_TYPES["five_tuple"], Increment.PACKETS)
    totals = truth["totals"]
    assert counted.capture.broken is None
    assert counted.capture.packets == totals["packets"]
    assert counted.ip_packets + sum(counted.drops.values()) == totals["packets"]
    assert (
        counted.ip_packets,
        counted.ip_bytes,
        counted.summary.distinct.estimate,
    ) == DISAGREED.get(
        path.stem, (totals["ip_packets"], totals["ip_bytes"], truth["distinct"]["five_tuple"])
    )


@pytest.mark.parametrize("nanoseconds", [False, True], ids=["us", "ns"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_equals_what_was_built(tmp_path: Path, order: str, nanoseconds: bool) -> None:
    truth: Tally[str] = Tally()
    frames = []
    for flow, data in traffic(7, packets=3000, flows=400):
        ethertype = b"\x86\xdd" if ":" in flow.src else b"\x08\x00"
        frames.append(bytes(12) + ethertype + data)
        truth[flow.text] += len(data)
    path = tmp_path / "built.pcap"
    path.write_bytes(pcap(frames, order=order, nanoseconds=nanoseconds))
    asked, counted = replayed(path, "src_dst_sport_dport_proto", Increment.BYTES)
    assert counted.ip_packets == 3000
    assert counted.summary.distinct.estimate == len(truth)
    found = {key: row.count for key, row in top_rows(counted.summary, asked.key_type, 1000)}
    assert {key: bound.estimate for key, bound in found.items()} == dict(truth)
    assert all(bound.exact for bound in found.values())


def test_a_cut_file_is_counted_up_to_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    frames = [bytes(12) + b"\x08\x00" + data for _, data in traffic(8, 10, 3)]
    path.write_bytes(pcap(frames)[:-1])
    _, counted = replayed(path, "src", Increment.PACKETS)
    assert counted.capture.packets == 9
    assert counted.capture.broken is not None
    assert counted.capture.broken.startswith("truncated at byte")


def test_replay_names_scanner_target_and_ports() -> None:
    scan = next((path for path in exact_traces() if path.stem == "attack-scan-nmap-syn"), None)
    if scan is None:
        pytest.skip("no shared captures")
    found = run_detectors([scan], lambda what, done_bytes, all_bytes: None)
    assert [(alarm.detector, alarm.key, alarm.peak) for alarm in found.alarms] == [
        ("port_scan", "172.16.0.8,64.13.134.52", 1000)
    ]
    assert "172.16.0.8 scans ports of 64.13.134.52: 1000 ports" in found.alarms[0].sentence
