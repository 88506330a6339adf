"""Windows are read as people write them, and written so that they read the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.errors import BadField
from netsonde.model.window import MAX_TICKS, REAL_TIME, TOTAL, Window, wall_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("total", TOTAL),
        ("real_time", REAL_TIME),
        ("last 30s", Window.last(300)),
        ("last 100ms", Window.last(1)),
        ("last 1.5s", Window.last(15)),
        ("last 2 m", Window.last(1200)),
        ("1970-01-01T00:00:01Z/1970-01-01T00:00:02Z", Window.range(10, 19)),
        ("1970-01-01T01:00:01.05+01:00/1970-01-01T01:00:01.25+01:00", Window.range(10, 12)),
    ],
)
def test_what_people_write_is_read(text: str, expected: Window) -> None:
    assert Window.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "last",
        "last 0s",
        "last 25h",
        "last -1s",
        "last 5 days",
        "yesterday",
        "2026-11-24T12:04:00/2026-11-24T12:05:00",
        "2026-11-24T12:05:00Z/2026-11-24T12:04:00Z",
        "2026-11-24T12:04:00Z/2026-11-26T12:04:00Z",
        "2026-11-24T12:04:00Z",
        "1960-01-01T00:00:00Z/1960-01-01T00:00:01Z",
    ],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadField, match="field 'window'"):
        Window.parse(text)


@given(st.integers(0, 1 << 35), st.integers(0, MAX_TICKS - 1))
def test_a_range_reads_as_it_is_written(first: int, more: int) -> None:
    window = Window.range(first, first + more)
    assert Window.parse(window.text) == window


@given(st.integers(1, MAX_TICKS))
def test_the_last_ticks_read_as_they_are_written(ticks: int) -> None:
    assert Window.parse(Window.last(ticks).text).ticks == pytest.approx(ticks, rel=1e-5)


def test_the_window_before_is_as_long_and_touches() -> None:
    assert Window.range(100, 149).before() == Window.range(50, 99)


def test_ticks_are_written_to_the_tenth_of_a_second() -> None:
    assert wall_text(17_000_000_123) == "2023-11-14T22:13:32.3Z"
