"""What the kernel would do with a packet to an address, asked by rtnetlink(7).

It needs no privilege, and knows what no list of addresses does: secondary addresses, broadcast
addresses of every prefix, whole prefixes that are routed to this host itself.
"""

from __future__ import annotations

import socket
import struct

from netsonde.model.webhook_url import IPAddress

UNICAST = 1
_KINDS = {
    2: "an address of this host itself",
    3: "a broadcast address",
    4: "an anycast address of this host itself",
    5: "a multicast address",
}
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_NEW_ROUTE, _GET_ROUTE = 24, 26
_REQUEST = 1
_DESTINATION = 1
_KIND_AT = _HEADER.size + 7
_ANSWER_BYTES = 4096
_TIMEOUT_S = 1.0


def not_elsewhere(address: IPAddress) -> str | None:
    """Say what an address is to the kernel when it is no other host's; None where it may be.

    An address without a route may be another host's; nothing reaches it. Raises OSError.
    """
    kind = _kind(address)
    return None if kind is None else _KINDS.get(kind)


def _kind(address: IPAddress) -> int | None:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    packed = address.packed
    route = _ROUTE.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _DESTINATION) + packed
    size = _HEADER.size + len(route) + len(attribute)
    request = _HEADER.pack(size, _GET_ROUTE, _REQUEST, 1, 0) + route + attribute
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(_TIMEOUT_S)
        kernel.sendto(request, (0, 0))
        answer = kernel.recv(_ANSWER_BYTES)
    found = _HEADER.unpack_from(answer)[1] == _NEW_ROUTE
    return answer[_KIND_AT] if found else None
