"""Where webhooks may be sent, against the registries of special addresses.

Truth is plain arithmetic over IANA's IPv4 and IPv6 special-purpose registries (RFC 6890), not
`ipaddress`, which the code uses and whose properties have changed between versions of Python.
"""

import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.agent.outward import Outward
from netsonde.agent.routes import not_elsewhere
from netsonde.model.errors import BadField
from netsonde.model.webhook_url import parse


def dotted(text: str) -> int:
    a, b, c, d = map(int, text.split("."))
    return a << 24 | b << 16 | c << 8 | d


V4_REFUSED = [
    (dotted(first), dotted(last))
    for first, last in [
        ("0.0.0.0", "0.255.255.255"),
        ("127.0.0.0", "127.255.255.255"),
        ("169.254.0.0", "169.254.255.255"),
        ("224.0.0.0", "239.255.255.255"),
        ("240.0.0.0", "255.255.255.255"),
        ("100.100.100.200", "100.100.100.200"),
        ("168.63.129.16", "168.63.129.16"),
        ("192.0.0.192", "192.0.0.192"),
    ]
]
V4_OTHERS = [
    (dotted(first), dotted(last))
    for first, last in [
        ("1.0.0.0", "9.255.255.255"),
        ("10.0.0.0", "10.255.255.255"),
        ("100.64.0.0", "100.100.100.199"),
        ("172.16.0.0", "172.31.255.255"),
        ("192.0.2.0", "192.0.2.255"),
        ("192.168.0.0", "192.168.255.255"),
        ("198.18.0.0", "198.19.255.255"),
        ("203.0.113.0", "223.255.255.255"),
    ]
]


def within(ranges: list[tuple[int, int]]) -> st.SearchStrategy[int]:
    """Draw from ranges, their ends more often than not."""
    return st.sampled_from(ranges).flatmap(
        lambda ends: st.one_of(st.sampled_from(ends), st.integers(*ends))
    )


def mapped(v4: int) -> int:
    return 0xFFFF << 32 | v4


def six_to_four(v4: int) -> int:
    return 0x2002 << 112 | v4 << 80 | 1


def nat64(v4: int) -> int:
    return 0x0064FF9B << 96 | v4


def isatap(v4: int) -> int:
    return 0x20010DB8 << 96 | 0x5EFE << 32 | v4


def isatap_universal(v4: int) -> int:
    return 0x20010DB8 << 96 | 0x0200_5EFE << 32 | v4


def teredo_client(v4: int) -> int:
    return 0x20010000 << 96 | dotted("9.9.9.9") << 64 | (v4 ^ 0xFFFFFFFF)


def teredo_server(v4: int) -> int:
    return 0x20010000 << 96 | v4 << 64 | (dotted("9.9.9.9") ^ 0xFFFFFFFF)


CARRIED = st.sampled_from(
    [mapped, six_to_four, nat64, isatap, isatap_universal, teredo_client, teredo_server]
)
V6_REFUSED = [
    (0, 0xFFFFFFFF),  # ::, ::1, and IPv4-compatible
    (0xFE80 << 112, (0xFEC0 << 112) - 1),
    (0xFF00 << 112, (1 << 128) - 1),
    (0x0064FF9B0001 << 80, (0x0064FF9B0002 << 80) - 1),
    (0x0100 << 112, (0x0100 << 112) + (1 << 64) - 1),
    (0xFD000EC2 << 96 | 0x254, 0xFD000EC2 << 96 | 0x254),
    (0xFD2000CE << 96 | 0x254, 0xFD2000CE << 96 | 0x254),
]
V6_OTHERS = [
    (0x20010DB8 << 96, (0x20010DB8 << 96) + (1 << 30)),
    (0x2600 << 112, 0x2600 << 112 | (1 << 30)),
    (0xFC00 << 112, (0xFC00 << 112) + (1 << 30)),
    (0xFEC0 << 112, (0xFEC0 << 112) + (1 << 30)),
]
NO_OWN = Outward(not_elsewhere=lambda _: None)


