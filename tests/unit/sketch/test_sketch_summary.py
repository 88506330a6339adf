"""Merging summaries: the truth stays inside the bounds, whatever the shape of the tree."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.bound import Bound
from netsonde.model.errors import ProtocolError
from netsonde.model.key import KeyType
from netsonde.sketch.summary import KEY_DTYPE, Row, Summary

SRC = KeyType.parse("src")
HOST_KEYS = [f"10.0.0.{number}" for number in range(1, 9)]

traffic = st.dictionaries(st.sampled_from(HOST_KEYS), st.integers(1, 1000))
"""What one host really saw: key -> packets."""
hosts = st.lists(traffic, min_size=1, max_size=5)


def key(name: str) -> bytes:
    return SRC.parse_key(name)


def summary(
    counts: dict[str, int], *, limit: int = 100, slack: int = 0, fingerprint: str = "task"
) -> Summary:
    """Summarise a host's traffic, bounds loosened by `slack`, cut to `limit` keys."""
    exact = np.array(list(counts.values()), np.int64)
    return Summary(
        fingerprint=fingerprint,
        total_packets=Bound.exactly(sum(counts.values())),
        total_bytes=Bound.exactly(0),
        keys=np.array([np.void(key(name)) for name in counts], KEY_DTYPE),
        lower=np.maximum(exact - slack, 0),
        estimate=exact,
        upper=exact + slack,
        heavy=exact > 500,
        absent_upper=slack,
        distinct=Bound.exactly(len(counts)),
        first_tick=5,
        last_tick=9,
    ).limited(limit)


def truth(parts: list[dict[str, int]]) -> Counter[str]:
    return sum((Counter(part) for part in parts), Counter())


def assert_holds(merged: Summary, parts: list[dict[str, int]]) -> None:
    """Every key's count, the totals and the number of keys are inside their bounds."""
    true = truth(parts)
    for name in HOST_KEYS:
        bound = merged.count(key(name))
        assert bound.lower <= true[name] <= bound.upper
        assert bound.lower <= bound.estimate <= bound.upper
    assert merged.total_packets == Bound.exactly(true.total())
    assert merged.distinct.lower <= len(true) <= merged.distinct.upper


@given(hosts, st.integers(0, 20), st.integers(1, 8))
def test_the_truth_is_inside_the_bounds_after_any_merge(
    parts: list[dict[str, int]], slack: int, limit: int
) -> None:
    flat = [summary(part, slack=slack, limit=limit) for part in parts]
    assert_holds(Summary.merged(flat, limit), parts)
    chained = flat[0]
    for one in flat[1:]:
        chained = Summary.merged([one, chained], limit)
    assert_holds(chained, parts)


@given(hosts, st.data())
def test_without_limits_order_and_shape_do_not_matter(
    parts: list[dict[str, int]], data: st.DataObject
) -> None:
    flat = [summary(part) for part in parts]
    shuffled = data.draw(st.permutations(flat))
    cut = data.draw(st.integers(1, len(flat)))
    groups = [group for group in (shuffled[:cut], shuffled[cut:]) if group]
    nested = Summary.merged([Summary.merged(group, 100) for group in groups], 100)
    assert nested.rows() == Summary.merged(flat, 100).rows()
    true = truth(parts)
    assert {row.key: row.count for row in nested.rows()} == {
        key(name): Bound.exactly(count) for name, count in true.items()
    }
    assert nested.distinct == Bound.exactly(len(true))


@given(hosts, st.integers(0, 20))
def test_what_is_written_is_read(parts: list[dict[str, int]], slack: int) -> None:
    merged = Summary.merged([summary(part, slack=slack) for part in parts], 100)
    read = Summary.from_bytes(merged.to_bytes())
    assert read.rows() == merged.rows()
    assert read.to_bytes() == merged.to_bytes()
    assert Summary.merged([read], 100).rows() == merged.rows()


@given(st.binary(max_size=300))
def test_noise_is_no_summary(noise: bytes) -> None:
    with pytest.raises(ProtocolError):
        Summary.from_bytes(noise)


def test_arrays_that_do_not_fit_each_other_are_refused() -> None:
    whole = summary({"10.0.0.1": 5, "10.0.0.2": 6}).to_bytes()
    shorter = whole.replace(key("10.0.0.1"), key("10.0.0.1")[:-1])
    with pytest.raises(ProtocolError):
        Summary.from_bytes(shorter)


def test_different_questions_never_merge() -> None:
    with pytest.raises(ProtocolError):
        Summary.merged([summary({}), summary({}, fingerprint="other")], 10)


def test_rows_go_from_the_largest_down_and_ties_by_key() -> None:
    rows = summary({"10.0.0.3": 7, "10.0.0.1": 7, "10.0.0.2": 9}).rows()
    assert [row.key for row in rows] == [key(f"10.0.0.{n}") for n in (2, 1, 3)]
    assert all(a.count.estimate >= b.count.estimate for a, b in pairwise(rows))
    assert rows[0] == Row(key=key("10.0.0.2"), count=Bound.exactly(9), heavy=False)


def test_a_limit_keeps_heavy_keys_then_the_largest_and_admits_the_rest() -> None:
    small_but_heavy = summary({"10.0.0.1": 501})
    large = summary({"10.0.0.2": 300, "10.0.0.3": 400})
    again = summary({"10.0.0.2": 300, "10.0.0.3": 400})
    merged = Summary.merged([small_but_heavy, large, again], 2)
    assert {row.key for row in merged.rows()} == {key("10.0.0.1"), key("10.0.0.3")}
    assert merged.absent_upper == 600
    assert merged.distinct == Bound.exactly(3)
