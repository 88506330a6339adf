"""Sizes of sets and samples of their members: bounds through any trimming, samples by hash."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.sketch import sets
from netsonde.sketch.sets import Sets, distinct, sampled, tallied, united


def numbered(numbers: list[int]) -> np.ndarray:
    """Rows whose last bytes are numbers, from 1 so that they differ from nothing."""
    made = np.zeros((len(numbers), 40), np.uint8)
    made[:, 32:] = (np.array(numbers, "<u8").reshape(-1, 1) + 1).view(np.uint8)
    return made


@given(
    st.lists(st.dictionaries(st.integers(0, 12), st.integers(1, 9)), min_size=1, max_size=6),
    st.integers(1, 13),
)
def test_what_is_let_go_bounds_what_is_missing(parts: list[dict[int, int]], most: int) -> None:
    kept_sets = Sets.empty(most)
    for part in parts:
        kept_sets = kept_sets.joined(numbered(list(part)), np.array(list(part.values()), np.int64))
    assert len(kept_sets.keys) <= most
    sizes_kept = zip(kept_sets.largest, kept_sets.total, strict=True)
    kept = {key.tobytes(): pair for key, pair in zip(kept_sets.keys, sizes_kept, strict=True)}
    for number in range(13):
        sizes = [part.get(number, 0) for part in parts]
        largest, total = kept.get(numbered([number]).tobytes(), (0, 0))
        assert largest <= max(sizes)
        assert total <= sum(sizes) <= total + kept_sets.let_go
    if most == 13:
        assert kept_sets.let_go == 0


def test_keys_are_tallied_and_united() -> None:
    keys, sizes = tallied(numbered([5, 3, 5, 5]))
    assert {key.tobytes(): size for key, size in zip(keys, sizes.tolist(), strict=True)} == {
        numbered([3]).tobytes(): 1,
        numbered([5]).tobytes(): 3,
    }
    one, other = numbered([1, 2, 3]), numbered([3, 4])
    found, (of_one, of_other) = united([one, other])
    assert len(found) == 4
    assert np.array_equal(found[of_one], one)
    assert np.array_equal(found[of_other], other)


def test_rows_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "hashed", lambda rows, seed: np.zeros(len(rows), np.uint64))
    rows = numbered([7, 8, 7])
    found, places = distinct(rows)
    assert len(found) == 2
    assert np.array_equal(found[places], rows)


def test_a_sample_is_of_members_and_grows_smaller_within_itself() -> None:
    members = numbered(list(range(20_000)))
    assert sampled(members, 1, 0).all()
    larger, smaller = sampled(members, 1, 3), sampled(members, 1, 4)
    assert np.array_equal(larger, sampled(members, 1, 3))
    assert not (smaller & ~larger).any()
    # Binomial, five standard deviations: sqrt(20000 / 8 * 7 / 8) = 47.
    assert abs(int(larger.sum()) - 2500) < 5 * 47
    assert not np.array_equal(larger, sampled(members, 2, 3))
