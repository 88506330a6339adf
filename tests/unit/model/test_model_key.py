"""Key types and keys: names, masks and text."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.errors import BadField
from netsonde.model.key import FIELDS, KEY_BYTES, KeyType

ORDERED_CHOICES = [
    fields for size in range(1, len(FIELDS) + 1) for fields in itertools.permutations(FIELDS, size)
]
VALUES = {
    "src": st.ip_addresses(v=4).map(str),
    "dst": st.ip_addresses(v=4).map(str),
    "sport": st.integers(0, 65535).map(str),
    "dport": st.integers(0, 65535).map(str),
    "proto": st.integers(0, 255).map(str),
}


@given(st.data(), st.sampled_from(ORDERED_CHOICES))
def test_a_key_s_text_comes_back_and_stays_within_its_mask(
    data: st.DataObject, fields: tuple[str, ...]
) -> None:
    kind = KeyType.parse("_".join(fields))
    text = ",".join(data.draw(VALUES[name]) for name in fields)
    key = kind.parse_key(text)
    assert kind.format(key) == text
    assert len(key) == KEY_BYTES
    for mask in (kind.masks()[:KEY_BYTES], kind.masks()[KEY_BYTES:]):  # whole addresses
        assert bytes(a & b for a, b in zip(key, mask, strict=True)) == key


@given(
    st.lists(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)), st.sampled_from(ORDERED_CHOICES)
)
def test_many_keys_are_written_as_each_is(keys: list[bytes], fields: tuple[str, ...]) -> None:
    for name in ("_".join(fields), "src/24_dst/16/48"):
        kind = KeyType.parse(name)
        assert kind.format_all(keys) == [kind.format(key) for key in keys]


@pytest.mark.parametrize("name", ["", "_", "src_", "src_src", "srcdst", "SRC", "src-dst", "flags"])
def test_what_is_no_key_type_is_refused(name: str) -> None:
    with pytest.raises(BadField, match="counter_key_type"):
        KeyType.parse(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("src", "10.0.0.256"),
        ("src", "10.0.0.1,10.0.0.2"),
        ("src_dst", "10.0.0.1"),
        ("dport", "65536"),
        ("dport", "-1"),
        ("dport", "http"),
        ("proto", "256"),
        ("src_proto", "10.0.0.1,tcp"),
        ("src", ""),
    ],
)
def test_a_key_that_does_not_parse_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadField) as refused:
        KeyType.parse(name).parse_key(value)
    assert (refused.value.field, refused.value.value) == ("counter_key", value)


def test_ports_are_needed_by_tables_of_ports_alone() -> None:
    needing = {name for name in ("src", "dport", "src_sport", "proto") if _needs(name)}
    assert needing == {"dport", "src_sport"}
    assert not _needs("src_dst_sport_dport_proto")


def _needs(name: str) -> bool:
    return KeyType.parse(name).needs_ports


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("src/24", "10.1.2.0/24"),
        ("src/24", "2001:db8:0:1::/64"),
        ("dst/0/0_dport", "0.0.0.0/0,443"),
        ("src/8/48_dst", "10.0.0.0/8,10.0.0.5"),
    ],
)
def test_prefixes_read_as_they_are_written(name: str, text: str) -> None:
    kind = KeyType.parse(name)
    assert kind.format(kind.parse_key(text)) == text


def test_prefixes_mask_each_family_by_its_own_length() -> None:
    kind = KeyType.parse("src/24/48")
    v4, v6 = kind.masks()[:40], kind.masks()[40:]
    assert v4[:16] == bytes([255] * 15 + [0])
    assert v6[:16] == bytes([255] * 6 + [0] * 10)
    assert not any(v4[16:] + v6[16:])


def test_a_key_type_has_one_name() -> None:
    assert KeyType.parse("src/32/128") == KeyType.parse("src")
    assert KeyType.parse("src/24/64").name == "src/24"


@pytest.mark.parametrize("name", ["src/33", "src/24/129", "dport/8", "src/", "src/24_src"])
def test_prefixes_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(BadField, match="counter_key_type"):
        KeyType.parse(name)


def test_a_prefix_of_another_length_is_no_key() -> None:
    with pytest.raises(BadField, match="counter_key"):
        KeyType.parse("src/24").parse_key("10.1.0.0/16")
