"""Captures of a few flows at times of one's choice, as files."""

from __future__ import annotations

import struct
from operator import itemgetter
from pathlib import Path

from captures import ETHERNET, START_S
from packets import Flow, packet

Sent = tuple[float, Flow, int]
"""Seconds after START_S, who to whom, TCP flags."""


def clip(path: Path, sent: list[Sent]) -> Path:
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, ETHERNET)]
    for at_s, flow, flags in sorted(sent, key=itemgetter(0)):
        frame = bytes(12) + b"\x08\x00" + packet(flow, flags=flags)
        whole, part = divmod(round(at_s * 1e6), 1_000_000)
        parts.append(struct.pack("<IIII", START_S + whole, part, len(frame), len(frame)))
        parts.append(frame)
    path.write_bytes(b"".join(parts))
    return path


def flow(last: int, dport: int = 443, sport: int = 40000) -> Flow:
    return Flow(f"10.0.0.{last}", "10.0.1.1", sport, dport, 6)


def steady(last: int, packets: int, begin_s: float, end_s: float) -> list[Sent]:
    step_s = (end_s - begin_s) / packets
    return [(begin_s + n * step_s, flow(last), 0x10) for n in range(packets)]
