"""Filters as one types them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.cli.top import words
from netsonde.model.asked import FilterText
from netsonde.model.errors import BadField


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", {}),
        ("tcp", {"proto": "tcp"}),
        ("TCP dport=443 src=10.0.0.0/8", {"proto": "tcp", "dport": "443", "src": "10.0.0.0/8"}),
        ("dport=80,443,8000-8010 udp", {"proto": "udp", "dport": "80,443,8000-8010"}),
        ("ipv6 both", {"family": 6, "interface": "both"}),
        ("family=4 output", {"family": 4, "interface": "OUTPUT"}),
        ("interface=eth0 udp", {"proto": "udp", "interface": "eth0"}),
        ("interface=Output", {"interface": "OUTPUT"}),
        ("proto=6 flow=half_open", {"proto": "tcp", "flow": "half_open"}),
    ],
)
def test_reads_words(text: str, fields: dict[str, object]) -> None:
    assert words.read(text) == FilterText(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tpc", "allowed: tcp perhaps"),
        ("dprt=443", "allowed: dport= perhaps"),
        ("10.0.0.1", "field 'filter' is '10.0.0.1'"),
        ("tcp udp", "field 'proto' is 'udp'; allowed: once in a filter"),
        ("src=", "a value: src=..."),
        ("dport=443-80", "ends before it begins"),
        ("src=10.0.0.1/8", "has host bits set"),
        ("icmp dport=80", "the protocol has none"),
        ("ipv6 src=10.0.0.1", "an IPv6 address"),
        ("family=5", "field 'family' is '5'; allowed: 4, 6"),
        ("flow=open", "field 'flow' is 'open'"),
        ("interface=eth/0", "a device's name"),
    ],
)
def test_says_what_is_wrong(text: str, sentence: str) -> None:
    with pytest.raises(BadField) as raised:
        words.read(text)
    assert sentence in str(raised.value)


def test_takes_the_interface_given_unless_one_is_typed() -> None:
    assert words.read("tcp", "OUTPUT").interface == "OUTPUT"
    assert words.read("tcp INPUT", "OUTPUT").interface == "INPUT"


@given(
    st.builds(
        FilterText,
        interface=st.sampled_from(["INPUT", "OUTPUT", "both"]),
        family=st.sampled_from([None, 4]),
        proto=st.sampled_from([None, "tcp", "udp", "sctp"]),
        src=st.sampled_from([None, "10.0.0.0/8", "10.0.0.1"]),
        dst=st.sampled_from([None, "192.0.2.0/24"]),
        sport=st.sampled_from([None, "80", "1-1023,8080"]),
        dport=st.sampled_from([None, "443"]),
        flow=st.sampled_from(["any", "attempt", "unasked"]),
    )
)
def test_reads_what_it_writes(chosen: FilterText) -> None:
    assert words.read(words.write(chosen), chosen.interface) == chosen


def test_writes_what_programs_ask() -> None:
    assert words.write(FilterText(proto=17, dport=[80, "90-99"])) == "udp dport=80,90-99"
    assert words.write(FilterText(proto=200)) == "proto=200"
