"""Tables of bytes taken apart and put together in `native/columns.c`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.sketch import _core


@given(st.integers(1, 32), st.integers(1, 300), st.randoms(use_true_random=False))
def test_what_is_taken_apart_is_put_together(words: int, rows: int, draw: object) -> None:
    row_bytes = 8 * words
    table = bytearray(bytes(range(200))[:8] * words * rows)
    for _ in range(draw.randrange(50)):  # type: ignore[attr-defined]
        table[draw.randrange(len(table))] = draw.randrange(256)  # type: ignore[attr-defined]
    varying, columns = _core.columns(table, row_bytes)
    expected = [
        number
        for number in range(row_bytes)
        if any(value != table[number] for value in table[number::row_bytes])
    ]
    assert list(varying) == expected
    assert columns == b"".join(bytes(table[number::row_bytes]) for number in varying)
    assert _core.rows(table[:row_bytes], varying, columns, rows) == table


@pytest.mark.parametrize(("size", "row_bytes"), [(0, 8), (8, 0), (12, 12), (9, 8), (264, 264)])
def test_other_tables_are_refused(size: int, row_bytes: int) -> None:
    with pytest.raises(ValueError, match="rows of 8 to 256 bytes"):
        _core.columns(bytes(size), row_bytes)


@pytest.mark.parametrize(
    ("first", "varying", "columns", "rows"),
    [
        (bytes(8), b"\1", b"x", 2),
        (bytes(8), b"\x08", b"x", 1),
        (bytes(8), b"", b"", -1),
        (bytes(264), b"", b"", 1),
        (b"", b"\0", b"x", 1),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    first: bytes, varying: bytes, columns: bytes, rows: int
) -> None:
    with pytest.raises(ValueError, match="columns of other lengths"):
        _core.rows(first, varying, columns, rows)
