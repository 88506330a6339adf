"""Lines that fit a terminal: nothing is cut, and without a terminal nothing is parted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.cli import layout

ROWS = [
    ("name", "counters", "failed", "url"),
    ("a", "src:packets, src_dst:bytes, src_dport:packets", "1,234", "http://10.0.0.1:9000/alarm"),
    ("bcd", "totals", "7", "http://[2001:db8::1]/"),
]


def test_without_a_terminal_a_row_is_a_line() -> None:
    lines = layout.table(ROWS, None)
    assert len(lines) == 3
    assert ROWS[1][1] in lines[1]


def test_a_wide_column_goes_on_below_and_numbers_are_flush_right() -> None:
    assert layout.table(ROWS, 64) == [
        "name  counters                failed  url",
        "a     src:packets,             1,234  http://10.0.0.1:9000/alarm",
        "      src_dst:bytes,",
        "      src_dport:packets",
        "bcd   totals                       7  http://[2001:db8::1]/",
    ]


def test_facts_stand_behind_their_names() -> None:
    named = [("host", "10.0.0.2"), ("missing", "10.0.0.7: no answer within 900 ms"), ("", "more")]
    assert layout.facts(named, 30) == [
        "host     10.0.0.2",
        "missing  10.0.0.7: no answer",
        "         within 900 ms",
        "         more",
    ]
    assert layout.facts(named, None)[1] == "missing  10.0.0.7: no answer within 900 ms"


def test_a_sentence_goes_on_further_in() -> None:
    assert layout.wrapped("  one two three", 12) == ["  one two", "      three"]
    assert layout.wrapped("one two three", None) == ["one two three"]


@pytest.mark.parametrize("width", [None, 1, 20, 80])
@given(
    rows=st.lists(
        st.tuples(*[st.from_regex(r"[a-z:]{1,12}( [a-z]{1,12}){0,5}", fullmatch=True)] * 3),
        min_size=1,
        max_size=5,
    )
)
def test_no_word_is_lost_or_cut(rows: list[tuple[str, ...]], width: int | None) -> None:
    words = sorted(word for row in rows for cell in row for word in cell.split())
    assert sorted(" ".join(layout.table(rows, width)).split()) == words


@given(text=st.from_regex(r"[a-z]{1,10}( [a-z]{1,10}){0,20}", fullmatch=True))
def test_lines_fit_where_words_do(text: str) -> None:
    assert max(map(len, layout.wrapped(text, 20))) <= 20
    assert max(map(len, layout.facts([("name", text)], 20))) <= 20
