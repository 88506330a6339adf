"""Addresses and prefixes as the data path sees them: 16 bytes, IPv4 mapped into IPv6.

The one idea: a filter never asks for the family of an address, because `::ffff:a.b.c.d` (RFC 4291
§2.5.5.2) gives every IPv4 address a place among the IPv6 ones, and a prefix /n becomes /(96+n).
"""

import ipaddress

from netsonde.model.errors import BadField

MAPPED_PREFIX = bytes(10) + b"\xff\xff"
"""First 12 bytes of every IPv4 address in a key."""


def mapped(address: str) -> bytes:
    """Give the 16 bytes of an IPv4 or IPv6 address; raises ValueError when it is neither."""
    parsed = ipaddress.ip_address(address)
    return MAPPED_PREFIX + parsed.packed if parsed.version == 4 else parsed.packed


def text(address: bytes) -> str:
    """Write 16 bytes as people do: dotted for IPv4, RFC 5952 for IPv6."""
    if address[:12] == MAPPED_PREFIX:
        a, b, c, d = address[12:]
        return f"{a}.{b}.{c}.{d}"
    return str(ipaddress.IPv6Address(address))


def prefix(field: str, value: str) -> str:
    """Check an address or prefix and give its canonical text, such as `10.0.0.0/24`.

    Raises BadField naming `field`, also when host bits are set: `10.0.0.1/24` may mean either.
    """
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise BadField(
            field, value, f"an address or prefix such as 10.0.0.0/24 ({error})"
        ) from None


def prefix_bytes(canonical: str) -> tuple[bytes, int]:
    """Give (16 mapped bytes, number of leading bits that must match) of a canonical prefix."""
    network = ipaddress.ip_network(canonical)
    extra = 96 if network.version == 4 else 0
    return mapped(str(network.network_address)), network.prefixlen + extra


def host(field: str, value: str) -> str:
    """Check a single unicast address and give its canonical text; raises BadField."""
    allowed = "one unicast IPv4 or IPv6 address such as 10.0.0.5"
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError:
        raise BadField(field, value, allowed) from None
    if parsed.is_multicast or parsed.is_unspecified or value == "255.255.255.255":
        raise BadField(field, value, allowed)
    return str(parsed)
