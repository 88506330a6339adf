"""A user's own detectors over captures, and over the packets that a filter takes."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from clips import clip, flow, steady

from netsonde.model.asked import FilterText
from netsonde.model.asking import checked_filter, written_detector
from netsonde.model.detector import Choice
from netsonde.model.detectors import BUILTIN
from netsonde.model.errors import BadField
from netsonde.model.resource import DetectorBody, DetectorList, DetectorSpec
from netsonde.replay.choosing import MAX_FILE_BYTES, chosen
from netsonde.replay.detecting import Detection, run_detectors

SYN = 0x02
TALK = DetectorBody(
    name="talk",
    builtin=False,
    spec=DetectorSpec(measure="count", by="src", threshold=40, window="5s"),
)
LISTED = tuple(
    DetectorBody(name=one.name, builtin=True, spec=written_detector(Choice(detector=one)))
    for one in BUILTIN
)


def saved(path: Path, found: object) -> Path:
    path.write_bytes(msgspec.json.encode(found))
    return path


def detected(path: Path, detectors: Path | None = None, **passing: object) -> Detection:
    only = checked_filter(FilterText(**passing)) if passing else None
    return run_detectors([path], lambda *_: None, chosen(detectors), only)


def scan(path: Path) -> Path:
    probes = [(3 + n * 0.01, flow(9, dport=1 + n, sport=50_000), SYN) for n in range(100)]
    return clip(path, steady(2, 100, 0, 10) + probes)


def test_without_a_file_they_are_the_built_in_ones() -> None:
    assert chosen(None) == BUILTIN


@pytest.mark.parametrize("form", [list, lambda all_: DetectorList(detectors=tuple(all_))])
def test_what_a_host_lists_is_what_runs(tmp_path: Path, form) -> None:
    path = saved(tmp_path / "mine.json", form([*LISTED, TALK]))
    assert chosen(path)[: len(BUILTIN)] == BUILTIN
    assert chosen(path)[-1].name == "talk"


def test_one_is_added_changed_or_switched_off(tmp_path: Path) -> None:
    capture = scan(tmp_path / "scan.pcap")
    found = detected(capture, saved(tmp_path / "talk.json", TALK))
    assert {(a.detector, a.key) for a in found.alarms} == {
        ("port_scan", "10.0.0.9,10.0.1.1"),
        ("talk", "10.0.0.9"),
        ("talk", "10.0.0.2"),
    }
    port_scan = next(body for body in LISTED if body.name == "port_scan")
    for change in ({"threshold": 101}, {"enabled": False}):
        spec = msgspec.structs.replace(port_scan.spec, **change)
        body = msgspec.structs.replace(port_scan, spec=spec)
        assert detected(capture, saved(tmp_path / "changed.json", [body])).alarms == ()


def test_a_filter_takes_packets_before_every_detector(tmp_path: Path) -> None:
    capture, talk = scan(tmp_path / "scan.pcap"), saved(tmp_path / "talk.json", TALK)
    found = detected(capture, talk, src="10.0.0.2")
    assert [(alarm.detector, alarm.key) for alarm in found.alarms] == [("talk", "10.0.0.2")]
    assert found.ip_packets == 200
    assert detected(capture, talk, dport="1-60").alarms[0].peak == 60
    assert detected(capture, talk, family=6).alarms == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"bad.json'; allowed: JSON"),
        ("[]x", r"bad.json'; allowed: JSON"),
        ('{"name": "a b", "spec": {}}', r"'.*: name a b'; allowed: 1 to 40 of a-z"),
        ('[{"name": "a"}]', r"\[0\].spec missing"),
        ('{"name": "a", "spec": {"measure": "count", "by": "src", "threshold": 0}}', "threshold 0"),
        (
            '{"name": "a", "spec": {"measure": "count", "by": "scr", "threshold": 1}}',
            r"'a: by scr'; allowed: src, dst",
        ),
        (
            json.dumps([{"name": f"d{n}", "spec": {"measure": "count", "by": "src", "threshold": 1}}
                        for n in range(40)]),
            "at most 32",
        ),
        (" " * (MAX_FILE_BYTES + 1), "at most 1048576 bytes"),
    ],
    ids=["open", "more", "name", "no spec", "threshold", "key type", "many", "long"],
)  # fmt: skip
def test_a_file_that_cannot_be_is_refused_by_detector_and_field(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(BadField, match=said) as refused:
        chosen(path)
    assert refused.value.field == "detectors"
