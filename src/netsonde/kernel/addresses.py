"""The addresses of this host in the current network namespace, as keys hold them.

Read from proc(5): `fib_trie` lists every IPv4 address the host answers to (its LOCAL routes),
`if_inet6` every IPv6 address of a device. Both need no privilege.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

from netsonde.model import address


def local_addresses() -> frozenset[bytes]:
    """Give the 16 bytes of every local address, IPv4 mapped into IPv6."""
    return frozenset(_ipv4() | _ipv6())


def _ipv4() -> set[bytes]:
    found, last = set(), ""
    for line in _lines("/proc/net/fib_trie"):
        if line.startswith("|-- "):
            last = line.removeprefix("|-- ")
        elif line.endswith("/32 host LOCAL"):
            found.add(address.mapped(last))
    return found


def _ipv6() -> set[bytes]:
    return {
        ipaddress.IPv6Address(int(line.split()[0], 16)).packed
        for line in _lines("/proc/net/if_inet6")
    }


def _lines(path: str) -> list[str]:
    try:
        return [line.strip() for line in Path(path).read_text().splitlines()]
    except FileNotFoundError:  # a kernel may be without IPv6
        return []
