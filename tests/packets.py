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


def odd_traffic(seed: int, packets: int) -> Iterator[bytes]:
    """Give packets that parsers get wrong: options, fragments, extension headers, cut headers."""
    dice = random.Random(seed)
    for _ in range(packets):
        flow = _flow(dice)
        whole = packet(flow, dice.randrange(0, 64), flags=dice.randrange(256))
        kind = dice.randrange(6)
        if kind == 0:  # a cut, never below what BPF_PROG_TEST_RUN takes
            yield whole[: dice.randrange(24, len(whole) + 1)]
        elif kind == 1:
            yield _with_header_bits(whole, dice)
        elif kind == 2 and ":" in flow.src:
            yield _with_extensions(whole, dice)
        elif kind == 2:
            yield bytes([0x47]) + whole[1:20] + bytes(8) + whole[20:]
        else:
            yield whole


def _with_header_bits(whole: bytes, dice: random.Random) -> bytes:
    """Set the fields that say fragment, no length, or an impossible header length."""
    changed = bytearray(whole)
    if whole[0] >> 4 == 4:
        changed[6:8] = dice.choice([b"\x20\x00", b"\x00\x10", b"\x40\x00"])
        changed[0] = dice.choice([0x45, 0x45, 0x44])
        changed[2:4] = dice.choice([bytes(2), b"\0\x13", whole[2:4]])
    else:
        changed[4:6] = bytes(2)
    return bytes(changed)


def _with_extensions(whole: bytes, dice: random.Random) -> bytes:
    """Chain IPv6 extension headers (RFC 8200 §4, RFC 4302) in front of the upper layer."""
    kinds = [dice.choice([0, 43, 44, 51, 60]) for _ in range(dice.randrange(1, 11))]
    chain = b""
    for kind, following in zip(kinds, [*kinds[1:], whole[6]], strict=True):
        offset = dice.choice([0, 0, 8]) if kind == 44 else 0
        length = dice.randrange(0, 2)
        size = 8 if kind == 44 else (length + 2) * 4 if kind == 51 else (length + 1) * 8
        head = struct.pack(">BBH", following, length, offset)
        chain += head + bytes(max(size, 8) - len(head))
    payload = len(whole) - 40 + len(chain)
    return whole[:4] + struct.pack(">HB", payload, kinds[0]) + whole[7:40] + chain + whole[40:]
