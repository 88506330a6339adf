"""Addresses and prefixes as the data path sees them: 16 bytes, IPv4 mapped into IPv6.

The one idea: a filter never asks for the family of an address, because `::ffff:a.b.c.d` (RFC 4291
§2.5.5.2) gives every IPv4 address a place among the IPv6 ones, and a prefix /n becomes /(96+n).
"""

import ipaddress

from netsonde.model.errors import BadField
from netsonde.model.text import clipped

MAPPED_PREFIX = bytes(10) + b"\xff\xff"
"""First 12 bytes of every IPv4 address in a key."""


def parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read an address without a zone; raises ValueError for anything else.

    A zone (`fe80::1%eth0`) means something on one host alone, and any text would do as one, so
    what came from elsewhere never has one. What is read here is never a name to look up.
    """
    if "%" in address:
        raise ValueError("an address with a zone means something on one host alone")
    return ipaddress.ip_address(address)


def mapped(address: str) -> bytes:
    """Give the 16 bytes of an IPv4 or IPv6 address; raises ValueError when it is neither."""
    found = parsed(address)
    return MAPPED_PREFIX + found.packed if found.version == 4 else found.packed


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
    allowed = "an address or prefix such as 10.0.0.0/24"
    if "%" in value:
        raise BadField(field, value, f"{allowed}, without a zone")
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise BadField(field, value, f"{allowed} ({clipped(str(error), 120)})") from None


def prefix_bytes(canonical: str) -> tuple[bytes, int]:
    """Give (16 mapped bytes, number of leading bits that must match) of a canonical prefix."""
    network = ipaddress.ip_network(canonical)
    extra = 96 if network.version == 4 else 0
    return mapped(str(network.network_address)), network.prefixlen + extra


def host(field: str, value: str) -> str:
    """Check a single unicast address and give its canonical text; raises BadField."""
    allowed = "one unicast IPv4 or IPv6 address such as 10.0.0.5, without a zone"
    try:
        found = parsed(value)
    except ValueError:
        raise BadField(field, value, allowed) from None
    if found.is_multicast or found.is_unspecified or str(found) == "255.255.255.255":
        raise BadField(field, value, allowed)
    return str(found)


def canonical_host(field: str, name: str) -> str:
    """Check a host's name, which is its address in canonical form; raises BadField."""
    if host(field, name) != name:
        raise BadField(field, name, "an address in canonical form such as 10.0.0.5")
    return name
