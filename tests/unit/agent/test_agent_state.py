"""What an agent keeps: whole, in part with the rest set aside, or left alone with a sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from netsonde.agent import state
from netsonde.agent.state import State, StateFile
from netsonde.daemon.files import Directory
from netsonde.model.detector import Choice, Detector
from netsonde.model.errors import Busy, Unavailable
from netsonde.model.resource import Webhook
from netsonde.model.task import Counter, Filter, Task
from netsonde.overlay.tasks import OwnTask


def task(number: int, *counters: str) -> Task:
    counted = tuple(Counter(key_type=name) for name in counters)
    return Task(series="sketch", id=number, filter=Filter(), counters=counted, since_tick=7)


def detector(name: str) -> Choice:
    return Choice(detector=Detector(name=name, measure="count", by="src", threshold=5))


WHOLE = State(
    own=tuple(OwnTask(task=task(number, "src"), scope="subtree") for number in range(3)),
    inherited=(task(1_000_001, "dst"), task(1_000_002)),
    own_detectors=(detector("first"), detector("second")),
    inherited_detectors=(detector("third"),),
    webhooks={name: Webhook(url=f"http://192.0.2.1/{name}") for name in ("one", "two")},
    path=("10.0.0.1", "10.0.0.2"),
    children={name: (name, f"{name}0") for name in ("10.0.0.4", "10.0.0.5")},
    removed=("10.0.0.6",),
    left=("10.0.0.1",),
)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    with Directory(os.open(tmp_path, os.O_DIRECTORY), str(tmp_path)) as held:
        yield held


def load(data: bytes, tmp_path: Path) -> State:
    (tmp_path / "agent.json").write_bytes(data)
    with Directory(os.open(tmp_path, os.O_DIRECTORY), str(tmp_path)) as held:
        return StateFile(held).load()


def test_it_comes_back_as_it_was(directory: Directory, tmp_path: Path) -> None:
    file = StateFile(directory)
    assert file.load() == State()
    file.save(WHOLE)
    assert file.load() == WHOLE
    assert (tmp_path / "agent.json").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.json", "agent.lock"]


def test_schema_one_of_the_first_release_is_read(tmp_path: Path) -> None:
    written = (
        b'{"schema":1,"own":[{"task":{"series":"sketch","id":0,"filter":{"interface":"INPUT"},'
        b'"counters":[{"key_type":"src"}],"since_tick":7},"scope":"subtree"}],"inherited":[],'
        b'"webhooks":{},"path":["10.0.0.1"],"children":{"10.0.0.4":["10.0.0.4"]}}'
    )
    found = load(written, tmp_path)
    assert [one.task.id for one in found.own] == [0]
    assert (found.path, found.children) == (("10.0.0.1",), {"10.0.0.4": ("10.0.0.4",)})


BAD: list[tuple[str, Any, Any]] = [
    ("own", 1, {"task": {"series": "sketch", "id": -1}}),
    ("own", 0, 5),
    ("own", 2, json.loads(msgspec.json.encode(WHOLE.own[0]))),  # an id twice
    ("inherited", 0, None),
    ("own_detectors", 0, {"detector": {"name": "Not one"}}),
    ("inherited_detectors", 0, []),
    ("webhooks", "one", {"url": 5}),
    ("children", "10.0.0.4", ["10.0.0.5"]),
    ("children", "10.0.0.5", ["10.0.0.5", "not an address"]),
    ("removed", 0, "not an address"),
    ("left", 0, 5),
]


@pytest.mark.parametrize(("field", "place", "entry"), BAD)
def test_one_bad_entry_is_set_aside_and_named_and_the_rest_loads(
    tmp_path: Path, field: str, place: Any, entry: Any
) -> None:
    fields = json.loads(msgspec.json.encode(WHOLE))
    fields[field][place] = entry
    with capture_logs() as logs:
        found = load(json.dumps(fields).encode(), tmp_path)
    (named, summary) = logs
    assert (named["field"], named["name"]) == (field, str(place))
    assert summary["file"] == str(tmp_path / "agent.bad-1")
    (aside,) = json.loads((tmp_path / "agent.bad-1").read_bytes())
    assert (aside["field"], aside["name"], aside["entry"]) == (field, str(place), entry)
    expected = json.loads(msgspec.json.encode(WHOLE))
    del expected[field][place]
    assert json.loads(msgspec.json.encode(found)) == expected


def test_a_name_or_a_path_that_cannot_be_is_set_aside(tmp_path: Path) -> None:
    fields = json.loads(msgspec.json.encode(WHOLE))
    fields["webhooks"]["Not a name"] = fields["webhooks"]["one"]
    fields["children"]["fe80::1"] = ["fe80::2"]
    fields["path"] = ["nowhere"]
    fields["own_detectors"] = "none"
    found = load(json.dumps(fields).encode(), tmp_path)
    assert found == msgspec.structs.replace(WHOLE, path=(), own_detectors=())
    aside = json.loads((tmp_path / "agent.bad-1").read_bytes())
    named = {(one["field"], one["name"]) for one in aside}
    assert named == {
        ("webhooks", "Not a name"),
        ("children", "fe80::1"),
        ("path", ""),
        ("own_detectors", ""),
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"schema": 2}',
        b'{"schema": true}',
        b'{"schema": "1"}',
        b"{}",
        b'{"schema": 1, "own": ' + b"[" * 200_000,
    ],
)
def test_what_cannot_be_read_is_a_sentence_and_stays(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Unavailable, match=r"agent\.json"):
        load(data, tmp_path)
    assert (tmp_path / "agent.json").read_bytes() == data
    assert not list(tmp_path.glob("agent.bad*"))


def test_where_nothing_can_be_set_aside_nothing_is_lost(
    tmp_path: Path, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = json.loads(msgspec.json.encode(WHOLE))
    fields["own"][1] = 5
    (tmp_path / "agent.json").write_text(json.dumps(fields))
    for number in range(1, state.MAX_ASIDE + 1):
        (tmp_path / f"agent.bad-{number}").mkdir()
    with pytest.raises(Unavailable, match=r"agent\.bad-\d cannot be written"):
        StateFile(directory).load()
    assert json.loads((tmp_path / "agent.json").read_text()) == fields


@pytest.mark.parametrize("field", ["own", "webhooks", "removed"])
def test_a_file_of_bad_entries_is_no_agent_s(tmp_path: Path, field: str) -> None:
    def data_of(number: int) -> bytes:
        entries = {f"{place} is bad": 5 for place in range(number)}
        several = entries if field == "webhooks" else list(entries.values())
        return json.dumps({"schema": 1, field: several}).encode()

    with capture_logs() as logs:
        assert load(data_of(state.MAX_BAD), tmp_path) == State()
    assert len(json.loads((tmp_path / "agent.bad-1").read_bytes())) == state.MAX_BAD
    said = [log["event"] for log in logs]
    assert said == [*["kept entry set aside"] * state._MAX_SHOWN, "state loaded in part"]
    data = data_of(state.MAX_BAD + 1)
    with pytest.raises(Unavailable, match=f"more than {state.MAX_BAD} entries"):
        load(data, tmp_path)
    assert (tmp_path / "agent.json").read_bytes() == data
    assert [path.name for path in tmp_path.glob("agent.bad*")] == ["agent.bad-1"]


def test_a_state_over_the_limit_is_refused_and_the_old_one_stays(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = StateFile(directory)
    file.save(WHOLE)
    monkeypatch.setattr(state, "MAX_STATE_BYTES", len(msgspec.json.encode(WHOLE)))
    with pytest.raises(Unavailable, match="can be kept"):
        file.save(msgspec.structs.replace(WHOLE, path=("10.0.0.1", "10.0.0.2", "10.0.0.3")))
    assert file.load() == WHOLE


def test_two_agents_cannot_share_one_state(tmp_path: Path, directory: Directory) -> None:
    StateFile(directory)
    other = Directory(os.open(tmp_path, os.O_DIRECTORY), str(tmp_path))
    with other, pytest.raises(Busy, match=f"process {os.getpid()}"):
        StateFile(other)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


@given(
    fields=st.dictionaries(st.sampled_from(State.__struct_fields__[1:]), JSON),
    spoiled=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=3),
)
@settings(deadline=None, max_examples=400)
def test_no_file_ends_in_anything_but_a_state_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, Any], spoiled: list[tuple[int, int]]
) -> None:
    """Fields of any kind, and bytes changed in a good file; what loads can be kept again."""
    whole = json.loads(msgspec.json.encode(WHOLE))
    data = bytearray(json.dumps(whole | fields).encode())
    for place, byte in spoiled:
        data[place % len(data)] = byte
    home = tmp_path_factory.mktemp("state")
    with capture_logs():
        try:
            found = load(bytes(data), home)
        except Unavailable:
            assert (home / "agent.json").read_bytes() == data
            return
        assert load(msgspec.json.encode(found), home) == found
