"""Ports of a filter are read from lists and ranges, and kept in one form."""

import pytest

from netsonde.model.errors import BadField
from netsonde.model.port import MAX_RANGES, ports, ranges


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("80", "80"),
        ("443, 80", "80,443"),
        ("80,81,82", "80-82"),
        ("8000-8010,8005-8020", "8000-8020"),
        ("0-65535", "0-65535"),
        ("0080", "80"),
    ],
)
def test_lists_are_sorted_and_joined(text: str, canonical: str) -> None:
    assert ports("dport", text) == canonical


@pytest.mark.parametrize("text", ["", "http", "65536", "10-5", "1-", "-1", "1,,2", "٣"])
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadField, match="field 'sport'"):
        ports("sport", text)


def test_a_filter_has_a_bound_on_its_ranges() -> None:
    many = ",".join(str(2 * n) for n in range(MAX_RANGES + 1))
    with pytest.raises(BadField, match=str(MAX_RANGES)):
        ports("sport", many)


def test_ranges_are_inclusive_pairs() -> None:
    assert ranges("80,443,8000-8010") == ((80, 80), (443, 443), (8000, 8010))
