"""Series: steps add up host by host, and a step says who counted it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.bound import Bound
from netsonde.model.errors import ProtocolError
from netsonde.model.task import Filter, Increment, Question
from netsonde.model.window import MAX_POINTS, Window
from netsonde.sketch import part
from netsonde.sketch.series import Series
from netsonde.sketch.summary import Summary

STEPS = range(0, 100, 10)
steps = st.dictionaries(
    st.sampled_from(STEPS), st.tuples(st.integers(0, 1000), st.booleans()), max_size=len(STEPS)
)
"""What a host counted: first tick -> packets, and whether it counted all of the step."""
hosts = st.lists(steps, min_size=1, max_size=5)


def series(counted: dict[int, tuple[int, bool]], slack: int = 0, **fields: object) -> Series:
    """Give what a host tells of all steps."""
    counts = np.array([counted.get(tick, (0, False))[0] for tick in STEPS], np.int64)
    known = np.array([tick in counted for tick in STEPS], np.bool_)
    whole = np.array([counted.get(tick, (0, False))[1] for tick in STEPS], np.int64)
    made = Series(
        fingerprint="task",
        step_ticks=10,
        first_ticks=np.array(STEPS, np.int64),
        lower=np.maximum(counts - slack, 0),
        estimate=counts,
        upper=counts + slack,
        counted=known,
        hosts=whole,
    )
    return replace(made, **fields)


def same(one: Series, other: Series) -> bool:
    return one.to_bytes() == other.to_bytes()


@given(hosts, st.integers(0, 20), st.data())
def test_steps_add_up_in_any_tree(
    told: list[dict[int, tuple[int, bool]]], slack: int, data: st.DataObject
) -> None:
    parts = [series(host, slack) for host in told]
    merged = Series.merged(parts)
    for index, tick in enumerate(STEPS):
        here = [host[tick] for host in told if tick in host]
        bound = merged.count(index)
        if not here:
            assert bound is None
            continue
        assert bound is not None
        assert bound.lower <= sum(count for count, _ in here) <= bound.upper
        assert bound.upper <= sum(count for count, _ in here) + slack * len(here)
        assert merged.hosts[index] == sum(whole for _, whole in here)
    assert merged.of_hosts == len(told)
    assert merged.complete == all(host.get(t, (0, False))[1] for host in told for t in STEPS)
    shuffled = data.draw(st.permutations(parts))
    cut = data.draw(st.integers(1, len(parts)))
    groups = [group for group in (shuffled[:cut], shuffled[cut:]) if group]
    assert same(Series.merged([Series.merged(group) for group in groups]), merged)


def test_steps_that_only_one_host_has_are_kept() -> None:
    early = replace(series({}), **_only(0, 3, 7))
    late = replace(series({}), **_only(20, 4, 7))
    merged = Series.merged([late, early])
    assert merged.first_ticks.tolist() == [0, 20]
    assert [merged.count(0), merged.count(1)] == [Bound.exactly(3), Bound.exactly(4)]
    assert merged.hosts.tolist() == [7, 7]
    assert not merged.complete


def _only(tick: int, count: int, counters: int) -> dict[str, object]:
    counts = np.array([count], np.int64)
    return {
        "first_ticks": np.array([tick], np.int64),
        "lower": counts,
        "estimate": counts,
        "upper": counts,
        "counted": np.ones(1, np.bool_),
        "hosts": np.array([counters], np.int64),
        "of_hosts": 7,
    }


@given(steps, st.integers(0, 20))
def test_what_is_written_is_read(told: dict[int, tuple[int, bool]], slack: int) -> None:
    read = part.read(series(told, slack).to_bytes())
    assert isinstance(read, Series)
    assert same(read, series(told, slack))


@given(st.binary(max_size=300))
def test_noise_is_no_part(noise: bytes) -> None:
    for reader in (part.read, Series.from_bytes):
        with pytest.raises(ProtocolError):
            reader(noise)


@pytest.mark.parametrize(
    "fields",
    [
        {"first_ticks": np.array([*STEPS][::-1], np.int64)},
        {"first_ticks": np.array(STEPS, np.int64) + 1},
        {"hosts": np.full(len(STEPS), 2, np.int64)},
        {"upper": np.full(len(STEPS), -1, np.int64)},
        {"step_ticks": 7},
    ],
)
def test_series_that_nobody_can_have_counted_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        part.read(series({0: (1, True)}, **fields).to_bytes())


def test_sizes_that_do_not_fit_are_refused() -> None:
    told = msgspec.msgpack.decode(series({0: (1, True)}).to_bytes())
    for change in ({"size": 9}, {"size": MAX_POINTS + 1}, {"type": "other"}, {"steps": b"x"}):
        with pytest.raises(ProtocolError):
            part.read(msgspec.msgpack.encode(told | change))


def test_parts_of_different_questions_never_merge() -> None:
    for other in ({"fingerprint": "other"}, {"step_ticks": 1}):
        with pytest.raises(ProtocolError):
            Series.merged([series({}), series({}, **other)])
    empty = np.zeros(0, np.int64)
    summary = Summary(
        fingerprint="task",
        total_packets=Bound.exactly(0),
        total_bytes=Bound.exactly(0),
        keys=np.zeros(0, "V40"),
        lower=empty,
        estimate=empty,
        upper=empty,
        heavy=np.zeros(0, np.bool_),
        absent_upper=0,
        distinct=Bound.exactly(0),
        first_tick=0,
        last_tick=9,
    )
    with pytest.raises(ProtocolError):
        part.merged([summary, series({})], 10)
    assert part.merged([summary, summary], 10).fingerprint == "task"


def test_what_is_counted_differently_has_another_fingerprint() -> None:
    window = Window.last(10)
    asked = [
        Question(key_type="src", window=window),
        Question(key_type="dst", window=window),
        Question(key_type="src", of="dst", window=window),
        Question(key_type="src", window=Window.last(11)),
        Question(key_type="src", window=window, step_ticks=10),
        Question(key_type="src", window=window, key=bytes(40)),
    ]
    told = {part.fingerprint(Filter(), Increment.PACKETS, one) for one in asked}
    told |= {part.fingerprint(Filter(), Increment.BYTES, asked[0])}
    told |= {part.fingerprint(Filter(proto=6), Increment.PACKETS, asked[0])}
    assert len(told) == len(asked) + 2
