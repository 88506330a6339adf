"""Where this agent may send what a stranger can ask it to send: to other hosts, never to itself.

The one idea: an address is what it leads to. An IPv6 address that carries an IPv4 one (mapped,
6to4, NAT64, Teredo, ISATAP) is refused where the carried one is, and what is this host's own is
told by the kernel's routes, asked anew each time.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence

from netsonde.agent import routes
from netsonde.model import address as addresses
from netsonde.model.webhook_url import IPAddress, Target

SETTING = "webhook_allow"

_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
_REFUSED = tuple(
    (ipaddress.ip_network(prefix), what)
    for what, prefixes in {
        "an unspecified address": ("0.0.0.0/8", "::/128"),
        "a loopback address": ("127.0.0.0/8", "::1/128"),
        "a link-local address": ("169.254.0.0/16", "fe80::/10"),
        "a multicast address": ("224.0.0.0/4", "ff00::/8"),
        "a reserved address": ("240.0.0.0/4", "::/96", "64:ff9b:1::/48", "100::/64"),
        # Of clouds; reached like any other host, they give a host's credentials away.
        "a metadata service": (
            *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
            *("fd00:ec2::254/128", "fd20:ce::254/128"),
        ),
    }.items()
    for prefix in prefixes
)
_IN_LAST_32_BITS = tuple(map(ipaddress.IPv6Network, ("::/96", "::ffff:0:0/96", "64:ff9b::/96")))
_ISATAP = (0x00005EFE, 0x02005EFE)


class Outward:
    """The policy of one agent."""

    def __init__(
        self,
        allow: Sequence[str] = (),
        *,
        not_elsewhere: Callable[[IPAddress], str | None] = routes.not_elsewhere,
    ) -> None:
        """`allow` lists addresses and prefixes that may be reached all the same.

        Raises BadField for one that is neither.
        """
        self._allow = [ipaddress.ip_network(addresses.prefix(SETTING, text)) for text in allow]
        self._not_elsewhere = not_elsewhere

    def refusal(self, address: IPAddress) -> str | None:
        """Say why nothing may be sent to an address; None where it may."""
        if self._allowed(address):
            return None
        for meant in (address, *carried(address)):
            what = self._what(meant)
            if what is not None and not self._allowed(meant):
                shown = str(address) if meant == address else f"{address}, which leads to {meant},"
                return f"{shown} is {what}; the setting '{SETTING}' may name it"
        return None

    def refusal_of(self, target: Target) -> str | None:
        """Say what is wrong with a URL as far as it shows without asking for its name."""
        if target.address is not None:
            return self.refusal(target.address)
        name = target.host.removesuffix(".")
        if name in _LOCAL_NAMES or name.endswith(".localhost"):
            return self.refusal(ipaddress.IPv4Address("127.0.0.1"))
        return None

    def _allowed(self, address: IPAddress) -> bool:
        return any(address in network for network in self._allow)

    def _what(self, address: IPAddress) -> str | None:
        for network, what in _REFUSED:
            if address in network:
                return what
        try:
            return self._not_elsewhere(address)
        except OSError as error:
            return f"not known to be another host's ({error})"


def carried(address: IPAddress) -> Iterator[ipaddress.IPv4Address]:
    """Give the IPv4 addresses that an IPv6 one carries."""
    if address.version == 4:
        return
    number = int(address)
    if any(address in network for network in _IN_LAST_32_BITS):
        yield _last_32_bits(number)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if number >> 32 & 0xFFFFFFFF in _ISATAP:
        yield _last_32_bits(number)


def _last_32_bits(number: int) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(number & 0xFFFFFFFF)
