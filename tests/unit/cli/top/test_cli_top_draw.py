"""Numbers, bars and sparklines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import between

from netsonde.cli.top import draw
from netsonde.model.bound import Bound


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (9999, "9,999"),
        (10_000, "10.0k"),
        (12_345, "12.3k"),
        (999_499, "999k"),
        (999_950, "1.00M"),
        (4_560_000, "4.56M"),
        (2 * 10**15, "2.00P"),
        (0.25, "0.2"),
        (3.0, "3"),
    ],
)
def test_writes_numbers_shortly(value: float, text: str) -> None:
    assert draw.compact(value) == text


@given(st.integers(0, 10**17))
def test_short_numbers_are_short(value: int) -> None:
    assert len(draw.compact(value)) <= 6


def test_writes_bounds_where_they_differ() -> None:
    assert draw.whole(Bound.exactly(12_345)) == "12,345"
    assert draw.whole(between(1, 2, 3000)) == "2 [1..3,000]"
    assert draw.short(between(10_000, 12_000, 13_000)) == "12.0k [10.0k..13.0k]"


def test_writes_rates_shares_and_ages() -> None:
    assert draw.rate(1_250_000, 10, "bytes") == "1.00 Mbit/s"
    assert draw.rate(6325, 10, "bytes") == "5.06 kbit/s"
    assert draw.rate(125, 10, "bytes") == "100 bit/s"
    assert draw.rate(50, 10, "packets") == "5/s"
    assert draw.rate(50, 0, "packets") == "-"
    assert (draw.share(1, 3), draw.share(0, 0)) == ("33.3%", "-")
    assert [draw.age(s * 10**9) for s in (-5, 3, 150, 9000, 200_000)] == [
        "0 s", "3 s", "2 min", "2 h", "2 d",
    ]  # fmt: skip


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 60))
def test_a_bar_fits_and_shows_doubt_only_where_there_is_some(
    one: int, two: int, three: int, width: int
) -> None:
    lower, estimate, upper = sorted((one, two, three))
    solid, likely, possible = draw.bar(between(lower, estimate, upper), upper, width)
    assert len(solid + likely + possible) <= width
    if lower == upper:
        assert likely == possible == ""
    if lower and width:
        assert solid


def test_a_bar_is_certain_then_likely_then_possible() -> None:
    assert draw.bar(between(50, 75, 100), 100, 8) == ("████", "▒▒", "░░")
    assert draw.bar(Bound.exactly(100), 100, 8) == ("████████", "", "")
    assert draw.bar(Bound.exactly(0), 100, 8) == ("", "", "")


def test_a_sparkline_knows_unknown_from_zero() -> None:
    assert draw.spark([0.0, 8.0, None, 4.0], 6, 1) == ["   █·▄"]
    assert draw.spark([16.0, 8.0, 1.0], 3, 2) == ["█  ", "██▁"]
    assert draw.spark([], 4, 1) == ["    "]
    assert draw.spark([1.0, 2.0, 3.0], 2, 1) == ["▅█"]
