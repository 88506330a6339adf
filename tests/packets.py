"""Packets built by hand, from their IP header on, for tests that need no capture."""

from __future__ import annotations

import ipaddress
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Flow:
    """A five-tuple."""

    src: str
    dst: str
    sport: int
    dport: int
    proto: int

    @property
    def text(self) -> str:
        return f"{self.src},{self.dst},{self.sport},{self.dport},{self.proto}"


def packet(flow: Flow, payload_bytes: int = 0, *, flags: int = 0x10) -> bytes:
    """Build an IPv4 or IPv6 packet with a TCP, UDP or 8-byte other header."""
    if flow.proto == 6:
        l4 = struct.pack(">HHIIBBHHH", flow.sport, flow.dport, 0, 0, 0x50, flags, 0, 0, 0)
    elif flow.proto == 17:
        l4 = struct.pack(">HHHH", flow.sport, flow.dport, 8 + payload_bytes, 0)
    else:
        l4 = bytes(8)
    src, dst = ipaddress.ip_address(flow.src), ipaddress.ip_address(flow.dst)
    body = l4 + bytes(payload_bytes)
    if src.version == 6:
        ip = struct.pack(">IHBB", 0x60000000, len(body), flow.proto, 64) + src.packed + dst.packed
    else:
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, flow.proto, 0)
        ip += src.packed + dst.packed
    return ip + body


def traffic(seed: int, packets: int, flows: int) -> Iterator[tuple[Flow, bytes]]:
    """Give a seeded, heavy-tailed mix of IPv4, IPv6, TCP, UDP and ICMP."""
    dice = random.Random(seed)
    pool = [_flow(dice) for _ in range(flows)]
    for _ in range(packets):
        flow = pool[min(int(dice.paretovariate(0.9)) - 1, flows - 1)]
        yield flow, packet(flow, dice.randrange(0, 1200), flags=dice.choice([0x02, 0x10, 0x18]))


def _flow(dice: random.Random) -> Flow:
    proto = dice.choice([6, 6, 17, 1])
    ports = (dice.randrange(1024, 65536), dice.choice([53, 80, 443])) if proto != 1 else (0, 0)
    prefix = dice.choice(["10.0.0.", "fd00::"])
    src, dst = (f"{prefix}{dice.randrange(1, 250)}" for _ in range(2))
    return Flow(src, dst, *ports, proto)
