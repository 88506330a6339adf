"""Which devices to count at, so that a packet of this host passes exactly one of them.

A packet may pass a stack of devices: a bridge and its port, a VLAN and what carries it, a tunnel
and the device its outer packet leaves by. Counted is the one where the host's own addresses stand
in the outermost IP header: ports of a bridge or bond give way to their master, VLANs to what
carries them. Tunnels do too, unless what they carry is to be counted and the carriers are not.
"""

from __future__ import annotations

from dataclasses import dataclass

from netsonde.kernel.path import Encapsulated
from netsonde.model.errors import UnsupportedByKernel

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
    # Loading netlink costs 0.2 s, which hooks without devices need not pay.
    from pyroute2 import IPRoute  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        with IPRoute() as netlink:
            links = list(netlink.get_links())
    except OSError as error:
        raise UnsupportedByKernel(f"devices cannot be listed: {error}") from None
    hidden = _VIEWS | _TUNNELS if encapsulated is Encapsulated.OUTER else _VIEWS
    found = set()
    for link in links:
        info = link.get_attr("IFLA_LINKINFO")
        kind = info.get_attr("IFLA_INFO_KIND") if info else None
        hardware = link["ifi_type"]
        if link.get_attr("IFLA_MASTER") or kind in hidden:
            continue
        if hardware in _WITH_ETHERNET | _WITHOUT_LINK_HEADER:
            name = link.get_attr("IFLA_IFNAME")
            found.add(Device(link["index"], name, hardware in _WITH_ETHERNET))
    return frozenset(found)
