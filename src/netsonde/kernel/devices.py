"""Which devices to count at, so that a packet of this host passes exactly one of them.

A packet may pass a stack of devices: a bridge and its port, a VLAN and what carries it, a tunnel
and the device its outer packet leaves by. Counted is the one where the host's own addresses stand
in the outermost IP header: ports of a bridge or bond give way to their master, VLANs to what
carries them. Tunnels do too, unless what they carry is to be counted and the carriers are not.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from netsonde.kernel.path import Encapsulated
from netsonde.model.errors import BadField, UnsupportedByKernel

_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_ARPHRD_NONE, _ARPHRD_RAWIP, _ARPHRD_PPP = 0xFFFE, 519, 512
_ARPHRD_TUNNEL, _ARPHRD_TUNNEL6, _ARPHRD_SIT = 768, 769, 776
_ARPHRD_IPGRE, _ARPHRD_IP6GRE = 778, 823
_WITH_ETHERNET = {_ARPHRD_ETHER, _ARPHRD_LOOPBACK}
_WITHOUT_LINK_HEADER = {
    *(_ARPHRD_NONE, _ARPHRD_RAWIP, _ARPHRD_PPP, _ARPHRD_TUNNEL, _ARPHRD_TUNNEL6, _ARPHRD_SIT),
    *(_ARPHRD_IPGRE, _ARPHRD_IP6GRE),
}
_VIEWS = {"vlan", "macvlan", "ipvlan", "macsec"}
"""Kinds whose packets leave again as packets of another device."""
_TUNNELS = {
    *("vxlan", "geneve", "gre", "gretap", "ip6gre", "ip6gretap", "erspan", "ip6erspan"),
    *("ipip", "sit", "ip6tnl", "vti", "vti6", "xfrm", "gtp", "bareudp", "wireguard"),
}
"""Kinds whose packets leave again inside another device's; `netfilter.bpf.c` has them too."""


@dataclass(frozen=True, slots=True, order=True)
class Device:
    """A device to count at."""

    index: int
    name: str
    ethernet: bool
    """Whether its frames begin with an Ethernet header; else with the IP header."""


def counted_devices(encapsulated: Encapsulated) -> frozenset[Device]:
    """List the devices of the current network namespace that carry the host's own packets.

    Raises UnsupportedByKernel.
    """
    hidden = _VIEWS | _TUNNELS if encapsulated is Encapsulated.OUTER else _VIEWS
    found = set()
    for link in _links():
        info = link.get_attr("IFLA_LINKINFO")
        kind = info.get_attr("IFLA_INFO_KIND") if info else None
        if link.get_attr("IFLA_MASTER") or kind in hidden:
            continue
        if _is_readable(link):
            found.add(_device(link))
    return frozenset(found)


def device_named(name: str) -> Device:
    """Find a device of the current network namespace that can be counted at, whatever it carries.

    Raises BadField naming those that there are, UnsupportedByKernel when they cannot be listed.
    """
    links = {str(link.get_attr("IFLA_IFNAME")): link for link in _links()}
    if name not in links:
        raise BadField("devices", name, f"devices of this host: {', '.join(sorted(links))}")
    if not _is_readable(links[name]):
        raise BadField("devices", name, "a device that carries Ethernet or plain IP")
    return _device(links[name])


def is_there(device: Device) -> bool:
    """Tell whether a device still is in this network namespace, under its name."""
    try:
        return socket.if_nametoindex(device.name) == device.index
    except OSError:
        return False


def _links() -> Iterator[Any]:
    # Loading netlink costs 0.2 s, which hooks without devices need not pay.
    from pyroute2 import IPRoute  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        with IPRoute() as netlink:
            yield from list(netlink.get_links())
    except OSError as error:
        raise UnsupportedByKernel(f"devices cannot be listed: {error}") from None


def _is_readable(link: Any) -> bool:
    return link["ifi_type"] in _WITH_ETHERNET | _WITHOUT_LINK_HEADER


def _device(link: Any) -> Device:
    return Device(link["index"], link.get_attr("IFLA_IFNAME"), link["ifi_type"] in _WITH_ETHERNET)
