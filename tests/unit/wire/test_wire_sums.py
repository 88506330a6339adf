"""What may be said one by one fits its frame together, and one more than may be is refused."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from netsonde.agent.event_flow import AT_ONCE
from netsonde.daemon.failures import MAX_KINDS, Failures
from netsonde.model.bound import Bound
from netsonde.model.coverage import (
    MAX_MEMBERS,
    MAX_REASONS_BYTES,
    MAX_REFUSED,
    UNTOLD,
    Refusal,
    told,
)
from netsonde.model.detector import Event
from netsonde.model.errors import ProtocolError
from netsonde.model.evidence import Evidence
from netsonde.model.number import MAX_COUNT, MAX_WALL_NS
from netsonde.model.resource import MAX_FAILURES, MAX_LEVELS, Level, Reach
from netsonde.model.task import MAX_KEYS
from netsonde.model.text import MAX_LINE_CHARS, MAX_NAME_CHARS
from netsonde.monitor import event_log
from netsonde.overlay.fold import Fold, Gathered
from netsonde.sketch import columns, part
from netsonde.sketch.summary import KEY_DTYPE, Summary, _Wire
from netsonde.wire import monitor, peer
from netsonde.wire.frame import MAX_FRAME_BYTES

CRAB = "\U0001f980"
"""A letter of four bytes."""
MEMBERS = tuple(f"fd00:{n >> 8:x}:{n & 0xFF:x}:{'ffff:' * 4}ffff" for n in range(MAX_MEMBERS))
"""As long as canonical addresses are."""


def largest(kind: inspect.Type) -> Any:
    """Give the longest value that a type takes."""
    match kind:
        case inspect.Metadata():
            return largest(kind.type)
        case inspect.StrType():
            return CRAB * (kind.max_length or 40)
        case inspect.IntType():
            return kind.le if kind.le is not None else (kind.lt or 1) - 1
        case inspect.LiteralType():
            return max(kind.values, key=lambda value: len(str(value)))
        case inspect.StructType():
            return kind.cls(**{one.name: largest(one.type) for one in kind.fields})
        case inspect.VarTupleType():
            return (largest(kind.item_type),) * (kind.max_length or 0)
    raise AssertionError(kind)


LARGEST = largest(inspect.type_info(Event))


@pytest.mark.parametrize("at_once", [AT_ONCE, event_log._AT_ONCE])
def test_as_many_of_the_largest_events_as_are_sent_at_once_fit_a_frame(at_once: int) -> None:
    assert len(msgspec.msgpack.encode(LARGEST)) > 20_000
    events = (LARGEST,) * at_once
    happened = peer.Happened(id=0, events=events, dropped=MAX_COUNT)
    assert len(peer.MESSAGES.encode(happened)) < MAX_FRAME_BYTES
    watched = monitor.Events(events=events, dropped=MAX_COUNT)
    assert len(monitor.REPLIES.encode(watched)) < MAX_FRAME_BYTES


@given(st.lists(st.text(max_size=MAX_LINE_CHARS), max_size=20), st.integers(1, 3))
@settings(max_examples=20)
def test_reasons_of_an_answer_are_bounded_and_nobody_is_unnamed(
    texts: list[str], letters: int
) -> None:
    whys = [*texts, CRAB * MAX_LINE_CHARS, "x" * MAX_LINE_CHARS * letters]
    reasons = {member: whys[n % len(whys)] for n, member in enumerate(MEMBERS[:6000])}
    kept = told(reasons)
    assert kept.keys() == reasons.keys()
    given_bytes = sum(len(why.encode()) for why in kept.values() if why != UNTOLD)
    assert given_bytes <= MAX_REASONS_BYTES
    assert all(kept[member] in (why, UNTOLD) for member, why in reasons.items())
    few = dict(list(reasons.items())[:100])
    assert told(few) == few


def fullest() -> Gathered:
    """As many keys as are asked for, of as many members as there may be, half of them missing."""
    fold = Fold()
    refusal = Refusal(field=CRAB * MAX_NAME_CHARS, value=CRAB * 200, allowed=CRAB * 2000)
    for member in MEMBERS[: MAX_MEMBERS // 2]:
        fold.lose((member,), CRAB * MAX_LINE_CHARS, refusal)
    fold.contributors = set(MEMBERS[MAX_MEMBERS // 2 :])
    fold.partial = dict.fromkeys(sorted(fold.contributors), CRAB * MAX_LINE_CHARS)
    return holding(fold.gathered(1), whole=summary(MAX_KEYS))


def holding(found: Gathered, whole: Summary) -> Gathered:
    evidence = Evidence(software={"1": 1}, hooks={}, first_tick=1, last_tick=1)
    return Gathered(coverage=found.coverage, part=whole, evidence=evidence, monitors=found.monitors)


def summary(size: int) -> Summary:
    rng = np.random.default_rng(1)
    keys = np.frombuffer(rng.bytes(40 * size), KEY_DTYPE)
    upper = rng.integers(1, 1 << 59, size)
    return Summary(
        fingerprint="x",
        total_packets=Bound.exactly(MAX_COUNT),
        total_bytes=Bound.exactly(MAX_COUNT),
        keys=keys,
        lower=upper // 3,
        estimate=upper // 2,
        upper=upper,
        heavy=np.zeros(size, np.bool_),
        absent_upper=5,
        distinct=Bound.exactly(size),
        first_tick=1,
        last_tick=1,
    )


def test_the_fullest_answer_fits_a_frame_with_fewer_keys_and_their_bounds_hold() -> None:
    found = fullest()
    assert isinstance(found.part, Summary)
    reply = peer.Partial(
        id=1,
        subtree=MEMBERS,
        coverage=found.coverage,
        part=None,
        evidence=found.evidence,
        monitors=random.Random(1).randbytes(16 * MAX_MEMBERS),
        wall_ns=MAX_WALL_NS,
        held_ns=MAX_COUNT,
    )
    whole = found.packed(MAX_FRAME_BYTES)
    assert whole is not None
    with pytest.raises(ProtocolError):
        peer.MESSAGES.encode(msgspec.structs.replace(reply, part=whole))
    written = found.packed(MAX_FRAME_BYTES - len(peer.MESSAGES.encode(reply)) - 32)
    frame = peer.MESSAGES.encode(msgspec.structs.replace(reply, part=written))
    carried = peer.MESSAGES.decode(frame[4:])
    assert isinstance(carried, peer.Partial)
    assert carried.part is not None
    cut = part.read(carried.part)
    assert isinstance(cut, Summary)
    assert MAX_KEYS // 20 < len(cut.keys) < MAX_KEYS
    assert cut.absent_upper >= np.sort(found.part.upper)[-len(cut.keys) - 1]
    assert set(found.coverage.missing) == set(MEMBERS[: MAX_MEMBERS // 2])


def test_the_fullest_reply_to_an_adoption_fits_a_frame() -> None:
    unmet = largest(inspect.type_info(peer.Unmet))
    adopted = peer.Adopted(
        id=1,
        subtree=MEMBERS,
        coverage=fullest().coverage,
        removed=MEMBERS[: peer.MAX_REMOVED],
        unmet=(unmet,) * peer.MAX_UNMET,
    )
    assert len(adopted.coverage.refused) == MAX_REFUSED
    assert peer.MESSAGES.decode(peer.MESSAGES.encode(adopted)[4:]) == adopted


def test_all_kinds_of_failures_that_a_monitor_counts_can_be_told() -> None:
    failures = Failures()
    for number in range(2 * MAX_KINDS):
        failures.note(f"part {number}", ValueError())
    assert len(failures.counts) == MAX_FAILURES


LEVEL = Level(step_ms=1, first_tick=None, steps=0, bytes=0)
LISTS: list[tuple[Any, str, Any, int]] = [
    (peer.ProbeResult(id=1), "notes", "note", peer.MAX_NOTES),
    (
        Reach(first_tick=None, begins=None, levels=(), budget_bytes=0),
        "levels",
        LEVEL,
        MAX_LEVELS,
    ),
]


@pytest.mark.parametrize(("made", "field", "one", "most"), LISTS, ids=lambda one: str(one)[:20])
def test_one_more_than_a_list_holds_is_refused(made: Any, field: str, one: Any, most: int) -> None:
    kind = type(made)
    full = msgspec.structs.replace(made, **{field: (one,) * most})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(full), type=kind) == full
    over = msgspec.structs.replace(made, **{field: (one,) * (most + 1)})
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.msgpack.decode(msgspec.msgpack.encode(over), type=kind)


def test_a_longer_cookie_than_may_be_is_refused() -> None:
    for size in (peer.MAX_COOKIE_BYTES, peer.MAX_COOKIE_BYTES + 1):
        opened = peer.ProbeOpened(id=1, port=1, cookie=bytes(size))
        frame = peer.MESSAGES.encode(opened)
        if size <= peer.MAX_COOKIE_BYTES:
            assert peer.MESSAGES.decode(frame[4:]) == opened
        else:
            with pytest.raises(ProtocolError, match="cookie"):
                peer.MESSAGES.decode(frame[4:])


def test_a_part_with_longer_columns_than_may_be_is_refused_unread() -> None:
    wire = msgspec.msgpack.decode(summary(1).to_bytes(), type=_Wire)
    over = msgspec.structs.replace(wire, rows=bytes(columns.MAX_PART_BYTES + 1))
    with pytest.raises(ProtocolError, match="rows"):
        part.read(msgspec.msgpack.encode(over))