@given(within(V4_REFUSED), CARRIED)
def test_special_ipv4_addresses_are_refused_in_every_form(v4: int, form: object) -> None:
    assert NO_OWN.refusal(ipaddress.IPv4Address(v4))
    assert NO_OWN.refusal(ipaddress.IPv6Address(form(v4)))  # type: ignore[operator]


@given(within(V4_OTHERS), CARRIED)
def test_all_others_may_be_sent_to(v4: int, form: object) -> None:
    assert NO_OWN.refusal(ipaddress.IPv4Address(v4)) is None
    assert NO_OWN.refusal(ipaddress.IPv6Address(form(v4))) is None  # type: ignore[operator]


@given(within(V6_REFUSED))
def test_special_ipv6_addresses_are_refused(v6: int) -> None:
    assert NO_OWN.refusal(ipaddress.IPv6Address(v6))


@given(within(V6_OTHERS))
def test_all_other_ipv6_addresses_may_be_sent_to(v6: int) -> None:
    assert NO_OWN.refusal(ipaddress.IPv6Address(v6)) is None


@given(st.integers(0, 2**32 - 1), CARRIED)
def test_what_is_this_hosts_own_is_so_in_every_form(own: int, form: object) -> None:
    outward = Outward(
        not_elsewhere=lambda one: "own" if one == ipaddress.IPv4Address(own) else None
    )
    assert outward.refusal(ipaddress.IPv4Address(own))
    assert outward.refusal(ipaddress.IPv6Address(form(own)))  # type: ignore[operator]


@given(st.one_of(within(V4_REFUSED), st.integers(0, 2**32 - 1)))
def test_what_the_setting_names_may_be_sent_to(v4: int) -> None:
    address = ipaddress.IPv4Address(v4)
    assert Outward((str(address),)).refusal(address) is None
    assert Outward(("0.0.0.0/0",)).refusal(ipaddress.IPv6Address(mapped(v4))) is None
    neighbour = ipaddress.IPv4Address(v4 ^ 1)
    assert bool(Outward((str(address),)).refusal(neighbour)) == bool(Outward().refusal(neighbour))


def test_the_kernel_tells_what_is_this_hosts_own() -> None:
    for text in ("127.0.0.1", "127.255.3.4", "0.0.0.0", "255.255.255.255", "224.0.0.1"):
        assert not_elsewhere(ipaddress.ip_address(text)), text
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_route:
        try:
            any_route.connect(("192.0.2.99", 9))
        except OSError:
            return  # a host without any route but to itself
        own = any_route.getsockname()[0]
    assert not_elsewhere(ipaddress.ip_address(own))
    (number,) = struct.unpack("!I", socket.inet_aton(own))
    for form in (mapped, six_to_four, nat64):
        assert Outward().refusal(ipaddress.IPv6Address(form(number)))


def test_a_host_that_cannot_tell_sends_nothing() -> None:
    def away(_: object) -> str | None:
        raise OSError("Operation not permitted")

    refusal = Outward(not_elsewhere=away).refusal(ipaddress.ip_address("10.9.9.9"))
    assert refusal
    assert "Operation not permitted" in refusal


def test_names_of_this_host_itself_are_refused_without_asking() -> None:
    for name in ("localhost", "LOCALHOST.", "a.localhost", "ip6-localhost"):
        assert NO_OWN.refusal_of(parse(f"http://{name}/"))
        assert Outward(("127.0.0.1",)).refusal_of(parse(f"http://{name}/")) is None
    assert NO_OWN.refusal_of(parse("http://localhost.example/")) is None


def test_the_setting_takes_addresses_and_prefixes_alone() -> None:
    with pytest.raises(BadField, match="webhook_allow"):
        Outward(("localhost",))
