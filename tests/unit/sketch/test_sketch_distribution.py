"""Histogram, quantiles and entropy: right where all is known, never wrong where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isclose, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsonde.model.bound import Bound
from netsonde.sketch.distribution import Population, entropy, histogram, quantile
from netsonde.sketch.summary import KEY_DTYPE, Summary

QS = (0.0, 0.1, 0.25, 0.5, 0.9, 0.99, 1.0)
counts_of_keys = st.lists(
    st.one_of(st.integers(1, 9), st.integers(1, 5000), st.integers(1, 1 << 40)), max_size=40
)


@dataclass(frozen=True)
class World:
    """True counts, and a summary that is certain of less."""

    counts: list[int]
    population: Population


def population(
    counts: list[int], bounds: list[tuple[int, int, int]], *, absent: int, distinct: Bound, n: Bound
) -> Population:
    columns = np.array(bounds, np.int64).reshape(-1, 3)
    summary = Summary(
        fingerprint="",
        total_packets=n,
        total_bytes=Bound.exactly(0),
        keys=np.arange(40 * len(bounds), dtype=np.uint8).view(KEY_DTYPE),
        lower=columns[:, 0],
        estimate=columns[:, 1],
        upper=columns[:, 2],
        heavy=np.zeros(len(bounds), np.bool_),
        absent_upper=absent,
        distinct=distinct,
        first_tick=0,
        last_tick=0,
    )
    return Population.of(summary, n, all_have_keys=n.lower > 0)


def exactly(counts: list[int]) -> Population:
    return population(
        counts,
        [(c, c, c) for c in counts],
        absent=0,
        distinct=Bound.exactly(len(counts)),
        n=Bound.exactly(sum(counts)),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw counts and loosen each: below, above, or not listed at all."""
    counts = draw(counts_of_keys)
    doubt = st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 1 << 41))
    bounds, hidden = [], []
    for count in counts:
        if draw(st.booleans()) and draw(st.booleans()):
            hidden.append(count)
            continue
        lower, upper = max(0, count - draw(doubt)), count + draw(doubt)
        bounds.append((lower, draw(st.integers(lower, upper)), upper))
    absent = max(hidden, default=0) + (draw(doubt) if draw(st.booleans()) else 0)
    fewest = max(0, len(counts) - draw(st.integers(0, 9)))
    most = len(counts) + draw(st.integers(0, 9))
    total = sum(counts)
    n = Bound(lower=max(0, total - draw(doubt)), estimate=total, upper=total + draw(doubt))
    if draw(st.booleans()):
        n = Bound(lower=0, estimate=total, upper=n.upper)
    distinct = Bound(lower=fewest, estimate=draw(st.integers(fewest, most)), upper=most)
    return World(counts, population(counts, bounds, absent=absent, distinct=distinct, n=n))


def true_quantile(counts: list[int], q: float) -> int:
    return sorted(counts)[max(1, ceil(Fraction(repr(q)) * len(counts))) - 1]


def true_entropy(counts: list[int]) -> float:
    total = sum(counts)
    return max(0.0, -sum(c / total * log2(c / total) for c in counts)) if total else 0.0


@given(worlds())
@settings(max_examples=400, deadline=None)
def test_the_truth_is_inside_whatever_was_hidden(world: World) -> None:
    counts, known = world.counts, world.population
    assert known.distinct.lower <= len(counts) <= known.distinct.upper
    assert known.total.lower <= sum(counts) <= known.total.upper
    left = list(counts)
    for one in histogram(known):
        inside = [count for count in counts if one.low <= count <= one.high]
        left = [count for count in left if count not in inside]
        assert one.keys.lower <= len(inside) <= one.keys.upper
        assert one.keys.lower <= one.keys.estimate <= one.keys.upper
    assert not left, "counts in no bin"
    for q in QS if counts else ():
        bound = quantile(known, q)
        assert bound.lower <= true_quantile(counts, q) <= bound.upper, q
        assert bound.lower <= bound.estimate <= bound.upper
    found = entropy(known)
    slack = 1e-9
    assert found.lower - slack <= true_entropy(counts) <= found.upper + slack
    assert found.lower <= found.estimate <= found.upper


@given(counts_of_keys)
def test_exact_where_all_is_known(counts: list[int]) -> None:
    known = exactly(counts)
    assert known.exact
    assert known.distinct == Bound.exactly(len(counts))
    for one in histogram(known):
        assert one.keys == Bound.exactly(sum(one.low <= c <= one.high for c in counts))
    for q in QS if counts else ():
        assert quantile(known, q) == Bound.exactly(true_quantile(counts, q))
    found = entropy(known)
    assert found.lower == found.estimate == found.upper
    assert isclose(found.estimate, true_entropy(counts), abs_tol=1e-6)


def test_bins_are_four_to_each_power_of_two() -> None:
    bins = histogram(exactly(list(range(1, 40))))
    assert [(one.low, one.high) for one in bins] == [
        *((v, v) for v in range(1, 8)),
        *((v, v + 1) for v in range(8, 16, 2)),
        *((v, v + 3) for v in range(16, 32, 4)),
        *((v, v + 7) for v in range(32, 40, 8)),
    ]
    assert histogram(exactly([1 << 60]))[0].low == 1 << 60


def test_a_quantile_is_of_the_decimal_that_was_written() -> None:
    """0.9 as a binary fraction is a little over nine tenths: of ten keys that is not the last."""
    assert quantile(exactly(list(range(1, 11))), 0.9) == Bound.exactly(9)


def test_bounds_are_as_near_as_what_is_hidden() -> None:
    """1,000 keys of 100 packets each, and 10 packets that may be anybody's."""
    counts = [100] * 1000
    known = population(
        counts,
        [(100, 100, 110)] * 1000,
        absent=10,
        distinct=Bound(lower=1000, estimate=1000, upper=1010),
        n=Bound.exactly(100_010),
    )
    found = entropy(known)
    assert true_entropy(counts) - 0.001 < found.lower < found.upper < true_entropy(counts) + 0.003
    assert quantile(known, 0.5) == Bound(lower=100, estimate=100, upper=110)
    assert histogram(known)[0].keys == Bound(lower=0, estimate=0, upper=10)


def test_keys_that_are_cut_off_still_tell_by_their_number() -> None:
    """The largest 100 of 1,100 keys are listed; the others have 10 packets each, and at most 12."""
    known = population(
        [],
        [(1000, 1000, 1000)] * 100,
        absent=12,
        distinct=Bound.exactly(1100),
        n=Bound.exactly(110_000),
    )
    truth = true_entropy([1000] * 100 + [10] * 1000)
    found = entropy(known)
    assert truth - 0.05 < found.lower <= found.estimate <= found.upper < truth + 1e-6
    assert isclose(found.estimate, truth)


@pytest.mark.parametrize("counts", [[], [7]])
def test_few_keys(counts: list[int]) -> None:
    assert entropy(exactly(counts)).upper == 0
    assert len(histogram(exactly(counts))) == len(counts)
