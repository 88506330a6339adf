"""Lists as CSV: every field of the schema is a column."""

import csv
import io
import json
import os
import subprocess
import sys

import msgspec
import pytest

from netsonde.cli import listing
from netsonde.cli.options import Listed
from netsonde.model.asked import FilterText
from netsonde.model.bound import Bound
from netsonde.model.certificate import Covered
from netsonde.model.detector import Event, EvidenceRow
from netsonde.model.errors import BadField
from netsonde.model.resource import (
    CounterSpec,
    DetectorBody,
    DetectorSpec,
    TaskBody,
    WebhookBody,
    WebhookShown,
)

TASK = TaskBody(
    id=7,
    filter=FilterText(proto="tcp", dport="80,443"),
    counters=(CounterSpec(by="src"), CounterSpec(by="dst", increment="bytes")),
    scope="subtree",
    since_tick=17_640_000_000,
    since="2025-11-24T16:00:00.0Z",
    etag="e1",
    coverage=Covered(asked=8, answered=7, missing={"10.0.0.7": 'says "no", twice'}),
)
DETECTOR = DetectorBody(
    name="mine", builtin=False, spec=DetectorSpec(measure="count", by="src", threshold=9)
)
WEBHOOK = WebhookBody(
    name="pager",
    signed=True,
    webhook=WebhookShown(url="http://10.0.0.1/", detectors=("mine", "port_scan")),
    delivered=1,
    failed=2,
    dropped=3,
    waiting=4,
)
EVENT = Event(
    id="h4-1-1",
    detector="port_scan",
    state="raised",
    host="10.0.0.4",
    key_type="src",
    key="10.0.0.6",
    count=Bound(lower=80, estimate=85, upper=90),
    peak=85,
    threshold=50,
    first_tick=1,
    last_tick=2,
    raised_tick=2,
    wall_ns=1_764_000_000_000_000_000,
    sentence="10.0.0.6, a scanner\nof two lines",
    evidence=(EvidenceRow(flow="10.0.0.6,10.0.0.4,4,80,6", packets=1, bytes=40),),
    ports=(80, 81),
)


def read(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out), strict=True))


@pytest.mark.parametrize(
    "one", [TASK, DETECTOR, WEBHOOK, EVENT], ids=lambda one: type(one).__name__
)
def test_a_row_holds_all_that_json_does(capsys, one: msgspec.Struct) -> None:
    assert listing.listed([one], type(one), Listed(csv=True), (), tuple) == 0
    (row,) = read(capsys)

    def check(told: dict[str, object], prefix: str = "") -> int:
        columns = 0
        for name, value in told.items():
            cell = row.get(prefix + name)
            if cell is None:
                assert isinstance(value, dict)
                columns += check(value, f"{prefix}{name}_")
                continue
            columns += 1
            if isinstance(value, dict) or (
                value and isinstance(value, list) and isinstance(value[0], dict)
            ):
                assert json.loads(cell) == value
            elif isinstance(value, list):
                assert cell.split() == list(map(str, value))
            else:
                shown = json.dumps(value) if isinstance(value, bool) else str(value)
                assert cell == ("" if value is None else shown)
        return columns

    assert check(json.loads(msgspec.json.encode(one))) == len(row)


def test_without_a_row_there_is_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    listing.listed([], Event, Listed(csv=True), (), tuple)
    assert capsys.readouterr().out.startswith("id,detector,state,host,key_type,key,count_lower,")


def test_one_form_at_a_time() -> None:
    with pytest.raises(BadField, match="one of --json and --csv"):
        Listed(json=True, csv=True)


def test_a_reader_that_has_gone_is_told_to_the_command() -> None:
    """Which ends well then, as whoever read has seen enough."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    code = """
from netsonde.cli import printing
try:
    printing.listing(("name",), [("x" * 99,)] * 999)
except BrokenPipeError:
    import os
    os._exit(7)
"""
    with open(write_end, "wb") as gone:
        done = subprocess.run([sys.executable, "-c", code], check=False, stdout=gone)
    assert done.returncode == 7
