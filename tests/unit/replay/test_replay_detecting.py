"""Detectors over captures: who is named, when, and what shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from captures import START_S
from clips import clip, flow, steady

from netsonde.replay import detecting
from netsonde.replay.detecting import Detection, event_line, run_detectors

SYN = 0x02


def detected(*paths: Path) -> Detection:
    return run_detectors(paths, lambda what, done_bytes, all_bytes: None)


def scan(path: Path, ports: int, begin_s: float = 3.0) -> Path:
    probes = [(begin_s + n * 0.01, flow(9, dport=1 + n, sport=50_000), SYN) for n in range(ports)]
    return clip(path, steady(2, 100, 0, 10) + probes)


def test_a_scan_names_scanner_target_and_ports(tmp_path: Path) -> None:
    found = detected(scan(tmp_path / "scan.pcap", 300))
    assert [(alarm.detector, alarm.key, alarm.peak) for alarm in found.alarms] == [
        ("port_scan", "10.0.0.9,10.0.1.1", 300)
    ]
    assert [event.state for event in found.events] == ["raised", "cleared"]
    said = found.alarms[0].sentence
    assert "10.0.0.9 scans ports of 10.0.1.1: 300 ports" in said
    raised = event_line(found.events[0], found.first_tick or 0)
    assert raised.startswith("22:13:23.4 +3.4s port_scan raised: 10.0.0.9 scans ports of 10.0.1.1")
    assert "ports " in raised
    assert "e.g. 10.0.0.9,10.0.1.1,50000," in raised
    assert found.first_tick == START_S * 10


def test_ordinary_traffic_raises_nothing(tmp_path: Path) -> None:
    found = detected(clip(tmp_path / "talk.pcap", steady(2, 100, 0, 10)))
    assert (found.events, found.alarms, found.hidden_packets) == ((), (), 0)
    assert found.ip_packets == found.packets == 100
    assert {state.raised for state in found.detectors} == {0}


def test_a_scan_over_two_files_is_one_alarm(tmp_path: Path) -> None:
    one = clip(tmp_path / "1", [(n * 0.01, flow(9, dport=1 + n), SYN) for n in range(30)])
    two = clip(tmp_path / "2", [(0.4 + n * 0.01, flow(9, dport=31 + n), SYN) for n in range(30)])
    assert detected(one).alarms == detected(two).alarms == ()
    assert [(alarm.detector, alarm.peak) for alarm in detected(one, two).alarms] == [
        ("port_scan", 60)
    ]


def test_events_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detecting, "MAX_EVENTS", 1)
    found = detected(scan(tmp_path / "scan.pcap", 100))
    assert (len(found.events), found.events_dropped) == (1, 1)


def test_an_empty_capture_has_no_alarms(tmp_path: Path) -> None:
    found = detected(clip(tmp_path / "empty.pcap", []))
    assert (found.alarms, found.first_tick, found.packets) == ((), None, 0)
