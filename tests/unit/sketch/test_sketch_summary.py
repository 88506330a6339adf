"""Merging summaries: the truth stays inside the bounds, whatever the shape of the tree."""

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.bound import Bound
from netsonde.model.errors import ProtocolError
from netsonde.model.key import KEY_BYTES, KeyType
from netsonde.model.task import MAX_KEYS
from netsonde.sketch.summary import KEY_DTYPE, Row, Summary
from netsonde.wire.frame import MAX_FRAME_BYTES

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
    fields = msgspec.msgpack.decode(whole)
    for size in (1, 3, 0, 1 << 40, -1):
        with pytest.raises(ProtocolError):
            Summary.from_bytes(msgspec.msgpack.encode(fields | {"size": size}))


def test_bounds_out_of_order_are_refused() -> None:
    wrong = replace(summary({"10.0.0.1": 5}), upper=np.array([4]))
    with pytest.raises(ProtocolError, match="order"):
        Summary.from_bytes(wrong.to_bytes())


def test_as_many_keys_as_may_be_asked_fit_a_frame() -> None:
    """Of random keys and counts, which no coding can make shorter."""
    dice = np.random.default_rng(1)
    counts = dice.integers(0, 1 << 40, (3, MAX_KEYS)).cumsum(axis=0)
    large = replace(
        summary({}),
        keys=dice.integers(0, 256, (MAX_KEYS, KEY_BYTES), np.uint8).view(KEY_DTYPE).reshape(-1),
        lower=counts[0],
        estimate=counts[1],
        upper=counts[2],
        distinct=Bound.exactly(MAX_KEYS),
        heavy=np.zeros(MAX_KEYS, np.bool_),
    )
    data = large.to_bytes()
    assert len(data) < MAX_FRAME_BYTES
    assert Summary.from_bytes(data).rows()[:9] == large.rows()[:9]


sets = st.lists(
    st.dictionaries(st.sampled_from(HOST_KEYS), st.sets(st.integers(0, 30), min_size=1)),
    min_size=1,
    max_size=5,
)
"""What hosts really saw: key -> whom it contacted; the same contact may be seen by several."""


@given(sets, st.integers(0, 5), st.integers(1, 8), st.randoms(use_true_random=False))
def test_unions_of_sets_are_bounded_in_any_tree(
    parts: list[dict[str, set[int]]], slack: int, limit: int, dice: random.Random
) -> None:
    flat = [
        replace(
            summary({name: len(them) for name, them in part.items()}, slack=slack, limit=limit),
            union=True,
        )
        for part in parts
    ]
    while len(flat) > 1:
        dice.shuffle(flat)
        flat.append(Summary.merged([flat.pop() for _ in range(dice.randint(1, 2))], limit))
        if dice.random() < 0.2:
            flat[-1] = Summary.from_bytes(flat[-1].to_bytes())
    merged = Summary.merged(flat, limit)
    assert merged.union
    for name in HOST_KEYS:
        contacts = set().union(*(part.get(name, set()) for part in parts))
        bound = merged.count(key(name))
        assert bound.lower <= len(contacts) <= bound.upper
        assert bound.lower <= bound.estimate <= bound.upper


def test_sets_that_are_apart_and_one_that_may_overlap_merge_as_overlapping() -> None:
    apart = [summary({"10.0.0.1": 3}), summary({"10.0.0.1": 4})]
    sure = Summary.merged(apart, 10)
    assert (sure.union, sure.count(key("10.0.0.1")).lower) == (False, 7)
    both = Summary.merged([sure, replace(summary({"10.0.0.1": 5}), union=True)], 10)
    bound = both.count(key("10.0.0.1"))
    assert (both.union, bound.lower, bound.upper) == (True, 7, 12)


def test_the_error_of_a_number_of_keys_is_told_only_where_it_is_known() -> None:
    one = replace(summary({"10.0.0.1": 5}), distinct_error=0.016)
    assert Summary.merged([one], 10).distinct_error == 0.016
    assert Summary.from_bytes(one.to_bytes()).distinct_error == 0.016
    assert Summary.merged([one, one], 10).distinct_error == 0.0
    cut = summary({"10.0.0.1": 5, "10.0.0.2": 5}, limit=1)
    other = replace(summary({"10.0.0.3": 5}), distinct_error=0.016)
    assert Summary.merged([cut, other], 10).distinct_error is None


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
