"""Packets a second over a capture: netsonde replay beside dpkt and scapy, the same job for each.

The job: IP bytes by source and destination address, the whole file, in one process; what is timed
begins with opening the file and ends with the finished table.
"""

from __future__ import annotations

import gc
import ipaddress
import os
import struct
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

import dpkt
import numpy as np
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import RawPcapReader

from benchmarks.data_path import zipf
from benchmarks.data_path.scale import Scale
from benchmarks.spread import Spread, ratios, spread
from netsonde.model.key import KeyType
from netsonde.model.task import Counter, Filter, Increment, Question, Task
from netsonde.replay.capture import Capture
from netsonde.sketch.window import Window

_SCAPY_PACKETS = 5_000
"""scapy reads that many and no more: it needs minutes for a million."""
_KEYS = 1 << 20
_LEAST_S = 0.2
"""Time that a reader gets in each round."""
_TRACE = "mix-apps.pcap"
_SECRET = bytes(range(64))
_PACKETS_PER_S = 100_000

Table = dict[str, int]


class Found(TypedDict):
    """What one capture gave."""

    packets: int
    packets_per_s: dict[str, Spread]
    against_dpkt: Spread
    same_answer_as_dpkt: bool


def by_netsonde(path: Path) -> tuple[int, Callable[[], Table]]:
    """Count by the product; gives the packets, and the table as text for whoever compares."""
    kind = KeyType.parse("src_dst", "key")
    counter = Counter(key_type=kind.name, increment=Increment.BYTES)
    task = Task(series="sketch", id=0, filter=Filter(), counters=(counter,), since_tick=0)
    capture, window = Capture(path, _SECRET), Window(task, _KEYS)
    for tick, _ in capture.ticks():
        window.absorb(tick)
    question = Question(series="sketch", task_id=0, key_type=kind.name, limit=_KEYS)
    summary = window.summary(question, counter)
    return capture.packets, lambda: {
        kind.format(row.key): row.count.estimate for row in summary.rows()
    }


def by_dpkt(path: Path) -> tuple[int, Callable[[], Table]]:
    """Count by dpkt as its users write it."""
    table: defaultdict[tuple[bytes, bytes], int] = defaultdict(int)
    packets = 0
    with path.open("rb") as file:
        for _, frame in dpkt.pcap.Reader(file):
            packets += 1
            try:
                inner = dpkt.ethernet.Ethernet(frame).data
            except dpkt.UnpackError:
                continue
            if isinstance(inner, dpkt.ip.IP):
                table[inner.src, inner.dst] += inner.len
            elif isinstance(inner, dpkt.ip6.IP6):
                table[inner.src, inner.dst] += inner.plen + 40
    return packets, lambda: {
        f"{ipaddress.ip_address(src)},{ipaddress.ip_address(dst)}": count
        for (src, dst), count in table.items()
    }


def by_scapy(path: Path) -> tuple[int, Callable[[], Table]]:
    """Count the beginning by scapy as its users write it."""
    table: defaultdict[str, int] = defaultdict(int)
    packets = 0
    with RawPcapReader(str(path)) as reader:
        for frame, _ in reader:
            packets += 1
            packet = Ether(frame)
            if IP in packet:
                table[f"{packet[IP].src},{packet[IP].dst}"] += packet[IP].len
            elif IPv6 in packet:
                table[f"{packet[IPv6].src},{packet[IPv6].dst}"] += packet[IPv6].plen + 40
            if packets == _SCAPY_PACKETS:
                break
    return packets, lambda: table


Reader = Callable[[Path], tuple[int, Callable[[], Table]]]
READERS: dict[str, Reader] = {"netsonde": by_netsonde, "dpkt": by_dpkt, "scapy": by_scapy}


def measure(scale: Scale) -> dict[str, Found]:
    """Give what each capture gave: a generated one, and a shared trace where there is one."""
    with TemporaryDirectory(prefix="netsonde-bench-") as folder:
        made = Path(folder) / "generated.pcap"
        write_capture(made, scale.capture_packets)
        captures = [made]
        shared = Path(os.environ.get("NETSONDE_TRACES") or "../shared/traces") / _TRACE
        if shared.is_file():
            captures.append(shared)
        return {path.name: _measure(path, scale.capture_rounds) for path in captures}


def _measure(path: Path, rounds: int) -> Found:
    rates: dict[str, list[float]] = {name: [] for name in READERS}
    tables: dict[str, Table] = {}
    counted = 0
    for _ in range(rounds):
        for name, reader in READERS.items():
            rate, packets, table = _timed(reader, path)
            rates[name].append(rate)
            tables.setdefault(name, table)
            counted = max(counted, packets)
    return Found(
        packets=counted,
        packets_per_s={name: spread(values) for name, values in rates.items()},
        against_dpkt=spread(ratios(rates["netsonde"], rates["dpkt"])),
        same_answer_as_dpkt=tables["netsonde"] == tables["dpkt"],
    )


def _timed(reader: Reader, path: Path) -> tuple[float, int, Table]:
    """Read a capture again and again for a while; give packets/s, packets and the table."""
    gc.collect()  # what one reader left behind is not the next one's cost
    packets_read, spent_s = 0, 0.0
    while spent_s < _LEAST_S:
        start_s = time.perf_counter()
        packets, table = reader(path)
        spent_s += time.perf_counter() - start_s
        packets_read += packets
    return packets_read / spent_s, packets, table()


def write_capture(path: Path, packets: int) -> None:
    """Write a classic pcap file: UDP of Zipf-distributed flows at 100,000 packets a second."""
    flows = zipf.draw(packets, 1 << 16, seed=3)
    sizes = np.random.default_rng(4).integers(60, 1500, packets)
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number, (flow, size) in enumerate(zip(flows.tolist(), sizes.tolist(), strict=True)):
            second, part = divmod(number, _PACKETS_PER_S)
            micros = part * 1_000_000 // _PACKETS_PER_S
            file.write(struct.pack("<IIII", 1_700_000_000 + second, micros, 60, size + 14))
            file.write(b"\x02\0\0\0\0\1\x02\0\0\0\0\2\x08\0")
            file.write(struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0, 64, 17, 0))
            file.write(struct.pack(">II", 0x0A000000 + flow, 0x0A800000 + (flow & 255)))
            file.write(struct.pack(">HHHH", 1024 + (flow & 1023), 53, size - 20, 0) + bytes(18))
