"""Texts from outside: cut to a length, and shown without steering anybody's terminal."""

import sys
import unicodedata

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.text import Text80, clipped, escaped

STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of Unicode that hold control characters, marks of direction, surrogates, line ends."""


def test_no_character_that_steers_or_hides_is_shown_as_it_is() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    shown = escaped(every)
    assert not [c for c in set(shown) if unicodedata.category(c) in STEERING]
    assert "\n" in escaped("a\nb\x1b[2J", keep="\n")
    assert escaped("a\nb\x1b[2J\u202e\udc80") == r"a\nb\x1b[2J\u202e\udc80"


@given(st.text(st.characters(exclude_categories=("C", "Z"))))
def test_what_people_write_is_shown_as_it_is(text: str) -> None:
    assert escaped(text) == text


@given(st.text(st.characters(categories=None), max_size=300))
def test_what_is_cut_fits_its_type_and_a_frame(text: str) -> None:
    cut = clipped(text, 80)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(cut), type=Text80) == cut
    if len(text) <= 80 and text.isascii():
        assert cut == text
