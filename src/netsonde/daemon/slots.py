"""Places for strangers: a bounded number, of which no source takes more than its share.

The one idea: whoever is turned away must be turned away because of itself. So one source has at
most so many places, some are kept for this host's own, and where all are taken one that holds many
gives way to one that holds few.
"""

from __future__ import annotations

import ipaddress
from collections import Counter as Tally
from typing import Literal

Refused = Literal["over_limit", "source_quota"]
_SOURCE_BITS = 64
"""Of an IPv6 address: what a network gives to one customer, who draws the rest at will."""


def source_of(host: str) -> str:
    """Give the source that an address of a socket counts as: IPv4 by itself, IPv6 by its /64.

    A zone makes no difference.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _SOURCE_BITS), strict=False))


def is_of_host(host: str, own: str) -> bool:
    """Tell whether a peer is this very host: by loopback or by the address it connected to."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return host == own or (mapped or address).is_loopback


class Slots:
    """So many places, of which one source has at most half unless told otherwise.

    Guarantees: never more than `total` taken, nor more than `of_one` by one source; whatever others
    hold, `for_host` are left to this host's own.
    """

    def __init__(self, total: int, *, of_one: int | None = None, for_host: int = 0) -> None:
        self.total = total
        self.of_one = max(1, total // 2) if of_one is None else of_one
        self.for_host = for_host
        self._of_host: Tally[str] = Tally()
        self._of_others: Tally[str] = Tally()

    @property
    def taken(self) -> int:
        """How many are taken now."""
        return self._of_host.total() + self._of_others.total()

    def held(self, source: str) -> int:
        """How many a source has."""
        return self._of_host[source] + self._of_others[source]

    def take(self, source: str, *, of_host: bool = False) -> Refused | None:
        """Take a place; gives the cause where there is none for it."""
        if self.held(source) >= self.of_one:
            return "source_quota"
        others_full = self._of_others.total() >= self.total - self.for_host
        if self.taken >= self.total or (others_full and not of_host):
            return "over_limit"
        (self._of_host if of_host else self._of_others)[source] += 1
        return None

    def free(self, source: str, *, of_host: bool = False) -> None:
        """Give a place back, of those that were taken so."""
        held = self._of_host if of_host else self._of_others
        held[source] -= 1
        if held[source] <= 0:
            del held[source]

    def greedier(self, than: str) -> list[str]:
        """Give the sources that would still hold more than `than` after giving one; most first."""
        held = self._of_host + self._of_others
        least = held[than] + 1
        return sorted(
            (one for one in held if held[one] > least), key=held.__getitem__, reverse=True
        )
