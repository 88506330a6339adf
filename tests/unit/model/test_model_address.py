"""Addresses and prefixes in 16 bytes."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model import address
from netsonde.model.errors import BadField
from netsonde.model.key import KeyType


@given(st.ip_addresses())
def test_an_address_comes_back_as_people_write_it(one: ipaddress.IPv4Address) -> None:
    written = str(one)
    read = address.text(address.mapped(written))
    same = getattr(one, "ipv4_mapped", None) or one
    assert read == str(same)


@pytest.mark.parametrize(
    ("canonical", "bits"), [("10.0.0.0/8", 104), ("0.0.0.0/0", 96), ("2001:db8::/32", 32)]
)
def test_a_prefix_of_either_family_has_its_place_among_128_bits(canonical: str, bits: int) -> None:
    assert address.prefix("src", canonical) == canonical
    start, length = address.prefix_bytes(canonical)
    assert (len(start), length) == (16, bits)


@pytest.mark.parametrize("value", ["10.0.0.1/24", "10.0.0/24", "h5", "", "10.0.0.0/33"])
def test_what_is_no_prefix_is_refused(value: str) -> None:
    with pytest.raises(BadField) as refused:
        address.prefix("dst", value)
    assert (refused.value.field, refused.value.value) == ("dst", value)


@pytest.mark.parametrize(
    "value", ["224.0.0.1", "0.0.0.0", "255.255.255.255", "10.0.0.0/8", "ff02::1", "::", "h5"]
)
def test_what_is_no_single_host_is_refused(value: str) -> None:
    with pytest.raises(BadField):
        address.host("src", value)
    assert address.host("src", "2001:DB8:0::1") == "2001:db8::1"


@given(st.text(st.characters(categories=None), max_size=70), st.sampled_from(["", "/64", "/128"]))
def test_an_address_with_a_zone_is_refused_everywhere(zone: str, length: str) -> None:
    written = f"fe80::1%{zone}"
    for check in (address.prefix, address.host):
        with pytest.raises(BadField):
            check("src", written + length)
        with pytest.raises(BadField):
            check("src", f"fe80::%{zone}{length}")
    with pytest.raises(ValueError, match="address"):
        address.mapped(written)
    for name, part in (("src", written), ("src/24", f"fe80::%{zone}/64")):
        with pytest.raises(BadField):
            KeyType.parse(name).parse_key(part)
