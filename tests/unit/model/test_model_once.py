"""A field that JSON gives twice is refused, wherever it is; whatever the bytes, in linear time."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.errors import BadField
from netsonde.model.strict import check_once

PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
NAMES = st.text("abc\u00e9", max_size=2)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


def objects(value: Any) -> list[dict[str, Any]]:
    """Give every object that is not empty."""
    found: list[dict[str, Any]] = [value] if isinstance(value, dict) and value else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return found + [one for part in inner for one in objects(part)]


@given(VALUES)
def test_what_is_given_once_is_taken(value: Any) -> None:
    check_once(json.dumps(value).encode())


def written(value: Any, twice: dict[str, Any], escape: bool) -> str:
    """Write JSON that gives the first field of one object again."""
    if isinstance(value, list):
        return f"[{','.join(written(one, twice, escape) for one in value)}]"
    if not isinstance(value, dict):
        return json.dumps(value)
    pairs = [f"{json.dumps(name)}:{written(one, twice, escape)}" for name, one in value.items()]
    if value is twice:
        name = next(iter(value))
        again = "".join(f"\\u{ord(letter):04x}" for letter in name)
        pairs.append(f'"{again}":1' if escape else f"{json.dumps(name)}:1")
    return "{" + ",".join(pairs) + "}"


@given(VALUES.filter(objects), st.data(), st.booleans())
def test_what_is_given_twice_is_refused_however_deep(
    value: Any, data: st.DataObject, escape: bool
) -> None:
    twice = data.draw(st.sampled_from(objects(value)))
    with pytest.raises(BadField) as refused:
        check_once(written(value, twice, escape).encode())
    assert refused.value.field == next(iter(twice))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_break_the_check(body: bytes) -> None:
    with contextlib.suppress(BadField):
        check_once(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 65_536,
        b'{"a":' * 13_000,
        b'{"a":' + b"9" * 65_000 + b"}",
        b'{"a":1' + b"".join(b',"%d":1' % n for n in range(6_000)) + b"}",
    ],
    ids=["lists", "objects", "digits", "names"],
)
def test_the_largest_bodies_are_checked_or_refused(body: bytes) -> None:
    with contextlib.suppress(BadField):
        check_once(body)
