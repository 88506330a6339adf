"""Captures built by hand, pcap and pcapng, for tests; as a program it writes the fuzzers' seeds."""

from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

from packets import Flow, packet

ETHERNET = 1
RAW = 101
START_S = 1_700_000_000
UDP4 = Flow("10.0.0.1", "10.0.0.2", 1000, 53, 17)
TCP6 = Flow("fd00::1", "fd00::2", 2000, 443, 6)


def ethernet(flow: Flow, payload_bytes: int = 0, tags: bytes = b"") -> bytes:
    """Build an Ethernet frame; tags stand between the addresses and the IP ethertype."""
    ethertype = b"\x86\xdd" if ":" in flow.src else b"\x08\x00"
    return bytes(12) + tags + ethertype + packet(flow, payload_bytes)


def pcap(
    frames: list[bytes], *, order: str = "<", nanoseconds: bool = False, link: int = ETHERNET
) -> bytes:
    """Write a classic capture, its frames a microsecond apart."""
    magic, step = (0xA1B23C4D, 1000) if nanoseconds else (0xA1B2C3D4, 1)
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)]
    for i, frame in enumerate(frames):
        parts.append(struct.pack(order + "IIII", START_S, i * step, len(frame), len(frame)))
        parts.append(frame)
    return b"".join(parts)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


def block(order: str, kind: int, body: bytes) -> bytes:
    length = struct.pack(order + "I", len(padded(body)) + 12)
    return struct.pack(order + "I", kind) + length + padded(body) + length


def section(order: str = "<", major: int = 1) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1))


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + padded(value)


def interface(
    order: str = "<", *, link: int = ETHERNET, snap_bytes: int = 0, options: bytes = b""
) -> bytes:
    end = option(order, 0, b"") if options else b""
    return block(order, 1, struct.pack(order + "HHI", link, 0, snap_bytes) + options + end)


def enhanced(frame: bytes, units: int, *, order: str = "<", number: int = 0) -> bytes:
    stamp = (units >> 32, units & 0xFFFFFFFF)
    return block(order, 6, struct.pack(order + "5I", number, *stamp, *[len(frame)] * 2) + frame)


def obsolete(frame: bytes, units: int, *, order: str = "<", number: int = 0) -> bytes:
    stamp = (units >> 32, units & 0xFFFFFFFF)
    head = struct.pack(order + "HHIIII", number, 7, *stamp, *[len(frame)] * 2)
    return block(order, 2, head + frame)


def simple(frame: bytes, *, order: str = "<", wire_bytes: int | None = None) -> bytes:
    wire = len(frame) if wire_bytes is None else wire_bytes
    return block(order, 3, struct.pack(order + "I", wire) + frame)


def pcapng(order: str = "<") -> bytes:
    """Write a section with every block that is read and one that is not, six packets."""
    nanoseconds, binary = option(order, 9, b"\x09"), option(order, 9, b"\x94")
    offset = option(order, 14, struct.pack(order + "q", START_S))
    return b"".join(
        [
            section(order),
            interface(order),
            block(order, 4, b"name resolution"),
            interface(order, link=RAW, options=option(order, 2, b"eth0") + nanoseconds),
            interface(order, options=binary + offset),
            enhanced(ethernet(UDP4), START_S * 10**6, order=order),
            enhanced(packet(TCP6), START_S * 10**9 + 1000, order=order, number=1),
            enhanced(ethernet(UDP4), 2 << 20 >> 20, order=order, number=2),
            obsolete(ethernet(TCP6), START_S * 10**6 + 3, order=order),
            simple(ethernet(UDP4), order=order),
            enhanced(ethernet(UDP4), (START_S + 1) * 10**6, order=order),
        ]
    )


def seeds() -> dict[str, list[bytes]]:
    """Give each fuzzer's seeds: a frame behind its link type, or a capture."""
    mpls, pppoe = b"\x88\x47\x00\x01\x01\x40", b"\x88\x64\x11\x00\x00\x01\x00\x30\x00\x21"
    ip, vlan = packet(UDP4), b"\x81\x00\x00\x01\x88\xa8\x00\x02"
    hop_by_hop = struct.pack(">IHBB", 0x60000000, 24, 0, 64) + bytes(32)
    hop_by_hop += b"\x2c\x00" + bytes(6) + b"\x11\x00" + bytes(14)
    frames = [
        (1, ethernet(UDP4, 20)),
        (1, ethernet(TCP6, 20, vlan)),
        (1, bytes(12) + mpls + ip),
        (1, bytes(12) + pppoe + ip),
        (113, bytes(14) + b"\x08\x00" + ip),
        (276, b"\x08\x00" + bytes(18) + ip),
        (0, b"\x02\x00\x00\x00" + ip),
        (101, packet(TCP6)),
        (101, hop_by_hop),
    ]
    classic = [pcap([frame for _, frame in frames[:4]], order=order) for order in "<>"]
    return {
        "frame": [struct.pack("<H", link) + bytes(6) + frame for link, frame in frames],
        "pcap": classic,
        "pcapng": [pcapng("<"), pcapng(">"), pcapng("<") + pcapng(">")],
    }


def main(folder: Path) -> None:
    """Write the seeds under a folder, one subfolder a fuzzer."""
    for name, contents in seeds().items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i, content in enumerate(contents):
            (folder / name / f"seed-{i}").write_bytes(content)


def compressed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
