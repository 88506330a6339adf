"""The commands that ask: what they send, what they print, how they end."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest
import sample_answers
import v1

from netsonde.cli import app, exits
from netsonde.cli.options import Service
from netsonde.client import Client
from netsonde.model.answer import Answer
from netsonde.model.asked import FilterText
from netsonde.model.certificate import Covered
from netsonde.model.detector import Event
from netsonde.model.resource import (
    CounterSpec,
    DetectorBody,
    DetectorList,
    DetectorSpec,
    EventPage,
    TaskBody,
    TaskSpec,
)

NETSONDE = Path(sys.executable).parent / "netsonde"
VERBS = {
    "count": [],
    "top": ["src_dport"],
    "keys": ["src"],
    "distinct": ["src"],
    "distribution": ["src"],
    "spreaders": ["src", "--of", "dst_dport"],
    "change": ["dst"],
    "series": [],
}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command against canned answers; gives its status, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(service: v1.V1, *argv: str) -> tuple[int, str, str]:
        monkeypatch.setattr(
            Service, "client", lambda _: Client("http://root:8000", transport=service.transport)
        )
        status = app.run(argv)
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize("verb", VERBS)
def test_people_get_a_table_and_one_line(asking: Run, verb: str) -> None:
    found = sample_answers.ALL[verb]
    status, printed, said = asking(v1.answering(found), "ask", verb, *VERBS[verb])
    assert (status, said) == (exits.OK, "")
    assert printed.splitlines()[-1] == found.certificate.line
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize("verb", VERBS)
def test_programs_get_the_schema(asking: Run, verb: str) -> None:
    found = sample_answers.ALL[verb]
    _, printed, _ = asking(v1.answering(found), "ask", verb, *VERBS[verb], "--json")
    assert msgspec.json.decode(printed, type=Answer) == found
    assert json.loads(printed)["certificate"]["schema"] == 1


@pytest.mark.parametrize("verb", VERBS)
def test_tables_get_rows_and_the_certificate_beside_them(asking: Run, verb: str) -> None:
    found = sample_answers.ALL[verb]
    _, printed, said = asking(v1.answering(found), "ask", verb, *VERBS[verb], "--csv")
    rows = list(csv.DictReader(printed.splitlines()))
    assert rows
    assert all(None not in row and None not in row.values() for row in rows)
    assert said == found.certificate.line + "\n"


def test_the_whole_certificate(asking: Run) -> None:
    service = v1.answering(sample_answers.TOP)
    _, printed, _ = asking(service, "ask", "top", "src", "--certificate")
    for fact in ("no: each number has its bounds", "8 of 8 answered", "truncated 1", "10.0.0.2"):
        assert fact in printed


def test_an_answer_without_some_hosts_has_its_own_status(asking: Run) -> None:
    partial = msgspec.structs.replace(
        sample_answers.COUNT,
        certificate=sample_answers.certificate(coverage=sample_answers.MISSING),
    )
    status, printed, _ = asking(v1.answering(partial), "ask", "count")
    assert status == exits.PARTIAL
    assert "7/8 hosts · missing 10.0.0.7" in printed


def test_a_long_certificate_goes_on_below_between_two_facts(asking: Run) -> None:
    partial = {f"192.168.100.{n}": "its monitor began after the window did" for n in range(3)}
    coverage = msgspec.structs.replace(sample_answers.MISSING, partial=partial)
    made = sample_answers.certificate(coverage=coverage)
    answer = msgspec.structs.replace(sample_answers.COUNT, certificate=made)
    _, printed, _ = asking(v1.answering(answer), "ask", "count")
    assert max(map(len, printed.splitlines())) <= 80 < len(made.line)
    assert made.line in printed.replace("\n· ", " · ")


def test_what_is_asked_is_what_was_typed(asking: Run) -> None:
    service = v1.answering(sample_answers.TOP)
    asking(
        service, "ask", "top", "src", "--proto", "tcp", "--dport", "80,443", "--window", "last 5m",
        "--scope", "host", "--share", "0.1", "--increment", "bytes",
    )  # fmt: skip
    sent = {name: value for name, value in service.body.items() if value is not None}
    chosen = {name: value for name, value in sent.pop("filter").items() if value is not None}
    assert chosen == {"interface": "INPUT", "proto": "tcp", "dport": "80,443", "flow": "any"}
    assert sent == {
        "ask": "top",
        "by": "src",
        "share": 0.1,
        "increment": "bytes",
        "window": "last 5m",
        "scope": "host",
    }


def test_all_pages_of_keys(asking: Run) -> None:
    first = msgspec.structs.replace(sample_answers.KEYS, next="10.0.0.9")
    service = v1.answering(first, sample_answers.KEYS)
    _, printed, _ = asking(service, "ask", "keys", "src", "--all", "--json")
    assert len(printed.splitlines()) == 2
    assert service.body["after"] == "10.0.0.9"


@pytest.mark.parametrize(
    ("service", "status", "sentence"),
    [
        (v1.refusing(404, detail="no task 7"), exits.REFUSED, "no task 7"),
        (v1.refusing(503, detail="the monitor is away"), exits.REFUSED, "the monitor is away"),
        (
            v1.refusing(400, field="k", value="5000", allowed="1 to 1000"),
            exits.WRONG,
            "--k is '5000'; allowed: 1 to 1000",
        ),
        (v1.V1([httpx.ConnectError("refused")]), exits.UNREACHABLE, "does not answer: refused"),
        (v1.V1([httpx.Response(200, text="<html>")]), exits.UNREACHABLE, "not netsonde's"),
    ],
)
def test_failures_have_a_status_and_a_sentence(
    asking: Run, service: v1.V1, status: int, sentence: str
) -> None:
    ended, printed, said = asking(service, "ask", "top", "src")
    assert (ended, printed) == (status, "")
    assert sentence in " ".join(said.split())


@pytest.mark.parametrize("group", ["ask", "task", "detector", "webhook"])
def test_a_group_alone_shows_its_help_and_did_nothing(
    capsys: pytest.CaptureFixture[str], group: str
) -> None:
    assert app.run([group]) == exits.WRONG
    assert app.run([group, "--help"]) == exits.OK
    alone, asked_for = capsys.readouterr().out.split(f"Usage: netsonde {group}")[1:]
    assert alone.strip() == asked_for.strip()


def event(number: int) -> Event:
    page = {"id": f"h4-1-{number}", "detector": "port_scan", "state": "raised", "host": "10.0.0.4"}
    bound = {"lower": 85, "estimate": 85, "upper": 85}
    rest = {"key_type": "src", "key": "10.0.0.6", "count": bound, "peak": 85, "threshold": 50}
    times = {
        "first_tick": 1,
        "last_tick": 2,
        "raised_tick": 2,
        "wall_ns": 1_764_000_000_000_000_000,
    }
    row = {"flow": "10.0.0.6,10.0.0.4,4,80,6", "packets": 1, "bytes": 40}
    said = {"sentence": "10.0.0.6 contacted 85 ports", "evidence": [row]}
    return msgspec.convert(page | rest | times | said, Event)


def test_the_latest_events_of_all_pages(asking: Run) -> None:
    pages = [
        EventPage(events=(event(1), event(2)), next="h4-1-2", dropped=0),
        EventPage(events=(event(3),), next="h4-1-3", dropped=4),
        EventPage(events=(), next="h4-1-3", dropped=4),
    ]
    status, printed, said = asking(v1.answering(*pages), "events", "--limit", "2", "--evidence")
    assert status == exits.OK
    assert printed.splitlines()[0] == (
        "2025-11-24T16:00:00.0Z  raised   port_scan  10.0.0.6 contacted 85 ports  (at"
    )
    assert printed.splitlines()[1] == "    10.0.0.4)"
    assert len(printed.splitlines()) == 6
    assert "4 events gave way" in said


def test_a_detector_keeps_what_is_not_changed(asking: Run) -> None:
    known = DetectorBody(
        name="port_scan",
        builtin=True,
        spec=DetectorSpec(measure="spread", by="src", of="dst_dport", threshold=100),
    )
    service = v1.answering(DetectorList(detectors=(known,)), known)
    status, _, _ = asking(service, "detector", "set", "port_scan", "--threshold", "200")
    assert status == exits.OK
    sent = msgspec.convert(service.body, DetectorSpec)
    assert sent == msgspec.structs.replace(known.spec, threshold=200)
    service = v1.answering(DetectorList(detectors=()), known)
    status, _, said = asking(service, "detector", "set", "mine", "--threshold", "200")
    assert status == exits.WRONG
    assert "--measure is missing" in said


def test_a_task_keeps_what_is_not_changed(asking: Run) -> None:
    known = TaskBody(
        id=7,
        filter=FilterText(proto="tcp", dport="80"),
        counters=(CounterSpec(by="src", hitter_threshold=0.3),),
        scope="subtree",
        since_tick=17_640_000_000,
        since="2025-11-24T16:00:00.0Z",
        etag="e1",
        coverage=Covered(asked=1, answered=1),
    )
    service = v1.answering(known, known)
    status, printed, _ = asking(service, "task", "change", "7", "--dport", "443")
    assert (status, printed.splitlines()[0]) == (exits.OK, "task      7")
    sent = msgspec.convert(service.body, TaskSpec)
    changed = FilterText(proto="tcp", dport="443")
    assert sent == TaskSpec(filter=changed, counters=known.counters, scope=None)
    service = v1.answering(known, known)
    asking(service, "task", "change", "7", "src", "dst:bytes")
    sent = msgspec.convert(service.body, TaskSpec)
    assert sent.filter == known.filter
    assert sent.counters == (*known.counters, CounterSpec(by="dst", increment="bytes"))


def test_reading_arguments_needs_no_http_library() -> None:
    code = (
        "import sys; from netsonde.cli import app, ask; app.run(['ask', 'top', 'scr']); "
        "print(*(n for n in ('httpx', 'anyio', 'numpy') if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_help_loads_nothing_that_asks() -> None:
    """It comes at once since what takes long to load is left for a question."""
    command = [sys.executable, "-X", "importtime", NETSONDE, "ask", "top", "--help"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    loaded = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()
    }
    assert {"netsonde", "cyclopts"} <= loaded
    assert not loaded & {"numpy", "httpx", "litestar", "textual", "asyncio", "pyroute2"}
